"""What an engine may take: a number of lanes, or a part, and which engines are tried for a schedule on it.

An engine for a target is the first of :func:`shapes` on which the schedule runs and that
:meth:`Target.check` lets pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.parts import Part

ROWS = (4, 8, *range(16, 2049, 16))
"""Numbers of rows that an engine can have."""


@dataclass(frozen=True)
class Target:
    """What the engine has to fit.

    Parameters
    ----------
    lanes : int, optional
        Multiply-accumulate lanes at most.
    part : Part, optional
    """

    lanes: int | None = None
    part: Part | None = None

    def check(self, config: EngineConfig) -> None:
        """ConfigError with the numbers if an engine takes more than there is."""
        if self.lanes is not None and config.lanes > self.lanes:
            found = f"{config.rows} rows x {config.contexts} contexts = {config.lanes} lanes"
            raise ConfigError("engine", found, f"must be at most target.lanes = {self.lanes}")


def shapes(target: Target, contexts: int, given: dict) -> Iterator[dict]:
    """Fields of engines to try for a schedule, the best first: rows, contexts, and whatever else the target decides.

    Parameters
    ----------
    target : Target
    contexts : int
        K that the schedule needs.
    given : dict
        Fields of EngineConfig that are taken as they are.

    Yields
    ------
    dict of str to int

    Raises
    ------
    ConfigError
        Not even the smallest engine with so many contexts fits.
    """
    if "rows" in given:
        yield {"contexts": contexts, "rows": given["rows"]}
        return
    lanes = target.lanes or EngineConfig.rows * max(contexts if "contexts" in given else 1, 1)
    rows = [rows for rows in ROWS if rows * contexts <= lanes]
    if not rows:
        found = f"{lanes} lanes for {contexts} contexts"
        raise ConfigError("target.lanes", found, f"must be at least {ROWS[0] * contexts} for this schedule")
    yield {"contexts": contexts, "rows": rows[-1]}
