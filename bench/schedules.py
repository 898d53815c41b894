"""One model under every schedule, in Verilog (``make bench-schedules``).

The model of a project file runs under each schedule that fits, on engines with the same lanes and the memory of the
file: all layers in one run. Outputs must equal the integer reference in every bit and counters the estimate in every
cycle, or the bench fails. A schedule that is not for one sequence runs on two.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights, PlainWeights
from lstm_hw.plan.schedules import OPTIONS, SCHEDULES
from lstm_hw.progress import progress
from lstm_hw.project.api import Project, convert
from lstm_hw.project.settings import ProjectConfig

from .table import FOLDER, Row, command, update

CONFIG = "examples/vowels/vowels.toml"
RESULT = f"{FOLDER}/schedules.json"
SMALL_STEPS = 20
PARALLEL, SPLIT = {"parallel": True}, {"parallel": True, "split": 4}
SMALL = {
    "lstm-8-20_64x1": (1, {}, {}),
    "lstm-8-20_64x1_parallel": (1, PARALLEL, {}),
    "lstm-8-20_64x1_parallel_split": (1, SPLIT, {}),
    "lstm-8-20_64x1_parallel_split_table": (1, SPLIT, {"activation": "table"}),
    "lstm-8-20_32x2": (2, {}, {}),
    "lstm-8-20_16x4": (4, {}, {}),
}
"""Engines of 64 lanes for a small layer: sequences side by side, [engine] beside five cells, and [quantize]."""
GOAL = 50
"""Cycles of a further step that one sequence of it may take."""
SEQUENCES = (1, 2)
"""Sequences that share a run, tried in turn until the schedule is for so many; others only where the file says so."""


def projects(config: ProjectConfig, folder, names=tuple(SCHEDULES)):
    """The project under each schedule, planned, or why it has no plan.

    Parameters
    ----------
    config : ProjectConfig
    folder : path-like
        Where results go, one folder a schedule.
    names : sequence of str
        Schedules.

    Yields
    ------
    (str, Project or str)
    """
    base = convert(config, progress=progress)
    lanes, given = base.engine.lanes, dict(config.engine)
    shape = {name: given.pop(name) for name in ("rows", "contexts") if name in given}
    for name in names:
        refused = f"not for {' or '.join(map(str, SEQUENCES))} sequences"
        for sequences in [config.plan.sequences] if config.plan.sequences else SEQUENCES:
            if not tuple(SCHEDULES[name].contexts(sequences)):
                continue
            plan = replace(config.plan, schedule=name, sequences=sequences, **dict.fromkeys(OPTIONS))
            target = replace(config.target, lanes=lanes) if shape else config.target
            output = replace(config.output, dir=str(Path(folder) / name))
            changed = replace(config, plan=plan, target=target, output=output, engine=given)
            project = Project(changed, base.model, base.data, progress)
            project.qmodel = base.qmodel
            try:
                _ = project.plan
            except (ConfigError, ProgramError) as error:
                refused = " ".join(str(error).split())
                continue
            yield name, project
            break
        else:
            yield name, refused


def rows(name, project, measured):
    """Rows of config ``<model>/<schedule>``."""
    cycles, engine = project.cycles_measured(measured), project.engine
    if not measured.cycles_equal:
        raise ConfigError("simulate", "streams or memory held back", "must not be held back, or no cycle is compared")
    config, outcome = f"{project.config.name}/{name}", project.choice.outcome
    sequences, memory = project.plan.sequences, project.memory
    source = (
        f"emitted Verilog, {measured.simulator}; {outcome.label}; {sequences} sequence{'s' * (sequences > 1)} of "
        f"{measured.steps} steps on {engine.rows} x {engine.contexts} lanes; memory latency {memory.latency}, interval "
        f"{memory.interval} cycles"
    )
    figures = {
        "cycles_per_step": (cycles.per_step, "cycles"),
        "bytes_per_step": (cycles.run["read_beats"] * engine.beat_bytes / cycles.steps, "bytes"),
        "lane_utilisation": (100 * cycles.products_per_lane_cycle, "% of lane-cycles, start to done"),
        "agreement": (100.0, f"% of {measured.outputs.size} outputs, and of all counters"),
    }
    return [Row(metric, config, value, unit, None, source) for metric, (value, unit) in figures.items()]


def small_rows(images):
    """Rows of 8 inputs and 20 hidden units on 64 lanes with five cells, or a parallel one: one sequence, whose tail
    decides, and several side by side, whose columns fill it."""
    for name, (contexts, fields, quantize) in SMALL.items():
        rng = np.random.default_rng(0)
        layer = LstmWeights(*(rng.uniform(-0.5, 0.5, (80, *rest)) for rest in ((8,), (20,), ())))
        x = rng.uniform(-1, 1, (images * contexts, SMALL_STEPS, 8))
        engine = {"rows": 64 // contexts, "contexts": contexts, "cells": 5, "x_per_beat": contexts, **fields}
        project = convert(
            FloatModel((layer,)), calibration=x, x=x, engine=engine, quantize=quantize, name=name, progress=progress
        )
        measured = project.simulate(images * contexts)
        found = rows("resident", project, measured)
        yield from found
        step = next(row for row in found if row.metric == "cycles_per_step")
        yield replace(step, metric="cycles_per_step_and_sequence", ours=step.ours / contexts)
        if contexts == 1:
            ours, source = project.cycles_measured(measured).per_further_step, f"{step.source}; beside the goal"
            yield replace(step, metric="cycles_per_further_step", ours=ours, published=GOAL, source=source)


def plain_rows(images):
    """Rows of models with plain layers whose weights do not fit a buffer of 384 words: a linear layer, a projected LSTM
    and a head; and two ReLU RNNs and a head."""
    rng = np.random.default_rng(0)

    def random(*shape):
        return rng.uniform(-0.3, 0.3, shape)

    def plain(inputs, outputs, reads=0, activation="relu", bias=True):
        return PlainWeights(
            random(outputs, inputs), random(outputs, reads), bias * random(outputs), activation=activation
        )

    lstm = LstmWeights(random(128, 48), random(128, 16), random(128), projected=True)
    projected = (plain(40, 48), lstm, plain(32, 16, activation="none", bias=False))
    networks = {"linear-lstmp-40-48-32-16": projected, "relu-rnn-40-48-48": (plain(40, 48, 48), plain(48, 48, 48))}
    for name, layers in networks.items():
        model = FloatModel(layers, DenseWeights(random(10, len(layers[-1].w_x)), random(10)), True)
        x = rng.uniform(-1, 1, (images, SMALL_STEPS, 40))
        engine = {"rows": 16, "weight_words": 384}
        project = convert(model, calibration=x, x=x, engine=engine, name=name, progress=progress)
        yield from rows(project.choice.outcome.name, project, project.simulate(images))


@command(RESULT, update)
@click.argument("config", default=CONFIG)
@click.option("--images", type=click.IntRange(1), default=4, show_default=True, help="Test sequences to simulate.")
@click.option("--schedule", "names", multiple=True, type=click.Choice(tuple(SCHEDULES)), help="These only.")
def main(config, images, names):
    """Print cycles, bytes and lanes in use of every schedule that fits CONFIG, and write them as JSON."""
    settings, result, refusals = ProjectConfig.load(config), [], []
    for name, project in projects(settings, "build/schedules", names or tuple(SCHEDULES)):
        if isinstance(project, str):
            refusals.append(f"{name} does not fit: {project}")
            continue
        click.echo(f"{name}: {project.choice.outcome.label}", err=True)
        result += rows(name, project, project.simulate(images))
    if config == CONFIG and not names:
        result += [*small_rows(images), *plain_rows(images)]
    agreed = "Outputs equal the integer reference in every bit, counters the estimate in every cycle."
    return result, [*refusals, agreed]


if __name__ == "__main__":
    main()
