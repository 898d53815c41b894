"""Simulation of test sequences: which runs they become, and what was measured in them.

A scenario loads the weights (run 0, where a plan has such an entry), then runs once for each group of sequences that
the plan works on at once, and last over several groups back to back: two lengths tell the cycles that every step costs
from those that a run costs once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..machine.pack import to_bytes
from ..machine.plan import Plan
from ..machine.registers import CLIPPED_PLACES
from ..model.quant_model import QuantModel
from ..proof.cycles import long_steps
from ..proof.load_timing import MemoryModel
from ..proof.timing import Counters
from .runs import ModelReference, Piece, scenario_of, wanted_runs
from .scenario import BENCH_MEMORY, Scenario, Stress


def grouped(x: np.ndarray, sequences: int) -> np.ndarray:
    """Sequences (N, T, Lx) in groups (G, sequences, T, Lx); the last group is filled up with its last sequence."""
    missing = -len(x) % sequences
    filled = np.concatenate([x, np.repeat(x[-1:], missing, axis=0)])
    return filled.reshape(-1, sequences, *x.shape[1:])


@dataclass(frozen=True)
class Expected:
    """What a simulation must show.

    Parameters
    ----------
    plan : Plan
    scenario : Scenario
    sequences : int
        Test sequences; the last group may be filled up.
    """

    plan: Plan
    scenario: Scenario
    sequences: int

    @property
    def loads(self) -> int:
        """Runs before those of the groups: the load, or none."""
        return int("load" in self.plan.program.entries)

    @property
    def steps(self) -> int:
        """Time steps of a sequence."""
        return self.scenario.runs[self.loads].steps

    def outputs(self, packets: Sequence[list[list[int]]]) -> np.ndarray:
        """Outputs of the test sequences from the packets of all runs: int64 array (N, O), or (N, T, O)."""
        groups = packets[self.loads : -1]
        found = np.concatenate([self.plan.outputs(group, self.steps) for group in groups])[: self.sequences]
        network = self.plan.network
        return found[:, 0] if network.head and not network.head_every_step else found

    def counters(self, runs: Sequence[dict[str, int]]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Counters of the load, of a run and of the long run, from those of all runs: three dicts.

        Without a load those of the first are all zero.
        """
        load = runs[0] if self.loads else Counters().to_dict()
        return load, runs[self.loads], runs[-1]


def expect(
    plan: Plan,
    words: np.ndarray,
    qmodel: QuantModel,
    x: np.ndarray,
    stress: Stress | None = None,
    memory: MemoryModel = BENCH_MEMORY,
    progress: Callable[[int, int], None] | None = None,
) -> Expected:
    """Build the scenario of some sequences and prove the interpreter equal to the integer reference on it.

    Parameters
    ----------
    plan : Plan
    words : int array (words, R)
        The weight image.
    qmodel : QuantModel
    x : int array (N, T, Lx)
        Stored integers of the model's input format.
    stress : Stress, optional
    memory : MemoryModel
        What the weight port meets.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    Expected

    Raises
    ------
    InputError
        ``x`` does not fit the model or the plan.
    VerificationError
        The interpreter's outputs differ from the reference's; names the run and the first difference.
    """
    pieces = _pieces(plan, x)
    scenario = scenario_of(plan, words, ModelReference(qmodel), pieces, memory, stress, progress)
    return Expected(plan, scenario, len(x))


def expect_outputs(
    plan: Plan, words: np.ndarray, qmodel: QuantModel, x: np.ndarray, memory: MemoryModel = BENCH_MEMORY
) -> Expected:
    """As :func:`expect`, but the runs have no counters yet, and nothing is proved: :mod:`.shards` does both."""
    runs = list(wanted_runs(plan, ModelReference(qmodel), _pieces(plan, x)))
    image = to_bytes(words, plan.config, plan.image)
    return Expected(plan, Scenario(plan.config, plan.program.encoded(), image, runs, Stress(), memory), len(x))


