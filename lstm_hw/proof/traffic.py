"""Weight words that a run reads from memory, by matrix."""

import numpy as np

from ..machine.isa import REGISTERS

PARTS = ("x", "h", "bias")


def words_read(plan, runs, entry="run"):
    """Replay the LOADs of runs that follow one another, and count the words of each part of the image.

    Parameters
    ----------
    plan : Plan
    runs : sequence of (steps, clear)
        Time steps of each run, and whether it starts from zero state.
    entry : str
        The entry at which every run starts.

    Returns
    -------
    list of dict of str to int
        For each run the words (of R weights each) of W_x (``x``, with the matrix of a linear layer), W_h (``h``) and
        the bias (``bias``).

    Raises
    ------
    ProgramError
        Unknown entry.
    """
    parts = np.repeat([PARTS.index(tile.part) for tile in plan.image.tiles], [tile.words for tile in plan.image.tiles])
    per_word, registers, counts = plan.config.beats_per_word, [0] * REGISTERS, []
    for steps, clear in runs:
        read = np.zeros(len(PARTS), dtype=np.int64)
        for command in plan.program.run(entry, steps, clear, registers):
            if command.op == "LOAD":
                first, words = command.offset // per_word, command.beats // per_word
                read += np.bincount(parts[first : first + words], minlength=len(PARTS))
        counts.append(dict(zip(PARTS, read.tolist(), strict=True)))
    return counts
