"""What engines are compared by, what is asked of them, and which of them no other beats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError


@dataclass(frozen=True)
class Objective:
    """A figure of an engine.

    Parameters
    ----------
    doc : str
        What it is, in a line.
    unit : str
    higher : bool
        More is better.
    """

    doc: str
    unit: str
    higher: bool = False


OBJECTIVES = {
    "latency": Objective("time of a run, from its start to its last output", "µs"),
    "area": Objective("the larger of the shares of the part's LUTs and multiplier blocks", "share"),
    "lut": Objective("share of the part's LUTs, as logic or memory", "share"),
    "dsp": Objective("share of the part's multiplier blocks", "share"),
    "bram": Objective("share of the part's block RAMs", "share"),
    "ff": Objective("share of the part's flip-flops", "share"),
    "energy": Objective("energy of the counted events of a sequence", "nJ"),
    "power": Objective("that energy over the time that it takes", "mW"),
    "bytes": Objective("weights that a run reads from memory", "bytes"),
    "rate": Objective("time steps of a sequence in a second, while it goes on", "1/s", True),
    "throughput": Objective("time steps of all sequences in a second of a run", "1/s", True),
    "accuracy": Objective("share of the labels of the test inputs that the integer reference has right", "share", True),
    "error": Objective("largest error of an output, as a share of the float model's largest output", "share"),
}
"""Figures that engines can be compared by."""
DEFAULT = ("latency", "area", "energy", "accuracy")
"""Those that are taken where nobody says; without labels error instead of accuracy."""


def check_objectives(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once.

    Raises
    ------
    ConfigError
        One is unknown, or there is none.
    """
    rule = f"must be of {', '.join(OBJECTIVES)}"
    for name in names:
        if name not in OBJECTIVES:
            raise ConfigError("objective", repr(name), rule)
    if not names:
        raise ConfigError("objective", "none", rule)
    return tuple(dict.fromkeys(names))


def cost(name: str, figure: float) -> float:
    """A figure turned so that less is better."""
    return -figure if OBJECTIVES[name].higher else figure


def costs(figures: Mapping[str, float], objectives: Sequence[str]) -> tuple[float, ...]:
    """Figures of an engine, each turned so that less is better."""
    return tuple(cost(name, figures[name]) for name in objectives)


@dataclass(frozen=True)
class Limit:
    """What is asked of a figure: at most so much, or at least where more is better.

    Parameters
    ----------
    name : str
        One of :data:`OBJECTIVES`.
    value : float
        In the figure's unit, above 0.
    """

    name: str
    value: float

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Whether an engine is within it."""
        return cost(self.name, figures[self.name]) <= cost(self.name, self.value)

    def excess(self, figures: Mapping[str, float]) -> float:
        """By which share of the limit an engine is beyond it; 0 within it."""
        return max(0.0, (cost(self.name, figures[self.name]) - cost(self.name, self.value)) / self.value)


def beaten(costs: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Which rows some row of another table beats: nowhere more, and somewhere less.

    Parameters
    ----------
    costs, by : float array (n, objectives), (m, objectives)

    Returns
    -------
    bool array (n,)
    """
    result = np.zeros(len(costs), dtype=bool)
    for row in by:
        result |= (row <= costs).all(axis=1) & (row < costs).any(axis=1)
    return result


def front(costs: np.ndarray) -> list[int]:
    """Numbers of the rows that no other row beats; of equal rows the first."""
    kept: list[int] = []
    _, first = np.unique(costs, axis=0, return_index=True)
    for number in sorted(first, key=lambda n: tuple(costs[n])):  # whatever beats a row comes before it
        row = costs[number]
        if not any((costs[other] <= row).all() for other in kept):
            kept.append(int(number))
    return sorted(kept)
