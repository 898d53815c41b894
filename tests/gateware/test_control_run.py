"""Run control: start, done, auto restart, and what a run locks."""

import pytest

from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.machine.registers import (
    PROGRAM,
    ErrorCode,
    lookup,
)
from tests.gateware.control_bench import (
    ALL_ONES,
    AUTO_RESTART,
    CTRL,
    DONE,
    IDLE,
    LENGTH,
    LOADS,
    LOCKED,
    READY,
    START,
    STATUS,
    TB,
    address,
    begin,
    end,
    ticks,
    traffic,
    until,
)


@pytest.mark.parametrize("late_busy", [0, 1, 3])
@pytest.mark.parametrize("drain_cycles", [0, 1, 20])
def test_start_to_done(late_busy, drain_cycles):
    tb = TB()
    tb.run_cycles, tb.late_busy, tb.drain_cycles = 30, late_busy, drain_cycles

    async def test(ctx):
        for run in range(1, 3):
            await tb.put(ctx, "STEPS", 7 + run)
            await tb.put(ctx, "CTRL", START)
            await tb.expect(ctx, STATUS, lookup("STATUS").field("busy").mask)
            while not (data := await tb.get(ctx, "CTRL")) & DONE:
                assert data == START
            await tb.expect(ctx, CTRL, data)
            assert len(tb.ends) == run, "done before the engine was idle"
            assert data == DONE | IDLE | READY
            if run == 1:
                await tb.put(ctx, "CTRL", DONE)
                await tb.expect(ctx, CTRL, IDLE)
            await tb.expect(ctx, STATUS, 0)
            assert [arguments[0] for _, arguments in tb.starts] == [8, 9][:run]

    tb.run(test)


def test_start_latency():
    tb = TB()

    async def test(ctx):
        await tb.arguments(ctx)
        await ticks(ctx, 2)
        before = ctx.get(tb.cycle)
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 4)
        # handshake at `before`, then access, requested, pulse
        assert [cycle - before for cycle, _ in tb.starts] == [3]

    tb.run(test)


def test_start_needs_a_one_in_an_enabled_byte():
    tb = TB()

    async def test(ctx):
        await tb.arguments(ctx)
        await tb.put(ctx, "CTRL", ALL_ONES & ~START & ~AUTO_RESTART)
        await tb.expect(ctx, CTRL, IDLE)
        for strobe in (0, 2, 14):
            assert await tb.write(ctx, CTRL, ALL_ONES, strobe) == OKAY
        await tb.expect(ctx, CTRL, IDLE)
        assert await tb.write(ctx, CTRL, START, 1) == OKAY
        await tb.until_done(ctx)
        assert len(tb.starts) == 1

    tb.run(test)


def test_start_waits_for_a_busy_engine():
    tb = TB()

    async def test(ctx):
        await tb.arguments(ctx)
        ctx.set(tb.dut.i_busy, 1)
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 20)
        await tb.expect(ctx, CTRL, START)
        assert not tb.starts
        ctx.set(tb.dut.i_busy, 0)
        await ticks(ctx, 3)
        assert len(tb.starts) == 1

    tb.run(test, engine=False)


def test_done_pulse_outside_of_a_run_is_ignored():
    tb = TB()

    async def test(ctx):
        ctx.set(tb.dut.i_done, 1)
        await ticks(ctx, 3)
        ctx.set(tb.dut.i_done, 0)
        await tb.expect(ctx, CTRL, IDLE)
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 10)
        await tb.expect(ctx, CTRL, START)

    tb.run(test, engine=False)


def test_run_of_no_cycles():
    tb = TB()

    async def test(ctx):
        await begin(tb, ctx)
        await end(tb, ctx)
        await tb.expect(ctx, CTRL, DONE | IDLE | READY)

    tb.run(test, engine=False)


def test_start_during_a_run_is_refused():
    """The write of start in every cycle around the end of a run: a new run, and OKAY, if and only if it comes after."""
    follows = []
    for offset in range(8):
        tb = TB()

        async def test(ctx, tb=tb, offset=offset):
            await begin(tb, ctx)
            await ticks(ctx, 4)

            async def finish():
                await ticks(ctx, offset)
                await end(tb, ctx)

            await finish()

        async def writer(ctx, tb=tb):
            while not ctx.get(tb.dut.o_start):
                await ctx.tick()
            await ticks(ctx, 6)
            tb.written = ctx.get(tb.cycle) + 1  # the write takes effect in the cycle after its handshake
            tb.answer = await tb.write(ctx, CTRL, START | AUTO_RESTART | DONE)
            tb.after = await tb.get(ctx, "CTRL")

        async def observer(ctx, tb=tb):
            await until(ctx, tb.dut.i_done)
            tb.ended = ctx.get(tb.cycle) - 1
            await ticks(ctx, 20)

        tb.run(test, writer, observer, engine=False)
        begins = tb.written > tb.ended
        assert (len(tb.starts), tb.answer) == (1 + begins, OKAY if begins else SLVERR), offset
        assert tb.after & AUTO_RESTART == AUTO_RESTART * begins, "a refused write has no effect"
        follows.append(tb.written > tb.ended)
    assert True in follows and False in follows


