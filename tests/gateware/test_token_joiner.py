"""The joiner against the counts of both sides."""

import random

import pytest

from lstm_hw.gateware.token_joiner import TokenJoiner
from tests.simulation import observe, simulate


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_passes_on_what_both_sides_have_brought(limit):
    joiner, rng, ahead = TokenJoiner(limit), random.Random(limit), 0
    seen = []

    async def drive(context):
        nonlocal ahead
        for share in (0.5, 0.95, 0.05, 0.5):
            for _ in range(200):
                a = rng.random() < share and ahead < limit
                b = rng.random() < 1 - share and ahead > -limit
                ahead += a - b
                context.set(joiner.i_a, a)
                context.set(joiner.i_b, b)
                await context.tick()

    simulate(
        joiner, drive, background=(observe(lambda now, *values: seen.append(values), joiner.i_a, joiner.i_b, joiner.o),)
    )
    a = b = joined = 0
    extremes = set()
    for from_a, from_b, out in seen:
        a, b, joined = a + from_a, b + from_b, joined + out
        assert joined == min(a, b)
        extremes.add(a - b)
    assert {-limit, limit} <= extremes
