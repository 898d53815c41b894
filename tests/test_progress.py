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
import sys
from lstm_hw.progress import progress
with progress("simulate", every=0.2) as update:
    for line in sys.stdin:
        update(int(line), 4)
"""
SILENT = """
import sys
from lstm_hw.progress import progress
with progress("synthesise", every=0.2):
    sys.stdin.read()
"""


def said(script, *steps):
    """What a script prints to a piped stderr; each step is a line for it and what it must then say to go on."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    lines = []
    with subprocess.Popen([sys.executable, "-c", script], text=True, **pipes) as process:
        for given, awaited in steps:
            process.stdin.write(given)
            process.stdin.flush()
            while not (lines and re.search(awaited, lines[-1])):
                lines.append(process.stderr.readline().rstrip())
                assert lines[-1], lines
        out, rest = process.communicate()
    assert process.returncode == 0 and out == ""
    return lines + rest.splitlines()


def test_piped_lines_tell_stage_count_and_times():
    *lines, last = said(COUNTED, ("1\n", "1/4"), ("2\n", "2/4.*left"), ("4\n", "4/4"))
    counted = [line for line in lines if "/4" in line]
    assert all(re.fullmatch(r"simulate: \d/4, \d+ s(, about \d+ s left)?", line) for line in counted)
    assert re.fullmatch(r"simulate: done after \d+ s", last)


def test_a_stage_without_counts_is_alive():
    *lines, last = said(SILENT, ("", "working"))
    assert all(re.fullmatch(r"synthesise: working, \d+ s", line) for line in lines)
    assert re.fullmatch(r"synthesise: done after \d+ s", last)


def test_short_stages_say_nothing():
    stream = io.StringIO()
    with progress("plan", stream) as update:
        update(1, 1)
    assert stream.getvalue() == "" and 3 <= EVERY <= 10


def test_of_nested_stages_the_inner_one_speaks():
    stream = io.StringIO()
    with progress("report", stream, every=0.1), progress("evaluate", stream, every=0.1):
        before = len(stream.getvalue())
        while stream.getvalue()[before:].count("\n") < 4:
            time.sleep(0.05)
        inside = stream.getvalue()[before:].splitlines()
    assert {line.split(":")[0] for line in inside} == {"evaluate"}


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
        while not stream.getvalue():
            time.sleep(0.05)
        raise ValueError
    assert re.fullmatch(r"plan: stopped after \d+ s", stream.getvalue().splitlines()[-1])


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
    assert "3/4" in shown and re.search(r"about \d+ s left", shown)
