"""The control port: bus protocol, access rules, run control, interrupts, program window."""

import random

import pytest
from amaranth import ClockDomain, Module, Signal
from amaranth.sim import Simulator

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import OKAY, SLVERR
from lstm_hw.gateware.control import Control
from lstm_hw.machine.registers import (
    CONFIG_WORDS,
    COUNTERS,
    PROGRAM,
    REGISTERS,
    Access,
    ErrorCode,
    lookup,
    port_registers,
)

# A component whose parameters are refused is never elaborated.
pytestmark = pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")

LENGTH = 100
WATCHDOG = 20_000
WORDS = {"CONTENT_ID": 0xC0DE_1D5A} | {name: 0x1000_0001 * (i + 1) for i, name in enumerate(CONFIG_WORDS)}
WORDS["PROGRAM_LENGTH"] = LENGTH
LOCKED = [r for r in REGISTERS if r.locked]
MAPPED = {r.address for r in REGISTERS}
CTRL, GIE, IER, ISR, STATUS = (lookup(name).address for name in ("CTRL", "GIE", "IER", "ISR", "STATUS"))
START, DONE, IDLE, READY, AUTO_RESTART, INTERRUPT = (f.mask for f in lookup("CTRL").fields)
ISR_DONE, ISR_READY, ISR_ERROR = (f.mask for f in lookup("ISR").fields)
ALL_ONES = 0xFFFF_FFFF


def address(name):
    return lookup(name).address


async def ticks(ctx, count):
    for _ in range(count):
        await ctx.tick()


async def until(ctx, signal):
    """Wait for the first clock edge at which `signal` is high."""
    while not (await ctx.tick().sample(signal))[-1]:
        pass


class TB:
    """A control port with a bus master, a protocol monitor and an engine that is scripted by attributes.

    Parameters
    ----------
    seed : int
    idle, stall : float
        Probability that the master waits one more cycle before a VALID, and before a READY.
    """

    def __init__(self, seed=0, idle=0.0, stall=0.0, **parameters):
        self.random, self.idle, self.stall = random.Random(seed), idle, stall
        self.dut = Control(WORDS, **({"program_length": LENGTH} | parameters))
        self.bus = self.dut.bus
        self.domain = ClockDomain("sync")
        self.cycle = Signal(32, reset_less=True)
        self.program, self.starts, self.ends = {}, [], []
        self.run_cycles, self.drain_cycles, self.late_busy, self.errors = 5, 0, 0, {}

    def run(self, *testbenches, engine=True):
        top = Module()
        top.domains += self.domain
        top.submodules.dut = self.dut
        top.d.sync += self.cycle.eq(self.cycle + 1)
        simulator = Simulator(top)
        simulator.add_clock(1e-6)
        for process in (self._monitor, self._arguments, *([self._engine] if engine else [])):
            simulator.add_process(process)
        for testbench in testbenches:
            simulator.add_testbench(testbench)
        simulator.run()

    # -- bus master

    def _release(self, ctx, valid, payload):
        ctx.set(valid, 0)
        for signal, _ in payload:
            ctx.set(signal, self.random.getrandbits(len(signal)))

    async def write(self, ctx, at, value, strobe=15, waits=None, take=0):
        """Write a word; returns the response.

        Parameters
        ----------
        waits : (int, int) or None
            Cycles before AWVALID and WVALID; random if None.
        take : int
            Cycles before BREADY, besides the random ones.
        """
        bus = self.bus
        aw, w = waits or (self._wait(self.idle), self._wait(self.idle))
        pending = {
            "aw": (aw, bus.awvalid, bus.awready, ((bus.awaddr, at), (bus.awprot, 0))),
            "w": (w, bus.wvalid, bus.wready, ((bus.wdata, value), (bus.wstrb, strobe))),
        }
        cycle, waited = 0, 0
        while True:
            for wait, valid, _, payload in pending.values():
                if wait <= cycle:
                    ctx.set(valid, 1)
                    for signal, content in payload:
                        ctx.set(signal, content)
            ready = waited >= take and self.random.random() >= self.stall
            ctx.set(bus.bready, ready)
            *_, aw_ready, w_ready, b_valid, response = await ctx.tick().sample(
                bus.awready, bus.wready, bus.bvalid, bus.bresp
            )
            if b_valid:
                assert not pending, "response before address and data"
                if ready:
                    ctx.set(bus.bready, 0)
                    return response
            waited += 1
            for channel, taken in (("aw", aw_ready), ("w", w_ready)):
                if channel in pending and pending[channel][0] <= cycle and taken:
                    _, valid, _, payload = pending.pop(channel)
                    self._release(ctx, valid, payload)
            cycle += 1

    async def read(self, ctx, at, wait=None, take=0):
        """Read a word; returns data and response."""
        bus = self.bus
        for _ in range(self._wait(self.idle) if wait is None else wait):
            await ctx.tick()
        payload = ((bus.araddr, at), (bus.arprot, 0))
        ctx.set(bus.arvalid, 1)
        for signal, content in payload:
            ctx.set(signal, content)
        taken, waited = False, 0
        while True:
            ready = waited >= take and self.random.random() >= self.stall
            ctx.set(bus.rready, ready)
            *_, ar_ready, r_valid, data, response = await ctx.tick().sample(
                bus.arready, bus.rvalid, bus.rdata, bus.rresp
            )
            if r_valid:
                assert taken, "data before address"
                if ready:
                    ctx.set(bus.rready, 0)
                    return data, response
            waited += 1
            if ar_ready and not taken:
                taken = True
                self._release(ctx, bus.arvalid, payload)

    def _wait(self, probability):
        cycles = 0
        while self.random.random() < probability:
            cycles += 1
        return cycles

    async def expect(self, ctx, at, value, response=OKAY):
        assert await self.read(ctx, at) == (value, response), hex(at)

    async def put(self, ctx, name, value, response=OKAY):
        assert await self.write(ctx, address(name), value) == response, name

    async def get(self, ctx, name):
        data, response = await self.read(ctx, address(name))
        assert response == OKAY
        return data

    async def until_done(self, ctx):
        while not (await self.get(ctx, "CTRL")) & DONE:
            pass

    # -- what must hold in every test

    async def _monitor(self, ctx):
        """VALID is never dropped, payload is stable, and no response is given that is not owed."""
        bus, dut = self.bus, self.dut
        signals = [
            self.domain.rst,
            self.cycle,
            bus.awvalid,
            bus.awready,
            bus.wvalid,
            bus.wready,
            bus.bvalid,
            bus.bready,
            bus.bresp,
            bus.arvalid,
            bus.arready,
            bus.rvalid,
            bus.rready,
            bus.rdata,
            bus.rresp,
            dut.o_program_write,
            dut.o_program_address,
            dut.o_program_data,
        ]
        held_b = held_r = None
        addresses = words = reads = 0
        async for _, _, reset, cycle, *now in ctx.tick().sample(*signals):
            assert cycle < WATCHDOG, "no end in sight"
            (
                aw,
                aw_ready,
                w,
                w_ready,
                b,
                b_ready,
                b_code,
                ar,
                ar_ready,
                r,
                r_ready,
                r_data,
                r_code,
                program_write,
                program_address,
                program_data,
            ) = now
            if held_b is not None:
                assert b and b_code == held_b, "B dropped or changed"
            if held_r is not None:
                assert r and (r_data, r_code) == held_r, "R dropped or changed"
            assert not b or (addresses and words), "B without AW and W"
            assert not r or reads, "R without AR"
            if program_write:
                self.program[program_address] = program_data
            addresses += (aw and aw_ready) - (b and b_ready)
            words += (w and w_ready) - (b and b_ready)
            reads += (ar and ar_ready) - (r and r_ready)
            assert max(addresses, words, reads) <= 1, "more than one transaction outstanding"
            held_b = b_code if b and not b_ready else None
            held_r = (r_data, r_code) if r and not r_ready else None
            if reset:
                held_b = held_r = None
                addresses = words = reads = 0

    async def _arguments(self, ctx):
        """Arguments do not change and the program is not written from the start of a run until it ends."""
        dut = self.dut
        held, was_busy = None, 0
        async for _, _, reset, now, start, busy, write, *arguments in ctx.tick().sample(
            self.domain.rst,
            self.cycle,
            dut.o_start,
            dut.i_busy,
            dut.o_program_write,
            dut.o_steps,
            dut.o_clear,
            dut.o_entry,
            *dut.o_weights,
            dut.o_timeout,
        ):
            if start:
                assert not was_busy, "start while busy"
                held = arguments
                self.starts.append((now, arguments))
            elif not busy:
                held = None
            if held is not None:
                assert arguments == held and not write
            if was_busy and not busy:
                self.ends.append(now)
            was_busy = busy
            if reset:
                held = None

    async def _engine(self, ctx):
        """Runs for `run_cycles` after `late_busy` more, drains, reports the errors of ``errors[cycle]``."""
        dut = self.dut
        while True:
            await until(ctx, dut.o_start)
            for cycle in range(self.late_busy + self.run_cycles):
                ctx.set(dut.i_busy, cycle >= self.late_busy)
                await self._report(ctx, self.errors.get(cycle), done=cycle == self.late_busy + self.run_cycles - 1)
            for _ in range(self.drain_cycles):
                await ctx.tick()
            ctx.set(dut.i_busy, 0)

    async def _report(self, ctx, error, done):
        dut = self.dut
        ctx.set(dut.i_done, done)
        ctx.set(dut.i_error, error is not None)
        code, where = error or (self.random.getrandbits(4), self.random.getrandbits(64))
        ctx.set(dut.i_error_code, code)
        ctx.set(dut.i_error_address, where)
        ctx.set(dut.i_error_port, where & 3)
        await ctx.tick()
        ctx.set(dut.i_error, 0)
        ctx.set(dut.i_done, 0)


