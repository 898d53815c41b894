"""The register file on maps of its own: what it offers for each kind of register, and what it refuses."""

import random

import pytest
from amaranth.sim import Simulator

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.register_file import RegisterFile
from lstm_hw.machine.registers import Access, Field, Register

# A component that is only looked at is never elaborated.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

PLAIN = Register(
    "PLAIN",
    0x10,
    Access.RW,
    (Field("low", 1, 3, Access.RW, "", 5), Field("high", 12, 6, Access.RW, "", 33)),
    "stored, with gaps",
)
MIXED = Register(
    "MIXED",
    0x14,
    Access.RW,
    (Field("toggle", 0, 2, Access.W1T, ""), Field("seen", 9, 1, Access.RO, "")),
    "lives outside",
)
CLEARED = Register("CLEARED", 0x1C, Access.RW, (Field("value", 0, 32, Access.RW, ""),), "", cleared=True)
VALUE = Register("VALUE", 0x18, Access.RO, (Field("value", 0, 32, Access.RO, ""),), "lives outside")


def run(dut, test):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(test)
    simulator.run()


async def read(ctx, dut, address):
    """What a read answers."""
    ctx.set(dut.i_read_address, address // 4)
    ctx.set(dut.i_read, 1)
    await ctx.tick()
    ctx.set(dut.i_read, 0)
    return ctx.get(dut.o_read_data)


def test_ports_follow_the_map():
    names = set(RegisterFile([PLAIN, MIXED, VALUE, CLEARED]).signature.members)
    assert {"o_plain", "i_mixed", "o_mixed_write", "i_value", "o_cleared", "i_cleared_clear"} <= names
    assert not names & {"i_plain", "o_plain_write", "o_mixed", "o_value_write", "i_plain_clear", "i_cleared"}


def test_gaps_between_fields_are_not_stored():
    dut = RegisterFile([PLAIN])

    async def test(ctx):
        assert await read(ctx, dut, PLAIN.address) == PLAIN.reset == 5 << 1 | 33 << 12
        ctx.set(dut.i_write_address, PLAIN.address // 4)
        ctx.set(dut.i_write_data, 0xFFFF_FFFF)
        for mask, expected in ((0b0100, 5 << 1 | 0x31 << 12), (0b0001, 7 << 1 | 0x31 << 12), (15, PLAIN.mask)):
            ctx.set(dut.i_write_mask, mask)
            ctx.set(dut.i_write, 1)
            assert ctx.get(dut.o_write_ok)
            await ctx.tick()
            ctx.set(dut.i_write, 0)
            assert await read(ctx, dut, PLAIN.address) == expected, bin(mask)
        assert (ctx.get(dut.o_plain.low), ctx.get(dut.o_plain.high)) == (7, 63)

    run(dut, test)


def test_a_clear_wins_over_a_write():
    dut = RegisterFile([PLAIN, CLEARED])

    async def test(ctx):
        ctx.set(dut.i_write_address, CLEARED.address // 4)
        ctx.set(dut.i_write_data, 0x89AB_CDEF)
        for write, mask, clear, expected in (
            (1, 15, 0, 0x89AB_CDEF),
            (0, 15, 1, 0),
            (1, 5, 0, 0x00AB_00EF),
            (1, 15, 1, 0),
            (1, 10, 0, 0x8900_CD00),
        ):
            ctx.set(dut.i_write, write)
            ctx.set(dut.i_write_mask, mask)
            ctx.set(dut.i_cleared_clear, clear)
            await ctx.tick()
            ctx.set(dut.i_write, 0)
            ctx.set(dut.i_cleared_clear, 0)
            assert await read(ctx, dut, CLEARED.address) == ctx.get(dut.o_cleared.value) == expected
        assert await read(ctx, dut, PLAIN.address) == PLAIN.reset

    run(dut, test)


def test_every_address_reads_its_own_word():
    """Words of many widths, some constant, among addresses that read zero; an answer stays until the next read."""
    rng = random.Random(3)
    places = sorted(rng.sample(range(96), 40))
    registers = [
        Register(f"R{place}", 4 * place, Access.RO, (Field("value", 0, rng.choice((1, 9, 32)), Access.RO, ""),), "")
        for place in places
    ]
    values = {register.name: rng.getrandbits(register.width) | 1 for register in registers}
    constants = {name: values[name] for name in list(values)[:12]}
    dut = RegisterFile(registers, constants=constants)

    async def test(ctx):
        for name in values.keys() - constants.keys():
            ctx.set(getattr(dut, f"i_{name.lower()}").value, values[name])
        for place in [*rng.sample(range(128), 128), 1 << 10, 1 << 12 | places[0]]:
            assert await read(ctx, dut, 4 * place) == values.get(f"R{place}", 0), place
        *_, last = values
        assert await read(ctx, dut, 4 * places[-1]) == values[last]
        ctx.set(getattr(dut, f"i_{last.lower()}").value, 0)
        ctx.set(dut.i_read_address, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.o_read_data) == values[last]

    run(dut, test)


@pytest.mark.parametrize("limit", [2, 6, 8])
def test_a_limit_holds_for_every_bit_of_a_word_but_other_fields(limit):
    fields = Field("low", 0, 3, Access.RW, ""), Field("flag", 16, 1, Access.RW, "")
    dut = RegisterFile([Register("LIMITED", 0x20, Access.RW, fields, "")], limits={"LIMITED": limit})

    async def test(ctx):
        ctx.set(dut.i_write_address, 0x20 // 4)
        for number in range(10):
            for high in (0, 1 << 16, 1 << 12, 1 << 30):
                for mask in (15, 1, 12):
                    word = sum(0xFF << 8 * n for n in range(4) if mask >> n & 1) & (high | number)
                    ctx.set(dut.i_write_data, high | number)
                    ctx.set(dut.i_write_mask, mask)
                    assert ctx.get(dut.o_write_ok) == (word & ~(1 << 16) < limit), (number, high, mask)

    run(dut, test)


def test_errors():
    with pytest.raises(ConfigError, match=r"register file: limit of 'MIXED'; must be of a stored register"):
        RegisterFile([PLAIN, MIXED], limits={"MIXED": 3})
    wide = Register("WIDE", 0x20, Access.RW, (Field("toggle", 7, 2, Access.W1T, ""),), "")
    with pytest.raises(ConfigError, match=r"register file: writable field of WIDE above bit 7; must be in byte 0"):
        RegisterFile([wide])
