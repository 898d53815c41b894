"""What a quantisation is told: widths and formats, and what is chosen where nobody says."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import ConfigError, FormatError
from ..machine.activation import make_activation
from ..machine.activation_unit import INPUT_WIDTHS
from ..machine.formats import QFormat
from ..machine.limits import FORMAT_WIDTHS, VALUE_BITS
from .fractions import FRACTIONS, ROUNDINGS
from .quant_layer import EXACT_BITS

MOST_HEADROOM = 1024
USUAL_ERROR = 0.1
"""Share of the largest output that an output may be wrong by, where nobody says how much."""
USUAL_LOST = 0.01
"""Share of the labels that rounding may lose there, however wrong outputs are: who classifies wants the labels, not the
outputs. Of fewer than a hundred sequences none may be lost."""
OF_LAYERS = ("preact", "cell", "hidden")
"""Formats that each layer may have of its own."""


def _option(default, doc, **more):
    return field(default=default, metadata={"doc": doc}, **more)


@dataclass(frozen=True)
class QuantConfig:
    """Widths and formats; what is None is chosen from the calibration set.

    Raises
    ------
    ConfigError
        A value is out of range; the message names the field, the value and the rule.
    FormatError
        A given format does not fit the widths or the others.
    """

    weight_bits: int = _option(16, "width of a weight, 2 to 18")
    matrix_bits: Mapping[str, int] | None = _option(
        None,
        'widths of the weights of single matrices, 2 to weight_bits, as { "0.w_x" = 6, "0.w_h" = 8, head = 6 }, where '
        "0 is the first layer; others have weight_bits. The engine stores all weights at the widest width: narrower "
        "ones save no memory. `lstm-hw precision` finds how few bits would do",
        hash=False,
    )
    operand_bits: int = _option(16, "width of an element of x and h, 2 to 18; the engine takes 8 and 16")
    bias_bits: int = _option(24, "width of a bias, 2 to 32")
    accumulator_bits: int = _option(44, f"width that the largest possible sum must fit, up to {EXACT_BITS}")
    preact: QFormat | tuple[QFormat, ...] | None = _option(
        None,
        "format of pre-activations, 16 to 20 bits wide for the engine, or a list of one for each LSTM or GRU layer, of "
        "one width, which together take 20 bits at most; without it of preact_bits bits, chosen by the error of the "
        "outputs for the calibration set, Q3.12 where others are not 1 dB better",
    )
    preact_bits: int | str = _option(
        16, "width of pre-activations, 16 to 20, or auto: the narrowest within 1 dB of the best"
    )
    activation_format: QFormat = _option(
        QFormat(0, 15), "format of the results of sigmoid and tanh, 16 to 18 bits wide for the engine"
    )
    cell: QFormat | tuple[QFormat, ...] | None = _option(
        None,
        "format of c, 16 to 24 bits wide for the engine, or a list of one for each LSTM or GRU layer, of one width; "
        "without it of cell_bits bits, chosen as preact",
    )
    cell_bits: int | str = _option(
        "auto",
        "width of c, 16 to 24, or auto: the narrowest that holds 1.25 times the calibration set's, is no coarser than "
        "Q3.12 and comes within 1 dB of the best: 16 bits where |c| stays below 6",
    )
    hidden: QFormat | tuple[QFormat, ...] | None = _option(
        None,
        "format of h of LSTM and GRU layers, operand_bits wide, or a list of one each; without it all bits but the "
        "sign are fraction bits, or more are where h stays so small that it pays",
    )
    headroom: float = _option(
        1.0, "the format of x holds so many times the largest magnitude of the calibration set; 1 or more"
    )
    output: QFormat | None = _option(None, "format of the head's outputs, 16 bits wide")
    input_format: QFormat | None = _option(None, "format of x, operand_bits wide")
    activation: str = _option(
        "quadratic64", "activation unit, as quadratic64, quadratic(segments=128) or hard5/quadratic; see activations.md"
    )

    fractions: str = _option(
        "auto",
        "fraction bits of weights: shared by the products of a sum; matrix: each has its own (operands are lifted, at "
        "no cost in lanes); row: each row up to 7 more (a shift where sums are drained); with 8-bit operands shared. "
        "auto takes the first that comes near the best for the calibration set",
    )
    rounding: str = _option(
        "auto",
        "of weights: nearest, or compensated: what rounding a weight takes is made up for by others, for vectors as in "
        "the calibration set, at no cost in hardware; auto takes nearest if it comes near the best",
    )
    scale_inputs: bool = _option(
        True,
        "where inputs are of unlike range, store each times a power of two of its own, by which its column of W_x is "
        "divided, if the outputs for the calibration set come nearer to the float model's",
    )
    max_error: float | None = _option(
        None,
        "largest error of an output that is taken, as a share of the largest output of the float model; beyond it "
        "results are marked, and the exit status is not 0 without --allow-error. "
        f"Without it {USUAL_ERROR}, or more where test inputs have labels that are right or wrong and at most "
        f"{USUAL_LOST:.0%} of them are lost",
    )

    def __post_init__(self):
        if self.max_error is not None and (type(self.max_error) not in (int, float) or not 0 < self.max_error < np.inf):
            raise ConfigError("quantize.max_error", repr(self.max_error), "must be a number above 0")
        for name, ways in (("fractions", FRACTIONS), ("rounding", ROUNDINGS)):
            if getattr(self, name) not in ("auto", *ways):
                rule = f"must be one of auto, {', '.join(ways)}"
                raise ConfigError(f"quantize.{name}", repr(getattr(self, name)), rule)
        if type(self.scale_inputs) is not bool:
            raise ConfigError("quantize.scale_inputs", repr(self.scale_inputs), "must be true or false")
        for name, low, high in (
            ("weight_bits", 2, 18),
            ("operand_bits", 2, 18),
            ("bias_bits", 2, 32),
            ("accumulator_bits", 4, EXACT_BITS),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ConfigError(f"quantize.{name}", repr(value), f"must be an integer from {low} to {high}")
        self._adopt_matrix_bits()
        if self.accumulator_bits < self.weight_bits + self.operand_bits:
            rule = f"must be at least weight_bits + operand_bits = {self.weight_bits + self.operand_bits}"
            raise ConfigError("quantize.accumulator_bits", self.accumulator_bits, rule)
        if type(self.activation) is not str:
            raise ConfigError("quantize.activation", repr(self.activation), "must be a string")
        make_activation(self.activation, subject="quantize.activation")
        if type(self.headroom) not in (int, float) or not 1 <= self.headroom <= MOST_HEADROOM:
            raise ConfigError("quantize.headroom", repr(self.headroom), f"must be a number from 1 to {MOST_HEADROOM}")
        for name in ("preact", "cell"):
            value, widths = getattr(self, f"{name}_bits"), FORMAT_WIDTHS[name]
            if value != "auto" and (type(value) is not int or value not in widths):
                rule = f"must be an integer from {widths[0]} to {widths[-1]}, or auto"
                raise ConfigError(f"quantize.{name}_bits", repr(value), rule)
        names = ("preact", "activation_format", "output", "input_format", *OF_LAYERS)
        given = [(name, getattr(self, name)) for name in names]
        given = [(name, one) for name, value in given for one in (value if isinstance(value, tuple) else (value,))]
        for name, value in given:
            if value is None and name != "activation_format":
                continue
            if not isinstance(value, QFormat):
                raise ConfigError(f"quantize.{name}", repr(value), "must be a QFormat")
            if not value.signed:
                raise FormatError(f"quantize.{name}", value, "must be signed")
            if name in ("hidden", "input_format") and value.width != self.operand_bits:
                raise FormatError(f"quantize.{name}", value, f"must be operand_bits = {self.operand_bits} bits wide")
            if name == "output" and value.width != VALUE_BITS:
                raise FormatError(f"quantize.{name}", value, f"must be {VALUE_BITS} bits wide")

        for name in ("preact", "cell"):
            formats = getattr(self, name)
            if isinstance(formats, tuple) and len({f.width for f in formats}) != 1:
                rule = "must be one or more formats of one width"
                raise FormatError(f"quantize.{name}", f"formats of {[f.width for f in formats]} bits", rule)
        if isinstance(self.preact, tuple) and (bits := argument_bits(self.preact)) > INPUT_WIDTHS[-1]:
            rule = f"must have {INPUT_WIDTHS[-1]} bits at most from the highest of any layer to the lowest"
            raise FormatError("quantize.preact", f"{' '.join(map(str, self.preact))}, {bits} bits together", rule)

    def of_layer(self, number: int) -> "QuantConfig":
        """The configuration with the formats of one layer of cells."""
        own = {name: value[number] for name in OF_LAYERS if isinstance(value := getattr(self, name), tuple)}
        return replace(self, **own)

    @property
    def of_plain(self) -> "QuantConfig":
        """The configuration with the formats of plain and linear layers: of pre-activations, that of the layer of cells
        that has most integer bits."""
        widest = max(self.preact, key=lambda f: f.integer) if isinstance(self.preact, tuple) else self.preact
        return replace(self.of_layer(0), preact=widest)

    def _adopt_matrix_bits(self):
        if self.matrix_bits is None:
            return
        if not isinstance(self.matrix_bits, Mapping):
            raise ConfigError("quantize.matrix_bits", repr(self.matrix_bits), "must be a table of integers")
        for name, bits in self.matrix_bits.items():
            if type(bits) is not int or not 2 <= bits <= self.weight_bits:
                rule = f"must be an integer from 2 to weight_bits = {self.weight_bits}"
                raise ConfigError(f"quantize.matrix_bits: {name}", repr(bits), rule)
        object.__setattr__(self, "matrix_bits", MappingProxyType(dict(self.matrix_bits)))

    @property
    def error_bound(self) -> float:
        """``max_error``, or what stands for it."""
        return USUAL_ERROR if self.max_error is None else self.max_error

    def bits_of(self, matrix: str) -> int:
        """Width of the weights of a matrix, by its name in :func:`matrix_sizes`."""
        return (self.matrix_bits or {}).get(matrix, self.weight_bits)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values, in field order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _plain(value) for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "QuantConfig":
        """Inverse of :meth:`to_dict`; formats may be text, unknown keys are errors."""
        known = {f.name: f.type for f in fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(f"quantize.{name}", "unknown key", f"must be one of {', '.join(known)}")
        return cls(
            **{name: _parsed(value) if QFormat in _types(known[name]) else value for name, value in values.items()}
        )


def argument_bits(formats: Sequence[QFormat]) -> int:
    """Width of an input of the activation unit, which holds values of each of the formats of pre-activations."""
    return 1 + max(f.integer for f in formats) + max(f.fraction for f in formats)


def _parsed(value):
    if isinstance(value, list | tuple):
        return tuple(_parsed(item) for item in value)
    return QFormat.parse(value) if isinstance(value, str) else value


def _plain(value):
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return str(value) if isinstance(value, QFormat) else value


def _types(annotation):
    """The types that a field's annotation allows."""
    return typing.get_args(annotation) or (annotation,)
