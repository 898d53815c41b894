"""A quantised model and its file.

A model file is a safetensors file with the integer tensors and one JSON block in the metadata key
``lstm_hw``, which gives every format with its rounding and overflow. It carries a digest of the whole
content, without which it is not read.
"""

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ..errors import ConfigError, FormatError, InputError, ModelError
from ..machine.activation import make_activation
from ..machine.activation_unit import ActivationUnit
from ..machine.arrangement import OF_X, PLAIN, WAITS, Arrangement
from ..machine.formats import InputCode, QFormat, array_of
from ..reading import parse_json
from .delta import checked_thresholds
from .float_model import (
    HEAD,
    cells_of,
    check_arrangement,
    check_chain,
    check_stack,
    kind_of,
    refuse_peepholes,
    refuse_plain,
)
from .quant_layer import OF_PREACT, RECURRENT, PlainOutputs, QuantDense, QuantPlain, QuantRecurrent, QuantSkip
from .sources import check_sources, common_format, read_size, refuse_sources
from .sparse_h import checked_sparse_h
from .store import DIGEST_KEY, TensorFile, content_digest, write_tensors

FILE_VERSION = 2
BLOCK_KEY = "lstm_hw"
OPTIONAL = ("thresholds", "sparse_h")
"""Lists of the JSON block that are left out where they are empty."""
INITIAL = ("initial_h", "initial_c")
"""Tensors of the state that a layer starts from."""
_APART = (
    "source",
    "row_shift",
    "activation",
    "initial",
    "projected",
    "waits",
    "sources",
    "peepholes",
    "peephole_format",
)
EXPONENT_LIMIT = 64
"""Largest power of two that an input is scaled by, either way."""
_FORMAT_TEXT = 48
_INTEGER_DTYPES = ("I8", "I16", "I32", "I64")


