"""What a lane costs and how deep the logic is, by Yosys (``python -m bench.lanes``).

The lane array alone is synthesised for 16, 64 and 256 lanes, then every component of the engine alone. A lane must take
its DSP slices with their registers in use and no fabric adder beyond what :class:`Mode` allows, or the bench fails. It
fails too if 64 lanes take something else when their groups are counted by themselves, as the bench of boards counts.

A path is counted in LUTs between registers, memories, DSP slices and ports: a LUT and the read of a LUT memory count
one, a carry cell, an inverter and a multiplexer of the slice none.
"""

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import click

from lstm_hw.campaign import run_tasks
from lstm_hw.errors import VerificationError
from lstm_hw.gateware.cell import Cell
from lstm_hw.gateware.cell_unit import CellUnit
from lstm_hw.gateware.control import Control
from lstm_hw.gateware.engine import Engine, LanePath
from lstm_hw.gateware.fill_unit import FillUnit
from lstm_hw.gateware.input_unit import InputUnit
from lstm_hw.gateware.lane_group import LaneArray, LaneGroup
from lstm_hw.gateware.list_path import ListPath
from lstm_hw.gateware.load_unit import LoadUnit
from lstm_hw.gateware.mac_unit import MacUnit, issue_layout
from lstm_hw.gateware.sequencer import Sequencer
from lstm_hw.gateware.top import config_words
from lstm_hw.gateware.unpack_unit import DECODERS
from lstm_hw.gateware.vector_memory import VectorMemory
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.plan.resources import mapped, window_memory
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_stat

from .sbe import RESULT
from .table import Row, command, update

FOLDER = "build/lanes"
SIZES = {16: (16, 1), 64: (32, 2), 256: (64, 4)}
"""Lanes -> rows, contexts."""
DEPTHS = {"weight_words": 1024, "accumulators": 65, "finish_entries": 16, "block_sums": 0}
"""Of the memories beside the lanes; LUTs used as memory grow with the accumulators and finished sums. Entry 0 of the
accumulators is not stored."""
DEEP = {"accumulators": 47, "finish_entries": 44, "block_sums": None}
"""Accumulators and finished sums in block RAM."""
DEEP_LANES = 64
BY_GROUPS = {"dsp": (0, 0), "bram36": (0, 0), "lutram": (0, 0), "lut": (0.11, 0.26), "ff": (0, 0.02)}
"""By how much a count by lane groups may be below and above one of all lanes together."""
REGISTERS = {
    "wide": ("AREG", "ADREG"),
    "narrow": ("BREG",),
    "product": ("MREG",),
    "accumulator": ("PREG",),
    "loaded": ("CREG",),
}
"""Registers that every DSP slice must use: one of those named, where there are several. The wide factor is a weight or
a lifted operand, the narrow one is the other. A pair's weights pass the pre-adder of the first context's slices
(ADREG); what it gives the others is formed once for all of them (AREG). A loaded sum that comes from block RAM waits in
the block's register instead."""


@dataclass(frozen=True)
class Mode:
    """A width of weights and operands, and what its lanes may cost.

    Parameters
    ----------
    name : str
    engine : dict
        Fields of EngineConfig.
    lanes_per_dsp : int
    carry_per_dsp, carry_at_end : int
        CARRY4 cells that the fabric may spend for each DSP slice, and at the end of the drain chain.
    """

    name: str
    engine: dict = field(default_factory=dict)
    lanes_per_dsp: int = 1
    carry_per_dsp: int = 0
    carry_at_end: int = 0

    @property
    def sizes(self) -> dict[int, tuple[int, int]]:
        """Lanes -> rows, contexts; lists are for one context."""
        return {lanes: (lanes, 1) for lanes in SIZES} if self.engine.get("lists") else SIZES


