"""The input unit against plain lists: where elements go, what is free, and where tlast must be."""

import random

import pytest

from lstm_hw.gateware.input_unit import InputUnit
from tests.builders import config_of
from tests.simulation import monitor, observe, raw, simulate, source

CASES = {
    "K=1, 1 a beat": {"x_per_beat": 1},
    "K=1, 4 a beat": {"x_per_beat": 4},
    "K=2, 2 a beat": {"contexts": 2, "x_per_beat": 2},
    "K=3, 4 a beat": {"contexts": 3, "x_per_beat": 4},
    "K=3, 1 a beat": {"contexts": 3, "x_per_beat": 1},
}
X_ELEMENTS = 32


def input_command(elements, **fields):
    return {"target": 0, "bank": 0, "elements": elements, "spread": 0, "repeats": 0, "wait": 0, "last": 1} | fields


def beats_of(config, command):
    """Beats of one vector."""
    return -(-command["elements"] // (1 if command["spread"] else config.x_per_beat))


def vector(rng, config, command, flaw=None):
    """The beats of a command's vectors; ``flaw`` puts tlast where it does not belong or takes it away."""
    count = beats_of(config, command)
    lasts = [int(command["last"] and n == count - 1) for n in range(count)] * (command["repeats"] + 1)
    if flaw is not None:
        lasts[flaw] ^= 1
    return [
        {"data": [rng.randrange(-1 << 15, 1 << 15) for _ in range(config.x_per_beat)], "last": last} for last in lasts
    ]


def write_of(config, command, index, beat):
    """What a beat writes: (places {(bank, element): value}, elements that become readable)."""
    elements = command["elements"]
    if command["spread"]:
        return {
            (k, command["target"] + index): beat["data"][min(k, config.x_per_beat - 1)] for k in range(config.contexts)
        }, 1
    first = index * config.x_per_beat
    places = {(command["bank"], command["target"] + first + n): value for n, value in enumerate(beat["data"])}
    in_vector = index % beats_of(config, command) * config.x_per_beat
    return places, min(config.x_per_beat, elements - in_vector)


class TB:
    """An input unit, its commands and beats, and vectors that become free at random.

    Parameters
    ----------
    work : list of (command, beats)
    buffers : int
    free : float
        Probability in each cycle that a vector in use becomes free.
    """

    def __init__(self, config, work, rng, buffers=1, free=1.0, idle=0.0, gap=0.0):
        self.config, self.work, self.rng = config, work, rng
        self.buffers, self.free, self.idle, self.gap = buffers, free, idle, gap
        self.unit = InputUnit(config)
        self.beats, self.commands = [], []  # cycles of the handshakes
        self.outputs = {}  # cycle -> (places, elements, misplaced)
        self.freed = []

    def run(self):
        unit = self.unit

        async def ends(context):
            context.set(unit.i_buffers, 1)
            context.set(unit.i_buffers_count, self.buffers)
            await context.tick()
            context.set(unit.i_buffers, 0)
            await source(unit.i, [c for c, _ in self.work], self.rng, self.idle)(context)
            await context.tick().until(unit.o_idle)
            await context.tick().repeat(2)

        beats = source(unit.i_x, [beat for _, beats in self.work for beat in beats], self.rng, self.gap)
        simulate(unit, ends, beats, background=(self.release, self.watch(), monitor(unit.i_x, "x")))
        self.check()
        return self

    async def release(self, context):
        """Free vectors that were taken; the next free one may come in the cycle in which one is taken."""
        used = now = 0
        takes = [n for n, (command, beats) in enumerate(self.work) if command["wait"] and beats]
        ends = {sum(len(b) for _, b in self.work[: n + 1]) - 1 for n in takes}
        count = 0
        while True:
            frees = used > 0 and self.rng.random() < self.free
            context.set(self.unit.i_free, frees)
            _, _, valid, ready = await context.tick().sample(self.unit.i_x.valid, self.unit.i_x.ready)
            if frees:
                self.freed.append(now)
                used -= 1
            if valid and ready:
                used += count in ends
                count += 1
            now += 1

    def watch(self):
        unit, config = self.unit, self.config

        def note(now, i_valid, i_ready, x_valid, x_ready, write, address, elements, misplaced, *data):
            if i_valid and i_ready:
                self.commands.append(now)
            if x_valid and x_ready:
                self.beats.append(now)
            if write or elements or misplaced:
                places = {}
                for n, value in enumerate(data):
                    if write >> n & 1:
                        bank, lane = divmod(n, config.x_per_beat)
                        places[bank, address * config.x_per_beat + lane] = value
                self.outputs[now] = places, elements, misplaced

        return observe(
            note,
            unit.i.valid,
            unit.i.ready,
            unit.i_x.valid,
            unit.i_x.ready,
            unit.o_write,
            unit.o_address,
            unit.o_elements,
            unit.o_misplaced,
            *unit.o_data,
        )

    def check(self):
        expected, cycles = {}, iter(self.beats)
        takes, before = [], -1
        for number, (command, beats) in enumerate(self.work):
            start = self.commands[number]
            assert start > before, "one command at a time"
            before = start
            for index, beat in enumerate(beats):
                now = next(cycles)
                assert now > start, "the first beat passes in the cycle after the command at the earliest"
                ends = index % beats_of(self.config, command) == beats_of(self.config, command) - 1
                places, elements = write_of(self.config, command, index, beat)
                expected[now + 1] = places, elements, int(beat["last"] != (command["last"] and ends))
                if command["wait"]:
                    free = self.buffers + sum(n < now for n in self.freed) - len(takes)
                    assert free > 0, f"cycle {now}: no vector is free"
                before = now
            if beats and command["wait"]:
                takes.append(now)
        assert next(cycles, None) is None
        assert self.outputs == expected


def random_work(rng, config, count, flaws=0.0):
    work, per_beat = [], config.x_per_beat
    for _ in range(count):
        spread = int(rng.random() < 0.5)
        elements = max(0, rng.choice((0, 1, per_beat - 1, per_beat, per_beat + 1, rng.randint(1, 3 * per_beat + 2))))
        step = 1 if spread else per_beat
        size = -(-elements // step) * step
        repeats = rng.choice((0, 0, min(2, X_ELEMENTS // max(1, size) - 1)))
        target = rng.randrange(0, X_ELEMENTS - (repeats + 1) * size + 1, step)
        command = input_command(
            elements,
            spread=spread,
            target=target,
            wait=int(rng.random() < 0.6),
            repeats=repeats,
            bank=rng.randrange(config.contexts),
            last=int(rng.random() < 0.8),
        )
        beats = (repeats + 1) * -(-elements // step)
        flaw = rng.randrange(beats) if beats and rng.random() < flaws else None
        work.append((command, vector(rng, config, command, flaw)))
    return work


@pytest.mark.parametrize("free", [1.0, 0.1])
@pytest.mark.parametrize("gap", [0.0, 0.8])
@pytest.mark.parametrize("name", CASES)
def test_random_vectors(name, gap, free):
    config = config_of(x_elements=X_ELEMENTS, **CASES[name])
    rng = random.Random(f"{name} {gap} {free}")
    work = random_work(rng, config, 30, flaws=0.3)
    bench = TB(config, work, rng, rng.randint(1, 3), free, rng.choice((0.0, 0.7)), gap).run()
    assert any(misplaced for _, _, misplaced in bench.outputs.values())


@pytest.mark.parametrize("elements", [1, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("spread", [0, 1])
def test_tlast_of_every_beat(elements, spread):
    """Missing at the end, early at each other beat, and on every beat: exactly those beats are reported."""
    config, rng = config_of(contexts=3, x_per_beat=4, x_elements=X_ELEMENTS), random.Random(elements)
    command = input_command(elements, spread=spread)
    count = elements if spread else -(-elements // 4)
    for flaw in (None, *range(count)):
        bench = TB(config, [(command, vector(rng, config, command, flaw))] * 2, rng).run()
        reported = [now - 1 for now, (_, _, misplaced) in bench.outputs.items() if misplaced]
        assert reported == ([] if flaw is None else [bench.beats[flaw], bench.beats[count + flaw]])
    unmarked = input_command(elements, spread=spread, last=0)
    beats = vector(rng, config, unmarked)
    assert not any(m for _, _, m in TB(config, [(unmarked, beats)], rng).run().outputs.values())
    marked = [beat | {"last": 1} for beat in beats]
    assert all(m for _, _, m in TB(config, [(unmarked, marked)], rng).run().outputs.values())


def test_one_beat_a_cycle_and_one_idle_cycle_between_commands():
    config, rng = config_of(x_per_beat=2, x_elements=X_ELEMENTS), random.Random(1)
    commands = [input_command(elements) for elements in (6, 1, 2, 7)]
    bench = TB(config, [(c, vector(rng, config, c)) for c in commands], rng).run()
    assert bench.commands == [1, 5, 7, 9]
    assert bench.beats == [2, 3, 4, 6, 8, 10, 11, 12, 13]


def test_waits_for_a_free_vector():
    """With all vectors in use no beat passes; one that becomes free lets the next pass in the following cycle."""
    config, rng = config_of(x_elements=X_ELEMENTS), random.Random(2)
    command = input_command(2, wait=1)
    bench = TB(config, [(command, vector(rng, config, command)) for _ in range(12)], rng, buffers=2, free=0.05).run()
    firsts = bench.beats[::2]
    for number in range(2, 12):
        assert firsts[number] == max(bench.freed[number - 2] + 1, bench.commands[number] + 1)


def test_buffers_can_be_set_again():
    """A second BUFFERS counts from its own number, whatever is still in use."""
    config = config_of(x_elements=X_ELEMENTS)
    unit = InputUnit(config)
    beats = []

    async def bench(context):
        context.set(unit.i.payload, input_command(1, wait=1))
        context.set(unit.i.valid, 1)
        context.set(unit.i_x.payload, {"data": [0], "last": 1})
        context.set(unit.i_x.valid, 1)
        for count in (3, 0, 1, 2):
            context.set(unit.i_buffers, 1)
            context.set(unit.i_buffers_count, count)
            await context.tick()
            context.set(unit.i_buffers, 0)
            before = len(beats)
            await context.tick().repeat(12)
            assert len(beats) - before == count

    def note(now, valid, ready, _):
        if valid and ready:
            beats.append(now)

    simulate(unit, bench, background=[observe(note, unit.i_x.valid, unit.i_x.ready, raw(unit.o_data))])
