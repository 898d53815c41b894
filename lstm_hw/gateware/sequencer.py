"""Sequencer: fetches the program, runs loops and registers, hands commands to the units."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
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

    def elaborate(self, platform):
        m = Module()
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
        views = {name: data_view(reader.data, name) for name in OPS}
        opcode = views["HALT"].opcode

        registers = Array(Signal(REGISTER_BITS, name=f"r{i}") for i in range(REGISTERS))
        loops = Array(Signal(REGISTER_BITS, name=f"loop_left{i}") for i in range(LOOP_DEPTH))
        starts = Array(Signal.like(pc, name=f"loop_start{i}") for i in range(LOOP_DEPTH))
        depth = Signal(range(LOOP_DEPTH + 1))
        top = Signal(range(LOOP_DEPTH))
        m.d.comb += top.eq(depth - 1)

        # The program memory answers late in a cycle. What an execute reads there, and registers that it names, are
        # kept; additions and the writes that need them follow in the cycle behind it, in which nobody reads registers.
        offered = Signal(len(UNITS))
        accepted = Cat(getattr(self, f"o_{unit}").ready for unit in UNITS)
        kept = {}  # unit -> fields as they stand in the instruction, and the registers to be added
        for index, unit in enumerate(UNITS):
            name = next(op.name for op in OPS.values() if op.unit == unit)
            stands = Signal(command_layout(name), name=f"{unit}_stands", reset_less=True)
            adds = {
                field: Signal(OPS[name].fields[field], name=f"{unit}_{field}_adds", reset_less=True)
                for field in OPS[name].relative
            }
            kept[unit] = name, stands, adds
            command = getattr(self, f"o_{unit}")
            m.d.comb += [
                command.valid.eq(offered[index]),
                command.payload.eq(stands),
                *(command.payload[field].eq(stands[field] + register) for field, register in adds.items()),
            ]

        adding, wrap = Signal(), Signal()
        augend, addend, limit = (
            Signal(REGISTER_BITS, reset_less=True, name=name) for name in ("augend", "addend", "limit")
        )
        added = Signal(range(REGISTERS), reset_less=True)
        total, beyond, result = Signal(REGISTER_BITS), Signal(REGISTER_BITS + 1), Signal(REGISTER_BITS)
        m.d.comb += [
            total.eq(augend + addend),
            beyond.eq(total - limit),
            result.eq(Mux(wrap & ~beyond[-1], beyond, total)),
        ]
        zero = Signal(REGISTERS)  # registers that are zero, known in every execute

        looping = Signal()
        left = Signal(REGISTER_BITS, reset_less=True)
        slot = Signal(range(LOOP_DEPTH), reset_less=True)

        with m.FSM() as fsm:
            m.d.comb += [self.o_running.eq(~fsm.ongoing("idle")), self.o_waiting.eq(fsm.ongoing("dispatch"))]
            with m.State("idle"):
                with m.If(self.i_start):
                    m.d.sync += [
                        pc.eq(self.i_entry),
                        depth.eq(0),
                        registers[CLEAR_REGISTER].eq(self.i_clear),
                        registers[STEPS_REGISTER].eq(self.i_steps),
                    ]
                    m.next = "fetch"
            with m.State("fetch"):
                m.next = "execute"
                m.d.sync += [
                    adding.eq(0),
                    looping.eq(0),
                    *(zero[n].eq(register == 0) for n, register in enumerate(registers)),
                ]
                with m.If(adding):
                    m.d.sync += [registers[added].eq(result), zero.bit_select(added, 1).eq(result == 0)]
                with m.If(looping):
                    m.d.sync += [loops[slot].eq(left), starts[slot].eq(pc)]
                with m.If(self.i_stop):
                    m.next = "idle"
            with m.State("execute"):
                m.d.sync += pc.eq(pc + 1)
                m.next = "fetch"
                with m.Switch(opcode):
                    with m.Case(OPS["HALT"].code):
                        m.next = "idle"
                    with m.Case(OPS["SET"].code):
                        m.d.sync += registers[views["SET"].register].eq(views["SET"].value)
                    with m.Case(OPS["ADD"].code):
                        add = views["ADD"]
                        m.d.sync += [
                            adding.eq(1),
                            augend.eq(registers[add.register]),
                            addend.eq(add.value),
                            added.eq(add.register),
                            limit.eq(add.limit),
                            wrap.eq(add.limit != 0),
                        ]
                    with m.Case(OPS["LOOP"].code):
                        loop = views["LOOP"]
                        from_register = loop.count_reg != 0
                        count = Mux(from_register, registers[loop.count_reg], loop.count)
                        is_zero = Mux(from_register, zero.bit_select(loop.count_reg, 1), loop.count == 0)
                        with m.If(is_zero ^ (loop.when == LOOP_UNLESS)):
                            m.d.sync += pc.eq(loop.exit)
                        with m.Else():
                            m.d.sync += [looping.eq(1), depth.eq(depth + 1)]
                        m.d.sync += [left.eq(Mux(loop.when == LOOP_COUNT, count, 1)), slot.eq(depth)]
                    with m.Case(OPS["END"].code):
                        with m.If(loops[top] == 1):
                            m.d.sync += depth.eq(depth - 1)
                        with m.Else():
                            m.d.sync += [loops[top].eq(loops[top] - 1), pc.eq(starts[top])]
                    with m.Case(OPS["RING"].code):
                        m.d.comb += [self.o_ring.eq(1), self.o_ring_base.eq(views["RING"].base)]
                    with m.Case(OPS["BUFFERS"].code):
                        m.d.comb += [self.o_buffers.eq(1), self.o_buffers_count.eq(views["BUFFERS"].count)]
                    for index, (name, stands, adds) in enumerate(kept.values()):
                        with m.Case(OPS[name].code):
                            view = views[name]
                            m.d.sync += [stands[field].eq(view[field]) for field in stands.shape().members]
                            m.d.sync += [
                                register.eq(registers[view[f"{field}_reg"]]) for field, register in adds.items()
                            ]
                            m.d.sync += offered[index].eq(1)
                            m.next = "dispatch"
                    with m.Default():
                        m.d.comb += self.o_illegal.eq(1)
                        m.next = "idle"
            with m.State("dispatch"):
                with m.If((offered & accepted).any() | self.i_stop):
                    m.d.sync += offered.eq(0)
                    m.next = "fetch"
        # r0 reads as zero whatever is written to it.
        m.d.sync += registers[0].eq(0)
        return m


def data_view(word, op):
    """The program word seen as an instruction of one opcode."""
    return instruction_layout(op)(word)
