"""The run of an exploration: number formats, the search, and the error where nothing is found."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ...campaign import run_tasks, workers_kept
from ...errors import ConfigError, InputError
from ...explore.objectives import DEFAULT, Limit
from ...explore.search import Question, Search
from ...explore.space import BUFFERS, candidates, not_streamed
from ...plan.choose import activity_in_words
from .front import Exploration
from .numbers import numbers_tried
from .present import present_on
from .text import describe, with_unit
from .wanted import LIMITS, Wanted, asked_parts, choices_tried, place_of

if TYPE_CHECKING:
    from ..api import Project

JUDGED = {"accuracy", "error"}
"""Limits that stand for ``quantize.max_error``."""


def explore(project: "Project", wanted: Wanted, jobs: int = 1, cluster: str | None = None) -> Exploration:
    """The best engines of a project.

    Parameters
    ----------
    project : Project
    wanted : Wanted
    jobs : int
        Processes of this machine that work on it.
    cluster : str, optional
        Address of a scheduler, whose workers work on it instead.

    Returns
    -------
    Exploration

    Raises
    ------
    ConfigError
        A part is not known, nothing fits, or no engine is within the limits: says which comes nearest.
    InputError
        An accuracy is asked for, or shares to prune, and there are no labels.
    """
    places = tuple(place_of(project, name, wanted.clock) for name in asked_parts(project, wanted))
    share = project.metric is not None and project.metric.is_share
    objectives = wanted.objectives or tuple("error" if n == "accuracy" and not share else n for n in DEFAULT)
    limits = tuple(Limit(name, value * LIMITS[name]) for name, value in wanted.limits.items())
    if not share and "accuracy" in (*objectives, *wanted.limits):
        found = "no labels" if project.metric is None else f"labels of the metric {project.metric.name}"
        raise InputError("accuracy", found, "must have labels that are right or wrong; error needs none")
    pruned = "sparsity" if wanted.sparsity else "pattern" if wanted.pattern else None
    if pruned and (not share or "error" in (*objectives, *wanted.limits)):
        found = "labels that are not right or wrong" if not share else "error as objective or limit"
        rule = "must be judged by accuracy: error is that of the numbers, beside a float model that is pruned as well"
        raise InputError(pruned, found, rule)
    steps = project._steps(wanted.steps if wanted.steps is not None else project.config.plan.steps)
    sequences = wanted.sequences or project.config.plan.sequences or 1
    cache = project.folder / "tasks"

    def run(function, tasks, advance=None, label=""):
        return run_tasks(function, tasks, jobs=jobs, cluster=cluster, cache=cache, label=label, advance=advance)

    with workers_kept():
        return _explored(project, wanted, Question((), places, steps, sequences, objectives, limits), run)


def _explored(project, wanted, question, run):
    numbers, notes, choices = [], [], choices_tried(project, wanted)
    judged, beyond = bool(JUDGED & wanted.limits.keys()), False
    for choice, (found, wrong) in zip(choices, numbers_tried(project, choices, run), strict=True):
        beyond |= found is not None and wrong is not None
        if found is not None and (judged or wrong is None):
            numbers.append((choice, found))
            if assumed := activity_in_words(found.network):
                notes.append(f"{choice.label}: {assumed}")
        if wrong is not None:
            notes.append(f"{choice.label}: {wrong}")
    if beyond and not judged:
        notes.append("numbers beyond quantize.max_error are not explored; --max-error or --accuracy says what is")
    elif beyond and "error" not in wanted.limits:
        notes.append("of points beyond quantize.max_error lstm-hw run says so, and goes on with --allow-error")
    if not numbers:
        rule = "must be number formats that the model can have, with errors that are taken"
        raise ConfigError("explore", "; ".join(notes), rule)
    question, places = replace(question, numbers=tuple(one for _, one in numbers)), question.places
    tried = list(candidates(question.numbers, places, wanted.space, question.sequences))
    streams, rows = not_streamed(question.numbers, wanted.space, question.sequences, tried)
    if streams:
        buffer = f"{min(wanted.space.weight_words or BUFFERS):,} words"
        what = f"not tried on {rows} rows and more, where a buffer of {buffer} holds all weights"
        notes.append(f"{', '.join(streams)}: {what}; --schedule without those that stay on chip tries them")
    with project.progress("explore") as progress:
        found = Search(question, tried, run=run).go(wanted.most_points, wanted.most_seconds, progress)
    for place, name in enumerate(place.name for place in places):
        if not any(found.points[n]["place"] == place for n in found.best):
            raise _nothing(name, place, question, tried, found, wanted, run)
    as_is = present_on(project, question, run)
    return Exploration.of(project, question, [choice for choice, _ in numbers], found, as_is, notes)


def _nothing(name, place, question, tried, found, wanted, run):
    """The error where no engine of a place is within the limits: which comes nearest, or why none fits."""
    mine = [candidate for candidate in tried if candidate.place == place]
    rule = "must have an engine: ask for less, for another part, or for more engines to be tried"
    if found.left and not question.limits:
        return ConfigError(f"explore {name}", "no engine before time or points had run out", rule)
    if not mine:
        way = (
            "must be one for such a model: try other schedules, contexts, sequences, or what docs/planners.md asks for"
        )
        return ConfigError(f"explore {name}", "no schedule to try", way)
    if question.limits:
        free = replace(question, objectives=tuple(limit.name for limit in question.limits), limits=())
        loose = Search(free, mine, run=run).go(wanted.most_points, wanted.most_seconds)
        if loose.best:
            points = [loose.points[n] for n in loose.best]

            def beyond(point):
                return sum(limit.excess(point["figures"]) for limit in question.limits)

            nearest = min(points, key=beyond)
            figures = nearest["figures"]
            lacks = ", ".join(
                f"{limit.name} {with_unit(limit.name, figures[limit.name])} for {with_unit(limit.name, limit.value)}"
                for limit in question.limits
                if not limit.holds(figures)
            )
            engine = describe(nearest, question.numbers[nearest["numbers"]].label)
            return ConfigError(f"explore {name}", f"no engine within the limits; {engine} comes nearest: {lacks}", rule)
    why = max(found.refused, key=found.refused.get) if found.refused else "even the smallest shape is too large"
    return ConfigError(f"explore {name}", f"no engine fits ({why})", rule)
