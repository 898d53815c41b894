"""Configuration files: TOML in, one frozen object out, with errors that name file, key and rule.

Paths of inputs are relative to the configuration file, those of outputs to the current folder. :mod:`.keys` has the
sections.
"""

import os
import re
import types
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError, LstmHwError
from ..machine.config import EngineConfig
from ..machine.formats import QFormat
from ..model.quant_config import QuantConfig
from ..plan.target import Target
from ..prune.settings import PruneConfig
from ..reading import read_file
from . import toml
from .keys import (
    SECTION_CLASSES,
    DataSection,
    DeltaSection,
    MemorySection,
    ModelSection,
    OutputSection,
    PlanSection,
    ReportSection,
    SimulateSection,
    SparseHSection,
    TargetSection,
)
from .typed import reader_of, refuse_unknown, typed, values_of

LONGEST_NAME = 100
RESERVED_NAMES = ("sim", "bench")
"""Folders of the output folder that are no project's."""


def _read_engine(section, table):
    return types.MappingProxyType(values_of(EngineConfig, section, table))


SECTIONS = {name: reader_of(cls) for name, cls in SECTION_CLASSES.items()} | {"engine": _read_engine}
"""Section -> the function that reads it."""


@dataclass(frozen=True)
class ProjectConfig:
    """A whole configuration file.

    Parameters
    ----------
    name : str
        Names the results' folder; the stem of the file, unless given.
    model : ModelSection
    prune : PruneConfig
    quantize : QuantConfig
    delta : DeltaSection or None
    sparse_h : SparseHSection or None
    plan : PlanSection
    target : TargetSection
    memory : MemorySection
    engine : dict
        Fields of EngineConfig that are given; the others follow from the model.
    data : DataSection or None
    simulate : SimulateSection
    report : ReportSection
    output : OutputSection
    folder : Path
        What the paths of inputs are relative to.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    name: str
    model: ModelSection
    prune: PruneConfig = field(default_factory=PruneConfig)
    quantize: QuantConfig = field(default_factory=QuantConfig)
    delta: DeltaSection | None = None
    sparse_h: SparseHSection | None = None
    plan: PlanSection = field(default_factory=PlanSection)
    target: TargetSection = field(default_factory=TargetSection)
    memory: MemorySection = field(default_factory=MemorySection)
    engine: types.MappingProxyType = field(default_factory=lambda: types.MappingProxyType({}))
    data: DataSection | None = None
    simulate: SimulateSection = field(default_factory=SimulateSection)
    report: ReportSection = field(default_factory=ReportSection)
    output: OutputSection = field(default_factory=OutputSection)
    folder: Path = Path()

    def __post_init__(self):
        fits = re.fullmatch(r"[A-Za-z]\w*(-\w+)*", self.name, re.ASCII) and len(self.name) <= LONGEST_NAME
        if not fits or self.name in RESERVED_NAMES:
            rule = f"must be letters, digits, _ and -, {LONGEST_NAME} at most, and none of {', '.join(RESERVED_NAMES)}"
            raise ConfigError("name", repr(self.name), rule)
        if self.delta is not None and self.sparse_h is not None:
            raise ConfigError("sparse_h", "with [delta]", "must be without it: changes reach the sums, or groups of h")

    @property
    def aim(self) -> Target:
        """What the engine has to fit: [target], and the memory's bandwidth at its clock."""
        return Target(self.target.lanes, self.target.fpga, self.memory.bytes_per_cycle(self.target.clock_mhz))

    @property
    def model_path(self) -> Path:
        return self.folder / self.model.path

    @property
    def data_path(self) -> Path | None:
        return self.folder / self.data.path if self.data and self.data.path else None

    @property
    def build(self) -> Path:
        """Folder of the results."""
        return Path(self.output.dir) / self.name

    @classmethod
    def load(cls, path: str | os.PathLike) -> "ProjectConfig":
        """Read a configuration file.

        Raises
        ------
        ConfigError
            The file is missing or no TOML, a section or key is unknown, a value has the wrong type or range.
        FormatError
            A number format is malformed.
        """
        path = Path(path)
        values = toml.loads(read_file(path, toml.MAX_BYTES, ConfigError), path)
        try:
            return cls.from_dict(values, path)
        except LstmHwError as error:
            raise type(error)(f"{path}: {error.subject}", error.found, error.rule) from error

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: Path) -> "ProjectConfig":
        """A configuration from the tables of a file; ``path`` gives the folder and the name, unless that is in it."""
        path, values = Path(path), dict(values)
        refuse_unknown("", values, ("name", *SECTIONS))
        name = typed("name", values.pop("name", path.stem), str)
        for section, table in values.items():
            if not isinstance(table, dict):
                raise ConfigError(section, repr(table), f"must be a section, [{section}]")
        if "model" not in values:
            raise ConfigError("model", "missing", "must be a section, [model], with the path of the trained model")
        read = {section: SECTIONS[section](section, table) for section, table in values.items()}
        return cls(name=name, folder=path.parent, **read)

    def to_toml(self, folder: os.PathLike | str, engine: EngineConfig | None = None) -> str:
        """The configuration as the text of a file in ``folder``, every key spelled out.

        Parameters
        ----------
        folder : path-like
            Where the text will be: paths of inputs are written relative to it.
        engine : EngineConfig, optional
            The engine that followed, instead of the given fields alone.
        """

        def section(value):
            return {f.name: getattr(value, f.name) for f in fields(value)}

        def moved(table, path):
            return table | {"path": Path(os.path.relpath(path, folder)).as_posix()}

        tables = {
            "name": self.name,
            "model": moved(section(self.model), self.model_path),
            "prune": self.prune.to_dict(),
            "quantize": self.quantize.to_dict(),
            "delta": self.delta and section(self.delta),
            "sparse_h": self.sparse_h and section(self.sparse_h),
            "plan": section(self.plan),
            "target": section(self.target),
            "memory": section(self.memory),
            "engine": engine.to_dict() if engine else {k: _plain(v) for k, v in self.engine.items()},
            "data": moved(section(self.data), self.data_path) if self.data_path else self.data and section(self.data),
        }
        tables |= {name: section(getattr(self, name)) for name in ("simulate", "report", "output")}
        return toml.dumps({name: table for name, table in tables.items() if table is not None})


def _plain(value):
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, QFormat) else value
