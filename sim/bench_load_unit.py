"""cocotb bench of the emitted load unit against cocotbext-axi's memories, which check bursts on their own terms."""

import logging
import random
from collections import deque
from collections.abc import Iterator, Sequence

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiRamRead, AxiReadBus, AxiSlaveRead
from cocotbext.axi.address_space import Region

from lstm_hw.machine.isa import BEATS_BITS
from lstm_hw.machine.limits import PAGE_BYTES

from .clock import start_clock
from .progress import heartbeat, report_progress

MEMORY_BYTES = 1 << 18
STALLS = (0, 0.1, 0.5, 0.9)
CYCLES_LIMIT = 200_000
Loads = Sequence[tuple[int, int, int]]
"""Descriptors: offset, beats, whether they go to the ring."""


def tries(most: int, share: float) -> int:
    """How many tries at this probability of a pause: fewer of those that take ten times as long."""
    return 1 + round((most - 1) * (1 - share))


class PoisonedMemory(Region):
    """Memory in which reading some words raises, to which the slave model answers SLVERR."""

    def __init__(self, content: bytes):
        super().__init__(1 << 64)
        self.content, self.poisoned = content, set()

    async def _read(self, address, length, **kwargs):
        if address in self.poisoned:
            raise ValueError(f"word {address:#x} is poisoned")
        address %= len(self.content)
        return self.content[address : address + length]


