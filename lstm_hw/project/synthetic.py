"""Random models and inputs, for sizes that nobody has trained yet and for models without data.

What they show is time, traffic and agreement; their outputs and errors mean nothing.
"""

import numpy as np


def random_tensors(
    inputs: int, hidden: tuple[int, ...], outputs: int = 0, seed: int = 1, kind: str = "lstm"
) -> dict[str, np.ndarray]:
    """A PyTorch state_dict as it is before training: uniform within 1 / sqrt(H).

    Parameters
    ----------
    inputs : int
        Lx of the first layer.
    hidden : tuple of int
        Lh of each recurrent layer.
    outputs : int
        Of a linear head; none for 0.
    seed : int
    kind : {"lstm", "gru"}
    """
    rng, tensors, below, gates = np.random.default_rng(seed), {}, inputs, {"lstm": 4, "gru": 3}[kind]

    def uniform(units, *shape):
        return rng.uniform(-(units**-0.5), units**-0.5, shape).astype(np.float32)

    for number, units in enumerate(hidden):
        tensors |= {
            f"{kind}.weight_ih_l{number}": uniform(units, gates * units, below),
            f"{kind}.weight_hh_l{number}": uniform(units, gates * units, units),
            f"{kind}.bias_ih_l{number}": uniform(units, gates * units),
            f"{kind}.bias_hh_l{number}": uniform(units, gates * units),
        }
        below = units
    if outputs:
        tensors |= {"head.weight": uniform(below, outputs, below), "head.bias": uniform(below, outputs)}
    return tensors


def random_inputs(sequences: int, steps: int, inputs: int, peak: float = 1.0, seed: int = 1) -> np.ndarray:
    """Inputs (sequences, steps, inputs), uniform within the peak."""
    return np.random.default_rng(seed).uniform(-peak, peak, (sequences, steps, inputs))
