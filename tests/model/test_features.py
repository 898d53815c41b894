"""Features that the host computes: their numbers, and what there is none of."""

import numpy as np
import pytest

import lstm_hw
from lstm_hw.errors import ConfigError, InputError
from lstm_hw.project.inputs import inputs_of
from lstm_hw.project.keys import DataSection

X = np.random.default_rng(1).normal(size=(2, 5, 3))
A, B, C = np.moveaxis(X, -1, 0)
WANTED = {
    "x2": C,
    "abs(x0, x1)": np.abs(A + 1j * B),
    "abs(x0,x1)^3": np.abs(A + 1j * B) ** 3,
    "abs(x2)": np.abs(C),
    "abs(x0, x1, x2)^2": A * A + B * B + C * C,
    "sin(x0, x1)": np.sin(np.arctan2(B, A)),
    "cos( x1 , x2 )": np.cos(np.arctan2(C, B)),
    "x1^9": B**9,
}


def test_the_numbers():
    found = lstm_hw.features(X, list(WANTED))
    np.testing.assert_allclose(found, np.stack(list(WANTED.values()), -1), rtol=1e-12)
    small = (X * 100).astype(np.int8)
    np.testing.assert_array_equal(lstm_hw.features(small, ["x0^2"])[..., 0], small[..., 0].astype(float) ** 2)


@pytest.mark.parametrize(
    "name", ["", "x", "y0", "x-1", "x01", "x0^0", "x0^10", "abs()", "abs(x0,)", "sin(x0)", "cos(x0, x1, x2)", "log(x0)"]
)
def test_a_feature_that_there_is_not(name):
    with pytest.raises(ConfigError, match=r"^data.features: '.*'; must be an input as x0, abs\(x0, x1\), sin"):
        DataSection(path="a.npz", features=("x0", name))


@pytest.mark.parametrize(
    "x, message",
    [
        (X[..., :2], "x: 2 inputs; must be 3 at least, which the features read"),
        (X[0], r"x: shape \(5, 3\) of float64; must be real numbers \(sequences, steps, inputs\)"),
        (np.where(np.arange(5)[:, None] == 3, np.inf, X), "x: NaN or infinity; must be finite"),
        (np.where(np.arange(5)[:, None] == 3, 0, X), r"x: sin\(x2, x0\) of zeros in sequence 0, step 3; .*no angle"),
    ],
)
def test_x_that_has_none(x, message):
    with pytest.raises(InputError, match=message):
        lstm_hw.features(x, ["x1", "sin(x2, x0)"])


def test_of_a_file(tmp_path):
    """Behind the scale of what is stored; the file has other numbers of inputs than the model."""
    path, names = tmp_path / "a.npz", ("x1", "abs(x0, x2)")
    np.savez(path, x=X, calibration=2 * X)
    data = inputs_of(DataSection(path="a.npz", features=names, input_scale=0.5, images=1), path, 2)
    np.testing.assert_array_equal(data.x, lstm_hw.features(X[:1] / 2, names))
    np.testing.assert_array_equal(data.calibration, lstm_hw.features(X, names))
    with pytest.raises(ConfigError, match="data.features: 2 features; must be the 3 inputs of the model"):
        inputs_of(DataSection(path="a.npz", features=names), path, 3)
    with pytest.raises(InputError, match="a.npz: calibration: data.features: 3 inputs; must be 8 at least"):
        inputs_of(DataSection(path="a.npz", features=("x7",)), path, 1)
    with pytest.raises(ConfigError, match="data.features: .*; must not be given beside data.random"):
        DataSection(random=3, features=names)