TRAFFIC = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5), (0.8, 0.9)]
traffic = pytest.mark.parametrize("idle, stall", TRAFFIC)


def expected_reset(register):
    return WORDS.get(register.name, register.reset)


# -- bus


@traffic
def test_reset_values(idle, stall):
    tb = TB(1, idle, stall)

    async def test(ctx):
        for register in tb.random.sample(REGISTERS, len(REGISTERS)):
            await tb.expect(ctx, register.address, expected_reset(register))

    tb.run(test)


@pytest.mark.parametrize("first, second", [(0, 0), (0, 1), (1, 0), (0, 5), (5, 0)])
@pytest.mark.parametrize("take", [0, 3])
def test_handshake_order_and_write_latency(first, second, take):
    tb = TB()

    async def test(ctx):
        await ticks(ctx, 2)
        for value in (0xA5A5_0001, 0x5A5A_0002, 0x0F0F_0003):
            before = ctx.get(tb.cycle)
            assert await tb.write(ctx, address("STEPS"), value, waits=(first, second), take=take) == OKAY
            # handshake, access, response: READYs were high when the VALIDs rose
            assert ctx.get(tb.cycle) - before == max(max(first, second) + 3, take + 1)
            assert ctx.get(tb.dut.o_steps) == value

    tb.run(test)


def test_read_latency():
    tb = TB()

    async def test(ctx):
        await ticks(ctx, 2)
        for take in (0, 0, 4, 0):
            before = ctx.get(tb.cycle)
            assert await tb.read(ctx, address("ID"), take=take) == (0x4C53_544D, OKAY)
            assert ctx.get(tb.cycle) - before == max(3, take + 1)

    tb.run(test)


def test_ready_rises_in_the_first_cycle_after_reset():
    tb = TB()

    async def test(ctx):
        channels = tb.bus.awready, tb.bus.wready, tb.bus.arready
        ctx.set(tb.domain.rst, 1)
        for _ in range(3):
            await ctx.tick()
            assert not any(map(ctx.get, channels))
        ctx.set(tb.domain.rst, 0)
        await ctx.tick()
        assert all(map(ctx.get, channels))

    tb.run(test)


def test_no_path_from_bus_inputs_to_bus_outputs():
    tb = TB(3)
    bus = tb.bus
    inputs = [
        bus.awaddr,
        bus.awprot,
        bus.awvalid,
        bus.wdata,
        bus.wstrb,
        bus.wvalid,
        bus.bready,
        bus.araddr,
        bus.arprot,
        bus.arvalid,
        bus.rready,
    ]
    outputs = [bus.awready, bus.wready, bus.bvalid, bus.bresp, bus.arready, bus.rvalid, bus.rdata, bus.rresp]

    async def test(ctx):
        for _ in range(300):
            await ctx.tick()
            before = [ctx.get(signal) for signal in outputs]
            for _ in range(3):
                for signal in inputs:
                    ctx.set(signal, tb.random.getrandbits(len(signal)))
                assert [ctx.get(signal) for signal in outputs] == before
            for valid, ready in ((bus.awvalid, bus.awready), (bus.wvalid, bus.wready), (bus.arvalid, bus.arready)):
                ctx.set(valid, ctx.get(ready))  # whatever is offered is taken at the next edge

    tb.run(test, engine=False)


