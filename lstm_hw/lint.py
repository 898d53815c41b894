"""Lint of the emitted Verilog with Verilator, all warnings on."""

import re
import subprocess
from pathlib import Path

from . import tools
from .errors import ToolError

_WARNING = re.compile(r"%(?:Warning|Error)-?(\w*):")


def lint(verilog, toplevel):
    """Warnings of ``verilator --lint-only -Wall``.

    Parameters
    ----------
    verilog : path-like
    toplevel : str

    Returns
    -------
    list of str
        The message of each warning or error, its first line.

    Raises
    ------
    ToolError
        Verilator is missing, or failed without saying why.
    """
    path = Path(verilog)
    # One file holds all modules, so that a user has one file to add.
    command = [tools.verilator(), "--lint-only", "-Wall", "-Wno-DECLFILENAME", "--top-module", toplevel, path.name]
    result = subprocess.run(command, cwd=path.parent, env=tools.verilator_environment(), capture_output=True, text=True,
                            check=False)
    found = [line for line in result.stderr.splitlines() if _WARNING.match(line) and "Exiting due to" not in line]
    if result.returncode and not found:
        said = result.stderr.strip().splitlines() or ["no message"]
        raise ToolError("verilator", said[-1], "must be able to lint the Verilog")
    return found
