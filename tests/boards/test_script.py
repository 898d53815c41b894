"""Script master against a slave with few registers, and the script of a scenario."""

import random

import pytest

from boards.script import ACCESS, Action, ScriptMaster, access, script_of
from lstm_hw.gateware.axi import DECERR, OKAY, SLVERR
from lstm_hw.machine.registers import lookup
from tests.boards.scenarios import small_scenario
from tests.simulation import simulate, source


class Slave:
    """AXI4-Lite slave: ``reads`` maps an address to the values that its reads give in turn, the last for ever."""

    def __init__(self, reads=None, stall=0.0, refused=None, seed=0):
        self.reads, self.stall, self.refused = reads or {}, stall, refused or {}
        self.rng, self.writes, self.asked = random.Random(seed), [], []

    async def _channel(self, context, valid, ready, *payload):
        """Take one beat."""
        while True:
            up = self.rng.random() >= self.stall
            context.set(ready, up)
            _, _, offered, *values = await context.tick().sample(valid, *payload)
            context.set(ready, 0)
            if up and offered:
                return values

    async def _answer(self, context, valid, ready, *values):
        while self.rng.random() < self.stall:
            await context.tick()
        for signal, value in values:
            context.set(signal, value)
        context.set(valid, 1)
        taken = False
        while not taken:
            _, _, taken = await context.tick().sample(ready)
        context.set(valid, 0)

    def benches(self, bus):
        addresses, data = [], []

        async def write_addresses(context):
            while True:
                addresses.append((await self._channel(context, bus.awvalid, bus.awready, bus.awaddr))[0])

        async def write_data(context):
            while True:
                value, strobes = await self._channel(context, bus.wvalid, bus.wready, bus.wdata, bus.wstrb)
                assert strobes == 0xF
                data.append(value)

        async def responses(context):
            while True:
                await context.tick()
                while addresses and data:
                    self.writes.append((addresses.pop(0), data.pop(0)))
                    response = self.refused.get(self.writes[-1][0], OKAY)
                    await self._answer(context, bus.bvalid, bus.bready, (bus.bresp, response))

        async def reads(context):
            while True:
                (address,) = await self._channel(context, bus.arvalid, bus.arready, bus.araddr)
                self.asked.append(address)
                values = self.reads[address]
                value = values.pop(0) if len(values) > 1 else values[0]
                await self._answer(
                    context, bus.rvalid, bus.rready, (bus.rdata, value), (bus.rresp, self.refused.get(address, OKAY))
                )

        return [write_addresses, write_data, responses, reads]


def play(accesses, slave):
    """Perform accesses; returns (o_kept, o_failed)."""
    master = ScriptMaster()
    found = []

    async def watch(context):
        for _ in accesses:
            done = False
            while not done:
                _, _, valid, ready = await context.tick().sample(master.i.valid, master.i.ready)
                done = valid and ready
        await context.tick().repeat(3)
        found.extend([context.get(master.o_kept), context.get(master.o_failed)])

    words = [ACCESS.from_bits(access(*each)) for each in accesses]
    simulate(master, source(master.i, words, random.Random(1)), watch, background=slave.benches(master.bus))
    return tuple(found)


@pytest.mark.parametrize("stall", [0.0, 0.5, 0.9])
def test_accesses_in_order(stall):
    slave = Slave({8: [0, 2, 3], 12: [0xFFFF00FF], 16: [0xCAFE]}, stall)
    accesses = [
        (Action.WRITE, 4, 0xDEADBEEF),
        (Action.WRITE, 0x1004, 1),
        (Action.UNTIL, 8, 3),
        (Action.NEVER, 12, 0xFF00),
        (Action.KEEP, 16),
        (Action.WRITE, 20, 5),
    ]
    assert play(accesses, slave) == (0xCAFE, 0)
    assert slave.writes == [(4, 0xDEADBEEF), (0x1004, 1), (20, 5)]
    assert slave.asked == [8, 8, 8, 12, 16]


@pytest.mark.parametrize(
    "accesses, refused",
    [
        ([(Action.NEVER, 12, 0x01), (Action.WRITE, 4, 0)], {}),
        ([(Action.WRITE, 4, 0), (Action.WRITE, 8, 0)], {4: SLVERR}),
        ([(Action.KEEP, 12), (Action.WRITE, 8, 0)], {12: DECERR}),
    ],
)
def test_failures_are_kept(accesses, refused):
    assert play(accesses, Slave({12: [0xFF]}, refused=refused))[1] == 1


def test_script_of_a_scenario():
    scenario = small_scenario(vectors=2)
    words = [ACCESS.from_bits(word) for word in script_of(scenario)]
    values = [(Action(word.action), word.address, word.data) for word in words]
    program = [
        (Action.WRITE, 0x4000 + 32 * entry + 4 * n, word >> 32 * n & 0xFFFFFFFF)
        for entry, word in enumerate(scenario.program)
        for n in range(5)
    ]
    assert values[: len(program)] == program
    runs = values[len(program) + 2 :]
    assert len(runs) == 8 * len(scenario.runs)
    for run, part in zip(scenario.runs, (runs[at : at + 8] for at in range(0, len(runs), 8)), strict=True):
        assert part == [
            (Action.WRITE, lookup("ENTRY").address, run.entry),
            (Action.WRITE, lookup("STEPS").address, run.steps),
            (Action.WRITE, lookup("FLAGS").address, int(run.clear) | 2),
            (Action.WRITE, lookup("CTRL").address, 1),
            (Action.NEVER, lookup("REFUSED").address, 1),
            (Action.UNTIL, lookup("CTRL").address, 2),
            (Action.NEVER, lookup("STATUS").address, 0xF),
            (Action.KEEP, lookup("CYCLES_LO").address, 0),
        ]
