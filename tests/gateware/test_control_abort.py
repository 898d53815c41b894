"""Aborts at the control port, with an engine that gives a run up as the real one does."""

import pytest

from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.machine.registers import ErrorCode
from tests.gateware.control_bench import (
    ABORT,
    AUTO_RESTART,
    CTRL,
    DONE,
    IDLE,
    LOADED,
    LOADS,
    READY,
    START,
    STATUS,
    TB,
    ticks,
)

RUN_CYCLES = 12


def engine_of(tb):
    """A run of some cycles; an abort is an error in the next cycle and the end three cycles later."""

    async def engine(ctx):
        dut = tb.dut
        while True:
            while not (await ctx.tick().sample(dut.o_start))[-1]:
                pass
            ctx.set(dut.i_busy, 1)
            for left in reversed(range(RUN_CYCLES)):
                if ctx.get(dut.o_abort):
                    ctx.set(dut.i_error_code, ErrorCode.ABORTED)
                    ctx.set(dut.i_error, 1)
                    await ctx.tick()
                    ctx.set(dut.i_error, 0)
                    await ticks(ctx, 3)
                    left = 0
                ctx.set(dut.i_done, left == 0)
                await ctx.tick()
                if left == 0:
                    break
            ctx.set(dut.i_done, 0)
            ctx.set(dut.i_busy, 0)

    return engine


@pytest.mark.parametrize("restart", [0, AUTO_RESTART])
def test_abort_at_every_offset_to_the_start(restart):
    """The run ends, with ABORTED or well, nothing follows it, and the next run is not aborted."""
    codes = []
    for delay in range(RUN_CYCLES + 12):
        tb = TB()

        async def test(ctx, tb=tb, delay=delay):
            await tb.put(ctx, "CTRL", START | restart)
            await ticks(ctx, delay)
            await tb.put(ctx, "CTRL", ABORT)
            runs = len(tb.starts)
            while not (data := await tb.get(ctx, "CTRL")) & IDLE:
                pass
            assert data == DONE | IDLE | READY, "idle, and nothing is left of the abort"
            status = await tb.get(ctx, "STATUS")
            codes.append(status & 15)
            if not restart:
                assert bool(status & LOADED) == (codes[-1] == ErrorCode.NONE)
            await ticks(ctx, 30)
            assert len(tb.starts) == runs, "a run began behind the abort"
            await tb.put(ctx, "CTRL", START)
            await tb.until_done(ctx)
            await tb.expect(ctx, STATUS, ErrorCode.NONE)
            assert len(tb.starts) == runs + 1

        tb.run(test, engine=False, background=[engine_of(tb)])
    assert codes[0] == ErrorCode.ABORTED and set(codes) <= {ErrorCode.NONE, ErrorCode.ABORTED}
    assert restart or codes[-1] == ErrorCode.NONE


def test_abort_before_the_run_has_begun():
    """While the engine is still busy: it is never started."""
    tb = TB()

    async def test(ctx):
        await tb.arguments(ctx)
        ctx.set(tb.dut.i_busy, 1)
        await tb.put(ctx, "CTRL", START)
        await tb.put(ctx, "CTRL", ABORT)
        await tb.expect(ctx, CTRL, START | ABORT)
        ctx.set(tb.dut.i_busy, 0)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, ErrorCode.ABORTED)
        await ticks(ctx, 10)
        assert not tb.starts

    tb.run(test, engine=False)


def test_abort_without_a_run_does_nothing():
    tb = TB()

    async def test(ctx):
        for strobe in (15, 1):
            assert await tb.write(ctx, CTRL, ABORT, strobe) == OKAY
            await tb.expect(ctx, CTRL, IDLE)
        await tb.put(ctx, "CTRL", START | ABORT)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, ErrorCode.NONE)

    tb.run(test)


def test_abort_in_a_write_that_is_refused():
    tb = TB()
    tb.run_cycles = 40

    async def test(ctx):
        await tb.put(ctx, "ENTRY", LOADS)
        await tb.put(ctx, "CTRL", START)
        await tb.put(ctx, "CTRL", START | ABORT, SLVERR)
        await tb.expect(ctx, CTRL, START)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, ErrorCode.NONE)

    tb.run(test)
