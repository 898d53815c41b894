"""Programs in which loop indices are values: a planner reads like its pseudo-code, registers follow by themselves.

    for row in b.each(blocks):                      # the body is run once; row is a Sum
        for column, last in b.peeled(row + 1):      # a count may be a Sum too; the last turn is written out
            b.emit("MAC", operand=column * units, source=1 + row, release=int(last))

:class:`Loops` collects the program as a tree of loops, conditions and instructions whose fields are sums of indices;
:func:`lstm_hw.plan.registers.program` gives every sum in use a register and writes the instructions. A register so is
always set before it is read: an index by the loop that it belongs to, a variable where it is declared, and what counts
since zero state by :meth:`Loops.cleared`, without which there is no program. What a condition says of a sum modulo 2 is
known inside of it: the same sum is a number there, and conditions on it are decided.

What the layer refuses, with a ProgramError: an index or variable outside of its loop or block, a second modulus, a
variable inside a sum, a count since zero state that nothing starts or moves, an index of a loop that is as long as a
variable says together with one of a loop around it, and more sums at once than there are registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import ProgramError
from ..machine.isa import CLEAR_REGISTER, REGISTER_BITS, STEPS_REGISTER
from .sums import Sum, Term, Value, as_sum

FOREVER = (1 << REGISTER_BITS) - 1


@dataclass(eq=False)
class Loop:
    """A loop in parts, each with a body of its own: (turns, body), where turns may be a Sum.

    ``of`` is the number of turns of all parts together, if it is known although registers tell those of some.
    ``counter`` is the index of its turns since zero state, if somebody asked for it.
    """

    around: tuple[Loop, ...] = ()
    parts: list[tuple[Value, list]] = field(default_factory=list)
    counter: Loop | None = None
    carried: bool = False
    variable: bool = False
    of: int | None = None

    @property
    def total(self) -> int | None:
        """Turns; None where a register tells."""
        turns = [turns for turns, _ in self.parts]
        return sum(turns) if all(isinstance(t, int) for t in turns) else self.of

    @property
    def written_out(self) -> bool:
        """Whether the last turn is no loop, and so moves no register."""
        return len(self.parts) > 1 and self.parts[-1][0] == 1


@dataclass(eq=False)
class Variable:
    """A register that instructions of their own set and move; ``register`` is given for the arguments of a run."""

    scope: tuple[int, ...]
    register: int = 0
    variable: bool = True
    carried: bool = False
    base: None = None  # it holds no constant beside its value


@dataclass(eq=False)
class When:
    """A body that is done once if a sum is not zero, with ``zero`` if it is, with ``kept`` if that group of h is
    kept."""

    test: Sum
    zero: bool = False
    body: list = field(default_factory=list)
    starts: bool = False
    kept: bool = False
    of_x: bool = False


@dataclass(frozen=True)
class Emit:
    """An instruction; fields are sums."""

    op: str
    fields: dict[str, Sum]
    comment: str | None = None


@dataclass(frozen=True)
class Change:
    """A variable is set, or moved by a value.

    An ``idle`` one is left out where only counts of loops read the variable. A limit that is reached is taken off.
    """

    variable: Variable
    value: int
    limit: int = field(default=0, kw_only=True)
    sets: bool = False
    idle: bool = False


@dataclass(frozen=True)
class Entry:
    """A run can start here."""

    name: str


class Loops:
    """Collects a program.

    Attributes
    ----------
    left : Sum
        Time steps of the run, a variable; in :meth:`steps` those that are behind the present one.
    clear : Sum
        1 in a run from zero state, else 0.
    """

    def __init__(self) -> None:
        self.body: list = []
        self._around: list[tuple[Loop, ...]] = [()]
        self._into: list[list] = [self.body]
        self._parities: list[dict] = [{}]  # what conditions around say: indices -> their sum modulo 2
        self._started = False

    def entry(self, name: str) -> None:
        """What follows is run when a run starts at ``name``."""
        self.body.append(Entry(name))
        scope = (id(self.body),)
        self.left = _of(Variable(scope, STEPS_REGISTER))
        self.clear = _of(Variable(scope, CLEAR_REGISTER))
        self._around = [()]

    def since_zero(self) -> Sum:
        """Turns since zero state, those of earlier runs among them, of the loop that gets it as ``counts``.

        To be used modulo something. It is set at the end of :meth:`cleared`.
        """
        if len(self._into) > 1:
            raise ProgramError("turns since zero state", "inside a loop", "must be asked for outside of all loops")
        counter = Loop(carried=True)
        self._around[0] = (*self._around[0], counter)
        return _of(counter)

    def emit(self, op: str, comment: str | None = None, **fields: Value) -> None:
        """An instruction."""
        sums = {name: self._used(as_sum(value)) for name, value in fields.items()}
        self._into[-1].append(Emit(op, sums, comment))

    def await_tokens(self, space: int, tokens: int, take: int = 1) -> None:
        """Wait for tokens and take them, or leave them there; nothing for none."""
        if tokens:
            self.emit("MAC", space=space, columns=1, slots=1, wait=1, take=take, offset=tokens - 1)

    # Loops

    def each(self, *bounds: Value, counts: Sum | None = None) -> Iterator[Sum]:
        """``for index in each(n)``; bounds as those of ``range``, of which a Sum needs a step of 1 or -1."""
        start, turns, step = _range(*bounds)
        yield from (index for index, _ in self.parts(turns, start=start, step=step, counts=counts))

    def peeled(self, *bounds: Value, idle: Value = 0, of: int | None = None) -> Iterator[tuple[Sum, bool]]:
        """``for index, last in peeled(n)``: the last turn is written out; there must be one where n is a Sum.

        So many ``idle`` turns follow, which do nothing, to make it ``of`` turns: what is known to be moved can be taken
        back.
        """
        start, turns, step = _range(*bounds)
        if turns.terms or turns.constant > 0:
            for index, part in self.parts(turns - 1, 1, idle, start=start, step=step, of=of):
                if part < 2:
                    yield index, part == 1

    def parts(
        self, *counts_of: Value, start: Value = 0, step: int = 1, counts: Sum | None = None, of: int | None = None
    ) -> Iterator[tuple[Sum, int]]:
        """``for index, part in parts(a, b)``: a turns with a body of their own (part 0), then b with another.

        The index goes on from part to part. ``of`` is the sum of all counts where some are Sums but it is known.
        """
        turns_of = [self._used(as_sum(turns)) for turns in counts_of]
        turns_of = [turns.constant if turns.known else turns for turns in turns_of]
        used = [(part, turns) for part, turns in enumerate(turns_of) if turns != 0]
        if not used or counts is None and all(turns == 1 for _, turns in used):
            yield from ((as_sum(start) + turn * step, part) for turn, (part, _) in enumerate(used))
            return
        loop = Loop(self._around[-1], counter=counts.terms[0][0] if counts else None, of=of)
        if loop.counter:
            loop.counter.parts = loop.parts
            if any(loop.counter in indices for indices in self._parities[-1]):
                raise ProgramError("turns since zero state", "counted", "must not be inside a condition on them")
        self._into[-1].append(loop)
        for part, turns in used:
            body: list = []
            loop.parts.append((turns, body))
            for _ in self._inside(body, (*self._around[-1], loop)):
                yield as_sum(start) + (_of(loop, step) if used != [(part, 1)] else 0), part

    def tiles(self, start: int, stop: int, width: int) -> Iterator[tuple[Sum, int]]:
        """``for first, columns in tiles(...)``: a loop over whole tiles, then what is left."""
        whole, rest = divmod(stop - start, width)
        yield from ((start + index * width, width) for index in self.each(whole))
        if rest:
            yield as_sum(stop - rest), rest

    def steps(self, counts: Sum | None = None) -> Iterator[Sum]:
        """``for index in steps()``: the time steps of the run."""
        for index in self.each(self.left, counts=counts):
            self._into[-1].append(Change(self.left.variable, -1, idle=True))
            yield index

    def forever(self) -> Iterator[Sum]:
        """``for index in forever()``: until a HALT inside."""
        return self.each(FOREVER)

    # Conditions

    def when(self, test: Value, zero: bool = False) -> Iterator[None]:
        """``for _ in when(sum)``: done once if it is not zero."""
        test = self._used(as_sum(test))
        if test.known:
            yield from [None] * ((test.constant == 0) == zero)
            return
        node = When(test, zero)
        self._into[-1].append(node)
        yield from self._inside(node.body, self._around[-1], test.parity(zero))
        if not node.body and test is not self.clear:
            self._into[-1].pop()  # nothing is done

    def unless(self, test: Value) -> Iterator[None]:
        """``for _ in unless(sum)``: done once if it is zero."""
        return self.when(test, zero=True)

    def either(self, test: Value) -> Iterator[bool]:
        """``for yes in either(sum)``: done with True if it is not zero, and with False if it is."""
        yield from (True for _ in self.when(test))
        yield from (False for _ in self.unless(test))

    def kept(self, group: Value, of_x: bool = False) -> Iterator[None]:
        """``for _ in kept(group)``: done once if that group of the latest h is kept; waits until it is known.

        With lists, if that element of it, or ``of_x``, changed.
        """
        node = When(self._used(as_sum(group)), kept=True, of_x=of_x)
        self._into[-1].append(node)
        yield from self._inside(node.body, self._around[-1])

    def cleared(self) -> Iterator[None]:
        """``for _ in cleared()``: done if the run starts from zero state; what counts since then is set behind it."""
        if len(self._into) > 1:
            raise ProgramError("start from zero state", "inside a loop", "must be outside of all loops")
        yield from self.when(self.clear)
        self.body[-1].starts = self._started = True

    # Variables

    def variable(self, start: int = 0, plus: Value = 0) -> Sum:
        """A value that :meth:`advance` and :meth:`assign` change, where no sum of indices tells it."""
        value = _of(Variable(tuple(map(id, self._into))))
        self.assign(value, start, plus)
        return value

    def advance(self, variable: Sum, by: int, limit: int = 0) -> None:
        """Add a number to a variable, modulo a limit or without."""
        if by:
            self._into[-1].append(Change(_variable(self._used(variable)), by, limit=limit))

    def assign(self, variable: Sum, value: int, plus: Value = 0) -> None:
        """Set a variable, to a number and what another one is now, which is counted: no instruction copies it."""
        self._into[-1].append(Change(_variable(self._used(variable)), value, sets=True))
        for _ in self.each(plus):
            self.advance(variable, 1)

    def _inside(self, body, around, parity=()):
        stacks = self._around, self._into, self._parities
        for stack, top in zip(stacks, (around, body, self._parities[-1] | dict(parity)), strict=True):
            stack.append(top)
        yield
        for stack in stacks:
            stack.pop()

    def _used(self, value):
        """The sum, if all that it is made of is set here; without what conditions around say of it."""
        here = tuple(map(id, self._into))
        for loop, _ in value.terms:
            if loop.carried and not self._started:
                raise ProgramError("turns since zero state", "in use", "must be used behind the start from zero state")
            if here[: len(loop.scope)] != loop.scope if loop.variable else loop not in self._around[-1]:
                raise ProgramError("sum of indices", "an index or variable", "must be used inside its loop or block")
        return value.with_parities(self._parities[-1])


def _of(loop, stride=1):
    return Sum(0, ((loop, Term(stride)),))


def _variable(value):
    if value.variable is None or value.constant:
        raise ProgramError("variable", "a sum", "must be what variable() gave")
    return value.variable


def _range(start, stop=None, step=1):
    """First index, turns and step of bounds."""
    start, stop = (as_sum(0), as_sum(start)) if stop is None else (as_sum(start), as_sum(stop))
    turns = stop - start if step > 0 else start - stop
    if turns.terms and abs(step) != 1:
        raise ProgramError("bounds", f"a step of {step}", "must be 1 or -1 where a bound is a sum of indices")
    return start, turns if turns.terms else as_sum(max(0, -(-turns.constant // abs(step)))), step