@traffic
def test_access_rule_of_every_register(idle, stall):
    tb = TB(4, idle, stall)
    plain = {r.name: (r.mask if r.name != "ENTRY" else LENGTH - 1) for r in REGISTERS if r.stored}

    async def test(ctx):
        for register in tb.random.sample(REGISTERS, len(REGISTERS)):
            if register.name in ("CTRL", "ISR"):
                continue  # have tests of their own
            value = LENGTH - 1 if register.name == "ENTRY" else ALL_ONES
            read_only = register.access is Access.RO
            for written in (value, 0, value):
                response = await tb.write(ctx, register.address, written)
                assert response == (SLVERR if read_only else OKAY), register.name
            await tb.expect(ctx, register.address, plain.get(register.name, expected_reset(register)))
            for offset in range(4):
                await tb.expect(ctx, register.address + offset, plain.get(register.name, expected_reset(register)))
        dut = tb.dut
        assert ctx.get(dut.o_steps) == ctx.get(dut.o_timeout) == ALL_ONES
        assert ctx.get(dut.o_weights[0]) == (1 << 64) - 1
        assert ctx.get(dut.o_clear) == 1 and ctx.get(dut.o_entry) == LENGTH - 1
        assert not tb.starts and not tb.program

    tb.run(test)


@pytest.mark.parametrize("ports", [2, 4])
def test_registers_of_further_weight_ports(ports):
    """Each port has an address of its own, locked during a run, and the number of a port that failed can be read."""
    tb = TB(24, ports=ports)
    further = port_registers(ports)
    addresses = [r for r in further if r.stored]
    other = [r for r in port_registers(4) if r not in further]

    async def test(ctx):
        dut, values = tb.dut, {}
        for register in tb.random.sample(addresses, len(addresses)):
            values[register.name] = tb.random.getrandbits(32)
            assert await tb.write(ctx, register.address, values[register.name]) == OKAY
        await tb.put(ctx, "WEIGHTS_LO", 5)
        assert ctx.get(dut.o_weights[0]) == 5
        for port in range(1, ports):
            assert ctx.get(dut.o_weights[port]) == (values[f"WEIGHTS{port}_HI"] << 32 | values[f"WEIGHTS{port}_LO"])
        for register in other:
            assert await tb.write(ctx, register.address, 1) == SLVERR
            await tb.expect(ctx, register.address, 0, SLVERR)
        for failing in (ports - 1, 0):
            tb.run_cycles, tb.errors = 60, {3: (1, 4 * 77 + failing), 5: (2, 4 * 77 + 1 - failing % 2)}
            await tb.put(ctx, "CTRL", START)
            for register in addresses:
                assert await tb.write(ctx, register.address, 0) == SLVERR
                await tb.expect(ctx, register.address, values[register.name])
            await tb.expect(ctx, address("ERROR_PORT"), failing)
            assert await tb.write(ctx, address("ERROR_PORT"), 0) == SLVERR
            while ctx.get(dut.i_busy):
                await ctx.tick()
            await ticks(ctx, 3)

    tb.run(test)


