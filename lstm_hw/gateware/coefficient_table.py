"""Tables of coefficients and registers, as the activation units have them."""

from collections.abc import Sequence

from amaranth import *
from amaranth.lib.memory import Memory

from ..machine.activation_unit import column_bits


def coefficient_table(m: Module, columns: Sequence[Sequence[int]], row: Value, style: str | None) -> list[Value]:
    """The coefficients of a row, one of each column, one cycle after its number.

    Parameters
    ----------
    m : Module
        What the table becomes part of, as submodule ``table``.
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
    attributes = {"syn_romstyle": style} if style else {}
    m.submodules.table = table = Memory(shape=sum(widths), depth=len(rows), init=rows, attrs=attributes)
    port = table.read_port()
    m.d.comb += port.addr.eq(row)
    coefficients, offset = [], 0
    for column, width in zip(columns, widths, strict=True):
        field = port.data[offset : offset + width]
        coefficients.append(field.as_signed() if min(column) < 0 else field)
        offset += width
    return coefficients


def register(m: Module, value: Value, name: str) -> Signal:
    """``value`` one clock later, in a register without reset."""
    result = Signal(value.shape(), name=name, reset_less=True)
    m.d.sync += result.eq(value)
    return result


def delay(m: Module, *values: Value) -> list[Signal]:
    """Each value one clock later."""
    return [register(m, value, f"delayed_{index}") for index, value in enumerate(values)]
