"""The engines that exploring finds (``make bench-explore``): three models on three parts.

Beside the fronts stands what the examples' configurations, as they are, come to on the same part; for LRCN it is the
engine that ``bench.sbe`` runs on the Zynq-7045. Every exploration begins without kept results, so that its speed is
that of this machine; what came of it is kept, so that the bench goes on where it was ended.
"""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lstm_hw.campaign import run_tasks
from lstm_hw.explore.evaluate import figures_of
from lstm_hw.explore.objectives import OBJECTIVES, cost
from lstm_hw.explore.space import Space
from lstm_hw.plan.schedules import Request
from lstm_hw.process import ROOT
from lstm_hw.progress import progress
from lstm_hw.project.api import Project, convert
from lstm_hw.project.exploration.front import Exploration
from lstm_hw.project.exploration.table import looked_at
from lstm_hw.project.exploration.wanted import Wanted, place_of
from lstm_hw.project.keys import OutputSection
from lstm_hw.project.start import Sizes, sketch

from . import explore_workers
from .explore_yosys import chosen, compared, short
from .sbe import DEVICES
from .sbe_case import prepared
from .table import FOLDER, Row, command, update
from .workloads import workload

RESULT = f"{FOLDER}/explore.json"
KEPT = f"{FOLDER}/explore"
"""What came of explorations and counts."""
PARTS = ("xc7z020", "xc7z045", "ulx3s")
BITS = (16, 8)
"""Widths of weights, and of x and h."""
SHARED = "lrcn"
"""The layer that has no project file; its engine by hand is SBE's, which runs so many sequences."""
HAND = DEVICES[0]
MODELS = {
    "digits": ("examples/digits/digits.toml", {}),
    "vowels": ("examples/vowels/vowels.toml", {}),
    SHARED: (
        None,
        {
            "weight_bits": (16,),
            "operand_bits": (16,),
            "sequences": HAND.case.engine["contexts"],
            "space": Space(
                rows=(8, 16, 32, 64, 128), cells=(2,), weight_words=(5120, 1 << 14), axi_data_bits=(128, 512)
            ),
        },
    ),
}
"""Project file, if there is one, and what is asked for beside the part; planning LRCN takes seconds a shape."""
TIMED = "xc7z020"
"""The part on which one worker is compared with two."""
COUNTED = {"digits": 3, "vowels": 1}
"""Models whose engines are small enough for Yosys, and how many of each part it counts."""
MACHINE = "depends on the machine"


def project(model: str, folder: str) -> Project:
    """A model as a project whose results are in a folder."""
    path, _ = MODELS[model]
    if path is not None:
        return convert(ROOT / path, output=folder, progress=progress)
    layer = workload(model)
    config, trained = sketch(Sizes(layer.input, (layer.hidden,)), layer.steps)
    quantize = replace(config.quantize, activation="pwl")  # as that of the engine by hand, which fills its part
    config = replace(config, name=model, quantize=quantize, output=OutputSection(str(folder)))
    return Project(config, trained, progress=progress)


def explored(model: str, part: str, folder: str, jobs: int = 1) -> Exploration:
    """The exploration of a model on a part."""
    asked = {"weight_bits": BITS, "operand_bits": BITS, **MODELS[model][1]}
    return project(model, folder).explore(Wanted((part,), **asked), jobs)


def measured(task: Mapping[str, str]) -> dict[str, Any]:
    """An exploration, its seconds of this process, and the figures of the engine by hand; a task."""
    model, part = task["model"], task["part"]
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        found = explored(model, part, folder)
        seconds = time.process_time() - begun
        return {"values": found.values, "seconds": seconds, "hand": by_hand(model, part, found)}


def by_hand(model: str, part: str, found: Exploration) -> dict[str, float] | None:
    """Figures of the engine that a user has picked by hand, or None where there is none for the part."""
    if model != SHARED:
        return found.values["present"][0].get("figures")
    if part != "xc7z045":
        return None
    layer, case = workload(model), HAND.case
    _, planner, _ = prepared(case, layer)
    place = place_of(project(model, "build"), part)
    plan = planner.plan()
    ask = Request(planner.network, layer.steps, plan.sequences, {}, lambda config: case.memory)
    return figures_of(plan, ask, place.part, place.clock_mhz)[1]


