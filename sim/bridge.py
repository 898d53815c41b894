"""The bridge of the host protocol in Python: what docs/host.md says it does, in front of anything that is a transport.

Benches put it between a driver and the simulated engine; the drivers in both languages are tested against it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from lstm_hw.errors import ToolError
from lstm_hw.host.driver import RegisterPort
from lstm_hw.host.protocol import (
    REPLY,
    REQUEST,
    SILENCE_MS,
    VERSION,
    Capability,
    Damaged,
    Frame,
    Hello,
    Op,
    Parser,
    Status,
)
from lstm_hw.host.transport import Memory

WAIT_US = 20
"""How long it waits for x to be taken and for y to come."""


class BeatStreams(Protocol):
    """The streams, beat by beat."""

    x_beat_bytes: int
    y_beat_bytes: int

    async def send(self, beat: bytes, last: bool, seconds: float) -> bool:
        """Offer a beat of x; False if it is not taken in the time, and then withdrawn."""

    def waiting(self) -> int:
        """Beats of y that are there."""

    async def take(self, seconds: float) -> tuple[bytes, bool] | None:
        """A beat of y and its tlast; None if none comes in the time."""


class ByteLine(Protocol):
    """The bridge's end of a line."""

    async def write(self, content: bytes) -> None:
        """Send bytes."""

    async def read(self, seconds: float) -> bytes:
        """What has come, or comes within so many seconds."""


@dataclass
class Bridge:
    """Answers requests.

    Parameters
    ----------
    registers : RegisterPort
    memory : Memory or None
    streams : BeatStreams or None
    reset : async callable or None
    silence : float
        Seconds without a byte after which it drops what it has of a frame.
    most : int
        Longest payload.
    y_beats : int
        Beats of y that wait in it, as it says.
    """

    registers: RegisterPort
    memory: Memory | None = None
    streams: BeatStreams | None = None
    reset: Callable[[], Awaitable[None]] | None = None
    silence: float = SILENCE_MS * 1e-3
    most: int = 256
    y_beats: int = 64

    def __post_init__(self):
        self.kept = None  # number of the request before, and its reply

    @property
    def hello(self) -> Hello:
        """What it says of itself."""
        has = Capability.REGISTERS
        for part, capability in (
            (self.memory, Capability.MEMORY),
            (self.streams, Capability.STREAMS),
            (self.reset, Capability.RESET),
        ):
            has |= capability if part is not None else 0
        base, size = (self.memory.base, self.memory.size) if self.memory else (0, 0)
        x, y = (self.streams.x_beat_bytes, self.streams.y_beat_bytes) if self.streams else (0, 0)
        return Hello(VERSION, has, base, size, x, y, self.most, self.y_beats, WAIT_US)

    async def serve(self, line: ByteLine) -> None:
        """Answer what comes, for ever."""
        parser = Parser(REQUEST, self.most)
        while True:
            content = await line.read(self.silence)
            if not content:
                parser.silence()
            for found in parser.feed(content):
                await line.write((await self.reply(found)).to_bytes(REPLY))

    async def reply(self, found: Frame | tuple[int, Damaged]) -> Frame:
        """The reply to what a parser has found: a request that was answered before is not done again."""
        if not isinstance(found, Frame):
            number, what = found
            return Frame(number, Status.CRC if what == Damaged.CRC else Status.LENGTH)
        if self.kept is None or self.kept[0] != found.number or found.code == Op.HELLO:
            status, payload = await self.answer(found)
            self.kept = found.number, Frame(found.number, status, payload)
        return self.kept[1]

    async def answer(self, request: Frame) -> tuple[Status, bytes]:
        """Status and payload of the reply to a request."""
        need = {Op.X: self.streams, Op.Y: self.streams, Op.MEM_READ: self.memory, Op.MEM_WRITE: self.memory}
        need[Op.RESET] = self.reset
        if (
            request.code not in list(Op)
            or request.code in (Op.SELFTEST, Op.FLASH)
            or need.get(request.code, True) is None
        ):
            return Status.OP, b""
        return await getattr(self, f"_{Op(request.code).name.lower()}")(request.payload)

    async def _hello(self, payload):
        return (Status.LENGTH, b"") if payload else (Status.OK, self.hello.to_bytes())

    async def _read(self, payload):
        address, count = int.from_bytes(payload[:4], "little"), int.from_bytes(payload[4:], "little")
        if len(payload) != 6 or address % 4 or not 1 <= count <= self.most // 4:
            return Status.LENGTH, b""
        words = [await self.registers.read(address + 4 * n) for n in range(count)]
        return Status.OK, b"".join(word.to_bytes(4, "little") for word in words)

    async def _write(self, payload):
        address, words = int.from_bytes(payload[:4], "little"), payload[4:]
        if not words or len(words) % 4 or address % 4:
            return Status.LENGTH, b""
        for at in range(0, len(words), 4):
            try:
                await self.registers.write(address + at, int.from_bytes(words[at : at + 4], "little"))
            except ToolError:
                return Status.REFUSED, (at // 4).to_bytes(2, "little")
        return Status.OK, b""

    async def _x(self, payload):
        size = self.streams.x_beat_bytes
        if len(payload) <= size or (len(payload) - 1) % size:
            return Status.LENGTH, b""
        beats, status, taken = payload[1:], Status.OK, 0
        for at in range(0, len(beats), size):
            last = bool(payload[0] & 1) and at + size == len(beats)
            if not await self.streams.send(beats[at : at + size], last, WAIT_US * 1e-6):
                status = Status.TIMEOUT
                break
            taken += 1
        return status, taken.to_bytes(2, "little") + self.streams.waiting().to_bytes(2, "little")

    async def _y(self, payload):
        count, size = int.from_bytes(payload, "little"), self.streams.y_beat_bytes + 1
        if len(payload) != 2 or count * size > self.most:
            return Status.LENGTH, b""
        beats = b""
        for _ in range(count):
            beat = await self.streams.take(WAIT_US * 1e-6)
            if beat is None:
                return Status.TIMEOUT, beats
            beats += beat[0] + bytes([beat[1]])
        return Status.OK, beats

    def _outside(self, offset, count):
        return offset % 4 or count % 4 or not 1 <= count <= self.memory.size - offset

    async def _mem_write(self, payload):
        offset, content = int.from_bytes(payload[:4], "little"), payload[4:]
        if self._outside(offset, len(content)):
            return Status.LENGTH, b""
        await self.memory.write(offset, content)
        return Status.OK, b""

    async def _mem_read(self, payload):
        offset, count = int.from_bytes(payload[:4], "little"), int.from_bytes(payload[4:], "little")
        if len(payload) != 6 or count > self.most or self._outside(offset, count):
            return Status.LENGTH, b""
        return Status.OK, await self.memory.read(offset, count)

    async def _reset(self, payload):
        if payload:
            return Status.LENGTH, b""
        await self.reset()
        return Status.OK, b""
