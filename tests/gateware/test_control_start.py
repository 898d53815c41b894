"""Runs that cannot begin, and what tells whether the weights are on the chip."""

import pytest

from lstm_hw.machine.registers import PROGRAM, ErrorCode, weights_registers
from tests.gateware.control_bench import (
    CTRL,
    DONE,
    IDLE,
    INTERRUPT,
    ISR,
    ISR_DONE,
    ISR_ERROR,
    LENGTH,
    LOADED,
    LOADS,
    READY,
    START,
    TB,
    address,
    ticks,
)


async def refused(tb, ctx, code, port=0):
    """A start that ends at once with a code, without a run."""
    starts = len(tb.starts)
    loaded = (await tb.get(ctx, "STATUS")) & LOADED
    await tb.put(ctx, "CTRL", START)
    await ticks(ctx, 4)
    await tb.expect(ctx, CTRL, DONE | IDLE | READY)
    assert await tb.get(ctx, "STATUS") == code | loaded
    await tb.expect(ctx, address("ERROR_ADDRESS_LO"), 0)
    if tb.dut.ports > 1:
        await tb.expect(ctx, address("ERROR_PORT"), port)
    assert len(tb.starts) == starts


async def runs(tb, ctx, code=ErrorCode.NONE):
    starts = len(tb.starts)
    await tb.put(ctx, "CTRL", START)
    await tb.until_done(ctx)
    assert (await tb.get(ctx, "STATUS")) & 15 == code and len(tb.starts) == starts + 1


@pytest.mark.parametrize("bits", [32, 12])
def test_no_steps_or_too_many(bits):
    tb = TB(steps_bits=bits)

    async def test(ctx):
        for loads in (LOADS, 0):
            await tb.put(ctx, "ENTRY", loads)
            for steps in (0, 1 << bits, 1 << 31) if bits < 32 else (0,):
                await tb.put(ctx, "STEPS", steps)
                await refused(tb, ctx, ErrorCode.STEPS)
            for steps in (1, 1 << (bits - 1), (1 << bits) - 1):
                await tb.put(ctx, "STEPS", steps)
                await runs(tb, ctx)

    tb.run(test)


@pytest.mark.parametrize("ports, address_bits", [(1, 40), (2, 32), (4, 64)])
def test_addresses_that_a_port_cannot_ask_for(ports, address_bits):
    """Every bit below a beat and beyond the port, of every port."""
    tb = TB(ports=ports, address_bits=address_bits)

    async def test(ctx):
        for port in range(ports):
            for bit in (*range(4), 4, address_bits - 1, *range(address_bits, 64)):
                for half in range(2):
                    word = 1 << bit >> 32 * half & 0xFFFF_FFFF
                    await tb.put(ctx, f"WEIGHTS{port or ''}_{('LO', 'HI')[half]}", word)
                if 4 <= bit < address_bits:
                    await runs(tb, ctx)
                else:
                    await refused(tb, ctx, ErrorCode.ADDRESS, port)
            for half in ("LO", "HI"):
                await tb.put(ctx, f"WEIGHTS{port or ''}_{half}", 0)

    tb.run(test)


def test_weights_are_there_after_a_load_without_an_error():
    """A run needs them; a load that fails, a write of the program or a weight address, and a reset take them away."""
    tb = TB()

    async def load(ctx, code=ErrorCode.NONE):
        await tb.put(ctx, "ENTRY", LOADS | 7)
        await runs(tb, ctx, code)
        await tb.put(ctx, "ENTRY", 3)

    async def test(ctx):
        await tb.put(ctx, "ENTRY", 3)
        await refused(tb, ctx, ErrorCode.UNLOADED)
        await load(ctx)
        for code in (ErrorCode.NONE, ErrorCode.TLAST):  # of a run that loads nothing: they stay
            tb.errors = {2: (code, 0)} if code else {}
            await runs(tb, ctx, code)
        for cycle in (0, 3, tb.run_cycles - 1):
            tb.errors = {cycle: (ErrorCode.SLVERR, 0)}
            await load(ctx, ErrorCode.SLVERR)
            await refused(tb, ctx, ErrorCode.UNLOADED)
        tb.errors = {}
        await load(ctx)
        await tb.put(ctx, "ENTRY", LOADS)
        await tb.put(ctx, "STEPS", 0)
        await refused(tb, ctx, ErrorCode.STEPS)  # it has not begun: they stay
        await tb.put(ctx, "STEPS", 2)
        await tb.put(ctx, "ENTRY", 3)
        await runs(tb, ctx)
        for name in ("WEIGHTS_LO", "WEIGHTS_HI"):
            await tb.put(ctx, name, 0)
            await refused(tb, ctx, ErrorCode.UNLOADED)
            await load(ctx)
        for word in range(PROGRAM.words):
            await tb.write(ctx, PROGRAM.word_address(2, word), 0)
        await ticks(ctx, 2)
        await refused(tb, ctx, ErrorCode.UNLOADED)
        await load(ctx)
        tb.run_cycles = 100
        await tb.put(ctx, "ENTRY", LOADS)
        await tb.put(ctx, "CTRL", START)
        assert not (await tb.get(ctx, "STATUS")) & LOADED, "there while they are loaded"
        await tb.put(ctx, "WEIGHTS_LO", 0, response=2)
        await tb.until_done(ctx)
        assert (await tb.get(ctx, "STATUS")) & LOADED
        ctx.set(tb.domain.rst, 1)
        await ctx.tick()
        ctx.set(tb.domain.rst, 0)
        await tb.put(ctx, "STEPS", 1)
        await refused(tb, ctx, ErrorCode.UNLOADED)

    tb.run(test)