@dataclass(frozen=True, eq=False)
class QuantModel:
    """Quantised layers, the first one first, and optionally a linear head.

    Parameters
    ----------
    layers : tuple of QuantRecurrent
    head : QuantDense or None
    head_every_step : bool
        Whether the head reads the hidden state of every step rather than that of the last one.
    activation : str
        Name of the activation unit, for :func:`lstm_hw.machine.activation.make_activation`.
    input_exponents : tuple of int
        For each input the power of two that it is multiplied by before it is stored; its column of W_x has been divided
        by it. Empty: by one, all of them.
    thresholds : tuple of int
        Least changes, in stored integers, of x and of each layer's h that are passed on
        (:mod:`lstm_hw.model.delta`). Empty: all of x and h is, always.
    dense : tuple of QuantDense
        Linear layers between the last LSTM layer and the head, the first one first.
    sparse_h : tuple of int
        Least sizes, in stored integers, of groups of each layer's h that reach its next step
        (:mod:`lstm_hw.model.sparse_h`). Empty: all of h does.
    arrangement : Arrangement
        How x of the network reaches the engine, and how its outputs come from those of the engine; whatever is of the
        engine, ``input_size`` and what :func:`.integer_reference` takes and gives, is without it.

    Raises
    ------
    ModelError
        No layer, layers of both kinds, sizes of neighbours that differ, or ``head_every_step`` or ``dense`` without a
        head.
    FormatError
        A layer's input format is not the format of what it reads, or the activation unit does not
        support a layer's formats, or a linear layer's outputs are not in the format of their activation.
    ConfigError
        Unknown activation unit, thresholds that are not one of x and one a layer, or sizes of groups that are not one a
        layer, from 0 to 2**16 - 1, or both.
    """

    layers: tuple[QuantRecurrent, ...]
    head: QuantDense | None = None
    head_every_step: bool = False
    activation: str = "quadratic64"
    input_exponents: tuple[int, ...] = ()
    thresholds: tuple[int, ...] = ()
    dense: tuple[QuantDense, ...] = ()
    sparse_h: tuple[int, ...] = ()
    arrangement: Arrangement = PLAIN
    source: ClassVar[str] = "quantised model"

    def __post_init__(self):
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "dense", tuple(self.dense))
        object.__setattr__(self, "input_exponents", tuple(self.input_exponents))
        if not self.layers:
            raise ModelError("quantised model", "no recurrent layer", "must have at least one")
        check_stack(self.layers, "quantised model")
        check_sources(self)
        check_chain(self.source, self.layers, self.dense, self.head, self.head_every_step, self.arrangement.steps)
        check_arrangement(self)
        chain = [*self.layers, *self.linear]
        given = [*((layer.hidden_size, layer.hidden) for layer in self.layers)]
        if self.arrangement.steps:
            given[-1] = (given[-1][0] * self.arrangement.steps, given[-1][1])
        given += [(layer.output_size, layer.output) for layer in self.linear]
        for (size, number_format), above in zip(given, chain[1:], strict=False):
            size *= WAITS.get(getattr(above, "waits", ""), 1)
            if above.sources:
                formats = [self.input_format if s == OF_X else self.layers[s].hidden for s in above.sources]
                size, number_format = read_size(self.layers, above.sources), common_format(formats)
            if above.input_size != size:
                raise ModelError(above.source, f"{above.input_size} inputs", f"must be {size}")
            if above.x_format != number_format:
                rule = f"must be the format of the hidden state it reads, {number_format}"
                raise FormatError(f"{above.source}: x_format", above.x_format, rule)
        if isinstance(self.head, QuantSkip):
            self._check_skip()
        if self.input_exponents and len(self.input_exponents) != self.input_size:
            found, rule = f"{len(self.input_exponents)} entries", f"must be one for each of {self.input_size} inputs"
            raise ModelError("quantised model: input_exponents", found, rule)
        half = len(self.input_exponents) // 2
        if self.arrangement.halves == 2 and self.input_exponents[:half] != self.input_exponents[half:]:
            rule = "must be the same of both ends, from which the same x is read"
            raise ModelError("quantised model: input_exponents", self.input_exponents, rule)
        for exponent in self.input_exponents:
            if type(exponent) is not int or abs(exponent) > EXPONENT_LIMIT:
                rule = f"must be an integer from {-EXPONENT_LIMIT} to {EXPONENT_LIMIT}"
                raise ModelError("quantised model: input_exponents", repr(exponent), rule)
        for layer in self.layers:
            self.unit_of(layer)
        for layer in cells_of(self.layers):
            first = cells_of(self.layers)[0]
            alike = all(getattr(layer, name) == getattr(first, name) for name in ("preact", "cell", "peephole_format"))
            if (layer.peephole_format or first.peephole_format) and not alike:
                found = f"preact {layer.preact}, cell {layer.cell} and peepholes {layer.peephole_format}"
                rule = f"must be {first.preact}, {first.cell} and {first.peephole_format}, as of the first layer"
                raise FormatError(f"{layer.source}: formats", found, rule)
        for layer, above in pairwise(self.layers):
            if layer.projected and layer.h_format != above.hidden:
                rule = f"must be that of the projection that it reads, {above.hidden}"
                raise FormatError(f"{layer.source}: h_format", layer.h_format, rule)
        for layer in (*self.plain, *self.linear):
            integer = (self.preact if layer.activation == "elu" else self.unit.o_format).integer
            if layer.activation in OF_PREACT and layer.result.integer != integer:
                name = "hidden" if isinstance(layer, QuantPlain) else "output"
                rule = f"must have {integer} integer bits, as what {layer.activation} gives has"
                raise FormatError(f"{layer.source}: {name}", layer.result, rule)
        object.__setattr__(self, "thresholds", checked_thresholds(self.thresholds, len(self.layers)))
        object.__setattr__(self, "sparse_h", checked_sparse_h(self.sparse_h, len(self.layers)))
        if self.thresholds or self.sparse_h:
            section = "delta" if self.thresholds else "sparse_h"
            refuse_plain(self, section)
            refuse_sources(self, section)
            if any(layer.reset_before for layer in self.layers):
                rule = "must be for LSTM layers, or GRU layers that reset h behind its product"
                raise ConfigError(section, "for a GRU that resets h before its product", rule)
            refuse_peepholes(self, section)
            if self.arrangement.waits:
                raise ConfigError(section, f"for {self.arrangement.described}", "must be for one without such a layer")
        if (self.thresholds or self.sparse_h) and any(layer.initial is not None for layer in self.layers):
            found = "with thresholds" if self.thresholds else "with sparse_h"
            raise ConfigError("model: initial state", found, "must be without: what is left out counts from zero state")
        if self.thresholds and self.sparse_h:
            raise ConfigError("sparse_h", "with thresholds", "must be without: changes reach the sums, or groups of h")

    def _check_skip(self):
        """Check that the head adds the x that the first layer reads."""
        subject, found = f"{self.head.source}: skip", self.head.skip.shape[1]
        if not self.head_every_step:
            raise ModelError(subject, "with a head on the last step", "must be on every step")
        if found != self.input_size:
            raise ModelError(subject, f"{found} inputs", f"must be the {self.input_size} of the network")
        if self.head.skip_x_format != self.input_format:
            rule = f"must be the format of x, {self.input_format}"
            raise FormatError(f"{subject}_x_format", self.head.skip_x_format, rule)

    @property
    def linear(self) -> tuple[QuantDense, ...]:
        """All linear layers, the head last."""
        return (*self.dense, *[self.head] * (self.head is not None))

    @property
    def named_linear(self) -> dict[str, QuantDense]:
        """The same by what they and their matrices are called: ``dense.0`` and so on, and ``head``."""
        names = [*(f"dense.{number}" for number in range(len(self.dense))), HEAD]
        return dict(zip(names, self.linear, strict=False))

    @property
    def preact(self) -> QFormat:
        """Format of what linear layers look up: that of the layer whose pre-activations have most integer bits."""
        return max((layer.preact for layer in self.layers), key=lambda f: f.integer)

    def argument_of(self, layer: QuantRecurrent) -> QFormat:
        """Format of what the activation unit looks up for a layer, tanh(c') too: it holds the pre-activations of every
        layer, and is rounded as the layer's are."""
        fraction = max(one.preact.fraction for one in self.layers)
        return replace(layer.preact, integer=self.preact.integer, fraction=fraction)

    def unit_of(self, layer: QuantRecurrent) -> ActivationUnit:
        """The activation unit, as a layer uses it."""
        return make_activation(self.activation, self.argument_of(layer), layer.activation_format)

    @property
    def unit(self) -> ActivationUnit:
        """The activation unit, as linear layers use it."""
        return self.unit_of(self.layers[-1])

    @property
    def kind(self) -> str:
        """Kind of the cells, of ``CELL_SUMS``; see :func:`.float_model.kind_of`."""
        return kind_of(self.layers)

    @property
    def plain(self) -> tuple[QuantPlain, ...]:
        """The plain ones of the recurrent layers."""
        return tuple(layer for layer in self.layers if isinstance(layer, QuantPlain))

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer."""
        return tuple(layer.hidden_size for layer in self.layers)

    @property
    def output_size(self) -> int:
        """Size of one output vector: that of the head, or of the last hidden state without one."""
        return self.head.output_size if self.head is not None else self.hidden_sizes[-1]

    @property
    def input_format(self) -> QFormat:
        return self.layers[0].x_format

    @property
    def output_format(self) -> QFormat:
        return self.head.output if self.head is not None else self.layers[-1].hidden

    @property
    def input_code(self) -> InputCode:
        """How real inputs become the integers that the hardware takes."""
        return InputCode(self.input_format, self.input_size, self.input_exponents)

    def scaled_input(self, x: np.ndarray) -> np.ndarray:
        """Real inputs (..., Lx) as the engine reads them, times the powers of two of ``input_exponents``: what
        ``input_format`` holds."""
        return self.input_code.scaled(self.arrangement.x(x))

    def quantize_input(self, x: np.ndarray) -> np.ndarray:
        """Real inputs (..., Lx) of the network to the integers that the hardware takes; see
        :meth:`.InputCode.quantize`."""
        x, inputs = array_of(x), self.input_size // self.arrangement.halves
        if x.shape[-1:] != (inputs,):
            raise InputError("x", f"shape {x.shape}", f"must end with {inputs}")
        return self.input_code.quantize(self.arrangement.x(x))

    def outputs_of(self, sent: np.ndarray) -> np.ndarray:
        """The network's outputs, as stored integers, from those of the hardware; sums of two may be wider."""
        return self.arrangement.outputs(sent)

    def dequantize_output(self, sent: np.ndarray) -> np.ndarray:
        """Output integers of the hardware to the network's outputs, real numbers (float64); of any shape where outputs
        are what is sent."""
        return self.output_format.to_float(self.outputs_of(sent))

    def _parts(self):
        """(prefix of the tensors, layer) of every layer, the head last."""
        parts = [(f"layers.{number}.", layer) for number, layer in enumerate(self.layers)]
        parts += [(f"dense.{number}.", layer) for number, layer in enumerate(self.dense)]
        return parts + ([("head.", self.head)] if self.head is not None else [])

    def _content(self):
        tensors = {
            prefix + name: getattr(layer, name).astype(_storage(getattr(layer, number_format).width))
            for prefix, layer in self._parts()
            for name, number_format in layer.ARRAYS.items()
            if getattr(layer, name).size
        }
        for prefix, layer in self._parts():
            if layer.row_shift.any():
                tensors[f"{prefix}row_shift"] = layer.row_shift.astype(np.int8)
        for prefix, layer in self._parts()[: len(self.layers)]:
            if layer.initial is not None:
                widths = [its.width for its in layer.state_formats]
                for name, values, width in zip(INITIAL, layer.initial, widths, strict=True):
                    tensors[prefix + name] = values.astype(_storage(width))
            if layer.peepholes is not None:
                tensors[f"{prefix}peepholes"] = layer.peepholes.astype(_storage(layer.peephole_format.width))
        block = {
            "version": FILE_VERSION,
            "activation": self.activation,
            "head_every_step": self.head_every_step,
            "input_exponents": self.input_exponents,
            "layers": [_describe(layer) for layer in self.layers],
            "head": None if self.head is None else _describe(self.head),
            **{name: getattr(self, name) for name in OPTIONAL if getattr(self, name)},
            **({"dense": [_describe(layer) for layer in self.dense]} if self.dense else {}),
            **({} if self.arrangement.is_plain else {"arrangement": _arranging(self.arrangement)}),
        }
        return tensors, {BLOCK_KEY: json.dumps(block, separators=(",", ":"))}

    def digest(self) -> str:
        """SHA-256 (hex) of the content: weights, formats, activation unit; the digest in the saved file."""
        return content_digest(*self._content())

    def save(self, path: str | os.PathLike) -> None:
        """Write a model file atomically; the same model gives the same bytes.

        Raises
        ------
        ModelError
            The file cannot be written.
        """
        write_tensors(path, *self._content())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "QuantModel":
        """Read a model file.

        Raises
        ------
        ModelError
            The file is missing, unreadable, damaged, of another version, or breaks a rule of this class.
        """
        file = TensorFile(path)
        for key in (BLOCK_KEY, DIGEST_KEY):
            if key not in file.metadata:
                rule = "must be a file that a quantised model was saved to"
                raise ModelError(f"{path}: metadata {key}", "missing", rule)
        block = _parse_block(file.metadata[BLOCK_KEY], f"{path}: metadata {BLOCK_KEY}")
        tensors = file.read(_INTEGER_DTYPES)
        try:
            layers = tuple(
                _restore(
                    _class_of(description, f"{path}: layers.{number}"), description, tensors, f"layers.{number}.", path
                )
                for number, description in enumerate(block["layers"])
            )
            dense = tuple(
                _restore(QuantDense, description, tensors, f"dense.{number}.", path)
                for number, description in enumerate(block.get("dense", ()))
            )
            kind = QuantSkip if "skip_format" in (block["head"] or ()) else QuantDense
            head = None if block["head"] is None else _restore(kind, block["head"], tensors, "head.", path)
            if tensors:
                raise ModelError(f"{path}: {min(tensors)}", "unexpected tensor", "must belong to a layer or the head")
            optional = {name: tuple(block.get(name, ())) for name in OPTIONAL}
            exponents = tuple(block["input_exponents"])
            optional["arrangement"] = _arrangement(block.get("arrangement", {}), path)
            return cls(layers, head, block["head_every_step"], block["activation"], exponents, dense=dense, **optional)
        except (FormatError, ConfigError) as error:
            subject = error.subject if error.subject.startswith(str(path)) else f"{path}: {error.subject}"
            raise ModelError(subject, error.found, error.rule) from error