def test_unmapped_addresses():
    tb = TB(5)
    below = [a for a in range(0, 0x200, 4) if a not in MAPPED]
    above = [4 * word for word in tb.random.sample(range(0x200 // 4, PROGRAM.address // 4), 40)]
    gaps = [PROGRAM.address + 32 * tb.random.randrange(PROGRAM.entries) + 4 * w for w in (5, 6, 7) for _ in range(5)]

    async def test(ctx):
        for at in (*below, *above, PROGRAM.address - 4, *gaps):
            assert await tb.write(ctx, at, ALL_ONES) == SLVERR, hex(at)
            await tb.expect(ctx, at, 0, SLVERR)
        for register in REGISTERS:
            await tb.expect(ctx, register.address, expected_reset(register))
        assert not tb.starts and not tb.program

    tb.run(test)


@traffic
def test_byte_enables(idle, stall):
    tb = TB(6, idle, stall)
    rest = [r for r in REGISTERS if r.stored and r.width < 32]
    wide = [r for r in REGISTERS if r.stored and r.width == 32]

    async def test(ctx):
        values = {r.name: r.reset for r in REGISTERS}
        cases = [(tb.random.choice(wide), strobe) for strobe in range(16)]
        cases += [(register, strobe) for register in rest for strobe in (0, 1, 14, 15)]
        for register, strobe in tb.random.sample(cases, len(cases)):
            data = tb.random.randrange(LENGTH) if register.name == "ENTRY" else tb.random.getrandbits(32)
            assert await tb.write(ctx, register.address, data, strobe) == OKAY
            lanes = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
            values[register.name] = (values[register.name] & ~lanes | data & lanes) & register.mask
            await tb.expect(ctx, register.address, values[register.name])
        for name in values:
            if lookup(name).stored:
                await tb.expect(ctx, address(name), values[name])

    tb.run(test)


@traffic
def test_reads_and_writes_at_the_same_time(idle, stall):
    """A writer fills arguments while a reader reads constants; then the roles of the registers are checked."""
    tb = TB(7, idle, stall)
    values = {name: lookup(name).reset for name in ("STEPS", "WEIGHTS_LO", "WEIGHTS_HI", "TIMEOUT")}
    constant = [r for r in REGISTERS if r.access is Access.RO and r.name != "STATUS"]

    async def writer(ctx):
        for _ in range(60):
            name = tb.random.choice(list(values))
            values[name] = tb.random.getrandbits(32)
            await tb.put(ctx, name, values[name])

    async def reader(ctx):
        for _ in range(60):
            register = tb.random.choice(constant)
            await tb.expect(ctx, register.address, expected_reset(register))

    tb.run(writer, reader)

    async def check(ctx):
        dut = tb.dut
        for name, value in values.items():
            await tb.put(ctx, name, value)
        await ctx.tick()
        assert ctx.get(dut.o_weights[0]) == values["WEIGHTS_HI"] << 32 | values["WEIGHTS_LO"]
        assert (ctx.get(dut.o_steps), ctx.get(dut.o_timeout)) == (values["STEPS"], values["TIMEOUT"])
        for name, value in values.items():
            await tb.expect(ctx, address(name), value)

    tb.run(check)


@traffic
def test_channels_that_run_ahead(idle, stall):
    """Addresses and data of later writes are offered while earlier writes are not complete."""
    tb = TB(13, idle, stall)
    bus = tb.bus
    names = ["STEPS", "WEIGHTS_LO", "ID", "TIMEOUT"]
    writes = [(tb.random.choice(names), tb.random.getrandbits(32)) for _ in range(60)]
    responses = []

    async def send(ctx, valid, ready, signal, values):
        for value in values:
            await ticks(ctx, tb._wait(idle))
            ctx.set(valid, 1)
            ctx.set(signal, value)
            await until(ctx, ready)
            ctx.set(valid, 0)

    async def addresses(ctx):
        await send(ctx, bus.awvalid, bus.awready, bus.awaddr, [address(name) for name, _ in writes])

    async def words(ctx):
        ctx.set(bus.wstrb, 15)
        await send(ctx, bus.wvalid, bus.wready, bus.wdata, [value for _, value in writes])

    async def take(ctx):
        while len(responses) < len(writes):
            ready = tb.random.random() >= stall
            ctx.set(bus.bready, ready)
            *_, valid, response = await ctx.tick().sample(bus.bvalid, bus.bresp)
            if valid and ready:
                responses.append(response)
        ctx.set(bus.bready, 0)
        values = {name: expected_reset(lookup(name)) for name in names} | {
            name: value for name, value in writes if name != "ID"
        }
        for name, value in values.items():
            await tb.expect(ctx, address(name), value)

    tb.run(addresses, words, take)
    assert responses == [SLVERR if name == "ID" else OKAY for name, _ in writes]


def test_entry_beyond_the_program_is_refused():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "ENTRY", LENGTH - 1)
        for value in (LENGTH, 127, 128, 128 + 3, 1 << 16, ALL_ONES):
            await tb.put(ctx, "ENTRY", value, SLVERR)
            await tb.expect(ctx, address("ENTRY"), LENGTH - 1)
        assert await tb.write(ctx, address("ENTRY"), 0x0000_0103, strobe=1) == OKAY
        await tb.expect(ctx, address("ENTRY"), 3)
        assert ctx.get(tb.dut.o_entry) == 3

    tb.run(test)


# -- run control


@pytest.mark.parametrize("late_busy", [0, 1, 3])
@pytest.mark.parametrize("drain_cycles", [0, 1, 20])
def test_start_to_done(late_busy, drain_cycles):
    tb = TB()
    tb.run_cycles, tb.late_busy, tb.drain_cycles = 30, late_busy, drain_cycles

    async def test(ctx):
        for run in range(1, 3):
            await tb.put(ctx, "STEPS", 7 + run)
            await tb.put(ctx, "CTRL", START)
            await tb.expect(ctx, STATUS, lookup("STATUS").field("busy").mask)
            while not (data := await tb.get(ctx, "CTRL")) & DONE:
                assert data == START
            assert len(tb.ends) == run, "done before the engine was idle"
            assert data == DONE | IDLE | READY
            await tb.expect(ctx, CTRL, IDLE)
            await tb.expect(ctx, STATUS, 0)
            assert [arguments[0] for _, arguments in tb.starts] == [8, 9][:run]

    tb.run(test)


def test_start_latency():
    tb = TB()

    async def test(ctx):
        await ticks(ctx, 2)
        before = ctx.get(tb.cycle)
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 4)
        # handshake at `before`, then access, requested, pulse
        assert [cycle - before for cycle, _ in tb.starts] == [3]

    tb.run(test)


def test_start_needs_a_one_in_an_enabled_byte():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "CTRL", ALL_ONES & ~START & ~AUTO_RESTART)
        for strobe in (0, 2, 14):
            assert await tb.write(ctx, CTRL, ALL_ONES, strobe) == OKAY
        await tb.expect(ctx, CTRL, IDLE)
        assert await tb.write(ctx, CTRL, START, 1) == OKAY
        await tb.until_done(ctx)
        assert len(tb.starts) == 1

    tb.run(test)


def test_start_waits_for_a_busy_engine():
    tb = TB()

    async def test(ctx):
        ctx.set(tb.dut.i_busy, 1)
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 20)
        await tb.expect(ctx, CTRL, START)
        assert not tb.starts
        ctx.set(tb.dut.i_busy, 0)
        await ticks(ctx, 3)
        assert len(tb.starts) == 1

    tb.run(test, engine=False)


def test_done_pulse_outside_of_a_run_is_ignored():
    tb = TB()

    async def test(ctx):
        ctx.set(tb.dut.i_done, 1)
        await ticks(ctx, 3)
        ctx.set(tb.dut.i_done, 0)
        await tb.expect(ctx, CTRL, IDLE)
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 10)
        await tb.expect(ctx, CTRL, START)

    tb.run(test, engine=False)


async def begin(tb, ctx, control=START):
    """Start a run by hand; returns in the cycle of ``o_start``."""
    await tb.put(ctx, "CTRL", control)
    while not ctx.get(tb.dut.o_start):
        await ctx.tick()


async def end(tb, ctx):
    """Give the done pulse in the current cycle."""
    ctx.set(tb.dut.i_done, 1)
    await ctx.tick()
    ctx.set(tb.dut.i_done, 0)


def test_run_of_no_cycles():
    tb = TB()

    async def test(ctx):
        await begin(tb, ctx)
        await end(tb, ctx)
        await tb.expect(ctx, CTRL, DONE | IDLE | READY)

    tb.run(test, engine=False)