def test_refusal_is_an_event():
    """It raises the interrupts of done and error, and does not restart."""
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "IER", ISR_DONE | ISR_ERROR)
        await tb.put(ctx, "GIE", 1)
        await tb.put(ctx, "STEPS", 0)
        await tb.put(ctx, "CTRL", START | 0x80)
        await ticks(ctx, 4)
        await tb.expect(ctx, ISR, ISR_DONE | ISR_ERROR)
        await tb.expect(ctx, CTRL, DONE | IDLE | READY | INTERRUPT | 0x80)
        await ticks(ctx, 20)
        assert not tb.starts

    tb.run(test)


@pytest.mark.parametrize("ports", [1, 2])
def test_who_has_loaded(ports):
    """IMAGE_ID is kept over runs, also such that load again; what changes the next run clears it."""
    tb = TB(ports=ports)

    async def signed(ctx, entry=3):
        await tb.put(ctx, "ENTRY", entry)
        await tb.put(ctx, "IMAGE_ID", 0x1234_5678)
        await tb.expect(ctx, address("IMAGE_ID"), 0x1234_5678)

    async def test(ctx):
        await tb.expect(ctx, address("IMAGE_ID"), 0)
        await tb.put(ctx, "STEPS", 1)
        await tb.put(ctx, "ENTRY", LOADS)
        await runs(tb, ctx)
        for entry in (3, LOADS | 3):
            await signed(ctx, entry)
            for _ in range(3):
                await tb.put(ctx, "ENTRY", entry)
                await tb.put(ctx, "STEPS", 2)
                await tb.put(ctx, "FLAGS", 1)
                await runs(tb, ctx)
            await tb.expect(ctx, address("IMAGE_ID"), 0x1234_5678)
        tb.run_cycles = 100
        await tb.put(ctx, "CTRL", START)
        for name in ("IMAGE_ID", "WEIGHTS_LO", "ENTRY"):  # refused: nothing is changed
            await tb.put(ctx, name, 0, response=2)
        await tb.until_done(ctx)
        await tb.expect(ctx, address("IMAGE_ID"), 0x1234_5678)
        await signed(ctx)
        for entry in (LENGTH, LOADS | LENGTH):
            await tb.put(ctx, "ENTRY", entry, response=2)
        await tb.write(ctx, address("ENTRY"), LOADS, strobe=3)  # not the byte of it
        for word in range(PROGRAM.words - 1):  # an instruction is not yet written
            await tb.write(ctx, PROGRAM.word_address(2, word), 0)
        await tb.expect(ctx, address("IMAGE_ID"), 0x1234_5678)
        await tb.write(ctx, PROGRAM.word_address(2, PROGRAM.words - 1), 0)
        await tb.expect(ctx, address("IMAGE_ID"), 0)
        for name in (name for port in range(ports) for name in weights_registers(port)):
            await signed(ctx)
            await tb.put(ctx, name, 0)
            await tb.expect(ctx, address("IMAGE_ID"), 0)
        await signed(ctx)
        await tb.put(ctx, "ENTRY", LOADS)  # a load begins so
        await tb.expect(ctx, address("IMAGE_ID"), 0)
        await signed(ctx)
        ctx.set(tb.domain.rst, 1)
        await ctx.tick()
        ctx.set(tb.domain.rst, 0)
        await tb.expect(ctx, address("IMAGE_ID"), 0)

    tb.run(test)
