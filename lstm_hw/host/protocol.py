"""Frames of the host protocol over a byte stream, as a serial port to a bridge in the FPGA.

docs/host.md has it in words. A host sends a request and waits for its reply. Both carry a number: a reply belongs to
the request of its number, and a request with the number of the one before is answered again, not done again. So
whatever is lost or garbled on the way, a request can be repeated.
"""

import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from ..errors import ToolError
from .fields import Field, struct_of

VERSION = 1
REQUEST, REPLY = 0x5A, 0xA5
"""First byte of a frame."""
_HEAD = struct.Struct("<BBBH")
_CRC = struct.Struct("<H")
FRAME_BYTES = _HEAD.size + _CRC.size
"""Bytes of a frame beside its payload."""
SILENCE_MS = 50
"""Milliseconds without a byte after which a bridge drops a frame that it has a part of."""
X_LAST = Y_LAST = 1
"""Bit of the flags of X, and of the byte behind a beat of y, that is tlast."""


class Op(IntEnum):
    """What a request asks for."""

    HELLO = 0x00
    READ = 0x01
    WRITE = 0x02
    X = 0x03
    Y = 0x04
    MEM_WRITE = 0x05
    MEM_READ = 0x06
    RESET = 0x07
    SELFTEST = 0x08
    SPEED = 0x09
    FLASH = 0x0A


class Status(IntEnum):
    """How a request went."""

    OK = 0
    CRC = 1
    OP = 2
    LENGTH = 3
    REFUSED = 4
    TIMEOUT = 5
    BUSY = 6


STATUS_DOC = {
    Status.OK: "done",
    Status.CRC: "the CRC of the request is wrong; nothing was done",
    Status.OP: "no such request, or one that this bridge has no part for; nothing was done",
    Status.LENGTH: "a payload of a length that the request cannot have, longer than the bridge takes, or an address "
    "or offset that is out of range or no multiple of 4; nothing was done",
    Status.REFUSED: "the engine answered an access with an error; the payload tells how many words went before it",
    Status.TIMEOUT: "x was not taken, no y came, or an access was not answered, for as long as the bridge waits",
    Status.BUSY: "a self-test is running, or the model in the board's flash is being loaded",
}


class Capability(IntFlag):
    """What a bridge has, by HELLO."""

    REGISTERS = 1
    MEMORY = 2
    STREAMS = 4
    RESET = 8
    SELFTEST = 16
    SPEED = 32
    FLASH = 64


class TestState(IntEnum):
    """State of a board's self-test, by SELFTEST."""

    __test__ = False  # no class of tests, whatever pytest makes of its name

    NEVER = 0
    RUNNING = 1
    PASSED = 2
    FAILED = 3


class Reason(IntEnum):
    """Why a board's self-test failed, by SELFTEST: the first of these that applies."""

    NONE = 0
    OUTPUT = 1
    STATUS = 2
    MISSING = 3
    WATCHDOG = 4


REASON_DOC = {
    Reason.NONE: "none",
    Reason.OUTPUT: "an output beat was wrong, or one too many came",
    Reason.STATUS: "the engine reported an error, or refused an access",
    Reason.MISSING: "an output beat did not come",
    Reason.WATCHDOG: "the engine did not get on",
}


class FlashState(IntEnum):
    """What has become of the model in a board's flash memory, by FLASH."""

    NONE = 0
    RUNNING = 1
    LOADED = 2
    SKIPPED = 3
    DAMAGED = 5
    OTHER = 6
    REFUSED = 7


FLASH_DOC = {
    FlashState.NONE: "no model in the flash",
    FlashState.RUNNING: "the model in the flash is being loaded",
    FlashState.LOADED: "the model in the flash has been loaded",
    FlashState.SKIPPED: "not looked at: the self-test has not passed",
    FlashState.DAMAGED: "what is in the flash is not as it was written, or longer than the memory; nothing was loaded",
    FlashState.OTHER: "the model in the flash is for another engine; nothing was loaded",
    FlashState.REFUSED: "the engine did not take the model in the flash, and was reset",
}