MODES = (
    Mode("16bit", {"weight_bits": 16, "operand_bits": 16, "accumulator_bits": 44}),
    Mode("16bit_lifted", {"weight_bits": 16, "operand_bits": 16, "lifts": (0, 9), "accumulator_bits": 44}),
    Mode("16bit_lists", {"weight_bits": 16, "operand_bits": 16, "lists": True, "accumulator_bits": 44}),
    Mode("16bit_windows", {"weight_bits": 16, "operand_bits": 16, "window": 64, "accumulator_bits": 44}),
    # The counter of a pair's wraps, 12 bits, and in front of the cell unit one subtractor for the whole array.
    Mode(
        "8bit",
        {"weight_bits": 8, "operand_bits": 8, "accumulator_bits": 28, "hidden": QFormat(0, 7)},
        lanes_per_dsp=2,
        carry_per_dsp=3,
        carry_at_end=7,
    ),
    # With windows a lane has a slice to itself.
    Mode(
        "8bit_windows",
        {"weight_bits": 8, "operand_bits": 8, "window": 64, "accumulator_bits": 28, "hidden": QFormat(0, 7)},
    ),
)
ENGINE = EngineConfig(
    rows=128,
    contexts=7,
    cells=2,
    axi_data_bits=512,
    x_per_beat=8,
    activation="pwl",
    weight_words=5120,
    h_elements=256,
    states=1792,
    x_elements=14336,
    accumulators=65,
    block_sums=4,
)
"""The SBE bench's engine for the Zynq 7Z045, whose components are measured."""


WITH_LISTS = replace(ENGINE, contexts=1, x_per_beat=1, x_elements=2048, states=256, lists=True)
"""An engine with lists, whose components that differ are measured beside those."""
OF_LISTS = ("InputUnit", "MacUnit", "VectorMemory", "LanePath", "LaneGroup", "CellUnit", "ListPath")


DECODED = {
    **{name: EngineConfig(rows=12, axi_data_bits=64, decoder=name, accumulators=128) for name in DECODERS},
    "bitmap/48 rows": EngineConfig(rows=48, axi_data_bits=256, decoder="bitmap", accumulators=128),
}
"""Decoders of a weight port: of E-LSTM's 12 rows and port of 64 bits, and one of four times as many."""


MOST_LEVELS = 6
"""LUTs in a row that a component may have; those from component to component are counted and not held to it."""
COMPONENTS = {
    "Control": lambda config: Control(config_words(config), config.program_length),
    "Sequencer": Sequencer,
    "InputUnit": InputUnit,
    "LoadUnit": lambda config: LoadUnit(
        config.axi_address_bits, config.axi_data_bits, config.outstanding, config.max_burst
    ),
    "FillUnit": FillUnit,
    "MacUnit": MacUnit,
    "VectorMemory": VectorMemory,
    "LanePath": lambda config: LanePath(config, issue_layout(config)),
    "LaneGroup": lambda config: LaneGroup(config, 0),
    "Cell": Cell,
    "CellUnit": CellUnit,
    "ListPath": ListPath,
    # Paths from component to component; the lanes are a chain of equal groups, so one group shows them all.
    "Engine": lambda config: Engine(replace(config, rows=16, contexts=1, axi_data_bits=128)),
}
"""Name -> function from EngineConfig to the component as the engine has it."""


def synthesised(component, name, folder=FOLDER):
    """Counts of a component alone; see :func:`lstm_hw.verilog.tools.yosys_stat`."""
    return yosys_stat(write_verilog(f"{folder}/{name}.v", component, name), name, "xc7", folder)


