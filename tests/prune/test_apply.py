"""Pruning a model: patterns of W_x and W_h, what quantisation keeps of it, settings and their errors."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ModelError, VerificationError
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.prune import PruneConfig, RowBalanced, check_pruned, check_quantized, prune, quantizing
from tests.projects import float_model


@pytest.fixture
def model():
    return float_model(np.random.default_rng(1), 8, (16, 8))


def test_different_ratios_for_w_x_and_w_h(model):
    """As BRDS prunes; the first layer's W_x stays."""
    config = PruneConfig("row_balanced", sparsity=[0.5, 0.75], skip=["0.w_x"])
    pruned = prune(model, config)
    assert [m.name for m in pruned.matrices] == ["0.w_x", "0.w_h", "1.w_x", "1.w_h"]
    assert [m.asked for m in pruned.matrices] == [0, 0.75, 0.5, 0.75]
    assert [m.saved for m in pruned.matrices] == [m.zeros for m in pruned.matrices] == [0, 0.75, 0.5, 0.75]
    np.testing.assert_array_equal(pruned.model.layers[0].w_x, model.layers[0].w_x)
    np.testing.assert_array_equal(pruned.model.layers[1].w_h, RowBalanced(0.75).project(model.layers[1].w_h))
    np.testing.assert_array_equal(pruned.model.layers[1].bias, model.layers[1].bias)
    assert pruned.model.head is model.head and list(pruned.masks) == ["0.w_h", "1.w_x", "1.w_h"]
    again = prune(pruned.model, config)
    for kept, found in zip(pruned.matrices, again.matrices, strict=True):
        np.testing.assert_array_equal(kept.weights, found.weights)
    check_pruned(pruned.model, config)


def test_what_is_asked_and_what_whole_weights_allow(model):
    pruned = prune(model, PruneConfig(["dense", "column_balanced"], parts=16, sparsity=0.94))
    assert [(m.asked, m.saved) for m in pruned.matrices] == [(0, 0), (0.94, 0.75), (0, 0), (0.94, 0.5)]


def test_a_model_that_is_not_pruned_as_it_says(model):
    done = PruneConfig("2:4", done=True)
    pruned = prune(model, replace(done, done=False)).model
    assert prune(pruned, done).matrices[0].saved == 0.5
    fewer = replace(pruned.layers[1], w_h=np.zeros_like(pruned.layers[1].w_h))  # as training may leave it
    prune(replace(pruned, layers=(pruned.layers[0], fewer)), done)
    weights = np.array(pruned.layers[1].w_h)
    weights[3, 4:7] = 1
    broken = replace(pruned, layers=(pruned.layers[0], replace(pruned.layers[1], w_h=weights)), source="m.safetensors")
    message = r"m.safetensors: 1.w_h: [34] of 4 weights are kept in row 3, columns 4 to 7; must be at most 2 for 2:4"
    for refused in (prune, check_pruned):
        with pytest.raises(ModelError, match=message):
            refused(broken, done)


@pytest.mark.parametrize("rounding", ["nearest", "compensated"])
@pytest.mark.parametrize("bits", [16, 4])
def test_zeros_stay_zeros_when_rounded(model, rounding, bits):
    """Also where others make up for what rounding takes."""
    pruned = prune(model, PruneConfig("unstructured", sparsity=0.6))
    x = np.random.default_rng(0).standard_normal((16, 6, 8))
    qmodel = quantize(pruned.model, x, QuantConfig(rounding=rounding, weight_bits=bits))
    check_quantized(qmodel, pruned)
    stored = np.array(qmodel.layers[0].w_h)
    stored[~pruned.masks["0.w_h"]] = 1
    broken = replace(qmodel, layers=(replace(qmodel.layers[0], w_h=stored), qmodel.layers[1]))
    with pytest.raises(VerificationError, match="0.w_h as quantised: 614 pruned weights are not 0"):
        check_quantized(broken, pruned)


