"""JSON files of the amplifier modellers and of RTNeural, and Neural Amp Modeler's ``.nam``.

- Automated-GuitarAmpModelling writes ``model_data`` (sizes, kind, skip) beside a PyTorch ``state_dict`` as lists.
- RTNeural and AIDA-X write ``layers`` with Keras's weights: kernel (I, 4H), recurrent kernel (H, 4H), bias (4H),
  gates i, f, c, o; of a GRU 3H and gates z, r, h, and two biases, (2, 3H); a dense layer's kernel is (I, O).
- Neural Amp Modeler writes ``config`` and one list: for each layer [W_x W_h] row by row with gates i, f, g, o, one
  bias, the initial h and c; then the head's weight and bias.

All of them have their head on every step.
"""

from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...errors import ConfigError, ModelError
from ...reading import read_json
from ..float_model import (
    MAX_SIZE,
    DenseWeights,
    FloatModel,
    GruWeights,
    LstmWeights,
    PlainWeights,
    RecurrentWeights,
    check_shape,
    skip_matrix,
)
from ..fold import folded
from .chain import LinearChain
from .options import HEAD_MODES, HEAD_OPTIONS, OUTSIDE, SKIPS, ZERO, ReadOptions
from .state_dict import StateDict

KINDS = "must have state_dict (a torch model), layers (RTNeural, AIDA-X) or weights (Neural Amp Modeler)"
_AMPLIFIER_KEYS = ("model", "input_size", "output_size", "unit_type", "num_layers", "hidden_size", "bias_fl", "skip")
_GAINS = ("in_gain", "out_gain")
"""dB of the first input and of the outputs, as AIDA-X applies them: x is multiplied in front of the skip too."""
MOST_DECIBELS = 90.0


def numbers(values: object, subject: str) -> np.ndarray:
    """Nested lists of numbers as a float64 array; ModelError for anything else."""
    try:
        array = np.array(values)
        if array.dtype.kind not in "iuf":
            raise ValueError("not numbers")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(subject, f"not an array of numbers ({error})", "must be lists of numbers") from error
    return array.astype(np.float64)


@dataclass
class HeldTensors:
    """Named tensors in memory; see :class:`~.state_dict.Tensors`.

    Parameters
    ----------
    path : pathlib.Path
    metadata : dict of str to str
    arrays : dict of str to array
    """

    path: Path
    metadata: dict[str, str]
    arrays: dict[str, np.ndarray]
    ordered: ClassVar[bool] = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: array.shape for name, array in self.arrays.items()}

    @property
    def dtypes(self) -> dict[str, str]:
        return {name: str(array.dtype) for name, array in self.arrays.items()}

    def floats(self, names: list[str]) -> dict[str, np.ndarray]:
        """Some of the tensors; all are float64."""
        return {name: self.arrays[name] for name in names}


def read(path: Path) -> "AmplifierFile | RtNeuralFile | NamFile":
    """The reader of a JSON file, by what is in it."""
    content = read_json(path, ModelError)
    for key, reader in (("state_dict", AmplifierFile), ("layers", RtNeuralFile), ("weights", NamFile)):
        if key in content:
            return reader(path, content)
    raise ModelError(path, f"an object with {', '.join(content) or 'nothing'}", KINDS)


def _size(values, key, subject):
    """A size that a file says."""
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SIZE:
        raise ModelError(f"{subject}: {key}", repr(value), f"must be a whole number of 1 to {MAX_SIZE}")
    return value


def _name(values, key, subject):
    """A name that a file says, or nothing."""
    value = values.get(key) or ""
    if not isinstance(value, str):
        raise ModelError(f"{subject}: {key}", f"{value!r:.80}", "must be a name")
    return value


def _object(values, key, path):
    found = values.get(key)
    if not isinstance(found, dict):
        raise ModelError(f"{path}: {key}", type(found).__name__, "must be an object")
    return found


def _zero(values, keys, path, rule):
    """Refuse keys that are there and not 0, false or null."""
    for key in keys:
        if values.get(key):
            raise ModelError(f"{path}: {key}", repr(values[key]), rule)


def _gain(values, key, path):
    """The factor of a gain that a file says in dB."""
    value = values.get(key) or 0
    if type(value) not in (int, float) or not -MOST_DECIBELS < value <= MOST_DECIBELS:
        rule = f"must be a number of dB above {-MOST_DECIBELS:g}, and at most {MOST_DECIBELS:g}"
        raise ModelError(f"{path}: {key}", repr(value), rule)
    return 10.0 ** (value / 20)


