"""Sums and concatenations of vectors, which layers of a network read; see :mod:`lstm_hw.model.sources`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np

from ...errors import ModelError
from ...machine.arrangement import OF_X
from ..float_model import DenseWeights, PlainWeights

PARTS = "run the parts as models of their own, and what joins them outside"
"""What to do with networks that are refused."""
MOST_ELEMENTS = 1 << 12
"""Elements of a joined vector."""
MOST_PLACES = 1 << 18
"""Elements of sources that all elements of a joined vector are sums of."""
MOST_JOINTS = 1 << 8
"""Sums and concatenations of a network."""


@dataclass(frozen=True, eq=False)
class Joined:
    """A vector whose elements are sums of elements of x of the network and of h of its recurrent layers.

    Parameters
    ----------
    elements : int
    parts : dict of int to int array (3, places)
        Source, as of :mod:`lstm_hw.model.sources` -> elements of the vector, elements of the source that are part of
        each, and elements that the source has, over and over.
    factors : dict of int to float array (places,)
    """

    elements: int
    parts: Mapping[int, np.ndarray]
    factors: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, source: int, elements: int, subject: str) -> "Joined":
        """The vector of a source alone; ModelError where it is too long."""
        _check_length(elements, subject)
        return _alone(source, elements)

    @classmethod
    def added(cls, vectors: Sequence["Joined"], subject: str, *, minus: bool = False, mean: bool = False) -> "Joined":
        """The sum of vectors, the first ``minus`` the others, or their mean; ModelError where they are not of one
        length."""
        lengths = [vector.elements for vector in vectors]
        if len(set(lengths)) > 1:
            raise ModelError(subject, f"vectors of {lengths} elements", "must be of as many elements each")
        others = -1.0 if minus else 1.0
        factors = [1 / len(vectors)] * len(vectors) if mean else [1.0, *[others] * (len(vectors) - 1)]
        return cls._made(lengths[0], vectors, factors, [0] * len(vectors), subject)

    @classmethod
    def beside(cls, vectors: Sequence["Joined"], subject: str) -> "Joined":
        """Vectors side by side; ModelError where they are too long."""
        *firsts, elements = accumulate((vector.elements for vector in vectors), initial=0)
        _check_length(elements, subject)
        return cls._made(elements, vectors, [1.0] * len(vectors), firsts, subject)

    @classmethod
    def _made(cls, elements, vectors, factors, firsts, subject):
        """The sum of vectors times factors, each from an element on."""
        parts: dict[int, np.ndarray] = {}
        weights: dict[int, np.ndarray] = {}
        for vector, factor, first in zip(vectors, factors, firsts, strict=True):
            for source, places in vector.parts.items():
                moved = places + np.array([[first], [0], [0]])
                both = np.hstack([parts.get(source, places[:, :0]), moved])
                given = np.hstack([weights.get(source, np.zeros(0)), factor * vector.factors[source]])
                parts[source], where = np.unique(both, axis=1, return_inverse=True)
                weights[source] = np.bincount(where.ravel(), given, parts[source].shape[1])
        count = sum(places.shape[1] for places in parts.values())
        if count > MOST_PLACES:
            raise ModelError(subject, f"sums of {count} elements", f"must be of at most {MOST_PLACES}")
        return cls(elements, parts, weights)

    def read_by(self, layer: Any, number: int) -> Any:
        """A layer that reads the vector, as the layer of a number among all recurrent and linear ones.

        Raises
        ------
        ModelError
            It reads another number of elements.
        """
        name = "weight" if isinstance(layer, DenseWeights) else "w_x"
        matrix = getattr(layer, name)
        if matrix.shape[1] != self.elements:
            raise ModelError(layer.source, f"{matrix.shape[1]} inputs", f"must be the {self.elements} that are joined")
        sources, columns = sorted(self.parts), []
        for source in sources:
            to, from_, sizes = self.parts[source]
            of_source = np.zeros((sizes[0], len(matrix)))
            np.add.at(of_source, from_, matrix.T[to] * self.factors[source][:, None])
            columns.append(of_source.T)
        return replace(layer, **{name: np.hstack(columns)}, sources=() if sources == [number - 1] else tuple(sources))

    def is_last(self, number: int) -> bool:
        """Whether it is h of the layer in front of a number, or x in front of the first, and nothing else."""
        if list(self.parts) != [number - 1]:
            return False
        (places,), (factors,) = self.parts.values(), self.factors.values()
        same = np.array_equal(places, _alone(number - 1, self.elements).parts[number - 1])
        return same and bool(np.all(factors == 1))

    def as_linear(self, number: int, subject: str) -> DenseWeights:
        """A linear layer whose outputs are the vector."""
        layer = DenseWeights(np.eye(self.elements), np.zeros(self.elements), source=subject)
        return self.read_by(layer, number)


def behind(linear: Sequence[DenseWeights], every_step: bool) -> tuple[list[PlainWeights], list[DenseWeights]]:
    """Linear layers behind the recurrent ones, as layers on every step and those that are left.

    One on the last step that reads x works on every step, since x is not kept until a sequence is at its end.
    """
    if every_step or not linear or OF_X not in linear[0].sources:
        return [], list(linear)
    first, *others = linear
    if not others:
        nothing = np.zeros(first.output_size)
        others = [DenseWeights(np.eye(first.output_size), nothing, source=f"{first.source}: last step")]
    return [PlainWeights.of_dense(first)], others


@lru_cache(maxsize=64)
def _alone(source, elements):
    each = np.arange(elements)
    return Joined(elements, {source: np.stack([each, each, np.full(elements, elements)])}, {source: np.ones(elements)})


def _check_length(elements, subject):
    if not 1 <= elements <= MOST_ELEMENTS:
        raise ModelError(subject, f"{elements} elements", f"must be 1 to {MOST_ELEMENTS} to be joined")


def check_joints(joints: int, subject: object) -> None:
    """Refuse more sums and concatenations than can be in a network; ModelError."""
    if joints > MOST_JOINTS:
        raise ModelError(subject, f"{joints} sums and concatenations", f"must be at most {MOST_JOINTS}")
