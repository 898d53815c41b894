"""Files of named tensors as PyTorch names them: ``weight_ih_l0`` and so on under a prefix, and a linear head.

The tensors of ``torch.nn.LSTM`` are ``weight_ih_l{k}`` (4H, I), ``weight_hh_l{k}`` (4H, H), ``bias_ih_l{k}`` and
``bias_hh_l{k}`` (4H), those of ``torch.nn.LSTMCell`` the same without ``_l{k}``. A GRU has the same names, and three
gates where an LSTM has four. A linear layer is a matrix ``weight`` (O, I) and, optionally, ``bias`` (O) under a prefix
of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Protocol

import numpy as np

from ...errors import ConfigError, ModelError
from ...machine.arrangement import OF_X, Arrangement
from ...machine.isa import ACTIVATIONS
from ..both_ways import Part, in_parts
from ..float_model import (
    DenseWeights,
    FloatModel,
    GruWeights,
    LstmWeights,
    PlainWeights,
    check_finite,
    check_shape,
    hidden_size_of,
    skip_matrix,
)
from ..store import DIGEST_KEY
from .joined import Joined, behind
from .options import (
    ALL,
    FINAL,
    HEAD_ASSUMED,
    HEAD_INPUTS,
    HEAD_MODES,
    NO_HEAD,
    NONLINEARITIES,
    NONLINEARITY,
    OUTSIDE,
    RESIDUALS,
    SKIPS,
    ZERO,
    ReadOptions,
)

HEAD_NAMES = ("head", "fc", "linear", "classifier")
"""Names of linear layers that are taken as the head without a word."""
METADATA = ("gate_order", "head", DIGEST_KEY)
"""Metadata that is read."""
_RECURRENT = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh|hr))(?:_l(0|[1-9]\d{0,3}))?(_reverse)?", re.ASCII | re.DOTALL)
_LINEAR = re.compile(r"((?:.*\.)?)weight", re.ASCII | re.DOTALL)
_COMPUTED = re.compile(
    r"(?:.*\.)?(?:parametrizations\..*|(?:weight|bias)(?:_[ih][hr]_l\d+(?:_reverse)?)?_(?:orig|mask|g|v))", re.DOTALL
)
"""What ``torch.nn.utils`` makes a weight from, before it is used: the masks of pruning, and weight_norm."""
_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
GATE_ORDERS = {4: "ifgo", 3: "rzn", 1: "n"}
"""Gates of a cell, its rows over its columns -> the order of PyTorch, that of :mod:`..float_model`."""
_OTHER_NAMES = {"c": "g", "h": "n"}
"""What others call a gate -> its name here."""


class Tensors(Protocol):
    """Named tensors of a file."""

    path: Path
    metadata: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str]
    ordered: bool
    """Whether they are in the order in which modules were made."""

    def floats(self, names: list[str]) -> dict[str, np.ndarray]:
        """These tensors as float64 arrays; ModelError for other types and for values that are not finite."""
        ...


@dataclass(frozen=True)
class StateDict:
    """The reader of named tensors.

    Parameters
    ----------
    tensors : Tensors
    """

    tensors: Tensors

    def contents(self) -> list[str]:
        """Tensors, and metadata that nothing reads."""
        file = self.tensors
        lines = [
            f"{name}: {' x '.join(map(str, shape)) or 'a number'}, {file.dtypes[name]}"
            for name, shape in file.shapes.items()
        ]
        unread = [f"{key} = {value!r}" for key, value in sorted(file.metadata.items()) if not _is_read(key)]
        return [*sorted(lines), *([f"not used: metadata {', '.join(unread)}"] if unread else [])]

    def model(self, options: ReadOptions) -> FloatModel:
        """The recurrent layers and their head."""
        file = self.tensors
        if options.initial_state == ZERO:
            options.refuse(f"{file.path} holds no such thing", "initial_state")
        if options.skip == OUTSIDE:
            options.refuse(f"{file.path} asks for none", "skip")
        _check_computed(file, options)
        lstm = _Recurrent.find(file, options.prefix)
        if lstm.modules and isinstance(options.initial_state, tuple):
            rule = "must not be given for several modules, each of which has its own"
            raise ConfigError("model.initial_state", list(options.initial_state), rule)
        if lstm.gates != 1:
            options.refuse(f"{file.path} holds no plain RNN", "nonlinearity")
        every = _linear_layers(file)
        front = [_named(file, every, prefix, "front_prefix") for prefix in options.front_prefixes]
        in_front = _activations(file, front, options.in_front, "front_activations")
        for layer in front:
            every.pop(layer.prefix, None)
        linear, assumptions = _find_linear(file, every, options)
        activations = ["none"] * len(linear)
        if options.head_prefix is None and not front:
            assumptions += _told_in_front(file, lstm, linear)
        if options.activations or len(linear) > 1:
            activations = _activations(file, linear, options.activations, "head_activations")
        used = {*lstm.names, *(name for layer in (*front, *linear) for name in layer.names)}
        assumptions += lstm.assumptions(file)
        nonlinearity, assumed = _nonlinearity(file, lstm, options.nonlinearity)
        assumptions += assumed
        used |= lstm.check_state(file, options.initial_state)
        left = sorted(set(file.shapes) - used)
        if left:
            assumptions += _left_out(file, lstm, left, options)
        inputs = _check_chain(file, front, None)
        for direction in lstm.directions:
            outputs = direction.check_shapes(file, inputs, len(lstm.directions), options.residual)
        order = gate_positions(file, options.gate_order, lstm.gates)
        mode, assumed = _head_mode(file, lstm, linear, options.head, options.head_prefix == NO_HEAD)
        outputs *= len(lstm.directions)
        if len(lstm.directions) > 1:
            options.refuse("a bidirectional layer has no skip", "skip", "residual", "head_inputs")
        if mode == ALL:
            options.refuse(f"model.head is {ALL!r}", "residual", "head_inputs")
        ways = _ways_of(file, linear, options.inputs)
        if options.residual:
            read = file.shapes[lstm.name("weight_ih", lstm.firsts[-1])][1]
            outputs = _size_behind(options.residual, read, outputs)
        steps = _steps_of(file, linear[0], outputs) if mode == ALL else 0
        x = 0 if mode == ALL or len(lstm.directions) > 1 else file.shapes[lstm.name("weight_ih", 0)][1]
        _check_chain(file, linear, outputs * max(1, steps), outputs, ways, x)
        values = file.floats(sorted(used))
        for name, array in values.items():
            check_finite(f"{file.path}: {name}", array)
        before, dense = (
            [
                layer.dense(values, f"{file.path}: {layer.prefix.removesuffix('.')}", activation)
                for layer, activation in zip(*part, strict=True)
            ]
            for part in ((front, in_front), (linear, activations))
        )
        by_layer, *backward = (
            [
                direction.layer(number, values, order, f"{file.path}: layer {number}", nonlinearity)
                for number in range(lstm.layers)
            ]
            for direction in lstm.directions
        )
        if options.initial_state:
            # (layers, directions, size), as PyTorch stacks them
            states = [values[name].reshape(lstm.layers, len(lstm.directions), -1) for name in options.initial_state]
            for way, members in enumerate((by_layer, *backward)):
                members[:] = map(_begun, members, *(state[:, way] for state in states))
        layers = [layer for members in by_layer for layer in members]
        said = {"source": str(file.path), "assumptions": (*assumptions, *assumed)}
        if backward:
            mode = "every_step" if mode == NO_HEAD else mode
            parts = [Part([*map(PlainWeights.of_dense, before)]), *map(Part, by_layer, *backward)]
            return in_parts(parts, dense, mode, options.most_steps, **said)
        layers, every_step = [*map(PlainWeights.of_dense, before), *layers], mode == "every_step"
        if options.residual or options.inputs:
            every_step |= not dense
            firsts = [len(before) + first * (1 + lstm.projected) for first in lstm.firsts]
            dense = _joined_head(layers, firsts, dense, options.residual, ways, every_step)
        model = FloatModel(
            tuple(layers),
            dense.pop() if dense else None,
            dense=tuple(dense),
            head_every_step=every_step,
            arrangement=Arrangement(steps=steps),
            **said,
        )
        return _with_skip(model, options.skip) if options.skip else model


def _begun(members, h, c):
    """A layer, and its projection if it has one, whose h it is, that begin from a state."""
    layer, *projection = members
    own = np.zeros_like(c) if projection else h
    return [replace(layer, initial=(own, c)), *(replace(other, initial=(h, h)) for other in projection)]


def _ways_of(file, linear, given):
    """What is said that each linear layer reads; h alone where nothing is said."""
    if given and len(given) != len(linear):
        names = [layer.prefix.removesuffix(".") for layer in linear]
        rule = f"must have one of {', '.join(map(repr, HEAD_INPUTS))} for each linear layer of {file.path}: {names}"
        raise ConfigError("model.head_inputs", list(given), rule)
    return given or (HEAD_INPUTS[0],) * len(linear)


def _size_behind(way, inputs, hidden, key="residual"):
    """Elements of h, of so many, and of so many inputs as ``way`` says, one of ``HEAD_INPUTS``."""
    if way == RESIDUALS[0] and inputs != hidden:
        rule = f"must be one of {', '.join(map(repr, RESIDUALS[1:]))}: h has {hidden} elements, x has {inputs}"
        raise ConfigError(f"model.{key}", repr(way), rule)
    return hidden + inputs if way in RESIDUALS[1:] else hidden


def _joined(way, h, x, source):
    """The vector that ``way`` says, one of ``HEAD_INPUTS``."""
    if way == RESIDUALS[0]:
        return Joined.added([h, x], source)
    return h if way == HEAD_INPUTS[0] else Joined.beside([h, x] if way == RESIDUALS[1] else [x, h], source)


def _joined_head(layers, firsts, dense, residual, ways, every_step):
    """The linear layers that are left behind ``layers``, which get more and others: first layers of modules behind
    another, from a number on, read what ``residual`` says, and linear layers what ``ways`` say."""
    source, number = layers[firsts[0]].source, len(layers)
    x = joined = Joined.of(firsts[0] - 1 if firsts[0] else OF_X, layers[firsts[0]].input_size, source)
    for first, end in zip(firsts, (*firsts[1:], number), strict=True):
        if first != firsts[0]:
            layers[first] = joined.read_by(layers[first], first)
        h = Joined.of(end - 1, layers[end - 1].hidden_size, source)
        joined = _joined(residual or HEAD_INPUTS[0], h, joined, source)
    if not dense:
        return [joined.as_linear(number, source)]
    last = max((n for n, way in enumerate(ways) if way != HEAD_INPUTS[0]), default=0)
    for layer, way in zip(dense[:last], ways, strict=False):  # in front of one that reads x: on every step
        number = len(layers)
        layers.append(PlainWeights.of_dense(_joined(way, joined, x, source).read_by(layer, number)))
        joined = Joined.of(number, layer.output_size, source)
    first = _joined(ways[last], joined, x, source).read_by(dense[last], len(layers))
    more, dense = behind([first, *dense[last + 1 :]], every_step)
    layers += more
    return dense


def _with_skip(model, skip):
    """The model with the first input, or all of them, added to its outputs."""
    if model.head is None:
        raise ConfigError("model.skip", repr(skip), f"must not be given: {model.source} has no linear layer")
    added = 1 if skip == SKIPS[0] else model.input_size
    return model.with_skip(skip_matrix(f"{model.source}: model.skip", added, model.input_size, model.output_size))


@dataclass(frozen=True)
class _Recurrent:
    """The tensors of an LSTM or GRU: their prefix, numbers of layers and of gates, and which biases there are; or of
    several ``modules``, one behind the other."""

    prefix: str
    layers: int
    cell: bool
    biases: tuple[str, ...]
    gates: int = 4
    projected: bool = False
    suffixes: tuple[str, ...] = ("",)
    modules: tuple["_Recurrent", ...] = ()

    @property
    def firsts(self):
        """The first layer of each module."""
        return list(accumulate((module.layers for module in self.modules[:-1]), initial=0))

    def name(self, part, layer):
        for module in self.modules:
            if layer < module.layers:
                return replace(module, suffixes=self.suffixes).name(part, layer)
            layer -= module.layers
        suffix = self.suffixes[0]
        return f"{self.prefix}{part}" if self.cell else f"{self.prefix}{part}_l{layer}{suffix}"

    @property
    def directions(self):
        """The same of each direction alone, forward first."""
        return [replace(self, suffixes=(suffix,)) for suffix in self.suffixes]

    @property
    def names(self):
        layers = range(self.layers)
        return [one.name(part, n) for one in self.directions for n in layers for part in self.parts]

    @property
    def parts(self):
        """Tensors of a layer."""
        return (*_PARTS[:2], *self.biases, *["weight_hr"] * self.projected)

    def check_state(self, file, names):
        """The tensors of the state that the layers begin from, (layers, H) or (layers, 1, H), if there are some."""
        if not names:
            return set()
        for name, size in zip(names, self.state_sizes(file), strict=True):
            if name not in file.shapes:
                found = ", ".join(sorted(file.shapes)[:8])
                raise ConfigError("model.initial_state", repr(name), f"must be a tensor of {file.path}, as {found}")
            shape = file.shapes[name]
            if not self.is_state(shape, size):
                rule = f"must be ({self.states}, {size}), or ({self.states}, 1, {size})"
                raise ModelError(f"{file.path}: {name}", f"shape {tuple(shape)}", rule)
        return set(names)

    @property
    def states(self):
        """h of all layers and directions, as PyTorch counts them."""
        return self.layers * len(self.suffixes)

    def state_sizes(self, file):
        """Sizes of h and of c, by the matrix of the last layer."""
        name = self.name("weight_hh", self.layers - 1)
        shape = file.shapes[name]
        if self.projected:
            check_shape(f"{file.path}: {name}", shape, (None, None))
            return shape[1], shape[0] // self.gates
        return (hidden_size_of(f"{file.path}: {name}", shape, self.gates),) * 2

    def is_state(self, shape, size):
        """Whether a shape is that of h or c of all layers and directions, but for sizes of one."""
        return [n for n in shape if n != 1] == [n for n in (self.states, size) if n != 1]

    @classmethod
    def find(cls, file, wanted):
        """The LSTM under the prefix that is wanted, or the only one, or those of several prefixes; all tensors are
        there."""
        if isinstance(wanted, tuple):
            modules = tuple(cls.find(file, one) for one in wanted)
            kinds = {(one.biases, one.gates, one.projected, one.suffixes) for one in modules}
            if len(kinds) > 1:
                rule = "must be of one kind, with the same biases, all with projections and of two directions or none"
                raise ModelError(file.path, f"unlike modules {', '.join(wanted)}", rule)
            return replace(modules[0], layers=sum(one.layers for one in modules), modules=modules)
        found = {}
        for name in file.shapes:
            if match := _RECURRENT.fullmatch(name):
                found.setdefault(match[1], {})[name] = match
        prefix = _chosen(file, found, wanted)
        backward = [name for name, match in found[prefix].items() if match[4]]
        numbers = {match[3] for match in found[prefix].values()}
        if None in numbers and len(numbers) > 1:
            raise ModelError(f"{file.path}: {prefix}", "both single cells and numbered layers", "must hold one of them")
        cell = None in numbers
        layers = 1 if cell else 1 + max(map(int, numbers))
        probe = cls(prefix, layers, cell, ())
        projected = any(match[2].endswith("weight_hr") for match in found[prefix].values())
        for name, match in found[prefix].items():
            if match[2].endswith("bias_hr"):
                raise ModelError(f"{file.path}: {name}", "a bias of a projection", "must have none, as PyTorch's")
        gates = 4 if projected else _gates_of(file, probe)
        there = {part for part in _PARTS[2:] for n in range(layers) if probe.name(part, n) in file.shapes}
        suffixes = ("", "_reverse") if backward else ("",)
        biases = tuple(part for part in _PARTS[2:] if part in there)
        lstm = cls(prefix, layers, cell, biases, gates, projected, suffixes)
        for name in lstm.names:
            if name not in file.shapes:
                rule = "must be present" + (", or missing in every layer" if "bias" in name else "")
                raise ModelError(f"{file.path}: {name}", "missing", rule)
        return lstm

    def assumptions(self, file):
        """One bias of two: PyTorch writes both or none, other tools may write one."""
        if len(self.biases) != 1:
            return ()
        missing = next(part for part in _PARTS[2:] if part not in self.biases)
        return (f"model.path: {file.path.name} has {self.biases[0]} and no {missing}, which is taken as zero",)

    def check_shapes(self, file, inputs, directions, residual=None):
        """Check all shapes against each other and return the size of the last layer's h; ``inputs`` None is any. An
        upper layer reads h of so many directions, and that of another module what ``residual`` says."""
        first = outputs = 0
        for layer in range(self.layers):
            if residual and layer in self.firsts[1:]:
                inputs = _size_behind(residual, file.shapes[self.name("weight_ih", first)][1], outputs)
            first = layer if layer in self.firsts else first
            names = {part: self.name(part, layer) for part in self.parts}
            read = "weight_hr" if self.projected else "weight_hh"
            subject, shape = f"{file.path}: {names[read]}", file.shapes[names[read]]
            if self.projected:
                check_shape(subject, shape, (None, None))
                outputs, hidden = shape
            else:
                outputs = hidden = hidden_size_of(subject, shape, self.gates)
            rows = self.gates * hidden
            sizes = {"weight_ih": (rows, inputs), "weight_hh": (rows, outputs), "weight_hr": (outputs, hidden)}
            for part, name in names.items():
                check_shape(f"{file.path}: {name}", file.shapes[name], sizes.get(part, (rows,)))
            inputs = directions * outputs
        return outputs

    def layer(self, number, values, order, source, nonlinearity):
        """The weights of a layer, gates in the order of this package, and of its projection if it has one."""

        def gates(part):
            stacked = values[self.name(part, number)]
            return stacked.reshape(self.gates, -1, *stacked.shape[1:])[order].reshape(stacked.shape)

        w_x, w_h = gates("weight_ih"), gates("weight_hh")
        biases = [gates(part) if part in self.biases else np.zeros(len(w_x)) for part in _PARTS[2:]]
        if self.gates == 1:
            return [PlainWeights(w_x, w_h, sum(biases), source, activation=nonlinearity)]
        if self.gates == 3:
            return [GruWeights.of_gates(w_x, w_h, *biases, source)]
        layer = LstmWeights(w_x, w_h, sum(biases), source, projected=self.projected)
        if not self.projected:
            return [layer]
        matrix = values[self.name("weight_hr", number)]
        nothing = np.zeros((len(matrix), 0))
        return [layer, PlainWeights(matrix, nothing, np.zeros(len(matrix)), f"{source}: projection")]


def _chosen(file, found, wanted):
    """The prefix of the LSTM."""
    if not found:
        raise ModelError(f"{file.path}: weight_ih_l0", "missing", "must hold the weights of an LSTM or a GRU")
    if wanted is not None:
        matching = [prefix for prefix in found if wanted in (prefix, prefix.removesuffix("."))]
        if not matching:
            raise ConfigError("model.prefix", repr(wanted), f"must be one of {sorted(found)}, as {file.path} has them")
        return matching[0]
    if len(found) > 1:
        rule = "must hold one LSTM, or model.prefix must say which one, or list those that follow one another"
        raise ModelError(file.path, f"LSTMs under the prefixes {sorted(found)}", rule)
    return next(iter(found))


def _gates_of(file, lstm):
    """Gates of the cell: LSTMs, GRUs and plain RNNs have the same names, and other numbers of rows."""
    name = lstm.name("weight_hh", 0)
    shape = file.shapes.get(name, ())
    gates = shape[0] // shape[1] if len(shape) == 2 and shape[1] and shape[0] % shape[1] == 0 else None
    return gates if gates in GATE_ORDERS else 4


@dataclass(frozen=True)
class _Linear:
    """The tensors of a linear layer."""

    prefix: str
    weight: str
    bias: str | None

    @property
    def names(self):
        return [self.weight, *([self.bias] if self.bias else [])]

    def dense(self, values, source, activation):
        weight = values[self.weight]
        bias = values[self.bias] if self.bias else np.zeros(len(weight))
        return DenseWeights(weight, bias, source=source, activation=activation)


def _is_known(prefix):
    return prefix.rstrip(".").rpartition(".")[2] in HEAD_NAMES


def _linear_layers(file):
    """Prefix -> linear layer."""
    layers = {}
    for name, shape in file.shapes.items():
        linear = _LINEAR.fullmatch(name)
        if linear and "embed" not in name and (len(shape) == 2 or _is_known(linear[1])):
            bias = f"{linear[1]}bias"
            layers[linear[1]] = _Linear(linear[1], name, bias if bias in file.shapes else None)
    return layers


def _steps_of(file, layer, outputs):
    """Steps for whose h a linear layer has weights of its own."""
    shape = file.shapes[layer.weight]
    if len(shape) != 2 or not shape[1] or shape[1] % outputs:
        rule = f"must have a multiple of {outputs} columns, the units of the last layer, for h of {ALL}"
        raise ModelError(f"{file.path}: {layer.weight}", f"shape {tuple(shape)}", rule)
    return shape[1] // outputs


def _check_chain(file, linear, inputs, units=None, ways=(), x=0):
    """Check the shapes of linear layers behind so many inputs, None of any, and return the outputs of the last one.

    A multiple of ``units`` columns is told to be of all steps. Each may read ``x`` elements besides, where there are
    some, as one of ``ways`` says; so many more columns are told to be of them.
    """
    for layer, way in zip_longest(linear, ways, fillvalue=HEAD_INPUTS[0]):
        columns = file.shapes[layer.weight][-1:]
        if way != HEAD_INPUTS[0]:
            inputs = _size_behind(way, x, inputs, "head_inputs")
        elif inputs and columns and columns != (inputs,):
            said = []
            if units == inputs and columns[0] and not columns[0] % units:
                said.append(f", or model.head = {ALL!r} says that it reads h of all {columns[0] // units} steps")
            if x and columns == (inputs + x,):
                said.append(f", or model.head_inputs says that it reads the {x} elements of x besides")
            if said:
                rule = f"must have {inputs} columns{''.join(said)}"
                raise ModelError(f"{file.path}: {layer.weight}", f"shape {tuple(file.shapes[layer.weight])}", rule)
        units = None
        check_shape(f"{file.path}: {layer.weight}", file.shapes[layer.weight], (None, inputs))
        inputs = file.shapes[layer.weight][0]
        if layer.bias:
            check_shape(f"{file.path}: {layer.bias}", file.shapes[layer.bias], (inputs,))
    return inputs


def _find_linear(file, layers, options):
    """Of the linear layers those behind the LSTM, the head last, and what had to be assumed."""
    if options.head_prefix == NO_HEAD:
        return [], ()
    if options.head_prefix is not None:
        return [_named(file, layers, prefix) for prefix in options.head_prefixes], ()
    if not layers:
        return [], ()
    known = [prefix for prefix in layers if _is_known(prefix)]
    candidates = known or list(layers)
    if len(candidates) > 1 or (options.prefix is not None and len(layers) > 1):
        rule = (
            f"must hold one linear head at most, or model.head_prefix must name it (or be {NO_HEAD!r}); of a chain a "
            "list of all in order, with model.head_activations, since the file cannot say what follows each"
        )
        raise ModelError(file.path, f"linear layers under {sorted(layers)}", rule)
    head = layers[candidates[0]]
    if known:
        return [head], () if head.bias else (f"model.path: {file.path.name} has no {head.prefix}bias, taken as zero",)
    told = f"model.head_prefix: taken as {head.prefix!r}, the only linear layer of {file.path.name}"
    return [head], (told if options.activations else f"{told}, which cannot say whether an activation follows it",)


def _told_in_front(file, lstm, linear):
    """What is told of a head that nobody named, where it would fit in front of the recurrent layers and the file, whose
    tensors are in the order in which their modules were made, has it there."""
    if not file.ordered or len(linear) != 1:
        return ()
    (head,), names, first = linear, list(file.shapes), lstm.name("weight_ih", 0)
    fits = file.shapes[head.weight][:1] == file.shapes[first][1:]
    if not fits or names.index(head.weight) > names.index(first):
        return ()
    told = f"{head.prefix!r} stands in front of {first} in {file.path.name}, and is taken as what is behind"
    return (f"model.head_prefix: {told}; if it is not, give model.head_prefix = {NO_HEAD!r} and model.front_prefix",)


def _named(file, layers, wanted, key="head_prefix"):
    """The linear layer of a prefix that a user names."""
    for prefix, layer in layers.items():
        if wanted in (prefix, prefix.removesuffix(".")):
            return layer
    rule = f"must be {f'{NO_HEAD!r} or ' * (key == 'head_prefix')}one of the linear layers in {file.path}: "
    raise ConfigError(f"model.{key}", repr(wanted), rule + str(sorted(layers) or "none"))


def _activations(file, linear, given, key):
    """What is said to follow each of the linear layers."""
    if len(given) != len(linear):
        names = [layer.prefix.removesuffix(".") for layer in linear]
        rule = f"must have one of {', '.join(ACTIVATIONS)} for each of {names}: {file.path} cannot say it"
        raise ConfigError(f"model.{key}", list(given) or "not given", rule)
    return given


def _check_computed(file, options):
    """Refuse weights that are computed from others: what is stored of them, if anything, may be of an older run."""
    lstms = options.prefix if isinstance(options.prefix, tuple) else (options.prefix or "",)
    used = (*lstms, *(options.head_prefixes or ("",)), *options.front_prefixes)
    for name in sorted(file.shapes):
        if _COMPUTED.fullmatch(name) and name.startswith(used):
            rule = (
                "must be made one before the file is saved: torch.nn.utils.prune.remove, remove_weight_norm or "
                "parametrize.remove_parametrizations"
            )
            raise ModelError(f"{file.path}: {name}", "of a weight that is computed from several tensors", rule)


def _left_out(file, lstm, left, options):
    """What is told of tensors that are no part of the model; refused where nobody asked for less than the file."""
    for name in left:
        if name.endswith(".bias") and f"{name.removesuffix('bias')}weight" not in file.shapes:
            raise ModelError(f"{file.path}: {name.removesuffix('bias')}weight", "missing", "must be present")
    if options.prefix is None:
        heads = sorted(name.removesuffix("weight") for name in left if name.endswith(".weight"))
        rule = (
            f"must hold nothing but an LSTM and a linear head. model.prefix = {lstm.prefix!r} takes the LSTM without "
            "the rest, and what the rest does must then happen outside"
        )
        if heads and options.head_prefix != NO_HEAD:
            rule += f"; model.head_prefix names the head (one of {heads}) or, beside model.prefix, is {NO_HEAD!r}"
        sizes = lstm.state_sizes(file)
        states = [name for name in left if any(lstm.is_state(file.shapes[name], size) for size in sizes)]
        rule += f"; model.initial_state names h and c that a sequence begins from, of {states}" if states else ""
        raise ModelError(f"{file.path}: {left[0]}", "unexpected tensor", rule)
    return (
        f"model.prefix: left out of {file.path.name}: {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}; "
        "what they do must happen outside",
    )


def gate_positions(file: Tensors, given: str | None, gates: int) -> list[int]:
    """For each gate of ``GATE_ORDERS`` its position among the file's: what metadata or user say, or PyTorch's."""
    said, usual = file.metadata.get("gate_order"), GATE_ORDERS[gates]
    if said is not None and given is not None and said != given:
        raise ModelError(f"{file.path}: metadata gate_order", repr(said), f"must be {given!r}, as was given")
    order = usual if said is given is None else given if said is None else said
    letters = "".join(_OTHER_NAMES.get(letter, letter) for letter in order)
    if sorted(letters) != sorted(usual):
        names = {4: "i, f, g (or c) and o", 3: "r, z and n (or h)", 1: "n alone: a plain RNN has no gates"}
        rule = f"must be a permutation of {names[gates]}"
        raise ModelError(f"{file.path}: {'gate_order' if said is None else 'metadata gate_order'}", repr(order), rule)
    return [letters.index(gate) for gate in usual]


def _is_read(key):
    """Whether metadata of a name may be read."""
    return key in METADATA or key.rpartition(".")[2] == NONLINEARITY


def _nonlinearity(file, lstm, given):
    """The function of a plain RNN, None of another layer, and what had to be assumed for that."""
    if lstm.gates != 1:
        return None, ()
    key = f"{lstm.prefix}{NONLINEARITY}"
    said, (known, other) = file.metadata.get(key), NONLINEARITIES
    for module in lstm.modules:
        if file.metadata.get(f"{module.prefix}{NONLINEARITY}") != said:
            raise ModelError(f"{file.path}: {module.prefix}{NONLINEARITY}", "unlike", f"must be {said!r}, as of others")
    if said not in (None, *NONLINEARITIES):
        raise ModelError(f"{file.path}: {key}", repr(said), f"must be one of {', '.join(NONLINEARITIES)}")
    if said is not None and given not in (None, said):
        raise ConfigError("model.nonlinearity", repr(given), f"must be {said!r}, as {file.path} has it")
    if said is None and given is None:
        told = f"the tensors of {file.path.name} do not say it; taken as {known!r} (PyTorch's), not {other!r}"
        return known, (f"model.nonlinearity: {told}",)
    return given or said, ()


def _head_mode(file, lstm, linear, given, chosen_none):
    """What the head reads, and what had to be assumed for that."""
    subject, said = f"{file.path}: metadata head", file.metadata.get("head")
    both = len(lstm.directions) > 1
    known = (*HEAD_MODES, FINAL, ALL) if both else (*HEAD_MODES, ALL)
    if said is not None and said not in (*known, NO_HEAD):
        raise ModelError(subject, repr(said), f"must be one of {', '.join((*known, NO_HEAD))}")
    if given not in (None, *known):
        rule = f"must be one of {', '.join(known)}: {file.path} has {'two directions' if both else 'one direction'}"
        raise ConfigError("model.head", repr(given), rule)
    if not linear:
        if said in known and not chosen_none:
            raise ModelError(subject, repr(said), "must agree with the tensors, which have no head")
        if given is not None:
            raise ConfigError("model.head", repr(given), f"must not be given: {file.path} has no linear head")
        return NO_HEAD, ()
    if said == NO_HEAD:
        raise ModelError(subject, repr(said), f"must agree with the tensors, which have {linear[-1].prefix}")
    if said is not None and given is not None and said != given:
        raise ModelError(subject, repr(said), f"must be {given!r}, as model.head says")
    if said is None and given is None and both:
        rule = (
            f"must be {FINAL} (h_n of both directions), every_step, or last_step (output[:, -1], where the reverse "
            f"direction has seen the last step alone): {file.path} cannot say which"
        )
        raise ConfigError("model.head", "not given for a bidirectional layer", rule)
    if said is None and given is None:
        return HEAD_MODES[0], (HEAD_ASSUMED.format(path=file.path.name, mode=HEAD_MODES[0], other=HEAD_MODES[1]),)
    return given or said, ()
