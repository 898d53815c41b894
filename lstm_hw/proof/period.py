"""A run in a time that does not grow with its steps: what repeats is walked once.

When a loop goes round, the state of the model, relative to now, is compared with that of earlier rounds of the same
loop. If it was the same, and the registers change in such a way that the same commands follow, all that happened since
then happens again and again, and is only counted.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..machine.isa import REGISTERS, Instruction
from ..machine.program import COMMANDS, Command, Program
from .affine import deciding, periods, signed

APART = 16
"""Commands between two looks at a loop, so that short loops are not looked at all the time."""
KEPT = 16
"""Rounds with the same state that are remembered."""


class Model(Protocol):
    """What a run is executed on."""

    def execute(self, command: Command) -> None:
        """Account for one command."""

    def state(self) -> Hashable:
        """What decides about the future."""

    def glance(self) -> Hashable:
        """A little of the state, which inner loops have to find twice before they ask for all of it."""

    def progress(self) -> Any:
        """What only grows; what it is made of is the model's own."""

    def furthest(self, since: Any) -> int:
        """Periods that can follow the one since :meth:`progress` was ``since``."""

    def skip(self, times: int, since: Any) -> None:
        """So many of them followed."""

    def timed(self, instruction: Instruction) -> Iterator[tuple[int, int]]:
        """The (register, modulus) of a command on which its cycles depend."""

    def kept(self, group: int, of_x: int) -> bool:
        """Whether a group of h is taken to be kept, or an element of h or x to have changed."""


def walk(
    model: Model, program: Program, entry: str, steps: int, clear: bool, registers: list[int] | None = None
) -> int:
    """Execute a run on a model; all of it where its commands depend on which groups of h are kept.

    Parameters
    ----------
    model : Model
    program : Program
    entry, steps, clear, registers
        As for :meth:`~lstm_hw.machine.program.Program.run`; those that decide nothing may come out as they never were.

    Returns
    -------
    int
        Commands that were executed.
    """
    registers = [0] * REGISTERS if registers is None else registers
    rounds = _Rounds(model, program, registers)
    repeats = None if program.tests_groups else rounds.repeats
    for command in program.run(entry, steps, clear, registers, repeats, model.kept):
        rounds.walked += 1
        model.execute(command)
    return rounds.walked


@dataclass(frozen=True)
class _Mark:
    """Where a loop stood: times left, registers, and the progress of the model."""

    times: int
    registers: tuple[int, ...]
    progress: Any


class _Loop:
    """Rounds of one execution of a loop."""

    def __init__(self, loop, next_look):
        self.loop, self.next_look = loop, next_look
        self.glances = set()
        self.marks = {}  # state -> marks, oldest first
        self.failures = 0


class _Rounds:
    def __init__(self, model, program, registers):
        self.model, self.program, self.registers = model, program, registers
        self.walked = 0
        self.loops = {}  # address of END -> _Loop
        self.timed = [
            [entry for entry in model.timed(instr) if entry[0]] if instr.op in COMMANDS else []
            for instr in program.instructions
        ]
        self.deciding = deciding(program, self.timed)

    def repeats(self, end, loops, scalars):
        """A loop goes round again."""
        loop = loops[-1]
        known = self.loops.get(end)
        if known is None or known.loop is not loop:
            known = self.loops[end] = _Loop(loop, self.walked + (APART if len(loops) > 1 else 0))
        if loop[1] > 1 and self.walked >= known.next_look:
            self._look(known, end, scalars, len(loops))

    def _look(self, known, end, scalars, depth):
        known.next_look = self.walked + APART
        glance = self.model.glance()
        if depth > 1 and glance not in known.glances:
            known.glances.add(glance)
            return
        marks = known.marks.setdefault((scalars, self.model.state()), [])
        if marks:
            known.failures += not self._jump(known.loop, end, marks)
        marks.append(_Mark(known.loop[1], tuple(self.registers), self.model.progress()))
        del marks[:-KEPT]
        known.next_look = (
            self.walked + APART * (1 << min(known.failures, 10)) if known.failures else self.walked + APART
        )

    def _jump(self, loop, end, marks):
        """Skip the periods that do the same as what was done since a mark; False if they differ."""
        now = self.registers

        def changes(mark):
            return [
                signed(b - a) if register in self.deciding else 0
                for register, (a, b) in enumerate(zip(mark.registers, now, strict=True))
            ]

        marks = [mark for mark in marks if self.model.furthest(mark.progress) > 0]
        if not marks:
            return True
        mark = min(marks, key=lambda mark: (sum(map(bool, changes(mark))), mark.times))
        steps = changes(mark)
        rounds = mark.times - loop[1]
        same = periods(self.program, loop[0], end, rounds, mark.registers, steps, self.timed)
        times = min(same, (loop[1] - 1) // rounds, self.model.furthest(mark.progress))
        if times <= 0:
            return False
        self.model.skip(times, mark.progress)
        loop[1] -= times * rounds
        for register, step in enumerate(steps):
            now[register] += times * step
        return True
