"""The vowels example: two stacked layers on utterances that took no part in training."""

from pathlib import Path

import numpy as np
import pytest

from lstm_hw.model.load import load
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference

FOLDER = Path(__file__).parents[2] / "examples" / "vowels"


@pytest.fixture(scope="module")
def vowels():
    """Model, held-out inputs, speakers, calibration inputs."""
    with np.load(FOLDER / "test.npz", allow_pickle=False) as data:
        return load(FOLDER / "model.safetensors"), data["x"], data["labels"], data["calibration"]


def test_the_data_are_what_the_page_says(vowels):
    model, x, speakers, calibration = vowels
    assert model.hidden_sizes == (96, 64) and model.input_size == 12 and model.output_size == 9
    assert x.shape == (370, 29, 12) and calibration.shape == (64, 29, 12)
    assert np.bincount(speakers).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    spoken = (x != 0).any(axis=2)
    assert spoken[:, -1].all() and (np.diff(spoken.astype(int), axis=1) >= 0).all(), "silence must be in front"
    held_out = {utterance.tobytes() for utterance in x}
    assert not any(utterance.tobytes() in held_out for utterance in calibration)


def test_accuracy(vowels):
    model, x, speakers, calibration = vowels
    exact, _ = float_reference(model, x)
    accuracy = np.mean(exact.argmax(axis=1) == speakers)
    assert accuracy >= 0.93
    qmodel = quantize(model, calibration, QuantConfig())
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    assert abs(np.mean(outputs.argmax(axis=1) == speakers) - accuracy) <= 0.005
    assert np.abs(qmodel.dequantize_output(outputs) - exact).mean() < 2e-3
