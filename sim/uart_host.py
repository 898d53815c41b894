"""A host at the other end of a design's UART, in simulation: it speaks the protocol of docs/host.md."""

import struct
from collections.abc import Sequence

import cocotb
from cocotb.handle import LogicObject
from cocotb.triggers import FallingEdge, Timer, with_timeout

from lstm_hw.errors import ToolError
from lstm_hw.host.protocol import REPLY, REQUEST, Frame, Hello, Op, Parser, Status, TestState
from lstm_hw.machine.config import VALUE_BITS


class UartHost:
    """Sends requests and takes replies, bit by bit; also the driver's port to the registers.

    Parameters
    ----------
    rx, tx : cocotb handle
        The design's input and output.
    cycle_ns : float
        A cycle of the design's clock.
    divisor : int
        Cycles of a bit.
    patience_ms : int
        Simulated milliseconds that a reply may take.
    """

    def __init__(self, rx: LogicObject, tx: LogicObject, cycle_ns: float, divisor: int, patience_ms: int = 400):
        self.rx, self.tx, self.cycle_ns, self.divisor = rx, tx, cycle_ns, divisor
        self.patience_ms, self.number, self.most = patience_ms, 0, 64
        rx.value = 1

    async def send(self, content: bytes) -> None:
        """Put bytes on the wire, one behind the other."""
        bit = Timer(round(self.divisor * self.cycle_ns * 1000), "ps")
        for byte in content:
            before = 1
            for value in (0, *(byte >> n & 1 for n in range(8)), 1):
                if value != before:
                    self.rx.value = before = value
                await bit

    async def _receive(self):
        """The next byte."""
        half = round(self.divisor * self.cycle_ns * 500)
        await FallingEdge(self.tx)
        await Timer(half, "ps")
        value = 0
        for bit in range(9):
            await Timer(2 * half, "ps")
            value |= int(self.tx.value) << bit
        if not value >> 8:
            raise ToolError("UART", "a byte without a stop bit", "must have one")
        return value & 0xFF

    async def _reply(self):
        parser = Parser(REPLY, 1 << 16)
        while True:
            for found in parser.feed(bytes([await self._receive()])):
                return found

    async def request(self, op: Op, payload: bytes = b"") -> tuple[Status, bytes]:
        """Send a request; returns status and payload of its reply.

        Raises
        ------
        ToolError
            The reply is no frame, or another request's.
        cocotb.triggers.SimTimeoutError
            None comes.
        """
        self.number = (self.number + 1) % 256
        listening = cocotb.start_soon(self._reply())  # it may begin before the last stop bit is over
        await self.send(Frame(self.number, op, payload).to_bytes(REQUEST))
        reply = await with_timeout(listening, self.patience_ms, "ms")
        if not isinstance(reply, Frame) or reply.number != self.number:
            raise ToolError("reply", f"{reply}", f"must be a frame of number {self.number}")
        return Status(reply.code), reply.payload

    async def ask(self, op: Op, payload: bytes = b"") -> bytes:
        """Payload of a reply that must be OK; ToolError if it is not."""
        status, found = await self.request(op, payload)
        if status != Status.OK:
            raise ToolError(f"request {op.name}", f"answered with {status.name}", "must be OK")
        return found

    async def hello(self) -> Hello:
        """What the bridge is; from now on, requests are as long as it takes them."""
        found = Hello.from_bytes(await self.ask(Op.HELLO))
        self.most = found.most
        return found

    async def read(self, address: int) -> int:
        """Value of a register."""
        return struct.unpack("<I", await self.ask(Op.READ, struct.pack("<IH", address, 1)))[0]

    async def write(self, address: int, value: int) -> None:
        """Set a register."""
        await self.ask(Op.WRITE, struct.pack("<II", address, value))

    async def write_memory(self, offset: int, content: bytes) -> None:
        """Write bytes, a multiple of 4."""
        size = self.most - 4 & ~3
        for at in range(0, len(content), size):
            await self.ask(Op.MEM_WRITE, struct.pack("<I", offset + at) + content[at : at + size])

    async def read_memory(self, offset: int, count: int) -> bytes:
        """Read bytes, a multiple of 4."""
        size, found = self.most & ~3, b""
        while len(found) < count:
            part = min(size, count - len(found))
            found += await self.ask(Op.MEM_READ, struct.pack("<IH", offset + len(found), part))
        return found

    async def send_x(self, beats: Sequence[int], beat_bytes: int) -> None:
        """Send beats; the last one carries tlast."""
        size = (self.most - 1) // beat_bytes
        for at in range(0, len(beats), size):
            part = beats[at : at + size]
            flags = bytes([at + len(part) == len(beats)])
            await self.ask(Op.X, flags + b"".join(beat.to_bytes(beat_bytes, "little") for beat in part))

    async def take_y(self, count: int) -> list[list[int]]:
        """Take so many beats; returns their packets, elements signed."""
        size = self.most // (VALUE_BITS // 8 + 1)
        packets, packet = [], []
        for at in range(0, count, size):
            found = await self.ask(Op.Y, struct.pack("<H", min(size, count - at)))
            for value, last in struct.iter_unpack("<hB", found):
                packet.append(value)
                if last:
                    packets.append(packet)
                    packet = []
        return [*packets, packet] if packet else packets

    async def self_test(self, start: bool = False) -> tuple[TestState, int, int, int]:
        """Look at the self-test, or start it: its state, reason, vectors that were right, and cycles."""
        state, *others = struct.unpack("<BBHI", await self.ask(Op.SELFTEST, bytes([start])))
        return TestState(state), *others

    async def set_speed(self, divisor: int) -> None:
        """Use another speed from the next request on."""
        await self.ask(Op.SPEED, struct.pack("<I", divisor))
        await Timer(round(2 * self.divisor * self.cycle_ns * 1000), "ps")
        self.divisor = divisor
