"""The digits example: what quantisation costs on images that took no part in training."""

from pathlib import Path

import numpy as np
import pytest

from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.load import load
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference

FOLDER = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits():
    """Model, held-out inputs, labels, calibration inputs."""
    with np.load(FOLDER / "test.npz", allow_pickle=False) as data:
        scale = float(data["input_scale"])
        assert data["x"].dtype == data["labels"].dtype == data["calibration"].dtype == np.uint8
        assert data["x"].max() == 16 and scale == 1 / 16
        return load(FOLDER / "model.safetensors"), data["x"] * scale, data["labels"], data["calibration"] * scale


def accuracy(scores, labels):
    return np.mean(scores.argmax(axis=1) == labels)


def test_float_accuracy(digits):
    model, x, labels, calibration = digits
    assert len(x) >= 360 and len(calibration) == 64
    assert accuracy(float_reference(model, x)[0], labels) >= 0.98


def test_calibration_and_test_images_are_different(digits):
    _, x, _, calibration = digits
    held_out = {image.tobytes() for image in x}
    assert not any(image.tobytes() in held_out for image in calibration)


@pytest.mark.parametrize(
    ("weight_bits", "operand_bits", "activation", "mean_error"),
    [
        # Five LSB of h with 16-bit weights; with 8-bit ones, what rounding weights to 1/32 costs.
        (16, 16, "quadratic64", 5 * 2.0**-15),
        (16, 16, "quadratic128", 5 * 2.0**-15),
        (16, 16, "pwl", 5 * 2.0**-15),
        (8, 16, "quadratic64", 0.015),
        (8, 8, "quadratic64", 0.015),
    ],
)
def test_integer_accuracy(digits, weight_bits, operand_bits, activation, mean_error):
    model, x, labels, calibration = digits
    config = QuantConfig(weight_bits=weight_bits, operand_bits=operand_bits, activation=activation)
    qmodel = quantize(model, calibration, config)
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    assert abs(accuracy(outputs, labels) - accuracy(float_reference(model, x)[0], labels)) <= 0.005
    report, _ = quantization_report(model, qmodel, x)
    assert report["layers"][0]["h"]["mean"] < mean_error
    assert report["layers"][0]["pre"]["clipped"] < 0.001
