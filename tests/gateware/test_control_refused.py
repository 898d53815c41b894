"""Refused writes of the control port: no effect, an answer by choice, and the register that keeps the first one."""

import random

import pytest

from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.machine.registers import PROGRAM, REGISTERS, Access, Refusal, lookup
from tests.gateware.control_bench import ALL_ONES, DONE, LENGTH, START, TB, address, end, ticks, traffic

REFUSED = lookup("REFUSED")
WRITE = REFUSED.field("write").mask


def told(code, at):
    """Value of REFUSED."""
    fields = {"write": 1, "code": code, "address": at & ~3}
    return sum(REFUSED.field(name).insert(value) for name, value in fields.items())


def expected(at, value, running):
    """Why a write is refused, by the map alone."""
    if at >= PROGRAM.address:
        entry, word = divmod(at - PROGRAM.address & ~3, PROGRAM.stride)
        here, locked = entry < LENGTH and word < 4 * PROGRAM.words, True
    else:
        found = [r for r in REGISTERS if r.address == at & ~3 and r.access is not Access.RO]
        here, locked = bool(found), bool(found) and (found[0].locked or found[0].name == "CTRL" and value & START)
    if not here:
        return Refusal.ADDRESS
    if running and locked:
        return Refusal.RUN
    if at & ~3 == address("ENTRY") and value & 0xFFFF >= LENGTH:
        return Refusal.VALUE
    return Refusal.NONE


@traffic
@pytest.mark.parametrize("bus_errors", [False, True])
def test_random_writes(idle, stall, bus_errors):
    """Reason, place and answer of every write that is refused, outside of runs and in one; nothing else is told."""
    tb = TB(1, idle, stall, bus_errors=bus_errors)
    places = [r.address for r in REGISTERS if r.name != "REFUSED"]
    rng, seen = random.Random(10), set()

    async def test(ctx):
        for running in (False, True):
            if running:
                await tb.put(ctx, "CTRL", START)
            for _ in range(50):
                at = rng.choice([rng.choice(places), rng.randrange(0, 1 << 15, 4), address("ENTRY")])
                at += rng.randrange(4)
                value = rng.choice([0, LENGTH - 1, LENGTH, rng.getrandbits(32)])
                if at & ~3 == address("CTRL"):
                    value = START * running
                reason = expected(at, value, running)
                seen.add((running, reason))
                assert await tb.write(ctx, at, value) == (SLVERR if bus_errors and reason else OKAY), hex(at)
                await tb.expect(ctx, REFUSED.address, told(reason, at) if reason else 0)
                if reason:
                    await tb.put(ctx, "REFUSED", WRITE)
                    await tb.expect(ctx, REFUSED.address, 0)
        assert len(tb.starts) == 1
        await end(tb, ctx)

    tb.run(test, engine=False)
    assert seen == {(running, reason) for running in (False, True) for reason in Refusal} - {(False, Refusal.RUN)} - {
        (True, Refusal.VALUE)
    }


def test_the_first_is_kept_until_it_is_cleared():
    tb = TB(2, bus_errors=False)

    async def test(ctx):
        await tb.put(ctx, "ID", ALL_ONES)
        await tb.put(ctx, "ENTRY", LENGTH)
        await tb.put(ctx, "REFUSED", ALL_ONES & ~WRITE)  # writing 0 does nothing
        await tb.put(ctx, "STEPS", 4)
        await tb.expect(ctx, REFUSED.address, told(Refusal.ADDRESS, address("ID")))
        assert await tb.write(ctx, REFUSED.address, WRITE, strobe=0b1110) == OKAY
        await tb.expect(ctx, REFUSED.address, told(Refusal.ADDRESS, address("ID")))
        await tb.put(ctx, "REFUSED", WRITE)
        await tb.expect(ctx, REFUSED.address, 0)
        await tb.put(ctx, "ENTRY", LENGTH)
        await tb.expect(ctx, REFUSED.address, told(Refusal.VALUE, address("ENTRY")))
        await tb.expect(ctx, address("ENTRY"), 0)
        await tb.expect(ctx, address("STEPS"), 4)

    tb.run(test)


def test_a_reset_clears_it_and_a_run_does_not():
    tb = TB(3, bus_errors=False)

    async def test(ctx):
        await tb.put(ctx, "ID", 0)
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)
        await tb.expect(ctx, REFUSED.address, told(Refusal.ADDRESS, address("ID")))
        await tb.put(ctx, "CTRL", DONE)
        await tb.put(ctx, "REFUSED", WRITE)
        await tb.put(ctx, "ID", 0)
        ctx.set(tb.domain.rst, 1)
        await ticks(ctx, 2)
        ctx.set(tb.domain.rst, 0)
        await tb.expect(ctx, REFUSED.address, 0)

    tb.run(test)
