"""The register file on maps of its own: what it offers for each kind of register, and what it refuses."""

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


def test_ports_follow_the_map():
    names = set(RegisterFile([PLAIN, MIXED, VALUE, CLEARED]).signature.members)
    assert {"o_plain", "i_mixed", "o_mixed_write", "i_value", "o_cleared", "i_cleared_clear"} <= names
    assert not names & {"i_plain", "o_plain_write", "o_mixed", "o_value_write", "i_plain_clear", "i_cleared"}


def test_gaps_between_fields_are_not_stored():
    dut = RegisterFile([PLAIN])

    async def test(ctx):
        ctx.set(dut.i_read_address, PLAIN.address // 4)
        assert ctx.get(dut.o_read_data) == PLAIN.reset == 5 << 1 | 33 << 12
        ctx.set(dut.i_write_address, PLAIN.address // 4)
        ctx.set(dut.i_write_data, 0xFFFF_FFFF)
        for mask, expected in ((0b0100, 5 << 1 | 0x31 << 12), (0b0001, 7 << 1 | 0x31 << 12), (15, PLAIN.mask)):
            ctx.set(dut.i_write_mask, mask)
            ctx.set(dut.i_write, 1)
            assert ctx.get(dut.o_write_ok)
            await ctx.tick()
            ctx.set(dut.i_write, 0)
            assert ctx.get(dut.o_read_data) == expected, bin(mask)
        assert (ctx.get(dut.o_plain.low), ctx.get(dut.o_plain.high)) == (7, 63)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(test)
    simulator.run()


def test_a_clear_wins_over_a_write():
    dut = RegisterFile([PLAIN, CLEARED])

    async def test(ctx):
        ctx.set(dut.i_read_address, CLEARED.address // 4)
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
            assert ctx.get(dut.o_read_data) == ctx.get(dut.o_cleared.value) == expected
        ctx.set(dut.i_read_address, PLAIN.address // 4)
        assert ctx.get(dut.o_read_data) == PLAIN.reset

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(test)
    simulator.run()


def test_errors():
    with pytest.raises(ConfigError, match=r"register file: limit of 'MIXED'; must be of a stored register"):
        RegisterFile([PLAIN, MIXED], limits={"MIXED": 3})
    wide = Register("WIDE", 0x20, Access.RW, (Field("toggle", 7, 2, Access.W1T, ""),), "")
    with pytest.raises(ConfigError, match=r"register file: writable field of WIDE above bit 7; must be in byte 0"):
        RegisterFile([wide])
