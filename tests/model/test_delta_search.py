"""Thresholds from data: within the bound, next to it, and in numbers that are stored as they were measured."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.model.delta import activity, with_thresholds
from lstm_hw.model.delta_search import products_left, search_thresholds
from lstm_hw.model.reference import integer_reference
from tests.delta import delta_model


def error_of(dense, x):
    wanted, _ = integer_reference(dense, x)

    def error(qmodel):
        return float(np.abs(integer_reference(qmodel, x)[0] - wanted).max()) / np.abs(wanted).max()

    return error


@pytest.mark.parametrize("sizes, bound", [((3, 10), 0.1), ((3, 8, 6), 0.2)])
def test_fewer_products_within_a_bound(sizes, bound):
    dense, _, x = delta_model(1, sizes)
    steps = []
    found = search_thresholds(
        dense, x, error_of(dense, x), bound, False, lambda done, total: steps.append(done / total)
    )
    chosen = with_thresholds(dense, found.x, found.h)
    assert found.figure == error_of(dense, x)(chosen) <= bound and found.dense_figure == 0
    assert found.activity == activity(chosen, x)
    assert (
        found.products
        == products_left(chosen, found.activity)
        < products_left(dense, activity(with_thresholds(dense, 0, [0] * len(dense.layers)), x))
    )
    assert steps == sorted(steps) and steps[-1] == 1
    assert search_thresholds(dense, x, error_of(dense, x), bound / 4, False).products > found.products


def test_no_loss_is_threshold_zero_or_nothing():
    dense, _, x = delta_model(2)
    found = search_thresholds(dense, x, error_of(dense, x), 0.0, False)
    assert found.figure == 0 and found.products <= 1
    with pytest.raises(ConfigError, match="bound of the thresholds: 0.99; must be at most 0.5, what the model has"):
        search_thresholds(dense, x, lambda qmodel: 0.5, 0.99, True)


def test_products_are_weighed_by_their_matrices():
    dense, _, _ = delta_model(3, (3, 10))
    assert products_left(dense, (1, 1)) == 1
    assert products_left(dense, (0.5, 0.1)) == pytest.approx((0.5 * 3 + 0.1 * 10) / 13)