def lane_rows(mode, rows, contexts, folder=FOLDER, **depths):
    """Rows of a lane array.

    Raises
    ------
    VerificationError
        The lanes take more DSP slices or fabric adders than they may, leave registers of the slices unused, or have
        sums in LUT memory that should be in block RAM.
    """
    config = EngineConfig(rows=rows, contexts=contexts, **{**DEPTHS, **depths}, **mode.engine)
    where = f"{config.lanes}, sums in block RAM" if config.block_sum_rows else f"{config.lanes}"
    name = f"lanes_{mode.name}_{config.lanes}{'_block_ram' if config.block_sum_rows else ''}"
    stat = synthesised(LaneArray(config), name, folder)
    slices, carry = stat["dsp"], stat["cells"].get("CARRY4", 0)
    if slices * mode.lanes_per_dsp != config.lanes:
        raise VerificationError(name, f"{slices} DSP slices", f"must be one for {mode.lanes_per_dsp} of the lanes")
    used = {kind: sum(stat["dsp_registers"][register] for register in names) for kind, names in REGISTERS.items()}
    loaded_outside = slices * config.block_sum_rows // config.group_rows
    for kind, count in used.items():
        must = slices - loaded_outside if kind == "loaded" else slices
        if count != must:
            raise VerificationError(name, f"{kind} register in {count} of {slices} slices", f"must be in {must}")
    if config.block_sum_rows == config.group_rows and config.finished_in_block_ram:
        of_windows = config.lanes * mapped(window_memory(config), "xc7").lutram if config.window else 0
        if stat["lutram"] != of_windows:
            rule = f"must be {of_windows}, those of windows, with all sums in block RAM"
            raise VerificationError(name, f"{stat['lutram']} LUTs as memory", rule)
    if carry > mode.carry_per_dsp * slices + mode.carry_at_end:
        rule = f"must be at most {mode.carry_per_dsp} a DSP slice and {mode.carry_at_end} beside them"
        raise VerificationError(name, f"{carry} CARRY4", rule)
    memory = f"LUT memory for {config.accumulators} accumulators and {config.finish_entries} finished sums a lane"
    if config.lanes == DEEP_LANES:
        check_groups(f"{folder}/{name}.v", name, stat, folder)
    figures = {
        "dsp_per_lane": (slices, "DSP48E1"),
        "lut_per_lane": (stat["lut"], "LUTs used as logic"),
        "lutram_per_lane": (stat["lutram"], memory),
        "ff_per_lane": (stat["ff"], "flip-flops"),
        "carry4_per_lane": (carry, "CARRY4"),
        "bram_per_lane": (stat["bram36"], f"36 Kb, {config.weight_words} words"),
        **{f"{kind}_registers_per_lane": (count, "in DSP48E1") for kind, count in used.items()},
    }
    result = [
        Row(metric, f"{mode.name}/{where}", count / config.lanes, unit, None, stat["tool"])
        for metric, (count, unit) in figures.items()
    ]
    return [*result, Row("lut_levels", f"{mode.name}/{where}", stat["lut_levels"], "LUTs", None, stat["tool"])]


def group_modules(verilog):
    """The modules of lane groups in an emitted file, one a kind."""
    return re.findall(r"^module (\w+_group\d+)\b", Path(verilog).read_text(), re.MULTILINE)


def check_groups(verilog, name, flat, folder=FOLDER):
    """Compare what :mod:`bench.boards` does for hundreds of lanes with a count that is made flat.

    Each kind of lane group is synthesised once and counted as often as it is there. Nothing is minimised across their
    borders, so there may be more LUTs and flip-flops: with lists and sums in block RAM a quarter more LUTs. Parts
    are mapped otherwise, with up to a tenth fewer LUTs. Everything else is the same.

    Parameters
    ----------
    verilog : path-like
        Of a lane array.
    name : str
        Its top module.
    flat : dict
        What :func:`lstm_hw.verilog.tools.yosys_stat` counted of it as a whole.
    folder : path-like

    Raises
    ------
    VerificationError
        The counts differ.
    """
    found = yosys_stat(verilog, name, "xc7", folder, group_modules(verilog))
    for kind, (less, more) in BY_GROUPS.items():
        if not (1 - less) * flat[kind] <= found[kind] <= (1 + more) * flat[kind]:
            rule = f"must be {flat[kind]:g}, as made flat" + (f", {less:.0%} less to {more:.0%} more" if more else "")
            raise VerificationError(f"{name} by groups", f"{found[kind]:g} {kind}", rule)


def level_rows(config, folder=FOLDER, only=None, most=MOST_LEVELS):
    """Rows with the deepest path of each component, or of those named in ``only``; with lists also with their size.

    Raises
    ------
    VerificationError
        A component has more than ``most`` LUTs in a row.
    """
    result = []
    kind = "lists" if config.lists else "component"
    for name, create in COMPONENTS.items():
        if name in only if only else name != "ListPath":
            stat = synthesised(create(config), f"{kind}_{name.lower()}", folder)
            levels, where = stat["lut_levels"], f"{kind}/{name}"
            if name != "Engine" and levels > most:
                raise VerificationError(f"{kind} {name}", f"{levels} LUTs in a row", f"must be at most {most}")
            result.append(Row("lut_levels", where, levels, "LUTs", None, stat["tool"]))
            if config.lists:
                counted = {"component_lut": "lut", "component_ff": "ff", "component_bram": "bram36"}
                result += [Row(m, where, stat[c], c, None, stat["tool"]) for m, c in counted.items()]
    return result


