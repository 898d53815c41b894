"""The layer of loop indices: random loop trees against a direct evaluation, from garbage registers; what it refuses."""

import random

import pytest

from lstm_hw.errors import ProgramError
from lstm_hw.machine.isa import OPS, REGISTER_BITS, REGISTERS
from lstm_hw.plan.registers import program
from lstm_hw.plan.sums import Sum
from lstm_hw.plan.tree import Change, Emit, Entry, Loop, Loops, When

RUNS = ((3, True), (1, False), (2, False), (2, True), (0, False), (1, False))


class Halted(Exception):
    """A HALT inside of a loop."""


class Evaluation:
    """Walks the tree of a program with numbers for indices: no registers, no order of moves."""

    def __init__(self, loops):
        self.loops, self.since_zero = loops, {}

    def run(self, steps, clear):
        """(op, fields that are not zero) of every instruction of a run."""
        self.found = []
        self.values = {self.loops.clear.variable: int(clear), self.loops.left.variable: steps}
        if clear:
            self.since_zero = {}
        try:
            self.nodes(self.loops.body)
        except Halted:
            pass
        return self.found

    def value(self, value, bits=REGISTER_BITS):
        plain, modular = value.constant, value.phase
        for loop, term in value.terms:
            if loop.carried:
                index = self.since_zero.get(id(loop), 0)
            else:
                index = self.values.get(loop, 0)
            if term.modular:
                modular += term.stride * index
            else:
                plain += term.stride * index
        return plain + (modular % value.modulus if value.modulus else modular) & (1 << bits) - 1

    def nodes(self, nodes):
        for node in nodes:
            {Emit: self.emit, Change: self.change, When: self.when, Loop: self.loop, Entry: lambda _: None}[type(node)](
                node
            )

    def emit(self, node):
        widths = OPS[node.op].fields
        fields = {name: self.value(value, widths[name]) for name, value in node.fields.items()}
        self.found.append((node.op, {name: value for name, value in fields.items() if value}))
        if node.op == "HALT":
            raise Halted

    def change(self, node):
        after = node.value if node.sets else self.values[node.variable] + node.value
        after &= (1 << REGISTER_BITS) - 1
        self.values[node.variable] = after

    def when(self, node):
        if (self.value(node.test) == 0) == node.zero:
            self.nodes(node.body)

    def loop(self, node):
        index = 0
        for turns, body in node.parts:
            for _ in range(turns if isinstance(turns, int) else self.value(turns)):
                self.values[node] = index
                self.nodes(body)
                index += 1
                if node.counter:
                    self.since_zero[id(node.counter)] = self.since_zero.get(id(node.counter), 0) + 1
        self.values.pop(node, None)


def assert_equal(loops, written):
    """The same instructions from the tree and from the program, run after run, from registers full of garbage."""
    direct, registers = Evaluation(loops), [0, *random.Random(1).sample(range(1 << REGISTER_BITS), REGISTERS - 1)]
    for steps, clear in RUNS:
        found = [
            (c.op, {name: value for name, value in c.fields.items() if value})
            for c in written.run("run", steps, clear, registers)
        ]
        assert found == direct.run(steps, clear), (steps, clear)


