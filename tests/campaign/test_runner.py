"""Campaigns on this machine: order, bytes, kept results, deaths, errors, interrupts, progress."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from lstm_hw.campaign import run_tasks, workers_kept
from lstm_hw.errors import ConfigError, InputError, LstmHwError, ModelError, TaskError
from lstm_hw.process import ROOT
from tests.campaign import tasks
from tests.isolation import interruptible

NUMBERS = [{"n": number} for number in range(5)]


def lines(log):
    """Numbers of the calls of :func:`tests.campaign.tasks.logged`."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_results_are_the_same_to_the_byte_whatever_the_number_of_workers(tmp_path):
    seeds = [{"seed": seed} for seed in (3, 1, 2, 1)]
    one = run_tasks(tasks.product, seeds, cache=tmp_path / "one")
    two = run_tasks(tasks.product, seeds, jobs=2, cache=tmp_path / "two")
    assert json.dumps(one) == json.dumps(two) and one[1] == one[3] and len(set(one)) == 3
    kept = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert kept[0] == kept[1] and len(kept[0]) == 3


def test_workers_compute_with_one_thread():
    assert set(run_tasks(tasks.threads, [{}], jobs=2)[0]) == {1} == set(run_tasks(tasks.threads, [{}])[0])


def test_results_are_what_json_gives_back_and_of_their_own():
    first, second = run_tasks(tasks.same, [{"n": (1, 2)}, {"n": (1, 2)}])
    assert first == second == {"n": [1, 2]} and first is not second
    assert run_tasks(tasks.square, [], jobs=2) == []


def test_only_what_is_missing_is_computed(tmp_path):
    log = tmp_path / "log"
    given = [{"n": number, "log": str(log)} for number in range(4)]
    assert run_tasks(tasks.logged, given[:2], cache=tmp_path / "kept") == [0, 1]
    assert run_tasks(tasks.logged, given, cache=tmp_path / "kept") == [0, 1, 2, 3]
    assert lines(log) == [0, 1, 2, 3]
    run_tasks(tasks.deadly, given[:1], cache=tmp_path / "kept")  # another function
    assert lines(log) == [0, 1, 2, 3, 0]


def test_other_sources_make_kept_results_void(tmp_path, monkeypatch):
    log = tmp_path / "log"
    given = [{"n": 1, "log": str(log)}]
    run_tasks(tasks.logged, given, cache=tmp_path / "kept")
    monkeypatch.setattr("lstm_hw.campaign.runner.sources", lambda name: "others")
    monkeypatch.setattr("lstm_hw.campaign.task.sources", lambda name: "others")
    run_tasks(tasks.logged, given, cache=tmp_path / "kept")
    assert lines(log) == [1, 1]


