"""The network of a Keras model, from its layers in order, which :mod:`.keras_file` reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import ModelError
from ...machine.arrangement import MOST_STEPS, OF_X, PLAIN, Arrangement
from ...machine.isa import ACTIVATIONS
from ..both_ways import Part, in_parts, steps_of
from ..float_model import FloatModel, PlainWeights, check_shape
from ..functions import USUAL
from .chain import LinearChain
from .joined import PARTS, Joined, behind
from .json_models import keras_dense, keras_recurrent
from .options import ALL, FINAL, HEAD_MODES, NO_HEAD, ReadOptions

_HARMLESS = (
    "InputLayer",
    "Dropout",
    "SpatialDropout1D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
)
"""Layers that do nothing when a model is used."""
RECURRENT = {"LSTM": "lstm", "CuDNNLSTM": "lstm", "GRU": "gru", "CuDNNGRU": "gru", "SimpleRNN": "plain"}
"""Class of a layer -> its kind."""
_OFF = ("time_major", "return_state", "zero_output_for_mask")
"""Options of a recurrent layer that must be off; the last one is Keras's own in each direction of a bidirectional
one, where there is no mask."""
MERGED = {"concat": None, "sum": 1.0, "ave": 0.5}
"""Merge mode -> factor of the matrix that reads the sum of both directions."""
JOINTS = ("Add", "Subtract", "Average", "Concatenate")
"""Layers that read several others."""
_ARRAYS = ("kernel", "recurrent_kernel", "bias")


@dataclass(frozen=True)
class Layer:
    """A layer: class, name and configuration; ``wrapped`` by TimeDistributed; ``backward`` is the other direction of
    a bidirectional one, whose directions are numbered, and ``merge`` how both become one output. ``reads`` names the
    layers whose outputs it gets, and ``readers`` is the number of those that get its own, a joint counting twice."""

    kind: str
    name: str
    config: dict[str, Any]
    wrapped: bool = False
    backward: "Layer | None" = None
    merge: str | None = None
    direction: int | None = None
    reads: tuple[str, ...] = ()
    readers: int = 1

    def described(self) -> str:
        """The layer in a line, for people."""
        if self.backward is not None:
            one = replace(self, backward=None, kind=f"Bidirectional {self.kind}")
            return f"{one.described()} each, merged by {self.merge!r:.60}"
        sizes = f", {self.config['units']} units" if "units" in self.config else ""
        activation = f", activation {self.config['activation']!r:.60}" if "activation" in self.config else ""
        return f"{self.name}: {'TimeDistributed ' if self.wrapped else ''}{self.kind}{sizes}{activation}"


class Arrays(Protocol):
    """The arrays of a file."""

    def of(self, layer: Layer, names: Sequence[str]) -> list[np.ndarray]:
        """Those of a layer, in the order of the names; a bias that the layer says it has not is left out."""


class KerasNetwork:
    """What is found of a network, layer after layer.

    Parameters
    ----------
    path : pathlib.Path
    layers : list of Layer
        Each behind those that it reads.
    arrays : Arrays
    version : str
        Of Keras.
    options : ReadOptions
    """

    def __init__(self, path: Path, layers: Sequence[Layer], arrays: Arrays, version: str, options: ReadOptions):
        self.path, self.layers, self.arrays, self.version, self.options = path, layers, arrays, version, options
        self.assumptions: list[str] = []
        self.chain = LinearChain(self.assumptions, options)  # linear layers that no recurrent one has read yet
        self.parts: list[Part] = []
        self.merge = None  # how both directions of the last part become one
        self.sequences = True  # whether there is a vector a step
        self.functions, self.arrangement = None, PLAIN
        self.steps = None  # of a Flatten; 0 until a layer with weights for each reads it
        self.repeats, self.repeated = None, False  # steps of a RepeatVector; whether none has read it yet
        self.joined, self.tensors = None, {}  # of a graph: the vector of the last layer, and those that others read

    @property
    def recurrent(self) -> list[Any]:
        """Layers of all parts so far, in the forward direction."""
        return [one for part in self.parts for one in part.forward]

    def model(self) -> FloatModel:
        """The recurrent layers and the dense layers in front of them, between and behind.

        Raises
        ------
        ModelError
            A layer is none that an engine can have, or not where it is.
        """
        before = None
        for layer in self.layers:
            subject = self._subject(layer)
            if before is not None and before.readers != 1:  # others read it too, or are joined with it
                self._settle(before)
            before = layer
            if len(layer.reads) == 1 and layer.reads[0] in self.tensors:
                self.joined, self.sequences = self.tensors[layer.reads[0]]
            if layer.kind in JOINTS and layer.reads[0] in self.tensors:
                self.joined, self.sequences = _join(layer, [self.tensors[name] for name in layer.reads], subject)
                continue
            if layer.kind in _HARMLESS or (layer.kind == "Activation" and _activation(layer) == "linear"):
                continue
            if self.joined is not None and layer.kind not in (*RECURRENT, "Dense"):
                self._make_linear(subject)
                self.joined = None
            if self.recurrent and self.options.head_prefix == NO_HEAD and layer.kind not in RECURRENT:
                what = f"{self.path.name}: {layer.name} and what follows it"
                self.assumptions.append(f"model.head_prefix: left out of {what}")
                break
            self._add(layer, subject)
        if self.steps == 0:
            raise ModelError(f"{self.path}: Flatten", "without a Dense layer behind it", "must be read by one")
        if self.repeated:
            rule = f"must be read by a recurrent layer; {PARTS}"
            raise ModelError(f"{self.path}: RepeatVector", "without a recurrent layer behind it", rule)
        if self.joined is not None:
            self._make_linear(subject)
        return self._whole()

    def _subject(self, layer):
        return f"{self.path}: {layer.name}"

    def _make_linear(self, subject):
        """A linear layer that makes the joined vector, if that is not h of the last layer itself."""
        count = len(self.recurrent)
        if not self.joined.is_last(count):
            self.chain.add(self.joined.as_linear(count, subject))

    def _settle(self, layer):
        """A layer whose vector others read: what is linear so far is a layer of its own."""
        if self.repeated or self.steps is not None:
            found = f"{layer.kind} in a graph with branches, behind a RepeatVector or Flatten"
            raise ModelError(self._subject(layer), found, f"must be read by one layer; {PARTS}")
        subject = self._subject(layer)
        if self.joined is None:
            self._check_apart(layer, subject)
            if front := self.chain.taken(subject):
                _put(self.parts, None, front)
            recurrent = self.recurrent
            if recurrent:
                self.joined = Joined.of(len(recurrent) - 1, recurrent[-1].hidden_size, subject)
            else:
                self.joined = Joined.of(OF_X, _elements_of_x(self.layers, subject), subject)
        self.tensors[layer.name] = self.joined, self.sequences

    def _check_apart(self, layer, subject):
        """Refuse vectors that are joined beside layers of two directions, or that wait for others."""
        if _waits(self.parts) or layer.backward:
            rule = f"must be without layers of two directions, or that wait for all steps; {PARTS}"
            raise ModelError(subject, f"{layer.kind} in a graph with branches", rule)

    def _add(self, layer, subject):
        recurrent = self.recurrent
        if layer.kind in RECURRENT and self.sequences:
            self._add_recurrent(layer, subject)
        elif layer.kind == "RepeatVector" and recurrent and not self.sequences and self.steps is None:
            self.repeats, self.sequences, self.repeated = _repeats(layer, self.repeats, subject), True, True
            if front := self.chain.taken(subject):  # of the last step, which is the same of each of its repetitions
                _put(self.parts, self.merge, front, repeats=True)
                self.merge, self.repeated = None, False
        elif layer.kind == "Flatten" and recurrent and self.sequences and self._is_flat():
            self.parts[-1].forward.extend(self.chain.taken(subject))
            self.sequences, self.steps = False, 0  # so many as the layer behind it has weights for
        elif layer.kind == "Dense":
            self._add_dense(layer, subject)
        elif (
            layer.kind in ("Activation", "ReLU", "ELU", "Softmax")
            and not (self.repeated or self.steps == 0)
            and not _changed(layer, 2 + self.sequences)
        ):
            if not self.chain.layers:  # behind h or x itself
                count = recurrent[-1].hidden_size if recurrent else _elements_of_x(self.layers, subject)
                count *= 1 + (bool(recurrent) and self.merge == "concat")
                self.chain.add(Joined.of(len(recurrent) - 1, count, subject).as_linear(len(recurrent), subject))
            self.chain.activate(_activation(layer), subject, layer.name)
        else:
            what = f"{layer.kind} behind {len(recurrent)} recurrent layers and {len(self.chain.layers)} dense layers"
            rule = (
                "must be LSTM, GRU or SimpleRNN layers, but for the last with return_sequences, and Dense layers "
                "with their activations"
            )
            if recurrent:
                rule += f"; model.head_prefix = {NO_HEAD!r} takes what is in front, and the rest happens outside"
            raise ModelError(subject, what, rule)

    def _add_recurrent(self, layer, subject):
        below = self.recurrent
        if layer.config.get("go_backwards"):
            self.arrangement = _backwards(layer, not any(one.w_h.size for one in below), subject)
        if front := self.chain.taken(subject):
            _put(self.parts, self.merge, front)
        forward = self._recurrent(layer, subject)
        if self.joined is not None:
            self._check_apart(layer, subject)
            forward, self.joined = self.joined.read_by(forward, len(below)), None
        backward = [self._recurrent(layer.backward, subject)] if layer.backward else []
        _put(self.parts, self.merge, [forward], backward, self.repeated)
        self.merge, self.repeated = layer.merge, False
        _check_units(layer, forward.hidden_size, subject)
        for part in (layer, layer.backward) if layer.backward else (layer,):
            found = _functions(part, self.version, subject)
            self.functions = self.functions or found
            if found not in (None, self.functions):
                rule = f"must be {' and '.join(self.functions)}, as in the layer before: an engine has one unit"
                raise ModelError(f"{subject}: activations", " and ".join(found), rule)
        self.sequences = layer.config.get("return_sequences", False)

    def _recurrent(self, layer, subject):
        config = layer.config
        for key in _OFF if layer.direction is None else _OFF[:-1]:
            if config.get(key):
                raise ModelError(f"{subject}: {key}", "true", "must be false")
        cudnn = layer.kind.startswith("CuDNN")
        if layer.kind == "SimpleRNN":
            activation = _of_rnn(config.get("activation", "not said"), subject)
            return replace(keras_recurrent("plain", self.arrays.of(layer, _ARRAYS), subject), activation=activation)
        after = config.get("reset_after", False) if layer.kind == "GRU" else None
        return keras_recurrent(RECURRENT[layer.kind], self.arrays.of(layer, _ARRAYS), subject, "tanh", cudnn, after)

    def _add_dense(self, layer, subject):
        if self.repeated:  # the last step, in each step
            units = self.recurrent[-1].hidden_size * (1 + (self.merge == "concat"))
            _put(self.parts, self.merge, [PlainWeights.same(units, subject)], repeats=True)
            self.merge, self.repeated = None, False
        dense = keras_dense(self.arrays.of(layer, _ARRAYS[::2]), subject)
        self.chain.add(dense if self.joined is None else self.joined.read_by(dense, len(self.recurrent)))
        self.joined = None
        if self.steps == 0:
            last = self.parts[-1]
            self.steps = self.chain.steps(last.forward[-1].hidden_size * last.directions)
        _check_units(layer, self.chain.layers[-1].output_size, subject)
        self.chain.activate(_activation(layer), subject, layer.name)

    def _is_flat(self):
        """Whether h of all steps is there as layers compute it: of one direction, or of both side by side."""
        return (
            not _waits(self.parts) or bool(self.parts[-1].backward) and self.merge == "concat" and not self.chain.layers
        )

    def _whole(self):
        """The model of all that was found."""
        parts, chain, options = self.parts, self.chain, self.options
        both = bool(parts) and bool(parts[-1].backward)
        if not chain.layers and not self.sequences:
            given = "the last h of both directions" if both else "h of the last step"
            here = "that of every step is given, in the order of the run" if both else "h of every step is given"
            self.assumptions.append(f"model.path: {self.path.name} gives {given}; here {here}")
        mode = ALL if self.steps else FINAL if both and not self.sequences else HEAD_MODES[self.sequences]
        if chain.layers:
            options.agree(self.path, mode)
        said = {
            "source": str(self.path),
            "functions": self.functions or USUAL,
            "assumptions": tuple(self.assumptions),
            "left_out": chain.left_out,
        }
        if _waits(parts):
            last = parts[-1].forward[-1]
            linear = _reading_both(chain.layers, self.merge, last, self.path) if both else chain.layers
            said |= steps_of(_steps_of_x(self.layers), self.repeats, options.most_steps)
            return in_parts(parts, linear, mode, reads=self.arrangement.reads, **said)
        arrangement = replace(self.arrangement, steps=self.steps or 0)
        said |= {"head_every_step": bool(chain.layers) and self.sequences, "arrangement": arrangement}
        more, chain.layers = behind(chain.layers, self.sequences)
        return FloatModel((*self.recurrent, *more), **chain.parts, **said)


def _join(layer, given, subject):
    """The vector that a layer makes of others, and whether there is one a step."""
    vectors, sequences = zip(*given, strict=True)
    if len(set(sequences)) > 1:
        raise ModelError(subject, f"{layer.kind} of h of every step and of the last", "must be of one of both")
    if layer.kind == "Concatenate":
        if (axis := layer.config.get("axis", -1)) not in (-1, 1 + sequences[0]):
            raise ModelError(f"{subject}: axis", f"{axis!r:.40}", "must be the last one")
        return Joined.beside(vectors, subject), sequences[0]
    minus, mean = layer.kind == "Subtract", layer.kind == "Average"
    return Joined.added(vectors, subject, minus=minus, mean=mean), sequences[0]


def _repeats(layer, before, subject):
    """Steps of a RepeatVector: the layers behind it run as often, as do those behind another one."""
    count = layer.config.get("n")
    if type(count) is not int or not 1 <= count <= MOST_STEPS or before not in (None, count):
        rule = f"must be the {before} of the RepeatVector below, as often as layers behind it run; {PARTS}"
        raise ModelError(f"{subject}: n", f"{count!r:.40}", rule if before else f"must be 1 to {MOST_STEPS}")
    return count


def _backwards(layer, first, subject):
    """What software does for a layer that reads its inputs from the end, in whose order its outputs stay."""
    if not first:
        rule = "must be of the first recurrent layer alone: h of the one below is there from the first step on"
        raise ModelError(f"{subject}: go_backwards", "true behind another recurrent layer", rule)
    return Arrangement("backward", "sent")


def _of_rnn(value, subject):
    """The activation of a SimpleRNN."""
    names = {"linear": "none"} | {name: name for name in ACTIVATIONS[1:]}
    if not isinstance(value, str) or value not in names:
        raise ModelError(f"{subject}: activation", f"{value!r:.80}", f"must be one of {', '.join(names)}")
    return names[value]


def _functions(layer, version, subject):
    """What stands for sigmoid and tanh, of cells; hard sigmoids are steeper in Keras 2 than in Keras 3."""
    if layer.kind == "SimpleRNN":
        return None
    if layer.kind.startswith("CuDNN"):
        return USUAL
    known = {"recurrent_activation": {"sigmoid": "sigmoid"}, "activation": {"tanh": "tanh", "hard_tanh": "hard5"}}
    hard = {"2": "hard5", "3": "hard6"}.get(version.partition(".")[0])
    if hard:
        known["recurrent_activation"]["hard_sigmoid"] = hard
    for key, names in known.items():
        value = layer.config.get(key, "not said")
        if not isinstance(value, str) or value not in names:
            rule = f"must be one of {', '.join(names)}"
            if value == "hard_sigmoid":
                rule = f"must come with a keras_version of 2 or 3, whose lines differ, not {version}"
            raise ModelError(f"{subject}: {key}", f"{value!r:.80}", rule)
    return tuple(names[layer.config[key]] for key, names in known.items())


def _put(parts, merge, forward, backward=(), repeats=False):
    """Layers behind those of the last part, in it where they read its h step by step."""
    if parts and parts[-1].backward:
        units = parts[-1].forward[-1].hidden_size
        forward, backward = (
            [_merged(one, merge, units) for one in way[:1]] + way[1:] for way in (forward, list(backward))
        )
    if parts and not (parts[-1].backward or backward or repeats):
        parts[-1].forward.extend(forward)
    else:
        parts.append(Part(list(forward), list(backward), repeats))


def _waits(parts):
    """Whether layers are of two directions, or wait for others."""
    return len(parts) > 1 or any(part.backward for part in parts)


def _steps_of_x(layers):
    """Steps that the file says x has, or None."""
    for key in ("batch_shape", "batch_input_shape"):
        for layer in layers:
            shape = layer.config.get(key)
            if isinstance(shape, list) and len(shape) == 3 and type(shape[1]) is int and 2 <= shape[1] <= MOST_STEPS:
                return shape[1]
    return None


def _elements_of_x(layers, subject):
    """The size of x, as the file says it."""
    for key in ("batch_shape", "batch_input_shape"):
        for layer in layers:
            shape = layer.config.get(key)
            if isinstance(shape, list) and len(shape) == 3 and type(shape[2]) is int and shape[2] > 0:
                return shape[2]
    raise ModelError(subject, "x of unknown size", "must be in a file that says the shape of its input")


def _merged(layer, merge, units):
    """A recurrent layer that reads both directions, where they are merged otherwise than side by side."""
    factor = MERGED[merge] if merge else None
    if factor is None:
        return layer
    check_shape(f"{layer.source}: kernel", layer.w_x.shape, (len(layer.w_x), units))
    return replace(layer, w_x=factor * np.hstack([layer.w_x] * 2))


def _reading_both(linear, merge, layer, path):
    """The linear layers, the first of which reads both directions side by side."""
    factor = MERGED[merge]
    if factor is None:
        return linear
    if not linear:
        rule = "must be concat where no Dense layer follows it"
        raise ModelError(f"{path}: merge_mode", repr(merge), rule)
    first, *others = linear
    check_shape(f"{first.source}: kernel", first.weight.T.shape, (layer.hidden_size, None))
    return [replace(first, weight=factor * np.hstack([first.weight] * 2)), *others]


def _check_units(layer, found, subject):
    """Refuse units that the arrays do not have."""
    if layer.config.get("units", found) != found:
        raise ModelError(f"{subject}: units", f"{layer.config['units']!r:.80}", f"must be {found}, as the arrays have")


def _activation(layer):
    of_kind = layer.kind.lower() if layer.kind in ("Softmax", "ReLU", "ELU") else "linear"
    return layer.config.get("activation", of_kind)


def _changed(layer, axes):
    """Whether a layer that is an activation has something that makes it another one; ``axes`` are those of its x."""
    if layer.kind == "Softmax":
        return layer.config.get("axis", -1) not in (-1, [-1], axes - 1, [axes - 1])
    if layer.kind == "ELU":
        return layer.config.get("alpha", 1.0) != 1.0
    return layer.kind == "ReLU" and any(layer.config.get(key) for key in ("max_value", "negative_slope", "threshold"))
