"""Lanes: what one DSP slice computes, for one row of 16-bit operands or for two rows of 8-bit ones.

Each function adds the registers of a slice to a module and returns its *sum word*, what the accumulator memory holds.
A column's weight is on ``weights`` when its operand is on ``operand``; ``first`` follows them by two cycles, and the
sum word by three. A sum starts from the word that was on ``start`` in the cycle before ``first``.

That word waits in the C register of the slice. Yosys gives it to the memory instead, whose reads it then clocks, if
every bit of a word that is read has a register behind it and nothing else, all with the same reset. Block RAM has such
registers; of LUT memory they would be flip-flops, so there the slices of a group take turns at two resets.
"""

from amaranth import *

from ..machine.config import EngineConfig
from ..machine.limits import PAIR_BITS

PACKED_SHIFT = PAIR_BITS
"""Place of the upper row of a pair. Bits below it hold the lower row's sum modulo 2**16, and the packed weight
``(a << 16) + b`` fits the 25 bits of the slice's pre-adder for any a and b of 8 bits."""
QUARTER = PACKED_SHIFT - 2
"""Two bits from here on tell the quarter of the lower sum's range; a product moves it by one quarter at most."""


def _register(name, width):
    return Signal(signed(width), name=name, reset_less=True)


def lane(
    m: Module,
    name: str,
    config: EngineConfig,
    weights: Value,
    operand: Value,
    first: Value,
    start: Value,
    from_zero: Value,
    in_memory: bool,
) -> Value:
    """One row: ``p <= (first ? c : p) + m`` with ``m <= a * b``.

    Parameters
    ----------
    m : Module
    name : str
        Suffix of the registers' names.
    config : EngineConfig
    weights, operand : Value
        A weight and an element of x or h, lifted.
    first : Value
        The sum starts from ``start`` rather than from what it was.
    start : Value
        A sum word.
    from_zero : Value
        Beside ``start``: zero instead.
    in_memory : bool
        The register behind ``start`` is that of a block RAM.

    Returns
    -------
    Value
        The sum word: ``accumulator_bits`` bits.
    """
    a, b = _register(f"a_{name}", config.weight_bits), _register(f"b_{name}", config.factor_bits)
    product = _register(f"product_{name}", config.weight_bits + config.factor_bits)
    c, p = (_register(f"{kind}_{name}", config.accumulator_bits) for kind in "cp")
    m.d.sync += [a.eq(weights), b.eq(operand), product.eq(a * b), c.eq(start), p.eq(Mux(first, c, p) + product)]
    with m.If(from_zero):
        m.d.sync += c.eq(0)
    return p


def lane_pair(
    m: Module,
    name: str,
    config: EngineConfig,
    weights: Value,
    operand: Value,
    first: Value,
    start: Value,
    from_zero: Value,
    in_memory: bool,
) -> Value:
    """Two rows in one slice: ``p <= (first ? c : p) + m`` with ``m <= ab * x`` and ``ab <= (a << 16) + b``.

    p holds ``A * 2**16 + B`` for the exact sums A and B of the rows. Its low 16 bits say B modulo 2**16; how often B
    has wrapped is counted: a product of 8-bit numbers is at most 2**14, a quarter of that range, so B has passed its
    end upwards when it leaves the last quarter for the first, and downwards the other way round. This counter is the
    only adder outside of the slice. Parameters are as for :func:`lane`, with two weights, the lower row's first.

    Returns
    -------
    Value
        The sum word, ``2 * accumulator_bits`` bits: p, and above it the counter; :func:`separated` reads it. Exact as
        long as both sums fit ``accumulator_bits`` at every column.
    """
    packed_bits = PACKED_SHIFT + config.accumulator_bits
    b, a = (weights.word_select(n, config.weight_bits).as_signed() for n in range(2))
    ab, x = _register(f"ab_{name}", PACKED_SHIFT + config.weight_bits + 1), _register(f"x_{name}", config.operand_bits)
    product = _register(f"product_{name}", len(ab) + len(x))
    c, p = (_register(f"{kind}_{name}", packed_bits) for kind in "cp")
    m.d.sync += [
        ab.eq((a << PACKED_SHIFT) + b),
        x.eq(operand),
        product.eq(ab * x),
        c.eq(start[:packed_bits]),
        p.eq(Mux(first, c, p) + product),
    ]

    # What the sum in p was counted from, before its last column.
    def quarter(value):
        return value[QUARTER:PACKED_SHIFT]

    c_wraps, wraps = (
        _register(f"{kind}_{name}", config.accumulator_bits - PACKED_SHIFT) for kind in ("c_wraps", "wraps")
    )
    c_quarter = quarter(c) if in_memory else Signal(2, name=f"c_quarter_{name}", reset_less=True)  # C is not seen
    before, counted = Signal(2, name=f"quarter_{name}", reset_less=True), Signal.like(wraps, name=f"counted_{name}")
    up, down = (before == 3) & (quarter(p) == 0), (before == 0) & (quarter(p) == 3)
    m.d.comb += counted.eq(wraps + Cat(up | down, down).as_signed())
    m.d.sync += [
        c_wraps.eq(start[packed_bits:]),
        wraps.eq(Mux(first, c_wraps, counted)),
        before.eq(Mux(first, c_quarter, quarter(p))),
    ]
    if not in_memory:
        m.d.sync += c_quarter.eq(quarter(start))
    with m.If(from_zero):
        m.d.sync += [c.eq(0), c_wraps.eq(0), *([] if in_memory else [c_quarter.eq(0)])]
    return Cat(p, counted)


def separated(word: Value, config: EngineConfig) -> list[Value]:
    """The exact sums of a sum word, lower row first.

    Returns
    -------
    list of signed Value
    """
    bits = config.accumulator_bits
    if config.lanes_per_dsp == 1:
        return [word.as_signed()]
    low, high, wraps = word[:PACKED_SHIFT], word[PACKED_SHIFT : PACKED_SHIFT + bits], word[PACKED_SHIFT + bits :]
    # p = A * 2**16 + B with B = wraps * 2**16 + low.
    return [Cat(low, wraps).as_signed(), (high - wraps.as_signed())[:bits].as_signed()]
