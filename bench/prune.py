"""What pruning costs and what it would save (``python -m bench.prune``): accuracy against sparsity, padding, imbalance.

The digits and the vowels examples, pruned by every pattern at three shares, before and after fine-tuning. The digits
are trained on with their training images and labels, from scikit-learn; the vowels towards the outputs of the model
before it was pruned, for the 64 utterances of the calibration set alone. W_x of the first layer, of 8 or 12 columns,
stays.
Accuracies are the float model's on the sequences held out, but for those at a width (``w8 x16``), which are the integer
reference's, whose bits are the Verilog's.

Padding is the zeros stored so that lanes may march in step, over non-zeros; imbalance is cycles over non-zeros / lanes.
Both are counts of :mod:`lstm_hw.prune.balance`, for random weights of one large layer and for the examples. Needs
torch and scikit-learn.
"""

import importlib.util
import io
from collections.abc import Callable
from dataclasses import replace

import click
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lstm_hw.errors import ConfigError
from lstm_hw.files import write_file
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.progress import progress
from lstm_hw.project.api import Project, load
from lstm_hw.prune import (
    BankBalanced,
    ColumnBalanced,
    LoadBalanced,
    MaskPattern,
    NOfM,
    PruneConfig,
    Pruned,
    RowBalanced,
    Unstructured,
    balance,
    prune,
    quantizing,
)
from lstm_hw.prune.balance import ORGANISATIONS

from .table import FOLDER, Row, command

RESULT, PLOT = f"{FOLDER}/prune.json", f"{FOLDER}/prune.png"
SHARES = (0.75, 0.875, 0.9375)
EPOCHS = {"digits": 20, "vowels": 60}
RATES = {"digits": 1e-2, "vowels": 5e-3}
BATCH = 64
WIDTH = 8
"""Bits of the weights where fine-tuning is quantisation-aware."""
UNITS = 1024
"""Hidden units, and inputs, of the large layer."""
LANES = (64, 512)
MULTIPLE = LANES[-1] // 4
"""Of which the units are one."""
MADE_FOR = {
    "unstructured": "both",
    "N:M": "window",
    "bank_balanced": "window",
    "row_balanced": "both",
    "column_balanced": "slot",
    "load_balanced": "both",
}
"""Pattern -> the organisation of lanes that it suits."""


def configs(name: str, share: float) -> dict[str, PruneConfig]:
    """Every pattern at a share, by what a row calls it; more of a kind at one share each."""
    keep = 1 - share
    common = {"skip": ("0.w_x",)}
    found = {
        "unstructured": PruneConfig("unstructured", sparsity=share, **common),
        "N:M": PruneConfig(f"{round(16 * keep)}:16", **common),
        "bank_balanced": PruneConfig("bank_balanced", bank=32, keep=round(32 * keep), **common),
        "row_balanced": PruneConfig("row_balanced", sparsity=share, **common),
        "column_balanced": PruneConfig("column_balanced", parts=16, sparsity=share, **common),
        "load_balanced": PruneConfig("load_balanced", parts=16, sparsity=share, **common),
        "block_circulant": PruneConfig("block_circulant", block=round(1 / keep), **common),
    }
    if name == "digits" and share == 0.9375:  # 256 rows: sub-columns of 32 and 64
        for parts in (8, 4):
            label = f"column_balanced {round(256 / parts * keep)} of {256 // parts}"
            found[label] = replace(found["column_balanced"], parts=parts)
    if name == "vowels" and share == 0.875:
        found["row_balanced x 0.9, h 0.85"] = replace(found["row_balanced"], sparsity=(0.9, 0.85))
    return found


def training(name: str, project: Project) -> tuple[np.ndarray, np.ndarray, Callable | None]:
    """Inputs, targets and augmentation of an example."""
    if name == "digits":
        spec = importlib.util.spec_from_file_location("train_digits", "examples/digits/train.py")
        train = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(train)
        images, labels, _, _ = train.split()
        return images * train.INPUT_SCALE, labels.astype(np.int64), train.augmented
    calibration = project.data.calibration
    return calibration, float_reference(project.trained, calibration)[0], None


