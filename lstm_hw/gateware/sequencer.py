"""Sequencer: fetches the program, runs loops and registers, hands commands to the units."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..machine.isa import (
    CLEAR_REGISTER,
    INSTRUCTION_BITS,
    LOOP_COUNT,
    LOOP_DEPTH,
    LOOP_UNLESS,
    OPS,
    PROGRAM_BITS,
    REGISTER_BITS,
    REGISTERS,
    STEPS_REGISTER,
    UNITS,
)
from .instruction import command_layout, instruction_layout


class Sequencer(wiring.Component):
    """Runs a program from its entry to HALT.

    Parameters
    ----------
    program_length : int
        Instructions that the program memory holds.

    Members
    -------
    i_start : In(1)
        Start at ``i_entry`` with r6 = ``i_clear`` and r7 = ``i_steps``; ignored while running.
    i_entry, i_clear, i_steps
        Arguments, sampled with ``i_start``.
    i_stop : In(1)
        Abandon the program after the current instruction.
    i_write, i_write_address, i_write_data
        Program memory write port; use only while not running.
    o_input, o_load, o_mac, o_cell : stream of commands
        One command a unit instruction, registers already added.
    o_ring : Out(1), o_ring_base : Out(18)
        A RING instruction is executed.
    o_buffers : Out(1), o_buffers_count : Out(8)
        A BUFFERS instruction is executed.
    o_running : Out(1)
        From the cycle after ``i_start`` to HALT.
    o_waiting : Out(1)
        The command of the current instruction is offered to its unit.
    o_illegal : Out(1)
        Pulse: unknown opcode; the program ends there.

    Timing
    ------
    Two cycles a scalar instruction (fetch, execute), three a unit instruction (fetch, execute,
    dispatch) plus the cycles that a full queue makes it wait. The first fetch is in the cycle
    after ``i_start``. Registers survive from run to run, except r6 and r7.
    """

    def __init__(self, program_length):
        self.program_length = program_length
        members = {
            "i_start": In(1),
            "i_entry": In(PROGRAM_BITS),
            "i_clear": In(1),
            "i_steps": In(REGISTER_BITS),
            "i_stop": In(1),
            "i_write": In(1),
            "i_write_address": In(PROGRAM_BITS),
            "i_write_data": In(INSTRUCTION_BITS),
            "o_ring": Out(1),
            "o_ring_base": Out(OPS["RING"].fields["base"]),
            "o_buffers": Out(1),
            "o_buffers_count": Out(OPS["BUFFERS"].fields["count"]),
            "o_running": Out(1),
            "o_waiting": Out(1),
            "o_illegal": Out(1),
        }
        for op in OPS.values():
            if op.unit:
                members[f"o_{op.unit}"] = Out(stream.Signature(command_layout(op.name)))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        # The program memory answers late in a cycle. What an execute reads there, and the registers that it names, are
        # kept; sums and the writes that need them follow in the fetch behind it, in which nobody reads registers.
        m = Module()
        pc, self.views = self._fetcher(m)
        commands, loop = self._commands(m), self._loops(m, pc)
        write, value_of, zero = self._registers(m, self.views["HALT"].opcode)

        def set_up(register, value, addend=0, limit=0):
            """In the next fetch r[register] becomes value + addend, less limit if that is reached."""
            m.d.sync += [write.on.eq(1), write.to.eq(register), write.limit.eq(limit), write.wrap.eq(limit != 0)]
            m.d.sync += [write.augend.eq(value), write.addend.eq(addend)]

        with m.FSM() as fsm:
            m.d.comb += [self.o_running.eq(~fsm.ongoing("idle")), self.o_waiting.eq(fsm.ongoing("dispatch"))]
            with m.State("idle"):
                with m.If(self.i_start):
                    m.d.sync += [pc.eq(self.i_entry), loop.depth.eq(0)]
                    m.d.comb += write.clear.eq(1)
                    set_up(STEPS_REGISTER, self.i_steps)
                    m.next = "fetch"
            with m.State("fetch"):
                m.d.comb += [write.now.eq(write.on), loop.now.eq(loop.on)]
                m.d.sync += [write.on.eq(0), loop.on.eq(0)]
                m.next = "execute"
                with m.If(self.i_stop):
                    m.next = "idle"
            with m.State("execute"):
                m.d.sync += pc.eq(pc + 1)
                m.next = "fetch"
                self._execute(m, pc, commands, loop, set_up, value_of, zero)
            with m.State("dispatch"):
                with m.If((commands.offered & commands.accepted).any() | self.i_stop):
                    m.d.sync += commands.offered.eq(0)
                    m.next = "fetch"
        return m

    def _execute(self, m, pc, commands, loop, set_up, value_of, zero):
        """What each instruction does in its cycle, before the next fetch or the dispatch of its command."""
        views = self.views

        def begin_loop(view):
            from_register = view.count_reg != 0
            count = Mux(from_register, value_of["LOOP", "count_reg"], view.count)
            is_zero = Mux(from_register, zero.bit_select(view.count_reg, 1), view.count == 0)
            with m.If(is_zero ^ (view.when == LOOP_UNLESS)):
                m.d.sync += pc.eq(view.exit)
            with m.Else():
                m.d.sync += [loop.on.eq(1), loop.depth.eq(loop.depth + 1)]
            m.d.sync += [loop.left.eq(Mux(view.when == LOOP_COUNT, count, 1)), loop.slot.eq(loop.depth)]

        def end_loop():
            with m.If(loop.top.left == 1):
                m.d.sync += loop.depth.eq(loop.depth - 1)
            with m.Else():
                m.d.sync += [loop.on.eq(1), pc.eq(loop.top.start)]
            m.d.sync += [loop.left.eq(loop.top.left - 1), loop.slot.eq(loop.depth - 1)]

        def offer(index, name, stands, adds):
            m.d.sync += [stands[field].eq(views[name][field]) for field in stands.shape().members]
            m.d.sync += [register.eq(value_of[name, f"{field}_reg"]) for field, register in adds.items()]
            m.d.sync += commands.offered[index].eq(1)

        with m.Switch(views["HALT"].opcode):
            with m.Case(OPS["HALT"].code):
                m.next = "idle"
            with m.Case(OPS["SET"].code):
                set_up(views["SET"].register, views["SET"].value)
            with m.Case(OPS["ADD"].code):
                set_up(views["ADD"].register, value_of["ADD", "register"], views["ADD"].value, views["ADD"].limit)
            with m.Case(OPS["LOOP"].code):
                begin_loop(views["LOOP"])
            with m.Case(OPS["END"].code):
                end_loop()
            with m.Case(OPS["RING"].code):
                m.d.comb += [self.o_ring.eq(1), self.o_ring_base.eq(views["RING"].base)]
            with m.Case(OPS["BUFFERS"].code):
                m.d.comb += [self.o_buffers.eq(1), self.o_buffers_count.eq(views["BUFFERS"].count)]
            for index, (name, stands, adds) in enumerate(commands.kept):
                with m.Case(OPS[name].code):
                    offer(index, name, stands, adds)
                    m.next = "dispatch"
            with m.Default():
                m.d.comb += self.o_illegal.eq(1)
                m.next = "idle"

    def _fetcher(self, m):
        """The program memory; returns the program counter and what stands there, seen as each opcode."""
        m.submodules.program = program = memory.Memory(shape=INSTRUCTION_BITS, depth=self.program_length, init=[])
        writer, reader = program.write_port(), program.read_port()
        pc = Signal(bits_for(self.program_length))
        m.d.comb += [
            writer.en.eq(self.i_write),
            writer.addr.eq(self.i_write_address),
            writer.data.eq(self.i_write_data),
            reader.addr.eq(pc),
            reader.en.eq(1),
        ]
        return pc, {name: data_view(reader.data, name) for name in OPS}

    def _commands(self, m):
        """Fields of each unit's command as they stand in the instruction, and the registers to be added."""
        offered, kept = Signal(len(UNITS)), []
        for index, unit in enumerate(UNITS):
            name = next(op.name for op in OPS.values() if op.unit == unit)
            stands = Signal(command_layout(name), name=f"{unit}_stands", reset_less=True)
            adds = {
                field: Signal(OPS[name].fields[field], name=f"{unit}_{field}_adds", reset_less=True)
                for field in OPS[name].relative
            }
            kept.append((name, stands, adds))
            command = getattr(self, f"o_{unit}")
            m.d.comb += [
                command.valid.eq(offered[index]),
                command.payload.eq(stands),
                *(command.payload[field].eq(stands[field] + register) for field, register in adds.items()),
            ]
        accepted = Cat(getattr(self, f"o_{unit}").ready for unit in UNITS)
        return SimpleNamespace(kept=kept, offered=offered, accepted=accepted)

    def _loops(self, m, pc):
        """The stack of open loops, in LUT memory: turns left and first instruction, written in a fetch."""
        layout = data.StructLayout({"left": REGISTER_BITS, "start": pc.shape()})
        m.submodules.loops = loops = memory.Memory(shape=layout, depth=LOOP_DEPTH, init=[])
        writer, reader = loops.write_port(), loops.read_port(domain="comb")
        on, now, depth = Signal(name="loop_on"), Signal(name="loop_now"), Signal(range(LOOP_DEPTH + 1))
        left = Signal(REGISTER_BITS, name="loop_left", reset_less=True)
        slot = Signal(range(LOOP_DEPTH), name="loop_slot", reset_less=True)
        m.d.comb += [
            reader.addr.eq(depth - 1),
            writer.en.eq(now),
            writer.addr.eq(slot),
            writer.data.left.eq(left),
            writer.data.start.eq(pc),
        ]
        return SimpleNamespace(on=on, now=now, depth=depth, left=left, slot=slot, top=reader.data)

    def _registers(self, m, opcode):
        """The registers, in LUT memory with as many read ports as one instruction names registers.

        Returns what is to be written, the value of each field that names a register, and which registers are zero:
        that is known in every execute. r0 is never written.
        """
        m.submodules.registers = registers = memory.Memory(shape=REGISTER_BITS, depth=REGISTERS, init=[])
        named = {name: [f"{field}_reg" for field in op.relative] for name, op in OPS.items()}
        named |= {"ADD": ["register"], "LOOP": ["count_reg"]}
        ports = [registers.read_port(domain="comb") for _ in range(max(map(len, named.values())))]
        with m.Switch(opcode):
            for name, fields in named.items():
                with m.Case(OPS[name].code):
                    m.d.comb += [
                        port.addr.eq(self.views[name][field]) for field, port in zip(fields, ports, strict=False)
                    ]
        value_of = {(name, field): ports[n].data for name, fields in named.items() for n, field in enumerate(fields)}

        write = SimpleNamespace(
            on=Signal(name="write_on"),
            now=Signal(name="write_now"),
            clear=Signal(name="write_clear"),  # r6, at the start
            to=Signal(range(REGISTERS), name="write_to", reset_less=True),
            wrap=Signal(name="wrap", reset_less=True),
            **{n: Signal(REGISTER_BITS, name=n, reset_less=True) for n in ("augend", "addend", "limit")},
        )
        total, beyond, result = Signal(REGISTER_BITS), Signal(REGISTER_BITS + 1), Signal(REGISTER_BITS)
        zero = Signal(REGISTERS, init=(1 << REGISTERS) - 1, reset_less=True)  # as the memory, which no reset changes
        writer = registers.write_port()
        m.d.comb += [
            total.eq(write.augend + write.addend),
            beyond.eq(total - write.limit),
            result.eq(Mux(write.wrap & ~beyond[-1], beyond, total)),
            writer.en.eq(write.clear | write.now & (write.to != 0)),
            writer.addr.eq(Mux(write.clear, CLEAR_REGISTER, write.to)),
            writer.data.eq(Mux(write.clear, self.i_clear, result)),
        ]
        with m.If(writer.en):
            m.d.sync += zero.bit_select(writer.addr, 1).eq(Mux(write.clear, ~self.i_clear, result == 0))
        return write, value_of, zero


def data_view(word: Value, op: str) -> data.View:
    """The program word seen as an instruction of one opcode."""
    return instruction_layout(op)(word)
