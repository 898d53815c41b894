"""cocotb bench of the emitted engine: plays a scenario through cocotbext-axi and compares every bit.

The folder of the scenario is in the environment variable LSTM_HW_SCENARIO; measured counters and
outputs are left there in ``measured.json``.
"""

import json
import logging
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.triggers import RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiRamRead,
    AxiReadBus,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from lstm_hw.machine.config import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.machine.registers import ErrorCode
from lstm_hw.verify.driver import Driver
from lstm_hw.verify.scenario import Scenario

CLOCK_NS = 10
CYCLES_LIMIT = 200_000_000


class Port:
    """The driver's port over AXI4-Lite."""

    def __init__(self, master):
        self.master = master

    async def read(self, address):
        return int.from_bytes((await self.master.read(address, 4)).data, "little")

    async def write(self, address, value):
        await self.master.write(address, value.to_bytes(4, "little"))


class StreamMonitor:
    """Watches a stream: VALID is never withdrawn and the payload is stable until it is taken."""

    def __init__(self, dut, prefix):
        self.signals = {name: getattr(dut, f"{prefix}_{name}") for name in ("tvalid", "tready", "tdata", "tlast")}
        self.clock, self.reset = dut.aclk, dut.aresetn
        cocotb.start_soon(self.watch())

    async def watch(self):
        waiting = None
        while True:
            await RisingEdge(self.clock)
            valid, ready = (int(self.signals[n].value) for n in ("tvalid", "tready"))
            if waiting is None and not valid:
                await RisingEdge(self.signals["tvalid"])  # most cycles are idle, and Python is slow
                continue
            if not int(self.reset.value):
                waiting = None
                continue
            beat = (int(self.signals["tdata"].value), int(self.signals["tlast"].value)) if valid else None
            assert waiting is None or beat == waiting, f"stream changed from {waiting} to {beat} before it was taken"
            waiting = beat if valid and not ready else None


class Latency:
    """Makes a memory take each request so many cycles later than it arrives; requests overlap."""

    def __init__(self, channel, cycles):
        self.receive, self.cycles, self.waiting = channel.recv, cycles, Queue()
        channel.recv = self.recv
        cocotb.start_soon(self.collect())

    async def collect(self):
        while True:
            request = await self.receive()
            self.waiting.put_nowait((get_sim_time("ns") + self.cycles * CLOCK_NS, request))

    async def recv(self):
        due, request = await self.waiting.get()
        if due > get_sim_time("ns"):
            await Timer(due - get_sim_time("ns"), "ns")
        return request


class TB:
    """The engine with a memory for each weight port, a register master, a source of x and a sink of outputs."""

    def __init__(self, dut, scenario):
        self.dut, self.scenario = dut, scenario
        weights = weight_prefixes(scenario.config)
        for name in (CONTROL, *weights, X, Y):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        cocotb.start_soon(Clock(dut.aclk, CLOCK_NS, unit="ns").start())
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.memories = []
        for prefix, address, image in zip(weights, scenario.addresses, scenario.images, strict=True):
            size = 1 << (address + len(image) - 1).bit_length()
            memory = AxiRamRead(AxiReadBus.from_prefix(dut, prefix), dut.aclk, size=size, **reset)
            memory.write(address, image)
            self.memories.append(memory)
        self.control = AxiLiteMaster(AxiLiteBus.from_prefix(dut, CONTROL), dut.aclk, **reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, X), dut.aclk, byte_lanes=1, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, Y), dut.aclk, byte_lanes=1, **reset)
        self.monitor = StreamMonitor(dut, Y)
        # Under stress the driver polls, so that both ways are exercised.
        self.driver = Driver(Port(self.control), self.interrupt if scenario.stress.quiet else None)
        self.pause(scenario.stress)

    def pause(self, stress):
        rng = random.Random(stress.seed)

        def pauses(share):
            while True:
                yield rng.random() < share

        for channel, share in (
            (self.source, stress.x_idle),
            (self.sink, stress.y_stall),
            *((memory.ar_channel, stress.memory_stall) for memory in self.memories),
            *((memory.r_channel, stress.memory_stall) for memory in self.memories),
        ):
            if share:
                channel.set_pause_generator(pauses(share))
        if stress.memory_latency:
            for port, memory in enumerate(self.memories):
                Latency(memory.ar_channel, (port + 1) * stress.memory_latency)

    async def interrupt(self):
        if not int(self.dut.interrupt.value):
            await RisingEdge(self.dut.interrupt)

    async def reset(self):
        self.dut.aresetn.value = 0
        await Timer(10 * CLOCK_NS, "ns")
        await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)

    async def send(self, run):
        """Queue the x beats of a run, a frame a vector."""
        bits = self.scenario.config.operand_bits
        frame = []
        for beat, last in zip(run.x.tolist(), run.lasts.tolist(), strict=True):
            frame.append(sum((int(v) & (1 << bits) - 1) << bits * e for e, v in enumerate(beat)))
            if last:
                await self.source.send(AxiStreamFrame(frame))
                frame = []

    async def receive(self, count):
        """Take so many output packets; elements are signed."""
        packets = []
        for _ in range(count):
            frame = await self.sink.recv()
            packets.append([v - (1 << VALUE_BITS) if v >> VALUE_BITS - 1 else v for v in frame.tdata])
        return packets


@cocotb.test()
async def plays_scenario(dut):
    """Every run gives the expected packets and, when nothing is held back, the expected counters."""
    folder = Path(os.environ["LSTM_HW_SCENARIO"])
    scenario = Scenario.load(folder)
    tb = TB(dut, scenario)
    await tb.reset()
    await tb.driver.identify(scenario.config.content_id)
    await tb.driver.enable_interrupt()
    await tb.driver.load_program(scenario.program)
    await tb.driver.set_weights(*scenario.addresses)
    measured = []
    for number, run in enumerate(scenario.runs):
        await tb.send(run)
        await tb.driver.start(run.entry, run.steps, run.clear)
        error = await with_timeout(cocotb.start_soon(tb.driver.wait()), CYCLES_LIMIT * CLOCK_NS, "ns")
        assert error == ErrorCode.NONE, f"run {number}: {error.name}"
        packets = await with_timeout(cocotb.start_soon(tb.receive(len(run.outputs))), 1000 * CLOCK_NS, "ns")
        counters = await tb.driver.counters()
        measured.append({"outputs": packets, "counters": counters})
        assert tb.sink.empty(), f"run {number}: more output than {len(run.outputs)} packets"
        assert packets == run.outputs, f"run {number}: outputs differ from the reference"
        if run.counters is not None and scenario.stress.quiet:
            assert counters == run.counters, f"run {number}: counters {counters}, expected {run.counters}"
        print(f"@progress {number + 1}/{len(scenario.runs)}", flush=True)
    (folder / "measured.json").write_text(json.dumps(measured))
