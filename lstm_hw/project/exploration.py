"""Exploring the engines of a project: every number format, part, schedule and shape that is worth it, and the best.

:func:`explore` finds them, :class:`Exploration` shows them and turns any of them into a project file.
"""

import csv
import difflib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..campaign import run_tasks, workers_kept
from ..errors import ConfigError, FormatError, InputError, VerificationError
from ..explore.evaluate import figures_of, numbers_from_json, numbers_to_json
from ..explore.objectives import DEFAULT, OBJECTIVES, Limit, check_objectives
from ..explore.search import Found, Question, Search
from ..explore.space import KNOBS, Memory, Numbers, Place, Space, candidates
from ..files import to_json, whole_folder, write_file
from ..machine.config import WEIGHT_WIDTHS, EngineConfig
from ..machine.parts import BOARDS, PARTS
from ..plan.schedules import SCHEDULES, Request
from ..plan.sizing import counting, engine_formats, network_of, stored_weight_bits
from ..provenance import digest, read_stamped, stamped
from . import toml
from .plots import draw_front
from .quantity import quantity
from .render import page
from .settings import MAX_SEQUENCES, PlanSection, ProjectConfig, TargetSection
from .start import project_name

if TYPE_CHECKING:
    from .api import Project

WIDTHS = (16, 12, 8, 6, 4)
"""Weight bits that are tried, beside those of the configuration, where nobody says which."""
OPERAND_BITS = (16, 8)
FILE = "explore.json"
FREED = (
    *KNOBS,
    *("axi_ports", "x_per_beat", "accumulator_bits", "block_sums"),
    *("h_elements", "x_elements", "accumulators", "finish_entries", "states", "program_length", "shifts", "lifts"),
    *(
        "weight_bits",
        "operand_bits",
        "preact",
        "cell",
        "activated",
        "hidden",
        "h_shifts",
        "c_shifts",
        "row_bits",
        "lists",
    ),
)
"""Keys of [engine] that are not taken from the configuration, but explored or derived."""
LIMITS = {"latency": 1e6, "accuracy": 1.0, "error": 1.0, "power": 1e3, "rate": 1.0}
"""Figures that can be limited -> their units in that of the option."""


@dataclass(frozen=True)
class Wanted:
    """What is explored, and for what.

    Parameters
    ----------
    parts : tuple of str
        Parts and boards; those of the configuration without any.
    objectives : tuple of str
        Names of :data:`~lstm_hw.explore.objectives.OBJECTIVES`; those of ``DEFAULT`` without any.
    limits : dict of str to float
        ``latency`` in seconds, ``accuracy`` and ``error`` as shares, ``power`` in watts, ``rate`` in steps a second.
    weight_bits, operand_bits : tuple of int
        Number formats; ``WIDTHS`` and ``OPERAND_BITS`` without any.
    space : Space
        Shapes and schedules.
    sequences, steps : int, optional
        Of a run; those of the configuration and its data without it.
    clock : float, optional
        MHz, for all parts.
    most_points : int, optional
        No further round of the search begins after so many engines.
    most_seconds : float, optional
        ... after so many seconds; what is found then depends on the machine.
    """

    parts: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    weight_bits: tuple[int, ...] = ()
    operand_bits: tuple[int, ...] = ()
    space: Space = field(default_factory=Space)
    sequences: int | None = None
    steps: int | None = None
    clock: float | None = None
    most_points: int | None = None
    most_seconds: float | None = None

    def __post_init__(self):
        if self.objectives:
            check_objectives(self.objectives)
        for name, value in self.limits.items():
            if name not in LIMITS:
                raise ConfigError("limit", repr(name), f"must be of {', '.join(LIMITS)}")
            most = 1 if name == "accuracy" else float("inf")
            if not 0 < value <= most:
                raise ConfigError(name, value, "must be above 0" + " and at most 1" * (name == "accuracy"))
        for name, values, known in (
            ("weight_bits", self.weight_bits, WEIGHT_WIDTHS),
            ("operand_bits", self.operand_bits, OPERAND_BITS),
        ):
            for value in values:
                if value not in known:
                    raise ConfigError(name, value, f"must be of {', '.join(map(str, known))}")
        if self.most_points is not None and self.most_points < 1:
            raise ConfigError("budget", self.most_points, "must be at least 1 engine")
        if self.sequences is not None and not 1 <= self.sequences <= MAX_SEQUENCES:
            raise ConfigError("sequences", self.sequences, f"must be between 1 and {MAX_SEQUENCES:,}")