@pytest.mark.parametrize("drain_cycles", [0, 4])
def test_auto_restart(drain_cycles):
    tb = TB()
    tb.run_cycles, tb.drain_cycles = 12, drain_cycles

    async def test(ctx):
        await tb.put(ctx, "STEPS", 3)
        await tb.put(ctx, "CTRL", START | AUTO_RESTART)
        dones = 0
        while dones < 4:
            data = await tb.get(ctx, "CTRL")
            assert data & (START | IDLE | AUTO_RESTART) == START | AUTO_RESTART
            assert bool(data & DONE) == bool(data & READY)
            dones += bool(data & DONE)
            await tb.put(ctx, "CTRL", AUTO_RESTART | data & DONE)
            await tb.put(ctx, "STEPS", 9, SLVERR)
        await tb.put(ctx, "CTRL", 0)
        while not (data := await tb.get(ctx, "CTRL")) & IDLE:
            assert data & START and not data & AUTO_RESTART
        runs = len(tb.starts)
        await ticks(ctx, 50)
        assert len(tb.starts) == runs == len(tb.ends) >= 5
        assert {arguments[0] for _, arguments in tb.starts} == {3}

    tb.run(test)
    gaps = [start - finish for (start, _), finish in zip(tb.starts[1:], tb.ends, strict=False)]
    assert set(gaps) == {2}, gaps


@pytest.mark.parametrize("drain_cycles", [0, 3])
def test_no_restart_after_an_error_in_the_last_cycle(drain_cycles):
    tb = TB()

    async def test(ctx):
        dut = tb.dut
        await begin(tb, ctx, START | AUTO_RESTART)
        ctx.set(dut.i_busy, drain_cycles > 0)
        await end(tb, ctx) if drain_cycles else None
        await ticks(ctx, drain_cycles)
        ctx.set(dut.i_busy, 0)
        ctx.set(dut.i_error, 1)
        ctx.set(dut.i_error_code, ErrorCode.TLAST)
        ctx.set(dut.i_done, drain_cycles == 0)
        await ctx.tick()
        ctx.set(dut.i_error, 0)
        ctx.set(dut.i_done, 0)
        await ticks(ctx, 10)
        assert len(tb.starts) == 1
        await tb.expect(ctx, STATUS, ErrorCode.TLAST)
        await tb.expect(ctx, CTRL, DONE | IDLE | READY | AUTO_RESTART)

    tb.run(test, engine=False)


def test_auto_restart_written_alone_starts_nothing():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "CTRL", AUTO_RESTART)
        await ticks(ctx, 10)
        await tb.expect(ctx, CTRL, IDLE | AUTO_RESTART)
        assert await tb.write(ctx, CTRL, 0, strobe=14) == OKAY
        await tb.expect(ctx, CTRL, IDLE | AUTO_RESTART)
        assert not tb.starts

    tb.run(test)


def test_auto_restart_set_during_a_run():
    tb = TB()
    tb.run_cycles = 20

    async def test(ctx):
        await tb.put(ctx, "CTRL", START)
        await tb.put(ctx, "CTRL", AUTO_RESTART)
        while len(tb.starts) < 3:
            await ctx.tick()

    tb.run(test)


@pytest.mark.parametrize("when", [2, 9])
def test_no_restart_after_an_error(when):
    tb = TB()
    tb.run_cycles, tb.errors = 10, {when: (ErrorCode.SLVERR, 0x1234)}

    async def test(ctx):
        await tb.put(ctx, "CTRL", START | AUTO_RESTART)
        await tb.until_done(ctx)
        await ticks(ctx, 30)
        assert len(tb.starts) == 1
        await tb.expect(ctx, CTRL, DONE | IDLE | READY | AUTO_RESTART)
        await tb.expect(ctx, STATUS, ErrorCode.SLVERR)
        tb.errors = {}
        await tb.put(ctx, "CTRL", START | AUTO_RESTART)
        while len(tb.starts) < 4:
            await ctx.tick()

    tb.run(test)


