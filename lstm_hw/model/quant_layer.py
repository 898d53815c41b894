"""Quantised layers: integer weights and the format of every number that a layer computes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from ..errors import FormatError, ModelError
from ..machine.activation_unit import ActivationUnit
from ..machine.formats import QFormat, shift_round
from ..machine.limits import FACTOR_BITS, GATES, PEEPHOLES, ROW_BITS
from ..machine.shared_activation import make_exponential
from .float_model import (
    check_activation,
    check_peepholes,
    check_shape,
    check_structure,
    hidden_rows,
    is_reset_before,
)

EXACT_BITS = 62
"""Sums must fit this width, so that 64-bit arithmetic on them, a rounding constant included, is exact."""
LOOKED_UP = ("sigmoid", "tanh")
"""Activations of linear layers that are results of the activation unit."""
OF_PREACT = (*LOOKED_UP, "elu")
"""Those before which sums are rounded as pre-activations are."""
FRACTION_LIMIT = 64
"""Most fraction bits of a format, either way."""


class QuantLayer:
    """What both kinds of layer share; ``ARRAYS`` names the format of each array."""

    ARRAYS: ClassVar[dict]
    PRODUCTS: ClassVar[tuple]
    """(matrix, its format, format of what it multiplies) of each."""

    def _check_formats(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is not QFormat:
                continue
            if not isinstance(value, QFormat) or not value.signed or abs(value.fraction) > FRACTION_LIMIT:
                rule = f"must be a signed format with at most {FRACTION_LIMIT} fraction bits either way"
                raise FormatError(f"{self.source}: {f.name}", value, rule)

    def _adopt(self, **shapes):
        """Replace the named arrays by checked, read-only int64 copies."""
        for name, shape in shapes.items():
            subject, values = f"{self.source}: {name}", np.asarray(getattr(self, name))
            if values.dtype.kind not in "iu":
                raise ModelError(subject, f"dtype {values.dtype}", "must be integers")
            check_shape(subject, values.shape, shape)
            number_format = getattr(self, self.ARRAYS[name])
            if values.size and (values.min() < number_format.lowest or values.max() > number_format.highest):
                rule = f"must fit {number_format}, {number_format.lowest} to {number_format.highest}"
                raise FormatError(subject, f"{values.min()} to {values.max()}", rule)
            values = values.astype(np.int64)
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    def _adopt_row_shift(self):
        rows = len(self.bias)
        values = np.zeros(rows, np.int64) if self.row_shift is None else np.asarray(self.row_shift)
        subject = f"{self.source}: row_shift"
        if values.dtype.kind not in "iu":
            raise ModelError(subject, f"dtype {values.dtype}", "must be integers")
        check_shape(subject, values.shape, (rows,))
        most = (1 << ROW_BITS) - 1
        if values.min() < 0 or values.max() > most:
            raise FormatError(subject, f"{values.min()} to {values.max()}", f"must be between 0 and {most}")
        values = values.astype(np.int64)
        values.setflags(write=False)
        object.__setattr__(self, "row_shift", values)

    def _check_fractions(self):
        """Check the accumulator's fraction against the formats whose products it sums."""
        if type(self.acc_fraction) is not int:
            raise FormatError(f"{self.source}: acc_fraction", repr(self.acc_fraction), "must be an integer")
        for (_, weight, operand), lift in zip(self.PRODUCTS, self.lifts, strict=True):
            most = max(0, FACTOR_BITS - getattr(self, operand).width)
            if not 0 <= lift <= most:
                total = self.acc_fraction - lift
                rule = f"must be 0 to {most} more than the fraction bits of {weight} and {operand} together, {total}"
                raise FormatError(f"{self.source}: acc_fraction", self.acc_fraction, rule)
        if self.bias_format.fraction > self.acc_fraction:
            rule = f"must have at most acc_fraction = {self.acc_fraction} fraction bits"
            raise FormatError(f"{self.source}: bias_format", self.bias_format, rule)
        if self.accumulator_bits > EXACT_BITS:
            rule = f"must fit {EXACT_BITS} bits"
            raise FormatError(f"{self.source}: accumulator", f"sums of {self.accumulator_bits} bits", rule)

    def real(self, name: str) -> np.ndarray:
        """An array in real numbers: what its format says, less the row's shift."""
        values = getattr(self, self.ARRAYS[name]).to_float(getattr(self, name))
        return values / np.exp2(self.row_shift).reshape(-1, *[1] * (values.ndim - 1))

    @property
    def lifts(self) -> tuple[int, ...]:
        """Places by which the operand of each product stands higher, so that all have the accumulator's fraction."""
        return tuple(
            self.acc_fraction - getattr(self, weight).fraction - getattr(self, operand).fraction
            for _, weight, operand in self.PRODUCTS
        )

    @property
    def factors(self) -> np.ndarray:
        """The matrices side by side, int64 (rows, columns), with the places that their operands are lifted."""
        return np.concatenate(
            [getattr(self, name) << lift for (name, _, _), lift in zip(self.PRODUCTS, self.lifts, strict=True)], axis=1
        )

    @property
    def peak_products(self) -> np.ndarray:
        """Bound of the magnitude of each row's sum without the bias, over all operands (rows,), Python integers."""
        return sum(
            np.abs(getattr(self, name)).sum(axis=1).astype(object) * (-getattr(self, operand).lowest << lift)
            for (name, _, operand), lift in zip(self.PRODUCTS, self.lifts, strict=True)
        )

    @cached_property
    def peak_accumulator(self) -> int:
        """Bound of every sum's magnitude, over all operands that the formats allow."""
        bias = np.abs(self.bias).astype(object) << (self.acc_fraction - self.bias_format.fraction)
        return int((self.peak_products + bias).max())

    @property
    def accumulator_bits(self) -> int:
        """Width that holds every sum of this layer and every part of one, whatever the operands."""
        return self.peak_accumulator.bit_length() + 1

    @property
    def acc_bias(self) -> np.ndarray:
        """The bias at the accumulator's fraction, int64."""
        return self.bias << (self.acc_fraction - self.bias_format.fraction)


