"""The benchmark layers of E-LSTM beside its published figures (``python -m bench.elstm``).

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019, with masks of the
published sparsities by a fixed seed:

- cycles of the six layers at 12 multipliers and one 64-bit port, in the interpreter, whose outputs are the integer
  reference's and whose cycles are the Verilog's, beside E-LSTM's equation for fused layers and its baseline. A
  threshold leaves out as many groups of h as published, at most; rows ``bitmap_all_of_h`` leave out none;
- words of eSELL and of the bit map, and bits of a 768 x 768 matrix in each format against its sparsity, as in the
  paper's figure.

Inputs and weights under the masks are random. ``--verilog NAME`` also runs a layer in Verilog.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure

from lstm_hw.errors import ConfigError
from lstm_hw.machine import esell
from lstm_hw.machine.bitmap import Bitmap
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.isa import ENTRY_BITS
from lstm_hw.machine.network import Network
from lstm_hw.machine.pack import to_blocks
from lstm_hw.machine.plan import Plan
from lstm_hw.model.float_model import FloatModel, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.sparse_h import kept_share, leaving_out
from lstm_hw.plan.compressed import CompressedPlanner
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.progress import progress
from lstm_hw.project.plots import save
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, expected_runs, image_words

from .table import FOLDER, Row, command
from .verilog import play
from .workloads import Workload, workload

RESULT, PLOT = f"{FOLDER}/elstm.json", f"{FOLDER}/elstm_volume.png"
LAYERS = ("mnist_1", "mnist_2", "ptb_1", "ptb_2", "wikitext_1", "wikitext_2")
ROWS, WEIGHT_BITS, PORT_BITS = 12, 16, 64
"""E-LSTM's 12 multipliers and its weight port."""
GROUP = 4
"""Columns of a segment of the bit map."""
SIZE, SPARSITIES = 768, tuple(n / 20 for n in range(20))
SEED = 0
PROCESSORS, FUSE = 3, range(1, 9)
"""E-LSTM's processing elements, and steps of fusion that its tuner tries."""
BASELINE = {"mnist_1": 0.391, "mnist_2": 0.618, "ptb_1": 28.6, "ptb_2": 26.4, "wikitext_1": 94.5, "wikitext_2": 104.9}
"""Mcycles of its baseline, from its equation with N = 1 and h without zeros."""
SPEEDUP = {"mnist_1": 1.32, "mnist_2": 1.56, "ptb_1": 2.23, "ptb_2": 1.92, "wikitext_1": 1.78, "wikitext_2": 1.81}
"""Published speed-up of fused layers over it."""
BATCHES = (2, 3, 4, 5, 6, 7, 10, 14)
MEMORY = MemoryModel(latency=40)


def weights(rng: np.random.Generator, rows: int, columns: int, sparsity: float) -> np.ndarray:
    """Random stored weights (rows, columns), of which exactly the share ``sparsity`` is zero."""
    matrix = rng.integers(1, 1 << WEIGHT_BITS - 1, rows * columns) * rng.choice([-1, 1], rows * columns)
    matrix[rng.permutation(rows * columns)[: round(rows * columns * sparsity)]] = 0
    return matrix.reshape(rows, columns)


def segments(matrix: np.ndarray, group: int = GROUP) -> np.ndarray:
    """Words of the engine's segments (segments, words, rows): all row blocks of ``group`` columns in each."""
    blocks = to_blocks(np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % group))), ROWS)
    return blocks.reshape(len(blocks), ROWS, -1, group).transpose(2, 0, 3, 1).reshape(-1, len(blocks) * group, ROWS)


def volumes(matrix: np.ndarray) -> dict[str, int]:
    """Bits of a matrix in each format.

    CSC has a row number beside each weight and, a column, the number of weights in front of it.
    """
    rows, columns = matrix.shape
    used = int(np.count_nonzero(matrix))
    pointers = (columns + 1) * used.bit_length()
    return {
        "dense": matrix.size * WEIGHT_BITS,
        "csc": used * (WEIGHT_BITS + (rows - 1).bit_length()) + pointers,
        "esell": len(esell.encode(matrix)[0]) * esell.WORD_BITS,
        "bitmap": int(Bitmap(ROWS, WEIGHT_BITS, PORT_BITS).beats(segments(matrix)).sum()) * PORT_BITS,
    }