def wanted(
    objective: str | None = None,
    schedule: str | None = None,
    latency: str | None = None,
    rate: str | None = None,
    power: str | None = None,
    accuracy: float | None = None,
    error: float | None = None,
    budget: str | None = None,
    rows: tuple[int, ...] = (),
    contexts: tuple[int, ...] = (),
    cells: tuple[int, ...] = (),
    buffer: tuple[int, ...] = (),
    port_bits: tuple[int, ...] = (),
    **more: Any,
) -> Wanted:
    """What a user writes as a Wanted: lists with commas, quantities with units.

    Raises
    ------
    ConfigError
        A quantity, a name or a value that cannot be.
    """
    limits = {
        "latency": latency and quantity("latency", latency, "s"),
        "rate": rate and quantity("rate", rate, "Hz"),
        "power": power and quantity("power", power, "W"),
        "accuracy": accuracy,
        "error": error,
    }
    budgets = {}
    if budget is not None:
        count = budget.isascii() and budget.isdigit()
        budgets = {"most_points": int(budget)} if count else {"most_seconds": quantity("budget", budget, "s")}
    return Wanted(
        objectives=_names(objective),
        limits={name: value for name, value in limits.items() if value is not None},
        space=Space(_names(schedule), rows, contexts, cells, buffer, port_bits),
        **budgets,
        **more,
    )


def _names(text):
    return tuple(name.strip() for name in text.split(",")) if text else ()


def place_of(project: "Project", name: str, clock: float | None = None) -> Place:
    """A part or board with the project's memory.

    Raises
    ------
    ConfigError
        Nobody knows it; names those that are spelled alike.
    """
    try:
        target = TargetSection(board=name.lower()) if name.lower() in BOARDS else TargetSection(part=name)
    except ConfigError as error:
        near = difflib.get_close_matches(name.lower(), [*PARTS, *BOARDS], n=3, cutoff=0.5)
        known = f"the parts {', '.join(PARTS)} and the boards {', '.join(BOARDS)}"
        rule = (
            f"must be a known part or board: did you mean {' or '.join(near)}?" if near else f"must be one of {known}"
        )
        raise ConfigError("part", repr(name), rule) from error
    config = project.config
    clock = clock or config.target.clock or target.clock_mhz
    replace(target, clock=clock)  # checks it
    memory = config.memory
    place = Place(
        name,
        target.fpga,
        clock,
        Memory(memory.latency, memory.interval or 1, memory.bytes_per_cycle(clock)),
        config.target.lanes,
    )
    _ = place.target  # a part of a family that nothing is synthesised for is refused
    return place


def _asked_parts(project, wanted):
    if wanted.parts:
        return tuple(dict.fromkeys(wanted.parts))
    target = project.config.target
    name = target.board or target.part
    if name is None:
        raise ConfigError("part", "none", "must be given (--part), here or as target.part or target.board")
    return (name,)


def with_numbers(project: "Project", weight_bits: int, operand_bits: int) -> "Project":
    """The project with so many bits of weights and operands, its engine not chosen yet."""
    from .api import Project

    quantize = project.config.quantize
    changes = {"weight_bits": weight_bits, "operand_bits": operand_bits}
    if quantize.weight_bits != weight_bits:
        changes["matrix_bits"] = None
    engine = {name: value for name, value in project.config.engine.items() if name not in FREED}
    config = replace(project.config, quantize=replace(quantize, **changes), engine=MappingProxyType(engine))
    made = Project(config, project.trained, project.data, project.progress)
    made.metric = project.metric
    return made


def numbers_of(project: "Project", weight_bits: int, operand_bits: int) -> Numbers:
    """The model in these numbers, with what they cost: by the integer reference, for the test inputs.

    Raises
    ------
    ConfigError, FormatError
        The model cannot have them.
    """
    project = with_numbers(project, weight_bits, operand_bits)
    stored = stored_weight_bits(project.qmodel)
    given = dict(project.config.engine)
    return Numbers(
        f"w{weight_bits} x{operand_bits}",
        network_of(project.qmodel, stored, project.activity),
        {**engine_formats(project.qmodel), **counting(project._steps(), given), "weight_bits": stored, **given},
        cost_of_numbers(project),
    )


