"""The other end of a design's UART, in simulation: bits on the wires, and a line of the host protocol over them."""

from collections import deque

import cocotb
from cocotb.handle import LogicObject
from cocotb.triggers import Event, FallingEdge, Timer

from lstm_hw.errors import ToolError
from lstm_hw.host.link import Link

from .host import within
from .progress import seconds

REPLY_S, SILENCE_S = 2e-2, 1e-4
"""Simulated seconds that a reply may take, and that the host is silent before it repeats a request."""


class UartWires:
    """Puts bytes on the wires and takes them, bit by bit.

    Parameters
    ----------
    rx, tx : cocotb handle
        The design's input and output.
    cycle_ns : float
        A cycle of the design's clock.
    divisor : int
        Cycles of a bit.
    """

    def __init__(self, rx: LogicObject, tx: LogicObject, cycle_ns: float, divisor: int):
        self.rx, self.tx, self.cycle_ns, self.divisor = rx, tx, cycle_ns, divisor
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

    async def receive(self) -> int:
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


class UartLine:
    """The driver's line through a design's UART.

    Parameters
    ----------
    wires : UartWires
    clock_hz : int
        What the design believes its clock to be, and speeds are told by.
    """

    name = "UART"

    def __init__(self, wires: UartWires, clock_hz: int):
        self.wires, self.clock_hz, self.first = wires, clock_hz, wires.divisor
        self.bytes, self.came = deque(), Event()
        self.ear = cocotb.start_soon(self._listen())

    async def _listen(self):
        while True:
            self.bytes.append(await self.wires.receive())
            self.came.set()

    async def link(self) -> Link:
        """Requests over it."""
        return await Link.open(self, clock=seconds, reply_s=REPLY_S, silence_s=SILENCE_S)

    async def write(self, content: bytes) -> None:
        """Send bytes."""
        await self.wires.send(content)

    async def read(self, seconds: float) -> bytes:
        """What has come, or comes within so many seconds."""
        if not self.bytes:
            self.came.clear()
            await within(self.came, seconds)
        found = bytes(self.bytes)
        self.bytes.clear()
        return found

    async def set_speed(self, baud: float | None) -> None:
        """Use another speed, or the first after a break."""
        bit_ns = self.first * self.wires.cycle_ns
        if baud is None:
            self.wires.rx.value = 0
            await Timer(round(20 * bit_ns), "ns")
            self.wires.rx.value = 1
        await Timer(round(4 * bit_ns), "ns")
        self.ear.cancel()
        self.wires.divisor = self.first if baud is None else round(self.clock_hz / baud)
        self.ear = cocotb.start_soon(self._listen())

    def close(self) -> None:
        """Nothing to give back."""
