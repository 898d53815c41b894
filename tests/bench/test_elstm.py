"""The benchmark of E-LSTM: masks of exact counts, and the volumes that the paper tells of."""

import numpy as np
import pytest

from bench.elstm import (
    BASELINE,
    MEMORY,
    best_plan,
    compressed_plan,
    cycle_rows,
    elstm_cycles,
    masks,
    volumes,
    weights,
)
from bench.workloads import workload
from lstm_hw.machine.esell import encode
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.proof.count import count_cycles


def test_masks_have_exactly_the_published_sparsity():
    matrix = weights(np.random.default_rng(0), 512, 28, 0.3)
    assert (matrix == 0).sum() == round(512 * 28 * 0.3)


def test_esell_is_larger_than_dense_below_22_percent():
    rng = np.random.default_rng(0)
    for sparsity, smaller in ((0.2, False), (0.24, True)):
        bits = volumes(weights(rng, 256, 256, sparsity))
        assert (bits["esell"] < bits["dense"]) == smaller
        assert bits["bitmap"] < bits["esell"] < bits["csc"]


def test_equation_of_fused_layers():
    """The published baseline and speed-ups of a layer, from the words of random masks."""
    for name in ("mnist_1", "mnist_2"):
        fused, *_ = cycle_rows(name)
        assert fused.ours == pytest.approx(fused.published, rel=0.05)
    layer = workload("mnist_1")
    words = [int(encode(matrix)[1].sum()) for matrix in masks(layer)]
    assert elstm_cycles(*words, layer.steps, 1) == pytest.approx(BASELINE["mnist_1"] * 1e6, rel=0.05)
    # One step is W_x and W_h, one after the other.
    assert elstm_cycles(100, 40, 1, 1) == 140


def test_a_layer_on_the_smallest_engine():
    """More steps than a batch: the batch that takes the fewest cycles."""
    shape = LayerShape("lstm", 28, 32, 15)
    plan, cycles = best_plan(Network((shape,)), 8)
    assert plan.config.rows == 12 and plan.config.weight_words == plan.needs["weight_words"]
    assert cycles <= count_cycles(compressed_plan(Network((shape,)), 2), 8, memory=MEMORY).cycles
