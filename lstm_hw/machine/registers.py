"""The register map of the AXI4-Lite control port: described once, read by gateware, driver and documents.

The gateware decodes :data:`REGISTERS` and :data:`PROGRAM`, the driver looks addresses up in them, and
:mod:`.register_exports` and :mod:`.systemrdl` write them out. No address is typed in anywhere else.

The first sixteen bytes follow the control block of Vitis HLS (``ap_start``, ``ap_done``, ``ap_idle``, ``ap_ready``,
``auto_restart``, GIE, IER, ISR), so a driver written for an HLS kernel finds what it knows.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from ..errors import ConfigError
from .isa import INSTRUCTION_BITS, PROGRAM_BITS

ADDRESS_BITS = 15
"""Width of a byte address on the control port."""

WORD_BYTES = 4
"""Bytes in a register."""

IDENTITY = int.from_bytes(b"LSTM", "big")
"""Value of ID."""

VERSION = (0, 5, 0)
"""Major, minor and patch number of the control interface; a driver refuses another major number."""


class Access(StrEnum):
    """What the bus may do with a field; for a register only RW, RO and WO are used."""

    RW = "rw"
    RO = "ro"
    WO = "wo"
    W1S = "w1s"
    W1C = "w1c"
    W1T = "w1t"


ACCESS_DOC = {
    Access.RW: "read and write",
    Access.RO: "read only; a write to a read-only register is refused",
    Access.WO: "write only; reads 0",
    Access.W1S: "writing 1 sets it, writing 0 does nothing, the hardware clears it",
    Access.W1C: "writing 1 clears it, writing 0 does nothing",
    Access.W1T: "writing 1 toggles it (clears it when set), writing 0 does nothing",
}
"""One sentence for each access right."""


class ErrorCode(IntEnum):
    """Values of STATUS.code: how the last run failed."""

    NONE = 0
    SLVERR = 1
    DECERR = 2
    TIMEOUT = 3
    TLAST = 4
    ILLEGAL = 5
    DEADLOCK = 6
    RLAST = 7
    STEPS = 8
    ADDRESS = 9
    UNLOADED = 10
    SURPLUS = 11
    TIMEOUT_X = 12
    TIMEOUT_Y = 13
    ABORTED = 14
    MALFORMED = 15


CODE_BITS = 4
"""Width of STATUS.code."""

ERROR_DOC = {
    ErrorCode.NONE: "no error",
    ErrorCode.SLVERR: "the memory answered SLVERR",
    ErrorCode.DECERR: "the memory answered DECERR",
    ErrorCode.TIMEOUT: "the memory did not answer within TIMEOUT cycles",
    ErrorCode.TLAST: "tlast of the x stream came early or late, or the sequence ended before the run",
    ErrorCode.ILLEGAL: "the program holds an illegal instruction",
    ErrorCode.DEADLOCK: "the program waits for what nothing will bring, as the h of a run before where there was none",
    ErrorCode.RLAST: "the memory ended a burst early or late, or sent a beat that was not asked for",
    ErrorCode.STEPS: "not begun: STEPS is 0, or more than the engine's `register_bits` can count",
    ErrorCode.ADDRESS: "not begun: a weight address is no multiple of AXI_DATA_BITS / 8, or has bits beyond the port",
    ErrorCode.UNLOADED: "not begun: the words that the run needs on the chip are not there, see STATUS.loaded",
    ErrorCode.SURPLUS: "the x stream goes on behind the last vector of the run",
    ErrorCode.TIMEOUT_X: "no x came for TIMEOUT_STREAMS cycles in which the run could do without it no longer",
    ErrorCode.TIMEOUT_Y: "an output was not taken within TIMEOUT_STREAMS cycles",
    ErrorCode.ABORTED: "the run was aborted",
    ErrorCode.MALFORMED: "weights that stream in a compressed form are cut, go on too long or do not fit their masks",
}
"""One sentence for each error code."""


class Refusal(IntEnum):
    """Values of REFUSED.code: why a write was refused."""

    NONE = 0
    ADDRESS = 1
    RUN = 2
    VALUE = 3


REFUSAL_BITS = 2
"""Width of REFUSED.code."""

REFUSAL_DOC = {
    Refusal.NONE: "no write was refused",
    Refusal.ADDRESS: "nothing can be written there: no register or program word of this engine, or read only",
    Refusal.RUN: "a run is in progress: a register marked *locked*, the program window, or another start",
    Refusal.VALUE: "an address in ENTRY of PROGRAM_LENGTH or more",
}
"""One sentence for each reason."""


@dataclass(frozen=True)
class Field:
    """A group of neighbouring bits of a register.

    Parameters
    ----------
    name : str
        Lower case, unique in its register; ``value`` where the field is the whole register.
    lsb, width : int
        Position and number of its bits.
    access : Access
        What the bus may do with it.
    doc : str
        Meaning, one phrase.
    reset : int
        Value after reset.
    """

    name: str
    lsb: int
    width: int
    access: Access
    doc: str
    reset: int = 0

    @property
    def mask(self) -> int:
        """Bits of the field, in place."""
        return ((1 << self.width) - 1) << self.lsb

    def extract(self, word: int) -> int:
        """Value of the field in the register value `word`."""
        return (word & self.mask) >> self.lsb

    def insert(self, value: int) -> int:
        """Register value whose only nonzero field is this one.

        Raises
        ------
        ConfigError
            If `value` is negative or too large for the field.
        """
        if value < 0 or value >> self.width:
            raise ConfigError(f"field {self.name}", value, f"must be from 0 to {(1 << self.width) - 1}")
        return value << self.lsb


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    Parameters
    ----------
    name : str
        Upper case, unique.
    address : int
        Byte address, a multiple of 4.
    access : Access
        RW, RO or WO: what the bus may do with the register as a whole.
    fields : tuple of Field
        Bits that are in no field read 0 and ignore writes.
    doc : str
        Meaning, one sentence.
    locked : bool
        True: a write during a run is refused.
    latched_by : str or None
        Name of the register whose read takes the copy that a read of this one returns.
    cleared : bool
        True: the hardware clears it to 0, which is its reset value too, though else it is plain storage.
    """

    name: str
    address: int
    access: Access
    fields: tuple[Field, ...]
    doc: str
    locked: bool = False
    latched_by: str | None = None
    cleared: bool = False

    @property
    def width(self) -> int:
        """Number of bits up to and including the highest field."""
        return max(field.lsb + field.width for field in self.fields)

    @property
    def mask(self) -> int:
        """Bits that are in some field."""
        return sum(field.mask for field in self.fields)

    @property
    def reset(self) -> int:
        """Register value after reset."""
        return sum(field.insert(field.reset) for field in self.fields)

    @property
    def stored(self) -> bool:
        """Whether the register is storage: what was written is what is read, until it is cleared."""
        return all(field.access is Access.RW for field in self.fields)

    def field(self, name: str) -> Field:
        """The field called `name`.

        Raises
        ------
        ConfigError
            If the register has no such field.
        """
        for field in self.fields:
            if field.name == name:
                return field
        raise ConfigError(self.name, f"field {name!r}", f"must be one of {', '.join(f.name for f in self.fields)}")


