"""The weight image: tiles of the stacked matrices in the order in which the engine reads them.

A *word* holds one weight for each of the R rows. A tile lists, row block after row block, the
columns of that block: the order in which a MAC instruction walks through it. Rows are unit-major:
row ``4u + g`` of an LSTM layer is gate g (i, f, g, o) of hidden unit u.
"""

from dataclasses import dataclass

from .config import EngineConfig


@dataclass(frozen=True)
class Tile:
    """Consecutive columns of consecutive row blocks of one layer.

    Parameters
    ----------
    layer : int
    part : str
        ``x`` (W_x, or the matrix of a linear layer), ``h`` (W_h) or ``bias``.
    first_block, blocks : int
        Row blocks ("slots" of the instruction).
    first_column, columns : int
        Columns of the part; for ``bias``, digit columns. Columns behind the last one of the part are zero.
    """

    layer: int
    part: str
    first_block: int
    blocks: int
    first_column: int
    columns: int

    @property
    def words(self) -> int:
        return self.blocks * self.columns


@dataclass(frozen=True)
class Image:
    """Tiles in memory order, with the word at which each starts."""

    tiles: tuple[Tile, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """First word of every tile."""
        offsets, position = [], 0
        for tile in self.tiles:
            offsets.append(position)
            position += tile.words
        return tuple(offsets)

    @property
    def words(self) -> int:
        return sum(tile.words for tile in self.tiles)

    def beats(self, config: EngineConfig) -> int:
        """Length in beats of each weight port."""
        return self.words * config.beats_per_word
