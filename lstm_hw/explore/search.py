"""The search: branch and bound in rounds, the most promising first.

A candidate is planned, and each of its plans timed, unless an engine that was timed, and that is within all limits, is
better than what the candidate or the plan takes at the least. So nothing is dropped that is among the best. Rounds are
as large whatever works on them, so that the result is the same.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..campaign import run_tasks
from ..errors import ConfigError
from .bounds import at_least
from .evaluate import planned, task_of, timed
from .objectives import Limit, beaten, cost, costs, front
from .space import Candidate, Numbers, Place

ROUND = 32
"""Candidates that are planned, and plans that are timed, before the next ones are chosen."""
Run = Callable[..., list]
"""What does tasks, as :func:`~lstm_hw.campaign.run_tasks`: of a function, its tasks and ``advance`` the results."""


@dataclass
class Found:
    """What a search found.

    Parameters
    ----------
    points : list of dict
        Every plan that was timed: ``numbers`` and ``place``, which of each, ``schedule``, and ``options``, ``engine``,
        ``resources``, ``counters`` and ``figures``, as :mod:`.evaluate` says.
    best : list of int
        Points on the front of their place, within all limits.
    candidates : int
        Shapes that there were. Each was planned, or is one of the following.
    too_large : int
        What the part could not hold, or no engine can be.
    beyond : int
        What could not be within the limits.
    pruned : int
        What could not be on the front.
    left : int
        What was not looked at, as time or points had run out.
    plans : int
        Plans of those that were planned. Each was timed, or is one of the following two.
    plans_beyond, plans_pruned : int
    refused : dict of str to int
        Why shapes have no plan, and how many.
    seconds : float
    """

    points: list[dict[str, Any]] = field(default_factory=list)
    best: list[int] = field(default_factory=list)
    candidates: int = 0
    too_large: int = 0
    beyond: int = 0
    pruned: int = 0
    left: int = 0
    plans: int = 0
    plans_beyond: int = 0
    plans_pruned: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class Question:
    """What is searched for.

    Parameters
    ----------
    numbers : tuple of Numbers
    places : tuple of Place
    steps, sequences : int
        Of a run.
    objectives : tuple of str
    limits : tuple of Limit
    """

    numbers: tuple[Numbers, ...]
    places: tuple[Place, ...]
    steps: int
    sequences: int
    objectives: tuple[str, ...]
    limits: tuple[Limit, ...] = ()

    @property
    def goes_on(self) -> bool:
        """Whether the rate of every engine is asked for."""
        return "rate" in (*self.objectives, *(limit.name for limit in self.limits))

    def task(self, candidate: Candidate) -> dict[str, Any]:
        """The task of planning a candidate."""
        numbers, place = self.numbers[candidate.numbers], self.places[candidate.place]
        return task_of(candidate, numbers, place, self.steps, self.sequences) | {"goes_on": self.goes_on}

    def known(self, least: dict[str, float]) -> dict[str, float]:
        """Costs of what is known at the least, and what follows where the latency is limited: in the longest time that
        is allowed, the energy is the least power."""
        longest = next((limit.value for limit in self.limits if limit.name == "latency"), None)
        return least | ({"power": least["energy"] * self.sequences / longest} if longest else {})

    def row(self, known: dict[str, float]) -> list[float]:
        """Costs of the objectives, as far as they are known."""
        return [known.get(name, -np.inf) for name in self.objectives]

    def excludes(self, known: dict[str, float]) -> bool:
        """Whether the limits cannot be met, by costs as far as they are known."""
        return any(known.get(limit.name, -np.inf) > cost(limit.name, limit.value) for limit in self.limits)


class Search:
    """One search.

    Parameters
    ----------
    question : Question
    tried : sequence of Candidate
    prune : bool
        Drop what cannot be on the front; otherwise all that could fit is timed.
    run : callable (function, tasks) -> results
        What does the tasks.
    """

    def __init__(
        self, question: Question, tried: Sequence[Candidate], prune: bool = True, run: Run = run_tasks
    ) -> None:
        self.question, self.prune, self.run = question, prune, run
        self.found = Found(candidates=len(tried))
        self._waiting = self._possible(tried)
        self._fronts: dict[int, list[int]] = {}

    def _possible(self, tried):
        """Candidates that may fit and be within the limits, with their bounds, the most promising first."""
        ask, result = self.question, []
        for candidate in tried:
            numbers, place = ask.numbers[candidate.numbers], ask.places[candidate.place]
            try:
                usage, known = at_least(candidate, numbers, place, ask.steps, ask.sequences)
            except ConfigError as error:  # there is no such engine: a memory would be deeper than any
                self._refuse(str(error))
                self.found.too_large += 1
                continue
            if place.part.lacking(usage):
                self.found.too_large += 1
            elif ask.excludes(known := ask.known(known)):
                self.found.beyond += 1
            else:
                result.append((candidate, ask.row(known)))
        return _ordered(result)

    def go(
        self,
        most_points: int | None = None,
        most_seconds: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Found:
        """Search until nothing is left, or no further round may begin.

        Parameters
        ----------
        most_points : int, optional
            No further round begins after so many engines were timed.
        most_seconds : float, optional
            ... after so many seconds; what is found then depends on the machine.
        progress : callable (done, total), optional
            With candidates.

        Returns
        -------
        Found
        """
        begun, found = time.monotonic(), self.found
        while self._waiting:
            if most_points is not None and len(found.points) >= most_points:
                break
            if most_seconds is not None and time.monotonic() - begun >= most_seconds:
                break
            now, self._waiting = self._waiting[:ROUND], self._waiting[ROUND:]
            before, half = found.candidates - len(now) - len(self._waiting), len(now) / 2

            def advance(done, total, before=before, half=half):
                if progress:
                    progress(int(before + half * done / max(1, total)), found.candidates)

            plans = self._planned([candidate for candidate, _ in now], advance)
            self._time(plans, partial(advance, before=before + half))
            found.pruned += len(self._waiting)
            self._waiting = self._kept(self._waiting)
            found.pruned -= len(self._waiting)
            if progress:
                progress(found.candidates - len(self._waiting), found.candidates)
        found.left = len(self._waiting)
        found.best = sorted(n for best in self._fronts.values() for n in best)
        self._go_on([found.points[n] for n in found.best])
        found.seconds = time.monotonic() - begun
        return found

    def _refuse(self, why):
        why = " ".join(why.split())
        self.found.refused[why] = self.found.refused.get(why, 0) + 1

    def _planned(self, chosen, advance):
        """Plans of candidates with their bounds: pairs ((candidate, plan), bounds)."""
        ask, result = self.question, []
        for candidate, plans in zip(
            chosen, self.run(planned, [ask.task(one) for one in chosen], advance=advance), strict=True
        ):
            for plan in plans:
                if "refused" in plan:
                    self._refuse(plan["refused"])
                    continue
                self.found.plans += 1
                figures = plan["least"] | ask.numbers[candidate.numbers].figures
                known = ask.known({name: cost(name, figure) for name, figure in figures.items()})
                if ask.excludes(known):
                    self.found.plans_beyond += 1
                else:
                    result.append(((candidate, plan), ask.row(known)))
        return _ordered(result)

    def _time(self, plans, advance):
        ask, found, total = self.question, self.found, len(plans)
        while plans:
            found.plans_pruned += len(plans)
            plans = self._kept(plans)
            found.plans_pruned -= len(plans)
            now, plans = [pair for pair, _ in plans[:ROUND]], plans[ROUND:]
            tasks = [self._timing(candidate, plan) for candidate, plan in now]
            behind, fresh = total - len(plans) - len(now), set()

            def told(done, _, behind=behind):
                advance(behind + done, total)

            for (candidate, plan), result in zip(now, self.run(timed, tasks, advance=told), strict=True):
                found.points.append(
                    {
                        "numbers": candidate.numbers,
                        "place": candidate.place,
                        "schedule": candidate.schedule,
                        **{name: plan[name] for name in ("options", "engine", "resources")},
                        "counters": result["counters"],
                        "figures": result["figures"] | ask.numbers[candidate.numbers].figures,
                    }
                )
                fresh.add(candidate.place)
            for place in fresh:
                self._fronts[place] = best_of(found.points, place, ask.objectives, ask.limits)

    def _timing(self, candidate, plan):
        """The task of timing a plan."""
        return self.question.task(candidate) | {"options": plan["options"], "engine": plan["engine"]}

    def _go_on(self, points):
        """Add to points the rate of a sequence that goes on, where nobody asked for it before."""
        points = [point for point in points if "rate" not in point["figures"]]
        tasks = [
            self._timing(Candidate(point["numbers"], point["place"], point["schedule"], {}), point) | {"goes_on": True}
            for point in points
        ]
        for point, result in zip(points, self.run(timed, tasks, advance=lambda done, total: None), strict=True):
            point["figures"]["rate"] = result["figures"]["rate"]

    def _kept(self, nodes):
        """What may still be on the front of its place, of pairs of a candidate, or one with its plan, and bounds."""
        if not self.prune or not nodes:
            return nodes
        places = np.array([(node if isinstance(node, Candidate) else node[0]).place for node, _ in nodes])
        bounds, gone = np.array([row for _, row in nodes]), np.zeros(len(nodes), dtype=bool)
        for place, best in self._fronts.items():
            rows = places == place
            if best and rows.any():
                figures = [self.found.points[n]["figures"] for n in best]
                table = np.array([costs(each, self.question.objectives) for each in figures])
                gone[rows] = beaten(bounds[rows], table)
        return [node for node, drop in zip(nodes, gone, strict=True) if not drop]


def best_of(points: Sequence[dict], place: int, objectives: Sequence[str], limits: Sequence[Limit]) -> list[int]:
    """Points of a place that are within all limits and that none other of it beats; of equal ones the smallest."""
    possible = [
        n
        for n, point in enumerate(points)
        if point["place"] == place and all(limit.holds(point["figures"]) for limit in limits)
    ]
    possible.sort(key=lambda n: _identity(points[n]))
    if not possible:
        return []
    table = np.array([costs(points[n]["figures"], objectives) for n in possible])
    return [possible[n] for n in front(table)]


def _identity(point):
    """What tells points apart whatever the order in which they came, the smaller engines first."""
    resources = point["resources"]
    taken = [resources[name] for name in ("bram36", "ff", "lut", "lutram", "dsp")]
    return [*taken, point["numbers"], point["schedule"], repr(point["options"]), repr(point["engine"])]


def _ordered(nodes):
    """Pairs of something and bounds, those first that are small in all of them together: by the sum of their ranks."""
    if not nodes:
        return nodes
    ranks = np.zeros(len(nodes))
    for column in np.array([row for _, row in nodes]).T:
        _, rank = np.unique(column, return_inverse=True)
        ranks += rank / max(1, rank.max())
    return [nodes[n] for n in np.argsort(ranks, kind="stable")]