@dataclass(frozen=True)
class Window:
    """A block of equal entries, each of which is written word by word.

    Parameters
    ----------
    name : str
        Upper case, unique.
    address : int
        Byte address of entry 0, a multiple of `size`.
    size : int
        Bytes in the window, a power of two.
    stride : int
        Bytes from one entry to the next, a power of two.
    words : int
        Words in an entry, at most ``stride // 4``; the write of the last one commits the entry.
    access : Access
        What the bus may do with the window.
    doc : str
        Meaning.
    """

    name: str
    address: int
    size: int
    stride: int
    words: int
    access: Access
    doc: str

    @property
    def entries(self) -> int:
        """Number of entries that the window has addresses for."""
        return self.size // self.stride

    def word_address(self, entry: int, word: int) -> int:
        """Byte address of a word of an entry.

        Raises
        ------
        ConfigError
            If the window has no such word.
        """
        if not (0 <= entry < self.entries and 0 <= word < self.words):
            raise ConfigError(
                self.name,
                f"word {word} of entry {entry}",
                f"must be a word below {self.words} of an entry below {self.entries}",
            )
        return self.address + entry * self.stride + word * WORD_BYTES


CONFIG_WORDS = {
    "ROWS": "rows of the lane array",
    "CONTEXTS": "contexts that run side by side on one weight word",
    "WEIGHT_BITS": "bits of a weight",
    "OPERAND_BITS": "bits of an operand (an element of x or h)",
    "WEIGHT_WORDS": "words of the weight buffer",
    "H_ELEMENTS": "elements of h that the vector memory holds",
    "X_ELEMENTS": "elements of x that the vector memory holds",
    "ACCUMULATORS": "accumulators of a lane",
    "STATES": "elements of c that the cell unit holds",
    "PROGRAM_LENGTH": "instructions that the program memory holds",
    "CELLS": "serial cells: hidden units finished in five cycles",
    "AXI_DATA_BITS": "data bits of the weight port",
}
"""Read-only words that tell a driver what was built, in address order."""

