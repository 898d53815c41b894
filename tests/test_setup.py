"""What scripts/setup.sh refuses, and two makes in one checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_hw.process import ROOT, environment
from tests.projects import write_project

FILES = ("Makefile", "pyproject.toml", "requirements.lock", "scripts/setup.sh")


def checkout(folder):
    """What make needs of a checkout, to set it up."""
    (folder / "scripts").mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def together(folder, *arguments):
    """Two makes that are started at once: (exit status, output) of each."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    makes = [subprocess.Popen(["make", *arguments], cwd=folder, env=environment(), **pipes) for _ in range(2)]
    said = [make.communicate(timeout=600)[0] for make in makes]
    return [(make.returncode, text) for make, text in zip(makes, said, strict=True)]


def test_a_checkout_in_a_path_with_a_space_is_refused_before_anything_is_built(tmp_path):
    folder = checkout(tmp_path / "with a space")
    before = {path.name for path in folder.rglob("*")}
    done = subprocess.run(["make"], cwd=folder, text=True, capture_output=True, env=environment())
    assert done.returncode and "path with a space" in done.stderr and str(folder) in done.stderr
    assert {path.name for path in folder.rglob("*")} == before


@pytest.mark.skipif(not shutil.which("flock"), reason="no flock")
def test_the_second_make_waits_for_the_environment_of_the_first(tmp_path):
    """With a Python whose venv and pip only take their time, and say in a log what they do."""
    folder, log = checkout(tmp_path / "checkout"), tmp_path / "log"
    python = tmp_path / "python3"
    python.write_text(
        f"""#!/bin/bash
case "$*" in
    "-c import sys; print(sys.executable)") echo "$0" ;;
    "-m venv .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/pip ;;
    "-m pip "*) echo begin >>{log}; sleep 1; printf '#!/bin/bash\\n' >.venv/bin/lstm-hw
        chmod +x .venv/bin/lstm-hw; echo end >>{log} ;;
    *) exec {sys.executable} "$@" ;;
esac
"""
    )
    python.chmod(0o755)
    made = together(folder, f"PYTHON={python}")
    assert [status for status, _ in made] == [0, 0], made
    assert log.read_text().split() == ["begin", "end"]
    assert sum("waiting until it is done" in text for _, text in made) == 1
    assert not (folder / ".venv" / ".incomplete").exists()


def test_two_makes_at_once_end_in_the_same_results(tmp_path):
    """The second one waits where the first is at work, and does not do again what it did."""
    folder = checkout(tmp_path / "checkout")
    commands = Path(sys.executable).parent
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "lstm-hw"):
        (folder / ".venv" / "bin" / name).symlink_to(commands / name)
    (folder / ".venv" / ".setup-run").touch()
    config = write_project(tmp_path, simulate={"simulator": "icarus"}, report={"synthesis": False, "plots": False})
    made = together(folder, f"CONFIG={config}")
    assert [status for status, _ in made] == [0, 0], made
    assert sum("another run is at work here; waiting until it is done" in text for _, text in made) >= 1
    assert sum("simulation: unchanged" in text for _, text in made) == 1
    results = tmp_path / "build" / "tiny"
    assert {path.name for path in results.iterdir()} >= {"hardware", "simulation", "report", "estimate.json"}
    left = [path.name for path in (tmp_path / "build").rglob(".*") if not path.name.endswith(".lock")]
    assert not left, left
