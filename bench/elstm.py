"""The benchmark layers of E-LSTM beside its published figures (``python -m bench.elstm``).

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019, with masks of the
published sparsities by a fixed seed:

- cycles of the six layers at 12 multipliers and one 64-bit port, in the interpreter, whose outputs are the integer
  reference's and whose cycles are the Verilog's, beside E-LSTM's equation for fused layers and its baseline. Weights
  are dense (``fused``), in eSELL or as bit maps; a threshold leaves out as many groups of h as published, at most,
  but for ``fused`` and ``bitmap_all_of_h``, which leave out none;
- words of eSELL and of the bit map, and bits of a 768 x 768 matrix in each format against its sparsity, as in the
  paper's figure.

Inputs and weights under the masks are random. ``--verilog NAME`` also runs a layer in Verilog, with ``--kind`` and,
where all steps would take hours, ``--steps``.
"""

from collections.abc import Callable, Iterable, Sequence
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
from lstm_hw.plan.compressed_sacc import CompressedSaccPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.progress import progress
from lstm_hw.project.plots import save
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.runs import ModelReference, Piece, expected_runs, image_words

from .table import FOLDER, Row, command, update
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
KINDS = {
    "fused": (FusionPlanner, False, {"rows": 4, "contexts": 3, "x_per_beat": 4}),
    "esell": (CompressedPlanner, True, {"rows": ROWS, "decoder": "esell"}),
    "bitmap": (CompressedPlanner, True, {"rows": ROWS, "decoder": "bitmap"}),
    "bitmap_sacc": (CompressedSaccPlanner, True, {"rows": ROWS, "decoder": "bitmap"}),
    "bitmap_all_of_h": (CompressedPlanner, False, {"rows": ROWS, "decoder": "bitmap"}),
}
"""What runs on 12 lanes -> planner, whether groups of h are left out, fields of the engine. ``fused`` is E-LSTM's way:
three groups of four lanes, of which one multiplies h; on this engine that is for dense weights."""
STACK = ("mnist_1", "mnist_2")
"""Layers that are also run on one another, which is what they are."""
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


def planned(planner: Callable, network: Network, batch: int, **fields) -> Plan:
    """The plan of layers on the smallest engine; ConfigError if their sums do not fit.

    Parameters
    ----------
    planner : callable (Network, EngineConfig, batch) -> StackPlanner
    network : Network
    batch : int
    **fields
        Of the engine, ``rows`` among them.
    """
    blocks = max(layer.blocks(fields["rows"]) for layer in network.recurrent)
    deep = {"weight_words": 8192, "x_elements": 1 << 16, "h_elements": 1 << 13, "states": 1 << 13}
    deep |= {"accumulators": 1 << ENTRY_BITS, "finish_entries": blocks, "program_length": 512}
    deep |= {"axi_data_bits": PORT_BITS, "sparse_h": bool(network.sparse_h)}
    config = EngineConfig(**deep | fields)
    needs = planner(network, config, batch).needs
    return planner(network, EngineConfig(**{**vars(config), **needs}), batch).plan()


def best_plan(planner: Callable, network: Network, steps: int, **fields) -> tuple[Plan, int]:
    """The plan with the fewest cycles of all batches that fit, and these cycles; parameters as of :func:`planned`.

    Of one layer, behind the first batch that takes more cycles none takes fewer.
    """
    found, contexts = [], fields.get("contexts", 1)
    for batch in (batch for batch in BATCHES if batch <= steps and batch % contexts == 0):
        try:
            plan = planned(planner, network, batch, **fields)
        except ConfigError as error:
            if error.subject == "batch":  # an odd one
                continue
            break
        found.append((count_cycles(plan, steps, memory=MEMORY).cycles, plan))
        if len(network.recurrent) == 1 < len(found) and found[-1][0] > found[-2][0]:
            break
    cycles, plan = min(found, key=lambda pair: pair[0])
    return plan, cycles


