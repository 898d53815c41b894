"""The register map of the AXI4-Lite control port: described once, read by gateware, driver and documents.

The gateware decodes :data:`REGISTERS` and :data:`PROGRAM`, the driver looks addresses up in them, and
:func:`to_json`, :func:`to_c_header` and :func:`to_markdown` write them out. No address is typed in anywhere else.

The first sixteen bytes follow the control block of Vitis HLS (``ap_start``, ``ap_done``, ``ap_idle``, ``ap_ready``,
``auto_restart``, GIE, IER, ISR), so a driver written for an HLS kernel finds what it knows.
"""

import argparse
import json
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from ..errors import ConfigError
from .config import VALUE_BITS
from .isa import INSTRUCTION_BITS, PROGRAM_BITS
from .latency import DEADLOCK_CYCLES, SETTLE_CYCLES

ADDRESS_BITS = 15
"""Width of a byte address on the control port."""

WORD_BYTES = 4
"""Bytes in a register."""

IDENTITY = int.from_bytes(b"LSTM", "big")
"""Value of ID."""

VERSION = (0, 4, 0)
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
    ErrorCode.STEPS: "not begun: STEPS is 0",
    ErrorCode.ADDRESS: "not begun: a weight address is no multiple of AXI_DATA_BITS / 8, or has bits beyond the port",
    ErrorCode.UNLOADED: "not begun: the words that the run needs on the chip are not there, see STATUS.loaded",
    ErrorCode.SURPLUS: "the x stream goes on behind the last vector of the run",
    ErrorCode.TIMEOUT_X: "no x came for TIMEOUT_STREAMS cycles in which the run could do without it no longer",
    ErrorCode.TIMEOUT_Y: "an output was not taken within TIMEOUT_STREAMS cycles",
    ErrorCode.ABORTED: "the run was aborted",
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
    """

    name: str
    address: int
    access: Access
    fields: tuple[Field, ...]
    doc: str
    locked: bool = False
    latched_by: str | None = None

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
        """Whether the register is plain storage: what was written is what is read."""
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

RULES = (
    "Every register is 32 bits wide. The two low address bits are ignored; byte enables are honoured; bits outside "
    "of the listed fields read 0 and ignore writes.",
    "A read is always answered with OKAY, at an address that is not listed with 0, and changes nothing but the copies "
    "of the counters' high halves: the whole map can be dumped at any time. A write to an address that is not listed "
    "is refused.",
    "A refused write has no effect but on REFUSED, which keeps the first one until it is cleared. It is answered with "
    "OKAY, since a processor may take an error answer for a fault of its own (a Zynq-7000 raises an external abort); "
    "an engine with `bus_errors` answers SLVERR. Look at REFUSED after what may be refused: it is up to date before "
    "the answer is given.",
    "A run lasts from the write of CTRL.start until CTRL.done is set, which is when the engine has reported done and "
    "is no longer busy. During it the registers marked *locked* and the program window refuse writes.",
    "A write of 1 to CTRL.start during a run is refused, with all of that write. Only CTRL.auto_restart makes a run "
    "follow by itself; it is looked at when a run is done, and not followed after a run that met an error. CTRL.start "
    "then goes on reading 1, and CTRL.idle 0, from run to run.",
    "CTRL.done stays set until 1 is written to it, or to CTRL.start of the next run: what it reads is of the run that "
    "was started last. A run that follows by itself does not clear it. An event in the cycle of the write that clears "
    "its bit wins: the bit stays set.",
    "An event sets its bit of ISR only while the bit is enabled in IER. The interrupt output is high while "
    "GIE.enable and any bit of ISR are set.",
    "A run whose arguments are wrong, or whose weights are not there, is not begun: it is done at once, STATUS.code is "
    "STEPS, ADDRESS (and ERROR_PORT) or UNLOADED. Nothing is read, written, taken or sent, h and c stay what they are, "
    "and the counters keep the values of the run before.",
    "STATUS.loaded is set when a run with ENTRY.loads is done without an error, and cleared when such a run begins, "
    "when an instruction or a weight address is written, and by a reset: what a load left that failed never counts.",
    "STATUS.code, ERROR_ADDRESS and ERROR_PORT keep the first error of a run until the next run begins.",
    "A run that fails or is aborted stops asking for weights and takes the beats that it has asked for; an output that "
    "is offered stays offered until it is taken; and x that is offered is taken and dropped, up to `tlast` with "
    f"FLAGS.sequence, else until none was offered for {SETTLE_CYCLES} cycles and no vector is cut off. Then it is "
    f"done. It is done as well when memory and output have not moved for {DEADLOCK_CYCLES} cycles: beats that come "
    "later are dropped, the output stays offered, and the source of x has to be reset.",
    "After a failed run h and c are lost; the words that stay on the chip are there unless the run was to load them.",
    "READ_BEATS is the sum over the weight ports.",
    "Values that their format does not hold are counted where they are rounded, of every value that a run computes; "
    "tanh reads a sum that is rounded apart, which does not count. Counters of a run are complete at CTRL.done.",
    "Reading the low half of a counter copies its high half: the next read of the high half returns that copy, so "
    "low, then high reads one consistent value of a running counter.",
    "The words of an instruction are collected in one staging register that all instructions share and that keeps "
    "them: write all words of one instruction, then those of the next.",
)
"""What the tables cannot say, a sentence or two each."""

STARTUP = (
    "Hold `aresetn` low for a cycle of `aclk` or more. Then ID must read as above, VERSION must have the major "
    f"number {VERSION[0]}, and CONTENT_ID the value at the head of the Verilog: any other engine has other registers "
    "or formats.",
    "Copy `weights.bin` to memory, and compare what is there with `sha256` in `weights.json`. It holds the image of "
    "one weight port after the other, each of the same length; "
    "put each image at an address that is a multiple of AXI_DATA_BITS / 8, and that address into WEIGHTS_LO and "
    "WEIGHTS_HI, of port 1 into WEIGHTS1_LO and WEIGHTS1_HI, and so on. A word of an image is the weights of the "
    "port's rows (ROWS divided by the ports), the lowest row first, WEIGHT_BITS each, little-endian, filled up with "
    "zeros to whole beats.",
    "Write the program through the program window, instruction by instruction: word w, from 0 to "
    f"{_PROGRAM_WORDS - 1}, is bits 32 w + 31 to 32 w of what `program.json` lists as `words`, in hexadecimal.",
    "Set TIMEOUT if the memory may take longer than it says, TIMEOUT_STREAMS if the streams must not keep a run "
    "waiting for ever, and IER and GIE if the interrupt is used.",
    "If `program.json` has the entry `load`: write its value to ENTRY, 1 to STEPS and 1 to CTRL.start, and wait for "
    "CTRL.done. This run fetches the weights that stay on the chip; it takes no x and sends nothing. It is needed "
    "whenever STATUS.loaded is 0. STATUS.code must be 0.",
    "For each run: the value of the entry `run` to ENTRY, the number of time steps to STEPS, 1 to FLAGS.clear if h"
    " and c start from zero and 0 if the run goes on where the one before ended; then 1 to CTRL.start. Send x and "
    "take y while it lasts: a run whose outputs nobody takes ends after TIMEOUT_STREAMS cycles, or when 1 is written "
    "to CTRL.abort. At CTRL.done, STATUS.code must be 0; after an error a packet of y may have been cut off. A program "
    "with further entries names them in `program.json`.",
)
"""What software does, in this order."""

STREAMS = (
    "An element of x is a signed integer of OPERAND_BITS bits in the format of x that the quantised model states: "
    "the number times 2 to the power of its fraction bits, rounded. Where the quantised model lists exponents of its "
    "inputs (`input_exponents`: inputs of unlike range), each input is multiplied by 2 to the power of its own first.",
    "A beat of x holds x_per_beat elements, the first in the low bits. With one context, and where fewer sequences "
    "than contexts run, they are consecutive elements of one vector; the last beat of a vector is filled up with "
    "anything. With K contexts, element k of a beat belongs to sequence k, and elements beyond K are ignored: a "
    "vector has as many beats as elements.",
    "Without FLAGS.sequence, `tlast` is 1 on the beat that ends a vector and nowhere else; otherwise the run ends with "
    "TLAST. x of the next run may be offered from CTRL.done on: what is offered when the run is over is a vector too "
    "many, SURPLUS. One that is first offered later cannot be told from the next run's, whose last vector is then too "
    "many; FLAGS.sequence tells them apart.",
    "With FLAGS.sequence, `tlast` is 1 on the last beat of the run and nowhere else, as a DMA transfer of the whole "
    "sequence has it. Too few vectors are TLAST, too many SURPLUS, and what follows `tlast` waits for the next run.",
    "With FLAGS.ignore_tlast, `tlast` may be anything: the run takes the beats that it needs, and what is behind them "
    "waits for the next run. Too few vectors keep the run waiting (TIMEOUT_X), too many are seen by nobody; after a "
    f"failed run x is dropped until none was offered for {SETTLE_CYCLES} cycles.",
    "A vector begins with a beat of its own. Through one transfer of a DMA, vectors of an odd length lie in memory "
    "padded to whole beats; only the last one of a transfer may be cut off. A DMA that has a realignment engine and a "
    "descriptor for each vector, or part of one, sends vectors that lie side by side, from any byte on.",
    "Vectors follow in the order of time. Where groups of K sequences take turns, the vectors of one step come group"
    " after group. A schedule that needs parts of vectors in another order says so: `x_order` of its plan lists "
    "(step, first element, elements), and `tlast` still ends the last part of a vector.",
    f"A beat of y is one element: a signed integer of {VALUE_BITS} bits, h or an output of the head, in the format "
    "that the quantised model states. `tlast` ends a packet.",
    "With FLAGS.one_packet all outputs of a run are one packet, whose `tlast` is on the last beat, as one transfer of "
    "a DMA takes it. The last beat of each packet then leaves when the next one begins or the run ends, which takes up "
    "to 3 cycles more. After a run that fails the packet is not ended: the DMA has to be reset.",
    "A packet is the last layer's outputs of one time step, or the head's: element by element, and of each element "
    "the sequences 0 to K - 1 side by side; of a linear head, four elements at a time of each sequence. Packets "
    "follow in the order of time and, in it, of the groups. A head that reads the last step alone sends one packet a"
    " run. A schedule with other packets says so: `y_order` of its plan lists (step, first element, elements).",
)
"""What is on the streams."""

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


def to_json(ports: int = 1, count_clipped: bool = False) -> str:
    """The map of :func:`register_map` as JSON text; addresses, masks and reset values are numbers."""
    registers = [
        {
            "name": r.name,
            "address": r.address,
            "access": r.access,
            "reset": r.reset,
            "locked": r.locked,
            "latched_by": r.latched_by,
            "doc": r.doc,
            "fields": [
                {"name": f.name, "lsb": f.lsb, "width": f.width, "access": f.access, "reset": f.reset, "doc": f.doc}
                for f in r.fields
            ],
        }
        for r in register_map(ports, count_clipped)
    ]
    windows = [
        {
            "name": w.name,
            "address": w.address,
            "size": w.size,
            "stride": w.stride,
            "words": w.words,
            "access": w.access,
            "doc": w.doc,
        }
        for w in (PROGRAM,)
    ]
    errors = [{"name": code.name, "code": code.value, "doc": ERROR_DOC[code]} for code in ErrorCode]
    refusals = [{"name": code.name, "code": code.value, "doc": REFUSAL_DOC[code]} for code in Refusal]
    return (
        json.dumps(
            {
                "address_bits": ADDRESS_BITS,
                "version": list(VERSION),
                "registers": registers,
                "windows": windows,
                "error_codes": errors,
                "refusals": refusals,
            },
            indent=2,
        )
        + "\n"
    )


def to_c_header(ports: int = 1, count_clipped: bool = False) -> str:
    """The map of :func:`register_map` as a C header.

    Offsets, field positions, masks, reset values, error codes and refusals.
    """
    lines = [
        "/* Register map of the lstm-hw control port; generated, do not edit. */",
        "#ifndef LSTM_HW_REGISTERS_H",
        "#define LSTM_HW_REGISTERS_H",
    ]

    def define(name, value, doc=""):
        lines.append(f"#define LSTM_HW_{name} {value}" + (f" /* {doc} */" if doc else ""))

    for register in register_map(ports, count_clipped):
        lines.append("")
        define(f"{register.name}_OFFSET", f"0x{register.address:03x}u", register.doc)
        define(f"{register.name}_RESET", f"0x{register.reset:08x}u")
        for field in register.fields:
            name = f"{register.name}_{field.name.upper()}"
            define(f"{name}_LSB", field.lsb, field.doc)
            define(f"{name}_MASK", f"0x{field.mask:08x}u")
    lines.append("")
    define(f"{PROGRAM.name}_OFFSET", f"0x{PROGRAM.address:03x}u", PROGRAM.doc)
    define(f"{PROGRAM.name}_SIZE", f"0x{PROGRAM.size:x}u")
    define(f"{PROGRAM.name}_STRIDE", f"{PROGRAM.stride}u")
    define(f"{PROGRAM.name}_WORDS", f"{PROGRAM.words}u")
    lines.append("")
    for code in ErrorCode:
        define(f"ERROR_{code.name}", f"{code.value}u", ERROR_DOC[code])
    lines.append("")
    for code in Refusal:
        define(f"REFUSAL_{code.name}", f"{code.value}u", REFUSAL_DOC[code])
    return "\n".join([*lines, "", "#endif", ""])


def _table(headings, rows):
    """Lines of a Markdown table."""
    return [f"| {' | '.join(map(str, row))} |" for row in (headings, ["---"] * len(headings), *rows)]


def _bits(field):
    """Bit range of a field, as in a data sheet."""
    return str(field.lsb) if field.width == 1 else f"{field.lsb + field.width - 1}:{field.lsb}"


def to_markdown(ports: int = 1, count_clipped: bool = False) -> str:
    """The map of :func:`register_map` as a Markdown page.

    Registers, their fields, the program window, error codes, refusals, what software does, the streams, rules, and what
    further ports and ``count_clipped`` would add.
    """

    def rows(registers):
        return [
            (f"0x{r.address:03X}", r.name, r.access, f"0x{r.reset:X}", "locked" if r.locked else "", r.doc)
            for r in registers
        ]

    headings = ("address", "name", "access", "reset", "run", "meaning")
    further = [r for r in port_registers(MAX_PORTS) if r not in port_registers(ports)]
    fields = [
        (r.name, _bits(f), f.name, f.access, f.doc)
        for r in register_map(ports, True)
        if len(r.fields) > 1 or r.width < 32
        for f in r.fields
    ]
    window = [
        (
            f"0x{PROGRAM.address:X} + {PROGRAM.stride} i + {WORD_BYTES} w",
            PROGRAM.name,
            PROGRAM.access,
            f"0 to {PROGRAM.entries - 1}, below PROGRAM_LENGTH",
            f"0 to {PROGRAM.words - 1}",
            PROGRAM.doc,
        )
    ]
    return "\n".join(
        [
            "# Registers of the control port",
            "",
            "Generated from `lstm_hw/machine/registers.py` by `python -m lstm_hw.machine.registers markdown`; do not "
            "edit.",
            "",
            f"The control port is an AXI4-Lite slave of 32 data bits and {ADDRESS_BITS} address bits. CONTENT_ID and "
            "the words that follow it, up to AXI_DATA_BITS, hold the values of the configuration; the table says 0.",
            "",
            *_table(headings, rows(register_map(ports, count_clipped))),
            "",
            *(
                [
                    "## Further weight ports",
                    "",
                    "An engine with 2 or 4 weight ports has these as well, as far as it has the ports.",
                    "",
                    *_table(headings, rows(further)),
                    "",
                ]
                if further
                else []
            ),
            *(
                []
                if count_clipped
                else [
                    "## Clipped values",
                    "",
                    "An engine with `count_clipped` has these as well.",
                    "",
                    *_table(headings, rows(CLIPPED_REGISTERS)),
                    "",
                ]
            ),
            "## Fields",
            "",
            "Registers that are not listed are one field of 32 bits.",
            "",
            *_table(("register", "bits", "field", "access", "meaning"), fields),
            "",
            *_table(("access", "meaning"), ACCESS_DOC.items()),
            "",
            "## Program window",
            "",
            *_table(("address", "name", "access", "instruction i", "word w", "meaning"), window),
            "",
            "## Error codes",
            "",
            *_table(("STATUS.code", "name", "meaning"), [(c.value, c.name, ERROR_DOC[c]) for c in ErrorCode]),
            "",
            "## Refused writes",
            "",
            *_table(("REFUSED.code", "name", "meaning"), [(c.value, c.name, REFUSAL_DOC[c]) for c in Refusal]),
            "",
            "## Start-up order",
            "",
            "`lstm_hw/host/device.py` does all of this with a firmware image, which holds `weights.bin`, `program.json`"
            " and the formats in one file (docs/host.md). `driver.py` beside it does all but the copy of the image, and"
            " checks before every start that the engine is the right one, idle and loaded, and before a load that"
            " memory holds the right image.",
            "",
            *(f"{number}. {step}" for number, step in enumerate(STARTUP, 1)),
            "",
            "## Streams",
            "",
            *(f"- {fact}" for fact in STREAMS),
            "",
            "## Rules",
            "",
            *(f"- {rule}" for rule in RULES),
            "",
        ]
    )


def main() -> None:
    """Print the map in the format named on the command line."""
    writers = {"json": to_json, "c": to_c_header, "markdown": to_markdown}
    parser = argparse.ArgumentParser(prog="python -m lstm_hw.machine.registers", description="Print the register map.")
    parser.add_argument("format", choices=writers)
    parser.add_argument("--ports", type=int, choices=(1, 2, MAX_PORTS), default=1, help="weight ports of the engine")
    parser.add_argument("--count-clipped", action="store_true", help="of an engine with count_clipped")
    arguments = parser.parse_args()
    print(writers[arguments.format](arguments.ports, arguments.count_clipped), end="")


if __name__ == "__main__":
    main()
