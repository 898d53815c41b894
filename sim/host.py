"""The engine on cocotbext-axi's buses as a transport of the driver, and as what a bridge stands in front of."""

from collections import deque
from collections.abc import Sequence

import cocotb
from cocotb.handle import HierarchyObject
from cocotb.triggers import Event, First, RisingEdge, Timer
from cocotbext.axi import AxiStreamFrame

from lstm_hw.host.image import FirmwareImage
from lstm_hw.host.transport import Ended, Packets, Transport
from lstm_hw.machine.limits import PAGE_BYTES, VALUE_BITS
from lstm_hw.machine.ports import X, Y
from lstm_hw.verify.scenario import Scenario

from .progress import CLOCK_NS, seconds
from .testbench import TB, Port

POLL_CYCLES = 50
"""Between two looks whether a run is over."""


async def within(event: Event, limit: float) -> None:
    """Wait for an event, at most so many seconds."""
    if limit > 0:
        await First(event.wait(), Timer(max(1, round(limit * 1e9)), "ns"))


class HostTB(TB):
    """The bench whose memories are empty, since the host fills them.

    Parameters
    ----------
    dut : cocotb handle
    image : FirmwareImage
        Whose engine it is, and whose weights the memories have room for.
    """

    def __init__(self, dut: HierarchyObject, image: FirmwareImage):
        config = image.config
        size = config.axi_ports * -(-len(image.images[0]) // PAGE_BYTES) * PAGE_BYTES
        super().__init__(dut, Scenario(config, [], bytes(size * config.axi_ports), []))
        self.base, self.size = self.scenario.weights_address, size
        self.registers = Port(self.control)
        self.streams = SimStreams(self)

    async def write(self, offset: int, content: bytes) -> None:
        """The memory's part of a transport: all ports see the same."""
        for memory in self.memories:
            memory.write(self.base + offset, content)

    async def read(self, offset: int, count: int) -> bytes:
        """... and back."""
        return bytes(self.memories[0].read(self.base + offset, count))

    def transport(self) -> Transport:
        """The driver's road to this engine."""
        return Transport("simulation", self.registers, self, self.streams, self.reset, clock=seconds)


class SimStreams:
    """Streams of a bench: whole transfers for the driver, single beats for a bridge.

    Parameters
    ----------
    tb : HostTB
    """

    one_packet = False

    def __init__(self, tb: HostTB):
        self.tb, config = tb, tb.scenario.config
        self.x_beat_bytes = config.operand_bits * config.x_per_beat // 8
        self.y_beat_bytes = VALUE_BITS // 8

    async def drain(self) -> None:
        """Drop outputs that a run has left, and x that none has taken."""
        self.tb.source.clear()
        await Timer(POLL_CYCLES * CLOCK_NS, "ns")  # an output that is offered still comes
        await self.tb.restart_sink()

    async def transfer(self, x: bytes, lengths: Sequence[int], ended: Ended) -> Packets:
        """Send x and take y."""
        size, source = self.x_beat_bytes, self.tb.source
        beats = [int.from_bytes(x[at : at + size], "little") for at in range(0, len(x), size)]
        await source.send(AxiStreamFrame(beats))
        packets = []
        while len(packets) < len(lengths):
            if not self.tb.sink.empty():
                packets += await self.tb.receive(1)
                continue
            await Timer(POLL_CYCLES * CLOCK_NS, "ns")
            if self.tb.sink.empty() and await ended() and self.tb.sink.empty():
                break
        return packets


class BeatStreams:
    """Single beats of the streams, for a bridge; every beat is a frame of its own.

    Parameters
    ----------
    tb : HostTB
    """

    def __init__(self, tb: HostTB):
        self.tb, self.x_beat_bytes, self.y_beat_bytes = tb, tb.streams.x_beat_bytes, tb.streams.y_beat_bytes
        self.beats, self.came = deque(), Event()
        cocotb.start_soon(self._collect())

    async def _collect(self):
        """Beat by beat: the sink takes them, and would know whole packets only."""
        dut = self.tb.dut
        valid, ready, data, last = (getattr(dut, f"{Y}_{name}") for name in ("tvalid", "tready", "tdata", "tlast"))
        while True:
            await RisingEdge(dut.aclk)
            if not int(valid.value):
                await RisingEdge(valid)  # most cycles are idle, and Python is slow
            elif int(ready.value):
                beat = int(data.value).to_bytes(self.y_beat_bytes, "little")
                self.beats.append((beat, bool(int(last.value))))
                self.came.set()

    async def send(self, beat: bytes, last: bool, seconds: float) -> bool:
        """Offer a beat of x for a while; the source of whole frames must be idle."""
        dut = self.tb.dut
        signals = {name: getattr(dut, f"{X}_{name}") for name in ("tvalid", "tready", "tdata", "tlast")}
        signals["tdata"].value = int.from_bytes(beat, "little")
        signals["tlast"].value, signals["tvalid"].value = int(last), 1
        taken = False
        for _ in range(max(1, round(seconds * 1e9 / CLOCK_NS))):
            await RisingEdge(dut.aclk)
            taken = bool(int(signals["tready"].value)) and bool(int(signals["tvalid"].value))
            if taken:
                break
        signals["tvalid"].value = 0
        return taken

    def waiting(self) -> int:
        """Beats of y that are there."""
        return len(self.beats)

    async def take(self, seconds: float) -> tuple[bytes, bool] | None:
        """A beat of y."""
        if not self.beats:
            self.came.clear()
            await within(self.came, seconds)
        return self.beats.popleft() if self.beats else None


class Queue:
    """One end of a line between two coroutines of a bench.

    Parameters
    ----------
    name : str
    """

    def __init__(self, name: str):
        self.name, self.other, self.pending, self.came = name, None, bytearray(), Event()

    @classmethod
    def pair(cls) -> tuple["Queue", "Queue"]:
        """Both ends."""
        ends = cls("line to the bridge"), cls("line to the host")
        ends[0].other, ends[1].other = ends[1], ends[0]
        return ends

    async def write(self, content: bytes) -> None:
        """Send bytes to the other end."""
        self.other.pending += content
        self.other.came.set()

    async def read(self, seconds: float) -> bytes:
        """What has come, or comes within so many seconds."""
        if not self.pending:
            self.came.clear()
            await within(self.came, seconds)
        found, self.pending = bytes(self.pending), bytearray()
        return found

    async def set_speed(self, baud: float | None) -> None:
        """Nothing: it has no speeds."""

    def close(self) -> None:
        """Nothing to give back."""
