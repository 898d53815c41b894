"""Delta networks (``python -m bench.sparse``): activity, cycles and bytes a step of two examples, and of a layer of a
published size by the cycle model.

Thresholds of the examples lose a share of the right labels at most. Their cycles are the Verilog's, of test sequences
whose bits are the integer reference's, beside those of the resident schedule on an engine of the same shape. The
published figure is EdgeDRNN's (Gao et al., JETCAS 2020): a GRU whose weights are in DRAM reaches 10.1 times the peak of
its multipliers at a delta sparsity of about 0.9. Weights stay on chip here, and in the rows ``columns/...``, as there,
those of what changed are read from memory. A quarter of a GRU's products is by zeros, which count for nothing.
"""

from dataclasses import replace
from types import MappingProxyType

import click
import numpy as np

from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.model.delta import activity, with_thresholds
from lstm_hw.model.float_model import FloatModel, GruWeights, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.plan.delta_columns import ColumnPlanner
from lstm_hw.plan.sizing import engine_and_plan, engine_formats, network_of
from lstm_hw.progress import progress
from lstm_hw.project.api import Project
from lstm_hw.project.keys import DeltaSection, MemorySection, PlanSection, TargetSection
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.cycles import long_steps
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, expected_runs, image_words

from .table import FOLDER, Row, command, update
from .windows import halved_rows, resident_rows, stacked_rows, streamed_rows

RESULT = f"{FOLDER}/sparse.json"
EXAMPLES = ("digits", "vowels")
LOSS = 0.005
"""Share of right labels that thresholds may lose."""
SHAPE = {"rows": 16, "cells": 5}
"""Of the engines of the examples."""
SIZE, ROWS, STEPS = 768, 32, 20
ACTIVITIES = (1.0, 0.5, 0.2, 0.1, 0.05)
EDGE_ROWS, EDGE_STEPS, EDGE_MHZ, MEMORY = 8, 12, 125, MemoryModel(latency=40)
"""EdgeDRNN's multipliers and clock."""
COLUMNS = {"weight_bits": 8, "axi_data_bits": 64, "list_loads": True}
EDGE_SIZES, EDGE_LEFT = (40, 768, 768), 0.1
"""EdgeDRNN's GRU, two layers of 768 units behind 40 features, and the share of its products that is left."""
EDGEDRNN = {0.1: 20.2 / 2.0}
"""Activity -> effective rate over the peak of the multipliers, published."""


def example_rows(name, images, samples=None):
    """Rows of an example: its dense engine beside the one with thresholds."""
    config = ProjectConfig.load(f"examples/{name}/{name}.toml")
    engine = MappingProxyType(dict(SHAPE))
    output = replace(config.output, dir="build/sparse")
    plain = replace(
        config, target=TargetSection(), plan=PlanSection(), memory=MemorySection(), engine=engine, output=output
    )
    dense = Project(replace(plain, name=f"{name}_dense"), progress=progress)
    found = dense.thresholds(loss=LOSS, samples=samples)
    section = DeltaSection(found.x, found.h)
    delta = Project(replace(plain, name=f"{name}_delta", delta=section), dense.model, progress=progress)
    where = f"delta/{name}, {SHAPE['rows']} lanes"
    result = [
        Row("activity", f"{where}/{label}", share, "of the elements", None, f"thresholds for a loss of {LOSS:.1%}")
        for label, share in zip(("x", *(f"h{n}" for n in range(len(found.h)))), found.activity, strict=True)
    ]
    result.append(Row("products_left", where, found.products, "of the dense ones", None, "activity"))
    for label, project in (("thresholds", delta), ("dense", dense)):
        measured = project.simulate(images)
        cycles = project.cycles_measured(measured)
        read = cycles.run["read_beats"] * project.engine.beat_bytes
        source = f"emitted Verilog, {measured.simulator}"
        figures = {
            "cycles_per_step": (cycles.per_step, "cycles"),
            "bytes_per_step": (read / cycles.steps, "bytes"),
            "accuracy": (project.accuracy()["integer"], "of the labels"),
        }
        result += [Row(metric, f"{where}/{label}", *values, None, source) for metric, values in figures.items()]
    return result


