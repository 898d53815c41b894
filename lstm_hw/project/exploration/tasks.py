"""A project of files as a task of a campaign, and the digest of what an exploration is of."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...provenance import digest
from .. import toml
from ..settings import ProjectConfig

if TYPE_CHECKING:
    from ..api import Project


def task_of(project: "Project", config: ProjectConfig | None = None) -> dict[str, str]:
    """A task of a project of files: its configuration as text, and a digest of what the files hold."""
    folder = Path.cwd()
    return {
        "folder": str(folder),
        "project": (config or project.config).to_toml(folder),
        "follows": follows_from(project),
    }


def read_project(task: Mapping[str, Any]) -> "Project":
    """The project of a task; see :func:`task_of`."""
    from ..api import convert

    folder = Path(task["folder"])
    return convert(ProjectConfig.from_dict(toml.loads(task["project"].encode(), folder), folder / "project.toml"))


def follows_from(project: "Project") -> str:
    """A digest of the model, the data and the configuration that an exploration is of."""
    config, data = project.config, project.data
    sections = (
        config.prune,
        config.quantize,
        config.delta,
        config.sparse_h,
        config.memory,
        config.target,
        dict(config.engine),
    )
    return digest(
        [_content(project.trained), _content((data.calibration, data.x, data.labels)), [repr(s) for s in sections]]
    )


def _content(value):
    """What stands for a model or arrays, whatever file they come from."""
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, tuple):
        return [_content(item) for item in value]
    if is_dataclass(value):
        return {
            f.name: _content(getattr(value, f.name)) for f in fields(value) if f.name not in ("source", "assumptions")
        }
    return repr(value)
