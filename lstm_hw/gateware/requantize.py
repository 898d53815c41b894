"""Rounding and bounding of exact fixed-point integers."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..errors import ConfigError, FormatError
from ..machine.arithmetic import Rounding
from ..machine.formats import QFormat
from ..machine.latency import ALIGN, BOUND, REQUANTIZE, ROUND


def rounding_half(number_format: QFormat, drop: int) -> int:
    """What to add to an integer before :func:`bounded` drops ``drop`` of its bits."""
    return 0 if number_format.rounding == "floor" or drop == 0 else 1 << (drop - 1)


def bounded(value: Value, drop: int, number_format: QFormat) -> Value:
    """Drop low bits, then saturate or wrap.

    Parameters
    ----------
    value : signed Value
        Exact integer with ``drop`` more fraction bits than the format, :func:`rounding_half` added.
    drop : int
        Bits to drop.
    number_format : QFormat
        The format to reach.

    Returns
    -------
    Value
        The bits of the stored integer, as wide as the format.
    """
    width = number_format.width
    kept = _kept(value, drop, number_format)
    if number_format.overflow == "wrap":
        return kept[:width]
    mask = (1 << width) - 1
    clipped = Mux(kept[-1], C(number_format.lowest & mask, width), C(number_format.highest, width))
    return Mux(_fits(kept, number_format), kept[:width], clipped)


def rounded_and_bounded(value: Value, drop: int, number_format: QFormat) -> tuple[Value, Value]:
    """What :func:`bounded` and :func:`beyond` give of a value to which :func:`rounding_half` is to be added still.

    The sum ends below the sign; whether its carry leaves what is above it as it must be is looked up beside it.

    Parameters
    ----------
    value : signed Value
    drop : int
    number_format : QFormat
        A signed one.
    """
    width, place = number_format.width, drop + number_format.width - 1
    value = Cat(value, value[-1].replicate(max(0, place + 2 - len(value))))
    low, above, carry = value[drop:place], value[place:], C(0, 1)
    if rounding_half(number_format, drop):
        total = value[drop - 1 : place] + 1
        low, carry = total[1:width], total[width]
        if number_format.rounding == "half_even":
            tie = value[drop - 1] & ~value[: drop - 1].any()
            low = Cat(low[0] & ~tie, low[1:])
    kept = Cat(low, above[0] ^ carry)
    fits = Mux(carry, above[1:].all(), above.all() | ~above.any())
    if number_format.overflow == "wrap":
        return kept, ~fits
    clipped = Mux(value[-1], C(1 << (width - 1), width), C(number_format.highest, width))
    return Mux(fits, kept, clipped), ~fits


def beyond(value: Value, drop: int, number_format: QFormat) -> Value:
    """Whether the format does not hold what :func:`bounded` makes of the same arguments: one bit."""
    return ~_fits(_kept(value, drop, number_format), number_format)


def _kept(value, drop, number_format):
    """What rounding leaves, the sign at its end and one bit wider than the format at least."""
    width = number_format.width
    kept = value[drop:]
    if number_format.rounding == "half_even" and drop > 0:
        # With the half added, only a tie ends in zeros; its even neighbour is this sum or one below.
        kept = Cat(kept[0] & value[:drop].any(), kept[1:])
    if len(kept) <= width:
        kept = Cat(kept, kept[-1].replicate(width + 1 - len(kept)))
    return kept


def _fits(kept, number_format):
    width = number_format.width
    above = kept[width - number_format.signed : -1]
    return above == kept[-1].replicate(len(above)) if number_format.signed else ~kept[width:].any()


class Requantize(wiring.Component):
    """Exact integers of one of several fractions to stored integers of one format.

    Gives the bits of ``o_format.requantize(i, i_fractions[i_select])``.

    Parameters
    ----------
    i_width : int
        Bits of the signed input.
    i_fractions : tuple of int
        Fraction bits that the input may have, above or below those of the output.
    o_format : QFormat
        Output format, with its rounding and overflow.
    flagged : bool
        Whether there is ``o_beyond``.
    registered : bool
        Whether there is ``o``, beside ``o_next``. Without, ``o_beyond`` is with ``o_next``, no register either.
    direct : bool
        Without the stage that aligns, where all fractions are the same, and without the one that rounds: rounding and
        bound stand side by side.

    Members
    -------
    i : In(signed(i_width))
        Exact integer.
    i_select : In(max(1, bits of len(i_fractions) - 1))
        Index into ``i_fractions``; an index beyond the last selects the last. Not used if there is one only.
    o : Out(signed(o_format.width)), or unsigned as the format is
        Result for the ``i`` and ``i_select`` of ``latency`` cycles ago. A register.
    o_next : Out, as ``o``
        What ``o`` is in the next cycle; not a register.
    o_beyond : Out(1)
        The format does not hold the rounded value: ``o`` is its nearer end, or wrapped. With ``o``, a register.

    Timing
    ------
    Latency 3 cycles (attribute ``latency``): align, round, bound; one less without a stage. One result a cycle, no
    stall and no reset: a result is meaningful if its input was.

    Raises
    ------
    ConfigError
        ``i_fractions`` is empty.
    FormatError
        The aligned sum would exceed 63 bits.
    """

    def __init__(
        self,
        i_width: int,
        i_fractions: tuple[int, ...],
        o_format: QFormat,
        flagged: bool = False,
        registered: bool = True,
        direct: bool = False,
    ):
        self.flagged, self.registered, self.direct = flagged, registered, direct
        self.i_fractions, self.o_format = tuple(i_fractions), o_format
        if not self.i_fractions:
            raise ConfigError("i_fractions", "()", "must list at least one fraction")
        rounding = Rounding(i_width, self.i_fractions, o_format)
        self.aligns = not (direct and rounding.alike)
        self.latency = REQUANTIZE - ALIGN * (not self.aligns) - ROUND * direct - BOUND * (not registered)
        self.drop, self.sum_width = rounding.drop, rounding.sum_width
        if i_width < 1 or not rounding.exact:
            found = f"{i_width}-bit input with fractions {self.i_fractions}"
            raise FormatError("requantize", found, f"must {rounding.rule}")
        result = signed(o_format.width) if o_format.signed else unsigned(o_format.width)
        super().__init__(
            {
                "i": In(signed(i_width)),
                "i_select": In(max(1, (len(self.i_fractions) - 1).bit_length())),
                **({"o": Out(result)} if registered else {}),
                "o_next": Out(result),
                **({"o_beyond": Out(1)} if flagged else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        aligned = Signal(signed(self.sum_width - 1), reset_less=True)

        lifts = [self.drop + self.o_format.fraction - fraction for fraction in self.i_fractions]
        if not self.aligns:
            m.d.comb += aligned.eq(self.i << lifts[0])
        else:
            self._align(m, aligned, lifts)
        if self.direct:
            result, flagged = rounded_and_bounded(aligned, self.drop, self.o_format)
        else:
            rounded = Signal(signed(self.sum_width), reset_less=True)
            m.d.sync += rounded.eq(aligned + rounding_half(self.o_format, self.drop))
            result, flagged = (how(rounded, self.drop, self.o_format) for how in (bounded, beyond))
        m.d.comb += self.o_next.eq(result)
        if self.registered:
            result = Signal.like(self.o, name="result", reset_less=True)
            m.d.comb += self.o.eq(result)
            m.d.sync += result.eq(self.o_next)
        if self.flagged:
            flag = Signal(name="beyond", reset_less=True)
            m.d["sync" if self.registered else "comb"] += flag.eq(flagged)
            m.d.comb += self.o_beyond.eq(flag)
        return m

    def _align(self, m, aligned, lifts):
        with m.Switch(self.i_select):
            for index, lift in enumerate(lifts[:-1]):
                with m.Case(index):
                    m.d.sync += aligned.eq(self.i << lift)
            with m.Default():
                m.d.sync += aligned.eq(self.i << lifts[-1])
