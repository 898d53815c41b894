"""Burst splitter against the definition of a split, for every place before a page and every length."""

from collections import deque

import pytest
from amaranth.sim import Simulator

from lstm_hw.gateware.burst_splitter import BurstSplitter


def bursts_of(word, beats, max_burst, page_words):
    """The definition: (word, length, first, last), as long as possible, none across a page."""
    left, first = beats, 1
    while left:
        length = min(left, max_burst, page_words - word % page_words)
        left -= length
        yield word, length, first, int(left == 0)
        word, first = word + length, 0


def split(splitter, base, descriptors, ready=lambda cycle: True):
    """All bursts of the descriptors, and the cycles in which descriptors and bursts changed hands."""
    bursts, accepted, cycles = [], [], []

    async def testbench(context):
        context.set(splitter.i_base, base)
        queue, cycle = deque(descriptors), 0
        burst = splitter.o.payload
        while queue or not context.get(splitter.o_idle):
            if queue:
                context.set(splitter.i.payload, dict(zip(("offset", "beats", "credited"), queue[0], strict=True)))
            context.set(splitter.i.valid, bool(queue))
            context.set(splitter.o.ready, ready(cycle))
            _, _, taken, valid, *fields = await context.tick().sample(
                splitter.i.ready, splitter.o.valid, burst.word, burst.length, burst.first, burst.last, burst.credited
            )
            if queue and taken:
                queue.popleft()
                accepted.append(cycle)
            if valid and ready(cycle):
                bursts.append(tuple(fields))
                cycles.append(cycle)
            cycle += 1

    simulator = Simulator(splitter)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return bursts, accepted, cycles


@pytest.mark.parametrize(
    "address_bits, data_bits, max_burst, step",
    [
        (64, 1024, 32, 1),
        (40, 512, 24, 1),
        (64, 64, 256, 257),
        (32, 64, 255, 251),
        (48, 256, 128, 67),
    ],
)
def test_every_place_before_a_page(address_bits, data_bits, max_burst, step):
    """All places in the last two bursts before a page; all lengths to 4 bursts, or every ``step``-th and the edges."""
    splitter = BurstSplitter(address_bits, data_bits, max_burst)
    page_words = 1 << splitter.page_bits
    edges = {burst * max_burst + i for burst in range(1, 5) for i in (-1, 0, 1)}
    places = range(page_words - min(2 * max_burst, page_words), page_words)
    base = 3 * page_words
    lengths = [n for n in range(1, 4 * max_burst + 1) if n % step == 0 or n in edges]
    descriptors = [(place, n, n & 1) for place in places for n in lengths]
    expected = [
        (*burst, credited)
        for place, n, credited in descriptors
        for burst in bursts_of(base + place, n, max_burst, page_words)
    ]
    bursts, accepted, cycles = split(splitter, base, descriptors)
    assert bursts == expected
    # One burst a cycle, across descriptors too.
    assert accepted[0] == 0
    assert cycles == list(range(splitter.latency, splitter.latency + len(bursts)))


def test_longest_descriptor():
    """A burst a cycle; the last ones, which alone are read, are where and when the sums of all before them say."""
    splitter, bursts = BurstSplitter(64, 64, 256), []
    offset, beats, last = (1 << 32) - 1, (1 << 24) - 1, 5
    expected = list(bursts_of(511 + offset, beats, 256, 512))

    async def testbench(context):
        context.set(splitter.i_base, 511)
        context.set(splitter.i.payload, {"offset": offset, "beats": beats, "credited": 1})
        context.set(splitter.i.valid, 1)
        context.set(splitter.o.ready, 1)
        await context.tick()
        context.set(splitter.i.valid, 0)
        await context.delay(1e-6 * (splitter.latency - 1 + len(expected) - last))
        for _ in range(last):
            assert context.get(splitter.o.valid)
            found = context.get(splitter.o.payload)
            bursts.append((found.word, found.length, found.first, found.last))
            await context.tick()
        assert not context.get(splitter.o.valid) and context.get(splitter.o_idle)

    simulator = Simulator(splitter)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert bursts == expected[-last:]


def test_back_pressure_and_empty_descriptors():
    splitter = BurstSplitter(40, 128, 16)
    descriptors = [(250, 40, 1), (0, 0, 1), (7, 1, 0), (0, 0, 0), (0, 0, 0), (100, 33, 1)]
    expected = [(*b, c) for o, n, c in descriptors for b in bursts_of(1000 + o, n, 16, 256)]
    for period in range(1, 6):
        bursts, accepted, _ = split(splitter, 1000, descriptors, lambda cycle, period=period: cycle % period == 0)
        assert bursts == expected
        assert len(accepted) == len(descriptors)


def test_flush_drops_everything():
    splitter = BurstSplitter(40, 128, 16)

    async def testbench(context):
        context.set(splitter.i.valid, 1)
        context.set(splitter.i.payload, {"offset": 3, "beats": 100, "credited": 0})
        await context.tick().repeat(6)
        assert context.get(splitter.o.valid) and not context.get(splitter.o_idle) and not context.get(splitter.i.ready)
        context.set(splitter.i_flush, 1)
        context.set(splitter.i.valid, 0)
        await context.tick()
        context.set(splitter.i_flush, 0)
        for _ in range(5):
            assert context.get(splitter.o_idle) and not context.get(splitter.o.valid)
            await context.tick()
        context.set(splitter.i_flush, 1)
        context.set(splitter.i.valid, 1)
        for _ in range(5):
            await context.tick()
            assert context.get(splitter.o_idle) and not context.get(splitter.i.ready), "a descriptor was taken"
        context.set(splitter.i_flush, 0)
        context.set(splitter.i.payload.beats, 1)
        await context.tick()
        context.set(splitter.i.valid, 0)
        await context.tick().repeat(splitter.latency - 1)
        assert context.get(splitter.o.valid) and context.get(splitter.o.payload.word) == 3
        assert context.get(splitter.o.payload.length) == 1

    simulator = Simulator(splitter)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
