"""The cases example: raw counts for inputs, cell states beyond 60, on countries that took no part in training."""

from pathlib import Path

import numpy as np
import pytest

from lstm_hw.machine.formats import QFormat
from lstm_hw.model.load import load
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference

FOLDER = Path(__file__).parents[2] / "examples" / "cases"


@pytest.fixture(scope="module")
def cases():
    """Model, held-out inputs, labels, calibration inputs."""
    with np.load(FOLDER / "test.npz", allow_pickle=False) as data:
        return load(FOLDER / "model.safetensors"), data["x"], data["labels"], data["calibration"]


def mean_error(qmodel, x, labels):
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    return np.abs(qmodel.dequantize_output(outputs) - labels).mean()


def test_the_data_are_what_the_page_says(cases):
    model, x, labels, calibration = cases
    assert model.hidden_sizes == (24,) and model.input_size == 1 and model.head_every_step
    assert x.shape == labels.shape == (61, 84, 1) and calibration.shape == (140, 84, 1)
    np.testing.assert_allclose(labels, np.log10(1 + np.maximum(np.cumsum(x, axis=1), 0)), rtol=1e-6)
    trace = {}
    float_reference(model, calibration, trace=trace)
    assert calibration.max() == 20341 and np.abs(trace[0]["c"]).max() > 60


def test_formats_that_follow_the_data(cases):
    """Right with the formats that are chosen; wrong, and seen to be, with a c and weights as they used to be."""
    model, x, labels, calibration = cases
    exact = np.abs(float_reference(model, x)[0] - labels).mean()
    assert exact < 0.007
    qmodel = quantize(model, calibration)
    assert qmodel.layers[0].cell.integer >= 6 and max(qmodel.layers[0].lifts) > 0
    assert mean_error(qmodel, x, labels) < exact + 0.001
    narrow = QuantConfig(cell=QFormat(3, 12), preact=QFormat(3, 12), fractions="shared", rounding="nearest")
    assert mean_error(quantize(model, calibration, narrow), x, labels) > 0.5
