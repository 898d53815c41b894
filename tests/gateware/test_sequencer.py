"""The sequencer against Program.run: every command, its cycle, and what happens when it is stopped."""

import itertools
import random

import pytest

from lstm_hw.gateware.sequencer import Sequencer
from lstm_hw.machine.command import foreign
from lstm_hw.machine.isa import BY_CODE, CLEAR_REGISTER, LOOP_DEPTH, OPS, REGISTERS, STEPS_REGISTER, UNITS
from lstm_hw.machine.program import ProgramBuilder
from tests.builders import config_of
from tests.simulation import monitor, observe, simulate, sink

LENGTH = 100
UNIT_OPS = {op.unit: op.name for op in OPS.values() if op.unit}
TOP = (1 << 32) - 1


def random_fields(rng, op):
    """Field values; extremes are frequent."""
    return {
        name: rng.choice((0, (1 << width) - 1, rng.randrange(1 << width))) for name, width in OPS[op].fields.items()
    }


def random_body(builder, rng, size, depth=0):
    """Instructions with loops among them; a loop count from a register is small, since the run must end."""
    for _ in range(rng.randint(0, size)):
        choice = rng.random()
        if choice < 0.3:
            op = rng.choice(list(UNIT_OPS.values()) + ["RING", "BUFFERS"])
            builder.emit(op, **random_fields(rng, op))
        elif choice < 0.5:
            # Register 5 is kept for loop counts; r0 may be written and stays zero.
            register = rng.choice((0, 1, 2, 3, 4, CLEAR_REGISTER))
            builder.emit("SET", register=register, value=rng.choice((0, TOP, rng.randrange(1 << 32), 31)))
        elif choice < 0.75:
            limit = rng.choice((0, 0, TOP, 7, rng.randrange(1 << 32)))
            builder.emit(
                "ADD",
                register=rng.choice((0, 1, 2, 3, 4)),
                limit=limit,
                value=rng.choice((1, 5, TOP, rng.randrange(1 << 32))),
            )
        elif depth < LOOP_DEPTH:
            count = rng.choice(
                (
                    {"count": rng.randint(0, 3)},
                    {"count_reg": STEPS_REGISTER},
                    {"count_reg": 5},
                    {"count": 0, "count_reg": 0},
                    {"count": TOP, "count_reg": 5},
                )
            )
            if count.get("count") == TOP:  # the register alone counts, also when the limit has just made it zero
                builder.emit("SET", register=5, value=TOP)
                builder.emit("ADD", register=5, value=6, limit=rng.choice((5, 4, 3)))
            elif count.get("count_reg") == 5:
                builder.emit("SET", register=5, value=rng.randint(0, 2))
            with builder.loop(**count, when=rng.choice((0, 0, 0, 1, 2))):
                random_body(builder, rng, size - 1, depth + 1)


def random_program(rng):
    """A program with two entries that ends in a bearable number of commands."""
    while True:
        builder = ProgramBuilder()
        for name in ("first", "second"):
            builder.entry(name)
            random_body(builder, rng, rng.randint(1, 7))
            builder.emit("HALT")
        if len(builder._instructions) <= LENGTH:
            program = builder.build(LENGTH)
            work = sum(command.scalars + 1 for name in program.entries for command in program.run(name, 2, True))
            if 40 < work < 400:
                return program


