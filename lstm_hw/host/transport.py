"""What a driver needs of a board: registers, memory and streams, each on its own.

docs/host.md tells what has which. All methods are coroutines, so that a simulation can go on while they wait. Those of
a board block and never suspend.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import DeviceError
from .driver import RegisterPort
from .protocol import FlashState, TestState

Ended = Callable[[], Awaitable[bool]]
"""Asked when nothing moves on a stream: True when the run is over, DeviceError when its time is."""
Packets = list[list[int]]
"""Elements of the output stream, packet by packet, signed."""


class Memory(Protocol):
    """The memory that the weight ports read.

    Attributes
    ----------
    base : int
        Address at which the weight ports see offset 0.
    size : int
        Bytes.
    """

    base: int
    size: int

    async def write(self, offset: int, content: bytes) -> None:
        """Write bytes; offset and length are multiples of 4."""

    async def read(self, offset: int, count: int) -> bytes:
        """Read bytes; offset and count are multiples of 4."""


class Streams(Protocol):
    """The x and y streams.

    Attributes
    ----------
    x_beat_bytes, y_beat_bytes : int
    one_packet : bool
        All outputs of a run are to be one packet, as one transfer of a DMA takes it.
    """

    x_beat_bytes: int
    y_beat_bytes: int
    one_packet: bool

    async def drain(self) -> None:
        """Drop outputs that a run has left, and x that none has taken."""

    async def transfer(self, x: bytes, lengths: Sequence[int], ended: Ended) -> Packets:
        """Send the x of a run that has been started, tlast with the last beat, and take its outputs meanwhile.

        Parameters
        ----------
        x : bytes
            Whole beats.
        lengths : sequence of int
            Beats of each packet of outputs.
        ended : async callable

        Returns
        -------
        list of int lists
            The packets; fewer, or shorter ones, where the run ended before all had come, and none where it ended
            before it had taken all of x.
        """


@dataclass
class Transport:
    """A road to an engine.

    Parameters
    ----------
    name : str
        For people: the port, the device, the overlay.
    registers : RegisterPort
    memory : Memory, optional
    streams : Streams, optional
    reset : async callable, optional
        Resets the engine.
    interrupt : async callable, optional
        Returns when the interrupt output is high, or after a while.
    selftest : async callable, optional
        Begins the board's own self-test, or looks at it; see :meth:`lstm_hw.host.link.Link.selftest`.
    flash : async callable, optional
        Tells what has become of the model in the board's flash memory (FlashState or None).
    pause : async callable, optional
        Waits a little between two looks at a register.
    clock : callable () -> float
        Seconds that waits are bounded by.
    close : callable, optional
        Gives the device back.
    """

    name: str
    registers: RegisterPort
    memory: Memory | None = None
    streams: Streams | None = None
    reset: Callable[[], Awaitable[None]] | None = None
    interrupt: Callable[[], Awaitable[None]] | None = None
    selftest: Callable[[bool], Awaitable[tuple[TestState, int, int, int]]] | None = None
    flash: Callable[[], Awaitable[FlashState | None]] | None = None
    pause: Callable[[], Awaitable[None]] | None = None
    clock: Callable[[], float] = time.monotonic
    close: Callable[[], None] | None = None

    def need(self, part: str) -> object:
        """A part of the transport.

        Raises
        ------
        DeviceError
            It has none.
        """
        found = getattr(self, part)
        if found is None:
            raise DeviceError(self.name, f"no {part}", f"must be a transport with {part} for this")
        return found


def signed(beats: bytes, beat_bytes: int) -> list[int]:
    """Elements of y from its beats, little-endian."""
    return [
        int.from_bytes(beats[at : at + beat_bytes], "little", signed=True) for at in range(0, len(beats), beat_bytes)
    ]
