"""The error budget of a quantised model: how far the outputs are off when one place alone is rounded.

Everything else is computed in float64. Where all places are rounded, the values are those of the integer reference,
bit for bit, as long as its sums are exact in float64.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..machine.arrangement import waited
from ..machine.formats import QFormat
from ..machine.shared_activation import make_exponential
from .float_model import FloatModel
from .functions import SIGMOIDS, TANHS
from .quant_layer import OF_PREACT, QuantPlain
from .quant_model import QuantModel
from .reference import activated, checked_sequences, step_groups
from .sources import Vectors, exponents_of

PLACES = {
    "x": "inputs",
    "w_x": "W_x",
    "w_h": "W_h",
    "weight": "weights",
    "skip": "weights of the skip",
    "bias": "biases",
    "pre": "pre-activations",
    "activation": "results of sigmoid and tanh, by their tables",
    "c": "c, and what tanh reads of it; h of a GRU from step to step",
    "h": "h",
    "output": "outputs",
}
"""Place -> what is rounded there."""
Place = tuple[int | str, str]
"""Number of an LSTM layer, or name of a linear one, and a name of ``PLACES``."""


def places_of(qmodel: QuantModel) -> list[Place]:
    """All places where a model rounds, in the order of its computation."""
    first = [(0, "x")]
    layers = [(n, place) for n, layer in enumerate(qmodel.layers) for place in _places_of(layer)]
    linear = [(name, place) for name, layer in qmodel.named_linear.items() for place in (*layer.ARRAYS, "output")]
    return first + layers + linear


def _places_of(layer):
    arrays = [name for name in layer.ARRAYS if getattr(layer, name).size]
    return (*arrays, "h") if isinstance(layer, QuantPlain) else (*arrays, "pre", "activation", "c", "h")


def partly_rounded(model: FloatModel, qmodel: QuantModel, x: np.ndarray, rounded: Collection[Place]) -> np.ndarray:
    """Outputs of a model that is rounded at some places only.

    Parameters
    ----------
    model : FloatModel
    qmodel : QuantModel
        What the model became.
    x : float array (N, T, Lx)
    rounded : collection of (layer, place)
        Of :func:`places_of`.

    Returns
    -------
    float64 array (N, O), (N, T, O) or (N, T, H)
    """
    values = qmodel.scaled_input(x)
    if (0, "x") in rounded:
        values = _round(qmodel.input_format, values)
    given = values
    steps = []
    for number, (weights, layer) in enumerate(zip(model.layers, qmodel.layers, strict=True)):
        here = {place for where, place in rounded if where == number}
        arrays = _arrays(weights, layer, here)
        if "w_x" not in here and qmodel.input_exponents:
            arrays["w_x"] = arrays["w_x"] / np.exp2(exponents_of(qmodel, number, layer))
        tables = _Tables(qmodel, layer, model.functions)
        rounded_outputs = partial(_outputs, layer, model, qmodel)
        peepholes = weights.peepholes
        if peepholes is not None and "w_h" in here:
            peepholes = layer.peephole_format.to_float(layer.peepholes)
        steps.append(_Steps(layer, tables, arrays, here, len(x), weights.initial, peepholes, rounded_outputs))
    vectors = Vectors(qmodel, values)
    for group in step_groups(qmodel.layers):
        first = qmodel.layers[group[0]]
        values = _run([steps[n] for n in group], waited(first.waits, vectors.read(first), qmodel.arrangement))
        vectors.add(group[-1], values)
    if qmodel.head is None:
        return qmodel.arrangement.outputs(values)
    values = vectors.read(qmodel.linear[0])
    if qmodel.arrangement.steps:
        values = values.reshape(len(values), -1)
    elif not qmodel.head_every_step:
        values = values[:, -1]
    for (name, layer), weights in zip(qmodel.named_linear.items(), model.linear, strict=True):
        here = {place for where, place in rounded if where == name}
        arrays = _arrays(weights, layer, here)
        if "weight" not in here and layer.sources:
            arrays["weight"] = arrays["weight"] / np.exp2(exponents_of(qmodel, len(qmodel.layers), layer))
        values = values @ arrays["weight"].T + arrays["bias"]
        if "skip" in arrays:
            exponents = 0 if "skip" in here else np.array(qmodel.input_exponents or 0)
            values = values + given @ (arrays["skip"] / np.exp2(exponents)).T
        values = _outputs(layer, model, qmodel, values) if "output" in here else activated(layer.activation, values)
    return qmodel.arrangement.outputs(values)


def _outputs(layer, model, qmodel, sums):
    """Outputs of a plain or linear layer, rounded wherever they are: first, as results of its activation, at last."""
    first = layer.rounded_format(qmodel.preact)
    values = _round(first, sums)
    if layer.activation in OF_PREACT:
        tables = _Tables(qmodel, qmodel.layers[-1], model.functions)
        values = getattr(tables, layer.activation)(values)
    else:
        values = activated(layer.activation, values)
    return _round(layer.result, values)


def _arrays(weights, layer, here):
    """The arrays of a layer by name: rounded those whose names are ``here``."""
    return {name: layer.real(name) if name in here else getattr(weights, name) for name in layer.ARRAYS}


def _run(members, x):
    """h (N, T, H) of a layer, or of one and the projection that it reads, which take their steps together."""
    members[0].read = members[-1]
    outputs = np.empty((*x.shape[:2], members[-1].layer.hidden_size))
    for step in range(x.shape[1]):
        below = x[:, step]
        for member in members:
            below = member.step(below)
        outputs[:, step] = below
    return outputs


class _Steps:
    """A layer with its state, step by step, rounded at the places ``here``; ``read`` is the layer whose h it reads."""

    def __init__(self, layer, tables, arrays, here, sequences, initial, peepholes, outputs):
        self.layer, self.arrays, self.here, self.outputs = layer, arrays, here, outputs
        self.functions = tables if "activation" in here else tables.exact
        self.argument, self.peepholes = tables.argument, peepholes
        self.read, self.h = self, np.zeros((sequences, layer.hidden_size))
        self.c = self.h
        if initial is not None:
            self.h, self.c = (
                zeros + (_round(its, values) if name in here else values)
                for name, its, zeros, values in zip("hc", layer.state_formats, (self.h, self.c), initial, strict=True)
            )

    def step(self, x):
        layer, here = self.layer, self.here
        pre, h = x @ self.arrays["w_x"].T, self.read.h
        pre = pre + h @ self.arrays["w_h"][:, : h.shape[1]].T if layer.w_h.size else pre
        pre = pre + self.arrays["bias"]
        if layer.reset_before:
            pre = pre + self._reset(pre[:, : h.shape[1]]) @ self.arrays["w_h"][:, h.shape[1] :].T
        if layer.KIND == "plain":
            self.h = self.outputs(pre) if "h" in here else activated(layer.activation, pre)
            return self.h
        if "pre" in here:
            pre = _round(layer.preact, pre)
        self.h, self.c = {"lstm": _lstm, "gru": _gru}[layer.KIND](layer, self, pre, here)
        if "h" in here:
            self.h = _round(layer.hidden, self.h)
        return self.h

    def seen(self, pre, gate, c):
        """A gate's pre-activation that sees c through its peephole."""
        total = pre + self.peepholes[gate] * c
        return _round(self.argument, total) if "pre" in self.here else total

    def _reset(self, r):
        """r*h from the sums of r, as the cell gives it from sums of r, r, 0 and 0."""
        r = _round(self.layer.preact, r) if "pre" in self.here else r
        reset, _ = _gru(self.layer, self, np.concatenate([r, r, 0 * r, 0 * r], axis=1), self.here)
        return _round(self.layer.hidden, reset) if "h" in self.here else reset


