"""The weight image: tiles of the stacked matrices in the order in which the engine reads them.

A *word* holds one weight for each of the R rows. A tile lists, row block after row block, the
columns of that block: the order in which a MAC instruction walks through it. Rows are unit-major:
row ``4u + g`` of an LSTM layer is gate g (i, f, g, o) of hidden unit u. In an engine with ``gate_blocks`` they are
gate-major: the row blocks of a gate follow one another, each with R units.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from .config import EngineConfig
from .isa import Fields


@dataclass(frozen=True)
class Tile:
    """Consecutive columns of consecutive row blocks of one layer.

    Parameters
    ----------
    layer : int
    part : str
        ``x`` (W_x, or the matrix of a linear layer), ``h`` (W_h), ``skip`` (that of the network's inputs in a linear
        layer), ``bias``, or of a layer with a start ``prime`` or ``first``, or with peepholes ``peephole``.
    first_block, blocks : int
        Row blocks ("slots" of the instruction).
    first_column, columns : int
        Columns of the part; for ``bias``, digit columns. Columns behind the last one of the part are zero.
    kept : int
        Words of each row block, where weights are stored with the places of their columns: as many weights of each row
        as that may not be zero. 0: a word a column.
    split : int
        Parts of the rows over which columns are split: those of a part have every so manieth column, from its number
        on, of the rows of the first part. The others have none of their own.
    """

    layer: int
    part: str
    first_block: int
    blocks: int
    first_column: int
    columns: int
    kept: int = 0
    split: int = 1

    @property
    def words_of_block(self) -> int:
        """Words of each row block."""
        return self.kept or -(-self.columns // self.split)

    @property
    def words(self) -> int:
        return self.blocks * self.words_of_block


@dataclass(frozen=True)
class Image:
    """Tiles in memory order, with the word at which each starts.

    Parameters
    ----------
    tiles : tuple of Tile
    stored : tuple of int, optional
        Beats of the last tiles, which lie in memory as segments in the form of the engine's decoder.
    """

    tiles: tuple[Tile, ...]
    stored: tuple[int, ...] = ()

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
        return self.plain_words * config.beats_per_word + sum(self.stored)

    def bytes(self, config: EngineConfig) -> int:
        """Size in memory, over all weight ports."""
        return self.beats(config) * config.beat_bytes * config.axi_ports

    @property
    def plain_words(self) -> int:
        """Words in front of the segments, which lie in memory as they are."""
        return sum(tile.words for tile in self.tiles[: len(self.tiles) - len(self.stored)])

    @property
    def segments(self) -> list[tuple[Tile, int, int, int]]:
        """The tiles that lie in memory as segments: (tile, first word, first beat behind the plain words, beats)."""
        tiles = self.tiles[len(self.tiles) - len(self.stored) :]
        words = accumulate((tile.words for tile in tiles), initial=self.plain_words)
        return list(zip(tiles, words, accumulate(self.stored, initial=0), self.stored, strict=False))

    @cached_property
    def _at_beat(self):
        """First beat behind the plain words -> (first word, words, beats) of a segment."""
        return {first: (word, tile.words, beats) for tile, word, first, beats in self.segments}

    def loaded(self, command: Fields, config: EngineConfig) -> tuple[int, int] | None:
        """What a LOAD brings: its first word and how many; None if that is not whole words, or not a whole segment."""
        per_word, plain = config.beats_per_word, self.plain_words
        if self.stored and command.stream:
            first, words, beats = self._at_beat.get(command.offset - plain * per_word, (0, 0, 0))
            return (first, words) if (words, beats) == (command.words, command.beats) and words else None
        (first, odd), (count, more) = divmod(command.offset, per_word), divmod(command.beats, per_word)
        return None if odd or more or first + count > plain else (first, count)