def test_a_worker_of_other_sources_is_refused(monkeypatch):
    monkeypatch.setattr("lstm_hw.campaign.runner.sources", lambda name: "others")
    with pytest.raises(LstmHwError, match="a worker: other sources: lstm-hw .*must be the same as here: others"):
        run_tasks(tasks.square, NUMBERS)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"result": 1', '"result": 2'),
        lambda text: "",
        lambda text: text.replace('"n": 1', '"n": 3'),
    ],
    ids=["cut", "altered", "empty", "another task"],
)
def test_a_kept_result_that_is_not_as_it_was_written_is_told_and_not_used(tmp_path, capsys, change):
    given = [{"n": 1, "log": str(tmp_path / "log")}]
    run_tasks(tasks.logged, given, cache=tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    whole = file.read_text()
    file.write_text(change(whole))
    assert file.read_text() != whole and run_tasks(tasks.logged, given, cache=tmp_path / "kept") == [1]
    told = capsys.readouterr().err
    assert f"note: logged: a kept result is not used: {file}: " in told and told.count("\n") == 1
    assert file.read_text() == whole and lines(tmp_path / "log") == [1, 1]


def test_the_result_of_another_task_is_not_used(tmp_path, capsys):
    given = [{"n": number, "log": str(tmp_path / "log")} for number in (1, 2)]
    run_tasks(tasks.logged, given, cache=tmp_path / "kept")
    one, two = (tmp_path / "kept").iterdir()
    one.write_bytes(two.read_bytes())
    assert run_tasks(tasks.logged, given, cache=tmp_path / "kept") == [1, 2]
    assert "the result of another task" in capsys.readouterr().err


def test_a_killed_worker_costs_its_own_task_only(tmp_path):
    """The other worker goes on with what it had: every other task is called once."""
    log = tmp_path / "log"
    given = [{"n": n, "log": str(log), "seconds": 2.0 * (n == 0), "deaths": 2 * (n == 1)} for n in range(3)]
    assert run_tasks(tasks.deadly, given, jobs=2) == [0, 1, 2]
    assert sorted(lines(log)) == [0, 1, 1, 1, 2]


def test_a_task_that_kills_every_worker_is_named(tmp_path):
    given = [{"n": n, "log": str(tmp_path / "log"), "deaths": 9 * (n == 1)} for n in range(4)]
    with pytest.raises(TaskError, match=r'^grid, task 1 \{"n": 1, .*: ended its process 3 times; '):
        run_tasks(tasks.deadly, given, jobs=2, label="grid")
    assert lines(tmp_path / "log").count(1) == 3


@pytest.mark.parametrize(
    "jobs, kind, error, text",
    [
        (1, "model", ModelError, "tensor w: 3 rows; must have 4"),
        (1, "value", TaskError, "ValueError: nothing of this kind; must end with a result"),
        (1, "result", InputError, "a value that is not JSON"),
        (1, "nan", InputError, "a value that is not JSON"),
        (2, "model", ModelError, "tensor w: 3 rows; must have 4"),
        (2, "exit", TaskError, "SystemExit: 3; must end with a result"),
    ],
)
def test_an_error_names_its_task(jobs, kind, error, text):
    with pytest.raises(error) as caught:
        run_tasks(tasks.failing, [{"n": 1}, {"n": 2, "kind": kind}], jobs=jobs, label="grid")
    assert str(caught.value).startswith(f'grid, task 1 {{"n": 2, "kind": "{kind}"}}: ') and text in str(caught.value)
    assert "failing" in caught.value.__notes__[0] or kind in ("result", "nan")  # the traceback of the worker


@pytest.mark.parametrize("jobs", [1, 2])
def test_of_several_errors_the_first_task_is_named(jobs):
    """Whichever fails first."""
    given = [{"n": 0}, {"n": 1, "kind": "value", "seconds": 1}, {"n": 2, "kind": "model"}, {"n": 3, "kind": "model"}]
    with pytest.raises(TaskError, match="task 1 "):
        run_tasks(tasks.failing, given, jobs=jobs)


def test_what_was_done_before_an_error_is_kept(tmp_path):
    given = [{"n": 0}, {"n": 1}, {"n": 2, "kind": "value"}]
    with pytest.raises(TaskError):
        run_tasks(tasks.failing, given, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("jobs", [0, -1, 1025, 1.5, True, "2"])
def test_bad_numbers_of_jobs_are_refused(jobs):
    with pytest.raises(ConfigError, match="^jobs: .* between 1 and 1024"):
        run_tasks(tasks.square, NUMBERS, jobs=jobs)


def test_functions_that_workers_cannot_import_and_tasks_that_are_not_json_are_refused(tmp_path):
    for function in (lambda task: task, NUMBERS.index, pytest.mark):
        with pytest.raises(ConfigError, match="a function that workers cannot import"):
            run_tasks(function, NUMBERS)
    with pytest.raises(InputError, match="square, task 1: a task that is not JSON"):
        run_tasks(tasks.square, [{"n": 1}, {"n": {2}}])
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="must be a writable place"):
        run_tasks(tasks.square, NUMBERS, cache=tmp_path / "file")


SLOW = """
import sys
from lstm_hw.campaign import run_tasks, workers_kept
from lstm_hw import progress
from tests.campaign import tasks
progress.EVERY = 0.2
folder, jobs = sys.argv[1], int(sys.argv[2])
given = [{"n": n, "log": f"{folder}/log", "seconds": 0.4} for n in range(6)]
for task in given[3:]:
    task["after"] = f"{folder}/go"
print(run_tasks(tasks.logged, given, jobs=jobs, cache=f"{folder}/kept", label="slow"))
"""


def slow(folder, jobs):
    """A campaign in a process of its own, half of whose tasks wait for the file ``go``."""
    command = [sys.executable, "-c", SLOW, str(folder), str(jobs)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, preexec_fn=interruptible, **pipes)


def children(pid):
    """Processes that have this one as their parent, by /proc."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                found += [int(name)] if int(file.read().rpartition(")")[2].split()[1]) == pid else []
        except OSError:
            pass
    return found


def gone(pids, seconds=120):
    """Whether processes are gone, or are so soon."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(os.path.exists(f"/proc/{pid}") and " Z " not in open(f"/proc/{pid}/stat").read() for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "number, jobs", [(signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGKILL, 2)]
)
def test_an_interrupted_campaign_goes_on_where_it_was_and_leaves_no_process(tmp_path, number, jobs):
    process = slow(tmp_path, jobs)
    while len(list(tmp_path.glob("kept/*.json"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    started = children(process.pid)
    assert jobs == 1 or len(started) >= 2
    process.send_signal(number)
    _, told = process.communicate(timeout=300)
    assert process.returncode and gone(started)
    assert (number == signal.SIGINT) == (f"what was done is kept in {tmp_path}/kept, and the same" in told)
    before = [json.loads(path.read_text())["result"] for path in tmp_path.glob("kept/*.json")]
    (tmp_path / "log").unlink()
    (tmp_path / "go").touch()
    again = slow(tmp_path, 1)
    assert again.communicate(timeout=300)[0] == "[0, 1, 2, 3, 4, 5]\n"
    assert sorted([*before, *lines(tmp_path / "log")]) == [0, 1, 2, 3, 4, 5] and len(before) >= 2


def test_progress_with_an_estimate_of_the_rest_is_told_where_stderr_is_piped(tmp_path):
    process = slow(tmp_path, 1)
    told = ""
    while "slow: 3/6" not in told or "s left" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    (tmp_path / "go").touch()
    assert "slow: done after" in process.communicate(timeout=300)[1]


def test_workers_are_kept_from_one_call_to_the_next():
    told = [{"n": number, "pid": True} for number in range(5)]
    with workers_kept():
        first, second = ({result["pid"] for result in run_tasks(tasks.square, told, jobs=2)} for _ in range(2))
    assert os.getpid() not in first and second <= first
    assert not any(os.path.exists(f"/proc/{pid}") for pid in first)


def test_a_caller_that_tells_of_the_progress_itself(monkeypatch):
    monkeypatch.setattr("lstm_hw.campaign.runner.progress", None)
    seen = []
    run_tasks(tasks.square, NUMBERS, advance=lambda *told: seen.append(told))
    assert seen == [(done, len(NUMBERS)) for done in range(len(NUMBERS) + 1)]
