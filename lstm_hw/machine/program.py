"""Programs: built by planners, listed for people, encoded for the hardware, executed for the models."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from ..errors import ProgramError
from .isa import (
    CLEAR_REGISTER,
    INSTRUCTION_BITS,
    LOOP_COUNT,
    LOOP_DEPTH,
    LOOP_IF,
    LOOP_KEPT,
    LOOP_UNLESS,
    OPS,
    PROGRAM_BITS,
    REGISTER_BITS,
    REGISTERS,
    STEPS_REGISTER,
    Fields,
    Instruction,
    decode,
    encode,
    instruction,
)
from .registers import lookup

MASK = (1 << REGISTER_BITS) - 1


@dataclass
class Command(Fields):
    """A unit instruction as its unit gets it: registers added.

    ``at`` is the program address, ``scalars`` the number of scalar instructions that the sequencer
    has executed since the command before, ``fields`` what the unit needs (field name -> value).
    """

    op: str
    at: int
    scalars: int
    fields: Mapping[str, int]

    def __post_init__(self):
        self.__dict__.update(self.fields)  # what is read again and again


@dataclass(frozen=True)
class Program:
    """Instructions, with named entries (name -> address) and comments (address -> text)."""

    instructions: tuple[Instruction, ...]
    entries: Mapping[str, int]
    comments: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))

    def entry_word(self, name: str) -> int:
        """Value of register ENTRY for a run at an entry.

        ``load`` brings the words that stay on the chip, and a program without it brings all that a run needs.
        """
        entry, loads = lookup("ENTRY"), name == "load" or "load" not in self.entries
        return entry.field("address").insert(self.entries[name]) | entry.field("loads").insert(int(loads))

    def encoded(self) -> list[int]:
        """One 160-bit integer an instruction."""
        return [encode(i) for i in self.instructions]

    def listing(self) -> str:
        """The program as text, one instruction a line, loops indented."""
        names = {address: name for name, address in self.entries.items()}
        lines, depth = [], 0
        for address, instr in enumerate(self.instructions):
            if address in names:
                lines.append(f"{names[address]}:")
            depth -= instr.op == "END"
            text = f"{address:4d}  {'  ' * depth}{instr}"
            comment = self.comments.get(address)
            lines.append(f"{text:<100}; {comment}" if comment else text)
            depth += instr.op == "LOOP"
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values: entries as values of ENTRY, the instructions by their fields, and as hexadecimal words."""
        return {
            "bits": INSTRUCTION_BITS,
            "entries": {name: self.entry_word(name) for name in self.entries},
            "instructions": [{"op": i.op, **{k: v for k, v in i.fields.items() if v}} for i in self.instructions],
            "words": [f"{word:0{INSTRUCTION_BITS // 4}x}" for word in self.encoded()],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], subject: object = "program") -> "Program":
        """Inverse of :meth:`to_dict`, but for the comments.

        Parameters
        ----------
        values : dict
            As read from a file that nobody vouches for.
        subject : object
            What an error says that it is.

        Raises
        ------
        ProgramError
            Words that are no instructions, entries outside the program, or anything that says another program than
            the words do.
        """
        words, entries = values.get("words"), values.get("entries")
        for address, word in enumerate(words if isinstance(words, list) else ()):
            if not isinstance(word, str) or not re.fullmatch(rf"[0-9a-f]{{{INSTRUCTION_BITS // 4}}}", word, re.ASCII):
                rule = f"must be {INSTRUCTION_BITS // 4} hexadecimal digits"
                raise ProgramError(f"{subject}: words: {address}", f"{word!r:.60}", rule)
        if isinstance(words, list):
            words = [int(word, 16) for word in words]
        program = cls.from_words(words, entries, subject)
        if program.to_dict() != values:
            raise ProgramError(subject, "instructions unlike the words", "must say the same program twice")
        return program

    @classmethod
    def from_words(cls, words: list[int], entries: Mapping[str, int], subject: object = "program") -> "Program":
        """A program from its encoded instructions.

        Parameters
        ----------
        words : list of int
            One a instruction, from a file that nobody vouches for.
        entries : dict of str to int
            Values of the register ENTRY.
        subject : object
            What an error says that it is.

        Raises
        ------
        ProgramError
            Words that are no instructions, or entries outside the program.
        """
        if not isinstance(words, list) or not 1 <= len(words) <= 1 << PROGRAM_BITS:
            found = f"{len(words)} entries" if isinstance(words, list) else type(words).__name__
            raise ProgramError(f"{subject}: words", found, f"must be a list of 1 to {1 << PROGRAM_BITS} instructions")
        instructions = []
        for address, word in enumerate(words):
            try:
                instructions.append(decode(word))
            except ProgramError as error:
                raise ProgramError(f"{subject}: words: {address}: {error.subject}", error.found, error.rule) from error
        if not isinstance(entries, dict) or not all(type(entry) is int for entry in entries.values()):
            raise ProgramError(f"{subject}: entries", f"{entries!r:.60}", "must be values of the register ENTRY")
        addresses = {name: lookup("ENTRY").field("address").extract(entry) for name, entry in entries.items()}
        if max(addresses.values(), default=0) >= len(words):
            raise ProgramError(f"{subject}: entries", f"{entries!r:.60}", f"must be addresses below {len(words)}")
        return cls(tuple(instructions), MappingProxyType(addresses))

    def run(
        self,
        entry: str,
        steps: int,
        clear: bool,
        registers: list[int] | None = None,
        repeats: Callable[[int, list[list[int]], int], None] | None = None,
        kept: Callable[[int, int], bool] | None = None,
    ) -> Iterator[Command]:
        """Execute the scalar part: yield every unit command, RING and BUFFERS in order, and each LOOP_KEPT.

        Parameters
        ----------
        entry : str
            Name of an entry.
        steps : int
            Time steps of the run.
        clear : bool
            The run starts from zero state.
        registers : list of int, optional
            The registers; they are changed in place and so carry over to the next run.
        repeats : callable (end, loops, scalars), optional
            Called when a loop goes round again: address of its END, [first address, times left] of every open
            loop, outermost first, and scalar instructions since the last command. It may change times and
            registers.
        kept : callable (group, of_x) -> bool, optional
            Whether a group of the latest h is kept, or an element of it or of x changed, asked behind the LOOP command
            that tests it; all are without it.

        Yields
        ------
        Command
            ``HALT`` is the last one. That of a LOOP_KEPT has the fields ``group`` and ``of_x``.

        Raises
        ------
        ProgramError
            Running off the end, too deep loops, a jump out of the program.
        """
        if entry not in self.entries:
            raise ProgramError("entry", repr(entry), f"must be one of {sorted(self.entries)}")
        registers = [0] * REGISTERS if registers is None else registers
        registers[CLEAR_REGISTER], registers[STEPS_REGISTER] = int(bool(clear)), steps
        return _Scalars(self.code, self.entries[entry], registers, repeats, kept).commands()

    @property
    def tests_groups(self) -> bool:
        """Whether what it does depends on which groups of h are kept."""
        return any(i.op == "LOOP" and i.when == LOOP_KEPT for i in self.instructions)

    @cached_property
    def code(self) -> list[tuple]:
        """Instructions as tuples, which are quick to execute: (op, fields), or (op, fields of a command, registers)."""
        return [_decoded(instr) for instr in self.instructions]


