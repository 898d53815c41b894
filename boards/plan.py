"""Build plans: everything that a board's tools need, written without them."""

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lstm_hw.errors import ConfigError, ToolError
from lstm_hw.files import locked, whole_folder
from lstm_hw.machine.parts import Usage, check_fit, part_of
from lstm_hw.process import environment
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.tools import yosys_stat

from . import flash_image, host_design, self_test
from .arty_z7_20 import ArtyZ720Platform
from .ecp5 import Ecp5
from .ecpix5 import ECPIX5Platform
from .pynq_z2 import PynqZ2Platform
from .shell import Shell
from .ulx3s import ULX3SPlatform
from .xilinx import VC707Platform, VC709Platform
from .zc706 import ZC706Platform
from .zedboard import ZedBoardPlatform

BOARDS = {
    platform.board.name: platform
    for platform in (
        ULX3SPlatform,
        ECPIX5Platform,
        PynqZ2Platform,
        ArtyZ720Platform,
        ZedBoardPlatform,
        ZC706Platform,
        VC707Platform,
        VC709Platform,
    )
}
"""Boards by name."""
TOP = "top"
"""Name of a plan's top module and of its files."""
SEQUENCES = 8
"""Sequences of a project that become test vectors; one more vector runs over two of them back to back."""


def scenario_of(project, sequences=SEQUENCES):
    """The test vectors of a project's first test inputs, with outputs from the integer reference (Scenario)."""
    x = project.qmodel.quantize_input(project.x[:sequences])
    return expect(project.plan, project.words, project.qmodel, x).scenario


@contextmanager
def _own_environment():
    """Amaranth's plans without the settings of this machine: its own Yosys, and no overrides."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(AMARANTH_USE_YOSYS="builtin"))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Plan:
    """The self-test of a scenario on a board, and a host's way to the engine where the board has a UART for it.

    Parameters
    ----------
    board : str
        A key of ``BOARDS``.
    scenario : Scenario

    Raises
    ------
    ConfigError
        There is no such board.
    """

    board: str
    scenario: object

    def __post_init__(self):
        if self.board not in BOARDS:
            raise ConfigError("board", repr(self.board), f"must be one of {', '.join(BOARDS)}")

    @property
    def platform(self):
        """The board's platform class."""
        return BOARDS[self.board]

    @property
    def design(self):
        """Name of the module that the board's shell is around."""
        return host_design.NAME if self.platform.uart else self_test.NAME

    @cached_property
    def files(self):
        """File name -> text of the whole plan; the same for the same scenario, wherever it is made."""
        platform, clock_hz = self.platform(), round(self.platform.board.clock_mhz * 1_000_000)
        if platform.uart:
            flash = flash_image.ADDRESS if platform.flash else None
            verilog = host_design.emit(self.scenario, clock_hz, platform.baud, flash=flash)
        else:
            verilog = self_test.emit(self.scenario, clock_hz)
        shell = Shell(self.design, verilog, self_test.vectors_of(self.scenario).bit_length())
        with _own_environment():
            plan = platform.prepare(shell, TOP, emit_src=False, **platform.overrides)
        files = {name: text.decode() if isinstance(text, bytes) else text for name, text in plan.files.items()}
        return files | platform.integration_files(self.scenario.config)

    def sources(self):
        """The files that synthesis reads."""
        return {
            name: text
            for name, text in self.files.items()
            if name.endswith((".v", ".il")) and not name.endswith(".debug.v")
        }

    def write(self, folder):
        """Write the plan.

        Parameters
        ----------
        folder : path-like
            Replaced.

        Returns
        -------
        pathlib.Path
        """
        folder = Path(folder)
        with locked(folder.with_name(f".{folder.name}.lock")), whole_folder(folder) as new:
            for name, text in self.files.items():
                (new / name).write_text(text)
        return folder

    def counted(self, cache="build"):
        """What the design and its engine take of the board's part, by Yosys (Usage), whether it fits or not.

        Parameters
        ----------
        cache : path-like
            Folder in whose ``synth`` counts are kept.

        Raises
        ------
        ToolError
            Yosys is missing or failed.
        """
        with tempfile.TemporaryDirectory() as folder:
            design = Path(folder) / f"{self.design}.v"
            design.write_text("\n".join(self.files[f"{name}.v"] for name in (self_test.ENGINE, self.design)))
            part = part_of(self.platform.board.part)
            return Usage.of_stat(yosys_stat(design, self.design, part.family, cache))

    def usage(self, cache="build"):
        """As :meth:`counted`, but a design that does not fit is a ConfigError."""
        usage, part = self.counted(cache), part_of(self.platform.board.part)
        check_fit(f"{self.design} on {self.board}", usage, part)
        return usage

    def layout(self, cache="build/ecp5", progress=None, seed=1):
        """Place and route with the open tools, whether the clock is met or not.

        Parameters
        ----------
        cache : path-like
            Folder of the tools' kept results.
        progress : callable, optional
            As of :class:`boards.ecp5.Ecp5`.
        seed : int
            Of the placement.

        Returns
        -------
        Layout

        Raises
        ------
        ConfigError
            The board has no open tools here.
        ToolError
            A tool failed.
        """
        platform = self.platform
        if not platform.open_tools:
            raise ConfigError(f"board {self.board}", "no open tools", "must be built with its vendor's, from the plan")
        flow = Ecp5(cache, progress)
        netlist, _ = flow.synthesise(self.sources(), TOP)
        return flow.place_and_route(netlist, platform.open_tools, self.clock_mhz, seed, self.files[f"{TOP}.lpf"])

    @property
    def clock_mhz(self):
        """What the design must reach."""
        return self.platform.board.clock_mhz

    def bitstream(self, cache="build/ecp5", progress=None, seed=1):
        """As :meth:`layout`, and pack it.

        Returns
        -------
        path : Path
        layout : Layout

        Raises
        ------
        ConfigError, ToolError
            As of :meth:`layout`; the design is too slow for the board's clock.
        """
        layout = self.layout(cache, progress, seed)
        slowest = min(layout.fmax_mhz.values())
        if slowest < self.clock_mhz:
            rule = f"must reach {self.clock_mhz:g} MHz"
            raise ToolError(f"{self.design} on {self.board}", f"runs at {slowest:.1f} MHz", rule)
        return Ecp5(cache, progress).pack(layout), layout
