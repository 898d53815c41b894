"""What is installed: every file that the packages read is among their data."""

import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_file_is_shipped():
    """Each file of a package that is no module matches a pattern of its package data."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "lstm_hw", "sim", "boards", "bench"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    shipped = {path for package, some in patterns.items() for one in some for path in (ROOT / package).glob(one)}
    left_out = [name for name in files if not name.endswith(".py") and ROOT / name not in shipped]
    assert files and left_out == []
