"""Keras files: HDF5 (``model.save("m.h5")`` of Keras 2 and 3) and ``.keras`` (Keras 3), read without Keras.

Both hold the layers' configuration as JSON and the arrays in HDF5. An LSTM has kernel (I, 4H), recurrent kernel
(H, 4H) and bias (4H; of CuDNNLSTM 8H), gates i, f, c, o; a GRU the same with three gates z, r, h and bias (2, 3H); a
dense layer kernel (I, O) and bias (O).
"""

import io
import os
import re
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import LstmHwError, ModelError
from ...machine.arrangement import MOST_STEPS, OF_X, PLAIN, Arrangement
from ...machine.isa import ACTIVATIONS
from ...reading import MAX_JSON_BYTES, MAX_VALUES, open_archive, open_file, parse_json, read_stored
from ..both_ways import Part, in_parts, steps_of
from ..float_model import FloatModel, PlainWeights, check_shape
from ..functions import USUAL
from ..store import MAX_FILE_BYTES
from .chain import LinearChain
from .joined import PARTS, Joined, behind, check_joints
from .json_models import keras_dense, keras_recurrent
from .library_file import LibraryFile
from .options import ALL, FINAL, HEAD_MODES, NO_HEAD, OF_TENSORS, ReadOptions

SECONDS = 1
"""Processor time that the HDF5 library may take."""
ARCHIVE_RULE = "must be a file of model.save('m.keras')"
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
_RECURRENT = {"LSTM": "lstm", "CuDNNLSTM": "lstm", "GRU": "gru", "CuDNNGRU": "gru", "SimpleRNN": "plain"}
"""Class of a layer -> its kind."""
_OFF = ("time_major", "return_state", "zero_output_for_mask")
"""Options of a recurrent layer that must be off; the last one is Keras's own in each direction of a bidirectional
one, where there is no mask."""
_DIRECTIONS = ("forward_layer", "backward_layer")
_MERGED = {"concat": None, "sum": 1.0, "ave": 0.5}
"""Merge mode -> factor of the matrix that reads the sum of both directions."""
_JOINTS = ("Add", "Subtract", "Average", "Concatenate")
"""Layers that read several others."""
_MODULES = ("keras.", "tf_keras.", "tensorflow.")
"""What the modules of Keras's own layers begin with."""
_ARRAYS = ("kernel", "recurrent_kernel", "bias")


@dataclass(frozen=True)
class _Layer:
    """A layer: class, name and configuration; ``wrapped`` by TimeDistributed; ``backward`` is the other direction of
    a bidirectional one, whose directions are numbered, and ``merge`` how both become one output. ``reads`` names the
    layers whose outputs it gets, and ``readers`` is the number of those that get its own, a joint counting twice."""

    kind: str
    name: str
    config: dict[str, Any]
    wrapped: bool = False
    backward: "_Layer | None" = None
    merge: str | None = None
    direction: int | None = None
    reads: tuple[str, ...] = ()
    readers: int = 1

    def described(self):
        if self.backward is not None:
            one = replace(self, backward=None, kind=f"Bidirectional {self.kind}")
            return f"{one.described()} each, merged by {self.merge!r:.60}"
        sizes = f", {self.config['units']} units" if "units" in self.config else ""
        activation = f", activation {self.config['activation']!r:.60}" if "activation" in self.config else ""
        return f"{self.name}: {'TimeDistributed ' if self.wrapped else ''}{self.kind}{sizes}{activation}"


