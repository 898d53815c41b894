"""The host's end of the protocol over a byte stream: a transport whose every access is a request and its reply."""

import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ..errors import DeviceError
from ..machine.limits import VALUE_BITS
from .protocol import (
    FRAME_BYTES,
    REPLY,
    REQUEST,
    SILENCE_MS,
    STATUS_DOC,
    Capability,
    FlashState,
    Frame,
    Hello,
    Op,
    Parser,
    Status,
    TestState,
)
from .transport import Ended, Packets, Transport, signed

TRIES = 4
"""Times that a request is sent before the bridge counts as gone."""
REPLY_S = 1.0
BUSY_S = 10.0
"""Seconds for which a bridge may be busy, as with a self-test after its configuration."""
MOST = 1 << 16
LEAST_PAYLOAD = 64
"""Bytes of a payload that every bridge takes."""
LEAST_DIVISOR = 2
"""Cycles of a bit that a bridge can do with."""
BREAK_S = 0.01
"""Seconds of a break: longer than a character at any speed that a bridge starts with."""


class Line(Protocol):
    """A stream of bytes both ways."""

    name: str

    async def write(self, content: bytes) -> None:
        """Send bytes."""

    async def read(self, seconds: float) -> bytes:
        """What has come, or comes within so many seconds; empty if nothing does."""

    async def set_speed(self, baud: float | None) -> None:
        """Use another speed, without one the first; the latter also brings the other end's first speed back.

        Of a line without speeds this does nothing.
        """

    def close(self) -> None:
        """Give it back."""


