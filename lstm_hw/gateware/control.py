"""Control port: the register map on an AXI4-Lite bus."""

from collections.abc import Mapping

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..errors import ConfigError
from ..machine.isa import INSTRUCTION_BITS
from ..machine.registers import (
    ADDRESS_BITS,
    CLIPPED_PLACES,
    CODE_BITS,
    CONFIG_WORDS,
    COUNTER_BITS,
    COUNTERS,
    WORD_BYTES,
    clipped_register,
    lookup,
    register_map,
    weights_registers,
)
from .axi import Axi4Lite
from .axi_lite_slave import AxiLiteSlave
from .program_window import ProgramWindow
from .refused_write import RefusedWrite
from .register_file import RegisterFile, layout
from .run_control import RunControl
from .start_check import StartCheck


class Control(wiring.Component):
    """Everything that software sees of the engine: arguments, run control, status, counters, program memory.

    Composed of :class:`AxiLiteSlave`, :class:`RegisterFile`, :class:`RunControl` (which tells what start, done,
    auto restart and interrupts mean exactly), :class:`StartCheck`, :class:`ProgramWindow` and :class:`RefusedWrite`,
    which keeps the first write that was refused. The map is
    :func:`lstm_hw.machine.registers.register_map`. While ``STATUS.busy`` reads 1, arguments and program cannot be
    changed.

    Parameters
    ----------
    config_words : dict from str to int
        Values of CONTENT_ID and of every register in :data:`lstm_hw.machine.registers.CONFIG_WORDS`.
        PROGRAM_LENGTH may be left out.
    program_length : int
        Instructions that the program memory holds, at most 512.
    instruction_bits : int
        Width of an instruction, 129 to 160.
    ports, address_bits : int
        Weight ports, 1, 2 or 4, and the width of their addresses, 32 to 64.
    count_clipped : bool
        Whether the engine counts values beyond their format.
    bus_errors : bool
        Whether a refused write is answered with SLVERR.
    steps_bits : int
        Bits of the most time steps that a run may have.

    Members
    -------
    bus : In(Axi4Lite(13))
        The control port; see :class:`AxiLiteSlave`.
    o_start : Out(1)
        One-cycle pulse: start a run with the arguments.
    o_abort : Out(1)
        Give the run up; high until it is over.
    i_busy : In(1)
        The engine runs or drains; must not depend combinationally on the outputs other than ``o_start``.
    i_done : In(1)
        One-cycle pulse, once a run, not before the cycle of ``o_start``. CTRL.done follows when ``i_busy`` is low.
    o_steps : Out(32)
        Time steps of the run.
    o_clear, o_sequence, o_ignore_tlast, o_one_packet : Out(1)
        h and c start from zero; tlast of x ends the sequence of the run, or says nothing; outputs of the run are one
        packet.
    o_entry : Out(range(program_length))
        Instruction that the run starts at.
    o_weights : list of Out(64)
        Byte address of the weight image of each port.
    o_timeout, o_timeout_streams : Out(32)
        Watchdogs of the memory ports and of the streams in cycles; 0 is off. All arguments are constant from
        ``o_start`` until the run ends.
    i_error : In(1)
        Pulse: the run met an error; ``i_done`` must still be given, in the same cycle or later.
    i_error_code : In(4)
        An :class:`lstm_hw.machine.registers.ErrorCode` other than NONE, valid with ``i_error``.
    i_error_address, i_error_port : In(64), In(2)
        Address that belongs to it and the weight port that it is of, valid with ``i_error``.
    i_count_<name> : In(COUNTER_BITS)
        Values of the counters, one for each name in :data:`lstm_hw.machine.registers.COUNTERS`, in lower case.
    i_clipped_<place>, i_clipped_flag_<place> : In(32), In(1)
        With ``count_clipped``, for each place in :data:`lstm_hw.machine.registers.CLIPPED_PLACES`: values of the run
        beyond their format, and whether there was one.
    o_program_write, o_program_address, o_program_data : Out
        Write port of the program memory; see :class:`ProgramWindow`. It is quiet from ``o_start`` until the run ends.
    o_interrupt : Out(1)
        Level, high while GIE and any bit of ISR are set.

    Timing
    ------
    A write takes effect 1 cycle after the later one of its address and data handshakes, and ``bvalid`` rises 1 cycle
    after that; a read samples 1 cycle after its address handshake, and ``rvalid`` rises 1 cycle after that; each can
    be repeated every 3 cycles. ``o_start`` comes 3 cycles after the handshake of the write (2 after it takes effect),
    ``o_program_write`` 2 cycles.

    Raises
    ------
    ConfigError
        A configuration word is missing, unknown or not an integer of 32 bits, PROGRAM_LENGTH is not
        `program_length`, or a parameter is out of range.
    """

    def __init__(
        self,
        config_words: Mapping[str, int],
        program_length: int,
        instruction_bits: int = INSTRUCTION_BITS,
        ports: int = 1,
        address_bits: int = 64,
        count_clipped: bool = False,
        bus_errors: bool = False,
        steps_bits: int = 32,
    ):
        self.bus_errors = bus_errors
        self.places = tuple(CLIPPED_PLACES) if count_clipped else ()
        self.config_words = self._checked({"PROGRAM_LENGTH": program_length} | config_words)
        if self.config_words["PROGRAM_LENGTH"] != program_length:
            raise ConfigError(
                "configuration word PROGRAM_LENGTH",
                self.config_words["PROGRAM_LENGTH"],
                f"must be program_length = {program_length}",
            )
        ProgramWindow.check(program_length, instruction_bits)
        self.program_length, self.instruction_bits, self.ports = program_length, instruction_bits, ports
        self.check = StartCheck(ports, address_bits, self.config_words["AXI_DATA_BITS"], steps_bits)
        super().__init__(
            {
                "bus": In(Axi4Lite(ADDRESS_BITS)),
                "o_start": Out(1),
                "o_abort": Out(1),
                "i_busy": In(1),
                "i_done": In(1),
                "o_steps": Out(32),
                "o_clear": Out(1),
                "o_sequence": Out(1),
                "o_ignore_tlast": Out(1),
                "o_one_packet": Out(1),
                "o_entry": Out(range(program_length)),
                "o_weights": Out(64).array(ports),
                "o_timeout": Out(32),
                "o_timeout_streams": Out(32),
                "i_error": In(1),
                "i_error_code": In(CODE_BITS),
                "i_error_address": In(64),
                "i_error_port": In(2),
                **{f"i_count_{name.lower()}": In(COUNTER_BITS) for name in COUNTERS},
                **{f"i_clipped_{place}": In(32) for place in self.places},
                **{f"i_clipped_flag_{place}": In(1) for place in self.places},
                "o_program_write": Out(1),
                "o_program_address": Out(range(program_length)),
                "o_program_data": Out(instruction_bits),
                "o_interrupt": Out(1),
            }
        )

    @staticmethod
    def _checked(words):
        expected = {"CONTENT_ID", *CONFIG_WORDS}
        if words.keys() != expected:
            raise ConfigError(
                "configuration words", ", ".join(sorted(words.keys() ^ expected)), "must each be given, and no other"
            )
        for name, value in words.items():
            if not isinstance(value, int) or not 0 <= value < 1 << 32:
                raise ConfigError(f"configuration word {name}", repr(value), "must be an integer from 0 to 2**32 - 1")
        return words

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave(ADDRESS_BITS)
        m.submodules.registers = registers = RegisterFile(
            register_map(self.ports, bool(self.places)),
            limits={"ENTRY": self.program_length},
            constants={name: lookup(name).reset for name in ("ID", "VERSION")} | self.config_words,
        )
        m.submodules.run = run = RunControl()
        m.submodules.program = program = ProgramWindow(self.program_length, self.instruction_bits)
        m.submodules.refused = refused = RefusedWrite()
        wiring.connect(m, wiring.flipped(self.bus), slave.bus)
        self._connect_bus(m, slave, registers, program, refused, run)
        self._connect_run(m, slave, registers, run)
        self._connect_check(m, slave, registers, run, program)
        self._connect_values(m, registers)
        m.d.comb += [
            self.o_program_write.eq(program.o_program_write),
            self.o_program_address.eq(program.o_program_address),
            self.o_program_data.eq(program.o_program_data),
        ]
        return m

    def _connect_bus(self, m, slave, registers, program, refused, run):
        m.d.comb += [
            registers.i_write.eq(slave.o_write),
            registers.i_write_address.eq(slave.o_write_address),
            registers.i_write_data.eq(slave.o_write_data),
            registers.i_write_mask.eq(slave.o_write_mask),
            program.i_write.eq(slave.o_write),
            program.i_address.eq(slave.o_write_address),
            program.i_data.eq(slave.o_write_data),
            program.i_mask.eq(slave.o_write_mask),
            refused.i_write.eq(slave.o_write),
            refused.i_address.eq(slave.o_write_address),
            refused.i_here.eq(registers.o_write_here | program.o_here),
            refused.i_ok.eq(registers.o_write_ok & ~run.o_refused | program.o_ok),
            refused.i_lock.eq(run.o_lock),
            refused.i_clear.eq(registers.o_refused_write & slave.o_write_data[lookup("REFUSED").field("write").lsb]),
            registers.i_refused.eq(refused.o_refused),
            slave.i_write_ok.eq(refused.i_ok if self.bus_errors else 1),
            registers.i_read.eq(slave.o_read),
            registers.i_read_address.eq(slave.o_read_address),
            slave.i_read_data.eq(registers.o_read_data),
            registers.i_lock.eq(run.o_lock),
            program.i_lock.eq(run.o_lock),
        ]

    def _connect_run(self, m, slave, registers, run):
        ctrl, isr = (
            data.View(layout(register), slave.o_write_data[: register.width])
            for register in map(lookup, ("CTRL", "ISR"))
        )
        if self.ports > 1:
            m.d.comb += registers.i_error_port.eq(run.o_error_port)
        m.d.comb += [
            run.i_ctrl_write.eq(registers.o_ctrl_write),
            run.i_isr_write.eq(registers.o_isr_write),
            run.i_start.eq(ctrl.start),
            run.i_abort.eq(ctrl.abort),
            run.i_clear_done.eq(ctrl.done),
            run.i_auto_restart.eq(ctrl.auto_restart),
            run.i_toggle.eq(isr),
            run.i_gie.eq(registers.o_gie.enable),
            run.i_ier.eq(registers.o_ier),
            registers.i_ctrl.eq(run.o_ctrl),
            registers.i_isr.eq(run.o_isr),
            registers.i_status.eq(run.o_status),
            Cat(registers.i_error_address_lo, registers.i_error_address_hi).eq(run.o_error_address),
            self.o_start.eq(run.o_start),
            self.o_abort.eq(run.o_abort),
            run.i_busy.eq(self.i_busy),
            run.i_done.eq(self.i_done),
            run.i_error.eq(self.i_error),
            run.i_error_code.eq(self.i_error_code),
            run.i_error_address.eq(self.i_error_address),
            run.i_error_port.eq(self.i_error_port),
            self.o_interrupt.eq(run.o_interrupt),
        ]

    def _connect_check(self, m, slave, registers, run, program):
        """Whether the run can begin: what the arguments say, and what was loaded from where."""
        m.submodules.check = check = self.check
        if self.ports > 1:
            m.d.comb += run.i_refusal_port.eq(check.o_port)
        places = [lookup(name).address // WORD_BYTES for port in range(self.ports) for name in weights_registers(port)]
        to_weights = slave.o_write & ~run.o_lock & Cat(slave.o_write_address == place for place in places).any()
        unload = Signal()
        loaded_before = Signal()
        m.d.sync += loaded_before.eq(registers.o_entry.loads)
        m.d.comb += [
            unload.eq(program.o_program_write | to_weights),
            registers.i_image_id_clear.eq(unload | registers.o_entry.loads & ~loaded_before),
            check.i_steps.eq(self.o_steps),
            *(given.eq(address) for given, address in zip(check.i_weights, self.o_weights, strict=True)),
            check.i_loads.eq(registers.o_entry.loads),
            check.i_loaded.eq(run.o_status.loaded),
            run.i_refusal.eq(check.o_code),
            run.i_loads.eq(registers.o_entry.loads),
            run.i_unload.eq(unload),
        ]

    def _connect_values(self, m, registers):
        m.d.comb += [
            self.o_steps.eq(registers.o_steps),
            self.o_clear.eq(registers.o_flags.clear),
            self.o_sequence.eq(registers.o_flags.sequence),
            self.o_ignore_tlast.eq(registers.o_flags.ignore_tlast),
            self.o_one_packet.eq(registers.o_flags.one_packet),
            self.o_entry.eq(registers.o_entry.address),
            self.o_timeout.eq(registers.o_timeout),
            self.o_timeout_streams.eq(registers.o_timeout_streams),
        ]
        for port, address in enumerate(self.o_weights):
            m.d.comb += address.eq(Cat(getattr(registers, f"o_{name.lower()}") for name in weights_registers(port)))
        for name in COUNTERS:
            low, high = (getattr(registers, f"i_{name.lower()}_{half}") for half in ("lo", "hi"))
            m.d.comb += Cat(low, high).eq(getattr(self, f"i_count_{name.lower()}"))
        if self.places:
            m.d.comb += registers.i_clipped.counted.eq(1)
        for place in self.places:
            count = getattr(registers, f"i_{clipped_register(place).lower()}")
            m.d.comb += [
                count.eq(getattr(self, f"i_clipped_{place}")),
                registers.i_clipped[place].eq(getattr(self, f"i_clipped_flag_{place}")),
            ]