def test_start_during_a_run_is_not_remembered():
    """The write of start in every cycle around the end of a run: a new run if, and only if, it comes after it."""
    follows = []
    for offset in range(8):
        tb = TB()

        async def test(ctx, tb=tb, offset=offset):
            await begin(tb, ctx)
            await ticks(ctx, 4)

            async def finish():
                await ticks(ctx, offset)
                await end(tb, ctx)

            await finish()

        async def writer(ctx, tb=tb):
            while not ctx.get(tb.dut.o_start):
                await ctx.tick()
            await ticks(ctx, 6)
            tb.written = ctx.get(tb.cycle) + 1  # the write takes effect in the cycle after its handshake
            await tb.put(ctx, "CTRL", START)

        async def observer(ctx, tb=tb):
            await until(ctx, tb.dut.i_done)
            tb.ended = ctx.get(tb.cycle) - 1
            await ticks(ctx, 20)

        tb.run(test, writer, observer, engine=False)
        assert len(tb.starts) == 1 + (tb.written > tb.ended), offset
        follows.append(tb.written > tb.ended)
    assert True in follows and False in follows


@pytest.mark.parametrize("drain_cycles", [0, 4])
def test_auto_restart(drain_cycles):
    tb = TB()
    tb.run_cycles, tb.drain_cycles = 12, drain_cycles

    async def test(ctx):
        await tb.put(ctx, "STEPS", 3)
        await tb.put(ctx, "CTRL", START | AUTO_RESTART)
        dones = 0
        while dones < 4:
            data = await tb.get(ctx, "CTRL")
            assert data & (START | IDLE | AUTO_RESTART) == START | AUTO_RESTART
            assert bool(data & DONE) == bool(data & READY)
            dones += bool(data & DONE)
            await tb.put(ctx, "STEPS", 9, SLVERR)
        await tb.put(ctx, "CTRL", 0)
        while not (data := await tb.get(ctx, "CTRL")) & IDLE:
            assert data & START and not data & AUTO_RESTART
        runs = len(tb.starts)
        await ticks(ctx, 50)
        assert len(tb.starts) == runs == len(tb.ends) >= 5
        assert {arguments[0] for _, arguments in tb.starts} == {3}

    tb.run(test)
    gaps = [start - finish for (start, _), finish in zip(tb.starts[1:], tb.ends, strict=False)]
    assert set(gaps) == {2}, gaps


@pytest.mark.parametrize("drain_cycles", [0, 3])
def test_no_restart_after_an_error_in_the_last_cycle(drain_cycles):
    tb = TB()

    async def test(ctx):
        dut = tb.dut
        await begin(tb, ctx, START | AUTO_RESTART)
        ctx.set(dut.i_busy, drain_cycles > 0)
        await end(tb, ctx) if drain_cycles else None
        await ticks(ctx, drain_cycles)
        ctx.set(dut.i_busy, 0)
        ctx.set(dut.i_error, 1)
        ctx.set(dut.i_error_code, ErrorCode.TLAST)
        ctx.set(dut.i_done, drain_cycles == 0)
        await ctx.tick()
        ctx.set(dut.i_error, 0)
        ctx.set(dut.i_done, 0)
        await ticks(ctx, 10)
        assert len(tb.starts) == 1
        await tb.expect(ctx, STATUS, ErrorCode.TLAST)
        await tb.expect(ctx, CTRL, DONE | IDLE | READY | AUTO_RESTART)

    tb.run(test, engine=False)


def test_auto_restart_written_alone_starts_nothing():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "CTRL", AUTO_RESTART)
        await ticks(ctx, 10)
        await tb.expect(ctx, CTRL, IDLE | AUTO_RESTART)
        assert await tb.write(ctx, CTRL, 0, strobe=14) == OKAY
        await tb.expect(ctx, CTRL, IDLE | AUTO_RESTART)
        assert not tb.starts

    tb.run(test)


def test_auto_restart_set_during_a_run():
    tb = TB()
    tb.run_cycles = 20

    async def test(ctx):
        await tb.put(ctx, "CTRL", START)
        await tb.put(ctx, "CTRL", AUTO_RESTART)
        while len(tb.starts) < 3:
            await ctx.tick()

    tb.run(test)


@pytest.mark.parametrize("when", [2, 9])
def test_no_restart_after_an_error(when):
    tb = TB()
    tb.run_cycles, tb.errors = 10, {when: (ErrorCode.SLVERR, 0x1234)}

    async def test(ctx):
        await tb.put(ctx, "CTRL", START | AUTO_RESTART)
        await tb.until_done(ctx)
        await ticks(ctx, 30)
        assert len(tb.starts) == 1
        await tb.expect(ctx, CTRL, IDLE | AUTO_RESTART)
        await tb.expect(ctx, STATUS, ErrorCode.SLVERR)
        tb.errors = {}
        await tb.put(ctx, "CTRL", START | AUTO_RESTART)
        while len(tb.starts) < 4:
            await ctx.tick()

    tb.run(test)


def test_done_is_seen_exactly_once_whenever_ctrl_is_read():
    """Reads of CTRL at every offset to the end of a run: the event in the cycle of a clearing read wins."""
    firsts = set()
    for offset in range(8):
        tb = TB()
        seen = []

        async def engine(ctx, tb=tb, offset=offset):
            await begin(tb, ctx)
            await ticks(ctx, 4 + offset)
            await end(tb, ctx)

        async def reader(ctx, tb=tb, seen=seen):
            while not ctx.get(tb.dut.o_start):
                await ctx.tick()
            await ticks(ctx, 5)
            for _ in range(6):
                seen.append((await tb.get(ctx, "CTRL")) & (DONE | READY))

        tb.run(engine, reader, engine=False)
        assert seen.count(DONE | READY) == 1 and seen.count(0) == 5, (offset, seen)
        firsts.add(seen.index(DONE | READY))
    assert len(firsts) > 1


def test_done_stays_over_the_next_start():
    tb = TB()

    async def test(ctx):
        await tb.put(ctx, "CTRL", START)
        await ticks(ctx, 20)
        tb.run_cycles = 40
        await tb.put(ctx, "CTRL", START)
        await tb.expect(ctx, CTRL, START | DONE | READY)
        await tb.expect(ctx, CTRL, START)

    tb.run(test)


def test_control_port_lives_beside_a_dead_engine():
    tb = TB()

    async def test(ctx):
        await begin(tb, ctx)
        ctx.set(tb.dut.i_busy, 1)
        for _ in range(20):
            await tb.expect(ctx, CTRL, START)
            await tb.expect(ctx, STATUS, lookup("STATUS").field("busy").mask)
            await tb.put(ctx, "GIE", 1)
            await tb.put(ctx, "STEPS", 1, SLVERR)

    tb.run(test, engine=False)


# -- lock


