"""The counter of values beyond their format, in four bits."""

from lstm_hw.gateware.clipped_counter import ClippedCounter
from tests.simulation import simulate


def test_counts_and_stops():
    """Two cycles later, up to the end of its range, again from zero after a clear; what comes with it is lost."""
    counter = ClippedCounter(3, 4)
    events = [0, 4, 0, 1, 3, 4, 2, 1, 4, 4, 0, 3, 1, 0, 0, 0]
    clears = [0] * 10 + [1, 0, 0, 0, 0, 0]
    found = []

    async def bench(context):
        for event, clear in zip(events, clears, strict=True):
            context.set(counter.i, event)
            context.set(counter.i_clear, clear)
            found.append((context.get(counter.o), context.get(counter.o_any)))
            await context.tick()

    simulate(counter, bench)
    counts = [0, 0, 0, 4, 4, 5, 8, 12, 14, 15, 15, 0, 0, 3, 4, 4]
    assert found == [(count, int(count > 0)) for count in counts]