COMMANDS = frozenset(name for name, op in OPS.items() if op.unit or name in ("RING", "BUFFERS", "HALT"))
"""Instructions that :meth:`Program.run` yields."""
_SCALARS = {"SET": ("register", "value"), "ADD": ("register", "value", "limit"), "END": ()}
_SCALARS["LOOP"] = ("count", "count_reg", "exit", "when")


def _decoded(instr):
    """(op, fields of a scalar instruction), or (op, fields of a command, those that a register moves).

    The latter are (name, register, mask).
    """
    if instr.op == "LOOP" and instr.when == LOOP_KEPT:
        return "KEPT", instr.count, instr.count_reg, instr.exit, instr.of_x
    if instr.op not in COMMANDS:
        return instr.op, *(instr.fields[name] for name in _SCALARS[instr.op])
    op = OPS[instr.op]
    fields = {name: value for name, value in instr.fields.items() if not name.endswith("_reg")}
    registers = ((name, instr.fields[f"{name}_reg"], (1 << op.fields[name]) - 1) for name in op.relative)
    return instr.op, fields, tuple(entry for entry in registers if entry[1])


class _Scalars:
    """The scalar part of a run, which the sequencer executes: the program address, registers and open loops."""

    def __init__(self, code, pc, registers, repeats, kept):
        self.code, self.pc, self.registers, self.repeats, self.kept = code, pc, registers, repeats, kept
        self.loops, self.count = [], 0  # [first address, times left] of each; instructions since the last command

    def commands(self):
        """Every command, with the scalar instructions before it executed."""
        code, registers = self.code, self.registers
        execute = {"SET": self._set, "ADD": self._add, "LOOP": self._loop, "END": self._end}
        while True:
            at = self.pc
            if not 0 <= at < len(code):
                raise ProgramError("program", f"address {at}", f"must stay below {len(code)}")
            op, *arguments = code[at]
            self.pc = at + 1
            if op == "KEPT":
                count, register, exit, of_x = arguments
                group = count + registers[register] & MASK
                yield Command("LOOP", at, self.count, {"group": group, "of_x": of_x})
                self.count = 0
                self._enter(at, int(self.kept is None or self.kept(group, of_x)), exit)
                continue
            if op in execute:
                self.count += 1
                execute[op](at, *arguments)
                registers[0] = 0
                continue
            fields, relative = arguments
            if relative:
                fields = dict(fields)
                for name, register, mask in relative:
                    fields[name] = fields[name] + registers[register] & mask
            yield Command(op, at, self.count, fields)
            self.count = 0
            if op == "HALT":
                return

    def _set(self, at, register, value):
        self.registers[register] = value

    def _add(self, at, register, value, limit):
        total = self.registers[register] + value & MASK
        self.registers[register] = total - limit if limit and total >= limit else total

    def _loop(self, at, count, register, exit, when):
        count = self.registers[register] if register else count
        if when != LOOP_COUNT:
            count = int((count != 0) == (when == LOOP_IF))
        self._enter(at, count, exit)

    def _enter(self, at, count, exit):
        if count == 0:
            self.pc = exit
            return
        self.loops.append([self.pc, count])
        if len(self.loops) > LOOP_DEPTH:
            found, rule = f"{len(self.loops)} nested loops", f"must be at most {LOOP_DEPTH}"
            raise ProgramError(f"program address {at}", found, rule)

    def _end(self, at):
        if not self.loops:
            raise ProgramError(f"program address {at}", "END without LOOP", "must close a loop")
        self.loops[-1][1] -= 1
        if self.loops[-1][1] == 0:
            self.loops.pop()
        else:
            self.pc = self.loops[-1][0]
            if self.repeats:
                self.repeats(at, self.loops, self.count)


