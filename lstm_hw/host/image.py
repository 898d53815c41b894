"""The firmware image: one file with all that software needs to run a model on an engine.

Little-endian, and laid out so that a reader in C needs no parser: a header of fixed fields (``HEADER``), a table of
sections (``ENTRY``), the sections, and a digest. docs/host.md has the layout in words. There is one way to write an
image: whatever is not byte for byte what would be written is refused.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import InputError, LstmHwError
from ..files import write_file
from ..machine.arrangement import PLAIN, READS, SENDS, Arrangement
from ..machine.config import EngineConfig
from ..machine.formats import OVERFLOWS, ROUNDINGS, InputCode, QFormat
from ..machine.limits import VALUE_BITS
from ..machine.plan import Plan
from ..machine.program import Program
from ..machine.registers import PROGRAM
from ..machine.streams import Streams, XOrder, YOrder
from ..reading import parse_json, read_file
from .fields import Field, offset_of, struct_of

SUFFIX = ".lstmfw"
FIRMWARE = f"firmware{SUFFIX}"
"""Name of the image beside the Verilog."""
MAGIC = b"LSTM-HW\n"
VERSION = 1
ALIGNMENT = 128
"""Offset of every section is a multiple of it: a weight port can read its image where the file lies in memory."""
DIGEST_BYTES = 32
NO_ENTRY = 0xFFFFFFFF
"""Value of ``entry_load`` where all weights stream."""
MAX_BYTES = 1 << 28
"""Longest image."""
MAX_SIZE = 1 << 20
"""Most inputs, outputs, sequences or steps of a batch."""
EXPONENT_LIMIT = 64
"""Largest power of two of an input, either way."""


class Kind(IntEnum):
    """Sections, in the order of the file; those below ABOUT make the identity."""

    ENGINE = 1
    PROGRAM = 2
    WEIGHTS = 3
    EXPONENTS = 4
    X_PARTS = 5
    Y_EVEN = 6
    Y_ODD = 7
    ARRANGEMENT = 8
    ABOUT = 16
    VECTORS = 17


def _numbered(names):
    return ", ".join(f"{number} {name}" for number, name in enumerate(names))


SECTION_DOC = {
    Kind.ENGINE: "JSON: the engine's configuration, from which `content_id` follows",
    Kind.PROGRAM: "u32 words: `instruction_words` of each instruction, the lowest bits first",
    Kind.WEIGHTS: "the weight image of each port, `port_bytes` each, one behind the other",
    Kind.EXPONENTS: "i8 for each input: the power of two that it is multiplied by before it is rounded",
    Kind.X_PARTS: "pairs of u32: first element and elements of each part of an x vector, in the order of a batch",
    Kind.Y_EVEN: "pairs of u32: first element and elements of each packet of an even output vector",
    Kind.Y_ODD: "... and of an odd one",
    Kind.ARRANGEMENT: f"three, five or six u32: how software brings x to the engine ({_numbered(READS)}), outputs from "
    f"it ({_numbered(SENDS)}), and how many steps a run must have, 0 any; where a layer waits for all steps, how many "
    "a run has at least and at most, 0 any; where it repeats the last one in steps of another number, which outputs "
    "then have, that number; left out where all are 0. Runs must then begin from zero state, with whole sequences",
    Kind.ABOUT: "JSON: name, schedule, what wrote the image",
    Kind.VECTORS: "u32 sequences, steps, vectors and 0; i16 x[sequences][steps][inputs]; i16 "
    "y[sequences][vectors][outputs]: stored integers, and what an engine must answer; left out where there are none",
}
OPTIONAL = (Kind.ARRANGEMENT, Kind.VECTORS)


HEADER = (
    Field("magic", "8s", "`LSTM-HW` and a line feed"),
    Field("version", "I", "1; a reader refuses another"),
    Field("file_bytes", "I", "length of the file"),
    Field("head_bytes", "I", "length of header and table of sections, with the CRC-32 behind them"),
    Field("sections", "I", "entries of the table"),
    Field("content_id", "I", "what the register CONTENT_ID must read"),
    Field("ports", "I", "weight ports"),
    Field("beat_bytes", "I", "bytes of a beat of a weight port; addresses are multiples of it"),
    Field("port_bytes", "I", "bytes of the weight image of each port"),
    Field("instructions", "I", "length of the program"),
    Field("instruction_words", "I", "32-bit words of an instruction"),
    Field("entry_run", "I", "value of ENTRY for a run"),
    Field("entry_load", "I", "value of ENTRY for the run that loads weights; 0xFFFFFFFF where there is none"),
    Field("inputs", "I", "elements of an x vector"),
    Field("outputs", "I", "elements of an output vector"),
    Field("sequences", "I", "independent sequences of a run"),
    Field("side_by_side", "I", "sequences whose elements share a beat of x"),
    Field("groups", "I", "groups of sequences that take turns"),
    Field("batch", "I", "time steps of a batch of x"),
    Field("every_step", "I", "1: an output vector a step, of x or as `arrangement` says; 0: one a run, of the last"),
    Field("elements_together", "I", "elements of a sequence that are together in a packet: 1, or 4 of a linear head"),
    Field("since_zero", "I", "1: even and odd output vectors are counted from zero state; 0: from the start of a run"),
    Field("x_bits", "I", "bits of an element of x on the stream: 8 or 16"),
    Field("x_per_beat", "I", "elements of a beat of x"),
    Field("x_width", "I", "bits of the format of x, the sign included"),
    Field("x_fraction", "i", "fraction bits of x"),
    Field("x_rounding", "I", "0 half up: floor(v + 1/2), 1 half to even, 2 floor"),
    Field("x_overflow", "I", "0 saturates, 1 wraps"),
    Field("y_width", "I", "bits of the format of an output, the sign included; on the stream it has 16"),
    Field("y_fraction", "i", "fraction bits of an output"),
    Field("identity", "32s", "SHA-256 over the fields from `content_id` to `y_fraction` and the SHA-256 of every "
    "section of a kind below 16, in their order"),
)  # fmt: skip
ENTRY = (
    Field("kind", "I", "which section it is; ascending, none twice"),
    Field("offset", "I", "where it begins in the file, a multiple of 128"),
    Field("bytes", "I", "its length"),
    Field("crc32", "I", "CRC-32 (of zlib, IEEE 802.3) of it"),
    Field("sha256", "32s", "SHA-256 of it"),
)
_HEADER, _ENTRY = struct_of(HEADER), struct_of(ENTRY)
HEADER_BYTES, ENTRY_BYTES = _HEADER.size, _ENTRY.size


_FACTS = slice(offset_of(HEADER, "content_id"), offset_of(HEADER, "identity"))


@dataclass(frozen=True, eq=False)
class Vectors:
    """Test vectors: stored integers, and what an engine must answer to them from zero state.

    Parameters
    ----------
    x : int array (sequences, steps, Lx)
    y : int array (sequences, vectors, outputs)
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class FirmwareImage:
    """A model as an engine runs it.

    Parameters
    ----------
    config : EngineConfig
        The engine that it was made for.
    program : Program
        Of its entries, ``run`` and, if there is one, ``load``.
    weights : bytes
        The weight image, that of one port behind the other.
    streams : Streams
        Whose orders are an XOrder and a YOrder.
    x_code : InputCode
        How inputs become stored integers.
    y_format : QFormat
        Of the outputs.
    vectors : Vectors, optional
    about : dict
        JSON-able values for people: ``name``, ``schedule``, ``written_by``.
    arrangement : Arrangement
        What software does with x before and with outputs after a run; whatever else is here is of the engine.
    """

    config: EngineConfig
    program: Program
    weights: bytes
    streams: Streams
    x_code: InputCode
    y_format: QFormat
    vectors: Vectors | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    arrangement: Arrangement = PLAIN

    @classmethod
    def of(
        cls,
        plan: Plan,
        weights: bytes,
        x_code: InputCode,
        y_format: QFormat,
        vectors: Vectors | None = None,
        about: Mapping[str, Any] | None = None,
        arrangement: Arrangement = PLAIN,
    ) -> "FirmwareImage":
        """The image of a plan with its weights.

        Raises
        ------
        ProgramError
            The plan orders its streams in a way that an image cannot state.
        """
        streams, entries = plan.streams, plan.program.entries
        if plan.x_order:
            streams = replace(streams, x_order=XOrder.of(plan.x_order, plan.batch))
        if plan.y_order:
            streams = replace(streams, y_order=YOrder.of(plan.y_order))
        known = {name: entries[name] for name in ("run", "load") if name in entries}
        program = Program(plan.program.instructions, MappingProxyType(known))
        about = MappingProxyType(about or {})
        return cls(plan.config, program, weights, streams, x_code, y_format, vectors, about, arrangement)

    @property
    def inputs(self) -> int:
        """Elements of the network's x in a step."""
        return self.streams.inputs // self.arrangement.halves

    @property
    def identity(self) -> str:
        """SHA-256 (hex) over configuration, program, weights and formats; not over name and test vectors."""
        return self._identity(self._facts(), self._sections()).hex()

    @property
    def image_id(self) -> int:
        """What the drivers write to the register IMAGE_ID: the first 32 bits of the identity, 1 for 0."""
        return int.from_bytes(bytes.fromhex(self.identity)[:4], "little") or 1

    @property
    def images(self) -> list[bytes]:
        """The weight image of each port."""
        size = len(self.weights) // self.config.axi_ports
        return [self.weights[port * size : (port + 1) * size] for port in range(self.config.axi_ports)]

    def to_bytes(self) -> bytes:
        """The content of the file."""
        sections = self._sections()
        head_bytes = HEADER_BYTES + ENTRY_BYTES * len(sections) + 4
        table, body, offset = b"", b"", _aligned(head_bytes)
        for kind, content in sections.items():
            body += bytes(_aligned(len(body)) - len(body)) + content
            digest = hashlib.sha256(content).digest()
            table += _ENTRY.pack(kind, offset, len(content), zlib.crc32(content), digest)
            offset += _aligned(len(content))
        facts = self._facts()
        length = _aligned(head_bytes) + len(body) + DIGEST_BYTES
        head = _HEADER.pack(
            MAGIC, VERSION, length, head_bytes, len(sections), *facts, self._identity(facts, sections)
        ) + table  # fmt: skip
        head += zlib.crc32(head).to_bytes(4, "little")
        content = head + bytes(_aligned(head_bytes) - head_bytes) + body
        return content + hashlib.sha256(content).digest()

    def write(self, path: str | os.PathLike) -> Path:
        """Write the file, whole or not at all; ConfigError where it cannot be written."""
        return write_file(path, self.to_bytes())

    @classmethod
    def read(cls, path: str | os.PathLike) -> "FirmwareImage":
        """Read a file.

        Raises
        ------
        InputError
            It is missing, unreadable or longer than MAX_BYTES, or refused by :meth:`from_bytes`.
        """
        return cls.from_bytes(read_file(path, MAX_BYTES), path)

    @classmethod
    def from_bytes(cls, content: bytes, subject: object = "firmware image") -> "FirmwareImage":
        """Inverse of :meth:`to_bytes`.

        Parameters
        ----------
        content : bytes
        subject : object
            What an error says that it is.

        Raises
        ------
        InputError
            It is no image, of another version, truncated, altered, or its parts do not belong together.
        """
        header, sections = _parsed(content, subject)
        try:
            found = cls._of(header, sections, subject)
        except InputError:
            raise
        except LstmHwError as error:
            raise InputError(f"{subject}: {error.subject}", error.found, error.rule) from error
        if found.to_bytes() != content:
            raise InputError(subject, "parts that do not belong together", "must be as it was written: write it anew")
        return found

    @classmethod
    def _of(cls, header, sections, subject):
        """What header and sections say, which may still be more than one story."""
        config = EngineConfig.from_dict(_json(sections, Kind.ENGINE, subject))
        if config.content_id != header["content_id"]:
            rule = f"must be {config.content_id:#010x}, as the configuration in it says"
            raise InputError(f"{subject}: content_id", f"{header['content_id']:#010x}", rule)
        program = _program(header, sections[Kind.PROGRAM], config, subject)
        weights = sections[Kind.WEIGHTS]
        unit = config.word_bytes if config.decoder == "off" else config.beat_bytes
        if not weights or len(weights) % unit:
            rule = f"must be a multiple of {unit}, as the engine reads it"
            raise InputError(f"{subject}: weights", f"{len(weights)} bytes", rule)
        streams = _streams(header, sections, config, subject)
        exponents = np.frombuffer(sections[Kind.EXPONENTS], np.int8)
        if len(exponents) != streams.inputs or np.abs(exponents.astype(int)).max() > EXPONENT_LIMIT:
            rule = f"must be {streams.inputs}, from {-EXPONENT_LIMIT} to {EXPONENT_LIMIT}"
            raise InputError(f"{subject}: exponents", f"{len(exponents)} of them", rule)
        arrangement, half = _arrangement(sections.get(Kind.ARRANGEMENT), streams, subject), streams.inputs // 2
        streams = replace(streams, repeats=arrangement.repeats)
        if arrangement.halves == 2 and (exponents[:half] != exponents[half:]).any():
            raise InputError(f"{subject}: exponents", "unlike of both ends", "must be the same: the same x is read")
        about = _json(sections, Kind.ABOUT, subject)
        x_format = _format(
            header["x_width"], header["x_fraction"], config.operand_bits, f"{subject}: x",
            header["x_rounding"], header["x_overflow"],
        )  # fmt: skip
        return cls(
            config,
            program,
            weights,
            streams,
            InputCode(x_format, streams.inputs, tuple(exponents.tolist()) if exponents.any() else ()),
            _format(header["y_width"], header["y_fraction"], VALUE_BITS, f"{subject}: y"),
            _vectors(sections.get(Kind.VECTORS), streams, config.operand_bits, subject),
            MappingProxyType(about),
            arrangement,
        )

    def _facts(self):
        """The fields from ``content_id`` to ``y_fraction``."""
        config, streams, x_format = self.config, self.streams, self.x_code.format
        loads = "load" in self.program.entries
        return (
            config.content_id,
            config.axi_ports,
            config.beat_bytes,
            len(self.weights) // config.axi_ports,
            len(self.program.instructions),
            PROGRAM.words,
            self.program.entry_word("run"),
            self.program.entry_word("load") if loads else NO_ENTRY,
            streams.inputs,
            streams.outputs,
            streams.sequences,
            streams.side_by_side,
            streams.groups,
            streams.x_order.batch,
            int(streams.every_step),
            streams.together,
            int(streams.y_order.since_zero),
            config.operand_bits,
            streams.per_beat,
            x_format.width,
            x_format.fraction,
            ROUNDINGS.index(x_format.rounding),
            OVERFLOWS.index(x_format.overflow),
            self.y_format.width,
            self.y_format.fraction,
        )

    def _sections(self):
        """Kind of each section -> its content, in the order of the file."""
        words = [
            instruction >> 32 * n & 0xFFFFFFFF for instruction in self.program.encoded() for n in range(PROGRAM.words)
        ]
        sections = {
            Kind.ENGINE: _to_json(self.config.to_dict()),
            Kind.PROGRAM: np.asarray(words, "<u4").tobytes(),
            Kind.WEIGHTS: self.weights,
            Kind.EXPONENTS: np.asarray(self.x_code.exponents or (0,) * self.streams.inputs, np.int8).tobytes(),
            Kind.X_PARTS: np.asarray(self.streams.x_order.parts, "<u4").tobytes(),
            Kind.Y_EVEN: np.asarray(self.streams.y_order.even, "<u4").tobytes(),
            Kind.Y_ODD: np.asarray(self.streams.y_order.odd, "<u4").tobytes(),
            Kind.ARRANGEMENT: _arranging(self.arrangement),
            Kind.ABOUT: _to_json(dict(self.about)),
        }
        if self.arrangement.is_plain:
            del sections[Kind.ARRANGEMENT]
        if self.vectors is not None:
            x, y = self.vectors.x, self.vectors.y
            sizes = np.asarray([*x.shape[:2], y.shape[1], 0], "<u4")
            sections[Kind.VECTORS] = sizes.tobytes() + x.astype("<i2").tobytes() + y.astype("<i2").tobytes()
        return sections

    @staticmethod
    def _identity(facts, sections):
        """Bytes of the field ``identity``."""
        known = _HEADER.pack(b"", 0, 0, 0, 0, *facts, b"")[_FACTS]
        digests = [hashlib.sha256(content).digest() for kind, content in sections.items() if kind < Kind.ABOUT]
        return hashlib.sha256(known + b"".join(digests)).digest()


