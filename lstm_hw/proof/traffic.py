"""Whose words a run reads from memory, and whose words the lanes work on."""

from collections import deque
from collections.abc import Iterable

import numpy as np

from ..machine.isa import REGISTERS
from ..machine.plan import Plan
from .lists import Assumed, walked, walks_list

PARTS = ("x", "h", "bias")


def words_read(plan: Plan, runs: Iterable[tuple[int, bool]], entry: str = "run") -> list[dict[str, int]]:
    """Replay the LOADs of runs that follow one another, and count the words of each part of the image.

    Where a program asks what counts of x and h, it is taken to be as much as the network's activity says: a run of real
    inputs reads others, which its counter ``read_beats`` tells.

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
        For each run the words (of R weights each) of W_x (``x``, with the matrices of a linear layer), W_h (``h``) and
        the bias (``bias``).

    Raises
    ------
    ProgramError
        Unknown entry.
    """
    names = ["x" if tile.part == "skip" else tile.part for tile in plan.image.tiles]
    parts = np.repeat([PARTS.index(name) for name in names], [tile.words for tile in plan.image.tiles])
    registers, counts, assumed = [0] * REGISTERS, [], Assumed.of(plan)
    for steps, clear in runs:
        read = np.zeros(len(PARTS), dtype=np.int64)
        for command in plan.program.run(entry, steps, clear, registers, kept=assumed.kept):
            if command.op == "LOAD":
                first, words = plan.image.loaded(command, plan.config)
                read += np.bincount(parts[first : first + words], minlength=len(PARTS))
        counts.append(dict(zip(PARTS, read.tolist(), strict=True)))
    return counts


def columns_by_layer(plan: Plan, steps: int, clear: bool = True) -> list[int]:
    """Replay a run whose weights have been loaded, and count the columns that the lanes work on by layer.

    A word is followed from the image into the weight buffer or through its ring to the MAC that uses it. What a program
    asks for, and lists hold, is taken for granted as by :func:`words_read`.

    Parameters
    ----------
    plan : Plan
    steps : int
    clear : bool
        The run starts from zero state.

    Returns
    -------
    list of int
        Cycles in which the lanes are busy, a layer; behind them those of MACs without lanes, which only wait. Their
        sum is the counter ``busy``.
    """
    registers, assumed = [0] * REGISTERS, Assumed.of(plan)
    layer_of = np.repeat([tile.layer for tile in plan.image.tiles], [tile.words for tile in plan.image.tiles])
    buffer, ring = np.full(plan.config.weight_words, -1), _Ring()
    counts = [0] * (len(plan.network.layers) + 1)
    entries = [("load", 1, False)] if "load" in plan.program.entries else []
    for entry, length, zero in (*entries, ("run", steps, clear)):
        for command in plan.program.run(entry, length, zero, registers, kept=assumed.kept):
            if command.op == "RING":
                ring = _Ring()
            elif command.op == "LOAD":
                first, words = plan.image.loaded(command, plan.config)
                if command.stream:
                    ring.write(layer_of[first : first + words])
                else:
                    buffer[command.base : command.base + words] = layer_of[first : first + words]
            elif command.op == "MAC":
                width = command.columns
                if width and walks_list(plan.config, command.fields):
                    width = walked(assumed.entries(command.fields))
                columns = command.slots * width
                layer = -1
                if columns and command.mask:
                    layer = ring.layer(command.weight) if command.stream else buffer[command.weight]
                if entry == "run":
                    counts[layer] += columns
                if command.stream and command.release:
                    ring.drop(command.weight + columns)
    return counts


class _Ring:
    """Layers of the words in the ring, as runs of equal ones."""

    def __init__(self):
        self._runs = deque()  # [layer, words]

    def write(self, layers):
        starts = [0, *(np.flatnonzero(np.diff(layers)) + 1), len(layers)]
        for first, end in zip(starts, starts[1:], strict=False):
            if end > first:
                self._runs.append([int(layers[first]), int(end - first)])

    def layer(self, word):
        for layer, words in self._runs:
            if word < words:
                return layer
            word -= words
        raise IndexError("no such word in the ring")

    def drop(self, words):
        while words:
            run = self._runs[0]
            taken = min(words, run[1])
            run[1] -= taken
            words -= taken
            if not run[1]:
                self._runs.popleft()
