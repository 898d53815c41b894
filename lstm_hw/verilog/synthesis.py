"""Resource counts by Yosys, in a process beside whatever else goes on.

``lstm_hw.verilog.synthesis VERILOG TOP FAMILY FOLDER`` is that process: it leaves its result where
:func:`lstm_hw.verilog.tools.yosys_stat` and :func:`lstm_hw.verilog.tools.yosys_components` find it again.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext

from .. import process
from ..errors import LstmHwError, ToolError
from .tools import yosys_components, yosys_stat

FIGURES = ("dsp", "bram36", "lut", "lutram", "ff", "lut_levels")
"""What is reported of a synthesis; see :func:`lstm_hw.verilog.tools.yosys_stat`."""


class Synthesis:
    """A Yosys run in the background; use it in a ``with`` statement, which ends it in every case.

    Parameters
    ----------
    verilog : path-like
    toplevel : str
    family : {"xc7", "ecp5"}
    folder : path-like
        Results are kept in its ``synth``.
    progress : callable, optional
        Called as ``progress(label)`` when the wait for the counts starts; returns a context manager.
    """

    def __init__(
        self,
        verilog: str | os.PathLike,
        toplevel: str,
        family: str = "xc7",
        folder: str | os.PathLike = "build",
        progress: Callable[[str], AbstractContextManager] = nullcontext,
    ):
        self._progress = progress
        self.arguments = [str(verilog), toplevel, family, str(folder)]
        self._process, self._running = None, ExitStack()

    def __enter__(self):
        self._process = self._running.enter_context(
            process.running(
                process.python("lstm_hw.verilog.synthesis", *self.arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return self

    def __exit__(self, *exception):
        self._running.close()
        self._process.stderr.close()

    def result(self) -> dict:
        """Wait for the counts.

        Returns
        -------
        dict
            ``FIGURES``, ``family``, ``tool`` and ``components``, as of
            :func:`lstm_hw.verilog.tools.yosys_components`.

        Raises
        ------
        ToolError
            Yosys is missing or failed.
        """
        with self._progress("synthesise"):
            said = self._process.stderr.read()
            status = self._process.wait()
        if status:
            raise ToolError("synthesis", process.last_words(said, status), "must succeed")
        stat = yosys_stat(*self.arguments)
        return {
            **{name: stat[name] for name in FIGURES},
            "family": self.arguments[2],
            "tool": stat["tool"],
            "components": yosys_components(*self.arguments),
        }


def main(arguments: list[str]) -> None:
    """Synthesise; one line on stderr and status 1 when that fails."""
    os.nice(5)  # people wait for the simulation
    try:
        yosys_stat(*arguments)
        yosys_components(*arguments)
    except LstmHwError as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main(sys.argv[1:])
