"""How a project begins: a commented file for a trained model, or one for sizes that nobody has trained yet."""

import math
import os
import re
import textwrap
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import ConfigError, InputError
from ..files import write_file
from ..machine.arrangement import directions_of
from ..model.features import check_count, inputs_read
from ..model.float_model import MAX_SIZE, DenseWeights, FloatModel, GruWeights, LstmWeights
from ..model.fractions import FRACTIONS, ROUNDINGS
from ..model.load import open_model, read
from ..model.quantize import QuantConfig
from ..model.readers.options import HEAD_MODES, ReadOptions
from ..model.store import write_tensors
from ..reading import NpzFile
from . import toml
from .keys import SECTION_CLASSES, DataSection, ModelSection, PlanSection, follows
from .settings import RESERVED_NAMES, ProjectConfig
from .synthetic import random_tensors

RANDOM_SEQUENCES = 4
"""Random test sequences of a project without data."""
RANDOM_STEPS = 16
"""Most time steps of its sequences, however many the plan is for."""
MAX_PARAMETERS = 1 << 26
"""Most weights of a network that nobody has trained."""
MODEL_FILE = "model.safetensors"
COMMENT = 44
"""Column of the comment behind a key."""


def init(
    model: os.PathLike | str,
    calibration: os.PathLike | str | None = None,
    output: os.PathLike | str | None = None,
    target: dict | None = None,
    force: bool = False,
    options: ReadOptions | None = None,
    features: tuple[str, ...] = (),
) -> tuple[Path, list[str]]:
    """Write a commented project file for a trained model.

    Parameters
    ----------
    model : path-like
    calibration : path-like, optional
        An npz file with inputs; random inputs are written into the project without it, and results say so.
    output : path-like, optional
        The project file; the model's name in the current folder without it.
    target : dict, optional
        Keys of [target].
    force : bool
        Replace a file that is there.
    options : ReadOptions, optional
        What the model's file does not say: keys of [model].
    features : tuple of str
        Of the inputs in the npz file, which are the model's: ``data.features``.

    Returns
    -------
    (Path, list of str)
        The file, and what was found in the model and the data.

    Raises
    ------
    ModelError
        The model cannot be read.
    InputError
        The npz file has no inputs for the model.
    ConfigError
        The file is there already.
    """
    model = Path(model)
    reader = open_model(model)
    trained, found = read(reader, options), [f"  {line}" for line in reader.contents()]
    name = project_name(model.stem)
    path = Path(output) if output is not None else Path(f"{name}.toml")
    if path.exists() and not force:
        raise ConfigError(path, "is there already", "must be another file, or --force must be given")
    notes = [f"{model}: {described(trained)}", *found, *trained.assumptions]
    head = {"head": trained.head_mode} if trained.head is not None else {}
    said = {name: value for name, value in asdict(options).items() if value is not None} if options else {}
    tables = {"model": {"path": _relative(model, path), **said, **head}}
    if calibration is None:
        if features:
            raise ConfigError("--feature", list(features), "must be given with --calibration, whose inputs it reads")
        steps = trained.arrangement.steps or min(trained.arrangement.most, RANDOM_STEPS)
        steps = max(steps, trained.arrangement.least)
        tables["data"] = {"random": RANDOM_SEQUENCES} | ({"steps": steps} if steps else {})
        notes.append(NO_DATA)
    else:
        tables["data"], said = _arrays(NpzFile(calibration), trained, features)
        tables["data"] = {"path": _relative(calibration, path), **tables["data"]}
        notes += said
    tables["target"] = {key: value for key, value in (target or {}).items() if value is not None}
    text = commented(name, tables, notes)
    ProjectConfig.from_dict(toml.loads(text.encode(), path), path)  # what is refused is not written
    return write_file(path, text), notes


NO_DATA = (
    "no data: formats are chosen from random inputs and errors mean nothing until [data] names an npz file with "
    "typical inputs and test inputs, arrays (sequences, steps, inputs)"
)