@traffic
def test_configuration_is_locked_during_a_run(idle, stall):
    tb = TB(8, idle, stall)
    tb.run_cycles = 10**6

    async def test(ctx):
        values = {r.name: tb.random.randrange(LENGTH) & r.mask for r in LOCKED}
        for name, value in values.items():
            await tb.put(ctx, name, value)
        for word in range(5):
            assert await tb.write(ctx, PROGRAM.word_address(2, word), word + 1) == OKAY
        await tb.put(ctx, "CTRL", START)
        program = dict(tb.program)
        for register in LOCKED * 2:
            await tb.put(ctx, register.name, tb.random.randrange(LENGTH), SLVERR)
            await tb.expect(ctx, register.address, values[register.name])
        for entry in (0, 2, LENGTH - 1):
            for word in range(5):
                assert await tb.write(ctx, PROGRAM.word_address(entry, word), ALL_ONES) == SLVERR
        for name, value in (("GIE", 1), ("IER", 7)):
            await tb.put(ctx, name, value)
            await tb.expect(ctx, address(name), value)
        await ticks(ctx, 3)
        assert tb.program == program and len(tb.starts) == 1
        assert tb.starts[0][1] == [
            values["STEPS"],
            values["FLAGS"],
            values["ENTRY"],
            values["WEIGHTS_HI"] << 32 | values["WEIGHTS_LO"],
            values["TIMEOUT"],
        ]

    tb.run(test)


def test_lock_ends_with_done_and_covers_a_busy_engine():
    tb = TB()
    tb.run_cycles, tb.drain_cycles = 10, 10

    async def test(ctx):
        await tb.put(ctx, "CTRL", START)
        refused = 0
        while await tb.write(ctx, address("STEPS"), 5) == SLVERR:
            refused += 1
        assert refused > 3 and len(tb.ends) == 1
        await tb.expect(ctx, CTRL, DONE | IDLE | READY)
        ctx.set(tb.dut.i_busy, 1)
        await tb.put(ctx, "STEPS", 6, SLVERR)
        await tb.expect(ctx, CTRL, 0)
        ctx.set(tb.dut.i_busy, 0)
        await tb.put(ctx, "STEPS", 6)

    tb.run(test)


def test_staging_is_untouched_by_refused_writes():
    tb = TB()
    tb.run_cycles = 60

    async def test(ctx):
        for word in range(4):
            await tb.write(ctx, PROGRAM.word_address(1, word), word + 1)
        await tb.put(ctx, "CTRL", START)
        for word in range(5):
            assert await tb.write(ctx, PROGRAM.word_address(1, word), ALL_ONES) == SLVERR
        await tb.until_done(ctx)
        await tb.write(ctx, PROGRAM.word_address(1, 4), 5)
        await ticks(ctx, 2)
        assert tb.program == {1: sum((word + 1) << 32 * word for word in range(5))}

    tb.run(test)


# -- errors and interrupts


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.NONE])
def test_error_is_reported_and_kept(code):
    tb = TB(int(code))
    where = tb.random.getrandbits(64)
    other = ErrorCode.TLAST if code is not ErrorCode.TLAST else ErrorCode.SLVERR
    tb.run_cycles, tb.errors = 12, {3: (code, where), 4: (other, ~where & (1 << 64) - 1), 11: (other, 0)}

    async def test(ctx):
        await tb.put(ctx, "IER", ISR_ERROR)
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)
        for _ in range(2):
            await tb.expect(ctx, STATUS, code)
            await tb.expect(ctx, address("ERROR_ADDRESS_LO"), where & ALL_ONES)
            await tb.expect(ctx, address("ERROR_ADDRESS_HI"), where >> 32)
            await tb.expect(ctx, ISR, ISR_ERROR)
        tb.errors, tb.run_cycles = {}, 100
        await tb.put(ctx, "CTRL", START)
        await tb.expect(ctx, STATUS, lookup("STATUS").field("busy").mask)
        await tb.expect(ctx, address("ERROR_ADDRESS_LO"), 0)
        await tb.expect(ctx, address("ERROR_ADDRESS_HI"), 0)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, 0)

    tb.run(test)


def test_error_in_the_first_cycle_of_a_run_counts_for_that_run():
    tb = TB()
    tb.errors = {0: (ErrorCode.DECERR, 8)}

    async def test(ctx):
        for _ in range(2):
            await tb.put(ctx, "CTRL", START)
            await tb.until_done(ctx)
            await tb.expect(ctx, STATUS, ErrorCode.DECERR)
        tb.errors = {0: (ErrorCode.ILLEGAL, 9)}
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)
        await tb.expect(ctx, STATUS, ErrorCode.ILLEGAL)
        await tb.expect(ctx, address("ERROR_ADDRESS_LO"), 9)

    tb.run(test)


def test_error_near_the_start_is_not_lost():
    """An error in every cycle around ``o_start``: from the cycle before it on, it belongs to the new run."""
    for offset in range(-3, 4):
        tb = TB()

        async def test(ctx, tb=tb, offset=offset):
            dut = tb.dut
            ctx.set(dut.i_error_code, ErrorCode.DECERR)
            await begin(tb, ctx)
            ctx.set(dut.i_error, 1)
            await end(tb, ctx)
            ctx.set(dut.i_error, 0)
            await tb.expect(ctx, STATUS, ErrorCode.DECERR)
            ctx.set(dut.i_error_code, ErrorCode.ILLEGAL)
            tb.pulse = ctx.get(tb.cycle) + 3 + offset
            await begin(tb, ctx)
            tb.start = ctx.get(tb.cycle)
            await ticks(ctx, 5)
            busy = lookup("STATUS").field("busy").mask
            await tb.expect(ctx, STATUS, busy | ErrorCode.ILLEGAL * (tb.pulse >= tb.start - 1))

        async def pulse(ctx, tb=tb):
            while not hasattr(tb, "pulse"):
                await ctx.tick()
            while ctx.get(tb.cycle) < tb.pulse:
                await ctx.tick()
            assert ctx.get(tb.cycle) == tb.pulse
            ctx.set(tb.dut.i_error, 1)
            await ctx.tick()
            ctx.set(tb.dut.i_error, 0)

        tb.run(test, pulse, engine=False)
        assert tb.pulse - tb.start == offset