def cost_of_numbers(project: "Project") -> dict[str, float]:
    """``error`` and, with labels that are right or wrong, ``accuracy`` of a project's numbers."""
    output = project.numbers["output"]
    figures = {"error": output["max"] / output["peak"] if output["peak"] else 0.0}
    if project.metric is not None and project.metric.is_share:
        figures["accuracy"] = project.accuracy()["integer"]
    return figures


def measured(task: dict[str, Any]) -> dict[str, Any]:
    """:func:`numbers_of` as a task of a campaign, see :func:`_of_files`: the numbers, or why the model has none."""
    return _numbers(_read(task), task["bits"])


def as_it_is(task: dict[str, Any]) -> dict[str, Any]:
    """:func:`present` as such a task."""
    return present(_read(task), task["steps"], task["sequences"])


def _numbers(project, bits):
    try:
        return numbers_to_json(numbers_of(project, *bits))
    except (ConfigError, FormatError) as error:
        return {"refused": " ".join(str(error).split())}


def _read(task):
    from .api import convert

    folder = Path(task["folder"])
    return convert(ProjectConfig.from_dict(toml.loads(task["project"].encode(), folder), folder / "project.toml"))


def _of_files(project, config=None):
    """A task of a project of files: its configuration as text, and a digest of what the files hold."""
    folder = Path.cwd()
    return {
        "folder": str(folder),
        "project": (config or project.config).to_toml(folder),
        "follows": follows_from(project),
    }


def _measured(project, formats, run):
    """Numbers of each format, or why the model cannot have it."""
    if project.is_of_files:
        about = _of_files(project)
        results = run(measured, [{**about, "bits": list(bits)} for bits in formats], label="numbers")
    else:
        results = []
        with project.progress("numbers") as progress:
            for bits in formats:
                results.append(_numbers(project, bits))
                if progress:
                    progress(len(results), len(formats))
    return [result["refused"] if "refused" in result else numbers_from_json(result) for result in results]


def _formats(project, wanted):
    """Bits of weights and operands that are tried."""
    own = project.config.quantize.weight_bits
    widths = wanted.weight_bits or sorted({*WIDTHS, own} & set(WEIGHT_WIDTHS), reverse=True)
    operands = wanted.operand_bits or OPERAND_BITS[: 1 if project.config.delta is not None else 2]
    found = [(width, bits) for width in widths for bits in operands if bits >= width]
    if not found:
        raise ConfigError("operand_bits", list(operands), f"must be at least one of weight_bits = {list(widths)}")
    return found