@dataclass(frozen=True)
class KerasFile(LibraryFile):
    """A Keras model, with its configuration; parameters and errors are those of the base."""

    LIBRARY, KIND = ("h5py", "keras"), "a Keras file"

    def _open(self) -> None:
        _ = self._library
        if not _ends(self._everything):
            raise self._unreadable("the HDF5 library does not come to an end")
        self._layers()

    def _everything(self):
        """All that will be read of the file."""
        with self._opened() as (config, file, version):
            self._read(self._chain(config), _Arrays(self.path, file, config), version, ReadOptions())

    @contextmanager
    def _opened(self) -> Iterator[tuple[dict, Any, str]]:
        """The model's configuration, the open HDF5 file with its arrays, and the version of Keras that wrote them."""
        h5py = self._library
        try:
            if self.path.suffix.lower() == ".keras":
                with open_archive(self.path, MAX_FILE_BYTES, ARCHIVE_RULE, ModelError) as archive:
                    text = read_stored(archive, "config.json", MAX_JSON_BYTES, self.path, ModelError)
                    content = read_stored(archive, "model.weights.h5", MAX_FILE_BYTES, self.path, ModelError)
                    said = read_stored(archive, "metadata.json", MAX_JSON_BYTES, self.path, ModelError)
                version = parse_json(said, f"{self.path}: metadata.json", ModelError).get("keras_version")
                config = parse_json(text, self.path, ModelError)
                with h5py.File(io.BytesIO(content), "r") as file:
                    yield config, file, str(version)
            else:
                with open_file(self.path, MAX_FILE_BYTES, ModelError) as raw, h5py.File(raw, "r") as file:
                    version = file.attrs.get("keras_version")
                    version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
                    yield self._configuration(file), file, version
        except LstmHwError:
            raise
        except Exception as error:  # HDF5 tells of damage in many ways
            raise self._unreadable(error) from error

    def _configuration(self, file):
        text = file.attrs.get("model_config")
        if text is None:
            rule = "must be saved whole (model.save), since weights alone do not say activations and layers"
            raise ModelError(f"{self.path}: model_config", "missing", rule)
        text = text if isinstance(text, str | bytes) else str(text)
        if len(text) > MAX_JSON_BYTES:
            raise ModelError(f"{self.path}: model_config", f"{len(text)} bytes", f"must not exceed {MAX_JSON_BYTES}")
        return parse_json(text, f"{self.path}: model_config", ModelError)

    def contents(self) -> list[str]:
        """The layers, in order."""
        return [layer.described() for layer in self._layers()]

    def _layers(self):
        with self._opened() as (config, _, _):
            return self._chain(config)

    def _chain(self, config):
        """The layers in order; refused where they are no chain."""
        kind, inner = config.get("class_name"), config.get("config")
        if kind not in ("Sequential", "Functional", "Model"):
            raise ModelError(f"{self.path}: class_name", repr(kind), "must be Sequential or Functional")
        items = inner.get("layers") if isinstance(inner, dict) else inner
        if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
            raise ModelError(f"{self.path}: layers", type(items).__name__, "must be a list of layers")
        layers = [self._layer(item) for item in items]
        names = [layer.name for layer in layers]
        if len(set(names)) != len(names):
            raise ModelError(f"{self.path}: layers", "two layers of one name", "must have names of their own")
        if kind != "Sequential":
            nodes = [_sources(item.get("inbound_nodes"), set(names)) for item in items]
            for layer, item, from_ in zip(layers, items, nodes, strict=True):
                calls = item.get("inbound_nodes")
                if (besides := _besides(calls, set(names))) is not None:
                    rule = "must be none: a layer reads other layers, with options that are off"
                    raise ModelError(f"{self.path}: {layer.name}", f"called with {besides!s:.80}", rule)
                if layer.kind in _JOINTS and (len(from_) < 2 or layer.kind == "Average" and "axis" in layer.config):
                    rule = f"must be of several layers, step by step; {PARTS}"
                    raise ModelError(f"{self.path}: {layer.name}", f"{layer.kind} of {', '.join(from_)} alone", rule)
                once = isinstance(calls, list) and len(calls) == 1
                if len(from_) > 1 and not (layer.kind in _JOINTS and once):
                    rule = f"must read one layer, or be one of {', '.join(_JOINTS)} that is used once"
                    found = f"{layer.kind} of {', '.join(from_)}"
                    raise ModelError(f"{self.path}: {layer.name}", found, f"{rule}; {PARTS}")
            layers = [replace(layer, reads=tuple(from_)) for layer, from_ in zip(layers, nodes, strict=True)]
            ends = _sources([inner.get("output_layers")], set(names))
            return self._ordered(layers, ends)
        return [replace(layer, reads=(below,)) for layer, below in zip(layers, ("", *names), strict=False)]

    def _ordered(self, layers, ends):
        """Layers in an order in which each comes behind those that it reads, a branch to its end before the next."""
        check_joints(sum(layer.kind in _JOINTS for layer in layers), self.path)
        by_name = {layer.name: layer for layer in layers}
        above = {name: [layer for layer in layers if name in layer.reads] for name in by_name}
        order, left = [], {layer.name: len(set(layer.reads)) for layer in layers}
        at = [layer.name for layer in layers if not layer.reads]
        inputs = len(at)
        while at:
            name = at.pop()
            readers = above[name]
            joints = sum(layer.kind in _JOINTS for layer in readers)
            order.append(replace(by_name[name], readers=len(readers) + joints))
            for layer in reversed(readers):
                left[layer.name] -= 1
                at += [layer.name] * (not left[layer.name])
        unread = [layer.name for layer in order if not layer.readers]
        if inputs != 1 or len(order) != len(layers) or len(ends) != 1 or ends != unread:
            rule = "must have one input and one output, to which all layers lead"
            raise ModelError(f"{self.path}: layers", "a graph with branches", f"{rule}; {PARTS}")
        return order

    def _layer(self, item):
        kind, config = item.get("class_name"), item.get("config")
        name = (config or {}).get("name") if isinstance(config, dict) else None
        if not isinstance(kind, str) or not isinstance(name, str):
            raise ModelError(
                f"{self.path}: layers", "a layer without class or name", "must be layers as Keras saves them"
            )
        _check_own(item, f"{self.path}: {name}")
        if kind == "TimeDistributed" and isinstance(config.get("layer"), dict):
            inner = config["layer"]
            _check_own(inner, f"{self.path}: {name}")
            if inner.get("class_name") == "Dense" and isinstance(inner.get("config"), dict):
                return _Layer("Dense", name, {**inner["config"], "name": name}, wrapped=True)
        if kind == "Bidirectional":
            return self._both(name, config)
        return _Layer(kind, name, config)

    def _both(self, name, config):
        """A bidirectional layer; without a configuration of its own the other direction is as the first."""
        subject, inner = f"{self.path}: {name}", [config.get(key) for key in ("layer", "backward_layer")]
        forward, backward = (item if isinstance(item, dict) else {} for item in inner)
        for item in (forward, backward):
            _check_own(item, subject)
        if not isinstance(forward.get("config"), dict) or forward.get("class_name") not in _RECURRENT:
            found = f"Bidirectional of {forward.get('class_name')!r:.80}"
            raise ModelError(subject, found, f"must be of one of {', '.join(_RECURRENT)}")
        if not backward:
            turned = not forward["config"].get("go_backwards", False)
            backward = {**forward, "config": {**forward["config"], "go_backwards": turned}}
        if not isinstance(backward.get("config"), dict) or backward.get("class_name") != forward["class_name"]:
            found = f"a backward layer of class {backward.get('class_name')!r:.80}"
            raise ModelError(subject, found, f"must be {forward['class_name']}, as forward")
        if forward["config"].get("go_backwards") or not backward["config"].get("go_backwards"):
            raise ModelError(f"{subject}: go_backwards", "not of the backward layer alone", "must be of that alone")
        kept = [part["config"].get("return_sequences", False) for part in (forward, backward)]
        if kept[0] != kept[1]:
            raise ModelError(f"{subject}: return_sequences", f"{kept} of the two directions", "must be the same")
        merge = config.get("merge_mode", "concat")
        if merge not in _MERGED:
            rule = f"must be one of {', '.join(_MERGED)}"
            raise ModelError(f"{subject}: merge_mode", f"{merge!r:.80}", rule)
        kind, parts = forward["class_name"], [{**part["config"], "name": name} for part in (forward, backward)]
        return _Layer(
            kind, name, parts[0], merge=merge, direction=0, backward=_Layer(kind, name, parts[1], direction=1)
        )

    def model(self, options: ReadOptions) -> FloatModel:
        """The recurrent layers and the dense layers in front of them, between and behind."""
        self._check_options(options, "prefix", "initial_state", *OF_TENSORS)
        with self._opened() as (config, file, version):
            return self._read(self._chain(config), _Arrays(self.path, file, config), version, options)

    def _read(self, layers, arrays, version, options):
        parts, sequences, assumptions, functions = [], True, [], None
        arrangement, merge, steps, repeats, repeated = PLAIN, None, None, None, False
        chain, tensors, joined, before = LinearChain(assumptions, options), {}, None, None
        for layer in layers:
            subject = f"{self.path}: {layer.name}"
            if before is not None and before.readers != 1:  # others read it too, or are joined with it
                if repeated or steps is not None:
                    found = f"{before.kind} in a graph with branches, behind a RepeatVector or Flatten"
                    raise ModelError(f"{self.path}: {before.name}", found, f"must be read by one layer; {PARTS}")
                parts, joined = self._settled(parts, chain, joined, before, layers)
                tensors[before.name] = joined, sequences
            before = layer
            if len(layer.reads) == 1 and layer.reads[0] in tensors:
                joined, sequences = tensors[layer.reads[0]]
            if layer.kind in _JOINTS and layer.reads[0] in tensors:
                joined, sequences = self._joined(layer, [tensors[name] for name in layer.reads], subject)
                continue
            if layer.kind in _HARMLESS or (layer.kind == "Activation" and _activation(layer) == "linear"):
                continue
            recurrent = [one for part in parts for one in part.forward]
            if joined is not None and layer.kind not in (*_RECURRENT, "Dense"):
                if not joined.is_last(len(recurrent)):
                    chain.add(joined.as_linear(len(recurrent), subject))
                joined = None
            if recurrent and options.head_prefix == NO_HEAD and layer.kind not in _RECURRENT:
                assumptions.append(f"model.head_prefix: left out of {self.path.name}: {layer.name} and what follows it")
                break
            if layer.kind in _RECURRENT and sequences:
                if layer.config.get("go_backwards"):
                    arrangement = self._backwards(layer, not any(one.w_h.size for one in recurrent), subject)
                if front := chain.taken(subject):
                    _put(parts, merge, front)
                forward = self._recurrent(layer, arrays, subject)
                if joined is not None:
                    self._check_apart(layer, parts, subject)
                    forward, joined = joined.read_by(forward, len(recurrent)), None
                backward = [self._recurrent(layer.backward, arrays, subject)] if layer.backward else []
                _put(parts, merge, [forward], backward, repeated)
                merge, repeated = layer.merge, False
                _check_units(layer, forward.hidden_size, subject)
                for part in (layer, layer.backward) if layer.backward else (layer,):
                    found = self._functions(part, version, subject)
                    functions = functions or found
                    if found not in (None, functions):
                        rule = f"must be {' and '.join(functions)}, as in the layer before: an engine has one unit"
                        raise ModelError(f"{subject}: activations", " and ".join(found), rule)
                sequences = layer.config.get("return_sequences", False)
            elif layer.kind == "RepeatVector" and recurrent and not sequences and steps is None:
                repeats, sequences, repeated = self._repeats(layer, repeats, subject), True, True
                if front := chain.taken(subject):  # of the last step, which is the same of each of its repetitions
                    _put(parts, merge, front, repeats=True)
                    merge, repeated = None, False
            elif layer.kind == "Flatten" and recurrent and sequences and self._is_flat(parts, chain, merge):
                parts[-1].forward.extend(chain.taken(subject))
                sequences, steps = False, 0  # so many as the layer behind it has weights for
            elif layer.kind == "Dense":
                if repeated:  # the last step, in each step
                    units = recurrent[-1].hidden_size * (1 + (merge == "concat"))
                    _put(parts, merge, [PlainWeights.same(units, subject)], repeats=True)
                    recurrent, merge, repeated = [*recurrent, parts[-1].forward[-1]], None, False
                dense = keras_dense(arrays.of(layer, _ARRAYS[::2]), subject)
                chain.add(dense if joined is None else joined.read_by(dense, len(recurrent)))
                joined = None
                if steps == 0:
                    steps = chain.steps(parts[-1].forward[-1].hidden_size * parts[-1].directions)
                _check_units(layer, chain.layers[-1].output_size, subject)
                chain.activate(_activation(layer), subject, layer.name)
            elif (
                layer.kind in ("Activation", "ReLU", "ELU", "Softmax")
                and not (repeated or steps == 0)
                and not _changed(layer, 2 + sequences)
            ):
                if not chain.layers:  # behind h or x itself
                    count = recurrent[-1].hidden_size if recurrent else _elements_of_x(layers, subject)
                    count *= 1 + (bool(recurrent) and merge == "concat")
                    chain.add(Joined.of(len(recurrent) - 1, count, subject).as_linear(len(recurrent), subject))
                chain.activate(_activation(layer), subject, layer.name)
            else:
                what = f"{layer.kind} behind {len(recurrent)} recurrent layers and {len(chain.layers)} dense layers"
                rule = (
                    "must be LSTM, GRU or SimpleRNN layers, but for the last with return_sequences, and Dense layers "
                    "with their activations"
                )
                if recurrent:
                    rule += f"; model.head_prefix = {NO_HEAD!r} takes what is in front, and the rest happens outside"
                raise ModelError(subject, what, rule)
        if steps == 0:
            raise ModelError(f"{self.path}: Flatten", "without a Dense layer behind it", "must be read by one")
        if repeated:
            rule = f"must be read by a recurrent layer; {PARTS}"
            raise ModelError(f"{self.path}: RepeatVector", "without a recurrent layer behind it", rule)
        if joined is not None and not joined.is_last(sum(len(part.forward) for part in parts)):
            chain.add(joined.as_linear(sum(len(part.forward) for part in parts), subject))
        both = bool(parts) and bool(parts[-1].backward)
        if not chain.layers and not sequences:
            given = "the last h of both directions" if both else "h of the last step"
            here = "that of every step is given, in the order of the run" if both else "h of every step is given"
            assumptions.append(f"model.path: {self.path.name} gives {given}; here {here}")
        mode = ALL if steps else FINAL if both and not sequences else HEAD_MODES[sequences]
        if chain.layers:
            options.agree(self.path, mode)
        said = {"source": str(self.path), "functions": functions or USUAL, "assumptions": tuple(assumptions)}
        said["left_out"] = chain.left_out
        if _waits(parts):
            linear = _reading_both(chain.layers, merge, parts[-1].forward[-1], self.path) if both else chain.layers
            said |= steps_of(_steps_of_x(layers), repeats, options.most_steps)
            return in_parts(parts, linear, mode, reads=arrangement.reads, **said)
        arrangement = replace(arrangement, steps=steps or 0)
        said |= {"head_every_step": bool(chain.layers) and sequences, "arrangement": arrangement}
        more, chain.layers = behind(chain.layers, sequences)
        return FloatModel((*(layer for part in parts for layer in part.forward), *more), **chain.parts, **said)

    def _settled(self, parts, chain, joined, layer, layers):
        """The layers so far, linear ones among them, and the vector that a layer gives others."""
        subject = f"{self.path}: {layer.name}"
        if joined is not None:
            return parts, joined
        self._check_apart(layer, parts, subject)
        if front := chain.taken(subject):
            _put(parts, None, front)
        recurrent = [one for part in parts for one in part.forward]
        if recurrent:
            return parts, Joined.of(len(recurrent) - 1, recurrent[-1].hidden_size, subject)
        return parts, Joined.of(OF_X, _elements_of_x(layers, subject), subject)

    @staticmethod
    def _is_flat(parts, chain, merge):
        """Whether h of all steps is there as layers compute it: of one direction, or of both side by side."""
        return not _waits(parts) or bool(parts[-1].backward) and merge == "concat" and not chain.layers

    @staticmethod
    def _check_apart(layer, parts, subject):
        """Refuse vectors that are joined beside layers of two directions, or that wait for others."""
        if _waits(parts) or layer.backward:
            rule = f"must be without layers of two directions, or that wait for all steps; {PARTS}"
            raise ModelError(subject, f"{layer.kind} in a graph with branches", rule)

    @staticmethod
    def _joined(layer, given, subject):
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

    @staticmethod
    def _repeats(layer, before, subject):
        """Steps of a RepeatVector: the layers behind it run as often, as do those behind another one."""
        count = layer.config.get("n")
        if type(count) is not int or not 1 <= count <= MOST_STEPS or before not in (None, count):
            rule = f"must be the {before} of the RepeatVector below, as often as layers behind it run; {PARTS}"
            raise ModelError(f"{subject}: n", f"{count!r:.40}", rule if before else f"must be 1 to {MOST_STEPS}")
        return count

    @staticmethod
    def _backwards(layer, first, subject):
        """What software does for a layer that reads its inputs from the end, in whose order its outputs stay."""
        if not first:
            rule = "must be of the first recurrent layer alone: h of the one below is there from the first step on"
            raise ModelError(f"{subject}: go_backwards", "true behind another recurrent layer", rule)
        return Arrangement("backward", "sent")

    def _recurrent(self, layer, arrays, subject):
        config = layer.config
        for key in _OFF if layer.direction is None else _OFF[:-1]:
            if config.get(key):
                raise ModelError(f"{subject}: {key}", "true", "must be false")
        cudnn = layer.kind.startswith("CuDNN")
        if layer.kind == "SimpleRNN":
            activation = self._of_rnn(config.get("activation", "not said"), subject)
            return replace(keras_recurrent("plain", arrays.of(layer, _ARRAYS), subject), activation=activation)
        after = config.get("reset_after", False) if layer.kind == "GRU" else None
        return keras_recurrent(_RECURRENT[layer.kind], arrays.of(layer, _ARRAYS), subject, "tanh", cudnn, after)

    @staticmethod
    def _of_rnn(value, subject):
        """The activation of a SimpleRNN."""
        names = {"linear": "none"} | {name: name for name in ACTIVATIONS[1:]}
        if not isinstance(value, str) or value not in names:
            raise ModelError(f"{subject}: activation", f"{value!r:.80}", f"must be one of {', '.join(names)}")
        return names[value]

    def _functions(self, layer, version, subject):
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