@pytest.mark.parametrize("gie", [0, 1])
@pytest.mark.parametrize("ier", range(8))
def test_interrupts(gie, ier):
    tb = TB(ier)
    tb.errors = {1: (ErrorCode.TIMEOUT, 4)}

    async def test(ctx):
        await tb.put(ctx, "GIE", gie)
        await tb.put(ctx, "IER", ier)
        await tb.put(ctx, "CTRL", START)
        while not tb.ends:
            await ctx.tick()
        await ticks(ctx, 2)
        await tb.expect(ctx, ISR, ier)
        high = bool(gie and ier)
        assert ctx.get(tb.dut.o_interrupt) == high
        await tb.expect(ctx, CTRL, DONE | IDLE | READY | INTERRUPT * high)
        await tb.put(ctx, "GIE", 0)
        await ctx.tick()
        assert not ctx.get(tb.dut.o_interrupt)
        await tb.put(ctx, "GIE", 1)
        await ctx.tick()
        assert ctx.get(tb.dut.o_interrupt) == bool(ier)
        for strobe in (0, 14):
            assert await tb.write(ctx, ISR, ALL_ONES, strobe) == OKAY
        await tb.put(ctx, "ISR", 0)
        await tb.expect(ctx, ISR, ier)
        await tb.put(ctx, "ISR", ier)
        await tb.expect(ctx, ISR, 0)
        await ctx.tick()
        assert not ctx.get(tb.dut.o_interrupt)
        await tb.expect(ctx, CTRL, IDLE)
        for source in (ISR_DONE, ISR_READY, ISR_ERROR):  # writing 1 toggles, so it also sets, enabled or not
            await tb.put(ctx, "ISR", source | ALL_ONES & ~7)
            await tb.expect(ctx, ISR, source)
            await tb.expect(ctx, CTRL, IDLE | INTERRUPT)
            await tb.put(ctx, "ISR", source)

    tb.run(test)


def test_interrupt_event_wins_over_the_write_that_clears_it():
    """ISR.done is set again by a second run while software clears it, at every offset to the end of that run."""
    outcomes = set()
    for offset in range(8):
        tb = TB()

        async def engine(ctx, tb=tb, offset=offset):
            await tb.put(ctx, "IER", ISR_DONE)
            await begin(tb, ctx)
            await end(tb, ctx)
            await begin(tb, ctx)
            await ticks(ctx, 4 + offset)
            await end(tb, ctx)

        async def writer(ctx, tb=tb, outcomes=outcomes):
            for _ in range(2):
                while not ctx.get(tb.dut.o_start):
                    await ctx.tick()
                await ctx.tick()
            await ticks(ctx, 4)
            effect = ctx.get(tb.cycle) + 1
            await tb.put(ctx, "ISR", ISR_DONE)
            await ticks(ctx, 20)
            await tb.expect(ctx, ISR, ISR_DONE * (effect <= tb.ended))
            outcomes.add(effect - tb.ended)

        async def observer(ctx, tb=tb):
            for _ in range(2):
                await until(ctx, tb.dut.i_done)
            tb.ended = ctx.get(tb.cycle) - 1

        tb.run(engine, writer, observer, engine=False)
    assert {-1, 0, 1} <= outcomes


# -- program window


@traffic
@pytest.mark.parametrize("bits", [160, 129])
def test_program_window(idle, stall, bits):
    tb = TB(9, idle, stall, instruction_bits=bits)
    expected = {}

    async def test(ctx):
        for entry in (0, LENGTH - 1, *(tb.random.randrange(LENGTH) for _ in range(8))):
            expected[entry] = tb.random.getrandbits(bits)
            order = [*tb.random.sample(range(4), 4), 4]
            for word in order:
                assert tb.program.get(entry) != expected[entry]
                value = expected[entry] >> 32 * word & ALL_ONES
                assert await tb.write(ctx, PROGRAM.word_address(entry, word), value) == OKAY
            await ticks(ctx, 2)
            assert tb.program == expected
            await tb.expect(ctx, PROGRAM.word_address(entry, tb.random.randrange(5)), 0, SLVERR)

    tb.run(test)


def test_program_write_latency():
    tb = TB()
    pulses = []

    async def observer(ctx):
        await until(ctx, tb.dut.o_program_write)
        pulses.append(ctx.get(tb.cycle) - 1)

    async def test(ctx):
        await ticks(ctx, 2)
        before = ctx.get(tb.cycle)
        await tb.write(ctx, PROGRAM.word_address(3, 4), 1)
        await ticks(ctx, 3)
        assert [cycle - before for cycle in pulses] == [2]
        assert tb.program == {3: 1 << 128}

    tb.run(test, observer)


def test_program_is_written_before_a_start_that_follows():
    tb = TB()

    async def test(ctx):
        await tb.write(ctx, PROGRAM.word_address(3, 4), 1)
        await tb.put(ctx, "CTRL", START)
        await tb.until_done(ctx)

    tb.run(test)  # the arguments monitor refuses a program write during the run
    assert 3 in tb.program and len(tb.starts) == 1


def test_instructions_beyond_the_program_memory_do_not_exist():
    tb = TB()

    async def test(ctx):
        for entry in (LENGTH, PROGRAM.entries - 1):
            for word in range(5):
                assert await tb.write(ctx, PROGRAM.word_address(entry, word), ALL_ONES) == SLVERR
        await tb.write(ctx, PROGRAM.word_address(LENGTH - 1, 4), 1)
        await ticks(ctx, 2)
        assert tb.program == {LENGTH - 1: 1 << 128}  # nothing of the refused words was staged

    tb.run(test)


def test_byte_enables_of_the_program_window():
    tb = TB(10)

    async def test(ctx):
        staged, expected = 0, {}
        for _ in range(80):
            entry, word = tb.random.randrange(LENGTH), tb.random.randrange(5)
            data, strobe = tb.random.getrandbits(32), tb.random.choice([0, 15, tb.random.getrandbits(4)])
            assert await tb.write(ctx, PROGRAM.word_address(entry, word), data, strobe) == OKAY
            lanes = sum(0xFF << 8 * byte for byte in range(4) if strobe >> byte & 1)
            staged = staged & ~(lanes << 32 * word) | (data & lanes) << 32 * word
            if word == 4 and strobe:
                expected[entry] = staged
            await ticks(ctx, 2)
            assert tb.program == expected

    tb.run(test)


# -- counters


