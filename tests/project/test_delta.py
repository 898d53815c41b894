"""[delta] in a project: thresholds in every number, the activity in every estimate, errors in the user's keys."""

import json
import tomllib

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.model.delta import with_thresholds
from lstm_hw.project import sections, text
from lstm_hw.project.api import convert
from lstm_hw.project.figures import figures_of
from lstm_hw.project.settings import ProjectConfig
from tests.projects import tensors, write_project


def project_of(folder, **more):
    write_project(folder, **more)
    return convert(folder / "tiny.toml", output=folder / "build")


def test_thresholds_and_activity(tmp_path):
    project = project_of(tmp_path, delta={"x": 0.1, "h": [0.05]})
    plain = convert(tmp_path / "tiny.toml", delta={})
    assert plain.qmodel.thresholds == (0, 0) and project.qmodel.thresholds[1] > 0
    assert project.engine.lists and project.plan.schedule == "delta"
    assert all(0 < few < many <= 1 for few, many in zip(project.activity, plain.activity, strict=True))
    assert not np.array_equal(project.predict(project.x), plain.predict(project.x))

    shown = "\n".join(text.estimated(project, project.write_estimate()))
    x, h = project.activity
    assert f"{100 * x:.1f} % of x and {100 * h:.1f} % of h are taken to change in a step" in shown
    found = json.loads((project.folder / "estimate.json").read_text())
    assert found["activity"] == {"x": x, "h": [h]} and found["plan"]["schedule"] == "delta"
    simulation = {"simulator": "verilator", "sequences": 5, "clipped": None}
    report = {"simulation": simulation, "agreement": {"cycles": True}}
    told = [sections.agreement(report | {"activity": taken}) for taken in (project.activity_taken, None)]
    assert "counters of interpreter and Verilog in every run. The estimate is for shares of x and h" in told[0]
    assert "estimated and measured counters in every run" in told[1]
    assert found["run"]["busy"] < plain.estimate().run["busy"]
    project.write_settings()
    assert ProjectConfig.load(project.folder / "resolved.toml").delta == project.config.delta


def test_thresholds_of_zero_give_the_bits_of_the_dense_model(tmp_path):
    project = project_of(tmp_path, delta={"x": 0})
    dense = convert(ProjectConfig(**{**vars(project.config), "delta": None}))
    np.testing.assert_array_equal(project.predict(project.x), dense.predict(project.x))
    assert not dense.engine.lists and dense.activity == () and "change" not in "\n".join(text.planned(dense))


def test_an_activity_that_is_given(tmp_path):
    project = project_of(tmp_path, delta={"activity": 0.25})
    assert project.activity == (0.25, 0.25)
    assumed = "25.0 % of x and 25.0 % of h are taken to change in a step"
    assert assumed in project.choice.reason
    (time,) = (one for one in sections.sections(figures_of(project)[0]) if one.title == "Clock and time")
    assert f"In the estimate {assumed}." in time.text


def test_columns_from_memory(tmp_path):
    """Where weights of a stack do not stay on chip ``auto`` reads columns of what changed, with the same bits."""
    delta = {"x": 0.1, "h": 0.05}
    resident = project_of(tmp_path, delta=delta)
    project = project_of(
        tmp_path, delta=delta, engine={"weight_words": 512}, model=tensors(np.random.default_rng(3), 3, (40, 24))
    )
    assert resident.plan.schedule == "delta" and project.plan.schedule == "delta_columns" and project.engine.list_loads
    assert "of h are taken to change in a step" in project.choice.reason and project.estimate().run["read_beats"] > 0
    dense = convert(project.config, delta={}, model=project.model)
    assert project.estimate().run["read_beats"] < dense.estimate().run["read_beats"]


def test_thresholds_for_a_loss_are_a_section(tmp_path):
    project = project_of(tmp_path)
    for goal in ({"loss": 0.25}, {"max_error": 0.2}):
        found = project.thresholds(**goal)
        *_, section = "\n".join(text.thresholds(found, goal.get("loss"), 0.2)).partition("[delta]")
        delta = tomllib.loads(f"[delta]{section}")["delta"]
        again = convert(tmp_path / "tiny.toml", delta=delta)
        assert again.qmodel.thresholds == with_thresholds(project.qmodel, found.x, found.h).thresholds
    for wrong in ({}, {"loss": 0.1, "max_error": 0.1}, {"loss": 1.0}, {"loss": 0.1, "samples": 0}):
        with pytest.raises(ConfigError, match="loss|samples"):
            project.thresholds(**wrong)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"delta": {"x": -1}}, "delta.x: -1.0; must be at least 0"),
        ({"delta": {"h": [0.1, 0.2]}}, "delta.h: 2 thresholds; must be one, or one for each of 1"),
        ({"delta": {"h": 3.0}}, "delta.h: 3; must be between 0 and"),
        ({"delta": {"activity": 1.5}}, "delta.activity: 1.5; must be at least 0 and at most 1"),
        ({"delta": {"y": 1}}, "delta.y: unknown key"),
        ({"delta": {}, "plan": {"schedule": "sbe"}}, "plan.schedule: 'sbe' for a model with thresholds; must be auto"),
        ({"plan": {"schedule": "delta"}}, "plan.schedule: 'delta' for a model without thresholds; must be auto"),
        ({"engine": {"lists": True}}, "engine.lists: True; must be False"),
        ({"delta": {}, "engine": {"contexts": 2}}, "must be 1|2 sequences|contexts"),
    ],
)
def test_what_cannot_be(tmp_path, keys, message):
    with pytest.raises(ConfigError, match=message):
        _ = project_of(tmp_path, **keys).engine
