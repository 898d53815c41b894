"""Estimates of explored engines beside what Yosys counts and the Verilog takes, for ``make bench-explore``.

Of the front of a model on a part some engines are taken, from the smallest on, so that each takes Yosys a few
minutes. Their Verilog is emitted, counted for the family of the part and simulated. Estimates of DSP slices and block
RAM, and cycles, must be exact, those of LUTs and flip-flops within 10 %; what is not is told. Counts are kept, see
:mod:`bench.resources`.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lstm_hw.campaign import run_tasks
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.parts import Usage
from lstm_hw.plan.resources import estimate
from lstm_hw.progress import progress
from lstm_hw.project.api import Project, convert
from lstm_hw.project.exploration.front import Exploration

from .resources import CACHE, METRICS, counted
from .table import Row

POINTS = 4
"""Engines of a part."""
MOST_LUT = 12_000
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


def count(task: dict[str, Any]) -> dict[str, float]:
    """What Yosys counts of an engine; a task."""
    return asdict(counted(EngineConfig.from_dict(task["engine"]), task["family"], task["folder"]))


def compared(
    model: str,
    part: str,
    project: Project,
    found: Exploration,
    points: int = POINTS,
    jobs: int = 1,
    cluster: str | None = None,
    folder: str = CACHE,
) -> list[Row]:
    """Rows of engines of a front: the estimate (ours) beside Yosys's counts and the Verilog's cycles (published).

    Parameters
    ----------
    model, part : str
        For the rows' configurations, ``<model>/<part>/<number>``, and ``<model>/<part>`` for those of all engines.
    project : Project
        What was explored.
    found : Exploration
        On this part alone.
    points : int
        How many engines.
    jobs, cluster
        Workers that count, see :func:`lstm_hw.campaign.run_tasks`.
    folder : path-like
        Of the counts.
    """
    numbers, result = chosen(found, points), []
    with tempfile.TemporaryDirectory() as results:
        made = [found.project_of(project, number, f"point_{number}") for number in numbers]
        tasks = [{"engine": of.engine.to_dict(), "family": of.family, "folder": str(folder)} for of in made]
        usages = run_tasks(count, tasks, jobs=jobs, cluster=cluster, label=f"count {model}/{part}")
        for number, of, usage in zip(numbers, made, usages, strict=True):
            config = f"{model}/{part}/{number}"
            result += list(_resources(config, of, Usage(**usage)))
            result.append(_cycles(config, found.points[number - 1], of, results))
    return [*result, *_errors(f"{model}/{part}", result)]


def _resources(config: str, project: Project, usage: Usage) -> Iterator[Row]:
    ours, source = estimate(project.engine, project.family), "estimate; Yosys"
    for metric, unit in METRICS.items():
        yield Row(metric, config, getattr(ours, metric), unit, getattr(usage, metric), source)


def _cycles(config: str, point: dict[str, Any], project: Project, folder: str) -> Row:
    """What the exploration promised beside what the Verilog takes."""
    project = convert(project.config, model=project.trained, output=folder, progress=progress)
    measured = project.simulate(images=min(project.plan.sequences, len(project.x)))
    promised = point["counters"]["cycles"]
    return Row("cycles", config, promised, "cycles of a run", measured.run["cycles"], "exploration; Verilog")


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
