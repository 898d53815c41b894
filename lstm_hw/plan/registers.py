"""Registers for the sums of a program: strength reduction, as in a compiler.

All uses of a sum that agree in the loops around them share a register, their *web*: it is set in front of its outermost
loop, moved at the end of each turn, and taken back behind each inner loop. Its value lives from the start to the end
of the outermost loop, so registers are given by intervals, first come, first served. Moves that follow one another
become one ADD.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from math import gcd

from ..errors import ProgramError
from ..machine.isa import LOOP_IF, LOOP_KEPT, LOOP_UNLESS, OPS, REGISTER_BITS, REGISTERS
from ..machine.program import Program, ProgramBuilder
from .sums import Sum, as_sum
from .tree import Change, Emit, Entry, Loop, Loops, When

MASK = (1 << REGISTER_BITS) - 1


@dataclass(eq=False)
class Web:
    """The sums that one register serves.

    Attributes
    ----------
    terms : dict of loop to Term
    around : set of Loop
        The loops around any of the sums.
    base : int or None
        Constant that the register holds as well, where a count or test reads the whole register.
    counted : set of loops
        Those whose turns it tells: their own index can not be in it.
    register : int
        0 until it has one.
    """

    modulus: int
    phase: int
    terms: dict = field(default_factory=dict)
    around: set = field(default_factory=set)
    base: int | None = None
    counted: set = field(default_factory=set)
    register: int = 0

    def serves(self, value: Sum, around: tuple, exact: bool) -> bool:
        """Whether one more sum fits: terms that only one of both has are zero where the other is used."""
        terms = dict(value.terms)
        common = terms.keys() & self.terms.keys()
        return (
            bool(common)
            and not self.counted & terms.keys()
            and all(terms[loop] == self.terms[loop] for loop in common)
            and (self.modulus, self.phase) == (value.modulus, value.phase)
            and not any(loop.carried or loop in around for loop in self.terms.keys() - common)
            and not any(loop.carried or loop in self.around for loop in terms.keys() - common)
            and (not exact or self.base in (None, value.constant))
        )

    def add(self, value: Sum, around: tuple, exact: bool) -> None:
        """Serve one more sum."""
        self.terms |= dict(value.terms)
        self.around.update(around)
        if exact:
            self.base = value.constant

    @property
    def root(self) -> Loop:
        """The outermost loop: in front of it the register is set."""
        return min(self.terms, key=lambda loop: -1 if loop.carried else len(loop.around))

    @property
    def mixed(self) -> bool:
        """Whether moves inside and outside of the modulus may be one; ProgramError if not even each by itself.

        The register holds both kinds of terms. An ADD that takes the modulus off compares all of it, so the plain
        terms must stay below the smallest step of the modular ones: those of loops around always, and all of them
        where a move of one kind joins one of the other.
        """
        modular = {loop: term.stride for loop, term in self.terms.items() if term.modular}
        if not modular:
            return True
        plain = {loop: term.stride for loop, term in self.terms.items() if not term.modular}
        steps, base = gcd(self.modulus, self.phase, *modular.values()), self.base or 0
        outside = {loop for inner in modular for loop in inner.around}
        reach = base + sum(_last(loop) * stride for loop, stride in plain.items() if loop in outside)
        if any(stride < 0 for loop, stride in plain.items() if loop in outside):
            raise ProgramError("sum of indices", "a falling term beside a modulus", "must rise")
        if reach >= steps:
            raise ProgramError("sum of indices", f"up to {reach} beside a modulus", f"must stay from 0 to {steps - 1}")
        rising = min(plain.values(), default=0) >= 0
        return rising and base + sum((_last(loop) + 1) * stride for loop, stride in plain.items()) < steps


def _last(loop):
    """The last index of a loop, or more than any where nobody knows."""
    return MASK if loop.total is None else loop.total - 1


def program(loops: Loops, length: int) -> Program:
    """The program that was collected.

    Raises
    ------
    ProgramError
        It has more than ``length`` instructions, or its sums do not fit the registers.
    """
    writer = _Writer(_Webs(loops.body))
    writer.nodes(loops.body)
    return writer.builder.build(length)


class _Webs:
    """Who uses what and when: positions of nodes in the order of the program, and webs from them."""

    def __init__(self, body):
        self.all, self.of = [], {}  # webs; id of a node and name of a field -> web
        self.span = {}  # loop -> positions of its begin and end
        self.variables = {}  # variable -> [first position, last position, loops around it, those that hold it longer]
        self.read = set()  # variables that more than counts of loops read
        self._open, self._starts = [], False
        self._at = self._entry = 0
        self._walk(body)
        for life in self.variables.values():
            life[1] = max([life[1], *(self.span[loop][1] for loop in life[3])])
        self._allot()

    def _walk(self, nodes):
        for node in nodes:
            self._at += 1
            match node:
                case Entry():
                    self._entry = self._at
                case Emit():
                    for name, value in node.fields.items():
                        self._use(node, name, value)
                case Change(idle=False):
                    self._touch(node.variable)
                case When():
                    self._use(node, "test", node.test, exact=not node.kept)
                    self._starts |= node.starts
                    self._walk(node.body)
                case Loop():
                    self._loop(node)

    def _loop(self, node):
        first = self._at
        for part, (turns, body) in enumerate(node.parts):
            self._use(node, part, as_sum(turns), exact=True, counts=True)
            self._open.append(node)
            self._walk(body)
            self._open.pop()
        self._at += 1
        self.span[node] = first, self._at

    def _use(self, node, name, value, exact=False, counts=False):
        """A sum in a field of a node: ``exact`` if that is a whole register, ``counts`` if it is that of a loop."""
        if value.known:
            return
        if value.variable:
            if exact and value.constant:
                raise ProgramError("variable", f"{value.constant:+} in a count or condition", "must stand alone there")
            self._touch(value.variable)
            self.of[id(node), name] = value.variable
            if not counts:
                self.read.add(value.variable)
            return
        around = tuple(self._open)
        web = next((web for web in self.all if web.serves(value, around, exact)), None)
        if web is None:
            web = Web(value.modulus, value.phase)
            self.all.append(web)
        web.add(value, around, exact)
        self.of[id(node), name] = web
        if counts:
            web.counted.add(node)

    def _touch(self, variable):
        """A variable is used: it lives on until here, and through a loop that its declaration is not in."""
        first, around = (self._entry, 0) if variable.register else (self._at, len(self._open))
        life = self.variables.setdefault(variable, [first, first, around, []])
        life[1] = self._at
        life[3] += self._open[life[2] :][:1]

    def _allot(self):
        """Give each web and variable a register that nobody else has at any time of its life."""
        busy = [(variable.register, *life[:2]) for variable, life in self.variables.items() if variable.register]
        lives = [(life[0], life[1], variable) for variable, life in self.variables.items() if not variable.register]
        for web in self.all:
            if web.root.carried and not (self._starts and web.root.parts):
                raise ProgramError(
                    "turns since zero state", "not set or not counted", "must have a start and a loop that counts them"
                )
            lives.append((-1, self._at, web) if web.root.carried else (*self.span[web.root], web))
        for first, last, owner in sorted(lives, key=lambda life: (life[0], -life[1])):
            taken = {number for number, begin, end in busy if begin <= last and first <= end}
            free = [number for number in range(1, REGISTERS) if number not in taken]
            if not free:
                raise ProgramError("registers", f"{REGISTERS} sums at once", f"must be at most {REGISTERS - 1}")
            busy.append((free[0], first, last))
            owner.register = free[0]


class _Writer:
    """Writes nodes; moves of registers wait until something might see them."""

    def __init__(self, webs):
        self.webs, self.builder = webs, ProgramBuilder()
        self._moves = {}  # register -> value and limit

    def nodes(self, nodes):
        writers = {Entry: self._entry, Emit: self._emit, Change: self._change, When: self._when, Loop: self._loop}
        for node in nodes:
            writers[type(node)](node)

    def _entry(self, node):
        self._settle()
        self.builder.entry(node.name)

    def _emit(self, node):
        self._settle()
        fields = {}
        for name, value in node.fields.items():
            fields |= self._field(node.op, name, node, name, value)
        self.builder.emit(node.op, node.comment, **fields)

    def _field(self, op, name, node, use, value):
        """A field that is a sum, with its register if it has one."""
        if value.known:
            return {name: value.constant}
        owner = self.webs.of[id(node), use]
        constant = (value.constant - (owner.base or 0)) % (1 << OPS[op].fields[name])
        return {name: constant, f"{name}_reg": owner.register}

    def _change(self, node):
        if node.idle and node.variable not in self.webs.read:
            return
        register = node.variable.register
        if node.sets:
            self._moves.pop(register, None)
            self.builder.emit("SET", register=register, value=node.value & MASK)
        else:
            self._move(register, node.value, node.limit)

    def _when(self, node):
        self._settle()
        when = LOOP_KEPT if node.kept else LOOP_UNLESS if node.zero else LOOP_IF
        test = self._field("LOOP", "count", node, "test", node.test)
        with self.builder.loop(**test, when=when, of_x=int(node.of_x)):
            self.nodes(node.body)
            self._settle()
            if node.starts:  # last, so that they do not hold up what the block does
                self._set(web for web in self.webs.all if web.root.carried)

    def _loop(self, node):
        self._settle()
        inner = [(web, web.terms[node]) for web in self.webs.all if node in web.terms]
        counted = [(web, web.terms[node.counter]) for web in self.webs.all if node.counter in web.terms]
        self._set(web for web, _ in inner if web.root is node)
        kept = [(web, term) for web, term in inner + counted if web.root is not node]
        for number, (turns, body) in enumerate(node.parts):
            last = number == len(node.parts) - 1
            if last and not (body or kept):
                continue  # nothing is done and nobody counts it
            again = body and turns != 1 or any(body for _, body in node.parts[number + 1 :])
            moved = inner + counted if again else kept  # what this loop set is not used any more
            count = self.webs.of.get((id(node), number))
            held = {}
            if not body and turns != 1:  # it reads its count only: moves of other registers join those behind it
                own = self._moves.pop(count and count.register, None)
                held, self._moves = self._moves, {count.register: own} if own else {}
            with self._repeated(node, number, turns):
                self.nodes(body)
                for web, term in counted if last and node.written_out else moved:
                    self._move_web(web, term, 1)
                if turns != 1:
                    self._settle()
            self._moves |= held
        self._take_back([(web, term) for web, term in inner if web.root is not node], node)

    def _take_back(self, moved, node):
        """An inner loop leaves registers as it found them."""
        known = sum(turns for turns, _ in node.parts if isinstance(turns, int))
        turns = (known if node.total is None else node.total) - node.written_out
        for web, term in moved:
            self._move_web(web, term, -turns)
        if moved and node.total is None:
            count = self.webs.of[id(node), 0]
            if not isinstance(count, Web):
                raise ProgramError("sum of indices", "a loop as long as a variable inside another", "must be no term")
            self._settle()
            with self.builder.loop(count_reg=count.register):
                for web, term in moved:
                    self._move_web(web, term, -1)
                self._settle()

    def _repeated(self, node, part, turns):
        if turns == 1:
            return nullcontext()
        self._settle()
        return self.builder.loop(**self._field("LOOP", "count", node, part, as_sum(turns)))

    def _set(self, webs):
        for web in webs:
            self.builder.emit("SET", register=web.register, value=((web.base or 0) + web.phase) & MASK)

    def _move_web(self, web, term, turns):
        self._move(web.register, term.stride * turns, web.modulus if term.modular else 0, web.mixed)

    def _move(self, register, value, limit=0, mixes=False):
        before, was = self._moves.get(register, (0, limit))
        if was != limit and not mixes:
            self._settle()
            before, was = 0, limit
        self._moves[register] = before + value, was or limit

    def _settle(self):
        """Write the moves that wait."""
        for register, (value, limit) in self._moves.items():
            value = value % limit if limit else value & MASK
            if value:
                self.builder.emit("ADD", register=register, value=value, limit=limit)
        self._moves = {}