class RandomProgram:
    """A program of random loops and conditions whose fields are random sums of all indices around."""

    def __init__(self, seed):
        self.rng, self.b = random.Random(seed), Loops()
        self.indices, self.variables = [], []
        self.b.entry("run")
        self.done = self.b.since_zero()
        self.other = self.b.since_zero()
        for _ in self.b.cleared():
            self.b.emit("MAC", columns=2)
        for count in [self.b.variable(0)] * self.chance(0.5):
            for _ in self.b.each(self.rng.randrange(1, 4)):
                for _ in self.b.when(self.some_sum()):
                    self.b.advance(count, 1)
            self.variables.append(count)
            for index in self.b.each(count, counts=self.other):
                self.inside(index, 2)
        self.counted = self.variables != []
        if self.chance(0.5):
            for _ in self.b.unless(self.b.left):
                self.b.emit("HALT")
        for step in self.b.steps(self.done):
            self.inside(step, 1)
            for _ in [None] * self.chance(0.7):
                for _ in self.b.when(self.b.left):
                    self.emit()
        self.b.emit("HALT")

    def chance(self, share):
        return int(self.rng.random() < share)

    def inside(self, index, depth):
        self.indices.append(index)
        self.nodes(depth)
        self.indices.pop()

    def some_sum(self):
        rng, pool = self.rng, [index for index in self.indices if index.terms]
        rng.shuffle(pool)
        inside = rng.randrange(3) if self.chance(0.4) else 0
        modular, plain = pool[:inside], pool[inside:]
        total = Sum(rng.randrange(5, 30))
        for index in plain:
            if self.chance(0.6):
                total = total + index * rng.choice((1, 2) if modular else (1, 2, 7, -4))
        if modular:
            phases = sum((index * rng.choice((1, 2, 5)) for index in modular), Sum(rng.randrange(3)))
            total = total + phases % rng.choice((2, 3, 5)) * rng.choice((10, 64, 512))
        elif self.chance(0.25):
            count = self.other if getattr(self, "counted", False) and self.chance(0.3) else self.done
            total = total + (count + rng.randrange(2)) % 2 * rng.choice((100, 2000))
        return total

    def emit(self):
        self.b.emit("MAC", columns=1, operand=self.some_sum(), source=self.some_sum() if self.chance(0.2) else 0)

    def nodes(self, depth):
        for _ in range(self.rng.randrange(1, 3)):
            kind = (
                "emit"
                if depth >= 3
                else self.rng.choice(("emit", "emit", "each", "peeled", "idle", "parts", "when", "own"))
            )
            getattr(self, f"_{kind}")(depth)

    def _emit(self, depth):
        self.emit()

    def _each(self, depth):
        for index in self.b.each(*self.rng.choice(((4,), (2,), (1,), (0,), (1, 5), (5, 0, -2), (3, -1, -1)))):
            self.inside(index, depth + 1)

    def _peeled(self, depth):
        counts = [i for i in self.indices if i.terms and i.constant >= 0 and all(t.stride == 1 for _, t in i.terms)]
        bounds = (self.rng.choice(counts) + 1,) if counts and self.chance(0.6) else (self.rng.randrange(1, 5),)
        for index, _ in self.b.peeled(*bounds):
            self.inside(index, depth + 1)

    def _parts(self, depth):
        counts = self.rng.randrange(3), self.rng.randrange(3), self.rng.randrange(2)
        for index, _ in self.b.parts(*counts, start=2):
            self.inside(index, depth + 1)

    def _idle(self, depth):
        """As many turns as variables say, and how many it is with those that do nothing."""
        turns, idle = self.rng.randrange(1, 4), self.rng.randrange(3)
        more = self.b.variable(turns - 1)
        for index, _ in self.b.peeled(more + 1, idle=self.b.variable(idle), of=turns + idle):
            self.inside(index, depth + 1)

    def _when(self, depth):
        for _ in self.b.when(self.some_sum(), zero=bool(self.chance(0.5))):
            self.nodes(depth + 1)

    def _own(self, depth):
        """A variable of this block, and one of all."""
        own = self.b.variable(self.rng.randrange(9))
        self.b.emit("MAC", columns=1, weight=own + 3)
        self.b.advance(own, self.rng.choice((5, -1)))
        self.nodes(depth + 1)
        self.b.emit("MAC", columns=1, weight=own, source=self.some_sum())
        for variable in self.variables:
            self.b.advance(variable, 1)
            self.b.emit("MAC", columns=1, weight=variable)


def test_random_programs():
    """Most are written and equal; the others are refused by a rule of the layer or of the machine."""
    refused = 0
    for seed in range(400):
        try:
            loops = RandomProgram(seed).b
            written = program(loops, 10_000)
        except ProgramError:
            refused += 1
            continue
        assert_equal(loops, written)
    assert refused < 300


@pytest.mark.parametrize("turns", [1, 3])
def test_a_program_may_end_inside_a_loop(turns):
    b = Loops()
    b.entry("run")
    count = b.variable(turns)
    for _ in b.forever():
        for _ in b.unless(count):
            b.emit("HALT")
        b.emit("MAC", columns=1, operand=count)
        b.advance(count, -1)
    written = program(b, 32)
    assert [c.operand for c in written.run("run", 5, True) if c.op == "MAC"] == [*range(turns, 0, -1)]
    assert_equal(b, written)


