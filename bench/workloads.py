"""The layers of the published systems, from ``bench/workloads.toml``, as quantised models with random weights.

Speed and traffic do not depend on the values of dense weights, so published layers without published weights get
random ones, in the range in which trained ones lie.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lstm_hw.model.float_model import FloatModel, LstmWeights
from lstm_hw.model.quantize import QuantConfig, quantize

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
    rng = np.random.default_rng(seed)
    bound = 1 / np.sqrt(layer.hidden)      # torch.nn.LSTM's initial range

    def matrix(columns):
        return rng.uniform(-bound, bound, (4 * layer.hidden, columns))

    weights = LstmWeights(matrix(layer.input), matrix(layer.hidden), rng.uniform(-bound, bound, 4 * layer.hidden))
    model = FloatModel((weights,), None, source=layer.name)
    x = rng.uniform(-1, 1, (sequences, layer.steps, layer.input))
    quantised = quantize(model, x[:1, :4], QuantConfig(activation=activation))
    return quantised, quantised.quantize_input(x)
