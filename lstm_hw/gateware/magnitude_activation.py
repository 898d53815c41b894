"""Sigmoid and tanh of the magnitude, which gets its sign when it is rounded."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.activation_unit import LOGIC_ROWS, RANGE_BITS
from ..machine.magnitude_activation import (
    LinesActivation,
    NonuniformLinear,
    PlainTable,
    SegmentActivation,
)
from ..machine.magnitude_activation import (
    MagnitudeActivation as Parameters,
)
from .coefficient_table import coefficient_table, delay, register
from .requantize import bounded, rounding_half


class MagnitudeActivation(wiring.Component):
    """Sigmoid or tanh of a fixed-point number, chosen input by input.

    Gives the bits of ``parameters.compute()``.

    Parameters
    ----------
    parameters : lstm_hw.machine.magnitude_activation.MagnitudeActivation
        Formats, segments and table.
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
    Latency ``parameters.latency`` (attribute ``latency``), one more if ``registered``; one result a cycle, no stall and
    no reset: a result is meaningful if its argument was.
    """

    def __init__(self, parameters: Parameters, registered: bool = False):
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
        # Magnitude; row of the table and position; a product and a sum a degree, as a DSP block has them; the sign, and
        # the bound. What the last sum needs is formed beside the last product.
        m = Module()
        parameters = self.parameters
        # The magnitude, the sign, and which function.
        found = [self._magnitude(m), self.i_x[-1], self.i_tanh]
        if self.registered:
            found = delay(m, *found)
        for _ in range(parameters.front):
            found = delay(m, *found)
        magnitude, *beside = found
        row, t = self._locate(m, magnitude, beside[1])
        style = "logic" if len(parameters.columns[0]) <= LOGIC_ROWS else None
        constant, *slopes = coefficient_table(m, parameters.columns, row, style)
        sign, tanh = delay(m, *beside)

        if not slopes:
            total = self._base(m, constant, tanh)
            sign, tanh = delay(m, sign, tanh)
        else:
            t = register(m, t, "position")
            slope = slopes.pop()
            while slopes:
                product = register(m, slope * t, f"slope_product{len(slopes)}")
                t, constant, sign, tanh, *slopes = delay(m, t, constant, sign, tanh, *slopes)
                slope = self._sum(m, product, slopes.pop(), len(slopes) + 1)
                t, constant, sign, tanh, *slopes = delay(m, t, constant, sign, tanh, *slopes)
            product = register(m, self._product(slope, Mux(tanh, t << 1, t)), "value_product")
            base = self._base(m, constant, tanh)
            sign, tanh = delay(m, sign, tanh)
            lift = parameters.fractions[0] - parameters.fraction
            total = register(m, ((base << lift) + product)[: len(base) + lift], "total")
            sign, tanh = delay(m, sign, tanh)
        m.d.comb += self.o_y.eq(register(m, self._signed(total, sign, tanh), "result"))
        return m

    def _magnitude(self, m):
        """The magnitude of the argument, for tanh of twice the argument, held to its bits."""
        wide = Signal(signed(self.parameters.i_format.width + 1))
        m.d.comb += wide.eq(Mux(self.i_tanh, self.i_x << 1, self.i_x))
        negative = self.i_x[-1]
        # Negation is complement and carry in: the pair of bits below carries one.
        magnitude = (Cat(negative, wide ^ negative.replicate(len(wide))) + Cat(negative))[1 : len(wide) + 1]
        return _held(m, magnitude, self.parameters.magnitude_bits, "magnitude")

    def _locate(self, m, magnitude, tanh):
        """Row of the table, and position."""
        parameters, bits = self.parameters, self.parameters.position_bits
        if isinstance(parameters, LinesActivation):
            return self._line(magnitude, tanh), Cat(magnitude, C(0, 1)).as_signed()
        if isinstance(parameters, PlainTable):
            row = (magnitude + (1 << bits >> 1))[bits:]
            return _held(m, row, (parameters.segments - 1).bit_length(), "row"), None
        if isinstance(parameters, NonuniformLinear):
            top = magnitude[-RANGE_BITS:]
            octave, inside = Signal(range(RANGE_BITS + 1)), Signal(len(magnitude) - 1)
            m.d.comb += inside.eq(magnitude << (RANGE_BITS - 1))
            for n in range(RANGE_BITS):
                with m.If(top[n]):
                    m.d.comb += [octave.eq(n + 1), inside.eq(magnitude << (RANGE_BITS - 1 - n))]
            return Cat(inside[bits:], octave), _centred(inside[:bits])
        assert isinstance(parameters, SegmentActivation)
        return magnitude[bits:], _centred(magnitude[:bits])

    def _line(self, magnitude, tanh):
        """Which line holds: of those of tanh, behind those of sigmoid, where it has others."""
        parameters = self.parameters

        def count(thresholds):
            return sum((_at_least(magnitude, threshold) for threshold in thresholds), start=C(0, 1))

        numbers = [count(parameters.thresholds(which)) for which in (False, True)]
        base = len(parameters.rows) - len(parameters.lines[1])
        return numbers[0] if base == 0 else Mux(tanh, numbers[1] + base, numbers[0])

    def _product(self, slope, factor):
        """``slope * factor``, without a multiplier where a slope is one bit."""
        if self.parameters.multipliers:
            return slope * factor
        used = 0
        for value in self.parameters.columns[-1]:
            used |= value
        terms = [Mux(slope[n], factor << n, 0) for n in range(used.bit_length()) if used >> n & 1]
        result = terms[0]
        for term in terms[1:]:
            result = result | term
        return result.as_signed()

    def _sum(self, m, product, slope, k):
        """The sum A_k, rounded half up to its fraction."""
        parameters = self.parameters
        fraction = parameters.fractions[k + 1] + parameters.position_fraction
        drop = fraction - parameters.fractions[k]
        lift = fraction - parameters.fraction
        # The half fills bits that the raised slope leaves zero, so it costs no adder.
        half = 1 << drop >> 1
        raised = Cat(C(half, lift), slope)
        raised = raised.as_signed() if slope.shape().signed else raised
        width = parameters.sum_bits[k]
        return register(m, (raised + product)[: drop + width].as_signed(), f"slope_sum{k}")[drop:].as_signed()

    def _base(self, m, constant, tanh):
        """What the constant and the half of rounding bring to the last sum, doubled for tanh."""
        parameters = self.parameters
        half = rounding_half(parameters.o_format, parameters.guard)
        width = parameters.fraction + 2
        doubled = Mux(tanh, constant << 1, constant)
        return register(m, (doubled + half)[:width], "base")

    def _signed(self, total, sign, tanh):
        """The total, rounded, with its sign, 1/2 beside it for sigmoid, within the output's format."""
        parameters, fraction = self.parameters, self.parameters.o_format.fraction
        drop = parameters.fractions[0] - fraction
        kept = total[drop:]
        if parameters.o_format.rounding == "half_even":
            # With the half added, only a tie ends in zeros; its even neighbour is this sum or one below.
            kept = Cat(kept[0] & total[:drop].any(), kept[1:])
        width = len(kept) + 1
        complemented = Cat(sign, Cat(kept, C(0, 1)) ^ sign.replicate(width))
        offset = Mux(tanh, 0, 1 << (fraction - 1))
        value = (complemented + Cat(sign, offset))[1 : width + 1].as_signed()
        return bounded(value, 0, parameters.o_format)


def _held(m, value, width, name):
    """An unsigned value, or the largest of so many bits where it is beyond them."""
    held = Signal(width, name=name)
    m.d.comb += held.eq(value[:width] | value[width:].any().replicate(width))
    return held


def _centred(position):
    """An unsigned position less half its range, which is its top bit inverted."""
    return Cat(position[:-1], ~position[-1]).as_signed()


def _at_least(value, threshold):
    """Whether an unsigned value is at least a constant: the constant's zeros at the low end do not matter."""
    zeros = (threshold & -threshold).bit_length() - 1
    return value[zeros:] >= threshold >> zeros