def test_equal_weights_stay_equal_when_rounded(model):
    pruned = prune(model, PruneConfig("block_circulant", block=4))
    assert [m.saved for m in pruned.matrices] == [0.75] * 4 and not pruned.masks
    x = np.random.default_rng(0).standard_normal((16, 6, 8)) * np.array([1, 1e4, 1, 1, 1, 1, 1, 1])
    for bits in (16, 4):
        config = quantizing(QuantConfig(weight_bits=bits), pruned)
        check_quantized(quantize(pruned.model, x, config), pruned)
    with pytest.raises(ModelError, match="quantised model: 0.w_x: .*must be equal"):  # without it, they do not
        check_quantized(quantize(pruned.model, x, QuantConfig(weight_bits=4)), pruned)
    for given in ({"rounding": "compensated"}, {"fractions": "row"}):
        with pytest.raises(ConfigError, match=f"quantize.{next(iter(given))}: .*block_circulant' .0.w_x."):
            quantizing(QuantConfig(**given), pruned)
    masked = prune(model, PruneConfig("2:4"))
    assert quantizing(config, masked) is config


@pytest.mark.parametrize(
    "given, message",
    [
        ({"pattern": "magic"}, "prune.pattern: 'magic'; must be one of \"unstructured\""),
        ({"pattern": "N:M"}, "prune.pattern: 'N:M'; must be one of"),
        ({"pattern": 3}, "prune.pattern: 3; must be one of"),
        ({"pattern": "5:4"}, "prune.pattern: '5:4'; must be N:M with N from 1 to M"),
        ({"pattern": "0:4"}, "prune.pattern: '0:4'; must be N:M"),
        ({"pattern": ["dense"]}, r"prune.pattern: \['dense'\]; must be one value, or a list of two"),
        ({"pattern": "unstructured"}, "prune.sparsity: missing; must be given for unstructured: share"),
        ({"pattern": "unstructured", "sparsity": 1.0}, "prune.sparsity: 1.0; must be a number, at least 0 and below 1"),
        ({"pattern": "row_balanced", "sparsity": [0.5, -0.1]}, "prune.sparsity: -0.1; must be"),
        ({"pattern": "row_balanced", "sparsity": [0.5] * 3}, "prune.sparsity: .*must be one value, or a list of two"),
        ({"pattern": "bank_balanced", "bank": 8}, "prune.keep: missing; must be given for bank_balanced"),
        (
            {"pattern": "bank_balanced", "bank": 8, "keep": 9},
            "prune.keep: 9; must be an integer from 1 to prune.bank = 8",
        ),
        ({"pattern": "bank_balanced", "bank": 0, "keep": 1}, "prune.bank: 0; must be an integer from 1"),
        ({"pattern": "2:4", "sparsity": 0.5}, "prune.sparsity: 0.5; must be for unstructured, row_balanced"),
        ({"pattern": "column_balanced", "parts": 1.5, "sparsity": 0.5}, "prune.parts: 1.5; must be an integer"),
        ({"pattern": "2:4", "skip": "0.w_x"}, "prune.skip: '0.w_x'; must be a list of matrices"),
        ({"pattern": "2:4", "done": 1}, "prune.done: 1; must be true or false"),
        ({"sparsity": 0.5}, "prune.sparsity: 0.5; must be for unstructured, .* prune.pattern is 'dense'"),
        ({"pattern": "2:4", "kep": 1}, "prune.kep: unknown key; must be one of pattern, sparsity"),
    ],
)
def test_settings_that_break_a_rule(given, message):
    with pytest.raises(ConfigError, match=message):
        PruneConfig.from_dict(given)


def test_errors_of_a_model_name_the_matrix(model):
    with pytest.raises(ConfigError, match="prune.skip: '2.w_x'; must be of 0.w_x, 0.w_h, 1.w_x, 1.w_h"):
        prune(model, PruneConfig("2:4", skip=("2.w_x",)))
    with pytest.raises(ConfigError, match="prune.bank: 0.w_x: 16; must divide its 8 columns, as 1, 2, 4, 8 do"):
        prune(model, PruneConfig("bank_balanced", bank=16, keep=2))
    given = {"pattern": ["2:4", "row_balanced"], "sparsity": [0.25, 0.5], "skip": ["0.w_x"]}
    assert PruneConfig.from_dict(PruneConfig.from_dict(given).to_dict()) == PruneConfig.from_dict(given)
