"""The load path over ports that drift apart: a word counts when all its parts are there."""

import random

import pytest

from lstm_hw.gateware.load_path import LoadPath
from lstm_hw.machine.limits import PAGE_BYTES
from tests.builders import config_of
from tests.memories import Memory
from tests.simulation import observe, simulate

RING = 20
CONFIGS = {
    "1 port": {"rows": 16, "weight_words": 50},
    "2 ports": {"rows": 32, "axi_ports": 2, "weight_words": 50},
    "4 ports": {"rows": 64, "axi_ports": 4, "axi_data_bits": 128, "weight_words": 50},
    "2 ports, padded": {"rows": 96, "axi_ports": 2, "axi_data_bits": 512, "weight_words": 50},
}


class Bench:
    """LOADs of resident words below the ring and of ring words, which are released as they arrive."""

    def __init__(self, config, seed):
        self.config, self.path, self.rng = config, LoadPath(config), random.Random(seed)
        self.bases = [PAGE_BYTES * self.rng.randrange(1 << 10) for _ in range(config.axi_ports)]
        self.fills = [[] for _ in self.bases]  # (cycle, address, chunk, data)
        self.tokens = {"fresh": [], "ring": []}
        self.loads, self.now, self.beats = [], 0, 0

    def word(self, port):
        """Content of a port's memory: different at every address of every port."""
        bits = self.config.axi_data_bits
        return lambda address: random.Random(address * 8 + port).getrandbits(bits)

    def random_loads(self, count):
        """Commands; resident words lie below the ring."""
        for _ in range(count):
            stream = self.rng.random() < 0.5
            words = self.rng.randrange(1, 30 if stream else RING)
            self.loads.append(
                {
                    "offset": self.rng.randrange(1000),
                    "beats": words * self.config.beats_per_word,
                    "stream": int(stream),
                    "base": 0 if stream else self.rng.randrange(RING - words + 1),
                }
            )

    def expected(self):
        """(address, chunk, offset) of every beat of a port, in order, and the kinds of the words."""
        beats, kinds, ring = [], [], RING
        for load in self.loads:
            for n in range(load["beats"] // self.config.beats_per_word):
                word = ring if load["stream"] else load["base"] + n
                if load["stream"]:
                    ring = RING if ring == self.config.weight_words - 1 else ring + 1
                kinds.append("ring" if load["stream"] else "fresh")
                beats += [
                    (word, chunk, load["offset"] + n * self.config.beats_per_word + chunk)
                    for chunk in range(self.config.beats_per_word)
                ]
        return beats, kinds

    async def drive(self, context):
        path = self.path

        async def cycle(release=0):
            context.set(path.i_release, release)
            _, _, ready = await context.tick().sample(path.i.ready)
            self.now += 1
            return ready

        for port, base in zip(path.i_weights, self.bases, strict=True):
            context.set(port, base)
        context.set(path.i_start, 1)
        await cycle()
        context.set(path.i_start, 0)
        context.set(path.i_ring, 1)
        context.set(path.i_ring_base, RING)
        await cycle()
        context.set(path.i_ring, 0)
        released, queue = 0, list(self.loads)
        words = sum(load["beats"] for load in self.loads) // self.config.beats_per_word
        while len(self.tokens["fresh"]) + len(self.tokens["ring"]) < words or not context.get(path.o_idle):
            context.set(path.i.valid, bool(queue))
            if queue:
                context.set(path.i.payload, queue[0])
            release = self.rng.randrange(len(self.tokens["ring"]) - released + 1)
            released += release
            if await cycle(release) and queue:
                queue.pop(0)
        assert not queue and context.get(path.o_quiet)

    def note(self, now, fresh, ring, beats, error, *fills):
        assert not error
        self.beats += beats
        for name, token in (("fresh", fresh), ("ring", ring)):
            if token:
                self.tokens[name].append(now)
        for port, fill in enumerate(fills):
            if fill.valid:
                self.fills[port].append((now, int(fill.address), int(fill.chunk), int(fill.data)))

    def run(self, memories):
        path = self.path
        watch = observe(self.note, path.o_fresh, path.o_ring_word, path.o_beats, path.o_error, *path.o_fill)
        simulate(path, self.drive, background=(watch, *(memory.bench for memory in memories)), limit=60_000)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CONFIGS)
def test_ports_that_drift(name, seed):
    config = config_of(**CONFIGS[name])
    bench = Bench(config, f"{name} {seed}")
    bench.random_loads(12)
    rng = bench.rng
    bench.run(
        [
            Memory(
                bus, rng.randrange(1, 90), rng.choice((1, 1, 2, 5)), bench.word(port), rng, rng.choice((0, 0.3, 0.7))
            )
            for port, bus in enumerate(bench.path.bus)
        ]
    )
    beats, kinds = bench.expected()
    assert bench.beats == config.axi_ports * len(beats)
    there = [0] * len(kinds)
    for port, fills in enumerate(bench.fills):
        addresses = [bench.bases[port] + offset * config.beat_bytes for _, _, offset in beats]
        assert [fill[1:] for fill in fills] == [
            (word, chunk, bench.word(port)(address)) for (word, chunk, _), address in zip(beats, addresses, strict=True)
        ]
        last = [now for now, _, _, _ in fills[config.beats_per_word - 1 :: config.beats_per_word]]
        there = [max(pair) for pair in zip(there, last, strict=True)]
    # Words of a kind are in the order of their LOADs: the n-th token comes with the n-th word's last part.
    for kind, times in bench.tokens.items():
        assert times == [now for now, of in zip(there, kinds, strict=True) if of == kind]


def test_names_the_first_port_that_failed():
    config = config_of(**CONFIGS["4 ports"])
    for failing in ({0}, {2}, {1, 3}):
        path, answered = LoadPath(config), []

        async def drive(context, path=path, failing=failing, answered=answered):
            for port, base in enumerate(path.i_weights):
                context.set(base, (port + 1) * PAGE_BYTES)
            context.set(path.i_start, 1)
            await context.tick()
            context.set(path.i_start, 0)
            for port in failing:
                context.set(path.bus[port].rresp, 3)
            context.set(path.i.payload, {"offset": 3, "beats": 8, "base": 0, "stream": 0})
            context.set(path.i.valid, 1)
            await context.tick().until(path.i.ready)
            context.set(path.i.valid, 0)
            await context.tick().until(path.o_error != 0)
            answered.append(tuple(map(context.get, (path.o_error, path.o_error_port, path.o_error_address))))
            await context.tick().until(path.o_quiet)

        simulate(path, drive, background=tuple(Memory(bus).bench for bus in path.bus))
        first = min(failing)
        assert answered == [(2, first, (first + 1) * PAGE_BYTES + 3 * config.beat_bytes)]
