"""The pruning benchmark: a small instance of the command, its rows and drawing, and balance of one layer."""

import json

import pytest
from click.testing import CliRunner

from bench import prune
from bench.table import Row


def test_small_instance(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    arguments = ["--example", "vowels", "--share", "0.75", "--pattern", "column_balanced", "--epochs", "1"]
    arguments += ["--units", "128", "--plot", str(tmp_path / "p.png")]
    shown = CliRunner().invoke(prune.main, [*arguments, "--output", str(tmp_path / "rows.json")])
    assert shown.exit_code == 0, shown.output
    rows = {(row["metric"], row["config"]): row["ours"] for row in json.loads((tmp_path / "rows.json").read_text())}
    where = "vowels/column_balanced 0.75"
    assert rows["sparsity", where] == pytest.approx(75)
    assert 10 < rows["accuracy", f"{where}/pruned"] < rows["accuracy", f"{where}/tuned"] < 100
    balance = [rows[metric, f"{where}/64 lanes, slot"] for metric in ("imbalance", "padding")]
    assert balance[0] == pytest.approx(1 + balance[1]) and 1 < balance[0] < 4  # 16 parts are not 64 lanes
    assert "vowels: accuracy in %, pruned -> fine-tuned, dense 95.68" in shown.output
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_balance_of_a_layer():
    rows = {(row.metric, row.config): row.ours for row in prune.layer(128, (64,))}
    where = "128 units/{}/64 lanes, {}".format
    assert rows["imbalance", where("bank_balanced with 8 of 64 kept", "window")] == 1
    assert rows["imbalance", where("column_balanced of 64 parts and sparsity 0.875", "slot")] == 1
    assert rows["imbalance", where("unstructured of sparsity 0.875", "both")] > 1.1
    brds = "row_balanced of sparsity 0.9 (x) and 0.85 (h)"
    assert rows["padding", where(brds, "window")] > rows["padding", where(brds, "both")] > 0


def test_every_pattern_divides_the_examples():
    """And keeps the share that it is shown at, but for sub-columns of 24 rows."""
    for name in prune.EPOCHS:
        project = prune.load(f"examples/{name}/{name}.toml")
        for share in prune.SHARES:
            for label, config in prune.configs(name, share).items():
                matrices = [m for m in prune.prune(project.trained, config).matrices if m.pattern is not None]
                exact = [m.saved for m in matrices if label != "column_balanced" or m.weights.shape[0] == 256]
                wanted = [0.85, 0.9, 0.85] if "0.9, h" in label else [share] * len(exact)
                assert exact == pytest.approx(wanted, abs=0.02), (name, label, share)


def test_units_that_parts_do_not_divide(tmp_path):
    shown = CliRunner().invoke(prune.main, ["--units", "200", "--output", str(tmp_path / "rows.json")])
    assert shown.exit_code != 0 and "must be a multiple of 128" in str(shown.exception)
    assert not (tmp_path / "rows.json").exists()


def test_tables_pair_shares_with_accuracies():
    rows = [
        Row("accuracy", "digits/dense", 99.0, "%", None, ""),
        Row("sparsity", "digits/N:M 0.5", 50.0, "%", None, ""),
        Row("accuracy", "digits/N:M 0.5/pruned", 60.0, "%", None, ""),
        Row("accuracy", "digits/N:M 0.5/tuned", 98.0, "%", None, ""),
    ]
    assert prune.curves(rows) == {"digits": (99.0, {"N:M": [(50.0, 60.0, 98.0)]})}
    assert list(prune.tables(rows))[-1].endswith(" 50.00%: 60.00 -> 98.00")
