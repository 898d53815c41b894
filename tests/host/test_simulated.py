"""The driver on the simulated engine: the digits example, and the streamed one, with faults on every side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lstm_hw
from lstm_hw.host.image import Vectors
from lstm_hw.model.reference import integer_reference
from sim.runner import run_bench

EXAMPLES = Path(__file__).parents[2] / "examples"


def bench(folder, project, x, cut, testcase=None):
    """Run the bench of the driver with some inputs (N, T, Lx)."""
    stored, group = project.qmodel.quantize_input(x), project.plan.sequences
    whole, _ = integer_reference(project.qmodel, stored)
    vectors = Vectors(stored, whole.reshape(len(x), project.plan.streams.vectors(x.shape[1]), -1))
    replace(project.firmware, vectors=vectors).write(folder / "model.lstmfw")
    first, state = integer_reference(project.qmodel, stored[:group, :cut])
    rest, _ = integer_reference(project.qmodel, stored[:group, cut:], state)
    np.savez(folder / "vectors.npz", x=x, whole=whole, first=first, rest=rest, cut=cut)
    environment = {"LSTM_HW_IMAGE": folder / "model.lstmfw", "LSTM_HW_VECTORS": folder / "vectors.npz"}
    return run_bench(
        [project.verilog], "lstm_engine", "sim.bench_host", extra_env=environment, testcase=testcase, timeout=600
    )


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Project of an example by name."""
    projects = {}

    def project(name):
        if name not in projects:
            output = tmp_path_factory.mktemp(name)
            projects[name] = lstm_hw.load(EXAMPLES / name / f"{name}.toml", output=output)
        return projects[name]

    return project


def test_digits(tmp_path, examples):
    """Weights that stay on the chip: everything that may go wrong."""
    project = examples("digits")
    bench(tmp_path, project, project.x[:2], 5)


def test_streamed(tmp_path, examples):
    """Weights that stream while it runs; a few steps of it."""
    project = examples("vowels")
    right = ["predicts_and_carries_state", "over_a_byte_stream", "bus_errors", "aborts_in_the_middle"]
    bench(tmp_path, project, project.x[:2, :3], 2, right)
