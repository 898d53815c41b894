"""Vivado in batch mode: the scripts of a build plan, run where they lie."""

import os
import re
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path

from lstm_hw.errors import ToolError
from lstm_hw.process import environment, running

PRODUCTS = {
    "top.tcl": ("top.bit",),
    "block_design.tcl": tuple(f"overlay/lstm_hw.{suffix}" for suffix in ("bit", "hwh", "xsa")),
}
"""Script -> the files that it leaves, in the order in which they are run."""
_KEPT = ("XILINX", "LM_LICENSE_FILE", "RDI_", "VIVADO")
"""Beginnings of the variables that Vivado finds its installation and its licence by."""


def found(board, part, folder):
    """The program.

    Parameters
    ----------
    board, part : str
    folder : Path
        Of the board's plan.

    Raises
    ------
    ToolError
        It is not on PATH; says what is needed.
    """
    program = shutil.which("vivado")
    if program is None:
        rule = (
            f"must be: Vivado 2020.1 or later with a licence for {part}; source its settings64.sh, or run "
            f"`vivado -mode batch -source` with {' and '.join(PRODUCTS)} in {folder}, which is complete"
        )
        raise ToolError(f"bitstream of {board}", "vivado is not on PATH", rule)
    return program


def build(program, folder, progress=None):
    """Run the scripts of a plan.

    Parameters
    ----------
    program : str
        From :func:`found`.
    folder : Path
        Of the plan. Output of ``NAME.tcl`` goes to ``NAME.out``.
    progress : callable, optional
        Called as ``progress(label)`` when a script starts; returns a context manager.

    Returns
    -------
    list of Path
        What was built.

    Raises
    ------
    ToolError
        A script failed, as one does whose design misses its clock, or left nothing. What it said is named.
    """
    kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
    built = []
    for script, products in PRODUCTS.items():
        name, output = Path(script).stem, folder / f"{Path(script).stem}.out"
        command = [program, "-mode", "batch", "-nojournal", "-log", f"{name}.log", "-source", script]
        for product in products:
            (folder / product).unlink(missing_ok=True)
        with (
            (progress or nullcontext)(f"vivado {script}"),
            open(output, "wb") as said,
            running(
                command,
                cwd=folder,
                env=environment(**kept),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            status = process.wait()
        if status:
            lines = [line.strip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
            told = [line for line in lines if re.match("error:", line, re.IGNORECASE)] or lines[-1:]
            what = re.sub("^error: *", "", told[0], flags=re.IGNORECASE) if told else "nothing said"
            raise ToolError(
                f"vivado {script}", f"status {status}: {what}", f"must end well; all it said is in {output}"
            )
        missing = [product for product in products if not (folder / product).is_file()]
        if missing:
            raise ToolError(
                f"vivado {script}", f"no {', '.join(missing)}", f"must be there; what it said is in {output}"
            )
        built += [folder / product for product in products]
    return built
