"""The cycles of the weight ports against the load path itself in simulation."""

import numpy as np
import pytest

from lstm_hw.gateware.load_path import LoadPath
from lstm_hw.proof.load_timing import LoadPort, MemoryModel
from tests.builders import config_of
from tests.memories import Memory
from tests.simulation import observe, simulate

FIRST_LOAD = 3
"""Cycle in which the first LOAD is offered."""
CONFIGS = {
    "1 beat a word": {"rows": 4, "weight_words": 1024},
    "2 beats a word, 1 outstanding": {"rows": 8, "weight_words": 64, "outstanding": 1},
    "small buffer": {"rows": 16, "weight_words": 11, "outstanding": 3},
    "wide": {"rows": 32, "axi_data_bits": 512, "weight_words": 300},
    "padded": {"rows": 48, "axi_data_bits": 512, "weight_words": 50},
    "2 ports": {"rows": 32, "axi_ports": 2, "weight_words": 40},
    "4 ports, 1 outstanding": {"rows": 64, "axi_ports": 4, "axi_data_bits": 128, "weight_words": 60, "outstanding": 1},
}


def hardware(config, memory, loads, credits):
    """Cycles in which LOADs are taken and words can be used: (taken, fresh, ring)."""
    path = LoadPath(config)
    taken, fresh, ring = [], [], []

    async def driver(context):
        now = 0

        async def cycle():
            nonlocal now
            context.set(path.i_start, now == 0)
            # The credit of a release is registered.
            context.set(path.i_release, sum(words for when, words in credits if when - 1 == now))
            _, _, ready = await context.tick().sample(path.i.ready)
            now += 1
            return ready

        while now < FIRST_LOAD:
            await cycle()
        for load in loads:
            context.set(path.i.payload, load)
            context.set(path.i.valid, 1)
            while not await cycle():
                pass
            taken.append(now - 1)
            context.set(path.i.valid, 0)
        words = sum(load["beats"] for load in loads) // config.beats_per_word
        while len(fresh) + len(ring) < words:
            await cycle()

    def note(now, is_fresh, is_ring):
        # The token is counted in the next cycle.
        if is_fresh:
            fresh.append(now + 1)
        if is_ring:
            ring.append(now + 1)

    slaves = [Memory(bus, memory.latency, memory.interval).bench for bus in path.bus]
    simulate(path, driver, background=(observe(note, path.o_fresh, path.o_ring_word), *slaves), limit=20_000)
    return taken, fresh, ring


def model(config, memory, loads, credits):
    """The same from the closed form; a LOAD is offered when the one before was taken."""
    port = LoadPort(config, memory)
    for cycle, words in credits:
        port.credit(cycle, words * config.beats_per_word)
    taken = []
    for load in loads:
        earliest = taken[-1] + 1 if taken else FIRST_LOAD
        number = port.submit(load["offset"], load["beats"], bool(load["stream"]), earliest)
        taken.append(port.accepted(number))
    assert not port.unfinished
    return taken, *(words.between(0, words.count) for words in (port.fresh, port.ring))


def compare(config, memory, loads, credits=()):
    assert hardware(config, memory, loads, credits) == model(config, memory, loads, credits)


def load(words, config, stream=0, offset=0):
    return {"offset": offset, "beats": words * config.beats_per_word, "base": 0, "stream": stream}


@pytest.mark.parametrize("latency, interval", [(1, 1), (17, 1), (1, 3), (40, 2)])
@pytest.mark.parametrize("name", CONFIGS)
def test_random_loads(name, latency, interval):
    """Resident words and the ring, page borders, bursts that wait for credit that comes in portions."""
    config = config_of(**CONFIGS[name])
    rng = np.random.default_rng([latency, interval, len(name)])
    loads, needed = [], 0
    for _ in range(int(rng.integers(6, 14))):
        words = int(rng.choice([1, 2, rng.integers(1, min(config.weight_words, 60))]))
        stream = int(rng.random() < 0.5)
        loads.append(load(words, config, stream, offset=int(rng.integers(0, 2000))))
        needed += stream * words
    credits, cycle, burst_words = [], 1, -(-config.max_burst // config.beats_per_word)
    while needed > 0:
        portion = int(rng.integers(1, min(config.weight_words, 2 * burst_words) + 1))
        credits.append((cycle, portion))
        needed -= portion
        cycle += int(rng.integers(1, 60))
    # Bursts are cut without regard to the portions: the last one may need more than is left.
    credits.append((cycle, burst_words))
    compare(config, MemoryModel(latency, interval), loads, credits)


def test_one_load_by_hand():
    """A word of one beat: taken in 3, three cycles in the splitter, the bus, then the token."""
    config = config_of(rows=4)
    taken, fresh, _ = model(config, MemoryModel(1, 1), [load(2, config)], [])
    assert (taken, fresh) == ([3], [3 + 3 + 1 + 1 + 3, 12])
    compare(config, MemoryModel(1, 1), [load(2, config)])


def test_more_loads_than_can_be_awaited():
    config = config_of(rows=4, outstanding=2)
    for memory in (MemoryModel(), MemoryModel(30, 1), MemoryModel(3, 5)):
        compare(config, memory, [load(n % 3 + 1, config, offset=510 * n) for n in range(20)])


def test_a_load_that_never_gets_its_credit_stays():
    config = config_of(rows=4)
    port = LoadPort(config, MemoryModel())
    port.submit(0, 8, True, 1)
    assert port.unfinished and not port.ring.count
    port.credit(100, 7)
    assert port.unfinished
    port.credit(200, 1)
    assert not port.unfinished and port.ring.count == 8 and port.ring.at(0) > 200