FORMATS = {
    "16 bits": {},
    "24-bit c": {"cell": QFormat(7, 16)},
    "20-bit pre-activations": {"preact": QFormat(3, 16), "cell": QFormat(3, 16)},
    "24-bit c, 20-bit pre-activations": {"preact": QFormat(3, 16), "cell": QFormat(7, 16)},
    "pre-activations of two layers": {"shifts": (15, 15), "preact": QFormat(4, 11), "preact_shifts": (0, 4)},
    "h of two layers": {"shifts": (15, 15), "h_shifts": (0, 2)},
    "24-bit c of two layers": {"shifts": (15, 15), "cell": QFormat(11, 12), "c_shifts": (0, 8)},
}
"""Formats of the cell -> fields of EngineConfig."""


def cell_rows(folder=FOLDER, formats=FORMATS):
    """Rows of a cell alone, with the formats that may be wider than 16 bits."""
    result = []
    for number, (name, fields) in enumerate(formats.items()):
        stat = synthesised(Cell(EngineConfig(**fields)), f"cell_{number}", folder)
        units = {"dsp": "DSP48E1", "lut": "LUTs used as logic", "ff": "flip-flops", "lut_levels": "LUTs"}
        result += [
            Row(f"cell_{metric}", name, stat[metric], unit, None, stat["tool"]) for metric, unit in units.items()
        ]
    return result


def decoder_rows(name, folder=FOLDER, most=MOST_LEVELS):
    """Rows with the size and the deepest path of a weight port's decoder.

    Raises
    ------
    VerificationError
        It has more than ``most`` LUTs in a row.
    """
    config = DECODED[name]
    stat = synthesised(DECODERS[config.decoder](config), f"decoder_{config.decoder}_{config.rows}", folder)
    if stat["lut_levels"] > most:
        raise VerificationError(f"decoder {name}", f"{stat['lut_levels']} LUTs in a row", f"must be at most {most}")
    counted = {"lut_levels": "lut_levels", "component_lut": "lut", "component_lutram": "lutram", "component_ff": "ff"}
    return [Row(m, f"decoder/{name}", stat[c], c, None, stat["tool"]) for m, c in counted.items()]


def rows(task: dict) -> list[dict]:
    """Rows of a lane array (``mode``, ``lanes``, ``deep``), of ``cells``, a ``component`` or a ``decoder``; a task."""
    if "decoder" in task:
        found = decoder_rows(task["decoder"])
    elif "mode" in task:
        mode = MODES[task["mode"]]
        found = lane_rows(mode, *mode.sizes[task["lanes"]], **(DEEP if task["deep"] else {}))
    elif "component" in task:
        found = level_rows(WITH_LISTS if task["lists"] else ENGINE, only=(task["component"],))
    else:
        found = cell_rows()
    return [asdict(row) for row in found]


@command(RESULT, update)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that count at a time.")
@click.option("--cluster", metavar="ADDRESS", help="A dask.distributed scheduler, whose workers count instead.")
def main(jobs, cluster):
    """Print what a lane and a cell cost and how deep each component's logic is, and add all of it to the JSON file."""
    tasks = []
    for number, mode in enumerate(MODES):
        tasks += [{"mode": number, "lanes": lanes, "deep": False} for lanes in mode.sizes]
        tasks.append({"mode": number, "lanes": DEEP_LANES, "deep": True})
    tasks.append({"cells": True})
    tasks += [{"component": name, "lists": False} for name in COMPONENTS if name != "ListPath"]
    tasks += [{"component": name, "lists": True} for name in OF_LISTS]
    tasks += [{"decoder": name} for name in DECODED]
    result = []
    for task, found in zip(tasks, run_tasks(rows, tasks, jobs=jobs, cluster=cluster, label="lanes"), strict=True):
        found = [Row(**row) for row in found]
        result += found
        if "mode" in task and not task["deep"] and task["lanes"] == max(MODES[task["mode"]].sizes):
            # The largest stands for the mode.
            result += [replace(row, config=MODES[task["mode"]].name) for row in found]
    return result


if __name__ == "__main__":
    main()