def _ends(read):
    """Whether a function comes to an end: HDF5 runs in circles on some damaged files, where no signal is heard.

    It is tried in a copy of this process whose processor time is limited; what it raises there, it raises here again.
    """
    copy = os.fork()
    if not copy:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            read()
        finally:
            os._exit(0)
    _, status = os.waitpid(copy, 0)
    return os.WIFEXITED(status)


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
    factor = _MERGED[merge] if merge else None
    if factor is None:
        return layer
    check_shape(f"{layer.source}: kernel", layer.w_x.shape, (len(layer.w_x), units))
    return replace(layer, w_x=factor * np.hstack([layer.w_x] * 2))


def _reading_both(linear, merge, layer, path):
    """The linear layers, the first of which reads both directions side by side."""
    factor = _MERGED[merge]
    if factor is None:
        return linear
    if not linear:
        rule = "must be concat where no Dense layer follows it"
        raise ModelError(f"{path}: merge_mode", repr(merge), rule)
    first, *others = linear
    check_shape(f"{first.source}: kernel", first.weight.T.shape, (layer.hidden_size, None))
    return [replace(first, weight=factor * np.hstack([first.weight] * 2)), *others]


def _check_own(item, subject):
    """Refuse a class of the user's that is named as one of Keras's: what it computes is not in the file."""
    module = str(item.get("module"))
    if item.get("registered_name") is not None and not module.startswith(_MODULES):
        found = f"class {item['registered_name']!r:.80} of {module!r:.80}"
        rule = "must be a layer of Keras itself: what another class computes is not in the file"
        raise ModelError(subject, found, rule)


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