COUNTERS = {
    "CYCLES": "cycles from start to done",
    "BUSY": "cycles in which the lanes issued",
    "STALL_WEIGHTS": "cycles in which the lanes waited for weights",
    "STALL_H": "cycles in which the lanes waited for an element of h",
    "STALL_X": "cycles in which the lanes waited for an element of x",
    "STALL_OUTPUT": "cycles in which the output was not taken",
    "EMPTY": "cycles without a lane instruction",
    "READ_BEATS": "beats read from memory",
}
"""The counters of the current run, or of the last one when idle, in address order."""
COUNTER_BITS = 48
"""Bits of a counter: 32 days at 100 MHz."""

CLIPPED_PLACES = {
    "preact": "pre-activations",
    "c": "elements of c",
    "h": "elements of h",
    "output": "outputs of a linear head",
}
"""Where the engine bounds values, in address order; x reaches it bounded."""

_CONFIG_BASE, _COUNTER_BASE, _CLIPPED_BASE = 0x04C, 0x100, 0x140


def _word(name, address, access, doc, reset=0, **attributes):
    """A register that is one field of 32 bits."""
    return Register(name, address, access, (Field("value", 0, 32, access, doc, reset),), doc, **attributes)


def _interrupt_register(name, address, access, doc):
    """IER or ISR: one bit for each source of interrupts."""
    sources = ("done", "a run is done"), ("ready", "the next run can be started"), ("error", "a run met an error")
    fields = tuple(Field(source, bit, 1, access, text) for bit, (source, text) in enumerate(sources))
    return Register(name, address, Access.RW, fields, doc)


