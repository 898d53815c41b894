"""What quantisation did to the numbers: errors, clipped values and lost weights, by layer and place."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..machine.limits import CELL_SUMS
from .calibrate import TRACED
from .float_model import FloatModel
from .quant_model import QuantModel
from .reference import checked_sequences, float_reference, integer_reference


def quantization_report(
    model: FloatModel,
    qmodel: QuantModel,
    x: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
    curves: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] | None = None,
) -> tuple[dict[str, Any], tuple[np.ndarray, np.ndarray]]:
    """Compare a quantised model with the float model that it came from.

    Parameters
    ----------
    model : FloatModel
    qmodel : QuantModel
    x : float array (N, T, Lx)
    progress : callable, optional
        Called as ``progress(done, total)`` with sequences.
    curves : dict, optional
        Filled: ``pre``, ``c``, ``h`` -> number of a layer that has it -> the largest and the RMS error of every step,
        two (T,) arrays.

    Returns
    -------
    report : dict
        ``input``: ``clipped``. ``layers``: for each, ``pre``, ``c`` and ``h`` and the parts of ``pre`` by the names of
        ``CELL_SUMS``: dicts of ``max``, ``mean`` and ``rms`` absolute error over all steps, ``sequence`` and
        ``step`` of the largest, and ``clipped``; of a plain layer ``h`` alone; and ``zeroed``, by matrix. ``dense``: of
        each linear layer in front of the head, the same of its outputs, and ``zeroed``. ``head``: ``zeroed``; None
        without one.
        ``output``: as of a place, and ``peak`` (the largest magnitude of the float model's) and ``histogram``, of the
        absolute errors in units of the output's last bit: ``edges``, from 0, each twice the one before, and ``counts``
        between them. ``clipped`` is the share of values that were rounded to what their format does not hold,
        ``zeroed`` the share of weights that are not 0 and became 0.
    outputs : (float64 array, int64 array)
        Those of the float model, and the stored integers of the quantised one.
    """
    x = checked_sequences("x", x, model.input_size)
    errors, of_dense, clipped, (exact, stored) = _compared(model, qmodel, x, progress)
    layers = [
        _of_layer(found, {place: clipped[number, place] for place in found}, layer, weights)
        for number, (found, layer, weights) in enumerate(zip(errors, qmodel.layers, model.layers, strict=True))
    ]
    if curves is not None:
        curves |= {place: {n: e[place].curves for n, e in enumerate(errors) if place in e} for place in PLACES}
    last_step = {"step": (model.arrangement.repeats or x.shape[1]) - 1} if exact.ndim == 2 else {}
    dense = enumerate(zip(of_dense, model.dense, qmodel.dense, strict=True), len(layers))
    last = clipped["output"] if model.head is not None else clipped[len(layers) - 1, "h"]
    report = {
        "input": {"clipped": qmodel.input_format.count_clipped(qmodel.scaled_input(x)) / qmodel.scaled_input(x).size},
        "layers": layers,
        "dense": [
            {**found.to_dict(clipped[n, "y"]), **last_step, "zeroed": _zeroed(weights.weight, layer.weight)}
            for n, (found, weights, layer) in dense
        ],
        "head": None if model.head is None else {"zeroed": _zeroed(model.head.weight, qmodel.head.weight)},
        "output": _of_output(exact, qmodel.dequantize_output(stored), last, last_step, qmodel.output_format.lsb),
    }
    return report, (exact, stored)


def _compared(model, qmodel, x, progress):
    """Errors by place of each layer, and of each linear one in front of the head; clipped values of each (layer,
    place); outputs of both models."""
    clipped, outputs = Counter(), []
    sums = [CELL_SUMS.get(layer.KIND, ()) for layer in qmodel.layers]
    errors = [{place: _Errors() for place in (*names, *["c"] * bool(names), "h")} for names in sums]
    of_dense = [_Errors() for _ in qmodel.dense]
    # Traces take memory: of so many sequences at a time.
    steps = max(x.shape[1], model.arrangement.repeats)
    block = max(1, TRACED // (steps * 4 * max(model.hidden_sizes)))
    for first in range(0, len(x), block):
        part, exact, rounded = x[first : first + block], {}, {}
        expected, _ = float_reference(model, part, trace=exact)
        found, _ = integer_reference(qmodel, qmodel.quantize_input(part), trace=rounded, clipped=clipped)
        outputs.append((expected, found))
        for number, layer in enumerate(qmodel.layers):
            for place in rounded[number]:
                number_format = getattr(layer, PLACES[place])
                real, wanted = number_format.to_float(rounded[number][place]), exact[number][place]
                _add(errors[number], sums[number] if place == "pre" else (place,), real, wanted, first)
        for number, (layer, found_errors) in enumerate(zip(qmodel.dense, of_dense, strict=True), len(qmodel.layers)):
            found_errors.add(layer.output.to_float(rounded[number]["y"]), exact[number]["y"], first)
        if progress:
            progress(min(first + block, len(x)), len(x))
    for number, (found, names) in enumerate(zip(errors, sums, strict=True)):
        if names:
            found["pre"] = _Errors.of([found[name] for name in names])
        clipped[number, "pre"] = sum(clipped[number, name] for name in names)
        clipped[number, "h"] += clipped[number, "y"]  # of a plain layer
    return errors, of_dense, clipped, tuple(map(np.concatenate, zip(*outputs, strict=True)))


def _add(errors, names, real, wanted, first):
    """Values of a place, which holds what has these names side by side, of sequences from the first on."""
    parts = zip(*(np.split(values, len(names), axis=2) for values in (real, wanted)), strict=True)
    for name, pair in zip(names, parts, strict=True):
        errors[name].add(*pair, first)


def _of_layer(errors, clipped, layer, weights):
    """Errors of a layer's places, and which share of its weights became 0."""
    matrices = [name for name in ("w_x", "w_h") if getattr(weights, name).size]
    return {
        **{place: found.to_dict(clipped[place]) for place, found in errors.items()},
        "zeroed": {name: _zeroed(getattr(weights, name), getattr(layer, name)) for name in matrices},
    }


def _of_output(exact, real, clipped, last_step, lsb):
    """Errors of the outputs, of every step or of the last one."""
    every_step, errors = (slice(None), None) if last_step else ..., _Errors()
    errors.add(real[every_step], exact[every_step], 0)
    return {
        **errors.to_dict(clipped),
        "peak": float(np.abs(exact).max()),
        **last_step,
        "histogram": _histogram(np.abs(real - exact) / lsb),
    }


def _histogram(errors):
    """How many errors, in units of the last bit, are between 0, 1/2, 1, 2 and so on up to the largest."""
    doubled = int(np.ceil(np.log2(max(0.5, errors.max())))) + 1
    edges = [0.0, *(2.0**n for n in range(-1, doubled))]
    edges += [2 * edges[-1]] if errors.max() >= edges[-1] else []
    return {"edges": edges, "counts": np.histogram(errors, edges)[0].tolist()}


PLACES = {"pre": "preact", "c": "cell", "h": "hidden"}
"""Where values of a layer are rounded -> the field with their format."""


def _zeroed(weights, stored):
    return float(np.mean((weights != 0) & (stored == 0)))


class _Errors:
    """Absolute errors, by step, of values (N, T, ...) that come in parts of N."""

    def __init__(self):
        self.count, self.largest, self.total, self.squares = 0, 0.0, 0.0, 0.0
        self.worst = (-1.0, 0, 0)  # the largest, its sequence and its step

    @classmethod
    def of(cls, parts):
        """Those of several kinds of value, of the same steps."""
        errors = cls()
        errors.count, errors.total = sum(part.count for part in parts), sum(part.total for part in parts)
        errors.largest = np.maximum.reduce([part.largest for part in parts])
        errors.squares = sum(part.squares for part in parts)
        errors.worst = max((part.worst for part in parts), key=lambda worst: worst[0])
        return errors

    def add(self, found, expected, first):
        """``first`` is the number of the first sequence."""
        difference = np.abs(found - expected)
        others = (0, *range(2, difference.ndim))
        self.count += difference.size
        self.largest = np.maximum(self.largest, difference.max(axis=others))
        self.total += float(difference.sum())
        self.squares = self.squares + np.square(difference).sum(axis=others)
        at = np.unravel_index(difference.argmax(), difference.shape)
        if difference[at] > self.worst[0]:
            self.worst = (float(difference[at]), first + int(at[0]), int(at[1]))

    @property
    def curves(self):
        """Largest and RMS error of every step."""
        return self.largest, np.sqrt(self.squares * len(self.squares) / self.count)

    def to_dict(self, clipped):
        return {
            "max": self.worst[0],
            "mean": self.total / self.count,
            "rms": float(np.sqrt(self.squares.sum() / self.count)),
            "sequence": self.worst[1],
            "step": self.worst[2],
            "clipped": clipped / self.count,
        }
