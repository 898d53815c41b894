"""The bit map: weight words without their zeros, in a form that a weight port expands at the speed of its beats.

A *segment* is the words of one LOAD, cut into blocks. A block is a few beats of masks, a bit for each row of each word
behind the number of the block's beats of weights, and then these: the non-zero weights of one word after the other, row
after row. Behind the last block of a segment come zero beats up to its length.

At most one word ends in a beat, so whoever expands a beat a cycle writes a word a cycle at most and never holds a beat
back: a word that would end in the same beat as the one before starts in the next one. Hence of a segment of so many
words and beats, word ``n`` is there with beat ``beats - words + n``, whatever its weights are.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import FormatError

COUNT_BITS = 12
"""Width of the number of beats in front of a block's masks."""
LEAST_WORDS, LEAST_MASK_BEATS = 8, 3
"""Of a block: fewer would be mostly padding."""


@dataclass(frozen=True)
class Bitmap:
    """The form of segments for words of ``rows`` weights of ``weight_bits`` on beats of ``beat_bits``.

    ``weight_bits`` divides ``beat_bits``.
    """

    rows: int
    weight_bits: int
    beat_bits: int

    @property
    def per_beat(self) -> int:
        """Weights in a beat."""
        return self.beat_bits // self.weight_bits

    @property
    def mask_beats(self) -> int:
        """Beats of masks in a block."""
        return max(LEAST_MASK_BEATS, math.ceil((COUNT_BITS + LEAST_WORDS * self.rows) / self.beat_bits))

    @property
    def block_words(self) -> int:
        """Words of a block; the last one of a segment may have fewer."""
        return (self.mask_beats * self.beat_bits - COUNT_BITS) // self.rows

    @cached_property
    def _unit_shifts(self):
        return np.arange(self.weight_bits, dtype=np.int64)

    def places(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the weights of a block's words are.

        Parameters
        ----------
        counts : int array (..., words)
            Non-zero weights of each word.

        Returns
        -------
        int array (..., words), int array (...)
            The place of each word's first weight behind the masks, counted in weights, and the beats of weights.
        """
        per_beat, starts = self.per_beat, np.zeros_like(counts)
        start = np.zeros(counts.shape[:-1], dtype=counts.dtype)
        for word in range(counts.shape[-1]):
            starts[..., word] = start
            count = counts[..., word]
            beat = (start + np.maximum(count, 1) - 1) // per_beat  # in which it ends
            after = start + count
            if word + 1 < counts.shape[-1]:
                fresh = after + counts[..., word + 1] <= (beat + 1) * per_beat
                start = np.where(fresh, (beat + 1) * per_beat, after)
        return starts, beat + 1

    def beats(self, words: np.ndarray) -> np.ndarray:
        """Least beats of segments.

        Parameters
        ----------
        words : int array (segments, words, rows)

        Returns
        -------
        int array (segments,)
        """
        counts, total = (np.asarray(words) != 0).sum(axis=2), np.zeros(len(words), dtype=np.int64)
        for first in range(0, counts.shape[1], self.block_words):
            total += self.mask_beats + self.places(counts[:, first : first + self.block_words])[1]
        return total

    def encode(self, words: np.ndarray, beats: int | None = None) -> np.ndarray:
        """A segment.

        Parameters
        ----------
        words : int array (words, rows)
            Stored weights.
        beats : int, optional
            Its length; the least one without it.

        Returns
        -------
        uint8 array (beats, beat_bits / 8)

        Raises
        ------
        FormatError
            A weight that does not fit, or a segment that is longer than ``beats``.
        """
        words = np.asarray(words, dtype=np.int64).reshape(-1, self.rows)
        limit = 1 << self.weight_bits - 1
        if words.size and not -limit <= words.min() <= words.max() < limit:
            raise FormatError("bit map weights", f"{words.min()} to {words.max()}", f"must fit {self.weight_bits} bits")
        parts = [self._block(words[n : n + self.block_words]) for n in range(0, len(words), self.block_words)]
        bits = np.concatenate([np.zeros((0, self.beat_bits), np.uint8), *parts])
        beats = len(bits) if beats is None else beats
        if len(bits) > beats:
            raise FormatError("bit map segment", f"{len(bits)} beats", f"must be at most {beats}")
        bits = np.pad(bits, ((0, beats - len(bits)), (0, 0)))
        return np.packbits(bits, axis=1, bitorder="little")

    def _block(self, words):
        """Bits of a block (beats, beat_bits)."""
        used = words != 0
        starts, (beats,) = self.places(used.sum(axis=1)[None])
        masks = np.zeros(self.mask_beats * self.beat_bits, np.uint8)
        masks[:COUNT_BITS] = beats >> np.arange(COUNT_BITS) & 1
        masks[COUNT_BITS : COUNT_BITS + used.size] = used.ravel()
        weights = np.zeros(beats * self.per_beat, np.int64)
        at = starts[0][:, None] + used.cumsum(axis=1) - 1
        weights[at[used]] = words[used]
        bits = (weights[:, None] >> self._unit_shifts & 1).astype(np.uint8)
        return np.concatenate([masks, bits.ravel()]).reshape(-1, self.beat_bits)

    def decode(self, beats: np.ndarray, words: int) -> np.ndarray:
        """Inverse of :meth:`encode`.

        Parameters
        ----------
        beats : uint8 array (beats, beat_bits / 8)
        words : int
            Words of the segment.

        Returns
        -------
        int64 array (words, rows)

        Raises
        ------
        FormatError
            A segment that is cut, whose masks tell of other weights than there are, or that goes on behind its words;
            the message names the beat.
        """
        beats = np.asarray(beats, dtype=np.uint8).reshape(-1, self.beat_bits // 8)
        bits = np.unpackbits(beats, axis=1, bitorder="little").astype(np.int64)
        result, at = np.zeros((words, self.rows), dtype=np.int64), 0
        for first in range(0, words, self.block_words):
            count = min(self.block_words, words - first)
            masks = bits[at : at + self.mask_beats].ravel()
            behind = at + self.mask_beats
            said = int((masks[:COUNT_BITS] << np.arange(COUNT_BITS)[: len(masks)]).sum())
            if behind + said > len(beats):
                raise FormatError(f"bit map beat {at}", f"{len(beats) - at} beats", "must be a block: it is cut")
            used, end = masks[COUNT_BITS:][: count * self.rows] != 0, COUNT_BITS + count * self.rows
            used = used.reshape(count, self.rows)
            starts, (wanted,) = self.places(used.sum(axis=1)[None])
            if said != wanted or masks[end:].any():
                rule = f"must be the {wanted} of its masks, with nothing behind them"
                raise FormatError(f"bit map beat {at}", f"a block of {said} beats", rule)
            units = bits[behind : behind + said].ravel()[: said * self.per_beat * self.weight_bits]
            weights = (units.reshape(-1, self.weight_bits) << self._unit_shifts).sum(axis=1)
            weights -= weights >> self.weight_bits - 1 << self.weight_bits
            places = (starts[0][:, None] + used.cumsum(axis=1) - 1)[used]
            result[first : first + count][used] = weights[places]
            idle = np.ones(len(weights), bool)
            idle[places] = False
            if weights[idle].any():
                raise FormatError(f"bit map beat {behind}", "weights between the words", "must be zero")
            at = behind + said
        if beats[at:].any():
            where = at + int(np.flatnonzero(beats[at:].any(axis=1))[0])
            raise FormatError(f"bit map beat {where}", "weights behind the last word", "must be zero")
        return result