REGISTERS = (
    Register(
        "CTRL",
        0x000,
        Access.RW,
        (
            Field("start", 0, 1, Access.W1S, "start a run; reads 1 until that run is done; refused while it reads 1"),
            Field("done", 1, 1, Access.W1C, "the run started last is done; cleared by the next start as well"),
            Field("idle", 2, 1, Access.RO, "no run is requested or in progress", 1),
            Field("ready", 3, 1, Access.RO, "the next run can be started; the same as done"),
            Field("abort", 5, 1, Access.W1S, "give the run up; reads 1 until it is done; no effect without a run"),
            Field("auto_restart", 7, 1, Access.RW, "start the next run as soon as one is done without an error"),
            Field("interrupt", 9, 1, Access.RO, "the interrupt output"),
        ),
        "run control",
    ),
    Register(
        "GIE",
        0x004,
        Access.RW,
        (Field("enable", 0, 1, Access.RW, "drive the interrupt output from ISR"),),
        "global interrupt enable",
    ),
    _interrupt_register("IER", 0x008, Access.RW, "interrupt enable: which events set their bit of ISR"),
    _interrupt_register("ISR", 0x00C, Access.W1T, "interrupt status"),
    _word("STEPS", 0x010, Access.RW, "time steps of the run", locked=True),
    Register(
        "FLAGS",
        0x018,
        Access.RW,
        (
            Field("clear", 0, 1, Access.RW, "h and c start from zero instead of from their last values"),
            Field("sequence", 1, 1, Access.RW, "tlast of x ends the whole sequence of the run instead of each vector"),
            Field("ignore_tlast", 2, 1, Access.RW, "tlast of x says nothing, whatever sequence is"),
            Field("one_packet", 3, 1, Access.RW, "tlast of y ends the outputs of the run instead of each packet"),
        ),
        "options of the run",
        locked=True,
    ),
    Register(
        "ENTRY",
        0x020,
        Access.RW,
        (
            Field("address", 0, PROGRAM_BITS, Access.RW, "index of an instruction"),
            Field("loads", 16, 1, Access.RW, "the run brings the words that it needs, and those that stay on the chip"),
        ),
        "entry of the program that the run starts at, as `program.json` lists it; an address of PROGRAM_LENGTH or more "
        "is refused",
        locked=True,
    ),
    _word("WEIGHTS_LO", 0x028, Access.RW, "byte address of the weight image, bits 31..0", locked=True),
    _word("WEIGHTS_HI", 0x02C, Access.RW, "byte address of the weight image, bits 63..32", locked=True),
    _word("TIMEOUT", 0x034, Access.RW, "cycles that the memory may take to answer; 0: for ever", 65536, locked=True),
    _word("TIMEOUT_STREAMS", 0x038, Access.RW, "cycles that x or y may keep the run waiting; 0: for ever", locked=True),
    _word(
        "IMAGE_ID",
        0x03C,
        Access.RW,
        "who has loaded, see the rules; cleared when an instruction, a weight address or a 1 over the 0 of ENTRY.loads "
        "is written",
        locked=True,
        cleared=True,
    ),
    _word("ID", 0x040, Access.RO, "the characters LSTM", IDENTITY),
    Register(
        "VERSION",
        0x044,
        Access.RO,
        tuple(
            Field(name, lsb, 8, Access.RO, f"{name} number", number)
            for name, lsb, number in zip(("patch", "minor", "major"), (0, 8, 16), reversed(VERSION), strict=True)
        ),
        "version of the control interface",
    ),
    _word("CONTENT_ID", 0x048, Access.RO, "identifier of the configuration that was built"),
    *(
        _word(name, _CONFIG_BASE + WORD_BYTES * index, Access.RO, doc)
        for index, (name, doc) in enumerate(CONFIG_WORDS.items())
    ),
    Register(
        "STATUS",
        0x080,
        Access.RO,
        (
            Field(
                "code", 0, CODE_BITS, Access.RO, "first error of the current or last run, see the table of error codes"
            ),
            Field("busy", 8, 1, Access.RO, "a run is requested or in progress; the opposite of CTRL.idle"),
            Field("loaded", 9, 1, Access.RO, "the words that stay on the chip are there"),
        ),
        "state of the engine",
    ),
    _word("ERROR_ADDRESS_LO", 0x084, Access.RO, "address that belongs to STATUS.code, bits 31..0"),
    _word("ERROR_ADDRESS_HI", 0x088, Access.RO, "address that belongs to STATUS.code, bits 63..32"),
    Register(
        "REFUSED",
        0x0B0,
        Access.RW,
        (
            Field("write", 0, 1, Access.W1C, "a write was refused; writing 1 clears the whole register"),
            Field("code", 4, REFUSAL_BITS, Access.RO, "why, see the table of refusals"),
            Field("address", 16, ADDRESS_BITS, Access.RO, "where, a multiple of 4"),
        ),
        "the first write that was refused since this register was cleared",
    ),
    *(
        Register(
            f"{name}_{half}",
            _COUNTER_BASE + 8 * index + lowest // 8,
            Access.RO,
            (Field("value", 0, bits, Access.RO, f"{doc}, bits {lowest + bits - 1}..{lowest}"),),
            f"{doc}, bits {lowest + bits - 1}..{lowest}",
            latched_by=latch,
        )
        for index, (name, doc) in enumerate(COUNTERS.items())
        for half, lowest, bits, latch in (("LO", 0, 32, None), ("HI", 32, COUNTER_BITS - 32, f"{name}_LO"))
    ),
)
"""Every register of an engine with one weight port, in address order."""

