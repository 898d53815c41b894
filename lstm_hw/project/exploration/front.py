"""What an exploration found: as a table, as files, read back, and any of its engines as a project file."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import ConfigError, InputError, VerificationError
from ...explore.objectives import OBJECTIVES
from ...explore.search import Found, Question
from ...files import to_json, whole_folder, write_file
from ...machine.config import EngineConfig
from ...machine.parts import BOARDS
from ...plan.schedules import SCHEDULES
from ...provenance import read_stamped, stamped
from .. import toml
from ..keys import PlanSection, TargetSection
from ..plots import draw_front
from ..render import page
from ..start import project_name
from .numbers import with_numbers
from .tasks import follows_from
from .text import describe, headed, in_column, shown

if TYPE_CHECKING:
    from ..api import Project

FILE = "explore.json"


@dataclass(frozen=True)
class Exploration:
    """The engines of a project that none other beats.

    Parameters
    ----------
    values : dict
        JSON-able; the content of ``explore.json``.
    found : Found or None
        The search; None where it was read from a file.
    """

    values: Mapping[str, Any]
    found: Found | None = None

    @classmethod
    def of(
        cls,
        project: "Project",
        question: Question,
        formats: Sequence[tuple[int, int]],
        found: Found,
        as_is: Sequence[Mapping[str, Any]],
        notes: Sequence[str],
    ) -> "Exploration":
        """From what a search found."""
        first = question.objectives[0]
        best = sorted(
            (found.points[n] for n in found.best),
            key=lambda p: (p["place"], -p["figures"][first] if OBJECTIVES[first].higher else p["figures"][first]),
        )
        points = []
        for number, point in enumerate(best, 1):
            numbers, place = question.numbers[point["numbers"]], question.places[point["place"]]
            weight_bits, operand_bits = formats[point["numbers"]]
            points.append(
                {
                    "number": number,
                    "part": place.name,
                    "clock_mhz": place.clock_mhz,
                    "weight_bits": weight_bits,
                    "operand_bits": operand_bits,
                    "engine_id": f"{EngineConfig.from_dict(point['engine']).content_id:#010x}",
                    "described": describe(point, numbers.label),
                    **{
                        name: point[name]
                        for name in ("schedule", "options", "figures", "resources", "counters", "engine")
                    },
                }
            )
        values = {
            "name": project.config.name,
            "follows_from": follows_from(project),
            "objectives": list(question.objectives),
            "limits": {limit.name: limit.value for limit in question.limits},
            "steps": question.steps,
            "sequences": question.sequences,
            "parts": [place.name for place in question.places],
            "counts": {
                f.name: getattr(found, f.name) for f in fields(Found) if f.name not in ("points", "best", "seconds")
            }
            | {"timed": len(found.points)},
            "notes": list(notes),
            "present": list(as_is),
            "points": points,
        }
        return cls(values, found)

    @property
    def points(self) -> list[dict[str, Any]]:
        """The front of each part, by the first objective."""
        return self.values["points"]

    def lines(self) -> list[str]:
        """The front as an aligned table, what was looked at, and how the present configuration compares."""
        values = self.values
        header = ("point", "part", "engine", *map(headed, shown(values)))
        rows = [
            (
                str(p["number"]),
                p["part"],
                p["described"],
                *(in_column(name, p["figures"].get(name)) for name in shown(values)),
            )
            for p in self.points
        ]
        for one in values["present"]:
            if "figures" in one:
                rows.append(
                    (
                        "as is",
                        one["part"],
                        one["described"],
                        *(in_column(n, one["figures"].get(n)) for n in shown(values)),
                    )
                )
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        sides = "<<<" + ">" * (len(header) - 3)
        lines = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)).rstrip()
            for row in (header, *rows)
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return lines + self.looked_at()

    def looked_at(self) -> list[str]:
        """What was looked at, in sentences."""
        values, counts = self.values, self.values["counts"]
        dropped = counts["too_large"] + counts["beyond"] + counts["pruned"]
        lines = [
            f"{counts['candidates']:,} shapes: {counts['too_large']:,} too large, {counts['beyond']:,} beyond the "
            f"limits, {counts['pruned']:,} beaten before they were planned; {counts['plans']:,} plans of the other "
            f"{counts['candidates'] - dropped - counts['left']:,}: {counts['plans_beyond'] + counts['plans_pruned']:,} "
            f"dropped, {counts['timed']:,} timed"
        ]
        if counts["left"]:
            lines.append(f"{counts['left']:,} shapes were not looked at: the front is that of the others")
        lines += values["notes"]
        lines += [
            f"the configuration as it is, on {one['part']}: {one['refused']}"
            for one in values["present"]
            if "refused" in one
        ]
        return lines

    def csv(self) -> str:
        """The front as comma-separated values: what each engine is, its figures and its resources."""
        text = io.StringIO()
        figures, resources = list(OBJECTIVES), list(self.points[0]["resources"]) if self.points else []
        engine = ("rows", "contexts", "cells", "weight_words", "axi_ports", "axi_data_bits")
        writer = csv.writer(text, lineterminator="\n")
        plain = ("number", "part", "clock_mhz", "weight_bits", "operand_bits", "schedule")
        writer.writerow([*plain, "options", *engine, *figures, *resources, "cycles"])
        for point in self.points:
            options = " ".join(f"{name}={value}" for name, value in point["options"].items())
            writer.writerow(
                [
                    *(point[name] for name in plain),
                    options,
                    *(point["engine"][name] for name in engine),
                    *(point["figures"].get(name, "") for name in figures),
                    *(point["resources"][name] for name in resources),
                    point["counters"]["cycles"],
                ]
            )
        return text.getvalue()

    def write(self, folder: str | os.PathLike) -> Path:
        """Write ``explore.json``, ``explore.csv`` and ``explore.html`` into a folder, which is replaced."""
        with whole_folder(folder) as new:
            write_file(new / FILE, to_json(stamped(self.values)))
            write_file(new / "explore.csv", self.csv())
            write_file(new / "explore.html", self.html())
        return Path(folder)

    def html(self) -> str:
        """The front as one HTML page that refers to nothing outside: a plot, the table, and every engine to open."""
        return page(
            "explore.html",
            values=self.values,
            lines=self.looked_at(),
            shown=shown(self.values),
            objectives=OBJECTIVES,
            schedules=SCHEDULES,
            headed=headed,
            number=in_column,
            drawing=self._drawing(),
            toml=_engine_text,
        )

    def _drawing(self):
        x, y = [*self.values["objectives"], "area", "latency"][:2]
        if x == y:
            y = "latency"
        axes = []
        for name in (x, y):
            share = OBJECTIVES[name].unit == "share"
            axes.append((f"{name} ({'%' if share else OBJECTIVES[name].unit})", 100.0 if share else 1.0, not share))
        panels: dict[str, tuple[dict, list]] = {name: ({}, []) for name in self.values["parts"]}
        for point in self.points:
            kind = point["described"].partition(",")[0]
            figures = point["figures"]
            panels[point["part"]][0].setdefault(kind, []).append((point["number"], figures[x], figures[y]))
        for n, point in enumerate(self.found.points if self.found else ()):
            if n not in self.found.best:
                panels[self.values["parts"][point["place"]]][1].append((point["figures"][x], point["figures"][y]))
        return draw_front(panels, axes)

    @classmethod
    def read(cls, project: "Project") -> "Exploration":
        """The last exploration of a project.

        Raises
        ------
        InputError
            There is none, or it was of another model or configuration.
        """
        path = project.folder / "explore" / FILE
        if not path.is_file():
            raise InputError(path, "no exploration", "must be there: lstm-hw explore, without --point")
        values = read_stamped(path)
        if values["follows_from"] != follows_from(project):
            raise InputError(
                path, "an exploration of another model or configuration", "must be made anew: lstm-hw explore"
            )
        return cls(values)

    def project_of(self, project: "Project", number: int, name: str | None = None) -> "Project":
        """A project with the engine and the schedule of a point of the front, as they were promised.

        Parameters
        ----------
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
        from ..api import Project

        point = next((p for p in self.points if p["number"] == number), None)
        if point is None:
            raise ConfigError("point", number, f"must be 1 to {len(self.points)}")
        engine = EngineConfig.from_dict(point["engine"])
        base = with_numbers(project, point["weight_bits"], point["operand_bits"])
        options = {n: tuple(v) if isinstance(v, list) else v for n, v in point["options"].items()}
        plan = PlanSection(point["schedule"], sequences=self.values["sequences"], steps=self.values["steps"], **options)
        board = point["part"].lower() in BOARDS
        target = TargetSection(
            part=None if board else point["part"],
            board=point["part"].lower() if board else None,
            clock=point["clock_mhz"],
        )
        given = {n: getattr(engine, n) for n in point["engine"]}
        config = replace(
            base.config, name=name or base.config.name, plan=plan, target=target, engine=MappingProxyType(given)
        )
        made = Project(config, base.trained, base.data, project.progress, project.note)
        for what, ours, promised in (
            ("engine", made.engine, engine),
            ("cycles", made.choice.outcome.cycles, point["counters"]["cycles"]),
        ):
            if ours != promised:
                raise VerificationError(f"point {number}: {what}", ours, f"must be {promised}, as it was promised")
        return made

    def write_project(self, project: "Project", number: int, path: str | os.PathLike) -> Path:
        """Write the project file of a point of the front; see :meth:`project_of`."""
        path = Path(path)
        made = self.project_of(project, number, project_name(path.stem))
        _ = made.plan  # proved
        return write_file(path, made.resolved.to_toml(path.parent, made.engine))


def _engine_text(point):
    """The engine as the section of a project file, a key a line."""
    return toml.dumps({"engine": point["engine"]})
