"""What became of the schedules that were tried, and the one that was taken."""

from dataclasses import dataclass, field

from ..machine.plan import Plan
from ..proof.load_timing import MemoryModel
from ..proof.timing import Counters


@dataclass(frozen=True)
class Outcome:
    """A schedule that was tried.

    Parameters
    ----------
    name : str
        Of the schedule.
    options : dict
        Its options.
    plan : Plan or None
        With its engine; None if it does not fit.
    refused : str
        Why it was not timed: it does not fit, or cannot be the best.
    counters : Counters or None
        Of a run from zero state with the resident words loaded, by the exact model.
    memory : MemoryModel or None
    macs : int
        Products of the model in that run, those with weights that were pruned too.
    """

    name: str
    options: dict = field(default_factory=dict)
    plan: Plan | None = None
    refused: str = ""
    counters: Counters | None = None
    memory: MemoryModel | None = None
    macs: int = 0

    @property
    def label(self) -> str:
        """The name with its options, as ``sacc, batch 8``."""
        shown = [
            f"{option} {'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
            for option, value in self.options.items()
            if value and (option, value) != _PLAIN
        ]
        return ", ".join([self.name, *shown])

    @property
    def cycles(self) -> int:
        return self.counters.cycles

    @property
    def read_bytes(self) -> int:
        return self.counters.read_beats * self.plan.config.beat_bytes  # beats of all ports together

    @property
    def busy(self) -> float:
        """Share of the cycles in which the lanes form products, at most 1."""
        return self.counters.busy / self.cycles

    @property
    def products_per_cycle(self) -> float:
        """Products of the model for each cycle; more than there are lanes where zeros are left out."""
        return self.macs / self.cycles

    @property
    def limit(self) -> str:
        """What most cycles of the lanes go to."""
        return LIMITS[max(LIMITS, key=lambda name: getattr(self.counters, name))]


LIMITS = {
    "busy": "busy",
    "stall_weights": "waiting for weights",
    "stall_h": "waiting for h",
    "stall_x": "waiting for x",
    "stall_output": "waiting for the output",
    "empty": "between commands",
}
"""What the lanes do in a cycle, by the name of the counter."""
_PLAIN = ("batch", 1)


@dataclass(frozen=True)
class Choice:
    """The best schedule, the reason in one line, and everything that was tried, best first."""

    outcome: Outcome
    reason: str
    tried: tuple[Outcome, ...]
    steps: int
    sequences: int

    def to_dict(self) -> dict:
        """JSON-able values."""
        best = self.outcome
        return {
            "schedule": best.name,
            "options": best.options,
            "sequences": self.sequences,
            "steps": self.steps,
            "reason": self.reason,
            "memory": {"latency": best.memory.latency, "interval": best.memory.interval},
            "tried": [
                {
                    "schedule": tried.label,
                    **(
                        {"cycles": tried.cycles, "read_bytes": tried.read_bytes, "lanes": tried.plan.config.lanes}
                        if tried.counters
                        else {"refused": tried.refused}
                    ),
                }
                for tried in self.tried
            ],
        }
