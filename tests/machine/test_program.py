"""Programs against a hand-written list of steps, their texts, and every way to break one."""

import json
from types import MappingProxyType

import pytest

from lstm_hw.errors import ProgramError
from lstm_hw.machine.isa import CLEAR_REGISTER, LOOP_DEPTH, STEPS_REGISTER, decode, instruction
from lstm_hw.machine.program import Program, ProgramBuilder
from lstm_hw.machine.registers import lookup


def program_of(*instructions):
    return Program(tuple(instructions), MappingProxyType({"run": 0}))


def commands(program, steps=1, clear=False, registers=None):
    return list(program.run("run", steps, clear, registers))


def test_nested_loops_and_registers():
    b = ProgramBuilder()
    b.entry("run")
    b.emit("SET", register=1, value=10)
    with b.loop(count_reg=STEPS_REGISTER):
        with b.loop(count=2):
            b.emit("MAC", weight=100, weight_reg=1, columns=1, slots=1)
            b.emit("ADD", register=1, value=7, limit=20)
        b.emit("CELL", units=1, target=3, target_reg=1)
    b.emit("HALT")
    # r1 goes 10, 17, 24 - 20 = 4, 11, 18.
    found = commands(b.build(9), steps=2)
    assert [(c.op, c.at, c.scalars, c.fields.get("weight", c.fields.get("target"))) for c in found] == [
        ("MAC", 3, 3, 110),
        ("MAC", 3, 2, 117),
        ("CELL", 6, 2, 7),
        ("MAC", 3, 2, 104),
        ("MAC", 3, 2, 111),
        ("CELL", 6, 2, 21),
        ("HALT", 8, 1, None),
    ]


@pytest.mark.parametrize(
    "value, limit, start, result",
    [(1, 0, 0xFFFFFFFF, 0), (3, 5, 2, 0), (3, 6, 2, 5), (3, 5, 4, 2), (0xFFFFFFFF, 0, 5, 4), (9, 3, 0, 6)],
)
def test_add(value, limit, start, result):
    """A sum wraps at 32 bits; at the limit it loses the limit, once."""
    program = program_of(instruction("ADD", register=2, value=value, limit=limit), instruction("HALT"))
    registers = [0, 0, start, 0, 0, 0, 0, 0]
    commands(program, registers=registers)
    assert registers[2] == result


@pytest.mark.parametrize("clear", [False, True])
def test_loops_that_run_zero_times(clear):
    b = ProgramBuilder()
    b.entry("run")
    with b.loop(count_reg=CLEAR_REGISTER):
        b.emit("BUFFERS", count=1)
    with b.loop(count_reg=STEPS_REGISTER):
        b.emit("BUFFERS", count=2)
    with b.loop(count=0):
        b.emit("BUFFERS", count=3)
    b.emit("HALT")
    program = b.build(20)
    assert [c.count for c in commands(program, 2, clear) if c.op == "BUFFERS"] == [1] * clear + [2, 2]
    assert [c.count for c in commands(program, 0, clear) if c.op == "BUFFERS"] == [1] * clear


def test_a_loop_counts_by_its_register_alone():
    program = program_of(
        instruction("SET", register=3, value=2),
        instruction("LOOP", count=7, count_reg=3, exit=4),
        instruction("BUFFERS", count=1),
        instruction("END"),
        instruction("HALT"),
    )
    assert [c.op for c in commands(program)] == ["BUFFERS", "BUFFERS", "HALT"]


def test_registers_carry_over_and_r0_stays_zero():
    program = program_of(
        instruction("SET", register=0, value=9),
        instruction("ADD", register=0, value=9),
        instruction("ADD", register=4, value=1),
        instruction("INPUT", target=1, target_reg=0),
        instruction("HALT"),
    )
    registers = [0] * 8
    for _ in range(3):
        assert commands(program, 5, True, registers)[0].target == 1
    assert registers == [0, 0, 0, 0, 3, 0, 1, 5]


def test_relative_fields_wrap_at_their_width():
    program = program_of(
        instruction("SET", register=1, value=0xFFFFFFFF),
        instruction("INPUT", target=0, target_reg=1, bank=1, bank_reg=1),
        instruction("HALT"),
    )
    command = commands(program)[0]
    assert (command.target, command.bank) == (0xFFFF, 0)
    assert "target_reg" not in command.fields and not hasattr(command, "target_reg")


@pytest.mark.parametrize(
    "instructions, message",
    [
        ([instruction("BUFFERS")], "program: address 1; must stay below 1"),
        ([instruction("LOOP", exit=7)], "program: address 7; must stay below 1"),
        ([instruction("END")], "program address 0: END without LOOP; must close a loop"),
        ([instruction("LOOP", count=1)] * (LOOP_DEPTH + 1), "program address 6: 7 nested loops; must be at most 6"),
    ],
)
def test_broken_programs(instructions, message):
    with pytest.raises(ProgramError, match=message):
        commands(program_of(*instructions))


def test_unknown_entry_and_a_program_that_is_too_long():
    with pytest.raises(ProgramError, match="entry: 'walk'; must be one of .'run'."):
        list(program_of(instruction("HALT")).run("walk", 1, False))
    b = ProgramBuilder()
    for _ in range(4):
        b.emit("HALT")
    assert len(b.build(4).instructions) == 4
    with pytest.raises(ProgramError, match="program: 4 instructions; must fit the program memory of 3"):
        b.build(3)


def test_listing_and_json_tell_the_same_program():
    b = ProgramBuilder()
    b.entry("run")
    with b.loop(count=3, comment="three times"):
        b.emit("MAC", columns=4, slots=2, comment="x part")
    b.entry("rest")
    b.emit("HALT")
    program = b.build(10)
    lines = program.listing().splitlines()
    assert [line.split(";")[0].rstrip() for line in lines] == [
        "run:",
        "   0  LOOP count=3 exit=3",
        "   1    MAC columns=4 slots=2",
        "   2  END",
        "rest:",
        "   3  HALT",
    ]
    assert lines[1].endswith("; three times") and lines[2].endswith("; x part")
    values = json.loads(json.dumps(program.to_dict()))
    loads = lookup("ENTRY").field("loads").mask
    assert values["entries"] == {"run": loads, "rest": 3 | loads}
    assert [decode(int(word, 16)) for word in values["words"]] == list(program.instructions)
    assert values["instructions"][1] == {"op": "MAC", "columns": 4, "slots": 2}
