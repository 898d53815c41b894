"""The front of an exploration as a page: a plot, the table, and every engine to open."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...explore.objectives import OBJECTIVES
from ...plan.schedules import SCHEDULES
from .. import toml
from ..plots import draw_front
from ..render import page
from .table import looked_at
from .text import headed, in_column, shown


def as_html(values: Mapping[str, Any]) -> str:
    """The front as one HTML page that refers to nothing outside: a plot, the table, and every engine to open."""
    return page(
        "explore.html",
        values=values,
        lines=looked_at(values),
        shown=shown(values),
        objectives=OBJECTIVES,
        schedules=SCHEDULES,
        headed=headed,
        number=in_column,
        drawing=_drawing(values),
        toml=_engine_text,
    )


def axes(objectives: Sequence[str]) -> tuple[str, str]:
    """The two figures of the plot: those that engines are compared by first."""
    x, y = [*objectives, "area", "latency"][:2]
    return x, "latency" if x == y else y


def _drawing(values):
    x, y = axes(values["objectives"])
    labels = []
    for name in (x, y):
        share = OBJECTIVES[name].unit == "share"
        labels.append((f"{name} ({'%' if share else OBJECTIVES[name].unit})", 100.0 if share else 1.0, not share))
    panels: dict[str, tuple[dict, list]] = {name: ({}, others) for name, others in values["others"].items()}
    for point in values["points"]:
        kind, figures = point["described"].partition(",")[0], point["figures"]
        panels[point["part"]][0].setdefault(kind, []).append((point["number"], figures[x], figures[y]))
    return draw_front(panels, labels)


def _engine_text(point):
    """The engine as the section of a project file, a key a line."""
    return toml.dumps({"engine": point["engine"]})
