"""The layers of the published systems, from ``bench/workloads.toml``, as quantised models with random weights.

Speed and traffic do not depend on the values of dense weights, so published layers without published weights get
random ones, in the range in which trained ones lie.
"""

import tomllib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lstm_hw.model.float_model import FloatModel, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize

FILE = Path(__file__).parent / "workloads.toml"


@dataclass(frozen=True)
class Workload:
    """A layer: Lx, Lh, time steps of a sequence, and where the sizes come from."""

    name: str
    input: int
    hidden: int
    steps: int
    source: str
    sparsity_w: float = 0.0
    sparsity_u: float = 0.0
    sparsity_h: float = 0.0


def workload(name):
    """The workload called ``name``; KeyError if there is none."""
    return Workload(name, **tomllib.loads(FILE.read_text())[name])


def random_model(layer, sequences, activation="quadratic64", seed=0):
    """A quantised one-layer model of a workload's size, and input sequences.

    Parameters
    ----------
    layer : Workload
    sequences : int
    activation : str
    seed : int

    Returns
    -------
    QuantModel, int array (sequences, steps, Lx)
    """
    return random_stack(layer.name, (layer.input, layer.hidden), layer.steps, sequences, activation, seed)


def random_stack(name, sizes, steps, sequences=1, activation="quadratic64", seed=0):
    """As :func:`random_model`, of several layers: ``sizes`` is (Lx, Lh of each layer)."""
    rng = np.random.default_rng(seed)
    layers = []
    for inputs, hidden in pairwise(sizes):
        bound = 1 / np.sqrt(hidden)  # torch.nn.LSTM's initial range
        w_x, w_h = (rng.uniform(-bound, bound, (4 * hidden, columns)) for columns in (inputs, hidden))
        layers.append(LstmWeights(w_x, w_h, rng.uniform(-bound, bound, 4 * hidden)))
    model = FloatModel(tuple(layers), None, source=name)
    x = rng.uniform(-1, 1, (sequences, steps, sizes[0]))
    quantised = quantize(model, x[:1, :4], QuantConfig(activation=activation))
    return quantised, quantised.quantize_input(x)