def examples(names, shares, epochs=None, patterns=None):
    """Rows of the examples."""
    import torch

    torch.set_num_threads(1)
    for name in names:
        project = load(f"examples/{name}/{name}.toml")
        dense = project.metric.score(float_reference(project.trained, project.x)[0])
        yield Row("accuracy", f"{name}/dense", 100 * dense, "%", None, f"float model, {len(project.x)} sequences")
        cases = [
            (label, share, config)
            for share in shares
            for label, config in configs(name, share).items()
            if patterns is None or label in patterns
        ]
        with progress(f"{name}: prune and fine-tune") as report:
            for number, (label, share, config) in enumerate(cases):
                yield from example(project, name, f"{label} {share:g}", config, epochs or EPOCHS[name])
                if report:
                    report(number + 1, len(cases))


def example(project: Project, name: str, label: str, config: PruneConfig, epochs: int):
    """Rows of an example and a pattern."""
    from lstm_hw.prune.tune import fine_tune

    x, targets, augment = training(name, project)
    pruned = prune(project.trained, config)
    options = {"rate": RATES[name], "batch": BATCH, "augment": augment}
    tuned = fine_tune(pruned, x, targets, epochs=epochs, **options)
    where, source = f"{name}/{label}", f"{config.pattern}, seed 0, {epochs} epochs"
    matrices = [matrix for matrix in pruned.matrices if matrix.pattern is not None]
    weights = sum(matrix.weights.size for matrix in matrices)
    saved = sum(matrix.saved * matrix.weights.size for matrix in matrices) / weights
    yield Row("sparsity", where, 100 * saved, "% of pruned matrices", None, f"{weights:,} weights, exact count")
    for state, found in (("pruned", pruned), ("tuned", tuned)):
        score = project.metric.score(float_reference(found.model, project.x)[0])
        yield Row("accuracy", f"{where}/{state}", 100 * score, "%", None, f"float model, {source}")
    if label == "bank_balanced 0.875":
        numbers = QuantConfig(weight_bits=WIDTH)
        calibration = project.data.calibration
        aware = fine_tune(tuned, x, targets, numbers, calibration, epochs=max(1, epochs // 10), **options)
        for state, found in (("tuned", tuned), ("tuned aware", aware)):
            score = integer_accuracy(project, found, numbers)
            source = f"integer reference, {len(project.x)} sequences"
            yield Row("accuracy", f"{where}/{state} w{WIDTH} x16", 100 * score, "%", None, source)
    pattern = matrices[0].pattern
    if isinstance(pattern, MaskPattern):
        organisation = MADE_FOR[pattern.name]
        for lanes in LANES:
            found = [balance(matrix.mask, lanes, organisation) for matrix in matrices]
            nonzeros = sum(one.nonzeros for one in found)
            measures = (
                ("padding", sum(one.stored for one in found) / nonzeros - 1),
                ("imbalance", sum(one.cycles for one in found) * lanes / nonzeros),
            )
            for metric, value in measures:
                yield Row(metric, f"{where}/{lanes} lanes, {organisation}", value, _UNITS[metric], None, "exact count")


_UNITS = {"padding": "zeros a non-zero", "imbalance": "cycles over non-zeros / lanes"}


def integer_accuracy(project: Project, pruned: Pruned, config: QuantConfig) -> float:
    """What the metric says of a model in the hardware's numbers."""
    qmodel = quantize(pruned.model, project.data.calibration, quantizing(config, pruned))
    stored, _ = integer_reference(qmodel, qmodel.quantize_input(project.x))
    return project.metric.score(qmodel.dequantize_output(stored))


def layer_masks(units: int, lanes: int):
    """Masks of one layer with normal weights, at 87.5 %, by pattern; those of parts have as many as there are lanes."""
    weights = np.random.default_rng(0).standard_normal((4 * units, 2 * units))
    share = 0.875
    for pattern in (
        Unstructured(share),
        NOfM(1, 8),
        BankBalanced(64, 8),
        RowBalanced(share),
        ColumnBalanced(lanes, share),
        LoadBalanced(lanes, share),
    ):
        yield str(pattern), pattern.mask(weights)
    rows = [RowBalanced(share).mask(part) for part, share in zip(np.split(weights, 2, 1), (0.9, 0.85), strict=True)]
    yield "row_balanced of sparsity 0.9 (x) and 0.85 (h)", np.concatenate(rows, axis=1)


def layer(units: int = UNITS, all_lanes=LANES):
    """Rows of the large layer."""
    with progress(f"balance of {units} units") as report:
        for number, lanes in enumerate(all_lanes):
            for pattern, mask in layer_masks(units, lanes):
                for organisation in ORGANISATIONS:
                    found = balance(mask, lanes, organisation)
                    where = f"{units} units/{pattern}/{lanes} lanes, {organisation}"
                    for metric in ("padding", "imbalance"):
                        yield Row(metric, where, getattr(found, metric), _UNITS[metric], None, "exact count")
            if report:
                report(number + 1, len(all_lanes))


def curves(rows):
    """Example -> (accuracy of the dense model, pattern -> [(sparsity, pruned, tuned)]), in %."""
    values, found = {(row.metric, row.config): row.ours for row in rows}, {}
    for (metric, config), value in values.items():
        if metric == "accuracy" and config.endswith("/dense"):
            found[config.split("/")[0]] = value, {}
        if metric == "sparsity":
            name, label = config.split("/")
            states = tuple(values["accuracy", f"{config}/{state}"] for state in ("pruned", "tuned"))
            found[name][1].setdefault(label.rsplit(" ", 1)[0], []).append((value, *states))
    return found


def tables(rows):
    """Accuracies as lines: patterns down, shares across, before and after fine-tuning."""
    for name, (dense, patterns) in curves(rows).items():
        yield ""
        yield f"{name}: accuracy in %, pruned -> fine-tuned, dense {dense:.2f}"
        for pattern, points in patterns.items():
            shown = "  ".join(f"{share:6.2f}%: {pruned:5.2f} -> {tuned:5.2f}" for share, pruned, tuned in points)
            yield f"{pattern:28} {shown}"


def plot(rows, path):
    """Draw accuracy against sparsity, a panel an example, as a PNG file."""
    found = curves(rows)
    figure = Figure(figsize=(5.5 * max(1, len(found)), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, (dense, patterns)) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        for number, (pattern, points) in enumerate(patterns.items()):
            shares, pruned, tuned = zip(*sorted(points), strict=True)
            axes.plot(shares, tuned, marker="o", markersize=4, color=f"C{number}", label=pattern)
            axes.plot(shares, pruned, marker="x", markersize=4, color=f"C{number}", linestyle=":", alpha=0.6)
        axes.axhline(dense, color="k", linestyle="--", linewidth=1, label="dense")
        axes.set_title(f"{name}: fine-tuned, and as pruned (dotted)")
        axes.set_xlabel("weights that need no storage, %")
        axes.set_ylabel("accuracy, %")
        axes.legend(fontsize="small")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120, metadata={"Software": None})
    return write_file(path, content.getvalue())


@command(RESULT)
@click.option("--example", "names", multiple=True, type=click.Choice(list(EPOCHS)), help="These examples only.")
@click.option("--share", "shares", multiple=True, type=click.Choice([f"{s:g}" for s in SHARES]), help="These only.")
@click.option("--pattern", "patterns", multiple=True, help="These patterns only, as rows call them.")
@click.option("--epochs", type=click.IntRange(1), help="Of fine-tuning, instead of 20 (digits) and 60 (vowels).")
@click.option("--units", default=UNITS, show_default=True, type=click.IntRange(128, 8192), help="Of the large layer.")
@click.option("--plot", "drawing", default=PLOT, show_default=True, help="PNG file of the curves.")
def main(names, shares, patterns, epochs, units, drawing):
    """Print accuracy against sparsity of every pattern, before and after fine-tuning, with padding and imbalance."""
    if units % MULTIPLE:
        raise ConfigError("--units", units, f"must be a multiple of {MULTIPLE}, for parts of {LANES[-1]} lanes")
    rows = list(examples(names or tuple(EPOCHS), tuple(map(float, shares)) or SHARES, epochs, patterns or None))
    rows += layer(units)
    return rows, [*tables(rows), f"wrote {plot(rows, drawing)}"]


if __name__ == "__main__":
    main()
