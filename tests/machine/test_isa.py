"""Instructions survive encoding, and values that do not fit are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_hw.errors import ProgramError
from lstm_hw.machine.isa import BY_CODE, INSTRUCTION_BITS, OPCODE_BITS, OPS, UNITS, decode, encode, instruction


@st.composite
def instructions(draw):
    op = draw(st.sampled_from(sorted(OPS)))
    return instruction(op, **{n: draw(st.integers(0, (1 << width) - 1)) for n, width in OPS[op].fields.items()})


@given(instructions())
def test_round_trip(instr):
    word = encode(instr)
    assert 0 <= word < 1 << INSTRUCTION_BITS
    assert decode(word) == instr


@given(instructions(), st.data())
def test_a_field_changes_its_own_bits_only(instr, data):
    if not instr.fields:
        return
    name = data.draw(st.sampled_from(sorted(instr.fields)))
    position, width = OPS[instr.op].positions[name]
    value = data.draw(st.integers(0, (1 << width) - 1))
    changed = instruction(instr.op, **(dict(instr.fields) | {name: value}))
    assert encode(changed) == encode(instr) & ~((1 << width) - 1 << position) | value << position


@pytest.mark.parametrize("op", OPS)
def test_fields_lie_side_by_side(op):
    used = (1 << OPCODE_BITS) - 1
    for position, width in OPS[op].positions.values():
        bits = (1 << width) - 1 << position
        assert not used & bits
        used |= bits
    assert used < 1 << INSTRUCTION_BITS
    assert set(OPS[op].relative) == {name[:-4] for name in OPS[op].fields if name.endswith("_reg")}


def test_codes_and_units_are_unique():
    assert len(BY_CODE) == len(OPS)
    assert sorted(op.unit for op in OPS.values() if op.unit) == sorted(UNITS)


@given(st.sampled_from(sorted(OPS)), st.data())
def test_values_that_do_not_fit(op, data):
    if not OPS[op].fields:
        return
    name = data.draw(st.sampled_from(sorted(OPS[op].fields)))
    limit = 1 << OPS[op].fields[name]
    value = data.draw(st.one_of(st.integers(limit, 4 * limit), st.integers(max_value=-1)))
    with pytest.raises(ProgramError, match=f"{op}.{name}: {value}; must fit"):
        instruction(op, **{name: value})


def test_unknown_names():
    with pytest.raises(ProgramError, match="opcode: 'JUMP'; must be one of"):
        instruction("JUMP")
    with pytest.raises(ProgramError, match="MAC.colums: unknown field; must be one of"):
        instruction("MAC", colums=3)
    assert not hasattr(instruction("MAC"), "colums")
    for code in set(range(16)) - set(BY_CODE):
        with pytest.raises(ProgramError, match=f"opcode: {code}; must be one of"):
            decode(code | 1 << 20)


def test_text_shows_what_is_not_zero():
    assert str(instruction("LOOP", count=3, exit=9)) == "LOOP count=3 exit=9"
    assert str(instruction("HALT")) == "HALT"