def test_counter_pairs_are_read_consistently():
    """Each counter carries out of its low half between the two reads; reads of other counters do not disturb it."""
    tb = TB(11)
    ports = {name: getattr(tb.dut, f"i_count_{name.lower()}") for name in COUNTERS}

    async def test(ctx):
        highs = {}
        for name in (*COUNTERS, *reversed(COUNTERS)):
            value = tb.random.getrandbits(32) << 32 | ALL_ONES
            ctx.set(ports[name], value)
            await tb.expect(ctx, address(f"{name}_LO"), ALL_ONES)
            ctx.set(ports[name], value + 1 & (1 << 64) - 1)
            highs[name] = value >> 32
            for other, high in highs.items():
                await tb.expect(ctx, address(f"{other}_HI"), high)
        for name in COUNTERS:
            await tb.expect(ctx, address(f"{name}_LO"), 0)
            await tb.expect(ctx, address(f"{name}_HI"), (highs[name] + 1) & ALL_ONES)

    tb.run(test)


@traffic
def test_running_counter(idle, stall):
    tb = TB(12, idle, stall)
    value = (5 << 32) - 150

    async def count(ctx):
        for step in range(600):
            ctx.set(tb.dut.i_count_cycles, value + step)
            await ctx.tick()

    async def test(ctx):
        last = value - 1
        for _ in range(10):
            low = await tb.get(ctx, "CYCLES_LO")
            high = await tb.get(ctx, "CYCLES_HI")
            now = high << 32 | low
            assert last < now < value + 600
            last = now

    tb.run(count, test)


# -- reset


def test_reset_in_flight():
    """Reset in every cycle of a run with traffic on both channels; afterwards all is as after power-on."""
    for when in range(2, 40):
        tb = TB(when)
        tb.run_cycles = 8

        async def test(ctx, tb=tb, when=when):
            bus = tb.bus
            ctx.set(bus.awaddr, CTRL)
            ctx.set(bus.wdata, START | AUTO_RESTART)
            ctx.set(bus.wstrb, 15)
            ctx.set(bus.araddr, address("ID"))
            for signal in (bus.awvalid, bus.wvalid, bus.arvalid):
                ctx.set(signal, 1)
            ctx.set(tb.dut.i_error, 1)
            ctx.set(tb.dut.i_error_code, 3)
            ctx.set(tb.dut.i_error_address, ALL_ONES << 10)
            for _ in range(when):
                ready = tb.random.random() < 0.5
                ctx.set(bus.bready, ready)
                ctx.set(bus.rready, ready)
                ctx.set(tb.dut.i_done, tb.random.random() < 0.2)
                ctx.set(tb.dut.i_busy, tb.random.random() < 0.2)
                ctx.set(bus.awaddr, tb.random.choice([CTRL, IER, GIE, address("STEPS"), PROGRAM.word_address(1, 4)]))
                await ctx.tick()
            for signal in (
                bus.awvalid,
                bus.wvalid,
                bus.arvalid,
                bus.bready,
                bus.rready,
                tb.dut.i_done,
                tb.dut.i_busy,
                tb.dut.i_error,
            ):
                ctx.set(signal, 0)
            ctx.set(tb.domain.rst, 1)
            await ctx.tick()
            ctx.set(tb.domain.rst, 0)
            tb.program.clear()
            assert not any(
                map(ctx.get, (bus.bvalid, bus.rvalid, tb.dut.o_start, tb.dut.o_interrupt, tb.dut.o_program_write))
            )
            for register in REGISTERS:
                await tb.expect(ctx, register.address, expected_reset(register))
            await tb.put(ctx, "STEPS", 5)
            await tb.write(ctx, PROGRAM.word_address(7, 4), 1)
            starts = len(tb.starts)
            await begin(tb, ctx)
            await end(tb, ctx)
            await tb.expect(ctx, CTRL, DONE | IDLE | READY)
            assert len(tb.starts) == starts + 1 and tb.program == {7: 1 << 128}

        tb.run(test, engine=False)


# -- parameters


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ROWS": None}, r"configuration words: ROWS; must each be given, and no other"),
        ({"COLUMNS": 1}, r"configuration words: COLUMNS; must each be given, and no other"),
        ({"ROWS": -1}, r"configuration word ROWS: -1; must be an integer from 0 to 2\*\*32 - 1"),
        ({"ROWS": 1 << 32}, r"configuration word ROWS: 4294967296; must be"),
        ({"ROWS": 1.5}, r"configuration word ROWS: 1.5; must be"),
        ({"PROGRAM_LENGTH": 8}, r"configuration word PROGRAM_LENGTH: 8; must be program_length = 100"),
    ],
)
def test_configuration_words_are_checked(change, message):
    words = {name: value for name, value in (WORDS | change).items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        Control(words, LENGTH)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"program_length": 0}, r"program_length: 0; must be from 1 to 256"),
        ({"program_length": 257}, r"program_length: 257; must be from 1 to 256"),
        ({"instruction_bits": 128}, r"instruction_bits: 128; must be from 129 to 160"),
        ({"instruction_bits": 161}, r"instruction_bits: 161; must be from 129 to 160"),
    ],
)
def test_parameters_are_checked(parameters, message):
    words = {name: value for name, value in WORDS.items() if name != "PROGRAM_LENGTH"}
    with pytest.raises(ConfigError, match=message):
        Control(words, **({"program_length": LENGTH} | parameters))


@pytest.mark.parametrize("program_length", [1, 2, 256])
def test_other_program_lengths(program_length):
    words = WORDS | {"PROGRAM_LENGTH": program_length}
    tb = TB()
    tb.dut = Control(words, program_length)
    tb.bus = tb.dut.bus

    async def test(ctx):
        await tb.expect(ctx, address("PROGRAM_LENGTH"), program_length)
        await tb.put(ctx, "ENTRY", program_length - 1)
        await tb.expect(ctx, address("ENTRY"), program_length - 1)
        await tb.put(ctx, "ENTRY", program_length, SLVERR)
        assert await tb.write(ctx, PROGRAM.word_address(program_length - 1, 4), 1) == OKAY
        if program_length < PROGRAM.entries:
            assert await tb.write(ctx, PROGRAM.word_address(program_length, 4), 1) == SLVERR
        await ctx.tick()
        assert tb.program == {program_length - 1: 1 << 128}

    tb.run(test)
