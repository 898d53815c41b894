"""The emitted engine among cocotbext-axi's models of its buses, which a bench can disturb in any cycle."""

import hashlib
import logging

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import ClockCycles, RisingEdge, Timer
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiRamRead,
    AxiReadBus,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from lstm_hw.errors import ToolError
from lstm_hw.host.driver import Driver, WeightCheck
from lstm_hw.machine.limits import VALUE_BITS
from lstm_hw.machine.ports import CONTROL, X, Y, weight_prefixes
from lstm_hw.verify.scenario import Run, Scenario

from .clock import start_clock
from .progress import CLOCK_NS, heartbeat, seconds


class Port:
    """The driver's port over AXI4-Lite."""

    def __init__(self, master: AxiLiteMaster):
        self.master = master

    async def read(self, address: int) -> int:
        return int.from_bytes((await self.master.read(address, 4)).data, "little")

    async def write(self, address: int, value: int) -> None:
        answer = (await self.master.write(address, value.to_bytes(4, "little"))).resp
        if answer != AxiResp.OKAY:
            raise ToolError(f"register {address:#x}", f"{value:#x} answered with {answer.name}", "must be OKAY")


class StreamMonitor:
    """Watches a stream: VALID is never withdrawn and the payload is stable until it is taken."""

    def __init__(self, dut: HierarchyObject, prefix: str):
        self.signals = {name: getattr(dut, f"{prefix}_{name}") for name in ("tvalid", "tready", "tdata", "tlast")}
        self.clock, self.reset = dut.aclk, dut.aresetn
        cocotb.start_soon(self.watch())

    async def watch(self) -> None:
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


class TB:
    """The engine with a memory for each weight port, a register master, a source of x and a sink of outputs."""

    def __init__(self, dut: HierarchyObject, scenario: Scenario):
        self.dut, self.scenario = dut, scenario
        weights = weight_prefixes(scenario.config)
        for name in (CONTROL, *weights, X, Y):
            logging.getLogger(f"cocotb.{dut._name}.{name}").setLevel(logging.WARNING)
        start_clock(dut.aclk)
        cocotb.start_soon(heartbeat())
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
        check = WeightCheck(hashlib.sha256(scenario.image).hexdigest(), self.image)
        self.driver = Driver(Port(self.control), scenario.config.content_id, weights=check, clock=seconds)

    async def image(self) -> bytes:
        """What memory holds where the weights belong."""
        places = zip(self.memories, self.scenario.addresses, self.scenario.images, strict=True)
        return b"".join(memory.read(address, len(image)) for memory, address, image in places)

    async def reset(self) -> None:
        self.dut.aresetn.value = 0
        await Timer(10 * CLOCK_NS, "ns")
        await RisingEdge(self.dut.aclk)
        self.dut.aresetn.value = 1
        await RisingEdge(self.dut.aclk)

    async def send(self, run: Run) -> None:
        """Queue the x beats of a run, a frame a vector."""
        bits = self.scenario.config.operand_bits
        frame = []
        for beat, last in zip(run.x.tolist(), run.lasts.tolist(), strict=True):
            frame.append(sum((int(v) & (1 << bits) - 1) << bits * e for e, v in enumerate(beat)))
            if last:
                await self.source.send(AxiStreamFrame(frame))
                frame = []

    async def receive(self, count: int) -> list[list[int]]:
        """Take so many output packets; elements are signed."""
        packets = []
        for _ in range(count):
            frame = await self.sink.recv()
            packets.append([v - (1 << VALUE_BITS) if v >> VALUE_BITS - 1 else v for v in frame.tdata])
        return packets

    async def restart_sink(self) -> None:
        """A packet that was cut off is no part of the next one."""
        self.sink.assert_reset(True)
        self.sink.clear()
        await self.cycles(2)
        self.sink.assert_reset(False)
        await self.cycles(2)

    async def cycles(self, count: int) -> None:
        await ClockCycles(self.dut.aclk, count)
