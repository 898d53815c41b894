"""How the columns of a sparse matrix are cut into windows of operands, and what their products cost."""

from __future__ import annotations

import numpy as np

from ..machine.config import EngineConfig
from ..machine.isa import SLOT_BITS
from ..machine.layout import Tile
from ..machine.network import LayerShape

MOST_SLOTS = (1 << SLOT_BITS) - 1


def spans(blocks: int) -> list[tuple[int, int]]:
    """Row blocks of the MACs that walk through a tile, (first, count) of each, about as many each."""
    count = -(-blocks // MOST_SLOTS)
    ends = [blocks * n // count for n in range(count + 1)]
    return [(first, end - first) for first, end in zip(ends, ends[1:], strict=False)]


def hides(blocks: int, kept: int, columns: int) -> bool:
    """Whether the last MAC of a window has a column for each element that the next one needs."""
    return spans(blocks)[-1][1] * kept >= columns


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
    used, blocks = shape.used["xh".index(part)], shape.blocks(config.rows)
    columns = used.shape[1]
    before = np.zeros((len(used), columns + 1), dtype=np.int32)
    np.cumsum(used, axis=1, out=before[:, 1:])
    best, fewest = [], blocks * columns
    for width in range(min(config.window, columns // least) // of * of, 0, -of):
        ends = [*range(0, columns, width), columns]
        kept = np.maximum(1, np.diff(before[:, ends], axis=1).max(axis=0))
        cycles = sum(blocks * count + (0 if hides(blocks, count, width) else width) for count in kept.tolist())
        if cycles < fewest:
            fewest = cycles
            best = [
                Tile(number, part, 0, blocks, first, end - first, count)
                for first, end, count in zip(ends, ends[1:], kept.tolist(), strict=False)
            ]
    return best