class TB:
    """A sequencer with its program written, and everything it does recorded with the cycle."""

    def __init__(self, words, rng, stall=0.0):
        self.words, self.rng = words, rng
        self.unit = Sequencer(config_of(program_length=LENGTH, lifts=(0, 1)))
        self.events, self.running, self.illegal = [], [], []
        self.taken = {unit: ([], []) for unit in UNITS}  # commands, cycles
        self.first_valid = {unit: [] for unit in UNITS}
        self.background = [self.watch()]
        for unit in UNITS:
            stream, (commands, cycles) = getattr(self.unit, f"o_{unit}"), self.taken[unit]
            self.background += [sink(stream, rng, stall, commands, cycles)]

    def monitors(self):
        """For runs that are not stopped."""
        return [monitor(getattr(self.unit, f"o_{unit}"), unit) for unit in UNITS]

    def watch(self):
        unit, waiting = self.unit, dict.fromkeys(UNITS, False)

        def note(now, running, waits, illegal, ring, base, buffers, count, *streams):
            if running:
                self.running.append(now)
            if illegal:
                self.illegal.append(now)
            if ring:
                self.events.append((now, "RING", {"base": base}))
            if buffers:
                self.events.append((now, "BUFFERS", {"count": count}))
            assert waits == sum(streams[::2]) <= 1
            for name, valid, ready in zip(UNITS, streams[::2], streams[1::2], strict=True):
                if valid and not waiting[name]:
                    self.first_valid[name].append(now)
                waiting[name] = valid and not ready

        streams = [getattr(unit, f"o_{name}") for name in UNITS]
        return observe(
            note,
            unit.o_running,
            unit.o_waiting,
            unit.o_illegal,
            unit.o_ring,
            unit.o_ring_base,
            unit.o_buffers,
            unit.o_buffers_count,
            *itertools.chain(*((s.valid, s.ready) for s in streams)),
        )

    async def load(self, context):
        """Write the program; the rest of the memory is noise."""
        unit = self.unit
        words = self.words + [self.rng.getrandbits(160) for _ in range(LENGTH - len(self.words))]
        order = list(range(LENGTH))
        self.rng.shuffle(order)
        for address in order:
            context.set(unit.i_write, 1)
            context.set(unit.i_write_address, address)
            context.set(unit.i_write_data, words[address])
            await context.tick()
        context.set(unit.i_write, 0)

    async def start(self, context, entry, steps, clear):
        """Start; the arguments are noise but in the one cycle."""
        unit = self.unit
        for port, value in (("i_start", 1), ("i_entry", entry), ("i_steps", steps), ("i_clear", clear)):
            context.set(getattr(unit, port), value)
        await context.tick()
        for port, bits in (("i_start", 0), ("i_entry", 7), ("i_steps", 32), ("i_clear", 1)):
            context.set(getattr(unit, port), self.rng.getrandbits(bits) if bits else 0)

    def commands(self):
        """(cycle, op, fields) of all that was done, in order."""
        done = [
            (now, UNIT_OPS[unit], {name: command[name] for name in command.shape().members})
            for unit in UNITS
            for command, now in zip(*self.taken[unit], strict=True)
        ]
        return sorted(done + self.events, key=lambda event: event[0])

    def given(self, command):
        """Fields of a command as its unit gets them: as wide as the engine needs."""
        unit = OPS[command.op].unit
        if not unit:
            return dict(command.fields)
        shape = getattr(self.unit, f"o_{unit}").payload.shape()
        got = {name: value for name, value in command.fields.items() if name in shape.members}
        return {name: value & ((1 << shape[name].width) - 1) for name, value in got.items()}

    def check(self, runs, registers=None):
        """Compare with Program.run: ``runs`` are (program, entry, steps, clear, cycle of the start)."""
        found = iter(self.commands())
        shown = {unit: iter(cycles) for unit, cycles in self.first_valid.items()}
        registers = registers or [0] * REGISTERS
        for program, entry, steps, clear, start in runs:
            clock = start + 1  # of the next fetch
            for command in program.run(entry, steps, clear, registers):
                clock += 2 * command.scalars
                if command.op == "HALT":
                    break
                now, op, fields = next(found)
                assert (op, fields) == (command.op, self.given(command)), f"address {command.at}, cycle {now}"
                if OPS[op].unit:
                    assert next(shown[OPS[op].unit]) == clock + 2, f"address {command.at}: fetch, execute, dispatch"
                    clock = now + 1
                else:
                    assert now == clock + 1, f"address {command.at}: fetch, execute"
                    clock += 2
            assert clock + 1 in self.running and clock + 2 not in self.running, "HALT: fetch, execute"
        assert next(found, None) is None


