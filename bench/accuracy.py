"""What few bits do to trained models (``python -m bench.accuracy``): accuracy, errors, clipping, lost weights.

Every example of ``examples/`` with weights of 16 to 4 bits and operands of 16, as rounded and after fine-tuning towards
the float model's outputs for its calibration set; the fewest weight bits, by layer and matrix, that meet a bound, as
the greedy search of ``lstm-hw precision``, a coordinate descent and optuna find them; random networks of two sizes;
stacks of layers whose c or whose sums are unlike; and weights that are small beside Keras's forget bias of 1. All
figures are the integer reference's, whose bits are the Verilog's. An error is that of the outputs against the float
model's; ``clipped`` is the share of values beyond their format where it is largest, ``zeroed`` the largest share of a
matrix's weights that were rounded to zero.
"""

import importlib.util
from collections.abc import Callable

import click
import numpy as np

from lstm_hw.machine.formats import QFormat
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.model.precision import Trials, search
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import integer_reference
from lstm_hw.progress import progress
from lstm_hw.project.api import Project, load
from lstm_hw.project.goal import precision_goal

from .table import FOLDER, Row, command

RESULT = f"{FOLDER}/accuracy.json"
EXAMPLES = ("digits", "vowels", "cases")
WIDTHS = (16, 12, 8, 6, 5, 4)
TUNED_WIDTHS = (8, 6, 5, 4)
"""Where rounding may lose enough for fine-tuning to win back."""
BOUNDS = {"digits": {"accuracy": 0.99}, "vowels": {"max_error": 0.004, "samples": 16}, "cases": {"max_error": 0.02}}
"""What the search of widths is to meet: a share of right labels, or an error as a share of the largest output."""
REPEATED = 10
"""So many times the models that optuna may measure it is asked for widths, at most."""
ORDERS = 3
"""Random orders of the matrices that the coordinate descent is tried with."""
RANDOM = ((8, 20), (28, 128))
RANDOM_WIDTHS = ((16, 16), (8, 16), (8, 8))
SEEDS, SEQUENCES, STEPS = 5, 16, 28
PEER = {(8, 20, 16): 0.0008, (28, 128, 16): 0.0011, (8, 20, 8): 0.010, (28, 128, 8): 0.010}
"""Mean error of the last h by (Lx, Lh, bits) of a published generator of the same job."""


def examples(names, widths, epochs):
    """Rows of trained examples."""
    for name in names:
        project = load(f"examples/{name}/{name}.toml", progress=progress)
        for width in widths:
            yield from example(project, width, epochs if width in TUNED_WIDTHS else 0)


def example(project: Project, width: int, epochs: int):
    """Rows of one example at one width of its weights, as rounded and, with ``epochs``, fine-tuned."""
    model, x, calibration = project.model, project.x, project.data.calibration
    config = QuantConfig(**{**_given(project.config.quantize), "weight_bits": width, "operand_bits": 16})
    qmodel = quantize(model, calibration, config)
    yield from _rows(project, f"{project.config.name}/w{width} x16", model, qmodel, x)
    if epochs:
        from lstm_hw.model.fine_tune import distil  # needs torch

        with progress(f"{project.config.name}, {width} bits: fine-tune") as report:
            tuned = distil(model, qmodel, calibration, epochs, progress=report)
        yield from _rows(project, f"{project.config.name}/w{width} x16 tuned", model, tuned.quantized(), x)


