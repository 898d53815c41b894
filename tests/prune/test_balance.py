"""How evenly masks load lanes: a count by hand, bounds of any mask, and the figures of the patterns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.prune import BankBalanced, ColumnBalanced, Unstructured, balance

MASK = np.array([[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1]], bool)
"""Two lanes: rows 0 and 2, rows 1 and 3."""


@pytest.mark.parametrize(
    "organisation, width, cycles, stored",
    [
        # Windows of 2 columns, row blocks (0, 1) and (2, 3): lanes hold 1, 2 | 0, 1 and 0, 0 | 1, 2.
        ("window", 2, (2 + 0) + (1 + 2), 10),
        # Columns: lanes hold 1, 1 | 0, 1 | 0, 2 | 1, 1.
        ("slot", 2, 1 + 1 + 2 + 1, 10),
        # Windows over all rows: 1, 2 | 1, 3.
        ("both", 2, 2 + 3, 10),
        # A window of 8 takes 8 cycles to come, whatever is in it.
        ("both", 8, 8, 10),
    ],
)
def test_counted_by_hand(organisation, width, cycles, stored):
    found = balance(MASK, 2, organisation, width)
    assert (found.cycles, found.stored, found.nonzeros) == (cycles, stored, 7)
    assert found.imbalance == pytest.approx(cycles * 2 / 7) and found.padding == pytest.approx(3 / 7)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5), st.integers(0, 50))
def test_bounds(rows, columns, lanes, width, seed):
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    mask[0, 0] = True
    found = {name: balance(mask, lanes, name, width) for name in ("window", "slot", "both")}
    assert all(one.imbalance >= 1 and one.padding >= 0 for one in found.values())
    assert found["both"].stored <= min(found["window"].stored, found["slot"].stored)


def test_the_lanes_that_a_pattern_is_made_for_are_always_busy():
    weights = np.random.default_rng(0).normal(size=(256, 512))
    assert balance(BankBalanced(64, 8).mask(weights), 8, "window").imbalance == 1
    assert balance(ColumnBalanced(8, 0.875).mask(weights), 8, "slot").imbalance == 1
    loose = Unstructured(0.875).mask(weights)
    assert 1 < balance(loose, 8, "both").imbalance < balance(loose, 8, "window").imbalance


@pytest.mark.parametrize(
    "given, message",
    [
        ((MASK, 0, "slot"), "lanes: 0; must be an integer above 0"),
        ((MASK, 2, "slots"), "organisation: 'slots'; must be one of window, slot, both"),
        ((MASK, 2, "both", 0), "width: 0; must be an integer above 0"),
        ((np.zeros((2, 2)), 2, "slot"), "mask: .*with a weight that stays"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        balance(*given)