def _lstm(layer, steps, pre, here):
    """h before it is rounded, and c."""
    i, f, g, o = np.split(pre, 4, axis=1)
    functions = steps.functions
    if steps.peepholes is not None:
        i, f = (steps.seen(gate, n, steps.c) for n, gate in enumerate((i, f)))
    total = c = functions.sigmoid(f) * steps.c + functions.sigmoid(i) * functions.tanh(g)
    if "c" in here:
        c, total = _round(layer.cell, c), _round(steps.argument, c)
    if steps.peepholes is not None:
        o = steps.seen(o, 2, c)
    return functions.sigmoid(o) * functions.tanh(total), c


def _gru(layer, steps, pre, here):
    r, z, n_x, n_h = np.split(pre, 4, axis=1)
    functions = steps.functions
    candidate, z = n_x + functions.sigmoid(r) * n_h, functions.sigmoid(z)
    if "pre" in here:
        candidate = _round(steps.argument, candidate)
    total = z * steps.c + (1 - z) * functions.tanh(candidate)
    return total, _round(layer.cell, total) if "c" in here else total


class _Exact(NamedTuple):
    """What stands for sigmoid and tanh."""

    sigmoid: Callable[[np.ndarray], np.ndarray]
    tanh: Callable[[np.ndarray], np.ndarray]


