"""Long stages speak: lines with counts and times where stderr is piped, a bar on a terminal, nothing for short ones."""

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from lstm_hw.progress import EVERY, Lines, progress, rest

COUNTED = """
import time
from lstm_hw.progress import progress
with progress("simulate", every=0.2) as update:
    for done in range(1, 5):
        time.sleep(0.25)
        update(done, 4)
"""
SILENT = """
import time
from lstm_hw.progress import progress
with progress("synthesise", every=0.2):
    time.sleep(0.7)
"""


def said(script):
    """What a script prints to a piped stderr."""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_piped_lines_tell_stage_count_and_times():
    *lines, last = said(COUNTED)
    counted = [line for line in lines if "/4" in line]
    assert counted and all(re.fullmatch(r"simulate: \d/4, \d s(, about \d s left)?", line) for line in counted)
    assert any("left" in line for line in counted)
    assert last == "simulate: done after 1 s"


def test_a_stage_without_counts_is_alive():
    *lines, last = said(SILENT)
    assert 2 <= len(lines) <= 3 and all(re.fullmatch(r"synthesise: working, \d s", line) for line in lines)
    assert last == "synthesise: done after 1 s"


def test_short_stages_say_nothing():
    stream = io.StringIO()
    with progress("plan", stream) as update:
        update(1, 1)
    assert stream.getvalue() == "" and 3 <= EVERY <= 10


def test_of_nested_stages_the_inner_one_speaks():
    stream = io.StringIO()
    with progress("report", stream, every=0.1), progress("evaluate", stream, every=0.1):
        time.sleep(0.5)
    assert {line.split(":")[0] for line in stream.getvalue().splitlines()} == {"evaluate"}


def test_the_rest_is_estimated_from_the_first_count_on(monkeypatch):
    clock = iter([0.0, 60.0, 61.0, 62.0])  # begun, 1 of 10, 2 of 10, said
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    lines = Lines("simulate", stream := io.StringIO())
    lines.update(1, 10)
    lines.update(2, 10)
    lines.tick()
    assert stream.getvalue() == "simulate: 2/10, 62 s, about 7 s left\n"


def test_the_rest_goes_on_where_a_task_takes_longer_than_those_before():
    counts = (0.0, 0, 4), (60.0, 3, 4)
    assert [rest(*counts, now) for now in (60.0, 70.0, 80.0)] == [20, 10, 0]
    assert rest(*counts, 130.0) == pytest.approx(130 * 0.5 / 3.5)
    assert rest((0.0, 0, 4), (0.0, 0, 4), 9.0) is None is rest((0.0, 0, 4), (60.0, 4, 4), 61.0)


def test_a_stage_that_fails_says_that_it_stopped():
    stream = io.StringIO()
    with pytest.raises(ValueError), progress("plan", stream, every=0.05):
        time.sleep(0.2)
        raise ValueError
    assert stream.getvalue().splitlines()[-1] == "plan: stopped after 0 s"


def test_bar_on_a_terminal():
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal, progress("simulate", terminal) as update:
        update(1, 4)
        time.sleep(1.1)
        update(3, 4)
        time.sleep(1.1)  # it is drawn
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    assert "simulate" in shown and "|" in shown and "working" not in shown
    assert "3/4" in shown and "about 1 s left" in shown