def model_rows(kind="lstm", size=SIZE, rows=ROWS, steps=STEPS):
    """Rows of a layer of so many inputs and units by the cycle model, at several activities."""
    result = []
    for share in ACTIVITIES:
        network = Network((LayerShape(kind, size, size, 15),), thresholds=(0, 0), activity=(share, share))
        config, plan = engine_and_plan(network, None, rows=rows, cells=5)
        short, long = (count_cycles(plan, count).cycles for count in (steps, long_steps(steps)))
        cycles = (long - short) / (long_steps(steps) - steps)
        where = f"delta/{kind.upper()} {size}/{size}, {config.lanes} lanes/activity {share:g}"
        source = "cycle model"
        gain = network.macs(1) / (cycles * config.lanes)
        published = EDGEDRNN.get(share)
        beside = source if published is None else f"{source}; EdgeDRNN: a GRU, weights in DRAM, 20.2 of 2.0 Gop/s"
        result += [
            Row("activity", where, share, "of the elements", None, "assumed"),
            Row("cycles_per_step", where, cycles, "cycles", None, source),
            Row("bytes_per_step", where, 0, "bytes", None, f"{source}: weights stay on chip"),
            Row("gain_over_peak", where, gain, "of the multipliers' peak", published, beside),
        ]
    return result


def column_rows(kind="lstm", size=SIZE, rows=EDGE_ROWS, steps=EDGE_STEPS):
    """Rows of such a layer whose weights are in memory: 8 bits each, on as many lanes as the port brings in a cycle."""
    result = []
    for share in ACTIVITIES:
        network = Network((LayerShape(kind, size, size, 15),), thresholds=(0, 0), activity=(share, share))
        config, plan = engine_and_plan(network, ColumnPlanner, rows=rows, **COLUMNS)
        short, long = (count_cycles(plan, count, memory=MEMORY) for count in (steps, 2 * steps))
        cycles, beats = (long.cycles - short.cycles) / steps, (long.read_beats - short.read_beats) / steps
        operations, gain = 2 * network.macs(1), network.macs(1) / (cycles * config.lanes)
        where = f"columns/{kind.upper()} {size}/{size}, {config.lanes} lanes, 64-bit port/activity {share:g}"
        source, published = "cycle model, memory of 40 cycles latency", EDGEDRNN.get(share)
        beside = source if published is None else f"{source}; EdgeDRNN: a GRU, 20.2 of 2.0 Gop/s"
        gops = Row("effective_gops", where, operations / cycles * EDGE_MHZ / 1e3, "Gop/s", published and 20.2, beside)
        result += [
            Row("activity", where, share, "of the elements", None, "assumed"),
            Row("cycles_per_step", where, cycles, "cycles", None, source),
            Row("bytes_per_step", where, beats * config.beat_bytes, "bytes", None, source),
            Row("port_busy", where, beats / cycles, "of the cycles", None, source),
            Row("gain_over_peak", where, gain, "of the multipliers' peak", published, beside),
            replace(gops, source=f"{beside}; at {EDGE_MHZ} MHz"),
        ]
    return result


def edge_model(kind="gru", sizes=EDGE_SIZES, steps=EDGE_STEPS, seed=0, left=EDGE_LEFT):
    """A quantised model of random weights of such layers, and stored inputs, (1, twice the steps, Lx), that wander. Its
    thresholds leave about a share of the products of the later half of the steps."""
    rng, layers = np.random.default_rng(seed), []
    for inputs, units in zip(sizes, sizes[1:], strict=False):
        rows = (3 if kind == "gru" else 4) * units
        w_x, w_h = (rng.normal(scale=n**-0.5, size=(rows, n)) for n in (inputs, units))
        of_gates = (w_x, w_h, np.zeros(rows), np.zeros(rows))
        layers.append(GruWeights.of_gates(*of_gates, "layer") if kind == "gru" else LstmWeights(*of_gates[:3]))
    x = np.cumsum(0.2 * rng.normal(size=(1, 2 * steps, sizes[0])), axis=1)
    dense = quantize(
        FloatModel(tuple(layers), None, False), x, QuantConfig(weight_bits=8, rounding="nearest", scale_inputs=False)
    )
    low, high, stored = 0.0, 0.5, dense.quantize_input(x)
    for _ in range(8):
        middle = (low + high) / 2
        found = with_thresholds(dense, middle, [middle] * len(layers))
        many = _products_left(found, _later_activity(found, stored)) > left
        low, high = (middle, high) if many else (low, middle)
    return with_thresholds(dense, high, [high] * len(layers)), stored