def searches(names):
    """Rows of mixed precision: weight bits in all at a stated bound, and what the metric says of all test inputs.

    ``uniform`` is the narrowest width for all weights; ``search`` the greedy descent from there; ``coordinate``, from
    there too, takes as many bits as can go from one matrix after the other, in random order, the best of ``ORDERS``;
    ``optuna`` samples widths up to it until it has measured as many models as the greedy descent.
    """
    for name in names:
        project = load(f"examples/{name}/{name}.toml", progress=progress)
        model, calibration, config = project.model, project.data.calibration, project.config.quantize
        goal = precision_goal(project, **BOUNDS[name])
        trials = Trials(model, calibration, config, **goal)
        width, way = trials.narrowest()
        yield from _bits_rows(project, "uniform", trials, trials.uniform(width), way)
        with progress(f"{name}: coordinate") as report:
            bits = coordinate(trials, width, way, report)
        yield from _bits_rows(project, "coordinate", trials, bits, way)
        with progress(f"{name}: search") as report:
            found = search(model, calibration, config, **goal, progress=report)
        if importlib.util.find_spec("optuna"):
            trials = Trials(model, calibration, config, **goal)
            trials.narrowest()
            with progress(f"{name}: optuna") as report:
                bits = sampled(trials, width, way, found.evaluations, report)
            yield from _bits_rows(project, "optuna", trials, bits, way)
        yield from _bits_rows(project, "search", trials, found.bits, way, found.evaluations)


