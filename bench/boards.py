"""What large engines and the boards' designs take of their parts, and how fast they are (``make bench-boards``).

Each resource is counted by Yosys and held to what the part has by itself, with the headroom of
:data:`lstm_hw.machine.parts.HEADROOM`. Where something does not fit, a clock is missed or a case fails, its row says so
behind ``MISSED``, the other cases have theirs, and the bench ends with status 1. Of the engines with hundreds of
lanes each kind of lane group is synthesised once and counted as often as it is there, so nothing is minimised across
their borders (:func:`bench.lanes.check_groups` compares); boards are made flat. ``lut`` has the LUTs of both uses,
``lut_memory`` those that are memory or shift registers.

The clock of the engine alone is the median of three placements on an ECP5 of speed grade 6, aimed at 100 MHz; that of
boards with an ECP5 is their bitstream's. ``gate_level_digits`` are classified by the ULX3S's netlist, with equal bits.
Everything is kept by what it follows from, under ``build``.
"""

import statistics
import sys

import click

from boards.ecp5 import Ecp5
from boards.gate_level import simulate
from boards.plan import BOARDS, Plan, scenario_of
from lstm_hw.errors import ConfigError, LstmHwError
from lstm_hw.gateware.top import Top
from lstm_hw.machine.parts import HEADROOM, Usage, part_of
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.plan.choose import choose
from lstm_hw.plan.sizing import engine_formats, network_of
from lstm_hw.plan.target import Target
from lstm_hw.progress import progress
from lstm_hw.project.api import convert
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_components, yosys_stat

from . import fmax
from .lanes import group_modules
from .sbe import DEVICES
from .sbe_case import prepared
from .table import FOLDER, MISSED, Row, text, update
from .workloads import random_model, workload

RESULT = f"{FOLDER}/boards.json"
CACHE = "build/boards-bench"
PROJECT = "examples/digits/digits.toml"
FAILED = "failed"
"""Metric of a case that has no figures."""
SEEDS = (1, 2, 3)
AIM_MHZ = 100
"""What the engine alone must reach."""
DIGITS = 10
RESOURCES = {"DSP": "dsp", "BRAM36": "bram", "LUT": "lut", "LUT as memory": "lut_memory", "FF": "ff"}
"""Resource of a part -> metric."""
UNITS = {"dsp": "blocks", "bram": "36 Kb", "lut": "LUTs of both uses", "lut_memory": "LUTs", "ff": "flip-flops"}
STREAMED = ("xc7z020", "sacc_256", {"rows": 48, "contexts": 4}, {"batch": 8, "case": 3, "pinned": 16})
"""Part, layer, engine and options of a schedule whose weights, twice the part's block RAM, stream from memory."""
ENGINES = {
    "sbe/zynq7045": ("xc7z045", lambda: _sbe(DEVICES[0])),
    "sbe/virtex690t": ("xc7vx690t", lambda: _sbe(DEVICES[1])),
    "streamed/xc7z020": (STREAMED[0], lambda: streamed(*STREAMED)),
}
"""Name -> part, and function to the EngineConfig."""


def _sbe(device):
    """The engine that the bench of blocking-batching runs."""
    _, planner, _ = prepared(device.case, workload(device.workload))
    return planner.config


def streamed(part, layer, given, options):
    """The engine that ``[target]`` makes of a part for blocking-batching with weights in memory (EngineConfig)."""
    layer, sequences = workload(layer), given["contexts"]
    model, _ = random_model(layer, sequences, "pwl")
    choice = choose(
        network_of(model),
        layer.steps,
        schedule="sbe",
        options=options,
        sequences=sequences,
        given=given,
        formats=engine_formats(model),
        target=Target(part=part_of(part)),
        memory=lambda config: MemoryModel(latency=40),
    )
    return choice.outcome.plan.config


def counted(config, name, family, folder=CACHE):
    """What Yosys counts of an engine, of each kind of lane group once times instances.

    Returns
    -------
    Usage, str
        And the Yosys that counted.
    """
    verilog = write_verilog(f"{folder}/{name.replace('/', '-')}.v", Top(config), TOPLEVEL)
    stat = yosys_stat(verilog, TOPLEVEL, family, folder, group_modules(verilog))
    return Usage.of_stat(stat), stat["tool"]


def rows(name, usage, part, source):
    """Count and capacity of each resource; what does not fit, with its headroom, is marked."""
    result, lacking = [], {text.split(" ", 3)[3].split(" (")[0]: text for text in part.lacking(usage)}
    for resource, (taken, there) in part.shares(usage).items():
        metric, share = RESOURCES[resource], HEADROOM.get(resource, 1)
        most = f"{part.name}: {part.source}" + (f"; a design may take {share:.0%}" if share < 1 else "")
        where = f"{MISSED}takes {lacking[resource]}; {source}" if resource in lacking else source
        result += [
            Row(metric, name, taken, UNITS[metric], None, where),
            Row(f"{metric}_capacity", name, there, UNITS[metric], None, most),
        ]
    return result


