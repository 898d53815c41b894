"""The benchmark of E-LSTM: masks of exact counts, and the volumes that the paper tells of."""

import numpy as np
import pytest

from bench import elstm
from bench.elstm import (
    BASELINE,
    KINDS,
    MEMORY,
    STACK,
    best_plan,
    cycle_rows,
    elstm_cycles,
    esell_words,
    layer_plan,
    planned,
    published_rows,
    quantised,
    volumes,
    weights,
)
from bench.workloads import workload
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
        fused, batch = published_rows(name)
        assert fused.ours == pytest.approx(fused.published, rel=0.05)
        assert fused.ours < elstm_cycles(*esell_words(name), workload(name).steps, 1) and batch.ours > 2
    layer = workload("mnist_1")
    assert elstm_cycles(*esell_words("mnist_1"), layer.steps, 1) == pytest.approx(BASELINE["mnist_1"] * 1e6, rel=0.05)
    # One step is W_x and W_h, one after the other.
    assert elstm_cycles(100, 40, 1, 1) == 140


def test_a_layer_on_the_smallest_engine():
    """More steps than a batch: the batch that takes the fewest cycles."""
    shape = LayerShape("lstm", 28, 32, 15)
    network, (planner, _, fields) = Network((shape,)), KINDS["bitmap"]
    plan, cycles = best_plan(planner, network, 8, **fields)
    assert plan.config.rows == 12 and plan.config.weight_words == plan.needs["weight_words"]
    assert cycles <= count_cycles(planned(planner, network, 2, **fields), 8, memory=MEMORY).cycles


def test_best_plan_of_even_batches():
    """Odd ones, which the schedule refuses, are passed over."""
    network = Network((LayerShape("lstm", 40, 32, 15),))
    planner, _, fields = KINDS["bitmap_sacc"]
    plan, cycles = best_plan(planner, network, 8, **fields)
    two, four = (count_cycles(planned(planner, network, n, **fields), 8, memory=MEMORY).cycles for n in (2, 4))
    assert plan.batch > 2 and cycles <= four < two


def test_layers_on_one_another(monkeypatch):
    """Both have their masks, in one plan."""
    monkeypatch.setattr(elstm, "BATCHES", (2,))
    qmodel, x = quantised(*STACK)
    plan = layer_plan(STACK, "bitmap_all_of_h", qmodel, x[:, :2])
    assert [shape.used[1].mean() for shape in plan.network.recurrent] == pytest.approx([0.5, 0.6], abs=1e-4)
    assert sum(tile.columns for tile in plan.image.tiles if tile.part != "bias") == 28 + 3 * 128


def test_every_row_of_a_layer():
    """The kinds of the smallest layer: eSELL has more beats, and W_h of two steps has fewer."""
    kinds = ("esell", "bitmap", "bitmap_sacc")
    found = {row.config: row.ours for row in cycle_rows("mnist_1", kinds, 301_746) if row.metric == "cycles"}
    esell, bitmap, sacc = (found[f"mnist_1/{kind}"] for kind in kinds)
    assert sacc < bitmap < min(esell, 301_746)
