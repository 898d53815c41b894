import numpy as np
import pytest

from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights, skip_matrix


def _random_model(seed, input_size, hidden_sizes, outputs=None, every_step=False, scale=0.5, skip=0):
    rng = np.random.default_rng(seed)
    layers, inputs = [], input_size
    for size in hidden_sizes:
        shapes = (4 * size, inputs), (4 * size, size), (4 * size,)
        layers.append(LstmWeights(*(scale * rng.standard_normal(shape) for shape in shapes)))
        inputs = size
    head = outputs and DenseWeights(rng.standard_normal((outputs, inputs)), rng.standard_normal(outputs))
    model = FloatModel(tuple(layers), head, every_step)
    return model.with_skip(skip_matrix("skip", skip, input_size, outputs)) if skip else model


@pytest.fixture(scope="session")
def random_model():
    """Function that makes a FloatModel with normally distributed weights."""
    return _random_model