class PlainOutputs(QuantLayer, ABC):
    """What layers share whose outputs are sums behind an activation."""

    activation: str

    @property
    @abstractmethod
    def result(self) -> QFormat:
        """Format of the outputs."""

    def rounded_format(self, preact: QFormat) -> QFormat:
        """What sums are rounded to, as wide as pre-activations: with the outputs' fraction, or to be looked up."""
        if self.activation in OF_PREACT:
            return preact
        width = max(preact.width, self.result.width)
        return replace(self.result, integer=width - 1 - self.result.fraction)

    def outputs(self, sums: np.ndarray, unit: ActivationUnit, preact: QFormat) -> tuple[np.ndarray, int]:
        """Outputs from exact sums: rounded, through the activation, and rounded to ``result`` where they are not yet.

        Parameters
        ----------
        sums : int64 array (..., O)
        unit : ActivationUnit
            The model's.
        preact : QFormat
            What sums in front of a look-up are rounded to; the unit's input may have more fraction bits.

        Returns
        -------
        outputs : int64 array (..., O)
        beyond : int
            How many were rounded to what a format does not hold. Negative ones of ReLU and ELU do not count.
        """
        first = self.rounded_format(preact)
        shift = self.acc_fraction + self.row_shift
        rounded = shift_round(sums, shift - first.fraction, first.rounding)
        held = first.bound(rounded)
        beyond = held != rounded
        negative = held < 0
        if self.activation in ("relu", "elu"):
            beyond &= ~negative
        if self.activation == "relu":
            held = np.maximum(held, 0)
        fraction = first.fraction
        if self.activation == "elu":
            exponential = make_exponential(preact, unit.o_format)
            held, fraction = (
                np.where(negative, exponential.elu(held), held),
                fraction + negative * (unit.o_format.fraction - fraction),
            )
        if self.activation in LOOKED_UP:
            held <<= unit.i_format.fraction - fraction
            held, fraction = unit.compute(held, self.activation == "tanh"), unit.o_format.fraction
        rounded = shift_round(held, fraction - self.result.fraction, self.result.rounding)
        outputs = self.result.bound(rounded)
        return outputs, int(np.count_nonzero(beyond | (outputs != rounded)))


