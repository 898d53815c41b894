"""TFLite files: the LSTM and RNN operators of the main graph and the fully connected layer behind them.

An UNIDIRECTIONAL_SEQUENCE_LSTM has four input matrices (H, I), four recurrent ones (H, H) and four biases (H), each in
the order i, f, c, o; an UNIDIRECTIONAL_SEQUENCE_RNN has one of each. BIDIRECTIONAL ones have them twice. Weights of
int8 are scale times (value - zero point), one scale a tensor or a row; they are read as those real numbers, and the
model's own rounding of activations is not repeated.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from ...errors import LstmHwError, ModelError
from ...machine.arrangement import Arrangement
from ...reading import MAX_VALUES, read_file
from ..both_ways import Part, in_parts
from ..float_model import DenseWeights, FloatModel, LstmWeights, PlainWeights, check_shape
from ..store import MAX_FILE_BYTES
from .chain import LinearChain
from .library_file import LibraryFile
from .options import ALL, HEAD_MODES, NO_HEAD, OF_TENSORS, ReadOptions

MAX_OPERATORS = 1 << 12
LSTM, RNN = "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"
BOTH_LSTM, BOTH_RNN = "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN"
RECURRENT = (LSTM, RNN, BOTH_LSTM, BOTH_RNN)
_SAME = ("QUANTIZE", "DEQUANTIZE")
_ACTIVATIONS = ("RELU", "ELU", "LOGISTIC", "TANH", "SOFTMAX", "LOG_SOFTMAX")
_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 4: "<i8", 9: "i1", 3: "u1", 7: "<i2"}
"""TensorType -> what numpy reads."""
_PEEPHOLES, _PROJECTION, _NORMALISATION = range(9, 12), (16, 17), range(20, 24)
"""Optional inputs of an LSTM operator: weights of c in i, f and o; the matrix and the bias of a projection."""


@dataclass(frozen=True)
class _Operator:
    kind: str
    inputs: list[int]
    outputs: list[int]
    options: object


@dataclass(frozen=True)
class TfliteGraph(LibraryFile):
    """A TFLite model; parameters and errors are those of the base."""

    LIBRARY, KIND = ("tflite", "tflite"), "a TFLite file"

    def _open(self) -> None:
        self._operators  # noqa: B018 - reads them

    @cached_property
    def _model(self):
        content = read_file(self.path, MAX_FILE_BYTES, ModelError)
        if content[4:8] != b"TFL3":
            raise ModelError(self.path, f"identifier {content[4:8]!r}", "must be a TFLite file (TFL3)")
        return self._library.Model.GetRootAsModel(content, 0)

    @cached_property
    def _operators(self):
        """The operators of the main graph, in order."""
        codes = {
            number: name for name, number in vars(self._library.BuiltinOperator).items() if isinstance(number, int)
        }
        try:
            model, graph = self._model, self._model.Subgraphs(0)
            if graph is None or not 0 < graph.OperatorsLength() <= MAX_OPERATORS:
                raise ModelError(self.path, "no graph, or too many operators", f"must have 1 to {MAX_OPERATORS}")
            found = []
            for number in range(graph.OperatorsLength()):
                operator = graph.Operators(number)
                code = model.OperatorCodes(operator.OpcodeIndex())
                kind = codes.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "an unknown operator")
                ends = (
                    [int(v) for v in np.ravel(part)] for part in (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
                )
                found.append(_Operator(kind, *ends, operator.BuiltinOptions()))
            return found
        except LstmHwError:
            raise
        except Exception as error:  # offsets that lead anywhere
            raise self._unreadable(f"{type(error).__name__}: {error}") from error

    def contents(self) -> list[str]:
        """The operators, in order."""
        return [f"{operator.kind}: {len(operator.inputs)} inputs" for operator in self._operators]

    def model(self, options: ReadOptions) -> FloatModel:
        """The LSTM layers and the fully connected layer behind them."""
        self._check_options(options, "prefix", "initial_state", *OF_TENSORS)
        try:
            return self._read(options)
        except LstmHwError:
            raise
        except Exception as error:  # of a damaged table
            raise self._unreadable(f"{type(error).__name__}: {error}") from error

    def _read(self, options):
        graph = self._model.Subgraphs(0)
        flow, parts, assumptions, steps = int(graph.Inputs(0)), [], [], None
        chain = LinearChain(assumptions, options)
        for number, operator in enumerate(self._operators):
            subject = f"{self.path}: operator {number} ({operator.kind})"
            if parts and options.head_prefix == NO_HEAD and operator.kind not in (*RECURRENT, *_SAME):
                assumptions.append(
                    f"model.head_prefix: left out of {self.path.name}: operator {number} and what follows"
                )
                break
            if not operator.inputs or operator.inputs[0] != flow or len(operator.outputs) != 1:
                raise ModelError(subject, "a graph with branches", "must be a chain of operators")
            flow = operator.outputs[0]
            if operator.kind in RECURRENT:
                ways = (self._lstm if operator.kind in (LSTM, BOTH_LSTM) else self._rnn)(operator, subject, assumptions)
                _put(parts, chain.taken(subject))
                _put(parts, *ways)
            elif operator.kind == "RESHAPE" and parts and steps is None and self._flattens(operator):
                if any(part.backward for part in parts):
                    rule = "must be of layers of one direction: the weights of each step are in the order of x"
                    raise ModelError(subject, "h of all steps of both directions", rule)
                _put(parts, chain.taken(subject))
                steps = 0  # so many as the layer behind it has weights for
            elif operator.kind == "FULLY_CONNECTED":
                activation = self._dense(operator, subject, chain)
                if steps == 0:
                    steps = chain.steps(parts[-1].forward[-1].hidden_size)
                chain.activate(activation, subject, f"operator {number}")
            elif operator.kind in _ACTIVATIONS and chain.layers:
                if operator.kind == "SOFTMAX":
                    self._check_softmax(operator, subject)
                chain.activate(operator.kind, subject, f"operator {number}")
            elif operator.kind in _SAME:
                assumptions.append(f"model.path: {operator.kind} of {self.path.name} is not repeated")
            else:
                found = sum(len(part.forward) for part in parts)
                what = f"behind {found} layers of LSTMs and RNNs and {len(chain.layers)} fully connected layers"
                rule = (
                    "must be LSTMs, RNNs and FULLY_CONNECTED on every step, with activations or without; "
                    f"model.head_prefix = {NO_HEAD!r} takes the LSTMs without what follows"
                )
                raise ModelError(subject, what, rule)
        else:
            ends = np.ravel(graph.OutputsAsNumpy()).tolist()
            if flow not in ends:
                rule = "must be an output of the graph"
                raise ModelError(f"{self.path}: tensor {flow}", f"of the last operator, where {ends} come out", rule)
            if len(ends) > 1:
                assumptions.append(f"model.path: {len(ends) - 1} more outputs of {self.path.name} are not given")
        if steps == 0:
            raise ModelError(f"{self.path}: RESHAPE", "without FULLY_CONNECTED behind it", "must be read by one")
        if chain.layers:
            options.agree(self.path, ALL if steps else HEAD_MODES[1])
        said = {"source": str(self.path), "assumptions": tuple(dict.fromkeys(assumptions))}
        said["left_out"] = chain.left_out
        if any(part.backward for part in parts):
            return in_parts(parts, chain.layers, HEAD_MODES[1], options.most_steps or self._steps_of_x(), **said)
        said |= {"head_every_step": bool(chain.layers) and not steps, "arrangement": Arrangement(steps=steps or 0)}
        return FloatModel(tuple(layer for part in parts for layer in part.forward), **chain.parts, **said)

    def _steps_of_x(self):
        """Steps of a sequence, by the shape of the input for one; None where it does not say."""
        graph = self._model.Subgraphs(0)
        shape = np.ravel(graph.Tensors(int(graph.Inputs(0))).ShapeAsNumpy()).tolist()
        sizes = [size for size in shape[:-1] if size > 1]  # of time and batch, in either order
        return sizes[0] if len(sizes) == 1 else None

    def _lstm(self, operator, subject, assumptions):
        """Layers of each direction, one or two."""
        both = operator.kind == BOTH_LSTM
        name = f"{'Bid' if both else 'Unid'}irectionalSequenceLSTMOptions"
        settings = getattr(self._library, name)()
        if operator.options is None:
            raise ModelError(subject, "no options", "must say its activation")
        settings.Init(operator.options.Bytes, operator.options.Pos)
        if settings.FusedActivationFunction() != self._library.ActivationFunctionType.TANH:
            raise ModelError(f"{subject}: activation", settings.FusedActivationFunction(), "must be tanh")
        self._told(settings, assumptions)
        for name, clip, what in (
            ("cell_clip", settings.CellClip(), "a cell"),
            ("proj_clip", settings.ProjClip(), "a projection"),
        ):
            if clip:
                told = f"model.path: {name} {clip:g} of {self.path.name} is not repeated: outputs differ where {what}"
                assumptions.append(f"{told} exceeds it")
        if not both:
            given = [*operator.inputs, *[-1] * (24 - len(operator.inputs))]
            return [self._direction(given, subject)]
        self._merged(operator, settings, subject, range(39, 48))
        given = [*operator.inputs, *[-1] * (39 - len(operator.inputs))]
        ways = given[:18], [given[0], *given[18:35]]
        return [self._direction([*way, *[-1] * 6], subject) for way in ways]

    def _merged(self, operator, settings, subject, auxiliary):
        """Refuse two outputs, and a second input."""
        if not settings.MergeOutputs():
            raise ModelError(subject, "merge_outputs: false", "must give h of both directions side by side")
        if any(operator.inputs[place] >= 0 for place in auxiliary if place < len(operator.inputs)):
            raise ModelError(subject, "an auxiliary input", "must have one input")

    def _direction(self, given, subject):
        """The layer that inputs in the places of an UNIDIRECTIONAL_SEQUENCE_LSTM are, and its projection."""
        if any(given[place] >= 0 for place in _NORMALISATION):
            raise ModelError(subject, "layer normalisation", "must have none")
        if min(given[1:9]) < 0:
            raise ModelError(subject, "no input gate (coupled gates)", "must have all four gates")
        peepholes = [given[place] for place in _PEEPHOLES]
        if max(peepholes) >= 0 > min(peepholes):
            raise ModelError(f"{subject}: peepholes", "not of all gates", "must be of i, f and o, or none")
        w_x, w_h = (np.concatenate([self._matrix(t, subject) for t in given[a:b]]) for a, b in ((1, 5), (5, 9)))
        bias = [self._matrix(t, subject) if t >= 0 else np.zeros(len(w_x) // 4) for t in given[12:16]]
        seen = np.stack([self._matrix(number, subject) for number in peepholes]) if min(peepholes) >= 0 else None
        matrix, offset = (given[place] for place in _PROJECTION)
        layer = LstmWeights(w_x, w_h, np.concatenate(bias), subject, None, matrix >= 0, peepholes=seen)
        if matrix < 0:
            return [layer]
        matrix = self._matrix(matrix, subject)
        offset = self._matrix(offset, subject) if offset >= 0 else np.zeros(len(matrix))
        return [layer, PlainWeights(matrix, np.zeros((len(matrix), 0)), offset, f"{subject}: projection")]

    def _told(self, settings, assumptions):
        """What is told of the order of axes."""
        if settings.TimeMajor():
            assumptions.append(
                f"model.path: {self.path.name} has time before batch; x and outputs have batch first here"
            )

    def _rnn(self, operator, subject, assumptions):
        """A plain RNN of each direction, one or two: matrices of x and of h, a bias, and h at the beginning, zeros."""
        both = operator.kind == BOTH_RNN
        settings = (self._library.BidirectionalSequenceRNNOptions if both else self._library.SequenceRNNOptions)()
        if operator.options is None or len(operator.inputs) not in ((9, 12) if both else (5,)):
            rule = f"must be {'9 or 12' if both else 5}, with options that say its activation"
            raise ModelError(subject, f"{len(operator.inputs)} inputs", rule)
        settings.Init(operator.options.Bytes, operator.options.Pos)
        names = {number: name for name, number in vars(self._library.ActivationFunctionType).items()}
        activation = str(names.get(settings.FusedActivationFunction())).lower()
        if activation not in ("none", "relu", "tanh"):
            raise ModelError(f"{subject}: activation", repr(activation), "must be none, relu or tanh")
        self._told(settings, assumptions)
        if both:
            self._merged(operator, settings, subject, range(9, 12))
        ways = []
        for first in (1, 5)[: 1 + both]:
            w_x, w_h, bias = (self._matrix(number, subject) for number in operator.inputs[first : first + 3])
            ways.append([PlainWeights(w_x, w_h, bias, source=subject, activation=activation)])
        return ways

    def _flattens(self, operator):
        """Whether h of all steps comes out side by side: (1, T, H), or (T, 1, H), becomes (1, T H)."""
        tensors = self._model.Subgraphs(0).Tensors
        given, made = (
            np.ravel(tensors(number).ShapeAsNumpy()).tolist() for number in (operator.inputs[0], operator.outputs[0])
        )
        return len(given) == 3 and 1 in given[:2] and len(made) == 2 and made == [1, prod(given)]

    def _check_softmax(self, operator, subject):
        """Refuse one of its inputs times something, which nobody would know of where it is left out."""
        settings = self._library.SoftmaxOptions()
        if operator.options is not None:
            settings.Init(operator.options.Bytes, operator.options.Pos)
            if settings.Beta() != 1:
                raise ModelError(f"{subject}: beta", f"{settings.Beta():g}", "must be 1")

    def _dense(self, operator, subject, chain):
        """Add a fully connected layer to the chain; the name of its activation."""
        settings, activation = self._library.FullyConnectedOptions(), "none"
        if operator.options is not None:
            settings.Init(operator.options.Bytes, operator.options.Pos)
            names = {number: name for name, number in vars(self._library.ActivationFunctionType).items()}
            number = settings.FusedActivationFunction()
            activation = names.get(number, f"activation {number}").lower()
        weight = self._matrix(operator.inputs[1], subject)
        check_shape(f"{subject}: weight", weight.shape, (None, None))
        shape = np.ravel(self._model.Subgraphs(0).Tensors(operator.inputs[0]).ShapeAsNumpy()).tolist()
        if shape[-1:] != [weight.shape[1]]:
            rule = f"must end in {weight.shape[1]}: a layer that reads several steps at once is not built"
            raise ModelError(subject, f"an input of shape {shape}", rule)
        has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
        bias = self._matrix(operator.inputs[2], subject) if has_bias else np.zeros(len(weight))
        chain.add(DenseWeights(weight, bias, source=subject))
        return activation

    def _matrix(self, number, subject):
        """A constant tensor as real numbers."""
        tensor = self._model.Subgraphs(0).Tensors(number)
        name = f"{subject}: tensor {number}"
        shape = [int(size) for size in np.ravel(tensor.ShapeAsNumpy())]
        dtype = _DTYPES.get(tensor.Type())
        if dtype is None or min(shape, default=0) < 1 or prod(shape) > MAX_VALUES:
            raise ModelError(name, f"type {tensor.Type()}, shape {shape[:8]}", "must be numbers that are stored")
        content = self._model.Buffers(tensor.Buffer()).DataAsNumpy()
        values = np.frombuffer(np.asarray(content, dtype=np.uint8).tobytes() if np.ndim(content) else b"", dtype)
        if values.size != prod(shape):
            raise ModelError(name, f"{values.size} values for shape {shape}", "must be a constant of that shape")
        values = values.reshape(shape).astype(np.float64)
        quantization = tensor.Quantization()
        if quantization is None or not quantization.ScaleLength():
            if dtype[-2] != "f":
                raise ModelError(name, "whole numbers without a scale", "must have one")
            return values
        scale, zero = (
            np.asarray(part, dtype=np.float64).ravel()
            for part in (quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy())
        )
        axis = quantization.QuantizedDimension()
        if scale.size not in (1, shape[axis] if 0 <= axis < len(shape) else 1) or zero.size not in (1, scale.size):
            raise ModelError(name, f"{scale.size} scales", "must be one, or one a row")
        along = [1] * len(shape)
        along[axis if scale.size > 1 else 0] = scale.size
        return (values - (zero.reshape(along) if zero.size == scale.size else zero[0])) * scale.reshape(along)


def _put(parts, forward, backward=()):
    """Add layers of one direction to what reads x step by step, or of two behind it."""
    if backward or not parts or parts[-1].backward:
        parts.extend([Part(list(forward), backward)] * bool(forward))
    else:
        parts[-1].forward.extend(forward)