def quantised(*names: str) -> tuple[QuantModel, np.ndarray]:
    """Random weights under the masks of layers on one another, and stored random inputs (1, steps, Lx)."""
    first, rng, layers = workload(names[0]), np.random.default_rng(SEED), []
    for layer in map(workload, names):
        bound = 1 / np.sqrt(layer.hidden)
        matrices = [rng.uniform(-bound, bound, mask.shape) * (mask != 0) for mask in masks(layer)]
        layers.append(LstmWeights(*matrices, rng.uniform(-bound, bound, 4 * layer.hidden)))
    model = FloatModel(tuple(layers), None, source=names[0])
    x = rng.uniform(-1, 1, (1, first.steps, first.input))
    qmodel = quantize(model, x[:, :4], QuantConfig(activation="pwl"))
    return qmodel, qmodel.quantize_input(x)


def layer_plan(names: Sequence[str], kind: str, qmodel: QuantModel, x: np.ndarray) -> Plan:
    """The best plan of a layer, or of some on one another, for one of :data:`KINDS`, with the share of groups of h that
    x really has."""
    network = network_of(qmodel, activity=kept_share(qmodel, x) if qmodel.sparse_h else ())
    # Its zeros are those of the masks: of random weights some more are rounded to 0.
    shapes = tuple(
        replace(shape, used=tuple(matrix != 0 for matrix in masks(workload(name))))
        for shape, name in zip(network.recurrent, names, strict=True)
    )
    formats = engine_formats(qmodel) | {"accumulator_bits": accumulator_bits(network, WEIGHT_BITS)}
    planner, _, of_kind = KINDS[kind]
    fields = {"shifts": tuple(layer.shift for layer in network.layers), **formats, **of_kind}
    return best_plan(planner, replace(network, layers=shapes), workload(names[0]).steps, **fields)[0]


def interpreted(name: str, plan: Plan, qmodel: QuantModel, x: np.ndarray) -> dict[str, int]:
    """Counters of a run whose outputs are the integer reference's, with the groups of h that there really were."""
    with progress(name) as update:
        words = image_words(plan, qmodel)
        *_, run = expected_runs(plan, words, ModelReference(qmodel), [Piece(x)], MEMORY, update)
    return run.counters


def published_rows(name: str) -> list[Row]:
    """E-LSTM's cycles of a layer by its equation, with the steps of fusion that its tuner takes."""
    w, u, layer = *esell_words(name), workload(name)
    cycles = {fuse: elstm_cycles(w, u * (1 - layer.sparsity_h), layer.steps, fuse) for fuse in FUSE}
    fuse = min(cycles, key=cycles.get)
    equation = f"equation of fused layers, Shi et al. 2019; N = {fuse} takes the fewest of N = {FUSE[0]} to {FUSE[-1]}"
    return [
        Row("cycles", f"{name}/published_fused", round(cycles[fuse]), "cycles", fused_cycles(name), equation),
        Row("batch", f"{name}/published_fused", (PROCESSORS - 1) * fuse, "steps a fetch of W_x", None, equation),
    ]


def esell_words(name: str) -> tuple[int, int]:
    """Words of eSELL of W_x and of W_h."""
    return tuple(int(esell.encode(matrix)[1].sum()) for matrix in masks(workload(name)))


def fused_cycles(name: str) -> int:
    """Cycles that its published speed-up gives."""
    return round(BASELINE[name] * 1e6 / SPEEDUP[name])