def _later_activity(qmodel, x):
    """That of the later half of the steps: twice that of all, less that of the first half."""
    first = activity(qmodel, x[:, : x.shape[1] // 2])
    return tuple(2 * both - early for both, early in zip(activity(qmodel, x), first, strict=True))


def _products_left(qmodel, shares):
    """Of all products of a step, those with what changes."""
    sizes = [layer.input_size for layer in qmodel.layers], [layer.hidden_size for layer in qmodel.layers]
    below = shares[: len(qmodel.layers)]
    parts = [(h, x * of_x + h * of_h, x + h) for x, h, of_x, of_h in zip(*sizes, below, shares[1:], strict=True)]
    return sum(h * changed for h, changed, _ in parts) / sum(h * columns for h, _, columns in parts)


def edge_rows(kind="gru", sizes=EDGE_SIZES, rows=EDGE_ROWS, steps=EDGE_STEPS):
    """Rows of EdgeDRNN's own network in the interpreter: real values, whose outputs are the integer reference's."""
    qmodel, x = edge_model(kind, sizes, steps)
    shares = _later_activity(qmodel, x)
    network = network_of(qmodel, activity=shares)
    config, plan = engine_and_plan(network, ColumnPlanner, rows=rows, **engine_formats(qmodel) | COLUMNS)
    pieces = [Piece(x[:, :steps]), Piece(x[:, steps:], False)]
    _, _, run = expected_runs(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, MEMORY)
    cycles, read = (run.counters[name] / steps for name in ("cycles", "read_beats"))
    operations, source = 2 * network.macs(1), "interpreter, outputs are the integer reference's"
    layers = f"{len(sizes) - 1} layers of {sizes[-1]} behind {sizes[0]}"
    where = f"columns/{kind.upper()}, {layers}, {config.lanes} lanes, 64-bit port"
    beside = f"{source}; EdgeDRNN at 125 MHz, 20.2 of 2.0 Gop/s"
    labels = ("x", *(f"h{n}" for n in range(len(sizes) - 1)))
    return [
        *(
            Row("activity", f"{where}/{n}", share, "of the elements", None, "reference")
            for n, share in zip(labels, shares, strict=True)
        ),
        Row("products_left", where, _products_left(qmodel, shares), "of the dense ones", None, "activity"),
        Row("cycles_per_step", where, cycles, "cycles", None, source),
        Row("bytes_per_step", where, read * config.beat_bytes, "bytes", None, source),
        Row("port_busy", where, read / cycles, "of the cycles", None, source),
        Row(
            "gain_over_peak", where, operations / 2 / (cycles * config.lanes), "of the multipliers' peak", 10.1, beside
        ),
        Row("effective_gops", where, operations / cycles * EDGE_MHZ / 1e3, "Gop/s", 20.2, beside),
    ]


@command(RESULT, update)
@click.option("--images", type=click.IntRange(1), default=4, show_default=True, help="Test sequences to simulate.")
@click.option("--samples", type=click.IntRange(1), help="Sequences that thresholds are chosen by; all without it.")
def main(images, samples):
    """Print activity, cycles and bytes a step of delta networks and of pruned ones beside dense ones, and write them as
    JSON."""
    result = [row for rows in (model_rows, column_rows) for kind in ("lstm", "gru") for row in rows(kind)]
    click.echo("EdgeDRNN's network", err=True)
    result += edge_rows()
    click.echo("windows", err=True)
    result += resident_rows() + streamed_rows() + halved_rows() + stacked_rows()
    for name in EXAMPLES:
        click.echo(name, err=True)
        result += example_rows(name, images, samples)
    return result, ["Outputs equal the integer reference in every bit, counters the interpreter's in every run."]


if __name__ == "__main__":
    main()
