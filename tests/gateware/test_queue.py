"""The queue against a list, with all that can happen at its ends."""

import random

import pytest

from lstm_hw.gateware.queue import Queue
from tests.simulation import simulate


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_entries_leave_in_order(depth):
    """Offers and takes at random, in spells that fill it and empty it."""
    unit, rng, seen = Queue(8, depth), random.Random(depth), set()

    async def bench(context):
        entries, number = [], 0
        for cycle in range(600):
            offered, taken = rng.random() < (0.8, 0.3)[cycle // 40 % 2], rng.random() < (0.3, 0.8)[cycle // 40 % 2]
            context.set(unit.i.valid, offered)
            context.set(unit.i.payload, number)
            context.set(unit.o.ready, taken)
            assert context.get(unit.i.ready) == (len(entries) < depth)
            assert context.get(unit.o.valid) == bool(entries) == (not context.get(unit.o_empty))
            assert not entries or context.get(unit.o.payload) == entries[0]
            seen.add((len(entries), offered, taken))
            room = len(entries) < depth
            if taken and entries:
                entries.pop(0)
            if offered and room:
                entries.append(number)
                number = (number + 1) % 256
            await context.tick()

    simulate(unit, bench)
    assert len(seen) == 4 * (depth + 1)
