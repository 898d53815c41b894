"""The watchdog against a count of the cycles at rest."""

import random

import pytest

from lstm_hw.gateware.watchdog import Watchdog
from tests.simulation import observe, simulate


@pytest.mark.parametrize("cycles", [2, 5, 16])
def test_expires_after_so_many_cycles_at_rest(cycles):
    watchdog, rng, seen = Watchdog(cycles), random.Random(cycles), []

    async def drive(context):
        for share in (0.02, 0.1, 0.5, 0):
            for _ in range(60):
                context.set(watchdog.i_running, rng.random() >= share)
                context.set(watchdog.i_moves, rng.random() < share)
                context.set(watchdog.i_outside, rng.random() < share)
                await context.tick()

    simulate(
        watchdog,
        drive,
        background=(
            observe(
                lambda now, *values: seen.append(values),
                watchdog.i_running,
                watchdog.i_moves,
                watchdog.i_outside,
                watchdog.o_expired,
            ),
        ),
    )
    at_rest, expired = 0, 0
    for running, moves, outside, found in seen:
        at_rest = at_rest + 1 if running and not moves and not outside else 0
        assert found == (at_rest >= cycles)
        expired += found
    assert expired > 0
