"""The commands that README shows are there after ``make``."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_hw.process import ROOT, environment

README = (ROOT / "README.md").read_text()
BLOCKS = [line.strip().removeprefix("$ ") for line in README.splitlines() if line.startswith("    ")]
COMMANDS = [line.partition("#")[0] for line in BLOCKS if line.startswith("lstm-hw ")]
VERBS = sorted({verb for line in COMMANDS for verb in re.findall(r"(?:lstm-hw|\|) ([a-z-]+)", line)})


def test_readme_tells_how_the_command_is_found():
    activate = BLOCKS.index(next(line for line in BLOCKS if line.startswith(". .venv/bin/activate")))
    assert activate < min(BLOCKS.index(line) for line in BLOCKS if line.startswith("lstm-hw ")), (
        "told before it is used"
    )
    assert {"run", "quantize", "estimate", "generate", "simulate", "report", "lint", "plan"} <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_and_options_exist(verb):
    command = [Path(sys.executable).parent / "lstm-hw", verb, "--help"]
    shown = subprocess.run(command, text=True, capture_output=True, env=environment())
    assert shown.returncode == 0, shown.stderr
    options = {option for line in COMMANDS if f"lstm-hw {verb}" in line for option in re.findall(r" (--[a-z-]+)", line)}
    assert options <= set(re.findall(r"--[a-z-]+", shown.stdout))


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", README)) <= targets


def test_links_lead_to_files():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = {(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", page.read_text())}
    assert len(links) > 100
    assert not [f"{page}: {link}" for page, link in links if not (page.parent / link).exists()]


def test_decisions_have_numbers_of_their_own():
    numbers = [page.name[:4] for page in (ROOT / "docs" / "decisions").glob("*.md")]
    assert sorted(numbers) == [f"{number:04}" for number in range(1, len(numbers) + 1)]
