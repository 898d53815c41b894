"""The accuracy benchmark: rows of one example at two widths, of the random networks, of the forget bias."""

import pytest
from click.testing import CliRunner

from bench import accuracy, predict

METRICS = ["accuracy", "mean_error", "max_error", "clipped", "zeroed"]


def test_example_as_rounded_and_tuned(tmp_path):
    pytest.importorskip("torch")
    arguments = ["--example", "digits", "--width", "4", "--epochs", "1", "--output", str(tmp_path / "rows.json")]
    shown = CliRunner().invoke(accuracy.main, arguments)
    assert shown.exit_code == 0, shown.output
    for config in ("digits/w4 x16 ", "digits/w4 x16 tuned "):
        lines = [line.split() for line in shown.output.splitlines() if config in line]
        assert [line[0] for line in lines][: len(METRICS)] == METRICS


def test_search_needs_fewer_bits_than_one_width_for_all():
    rows = [row for row in accuracy.searches(["cases"]) if row.metric == "weight_bits_total"]
    bits = {row.config: row for row in rows}
    assert list(bits) == ["cases/uniform", "cases/coordinate", "cases/optuna", "cases/search"]
    uniform, coordinate, sampled, search = (row.ours for row in bits.values())
    assert search <= coordinate <= uniform and search < 0.6 * uniform and sampled < uniform
    budgets = {row.config: row.source.split("; ")[1] for row in rows}
    assert budgets["cases/optuna"] == budgets["cases/search"]
    assert all(row.unit == "bits at max_error 0.02" and "0.w_x 1" in row.source for row in bits.values())


def test_random_networks_keep_the_stated_errors(monkeypatch):
    """Mean error of the last h: 16 bits, weights of 8, all of 8 (a network of each size, a quarter of the inputs)."""
    monkeypatch.setattr(accuracy, "SEQUENCES", accuracy.SEQUENCES // 4)
    bounds = {"w16 x16": 4e-5, "w8 x16": 4e-4, "w8 x8": 2e-3}
    found = [row for row in accuracy.random_networks(seeds=1) if row.metric == "mean_error"]
    assert len(found) == 6
    for row in found:
        assert row.ours <= bounds[row.config.split("/")[1]], row


def test_weights_beside_a_forget_bias():
    errors = {(row.metric, row.config): row.ours for row in accuracy.forget_bias()}
    assert errors["mean_error", "forget bias/w16 x16"] < 2.0**-16  # half of the last bit of h
    assert errors["zeroed", "forget bias/w16 x16"] < 5


def test_prediction_beside_torch():
    """The ratio is printed, not judged: it depends on the machine."""
    pytest.importorskip("torch")
    (row,) = predict.rows(rounds=1, sequences=64)
    assert row.ours > 0 and row.config == "digits"
