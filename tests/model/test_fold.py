"""Scales, offsets and held inputs in the weights: the same outputs as with them outside."""

import json

import numpy as np
import pytest

from bench import model_files
from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.model.float_model import skip_matrix
from lstm_hw.model.fold import folded
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference


@pytest.fixture
def model(random_model):
    return random_model(3, 4, (5, 6), outputs=2, every_step=True, skip=2)


def outputs(model, x):
    return float_reference(model, x)[0]


@pytest.mark.parametrize("each", [False, True])
def test_scales_and_offsets(model, each):
    rng = np.random.default_rng(1)
    given = {"input_scale": 4, "input_offset": 4, "output_scale": 2, "output_offset": 2}
    given = {name: tuple(rng.uniform(0.2, 2, count)) if each else 0.7 for name, count in given.items()}
    x = rng.standard_normal((3, 7, 4))
    scale, offset, gain, bias = (np.array(values) for values in given.values())
    wanted = outputs(model, x * scale + offset) * gain + bias
    np.testing.assert_allclose(outputs(folded(model, **given), x), wanted, atol=1e-12)


def test_held_inputs(model):
    """A knob is in the bias: the others are the inputs that are left, in their order."""
    x = np.random.default_rng(2).standard_normal((3, 7, 4))
    x[..., 1], x[..., 3] = 0.25, -1.5
    scale, offset = (2.0, 0.5, 1.0, 4.0), (0.1, 0.2, 0.3, 0.4)
    wanted = outputs(model, x * scale + offset)
    found = folded(model, input_scale=scale, input_offset=offset, held={"1": 0.25, "3": -1.5})
    assert (found.input_size, found.head.skip.shape) == (2, (2, 2))
    np.testing.assert_allclose(outputs(found, x[..., [0, 2]]), wanted, atol=1e-12)


@pytest.mark.parametrize(
    "given, error",
    [
        ({"input_scale": (1.0, 2.0)}, "model.input_scale: .*one for each of 4 inputs"),
        ({"input_scale": 0.0}, "model.input_scale: 0.0; must not be 0"),
        ({"output_offset": (1.0, 2.0, 3.0)}, "model.output_offset: .*one for each of 2 outputs"),
        ({"input_offset": np.inf}, "must be a finite number"),
        ({"held": {"4": 1.0}}, "model.held: '4'; must be the number of an input, 0 to 3"),
        ({"held": {"gain": 1.0}}, "model.held: 'gain'"),
        ({"held": {"1": 1.0, "01": 2.0}}, "model.held: '01'; must be the number of an input"),
        ({"held": {"0": np.nan}}, "model.held: .*finite"),
        ({"held": dict.fromkeys("0123", 1.0)}, "model.held: all 4 inputs; must leave one"),
    ],
)
def test_what_they_must_be(model, given, error):
    with pytest.raises(ConfigError, match=error):
        folded(model, **given)


def test_outputs_of_a_model_without_a_head(random_model):
    with pytest.raises(ConfigError, match="model.output_scale: for a model without a linear layer"):
        folded(random_model(3, 4, (5,)), output_scale=2.0)


def test_gains_and_options_of_a_file(tmp_path):
    """AIDA-X: x times its gain, then the network and the skip, then the gain of the outputs."""
    given, path = model_files.tensors(), tmp_path / "m.json"
    path.write_bytes(model_files.rtneural_json(given, in_skip=1, in_gain=6.0, out_gain=-3))
    x = np.random.default_rng(3).standard_normal((2, 5, model_files.INPUTS))
    gained = x * [10**0.3, 1, 1]
    path_of_plain = tmp_path / "plain.json"
    path_of_plain.write_bytes(model_files.rtneural_json(given))
    wanted = (outputs(load(path_of_plain), gained) + gained[..., :1]) * 10**-0.15
    np.testing.assert_allclose(outputs(load(path), x), wanted, atol=1e-12)
    options = ReadOptions(output_scale=2.0, held={"2": 0.5})
    x[..., 2] = 0.5
    np.testing.assert_allclose(outputs(load(path, options), x[..., :2]), 2 * outputs(load(path), x), atol=1e-12)
    for gain in ("loud", 1000, True):
        path.write_text(json.dumps(json.loads(path_of_plain.read_text()) | {"in_gain": gain}))
        with pytest.raises(ModelError, match="in_gain: .*must be a number of dB"):
            load(path)


def test_a_skip_is_what_is_scaled_with_it(model):
    assert skip_matrix("m", 2, 4, 2).tolist() == model.head.skip.tolist()
    assert folded(model, input_scale=2.0, output_scale=3.0).head.skip.tolist() == (6 * model.head.skip).tolist()
