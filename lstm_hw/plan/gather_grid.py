"""W_h in groups of row blocks and windows of columns, for SACC of balanced weights: which grid takes the fewest cycles.

A group is as high as its windows need to come while lanes multiply; the higher it is, the less of W_h serves two steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.network import LayerShape
from .windows import hides, most_kept


@dataclass(frozen=True)
class Grid:
    """W_h in groups of row blocks and windows of columns.

    Parameters
    ----------
    blocks, height : int
        Row blocks, and those of a group; the last one may have fewer.
    windows, width : int
        Windows, and columns of each, a divisor of the units of a group.
    each : int
        Windows of the units of a group.
    kept : int
        Words of a row block in each tile.
    """

    blocks: int
    height: int
    windows: int
    width: int
    each: int
    kept: int

    @property
    def groups(self) -> int:
        return -(-self.blocks // self.height)

    def rows(self, group: int) -> int:
        """Row blocks of a group."""
        return min(self.height, self.blocks - group * self.height)

    def own(self, group: int) -> int:
        """Windows of the units of a group."""
        return min(self.each, self.windows - group * self.each)

    @property
    def cycles(self) -> int:
        """Of the lanes with all products of a step, where windows that are not hidden take some too."""
        heights = [self.rows(group) for group in range(self.groups)]
        return self.windows * sum(
            height * self.kept + (0 if hides(height, self.kept, self.width) else self.width) for height in heights
        )


def grid(shape: LayerShape, config: EngineConfig, height: int) -> Grid:
    """W_h in groups of so many row blocks, with the windows that take the fewest cycles and words.

    Raises
    ------
    ConfigError
        There are no two groups, or as many words as columns.
    """
    blocks, units = shape.blocks(config.rows), shape.units(config.rows) * height
    if blocks == 1:
        rule = "must be two at least for the schedule gather_sacc: fewer rows have more"
        raise ConfigError("engine.rows", f"{config.rows}: one row block of {shape.outputs} units", rule)
    if not 1 <= height < blocks:
        raise ConfigError(
            "height", height, f"must be 1 to {blocks - 1}, fewer than the {blocks} row blocks of the layer"
        )
    found = []
    if shape.used:
        before = shape.used_before[1]
        for width in range(min(config.window, units), 0, -1):
            if units % width == 0:
                ends = [*range(0, shape.outputs, width), shape.outputs]
                kept = int(most_kept(before, ends).max())
                if kept < width:
                    found.append(Grid(blocks, height, len(ends) - 1, width, units // width, kept))
    if not found:
        rule = "must have so many zeros in every row that words gain by leaving them out, as with [prune] pattern"
        found = f"W_h without enough zeros for windows of a group's units in the layer of {shape.outputs} units"
        raise ConfigError("model", found, rule)
    return min(found, key=lambda grid: grid.cycles * grid.kept * grid.windows)


def heights(shape: LayerShape, config: EngineConfig) -> list[int]:
    """Row blocks of a group that are worth trying: with more, less of W_h serves two steps, so lanes must gain.

    Raises
    ------
    ConfigError
        That of :func:`grid` where no groups are possible.
    """
    found, refused = [], None
    for height in range(1, max(2, shape.blocks(config.rows))):
        try:
            cycles = grid(shape, config, height).cycles
        except ConfigError as error:
            refused = refused or error
            continue
        if not found or cycles < found[-1][0]:
            found.append((cycles, height))
    if not found:
        raise refused
    return [height for _, height in found]