_OF_WAITS = ("least", "most", "repeats")


def _arranging(arrangement):
    """Values of an arrangement, without those of layers that wait where there are none."""
    return {name: value for name, value in asdict(arrangement).items() if name not in _OF_WAITS or value}


def _arrangement(values, path):
    kinds = {"reads": str, "sends": str, "steps": int, **dict.fromkeys(_OF_WAITS, int)}
    if not all(type(value) is kinds.get(name) for name, value in values.items()):
        raise ModelError(
            f"{path}: arrangement", f"{values!r}"[:_FORMAT_TEXT], "must be names of reads and sends, and steps"
        )
    return Arrangement(**values)


def _storage(width):
    """Smallest signed integer type that holds ``width`` bits."""
    return next(dtype for dtype in (np.int8, np.int16, np.int32, np.int64) if np.iinfo(dtype).bits >= width)


def _described(cls):
    """Fields that the JSON block holds always: the formats and the accumulator's fraction."""
    return [f.name for f in fields(cls) if f.name not in (*_APART, *cls.ARRAYS)]


def _describe(layer):
    values = {name: getattr(layer, name) for name in _described(type(layer))}
    values = {name: _spelled(value) if isinstance(value, QFormat) else value for name, value in values.items()}
    activation = getattr(layer, "activation", "none")
    kind = {"kind": layer.KIND} if getattr(layer, "KIND", "lstm") != "lstm" else {}
    kind |= {"projected": True} if getattr(layer, "projected", False) else {}
    kind |= {"waits": layer.waits} if getattr(layer, "waits", "") else {}
    kind |= {"sources": layer.sources} if layer.sources else {}
    if getattr(layer, "peephole_format", None):
        kind["peephole_format"] = _spelled(layer.peephole_format)
    return kind | values | ({"activation": activation} if activation != "none" else {})


