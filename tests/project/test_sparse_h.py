"""[sparse_h] in a project: every number with the groups of h that are left out, and with [prune] and a decoder."""

import json

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.project import text
from lstm_hw.project.api import convert
from lstm_hw.project.keys import SparseHSection
from lstm_hw.project.settings import ProjectConfig
from tests.projects import tensors, write_project

ENGINE = {"rows": 8}
PRUNE = {"pattern": "unstructured", "sparsity": 0.5}


def project_of(folder, inputs=3, **more):
    model = tensors(np.random.default_rng(2), inputs, hidden=(12,))
    sections = {"engine": ENGINE, "prune": PRUNE, "plan": {"schedule": "compressed"}} | more
    write_project(folder, model=model, steps=6, **sections)
    return convert(folder / "tiny.toml", output=folder / "build")


def test_pruned_and_compressed_and_sparse(tmp_path):
    project = project_of(tmp_path, sparse_h={"threshold": 0.4})
    plain = convert(ProjectConfig(**{**vars(project.config), "sparse_h": None}))
    assert project.engine.sparse_h and not plain.engine.sparse_h and project.plan.schedule == "compressed"
    assert (project.engine.decoder, project.engine.axi_data_bits) == ("bitmap", 64)  # as the schedule needs them
    assert [(matrix == 0).mean() for matrix in project.plan.network.recurrent[0].used] == [0.5, 0.5]
    assert not np.array_equal(project.predict(project.x), plain.predict(project.x))
    (share,) = project.activity
    assert 0 < share < 1 and plain.activity == ()

    shown = "\n".join(text.estimated(project, project.write_estimate()))
    assert f"{100 * share:.1f} % of the groups of h are taken to be kept" in shown
    found = json.loads((project.folder / "estimate.json").read_text())
    assert found["activity"] == {"h": [share]}
    assert found["run"]["read_beats"] < plain.estimate().run["read_beats"]
    project.write_settings()
    assert ProjectConfig.load(project.folder / "resolved.toml").sparse_h == project.config.sparse_h


def test_a_stack_with_a_head_at_every_step(tmp_path):
    """Each layer its threshold and its share; the estimate of a run, and that of the groups that there are."""
    sections = {"engine": ENGINE, "sparse_h": {"threshold": [0.3, 0.2]}, "data": {"labels": None}}
    sections["model"] = {"path": "model.safetensors", "head": "every_step"}
    model = tensors(np.random.default_rng(2), hidden=(12, 8))
    path = write_project(tmp_path, model=model, steps=6, sections=sections)
    project = convert(path, output=tmp_path / "build")
    assert project.plan.schedule == "compressed" and project.plan.places == (project.plan.batch,) * 2
    below, above = project.activity
    assert below != above and 0 < below < 1 and 0 < above < 1
    shown = "\n".join(text.estimated(project, project.write_estimate()))
    assert f"{100 * below:.1f} %, {100 * above:.1f} % of the groups of h are taken to be kept" in shown
    assert json.loads((project.folder / "estimate.json").read_text())["activity"] == {"h": [below, above]}
    dense = convert(ProjectConfig(**{**vars(project.config), "sparse_h": SparseHSection()}))
    np.testing.assert_array_equal(dense.predict(dense.x), plain_outputs(project))
    assert dense.estimate().run["read_beats"] > project.estimate().run["read_beats"]


def plain_outputs(project):
    """Those of the model without the section."""
    plain = convert(ProjectConfig(**{**vars(project.config), "sparse_h": None}))
    return plain.predict(plain.x)


def test_esell(tmp_path):
    """A decoder that is given is taken, also by auto."""
    engine = {**ENGINE, "decoder": "esell", "weight_bits": 16}
    project = project_of(tmp_path, 4, sparse_h={"threshold": 0.4}, engine=engine, plan={})
    assert (project.plan.schedule, project.engine.decoder) == ("compressed", "esell")
    assert project.estimate().run["read_beats"] > 0


def test_sizes_of_zero_give_the_bits_of_the_dense_model(tmp_path):
    project = project_of(tmp_path, sparse_h={})
    dense = convert(ProjectConfig(**{**vars(project.config), "sparse_h": None}))
    np.testing.assert_array_equal(project.predict(project.x), dense.predict(project.x))
    assert project.qmodel.sparse_h == (0,) and project.activity == (1.0,)


def test_a_share_chooses_the_threshold(tmp_path):
    project = project_of(tmp_path, sparse_h={"left_out": 0.4})
    assert project.qmodel.sparse_h[0] > 0
    project.qmodel.save(tmp_path / "model")
    assert QuantModel.load(tmp_path / "model").sparse_h == project.qmodel.sparse_h
    given = project_of(tmp_path, sparse_h={"threshold": 0.4, "activity": 0.25})
    assert given.activity == (0.25,) and "25.0 % of the groups of h" in given.choice.reason


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"sparse_h": {"threshold": -1}}, "sparse_h.threshold: -1.0; must be at least 0"),
        (
            {"sparse_h": {"threshold": [0.1, 0.2]}},
            "sparse_h.threshold: 2 thresholds; must be one, or one for each of 1",
        ),
        ({"sparse_h": {"threshold": 3.0}}, "sparse_h.threshold: 3; must be between 0 and"),
        ({"sparse_h": {"left_out": 2}}, "sparse_h.left_out: 2.0; must be at least 0 and at most 1"),
        ({"sparse_h": {"left_out": 0.5, "threshold": 0.1}}, "sparse_h.left_out: 0.5; must be given without"),
        ({"sparse_h": {}, "delta": {}}, r"sparse_h: with \[delta\]; must be without it"),
        (
            {"sparse_h": {}, "plan": {"schedule": "sbe"}},
            "plan.schedule: 'sbe' for a model with sparse_h; must be auto or",
        ),
        ({"sparse_h": {}, "engine": {**ENGINE, "decoder": "off"}}, "engine.decoder: 'off'; must be bitmap or esell"),
        (
            {"sparse_h": {}, "engine": {"rows": 32, "axi_ports": 2}},
            "engine.decoder: bitmap; must be off but for one port",
        ),
        ({"engine": {**ENGINE, "sparse_h": True}}, "engine.sparse_h: True; must be False"),
    ],
)
def test_what_cannot_be(tmp_path, keys, message):
    with pytest.raises(ConfigError, match=message):
        _ = project_of(tmp_path, **keys).engine