def _pieces(plan, x):
    """What the runs work on: a piece a group of sequences, and the long one."""
    if not len(x):
        raise InputError("x", "no sequence", "must have at least one")
    groups, steps = list(grouped(x, plan.sequences)), x.shape[1]
    many = [groups[n % len(groups)] for n in range(-(-long_steps(steps) // steps))]
    groups.append(np.concatenate(many, axis=1)[:, : long_steps(steps)])
    return [Piece(group) for group in groups]


@dataclass(frozen=True)
class Measured:
    """What the Verilog did; every output was equal to the reference's, or there would be none of these.

    Parameters
    ----------
    simulator : str
    outputs : int64 array (N, O) or (N, T, O)
    load, run, long : dict
        Counters of loading, of a run over one group and of the long run.
    steps : int
        Time steps of a sequence.
    cycles_equal : bool or None
        Whether every counter of every run was the interpreter's; None when streams or memory were held back.
    cycles_simulated : int
        Cycles that all runs took together.
    seconds : float
        Wall time of the simulation without the compilation.
    waves : Path or None
        The waveform file, if one was asked for.
    clipped : dict of str to int, or None
        Values of all runs together that their format does not hold, by place in CLIPPED_PLACES, as many as in the
        integer reference; None: the engine does not count them.
    """

    simulator: str
    outputs: np.ndarray
    load: dict[str, int]
    run: dict[str, int]
    long: dict[str, int]
    steps: int
    cycles_equal: bool | None
    cycles_simulated: int
    seconds: float = 0.0
    waves: Path | None = None
    clipped: dict[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values that are the same in every run."""
        return {
            "simulator": self.simulator,
            "sequences": len(self.outputs),
            "steps": self.steps,
            "outputs_equal": True,
            "cycles_equal": self.cycles_equal,
            "cycles_simulated": self.cycles_simulated,
            "counters": {"load": self.load, "run": self.run, "long": self.long},
            "clipped": self.clipped,
            "outputs": self.outputs.tolist(),
        }

    @classmethod
    def of(
        cls,
        expected: Expected,
        simulator: str,
        runs: Sequence[dict[str, Any]],
        seconds: float = 0.0,
        waves: Path | None = None,
    ) -> "Measured":
        """What the Verilog did in the runs of a scenario, which are what was expected.

        Parameters
        ----------
        expected : Expected
        simulator : str
        runs : list of dict
            ``outputs`` (packets), ``counters`` and ``clipped`` of every run.
        seconds : float
        waves : Path, optional
        """
        counters, clipped = [run["counters"] for run in runs], None
        if expected.scenario.config.count_clipped:
            clipped = {place: sum(run["clipped"][place] for run in runs) for place in CLIPPED_PLACES}
        return cls(
            simulator,
            expected.outputs([run["outputs"] for run in runs]),
            *expected.counters(counters),
            expected.steps,
            True if expected.scenario.stress.quiet else None,
            sum(c["cycles"] for c in counters),
            seconds,
            waves,
            clipped,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any], subject: object = "results") -> "Measured":
        """Inverse of :meth:`to_dict`.

        Parameters
        ----------
        values : dict
            As read from a file that nobody vouches for.
        subject : object
            What an error says that it is.

        Raises
        ------
        InputError
            Something is missing, or of another kind.
        """
        rules = {
            "simulator": lambda value: isinstance(value, str),
            "outputs": lambda value: isinstance(value, list),
            "steps": _is_count,
            "cycles_equal": lambda value: value in (True, None),
            "cycles_simulated": _is_count,
            "counters": _are_counters,
            "clipped": _are_clipped,
        }
        for name, holds in rules.items():
            if name not in values or not holds(values[name]):
                found = f"{values[name]!r:.60}" if name in values else "missing"
                raise InputError(f"{subject}: {name}", found, "must be as it was written: simulate again")
        try:
            outputs = np.asarray(values["outputs"])
        except ValueError as error:
            raise InputError(f"{subject}: outputs", str(error), "must be as it was written: simulate again") from error
        if outputs.dtype != np.int64 or outputs.ndim not in (2, 3):
            found = f"shape {outputs.shape} of {outputs.dtype}"
            raise InputError(f"{subject}: outputs", found, "must be as it was written: simulate again")
        counters = values["counters"]
        return cls(
            values["simulator"],
            outputs,
            counters["load"],
            counters["run"],
            counters["long"],
            values["steps"],
            values["cycles_equal"],
            values["cycles_simulated"],
            clipped=values["clipped"],
        )


def _is_count(value):
    return type(value) is int and value >= 0


def _are_clipped(value):
    """Whether a value holds counts of values beyond their format, or says that there are none."""
    return value is None or (
        isinstance(value, dict) and set(value) == set(CLIPPED_PLACES) and all(map(_is_count, value.values()))
    )


def _are_counters(value):
    """Whether a value holds the counters of a load, a run and a long run."""
    names = set(Counters().to_dict())
    return (
        isinstance(value, dict)
        and set(value) == {"load", "run", "long"}
        and all(
            isinstance(run, dict) and set(run) == names and all(map(_is_count, run.values())) for run in value.values()
        )
    )
