"""A small instance of the bench of schedules: a plan of each that fits, one of them in Verilog."""

import numpy as np
import pytest

from bench.schedules import projects, rows
from lstm_hw.plan.schedules import SCHEDULES
from lstm_hw.project.settings import ProjectConfig
from tests.projects import tensors, write_project


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Schedules of a layer whose weights do not fit the weight buffer: project, or why there is none."""
    folder = tmp_path_factory.mktemp("schedules")
    model = tensors(np.random.default_rng(1), inputs=12, hidden=(8,), outputs=0)
    sections = {"engine": {"rows": 8, "weight_words": 40}, "data": {"labels": None}, "memory": {"latency": 20}}
    path = write_project(folder, steps=4, model=model, **sections)
    return dict(projects(ProjectConfig.load(path), folder / "schedules"))


def test_every_schedule_on_the_same_lanes(found):
    assert list(found) == list(SCHEDULES)
    plans = {name: project.plan for name, project in found.items() if not isinstance(project, str)}
    assert {"rowblock", "conventional"} <= set(plans)
    assert found["resident"].startswith("engine.weight_words: 40; must be at least")
    assert len({plan.config.lanes for plan in plans.values()}) == 1
    assert {name for name, plan in plans.items() if plan.sequences > 1} == {"rowblock"}
    assert all(plan.config.weight_words == 40 for plan in plans.values())


def test_rows_are_of_the_verilog(found):
    project = found["rowblock"]
    result = {row.metric: row for row in rows("rowblock", project, project.simulate(3))}
    assert {row.config for row in result.values()} == {"tiny/rowblock"}
    plan, estimated = project.plan, project.estimate()
    assert result["cycles_per_step"].ours == estimated.per_step
    assert result["bytes_per_step"].ours == plan.image.words * plan.config.word_bytes
    assert result["lane_utilisation"].ours == 100 * estimated.products_per_lane_cycle
    assert result["agreement"].ours == 100 and "of 96 outputs" in result["agreement"].unit