def _arranging(arrangement):
    """Content of the section of an arrangement."""
    numbers = [READS.index(arrangement.reads), SENDS.index(arrangement.sends), arrangement.steps]
    numbers += [arrangement.least, arrangement.most] if arrangement.waits else []
    numbers += [arrangement.repeats] if arrangement.repeats else []
    return np.asarray(numbers, "<u4").tobytes()


def _arrangement(content, streams, subject):
    """The arrangement of an image, which its streams must have."""
    if content is None:
        return PLAIN
    words, subject = np.frombuffer(content[: len(content) // 4 * 4], "<u4").tolist(), f"{subject}: arrangement"
    known = len(content) in (12, 20, 24) and words[0] < len(READS) and words[1] < len(SENDS)
    if not known or not any(words) or len(words) > 3 and not words[-1]:
        rule = f"must be three words, five or six, the first two below {len(READS)} and {len(SENDS)}"
        raise InputError(subject, f"{content[:24]!r}", rule)
    found = Arrangement(READS[words[0]], SENDS[words[1]], *words[2:])
    odd = streams.inputs % found.halves or found.sends in SENDS[2:] and streams.outputs % 2
    if odd or found.sends != "sent" and not streams.every_step or found.steps and streams.every_step:
        sizes = f"{found} of {streams.inputs} inputs and {streams.outputs} outputs"
        rule = "must be of even sizes, with outputs of every step, or with steps of the last one"
        raise InputError(subject, sizes, rule)
    return found


def _aligned(size):
    return -(-size // ALIGNMENT) * ALIGNMENT


def _to_json(values):
    return json.dumps(values, sort_keys=True, allow_nan=False).encode()


def _json(sections, kind, subject):
    return parse_json(sections[kind], f"{subject}: {kind.name.lower()}")


def _parsed(content, subject):
    """Header and sections of an image that is as it was written, as far as lengths and digests tell."""
    damaged = "must be as it was written: copy or write it anew"
    if not content.startswith(MAGIC):
        raise InputError(subject, f"{content[: len(MAGIC)]!r} at its start", "must be a firmware image")
    if len(content) < HEADER_BYTES:
        raise InputError(subject, f"{len(content)} bytes", f"must have a header of {HEADER_BYTES}; {damaged}")
    header = dict(zip((part.name for part in HEADER), _HEADER.unpack_from(content), strict=True))
    if header["version"] != VERSION:
        rule = f"must be {VERSION}, the one that this package reads"
        raise InputError(f"{subject}: version", header["version"], rule)
    if header["file_bytes"] != len(content):
        raise InputError(subject, f"{len(content)} bytes", f"must be the {header['file_bytes']} that its header says")
    kinds = [kind for kind in Kind if kind not in OPTIONAL]
    if header["sections"] not in range(len(kinds), len(Kind) + 1):
        raise InputError(f"{subject}: sections", header["sections"], f"must be {len(kinds)} to {len(Kind)}")
    head_bytes = HEADER_BYTES + header["sections"] * ENTRY_BYTES + 4
    if header["head_bytes"] != head_bytes or len(content) < head_bytes + DIGEST_BYTES:
        raise InputError(f"{subject}: head_bytes", header["head_bytes"], f"must be {head_bytes}; {damaged}")
    if zlib.crc32(content[: head_bytes - 4]) != int.from_bytes(content[head_bytes - 4 : head_bytes], "little"):
        raise InputError(f"{subject}: header", "another CRC-32 than it says", damaged)
    if hashlib.sha256(content[:-DIGEST_BYTES]).digest() != content[-DIGEST_BYTES:]:
        raise InputError(subject, "another SHA-256 than it says", damaged)
    sections, position = {}, head_bytes
    for number in range(header["sections"]):
        entry = _ENTRY.unpack_from(content, HEADER_BYTES + number * ENTRY_BYTES)
        kind, offset, length, crc32, digest = entry
        place = f"{subject}: section {number}"
        if kind not in list(Kind) or kind <= max(sections, default=0):
            raise InputError(place, f"kind {kind}", f"must be one of {', '.join(map(str, map(int, Kind)))}, ascending")
        if offset != _aligned(position) or offset + length > len(content) - DIGEST_BYTES:
            rule = f"must be {_aligned(position)}, within the file; {damaged}"
            raise InputError(place, f"offset {offset}, {length} bytes", rule)
        part = content[offset : offset + length]
        if zlib.crc32(part) != crc32 or hashlib.sha256(part).digest() != digest:
            raise InputError(f"{subject}: {Kind(kind).name.lower()}", "another digest than it says", damaged)
        sections[Kind(kind)], position = part, offset + length
    missing = [kind.name.lower() for kind in kinds if kind not in sections]
    if missing:
        raise InputError(subject, f"no section {missing[0]}", damaged)
    return header, sections


def _program(header, content, config, subject):
    """The program, from its words."""
    count, subject = header["instructions"], f"{subject}: program"
    if header["instruction_words"] != PROGRAM.words or len(content) != 4 * PROGRAM.words * count:
        rule = f"must be {count} instructions of {PROGRAM.words} words"
        raise InputError(subject, f"{len(content)} bytes, {header['instruction_words']} words each", rule)
    if count > config.program_length:
        rule = f"must fit the program memory of {config.program_length} of its engine"
        raise InputError(subject, f"{count} instructions", rule)
    entries = {"run": header["entry_run"], "load": header["entry_load"]}
    if entries["load"] == NO_ENTRY:
        del entries["load"]
    size = 4 * PROGRAM.words
    words = [int.from_bytes(content[at : at + size], "little") for at in range(0, len(content), size)]
    return Program.from_words(words, entries, subject)


def _streams(header, sections, config, subject):
    """The streams, whose orders bring every element of a vector once."""
    for name in ("inputs", "outputs", "sequences", "groups", "batch"):
        if not 1 <= header[name] <= MAX_SIZE:
            raise InputError(f"{subject}: {name}", header[name], f"must be between 1 and {MAX_SIZE:,}")
    for name in ("every_step", "since_zero"):
        if header[name] > 1:
            raise InputError(f"{subject}: {name}", header[name], "must be 0 or 1")
    if header["sequences"] % header["groups"]:
        raise InputError(f"{subject}: groups", header["groups"], f"must divide {header['sequences']} sequences")
    inputs, outputs = header["inputs"], header["outputs"]
    parts, even, odd = (
        _parts(sections[kind], size, f"{subject}: {kind.name.lower()}")
        for kind, size in ((Kind.X_PARTS, inputs), (Kind.Y_EVEN, outputs), (Kind.Y_ODD, outputs))
    )
    found = Streams(
        inputs,
        outputs,
        header["x_per_beat"],
        config.contexts,
        header["sequences"],
        header["groups"],
        bool(header["every_step"]),
        0,
        header["elements_together"],
        XOrder(header["batch"], parts),
        YOrder(even, odd, bool(header["since_zero"])),
    )
    if header["sequences"] % found.side_by_side:
        rule = f"must be a multiple of {found.side_by_side}, which share a beat"
        raise InputError(f"{subject}: sequences", header["sequences"], rule)
    for name, value in (("x_per_beat", config.x_per_beat), ("x_bits", config.operand_bits)):
        if header[name] != value:
            raise InputError(f"{subject}: {name}", header[name], f"must be {value}, as its engine has it")
    if header["elements_together"] not in (1, 4):
        raise InputError(f"{subject}: elements_together", header["elements_together"], "must be 1 or 4")
    return found


def _parts(content, size, subject):
    """(first element, elements) of parts that make up a vector."""
    if not content or len(content) % 8:
        raise InputError(subject, f"{len(content)} bytes", "must be pairs of 32-bit words")
    parts = np.frombuffer(content, "<u4").astype(np.int64).reshape(-1, 2)
    ordered = parts[np.argsort(parts[:, 0], kind="stable")]
    ends = np.cumsum(ordered[:, 1])
    if parts[:, 1].min() < 1 or ends[-1] != size or (ordered[1:, 0] != ends[:-1]).any() or ordered[0, 0]:
        raise InputError(subject, f"{len(parts)} parts", f"must make up a vector of {size} elements")
    return tuple(map(tuple, parts.tolist()))


def _format(width, fraction, most, subject, rounding=0, overflow=0):
    """A signed format of at most so many bits."""
    if not 2 <= width <= most or abs(fraction) > EXPONENT_LIMIT:
        rule = f"must be 2 to {most} bits, {EXPONENT_LIMIT} fraction bits either way"
        raise InputError(f"{subject}: format", f"{width} bits, {fraction} of them fraction bits", rule)
    if rounding >= len(ROUNDINGS) or overflow >= len(OVERFLOWS):
        raise InputError(f"{subject}: format", f"rounding {rounding}, overflow {overflow}", "must be known ones")
    return QFormat(width - 1 - fraction, fraction, rounding=ROUNDINGS[rounding], overflow=OVERFLOWS[overflow])


def _vectors(content, streams, operand_bits, subject):
    """The test vectors, or None."""
    if content is None:
        return None
    subject = f"{subject}: vectors"
    sequences, steps, vectors, zero = np.frombuffer(content[:16].ljust(16, b"\0"), "<u4").tolist()
    x_size, y_size = sequences * steps * streams.inputs, sequences * vectors * streams.outputs
    if not x_size or zero or vectors != streams.vectors(steps) or len(content) != 16 + 2 * (x_size + y_size):
        found = f"{len(content)} bytes for {sequences} sequences of {steps} steps and {vectors} output vectors"
        raise InputError(subject, found, "must be one sequence or more, with the vectors of so many steps")
    values = np.frombuffer(content[16:], "<i2").astype(np.int64)
    x, y = values[:x_size], values[x_size:]
    if np.abs(x + 0.5).max() > (1 << operand_bits - 1):
        raise InputError(subject, "elements of x beyond the format", f"must be integers of {operand_bits} bits")
    return Vectors(x.reshape(sequences, steps, -1), y.reshape(sequences, vectors, -1))