def _sources(nodes, names):
    """Names of the layers whose outputs a layer reads."""
    found, waiting = [], [nodes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            if _is_source(value, names):
                found.append(value[0])
            else:
                waiting += value
    return found[::-1]


def _besides(calls, names):
    """What calls of a layer give it that is neither another layer's output nor an option that is off; None without."""
    waiting = [calls]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("class_name") == "__numpy__":
                return "an array"
            waiting += [] if value.get("class_name") == "__keras_tensor__" else value.values()
        elif isinstance(value, list):
            waiting += value[3:] if _is_source(value, names) else value
        elif value is not None and value is not False:
            return value
    return None


def _is_source(value, names):
    """Whether a list names the output of a layer: in every version by name and two numbers."""
    return len(value) >= 3 and isinstance(value[0], str) and value[0] in names and isinstance(value[1], int)


class _Arrays:
    """The arrays of the layers of an HDF5 file, of either layout."""

    def __init__(self, path, file, config):
        self._path, self._file = path, file
        self._legacy = path.suffix.lower() != ".keras"
        self._folders = {}
        if not self._legacy:
            inner = config.get("config")
            items = inner["layers"] if isinstance(inner, dict) else inner
            counts = Counter()
            for item in items:
                folder = _snake_case(item["class_name"])
                number = counts[folder]
                counts[folder] += 1
                self._folders[item["config"]["name"]] = f"layers/{folder}_{number}" if number else f"layers/{folder}"

    def of(self, layer, names):
        """Arrays of a layer, in the order of ``names``; a bias that the layer says it has not is left out."""
        if not layer.config.get("use_bias", True):
            names = [name for name in names if name != "bias"]
        paths = self._legacy_paths(layer) if self._legacy else self._paths(layer, len(names))
        subject = f"{self._path}: {layer.name}"
        if self._legacy and set(paths) != set(names):
            raise ModelError(subject, f"arrays {', '.join(sorted(paths)) or 'none'}", f"must be {', '.join(names)}")
        return [self._read(paths[name if self._legacy else at], f"{subject}: {name}") for at, name in enumerate(names)]

    def _legacy_paths(self, layer):
        """Name -> path of the arrays that a layer's group lists."""
        root = "model_weights/" if "model_weights" in self._file else ""
        group = self._file.get(f"{root}{layer.name}")
        listed = [] if group is None else list(np.ravel(group.attrs.get("weight_names", [])))[:16]
        texts = [name.decode() if isinstance(name, bytes) else str(name) for name in listed]
        if layer.direction is not None:  # both directions, the first one first
            texts = np.array_split(texts, 2)[layer.direction].tolist()
        return {re.sub(r":\d+$", "", text.rpartition("/")[2]): f"{root}{layer.name}/{text}" for text in texts}

    def _paths(self, layer, count):
        folder = self._folders[layer.name]
        inner = "/cell" if layer.kind in _RECURRENT else "/layer" if layer.wrapped else ""
        inner = inner if layer.direction is None else f"/{_DIRECTIONS[layer.direction]}{inner}"
        group = self._file.get(f"{folder}{inner}/vars")
        if group is None or len(group) != count:
            found = "missing" if group is None else f"{len(group)} arrays"
            raise ModelError(f"{self._path}: {layer.name}", found, f"must have {count} arrays in {folder}{inner}/vars")
        return [f"{folder}{inner}/vars/{number}" for number in range(count)]

    def _read(self, path, subject):
        import h5py

        at, parts = self._file, path.split("/")
        for part in parts:
            if not isinstance(at, h5py.Group) or not isinstance(at.get(part, getlink=True), h5py.HardLink):
                raise ModelError(subject, f"no array {path}", "must be in the file itself")
            at = at[part]
        if not isinstance(at, h5py.Dataset) or at.is_virtual or at.external or at.dtype.kind != "f":
            raise ModelError(subject, "no array of floating-point numbers", "must be in the file itself")
        if at.size is None or at.size > MAX_VALUES:
            raise ModelError(subject, f"shape {at.shape}", f"must not exceed {MAX_VALUES} values")
        return at[()].astype(np.float64)


def _snake_case(name):
    """Keras's name of a folder of a class of layers: LSTM -> lstm, TimeDistributed -> time_distributed."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
