"""Fine-tuning in torch: the pattern holds through training, in floating point and in the hardware's numbers."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, InputError, ModelError
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference
from lstm_hw.prune import PruneConfig, check_pruned, check_quantized, prune, quantizing
from tests.projects import float_model

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
torch.set_num_threads(1)
from lstm_hw.prune.tune import TorchModel, fine_tune, hold, lstm_matrices  # noqa: E402  (needs torch)

CONFIGS = (
    PruneConfig("unstructured", sparsity=0.5),
    PruneConfig("1:4"),
    PruneConfig(["dense", "column_balanced"], parts=4, sparsity=0.75),
    PruneConfig("block_circulant", block=4),
)


@pytest.fixture
def model():
    return float_model(np.random.default_rng(3), 4, (8, 4), 3)


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((24, 5, 4))


@pytest.mark.parametrize("quantized", [False, True], ids=["float", "quantized"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config.pattern))
def test_the_pattern_holds_and_the_error_falls(model, x, config, quantized):
    pruned, targets = prune(model, config), float_reference(model, x)[0]
    numbers = QuantConfig(weight_bits=8) if quantized else None
    tuned = fine_tune(pruned, x, targets, numbers, epochs=8, rate=1e-2, batch=8)
    check_pruned(tuned.model, config)
    for matrix, before in zip(tuned.matrices, pruned.matrices, strict=True):
        assert not np.array_equal(matrix.weights, before.weights)
        if matrix.mask is not None:
            assert not matrix.weights[~matrix.mask].any() and matrix.mask is before.mask

    def error(model):
        return np.square(float_reference(model, x)[0] - targets).mean()

    assert error(tuned.model) < 0.7 * error(pruned.model)
    if quantized:
        check_quantized(quantize(tuned.model, x, quantizing(numbers, tuned)), tuned)


def test_fixed_seeds_give_the_same_weights(model, x):
    pruned, labels = prune(model, CONFIGS[0]), np.arange(24) % 3
    done = []

    def noisy(x, generator):
        return x + 0.1 * torch.randn(x.shape, generator=generator)

    def weights(seed):
        tuned = fine_tune(
            pruned, x, labels, epochs=2, batch=8, seed=seed, augment=noisy, progress=lambda *at: done.append(at)
        )
        return tuned.model.layers[1].w_h

    np.testing.assert_array_equal(weights(5), weights(5))
    assert not np.array_equal(weights(5), weights(6)) and done[:2] == [(1, 2), (2, 2)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config.pattern))
def test_a_training_loop_of_ones_own(model, config):
    """Momentum that is there before, and decay: nothing moves what is pruned."""
    network = TorchModel(model)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05, weight_decay=0.1)
    x = torch.randn(6, 5, 4, generator=torch.Generator().manual_seed(0))

    def step():
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()

    step()
    pruned = prune(network.float_model(), config)
    hold(network.matrices(), pruned, optimizer)
    for _ in range(3):
        step()
    check_pruned(network.float_model(), config)
    assert list(lstm_matrices(network.layers[1], 1)) == ["1.w_x", "1.w_h"]


def test_the_torch_model_is_the_float_model(model, x):
    network = TorchModel(model)
    found = network(torch.as_tensor(x)).detach().numpy()
    np.testing.assert_allclose(found, float_reference(model, x)[0], atol=1e-6)
    for layer, given in zip(network.float_model().layers, model.layers, strict=True):
        np.testing.assert_array_equal(layer.w_h, given.w_h.astype(np.float32))


def test_what_is_refused(model, x):
    pruned = prune(model, CONFIGS[0])
    with pytest.raises(ModelError, match=r"0.w_x: missing; must be a parameter of shape \(32, 4\)"):
        hold({}, pruned)
    other = TorchModel(float_model(np.random.default_rng(0), 4, (8, 8), 3))
    with pytest.raises(ModelError, match=r"1.w_x: shape \(32, 8\); must be a parameter of shape \(16, 8\)"):
        hold(other.matrices(), pruned)
    with pytest.raises(InputError, match="targets: .*for each of the 24 sequences"):
        fine_tune(pruned, x, np.zeros(3))
    with pytest.raises(ConfigError, match="epochs: 0; must be an integer above 0"):
        fine_tune(pruned, x, np.zeros(24, int), epochs=0)