class TB:
    """The load unit with a memory, a source of descriptors, a consumer that gives credit, and bus monitors."""

    def __init__(self, dut: HierarchyObject, *, poisonable: bool = False):
        self.dut, self.rng = dut, random.Random(random.getrandbits(64))
        self.word_bytes = len(dut.bus_rdata) // 8
        self.content = self.rng.randbytes(MEMORY_BYTES)
        self.base = self.rng.getrandbits(len(dut.base)) // 2 & -self.word_bytes
        logging.getLogger(f"cocotb.{dut._name}.bus").setLevel(logging.ERROR)
        for name in ("i_valid", "i_payload", "i_start", "i_capacity", "i_credit", "i_stop", "i_timeout"):
            getattr(dut, name).value = 0
        dut.base.value = self.base
        dut.rst.value = 1
        start_clock(dut.clk)
        cocotb.start_soon(heartbeat())
        bus = AxiReadBus.from_prefix(dut, "bus")
        if poisonable:
            self.target = PoisonedMemory(self.content)
            self.memory = AxiSlaveRead(bus, dut.clk, dut.rst, target=self.target)
        else:
            self.memory = AxiRamRead(bus, dut.clk, dut.rst, size=MEMORY_BYTES)
            self.memory.write(0, self.content)
        self.queue, self.offer_share, self.credit_share = deque(), 1, 1
        self.clear(0)
        cocotb.start_soon(self.drive())
        cocotb.start_soon(self.monitor())

    def clear(self, capacity: int) -> None:
        self.beats, self.received, self.owed = [], 0, 0
        self.credited, self.capacity, self.returned = deque(), capacity, 0
        self.used = 0

    async def reset(self) -> None:
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 4)

    def stall(self, share: float) -> None:
        """Pause AR, R, descriptors and credit with this probability a cycle."""

        def pauses(rng):
            while True:
                yield rng.random() < share

        for channel in (self.memory.ar_channel, self.memory.r_channel):
            channel.set_pause_generator(pauses(random.Random(self.rng.random())) if share else None)
            if not share:
                channel.pause = False
        self.offer_share = self.credit_share = 1 - share

    async def drive(self) -> None:
        """Offers the queued descriptors, never withdrawing one, and gives back buffer space."""
        dut, rng = self.dut, self.rng
        offered = False
        while True:
            await RisingEdge(dut.clk)
            if offered and int(dut.i_ready.value) and self.queue:
                offset, beats, credited = self.queue.popleft()
                self.credited.extend([credited] * beats)
                offered = False
            if not self.queue:
                offered = False
            elif not offered and rng.random() < self.offer_share:
                offered = True
                offset, beats, credited = self.queue[0]
                dut.i_payload.value = offset | beats << 32 | credited << 56
            dut.i_valid.value = int(offered)
            amount = rng.randint(0, self.used) if rng.random() < self.credit_share else 0
            self.used -= amount
            dut.i_credit.value = amount

    async def monitor(self) -> None:
        """Collects the beats and checks what holds in every cycle."""
        dut = self.dut
        waiting = None
        while True:
            await RisingEdge(dut.clk)
            if int(dut.rst.value):
                waiting = None
                continue
            if int(dut.o_valid.value):
                word = int(dut.o.value)
                bits = 8 * self.word_bytes
                self.beats.append((word & (1 << bits) - 1, word >> bits & 1, word >> bits + 1))
                self.used += self.credited[len(self.beats) - 1]
                assert self.used <= self.capacity, "more beats than the consumer has room for"
            valid, ready = int(dut.bus_arvalid.value), int(dut.bus_arready.value)
            request = (int(dut.bus_araddr.value), int(dut.bus_arlen.value)) if valid else None
            assert waiting is None or request == waiting, f"AR changed from {waiting} to {request} before it was taken"
            waiting = request if valid and not ready else None
            if self.owed:
                assert int(dut.bus_rready.value), "a beat is owed and RREADY is low"
            assert not (int(dut.o_idle.value) and (self.owed or valid)), "idle with beats owed"
            if int(dut.bus_rvalid.value) and int(dut.bus_rready.value):
                self.owed -= 1
                self.received += 1
            if valid and ready:
                self.owed += request[1] + 1

    async def start(self, loads: Loads, capacity: int) -> None:
        self.clear(capacity)
        self.dut.i_capacity.value = capacity
        self.dut.i_start.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.i_start.value = 0
        self.queue.extend(loads)

    async def idle(self) -> None:
        """Wait until the queued descriptors are done with."""
        quiet = 0
        for _ in range(CYCLES_LIMIT):
            await RisingEdge(self.dut.clk)
            quiet = quiet + 1 if int(self.dut.o_idle.value) and not self.queue else 0
            if quiet == 3:
                return
        raise AssertionError(f"not idle after {CYCLES_LIMIT} cycles")

    def random_loads(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Descriptors of all kinds, many of which begin or end close to a page boundary."""
        rng, page = self.rng, 4096 // self.word_bytes
        to_page = -(self.base // self.word_bytes) % page
        for _ in range(count):
            offset = rng.randrange(1 << 12)
            if rng.random() < 0.5:
                offset = max(0, to_page + page * rng.randrange(9) - rng.randrange(9))
            beats = rng.choice([0, 1, 2, rng.randrange(1, 9), rng.randrange(1, 40), rng.randrange(1, 2 * page)])
            yield offset, beats, rng.randrange(2)

    def words(self, loads: Loads) -> list[int]:
        """Byte address of every beat."""
        space = 1 << len(self.dut.base)
        offsets = [offset + i for offset, beats, _ in loads for i in range(beats)]
        return [(self.base + offset * self.word_bytes) % space for offset in offsets]

    def expected(self, loads: Loads) -> list[tuple[int, int, int]]:
        edges = [(int(i == 0), int(i == beats - 1)) for _, beats, _ in loads for i in range(beats)]
        data = [
            int.from_bytes((self.content * 2)[a % MEMORY_BYTES :][: self.word_bytes], "little")
            for a in self.words(loads)
        ]
        return [(word, first, last) for word, (first, last) in zip(data, edges, strict=True)]

    async def clean_run(self, count: int, capacity: int) -> None:
        loads = list(self.random_loads(count))
        await self.start(loads, capacity)
        await self.idle()
        assert self.dut.o_error.value == 0
        assert self.beats == self.expected(loads)

    @property
    def capacity_choices(self) -> list[int]:
        return [PAGE_BYTES // self.word_bytes, 3 * PAGE_BYTES // self.word_bytes + 5, (1 << BEATS_BITS) - 1]


@cocotb.test()
async def delivers_all_beats(dut: HierarchyObject) -> None:
    """Every beat, in order, whatever pauses and however little buffer space."""
    tb = TB(dut)
    await tb.reset()
    for number, share in enumerate(STALLS):
        tb.stall(share)
        for capacity in tb.capacity_choices:
            await tb.clean_run(tries(5, share), capacity)
        report_progress(number + 1, len(STALLS))


@cocotb.test()
async def ends_at_an_error(dut: HierarchyObject) -> None:
    """A word that cannot be read: exact code and address, only beats before it, and a clean next run."""
    tb = TB(dut, poisonable=True)
    await tb.reset()
    for share in STALLS:
        tb.stall(share)
        for _ in range(tries(3, share)):
            loads = list(tb.random_loads(5)) + [(7, 20, 1)]
            words = tb.words(loads)
            bad = tb.rng.choice(words)
            tb.target.poisoned = {bad}
            await tb.start(loads, tb.capacity_choices[1])
            while not int(dut.o_error.value):
                await RisingEdge(dut.clk)
            tb.queue.clear()
            await tb.idle()
            assert dut.o_error.value == 1
            assert int(dut.o_error_address.value) == bad
            assert tb.beats == tb.expected(loads)[: words.index(bad)]
            tb.target.poisoned = set()
            await tb.clean_run(3, tb.capacity_choices[1])


@cocotb.test()
async def stops_in_any_cycle(dut: HierarchyObject) -> None:
    """A stop drains the bus, and the next run is clean."""
    tb = TB(dut)
    await tb.reset()
    for share in STALLS:
        tb.stall(share)
        for _ in range(tries(4, share)):
            loads = list(tb.random_loads(6))
            await tb.start(loads, tb.capacity_choices[1])
            await ClockCycles(dut.clk, tb.rng.randrange(1, 150))
            dut.i_stop.value = 1
            await RisingEdge(dut.clk)
            dut.i_stop.value = 0
            tb.queue.clear()
            await tb.idle()
            assert tb.owed == 0 and dut.o_error.value == 0
            assert tb.beats == tb.expected(loads)[: len(tb.beats)]
            await tb.clean_run(3, tb.capacity_choices[1])