def test_a_sum_takes_a_register_and_moves_with_its_loops():
    b = Loops()
    b.entry("run")
    for row in b.each(3):
        for column, last in b.peeled(row + 1):
            b.emit("MAC", columns=1, operand=row * 10 + column, source=1 + row, release=int(last))
    b.emit("HALT")
    written = program(b, 32)
    found = [(c.operand, c.source, c.release) for c in written.run("run", 0, True) if c.op == "MAC"]
    assert found == [(10 * row + column, 1 + row, int(column == row)) for row in range(3) for column in range(row + 1)]


def test_what_a_condition_says_is_known_inside():
    b = Loops()
    b.entry("run")
    done = b.since_zero()
    for _ in b.cleared():
        pass
    for _ in b.steps(done):
        for zero in (False, True):
            for _ in b.when((done + 1) % 2, zero=zero):
                b.emit("MAC", columns=1, operand=done % 2 * 64 + 3, target=(done + 1) % 2 * 5)
                b.emit("MAC", columns=1, operand=done % 3 * 7)  # of which it says nothing
                for _ in b.when(done % 2):
                    b.emit("MAC", columns=2)
    b.emit("HALT")
    written = program(b, 32)
    assert [i.op for i in written.instructions].count("LOOP") == 4  # the start, the steps and two conditions
    assert_equal(b, written)


def refused(rule, build):
    b = Loops()
    b.entry("run")
    with pytest.raises(ProgramError, match=rule):
        build(b)
        b.emit("HALT")
        program(b, 256)


def test_an_index_ends_with_its_loop():
    def outside(b):
        (index,) = list(b.each(3))
        b.emit("MAC", columns=1, operand=index)

    refused("must be used inside its loop or block", outside)


def test_a_variable_is_known_behind_its_declaration_in_its_block_only():
    def outside(b):
        for _ in b.when(b.left):
            value = b.variable(3)
        b.emit("MAC", columns=1, operand=value)

    refused("must be used inside its loop or block", outside)

    def added(b):
        b.emit("MAC", columns=1, operand=b.variable(3) + next(b.each(3)))

    refused("must stand alone beside a constant", added)
    refused("must stand alone there", lambda b: next(b.when(b.variable(3) + 1)))


def test_what_counts_since_zero_state_needs_a_start_and_a_loop():
    def never_counted(b):
        done = b.since_zero()
        for _ in b.cleared():
            pass
        for _ in b.steps():
            b.emit("MAC", columns=1, operand=done % 2)

    refused("must have a start and a loop that counts them", never_counted)

    def early(b):
        done = b.since_zero()
        for _ in b.cleared():
            b.emit("MAC", columns=1, operand=done % 2)

    refused("must be used behind the start from zero state", early)


def test_what_a_condition_says_does_not_change_inside():
    def counted(b):
        done = b.since_zero()
        for _ in b.cleared():
            pass
        for _ in b.when(done % 2):
            next(b.each(3, counts=done))

    refused("must not be inside a condition on them", counted)


def test_one_modulus_that_sees_no_plain_terms():
    refused("must have one at most", lambda b: next(b.each(3)) % 2 % 3)

    def beside(b):
        for outer in b.each(30):
            for inner in b.each(3):
                b.emit("MAC", columns=1, operand=outer + inner % 2 * 16)

    refused("29 beside a modulus; must stay from 0 to 15", beside)


def test_a_loop_as_long_as_a_variable_moves_no_sum_of_a_loop_around():
    def inside(b):
        count = b.variable(3)
        for row in b.each(2):
            for column in b.each(count):
                b.emit("MAC", columns=1, operand=column + row)

    refused("a loop as long as a variable inside another", inside)


def test_registers_are_numbered():
    def too_many(b):
        values = [b.variable(n) for n in range(REGISTERS)]
        for value in values:
            b.emit("MAC", columns=1, operand=value)

    refused(f"must be at most {REGISTERS - 1}", too_many)
