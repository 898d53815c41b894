"""Timeout: exactly so many cycles of waiting, from the latest progress on."""

import random

import pytest

from lstm_hw.gateware.timeout import Timeout
from tests.simulation import simulate


@pytest.mark.parametrize("cycles", [0, 1, 2, 7])
def test_random_waits(cycles):
    timeout, rng, expired = Timeout(), random.Random(cycles), []

    async def bench(context):
        context.set(timeout.i_cycles, cycles)
        await context.tick()
        waited = 0
        for _ in range(2000):
            waiting, progress = rng.random() < 0.95, rng.random() < 0.1
            context.set(timeout.i_waiting, waiting)
            context.set(timeout.i_progress, progress)
            _, _, found = await context.tick().sample(timeout.o_expired)
            waited = waited + 1 if waiting and not progress else 0
            assert found == (cycles > 0 and waited == cycles)
            expired.append(found)

    simulate(timeout, bench)
    assert any(expired) == (cycles > 0)