class Link:
    """Requests over a line, each done once; and the parts of a transport made of them.

    Parameters
    ----------
    line : Line
    clock : callable () -> float
    reply_s : float
        Seconds that a reply may take, beside what the bridge itself waits.
    silence_s : float
        Seconds for which the line is kept silent before a request is repeated.
    """

    def __init__(
        self,
        line: Line,
        clock: Callable[[], float] = time.monotonic,
        reply_s: float = REPLY_S,
        silence_s: float = 2e-3 * SILENCE_MS,
    ):
        self.line, self.clock, self.reply_s, self.silence_s = line, clock, reply_s, silence_s
        self.hello: Hello | None = None
        self.number = random.randrange(256)

    @classmethod
    async def open(cls, line: Line, **options: Any) -> "Link":
        """Find the bridge at the other end; options are those of the class.

        Raises
        ------
        DeviceError
            Nothing answers, or something else does; what the bridge says of itself cannot be.
        """
        link = cls(line, **options)
        await line.set_speed(None)  # whoever used it before may have left it at another
        link.hello = hello = Hello.from_bytes((await link.request(Op.HELLO)).payload)
        beats = f"beats of x of {hello.x_beat_bytes} bytes, of y of {hello.y_beat_bytes}, payloads of {hello.most}"
        if hello.most < LEAST_PAYLOAD:
            raise DeviceError(line.name, beats, f"must take payloads of {LEAST_PAYLOAD} bytes at least")
        if Capability.STREAMS in hello.capabilities and not (
            0 < hello.x_beat_bytes < hello.most and hello.y_beat_bytes == VALUE_BITS // 8
        ):
            rule = f"must have a beat of x in a payload, and beats of y of {VALUE_BITS // 8} bytes"
            raise DeviceError(line.name, beats, rule)
        return link

    def transport(self) -> Transport:
        """What this bridge has."""
        has = self.hello.capabilities
        return Transport(
            self.line.name,
            self if Capability.REGISTERS in has else None,
            LinkMemory(self) if Capability.MEMORY in has else None,
            LinkStreams(self) if Capability.STREAMS in has else None,
            self.reset if Capability.RESET in has else None,
            selftest=self.selftest if Capability.SELFTEST in has else None,
            flash=self.flash if Capability.FLASH in has else None,
            clock=self.clock,
            close=self.line.close,
        )

    async def request(self, op: Op, payload: bytes = b"", accept: Sequence[Status] = (Status.OK,)) -> Frame:
        """Send a request until its reply comes.

        Parameters
        ----------
        op : Op
        payload : bytes
        accept : sequence of Status
            Replies that are no error.

        Returns
        -------
        Frame
            The reply.

        Raises
        ------
        DeviceError
            No reply, or one that is not accepted.
        """
        end = self.clock() + BUSY_S
        reply = await self._asked(op, payload)
        while reply.code == Status.BUSY and self.clock() < end:
            await self._silence()
            reply = await self._asked(op, payload)
        status = Status(reply.code) if reply.code in list(Status) else None
        if status not in accept:
            rule = f"must be {accept[0].name}; {STATUS_DOC.get(status, 'unknown')}"
            found = f"{op.name} answered with {status.name if status else reply.code}"
            raise DeviceError(self.line.name, found, rule)
        return reply

    async def _asked(self, op, payload):
        """The reply to a new request, which is sent again until one comes that a garbled request cannot have."""
        self.number = self.number + 1 & 0xFF
        sent = Frame(self.number, op, payload).to_bytes(REQUEST)
        waits, reply = self.reply_s + (self.hello.timeout_us * 1e-6 if self.hello else 0.0), None
        for attempt in range(TRIES):
            if attempt:
                await self._silence()
            await self.line.write(sent)
            reply = await self._reply(waits) or reply
            if reply is not None and reply.code not in (Status.CRC, Status.LENGTH):
                return reply
        if reply is None:
            rule = f"must answer one of {TRIES} requests: is it the right port, speed and bitstream?"
            raise DeviceError(self.line.name, f"nothing in answer to {op.name}", rule)
        return reply

    async def _reply(self, seconds):
        """The reply of the request's number, or None."""
        parser, end = Parser(REPLY, MOST), self.clock() + seconds
        while (left := end - self.clock()) > 0:
            for found in parser.feed(await self.line.read(left)):
                if isinstance(found, Frame) and found.number == self.number:
                    return found
        return None

    async def _silence(self):
        """Be silent until the bridge has dropped what it has of a frame; what comes meanwhile is dropped too."""
        end = self.clock() + self.silence_s
        while (left := end - self.clock()) > 0:
            await self.line.read(left)

    @property
    def most(self) -> int:
        """Longest payload."""
        return self.hello.most

    # Registers

    async def read(self, address: int) -> int:
        """Value of a register."""
        payload = address.to_bytes(4, "little") + b"\1\0"
        return int.from_bytes(_sized(self, Op.READ, await self.request(Op.READ, payload), 4), "little")

    async def write(self, address: int, value: int) -> None:
        """Set a register."""
        await self.request(Op.WRITE, address.to_bytes(4, "little") + value.to_bytes(4, "little"))

    async def reset(self) -> None:
        """Reset the engine and empty the streams."""
        await self.request(Op.RESET)

    async def flash(self) -> FlashState | None:
        """What has become of the model in the board's flash memory; None: it is not looked at.

        Raises
        ------
        DeviceError
            The bridge answers with something else.
        """
        if Capability.FLASH not in self.hello.capabilities:
            return None
        (state,) = _sized(self, Op.FLASH, await self.request(Op.FLASH), 1)
        if state not in list(FlashState):
            raise DeviceError(self.line.name, f"state {state} of the flash", f"must be up to {max(FlashState)}")
        return FlashState(state)

    async def speed_up(self, baud: float) -> float | None:
        """Use a faster line, as near to a speed as the bridge's clock divides to; returns the speed.

        None, and the line as it was, where it is as fast, or the bridge knows no speeds.

        Raises
        ------
        DeviceError
            The bridge cannot be understood at that speed; the line is at its first speed again.
        """
        if Capability.SPEED not in self.hello.capabilities:
            return None
        said = _sized(self, Op.SPEED, await self.request(Op.SPEED), 8)
        clock_hz, now = int.from_bytes(said[:4], "little"), int.from_bytes(said[4:], "little")
        divisor = max(LEAST_DIVISOR, round(clock_hz / baud))
        if divisor >= now:
            return None
        await self.request(Op.SPEED, divisor.to_bytes(4, "little"))
        await self.line.set_speed(clock_hz / divisor)
        try:
            await self.request(Op.HELLO)
        except DeviceError:
            await self.line.set_speed(None)
            raise
        return clock_hz / divisor

    async def selftest(self, begin: bool) -> tuple[TestState, int, int, int]:
        """The board's own self-test: begin one, or look.

        Returns state, reason, vectors that were right, and cycles of the last run.

        Raises
        ------
        DeviceError
            The board has none.
        """
        reply = _sized(self, Op.SELFTEST, await self.request(Op.SELFTEST, bytes([begin])), 8)
        vectors, cycles = int.from_bytes(reply[2:4], "little"), int.from_bytes(reply[4:], "little")
        return TestState(min(reply[0], TestState.FAILED)), reply[1], vectors, cycles


