"""What the configuration as it is comes to, to stand beside the engines that are found."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError
from ...explore.evaluate import figures_of
from ...explore.search import Question, Run
from ...machine.parts import BOARDS
from ...plan.schedules import Request
from ..keys import TargetSection
from .numbers import cost_of_numbers, too_far
from .tasks import read_project, task_of
from .text import describe

if TYPE_CHECKING:
    from ..api import Project


def present(project: "Project", steps: int, sequences: int) -> dict[str, Any]:
    """What a project comes to: its engine, schedule and figures as those of a point, or why nothing fits."""
    try:
        plan, outcome = project.choice.outcome.plan, project.choice.outcome
    except ConfigError as error:
        return {"refused": " ".join(str(error).split())}
    part, engine = project.config.target.fpga, project.engine
    ask = Request(plan.network, steps, sequences, {}, project._memory)
    counters, figures = figures_of(plan, ask, part, project.clock_mhz)
    point = {
        "schedule": outcome.name,
        "options": {n: list(v) if isinstance(v, tuple) else v for n, v in outcome.options.items()},
        "engine": engine.to_dict(),
    }
    label = f"w{project.config.quantize.weight_bits} x{engine.operand_bits}"
    figures |= cost_of_numbers(project)
    return {
        "described": describe(point, label),
        **point,
        "figures": figures,
        "counters": counters,
        "too_far": too_far(project),
    }


def as_it_is(task: dict[str, Any]) -> dict[str, Any]:
    """:func:`present` as a task, see :func:`.tasks.task_of`."""
    return present(read_project(task), task["steps"], task["sequences"])


def present_on(project: "Project", question: Question, run: Run) -> list[dict[str, Any]]:
    """What the configuration as it is comes to on each place of a question."""
    from ..api import Project

    configs = [_at(project, place, question) for place in question.places]
    asked = {"steps": question.steps, "sequences": question.sequences}
    if project.is_of_files:
        found = run(as_it_is, [task_of(project, config) | asked for config in configs], label="as it is")
    else:
        found = [present(Project(config, project.trained, project.data), **asked) for config in configs]
    return [{"part": place.name, **one} for place, one in zip(question.places, found, strict=True)]


def _at(project, place, question):
    """The configuration of the project as it is, on a place."""
    board = place.name.lower() in BOARDS
    target = TargetSection(
        part=None if board else place.name,
        board=place.name.lower() if board else None,
        lanes=place.lanes,
        clock=place.clock_mhz,
    )
    plan = replace(project.config.plan, sequences=question.sequences, steps=question.steps)
    return replace(project.config, target=target, plan=plan)