@pytest.mark.parametrize("stall", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed, stall):
    rng = random.Random(f"{seed} {stall}")
    program = random_program(rng)
    bench = TB(program.encoded(), rng, stall)
    runs = []

    async def ends(context):
        await bench.load(context)
        now = LENGTH
        for entry in rng.choices(("first", "second"), k=3):
            steps, clear = rng.randint(0, 3), rng.random() < 0.5
            runs.append((program, entry, steps, clear, now))
            await bench.start(context, program.entries[entry], steps, clear)
            now += 1
            while context.get(bench.unit.o_running):
                # A start while running is ignored.
                context.set(bench.unit.i_start, rng.random() < 0.2)
                await context.tick()
                now += 1
            context.set(bench.unit.i_start, 0)

    simulate(bench.unit, ends, background=[*bench.background, *bench.monitors()])
    bench.check(runs)
    assert not bench.illegal


def test_program_fills_the_memory():
    """The last instruction of a full memory is reached, over a zero-trip loop whose exit it is."""
    builder = ProgramBuilder()
    builder.entry("run")
    with builder.loop(count=0):
        for _ in range(LENGTH - 3):
            builder.emit("BUFFERS", count=1)
    builder.emit("HALT")
    program = builder.build(LENGTH)
    bench = TB(program.encoded(), random.Random(1))

    async def ends(context):
        await bench.load(context)
        await bench.start(context, 0, 1, 1)
        await context.tick().until(~bench.unit.o_running)

    simulate(bench.unit, ends, background=bench.background)
    bench.check([(program, "run", 1, 1, LENGTH)])
    assert bench.running == [LENGTH + 1 + n for n in range(4)]


@pytest.mark.parametrize("code", [c for c in range(16) if c not in BY_CODE])
def test_illegal_opcode_ends_the_program(code):
    bench = TB(
        [instruction_word("BUFFERS", count=3), code | 0xABC << 4, instruction_word("BUFFERS", count=4)],
        random.Random(code),
    )

    async def ends(context):
        await bench.load(context)
        await bench.start(context, 0, 1, 0)
        await context.tick().repeat(20)

    simulate(bench.unit, ends, background=bench.background)
    assert [event[1:] for event in bench.commands()] == [("BUFFERS", {"count": 3})]
    assert bench.illegal == [LENGTH + 4]
    assert bench.running == [LENGTH + 1 + n for n in range(4)]


def instruction_word(op, **fields):
    builder = ProgramBuilder()
    builder.emit(op, **fields)
    return builder.build(1).encoded()[0]


@pytest.mark.parametrize("stall", [0.0, 0.9])
def test_stop_in_every_cycle(stall):
    """The program ends within an instruction, offers nothing afterwards, and the next run is like any other."""
    rng = random.Random(f"stop {stall}")
    builder = ProgramBuilder()
    builder.entry("run")
    builder.emit("SET", register=1, value=5)
    with builder.loop(count_reg=STEPS_REGISTER):
        with builder.loop(count=2):
            builder.emit("MAC", columns=3, columns_reg=1, slots=1)
            builder.emit("ADD", register=1, value=1)
        builder.emit("LOAD", beats=1, beats_reg=1)
    builder.emit("CELL", units=7)
    builder.emit("HALT")
    program = builder.build(LENGTH)
    bench = TB(program.encoded(), rng, stall)
    runs = []

    async def ends(context):
        unit = bench.unit
        await bench.load(context)
        now = LENGTH
        for wait in range(0, 40, 3 if stall else 1):
            await bench.start(context, 0, 2, 1)
            await context.tick().repeat(wait + 1)
            now += wait + 2
            context.set(unit.i_stop, 1)
            await context.tick().repeat(3)
            now += 3
            assert not context.get(unit.o_running)
            assert not any(context.get(getattr(unit, f"o_{name}").valid) for name in UNITS)
            context.set(unit.i_stop, 0)
            await context.tick().repeat(2)
            now += 2
            start = now
            await bench.start(context, 0, 2, 1)
            now += 1
            while context.get(unit.o_running):
                await context.tick()
                now += 1
            runs.append(start)

    simulate(bench.unit, ends, background=bench.background)
    expected = [(c.op, bench.given(c)) for c in program.run("run", 2, True) if c.op != "HALT"]
    for start in runs:
        after = [event[1:] for event in bench.commands() if event[0] >= start]
        assert after[: len(expected)] == expected
    assert len(runs) == (14 if stall else 40)


