"""Tables of coefficients and registers, as the activation units have them."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib.memory import Memory
from amaranth.utils import exact_log2

from ..machine.activation_unit import column_bits

PAGE_ROWS = 64
"""Rows of which a six-input LUT holds a bit."""


def coefficient_table(m: Module, columns: Sequence[Sequence[int]], row: Value, style: str | None) -> list[Value]:
    """The coefficients of a row, one of each column, one cycle after its number.

    Parameters
    ----------
    m : Module
        What the table becomes part of, as submodule ``table``, or as ``page0`` and so on where it is of logic and has
        more than :data:`PAGE_ROWS` rows.
    columns : sequence of sequences of int
        Of one length.
    row : Value
    style : str or None
        ``syn_romstyle`` of the memory; the tool's own choice without.
    """
    widths = [column_bits(column) for column in columns]
    rows = []
    for entries in zip(*columns, strict=True):
        packed = 0
        for coefficient, width in zip(reversed(entries), reversed(widths), strict=True):
            packed = (packed << width) | (coefficient & ((1 << width) - 1))
        rows.append(packed)
    if style == "logic" and len(rows) > PAGE_ROWS:
        word = _paged(m, rows, sum(widths), row)
    else:
        attributes = {"syn_romstyle": style} if style else {}
        m.submodules.table = table = Memory(shape=sum(widths), depth=len(rows), init=rows, attrs=attributes)
        port = table.read_port()
        m.d.comb += port.addr.eq(row)
        word = port.data
    coefficients, offset = [], 0
    for column, width in zip(columns, widths, strict=True):
        field = word[offset : offset + width]
        coefficients.append(field.as_signed() if min(column) < 0 else field)
        offset += width
    return coefficients


def _paged(m, rows, width, row):
    """A table of logic in pages and the choice of one: two LUTs in a row, where a mapper left to itself shares parts of
    the bits and makes the path of some of them several times as long."""
    inside, pages = exact_log2(PAGE_ROWS), []
    for number, first in enumerate(range(0, len(rows), PAGE_ROWS)):
        held = rows[first : first + PAGE_ROWS]
        table = Memory(shape=width, depth=len(held), init=held, attrs={"syn_romstyle": "logic"})
        m.submodules[f"page{number}"] = table
        port = table.read_port(domain="comb")
        port.data.attrs["keep"] = 1
        m.d.comb += port.addr.eq(row[:inside])
        pages.append(port.data)
    return register(m, Array(pages)[row[inside:]], "coefficients")


def register(m: Module, value: Value, name: str) -> Signal:
    """``value`` one clock later, in a register without reset."""
    result = Signal(value.shape(), name=name, reset_less=True)
    m.d.sync += result.eq(value)
    return result


def delay(m: Module, *values: Value) -> list[Signal]:
    """Each value one clock later."""
    return [register(m, value, f"delayed_{index}") for index, value in enumerate(values)]
