"""Patterns: the golden block, exact counts whatever the weights, ties, projections, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.prune import (
    BankBalanced,
    BlockCirculant,
    ColumnBalanced,
    LoadBalanced,
    NOfM,
    RowBalanced,
    Unstructured,
)

GOLDEN = np.array(
    [
        [0.3, 0.1, 0.2, -0.1, 0.4, -0.5, 0.2, 0.6],
        [0.3, 0.4, 0.6, 0.1, 0.3, 0.2, 0.5, -0.5],
        [0.7, 0.8, -0.6, 0.6, -0.2, 0.5, 0.3, 0.1],
        [0.2, -0.6, 0.6, 0.5, 0.1, 0.2, 0.3, 0.7],
    ]
)
"""The block of the publications on bank-balanced sparsity (Cao et al., FPGA 2019): two banks of 4, 2 kept."""
KEPT = [[0.3, 0.2, -0.5, 0.6], [0.4, 0.6, 0.5, -0.5], [0.7, 0.8, 0.5, 0.3], [-0.6, 0.6, 0.3, 0.7]]


@pytest.mark.parametrize("pattern", [BankBalanced(4, 2), NOfM.parse("2:4")])
def test_golden_bank_balanced_block(pattern):
    mask = pattern.mask(GOLDEN)
    assert GOLDEN[mask].reshape(4, 4).tolist() == KEPT
    np.testing.assert_array_equal(pattern.project(GOLDEN), np.where(mask, GOLDEN, 0))
    pattern.check_mask(mask, "0.w_h")
    pattern.check_weights(pattern.project(GOLDEN), "0.w_h")


def by_hand(pattern, shape):
    """Positions of each group, and how many of them stay, by the definition in words."""
    rows, columns = range(shape[0]), range(shape[1])
    every = [(r, c) for r in rows for c in columns]

    def group(key):
        keys = sorted({key(r, c) for r, c in every})
        return [[place for place in every if key(*place) == wanted] for wanted in keys]

    if isinstance(pattern, Unstructured):
        return group(lambda r, c: 0)
    if isinstance(pattern, RowBalanced):
        return group(lambda r, c: r)
    if isinstance(pattern, ColumnBalanced):
        return group(lambda r, c: (r % pattern.parts, c))
    if isinstance(pattern, LoadBalanced):
        return group(lambda r, c: r % pattern.parts)
    if isinstance(pattern, BlockCirculant):
        k = pattern.block
        return group(lambda r, c: (r // k, c // k, (r - c) % k))
    return group(lambda r, c: (r, c // pattern.bank))


SHARES = st.sampled_from([0, 0.1, 0.3, 1 / 3, 0.5, 0.7, 0.875, 0.9, 0.94, 0.999])


@st.composite
def cases(draw):
    """A pattern and a matrix that it divides, with many equal magnitudes."""
    size = draw(st.integers(1, 5))
    rows, columns = size * draw(st.integers(1, 4)), size * draw(st.integers(1, 4))
    keep, sparsity = draw(st.integers(1, size)), draw(SHARES)
    pattern = draw(
        st.sampled_from(
            [
                Unstructured(sparsity),
                RowBalanced(sparsity),
                ColumnBalanced(size, sparsity),
                LoadBalanced(size, sparsity),
                BankBalanced(size, keep),
                NOfM(keep, size),
            ]
        )
    )
    levels = draw(st.sampled_from([1, 3, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return pattern, rng.integers(-levels, levels + 1, (rows, columns)) / 8, sparsity


@given(cases())
def test_every_group_keeps_its_exact_count_of_the_largest(case):
    pattern, weights, sparsity = case
    mask = pattern.mask(weights)
    groups = by_hand(pattern, weights.shape)
    for places in groups:
        size = np.array([abs(weights[place]) for place in places])
        stays = np.array([mask[place] for place in places])
        if isinstance(pattern, BankBalanced | NOfM):
            count = pattern.keep
        else:  # the fewest that are not sparser than asked
            count = next(n for n in range(1, len(places) + 1) if (len(places) - n) / len(places) <= sparsity + 1e-12)
        assert stays.sum() == count
        assert size[stays].min() >= size[~stays].max(initial=0)
        tied = np.flatnonzero(size == size[stays].min())  # the first of equal ones stay
        assert list(stays[tied]) == sorted(stays[tied], reverse=True)
    assert pattern.saved(weights.shape) == pytest.approx(1 - mask.mean())
    pattern.check_mask(mask, "0.w_x")
    pruned = pattern.project(weights)
    np.testing.assert_array_equal(pattern.project(pruned), pruned)  # once is enough


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(0, 100))
def test_block_circulant_is_the_nearest(block, down, right, seed):
    weights = np.random.default_rng(seed).normal(size=(down * block, right * block))
    pattern = BlockCirculant(block)
    found = pattern.project(weights)
    for places in by_hand(pattern, weights.shape):
        values = [found[place] for place in places]
        assert len(places) == block and len(set(values)) == 1
        assert values[0] == pytest.approx(np.mean([weights[place] for place in places]))
    np.testing.assert_array_equal(pattern.project(found), found)
    pattern.check_weights(found, "0.w_h")
    first = found[:block, :block]
    for row in range(1, block):
        np.testing.assert_array_equal(first[row], np.roll(first[row - 1], 1))


def test_masks_follow_from_the_weights_alone():
    ones = np.ones((4, 6))
    assert NOfM(1, 3).mask(ones)[:, [0, 3]].all() and NOfM(1, 3).mask(ones).sum() == 8
    assert ColumnBalanced(2, 0.5).mask(ones).tolist() == [[True] * 6] * 2 + [[False] * 6] * 2
    assert Unstructured(0.5).mask(-ones).tolist() == [[True] * 6] * 2 + [[False] * 6] * 2


@pytest.mark.parametrize(
    "pattern, message",
    [
        (BankBalanced(5, 2), r"prune.bank: 0.w_x: 5; must divide its 12 columns, as 1, 2, 3, 4, 6, 12 do; or leave .*"),
        (NOfM(1, 8), r'prune.pattern: 0.w_x: 8; must divide its 12 columns.*prune.skip = \["0.w_x"\]'),
        (ColumnBalanced(64, 0.9), r"prune.parts: 0.w_x: 64; must divide its 32 rows, as 1, 2, 4, 8, 16, 32 do"),
        (LoadBalanced(3, 0.9), r"prune.parts: 0.w_x: 3; must divide its 32 rows"),
        (BlockCirculant(8), r"prune.block: 0.w_x: 8; must divide its 12 columns, as 1, 2, 4 do"),
    ],
)
def test_a_pattern_that_does_not_divide(pattern, message):
    for refused in (pattern.check, lambda shape, name: pattern.check_weights(np.zeros(shape), name)):
        with pytest.raises(ConfigError, match=message):
            refused((32, 12), "0.w_x")


@pytest.mark.parametrize(
    "pattern, place",
    [
        (Unstructured(0.5), "of 96 weights are kept in the matrix"),
        (RowBalanced(0.5), "of 12 weights are kept in row 5"),
        (ColumnBalanced(4, 0.5), "of 2 weights are kept in column 7, rows 1 mod 4"),
        (LoadBalanced(4, 0.5), "of 24 weights are kept in rows 1 mod 4"),
        (BankBalanced(4, 2), "of 4 weights are kept in row 5, columns 4 to 7"),
    ],
)
def test_a_mask_that_is_not_balanced_as_claimed(pattern, place):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 12))
    weights[5, 7] = 0  # goes
    pruned, mask = pattern.project(weights), pattern.mask(weights)
    assert not mask[5, 7]
    mask[5, 7], pruned[5, 7] = True, 1
    for check in (lambda: pattern.check_mask(mask, "1.w_h"), lambda: pattern.check_weights(pruned, "1.w_h")):
        with pytest.raises(ModelError, match=place) as error:
            check()
        assert "1.w_h" in str(error.value) and str(pattern) in str(error.value)
    pruned[5] = 0  # fewer than it may have are no fault of weights, but of a mask
    pattern.check_weights(pruned, "1.w_h")
    with pytest.raises(ModelError, match="must be exactly"):
        pattern.check_mask(pruned != 0, "1.w_h")


def test_a_matrix_that_is_not_circulant():
    weights = BlockCirculant(4).project(np.arange(96.0).reshape(8, 12))
    weights[5, 7] = 100
    with pytest.raises(
        ModelError, match="1.w_h: weights from .* to 100 on diagonal 2 of the block at row 4, column 4;"
    ):
        BlockCirculant(4).check_weights(weights, "1.w_h")


@pytest.mark.parametrize("weights", [np.zeros(4), np.zeros((0, 4)), np.array([["a"]]), np.array([[np.nan]])])
def test_what_is_no_matrix(weights):
    with pytest.raises(ModelError, match="must be"):
        Unstructured(0.5).mask(weights)
