"""How the columns of a sparse matrix are cut into windows of operands, and what their products cost."""

from __future__ import annotations

import numpy as np

from ..machine.config import EngineConfig
from ..machine.layout import Tile
from ..machine.network import LayerShape
from .layer import MOST_SLOTS, StreamedLayer
from .sums import Value

ZEROS = "must have so many zeros in every row that lanes gain by leaving them out, as with [prune] pattern"
"""What weights lack that are not cut into windows."""


def spans(blocks: int) -> list[tuple[int, int]]:
    """Row blocks of the MACs that walk through a tile, (first, count) of each, about as many each."""
    count = -(-blocks // MOST_SLOTS)
    ends = [blocks * n // count for n in range(count + 1)]
    return [(first, end - first) for first, end in zip(ends, ends[1:], strict=False)]


def hides(blocks: int, kept: int, columns: int) -> bool:
    """Whether the last MAC of a window has a column for each element that the next one needs."""
    return spans(blocks)[-1][1] * kept >= columns


def most_kept(before: np.ndarray, ends: list[int]) -> np.ndarray:
    """Words of a row block in the windows between such columns: as many as the fullest row has weights, 1 at least.

    ``before`` is that of a matrix as in ``LayerShape.used_before``.
    """
    most = [(before[end] - before[first]).max(initial=1) for first, end in zip(ends, ends[1:], strict=False)]
    return np.array(most, dtype=np.int64)


def window_tiles(
    shape: LayerShape, number: int, part: str, config: EngineConfig, of: int = 1, least: int = 1
) -> list[Tile]:
    """Windows of a matrix of a layer, all row blocks each; none where lanes that take all columns are as fast.

    Windows are equally wide, but for the last one, and as wide as takes the fewest cycles: whole banks of a balanced
    matrix. A window has as many words of each row block as its fullest row has weights that are not zero.

    Parameters
    ----------
    shape : LayerShape
        Says which weights are not zero; all may be of one that does not.
    number : int
        Of the layer.
    part : str
        ``x`` or ``h``.
    config : EngineConfig
        With windows.
    of : int
        Columns of a window are a multiple of it, but for the last one.
    least : int
        So many windows at least.

    Returns
    -------
    list of Tile
    """
    if not shape.used:
        return []
    before, blocks = shape.used_before["xh".index(part)], shape.blocks(config.rows)
    columns = len(before) - 1
    best, fewest = [], blocks * columns
    for width in range(min(config.window, columns // least) // of * of, 0, -of):
        ends = [*range(0, columns, width), columns]
        kept = most_kept(before, ends)
        cycles = sum(blocks * count + (0 if hides(blocks, count, width) else width) for count in kept.tolist())
        if cycles < fewest:
            fewest = cycles
            best = [
                Tile(number, part, 0, blocks, first, end - first, count)
                for first, end, count in zip(ends, ends[1:], kept.tolist(), strict=False)
            ]
    return best


class Windows(StreamedLayer):
    """MACs on windows of operands: a ``window`` is the fields of a MAC that brings one, with ``fill`` elements."""

    def fill_window(self, window: dict[str, Value]) -> None:
        """A window, and no products."""
        self.b.emit("MAC", "the next window", gather=1, columns=window["fill"], slots=1, **window)

    def multiply_window(
        self, tile: Tile, comment: str | None, window: dict[str, Value] | None, **fields: Value
    ) -> None:
        """Products of the window that is there, the row blocks of a tile, while the next one comes, if there is one.

        ``fields`` are those of the first row block. The next window has a MAC of its own where the last products are
        too few to hide it; words of the ring are released with the last ones.
        """
        hidden = window if window and hides(tile.blocks, tile.kept, window["fill"]) else None
        for first, slots in spans(tile.blocks):
            end = (hidden or {}) if first + slots == tile.blocks else {"release": 0} if "release" in fields else {}
            places = {"weight": fields.get("weight", 0) + first * tile.kept}
            places |= {name: fields[name] + first for name in ("source", "target") if name in fields}
            words = {"columns": tile.kept, "slots": slots, "load": 1, "gather": 1}
            self.b.emit("MAC", comment, mask=self.mask, **fields | places | words | end)
        if window and not hidden:
            self.fill_window(window)