def sampled(
    trials: Trials, width: int, way: int, evaluations: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Bits of each matrix, up to a width, by optuna's sampler (TPE) from that width for all of them on.

    It goes on until so many models have been measured, those of ``trials`` before it among them.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def total(trial):
        bits = {name: trial.suggest_int(name, trials.lowest, width) for name in trials.sizes}
        trial.set_constraint("loss", trials.loss(bits, way))
        return trials.total(bits)

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial(trials.uniform(width))
    study.optimize(total, n_trials=1)
    for _ in range(REPEATED * evaluations):  # what it asks for again is not measured again
        if trials.evaluations >= evaluations:
            break
        study.optimize(total, n_trials=1)
        if progress:
            progress(min(trials.evaluations, evaluations), evaluations)
    within = [trial for trial in study.trials if trials.loss(trial.params, way) <= 0]
    return min(within, key=lambda trial: trial.value).params


def coordinate(
    trials: Trials, width: int, way: int, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Bits of each matrix by coordinate descent from one width on, the fewest of ``ORDERS`` random orders."""
    rng, ends = np.random.default_rng(0), []
    for order in range(ORDERS):
        bits = trials.uniform(width)
        for name in rng.permutation(list(bits)):
            while bits[name] > trials.lowest and trials.loss(fewer := bits | {name: bits[name] - 1}, way) <= 0:
                bits = fewer
        ends.append(bits)
        if progress:
            progress(order + 1, ORDERS)
    return min(ends, key=trials.total)


def _bits_rows(project, label, trials, bits, way, evaluations=None):
    name, count = project.config.name, evaluations or trials.evaluations
    bound = ", ".join(f"{key} {value:g}" for key, value in BOUNDS[name].items())
    by_matrix = ", ".join(f"{matrix} {width}" for matrix, width in bits.items())
    source = f"{by_matrix}; {count} models measured"
    yield Row("weight_bits_total", f"{name}/{label}", trials.total(bits), f"bits at {bound}", None, source)
    stored, _ = integer_reference(qmodel := trials.quantized(bits, way), qmodel.quantize_input(project.x))
    yield _score(project, f"{name}/{label}", qmodel, stored, f"integer reference, {len(stored)} sequences")


def _given(config):
    """Fields of a QuantConfig that differ from the defaults, but for the widths."""
    default = QuantConfig()
    return {
        name: getattr(config, name)
        for name in vars(config)
        if getattr(config, name) != getattr(default, name) and not name.endswith("_bits")
    }


def _rows(project, config, model, qmodel, x):
    report, (_, stored) = quantization_report(model, qmodel, x)
    source = f"integer reference, {len(x)} sequences"
    yield _score(project, config, qmodel, stored, source)
    yield from _errors(config, report, source)


def _score(project, config, qmodel, stored, source):
    score = project.metric.score(qmodel.dequantize_output(stored))
    if project.metric.is_share:
        return Row("accuracy", config, 100 * score, "%", None, source)
    return Row("accuracy", config, score, "mean distance", None, source)


def _errors(config, report, source):
    output = report["output"]
    yield Row("mean_error", config, output["mean"], f"of outputs to {output['peak']:.3g}", None, source)
    yield Row("max_error", config, output["max"], f"of outputs to {output['peak']:.3g}", None, source)
    places = [report["input"], *(layer[place] for layer in report["layers"] for place in ("pre", "c", "h")), output]
    yield Row("clipped", config, 100 * max(place["clipped"] for place in places), "% where most are", None, source)
    zeroed = [share for layer in report["layers"] for share in layer["zeroed"].values()]
    zeroed += [report["head"]["zeroed"]] if report["head"] else []
    yield Row("zeroed", config, 100 * max(zeroed), "% where most are", None, source)


def random_network(inputs: int, hidden: int, seed: int) -> tuple[FloatModel, np.ndarray]:
    """A layer as torch.nn.LSTM starts, and inputs of unit variance (SEQUENCES, STEPS, inputs)."""
    rng, bound = np.random.default_rng(seed), hidden**-0.5
    w_x, w_h = (rng.uniform(-bound, bound, (4 * hidden, columns)) for columns in (inputs, hidden))
    layer = LstmWeights(w_x, w_h, rng.uniform(-bound, bound, 4 * hidden))
    return FloatModel((layer,)), rng.standard_normal((SEQUENCES, STEPS, inputs))


def random_networks(seeds=SEEDS):
    """Rows of random networks: the mean error of the last h, the mean of so many networks."""
    for inputs, hidden in RANDOM:
        for weight_bits, operand_bits in RANDOM_WIDTHS:
            config, errors = QuantConfig(**_widths(weight_bits, operand_bits)), []
            for seed in range(seeds):
                model, x = random_network(inputs, hidden, seed)
                qmodel = quantize(model, x, config)
                _, (exact, stored) = quantization_report(model, qmodel, x)
                errors.append(np.abs(qmodel.dequantize_output(stored) - exact)[:, -1])
            name = f"random {inputs} -> {hidden}/w{weight_bits} x{operand_bits}"
            peer = PEER.get((inputs, hidden, weight_bits)) if weight_bits == operand_bits else None
            source = f"integer reference, {seeds} networks, {SEQUENCES} sequences of {STEPS} steps"
            yield Row("mean_error", name, float(np.mean(errors)), "of the last h", peer, source)
            yield Row("max_error", name, float(np.max(errors)), "of the last h", None, source)


def _widths(weight_bits, operand_bits):
    return {
        "weight_bits": weight_bits,
        "operand_bits": operand_bits,
        **({"accumulator_bits": 32} if operand_bits == 8 else {}),
    }


def unlike_stack(seed: int, units: int = 6, steps: int = 1200) -> tuple[FloatModel, np.ndarray]:
    """A layer whose c counts to several hundred, one above it whose c stays small and forgets slowly, and a head; x."""
    rng = np.random.default_rng(seed)
    count, rows = np.zeros((4 * units, 2)), np.zeros(4 * units)
    rows[: 2 * units], rows[3 * units :] = 12, rng.normal(0, 1, units)
    count[2 * units : 3 * units] = rng.normal(0, 2, (units, 2))
    w_x, w_h = (rng.normal(0, 0.02, (4 * units, units)) for _ in range(2))
    slow = rng.normal(0, 0.02, 4 * units)
    slow[units : 2 * units] = 5
    layers = (LstmWeights(count, np.zeros((4 * units, units)), rows), LstmWeights(w_x, w_h, slow))
    head = DenseWeights(rng.normal(0, 1, (2, units)), np.zeros(2))
    return FloatModel(layers, head, True), np.sign(np.random.default_rng(0).normal(0.6, 1, (2, steps, 2)))


def unlike_stacks(seeds=2 * SEEDS):
    """Rows of stacks of unlike layers: with one format of c, and with one a layer where the choice takes it."""
    errors = {"one c": [], "c of layers": []}
    for seed in range(seeds):
        model, x = unlike_stack(seed)
        qmodel = quantize(model, x)
        cells = [layer.cell for layer in qmodel.layers]
        common = quantize(model, x, QuantConfig(cell=max(cells, key=lambda f: f.integer)))
        for name, q in (("one c", common), ("c of layers", qmodel)):
            errors[name].append(quantization_report(model, q, x)[0]["output"]["mean"])
    for name, found in errors.items():
        source = f"integer reference, {seeds} stacks, 2 sequences of {x.shape[1]} steps, median"
        yield Row("mean_error", f"unlike layers/{name}", float(np.median(found)), "of outputs", None, source)


def unlike_sums(seed: int, units: int = 8, steps: int = 12) -> tuple[FloatModel, np.ndarray]:
    """A layer whose sums reach beyond 8 and one above it whose sums stay below 1; x."""
    rng = np.random.default_rng(seed)
    layers = [
        LstmWeights(*(rng.normal(0, scale, (4 * units, *rest)) for scale, rest in zip(scales, shapes, strict=True)))
        for scales, shapes in (((3, 1, 1), ((4,), (units,), ())), ((0.08, 0.08, 0.02), ((units,), (units,), ())))
    ]
    return FloatModel(tuple(layers)), rng.uniform(-1, 1, (20, steps, 4))


def unlike_sums_rows(seeds=SEEDS):
    """Rows of stacks of unlike sums: with one format of pre-activations, with one a layer, and with four bits more."""
    ways = {"one": {"preact": QFormat(3, 12)}, "of layers": {}, "20 bits": {"preact_bits": 20}}
    for name, options in ways.items():
        found = []
        for seed in range(seeds):
            model, x = unlike_sums(seed)
            qmodel = quantize(model, x, QuantConfig(**options))
            found.append(quantization_report(model, qmodel, x)[0]["output"]["mean"])
        source = f"integer reference, {seeds} stacks, {len(x)} sequences of {x.shape[1]} steps, median"
        config = f"unlike sums/pre-activations {name}"
        yield Row("mean_error", config, float(np.median(found)), "of the last layer's h", None, source)


def forget_bias():
    """Rows of weights to 2^-8 beside Keras's forget bias of 1."""
    rng = np.random.default_rng(0)
    bias = np.zeros(80)
    bias[20:40] = 1
    layer = LstmWeights(*(rng.uniform(-(2.0**-8), 2.0**-8, (80, columns)) for columns in (8, 20)), bias)
    model, x = FloatModel((layer,)), rng.standard_normal((SEQUENCES, STEPS, 8))
    for width in (16, 8):
        qmodel = quantize(model, x, QuantConfig(**_widths(width, 16)))
        report, _ = quantization_report(model, qmodel, x)
        yield from _errors(f"forget bias/w{width} x16", report, f"integer reference, {SEQUENCES} sequences")


@command(RESULT)
@click.option("--example", "names", multiple=True, type=click.Choice(EXAMPLES), help="These examples only.")
@click.option(
    "--width", "widths", multiple=True, type=click.Choice([str(w) for w in WIDTHS]), help="These widths only."
)
@click.option("--epochs", default=30, show_default=True, help="Of fine-tuning; 0 leaves it out, and needs no torch.")
def main(names, widths, epochs):
    """Print accuracy, errors, clipping and lost weights of all examples at weights of 16 to 4 bits."""
    result = list(examples(names or EXAMPLES, tuple(map(int, widths)) or WIDTHS, epochs))
    result += searches(names or EXAMPLES) if not widths else []
    return result + ([] if names else [*random_networks(), *unlike_stacks(), *unlike_sums_rows(), *forget_bias()])


if __name__ == "__main__":
    main()
