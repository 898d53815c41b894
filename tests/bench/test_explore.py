"""The bench of explorations, on a small model: rows say what was looked at, and how the front compares."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest
from click.testing import CliRunner

from bench import explore, explore_workers
from bench.sbe import Device
from bench.sbe_case import Case
from bench.table import Row
from bench.workloads import Workload
from lstm_hw.explore.space import Space
from lstm_hw.project.exploration.front import Exploration
from tests.projects import tensors, write_project


@pytest.fixture
def small(tmp_path, monkeypatch):
    model = tensors(np.random.default_rng(1), 6, (16,))
    path = write_project(tmp_path, model=model, target={"part": "xc7z020"}, data={"images": 3})
    monkeypatch.setattr(explore, "MODELS", {"tiny": (str(path), {})})
    return tmp_path


def test_rows_of_a_small_model(small):
    done = explore.measured({"model": "tiny", "part": "xc7z020"})
    found = Exploration(json.loads(json.dumps(done["values"])))
    rows = {row.metric: row for row in explore.rows("tiny", "xc7z020", found, done["seconds"], done["hand"])}
    assert all(isinstance(row, Row) and row.config == "tiny/xc7z020" for row in rows.values())
    assert rows["front_size"].ours == len(found.points) > 1
    assert rows["points"].ours >= rows["points_pruned"].ours + rows["points_timed"].ours
    assert rows["points_pruned"].ours > 0 and rows["points_per_second"].ours > 0
    assert rows["best_latency_us"].ours == min(point["figures"]["latency"] for point in found.points)
    assert rows["best_latency_us"].ours <= rows["best_latency_us"].published
    assert rows["area_percent"].ours <= rows["area_percent"].published  # nothing is better than the front


def test_the_command_goes_on_where_it_was(small, monkeypatch):
    path, _ = explore.MODELS["tiny"]
    few = {"weight_bits": (8,), "operand_bits": (8,), "space": Space(("resident",), rows=(4, 16))}
    monkeypatch.setitem(explore.MODELS, "tiny", (path, few))
    monkeypatch.setattr(explore, "KEPT", small / "kept")
    monkeypatch.chdir(small)
    command = ["--part", "xc7z020", "--no-workers", "--output", str(small / "rows.json")]
    first = CliRunner().invoke(explore.main, command)
    assert first.exit_code == 0 and "tiny/xc7z020: 8 shapes: " in first.output, first.output
    monkeypatch.setattr(explore, "explored", None)
    assert CliRunner().invoke(explore.main, command).output == first.output
    assert (small / "build" / "explore" / "tiny-xc7z020" / "explore.html").is_file()


def test_two_workers(small, monkeypatch):
    path, _ = explore.MODELS["tiny"]
    few = {"weight_bits": (8,), "operand_bits": (8,), "space": Space(("resident",), rows=(4, 16))}
    monkeypatch.setitem(explore.MODELS, "tiny", (path, few))
    monkeypatch.setattr(explore_workers, "REPEATS", 1)
    task = {"model": "tiny", "part": "xc7z020"}
    row = explore.efficiency(task, explore.timed(task))
    assert (row.metric, row.config) == ("two_worker_efficiency", "tiny/xc7z020") and 0 < row.ours < 1.2


def test_what_other_programs_take_is_left_out():
    """Beside two busy processes on one processor with this one, the time is the time of this one alone."""
    some = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{some}]); print(flush=True)\nwhile True: pass"
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, before)
        for _ in range(2):
            other = stack.enter_context(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE))
            stack.callback(other.kill)
            other.stdout.readline()
        os.sched_setaffinity(0, [some])
        with explore_workers.Watch() as watch:
            begun = time.process_time()
            while time.process_time() < begun + 0.3:
                pass
    assert watch.seconds > 0.6 and watch.undisturbed == pytest.approx(0.3, rel=0.2)


def test_an_engine_by_hand(monkeypatch):
    """The engine of a published layer has figures of all its sequences, on the part that it is for."""
    engine = {"rows": 16, "contexts": 2, "cells": 1, "axi_data_bits": 64, "x_per_beat": 2}
    monkeypatch.setattr(explore, "HAND", Device(Case("small", engine, batch=2), "small", 100, 900))
    monkeypatch.setattr(explore, "workload", lambda name: Workload(name, 96, 16, 4, "nobody"))
    hand = explore.by_hand(explore.SHARED, "xc7z045", None)
    assert hand["throughput"] == pytest.approx(2 * 4 / hand["latency"] * 1e6) and hand["bytes"] > 0
    assert explore.by_hand(explore.SHARED, "xc7z020", None) is None