class _Tables:
    """Sigmoid and tanh with the error that their tables have at the nearest value that they take."""

    def __init__(self, qmodel, layer, functions):
        self.exact = _Exact(SIGMOIDS[functions[0]], TANHS[functions[1]])
        self.argument, self._preact, self._result = qmodel.argument_of(layer), qmodel.preact, layer.activation_format
        self._results = qmodel.unit_of(layer).results

    def sigmoid(self, values):
        return self._of(values, 0, self.exact[0])

    def tanh(self, values):
        return self._of(values, 1, self.exact[1])

    def elu(self, values):
        table = make_exponential(self._preact, self._result)
        stored = self._preact.quantize(values)
        result = np.where(stored < 0, self._result.to_float(table.elu(stored)), self._preact.to_float(stored))
        return self._corrected(values, self._preact.to_float(stored), result, lambda y: activated("elu", y))

    def _of(self, values, which, exact):
        stored = self.argument.quantize(values)
        result = self._result.to_float(self._results[which].take(stored - self.argument.lowest))
        return self._corrected(values, self.argument.to_float(stored), result, exact)

    @staticmethod
    def _corrected(values, nearest, result, exact):
        # Where the value is one that the table takes, the result is the table's to the bit.
        return np.where(nearest == values, result, exact(values) + (result - exact(nearest)))


def _round(number_format: QFormat, values: np.ndarray) -> np.ndarray:
    return number_format.to_float(number_format.quantize(values))


def error_budget(
    model: FloatModel, qmodel: QuantModel, x: np.ndarray, progress: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Where accuracy goes.

    Parameters
    ----------
    model : FloatModel
    qmodel : QuantModel
    x : float array (N, T, Lx)
    progress : callable, optional
        Called as ``progress(done, total)`` with runs of the model.

    Returns
    -------
    dict
        ``sequences`` and ``peak``, the largest magnitude of the float outputs. ``places``: of each place of each layer,
        ``layer``, ``place`` and the errors of the outputs where it alone is rounded; ``together``: of each layer,
        ``layer`` and the errors where all its places are; ``by_place``: of each name of ``PLACES`` that there is,
        ``place`` and the errors where it is rounded in all layers; ``all``: the errors where everything is. Errors are
        ``max``, ``mean`` and ``rms``, and ``ratio_db``, 10 log10 of their squares' sum by that of the outputs; None
        where there is no error, or no output.
    """
    x = checked_sequences("x", x, model.input_size)
    places = places_of(qmodel)
    layers, names = list(dict.fromkeys(n for n, _ in places)), list(dict.fromkeys(name for _, name in places))
    total, done = len(places) + len(layers) + len(names) + 1, 0
    exact = partly_rounded(model, qmodel, x, ())

    def errors(*rounded):
        nonlocal done
        found = _errors(partly_rounded(model, qmodel, x, rounded), exact)
        done += 1
        if progress:
            progress(done, total)
        return found

    return {
        "sequences": len(x),
        "peak": float(np.abs(exact).max()),
        "places": [{"layer": n, "place": place, **errors((n, place))} for n, place in places],
        "together": [{"layer": n, **errors(*(p for p in places if p[0] == n))} for n in layers],
        "by_place": [{"place": name, **errors(*(p for p in places if p[1] == name))} for name in names],
        "all": errors(*places),
    }


def _errors(found, exact):
    difference, signal = np.abs(found - exact), float(np.square(exact).sum())
    squares = float(np.square(difference).sum())
    return {
        "max": float(difference.max()),
        "mean": float(difference.mean()),
        "rms": float(np.sqrt(squares / difference.size)),
        "ratio_db": 10 * float(np.log10(squares / signal)) if squares and signal else None,
    }
