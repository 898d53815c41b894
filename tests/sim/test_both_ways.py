"""A bidirectional layer in Verilog: the network's outputs from those of the engine, and the report of it."""

import json

import numpy as np
import pytest

import lstm_hw
from lstm_hw.project.text import estimated

from ..projects import both_ways, write_project
from ..simulators import QUICK


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A head on every step, and labels of every step; in a folder whose name Verilog could not open files in."""
    rng = np.random.default_rng(7)
    sections = {"model": {"head": "every_step"}, "engine": {"rows": 8}}
    arrays = {"labels": rng.integers(0, 3, (5, 4))}
    folder = tmp_path_factory.mktemp("both") / "größer und länger".ljust(180, "n") / ("n" * 200) / ("n" * 200)
    folder.mkdir(parents=True)
    return lstm_hw.load(write_project(folder, model=both_ways(rng), steps=4, arrays=arrays, sections=sections))


def test_bits_and_cycles(project):
    measured = project.simulate(simulator=QUICK)
    outputs = project.qmodel.outputs_of(measured.outputs)
    assert outputs.shape == (3, 4, 3) and measured.cycles_equal
    assert np.array_equal(outputs, project.predict(project.x[:3], stored=True))
    project.report()
    made = json.loads((project.folder / "report" / "report.json").read_text())
    assert made["accuracy"]["verilog"] == made["accuracy"]["integer_simulated"]
    assert "sequences must be whole" in made["model"]["assumptions"][0]


def test_the_latency_is_that_of_all_steps(project):
    """The first step of the engine needs the last x of a sequence."""
    cycles = project.estimate()
    assert 0 < cycles.run["cycles"] - max(project.response) < cycles.per_step
    assert "to its last output, as x is read from the end" in "".join(estimated(project, cycles))


def test_what_the_configuration_becomes(project):
    """It says what the head reads, and that is read again."""
    assert project.resolved.model.head == "every_step"
    again = lstm_hw.load(project.write_project(project.folder))
    assert again.qmodel.digest() == project.qmodel.digest()
