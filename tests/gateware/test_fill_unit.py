"""The fill unit against counted addresses: resident words, the ring, tokens, descriptors."""

import random
from collections import deque

import pytest

from lstm_hw.gateware.fill_unit import FillUnit
from lstm_hw.machine.latency import PENDING_LOADS
from tests.builders import config_of
from tests.simulation import monitor, observe, simulate, sink, source

CONFIGS = {
    "1 beat a word": {"rows": 4, "weight_words": 23},
    "2 beats a word": {"rows": 8, "weight_words": 32},
    "padded word": {"rows": 48, "axi_data_bits": 512, "weight_words": 19},
    "4 beats, 8 bit": {"rows": 32, "weight_bits": 8, "weight_words": 40},
}


def load_command(words, config, **fields):
    return {"offset": 0, "beats": words * config.beats_per_word, "base": 0, "stream": 0} | fields


class TB:
    """A fill unit and a memory that answers descriptors in order, at random times.

    Parameters
    ----------
    runs : list of (ring base, list of commands)
    stall, gap : float
        Probability in each cycle that no descriptor is taken, that no beat arrives.
    """

    def __init__(self, config, runs, rng, idle=0.0, stall=0.0, gap=0.0):
        self.config, self.runs, self.rng = config, runs, rng
        self.idle, self.stall, self.gap = idle, stall, gap
        self.unit = FillUnit(config)
        self.descriptors, self.fills = [], []
        self.owed = deque()
        self.sent = []  # (cycle, data)
        self.busy = []  # cycles that are not idle

    def run(self):
        unit = self.unit

        async def ends(context):
            for base, commands in self.runs:
                context.set(unit.i_ring, 1)
                context.set(unit.i_ring_base, base)
                await context.tick()
                context.set(unit.i_ring, 0)
                await source(unit.i, commands, self.rng, self.idle)(context)
                await context.tick().until(unit.o_idle)
                await context.tick().repeat(3)
                assert not self.owed

        def note(now, o_valid, o_ready, descriptor, fill, fresh, ring_word, idle, i_valid, i_ready):
            assert not (fresh and ring_word)
            assert fill.valid or not (fresh or ring_word)
            assert (o_valid and o_ready) <= (i_valid and i_ready), "a descriptor leaves as its LOAD is taken"
            if o_valid and o_ready:
                self.owed.append(descriptor.beats)
            if fill.valid:
                self.fills.append((now, fill.address, fill.chunk, fill.data, fresh, ring_word))
            if not idle:
                self.busy.append(now)

        simulate(
            unit,
            ends,
            background=(
                observe(
                    note,
                    unit.o.valid,
                    unit.o.ready,
                    unit.o.payload,
                    unit.o_fill,
                    unit.o_fresh,
                    unit.o_ring_word,
                    unit.o_idle,
                    unit.i.valid,
                    unit.i.ready,
                ),
                self.memory,
                monitor(unit.o, "descriptors"),
                sink(unit.o, self.rng, self.stall, self.descriptors),
            ),
        )
        self.check()
        return self

    async def memory(self, context):
        now = 0
        while True:
            arrives = bool(self.owed) and self.rng.random() >= self.gap
            data = self.rng.getrandbits(self.config.axi_data_bits)
            context.set(self.unit.i_beat, arrives)
            context.set(self.unit.i_data, data)
            if arrives:
                self.sent.append((now, data))
                self.owed[0] -= 1
                if not self.owed[0]:
                    self.owed.popleft()
            await context.tick()
            now += 1

    def check(self):
        config = self.config
        expected, sent = [], iter(self.sent)
        for base, commands in self.runs:
            ring = 0
            for command in commands:
                for beat in range(command["beats"]):
                    word, chunk = divmod(beat, config.beats_per_word)
                    address = command["base"] + word
                    if command["stream"]:
                        address = base + ring % (config.weight_words - base)
                        ring += chunk == config.beats_per_word - 1
                    ends = chunk == config.beats_per_word - 1
                    now, data = next(sent)
                    stream = command["stream"]
                    expected.append((now + 1, address, chunk, data, int(ends and not stream), int(ends and stream)))
        assert next(sent, None) is None
        assert self.fills == expected
        assert [(d.offset, d.beats, d.credited) for d in self.descriptors] == [
            (c["offset"], c["beats"], c["stream"]) for _, commands in self.runs for c in commands if c["beats"]
        ]


def random_commands(rng, config, count):
    commands = []
    for _ in range(count):
        stream = int(rng.random() < 0.6)
        # A stream may be longer than the ring; the credit that holds it back is not this unit's affair.
        words = rng.choice((0, 1, 1, 2, rng.randint(1, config.weight_words + 5 if stream else config.weight_words)))
        base = rng.randrange(99) if stream else rng.randint(0, config.weight_words - max(1, words))
        commands.append(load_command(words, config, stream=stream, offset=rng.getrandbits(32), base=base))
    return commands


@pytest.mark.parametrize("gap", [0.0, 0.7])
@pytest.mark.parametrize("stall", [0.0, 0.9])
@pytest.mark.parametrize("name", CONFIGS)
def test_random_loads(name, stall, gap):
    config = config_of(**CONFIGS[name])
    rng = random.Random(f"{name} {stall} {gap}")
    bases = [0, config.weight_words - 1, rng.randrange(config.weight_words)]
    runs = [(base, random_commands(rng, config, 12)) for base in bases]
    TB(config, runs, rng, rng.choice((0.0, 0.5)), stall, gap).run()


def test_no_more_loads_than_can_be_awaited():
    """Descriptors stop at the depth of the queue, and go on when the oldest LOAD is complete."""
    config = config_of(rows=4, weight_words=32)
    unit = FillUnit(config)
    taken = []

    async def bench(context):
        context.set(unit.i.valid, 1)
        context.set(unit.i.payload, load_command(2, config))
        context.set(unit.o.ready, 1)
        await context.tick().repeat(2 * PENDING_LOADS)
        assert len(taken) == PENDING_LOADS
        for beat in range(4):
            context.set(unit.i_beat, 1)
            await context.tick()
            context.set(unit.i_beat, 0)
            await context.tick().repeat(3)
            assert len(taken) == PENDING_LOADS + (beat + 1) // 2

    def note(now, valid, ready):
        if valid and ready:
            taken.append(now)

    simulate(unit, bench, background=[observe(note, unit.o.valid, unit.o.ready)])


def test_idle_only_when_nothing_is_awaited():
    config = config_of(**CONFIGS["2 beats a word"])
    commands = [load_command(3, config, stream=1), load_command(2, config)]
    bench = TB(config, [(20, commands)], random.Random(3), gap=0.8).run()
    assert bench.busy == list(range(bench.busy[0], bench.sent[-1][0] + 1))
