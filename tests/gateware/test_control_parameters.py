"""Parameters of the control port: configuration words, lengths."""

import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.gateware.control import Control
from lstm_hw.machine.registers import (
    PROGRAM,
)
from tests.gateware.control_bench import LENGTH, TB, WORDS, address

# A component whose parameters are refused is never elaborated.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ROWS": None}, r"configuration words: ROWS; must each be given, and no other"),
        ({"COLUMNS": 1}, r"configuration words: COLUMNS; must each be given, and no other"),
        ({"ROWS": -1}, r"configuration word ROWS: -1; must be an integer from 0 to 2\*\*32 - 1"),
        ({"ROWS": 1 << 32}, r"configuration word ROWS: 4294967296; must be"),
        ({"ROWS": 1.5}, r"configuration word ROWS: 1.5; must be"),
        ({"PROGRAM_LENGTH": 8}, r"configuration word PROGRAM_LENGTH: 8; must be program_length = 100"),
    ],
)
def test_configuration_words_are_checked(change, message):
    words = {name: value for name, value in (WORDS | change).items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        Control(words, LENGTH)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"program_length": 0}, r"program_length: 0; must be from 1 to 512"),
        ({"program_length": 513}, r"program_length: 513; must be from 1 to 512"),
        ({"instruction_bits": 128}, r"instruction_bits: 128; must be from 129 to 160"),
        ({"instruction_bits": 161}, r"instruction_bits: 161; must be from 129 to 160"),
    ],
)
def test_parameters_are_checked(parameters, message):
    words = {name: value for name, value in WORDS.items() if name != "PROGRAM_LENGTH"}
    with pytest.raises(ConfigError, match=message):
        Control(words, **({"program_length": LENGTH} | parameters))


@pytest.mark.parametrize("program_length", [1, 2, 256, 512])
def test_other_program_lengths(program_length):
    words = WORDS | {"PROGRAM_LENGTH": program_length}
    tb = TB()
    tb.dut = Control(words, program_length, bus_errors=True)
    tb.bus = tb.dut.bus

    async def test(ctx):
        await tb.expect(ctx, address("PROGRAM_LENGTH"), program_length)
        await tb.put(ctx, "ENTRY", program_length - 1)
        await tb.expect(ctx, address("ENTRY"), program_length - 1)
        await tb.put(ctx, "ENTRY", program_length, SLVERR)
        assert await tb.write(ctx, PROGRAM.word_address(program_length - 1, 4), 1) == OKAY
        if program_length < PROGRAM.entries:
            assert await tb.write(ctx, PROGRAM.word_address(program_length, 4), 1) == SLVERR
        await ctx.tick()
        assert tb.program == {program_length - 1: 1 << 128}

    tb.run(test)
