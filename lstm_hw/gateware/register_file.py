"""Register file: the storage and the address decoder of a register map."""

from collections.abc import Iterable, Mapping
from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..errors import ConfigError
from ..machine.registers import ADDRESS_BITS, WORD_BYTES, Access, Register
from .choice import chosen, fours

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
    constants : dict from str to int
        Values of registers that always read the same.

    Members
    -------
    i_write, i_write_address, i_write_data, i_write_mask : In
        Write strobe (1), word address, data (32) and byte enables (4).
    o_write_here, o_write_ok : Out(1)
        The write is to a writable register, and not refused either; valid in the cycle of ``i_write``.
    i_read, i_read_address : In
        Read strobe (1) and word address.
    o_read_data : Out
        Data (32) as it was in the cycle of ``i_read``, 0 where there is no readable register; from the cycle behind it
        until the next read. A read changes nothing but the copies of ``latched_by``.
    i_lock : In(1)
        Refuse writes to registers that are marked ``locked``.
    o_<name> : Out(layout(register))
        Value of a stored register.
    i_<name>_clear : In(1)
        Clear a stored register that is marked ``cleared``; there with these alone.
    i_<name> : In(layout(register))
        Value of a register that lives outside and is no constant.
    o_<name>_write : Out(1)
        Byte 0 of such a register is written in this cycle; there if one of its fields is writable.

    Timing
    ------
    Answers to writes and strobes are combinational. A stored value changes one cycle after ``i_write`` or
    ``i_<name>_clear``; in one cycle with a write, the clear counts. A register with ``latched_by`` reads as the value
    that it had in the cycle of the last read of that other register, 0 at first.

    Raises
    ------
    ConfigError
        A register that lives outside has a writable field above bit 7, or a limit is not of a stored register.
    """

    def __init__(
        self,
        registers: Iterable[Register],
        limits: Mapping[str, int] | None = None,
        constants: Mapping[str, int] | None = None,
    ):
        self.registers, self.limits, self.constants = tuple(registers), dict(limits or {}), dict(constants or {})
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
            if register.name not in self.constants:
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
        self._answer(m)
        return m

    def _answer(self, m):
        """The word that is read: one of each group of words is kept, or zero, and of those at most one is not."""
        latches = {
            register.latched_by: Signal(register.width, name=f"latch_{register.name.lower()}")
            for register in self.registers
            if register.latched_by
        }
        constants, words = {}, {}
        for register in self.registers:
            place = register.address // WORD_BYTES
            if register.name in self.constants:
                constants[place] = C(self.constants[register.name], register.width)
            elif register.access is not Access.WO:
                words[place] = self._read(m, register, latches)
        groups = fours(self.i_read_address, words)
        if constants:
            groups.append((tuple(constants), chosen(self.i_read_address, constants)))
        answers = []
        for places, word in groups:
            answer = Signal(len(word), name=f"answer{len(answers)}")
            here = Signal(name=f"here{len(answers)}")
            with m.Switch(self.i_read_address), m.Case(*places):
                m.d.comb += here.eq(1)
            with m.If(self.i_read & ~here):  # first that it becomes zero, which flip-flops can by themselves
                m.d.sync += answer.eq(0)
            with m.Elif(self.i_read):
                m.d.sync += answer.eq(word)
            answers.append(answer)
        m.d.comb += self.o_read_data.eq(reduce(or_, answers, C(0)))

    def _write(self, m, register):
        stored = self._port("o", register)
        allowed = ~self.i_lock if register.locked else C(1)
        if register.name in self.limits:
            # Bits above the field must not make a refused value pass, but for those of other fields; what is stored has
            # none that the limit has not.
            limit = self.limits[register.name]
            bits = (limit - 1).bit_length()
            above = merge(self.i_write_mask, C(0, 32), self.i_write_data) & ~sum(f.mask for f in register.fields[1:])
            low = merge(self.i_write_mask, Value.cast(stored), self.i_write_data)[:bits]
            allowed = allowed & ~above[bits:].any() & (low < limit)
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
