"""Estimates of explored engines beside what Yosys counts and the Verilog takes, for ``make bench-explore``.

Of the front of a model on a part some engines are taken, none so large that Yosys takes more than a few minutes for
it. Their Verilog is emitted, counted for the family of the part and simulated, the smallest first. Estimates of DSP
slices and block RAM, and cycles, must be exact, those of LUTs and flip-flops within 10 %; what is not is told. Counts
are kept, see :mod:`bench.resources`.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lstm_hw.campaign import run_tasks
from lstm_hw.machine.parts import Usage
from lstm_hw.process import ROOT
from lstm_hw.progress import progress
from lstm_hw.project.api import convert
from lstm_hw.project.exploration.front import Exploration

from .resources import CACHE, METRICS, counted
from .table import Row

MOST_LUT = 8_000
"""Estimated LUTs of an engine that is counted."""
BOUND = 0.1
"""Largest error of LUTs and flip-flops."""
EXACT = ("dsp", "bram36")


def chosen(found: Exploration, count: int) -> list[int]:
    """Numbers of engines of a front: unlike one another, from small to large, no larger than ``MOST_LUT``."""
    engines: dict[str, tuple[float, int]] = {}
    for number, point in enumerate(found.points, 1):
        engines.setdefault(point["engine_id"], (point["resources"]["lut"], number))
    small = sorted(value for value in engines.values() if value[0] <= MOST_LUT) or sorted(engines.values())[:count]
    picks = np.linspace(0, len(small) - 1, min(count, len(small))).round().astype(int)
    return [small[pick][1] for pick in picks]


def judged(task: Mapping[str, Any]) -> dict[str, Any]:
    """What Yosys counts of a point of an exploration, and the cycles that its Verilog takes; a task.

    Parameters
    ----------
    task : dict
        ``project``, a project file of this repository; ``values``, an exploration of it; ``number`` of the point;
        ``folder`` of counts.
    """
    with tempfile.TemporaryDirectory() as results:
        explored = convert(ROOT / task["project"], output=results)
        made = Exploration(task["values"]).project_of(explored, task["number"], f"point_{task['number']}")
        usage = counted(made.engine, made.family, task["folder"])
        made = convert(made.config, model=made.trained, output=results, progress=progress)
        measured = made.simulate(images=min(made.plan.sequences, len(made.x)))
        return {"usage": asdict(usage), "cycles": measured.run["cycles"]}


def compared(points: Sequence[tuple[str, str, str, int, Exploration]], folder: str = CACHE, **where: Any) -> list[Row]:
    """Rows of engines of fronts: the estimate (ours) beside Yosys's counts and the Verilog's cycles (published).

    Parameters
    ----------
    points : sequence of (str, str, str, int, Exploration)
        Of each engine the model and the part, for the rows' configurations, ``<model>/<part>/<number>``, and
        ``<model>/<part>`` for those of all engines; the project file, the number of the point, and the exploration.
    folder : path-like
        Of the counts.
    **where
        Workers and cache, see :func:`lstm_hw.campaign.run_tasks`.
    """
    points = sorted(points, key=lambda one: one[-1].points[one[-2] - 1]["resources"]["lut"])
    tasks = [
        {"project": path, "values": _alone(found.values, number), "number": number, "folder": str(folder)}
        for _, _, path, number, found in points
    ]
    answers, result = run_tasks(judged, tasks, label="count and simulate", **where), []
    for (model, part, _, number, found), answer in zip(points, answers, strict=True):
        point, config = found.points[number - 1], f"{model}/{part}/{number}"
        result += _resources(config, point, Usage(**answer["usage"]))
        cycles = point["counters"]["cycles"]
        result.append(Row("cycles", config, cycles, "cycles of a run", answer["cycles"], "exploration; Verilog"))
    for config in sorted({row.config.rpartition("/")[0] for row in result}):
        result += _errors(config, [row for row in result if row.config.startswith(f"{config}/")])
    return result


def _alone(values, number):
    """An exploration with one point alone."""
    kept = [point for point in values["points"] if point["number"] == number]
    return {**values, "points": kept, "others": {}}


def _resources(config: str, point: Mapping[str, Any], usage: Usage) -> Iterator[Row]:
    for metric, unit in METRICS.items():
        yield Row(metric, config, point["resources"][metric], unit, getattr(usage, metric), "estimate; Yosys")


def _errors(config: str, rows: Sequence[Row]) -> Iterator[Row]:
    """Rows of all engines: the largest error of each resource in percent, engines whose exact figures are not."""
    count = len({row.config for row in rows})
    for metric in ("lut", "ff"):
        errors = [100 * abs(row.ours / row.published - 1) for row in rows if row.metric == metric]
        yield Row(f"{metric}_error_percent", config, max(errors), "% at most", None, f"{count} engines; Yosys")
    for metric in (*EXACT, "cycles"):
        other = sum(row.ours != row.published for row in rows if row.metric == metric)
        judge = "Verilog" if metric == "cycles" else "Yosys"
        yield Row(f"{metric}_not_exact", config, other, "engines", None, f"{count} engines; {judge}")


def short(rows: Sequence[Row]) -> list[str]:
    """Lines about what is further off than it may be."""
    result = []
    for row in rows:
        if row.metric in (*EXACT, "cycles") and row.ours != row.published:
            result.append(f"falls short: {row.config}: {row.metric} {row.ours:g}, must be {row.published:g}")
        if row.metric in ("lut", "ff") and row.published and abs(row.ours / row.published - 1) > BOUND:
            off = row.ours / row.published - 1
            result.append(f"falls short: {row.config}: {row.metric} {off:+.1%}, must be within {BOUND:.0%}")
    return result