def project_name(stem: str) -> str:
    """A name that a project can have, from that of a file."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_")
    return name if name and name[0].isalpha() and name not in RESERVED_NAMES else f"model_{name}".rstrip("_")


def described(model: FloatModel) -> str:
    """The layers in a line."""
    sizes = " -> ".join(map(str, (model.input_size, *model.hidden_sizes)))
    kinds = list(dict.fromkeys(map(_kind, model.layers)))
    kind = kinds[0] if len(kinds) == 1 else ", ".join(map(_kind, model.layers))
    many = f"{len(model.layers)} {kind} layers" if len(kinds) == 1 < len(model.layers) else kind
    directions = directions_of(model.arrangement, model.layers)
    if min(directions) > 1:
        many = f"bidirectional {many}"
    elif max(directions) > 1:
        parts = zip(model.layers, directions, strict=True)
        many = ", ".join(f"{'bidirectional ' * (count - 1)}{_kind(layer)}" for layer, count in parts)
    if model.head is None:
        return f"{many} {sizes}, no linear head"
    *chain, outputs = [layer.output_size for layer in model.linear]
    sizes_behind = (*chain, outputs // model.arrangement.output_halves)
    linear = [f"{size}{_activation(layer)}" for size, layer in zip(sizes_behind, model.linear, strict=True)]
    what = "linear layers" if len(linear) > 1 else "linear head"
    return f"{many} {sizes}, {what} {' -> '.join(linear)} ({model.head_mode})"


def _kind(layer):
    if layer.KIND == "plain":
        return f"{'plain RNN' if layer.w_h.size else 'linear'}{_activation(layer)}"
    return f"{layer.KIND.upper()}{' projected' * layer.projected}"


def _activation(layer):
    return "" if layer.activation == "none" else f" {layer.activation}"


def _relative(path, file):
    return Path(os.path.relpath(path, Path(file).parent)).as_posix()


def _arrays(file, model, features):
    """Which arrays of an npz file are what: keys of [data], and what to say of it."""
    inputs, steps, arrangement = model.input_size, model.arrangement.steps, model.arrangement
    headers, least = {name: file.header(name) for name in file.names}, inputs
    if features:
        check_count(features, inputs)
        least = inputs_read(features)
    usable = [
        name
        for name, (shape, dtype) in headers.items()
        if len(shape) == 3
        and (shape[2] == inputs or features and shape[2] >= least)
        and dtype.kind in "iuf"
        and math.prod(shape)
        if steps in (0, shape[1]) and (not arrangement.most or arrangement.least <= shape[1] <= arrangement.most)
    ]
    if not usable:
        there = ", ".join(f"{name} {shape}" for name, (shape, _) in headers.items()) or "nothing"
        rule = f"must hold an array (sequences, {steps or 'steps'}, {least}) of typical inputs"
        if arrangement.most:
            least, most = arrangement.least, arrangement.most
            rule += f", of {least} steps" if least == most else f", of at most {most} steps: model.most_steps"
        raise InputError(file.path, there, rule)
    calibration = "calibration" if "calibration" in usable else usable[0]
    x = "x" if "x" in usable else next((n for n in usable if n != calibration), calibration)
    keys = {"calibration": calibration, "x": x}
    said = {"features": features} if features else {}
    sequences, of_x, _ = headers[x][0]
    sequences_steps = (sequences, arrangement.repeats or of_x) if model.gives_every_step else (sequences,)
    for name, (shape, dtype) in headers.items() if model.head is not None else ():
        if shape == sequences_steps and dtype.kind in "iu" and "labels" not in keys:
            keys["labels"] = name
    shape, dtype = headers.get("input_scale", (None, None))
    if shape == () and dtype.kind in "iuf":
        keys["input_scale"] = "input_scale"
    used = ", ".join(f"{name} for {key}" for key, name in keys.items())
    unused = [name for name in headers if name not in keys.values()]
    return keys | said, [f"{file.path}: {used}" + (f"; not used: {', '.join(unused)}" if unused else "")]


def commented(name: str, tables: dict[str, dict], notes: list[str]) -> str:
    """A project file with every section and key explained; keys that are not given are comments with their defaults.

    Parameters
    ----------
    name : str
        Of the project.
    tables : dict of str to dict
        Section -> keys that are given.
    notes : list of str
        Comments at the top.
    """
    lines = [_comment(note) for note in notes]
    lines += [
        "#",
        "# `lstm-hw run FILE` does everything; results go to build/NAME. A key behind a # has that default.",
        "",
    ]
    lines += [toml.dumps({"name": name}).rstrip(), ""]
    absent = {f.name: f.default for f in fields(ProjectConfig)}
    for section, cls in SECTION_CLASSES.items():
        given = tables.get(section, {})
        title = (cls.__doc__ or "").split("\n")[0].removeprefix(f"[{section}]: ").rstrip(".")
        # A section that does something by being there is a comment too.
        off = "# " if section not in tables and absent[section] is None else ""
        lines += _with_comment(f"{off}[{section}]", f"{title[:1].lower()}{title[1:]}")
        for f in fields(cls):
            lines += _key_lines(section, f, given)
        lines.append("")
    return "\n".join(lines)


def _key_lines(section, f, given):
    if f.name in given:
        line = toml.dumps({f.name: given[f.name]}).rstrip()
    elif f.default is None or f.default is MISSING or follows(section, f.name):
        line = f"# {f.name} ="
    else:
        value = f.default if isinstance(f.default, bool | int | float | str | tuple) else str(f.default)
        line = f"# {toml.dumps({f.name: value}).rstrip()}"
    return _with_comment(line, f.metadata["doc"])


def _with_comment(line, meaning):
    """A line with its meaning in the column of comments, wrapped there."""
    parts = textwrap.wrap(meaning, 118 - COMMENT)
    first = [] if len(line) < COMMENT else [line]
    return [*first, *(f"{line if not first and not n else '':{COMMENT}}# {part}" for n, part in enumerate(parts))]


def _comment(text):
    return "\n".join(textwrap.wrap(text, 116, initial_indent="# ", subsequent_indent="#   "))


@dataclass(frozen=True)
class Sizes:
    """A network that nobody has trained yet.

    Parameters
    ----------
    inputs : int
    hidden : tuple of int
        Of each recurrent layer.
    outputs : int
        Of a linear head; none for 0.
    every_step : bool
        The head reads h of every step.
    kind : {"lstm", "gru"}
    """

    inputs: int
    hidden: tuple[int, ...]
    outputs: int = 0
    every_step: bool = False
    kind: str = "lstm"

    def __post_init__(self):
        sizes = (self.inputs, *self.hidden, *([self.outputs] if self.outputs else []))
        if not all(1 <= size <= MAX_SIZE for size in sizes):
            raise ConfigError("sizes", sizes, f"must be between 1 and {MAX_SIZE} each")
        pairs = list(zip(sizes, self.hidden, strict=False))
        weights = sum(4 * hidden * (inputs + hidden) for inputs, hidden in pairs) + self.hidden[-1] * self.outputs
        if weights > MAX_PARAMETERS:
            raise ConfigError("sizes", f"{weights:,} weights", f"must be at most {MAX_PARAMETERS:,} in all")

    @property
    def name(self) -> str:
        return f"{self.kind}_" + "_".join(
            map(str, (self.inputs, *self.hidden, *([self.outputs] if self.outputs else [])))
        )

    def model(self) -> FloatModel:
        """Random weights of these sizes."""
        tensors, layers = self._tensors(), []
        for n in range(len(self.hidden)):
            parts = (tensors[f"{self.kind}.{part}_l{n}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            w_x, w_h, *biases = (part.astype(np.float64) for part in parts)
            if self.kind == "gru":
                layers.append(GruWeights.of_gates(w_x, w_h, *biases, f"layer {n}"))
            else:
                layers.append(LstmWeights(w_x, w_h, sum(biases)))
        head = DenseWeights(tensors["head.weight"], tensors["head.bias"]) if self.outputs else None
        return FloatModel(tuple(layers), head, self.every_step, self.name)

    def _tensors(self):
        return random_tensors(self.inputs, self.hidden, self.outputs, kind=self.kind)

    def write(self, folder: os.PathLike | str) -> Path:
        """Write that model as ``model.safetensors`` into a folder."""
        path = Path(folder) / MODEL_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        head = {"head": HEAD_MODES[self.every_step]} if self.outputs else {}
        write_tensors(path, self._tensors(), head)
        return path


def sketch(sizes: Sizes, steps: int, folder: os.PathLike | str = "") -> tuple[ProjectConfig, FloatModel]:
    """The project of a network that nobody has trained: random weights and inputs.

    Parameters
    ----------
    sizes : Sizes
    steps : int
        Time steps of a sequence.
    folder : path-like
        Where its files would be.
    """
    data = DataSection(random=RANDOM_SEQUENCES, steps=min(steps, RANDOM_STEPS))
    config = ProjectConfig(
        sizes.name,
        ModelSection(MODEL_FILE),
        data=data,
        quantize=QuantConfig(
            fractions=FRACTIONS[0], rounding=ROUNDINGS[0]
        ),  # no other would be better for such weights
        plan=PlanSection(steps=steps),
        folder=Path(folder),
    )
    return config, sizes.model()


def asked(config: ProjectConfig, **options: Any) -> ProjectConfig:
    """A configuration with what the command line of ``plan`` asks for; what is None is as it was."""
    given = {name: value for name, value in options.items() if value is not None}
    sections = {}
    for section, names in ASKED.items():
        found = {key: given[name] for name, key in names.items() if name in given}
        if not found:
            continue
        if section == "engine":
            sections[section] = MappingProxyType({**config.engine, **found})
            continue
        for one, other in EITHER:
            if one in found or other in found:
                found = {one: None, other: None} | found
        sections[section] = replace(getattr(config, section), **found)
    return replace(config, **sections)


ASKED = {
    "plan": {name: name for name in ("schedule", "sequences", "batch", "steps")},
    "target": {name: name for name in ("lanes", "part", "board", "clock")},
    "memory": {name: name for name in ("latency", "interval", "bandwidth")},
    "engine": {"rows": "rows", "contexts": "contexts", "buffer": "weight_words", "port_bits": "axi_data_bits"},
}
"""Options of ``plan`` -> keys, by section."""
EITHER = (("part", "board"), ("interval", "bandwidth"))
"""Keys of which one takes the place of the other."""
