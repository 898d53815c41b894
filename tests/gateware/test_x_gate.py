"""XGate: which x a run gets, what is dropped, and what is told of too few and too many."""

import random

import pytest

from lstm_hw.gateware.x_gate import XGate
from lstm_hw.machine.latency import SETTLE_CYCLES
from tests.builders import config_of
from tests.simulation import simulate


class TB:
    """A gate with beats that are queued, and an input unit that takes them on demand."""

    def __init__(self, sequence, ignore_tlast=0):
        self.gate, self.sequence, self.ignore_tlast = XGate(config_of()), sequence, ignore_tlast
        self.queue, self.got = [], []

    async def step(self, context, want=0, drop=0, start=0):
        """One cycle; the values of early, surplus and settled in it."""
        gate = self.gate
        context.set(gate.i_sequence, self.sequence)
        context.set(gate.i_ignore_tlast, self.ignore_tlast)
        context.set(gate.o.ready, want)
        context.set(gate.i_drop, drop)
        context.set(gate.i_start, start)
        context.set(gate.i.valid, bool(self.queue))
        if self.queue:
            value, last = self.queue[0]
            context.set(gate.i.payload, {"data": [value], "last": last})
        _, _, taken, valid, payload, *told = await context.tick().sample(
            gate.i.ready, gate.o.valid, gate.o.payload, gate.o_early, gate.o_surplus, gate.o_settled
        )
        if valid and want:
            assert taken
            self.got.append(payload.data[0])
        if self.queue and taken:
            self.queue.pop(0)
        return told

    async def take(self, context, count):
        for _ in range(count):
            early, _, _ = await self.step(context, want=1)
            assert not early
        assert len(self.got) == count

    def run(self, test):
        async def bench(context):
            await self.step(context, start=1)
            await test(context)

        simulate(self.gate, bench)


def vectors(count, length=3):
    return [(10 * vector + n, n == length - 1) for vector in range(count) for n in range(length)]


def sequence(beats):
    return [(n, n == beats - 1) for n in range(beats)]


def test_vectors_that_are_all_taken():
    tb = TB(0)
    tb.queue = vectors(2)

    async def test(context):
        await tb.take(context, 6)
        assert await tb.step(context) == [0, 0, 0]
        assert await tb.step(context, want=1) == [0, 0, 0], "a run may wait for x"

    tb.run(test)


def test_a_run_that_takes_no_x_has_none_too_many():
    for mode in (0, 1):
        tb = TB(mode)
        tb.queue = vectors(2)

        async def test(context, tb=tb):
            assert await tb.step(context) == [0, 0, 0]
            assert len(tb.queue) == 6

        tb.run(test)


@pytest.mark.parametrize("more", [1, 2, 5])
def test_vectors_too_many_are_told_and_dropped(more):
    tb = TB(0)
    tb.queue = vectors(2 + more)

    async def test(context):
        await tb.take(context, 6)
        assert (await tb.step(context))[1] == 1
        for _ in range(3 * more):
            assert not (await tb.step(context, drop=1))[2]
        for cycle in range(SETTLE_CYCLES):
            assert (await tb.step(context, drop=1))[2] == (cycle == SETTLE_CYCLES - 1), cycle
        assert not tb.queue and len(tb.got) == 6
        await tb.step(context, start=1)
        tb.queue = vectors(1)
        tb.got = []
        await tb.take(context, 3)
        assert tb.got == [0, 1, 2]

    tb.run(test)


def test_a_vector_that_was_cut_off_is_dropped_to_its_end():
    """However late the rest of it comes."""
    tb, rng = TB(0), random.Random(1)
    tb.queue = vectors(1)[:2]

    async def test(context):
        await tb.take(context, 2)
        for _ in range(3 * SETTLE_CYCLES + rng.randrange(9)):
            assert not (await tb.step(context, drop=1))[2]
        tb.queue = vectors(1)[2:]
        settled = [(await tb.step(context, drop=1))[2] for _ in range(SETTLE_CYCLES + 1)]
        assert not tb.queue and settled == [0] * SETTLE_CYCLES + [1]

    tb.run(test)


def test_nothing_passes_behind_the_end_of_a_sequence():
    tb = TB(1)
    tb.queue = sequence(4) + sequence(2)

    async def test(context):
        await tb.take(context, 4)
        assert await tb.step(context) == [0, 0, 1], "the run may be over"
        assert await tb.step(context, want=1) == [1, 0, 1], "or it has too little"
        assert len(tb.queue) == 2 and len(tb.got) == 4
        for _ in range(3):
            assert (await tb.step(context, drop=1))[2], "nothing is to be dropped"
        assert len(tb.queue) == 2
        await tb.step(context, start=1)
        tb.got = []
        await tb.take(context, 2)

    tb.run(test)


def test_the_rest_of_a_sequence_is_dropped():
    """And the next one is not."""
    for taken in range(6):
        tb = TB(1)
        tb.queue = sequence(6) + sequence(3)

        async def test(context, tb=tb, taken=taken):
            await tb.take(context, taken)
            assert (await tb.step(context))[1] == (taken > 0), "a sequence that goes on"
            for _ in range(20):
                settled = (await tb.step(context, drop=1))[2]
            assert settled and len(tb.queue) == 3

        tb.run(test)


@pytest.mark.parametrize("mode", [0, 1])
def test_tlast_that_says_nothing(mode):
    """Beats pass as they are wanted, what is behind them waits, and silence alone ends the dropping."""
    tb = TB(mode, ignore_tlast=1)
    tb.queue = [(n, n == 2) for n in range(10)]

    async def test(context):
        await tb.take(context, 5)
        assert await tb.step(context) == [0, 0, 0] and len(tb.queue) == 5
        while tb.queue:
            assert await tb.step(context, drop=1) == [0, 0, 0]
        for _ in range(SETTLE_CYCLES - 1):
            assert await tb.step(context, drop=1) == [0, 0, 0]
        assert await tb.step(context, drop=1) == [0, 0, 1], "the last beat that was dropped had no tlast"

    tb.run(test)
