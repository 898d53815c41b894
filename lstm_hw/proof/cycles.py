"""Figures that follow from cycle counters, the same for estimated and measured ones."""

from dataclasses import dataclass
from typing import Any

from ..machine.limits import SERIAL_SLOTS

STALLS = ("stall_weights", "stall_h", "stall_x", "stall_output")
"""What columns wait for; a cycle counts for the first of them that is not there."""


def long_steps(steps: int) -> int:
    """Steps of a run that is compared with one of ``steps``: at least as many again.

    A step may end in any of the slots that the cell unit gives in turn, and the end of a run then waits for a few
    cycles more or less. After as many steps as there are slots, or a multiple, the slot is the same again.
    """
    return steps + -(-steps // SERIAL_SLOTS) * SERIAL_SLOTS


@dataclass(frozen=True)
class Cycles:
    """Counters of three runs, with what is needed to make sense of them.

    Parameters
    ----------
    load, run, long : dict
        Counters (name -> cycles) of loading the weights, of a run and of one over :func:`long_steps`.
    steps : int
        Time steps of the run.
    macs : int
        Multiply-accumulates of the model in the run, over all contexts, those that are left out as they do nothing too.
    lanes : int
    """

    load: dict[str, int]
    run: dict[str, int]
    long: dict[str, int]
    steps: int
    macs: int
    lanes: int

    @property
    def further(self) -> int:
        """Steps that the long run has more."""
        return long_steps(self.steps) - self.steps

    @property
    def per_step(self) -> float:
        """Cycles of the run for each of its steps, start and end of the run included."""
        return self.run["cycles"] / self.steps

    @property
    def per_further_step(self) -> float:
        """Cycles that a longer run takes for each further step."""
        return (self.long["cycles"] - self.run["cycles"]) / self.further

    @property
    def interstep_stalls(self) -> float:
        """Cycles for each further step in which the lanes wait between its columns or for its first one."""
        short, long = (sum(counters[name] for name in STALLS) for counters in (self.run, self.long))
        return (long - short) / self.further

    @property
    def lanes_busy(self) -> float:
        """Share of the run's cycles in which the lanes form products, at most 1."""
        return self.run["busy"] / self.run["cycles"]

    @property
    def products_per_lane_cycle(self) -> float:
        """Products of the model for each lane and cycle of the run.

        Below ``lanes_busy`` where lanes form products that nobody needs; above it, and maybe above 1, where products
        with zeros, or with elements that did not change, are left out.
        """
        return self.macs / (self.lanes * self.run["cycles"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; the ratios are rounded to six digits behind the point."""
        ratios = ("per_step", "per_further_step", "interstep_stalls", "lanes_busy", "products_per_lane_cycle")
        return {
            "steps": self.steps,
            "macs": self.macs,
            "lanes": self.lanes,
            **{name: round(getattr(self, name), 6) for name in ratios},
            "run": self.run,
            "load": self.load,
            "long": self.long,
        }