def _spelled(value):
    """A format with its rounding and overflow, so that the file depends on nobody's defaults."""
    return f"Q{value.integer}.{value.fraction}/{value.rounding}/{value.overflow}"


def _class_of(description, subject):
    """The class of a recurrent layer; ``kind`` is taken out of the description, without which it is an LSTM."""
    kind = description.pop("kind", "lstm") if isinstance(description, dict) else "lstm"
    if kind not in RECURRENT:
        raise ModelError(f"{subject}: kind", repr(kind)[:_FORMAT_TEXT], f"must be one of {', '.join(RECURRENT)}")
    return RECURRENT[kind]


def _restore(cls, description, tensors, prefix, path):
    """Rebuild a layer; its tensors are taken out of ``tensors``."""
    subject = f"{path}: {prefix.rstrip('.')}"
    wanted = _described(cls)
    more = {"activation"} if issubclass(cls, PlainOutputs) else {"projected"}
    more |= {"waits", "sources", "peephole_format"} if issubclass(cls, QuantRecurrent) else {"sources"}
    if not isinstance(description, dict) or set(description) - more != set(wanted):
        found = sorted(description) if isinstance(description, dict) else repr(description)
        raise ModelError(subject, found, f"must describe {', '.join(wanted)}")
    values = {
        name: value
        if name in ("acc_fraction", *more - {"peephole_format"})
        else _parse_format(value, f"{subject}: {name}")
        for name, value in description.items()
    }
    if values.get("waits", "") not in WAITS:
        rule = f"must be one of {', '.join(filter(None, WAITS))}"
        raise ModelError(f"{subject}: waits", repr(values["waits"])[:_FORMAT_TEXT], rule)
    sources = values.setdefault("sources", ())
    if not isinstance(sources, list | tuple) or not all(type(source) is int for source in sources):
        raise ModelError(f"{subject}: sources", repr(sources)[:_FORMAT_TEXT], "must be numbers of layers")
    values["sources"] = tuple(sources)
    if type(values.get("projected", True)) is not bool:
        raise ModelError(f"{subject}: projected", repr(values["projected"])[:_FORMAT_TEXT], "must be true")
    for name in cls.ARRAYS:
        if cls is QuantPlain and name == "w_h" and prefix + name not in tensors:
            rows = np.shape(tensors.get(f"{prefix}bias", ()))[:1]
            values[name] = np.zeros((*rows, 0), np.int64)
            continue
        if prefix + name not in tensors:
            raise ModelError(f"{path}: {prefix}{name}", "missing", "must be present")
        values[name] = tensors.pop(prefix + name)
    if issubclass(cls, QuantRecurrent) and any(prefix + name in tensors for name in INITIAL):
        pair = [tensors.pop(prefix + name, None) for name in INITIAL]
        if any(value is None for value in pair):
            raise ModelError(f"{path}: {prefix}{INITIAL[pair[0] is not None]}", "missing", "must be present")
        values["initial"] = tuple(pair)
    if issubclass(cls, QuantRecurrent):
        values["peepholes"] = tensors.pop(f"{prefix}peepholes", None)
    return cls(**values, source=subject, row_shift=tensors.pop(f"{prefix}row_shift", None))


