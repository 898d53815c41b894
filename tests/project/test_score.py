"""What labels say of outputs: every metric, what model and labels leave of them, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest

import lstm_hw
from lstm_hw.errors import ConfigError, InputError, ModelError, VerificationError
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.project.score import METRICS, Metric
from tests.projects import float_model, tensors, write_project

STEPS = 4


def model(outputs, every_step=False):
    return float_model(np.random.default_rng(1), hidden=(3,), outputs=outputs, head_every_step=every_step)


def metric(outputs, labels, every_step=False, **given):
    return Metric.of(model(outputs, every_step), np.asarray(labels), STEPS, **given)


def test_argmax():
    outputs = np.array([[1, 5, 2], [9, 0, 0], [0, 0, 1.0]])
    judged = metric(3, [1, 0, 1, 2])
    assert (judged.name, judged.is_share) == ("argmax", True) and METRICS["argmax"] in judged.assumption
    assert judged.score(outputs) == pytest.approx(2 / 3)
    assert metric(3, [1, 0, 1], name="argmax").assumption is None


def test_a_single_logit():
    """It is compared with 0, or another threshold: argmax of one output says class 0 of everything."""
    outputs = np.array([[-2.0], [3.0], [0.4], [-0.1]])
    for labels in ([0, 1, 1, 0], [0.0, 1.0, 1.0, 0.0], [[0], [1], [1], [0]]):
        assert metric(1, labels).score(outputs) == 1
        assert metric(1, labels, threshold=0.5).score(outputs) == 0.75
    assert (
        "which is 0" in metric(1, [0, 1]).assumption and "which is 0.5" in metric(1, [0, 1], threshold=0.5).assumption
    )


def test_every_step():
    outputs = np.zeros((2, STEPS, 2))
    outputs[0, :, 1] = 1
    labels = np.array([[1, 1, 1, 0], [0, 0, 0, 0]])
    assert metric(2, labels, True).score(outputs) == pytest.approx(7 / 8)
    assert metric(2, [0, 0], True, name="argmax").score(outputs) == 0.5
    assert metric(1, labels, True).score(outputs[..., 1:] - 0.5) == pytest.approx(7 / 8)
    assert metric(2, np.stack([labels] * 2, axis=2), True, name="threshold").score(outputs) == 12 / 16


def test_error_of_real_numbers():
    outputs = np.array([[1.0, 2.0], [3.0, 4.0]])
    judged = metric(2, outputs + [[0.5, 0], [0, -1.5]])
    assert (judged.name, judged.is_share, judged.score(outputs)) == ("error", False, 0.5)
    assert metric(1, [3.5, 7.0]).score(np.array([[3.0], [7.5]])) == 0.5
    assert metric(1, [3, 7], name="error").score(np.array([[3.0], [8.0]])) == 0.5


@pytest.mark.parametrize(
    "outputs, labels, every_step, given, message",
    [
        (3, [0, 1, 3], False, {}, r"labels: 3 at [2]; must be 0 to 2, a class for each of 3 outputs"),
        (3, [-1, 1, -1], False, {}, r"labels: -1 at [0], and 1 more; must be 0 to 2"),
        (3, [1, 2, 3], False, {"name": "argmax"}, "classes count from 0"),
        (3, [0.0, 1.0], False, {"name": "argmax"}, "labels: real numbers; must be integers for the metric argmax"),
        (
            1,
            [1, 2, 2],
            False,
            {},
            "labels: 1 to 2 for one output; must be 0 or 1 (the metric threshold), or data.metric",
        ),
        (1, [-1, 1], False, {"name": "threshold"}, "labels: -1 at [0, 0]; must be 0 or 1"),
        (0, [0, 1], False, {}, "labels: labels for a model without head, whose outputs are hidden units; must be left"),
        (3, [0, 1], True, {}, "labels: one label a sequence, and outputs in each of 4 steps; must be labels of every"),
        (1, [0, 1], True, {}, "threshold then judges the last step"),
        (3, [[0, 1, 0]] * 2, False, {}, "labels: integers of shape (2, 3); must be classes, or data.metric"),
        (3, [[0, 1, 0]] * 2, True, {}, "labels: shape (2, 3); must be (2,) or (2, 4) for the metric argmax"),
        (3, [0.5, 1.5], False, {}, "labels: shape (2,); must be (2, 3) for the metric error of 3 outputs"),
    ],
)
def test_what_is_refused(outputs, labels, every_step, given, message):
    with pytest.raises(InputError, match=re.escape(message)):
        metric(outputs, labels, every_step, **given)


def test_a_threshold_is_for_one_metric():
    with pytest.raises(ConfigError, match="data.threshold: 0.5; must be for the metric threshold, not argmax"):
        metric(3, [0, 1], threshold=0.5)


@pytest.mark.parametrize("left_out", ["softmax", "logsoftmax"])
def test_a_softmax_that_was_left_out(left_out):
    """Labels are of what the model's file gives, outputs are in front of its softmax."""
    outputs = np.array([[800.0, 798.0, 0.0], [-1.0, 2.0, 1.0]])
    shares = np.exp(outputs - outputs.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    labels = (
        shares if left_out == "softmax" else np.array([[np.log(p) if p else -800.0 for p in row] for row in shares])
    )
    given = replace(model(3), left_out=left_out)
    labels[0, 2] = labels[0, 2] if left_out == "softmax" else -800 + np.log(shares[0, 0])
    assert Metric.of(given, labels, STEPS).score(outputs) == pytest.approx(0, abs=1e-12)
    assert Metric.of(given, np.array([0, 2]), STEPS).score(outputs) == 0.5
    ones, threshold = np.array([[1, 0, 0], [0, 1, 0]]), 0.6 if left_out == "softmax" else np.log(0.6)
    assert Metric.of(given, ones, STEPS, "threshold", threshold).score(outputs) == 1
    with pytest.raises(ConfigError, match=f"data.threshold: not given; must be given: .* those of the {left_out}"):
        Metric.of(given, ones, STEPS, "threshold")
    with pytest.raises(ModelError, match="left_out: 'sparsemax'; must be empty, or one of softmax, logsoftmax"):
        replace(given, left_out="sparsemax")


def test_hidden_units_where_they_are_meant():
    assert metric(0, [2, 0], name="argmax").score(np.eye(3)[[[0, 0, 0, 2], [0, 1, 2, 0]]]) == 1


def test_a_detector_of_one_logit():
    """x's sign decides; all outputs are right, in float, integers and the report's words."""
    layer = LstmWeights([[9.0], [0], [9.0], [9.0]], np.zeros((4, 1)), [9.0, 0, 0, 9.0])
    trained = FloatModel((layer,), DenseWeights([[1.0]], [0.0]))
    x = np.where(np.arange(40) % 3, 1.0, -1.0)[:, None, None] * np.ones((1, 2, 1))
    notes = []
    project = lstm_hw.convert(trained, calibration=x, x=x, labels=(x[:, 0, 0] > 0).astype(int), note=notes.append)
    project.quantize()
    assert project.accuracy() == {
        "metric": "threshold",
        "float": 1.0,
        "integer": 1.0,
        "sequences": 40,
        "unpruned": None,
    }
    assert len(notes) == 1 and notes[0].startswith("data.metric: threshold") and notes[0] in project.assumptions


def test_labels_are_refused_before_the_work(tmp_path):
    path = write_project(tmp_path, arrays={"labels": np.array([1, 2, 3, 1, 2])})
    with pytest.raises(InputError, match=r"data.npz: labels: 3 at \[2\]; must be 0 to 2"):
        lstm_hw.convert(path).quantize()
    path = write_project(tmp_path, arrays={"labels": np.zeros(9, int)}, data={"images": 5})
    with pytest.raises(InputError, match=r"data.npz: labels: shape \(9,\); must have one entry a sequence of x"):
        lstm_hw.convert(path).quantize()


def test_a_report_of_errors(tmp_path):
    """Real labels: distances, in their unit, and the metric that was assumed stands in the resolved file."""
    labels = np.random.default_rng(3).normal(size=(5, 1))
    model = tensors(np.random.default_rng(1), outputs=1)
    project = lstm_hw.convert(write_project(tmp_path, model=model, arrays={"labels": labels}))
    made = project.report()
    accuracy = made.figures["accuracy"]
    assert accuracy["metric"] == "error" == project.resolved.data.metric
    assert accuracy["integer"] == pytest.approx(np.abs(project.predict(project.x) - labels).mean())
    assert ("mean error, float model (5 sequences)", "of an output") in [row[:2] for row in made.rows()]
    page = (project.folder / "report" / "report.md").read_text()
    assert METRICS["error"] in page and "accuracy.svg" not in page


def test_metrics_of_a_file(tmp_path):
    with pytest.raises(ConfigError, match="data.metric: 'best'; must be argmax or threshold or error"):
        lstm_hw.convert(write_project(tmp_path, data={"metric": "best"}))
    with pytest.raises(ConfigError, match="data.metric: 'argmax'; must be given with data.labels"):
        lstm_hw.convert(write_project(tmp_path, data={"metric": "argmax", "labels": None}))


@pytest.mark.parametrize("lost", [0, 1])
def test_labels_decide_where_no_error_is_stated(tmp_path, lost):
    """Outputs beyond a tenth of the largest are near enough while hardly a label is lost; not beyond a stated error."""
    coarse = {"weight_bits": 3, "fractions": "shared", "rounding": "nearest"}
    given = {"sequences": 20, "model": tensors(np.random.default_rng(0), scale=2.0)}
    project = lstm_hw.convert(write_project(tmp_path, quantize=coarse, **given))
    exact, rounded = project.outputs[0].argmax(axis=1), project.predict(project.x).argmax(axis=1)
    unlike = np.flatnonzero(exact != rounded)
    assert len(unlike) >= lost and project.numbers["output"]["max"] > 0.1 * project.numbers["output"]["peak"]
    labels, neither = exact.copy(), unlike[lost:]
    labels[neither] = 3 - exact[neither] - rounded[neither]  # the third class
    given["arrays"] = {"labels": labels}
    project = lstm_hw.convert(write_project(tmp_path, quantize=coarse, **given))
    assert project.verdict() == {"bound": 0.1, "lost": pytest.approx(lost / 20), "within_bound": lost == 0}
    stated = lstm_hw.convert(write_project(tmp_path, quantize={**coarse, "max_error": 0.1}, **given))
    assert stated.verdict() == {"bound": 0.1, "lost": None, "within_bound": False}
    if lost:
        with pytest.raises(
            VerificationError, match="and 5.0% of the labels lost; must be .* or at most 1% of the labels"
        ):
            project.check_error()
    else:
        project.check_error()
