"""Bidirectional layers: what is made of weights around them, their numbers, their file, and what they may not have."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError, ModelError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.budget import error_budget
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.fine_tune import FineTune
from lstm_hw.model.float_model import FloatModel
from lstm_hw.model.fold import folded
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.sizing import network_of
from lstm_hw.prune.apply import prune
from lstm_hw.prune.settings import PruneConfig

from ..projects import float_model

MODES = ("final_state", "every_step", "last_step", "none")


def both(mode="every_step", units=4, seed=1):
    rng = np.random.default_rng(seed)
    forward, backward = (float_model(rng, hidden=(units,), outputs=0).layers for _ in range(2))
    head = float_model(rng, inputs=1, hidden=(2 * units,), outputs=2).head
    linear = [] if mode == "none" else [head]
    return in_parts([Part(forward, backward)], linear, "every_step" if mode == "none" else mode)


@pytest.fixture
def x():
    return np.random.default_rng(2).uniform(-1, 1, (3, 6, 3))


@pytest.mark.parametrize("mode", MODES)
def test_two_models_of_one_direction_are_the_same(x, mode):
    rng = np.random.default_rng(1)
    ways = [FloatModel(float_model(rng, hidden=(4,), outputs=0).layers) for _ in range(2)]
    head = float_model(rng, inputs=1, hidden=(8,), outputs=2).head
    forward, backward = (float_reference(way, part)[0] for way, part in zip(ways, (x, x[:, ::-1]), strict=True))
    h = np.concatenate([forward, backward[:, ::-1]], axis=2)
    if mode != "none":
        h = {
            "final_state": np.concatenate([forward[:, -1], backward[:, -1]], axis=1),
            "every_step": h,
            "last_step": h[:, -1],
        }[mode]
        h = h @ head.weight.T + head.bias
    np.testing.assert_allclose(float_reference(both(mode), x)[0], h, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_numbers(tmp_path, x, mode):
    """Errors, and the budget of all places, are those of the network's outputs; the file keeps the arrangement."""
    model = both(mode)
    qmodel = quantize(model, x)
    qmodel.save(tmp_path / "q.safetensors")
    kept = QuantModel.load(tmp_path / "q.safetensors")
    assert kept.digest() == qmodel.digest() and kept.arrangement == model.arrangement
    stored = kept.quantize_input(x)
    assert stored.shape == (3, 6, 6) and np.array_equal(stored[..., 3:], stored[:, ::-1, :3])
    sent, _ = integer_reference(kept, stored)
    real, expected = kept.dequantize_output(sent), float_reference(model, x)[0]
    assert real.shape == expected.shape
    np.testing.assert_allclose(real, expected, atol=5e-4)
    report, (exact, found) = quantization_report(model, qmodel, 4 * x)
    assert exact.shape == expected.shape and np.array_equal(
        found, integer_reference(kept, kept.quantize_input(4 * x))[0]
    )
    assert report["input"]["clipped"] == np.mean(kept.input_format.count_clipped(4 * x)) / x.size > 0
    budget = error_budget(model, qmodel, x)
    assert budget["all"]["max"] == pytest.approx(np.abs(real - expected).max(), rel=1e-6)


@pytest.mark.parametrize("mode", MODES[:3])
def test_what_happens_around_goes_into_the_weights(x, mode):
    model = both(mode)
    scale, offset, out, added = (2.0, 0.5, -1.0), (0.1, 0.2, 0.3), (3.0, -2.0), (1.0, 2.0)
    found = folded(model, scale, offset, out, added, {"1": 0.25})
    outside = np.delete(x, 1, axis=2)
    inside = np.insert(outside, 1, 0.25, axis=2) * scale + offset
    expected = float_reference(model, inside)[0] * out + added
    np.testing.assert_allclose(float_reference(found, outside)[0], expected, atol=1e-12)
    assert (found.input_size, found.output_size) == (2, 2)


def test_inputs_of_unlike_range(x):
    """Powers of two are the same of both halves."""
    x = x * (1, 1e-3, 30)
    qmodel = quantize(both(), x)
    assert qmodel.input_exponents[:3] == qmodel.input_exponents[3:] and any(qmodel.input_exponents)


def test_what_cannot_be(x):
    model, other = both(), both("none")
    qmodel = quantize(model, x)
    with pytest.raises(InputError, match=r"shape \(3, 6, 6\); must end with 3"):
        qmodel.quantize_input(np.concatenate([x, x], axis=2))
    with pytest.raises(ConfigError, match="for a network that reads x both; must be for one that reads x forward"):
        FineTune(model, qmodel)
    with pytest.raises(ConfigError, match="prune: for a network that reads x both"):
        prune(model, PruneConfig())
    with pytest.raises(ModelError, match="input_exponents: .* must be the same of both ends"):
        replace(qmodel, input_exponents=(0, 1, 2, 0, 1, 3))
    with pytest.raises(ModelError, match="skip: of x that is read both; must be of a network that works step by step"):
        model.with_skip(np.ones((4, 3)))
    with pytest.raises(ModelError, match="outputs of two directions apart; must be as many of each, without a head"):
        replace(model, arrangement=Arrangement("both", "apart"))
    with pytest.raises(ModelError, match="outputs of two directions that are added; must be those of one linear"):
        replace(other, arrangement=Arrangement("both", "added"))
    with pytest.raises(ModelError, match="outputs of a head on the last step; must be sent as they are"):
        replace(both("final_state"), arrangement=Arrangement("both", "backward"))
    odd = float_model(np.random.default_rng(1))
    with pytest.raises(ModelError, match="3 inputs of the first layer; must be even where x is read from both ends"):
        replace(odd, arrangement=Arrangement("both", "sent"))


@pytest.mark.parametrize("mode, share", [("final_state", 1), ("every_step", 2)])
def test_zeros_between_the_directions_are_no_work(x, mode, share):
    """Of 4 sums of 8 units that read 6 inputs and 8 h, half; of a head whose halves are added, half too."""
    network = network_of(quantize(both(mode), x), 16)
    assert [layer.macs for layer in network.layers] == [4 * 8 * (6 + 8) // 2, 2 * share * 8 // share]
