"""Campaigns on a cluster: a real one, a scheduler and two worker processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import lstm_hw
from lstm_hw.campaign import cluster, run_tasks
from lstm_hw.errors import ConfigError, LstmHwError, ModelError, TaskError, ToolError
from lstm_hw.process import ROOT, environment
from tests.campaign import tasks
from tests.isolation import interruptible
from tests.projects import write_project


class Dask:
    """A scheduler and its workers, started as on several machines."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self._patient(cluster.check_scheduler, self.address)

    def worker(self):
        """One more worker, of one thread, with a nanny that starts it again when it dies."""
        more = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder))
        return self._start("worker", self.address, *more)

    def wait(self):
        """Until a worker is there."""
        self._patient(run_tasks, tasks.square, [{"n": 1}], cluster=self.address)

    def _patient(self, call, *given, **named):
        """A call that waits for what was started, however busy the machine is."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cluster, "ANSWER_S", 120.0)
            patch.setattr(cluster, "WORKER_S", 120.0)
            for _ in range(600):
                with suppress(ToolError):  # nobody listens yet
                    return call(*given, **named)
                time.sleep(0.1)
            return call(*given, **named)

    def _start(self, *command):
        code = "import sys; from dask.__main__ import main; main()"
        log = open(self.folder / f"{command[0]}.log", "a")
        process = subprocess.Popen(
            [sys.executable, "-c", code, *command],
            env=environment(PYTHONPATH=str(ROOT), PYTHONSAFEPATH=""),
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            process.kill()  # workers end with their nannies
            process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    started = Dask(tmp_path_factory.mktemp("dask"))
    started.worker(), started.worker()
    started.wait()
    yield started
    started.close()


def test_results_are_those_of_one_process_to_the_byte(dask, tmp_path):
    seeds = [{"seed": seed} for seed in range(4)]
    alone = run_tasks(tasks.product, seeds, cache=tmp_path / "alone")
    there = run_tasks(tasks.product, seeds, cluster=dask.address, cache=tmp_path / "there")
    assert json.dumps(alone) == json.dumps(there)
    kept = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("alone", "there")]
    assert kept[0] == kept[1] and len(kept[0]) == 4
    assert set(run_tasks(tasks.threads, [{}], cluster=dask.address)[0]) == {1}


def test_large_tasks_are_nothing_to_warn_of(dask, recwarn):
    assert run_tasks(tasks.square, [{"n": 1, "more": "x" * 20_000_000}], cluster=dask.address) == [{"square": 1}]
    assert not recwarn.list


def test_both_workers_have_tasks(dask):
    given = [{"n": n, "pid": True, "seconds": 0.3} for n in range(6)]
    for _ in range(20):  # the second worker may have started later
        found = {result["pid"] for result in run_tasks(tasks.square, given, cluster=dask.address)}
        if len(found) == 2:
            break
    assert len(found) == 2 and os.getpid() not in found


def test_a_killed_worker_costs_its_own_task_only(dask, tmp_path):
    log = tmp_path / "log"
    given = [{"n": n, "log": str(log), "seconds": 0.5, "deaths": int(n == 1)} for n in range(4)]
    assert run_tasks(tasks.deadly, given, cluster=dask.address) == [0, 1, 2, 3]
    assert sorted(log.read_text().split()) == ["0", "1", "1", "2", "3"]


def test_a_task_that_kills_every_worker_is_named(dask, tmp_path):
    given = [{"n": n, "log": str(tmp_path / "log"), "deaths": 99 * (n == 1)} for n in range(3)]
    with pytest.raises(TaskError, match=r'^grid, task 1 \{"n": 1, .*: ended its process'):
        run_tasks(tasks.deadly, given, cluster=dask.address, label="grid")


@pytest.mark.parametrize(
    "kind, error", [("model", ModelError), ("value", TaskError), ("exit", LstmHwError)], ids=["typed", "other", "exit"]
)
def test_an_error_names_its_task(dask, kind, error):
    with pytest.raises(error, match=f'^failing, task 1 {{"n": 2, "kind": "{kind}"}}: '):
        run_tasks(tasks.failing, [{"n": 1}, {"n": 2, "kind": kind}], cluster=dask.address)


def test_workers_of_other_sources_are_refused(dask, monkeypatch):
    monkeypatch.setattr("lstm_hw.campaign.runner.sources", lambda name: "others")
    with pytest.raises(ToolError, match="a worker: other sources: lstm-hw .*must be the same as here: others"):
        run_tasks(tasks.square, [{"n": 1}], cluster=dask.address)


def test_an_unreachable_scheduler_is_one_line_within_seconds(monkeypatch, capfd):
    monkeypatch.setattr(cluster, "ANSWER_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:  # it listens, but is no scheduler
        port = server.getsockname()[1]
        begun = time.monotonic()
        with pytest.raises(ToolError, match=f"^cluster tcp://127.0.0.1:{port}: no scheduler can be reached; must be"):
            run_tasks(tasks.square, [{"n": 1}], cluster=f"tcp://127.0.0.1:{port}")
    with pytest.raises(ToolError, match="no scheduler can be reached"):
        run_tasks(tasks.square, [{"n": 1}], cluster=f"127.0.0.1:{port}")  # nobody listens
    assert time.monotonic() - begun < 20 and capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "address", ["", "ftp://somewhere:1", "tcp://host:port", "tcp://127.0.0.1", "no such host:8786"]
)
def test_what_is_no_address_is_one_line(monkeypatch, capfd, address):
    monkeypatch.setattr(cluster, "ANSWER_S", 1.0)
    with pytest.raises((ConfigError, ToolError), match="must be the address of a dask scheduler"):
        run_tasks(tasks.square, [{"n": 1}], cluster=address)
    assert capfd.readouterr() == ("", "")


def test_jobs_and_a_cluster_at_once_are_refused():
    with pytest.raises(ConfigError, match="must be left out with a cluster"):
        run_tasks(tasks.square, [{"n": 1}], jobs=2, cluster="tcp://127.0.0.1:1")


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"dask.distributed is missing .*pip install 'lstm-hw\[cluster\]'"):
        run_tasks(tasks.square, [{"n": 1}], cluster="tcp://127.0.0.1:1")


def test_a_scheduler_without_workers_and_one_that_goes_away(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_S", 0.5)
    dask = Dask(tmp_path)
    try:
        with pytest.raises(ToolError, match="a scheduler without workers; must have workers: dask worker tcp://"):
            run_tasks(tasks.square, [{"n": 1}], cluster=dask.address)
        dask.worker()
        dask.wait()
        monkeypatch.setattr(cluster, "WORKER_S", 10.0)
        given = [{"n": n, "log": str(tmp_path / "log"), "kill": dask.scheduler.pid} for n in range(3)]
        with pytest.raises(ToolError, match="the scheduler went away; must stay"):
            run_tasks(tasks.treacherous, given, cluster=dask.address, cache=tmp_path / "kept")
        assert len(list((tmp_path / "kept").iterdir())) == 1
    finally:
        dask.close()


def test_an_interrupted_campaign_leaves_the_cluster_usable(dask, tmp_path):
    code = f"""
from lstm_hw.campaign import run_tasks
from tests.campaign import tasks
given = [{{"n": n, "log": {str(tmp_path / "log")!r}, "seconds": 0.4}} for n in range(8)]
run_tasks(tasks.logged, given, cluster={dask.address!r}, cache={str(tmp_path / "kept")!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, preexec_fn=interruptible)
    while len(list(tmp_path.glob("kept/*.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    called = len((tmp_path / "log").read_text().split())
    assert called < 8 and run_tasks(tasks.square, [{"n": 3}], cluster=dask.address) == [{"square": 9}]
    assert len((tmp_path / "log").read_text().split()) <= called + 2


def test_a_simulation_in_shards_on_a_cluster_is_that_of_one_process_to_the_byte(dask, tmp_path):
    """Workers have no folder of the project."""
    config = write_project(tmp_path, sections={"simulate": {"simulator": "icarus", "images": 2}})
    project, files = lstm_hw.convert(config), []
    for address in (None, dask.address):
        project.simulate(force=True, cluster=address)
        files.append((project.folder / "simulation" / "results.json").read_bytes())
    assert files[0] == files[1]
    assert (dask.folder / "build" / "sim").is_dir()  # designs are compiled where the workers were started
