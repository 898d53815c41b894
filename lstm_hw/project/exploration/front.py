"""What an exploration found: from a search, as files, read back, and any of its engines as a project file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError
from ...explore.objectives import OBJECTIVES
from ...explore.search import Found, Question
from ...files import locked, to_json, whole_folder, write_file
from ...machine.config import EngineConfig
from ...provenance import read_stamped, stamped
from ..start import project_name
from .chosen import project_of
from .page import as_html, axes
from .table import as_csv, looked_at, table
from .tasks import follows_from
from .text import describe
from .wanted import Choice

if TYPE_CHECKING:
    from ..api import Project

FILE, CSV, PAGE = "explore.json", "explore.csv", "explore.html"
FILES = (CSV, PAGE, FILE)
"""What an exploration leaves in its folder."""


@dataclass(frozen=True)
class Exploration:
    """The engines of a project that none other beats.

    Parameters
    ----------
    values : dict
        JSON-able; the content of ``explore.json``.
    """

    values: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        project: "Project",
        question: Question,
        choices: Sequence[Choice],
        found: Found,
        as_is: Sequence[Mapping[str, Any]],
        notes: Sequence[str],
    ) -> "Exploration":
        """From what a search found."""
        counts = {f.name: getattr(found, f.name) for f in fields(Found) if f.name not in ("points", "best", "seconds")}
        values = {
            "name": project.config.name,
            "follows_from": follows_from(project),
            "objectives": list(question.objectives),
            "limits": {limit.name: limit.value for limit in question.limits},
            "steps": question.steps,
            "sequences": question.sequences,
            "parts": [place.name for place in question.places],
            "counts": counts | {"timed": len(found.points)},
            "notes": list(notes),
            "present": list(as_is),
            "points": _points(question, choices, found),
            "others": _others(question, found),
        }
        return cls(values)

    @classmethod
    def read(cls, project: "Project") -> "Exploration":
        """The last exploration of a project.

        Raises
        ------
        InputError
            There is none, or it was of another model or configuration, or by another version of lstm-hw.
        """
        path = project.folder / "explore" / FILE
        if not path.is_file():
            raise InputError(path, "no exploration", "must be there: lstm-hw explore, without --point")
        values = read_stamped(path)
        if values["follows_from"] != follows_from(project):
            raise InputError(
                path, "an exploration of another model or configuration", "must be made anew: lstm-hw explore"
            )
        if not all(point.keys() >= {f.name for f in fields(Choice)} for point in values["points"]):
            raise InputError(path, "an exploration by another version of lstm-hw", "must be made anew: lstm-hw explore")
        return cls(values)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The front of each part, by the first objective."""
        return self.values["points"]

    def lines(self) -> list[str]:
        """The front as an aligned table, what was looked at, and how the present configuration compares."""
        return table(self.values) + looked_at(self.values)

    def write(self, folder: str | os.PathLike) -> Path:
        """Write ``FILES`` into a folder, which is replaced; of several processes that do, one after the other."""
        folder = Path(folder)
        with locked(folder.with_name(f".{folder.name}.lock")), whole_folder(folder) as new:
            write_file(new / FILE, to_json(stamped(self.values)))
            write_file(new / CSV, as_csv(self.values))
            write_file(new / PAGE, as_html(self.values))
        return folder

    def project_of(self, project: "Project", number: int, name: str | None = None) -> "Project":
        """A project with the engine and the schedule of a point of the front; see :func:`.chosen.project_of`."""
        return project_of(self.values, project, number, name)

    def write_project(self, project: "Project", number: int, path: str | os.PathLike) -> Path:
        """Write the project file of a point of the front; see :meth:`project_of`."""
        path = Path(path)
        made = self.project_of(project, number, project_name(path.stem))
        _ = made.plan  # proved
        return write_file(path, made.resolved.to_toml(path.parent, made.engine))


def _points(question, choices, found):
    """The engines of the fronts, part after part, the best by the first objective first."""
    first, result = question.objectives[0], []
    best = sorted(
        (found.points[n] for n in found.best),
        key=lambda p: (p["place"], -p["figures"][first] if OBJECTIVES[first].higher else p["figures"][first]),
    )
    for number, point in enumerate(best, 1):
        numbers, place = question.numbers[point["numbers"]], question.places[point["place"]]
        result.append(
            {
                "number": number,
                "part": place.name,
                "clock_mhz": place.clock_mhz,
                **asdict(choices[point["numbers"]]),
                "engine_id": f"{EngineConfig.from_dict(point['engine']).content_id:#010x}",
                "described": describe(point, numbers.label),
                **{name: point[name] for name in ("schedule", "options", "figures", "resources", "counters", "engine")},
            }
        )
    return result


def _others(question, found):
    """Part -> the two figures of the plot, of engines that were timed and are not on the front."""
    result, best = {place.name: [] for place in question.places}, set(found.best)
    for n, point in enumerate(found.points):
        if n not in best:
            shown = [point["figures"][name] for name in axes(question.objectives)]
            result[question.places[point["place"]].name].append(shown)
    return result