def _parse_format(text, subject):
    if not isinstance(text, str) or len(text) > _FORMAT_TEXT:
        raise ModelError(subject, repr(text)[:_FORMAT_TEXT], "must be a number format such as Q3.12/half_up/saturate")
    try:
        return QFormat.parse(text)
    except FormatError as error:
        raise ModelError(subject, f"{text!r}: {error.found}", error.rule) from error


def _parse_block(text, subject):
    """The JSON block with its outer keys checked."""
    kinds = {"version": int, "activation": str, "head_every_step": bool, "input_exponents": list, "layers": list}
    kinds["head"] = (dict, type(None))
    optional = dict.fromkeys((*OPTIONAL, "dense"), list) | {"arrangement": dict}
    block = parse_json(text, subject, ModelError)
    if block.get("version") != FILE_VERSION:
        raise ModelError(f"{subject}: version", repr(block.get("version"))[:40], f"must be {FILE_VERSION}")
    kinds |= {key: kind for key, kind in optional.items() if key in block}
    if set(block) != set(kinds):
        raise ModelError(subject, f"keys {sorted(block)}", f"must be {sorted(kinds)}")
    for key, kind in kinds.items():
        if not isinstance(block[key], kind):
            rule = f"must be {getattr(kind, '__name__', 'an object or null')}"
            raise ModelError(f"{subject}: {key}", type(block[key]).__name__, rule)
    return block
