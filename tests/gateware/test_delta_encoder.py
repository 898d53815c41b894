"""The encoder's lists against their definition, with pauses, and references that come again soon."""

import random

import pytest

from lstm_hw.gateware.delta_encoder import DeltaEncoder
from lstm_hw.machine.latency import ENCODE
from tests.builders import config_of
from tests.simulation import observe, simulate

EDGES = (-32768, -32767, -1, 0, 1, 32767)


def vectors(rng, count, length, threshold):
    """Vectors whose elements stay, change by about the threshold, or jump."""
    values, found = [0] * length, []
    for _ in range(count):
        for n in range(length):
            by = rng.choice((0, 0, threshold - 1, threshold, -threshold, 1 - threshold))
            values[n] = rng.choice(EDGES) if rng.random() < 0.2 else max(-32768, min(32767, values[n] + by))
        found.append(list(values))
    return found


def expected_lists(work, threshold):
    """(Index, delta) of what changes of each vector; the first one is against zero."""
    references, lists = None, []
    for values in work:
        references = references or [0] * len(values)
        entries = []
        for index, value in enumerate(values):
            change = value - references[index]
            if change and abs(change) >= threshold:
                entries.append((index, change))
                references[index] = value
        lists.append(entries)
    return lists


@pytest.mark.parametrize("length, pause", [(1, 1), (2, 0), (5, 0), (7, 0.3)])
@pytest.mark.parametrize("threshold", [0, 1, 300, 65535])
def test_lists(length, pause, threshold):
    """A vector of one element comes again two cycles later at the soonest, as from the input unit."""
    config, rng = config_of(lists=True), random.Random(length + threshold)
    unit = DeltaEncoder(config, 8, config.x_elements)
    work = vectors(rng, 30, length, max(2, threshold))
    stale = [rng.choice(EDGES) for _ in range(length)]  # what the references are before the first vector
    sent, seen, lists = [], [[]], []

    async def bench(context):
        context.set(unit.i.threshold, threshold)
        now = 0

        async def cycle(valid=0):
            nonlocal now
            context.set(unit.i_valid, valid)
            await context.tick()
            now += 1

        for number, values in enumerate([stale, *work]):
            for index, value in enumerate(values):
                context.set(unit.i.value, value)
                context.set(unit.i.address, 8 * (number % 4) + index)
                context.set(unit.i.reference, index)
                context.set(unit.i.first, index == 0)
                context.set(unit.i.last, index == length - 1)
                context.set(unit.i.zero, number == 1)
                context.set(unit.i.token, 1)
                sent.append(now)
                await cycle(1)
                while (pause == 1 and len(sent) > 0 and index == length - 1 and now == sent[-1] + 1) or (
                    pause < 1 and rng.random() < pause
                ):
                    await cycle()
        for _ in range(ENCODE + 1):
            await cycle()

    tokens = []

    def watch(now, write, address, index, delta, token, last, length_found, idle):
        assert not (token and idle)
        if token:
            tokens.append(now)
        if write:
            seen[-1].append((address, index, delta))
        if last:
            assert length_found == len(seen[-1])
            lists.append(seen[-1])
            seen.append([])

    entry = unit.o_entry
    signals = (unit.o_write, unit.o_address, entry.index, entry.delta, unit.o_token, unit.o_last, unit.o_length)
    simulate(unit, bench, background=(observe(watch, *signals, unit.o_idle),))
    assert tokens == [cycle + ENCODE for cycle in sent]
    wanted = expected_lists(work, threshold)
    assert len(lists) == len(wanted) + 1
    for number, (found, entries) in enumerate(zip(lists[1:], wanted, strict=True), 1):
        assert [entry[1:] for entry in found] == entries, f"vector {number}"
        assert [entry[0] for entry in found] == [8 * (number % 4) + n for n in range(len(entries))]