def _with_skip(model, values, keys, path, options):
    """The model with the first inputs added to its outputs, as a file says: y = head(h) + x.

    ``model.skip`` may leave the addition out.
    """
    said = [key for key in keys if values.get(key)]
    if not said:
        if options.skip is not None:
            raise ConfigError("model.skip", repr(options.skip), f"must not be given: {path} has no skip")
        return model
    if options.skip is not None:
        told = f"model.skip: {path} asks for head(h) + x; the outputs are head(h), and x must be added outside"
        return model.assuming([told])
    subject = f"{path}: {said[0]}"
    if len(said) > 1:
        raise ModelError(subject, f"{said[1]} too", "must be said once")
    added = 1 if values[said[0]] is True else _size(values, said[0], path)
    if said[0] == "in_skip" and added > 1:
        raise ModelError(subject, added, "must be 1: the first input")
    if model.head is None:
        raise ModelError(subject, values[said[0]], "must be 0 without a linear layer at the end")
    return model.with_skip(skip_matrix(subject, added, model.input_size, model.output_size))


def _check_last(values, key, found, subject):
    """Refuse a shape whose last number is another size than that of the weights."""
    said = values.get(key)
    if isinstance(said, list) and said and said[-1] not in (None, found):
        raise ModelError(f"{subject}: {key}", f"{said!r:.60}", f"must end in {found}, as the weights have it")


def _not_used(path, where, keys):
    return (f"model.path: not used of {where} in {path.name}: {', '.join(sorted(keys))}",) if keys else ()


@dataclass(frozen=True)
class AmplifierFile:
    """A torch state_dict as lists, beside a description."""

    path: Path
    content: dict[str, Any]

    def contents(self) -> list[str]:
        said = [f"{key}: {value!r}" for key, value in self._description.items()]
        return [*said, *StateDict(self._tensors()).contents()]

    @property
    def _description(self) -> dict:
        return _object(self.content, "model_data", self.path) if "model_data" in self.content else {}

    def _tensors(self):
        given = _object(self.content, "state_dict", self.path)
        arrays = {name: numbers(values, f"{self.path}: {name}") for name, values in given.items()}
        return HeldTensors(self.path, {"head": "every_step"} if self._description else {}, arrays)

    def model(self, options: ReadOptions) -> FloatModel:
        said = self._description
        subject = f"{self.path}: model_data"
        units = {"LSTM": "lstm", "GRU": "gru", "RNN": "plain"}
        unit = _name(said, "unit_type", subject)
        if said and unit not in units:
            raise ModelError(f"{subject}: unit_type", repr(unit), f"must be one of {', '.join(units)}")
        tensors = self._tensors()
        if not said:
            return StateDict(tensors).model(options)
        if options.skip in SKIPS:
            rule = f"must be {OUTSIDE!r} or not given: {self.path} says it itself"
            raise ConfigError("model.skip", repr(options.skip), rule)
        head = options.head_prefix or ("lin" if said and "lin.weight" in tensors.shapes else None)
        model = StateDict(tensors).model(replace(options, skip=None, head_prefix=head))
        found = next(name for name, kind in units.items() if kind == model.layers[0].KIND)
        if unit != found:
            rule = f"must be {found!r}, as state_dict has it"
            raise ModelError(f"{subject}: unit_type", repr(unit), rule)
        sizes = {
            "input_size": model.input_size,
            "output_size": model.output_size,
            "num_layers": len(model.layers),
            "hidden_size": model.hidden_sizes[0],
        }
        for key, found in sizes.items():
            if key in said and _size(said, key, subject) != found:
                raise ModelError(f"{subject}: {key}", said[key], f"must be {found}, as state_dict has it")
        model = model.assuming(_not_used(self.path, "model_data", said.keys() - set(_AMPLIFIER_KEYS)))
        return _with_skip(model, said, ("skip",), subject, options)


