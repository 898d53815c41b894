"""Tiny projects on disk: a random model, a data set and a configuration file."""

from dataclasses import replace

import numpy as np

from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.model.store import write_tensors
from lstm_hw.project import toml


def tensors(rng, inputs=3, hidden=(4,), outputs=3, scale=0.5):
    """A PyTorch state_dict of random weights; without head where ``outputs`` is 0."""
    result = {}
    for layer, size in enumerate(hidden):
        for name, shape in (
            ("weight_ih", (4 * size, inputs)),
            ("weight_hh", (4 * size, size)),
            ("bias_ih", (4 * size,)),
            ("bias_hh", (4 * size,)),
        ):
            result[f"lstm.{name}_l{layer}"] = rng.normal(0, scale, shape).astype(np.float32)
        inputs = size
    if outputs:
        result["head.weight"] = rng.normal(0, scale, (outputs, inputs)).astype(np.float32)
        result["head.bias"] = rng.normal(0, scale, outputs).astype(np.float32)
    return result


def both_ways(rng, inputs=3, hidden=4, outputs=3, layers=1):
    """That of a bidirectional layer, or of several, with a head or without."""
    one, other = (tensors(rng, inputs, (hidden,), 0) for _ in range(2))
    head = tensors(rng, 2 * hidden, (1,), outputs)
    made = one | {f"{name}_reverse": values for name, values in other.items()}
    for layer in range(1, layers):
        above = both_ways(rng, 2 * hidden, hidden, 0)
        made |= {name.replace("_l0", f"_l{layer}"): values for name, values in above.items()}
    if not outputs:
        return made
    weight = rng.normal(0, 0.5, (outputs, 2 * hidden)).astype(np.float32)
    return made | {"head.weight": weight, "head.bias": head["head.bias"]}


def float_model(rng, inputs=3, hidden=(4,), outputs=3, head_every_step=False, scale=0.5):
    """A random FloatModel."""
    layers = []
    for size in hidden:
        layers.append(
            LstmWeights(
                rng.normal(0, scale, (4 * size, inputs)),
                rng.normal(0, scale, (4 * size, size)),
                rng.normal(0, scale, 4 * size),
            )
        )
        inputs = size
    head = DenseWeights(rng.normal(0, scale, (outputs, inputs)), rng.normal(0, scale, outputs)) if outputs else None
    return FloatModel(tuple(layers), head, head_every_step)


CHAIN = ["relu", "tanh", "elu", "none", "sigmoid", "relu"]
"""Activations of the linear layers of :func:`with_chain`, the head last."""


def with_chain(model, every_step=False, activations=CHAIN, seed=5, sizes=None, bias=0.5):
    """The model with a chain of random linear layers."""
    rng, linear = np.random.default_rng(seed), []
    inputs = model.layers[-1].hidden_size
    for number, activation in enumerate(activations):
        outputs = sizes[number] if sizes else int(rng.integers(2, 10))
        weight = rng.normal(0, 1.5 / np.sqrt(inputs), (outputs, inputs))
        linear.append(DenseWeights(weight, rng.normal(0, bias, outputs), activation=activation))
        inputs = outputs
    return replace(model, dense=tuple(linear[:-1]), head=linear[-1], head_every_step=every_step)


def write_project(folder, seed=1, sequences=5, steps=3, model=None, metadata=None, arrays=None, sections=None, **more):
    """Write ``model.safetensors``, ``data.npz`` and ``tiny.toml``; results go to ``folder/build``.

    Parameters
    ----------
    folder : Path
    model, metadata : dict, optional
        Tensors and metadata of the model, instead of random ones.
    arrays : dict, optional
        Arrays of the data set, added to random ones.
    sections : dict of str to dict, optional
        Sections of the configuration, merged with those here; None leaves one out.
    **more : dict
        The same, by name.

    Returns
    -------
    Path
        The configuration file.
    """
    rng = np.random.default_rng(seed)
    model = tensors(rng) if model is None else model
    write_tensors(folder / "model.safetensors", model, metadata or {})
    inputs = model["lstm.weight_ih_l0"].shape[1]
    data = {
        "x": rng.uniform(-1, 1, (sequences, steps, inputs)),
        "labels": rng.integers(0, 3, sequences),
        "calibration": rng.uniform(-1, 1, (8, steps, inputs)),
    } | (arrays or {})
    np.savez(folder / "data.npz", **data)
    values = {
        "name": "tiny",
        "model": {"path": "model.safetensors"},
        "data": {"path": "data.npz", "labels": "labels"},
        "engine": {"rows": 4},
        "simulate": {"images": 3},
        "report": {"synthesis": False},
        "output": {"dir": str(folder / "build")},
    }
    for name, section in {**(sections or {}), **more}.items():
        if isinstance(section, dict):
            section = {key: value for key, value in {**values.get(name, {}), **section}.items()}
        values[name] = section
    path = folder / "tiny.toml"
    path.write_text(toml.dumps({name: value for name, value in values.items() if value is not None}))
    return path
