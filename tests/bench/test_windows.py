"""Rows of pruned layers: what lanes do follows from the pattern."""

import pytest

from bench.windows import BBS_GOPS, Shape, halved_rows, resident_rows, stacked_rows, streamed_rows
from lstm_hw.prune.patterns import BankBalanced, Unstructured


def found(rows):
    return {(row.metric, *row.config.rsplit("/", 2)[-2:]): row for row in rows}


def test_balanced_patterns_keep_lanes_busy():
    """Of no balanced one, rows with fewer weights than the fullest are padded."""
    patterns = {"8 of 64 kept": BankBalanced(64, 8), "unstructured": Unstructured(0.875)}
    rows = resident_rows((128,), lambda units: [Shape(32)], lambda units, lanes: patterns)
    where = "LSTM 128/128, 32 lanes"
    by = {(row.metric, row.config.split(", 32 lanes/")[1]): row for row in rows}
    assert where in rows[0].config
    assert by["utilisation_on_nonzeros", "8 of 64 kept"].ours > 0.98 and by["padding", "8 of 64 kept"].ours == 0
    assert by["utilisation_on_nonzeros", "unstructured"].ours < 0.6 and by["padding", "unstructured"].ours > 1
    assert all(row.ours == 1 for row in rows if row.metric == "lanes_with_a_row")
    dense, kept = (by["effective_gops", f"8 of 64 kept/{of}"] for of in ("before pruning", "on non-zeros"))
    assert dense.ours == pytest.approx(8 * kept.ours) and {dense.published, kept.published} == {BBS_GOPS}


def test_batches_read_what_is_not_zero():
    rows = found(
        streamed_rows((128,), lambda units: [Shape(32)], batch=4, port_bits=256, pinned={"pruned": 1, "dense": 16})
    )
    for home in ("W_h on chip", "W_h held for the batch"):
        where = f"128, 32 lanes, batch 4, {home}"
        pruned, dense = (rows["bytes_per_step", where, of].ours for of in ("pruned", "dense"))
        if home != "W_h on chip":  # all weights stream, a word in 3 beats for 2
            assert pruned / dense == pytest.approx(3 / 2 / 8)
        assert pruned < dense / 5
        busy, idle = (rows["utilisation_on_nonzeros", where, of].ours for of in ("pruned", "dense"))
        assert busy > 7 * idle


def test_halves_read_half():
    """Of 4 groups of 32 rows, what is off the diagonal, every second step each of its halves."""
    rows = halved_rows(128, {32: (416, 4)}, 4, (64,), kept=4, bank=32, pinned=1)
    read = {tuple(row.config.split("/")[::3]): row.ours for row in rows if row.metric == "bytes_per_step"}
    word, x, h = 11 * 8, 16 * 16, 16 * 16  # bytes of a word; words of W_x and W_h without zeros
    assert read["sacc", "pruned"] == word * (x / 4 + 3 / 4 * h / 2)
    assert read["sbe", "pruned"] > 1.5 * read["sacc", "pruned"] and read["sacc", "dense"] > 3 * read["sacc", "pruned"]
    cycles = {tuple(row.config.split("/")[::3]): row.ours for row in rows if row.metric == "cycles_per_step"}
    assert cycles["sacc", "pruned"] < min(cycles["sbe", "pruned"], cycles["sacc", "dense"])


def test_a_stack_takes_what_its_layers_take():
    rows = stacked_rows(128, (40, 4, 640, 4, 64), kept=4, bank=32, pinned=32)
    for schedule, most in (("sacc", 2.1), ("sbe", 2.5)):  # a batch of small layers waits for the tail of each
        of_it = [row for row in rows if row.config.startswith(schedule)]
        cycles, read = ([row.ours for row in of_it if row.metric == of] for of in ("cycles_per_step", "bytes_per_step"))
        assert read[1] == 2 * read[0] and cycles[1] < most * cycles[0]
    assert {row.ours for row in rows if row.metric == "lanes_with_a_row"} == {512 / 520}