def rows(model: str, part: str, found: Exploration, seconds: float, hand: Mapping[str, float] | None) -> list[Row]:
    """Rows of config ``<model>/<part>``."""
    counts, points, config = found.values["counts"], found.points, f"{model}/{part}"
    pruned = counts["pruned"] + counts["plans_pruned"]
    looked = counts["candidates"] + counts["plans"]
    source = f"exact cycles, estimated resources, integer reference; {found.values['sequences']} sequence(s) a run"

    def row(metric, ours, unit, source=source, beside=None):
        return Row(metric, config, ours, unit, beside, source)

    latency = min(point["figures"]["latency"] for point in points)
    beside = "; beside it the configuration as it is" if model != SHARED else "; beside it the engine of bench.sbe"
    speed = "shapes and plans decided in a second of one processor, number formats and all"
    result = [
        row("points_per_second", looked / seconds, speed, MACHINE),
        row("points", looked, "shapes and plans"),
        row("points_pruned", pruned, "shapes and plans"),
        row("points_timed", counts["timed"], "plans"),
        row("front_size", len(points), "engines"),
        row("best_latency_us", latency, "µs", source + beside * bool(hand), hand and hand["latency"]),
    ]
    if hand:
        asked = [name for name in ("latency", *(n for n in ("accuracy",) if n in hand))]
        fit = [
            point["figures"]
            for point in points
            if all(cost(name, point["figures"][name]) <= cost(name, hand[name]) for name in asked)
        ]
        for metric, name, scale in (("area_percent", "area", 100), ("energy_nj", "energy", 1)):
            least = min((figures[name] for figures in fit), default=None)
            unit = "% of the part" if scale == 100 else OBJECTIVES[name].unit
            what = f"least of the front at no more {' and no less '.join(asked)} than by hand"
            result.append(row(metric, least and scale * least, unit, what + beside, scale * hand[name]))
    return result


def timed(task: Mapping[str, str]) -> dict[str, list[float]]:
    """Seconds of an exploration by one worker and by two; a task."""
    return explore_workers.compared(lambda folder, jobs: explored(task["model"], task["part"], folder, jobs))


def efficiency(task: Mapping[str, str], seconds: Mapping[str, list[float]]) -> Row:
    """The share of two workers' time that is not lost, against one: number formats, search and all."""
    (one, two), clock = seconds["undisturbed"], ", ".join(f"{number:.0f} s" for number in seconds["clock"])
    source = f"{one:.1f} s, {two:.1f} s without waiting for other programs, {clock} with it; {MACHINE}"
    return Row("two_worker_efficiency", f"{task['model']}/{task['part']}", one / two / 2, "of 1", None, source)


@command(RESULT, update)
@click.option("--model", "models", multiple=True, type=click.Choice(tuple(MODELS)), help="These only.")
@click.option("--part", "parts", multiple=True, help="Instead of xc7z020, xc7z045 and ulx3s.")
@click.option("--workers/--no-workers", default=True, show_default=True, help="Compare two workers with one.")
@click.option(
    "--estimates/--no-estimates", default=True, show_default=True, help="Count the smallest engines with Yosys."
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes of this machine.")
@click.option("--cluster", metavar="ADDRESS", help="A dask.distributed scheduler, whose workers do it instead.")
def main(models, parts, workers, estimates, jobs, cluster):
    """Explore the examples and LRCN on three parts and print the fronts' figures beside engines picked by hand.

    What was done stays: the same command goes on where it was ended, until the sources change.
    """
    where = {"jobs": jobs, "cluster": cluster, "cache": KEPT}
    asked = [(model, part) for model in models or MODELS for part in parts or PARTS]
    tasks = [{"model": model, "part": part} for model, part in asked]
    found = run_tasks(measured, tasks, label="models and parts", **where)
    fronts = {case: Exploration(one["values"]) for case, one in zip(asked, found, strict=True)}
    result, lines = [], []
    for (case, front), one in zip(fronts.items(), found, strict=True):
        front.write(Path("build/explore") / "-".join(case))
        result += rows(*case, front, one["seconds"], one["hand"])
        lines += [f"{'/'.join(case)}: {line}" for line in looked_at(front.values)]
    if estimates:
        points = [
            (*case, MODELS[case[0]][0], number, front)
            for case, front in fronts.items()
            for number in chosen(front, COUNTED.get(case[0], 0))
        ]
        beside = compared(points, **where)
        result, lines = result + beside, lines + short(beside)
    if workers:
        pairs = [task for task in tasks if task["part"] == TIMED]
        seconds = run_tasks(timed, pairs, label="two workers", cache=KEPT)
        result += [efficiency(task, one) for task, one in zip(pairs, seconds, strict=True)]
    return result, lines


if __name__ == "__main__":
    main()
