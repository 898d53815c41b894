"""How long a loop does the same, against the commands that it makes."""

import random

from lstm_hw.machine.isa import REGISTER_BITS, REGISTERS
from lstm_hw.machine.program import ProgramBuilder
from lstm_hw.proof.affine import EVER, periods, signed

ROUNDS = 40


def random_loop(rng):
    """A loop of ``ROUNDS`` rounds whose LOADs and inner loops depend on registers that count."""
    builder = ProgramBuilder()
    builder.entry("run")
    for register in range(1, 6):
        value = rng.choice((0, rng.randint(0, 30), (1 << REGISTER_BITS) - rng.randint(1, 30)))
        builder.emit("SET", register=register, value=value)
    with builder.loop(count=ROUNDS):
        for _ in range(rng.randint(1, 4)):
            register, kind = rng.randint(1, 5), rng.randrange(5)
            step = rng.choice((0, 1, 1, 5, (1 << REGISTER_BITS) - 1, (1 << REGISTER_BITS) - 3))
            if kind == 0:
                builder.emit("ADD", register=register, value=step)
            elif kind == 1:
                limit = rng.randint(2, 12)
                builder.emit("ADD", register=register, value=rng.randint(0, limit), limit=limit)
            elif kind == 2:
                with rng.choice((builder.when, builder.unless))(register):
                    builder.emit("LOAD", beats=rng.randint(1, 9))
            elif kind == 3:
                builder.emit("LOAD", beats=1, beats_reg=register)
            else:
                with builder.loop(count=rng.randint(0, 3)):
                    builder.emit("ADD", register=register, value=step)
                    builder.emit("LOAD", beats=7, offset_reg=register)
    builder.emit("HALT")
    return builder.build(256)


def timed(program):
    return [
        [(instr.beats_reg, 1 << 24), (instr.offset_reg, 16)] if instr.op == "LOAD" else []
        for instr in program.instructions
    ]


def test_periods_do_the_same():
    """As far as it is said, and not one period further in some of them."""
    exact = useful = 0
    for seed in range(400):
        rng = random.Random(seed)
        program = random_loop(rng)
        registers, rounds, commands = [0] * REGISTERS, [], []

        def look(end, loops, scalars, rounds=rounds, commands=commands, registers=registers):
            if len(loops) == 1:
                rounds.append((end, loops[0][0], list(registers), len(commands), scalars))

        for command in program.run("run", 1, True, registers, look):
            commands.append((command.op, command.scalars, command.fields.get("beats"), command.fields.get("offset")))
        apart = rng.randint(1, 4)
        end, start, before, _, scalars = rounds[0]
        _, _, after, _, others = rounds[apart]
        if scalars != others:
            continue  # nobody asks: what is in front of the next command is part of the state
        steps = [signed(b - a) for a, b in zip(before, after, strict=True)]
        found = periods(program, start, end, apart, before, steps, timed(program))

        def done(n, apart=apart, rounds=rounds, commands=commands):
            span = commands[rounds[n * apart][3] : rounds[(n + 1) * apart][3]]
            return [(op, scalars, beats, offset % 16) for op, scalars, beats, offset in span]

        possible = (len(rounds) - 1) // apart - 1
        for n in range(1, min(found, possible) + 1):
            assert done(n) == done(0), seed
        useful += found > 0
        exact += found < possible and done(found + 1) != done(0)
    assert useful > 100 and exact > 50


def test_a_count_down_ends_in_front_of_zero():
    """A register that is used as a condition stays on one side of zero; one that nobody uses only must not wrap."""
    builder = ProgramBuilder()
    builder.entry("run")
    with builder.loop(count=100):
        builder.emit("ADD", register=1, value=(1 << REGISTER_BITS) - 1)
        with builder.when(1):
            builder.emit("LOAD", beats=1)
    builder.emit("HALT")
    program = builder.build(9)
    arguments = {"start": 1, "end": 5, "rounds": 1, "timed": timed(program)}
    assert program.instructions[arguments["end"]].op == "END"
    assert (
        periods(program, registers=[0, 9, *[0] * (REGISTERS - 2)], steps=[0, -1, *[0] * (REGISTERS - 2)], **arguments)
        == 7
    )
    assert (
        periods(
            program, registers=[0, 9, 5, *[0] * (REGISTERS - 3)], steps=[0, 0, 0, *[0] * (REGISTERS - 3)], **arguments
        )
        == EVER
    )
    assert (
        periods(
            program, registers=[0, 9, 5, *[0] * (REGISTERS - 3)], steps=[0, 0, -1, *[0] * (REGISTERS - 3)], **arguments
        )
        == 5
    )