@dataclass(frozen=True)
class Frame:
    """A request or a reply.

    Parameters
    ----------
    number : int
        0 to 255; a reply has that of its request.
    code : int
        Op of a request, Status of a reply.
    payload : bytes
    """

    number: int
    code: int
    payload: bytes = b""

    def to_bytes(self, start: int) -> bytes:
        """The frame on the line; ``start`` is REQUEST or REPLY."""
        head = _HEAD.pack(start, self.number, self.code, len(self.payload))
        body = head[1:] + self.payload
        return head[:1] + body + _CRC.pack(crc16(body))


def crc16(content: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, begins with 0xFFFF, nothing reflected; of ``123456789`` 0x29B1."""
    return binascii.crc_hqx(content, 0xFFFF)


class Damaged(IntEnum):
    """What :class:`Parser` yields instead of a frame that it does not take."""

    CRC = 1
    LENGTH = 3


class Parser:
    """Finds frames in a stream of bytes that may hold anything else.

    Parameters
    ----------
    start : int
        REQUEST or REPLY.
    most : int
        Longest payload that is taken.
    """

    def __init__(self, start: int, most: int):
        self.start, self.most, self.pending = start, most, bytearray()

    def feed(self, content: bytes) -> Iterator[Frame | tuple[int, Damaged]]:
        """Take bytes; yields the frames that are complete, and (number, Damaged) of what was none."""
        self.pending += content
        while True:
            at = self.pending.find(self.start)
            del self.pending[: at if at >= 0 else len(self.pending)]
            if len(self.pending) < _HEAD.size:
                return
            _, number, code, length = _HEAD.unpack_from(self.pending)
            if length > self.most:
                del self.pending[0]
                yield number, Damaged.LENGTH
                continue
            if len(self.pending) < FRAME_BYTES + length:
                return
            body = bytes(self.pending[1 : _HEAD.size + length])
            (crc,) = _CRC.unpack_from(self.pending, _HEAD.size + length)
            if crc != crc16(body):
                del self.pending[0]  # a frame may begin in what was taken for one
                yield number, Damaged.CRC
                continue
            del self.pending[: FRAME_BYTES + length]
            yield Frame(number, code, body[_HEAD.size - 1 :])

    def silence(self) -> None:
        """Nothing came for a while: what is here of a frame will never be one."""
        self.pending.clear()


@dataclass(frozen=True)
class Hello:
    """What a bridge says of itself: the fields of :data:`HELLO`."""

    version: int
    capabilities: Capability
    memory_base: int
    memory_bytes: int
    x_beat_bytes: int
    y_beat_bytes: int
    most: int
    y_beats: int
    timeout_us: int

    def to_bytes(self) -> bytes:
        """The payload of the reply to HELLO."""
        return _HELLO.pack(*vars(self).values())

    @classmethod
    def from_bytes(cls, payload: bytes) -> "Hello":
        """Inverse of :meth:`to_bytes`.

        Raises
        ------
        ToolError
            Another length, or another version.
        """
        version = int.from_bytes(payload[:2], "little")
        if len(payload) != _HELLO.size or version != VERSION:
            rule = f"must be version {VERSION} in {_HELLO.size} bytes"
            raise ToolError("bridge", f"HELLO of version {version}, {len(payload)} bytes", rule)
        version, capabilities, *rest = _HELLO.unpack(payload)
        return cls(version, Capability(capabilities), *rest)


HELLO = (
    Field("version", "H", "of the protocol"),
    Field("capabilities", "H", "a bit for each part that it has"),
    Field("memory_base", "Q", "address at which the weight ports see offset 0 of the memory"),
    Field("memory_bytes", "I", "size of the memory"),
    Field("x_beat_bytes", "H", "bytes of a beat of x"),
    Field("y_beat_bytes", "H", "bytes of a beat of y"),
    Field("most", "H", "longest payload of a request or a reply"),
    Field("y_beats", "H", "beats of y that wait in the bridge, at most"),
    Field("timeout_us", "I", "microseconds that X and Y wait"),
)
"""Payload of the reply to HELLO, in the order of the class :class:`Hello`."""
_HELLO = struct_of(HELLO)
HELLO_BYTES = _HELLO.size