class ProgramBuilder:
    """Collects instructions; loops are context managers.

    >>> b = ProgramBuilder()
    >>> b.entry("run")
    >>> with b.loop(count_reg=7):
    ...     b.emit("MAC", columns=8, slots=1, comment="x part")
    >>> b.emit("HALT")
    >>> program = b.build(128)
    """

    def __init__(self):
        self._instructions, self._entries, self._comments = [], {}, {}

    def entry(self, name: str) -> None:
        """The next instruction can be started at under this name."""
        self._entries[name] = len(self._instructions)

    def emit(self, op: str, comment: str | None = None, **fields: int) -> None:
        """Append an instruction."""
        instr = instruction(op, **fields)
        if comment:
            self._comments[len(self._instructions)] = comment
        self._instructions.append(instr)

    @contextmanager
    def loop(self, comment: str | None = None, **count: int) -> Iterator[None]:
        start = len(self._instructions)
        self.emit("LOOP", comment=comment, **count)
        yield
        self.emit("END")
        exit = min(len(self._instructions), (1 << PROGRAM_BITS) - 1)  # what is behind it is too long for build()
        self._instructions[start] = instruction("LOOP", exit=exit, **count)

    def when(self, register: int, comment: str | None = None) -> AbstractContextManager[None]:
        """What follows is done once if the register is not zero."""
        return self.loop(comment, count_reg=register, when=LOOP_IF)

    def unless(self, register: int, comment: str | None = None) -> AbstractContextManager[None]:
        """What follows is done once if the register is zero."""
        return self.loop(comment, count_reg=register, when=LOOP_UNLESS)

    def build(self, limit: int) -> Program:
        """The program; ProgramError when it is longer than ``limit`` instructions."""
        if len(self._instructions) > limit:
            raise ProgramError(
                "program", f"{len(self._instructions)} instructions", f"must fit the program memory of {limit}"
            )
        return Program(
            tuple(self._instructions), MappingProxyType(dict(self._entries)), MappingProxyType(dict(self._comments))
        )