def volume_rows() -> list[Row]:
    """Bits of a square matrix against its sparsity; also a plot."""
    rng, found = np.random.default_rng(SEED), {}
    for sparsity in SPARSITIES:
        found[sparsity] = volumes(weights(rng, SIZE, SIZE, sparsity))
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    for name in found[0]:
        axes.plot(SPARSITIES, [found[s][name] / 1e6 for s in SPARSITIES], marker=".", label=name)
    axes.set_xlabel(f"sparsity of a {SIZE} x {SIZE} matrix")
    axes.set_ylabel("Mbit")
    axes.legend()
    save(figure, Path(PLOT))
    config = "{0} x {0}/{1:.0%}/{2}"
    return [
        Row("bits", config.format(SIZE, sparsity, name), bits, "bits", None, f"encoder, seed {SEED}")
        for sparsity, formats in found.items()
        for name, bits in formats.items()
    ]


def word_rows(name: str) -> list[Row]:
    """64-bit words of both matrices of a layer."""
    layer, rng = workload(name), np.random.default_rng(SEED)
    rows = []
    for part, columns, sparsity in (("w", layer.input, layer.sparsity_w), ("u", layer.hidden, layer.sparsity_u)):
        matrix = weights(rng, 4 * layer.hidden, columns, sparsity)
        for kind, bits in volumes(matrix).items():
            words = -(-bits // PORT_BITS)
            rows.append(Row("words", f"{name}/{part}/{kind}", words, "words", None, f"encoder, seed {SEED}"))
    return rows


def masks(layer: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Random stored weights of W_x and W_h, with exactly the published share of zeros."""
    rng = np.random.default_rng(SEED)
    parts = ((layer.input, layer.sparsity_w), (layer.hidden, layer.sparsity_u))
    return tuple(weights(rng, 4 * layer.hidden, columns, sparsity) for columns, sparsity in parts)


def elstm_cycles(w: int, u: float, steps: int, fuse: int) -> float:
    """E-LSTM's equation for a fused layer.

    Parameters
    ----------
    w, u : int
        Words of eSELL of W_x, and of those columns of W_h whose h is kept.
    steps : int
    fuse : int
        N, cycles that a word of W_x is held.
    """
    others = PROCESSORS - 1
    batch = others * fuse
    between = fuse * w + max(0, fuse * others * u - (fuse - 1) * w)
    return fuse * w + (-(-steps // batch) - 1) * between + ((steps - 1) % batch + 1) * u


def compressed_plan(network: Network, batch: int, **fields) -> Plan:
    """The plan of a layer on the smallest engine of 12 lanes; ConfigError if its sums do not fit."""
    shape = network.recurrent[0]
    deep = {"weight_words": 8192, "x_elements": 1 << 16, "h_elements": shape.outputs, "states": shape.outputs}
    deep |= {"accumulators": 1 << ENTRY_BITS, "finish_entries": shape.blocks(ROWS), "program_length": 512}
    deep |= {"axi_data_bits": PORT_BITS, "decoder": "bitmap", "sparse_h": bool(network.sparse_h)}
    config = EngineConfig(ROWS, **deep | fields)
    needs = CompressedPlanner(network, config, batch).needs
    return CompressedPlanner(network, EngineConfig(**{**vars(config), **needs}), batch).plan()


def best_plan(network: Network, steps: int, **fields) -> tuple[Plan, int]:
    """The plan with the fewest cycles of all batches that fit, and these cycles."""
    found = []
    for batch in (batch for batch in BATCHES if batch <= steps):
        try:
            plan = compressed_plan(network, batch, **fields)
        except ConfigError:
            break
        found.append((count_cycles(plan, steps, memory=MEMORY).cycles, plan))
        if len(found) > 1 and found[-1][0] > found[-2][0]:
            break
    cycles, plan = min(found, key=lambda pair: pair[0])
    return plan, cycles


def quantised(name: str) -> tuple[QuantModel, np.ndarray]:
    """Random weights under a layer's masks, and stored random inputs (1, steps, Lx)."""
    layer, rng = workload(name), np.random.default_rng(SEED)
    bound = 1 / np.sqrt(layer.hidden)
    matrices = [rng.uniform(-bound, bound, mask.shape) * (mask != 0) for mask in masks(layer)]
    model = FloatModel((LstmWeights(*matrices, rng.uniform(-bound, bound, 4 * layer.hidden)),), None, source=name)
    x = rng.uniform(-1, 1, (1, layer.steps, layer.input))
    qmodel = quantize(model, x[:, :4], QuantConfig(activation="pwl"))
    return qmodel, qmodel.quantize_input(x)


def layer_plan(name: str, qmodel: QuantModel, x: np.ndarray) -> Plan:
    """The best plan of a layer, with the share of groups of h that x really has."""
    network = network_of(qmodel, activity=kept_share(qmodel, x) if qmodel.sparse_h else ())
    # Its zeros are those of the masks: of random weights some more are rounded to 0.
    shape = replace(network.recurrent[0], used=tuple(matrix != 0 for matrix in masks(workload(name))))
    formats = engine_formats(qmodel) | {"accumulator_bits": accumulator_bits(network, WEIGHT_BITS)}
    fields = {"shifts": tuple(layer.shift for layer in network.layers), **formats}
    return best_plan(replace(network, layers=(shape,)), workload(name).steps, **fields)[0]


def interpreted(name: str, plan: Plan, qmodel: QuantModel, x: np.ndarray) -> int:
    """Cycles of a run whose outputs are the integer reference's, with the groups of h that there really were."""
    with progress(name) as update:
        words = image_words(plan, qmodel)
        *_, run = expected_runs(plan, words, ModelReference(qmodel), [Piece(x)], MEMORY, update)
    return run.counters["cycles"]


def cycle_rows(name: str, verilog: bool = False) -> list[Row]:
    """Cycles of a layer, ours beside theirs; with ``verilog`` also those of the emitted Verilog."""
    layer = workload(name)
    w, u = (int(esell.encode(matrix)[1].sum()) for matrix in masks(layer))
    fused = min(elstm_cycles(w, u * (1 - layer.sparsity_h), layer.steps, fuse) for fuse in FUSE)
    baseline = elstm_cycles(w, u, layer.steps, 1)
    published = round(BASELINE[name] * 1e6 / SPEEDUP[name])
    equation = "equation of fused layers, Shi et al. 2019"
    rows = [Row("cycles", f"{name}/published_fused", round(fused), "cycles", published, equation)]
    dense, x = quantised(name)
    for config, qmodel in (("bitmap_all_of_h", dense), ("bitmap", leaving_out(dense, x, layer.sparsity_h))):
        plan = layer_plan(name, qmodel, x)
        cycles = interpreted(name, plan, qmodel, x)
        ours = f"interpreter, batch of {plan.batch}, {plan.config.weight_words} weight words"
        if qmodel.sparse_h:
            ours += f", {1 - plan.network.activity[0]:.1%} of the groups of h left out"
        rows += [
            Row("cycles", f"{name}/{config}", cycles, "cycles", published, ours),
            Row("speedup", f"{name}/{config}", round(baseline / cycles, 3), "x", SPEEDUP[name], "over its baseline"),
            Row("speedup_over_fused", f"{name}/{config}", round(fused / cycles, 3), "x", None, "over its equation"),
        ]
    if verilog:
        counters = play(f"elstm_{name}", qmodel, plan, x, MEMORY, f"{FOLDER}/elstm")
        ours = f"Verilog, outputs and cycles of the interpreter, batch of {plan.batch}"
        rows.append(Row("cycles", f"{name}/verilog", counters["cycles"], "cycles", published, ours))
    return rows


@command(RESULT)
@click.option("--verilog", multiple=True, type=click.Choice(LAYERS), help="Run this layer in Verilog as well.")
def main(verilog):
    """Cycles and words of the six layers of E-LSTM, and bits of each format against sparsity."""
    rows = []
    for name in LAYERS:
        click.echo(name, err=True)
        rows += [*cycle_rows(name, name in verilog), *word_rows(name)]
    return [*rows, *volume_rows()], [f"wrote {PLOT}"]


if __name__ == "__main__":
    main()
