"""The engine in Amaranth's simulator: outputs of the integer LSTM, and every counter of the cycle model."""

import pytest

from lstm_hw.gateware.engine import Engine
from lstm_hw.machine.registers import COUNTERS, lookup
from lstm_hw.verify.scenario import BENCH_MEMORY
from tests.memories import Memory
from tests.sim.scenarios import network_scenario, streaming_scenario
from tests.simulation import simulate

STREAMING = {
    "inputs": 20,
    "units": 4,
    "steps": 2,
    "batch": 2,
    "pinned": 4,
    "tile_columns": 4,
    "rows": 16,
    "contexts": 2,
    "x_per_beat": 2,
    "x_elements": 128,
    "weight_words": 60,
    "accumulators": 16,
}


def play(scenario):
    """The runs of a scenario one after the other; packets and counters of each."""
    engine, found = Engine(scenario.config), []
    beats, packets = [], [[]]

    async def bench(context):
        for port, address in enumerate(scenario.addresses):
            context.set(engine.i_weights[port], address)
        context.set(engine.i_program_write, 1)
        for address, word in enumerate(scenario.program):
            context.set(engine.i_program_address, address)
            context.set(engine.i_program_data, word)
            await context.tick()
        context.set(engine.i_program_write, 0)
        for run in scenario.runs:
            context.set(engine.i_entry, lookup("ENTRY").field("address").extract(run.entry))
            context.set(engine.i_steps, run.steps)
            context.set(engine.i_clear, run.clear)
            context.set(engine.i_start, 1)
            beats.extend(zip(run.x.tolist(), run.lasts.tolist(), strict=True))
            await context.tick()
            context.set(engine.i_start, 0)
            await context.tick().until(engine.o_done)
            await context.tick().repeat(2)
            counters = {name.lower(): context.get(engine.o_count[name.lower()]) for name in COUNTERS}
            found.append((packets[:-1], counters))
            packets[:] = [[]]

    async def feed(context):
        """The x stream has the next beat as soon as the one before is taken."""
        sent = 0
        while True:
            there = sent < len(beats)
            context.set(engine.i_x.valid, there)
            if there:
                context.set(engine.i_x.payload, {"data": beats[sent][0], "last": beats[sent][1]})
            _, _, ready = await context.tick().sample(engine.i_x.ready)
            sent += there and ready

    async def take(context):
        context.set(engine.o_y.ready, 1)
        while True:
            _, _, valid, beat = await context.tick().sample(engine.o_y.valid, engine.o_y.payload)
            if valid:
                packets[-1].append(beat.data)
                if beat.last:
                    packets.append([])

    def content(image, start):
        size = scenario.config.beat_bytes
        return lambda address: int.from_bytes(image[address - start : address - start + size], "little")

    memories = [
        Memory(bus, BENCH_MEMORY.latency, BENCH_MEMORY.interval, content(image, start)).bench
        for bus, image, start in zip(engine.bus, scenario.images, scenario.addresses, strict=True)
    ]
    simulate(engine, bench, background=(feed, take, *memories))
    return found


@pytest.mark.parametrize(
    "scenario",
    [
        lambda: network_scenario(1, sizes=(3, 5), steps=(2, 1), rows=4, head=3),
        lambda: streaming_scenario(2, **STREAMING, cells=5),
    ],
    ids=["resident", "streaming"],
)
def test_bits_and_counters(scenario):
    scenario = scenario()
    assert play(scenario) == [(run.outputs, run.counters) for run in scenario.runs]
