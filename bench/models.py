"""Trained models as they are published (``make bench-models MODELS=DIR``): read, quantised, and how fast they run.

Every model file of a folder that has ``NAME.expected.npz`` beside it (``x``, sequences by steps by inputs, and the
outputs ``y`` of the framework) is read and compared: the float model with the framework's outputs, the integer
reference with weights of 16 and 8 bits with the float model, the first steps with the simulated Verilog, bit for bit,
and the cycles of a step by the exact model of the engine with 64 lanes. Outputs are compared behind a softmax that ends
the file, which the engine leaves out. What a file does not say stands in ``options.toml`` of the folder, a table a
file, and in that a table, with all keys of its own, for each other array that the float model is compared with::

    ["policy.pt"]
    prefix = "memory"                  # and the other keys of [model], as input_scale and output_scale
    features = ["x0", "abs(x0, x1)"]   # of x, which the host computes: data.features
    expected = "actions"               # array to compare with; y without it
    rate = 48000                       # steps a second that must be met

    ["policy.pt".first_linear]         # the array first_linear is compared with what these keys read
    prefix = "memory"
    head_prefix = "actor.0"

A file that cannot be read has a row that says why. Without a folder the models of the examples are taken, and one of
each kind of network that none of them is, with random weights of a fixed seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np

from lstm_hw.campaign import run_tasks
from lstm_hw.errors import ConfigError, LstmHwError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.features import features
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.load import LOADERS, load
from lstm_hw.model.readers.joined import Joined
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference
from lstm_hw.progress import progress
from lstm_hw.project import toml
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.reading import NpzFile, read_file

from .table import FOLDER, Row, command

RESULT = f"{FOLDER}/models.json"
EXPECTED = ".expected.npz"
OPTIONS = "options.toml"
WIDTHS = (16, 8)
CLOCK_MHZ = 100.0
ENGINE = {"target": {"lanes": 64, "clock": CLOCK_MHZ}}
EXAMPLES = ("digits", "vowels", "cases", "amplifier")
STEPS = 512
"""Most steps of a sequence that the integer reference plays."""


SIMULATED = 8
"""Steps that the Verilog is simulated for; so many as a sequence must have where these are more."""
KEYS = ("features", "expected", "rate")
"""Of a table of a file, beside those of [model]."""


def rows_of(path: Path, given: dict, simulate: bool = True) -> Iterator[Row]:
    """Rows of a model file with expected outputs beside it, and of its simulated Verilog."""
    known = {*(field.name for field in fields(ReadOptions)), *KEYS}
    others = {key: table for key, table in given.items() if isinstance(table, dict) and key not in known}
    said = {key: value for key, value in given.items() if key not in others}
    for table in (said, *others.values()):
        if unknown := table.keys() - known:
            subject = f"{OPTIONS}: {path.name}: {min(unknown)}"
            raise ConfigError(subject, "unknown key", f"must be one of {sorted(known)}")
    read = yield from _compared(path, path.name, said)
    for name, table in others.items():
        yield from _compared(path, f"{path.name}/{name}", {"expected": name} | table)
    if read is not None:
        model, x = read
        yield from _numbers(path.name, model, x[:, :STEPS], said.get("rate"))
        if simulate:
            yield _verilog(path.name, model, x)


def _compared(path, config, said):
    """Rows of what is read and compared with an array of expected outputs; returns model and x, or None."""
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items() if key not in KEYS}
    try:
        model = load(path, ReadOptions(**options))
    except LstmHwError as error:
        yield Row("read", config, None, f"refused: {error}", None, path.suffix)
        return None
    file = NpzFile(path.with_name(path.name + EXPECTED))
    x = np.asarray(file.read("x"), dtype=np.float64)
    wanted = np.asarray(file.read(said.get("expected", "y")), dtype=np.float64)
    sizes = "-".join(map(str, (model.input_size, *model.hidden_sizes, *(layer.output_size for layer in model.linear))))
    yield Row("layers", config, len(model.layers), sizes, None, "; ".join((path.suffix, *model.assumptions)))
    try:
        x = features(x, said["features"]) if "features" in said else x
        outputs = model.as_framework(float_reference(model, x)[0])
    except LstmHwError as error:  # the expected x is not what the model takes
        yield Row("float_error", config, None, f"refused: {error}", None, path.suffix)
        return None
    if outputs.ndim == wanted.ndim + 1:  # the framework gives the last step alone
        outputs = outputs[:, -1]
    error, unit = None, f"outputs {outputs.shape}, where {wanted.shape} are expected"
    if outputs.shape == wanted.shape:
        error, unit = float(np.abs(outputs - wanted).max()), "at most, of an output"
    yield Row("float_error", config, error, unit, None, "float model against the framework")
    return model, x


def _verilog(name, model, x):
    """That the simulated Verilog has the bits and cycles of the integer reference in the first steps: else an error."""
    steps = max(SIMULATED, model.arrangement.steps, model.arrangement.least)
    config = _config(model, simulate={"simulator": "icarus"})
    with TemporaryDirectory() as folder:
        convert(config, model=model, calibration=x, x=x[:1, :steps], output=folder, progress=progress).simulate()
    source = f"Icarus, {min(steps, x.shape[1])} steps"
    return Row(
        "verilog_exact", name, 1, "every bit and cycle of the integer reference and the interpreter", None, source
    )


SIZES = (8, 32, 4)
"""Inputs, hidden units and outputs of the networks with random weights."""
TIMES = 20
"""Steps of their sequences."""


def networks() -> dict[str, Callable[[np.random.Generator], FloatModel]]:
    """Kind of network -> a model of it with random weights."""
    inputs, units, outputs = SIZES

    def random(rng, rows, columns):
        return rng.normal(0, 1 / np.sqrt(columns), (rows, columns))

    def lstm(rng, read):
        return LstmWeights(random(rng, 4 * units, read), random(rng, 4 * units, units), rng.normal(0, 0.3, 4 * units))

    def gru(rng, read):
        matrices, biases = (random(rng, 3 * units, size) for size in (read, units)), rng.normal(0, 0.3, (2, 3 * units))
        return GruWeights.of_gates(*matrices, *biases, "gru", reset_before=True)

    def both(rng, read):
        return Part([lstm(rng, read)], [lstm(rng, read)])

    def dense(rng, read, activation="none", size=outputs):
        return DenseWeights(random(rng, size, read), rng.normal(0, 0.3, size), activation=activation)

    def peepholes(rng):
        layer = replace(lstm(rng, inputs), peepholes=rng.normal(0, 0.5, (3, units)))
        return FloatModel((layer,), dense(rng, units))

    def residual(rng):
        layers, vector = [PlainWeights.of_dense(dense(rng, inputs, size=units))], Joined.of(0, units, "front")
        for number in (1, 2):
            layers.append(vector.read_by(lstm(rng, units), number))
            vector = Joined.added([vector, Joined.of(number, units, "h")], "sum")
        return FloatModel(tuple(layers), vector.read_by(dense(rng, units), len(layers)), True)

    def labels(rng):
        linear = [dense(rng, 2 * units, "relu", units), dense(rng, units)]
        return in_parts([both(rng, inputs)], linear, "every_step", TIMES)

    def autoencoder(rng):
        parts = [Part([lstm(rng, inputs)]), Part([lstm(rng, units)], repeats=True)]
        return in_parts(parts, [dense(rng, units, size=inputs)], "every_step", TIMES, TIMES)

    return {
        "gru_reset_before": lambda rng: FloatModel((gru(rng, inputs),), dense(rng, units)),
        "peepholes": peepholes,
        "residual": residual,
        "bidirectional": lambda rng: in_parts([both(rng, inputs)], [dense(rng, 2 * units)], "final_state"),
        "bidirectional_two": lambda rng: in_parts(
            [both(rng, inputs), both(rng, 2 * units)], [dense(rng, 2 * units)], "every_step", TIMES
        ),
        "bidirectional_labels": labels,
        "flatten": lambda rng: FloatModel(
            (lstm(rng, inputs),), dense(rng, TIMES * units), arrangement=Arrangement(steps=TIMES)
        ),
        "autoencoder": autoencoder,
    }


def network_rows(name: str) -> Iterator[Row]:
    """Rows of a kind of network."""
    rng = np.random.default_rng(1)
    model = networks()[name](rng)
    yield from _numbers(name, model, rng.uniform(-1, 1, (8, TIMES, SIZES[0])), None)


def example_rows(name: str) -> Iterator[Row]:
    """Rows of an example; nobody else gives its outputs."""
    project = convert(f"examples/{name}/{name}.toml")
    yield from _numbers(name, project.model, project.x[:64], None)


def _config(model, **sections):
    data = {"data": {"random": 1}, "model": {"path": model.source}, "name": "models"}
    return ProjectConfig.from_dict({**data, **ENGINE, **sections}, "models")


def _numbers(name, model, x, rate):
    """Errors of the integer reference, and cycles."""
    expected = model.as_framework(float_reference(model, x)[0])
    config = _config(model)
    for width in WIDTHS:
        quantize = {"weight_bits": width}
        project = convert(config, model=model, calibration=x, quantize=quantize, progress=progress)
        error = model.as_framework(project.predict(x)) - expected
        source = f"integer reference, {x.shape[0]} x {x.shape[1]} steps"
        yield Row("mean_error", f"{name}/{width}", float(np.abs(error).mean()), "of an output", None, source)
        power = float((expected**2).sum())
        ratio = 10 * np.log10(max(float((error**2).sum()), 1e-300) / power) if power else None
        yield Row("error_to_signal", f"{name}/{width}", ratio, "dB", None, source)
        if width == WIDTHS[0]:
            estimate = project.estimate()
    source = f"exact model, 16 bits, {ENGINE['target']['lanes']} lanes"
    yield Row("cycles_per_step", name, estimate.per_step, "cycles", None, source)
    if rate:
        cycles = CLOCK_MHZ * 1e6 / rate
        yield Row(
            "deadline_met",
            name,
            int(estimate.per_step <= cycles),
            f"of {cycles:.0f} cycles at {rate} a second",
            None,
            source,
        )


def rows(task: dict) -> list[dict]:
    """Rows of an example, of a kind of network, or of a file of a folder; a task."""
    if "path" in task:
        found = rows_of(Path(task["path"]), task["given"], task["simulate"])
    else:
        found = example_rows(task["example"]) if "example" in task else network_rows(task["network"])
    return [asdict(row) for row in found]


@command(RESULT)
@click.option("--models", type=click.Path(exists=True, file_okay=False), help="Folder of model files.")
@click.option(
    "--simulate/--no-simulate", default=True, show_default=True, help="The first steps of the files' Verilog."
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that work at a time.")
def main(models, simulate, jobs):
    """Read published models, and print errors at 16 and 8 bits and cycles a step."""
    tasks = [*({"example": name} for name in EXAMPLES), *({"network": name} for name in networks())]
    tasks = tasks if models is None else _tasks(models, simulate)
    return [Row(**row) for found in run_tasks(rows, tasks, jobs=jobs, label="models") for row in found]


def _tasks(models, simulate):
    """A task a file of a folder."""
    folder = Path(models)
    given = (
        toml.loads(read_file(folder / OPTIONS, toml.MAX_BYTES), folder / OPTIONS) if (folder / OPTIONS).exists() else {}
    )
    files = [
        path for path in sorted(folder.iterdir()) if path.suffix.lower() in LOADERS and not path.name.endswith(EXPECTED)
    ]
    files = [path for path in files if path.with_name(path.name + EXPECTED).is_file()]
    if not files:
        raise ConfigError(folder, "no model file", f"must hold files with NAME{EXPECTED} beside them")
    if missing := given.keys() - {path.name for path in files}:
        raise ConfigError(f"{folder / OPTIONS}: {min(missing)}", "no such model", "must name files of the folder")
    return [{"path": str(path.resolve()), "given": given.get(path.name, {}), "simulate": simulate} for path in files]


if __name__ == "__main__":
    main()