@dataclass(frozen=True)
class RtNeuralFile:
    """Layers with Keras's weights."""

    path: Path
    content: dict[str, Any]

    def _layers(self):
        layers = self.content["layers"]
        if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
            raise ModelError(f"{self.path}: layers", f"{layers!r:.60}", "must be a list of layers, which are objects")
        return layers

    def contents(self) -> list[str]:
        return [
            f"layer {number}: {layer.get('type')!r}, activation {layer.get('activation', '')!r}, "
            f"shape {layer.get('shape')!r}"
            for number, layer in enumerate(self._layers())
        ]

    def model(self, options: ReadOptions) -> FloatModel:
        options.agree(self.path, HEAD_MODES[1])
        options.refuse_tensors(self.path)
        options.refuse(f"{self.path} says it", "gate_order", "prefix", *HEAD_OPTIONS, "initial_state")
        rule = "must be 0 dB: model.input_scale and model.output_scale say it as a factor"
        _zero(self.content, ("input_gain", "output_gain"), self.path, rule)
        layers, assumptions = [], []
        chain = LinearChain(assumptions, options)
        for number, layer in enumerate(self._layers()):
            subject = f"{self.path}: layer {number}"
            kind, activation = _name(layer, "type", subject), _name(layer, "activation", subject)
            weights = layer.get("weights", [] if kind == "activation" else None)
            if not isinstance(weights, list):
                raise ModelError(f"{subject}: weights", type(weights).__name__, "must be a list")
            arrays = [numbers(array, f"{subject}: weights[{at}]") for at, array in enumerate(weights)]
            if kind in ("lstm", "gru"):
                layers += [*chain.taken(subject), keras_recurrent(kind, arrays, subject, activation or "tanh")]
                _check_last(layer, "shape", layers[-1].hidden_size, subject)
            elif kind in ("dense", "time-distributed-dense"):
                chain.add(keras_dense(arrays, subject))
                _check_last(layer, "shape", chain.layers[-1].output_size, subject)
                chain.activate(activation, subject, f"layer {number}")
            elif kind == "activation" and chain.layers:
                chain.activate(activation, subject, f"layer {number}")
            else:
                what = f"type {kind!r} behind {len(layers)} recurrent layers and {len(chain.layers)} dense layers"
                raise ModelError(subject, what, "must be lstm or gru layers, dense layers and activations")
        known = {"layers", "in_shape", "in_skip", "skip", *_GAINS}
        assumptions += _not_used(self.path, "the file", self.content.keys() - known)
        said = {"left_out": chain.left_out, "head_every_step": bool(chain.layers), "source": str(self.path)}
        model = FloatModel(tuple(layers), **chain.parts, **said, assumptions=tuple(assumptions))
        _check_last(self.content, "in_shape", model.input_size, self.path)
        skips = ("in_skip", "skip")
        for key in (*skips, "out_gain"):
            if self.content.get(key) and not (key in skips and options.skip == OUTSIDE):
                chain.check_open(f"{self.path}: {key}")
        model = _with_skip(model, self.content, skips, self.path, options)
        into, out = (_gain(self.content, key, self.path) for key in _GAINS)
        if into != 1:
            model = folded(model, input_scale=(into, *[1.0] * (model.input_size - 1)))
        if out == 1:
            return model
        if model.head is None or model.head.activation != "none":
            rule = "must be 0 but behind a linear layer without an activation at the end: apply it outside"
            raise ModelError(f"{self.path}: out_gain", f"{self.content['out_gain']:g} dB", rule)
        return folded(model, output_scale=out)


KERAS_GATES = {"lstm": 4, "gru": 3, "plain": 1}
"""Kind of a layer -> gates, which Keras stacks as i, f, c, o and as z, r, h."""


def keras_recurrent(
    kind: str,
    arrays: list[np.ndarray],
    subject: str,
    activation: str = "tanh",
    cudnn: bool = False,
    reset_after: bool | None = None,
) -> RecurrentWeights:
    """A recurrent layer from Keras's arrays: kernel (I, GH), recurrent kernel (H, GH), and perhaps a bias, for G gates.

    Parameters
    ----------
    kind : str
        Of ``KERAS_GATES``.
    arrays : list of arrays
        The bias of an LSTM is (4H), of a plain RNN (H), that of a GRU (2, 3H): of x and of h, or (3H) of one that
        resets h before its product.
    subject : str
    activation : str
        What the file says of it.
    cudnn : bool
        Of a CuDNNLSTM or CuDNNGRU: the matrix of each gate lies transposed in memory, and the bias is (2GH).
    reset_after : bool, optional
        Of a GRU, what the file says of it; without it the shape of the bias does, or it is so.

    Raises
    ------
    ModelError
        Other shapes, or another activation.
    """
    if activation != "tanh":
        raise ModelError(f"{subject}: activation", repr(activation), "must be 'tanh'")
    if len(arrays) not in (2, 3):
        raise ModelError(subject, f"{len(arrays)} arrays", "must have kernel, recurrent kernel and perhaps bias")
    kernel, recurrent = arrays[:2]
    check_shape(f"{subject}: recurrent kernel", recurrent.shape, (None, None))
    units, gates = len(recurrent), KERAS_GATES[kind]
    check_shape(f"{subject}: recurrent kernel", recurrent.shape, (units, gates * units))
    check_shape(f"{subject}: kernel", kernel.shape, (None, gates * units))
    if cudnn:
        kernel, recurrent = (
            np.hstack([gate.reshape(units, -1).T for gate in np.hsplit(matrix, gates)]) for matrix in arrays[:2]
        )
    if reset_after is None:
        reset_after = cudnn or len(arrays) == 2 or arrays[2].shape != (gates * units,)
    parts = 2 if cudnn or kind == "gru" and reset_after else 1
    bias = arrays[2] if len(arrays) == 3 else np.zeros((parts, gates * units))
    check_shape(f"{subject}: bias", (bias.size,), (parts * gates * units,))
    bias = bias.reshape(parts, -1)
    if kind == "plain":
        return PlainWeights(kernel.T, recurrent.T, bias[0], source=subject, activation=activation)
    if kind == "lstm":
        return LstmWeights(kernel.T, recurrent.T, bias.sum(axis=0), source=subject)
    both = bias if reset_after else (bias[0], np.zeros_like(bias[0]))
    return gru_of_zrh(kernel.T, recurrent.T, *both, subject, reset_before=not reset_after)


