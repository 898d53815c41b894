"""A point of the front as a project: with the engine, the schedule and the cycles that were promised."""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, VerificationError
from ...machine.config import EngineConfig
from ...machine.parts import BOARDS
from ..keys import PlanSection, TargetSection
from .numbers import with_numbers
from .wanted import Choice

if TYPE_CHECKING:
    from ..api import Project


def project_of(values: Mapping[str, Any], project: "Project", number: int, name: str | None = None) -> "Project":
    """A project with the engine and the schedule of a point of the front, as they were promised.

    Parameters
    ----------
    values : dict
        Of an exploration.
    project : Project
        The one that was explored.
    number : int
        Of the point.
    name : str, optional
        Of the project.

    Raises
    ------
    ConfigError
        There is no such point.
    VerificationError
        The project would not have the engine, or the cycles, of the point.
    """
    point = next((p for p in values["points"] if p["number"] == number), None)
    if point is None:
        raise ConfigError("point", number, f"must be 1 to {len(values['points'])}")
    made = _as_asked(values, project, point, name)
    for what, ours, promised in (
        ("engine", made.engine, EngineConfig.from_dict(point["engine"])),
        ("cycles", made.choice.outcome.cycles, point["counters"]["cycles"]),
    ):
        if ours != promised:
            raise VerificationError(f"point {number}: {what}", ours, f"must be {promised}, as it was promised")
    return made


def _as_asked(values, project, point, name):
    """The project with all that a point says, its engine not made yet."""
    from ..api import Project

    engine = EngineConfig.from_dict(point["engine"])
    base = with_numbers(project, Choice(**{f.name: point[f.name] for f in fields(Choice)}))
    options = {n: tuple(v) if isinstance(v, list) else v for n, v in point["options"].items()}
    plan = PlanSection(point["schedule"], sequences=values["sequences"], steps=values["steps"], **options)
    board = point["part"].lower() in BOARDS
    target = TargetSection(
        part=None if board else point["part"],
        board=point["part"].lower() if board else None,
        clock=point["clock_mhz"],
    )
    given = {n: getattr(engine, n) for n in point["engine"]}
    quantize = base.config.quantize
    if "error" in values["limits"]:
        quantize = replace(quantize, max_error=values["limits"]["error"])
    config = replace(
        base.config,
        name=name or base.config.name,
        quantize=quantize,
        plan=plan,
        target=target,
        engine=MappingProxyType(given),
    )
    made = Project(config, base.trained, base.data, project.progress, project.note)
    made.metric = project.metric  # what it assumes is told once
    return made
