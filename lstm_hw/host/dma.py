"""Streams through an AXI DMA in simple mode, and the memory that it and the weight ports reach.

Registers as in Xilinx's PG021: no scatter-gather, both channels. Whoever maps them and the memory is somebody else.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import DeviceError, InputError
from ..machine.limits import VALUE_BITS
from .transport import Ended, Packets, signed

MM2S, S2MM = 0x00, 0x30
CONTROL, STATUS, ADDRESS, ADDRESS_HIGH, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
"""Registers of a channel, from its first on."""
RUN, RESET = 1 << 0, 1 << 2
"""Bits of CONTROL."""
HALTED, SCATTER_GATHER, INTERNAL, SLAVE, DECODE, COMPLETE = 1 << 0, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 12
"""Bits of STATUS; a written 1 clears COMPLETE."""
ERRORS = {
    INTERNAL: "internal error, as a length of 0 or a packet that is too long",
    SLAVE: "the memory answered SLVERR",
    DECODE: "no memory at that address",
}
LENGTH_BITS = 26
"""Of the LENGTH register, the most there are: transfers of up to 64 MiB; the boards' designs have it so."""
RESET_LOOKS = 10_000
"""Looks after which a reset, or the start that follows, counts as failed; they take some bus cycles."""


class Words(Protocol):
    """Registers of a core that are read and written at once."""

    def read(self, offset: int) -> int:
        """Value of a register."""

    def write(self, offset: int, value: int) -> None:
        """Set a register."""


class Buffer(Protocol):
    """Memory that this process and the FPGA see.

    Attributes
    ----------
    address : int
        Where the FPGA sees it.
    view : uint8 array
        Where this process does.
    """

    address: int
    view: np.ndarray

    def flush(self) -> None:
        """The FPGA sees what was written to ``view``."""

    def invalidate(self) -> None:
        """``view`` shows what the FPGA has written."""


class BufferMemory:
    """A buffer as the memory of the weight ports.

    Parameters
    ----------
    buffer : Buffer
    """

    def __init__(self, buffer: Buffer):
        self.buffer, self.base, self.size = buffer, buffer.address, len(buffer.view)

    async def write(self, offset: int, content: bytes) -> None:
        """Write bytes."""
        self.buffer.view[offset : offset + len(content)] = np.frombuffer(content, np.uint8)
        self.buffer.flush()

    async def read(self, offset: int, count: int) -> bytes:
        """Read bytes."""
        self.buffer.invalidate()
        return self.buffer.view[offset : offset + count].tobytes()


class DmaStreams:
    """x and y of a run in one transfer each.

    Parameters
    ----------
    registers : Words
        Of the DMA.
    buffer : Buffer
        Holds the x of a run and, behind it, its outputs.
    x_beat_bytes : int
        Width of the stream of the MM2S channel.
    name : str
    """

    one_packet = True

    def __init__(self, registers: Words, buffer: Buffer, x_beat_bytes: int, name: str = "AXI DMA"):
        self.registers, self.buffer, self.name = registers, buffer, name
        self.x_beat_bytes, self.y_beat_bytes = x_beat_bytes, VALUE_BITS // 8
        self.clean = False

    def _read(self, channel, register):
        return self.registers.read(channel + register)

    def _write(self, channel, register, value):
        self.registers.write(channel + register, value)

    def _reset(self):
        """Reset both channels, which drops what is under way, and let them run."""
        self._write(MM2S, CONTROL, RESET)
        self._wait(CONTROL, RESET, "its reset does not end")
        if self._read(MM2S, STATUS) & SCATTER_GATHER:
            raise DeviceError(self.name, "made for scatter-gather", "must be an AXI DMA in simple mode")
        for channel in (MM2S, S2MM):
            self._write(channel, CONTROL, RUN)
        self._wait(STATUS, HALTED, "it stays halted")

    def _wait(self, register, bit, otherwise):
        """Until a bit is 0 in a register of both channels."""
        for _ in range(RESET_LOOKS):
            if not (self._read(MM2S, register) | self._read(S2MM, register)) & bit:
                return
        raise DeviceError(self.name, otherwise, "must be an AXI DMA whose clocks run")

    def _begin(self, channel, address, length):
        self._write(channel, STATUS, COMPLETE)  # of the transfer before
        self._write(channel, ADDRESS, address & 0xFFFFFFFF)
        self._write(channel, ADDRESS_HIGH, address >> 32)
        self._write(channel, LENGTH, length)

    def _done(self, channel, what):
        """Whether a channel has done its transfer; DeviceError if it met an error."""
        status = self._read(channel, STATUS)
        for bit, meaning in ERRORS.items():
            if status & bit:
                raise DeviceError(f"{self.name}: {what}", f"status {status:#x}: {meaning}", "must do the transfer")
        return bool(status & COMPLETE)

    async def drain(self) -> None:
        """Drop what is left of a run that did not go well; nothing is left of one that did."""
        if self.clean:
            return
        self._reset()
        # An output that the engine still offers is taken by a transfer that nobody looks at.
        self._begin(S2MM, self.buffer.address, len(self.buffer.view) // 2)
        for _ in range(100):
            self._read(S2MM, STATUS)
        self._reset()
        self.clean = True

    async def transfer(self, x: bytes, lengths: Sequence[int], ended: Ended) -> Packets:
        """Send x and take y, one packet; what does not fit is an InputError that tells how many bytes would."""
        y_at = -(-len(x) // 64) * 64
        y_bytes = sum(lengths) * self.y_beat_bytes
        room = min(len(self.buffer.view), (1 << LENGTH_BITS) - 1)
        if y_at + y_bytes > room:
            rule = f"must fit {room} bytes: fewer steps a call, and carry=True for those that follow"
            raise InputError("x", f"{len(x)} bytes, and {y_bytes} of outputs", rule)
        self.clean = False
        self.buffer.view[: len(x)] = np.frombuffer(x, np.uint8)
        self.buffer.flush()
        self._begin(S2MM, self.buffer.address + y_at, y_bytes)
        self._begin(MM2S, self.buffer.address, len(x))
        over = False
        while not (self._done(MM2S, "x") and self._done(S2MM, "y")):
            if over:
                return []
            over = await ended()
        self.buffer.invalidate()
        came = self._read(S2MM, LENGTH)
        self.clean = came == y_bytes
        return [signed(self.buffer.view[y_at : y_at + min(came, y_bytes)].tobytes(), self.y_beat_bytes)]