def _sized(link, op, reply, size):
    """The payload of a reply, which has so many bytes."""
    if len(reply.payload) != size:
        raise DeviceError(link.line.name, f"{len(reply.payload)} bytes in answer to {op.name}", f"must be {size}")
    return reply.payload


class LinkMemory:
    """The memory behind a bridge.

    Parameters
    ----------
    link : Link
    """

    def __init__(self, link: Link):
        self.link, self.base, self.size = link, link.hello.memory_base, link.hello.memory_bytes

    async def write(self, offset: int, content: bytes) -> None:
        """Write bytes; offset and length are multiples of 4."""
        piece = (self.link.most - 4) // 4 * 4
        for at in range(0, len(content), piece):
            payload = (offset + at).to_bytes(4, "little") + content[at : at + piece]
            await self.link.request(Op.MEM_WRITE, payload)

    async def read(self, offset: int, count: int) -> bytes:
        """Read bytes; offset and count are multiples of 4."""
        piece, found = self.link.most // 4 * 4, b""
        while len(found) < count:
            size = min(piece, count - len(found))
            payload = (offset + len(found)).to_bytes(4, "little") + size.to_bytes(2, "little")
            found += _sized(self.link, Op.MEM_READ, await self.link.request(Op.MEM_READ, payload), size)
        return found


