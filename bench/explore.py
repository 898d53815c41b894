"""The engines that exploring finds (``make bench-explore``): three models on three parts.

Beside the fronts stands what the examples' configurations, as they are, come to on the same part; for LRCN it is the
engine that ``bench.sbe`` runs on the Zynq-7045. Every exploration begins without kept results, so that its speed is
that of this machine.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click

from lstm_hw.explore.evaluate import figures_of
from lstm_hw.explore.objectives import OBJECTIVES, cost
from lstm_hw.explore.space import Space
from lstm_hw.plan.schedules import Request
from lstm_hw.progress import progress
from lstm_hw.project.api import Project, convert
from lstm_hw.project.exploration.front import Exploration
from lstm_hw.project.exploration.wanted import Wanted, place_of
from lstm_hw.project.keys import OutputSection
from lstm_hw.project.start import Sizes, sketch

from .explore_yosys import compared, short
from .sbe import DEVICES
from .sbe_case import prepared
from .table import FOLDER, Row, command, update
from .workloads import workload

RESULT = f"{FOLDER}/explore.json"
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
COUNTED = "digits"
"""The model whose engines are small enough for Yosys to count a dozen of them."""
MACHINE = "depends on the machine"


def project(model, folder):
    """A model as a project whose results are in a folder."""
    path, _ = MODELS[model]
    if path is not None:
        return convert(path, output=folder, progress=progress)
    layer = workload(model)
    config, trained = sketch(Sizes(layer.input, (layer.hidden,)), layer.steps)
    quantize = replace(config.quantize, activation="pwl")  # as that of the engine by hand, which fills its part
    config = replace(config, name=model, quantize=quantize, output=OutputSection(str(folder)))
    return Project(config, trained, progress=progress)


def explored(model, part, folder, jobs=1):
    """The exploration of a model on a part."""
    asked = {"weight_bits": BITS, "operand_bits": BITS, **MODELS[model][1]}
    return project(model, folder).explore(Wanted((part,), **asked), jobs)


def by_hand(model, part, found: Exploration):
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


def rows(model, part, found: Exploration, hand):
    """Rows of config ``<model>/<part>``."""
    counts, points, config = found.values["counts"], found.points, f"{model}/{part}"
    pruned = counts["pruned"] + counts["plans_pruned"]
    looked = counts["candidates"] + counts["plans"]
    source = f"exact cycles, estimated resources, integer reference; {found.values['sequences']} sequence(s) a run"

    def row(metric, ours, unit, source=source, beside=None):
        return Row(metric, config, ours, unit, beside, source)

    latency = min(point["figures"]["latency"] for point in points)
    beside = "; beside it the configuration as it is" if model != SHARED else "; beside it the engine of bench.sbe"
    result = [
        row("points_per_second", looked / found.found.seconds, "shapes and plans decided a second", MACHINE),
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


def efficiency(model, part):
    """Row of the share of two workers' time that is not lost, against one: numbers, search and all."""
    seconds = []
    for jobs in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            explored(model, part, folder, jobs)
            seconds.append(time.monotonic() - begun)
    one, two = seconds
    return Row(
        "two_worker_efficiency", f"{model}/{part}", one / two / 2, "of 1", None, f"{one:.0f} s, {two:.0f} s; {MACHINE}"
    )


@command(RESULT, update)
@click.option("--model", "models", multiple=True, type=click.Choice(tuple(MODELS)), help="These only.")
@click.option("--part", "parts", multiple=True, help="Instead of xc7z020, xc7z045 and ulx3s.")
@click.option("--workers/--no-workers", default=True, show_default=True, help="Compare two workers with one.")
@click.option(
    "--estimates/--no-estimates", default=True, show_default=True, help="Count some engines of digits with Yosys."
)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Yosys runs at a time.")
@click.option("--cluster", metavar="ADDRESS", help="A dask.distributed scheduler, whose workers run Yosys instead.")
def main(models, parts, workers, estimates, jobs, cluster):
    """Explore the examples and LRCN on three parts and print the fronts' figures beside engines picked by hand."""
    result, lines = [], []
    for model in models or MODELS:
        for part in parts or PARTS:
            with tempfile.TemporaryDirectory() as folder:
                found = explored(model, part, folder)
                if estimates and model == COUNTED:
                    beside = compared(model, part, project(model, folder), found, jobs=jobs, cluster=cluster)
                    result, lines = result + beside, lines + short(beside)
            found.write(Path("build/explore") / f"{model}-{part}")
            result += rows(model, part, found, by_hand(model, part, found))
            lines += [f"{model}/{part}: {line}" for line in found.looked_at()]
        if workers and TIMED in (parts or PARTS):
            result.append(efficiency(model, TIMED))
    return result, lines


if __name__ == "__main__":
    main()
