"""Sequencer: fetches the program, runs loops and registers, hands commands to the units."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from ..machine.command import WIDE, moved
from ..machine.config import EngineConfig
from ..machine.isa import (
    CLEAR_REGISTER,
    INSTRUCTION_BITS,
    LOOP_COUNT,
    LOOP_DEPTH,
    LOOP_KEPT,
    LOOP_UNLESS,
    OPCODE_BITS,
    OPS,
    PROGRAM_BITS,
    REGISTER_BITS,
    REGISTERS,
    STEPS_REGISTER,
    UNITS,
)
from ..machine.limits import H_GROUP
from .instruction import command_layout, instruction_layout

COMMANDS = [next(op.name for op in OPS.values() if op.unit == unit) for unit in UNITS]
"""The instruction of each unit."""
UNKNOWN = (1 << OPCODE_BITS) - 1
"""No opcode."""


class Sequencer(wiring.Component):
    """Runs a program from its entry to HALT.

    Parameters
    ----------
    config : EngineConfig

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
    o_ring : Out(1), o_ring_base : Out(18), where weights stream
        A RING instruction is executed.
    o_buffers : Out(1), o_buffers_count : Out(8)
        A BUFFERS instruction is executed.
    o_running : Out(1)
        From the cycle after ``i_start`` to HALT.
    o_waiting : Out(1)
        The command of the current instruction is offered to its unit.
    o_illegal : Out(1)
        Pulse: unknown opcode, or an instruction for which the engine has not the means, which is stored as one; the
        program ends there.
    o_group, o_of_x, i_known, i_kept, where programs ask
        The group of h or element of h or x that a LOOP asks for, and whether it is known and kept, in the same cycle.

    Timing
    ------
    Two cycles a scalar instruction (fetch, execute), one more for a LOOP that asks for a group, which also waits until
    that is known; three a unit instruction (fetch, execute,
    dispatch) plus the cycles that a full queue makes it wait. The first fetch is in the cycle
    after ``i_start``. Registers survive from run to run, except r6 and r7.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        members = {
            "i_start": In(1),
            "i_entry": In(PROGRAM_BITS),
            "i_clear": In(1),
            "i_steps": In(config.register_bits),
            "i_stop": In(1),
            "i_write": In(1),
            "i_write_address": In(PROGRAM_BITS),
            "i_write_data": In(INSTRUCTION_BITS),
            "o_buffers": Out(1),
            "o_buffers_count": Out(OPS["BUFFERS"].fields["count"]),
            "o_running": Out(1),
            "o_waiting": Out(1),
            "o_illegal": Out(1),
        }
        if config.streams:
            members |= {"o_ring": Out(1), "o_ring_base": Out(OPS["RING"].fields["base"])}
        if config.asks:
            groups = -(-config.h_elements // H_GROUP) if config.sparse_h else max(config.x_elements, config.h_elements)
            members |= {"o_group": Out(range(groups)), "o_of_x": Out(1), "i_known": In(1), "i_kept": In(1)}
        for op in OPS.values():
            if op.unit:
                members[f"o_{op.unit}"] = Out(stream.Signature(command_layout(op.name, config)))
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        # The program memory answers late in a cycle: a fetch keeps its word and nothing else, so that an execute starts
        # from flip-flops. Sums, and the writes that need them, follow in the fetch behind it, in which nobody reads
        # registers or loop stack and the word still stands.
        m = Module()
        program = self._program(m)
        self.views = {name: data_view(program.word, name) for name in OPS}
        add = self._adder(m)
        registers, loop = self._registers(m, program, add), self._loops(m, program, add)
        commands = self._commands(m, registers.kept)

        with m.FSM() as fsm:
            m.d.comb += [self.o_running.eq(~fsm.ongoing("idle")), self.o_waiting.eq(fsm.ongoing("dispatch"))]
            with m.State("idle"):
                with m.If(self.i_start):
                    m.d.comb += [program.next_pc.eq(self.i_entry), registers.clear.eq(1)]
                    m.d.sync += loop.depth.eq(0)
                    registers.write(STEPS_REGISTER, self.i_steps, 0)
                    m.next = "fetch"
            with m.State("fetch"):
                m.d.comb += program.fetch.eq(1)
                m.d.sync += [registers.waits.eq(0), loop.waits.eq(0)]
                m.next = "execute"
                with m.If(self.i_stop):
                    m.next = "idle"
            with m.State("execute"):
                m.d.comb += program.next_pc.eq(program.pc + 1)
                m.d.sync += [kept.eq(value) for kept, value in zip(registers.kept, registers.values, strict=True)]
                m.next = "fetch"
                self._execute(m, program, registers, loop, commands)
            with m.State("dispatch"):
                with m.If((commands.offered & commands.accepted).any() | self.i_stop):
                    m.d.sync += commands.offered.eq(0)
                    m.next = "fetch"
            if self.config.asks:
                m.d.comb += self.o_waiting.eq(fsm.ongoing("dispatch") | fsm.ongoing("judge"))
                with m.State("judge"):
                    self._judge(m, program, loop, add)
        return m

    def _judge(self, m, program, loop, add):
        """A LOOP waits for its group: the register is in the adder, and the program counter behind the LOOP."""
        view = self.views["LOOP"]
        m.d.comb += [self.o_group.eq(add.augend + view.count), self.o_of_x.eq(view.of_x)]
        with m.If(self.i_known):
            with m.If(self.i_kept):
                m.d.sync += loop.depth.eq(loop.depth + 1)
            with m.Else():
                m.d.comb += program.next_pc.eq(view.exit)
            loop.write(loop.depth, 0, 1)
        with m.If(self.i_known | self.i_stop):
            m.next = "fetch"

    def _execute(self, m, program, registers, loop, commands):
        """What each instruction does in its cycle, before the next fetch or the dispatch of its command."""
        views, value = self.views, registers.values[0]

        def begin_loop(view):
            counts, by_register = view.when == LOOP_COUNT, view.count_reg != 0
            # r0 is zero.
            is_zero = program.may_be_zero & ~registers.not_zero
            with m.If(is_zero ^ (view.when == LOOP_UNLESS)):
                m.d.comb += program.next_pc.eq(view.exit)
            with m.Else():
                m.d.sync += loop.depth.eq(loop.depth + 1)
            loop.write(loop.depth, Mux(counts, value, 0), Mux(counts, Mux(by_register, 0, view.count), 1))

        def end_loop():
            with m.If(loop.top.last):
                m.d.sync += loop.depth.eq(loop.depth - 1)
            with m.Else():
                m.d.comb += program.next_pc.eq(loop.top.start)
            loop.write(loop.depth - 1, loop.top.left, -1)

        with m.Switch(views["HALT"].opcode):
            with m.Case(OPS["HALT"].code):
                m.next = "idle"
            with m.Case(OPS["SET"].code):
                registers.write(views["SET"].register, 0, views["SET"].value)
            with m.Case(OPS["ADD"].code):
                registers.write(views["ADD"].register, value, views["ADD"].value, wrap=views["ADD"].limit != 0)
            with m.Case(OPS["LOOP"].code):
                if self.config.asks:
                    with m.If(views["LOOP"].when == LOOP_KEPT):
                        m.next = "judge"
                    with m.Else():
                        begin_loop(views["LOOP"])
                else:
                    begin_loop(views["LOOP"])
            with m.Case(OPS["END"].code):
                end_loop()
            if self.config.streams:
                with m.Case(OPS["RING"].code):
                    m.d.comb += [self.o_ring.eq(1), self.o_ring_base.eq(views["RING"].base)]
            with m.Case(OPS["BUFFERS"].code):
                m.d.comb += [self.o_buffers.eq(1), self.o_buffers_count.eq(views["BUFFERS"].count)]
            for index, name in enumerate(COMMANDS):
                with m.Case(OPS[name].code):
                    m.d.sync += commands.offered[index].eq(1)
                    m.next = "dispatch"
            with m.Default():
                m.d.comb += self.o_illegal.eq(1)
                m.next = "idle"

    def _program(self, m):
        """The program memory: the counter and what it will be, the word read there, the word that a fetch kept."""
        # Of a LOOP, whether its count may be zero: it is a register's, or it is zero.
        layout = data.StructLayout({"may_be_zero": 1, "word": INSTRUCTION_BITS})
        length = self.config.program_length
        m.submodules.program = program = memory.Memory(shape=layout, depth=length, init=[])
        writer = program.write_port()
        reader = program.read_port()
        pc, next_pc = (Signal(bits_for(length), name=name) for name in ("pc", "next_pc"))
        may_be_zero = Signal(name="may_be_zero", reset_less=True)
        written = data_view(self.i_write_data, "LOOP")
        opcode = self._opcode(m)
        fetch, word = Signal(name="fetch"), Signal(INSTRUCTION_BITS, name="word", reset_less=True)
        m.d.comb += [
            writer.en.eq(self.i_write),
            writer.addr.eq(self.i_write_address),
            writer.data.word.eq(Cat(opcode, self.i_write_data[OPCODE_BITS:])),
            writer.data.may_be_zero.eq((written.count_reg != 0) | (written.count == 0)),
            next_pc.eq(pc),
            reader.addr.eq(next_pc),
            reader.en.eq(1),
        ]
        m.d.sync += pc.eq(next_pc)
        with m.If(fetch):
            m.d.sync += [word.eq(reader.data.word), may_be_zero.eq(reader.data.may_be_zero)]
        return SimpleNamespace(pc=pc, next_pc=next_pc, fetch=fetch, word=word, may_be_zero=may_be_zero)

    def _opcode(self, m):
        """Opcode of the instruction that is written: one that there is not, if it asks for what the engine has not."""
        opcode = Signal(OPCODE_BITS, name="written_opcode")
        m.d.comb += opcode.eq(self.i_write_data)
        lacking = set() if self.config.streams else {"stream", "release"}
        for name in COMMANDS:
            op = OPS[name]
            never = lacking | {f"{field}_reg" for field in op.relative if field not in moved(name, self.config)}
            view = data_view(self.i_write_data, name)
            fields = [view[field] for field in op.fields if field in never]
            if fields:
                with m.If((view.opcode == op.code) & Cat(fields).any()):
                    m.d.comb += opcode.eq(UNKNOWN)
        for name, wide in WIDE.items() if self.config.register_bits < REGISTER_BITS else ():
            view = data_view(self.i_write_data, name)
            beyond = {field: view[field][self.config.register_bits :] for field in wide}
            down = beyond["value"].all() if name == "ADD" else 0  # a step down is the complement of one up
            flags = [bits.any() & ~down if field == "value" else bits.any() for field, bits in beyond.items()]
            with m.If((view.opcode == OPS[name].code) & Cat(flags).any()):
                m.d.comb += opcode.eq(UNKNOWN)
        return opcode

    def _adder(self, m):
        """In a fetch, augend + addend, or if ``wrap`` and the limit of an ADD is reached, that less the limit.

        The execute before has taken the limit off the addend, so that both sums stand side by side.
        """
        bits = self.config.register_bits
        augend, addend = (Signal(bits, name=name, reset_less=True) for name in ("augend", "addend"))
        wrap, rest = Signal(name="wrap", reset_less=True), Signal(signed(bits + 1), name="rest", reset_less=True)
        total, beyond = Signal(bits + 1, name="total"), Signal(signed(bits + 2), name="beyond")
        wraps = Signal(name="wraps")
        view = self.views["ADD"]
        m.d.sync += rest.eq(view.value[:bits] - view.limit[:bits])
        m.d.comb += [
            total.eq(augend + addend),
            beyond.eq(augend + rest),
            # A total beyond the register has lost 2**bits, which ``beyond`` has not.
            wraps.eq(wrap & ~beyond[-1] & (beyond[-2] | ~total[-1])),
        ]

        def set_up(a, b, wraps=0):
            m.d.sync += [augend.eq(a), addend.eq(b), wrap.eq(wraps)]

        return SimpleNamespace(
            augend=augend,
            total=total[:-1],
            result=Mux(wraps, beyond[:bits], total[:-1]),
            is_zero=Mux(wraps, beyond[:bits] == 0, total[:-1] == 0),
            set_up=set_up,
        )

    def _registers(self, m, program, add):
        """The registers, in LUT memory with as many read ports as one instruction names registers.

        An execute reads the values and keeps them, the first as augend. r0 is never written.
        Beside each value stands whether it is not zero.
        """
        layout = data.StructLayout({"value": self.config.register_bits, "not_zero": 1})
        zeros = {"starts_at_zero": 1}  # r0 is never written, and a program may read others before it writes them
        m.submodules.registers = registers = memory.Memory(shape=layout, depth=REGISTERS, init=[], attrs=zeros)
        # The n-th register of an instruction stands in one place in all of them.
        most, ports = max(OPS.values(), key=lambda op: len(op.registers)), []
        moves = [OPS[name].relative.index(field) for name in COMMANDS for field in moved(name, self.config)]
        read = 1 + max(moves, default=0)  # scalar instructions read the first
        for field in most.registers[:read]:
            reader = registers.read_port(domain="comb")
            m.d.comb += reader.addr.eq(self.views[most.name][field])
            ports.append(reader)
        kept = [Signal(self.config.register_bits, name=f"value_{n}", reset_less=True) for n in range(1, len(ports))]

        waits, clear = Signal(name="register_waits"), Signal(name="clear_waits")
        to = Signal(range(REGISTERS), name="write_to", reset_less=True)
        writer = registers.write_port()
        m.d.comb += [
            writer.en.eq(clear | program.fetch & waits & (to != 0)),
            writer.addr.eq(Mux(clear, CLEAR_REGISTER, to)),
            writer.data.value.eq(Mux(clear, self.i_clear, add.result)),
            writer.data.not_zero.eq(Mux(clear, self.i_clear, ~add.is_zero)),
        ]

        def write(register, augend, addend, wrap=0):
            """In the next fetch r[register] becomes augend + addend, less the limit if ``wrap`` and that is reached."""
            m.d.sync += [waits.eq(1), to.eq(register)]
            add.set_up(augend, addend, wrap)

        return SimpleNamespace(
            values=[port.data.value for port in ports],
            not_zero=ports[0].data.not_zero,
            kept=[add.augend, *kept],
            waits=waits,
            clear=clear,
            write=write,
        )

    def _loops(self, m, program, add):
        """The stack of open loops, in LUT memory: turns left, whether that is one, and first instruction."""
        layout = data.StructLayout({"left": self.config.register_bits, "last": 1, "start": program.pc.shape()})
        m.submodules.loops = loops = memory.Memory(shape=layout, depth=LOOP_DEPTH, init=[])
        writer = loops.write_port()
        reader = loops.read_port(domain="comb")
        waits, depth = Signal(name="loop_waits"), Signal(range(LOOP_DEPTH + 1), name="loop_depth")
        slot = Signal(range(LOOP_DEPTH), name="loop_slot", reset_less=True)
        m.d.comb += [
            reader.addr.eq(depth - 1),
            writer.en.eq(program.fetch & waits),
            writer.addr.eq(slot),
            writer.data.left.eq(add.total),
            writer.data.last.eq(add.total == 1),
            writer.data.start.eq(program.pc),
        ]

        def write(at, augend, addend):
            """In the next fetch that loop has augend + addend turns left and begins there, if it is still open."""
            m.d.sync += [waits.eq(1), slot.eq(at)]
            add.set_up(augend, addend)

        return SimpleNamespace(depth=depth, top=reader.data, waits=waits, write=write)

    def _commands(self, m, kept):
        """The command of each unit, as it stands in the word with the kept registers added; which one is offered."""
        offered = Signal(len(UNITS))
        for index, (unit, name) in enumerate(zip(UNITS, COMMANDS, strict=True)):
            command, view = getattr(self, f"o_{unit}"), self.views[name]
            adds = dict(zip(OPS[name].relative, kept, strict=False))
            adds = {field: value for field, value in adds.items() if field in moved(name, self.config)}
            m.d.comb += command.valid.eq(offered[index])
            for field in command.payload.shape().members:
                m.d.comb += command.payload[field].eq(view[field] + adds.get(field, 0))
        accepted = Cat(getattr(self, f"o_{unit}").ready for unit in UNITS)
        return SimpleNamespace(offered=offered, accepted=accepted)


def data_view(word: Value, op: str) -> data.View:
    """The program word seen as an instruction of one opcode."""
    return instruction_layout(op)(word)