@dataclass(frozen=True, eq=False)
class QuantRecurrent(QuantLayer):
    """One quantised recurrent layer; sums are stacked as those of :class:`.float_model.RecurrentWeights`.

    Parameters
    ----------
    w_x : int64 array (4H, Lx)
    w_h : int64 array (4H, H), or (4H, 2H) of a GRU that resets h before its product
    bias : int64 array (4H,)
    x_format, h_format : QFormat
        Operands: elements of x and of h.
    w_x_format, w_h_format, bias_format : QFormat
    acc_fraction : int
        Fraction bits of the exact sums: those of ``w_x_format`` and ``x_format`` together, and of ``w_h_format`` and
        ``h_format``, or more: so many places the operand is lifted. At least those of ``bias_format``.
    preact : QFormat
        Sums are rounded to it. The activation unit's input holds it, and those of other layers.
    activation_format : QFormat
        Results of sigmoid and tanh.
    cell : QFormat
        c; of a GRU h as it is kept from step to step.
    hidden : QFormat
        h; the same as ``h_format``.
    source : str
        For messages.
    initial : pair of int64 arrays (H,), optional
        h, of ``hidden``, and c, of ``cell``, that a sequence starts from; zeros without it. Both
        are h of a plain layer.
    projected : bool
        As in :class:`.float_model.RecurrentWeights`; ``h_format`` then is that of the layer above.
    waits, sources
        As in :class:`.float_model.RecurrentWeights`; with sources ``x_format`` is one that holds them all, and may be
        wider than operands are.
    peepholes : int64 array (3, H), optional
        As in :class:`.float_model.RecurrentWeights`.
    peephole_format : QFormat, optional
        Theirs, as wide as ``preact``.
    row_shift : int64 array (4H,), optional
        Fraction bits, 0 to 7, that the weights, the bias and the sum of each row have beyond those of their formats.

    Raises
    ------
    ModelError
        Shapes that do not agree or arrays that are not of integers.
    FormatError
        Formats that break one of the rules above, a value outside its format, or sums too wide to be
        exact in 64 bits.
    """

    w_x: np.ndarray
    w_h: np.ndarray
    bias: np.ndarray
    x_format: QFormat
    h_format: QFormat
    w_x_format: QFormat
    w_h_format: QFormat
    bias_format: QFormat
    acc_fraction: int
    preact: QFormat
    activation_format: QFormat
    cell: QFormat
    hidden: QFormat
    source: str = "quantised recurrent layer"
    row_shift: np.ndarray | None = None
    initial: tuple[np.ndarray, np.ndarray] | None = None
    projected: bool = False
    waits: str = field(default="", kw_only=True)
    sources: tuple[int, ...] = field(default=(), kw_only=True)
    peepholes: np.ndarray | None = field(default=None, kw_only=True)
    peephole_format: QFormat | None = field(default=None, kw_only=True)

    KIND: ClassVar[str]
    """Of ``CELL_SUMS``, or ``plain``."""
    SUMS: ClassVar[int] = GATES
    ARRAYS: ClassVar[dict] = {"w_x": "w_x_format", "w_h": "w_h_format", "bias": "bias_format"}
    PRODUCTS: ClassVar[tuple] = (("w_x", "w_x_format", "x_format"), ("w_h", "w_h_format", "h_format"))

    def __post_init__(self):
        self._check_formats()
        shape, size = hidden_rows(self)
        self._adopt(w_h=shape, w_x=(self.SUMS * size, None), bias=(self.SUMS * size,))
        self._adopt_row_shift()
        self._check_fractions()
        check_structure(self)
        if self.peepholes is not None or self.peephole_format is not None:
            self._check_peepholes(size)
        if self.initial is not None:
            self._adopt_initial(size)
        if self.h_format != self.hidden and not self.projected:
            raise FormatError(f"{self.source}: h_format", self.h_format, f"must equal hidden, {self.hidden}")
        aligned = self.activation_format.width + max(self.cell.width, self.activation_format.width)
        if aligned + abs(self.cell.fraction - self.activation_format.fraction) + 1 > EXACT_BITS:
            rule = f"must give f*c + i*g of at most {EXACT_BITS} bits with activation_format {self.activation_format}"
            raise FormatError(f"{self.source}: cell", self.cell, rule)

    def _check_peepholes(self, size):
        check_peepholes(self)
        its, width = self.peephole_format, self.preact.width
        if not isinstance(its, QFormat) or not its.signed or its.width != width or not 0 <= its.integer < width:
            rule = f"must be a signed format of {width} bits, as preact, with 0 to {width - 1} integer bits"
            raise FormatError(f"{self.source}: peephole_format", its, rule)
        if self.peepholes is None:
            raise ModelError(f"{self.source}: peepholes", "missing", "must be present where they have a format")
        subject, values = f"{self.source}: peepholes", np.asarray(self.peepholes)
        if values.dtype.kind not in "iu":
            raise ModelError(subject, f"dtype {values.dtype}", "must be integers")
        check_shape(subject, values.shape, (len(PEEPHOLES), size))
        if values.min() < its.lowest or values.max() > its.highest:
            raise FormatError(subject, f"{values.min()} to {values.max()}", f"must fit {its}")
        values = values.astype(np.int64)
        values.setflags(write=False)
        object.__setattr__(self, "peepholes", values)

    def seen(self, pre: np.ndarray, gate: int, c: np.ndarray, argument: QFormat) -> np.ndarray:
        """A gate's pre-activation (N, H) that sees c through its peephole, in the format of what is looked up."""
        of_c = self.peephole_format.fraction + self.cell.fraction
        fraction = max(self.preact.fraction, of_c)
        product = self.peepholes[gate] * c
        return argument.requantize((pre << fraction - self.preact.fraction) + (product << fraction - of_c), fraction)

    def _adopt_initial(self, size):
        """Check the state that a sequence starts from, and keep read-only copies."""
        pair = []
        for name, given, number_format in zip("hc", self.initial, self.state_formats, strict=True):
            subject, values = f"{self.source}: initial {name}", np.asarray(given)
            if values.dtype.kind not in "iu":
                raise ModelError(subject, f"dtype {values.dtype}", "must be integers")
            check_shape(subject, values.shape, (size,))
            if values.min() < number_format.lowest or values.max() > number_format.highest:
                rule = f"must fit {number_format}, {number_format.lowest} to {number_format.highest}"
                raise FormatError(subject, f"{values.min()} to {values.max()}", rule)
            values = values.astype(np.int64)
            values.setflags(write=False)
            pair.append(values)
        object.__setattr__(self, "initial", tuple(pair))

    @property
    def state_formats(self) -> tuple[QFormat, QFormat]:
        """Of h and c."""
        return self.hidden, self.hidden if self.KIND == "plain" else self.cell

    @property
    def input_size(self) -> int:
        return self.w_x.shape[1]

    @property
    def hidden_size(self) -> int:
        return len(self.w_h) // self.SUMS

    @property
    def reset_before(self) -> bool:
        """As of :class:`.float_model.RecurrentWeights`."""
        return is_reset_before(self)