def test_done_is_not_lost_whenever_it_is_cleared():
    """Writes of 1 to CTRL.done at every offset to the end of a run: the event in the cycle of a clearing write wins."""
    outcomes = set()
    for offset in range(8):
        tb = TB()

        async def engine(ctx, tb=tb, offset=offset):
            await begin(tb, ctx)
            await ticks(ctx, 4 + offset)
            await end(tb, ctx)

        async def writer(ctx, tb=tb, outcomes=outcomes):
            while not ctx.get(tb.dut.o_start):
                await ctx.tick()
            await ticks(ctx, 6)
            effect = ctx.get(tb.cycle) + 1
            await tb.put(ctx, "CTRL", DONE)
            await ticks(ctx, 20)
            await tb.expect(ctx, CTRL, IDLE | (DONE | READY) * (effect <= tb.ended))
            outcomes.add(effect - tb.ended)

        async def observer(ctx, tb=tb):
            await until(ctx, tb.dut.i_done)
            tb.ended = ctx.get(tb.cycle) - 1

        tb.run(engine, writer, observer, engine=False)
    assert {-1, 0, 1} <= outcomes


def test_done_of_the_run_before_is_not_that_of_the_next():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 20)
        tb.run_cycles = 40
        await tb.put(ctx, "CTRL", START)
        await tb.expect(ctx, CTRL, START)
        await tb.until_done(ctx)
        assert len(tb.ends) == 2

    tb.run(test)


def test_control_port_lives_beside_a_dead_engine():
    tb = TB()

    async def test(ctx):
        await begin(tb, ctx)
        ctx.set(tb.dut.i_busy, 1)
        for _ in range(20):
            await tb.expect(ctx, CTRL, START)
            await tb.expect(ctx, STATUS, lookup("STATUS").field("busy").mask)
            await tb.put(ctx, "GIE", 1)
            await tb.put(ctx, "STEPS", 1, SLVERR)

    tb.run(test, engine=False)


@traffic
def test_configuration_is_locked_during_a_run(idle, stall):
    tb = TB(8, idle, stall)
    tb.run_cycles = 10**6

    async def test(ctx):
        values = {r.name: tb.random.randrange(LENGTH) & r.mask for r in LOCKED} | {"STEPS": 5, "WEIGHTS_LO": 0x30}
        values["ENTRY"] |= LOADS
        for name, value in values.items():
            await tb.put(ctx, name, value)
        for word in range(5):
            assert await tb.write(ctx, PROGRAM.word_address(2, word), word + 1) == OKAY
        await tb.put(ctx, "IMAGE_ID", values["IMAGE_ID"])
        await tb.put(ctx, "CTRL", START)
        program = dict(tb.program)
        for register in LOCKED * 2:
            await tb.put(ctx, register.name, tb.random.randrange(LENGTH), SLVERR)
            await tb.expect(ctx, register.address, values[register.name])
        for entry in (0, 2, LENGTH - 1):
            for word in range(5):
                assert await tb.write(ctx, PROGRAM.word_address(entry, word), ALL_ONES) == SLVERR
        for name, value in (("GIE", 1), ("IER", 7)):
            await tb.put(ctx, name, value)
            await tb.expect(ctx, address(name), value)
        await ticks(ctx, 3)
        assert tb.program == program and len(tb.starts) == 1
        assert tb.starts[0][1] == [
            values["STEPS"],
            values["FLAGS"] & 1,
            values["ENTRY"] & ~LOADS,
            values["WEIGHTS_HI"] << 32 | values["WEIGHTS_LO"],
            values["TIMEOUT"],
            values["FLAGS"] >> 1 & 1,
            values["TIMEOUT_STREAMS"],
            values["FLAGS"] >> 2 & 1,
            values["FLAGS"] >> 3,
        ]

    tb.run(test)


def test_lock_ends_with_done_and_covers_a_busy_engine():
    tb = TB()
    tb.run_cycles, tb.drain_cycles = 10, 10

    async def test(ctx):
        await tb.put(ctx, "CTRL", START)
        refused = 0
        while await tb.write(ctx, address("STEPS"), 5) == SLVERR:
            refused += 1
        assert refused > 3 and len(tb.ends) == 1
        await tb.expect(ctx, CTRL, DONE | IDLE | READY)
        ctx.set(tb.dut.i_busy, 1)
        await tb.put(ctx, "STEPS", 6, SLVERR)
        await tb.expect(ctx, CTRL, DONE | READY)
        ctx.set(tb.dut.i_busy, 0)
        await tb.put(ctx, "STEPS", 6)

    tb.run(test)


def test_staging_is_untouched_by_refused_writes():
    tb = TB()
    tb.run_cycles = 60

    async def test(ctx):
        for word in range(4):
            await tb.write(ctx, PROGRAM.word_address(1, word), word + 1)
        await tb.put(ctx, "CTRL", START)
        for word in range(5):
            assert await tb.write(ctx, PROGRAM.word_address(1, word), ALL_ONES) == SLVERR
        await tb.until_done(ctx)
        await tb.write(ctx, PROGRAM.word_address(1, 4), 5)
        await ticks(ctx, 2)
        assert tb.program == {1: sum((word + 1) << 32 * word for word in range(5))}

    tb.run(test)
