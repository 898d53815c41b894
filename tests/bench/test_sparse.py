"""The bench of delta networks: its rows by the cycle model follow from the activity."""

import pytest

from bench.sparse import ACTIVITIES, EDGEDRNN, column_rows, edge_rows, model_rows


@pytest.mark.parametrize("kind, useful", [("lstm", 1.0), ("gru", 0.75)])
def test_model_rows(kind, useful):
    rows = {(row.metric, row.config.rpartition(" ")[2]): row for row in model_rows(kind, size=96, rows=32, steps=5)}
    cycles = [rows["cycles_per_step", f"{activity:g}"].ours for activity in ACTIVITIES]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] == pytest.approx(12 * 192, abs=3)
    for activity in ACTIVITIES:
        assert rows["bytes_per_step", f"{activity:g}"].ours == 0
        gain = rows["gain_over_peak", f"{activity:g}"]
        assert gain.published == EDGEDRNN.get(activity)
        assert 0.5 / activity < gain.ours / useful <= 1.05 / activity


def test_column_rows():
    """The port is busy with the columns of what changed, and nothing else."""
    rows = {(row.metric, row.config.rpartition(" ")[2]): row.ours for row in column_rows(size=96, steps=2)}
    for activity in ACTIVITIES:
        changed = 2 * int(96 * activity)
        assert rows["bytes_per_step", f"{activity:g}"] == 8 * changed * 48
        assert 0.2 < rows["port_busy", f"{activity:g}"] <= 1  # steps of few short columns have a tail
        assert rows["gain_over_peak", f"{activity:g}"] < 192 / changed
    assert rows["port_busy", "1"] > 0.97


def test_edge_rows():
    """What is read is what changed: columns of 3 x 24 rows of 8 lanes, of all that are left of two layers."""
    rows = {(row.metric, row.config.rpartition("/")[2]): row.ours for row in edge_rows(sizes=(10, 24, 24), steps=2)}
    x, *h = (rows["activity", name] for name in ("x", "h0", "h1"))
    columns = 10 * x + 24 * (2 * h[0] + h[1])
    (read,) = (value for (metric, _), value in rows.items() if metric == "bytes_per_step")
    assert read == pytest.approx(columns * 9 * 8)
