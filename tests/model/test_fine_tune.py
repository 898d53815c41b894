"""The trainable model gives the integer reference's bits, and training with it recovers what rounding lost."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import FormatError, ModelError
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from tests.projects import with_chain

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
torch.set_num_threads(1)
from lstm_hw.model.fine_tune import FineTune, distil  # noqa: E402  (needs torch)

CONFIGS = (
    {},
    {"weight_bits": 8},
    {"weight_bits": 5, "fractions": "row"},
    {"weight_bits": 8, "operand_bits": 8, "accumulator_bits": 32},
    {"cell": QFormat(11, 12)},
    {"preact": QFormat(2, 13), "cell": QFormat(2, 13), "activation": "pwl"},
)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def agree(tuned, x):
    """The outputs in real numbers, equal to those of the integer reference of the weights as they are."""
    qmodel = tuned.quantized()
    stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    found = tuned(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_array_equal(found, qmodel.dequantize_output(stored))
    return found


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: " ".join(map(str, config.values())) or "default")
@pytest.mark.parametrize("head", ["none", "last_step", "every_step", "chain"])
def test_forward_has_the_bits_of_the_hardware(random_model, rng, config, head):
    outputs = None if head == "none" else 3
    model = random_model(len(head), 4, (6, 5), outputs=outputs, every_step=head == "every_step", scale=1.5)
    model = replace(with_chain(model, True, ["relu"]), functions=("hard6", "tanh")) if head == "chain" else model
    x = 2 * rng.standard_normal((5, 9, 4))
    qmodel = quantize(model, x, QuantConfig(**config))
    tuned = FineTune(model, qmodel)
    assert tuned.quantized().digest() == qmodel.digest()
    agree(tuned, 1.5 * x)  # beyond the calibration set: x saturates too
    with torch.no_grad():  # as after training: weights anywhere, some beyond their format
        for value in tuned.parameters():
            value += 0.7 * torch.as_tensor(rng.standard_normal(value.shape))
    agree(tuned, x)
    # What it hands over is what it computed with.
    given = tuned.float_model()
    for layer, weights in zip(tuned.quantized().layers, given.layers, strict=True):
        np.testing.assert_array_equal(
            weights.w_h, layer.w_h_format.to_float(layer.w_h) / np.exp2(layer.row_shift)[:, None]
        )


@pytest.mark.parametrize("skip", [0, 3])
def test_scaled_inputs(random_model, rng, skip):
    scales = np.array([1.0, 1e4, 1.0, 0.1])
    model = random_model(3, 4, (6,), outputs=3, every_step=bool(skip), skip=skip)
    x = rng.standard_normal((6, 8, 4)) * scales
    first = model.layers[0]
    if skip:
        model = model.with_skip(model.head.skip / scales)
    model = replace(model, layers=(replace(first, w_x=first.w_x / scales),))
    qmodel = quantize(model, x)
    assert qmodel.input_exponents
    tuned = FineTune(model, qmodel)
    agree(tuned, x)
    error = np.abs(tuned.float_model().layers[0].w_x - model.layers[0].w_x) * scales
    assert error.max() < 1e-3
    if skip:
        np.testing.assert_allclose(tuned.float_model().head.skip * scales, model.head.skip * scales, atol=2e-3)


def test_distilling_wins_back_what_rounding_lost(random_model, rng):
    """Few bits, the float model's outputs as targets: the error falls to less than half, still bit for bit."""
    model, x = random_model(1, 3, (6,), outputs=2, every_step=True, scale=0.8), rng.standard_normal((32, 6, 3))
    exact, seen = float_reference(model, x)[0], []
    qmodel = quantize(model, x, QuantConfig(weight_bits=4, fractions="shared", rounding="nearest"))
    before = np.square(qmodel.dequantize_output(integer_reference(qmodel, qmodel.quantize_input(x))[0]) - exact).mean()
    tuned = distil(model, qmodel, x, epochs=15, rate=1e-2, progress=lambda *done: seen.append(done))
    assert seen[-1] == (15, 15)
    assert np.square(agree(tuned, x) - exact).mean() < before / 2
    twice = [distil(model, qmodel, x, epochs=1).quantized().digest() for _ in range(2)]
    assert twice[0] == twice[1] != qmodel.digest()


def test_what_cannot_be_tuned_is_refused(random_model, rng):
    model, x = random_model(0, 4, (6,), outputs=2), rng.standard_normal((4, 5, 4))
    with pytest.raises(ModelError, match="must have the shapes"):
        FineTune(random_model(0, 4, (7,), outputs=2), quantize(model, x))
    with pytest.raises(FormatError, match="must round half up and saturate"):
        FineTune(model, quantize(model, x, QuantConfig(preact=QFormat(3, 12, rounding="floor"), cell=QFormat(3, 12))))