def engine_rows(name, folder=CACHE):
    """Rows of one of ``ENGINES``."""
    part, create = ENGINES[name]
    part, config = part_of(part), create()
    with progress(f"count {name}"):
        usage, tool = counted(config, name, part.family, folder)
    lanes = Row("lanes", name, config.lanes, "lanes", None, "configuration")
    return [lanes, *rows(name, usage, part, f"{tool}, lane groups counted once times instances")]


def board_rows(plan):
    """Rows of a board's design."""
    part = part_of(plan.platform.board.part)
    with progress(f"count {plan.board}"):
        usage = plan.counted()
    return rows(plan.board, usage, part, "Yosys, the board's design around the digits engine")


def control_rows(config, folder=CACHE):
    """LUTs of the engine beside its lanes, each component counted by itself."""
    verilog = write_verilog(f"{folder}/digits.v", Top(config), TOPLEVEL)
    parts = yosys_components(verilog, TOPLEVEL, "xc7", folder)
    outside = [part for part in parts if part["name"] != "engine.lanes"]
    if len(outside) != len(parts) - 1:
        raise ConfigError("components", [part["name"] for part in parts], "must have engine.lanes")
    source = "Yosys, 7 series, components by themselves, without engine.lanes"
    return [
        Row(
            "control_lut",
            CONTROL,
            sum(part["lut"] + part["lutram"] for part in outside),
            "LUTs of both uses",
            None,
            source,
        )
    ]


def clock_rows(config):
    """Clock of the digits engine alone on an ECP5-6."""
    layouts = fmax.measure(config, Ecp5(progress=progress), SEEDS)
    rates = [fmax.clock_rate(layout)[0] for layout in layouts]
    rate, source = statistics.median(rates), f"Yosys and nextpnr-ecp5, median of seeds {', '.join(map(str, SEEDS))}"
    if rate < AIM_MHZ:
        source = f"{MISSED}must reach {AIM_MHZ} MHz; {source}"
    return [Row("fmax_mhz", CLOCK, round(rate, 2), "MHz", None, source)]


def gate_level_rows(project):
    """Digits that the netlist of the ULX3S's bitstream classifies through the host protocol, behind its self-test."""
    plan = Plan(NETLIST_BOARD, scenario_of(project))
    simulate(plan, scenario_of(project, DIGITS), f"{CACHE}/gate_level", progress=progress)
    source = "netlist under Verilator, bits equal the reference"
    return [Row("gate_level_digits", plan.board, DIGITS, "digits", None, source)]


def bitstream_rows(plan):
    """Clock of a design on an ECP5, placed and routed."""
    layout = plan.layout(progress=progress)
    rate, source = round(min(layout.fmax_mhz.values()), 2), "nextpnr-ecp5, slowest clock"
    if rate < plan.clock_mhz:
        source = f"{MISSED}must reach {plan.clock_mhz:g} MHz; {source}"
    return [Row("fmax_mhz", plan.board, rate, "MHz", None, source)]


def case_rows(name, project):
    """Rows of one of ``CASES``; of a case that fails, one that tells why."""
    try:
        return _case_rows(name, project)
    except LstmHwError as error:
        return [Row(FAILED, name, None, "-", None, f"{MISSED}{' '.join(str(error).split())}")]


def _case_rows(name, project):
    if name in ENGINES:
        return engine_rows(name)
    if name == CONTROL:
        return control_rows(project.engine)
    if name == CLOCK:
        return clock_rows(project.engine)
    if name == NETLIST:
        return gate_level_rows(project)
    plan = Plan(name, scenario_of(project))
    return board_rows(plan) + (bitstream_rows(plan) if plan.platform.open_tools else [])


CONTROL, CLOCK = "digits", "engine/ecp5-6"
NETLIST_BOARD = "ulx3s"
NETLIST = f"{NETLIST_BOARD}/netlist"
CASES = (*ENGINES, CONTROL, CLOCK, NETLIST, *BOARDS)


@click.command()
@click.option("--case", "names", multiple=True, type=click.Choice(CASES), help="Measure these only; all without it.")
@click.option("--output", default=RESULT, show_default=True, help="JSON file that the rows are added to.")
def main(names, output):
    """Print what engines and boards take beside what their parts have, and how fast they are.

    \b
    The first run takes about half an hour; results are kept.
    Examples:
      python -m bench.boards
      python -m bench.boards --case sbe/zynq7045 --case ulx3s
    """
    try:
        result, project = [], convert(PROJECT, progress=progress)
        for name in names or CASES:
            result += case_rows(name, project)
            update(output, result, [(FAILED, name)])  # what a later case costs is not worth losing them
        print(text(result))
        print(f"wrote {output}")
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    missed = [f"{row.metric} of {row.config}" for row in result if row.source.startswith(MISSED)]
    if missed:
        sys.exit(f"error: missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
