"""Load unit against a cycle-based slave model with monitors and an exact model of its request timing."""

import random
from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from amaranth import ResetInserter, Signal, Value
from amaranth.sim import Simulator

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import DECERR, OKAY, SLVERR
from lstm_hw.gateware.load_unit import LoadUnit
from lstm_hw.machine.registers import ErrorCode

PAGE = 4096
PLENTY = (1 << 24) - 1


@dataclass(frozen=True)
class Load:
    """One descriptor; ``pause`` cycles pass between the acceptance of the one before and its offer."""

    offset: int
    beats: int
    credited: bool = False
    pause: int = 0


def content(word, data_bits):
    """What the memory holds at a word address: distinct words, all bits in use."""
    return (word + 1) * 0x9E3779B97F4A7C15_F39CC0605CEDC835 ** (data_bits // 64) % (1 << data_bits)


def bursts_of(first_word, beats, max_burst, page_words):
    """The definition of a split: (word, length) pairs, as long as possible, none across a page."""
    while beats:
        length = min(beats, max_burst, page_words - first_word % page_words)
        yield first_word, length
        first_word, beats = first_word + length, beats - length


@dataclass
class Slave:
    """AXI4 read memory: response delay, pauses and faults of choice.

    ``stall_ar`` and ``stall_r`` are functions of the cycle and the number of handshakes so far;
    ``faults`` maps the number of a beat to its response; ``rlast_faults`` names beats whose RLAST is inverted, and
    ``counts`` says that the slave sends what was asked for nevertheless: else RLAST ends a burst, and one without it
    has one more beat.
    """

    latency: object = 1
    stall_ar: object = lambda cycle, done: False
    stall_r: object = lambda cycle, done: False
    faults: dict = field(default_factory=dict)
    rlast_faults: frozenset = frozenset()
    counts: bool = True


class Bench:
    """Drives a load unit cycle by cycle; every cycle is checked by the monitors in ``check``."""

    def __init__(self, unit, base=0x1234_0000, timeout=0):
        self.unit, self.base, self.timeout = unit, base, timeout
        self.word_bytes = unit.data_bits // 8
        self.page_words = PAGE // self.word_bytes
        bus, names = unit.bus, ("arvalid", "araddr", "arlen", "arsize", "arburst", "arid", "arlock", "rready")
        self.outputs = {name: getattr(bus, name) for name in names} | {
            "ready": unit.i.ready,
            "valid": unit.o_valid,
            "data": unit.o.data,
            "first": unit.o.first,
            "last": unit.o.last,
            "beats": unit.o_beats,
            "error": unit.o_error,
            "address": unit.o_error_address,
            "idle": unit.o_idle,
            "waiting": unit.o_waiting,
        }
        self.cycle = 0
        self.asked = True  # whatever comes was asked for since the start
        self.clear()

    def clear(self):
        """What a bus reset makes the slave and the monitors forget."""
        self.queue, self.pause = deque(), 0
        self.offered, self.accepted = [], []  # cycles, one a descriptor
        self.credits = []  # (cycle, beats)
        self.rises = []  # (cycle, length) at each first cycle of ARVALID
        self.ar = []  # (word, length, cycle) at each AR handshake
        self.r, self.r_last = [], []  # cycles of all and of last R handshakes
        self.delivered = []  # (data, first, last, cycle)
        self.owed, self.presented = deque(), None  # bursts of the slave, and the one whose RVALID is up
        self.before = None

    def simulate(self, scenario, design=None):
        """Run ``async scenario(bench)``."""
        simulator = Simulator(design or self.unit)
        simulator.add_clock(1e-6)

        async def testbench(context):
            self.context = context
            context.set(self.unit.base, self.base)
            context.set(self.unit.i_timeout, self.timeout)
            await scenario(self)

        simulator.add_testbench(testbench)
        simulator.run()

    async def start(self, loads, slave, capacity=PLENTY):
        """Pulse ``i_start`` and queue descriptors."""
        self.clear()
        self.slave, self.loads = slave, list(loads)
        self.context.set(self.unit.i_start, 1)
        self.context.set(self.unit.i_capacity, capacity)
        self.credits.append((self.cycle, capacity))
        await self.step()
        self.context.set(self.unit.i_start, 0)
        self.queue.extend(loads)
        self.pause = loads[0].pause

    async def step(self, stop=0, credit=0):
        """One clock cycle: drive, sample just before the edge, check, account."""
        unit, bus, context, slave = self.unit, self.unit.bus, self.context, self.slave
        offer = self.queue[0] if self.queue and self.pause == 0 else None
        context.set(unit.i.valid, offer is not None)
        if offer:
            context.set(unit.i.payload, {"offset": offer.offset, "beats": offer.beats, "credited": offer.credited})
            if len(self.offered) == len(self.accepted):
                self.offered.append(self.cycle)
        elif self.pause:
            self.pause -= 1
        context.set(unit.i_stop, stop)
        context.set(unit.i_credit, credit)
        if credit:
            self.credits.append((self.cycle, credit))

        arready = not slave.stall_ar(self.cycle, len(self.ar))
        context.set(bus.arready, arready)
        if (
            self.presented is None
            and self.owed
            and self.cycle >= self.owed[0].ready
            and not slave.stall_r(self.cycle, len(self.r))
        ):
            self.presented = self.owed[0]
        beat = self.presented
        context.set(bus.rvalid, beat is not None)
        if beat:
            last = (beat.length == 1) != (len(self.r) in slave.rlast_faults)
            context.set(bus.rdata, content(beat.word, unit.data_bits))
            context.set(bus.rresp, slave.faults.get(len(self.r), OKAY))
            context.set(bus.rlast, last)

        _, _, *values = await context.tick().sample(*(Value.cast(s) for s in self.outputs.values()))
        now = SimpleNamespace(**dict(zip(self.outputs, values, strict=True)))
        now.arready, now.stop = arready, stop
        self.check(now)

        if offer and now.ready:
            self.accepted.append(self.cycle)
            self.queue.popleft()
            self.pause = self.queue[0].pause if self.queue else 0
        handshake = bool(beat and now.rready)
        if handshake:
            self.r.append(self.cycle)
            self.presented = None
            ends = beat.length == 1 if slave.counts else last
            beat.word, beat.length = beat.word + 1, max(1, beat.length - 1)
            if ends:
                self.owed.popleft()
                self.r_last.append(self.cycle)
        if now.arvalid and arready:
            word, length = now.araddr // self.word_bytes, now.arlen + 1
            latency = slave.latency(len(self.ar)) if callable(slave.latency) else slave.latency
            self.ar.append((word, length, self.cycle))
            self.owed.append(SimpleNamespace(word=word, length=length, ready=self.cycle + latency))
        if now.valid:
            self.delivered.append((now.data, now.first, now.last, self.cycle))
        now.handshake = handshake
        self.before = now
        self.cycle += 1
        return now

    def check(self, now):
        """AXI rules and promises of the unit that hold in every cycle."""
        before, unit = self.before, self.unit
        if now.arvalid:
            assert now.arburst == 1 and now.arid == 0 and now.arlock == 0
            assert 1 << now.arsize == self.word_bytes
            assert now.araddr % self.word_bytes == 0
            assert now.arlen < unit.max_burst
            assert now.araddr // PAGE == (now.araddr + (now.arlen + 1) * self.word_bytes - 1) // PAGE
        if before is not None and before.arvalid and not before.arready:
            assert now.arvalid, "ARVALID withdrawn"
            assert (now.araddr, now.arlen) == (before.araddr, before.arlen), "AR payload changed"
        elif now.arvalid:
            self.rises.append((self.cycle, now.arlen + 1))
        if self.owed:
            assert now.rready, "a beat is owed and RREADY is low"
        if self.asked:
            if self.owed or now.arvalid or now.valid:
                assert not now.idle
            assert now.waiting == bool(self.owed or now.arvalid)
        assert len(self.rises) - len(self.r_last) <= unit.in_flight
        if before is not None:
            assert now.beats == before.handshake or (before.handshake and not self.asked)
            assert not now.valid or (before.handshake and not before.stop)

    async def run(self, limit=20_000, credit=lambda bench: 0):
        """Step until all queued descriptors are taken and the unit is idle."""
        for _ in range(limit):
            now = await self.step(credit=credit(self))
            just_accepted = self.accepted and self.accepted[-1] == self.cycle - 1
            if now.idle and now.ready and not self.queue and not just_accepted:
                return now
        raise AssertionError(f"not idle after {limit} cycles")

    def expected(self, loads=None):
        """Bursts and beats of the loads, by definition."""
        bursts, beats = [], []
        space = 1 << self.unit.address_bits
        for load in self.loads if loads is None else loads:
            word = (self.base + load.offset * self.word_bytes) % space // self.word_bytes
            bursts += bursts_of(word, load.beats, self.unit.max_burst, self.page_words)
            beats += [(content(word + i, self.unit.data_bits), i == 0, i == load.beats - 1) for i in range(load.beats)]
        return bursts, beats

    def verify(self):
        """The finished run requested exactly the expected bursts and delivered exactly the expected beats."""
        bursts, beats = self.expected()
        assert [(word, length) for word, length, _ in self.ar] == bursts
        assert [(d, f, e) for d, f, e, _ in self.delivered] == beats
        assert [c for *_, c in self.delivered] == [c + self.unit.beat_latency for c in self.r]

    def verify_timing(self):
        """Every acceptance and every ARVALID came in exactly the cycle that the docstrings' formulas give."""
        unit = self.unit
        given, total, needed, fits_from = deque(self.credits), 0, 0, 0
        stands, leaves, taken = [], [], []  # s, e, x of the docstrings
        burst = 0
        accepted_before = -1
        for load, offered, accepted in zip(self.loads, self.offered, self.accepted, strict=True):
            room_from = stands[-1] - 1 if stands else 0
            assert accepted == max(offered, accepted_before + 1, room_from)
            accepted_before = accepted
            if not load.beats:
                continue
            stand = max(accepted + 2, leaves[-1] + 1 if leaves else 0)
            stands.append(stand)
            word = self.base // self.word_bytes + load.offset
            for _, length in bursts_of(word, load.beats, unit.max_burst, self.page_words):
                leave = max(stand, taken[-2] + 1 if len(taken) > 1 else 0)
                take = max(leave + 1, self.ar[burst - 1][2] if burst else 0)
                if burst >= unit.in_flight:
                    take = max(take, self.r_last[burst - unit.in_flight] + 1)
                if load.credited:
                    needed += length
                    while total < needed:
                        fits_from, amount = given.popleft()
                        total += amount
                    take = max(take, fits_from + 1)
                assert self.rises[burst] == (take + 1, length)
                leaves.append(leave)
                taken.append(take)
                stand, burst = leave + 1, burst + 1
        assert burst == len(self.rises)


@dataclass
class Consumer:
    """Gives back, now and then, some of the space of the credited beats that it has got."""

    rng: random.Random
    probability: float
    returned: int = 0

    def __call__(self, bench):
        if self.rng.random() >= self.probability:
            return 0
        got, used = len(bench.delivered), 0
        for load in bench.loads:
            used += min(load.beats, got) * load.credited
            got = max(0, got - load.beats)
        amount = self.rng.randint(0, used - self.returned)
        self.returned += amount
        return amount


def stall(rng, probability):
    return lambda cycle, done: rng.random() < probability


@pytest.mark.parametrize(
    "name, value",
    [
        ("address_bits", 31),
        ("address_bits", 65),
        ("data_bits", 32),
        ("data_bits", 96),
        ("data_bits", 2048),
        ("outstanding", 0),
        ("outstanding", 65),
        ("outstanding", 2.0),
        ("max_burst", 0),
        ("max_burst", 129),
    ],
)
def test_parameters_are_checked(name, value):
    parameters = {"address_bits": 40, "data_bits": 256} | {name: value}
    with pytest.raises(ConfigError, match=f"LoadUnit {name}: {value}; must be"):
        LoadUnit(**parameters)


@pytest.mark.parametrize("data_bits, longest", [(64, 256), (128, 256), (256, 128), (512, 64), (1024, 32)])
def test_default_burst_is_the_longest_legal_one(data_bits, longest):
    unit = LoadUnit(64, data_bits)
    unit._MustUse__silence = True  # never elaborated
    assert unit.max_burst == longest


@pytest.mark.parametrize(
    "address_bits, data_bits, max_burst",
    [
        (64, 64, 4),
        (40, 128, 5),
        (32, 256, 8),
        (33, 512, 3),
        (64, 1024, 4),
        (32, 1024, 1),
    ],
)
def test_every_offset_before_a_page_and_every_length(address_bits, data_bits, max_burst):
    unit = LoadUnit(address_bits, data_bits, max_burst=max_burst)
    bench = Bench(unit)
    loads = [
        Load(bench.page_words - before, beats)
        for before in range(1, 2 * max_burst + 1)
        for beats in range(1, 4 * max_burst + 1)
    ]

    async def scenario(bench):
        await bench.start(loads, Slave(latency=3))
        await bench.run()
        bench.verify()
        bench.verify_timing()

    bench.simulate(scenario)


@pytest.mark.parametrize("p_i", [0, 0.5, 0.9])
@pytest.mark.parametrize("p_ar", [0, 0.5, 0.9])
@pytest.mark.parametrize("p_r", [0, 0.5, 0.9])
def test_any_pauses_and_credits(p_i, p_ar, p_r):
    rng = random.Random(f"{p_i} {p_ar} {p_r}")
    unit = LoadUnit(
        rng.randint(32, 64),
        rng.choice([64, 128, 256, 512, 1024]),
        outstanding=rng.choice([1, 2, 3, 8]),
        max_burst=rng.choice([1, 2, 7, 16, 32]),
    )
    bench = Bench(unit, base=rng.randrange(1 << 31) & ~(PAGE - 1) | rng.randrange(PAGE) & -(unit.data_bits // 8))

    def loads():
        for _ in range(25):
            pause = 0
            while rng.random() < p_i:
                pause += 1
            yield Load(
                rng.randrange(1 << 20),
                rng.choice([0, 1, 2, 3, rng.randrange(1, 4 * unit.max_burst + 1)]),
                rng.random() < 0.5,
                pause,
            )

    async def scenario(bench):
        for capacity in (unit.max_burst, 3 * unit.max_burst + 1):
            slave = Slave(lambda burst: rng.choice([1, 1, 5, 40]), stall(rng, p_ar), stall(rng, p_r))
            await bench.start(list(loads()), slave, capacity)
            await bench.run(credit=Consumer(rng, rng.choice([0.1, 0.5, 1])))
            bench.verify()
            bench.verify_timing()

    bench.simulate(scenario)


@pytest.mark.parametrize("outstanding, max_burst", [(1, 1), (8, 1), (1, 16), (2, 2), (8, 4), (3, 5)])
@pytest.mark.parametrize("credited", [False, True])
def test_no_gaps(outstanding, max_burst, credited):
    """n beats take n + L cycles from the first ARVALID, whatever L up to outstanding * burst."""
    unit = LoadUnit(64, 64, outstanding=outstanding, max_burst=max_burst)
    full = Bench(unit).page_words // max_burst * max_burst
    # Descriptors of one burst, of several, and across pages where bursts tile a page.
    lengths = [max_burst] * 5 + [3 * max_burst, 2 * max_burst, 7 * max_burst, max_burst]
    loads, offset = [], full - 4 * max_burst
    for length in lengths:
        if offset % 512 + length > full and full < 512:
            offset = 0
        loads.append(Load(offset, length, credited))
        offset += length
    total = sum(lengths)

    async def scenario(bench):
        most = outstanding * max_burst
        for latency in sorted({1, (most + 1) // 2, most}):
            await bench.start(loads, Slave(latency))
            await bench.run()
            bench.verify()
            bench.verify_timing()
            accepted = bench.accepted[0]
            assert bench.rises[0][0] == accepted + unit.request_latency == accepted + 4
            assert bench.delivered[0][-1] == accepted + 4 + latency + 1
            assert bench.delivered[-1][-1] == accepted + 4 + latency + total
        # Control: the measure sees a gap when the latency is far beyond what is hidden.
        await bench.start(loads, Slave((outstanding + 4) * max_burst + 4))
        await bench.run()
        assert bench.delivered[-1][-1] > bench.delivered[0][-1] + total - 1

    Bench(unit).simulate(scenario)


def test_credit_is_waited_for_by_the_whole_burst():
    """A credited burst is requested two cycles after the credit that completes it, never shortened."""
    unit = LoadUnit(40, 64, max_burst=8)

    async def scenario(bench):
        await bench.start([Load(0, 3), Load(0, 20, True), Load(64, 5)], Slave(), capacity=9)
        for _ in range(60):
            await bench.step()
        assert [length for _, length in bench.rises] == [3, 8]
        await bench.step(credit=6)
        for _ in range(30):
            await bench.step()
        assert [length for _, length in bench.rises] == [3, 8], "7 free beats must not start a burst of 8"
        credit_cycle = bench.cycle
        await bench.step(credit=1)
        for _ in range(30):
            await bench.step()
        assert bench.rises[2:] == [(credit_cycle + 2, 8)]
        await bench.step(credit=4)
        await bench.run()
        bench.verify()
        bench.verify_timing()

    Bench(unit).simulate(scenario)


async def clean_run(bench, loads):
    """The next run after a broken one is as good as any."""
    await bench.start(loads, Slave(2))
    now = await bench.run()
    assert now.error == ErrorCode.NONE
    bench.verify()
    bench.verify_timing()


ERROR_LOADS = [Load(500, 13), Load(40, 1, True), Load(1000, 10, True), Load(7, 9)]


@pytest.mark.parametrize("response, code", [(SLVERR, ErrorCode.SLVERR), (DECERR, ErrorCode.DECERR)])
@pytest.mark.parametrize("pauses", [0, 0.5])
def test_error_on_every_beat(response, code, pauses):
    unit = LoadUnit(64, 64, outstanding=2, max_burst=4)
    beats = sum(load.beats for load in ERROR_LOADS)

    async def scenario(bench):
        rng = random.Random(response)
        words = [load.offset + i for load in ERROR_LOADS for i in range(load.beats)]
        for index in range(beats):
            # A second error of the other kind follows: the first must stay.
            faults = {index: response} | {i: SLVERR + DECERR - response for i in range(index + 1, beats)}
            slave = Slave(2, stall(rng, pauses), stall(rng, pauses), faults)
            await bench.start(ERROR_LOADS, slave)
            for _ in range(400):
                now = await bench.step()
                if now.idle and now.error:
                    break
            assert now.idle and not bench.owed
            failed_at = bench.r[index]
            assert now.error == code
            assert now.address == bench.base + 8 * words[index]
            assert [(d, f, e) for d, f, e, _ in bench.delivered] == bench.expected()[1][:index]
            assert all(cycle <= failed_at + 1 for cycle, _ in bench.rises)
            assert len(bench.r) == sum(length for _, length, _ in bench.ar), "an owed beat was not taken"
            for _ in range(5):
                now = await bench.step()
                assert now.idle and now.error == code and not now.ready, "an error lasts until the next start"
            await clean_run(bench, ERROR_LOADS[::-1])

    Bench(unit, base=0xFEDC_BA98_7654_3000).simulate(scenario)


def test_error_is_visible_in_the_cycle_after_the_beat():
    async def scenario(bench):
        await bench.start([Load(0, 4)], Slave(3, faults={2: SLVERR}))
        while len(bench.r) < 3:
            assert (await bench.step()).error == ErrorCode.NONE
        assert (await bench.step()).error == ErrorCode.SLVERR

    Bench(LoadUnit(32, 64)).simulate(scenario)


def test_exclusive_okay_is_no_error():
    async def scenario(bench):
        await bench.start([Load(0, 4)], Slave(faults={1: 1}))
        now = await bench.run()
        assert now.error == ErrorCode.NONE
        bench.verify()

    Bench(LoadUnit(32, 64)).simulate(scenario)


@pytest.mark.parametrize("index", range(10))
def test_rlast_out_of_step(index):
    """An early or missing RLAST is an error at that beat, whether the slave sends all beats, fewer, or more."""
    loads = [Load(0, 4), Load(8, 4), Load(16, 2)]
    missing = index in (3, 7, 9)

    async def scenario(bench):
        for counts in (True, False, True, False):
            await bench.start(loads, Slave(6, rlast_faults=frozenset({index}), counts=counts))
            bench.asked = counts
            for _ in range(100):
                now = await bench.step()
            assert now.error == ErrorCode.RLAST
            assert now.address == bench.base + 8 * [0, 1, 2, 3, 8, 9, 10, 11, 16, 17][index]
            assert len(bench.delivered) == index
            assert not bench.owed and now.idle == (counts or missing), "what was cut off is owed until the next start"
            await clean_run(bench, loads)
            bench.asked = True

    Bench(LoadUnit(40, 64, max_burst=4)).simulate(scenario)


@pytest.mark.parametrize("pauses", [0, 0.6])
def test_stop_in_every_cycle(pauses):
    unit = LoadUnit(64, 128, outstanding=2, max_burst=4)

    async def scenario(bench):
        rng = random.Random(f"stop {pauses}")
        seen = 0
        for delay in range(120):
            slave = Slave(lambda burst: rng.choice([1, 3, 9]), stall(rng, pauses), stall(rng, pauses))
            # In every other run the last credited burst waits for credit that never comes.
            await bench.start(ERROR_LOADS, slave, capacity=8 if delay % 2 else 30)
            for _ in range(delay):
                await bench.step()
            before = len(bench.rises)
            stopped_at = bench.cycle
            now = await bench.step(stop=1)
            length = rng.randint(0, 3)
            for _ in range(length):
                now = await bench.step(stop=1)
            bench.queue.clear()
            for _ in range(300):
                now = await bench.step()
                assert not now.ready, "stopped until the next start"
                if now.idle:
                    break
            assert now.idle and not bench.owed and now.error == ErrorCode.NONE
            assert all(cycle <= stopped_at for cycle, _ in bench.rises)
            assert all(cycle <= stopped_at for *_, cycle in bench.delivered)
            delivered = [(d, f, e) for d, f, e, _ in bench.delivered]
            assert delivered == bench.expected()[1][: len(delivered)]
            seen += before != len(bench.rises)
            await clean_run(bench, ERROR_LOADS)
        assert seen, "no stop hit the cycle in which ARVALID rises"

    Bench(unit).simulate(scenario)


@pytest.mark.parametrize("timeout", [1, 2, 17])
@pytest.mark.parametrize("accepted", range(3))
def test_timeout_on_the_address_channel(timeout, accepted):
    """The slave takes ``accepted`` requests, answers them, and then is dead for a while."""
    unit = LoadUnit(40, 256, max_burst=4)
    loads = [Load(126, 6), Load(300, 4)]
    revived = False

    async def scenario(bench):
        nonlocal revived
        slave = Slave(1, lambda cycle, done: done >= accepted and not revived)
        await bench.start(loads, slave)
        while True:
            now = await bench.step()
            if now.error:
                break
        progress = max([cycle for *_, cycle in bench.ar] + bench.r + [bench.rises[0][0]])
        assert bench.cycle - 1 == progress + timeout + 1
        assert now.error == ErrorCode.TIMEOUT
        beats_before = sum(length for _, length, _ in bench.ar)
        assert now.address == bench.base + 32 * [126, 128, 300][accepted]
        assert len(bench.delivered) == beats_before
        for _ in range(20):
            now = await bench.step()
            assert now.arvalid and not now.idle and now.error == ErrorCode.TIMEOUT
        # A start may come while the bus owes an answer, which is not that of the next run.
        bench.context.set(unit.i_timeout, 1000)
        bench.context.set(unit.i_start, 1)
        await bench.step()
        bench.context.set(unit.i_start, 0)
        now = await bench.step()
        assert now.error == ErrorCode.NONE and now.arvalid
        assert len(bench.delivered) == beats_before, "a beat came out after the time-out"
        bench.asked = False
        bench.delivered.clear()
        bench.queue.extend(loads)
        for _ in range(10):
            await bench.step()
        revived = True
        for _ in range(60):
            now = await bench.step()
        assert now.idle and now.error == ErrorCode.NONE
        assert [(d, f, e) for d, f, e, _ in bench.delivered] == bench.expected()[1]
        assert len(bench.ar) == accepted + 1 + len(bench.expected()[0])
        bench.asked = True
        await clean_run(bench, loads)

    Bench(unit, timeout=timeout).simulate(scenario)


@pytest.mark.parametrize("timeout", [3, 20])
@pytest.mark.parametrize("beats", range(0, 11))
def test_timeout_on_the_data_channel(timeout, beats):
    """The slave dies after ``beats`` beats."""
    unit = LoadUnit(40, 64, max_burst=4)
    loads = [Load(510, 6), Load(300, 5)]
    revived = False

    async def scenario(bench):
        nonlocal revived
        await bench.start(loads, Slave(1, stall_r=lambda cycle, done: done >= beats and not revived))
        while not (now := await bench.step()).error:
            pass
        progress = max([cycle for *_, cycle in bench.ar] + bench.r)
        assert bench.cycle - 1 == progress + timeout + 1
        assert now.error == ErrorCode.TIMEOUT
        words = [load.offset + i for load in loads for i in range(load.beats)]
        assert now.address == bench.base + 8 * words[beats]
        for _ in range(10):
            now = await bench.step()
            assert now.rready and not now.idle
        # The next run begins with beats owed, and gets none of them.
        bench.context.set(unit.i_timeout, 100)
        bench.context.set(unit.i_start, 1)
        await bench.step()
        bench.context.set(unit.i_start, 0)
        await bench.step()
        assert len(bench.delivered) == beats
        bench.asked = False
        bench.delivered.clear()
        bench.queue.extend(loads)
        revived = True
        for _ in range(60):
            now = await bench.step()
        assert now.idle and not bench.owed and now.error == ErrorCode.NONE
        assert [(d, f, e) for d, f, e, _ in bench.delivered] == bench.expected()[1]
        bench.asked = True
        await clean_run(bench, loads)

    Bench(unit, timeout=timeout).simulate(scenario)


@pytest.mark.parametrize("timeout, gap", [(5, 4), (2, 1), (0, 200)])
def test_slow_is_not_dead(timeout, gap):
    """Silences of one cycle less than the time-out raise nothing; 0 never does."""

    async def scenario(bench):
        def silent(cycle, done):
            latest = max([c for *_, c in bench.ar[-1:]] + bench.r[-1:])
            return cycle - latest <= gap

        await bench.start([Load(0, 4), Load(30, 2)], Slave(1, stall_r=silent))
        now = await bench.run()
        assert now.error == ErrorCode.NONE
        assert [b - a for a, b in zip(bench.r, bench.r[1:], strict=False)] == [gap + 1] * 5
        bench.verify()

    Bench(LoadUnit(40, 64, max_burst=4), timeout=timeout).simulate(scenario)


def test_reset_in_every_cycle():
    """A reset of unit and bus in flight leaves nothing behind."""
    unit = LoadUnit(64, 64, outstanding=2, max_burst=4)
    reset = Signal()

    async def scenario(bench):
        for delay in range(70):
            faults = {20: SLVERR} if delay > 40 else {}
            await bench.start(ERROR_LOADS, Slave(4, faults=faults), capacity=20)
            for _ in range(delay):
                await bench.step()
            bench.context.set(reset, 1)
            bench.context.set(unit.i.valid, 0)
            bench.context.set(unit.bus.rvalid, 0)
            await bench.context.tick()
            bench.context.set(reset, 0)
            bench.cycle += 1
            bench.clear()
            now = await bench.step()
            assert now.idle and now.ready and not (now.valid or now.arvalid or now.error or now.beats)
            await clean_run(bench, ERROR_LOADS)

    Bench(unit).simulate(scenario, ResetInserter(reset)(unit))


@pytest.mark.parametrize("address_bits", [32, 48, 64])
def test_addresses_over_the_whole_space(address_bits):
    """Carries out of the lower half and of the page number, and the wrap at the end of the space."""
    unit = LoadUnit(address_bits, 128, max_burst=16)
    end = 1 << address_bits
    for base in (0, end - PAGE, end - (1 << 30) - 16, 0xFFFF_F000 - (1 << 20), (1 << 31) + 0x770):

        async def scenario(bench):
            await bench.start(
                [Load(o, n) for o, n in ((0, 20), (0xFFFF_FFFF, 17), (0x0FFF_FFF8, 24), (3, 500))], Slave()
            )
            await bench.run()
            assert [a for a, *_ in bench.ar] == [w % (end // 16) for w, _ in bench.expected()[0]]

        Bench(unit, base=base).simulate(scenario)
