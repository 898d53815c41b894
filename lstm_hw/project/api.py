"""The Python API: a project is a trained model on its way to hardware, one method a step.

Every step does what it needs of the steps before it, once; the command line is a thin shell over this. A
:class:`Project` has what :mod:`.given`, :mod:`.quantised` and :mod:`.designed` add one after the other.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from ..host.c_driver import write_c_driver
from ..machine.ports import TOPLEVEL
from ..model.float_model import FloatModel
from ..model.quant_config import QuantConfig
from ..proof.cycles import Cycles
from ..provenance import check_folder
from ..prune.settings import PruneConfig
from ..verify.hardware import Hardware
from ..verify.scenario import Stress
from ..verify.simulate import Measured
from ..verilog.synthesis import Synthesis
from ..verilog.tools import lint
from . import simulation
from .dataset import Dataset
from .designed import Designed
from .given import Stages
from .keys import (
    CLOCK_MHZ,
    MAX_COUNT,
    SECTION_CLASSES,
    DeltaSection,
    MemorySection,
    ModelSection,
    OutputSection,
    PlanSection,
    SparseHSection,
    TargetSection,
)
from .settings import SECTIONS, ProjectConfig

if TYPE_CHECKING:
    from .exploration.front import Exploration
    from .exploration.wanted import Wanted
    from .report import Report


def convert(
    source: str | os.PathLike | ProjectConfig | FloatModel,
    *,
    calibration: np.ndarray | None = None,
    x: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    metric: str | None = None,
    threshold: float | None = None,
    prune: PruneConfig | Mapping[str, Any] | None = None,
    quantize: QuantConfig | Mapping[str, Any] | None = None,
    delta: DeltaSection | Mapping[str, Any] | None = None,
    sparse_h: SparseHSection | Mapping[str, Any] | None = None,
    plan: PlanSection | Mapping[str, Any] | None = None,
    target: TargetSection | Mapping[str, Any] | None = None,
    memory: MemorySection | Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    name: str | None = None,
    output: str | os.PathLike | None = None,
    model: FloatModel | None = None,
    progress: Stages | None = None,
    note: Callable[[str], None] | None = None,
) -> "Project":
    """Start a project.

    Parameters
    ----------
    source : path-like, ProjectConfig or FloatModel
        A configuration file (``.toml``), a trained model's file, or either already read.
    calibration : array (N, T, Lx), optional
        Inputs that number formats are chosen from; must be given unless a configuration file names a data set.
    x : array (N, T, Lx), optional
        Test inputs.
    labels : array (N, ...), optional
        What their outputs should be, of a sequence or of every step of it; see :class:`.score.Metric`.
    metric : {"argmax", "threshold", "error"}, optional
        What the outputs are judged by; what follows from model and labels without it.
    threshold : float, optional
        Of that metric.
    prune : PruneConfig or dict, optional
        Instead of the configuration file's section.
    quantize : QuantConfig or dict, optional
        Instead of the configuration file's section.
    delta : DeltaSection or dict, optional
        Instead of the configuration file's section.
    sparse_h : SparseHSection or dict, optional
        Instead of the configuration file's section.
    plan : PlanSection or dict, optional
        Instead of the configuration file's section: the schedule, as ``{"schedule": "sbe", "batch": 8}``.
    target : TargetSection or dict, optional
        Instead of the configuration file's section: the part or board that the engine has to fit.
    memory : MemorySection or dict, optional
        Instead of the configuration file's section: what weights that stream meet, as ``{"bandwidth": 4.2e9}``.
    engine : dict, optional
        EngineConfig fields, added to the configuration file's section.
    name : str, optional
        Name of the project and of its folder.
    output : path-like, optional
        Folder of all projects' results, ``build`` unless the configuration file says otherwise.
    model : FloatModel, optional
        Instead of the model that a ProjectConfig names.
    progress : callable, optional
        Called as ``progress(label)`` when a long step starts; returns a context manager whose value is called as
        ``value(done, total)``.
    note : callable, optional
        Called as ``note(text)``, once each, with what was assumed because nobody said it.

    Returns
    -------
    Project

    Raises
    ------
    ConfigError, FormatError
        The configuration breaks a rule.
    ModelError
        The model file is not usable.
    InputError
        The arrays do not fit together.
    """
    config = _config_of(source, name)
    sections = {"delta": delta, "sparse_h": sparse_h, "plan": plan, "target": target, "memory": memory}
    changes = _sections({**sections, "prune": prune, "quantize": quantize})
    if engine is not None:
        changes["engine"] = MappingProxyType({**config.engine, **engine})
    if name is not None:
        changes["name"] = name
    if output is not None:
        changes["output"] = OutputSection(str(output))
    data = None if calibration is None else Dataset(calibration, x, labels, metric, threshold)
    model = source if isinstance(source, FloatModel) else model
    return Project(replace(config, **changes), model, data, progress, note)


load = convert
"""The same under the name that those who start from a file look for."""


def _config_of(source, name):
    """The configuration that a source is, or that has its model and a name."""
    if isinstance(source, ProjectConfig):
        return source
    if not isinstance(source, FloatModel) and Path(source).suffix == ".toml":
        return ProjectConfig.load(source)
    path = Path(source.source if isinstance(source, FloatModel) else source)
    return ProjectConfig(name or path.stem.replace(".", "_").replace(" ", "_"), ModelSection(str(path)))


def _sections(given):
    """Sections of the configuration that are given, of those given as a dict what it says."""
    readers = {name: partial(read, name) for name, read in SECTIONS.items()}
    readers |= {"prune": PruneConfig.from_dict, "quantize": QuantConfig.from_dict}  # these take formats as they are
    return {
        name: section if isinstance(section, SECTION_CLASSES[name]) else readers[name](section)
        for name, section in given.items()
        if section is not None
    }


def write_driver(folder: str | os.PathLike) -> list[Path]:
    """Write the driver in C99 to a folder, which is made if need be.

    Returns
    -------
    list of pathlib.Path
        The files, by name.

    Raises
    ------
    ConfigError
        A file cannot be written.
    """
    return write_c_driver(folder)


def load_hardware(folder: str | os.PathLike) -> Hardware:
    """Engine, program and weight image from a folder that :meth:`Project.generate` wrote, or a copy of it.

    Raises
    ------
    InputError
        A file is not as it was written, or they do not belong together; names the file.
    """
    check_folder(folder)
    return Hardware.load(folder)


class Project(Designed):
    """A trained model with everything that follows from it; see :func:`convert`.

    Parameters
    ----------
    config : ProjectConfig
    model : FloatModel, optional
        Instead of the configuration's file.
    data : Dataset, optional
        Instead of the configuration's file.
    progress, note : callable, optional

    Attributes
    ----------
    folder : Path
        Where results are written.
    format_choices : list of str
        Number formats that were chosen from the calibration set, and why; filled when the model is quantised.
    progress, note : callable
        As given, or such as do nothing.
    """

    def lint(self) -> list[str]:
        """Check the Verilog with Verilator, all warnings on.

        Returns
        -------
        list of str
            The warnings.
        """
        verilog = self.verilog
        with self.progress("lint"):
            return lint([verilog], TOPLEVEL)

    def simulate(
        self,
        images: int | None = None,
        simulator: str | None = None,
        waves: bool = False,
        stress: Stress | None = None,
        force: bool = False,
        jobs: int = 1,
        cluster: str | None = None,
    ) -> Measured:
        """Run test sequences through the Verilog and compare every output bit and cycle count.

        What was simulated before is not simulated again while everything that it follows from is the same: inputs,
        model, engine, program, weight image, Verilog, settings, this package and the tools.

        Parameters
        ----------
        images : int, optional
            Sequences, from the first.
        simulator : {"verilator", "icarus"}, optional
        waves : bool
            Record every signal.
        stress : Stress, optional
            Pauses of streams and memory; cycle counts are not compared then.
        force : bool
            Simulate in any case.
        jobs : int
            Processes of this machine that simulate shards of the sequences, with the same results to the byte.
        cluster : str, optional
            Address of a dask.distributed scheduler whose workers simulate them, instead of ``jobs``.

        Returns
        -------
        Measured

        Raises
        ------
        VerificationError
            The Verilog, the interpreter and the integer reference do not agree.
        ToolError
            A tool is missing; the cluster cannot be used.
        """
        section = self.config.simulate
        if images is not None and not 1 <= images <= MAX_COUNT:
            raise ConfigError("images", images, f"must be between 1 and {MAX_COUNT:,}")
        asked = {
            "sequences": len(self.x[: images or section.images]),
            "simulator": simulator or section.simulator,
            "seed": section.seed,
            "stress": asdict(stress or section.stress),
            "waves": waves,
        }
        with self.locked():
            self.measured = simulation.simulate(self, asked, force, jobs, cluster)
        return self.measured

    @cached_property
    def measured(self) -> Measured | None:
        """What the last simulation measured; None unless it was one of these very inputs, model, hardware and tools."""
        measured, self._unmeasured = simulation.last(self)
        return measured

    @property
    def unmeasured(self) -> str | None:
        """Why nothing is measured, a sentence; None if something is."""
        return None if self.measured else self._unmeasured

    def cycles_measured(self, measured: Measured) -> Cycles:
        """The counters of a simulation as Cycles."""
        return self._cycles(measured.load, measured.run, measured.long, measured.steps)

    def synthesis(self) -> Synthesis:
        """A Yosys run that counts resources (:class:`~lstm_hw.verilog.synthesis.Synthesis`), to be used in ``with``."""
        return Synthesis(self.verilog, TOPLEVEL, self.family, self.config.output.dir, self.progress)

    def explore(self, wanted: "Wanted | None" = None, jobs: int = 1, cluster: str | None = None) -> "Exploration":
        """The best engines for this model: number formats, parts, schedules and shapes that none other beats.

        Parameters
        ----------
        wanted : Wanted, optional
            What is explored, and for what; see :class:`.exploration.wanted.Wanted`.
        jobs : int
            Processes of this machine that work on it.
        cluster : str, optional
            Address of a dask.distributed scheduler, whose workers work on it instead.

        Returns
        -------
        Exploration
            Whose ``points`` are the front, whose ``write_project`` makes a project file of any of them.

        Raises
        ------
        ConfigError
            A part is not known, nothing fits, or no engine is within the limits: says which comes nearest.
        InputError
            An accuracy is asked for, and there are no labels.
        """
        from .exploration.run import explore
        from .exploration.wanted import Wanted

        return explore(self, wanted or Wanted(), jobs, cluster)

    @property
    def family(self) -> str:
        """What resources are counted for: ``xc7`` or ``ecp5``."""
        part, given = self.config.target.fpga, self.config.report.family
        if part is not None and given not in (None, part.family):
            raise ConfigError("report.family", repr(given), f"must be {part.family}, as target.part = {part.name!r} is")
        return given or (part.family if part is not None else "xc7")

    def report(self, resources: dict | None = None, fmax_mhz: float | None = None) -> "Report":
        """Write the report: JSON, Markdown, one HTML page, drawings and a trace; see :class:`.report.Report`.

        Parameters
        ----------
        resources : dict, optional
            The result of :meth:`synthesis`.
        fmax_mhz : float, optional
            Clock in MHz that place and route reached, for the times.

        Returns
        -------
        Report
        """
        from .report import Report

        if fmax_mhz is not None and not CLOCK_MHZ[0] <= fmax_mhz <= CLOCK_MHZ[1]:
            raise ConfigError("fmax", fmax_mhz, f"must be between {CLOCK_MHZ[0]:g} and {CLOCK_MHZ[1]:g} MHz")
        with self.progress("report"), self.locked():
            return Report.of(self, resources, fmax_mhz).write(self.folder / "report", plots=self.config.report.plots)
