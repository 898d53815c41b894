"""The cycles of the weight port against the load path itself: fill unit and memory reader in simulation."""

from collections import deque

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.gateware.axi import Axi4Read
from lstm_hw.gateware.fill_unit import FillUnit
from lstm_hw.gateware.instruction import command_layout
from lstm_hw.gateware.load_unit import LoadUnit
from lstm_hw.plan.load_timing import LoadPort, MemoryModel
from tests.builders import config_of
from tests.simulation import observe, simulate

FIRST_LOAD = 3
"""Cycle in which the first LOAD is offered."""
CONFIGS = {
    "1 beat a word": {"rows": 4, "weight_words": 1024},
    "2 beats a word, 1 outstanding": {"rows": 8, "weight_words": 64, "outstanding": 1},
    "small buffer": {"rows": 16, "weight_words": 11, "outstanding": 3},
    "wide": {"rows": 32, "axi_data_bits": 512, "weight_words": 300},
    "padded": {"rows": 48, "axi_data_bits": 512, "weight_words": 50},
}


class LoadPath(wiring.Component):
    """Fill unit and memory reader, connected as in the engine."""

    def __init__(self, config):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(command_layout("LOAD"))), "i_credit": In(24), "i_start": In(1),
            "bus": Out(Axi4Read(config.axi_address_bits, config.axi_data_bits)),
            "o_fresh": Out(1), "o_ring_word": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.fill = fill = FillUnit(config)
        m.submodules.load = load = LoadUnit(config.axi_address_bits, config.axi_data_bits, config.outstanding,
                                            config.max_burst)
        wiring.connect(m, wiring.flipped(self.i), fill.i)
        wiring.connect(m, fill.o, load.i)
        wiring.connect(m, load.bus, wiring.flipped(self.bus))
        m.d.comb += [load.i_start.eq(self.i_start), load.i_credit.eq(self.i_credit), load.i_timeout.eq(0),
                     fill.i_beat.eq(load.o_valid), fill.i_data.eq(load.o.data),
                     self.o_fresh.eq(fill.o_fresh), self.o_ring_word.eq(fill.o_ring_word)]
        return m


def hardware(config, memory, loads, credits):
    """Cycles in which LOADs are taken and words can be used: (taken, fresh, ring)."""
    path = LoadPath(config)
    taken, fresh, ring, scheduled = [], [], [], deque()

    async def driver(context):
        now = 0

        async def cycle():
            nonlocal now
            context.set(path.i_start, now == 0)
            context.set(path.i_credit, sum(beats for when, beats in credits if when == now))
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

    async def slave(context):
        now = free = 0
        context.set(path.bus.arready, 1)
        while True:
            answers = bool(scheduled) and scheduled[0][0] <= now
            context.set(path.bus.rvalid, answers)
            if answers:
                context.set(path.bus.rlast, scheduled[0][1])
            _, _, asks, length, ready = await context.tick().sample(path.bus.arvalid, path.bus.arlen, path.bus.rready)
            if answers:
                assert ready, "the reader takes a beat in the cycle in which it comes"
                scheduled.popleft()
            if asks:
                first = max(now + memory.latency, free)
                scheduled.extend((first + n * memory.interval, n == length) for n in range(length + 1))
                free = first + (length + 1) * memory.interval
            now += 1

    def note(now, is_fresh, is_ring):
        # The token is counted in the next cycle.
        if is_fresh:
            fresh.append(now + 1)
        if is_ring:
            ring.append(now + 1)

    simulate(path, driver, background=(observe(note, path.o_fresh, path.o_ring_word), slave), limit=20_000)
    return taken, fresh, ring


def model(config, memory, loads, credits):
    """The same from the closed form; a LOAD is offered when the one before was taken."""
    port = LoadPort(config, memory)
    for cycle, beats in credits:
        port.credit(cycle, beats)
    taken = []
    for load in loads:
        earliest = taken[-1] + 1 if taken else FIRST_LOAD
        number = port.submit(load["offset"], load["beats"], bool(load["stream"]), earliest)
        taken.append(port.accepted(number))
    assert not port.unfinished
    return taken, port.fresh, port.ring


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
        needed += stream * words * config.beats_per_word
    credits, cycle = [], 1
    while needed > 0:
        portion = int(rng.integers(1, 2 * config.max_burst + 1))
        credits.append((cycle, portion))
        needed -= portion
        cycle += int(rng.integers(1, 60))
    # Bursts are cut without regard to the portions: the last one may need more than is left.
    credits.append((cycle, config.max_burst))
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
    assert port.unfinished and not port.ring
    port.credit(100, 7)
    assert port.unfinished
    port.credit(200, 1)
    assert not port.unfinished and len(port.ring) == 8 and port.ring[0] > 200
