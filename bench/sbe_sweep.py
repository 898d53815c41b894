"""Batch, lanes and bandwidth against the published performance model of SBE (part of ``python -m bench.sbe``).

Every point is a program, timed cycle by cycle by the model that equals the Verilog; some are run in Verilog as well.
Beside it stands what equations (2), (3), (5) and (6) of Que et al. give for the same lanes, bandwidth and batch. They
fetch all weights once a batch; the engine keeps W_h over batches in case 1, and fetches ahead while it computes, so
that it can be better than they say. The start of a run and the cell unit's tail after its last step count.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from lstm_hw.plan.layer import words_of
from lstm_hw.plan.sbe_model import alpha, knee, operations, peak_rate, stream_rate, throughput
from lstm_hw.progress import progress
from lstm_hw.project.plots import save
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel

from .sbe_case import Case, measure, prepared
from .table import FOLDER, Row, text, write
from .workloads import Workload, workload

RESULT, PLOT = f"{FOLDER}/sbe_sweep.json", f"{FOLDER}/sbe_roofline.png"
HOMES = {1: "case 1: W_h resident", 2: "case 2: W_h once a batch", 3: "case 3: half of W_h at every step"}
BATCHES = (1, 2, 4, 8, 16, 32)
LATENCY = 40
ENTRIES = 256
"""Accumulator entries of an engine, which limit the batch."""


@dataclass(frozen=True)
class Sweep:
    """A layer, the engines (fields of EngineConfig, cycles a beat) for it, batches that also run in Verilog, cases."""

    layer: Workload
    engines: tuple
    verilog: tuple = ()
    homes: tuple = tuple(HOMES)


def engine(rows, bits, contexts=1):
    """Fields of EngineConfig; memory width in bits."""
    return {
        "rows": rows,
        "contexts": contexts,
        "axi_data_bits": bits,
        "accumulators": ENTRIES,
        "program_length": 256,
        "cells": 5,
        "x_per_beat": 8 if contexts > 1 else 1,
    }


SWEEPS = (
    Sweep(
        workload("lrcn"),
        (
            (engine(64, 512), 1),
            (engine(128, 512, 4), 1),
            (engine(256, 512), 1),
            (engine(128, 512), 4),
            (engine(128, 64), 1),
        ),
    ),
    Sweep(Workload("small", 192, 64, 32, "made up"), ((engine(32, 64), 1),), verilog=(1, 4, 16)),
)


@dataclass(frozen=True)
class Point:
    """One program: rates in operations a cycle.

    Parameters
    ----------
    layer : str
    home : int
        Case.
    lanes, batch : int
    knee : float
        N_pe / N_t.
    peak, published, ours : float
        N_pe, what the equations give, what was measured.
    verilog : bool
        Measured in Verilog, not only by the timing model.
    """

    layer: str
    home: int
    lanes: int
    batch: int
    knee: float
    peak: float
    published: float
    ours: float
    verilog: bool = False

    @property
    def name(self):
        return f"{self.layer}, case {self.home}, {self.lanes} lanes, knee {self.knee:g}, B = {self.batch}"

    def row(self):
        how = "emitted Verilog" if self.verilog else "timing model"
        return Row(
            "operations_per_cycle",
            self.name,
            self.ours,
            f"operations a cycle of {self.peak:g}",
            self.published,
            f"{how}; published: equations of Que et al., ASAP 2019",
        )


def cases(sweep):
    """(case, whether it also runs in Verilog) of every point.

    The buffer holds what the case needs, in case 3 half of W_h; the tail hides behind pinned columns.
    """
    layer = sweep.layer
    for fields, interval in sweep.engines:
        block = -(-4 * layer.hidden // fields["rows"])
        stride = -(-layer.input // fields["x_per_beat"]) * fields["x_per_beat"]
        for home in sweep.homes:
            for batch in BATCHES:
                if batch * block < ENTRIES and layer.steps % batch == 0:
                    whole = fields | {"x_elements": layer.steps * stride}
                    name = f"{layer.name}, case {home}, B = {batch}"
                    yield Case(name, whole, batch, home, MemoryModel(LATENCY, interval)), batch in sweep.verilog


def with_buffer(case, layer):
    """The case with a weight buffer as deep as it needs."""
    _, planner, _ = prepared(replace(case, engine=case.engine | {"weight_words": 1 << 16}), layer)
    (home,) = planner.layers
    hidden = sum(tile.words for tile in home.step_tiles[1:])
    words = planner.needs["weight_words"]
    if case.home == 3:
        words = words_of(home.bias_tiles()) + home.step_tiles[0].words + hidden // 2 + words - planner.resident
    return replace(case, engine=case.engine | {"weight_words": words})


def point(planner, memory, counters, measured, verilog=False):
    """A measured point and its published figure."""
    config, (home,) = planner.config, planner.layers
    layer = home.layer
    resident = (layer.matrix_rows * layer.outputs - home.refetched * config.rows) * config.weight_bits // 8
    n_pe, n_t = peak_rate(config), stream_rate(config, memory)
    operations_made = operations(layer) * measured.steps * config.contexts
    return Point(
        measured.name,
        planner.case,
        config.lanes,
        planner.batch,
        knee(config, memory),
        n_pe,
        throughput(n_pe, n_t, planner.batch, alpha(layer, resident, config.weight_bits)),
        operations_made / counters["cycles"],
        verilog,
    )


def sweep_points(sweep, folder, update=lambda done, total: None):
    """All points of a sweep; those that also run in Verilog come twice.

    Raises
    ------
    VerificationError
        Verilog, interpreter and reference differ.
    """
    points, every = [], list(cases(sweep))
    for done, (case, verilog) in enumerate(every):
        update(done, len(every))
        case = with_buffer(case, sweep.layer)
        _, planner, _ = prepared(case, sweep.layer)
        counters = count_cycles(planner.plan(), sweep.layer.steps, memory=case.memory).to_dict()
        points.append(point(planner, case.memory, counters, sweep.layer))
        if verilog:
            _, counters = measure(case, sweep.layer, folder)
            points.append(point(planner, case.memory, counters, sweep.layer, verilog=True))
    update(len(every), len(every))
    return points


def draw(points, path):
    """The rooflines and the points on them: a row of plots a layer, a column a case, a colour a knee."""
    layers = list(dict.fromkeys(p.layer for p in points))
    figure = Figure(figsize=(13, 4.2 * len(layers)), layout="constrained")
    grid = figure.subplots(len(layers), len(HOMES), sharex=True, sharey=True, squeeze=False)
    for axes_row, layer in zip(grid, layers, strict=True):
        for axes, (home, title) in zip(axes_row, HOMES.items(), strict=True):
            _roofline(axes, [p for p in points if (p.layer, p.home) == (layer, home)])
            axes.set(title=f"{layer}, {title}", xlabel="batch B (time steps)", ylabel="share of N_pe (%)")
    save(figure, path)


def _roofline(axes, points):
    engines = list(dict.fromkeys((p.knee, p.lanes) for p in points))
    for number, (knee_, lanes) in enumerate(sorted(engines)):
        mine = sorted((p for p in points if (p.knee, p.lanes) == (knee_, lanes)), key=lambda p: p.batch)
        timed, colour = [p for p in mine if not p.verilog], f"C{number}"
        axes.plot([p.batch for p in timed], [100 * p.published / p.peak for p in timed], color=colour, linewidth=1)
        axes.axvline(knee_, color=colour, linewidth=0.7, linestyle=":")
        axes.plot(
            [p.batch for p in timed],
            [100 * p.ours / p.peak for p in timed],
            "o",
            color=colour,
            fillstyle="none",
            label=f"{lanes} lanes, knee {knee_:g}",
        )
        checked = [p for p in mine if p.verilog]
        axes.plot([p.batch for p in checked], [100 * p.ours / p.peak for p in checked], "x", color=colour)
    axes.plot([], [], "-", color="black", linewidth=1, label="equations (2), (3), (5), (6)")
    axes.plot([], [], "x", color="black", label="Verilog")
    axes.plot([], [], ":", color="black", linewidth=0.7, label="knee N_pe / N_t")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="x-small")


def report():
    """Run all sweeps, print published beside measured figures, write rows and plot."""
    points = []
    for sweep in SWEEPS:
        with progress(f"sweep {sweep.layer.name}") as update:
            points += sweep_points(sweep, f"build/sbe/sweep-{sweep.layer.name}", update)
    rows = [p.row() for p in points]
    print(text(rows))
    print(f"wrote {write(RESULT, rows)}")
    draw(points, Path(PLOT))
    print(f"wrote {PLOT}")