class LinkStreams:
    """The streams behind a bridge.

    Parameters
    ----------
    link : Link
    """

    one_packet = False

    def __init__(self, link: Link):
        self.link = link
        self.x_beat_bytes, self.y_beat_bytes = link.hello.x_beat_bytes, link.hello.y_beat_bytes
        self.clean = False

    async def drain(self) -> None:
        """Drop outputs that a run has left; one that went well has left none."""
        while not self.clean:
            self.clean = not (await self._take(self._room))[1]

    async def transfer(self, x: bytes, lengths: Sequence[int], ended: Ended) -> Packets:
        """Send x and take y, in turns."""
        size, total = self.x_beat_bytes, sum(lengths)
        piece = max(1, (self.link.most - 1) // size) * size
        self.clean = False
        beats, lasts, sent, over = b"", [], 0, False
        while not over and (sent < len(x) or len(lasts) < total):
            waiting, moved = total - len(lasts), False
            if sent < len(x):
                part = x[sent : sent + piece]
                taken, waiting = await self._send(part, sent + len(part) == len(x))
                sent, moved = sent + taken * size, taken > 0
            if waiting:
                more, marks = await self._take(min(waiting, self._room))
                beats, lasts, moved = beats + more, lasts + marks, moved or bool(marks)
            over = not moved and await ended()
        while over and len(lasts) < total:  # what the bridge keeps of a run that is over
            more, marks = await self._take(min(total - len(lasts), self._room))
            if not marks:
                break
            beats, lasts = beats + more, lasts + marks
        self.clean = not over
        if sent < len(x):
            return []
        values, packets, packet = signed(beats, self.y_beat_bytes), [], []
        for value, last in zip(values, lasts, strict=True):
            packet.append(value)
            if last:
                packets.append(packet)
                packet = []
        return packets + [packet] * bool(packet)

    @property
    def _room(self):
        """Beats of y that a reply holds."""
        return max(1, self.link.most // (self.y_beat_bytes + 1))

    async def _send(self, beats, last):
        """Beats that were taken, and those of y that wait."""
        reply = await self.link.request(Op.X, bytes([last]) + beats, (Status.OK, Status.TIMEOUT))
        payload = _sized(self.link, Op.X, reply, 4)
        taken, waiting = (int.from_bytes(payload[at : at + 2], "little") for at in (0, 2))
        if taken * self.x_beat_bytes > len(beats):
            rule = f"must be at most the {len(beats) // self.x_beat_bytes} that were sent"
            raise DeviceError(self.link.line.name, f"{taken} beats of x taken", rule)
        return taken, waiting

    async def _take(self, count):
        """Beats of y and their marks, at most so many."""
        reply = await self.link.request(Op.Y, count.to_bytes(2, "little"), (Status.OK, Status.TIMEOUT))
        size, payload = self.y_beat_bytes + 1, reply.payload
        if len(payload) % size or len(payload) > count * size:
            raise DeviceError(self.link.line.name, f"{len(payload)} bytes of y", f"must be at most {count} of {size}")
        beats = b"".join(payload[at : at + size - 1] for at in range(0, len(payload), size))
        return beats, [mark & 1 for mark in payload[size - 1 :: size]]


# Lines


class SerialLine:
    """A serial port.

    Parameters
    ----------
    port : str
        As ``/dev/ttyUSB0``.
    baud : int

    Raises
    ------
    DeviceError
        pyserial is not installed, or the port cannot be opened.
    """

    def __init__(self, port: str, baud: int):
        try:
            import serial
        except ImportError as error:
            raise DeviceError("pyserial", "not installed", "must be: pip install lstm-hw[serial]") from error
        self.name, self.first = port, baud
        try:
            self.serial = serial.Serial(port, baud, timeout=0, exclusive=True)
            self.serial.reset_input_buffer()
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            rule = "must be a serial port that can be opened: connected, and its group (dialout) this user's"
            raise DeviceError(port, os.strerror(number) if number else str(error), rule) from error
        self.failures = (OSError, serial.SerialException)
        with suppress(AttributeError, NotImplementedError, *self.failures, ValueError):
            self.serial.set_low_latency_mode(True)  # USB adapters keep a reply for 16 ms otherwise

    async def write(self, content: bytes) -> None:
        """Send bytes."""
        try:
            self.serial.timeout = None
            self.serial.write(content)
            self.serial.flush()
        except self.failures as error:
            raise DeviceError(self.name, str(error), "must stay connected") from error

    async def read(self, seconds: float) -> bytes:
        """What has come, or comes within so many seconds."""
        try:
            self.serial.timeout = seconds
            first = self.serial.read(1)
            return first + self.serial.read(self.serial.in_waiting) if first else b""
        except self.failures as error:
            raise DeviceError(self.name, str(error), "must stay connected") from error

    async def set_speed(self, baud: float | None) -> None:
        """Use another speed; without one the first, after a break, which the bridge understands at any speed."""
        try:
            if baud is None:
                self.serial.send_break(BREAK_S)
            self.serial.baudrate = round(baud or self.first)
            self.serial.reset_input_buffer()
        except (*self.failures, ValueError) as error:
            raise DeviceError(self.name, str(error), f"must be able to send at {baud or self.first:g} baud") from error

    def close(self) -> None:
        """Give the port back."""
        self.serial.close()


class SocketLine:
    """A connected socket.

    Parameters
    ----------
    connection : socket.socket
    name : str
    """

    def __init__(self, connection: socket.socket, name: str):
        self.socket, self.name = connection, name

    @classmethod
    def connect(cls, host: str, port: int) -> "SocketLine":
        """A TCP connection; DeviceError where there is none."""
        name = f"{host}:{port}"
        try:
            connection = socket.create_connection((host, port), timeout=10.0)
        except OSError as error:
            raise DeviceError(name, error.strerror or str(error), "must be an address that answers") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection, name)

    async def write(self, content: bytes) -> None:
        """Send bytes."""
        try:
            self.socket.settimeout(10.0)
            self.socket.sendall(content)
        except OSError as error:
            raise DeviceError(self.name, error.strerror or str(error), "must stay connected") from error

    async def read(self, seconds: float) -> bytes:
        """What has come, or comes within so many seconds."""
        try:
            self.socket.settimeout(max(seconds, 1e-3))
            found = self.socket.recv(MOST + FRAME_BYTES)
        except TimeoutError:
            return b""
        except OSError as error:
            raise DeviceError(self.name, error.strerror or str(error), "must stay connected") from error
        if not found:
            raise DeviceError(self.name, "the other end has closed", "must stay connected")
        return found

    async def set_speed(self, baud: float | None) -> None:
        """Nothing: a socket has no speeds."""

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
