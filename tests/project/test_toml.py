"""The TOML writer: what it writes, tomllib reads back."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.project import toml

KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), FLOATS, TEXT)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=4))


@given(st.dictionaries(KEYS, st.one_of(VALUES, st.dictionaries(KEYS, VALUES, max_size=4)), max_size=5))
def test_round_trip(values):
    assert tomllib.loads(toml.dumps(values)) == values


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_tables_in_a_section(values):
    assert tomllib.loads(toml.dumps({"t": {"inner": values}})) == {"t": {"inner": values}}


def test_none_is_left_out():
    assert tomllib.loads(toml.dumps({"a": None, "b": 1, "t": {"c": None}})) == {"b": 1, "t": {}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {"t": {"u": {"v": object()}}}])
def test_what_it_cannot_hold(value):
    with pytest.raises(ConfigError, match="must be a string, number"):
        toml.dumps({"t": {"key": value}})