class QuantLstm(QuantRecurrent):
    """One quantised LSTM layer."""

    KIND = "lstm"


class QuantGru(QuantRecurrent):
    """One quantised GRU layer."""

    KIND = "gru"


@dataclass(frozen=True, eq=False)
class QuantPlain(QuantRecurrent, PlainOutputs):
    """One quantised plain layer; ``preact`` is the format in front of activations that are looked up, ``cell`` is of no
    meaning, and ``hidden`` of its outputs.

    Parameters
    ----------
    activation : str
        One of :data:`~lstm_hw.machine.isa.ACTIVATIONS`.
    """

    activation: str = "none"

    KIND = "plain"
    SUMS = 1

    def __post_init__(self):
        check_activation(self.source, self.activation)
        super().__post_init__()

    @property
    def result(self) -> QFormat:
        return self.hidden


RECURRENT = {cls.KIND: cls for cls in (QuantLstm, QuantGru, QuantPlain)}
"""Kind -> class of its layers."""


@dataclass(frozen=True, eq=False)
class QuantDense(PlainOutputs):
    """A quantised linear layer.

    Parameters
    ----------
    weight : int64 array (O, I)
    bias : int64 array (O,)
    x_format, w_format, bias_format : QFormat
    acc_fraction : int
        Fraction bits of ``w_format`` and ``x_format`` together, or more, as in :class:`QuantRecurrent`; at least those
        of ``bias_format``.
    output : QFormat
        Sums are rounded to it.
    source : str
        For messages.
    row_shift : int64 array (O,), optional
        As in :class:`QuantRecurrent`.
    activation : str
        Of the rounded sums, one of :data:`~lstm_hw.machine.isa.ACTIVATIONS`.
    sources
        As in :class:`QuantRecurrent`.

    Raises
    ------
    ModelError, FormatError
        As :class:`QuantRecurrent`, and for an unknown activation.
    """

    weight: np.ndarray
    bias: np.ndarray
    x_format: QFormat
    w_format: QFormat
    bias_format: QFormat
    acc_fraction: int
    output: QFormat
    source: str = "quantised linear layer"
    row_shift: np.ndarray | None = None
    activation: str = "none"
    sources: tuple[int, ...] = field(default=(), kw_only=True)

    ARRAYS: ClassVar[dict] = {"weight": "w_format", "bias": "bias_format"}
    PRODUCTS: ClassVar[tuple] = (("weight", "w_format", "x_format"),)

    def __post_init__(self):
        check_activation(self.source, self.activation)
        self._check_formats()
        self._adopt(weight=(None, None))
        self._adopt(bias=self.weight.shape[:1])
        self._adopt_row_shift()
        self._check_fractions()

    @property
    def input_size(self) -> int:
        return self.weight.shape[1]

    @property
    def output_size(self) -> int:
        return self.weight.shape[0]

    @property
    def result(self) -> QFormat:
        return self.output


@dataclass(frozen=True, eq=False)
class QuantSkip(QuantDense):
    """A quantised head whose sums have products of the network's x too: y = weight h + skip x + bias.

    Parameters
    ----------
    skip : int64 array (O, Lx)
    skip_format, skip_x_format : QFormat
        Of the matrix, and of the network's x.

    Raises
    ------
    ModelError, FormatError
        As :class:`QuantDense`.
    """

    skip: np.ndarray = field(kw_only=True)
    skip_format: QFormat = field(kw_only=True)
    skip_x_format: QFormat = field(kw_only=True)

    ARRAYS: ClassVar[dict] = {"weight": "w_format", "skip": "skip_format", "bias": "bias_format"}
    PRODUCTS: ClassVar[tuple] = (*QuantDense.PRODUCTS, ("skip", "skip_format", "skip_x_format"))

    def __post_init__(self):
        super().__post_init__()
        self._adopt(skip=(self.output_size, None))
