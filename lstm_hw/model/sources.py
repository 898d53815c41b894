"""What a layer reads that is not the h of the layer below alone: skips around layers, concatenations, branches.

Such a layer has ``sources``: numbers of recurrent layers, ``OF_X`` for x of the network. Its x are their vectors side
by side. What is added in front of it has the same weights in the columns of each: W (a + b) = W a + W b, exactly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ConfigError, ModelError
from ..machine.arrangement import OF_X, PLAIN
from ..machine.formats import QFormat


def has_sources(model: Any) -> bool:
    """Whether a layer of a model, float or quantised, reads something else than the layer below."""
    return any(layer.sources for layer in (*model.layers, *model.linear))


def refuse_sources(model: Any, what: str) -> None:
    """Refuse what is not done for models whose layers read several vectors."""
    if has_sources(model):
        found = "for a model with a skip around a layer, or branches"
        raise ConfigError(what, found, "must be for one whose layers read one another, each the one below")


def read_size(layers: Sequence, sources: Iterable[int]) -> int:
    """Elements of some sources together; ``layers`` are the recurrent ones, float or quantised."""
    return sum(layers[0].input_size if source == OF_X else layers[source].hidden_size for source in sources)


def check_sources(model: Any) -> None:
    """Refuse sources, of a float or a quantised model, that are not there.

    Raises
    ------
    ModelError
    """
    if not has_sources(model):
        return
    gathers = model.arrangement.steps and model.linear and model.linear[0].sources
    if replace(model.arrangement, steps=0) != PLAIN or gathers:
        rule = "must be in one that reads x forward, step by step, without layers that wait for all steps"
        raise ModelError(f"{model.source}: sources", f"in {model.arrangement.described}", rule)
    for number, layer in enumerate((*model.layers, *model.linear)):
        sources, subject = layer.sources, f"{layer.source}: sources"
        below = number if number <= len(model.layers) else 0
        known = range(OF_X, below) if below else ()
        if list(sources) != sorted(set(sources)) or not all(source in known for source in sources):
            rule = "must be numbers of recurrent layers in front of it, in ascending order, or -1 for x; none of a "
            raise ModelError(subject, list(sources), rule + "first layer, or of a linear one behind another")
        if OF_X in sources and getattr(layer, "skip", None) is not None:
            raise ModelError(subject, "x, of a head with a skip", "must be without x, or without the skip")
        if any(model.layers[source].projected for source in sources if source != OF_X):
            raise ModelError(subject, "a layer with a projection", "must be the projection")
        if below == len(model.layers) and OF_X in sources and not model.head_every_step:
            raise ModelError(subject, "x, of a linear layer on the last step", "must be of layers on every step")
        if layer.sources and number and number < len(model.layers) and model.layers[number - 1].projected:
            raise ModelError(subject, list(sources), "must be none of a projection")


def common_format(formats: Sequence[QFormat]) -> QFormat:
    """The narrowest format that has all values of all formats."""
    integer, fraction = (max(getattr(f, name) for f in formats) for name in ("integer", "fraction"))
    return replace(formats[0], integer=integer, fraction=fraction)


def shifts_of(qmodel: Any, layer: Any) -> tuple[int, ...]:
    """Places that the elements of each source of a quantised layer stand higher than in their own formats."""
    formats = [qmodel.input_format if s == OF_X else qmodel.layers[s].hidden for s in layer.sources]
    return tuple(layer.x_format.fraction - number_format.fraction for number_format in formats)


def exponents_of(qmodel: Any, number: int, layer: Any) -> np.ndarray | int:
    """Powers of two by which the elements of x of a layer, linear or not, are multiplied besides (elements,)."""
    if not number:
        return np.array(qmodel.input_exponents or 0)
    if OF_X not in layer.sources or not qmodel.input_exponents:
        return 0
    return np.pad(qmodel.input_exponents, (0, layer.input_size - qmodel.input_size))


def with_input(
    model: Any, scale: np.ndarray, free: np.ndarray | slice = slice(None), constant: np.ndarray | float = 0.0
) -> tuple[tuple, dict[str, Any]]:
    """Layers of a float model, of which those behind the first read x of the network as of another one.

    Parameters
    ----------
    model : FloatModel
    scale : float array (Lx,)
        The network's x are the others times these, plus a constant.
    free : bool array (Lx,)
        Which of them are left.
    constant : float array (Lx,)

    Returns
    -------
    layers : tuple of RecurrentWeights
    linear : dict
        ``dense`` and ``head`` of the model.
    """
    size = model.input_size

    def changed(layer, name):
        if OF_X not in layer.sources:
            return layer
        x, others = np.split(getattr(layer, name), [size], axis=1)
        bias = layer.bias + x @ np.broadcast_to(constant, (size,))
        return replace(layer, **{name: np.hstack([(x * scale)[:, free], others])}, bias=bias)

    layers = tuple(changed(layer, "w_x") for layer in model.layers)
    *dense, head = [changed(layer, "weight") for layer in model.linear] or [None]
    return layers, {"dense": tuple(dense), "head": head}


class Vectors:
    """What layers read of what is there: x of the network, and h of layers as they come.

    Parameters
    ----------
    model : FloatModel or QuantModel
    x : array
        Of the network, the elements along ``axis``.
    shifted : bool
        Whether values are stored integers of a quantised model, which are brought to one format side by side.
    axis : int
    """

    def __init__(self, model: Any, x: np.ndarray, shifted: bool = False, axis: int = -1):
        self._model, self._shifted, self._axis = model, shifted, axis
        self._wanted = {source for layer in (*model.layers, *model.linear) for source in layer.sources}
        self._kept, self.latest = {OF_X: x}, x

    def add(self, number: int, h: np.ndarray) -> None:
        """h of a layer, which is x of the next one unless that says something else."""
        self.latest = h
        if number in self._wanted:
            self._kept[number] = h

    def read(self, layer: Any) -> np.ndarray:
        """x of a layer."""
        if layer is None or not layer.sources:
            return self.latest
        parts = [self._kept[source] for source in layer.sources]
        if self._shifted:
            shifts = shifts_of(self._model, layer)
            parts = [part * (1 << shift) for part, shift in zip(parts, shifts, strict=True)]
        return np.concatenate(parts, axis=self._axis)
