"""What scripts/setup.sh refuses."""

import shutil
import subprocess

from lstm_hw.process import ROOT, environment


def test_a_checkout_in_a_path_with_a_space_is_refused_before_anything_is_built(tmp_path):
    folder = tmp_path / "with a space"
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "scripts/setup.sh"):
        shutil.copy(ROOT / name, folder / name)
    before = {path.name for path in folder.rglob("*")}
    done = subprocess.run(["make"], cwd=folder, text=True, capture_output=True, env=environment())
    assert done.returncode and "path with a space" in done.stderr and str(folder) in done.stderr
    assert {path.name for path in folder.rglob("*")} == before