NARROW = {"streams": False, "indexed": ("INPUT.target", "MAC.operand"), "register_bits": 12}


@pytest.mark.parametrize("op, fields, lacking", [
    ("MAC", {"weight_reg": 1, "operand_reg": 2}, ["weight_reg"]),
    ("MAC", {"stream": 1}, ["stream"]),
    ("MAC", {"release": 1}, ["release"]),
    ("LOAD", {"offset_reg": 2}, ["offset_reg"]),
    ("LOAD", {"stream": 1, "beats_reg": 15}, ["stream", "beats_reg"]),
    ("RING", {}, ["base"]),
    ("CELL", {"state_reg": 8}, ["state_reg"]),
    ("INPUT", {"bank_reg": 4}, ["bank_reg"]),
    ("SET", {"register": 1, "value": 1 << 12}, ["value"]),
    ("SET", {"register": 1, "value": TOP}, ["value"]),
    ("ADD", {"register": 1, "value": TOP - (1 << 12)}, ["value"]),
    ("ADD", {"register": 1, "value": 3, "limit": 1 << 20}, ["limit"]),
    ("LOOP", {"count": 1 << 12, "exit": 3}, ["count"]),
    ("ADD", {"register": 1, "value": TOP - (1 << 12) + 1}, []),
    ("ADD", {"register": 1, "value": (1 << 12) - 1, "limit": (1 << 12) - 1}, []),
    ("SET", {"register": 1, "value": (1 << 12) - 1}, []),
    ("MAC", {"operand": 3, "operand_reg": 2, "weight": 5}, []),
    ("INPUT", {"target": 1, "target_reg": 2}, []),
])  # fmt: skip
def test_an_engine_refuses_what_it_has_not_the_means_for(op, fields, lacking):
    config, builder = config_of(program_length=LENGTH, **NARROW), ProgramBuilder()
    builder.entry("run")
    builder.emit("SET", register=2, value=9)
    builder.emit(op, **fields)
    builder.emit("HALT")
    program, unit = builder.build(LENGTH), Sequencer(config)
    assert foreign(program.instructions[1], config) == lacking

    async def bench(context):
        for address, word in enumerate(program.encoded()):
            for port, value in (("i_write", 1), ("i_write_address", address), ("i_write_data", word)):
                context.set(getattr(unit, port), value)
            await context.tick()
        context.set(unit.i_write, 0)
        context.set(unit.i_start, 1)
        await context.tick()
        context.set(unit.i_start, 0)
        illegal, taken = 0, []
        for name in UNITS:
            context.set(getattr(unit, f"o_{name}").ready, 1)
        for _ in range(12):
            illegal += context.get(unit.o_illegal)
            for name in UNITS:
                stream = getattr(unit, f"o_{name}")
                if context.get(stream.valid):
                    taken.append(
                        {field: context.get(stream.payload[field]) for field in stream.payload.shape().members}
                    )
            await context.tick()
        assert illegal == bool(lacking) and not context.get(unit.o_running)
        moved = "operand" if op == "MAC" else "target"
        assert [command[moved] for command in taken] == ([fields[moved] + 9] if OPS[op].unit and not lacking else [])

    simulate(unit, bench)
