"""OutputHold: what is offered stays offered, also when its source is reset."""

import random

import pytest
from amaranth.lib import data

from lstm_hw.gateware.output_hold import OutputHold
from tests.simulation import monitor, simulate

BEAT = data.StructLayout({"data": 8, "last": 1})


@pytest.mark.parametrize("ready", [0.1, 0.5, 1.0])
def test_random_clears(ready):
    """A source that loses its queue now and then: what is offered in that cycle stays, and goes before all else."""
    hold, rng = OutputHold(BEAT), random.Random(ready)
    clears_that_keep = 0

    async def bench(context):
        nonlocal clears_that_keep
        number, offered, kept = 0, False, None
        for _ in range(2000):
            offered = offered or rng.random() < 0.5
            clears, takes = rng.random() < 0.05, rng.random() < ready
            beat = number & 255, number & 1
            context.set(hold.i.valid, offered)
            context.set(hold.i.payload, dict(zip(("data", "last"), beat, strict=True)))
            context.set(hold.i_clear, clears)
            context.set(hold.o.ready, takes)
            _, _, valid, found, taken = await context.tick().sample(hold.o.valid, hold.o.payload, hold.i.ready)
            shown = kept or (beat if offered else None)
            assert valid == bool(shown) and taken == (takes and not kept)
            assert not shown or (found.data, found.last) == shown
            if offered and (taken or clears):
                number, offered = number + 1, False
            clears_that_keep += clears and not takes and bool(shown) and not kept
            kept = None if takes else (shown if clears else kept)

    simulate(hold, bench, background=[monitor(hold.o, "output")])
    assert bool(clears_that_keep) == (ready < 1)
