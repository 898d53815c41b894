"""Files of whole models that a library reads: what their readers have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

from ...errors import ConfigError, ModelError
from .libraries import library
from .options import NO_HEAD, ReadOptions


@dataclass(frozen=True)
class LibraryFile(ABC):
    """A file of a whole model, opened as it is made.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    ModelError
        The library is not installed, or the file is damaged, too large or no model.
    """

    path: Path

    LIBRARY: ClassVar[tuple[str, str]]
    """The library, and the extra of this package that brings it."""
    KIND: ClassVar[str]
    """What the file is, as ``an ONNX file``."""

    def __post_init__(self):
        self._open()

    @abstractmethod
    def _open(self) -> None:
        """Read what says whether it is such a model."""

    @property
    def _library(self) -> ModuleType:
        return library(*self.LIBRARY, self.path, self.KIND)

    def _unreadable(self, why: object) -> ModelError:
        """What to raise where the library does not read it."""
        kind = self.KIND.partition(" ")[2]
        return ModelError(self.path, f"not readable ({why})", f"must be an undamaged {kind}")

    def _check_options(self, options: ReadOptions, *said: str) -> None:
        """Refuse options of what the file says itself, and any head but its own or none."""
        options.refuse(f"{self.path} says it", "gate_order", "head_activations", "skip", *said)
        if options.head_prefix not in (None, NO_HEAD):
            raise ConfigError("model.head_prefix", repr(options.head_prefix), f"must be {NO_HEAD!r} for {self.KIND}")
