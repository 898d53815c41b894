"""Errors and interrupts of the control port."""

import pytest

from lstm_hw.gateware.axi import OKAY
from lstm_hw.machine.registers import (
    ErrorCode,
    lookup,
)
from tests.gateware.control_bench import (
    ALL_ONES,
    CTRL,
    DONE,
    IDLE,
    INTERRUPT,
    ISR,
    ISR_DONE,
    ISR_ERROR,
    ISR_READY,
    READY,
    START,
    STATUS,
    TB,
    address,
    begin,
    end,
    ticks,
    until,
)


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.NONE])
def test_error_is_reported_and_kept(code):
    tb = TB(int(code))
    where = tb.random.getrandbits(64)
    other = ErrorCode.TLAST if code is not ErrorCode.TLAST else ErrorCode.SLVERR
    tb.run_cycles, tb.errors = 12, {3: (code, where), 4: (other, ~where & (1 << 64) - 1), 11: (other, 0)}

    async def test(ctx):
        await tb.put(ctx, "IER", ISR_ERROR)
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)
        for _ in range(2):
            await tb.expect(ctx, STATUS, code)
            await tb.expect(ctx, address("ERROR_ADDRESS_LO"), where & ALL_ONES)
            await tb.expect(ctx, address("ERROR_ADDRESS_HI"), where >> 32)
            await tb.expect(ctx, ISR, ISR_ERROR)
        tb.errors, tb.run_cycles = {}, 100
        await tb.put(ctx, "CTRL", START)
        await tb.expect(ctx, STATUS, lookup("STATUS").field("busy").mask)
        await tb.expect(ctx, address("ERROR_ADDRESS_LO"), 0)
        await tb.expect(ctx, address("ERROR_ADDRESS_HI"), 0)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, 0)

    tb.run(test)


def test_error_in_the_first_cycle_of_a_run_counts_for_that_run():
    tb = TB()
    tb.errors = {0: (ErrorCode.DECERR, 8)}

    async def test(ctx):
        for _ in range(2):
            await tb.put(ctx, "CTRL", START)
            await tb.until_done(ctx)
            await tb.expect(ctx, STATUS, ErrorCode.DECERR)
        tb.errors = {0: (ErrorCode.ILLEGAL, 9)}
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, ErrorCode.ILLEGAL)
        await tb.expect(ctx, address("ERROR_ADDRESS_LO"), 9)

    tb.run(test)


def test_error_near_the_start_is_not_lost():
    """An error in every cycle around ``o_start``: from the cycle before it on, it belongs to the new run."""
    for offset in range(-3, 4):
        tb = TB()

        async def test(ctx, tb=tb, offset=offset):
            dut = tb.dut
            ctx.set(dut.i_error_code, ErrorCode.DECERR)
            await begin(tb, ctx)
            ctx.set(dut.i_error, 1)
            await end(tb, ctx)
            ctx.set(dut.i_error, 0)
            await tb.expect(ctx, STATUS, ErrorCode.DECERR)
            ctx.set(dut.i_error_code, ErrorCode.ILLEGAL)
            tb.pulse = ctx.get(tb.cycle) + 3 + offset
            await begin(tb, ctx)
            tb.start = ctx.get(tb.cycle)
            await ticks(ctx, 5)
            busy = lookup("STATUS").field("busy").mask
            await tb.expect(ctx, STATUS, busy | ErrorCode.ILLEGAL * (tb.pulse >= tb.start - 1))

        async def pulse(ctx, tb=tb):
            while not hasattr(tb, "pulse"):
                await ctx.tick()
            while ctx.get(tb.cycle) < tb.pulse:
                await ctx.tick()
            assert ctx.get(tb.cycle) == tb.pulse
            ctx.set(tb.dut.i_error, 1)
            await ctx.tick()
            ctx.set(tb.dut.i_error, 0)

        tb.run(test, pulse, engine=False)
        assert tb.pulse - tb.start == offset


@pytest.mark.parametrize("gie", [0, 1])
@pytest.mark.parametrize("ier", range(8))
def test_interrupts(gie, ier):
    tb = TB(ier)
    tb.errors = {1: (ErrorCode.TIMEOUT, 4)}

    async def test(ctx):
        await tb.put(ctx, "GIE", gie)
        await tb.put(ctx, "IER", ier)
        await tb.put(ctx, "CTRL", START)
        while not tb.ends:
            await ctx.tick()
        await ticks(ctx, 2)
        await tb.expect(ctx, ISR, ier)
        high = bool(gie and ier)
        assert ctx.get(tb.dut.o_interrupt) == high
        await tb.expect(ctx, CTRL, DONE | IDLE | READY | INTERRUPT * high)
        await tb.put(ctx, "GIE", 0)
        await ctx.tick()
        assert not ctx.get(tb.dut.o_interrupt)
        await tb.put(ctx, "GIE", 1)
        await ctx.tick()
        assert ctx.get(tb.dut.o_interrupt) == bool(ier)
        for strobe in (0, 14):
            assert await tb.write(ctx, ISR, ALL_ONES, strobe) == OKAY
        await tb.put(ctx, "ISR", 0)
        await tb.expect(ctx, ISR, ier)
        await tb.put(ctx, "ISR", ier)
        await tb.expect(ctx, ISR, 0)
        await tb.put(ctx, "CTRL", DONE)
        await ctx.tick()
        assert not ctx.get(tb.dut.o_interrupt)
        await tb.expect(ctx, CTRL, IDLE)
        for source in (ISR_DONE, ISR_READY, ISR_ERROR):  # writing 1 toggles, so it also sets, enabled or not
            await tb.put(ctx, "ISR", source | ALL_ONES & ~7)
            await tb.expect(ctx, ISR, source)
            await tb.expect(ctx, CTRL, IDLE | INTERRUPT)
            await tb.put(ctx, "ISR", source)

    tb.run(test)


def test_interrupt_event_wins_over_the_write_that_clears_it():
    """ISR.done is set again by a second run while software clears it, at every offset to the end of that run."""
    outcomes = set()
    for offset in range(8):
        tb = TB()

        async def engine(ctx, tb=tb, offset=offset):
            await tb.put(ctx, "IER", ISR_DONE)
            await begin(tb, ctx)
            await end(tb, ctx)
            await begin(tb, ctx)
            await ticks(ctx, 4 + offset)
            await end(tb, ctx)

        async def writer(ctx, tb=tb, outcomes=outcomes):
            for _ in range(2):
                while not ctx.get(tb.dut.o_start):
                    await ctx.tick()
                await ctx.tick()
            await ticks(ctx, 4)
            effect = ctx.get(tb.cycle) + 1
            await tb.put(ctx, "ISR", ISR_DONE)
            await ticks(ctx, 20)
            await tb.expect(ctx, ISR, ISR_DONE * (effect <= tb.ended))
            outcomes.add(effect - tb.ended)

        async def observer(ctx, tb=tb):
            for _ in range(2):
                await until(ctx, tb.dut.i_done)
            tb.ended = ctx.get(tb.cycle) - 1

        tb.run(engine, writer, observer, engine=False)
    assert {-1, 0, 1} <= outcomes