def explore(project: "Project", wanted: Wanted, jobs: int = 1, cluster: str | None = None) -> "Exploration":
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
        An accuracy is asked for, and there are no labels.
    """
    places = tuple(place_of(project, name, wanted.clock) for name in _asked_parts(project, wanted))
    share = project.metric is not None and project.metric.is_share
    objectives = wanted.objectives or tuple("error" if n == "accuracy" and not share else n for n in DEFAULT)
    limits = tuple(Limit(name, value * LIMITS[name]) for name, value in wanted.limits.items())
    if not share and "accuracy" in (*objectives, *wanted.limits):
        found = "no labels" if project.metric is None else f"labels of the metric {project.metric.name}"
        raise InputError("accuracy", found, "must have labels that are right or wrong; error needs none")
    steps = project._steps(wanted.steps if wanted.steps is not None else project.config.plan.steps)
    sequences = wanted.sequences or project.config.plan.sequences or 1
    cache = project.folder / "tasks"

    def run(function, tasks, advance=None, label=""):
        return run_tasks(function, tasks, jobs=jobs, cluster=cluster, cache=cache, label=label, advance=advance)

    with workers_kept():
        return _explored(project, wanted, Question((), places, steps, sequences, objectives, limits), run)


def _explored(project, wanted, question, run):
    numbers, notes, formats = [], [], _formats(project, wanted)
    for bits, found in zip(formats, _measured(project, formats, run), strict=True):
        if isinstance(found, Numbers):
            numbers.append((bits, found))
        else:
            notes.append(f"weights of {bits[0]} bits with operands of {bits[1]}: {found}")
    if not numbers:
        raise ConfigError("weight_bits", notes[0], "must be number formats that the model can have")
    if project.config.sparse_h is not None and all(one.fields.get("decoder", "off") == "off" for _, one in numbers):
        raise ConfigError(
            "engine.decoder", "'off'", "must be bitmap for [sparse_h], which the schedule compressed takes"
        )
    question, places = replace(question, numbers=tuple(one for _, one in numbers)), question.places
    tried = list(candidates(question.numbers, places, wanted.space, question.sequences))
    with project.progress("explore") as progress:
        found = Search(question, tried, run=run).go(wanted.most_points, wanted.most_seconds, progress)
    for place, name in enumerate(place.name for place in places):
        if not any(found.points[n]["place"] == place for n in found.best):
            raise _nothing(name, place, question, tried, found, wanted, run)
    as_is = _present(project, question, run)
    return Exploration.of(project, question, [bits for bits, _ in numbers], found, as_is, notes)


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
                f"{limit.name} {_shown(limit.name, figures[limit.name])} for {_shown(limit.name, limit.value)}"
                for limit in question.limits
                if not limit.holds(figures)
            )
            engine = describe(nearest, question.numbers[nearest["numbers"]].label)
            return ConfigError(f"explore {name}", f"no engine within the limits; {engine} comes nearest: {lacks}", rule)
    why = max(found.refused, key=found.refused.get) if found.refused else "even the smallest shape is too large"
    return ConfigError(f"explore {name}", f"no engine fits ({why})", rule)


def _shown(name, value):
    """A figure with its unit."""
    unit = OBJECTIVES[name].unit
    if unit == "share":
        return f"{value:.2%}"
    return f"{value:,.4g} {unit}"


def describe(point: Mapping[str, Any], label: str) -> str:
    """An engine in a line."""
    engine, options = point["engine"], point["options"]
    cells = f"{engine['cells']} cell{'s' * (engine['cells'] > 1)}"
    shown = "".join(
        f", {name} {'+'.join(map(str, value)) if isinstance(value, list) else value}" for name, value in options.items()
    )
    return f"{label}, {point['schedule']}{shown}, {engine['rows']} x {engine['contexts']} lanes, {cells}"


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
                *(number(name, p["figures"].get(name)) for name in shown(values)),
            )
            for p in self.points
        ]
        for one in values["present"]:
            if "figures" in one:
                rows.append(
                    ("as is", one["part"], one["described"], *(number(n, one["figures"].get(n)) for n in shown(values)))
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
            number=number,
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
        from .api import Project

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


def follows_from(project: "Project") -> str:
    """A digest of the model, the data and the configuration that an exploration is of."""
    config, data = project.config, project.data
    sections = (
        config.prune,
        config.quantize,
        config.delta,
        config.sparse_h,
        config.memory,
        config.target,
        dict(config.engine),
    )
    return digest(
        [_content(project.trained), _content((data.calibration, data.x, data.labels)), [repr(s) for s in sections]]
    )


def _content(value):
    """What stands for a model or arrays, whatever file they come from."""
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, tuple):
        return [_content(item) for item in value]
    if is_dataclass(value):
        return {
            f.name: _content(getattr(value, f.name)) for f in fields(value) if f.name not in ("source", "assumptions")
        }
    return repr(value)


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


def _present(project, question, run):
    """What the configuration as it is comes to on each place."""
    from .api import Project

    configs = [_at(project, place, question) for place in question.places]
    asked = {"steps": question.steps, "sequences": question.sequences}
    if project.is_of_files:
        found = run(as_it_is, [_of_files(project, config) | asked for config in configs], label="as it is")
    else:
        found = [present(Project(config, project.trained, project.data), **asked) for config in configs]
    return [{"part": place.name, **one} for place, one in zip(question.places, found, strict=True)]


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
    return {"described": describe(point, label), **point, "figures": figures, "counters": counters}


def shown(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Figures of the table: the objectives, what is limited, and the shares of the part."""
    return tuple(dict.fromkeys([*values["objectives"], *values["limits"], "lut", "dsp", "bram"]))


def headed(name: str) -> str:
    """A figure as the head of a column of :func:`number`."""
    unit = OBJECTIVES[name].unit
    return name if unit == "share" else f"{name} ({unit})"


def number(name: str, value: float | None) -> str:
    """A figure in a column of its unit."""
    if value is None:
        return "-"
    return (
        f"{100 * value:.2f} %"
        if OBJECTIVES[name].unit == "share"
        else f"{value:,.4g}"
        if value < 1e4
        else f"{value:,.0f}"
    )
