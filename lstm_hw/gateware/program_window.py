"""Program window: collects the words of an instruction and writes it to the program memory."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..errors import ConfigError
from ..machine.registers import ADDRESS_BITS, PROGRAM, WORD_BYTES
from .register_file import merge


class ProgramWindow(wiring.Component):
    """Decodes word writes to :data:`lstm_hw.machine.registers.PROGRAM`.

    The words of an instruction are staged; the write of the last one with any byte enable commits the instruction.
    The staging register is shared by all instructions and keeps its words, so a driver writes all words of one
    instruction before those of the next.

    Parameters
    ----------
    program_length : int
        Instructions that the program memory holds, at most ``PROGRAM.entries``; other instructions do not exist.
    instruction_bits : int
        Width of an instruction; it must need all of the ``PROGRAM.words`` words. Bits above it are dropped.

    Members
    -------
    i_write, i_address, i_data, i_mask : In
        Write strobe (1), word address, data (32) and byte enables (4).
    i_lock : In(1)
        Refuse writes.
    o_here, o_ok : Out(1)
        The write is to an existing word, and not refused either; valid in the cycle of ``i_write``.
    o_program_write : Out(1)
        Pulse: write ``o_program_data`` to ``o_program_address``.
    o_program_address : Out(range(program_length))
        Index of the instruction, valid with ``o_program_write``.
    o_program_data : Out(instruction_bits)
        The instruction, word 0 in the low bits; valid with ``o_program_write``.

    Timing
    ------
    ``o_program_write`` comes one cycle after the strobe of the last word.

    Raises
    ------
    ConfigError
        A parameter is out of range.
    """

    def __init__(self, program_length: int, instruction_bits: int):
        self.check(program_length, instruction_bits)
        self.program_length = program_length
        super().__init__(
            {
                "i_write": In(1),
                "i_address": In(ADDRESS_BITS - 2),
                "i_data": In(32),
                "i_mask": In(4),
                "i_lock": In(1),
                "o_here": Out(1),
                "o_ok": Out(1),
                "o_program_write": Out(1),
                "o_program_address": Out(range(program_length)),
                "o_program_data": Out(instruction_bits),
            }
        )

    @staticmethod
    def check(program_length: int, instruction_bits: int):
        """Raise the errors of the constructor."""
        if not 1 <= program_length <= PROGRAM.entries:
            raise ConfigError("program_length", program_length, f"must be from 1 to {PROGRAM.entries}")
        most = 32 * PROGRAM.words
        if not most - 32 < instruction_bits <= most:
            raise ConfigError("instruction_bits", instruction_bits, f"must be from {most - 31} to {most}")

    def elaborate(self, platform) -> Module:
        m = Module()
        # A word address is the window, the instruction, the word in it, from high to low.
        word_bits = exact_log2(PROGRAM.stride // WORD_BYTES)
        entry_bits = exact_log2(PROGRAM.entries)
        word = self.i_address[:word_bits]
        entry = self.i_address[word_bits : word_bits + entry_bits]
        window = self.i_address[word_bits + entry_bits :]
        here = (window == PROGRAM.address // PROGRAM.size) & (entry < self.program_length) & (word < PROGRAM.words)
        m.d.comb += [self.o_here.eq(here), self.o_ok.eq(self.o_here & ~self.i_lock)]

        write = self.i_write & self.o_ok
        with m.Switch(word):
            for index in range(PROGRAM.words):
                staged = self.o_program_data[32 * index : 32 * (index + 1)]
                with m.Case(index), m.If(write):
                    m.d.sync += staged.eq(merge(self.i_mask, staged, self.i_data))
        m.d.sync += self.o_program_write.eq(write & (word == PROGRAM.words - 1) & self.i_mask.any())
        with m.If(write):
            m.d.sync += self.o_program_address.eq(entry)
        return m
