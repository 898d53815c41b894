"""Sigmoid and tanh from one table whose sign leaves before it and comes back in the last product."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.activation_unit import RANGE_BITS
from ..machine.shared_activation import PolynomialActivation
from .coefficient_table import coefficient_table, delay, register
from .requantize import bounded, rounding_half


class SharedActivation(wiring.Component):
    """Sigmoid or tanh of a fixed-point number, chosen input by input.

    Gives the bits of ``parameters.compute()``.

    Parameters
    ----------
    parameters : QuadraticActivation or LinearActivation
        Formats and table; the degree is the number of multipliers.
    registered : bool
        As of :func:`lstm_hw.gateware.activation.activation_component`.

    Members
    -------
    i_x : In(signed(i_format.width))
        Argument.
    i_tanh : In(1)
        1 for tanh, 0 for sigmoid of this cycle's ``i_x``.
    o_y : Out(signed(o_format.width))
        Result for the ``i_x`` and ``i_tanh`` of ``latency`` cycles ago. A register.

    Timing
    ------
    Latency ``2 + 2*degree`` cycles (attribute ``latency``: 6 quadratic, 4 linear), one result a cycle, no
    stall and no reset: a result is meaningful if its argument was. One more if ``registered``.
    """

    def __init__(self, parameters: PolynomialActivation, registered: bool = False):
        self.parameters, self.registered = parameters, registered
        self.latency = parameters.latency + registered
        super().__init__(
            {
                "i_x": In(signed(parameters.i_format.width)),
                "i_tanh": In(1),
                "o_y": Out(signed(parameters.o_format.width)),
            }
        )

    def elaborate(self, platform) -> Module:
        # The sign s leaves before the table and comes back in the last product:
        #   s*P = s*c0 + (s*t)*(c1 + t*c2)
        # tanh = 2*s*P doubles c0 and s*t, sigmoid = 1/2 + s*P adds to c0. Both are done beside the multipliers,
        # whose path holds one product or one sum a stage, as a DSP block does.
        m = Module()
        parameters, bits = self.parameters, self.parameters.position_bits
        negative, magnitude, tanh = *self._magnitude(m), self.i_tanh
        if self.registered:
            negative, magnitude, tanh = delay(m, negative, magnitude, tanh)

        # Stage 1: the table, and where in the segment. The magnitude of a negative number is one too small, which
        # spares a carry before the table; t gets the one back.
        low = magnitude[:bits]
        constant, slope, *square = self._table(m, magnitude[bits:])
        t = register(m, (_centred(low) + negative)[: bits + 1].as_signed(), "t")
        # s*t is the same bits complemented: -(low - half) = (~low - half) + 1.
        signed_t = _centred(low ^ negative.replicate(bits))
        beside = [
            register(m, Mux(tanh, signed_t << 1, signed_t), "factor"),
            register(m, negative, "sign"),
            register(m, tanh, "tanh"),
        ]

        # Stages 2 and 3 of a quadratic: the slope at t, rounded half up to the bits of c1.
        if square:
            slope, constant, *beside = delay(m, slope, constant, *beside)
            slope = self._slope(m, register(m, square[0] * t, "slope_product"), slope)
            constant, *beside = delay(m, constant, *beside)

        # The last product, and beside it what the constant brings to the sum.
        factor, sign, tanh = beside
        product = register(m, slope * factor, "value_product")
        base = self._base(m, constant, sign, tanh)

        # The sum, already with the half of rounding, then the bound.
        drop = parameters.guard + bits - 1
        total = register(m, ((base << (bits - 1)) + product)[: len(base) + bits - 1].as_signed(), "total")
        m.d.comb += self.o_y.eq(register(m, bounded(total, drop, parameters.o_format), "result"))
        return m

    def _magnitude(self, m):
        """Sign of the argument, and its magnitude (doubled for tanh, less one if negative) held below 16."""
        wide = Signal(signed(self.parameters.i_format.width + 1))
        m.d.comb += wide.eq(Mux(self.i_tanh, self.i_x << 1, self.i_x))
        negative = self.i_x[-1]
        magnitude = (wide ^ negative.replicate(len(wide)))[:-1]
        width = RANGE_BITS + self.parameters.i_format.fraction
        if len(magnitude) > width:
            magnitude = magnitude[:width] | magnitude[width:].any().replicate(width)
        held = Signal(width)
        m.d.comb += held.eq(magnitude)
        return negative, held

    def _table(self, m, segment):
        """Coefficients of a segment, constant first, one cycle later."""
        columns = self.parameters.coefficients
        # A block RAM would be mostly empty, and slower into the multiplier than LUTs with a register.
        return coefficient_table(m, columns, segment, "logic")

    def _slope(self, m, product, slope):
        """``slope + product``, half up to the bits of ``slope``."""
        drop = self.parameters.position_bits - 1
        low, high = self.parameters.ranges[1]
        width = 1 + max((~low if low < 0 else low).bit_length(), high.bit_length())
        half = 1 << drop >> 1
        # The half fills bits that the raised slope leaves zero, so it costs no adder.
        raised = Cat(C(half, drop), slope)
        return register(m, (raised + product)[: drop + width].as_signed(), "slope_sum")[drop:].as_signed()

    def _base(self, m, constant, sign, tanh):
        """What the constant coefficient, the 1/2 of sigmoid and the half of rounding bring to the sum."""
        parameters = self.parameters
        half = rounding_half(parameters.o_format, parameters.guard)
        offset = Mux(tanh, half, half + (1 << (parameters.fraction - 1)))
        width = parameters.fraction + 2
        doubled = Mux(tanh, constant << 1, constant)
        # Negation is complement and carry in: the pair of sign bits below the sum carries one.
        complemented = Cat(sign, Cat(doubled, C(0, width - len(doubled))) ^ sign.replicate(width))
        return register(m, (complemented + Cat(sign, offset))[1 : width + 1].as_signed(), "base")


def _centred(position):
    """An unsigned position less half its range, which is its top bit inverted."""
    return Cat(position[:-1], ~position[-1]).as_signed()
