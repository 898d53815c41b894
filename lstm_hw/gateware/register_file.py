"""Register file: the storage and the address decoder of a register map."""

from collections.abc import Iterable, Mapping

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..errors import ConfigError
from ..machine.registers import ADDRESS_BITS, WORD_BYTES, Access, Register
from .choice import chosen

_WRITABLE = {Access.RW, Access.WO, Access.W1S, Access.W1C, Access.W1T}


def layout(register: Register) -> data.FlexibleLayout:
    """The fields of a register as an Amaranth layout, from bit 0 to the highest field."""
    return data.FlexibleLayout(
        register.width, {field.name: data.Field(field.width, field.lsb) for field in register.fields}
    )


def merge(mask: Value, old: Value, new: Value) -> Value:
    """What a write of `new` with byte enables `mask` makes of `old`, as wide as `old`."""
    return Cat(
        Mux(enable, new[lsb : min(lsb + 8, len(old))], old[lsb : lsb + 8])
        for enable, lsb in zip(mask, range(0, len(old), 8), strict=False)
    )


class RegisterFile(wiring.Component):
    """Decodes word accesses to a register map and stores its plain registers.

    A register whose fields are all ``rw`` is stored here. Any other register lives outside: its value comes in and
    the strobes of its accesses go out. Its writable fields must lie in byte 0, because only an access to byte 0 is
    reported.

    Parameters
    ----------
    registers : iterable of lstm_hw.machine.registers.Register
        The map.
    limits : dict from str to int
        Exclusive upper bounds of the lowest field of stored registers; a write that would reach one is refused.

    Members
    -------
    i_write, i_write_address, i_write_data, i_write_mask : In
        Write strobe (1), word address, data (32) and byte enables (4).
    o_write_here, o_write_ok : Out(1)
        The write is to a writable register, and not refused either; valid in the cycle of ``i_write``.
    i_read, i_read_address : In
        Read strobe (1) and word address.
    o_read_data : Out
        Data (32), 0 where there is no readable register; valid in the cycle of ``i_read``. A read changes nothing but
        the copies of ``latched_by``.
    i_lock : In(1)
        Refuse writes to registers that are marked ``locked``.
    o_<name> : Out(layout(register))
        Value of a stored register.
    i_<name>_clear : In(1)
        Clear a stored register that is marked ``cleared``; there with these alone.
    i_<name> : In(layout(register))
        Value of a register that lives outside.
    o_<name>_write : Out(1)
        Byte 0 of such a register is written in this cycle; there if one of its fields is writable.

    Timing
    ------
    Answers and strobes are combinational. A stored value changes one cycle after ``i_write`` or ``i_<name>_clear``; in
    one cycle with a write, the clear counts. A register with
    ``latched_by`` reads as the value that it had in the cycle of the last read of that other register, 0 at first.

    Raises
    ------
    ConfigError
        A register that lives outside has a writable field above bit 7, or a limit is not of a stored register.
    """

    def __init__(self, registers: Iterable[Register], limits: Mapping[str, int] | None = None):
        self.registers, self.limits = tuple(registers), dict(limits or {})
        stored = {register.name for register in self.registers if register.stored}
        for name in self.limits:
            if name not in stored:
                raise ConfigError("register file", f"limit of {name!r}", "must be of a stored register")
        ports = {
            "i_write": In(1),
            "i_write_address": In(ADDRESS_BITS - 2),
            "i_write_data": In(32),
            "i_write_mask": In(4),
            "o_write_here": Out(1),
            "o_write_ok": Out(1),
            "i_read": In(1),
            "i_read_address": In(ADDRESS_BITS - 2),
            "o_read_data": Out(32),
            "i_lock": In(1),
        }
        for register in self.registers:
            ports.update(self._ports(register))
        super().__init__(ports)

    @staticmethod
    def _ports(register):
        name, shape = register.name.lower(), layout(register)
        if register.stored:
            ports = {f"o_{name}": Out(shape, init={field.name: field.reset for field in register.fields})}
            return ports | ({f"i_{name}_clear": In(1)} if register.cleared else {})
        ports = {f"i_{name}": In(shape)}
        writable = [field for field in register.fields if field.access in _WRITABLE]
        if any(field.lsb + field.width > 8 for field in writable):
            raise ConfigError("register file", f"writable field of {register.name} above bit 7", "must be in byte 0")
        if writable:
            ports[f"o_{name}_write"] = Out(1)
        return ports

    def _port(self, direction, register, suffix=""):
        return getattr(self, f"{direction}_{register.name.lower()}{suffix}", None)

    def elaborate(self, platform) -> Module:
        m = Module()
        with m.Switch(self.i_write_address):
            for register in self.registers:
                if register.access is not Access.RO:
                    with m.Case(register.address // WORD_BYTES):
                        self._write(m, register)
        for register in self.registers:
            if register.cleared:
                with m.If(self._port("i", register, "_clear")):
                    m.d.sync += self._port("o", register).eq(0)
        latches = {
            register.latched_by: Signal(register.width, name=f"latch_{register.name.lower()}")
            for register in self.registers
            if register.latched_by
        }
        words = {
            register.address // WORD_BYTES: self._read(m, register, latches)
            for register in self.registers
            if register.access is not Access.WO
        }
        here = Signal()
        with m.Switch(self.i_read_address):
            with m.Case(*words):
                m.d.comb += here.eq(1)
        m.d.comb += self.o_read_data.eq(Mux(here, chosen(self.i_read_address, words), 0))
        return m

    def _write(self, m, register):
        stored = self._port("o", register)
        allowed = ~self.i_lock if register.locked else C(1)
        if register.name in self.limits:
            # Compare all that is no other field: bits above the field must not make a refused value pass.
            word = merge(self.i_write_mask, Cat(stored, C(0, 32 - register.width)), self.i_write_data)
            word = word & ~sum(field.mask for field in register.fields[1:])
            allowed = allowed & (word < self.limits[register.name])
        m.d.comb += [self.o_write_here.eq(1), self.o_write_ok.eq(allowed)]
        if register.stored:
            with m.If(self.i_write & allowed):
                m.d.sync += stored.eq(merge(self.i_write_mask, Value.cast(stored), self.i_write_data) & register.mask)
        else:
            m.d.comb += self._port("o", register, "_write").eq(self.i_write & self.i_write_mask[0])

    def _read(self, m, register, latches):
        """The word that is read; a read of it keeps that of its other half."""
        if register.name in latches:
            high = next(other for other in self.registers if other.latched_by == register.name)
            with m.If(self.i_read & (self.i_read_address == register.address // WORD_BYTES)):
                m.d.sync += latches[register.name].eq(Value.cast(self._port("i", high)))
        if register.latched_by:
            return latches[register.latched_by]
        return Value.cast(self._port("o" if register.stored else "i", register))