def cycle_rows(name: str, kinds: Iterable[str], fused: float) -> list[Row]:
    """Cycles of a layer in the interpreter; ``fused`` are E-LSTM's by its equation."""
    baseline = elstm_cycles(*esell_words(name), workload(name).steps, 1)
    dense, x = quantised(name)
    sparse, rows = leaving_out(dense, x, workload(name).sparsity_h), []
    for kind in kinds:
        qmodel = sparse if KINDS[kind][1] else dense
        plan = layer_plan([name], kind, qmodel, x)
        counters, config = interpreted(name, plan, qmodel, x), f"{name}/{kind}"
        cycles, ours = counters["cycles"], f"interpreter, {plan.config.weight_words} weight words"
        if qmodel.sparse_h:
            ours += f", {1 - plan.network.activity[0]:.1%} of the groups of h left out"
        rows += [
            Row("cycles", config, cycles, "cycles", fused_cycles(name), ours),
            Row("batch", config, plan.batch, "steps a fetch of W_x", None, "the fewest cycles by the cycle model"),
            Row("speedup", config, round(baseline / cycles, 3), "x", SPEEDUP[name], "over its baseline"),
            Row("speedup_over_fused", config, round(fused / cycles, 3), "x", None, "over its equation"),
        ]
    return rows


def stack_rows() -> list[Row]:
    """Cycles of two layers in one run, each with its published share of groups of h that are left out, about."""
    qmodel, x = quantised(*STACK)
    chosen = [leaving_out(qmodel, x, workload(name).sparsity_h).sparse_h for name in STACK]
    qmodel = replace(qmodel, sparse_h=tuple(sizes[number] for number, sizes in enumerate(chosen)))
    name, rows, theirs = "+".join(STACK), [], sum(map(fused_cycles, STACK))
    for kind in ("bitmap", "bitmap_sacc"):
        plan = layer_plan(STACK, kind, qmodel, x)
        cycles = interpreted(name, plan, qmodel, x)["cycles"]
        left_out = ", ".join(f"{1 - share:.1%}" for share in plan.network.activity)
        ours = f"interpreter, one run, batch of {plan.batch}; {left_out} of the groups of h left out"
        rows.append(Row("cycles", f"{name}/{kind}", cycles, "cycles", theirs, f"{ours}; theirs: layer by layer"))
    return rows


def verilog_row(name: str, kind: str, steps: int | None) -> Row:
    """Cycles of the emitted Verilog, whose outputs and counters are the interpreter's."""
    qmodel, x = quantised(name)
    if KINDS[kind][1]:
        qmodel = leaving_out(qmodel, x, workload(name).sparsity_h)
    plan, x = layer_plan([name], kind, qmodel, x), x[:, :steps]
    counters = play(f"elstm_{name}_{kind}", qmodel, plan, x, MEMORY, f"{FOLDER}/elstm_{kind}")
    ours = f"Verilog, outputs and cycles of the interpreter, {x.shape[1]} steps, batch of {plan.batch}"
    some = "" if x.shape[1] == workload(name).steps else f" of {x.shape[1]} steps"
    return Row("cycles", f"{name}/{kind} in Verilog{some}", counters["cycles"], "cycles", None, ours)


@command(RESULT, update)
@click.option("--layer", "layers", multiple=True, type=click.Choice(LAYERS), help="Only this layer; else all.")
@click.option("--verilog", multiple=True, type=click.Choice(LAYERS), help="Run this layer in Verilog as well.")
@click.option("--kind", type=click.Choice([*KINDS]), default="bitmap", show_default=True, help="What runs in Verilog.")
@click.option("--steps", type=click.IntRange(1), help="Time steps of a run in Verilog; else all of the layer's.")
def main(layers, verilog, kind, steps):
    """Cycles and words of the six layers of E-LSTM, and bits of each format against sparsity."""
    layers, rows = layers or LAYERS, []
    if left := sorted(set(verilog) - set(layers)):
        raise click.UsageError(f"--verilog {left[0]}: must be one of the layers of --layer")
    for name in layers:
        click.echo(name, err=True)
        published = published_rows(name)
        rows += [*published, *cycle_rows(name, KINDS, published[0].ours), *word_rows(name)]
        if name in verilog:
            rows.append(verilog_row(name, kind, steps))
    if set(STACK) <= set(layers):
        rows += stack_rows()
    return [*rows, *volume_rows()], [f"wrote {PLOT}"]


if __name__ == "__main__":
    main()
