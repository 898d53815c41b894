"""What tests of readers ask of a file: to be refused in some words, or read to the network that it was made of."""

import re

import numpy as np
import pytest

from bench.model_files import HIDDEN, INPUTS, OUTPUTS, layers_of
from lstm_hw.errors import ModelError
from lstm_hw.model.load import load


def refused(path, *parts, options=None, error=ModelError):
    """Loading must fail, and the message must hold the parts in this order."""
    with pytest.raises(error) as caught:
        load(path, options)
    assert re.search(".*".join(map(re.escape, parts)), str(caught.value), re.DOTALL), str(caught.value)


def same(model, given):
    assert (model.input_size, model.hidden_sizes, model.output_size) == (INPUTS, (HIDDEN, HIDDEN), OUTPUTS)
    for layer, (w_x, w_h, b, more) in zip(model.layers, layers_of(given), strict=True):
        assert np.array_equal(layer.w_x, w_x) and np.array_equal(layer.w_h, w_h)
        np.testing.assert_allclose(layer.bias, b.astype(float) + more, atol=1e-6)
    assert np.array_equal(model.head.weight, given["head.weight"])
    assert np.array_equal(model.head.bias, given["head.bias"])


def written(folder, tensors, name):
    np.savez(folder / name, **tensors)
    return folder / name
