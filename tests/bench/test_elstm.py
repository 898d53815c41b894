"""The benchmark of E-LSTM: masks of exact counts, and the volumes that the paper tells of."""

import numpy as np

from bench.elstm import volumes, weights


def test_masks_have_exactly_the_published_sparsity():
    matrix = weights(np.random.default_rng(0), 512, 28, 0.3)
    assert (matrix == 0).sum() == round(512 * 28 * 0.3)


def test_esell_is_larger_than_dense_below_22_percent():
    rng = np.random.default_rng(0)
    for sparsity, smaller in ((0.2, False), (0.24, True)):
        bits = volumes(weights(rng, 256, 256, sparsity))
        assert (bits["esell"] < bits["dense"]) == smaller
        assert bits["bitmap"] < bits["esell"] < bits["csc"]
