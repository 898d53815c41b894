"""[prune] in a project: applied when the model is quantised, told in every report, part of what results follow from."""

import json

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.project import text
from lstm_hw.project.api import convert
from lstm_hw.project.figures import pruning_of
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.prune import PruneConfig, prune
from tests.projects import write_project

ROWS = {"pattern": ["dense", "row_balanced"], "sparsity": [0.0, 0.5]}


def project_of(folder, **more):
    write_project(folder, **more)
    return convert(folder / "tiny.toml", output=folder / "build")


def test_applied_told_and_kept(tmp_path):
    project, plain = project_of(tmp_path, prune=ROWS), convert(tmp_path / "tiny.toml", prune={"pattern": "dense"})
    layer = project.qmodel.layers[0]
    assert (np.count_nonzero(layer.w_h, axis=1) == 2).all() and np.count_nonzero(layer.w_x) == layer.w_x.size
    assert project.model is project.pruned.model and plain.trained.layers[0].w_h.all()
    assert project.qmodel.digest() != plain.qmodel.digest()
    assert project.hardware_sources["pruning"] == project.config.prune.to_dict()
    np.testing.assert_array_equal(project.predict(project.x), project.qmodel.dequantize_output(project.outputs[1]))
    accuracy = project.accuracy()
    assert accuracy["unpruned"] == plain.accuracy()["float"] and accuracy["sequences"] == 5

    matrices = pruning_of(project)["matrices"]
    assert [(m["matrix"], m["pattern"], m["asked"], m["reached"]) for m in matrices] == [
        ("0.w_x", "dense", 0, 0),
        ("0.w_h", "row_balanced of sparsity 0.5", 0.5, 0.5),
    ]
    assert matrices[1]["zeros"] == pytest.approx(np.mean(layer.w_h == 0))
    shown = "\n".join(text.quantized(project))
    assert "row_balanced of sparsity 0.5" in shown and "before pruning" in shown and "leave zeros out" in shown

    report = project.report()
    figures = json.loads((project.folder / "report" / "report.json").read_text())
    assert figures["pruning"]["matrices"] == matrices and figures["pruning"]["config"]["sparsity"] == [0.0, 0.5]
    assert any(label.endswith("float model before pruning (5 sequences)") for label, *_ in report.rows())
    assert "row_balanced of sparsity 0.5" in (project.folder / "report" / "report.html").read_text()
    project.write_settings()
    assert ProjectConfig.load(project.folder / "resolved.toml").prune == project.config.prune


def test_without_the_section_nothing_is_told(tmp_path):
    project = project_of(tmp_path)
    assert project.pruned is None and project.model is project.trained and not project.config.prune.prunes
    assert pruning_of(project) is None and "pruning" not in "\n".join(text.quantized(project))
    assert project.accuracy()["unpruned"] is None


def test_a_model_that_was_pruned_elsewhere(tmp_path):
    """``done``: checked and left alone."""
    project = project_of(tmp_path, prune=ROWS | {"done": True})
    with pytest.raises(ModelError, match="model.safetensors: 0.w_h: 4 of 4 weights are kept in row 0, and 15 more"):
        _ = project.qmodel
    config = PruneConfig.from_dict(ROWS)
    again = convert(project.config, model=prune(project.trained, config).model)
    assert again.qmodel.digest() == convert(tmp_path / "tiny.toml", prune=config).qmodel.digest()
    assert pruning_of(again)["done"]


def test_less_than_asked_for_is_told(tmp_path):
    notes = []
    write_project(tmp_path, prune={"pattern": ["dense", "row_balanced"], "sparsity": 0.9})
    _ = convert(tmp_path / "tiny.toml", output=tmp_path / "build", note=notes.append).pruned
    assert [note for note in notes if note.startswith("prune: 0.w_h: sparsity 90.00% asked for, 75.00% reached")]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"pattern": "unstructured", "sparsity": 1.5}, r"tiny.toml: prune.sparsity: 1.5; must be a number"),
        (
            {"pattern": "unstructured", "sparsity": "much"},
            r"tiny.toml: prune.sparsity: 'much'; must be .*list of numbers",
        ),
        ({"pattern": ["2:4", 3]}, r"tiny.toml: prune.pattern: \['2:4', 3\]; must be .*list of strings"),
        ({"sparsity": 0.5}, r"tiny.toml: prune.sparsity: 0.5; must be for unstructured.* prune.pattern is 'dense'"),
    ],
)
def test_errors_name_file_key_and_rule(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        project_of(tmp_path, prune=given)


def test_a_pattern_that_does_not_divide_the_layer(tmp_path):
    project = project_of(tmp_path, prune={"pattern": "2:4"})
    with pytest.raises(ConfigError, match='prune.pattern: 0.w_x: 4; must divide its 3 columns, as 1, 3 do; .*"0.w_x"'):
        _ = project.qmodel