MAX_PORTS = 4
_PORT_BASE = 0x090


def weights_registers(port: int) -> tuple[str, str]:
    """Names of the registers that hold the low and the high half of the address of a weight port's image."""
    return tuple(f"WEIGHTS{port or ''}_{half}" for half in ("LO", "HI"))


_ERROR_PORT = Register(
    "ERROR_PORT",
    0x08C,
    Access.RO,
    (Field("port", 0, 2, Access.RO, "number of the port"),),
    "weight port that ERROR_ADDRESS belongs to",
)


def port_registers(ports: int) -> tuple[Register, ...]:
    """What an engine with several weight ports has beyond REGISTERS, in address order; nothing with one port."""
    words = [
        _word(
            name,
            _PORT_BASE + 8 * (port - 1) + WORD_BYTES * half,
            Access.RW,
            f"byte address of the weight image of port {port}, bits {bits}",
            locked=True,
        )
        for port in range(1, ports)
        for half, (name, bits) in enumerate(zip(weights_registers(port), ("31..0", "63..32"), strict=True))
    ]
    return (_ERROR_PORT, *words) if words else ()


def clipped_register(place: str) -> str:
    """Name of the register that counts the values of a place, one of CLIPPED_PLACES."""
    return f"CLIPPED_{place.upper()}"


CLIPPED_REGISTERS = (
    Register(
        "CLIPPED",
        _CLIPPED_BASE,
        Access.RO,
        (
            *(
                Field(place, bit, 1, Access.RO, f"CLIPPED_{place.upper()} is not 0")
                for bit, place in enumerate(CLIPPED_PLACES)
            ),
            Field("counted", 31, 1, Access.RO, "the engine counts; 0 where these registers are not there"),
        ),
        "where values of the current or last run were beyond their format",
    ),
    *(
        _word(
            clipped_register(place),
            _CLIPPED_BASE + WORD_BYTES * index,
            Access.RO,
            f"{doc} that their format does not hold, of the current or last run; at most 2^32 - 1",
        )
        for index, (place, doc) in enumerate(CLIPPED_PLACES.items(), 1)
    ),
)
"""What an engine with ``count_clipped`` has beyond REGISTERS, in address order."""


def register_map(ports: int, count_clipped: bool = False) -> tuple[Register, ...]:
    """Every register of an engine with so many weight ports, with or without ``count_clipped``, in address order."""
    clipped = CLIPPED_REGISTERS if count_clipped else ()
    return tuple(sorted((*REGISTERS, *port_registers(ports), *clipped), key=lambda register: register.address))


_PROGRAM_WORDS = -(-INSTRUCTION_BITS // (8 * WORD_BYTES))
_PROGRAM_STRIDE = WORD_BYTES << (_PROGRAM_WORDS - 1).bit_length()
_PROGRAM_SIZE = _PROGRAM_STRIDE << PROGRAM_BITS
PROGRAM = Window(
    "PROGRAM",
    _PROGRAM_SIZE,  # whose start is a multiple of its size
    _PROGRAM_SIZE,
    _PROGRAM_STRIDE,
    _PROGRAM_WORDS,
    Access.WO,
    f"program memory: word w of instruction i, little-endian words; writing word {_PROGRAM_WORDS - 1} commits the "
    f"instruction, words {_PROGRAM_WORDS} to {_PROGRAM_STRIDE // WORD_BYTES - 1} do not exist",
)
"""The program memory window; during a run a write is refused."""

_BY_NAME = {register.name: register for register in register_map(MAX_PORTS, count_clipped=True)}


def lookup(name: str) -> Register:
    """The register called `name`.

    Raises
    ------
    ConfigError
        If there is no such register.
    """
    if name not in _BY_NAME:
        raise ConfigError("register map", f"register {name!r}", f"must be one of {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
