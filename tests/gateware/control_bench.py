"""The bench of the control port: a bus master with a protocol monitor, and an engine that is scripted."""

import random

import pytest
from amaranth import ClockDomain, Module, Signal
from amaranth.sim import Simulator

from lstm_hw.gateware.axi import OKAY
from lstm_hw.gateware.control import Control
from lstm_hw.machine.registers import (
    CONFIG_WORDS,
    REGISTERS,
    lookup,
)

LENGTH = 100
WATCHDOG = 20_000
WORDS = {"CONTENT_ID": 0xC0DE_1D5A} | {name: 0x1000_0001 * (i + 1) for i, name in enumerate(CONFIG_WORDS)}
WORDS |= {"PROGRAM_LENGTH": LENGTH, "AXI_DATA_BITS": 128}
LOCKED = [r for r in REGISTERS if r.locked]
MAPPED = {r.address for r in REGISTERS}
CTRL, GIE, IER, ISR, STATUS = (lookup(name).address for name in ("CTRL", "GIE", "IER", "ISR", "STATUS"))
LOADS = lookup("ENTRY").field("loads").mask
LOADED = lookup("STATUS").field("loaded").mask
START, DONE, IDLE, READY, ABORT, AUTO_RESTART, INTERRUPT = (f.mask for f in lookup("CTRL").fields)
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
    parameters
        Of the control port; a refused write is answered with SLVERR.
    """

    def __init__(self, seed=0, idle=0.0, stall=0.0, **parameters):
        self.random, self.idle, self.stall = random.Random(seed), idle, stall
        self.dut = Control(WORDS, **({"program_length": LENGTH, "bus_errors": True} | parameters))
        self.bus = self.dut.bus
        self.domain = ClockDomain("sync")
        self.cycle = Signal(32, reset_less=True)
        self.program, self.starts, self.ends = {}, [], []
        self.written = set()  # arguments
        self.run_cycles, self.drain_cycles, self.late_busy, self.errors = 5, 0, 0, {}

    def run(self, *testbenches, engine=True, background=()):
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
        for testbench in background:
            simulator.add_testbench(testbench, background=True)
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
        """Read a word; STATUS without ``loaded``, which has tests of its own."""
        data, answer = await self.read(ctx, at)
        assert (data & ~(LOADED * (at == STATUS)), answer) == (value, response), hex(at)

    async def put(self, ctx, name, value, response=OKAY):
        """Write a register; before a start, arguments that were not written become such that it can begin."""
        if name == "CTRL" and value & START:
            await self.arguments(ctx)
        assert await self.write(ctx, address(name), value) == response, name
        self.written.add(name)

    async def arguments(self, ctx):
        for name, value in (("STEPS", 1), ("ENTRY", LOADS)):
            if name not in self.written:
                await self.put(ctx, name, value)

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
            dut.o_sequence,
            dut.o_timeout_streams,
            dut.o_ignore_tlast,
            dut.o_one_packet,
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