def gru_of_zrh(
    w_x: np.ndarray,
    w_h: np.ndarray,
    bias_x: np.ndarray,
    bias_h: np.ndarray,
    subject: str,
    h: np.ndarray | None = None,
    reset_before: bool = False,
) -> GruWeights:
    """A GRU whose gates are stacked in the order z, r, h: that of Keras and ONNX; the rest as of
    :meth:`.GruWeights.of_gates`."""

    def ordered(stacked):
        z, r, n = np.split(stacked, 3)
        return np.concatenate([r, z, n])

    return GruWeights.of_gates(*map(ordered, (w_x, w_h, bias_x, bias_h)), subject, h, reset_before)


def keras_dense(arrays: list[np.ndarray], subject: str) -> DenseWeights:
    """A linear layer from Keras's arrays: kernel (I, O), bias (O) or none."""
    if len(arrays) not in (1, 2):
        raise ModelError(subject, f"{len(arrays)} arrays", "must have kernel and perhaps bias")
    check_shape(f"{subject}: kernel", arrays[0].shape, (None, None))
    bias = arrays[1] if len(arrays) == 2 else np.zeros(arrays[0].shape[1])
    return DenseWeights(arrays[0].T, bias, source=subject)


@dataclass(frozen=True)
class NamFile:
    """A Neural Amp Modeler file."""

    path: Path
    content: dict[str, Any]

    def contents(self) -> list[str]:
        config = _object(self.content, "config", self.path)
        said = [f"{key}: {self.content.get(key)!r}" for key in ("version", "architecture", "sample_rate")]
        return [*said, *(f"config: {key}: {value!r}" for key, value in config.items())]

    def model(self, options: ReadOptions) -> FloatModel:
        options.agree(self.path, HEAD_MODES[1])
        options.refuse_tensors(self.path)
        options.refuse(f"{self.path} says it", "gate_order", "prefix", *HEAD_OPTIONS, "skip")
        if self.content.get("architecture") != "LSTM":
            raise ModelError(f"{self.path}: architecture", repr(self.content.get("architecture")), "must be 'LSTM'")
        config, subject = _object(self.content, "config", self.path), f"{self.path}: config"
        inputs, hidden, count = (_size(config, key, subject) for key in ("input_size", "hidden_size", "num_layers"))
        outputs = _size(config, "out_channels", subject) if "out_channels" in config else 1
        unknown = config.keys() - {"input_size", "hidden_size", "num_layers", "in_channels", "out_channels"}
        if unknown:
            raise ModelError(f"{subject}: {min(unknown)}", "unknown", "must be no key that could change the outputs")
        if config.get("in_channels", inputs) != inputs:
            rule = f"must be {inputs}, the input_size"
            raise ModelError(f"{subject}: in_channels", repr(config["in_channels"]), rule)
        widths = [inputs] + [hidden] * (count - 1)
        sizes = [size for width in widths for size in (4 * hidden * (width + hidden), 4 * hidden, hidden, hidden)]
        sizes += [outputs * hidden, outputs]
        values = numbers(self.content["weights"], f"{self.path}: weights")
        check_shape(f"{self.path}: weights", (values.ndim, min(values.size, MAX_SIZE)), (1, None))
        if values.size != sum(sizes):
            rule = f"must be {sum(sizes)}, as config says"
            raise ModelError(f"{self.path}: weights", f"{values.size} numbers", rule)
        *parts, weight, bias = np.split(values, list(accumulate(sizes))[:-1])
        layers = []
        for number, width in enumerate(widths):
            matrix, gate_bias, h, c = parts[4 * number : 4 * number + 4]
            matrix = matrix.reshape(4 * hidden, width + hidden)
            source = f"{self.path}: layer {number}"
            initial = (h, c) if (h.any() or c.any()) and options.initial_state != ZERO else None
            layers.append(LstmWeights(matrix[:, :width], matrix[:, width:], gate_bias, source, initial))
        head = DenseWeights(weight.reshape(outputs, hidden), bias, source=f"{self.path}: head")
        assumptions = ()
        if options.initial_state == ZERO:
            assumptions = (f"model.initial_state: the state in {self.path.name} is replaced by zeros",)
        return FloatModel(tuple(layers), head, True, str(self.path), assumptions)
