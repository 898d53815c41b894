"""What is on the streams of an engine: the beats of x, the packets of y, and the orders of both.

A plan makes one of them, and so does a firmware image: whoever sends and receives does it here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError, ProgramError

Piece = tuple[int, int, int]
"""Part of a vector on a stream: its step or number, the first element, and elements."""
Part = tuple[int, int]
"""First element, and elements."""


@dataclass(frozen=True)
class XOrder:
    """The order in which x comes: batch by batch, of a batch part by part, of a part step by step.

    Called with the time steps of a run, it lists (step, first element, elements).

    Parameters
    ----------
    batch : int
        Time steps of a batch; the last batch of a run may have fewer.
    parts : tuple of (first element, elements)
    """

    batch: int
    parts: tuple[Part, ...]

    def __call__(self, steps: int) -> list[Piece]:
        """The pieces of a run of so many steps."""
        return [
            (step, *part)
            for first in range(0, steps, self.batch)
            for part in self.parts
            for step in range(first, min(first + self.batch, steps))
        ]

    @classmethod
    def of(cls, order: Callable[[int], Iterable[Piece]], batch: int) -> "XOrder":
        """What a planner's order is.

        Raises
        ------
        ProgramError
            It is no such order.
        """
        parts = tuple(dict.fromkeys((first, count) for _, first, count in order(batch)))
        found = next((cls(size, parts) for size in (1, batch) if _same_x(cls(size, parts), order, batch)), None)
        if found is None:
            raise ProgramError("x order", "another than by batches and parts", "must be one that an image can state")
        return found


def _same_x(found, order, batch):
    return all(found(steps) == list(order(steps)) for steps in range(1, 2 * batch + 2))


@dataclass(frozen=True)
class YOrder:
    """The order in which outputs leave: vector by vector, of each part by part, a packet each.

    Called with the vectors of a run and the steps since zero state before it, it lists (vector, first element,
    elements).

    Parameters
    ----------
    even, odd : tuple of (first element, elements)
        Of even and of odd vectors.
    since_zero : bool
        Even and odd are counted from zero state on, not from the start of the run.
    """

    even: tuple[Part, ...]
    odd: tuple[Part, ...]
    since_zero: bool = False

    def __call__(self, vectors: int, first_step: int) -> list[Piece]:
        """The pieces of a run that sends so many vectors."""
        first = first_step if self.since_zero else 0
        return [
            (vector, *part) for vector in range(vectors) for part in (self.odd if (first + vector) % 2 else self.even)
        ]

    @classmethod
    def of(cls, order: Callable[[int, int], Iterable[Piece]]) -> "YOrder":
        """What a planner's order is.

        Raises
        ------
        ProgramError
            It is no such order.
        """
        two = list(order(2, 0))
        even, odd = (tuple((first, count) for at, first, count in two if at == vector) for vector in (0, 1))
        found = next((cls(even, odd, zero) for zero in (False, True) if _same_y(cls(even, odd, zero), order)), None)
        if found is None:
            raise ProgramError("y order", "another than by even and odd vectors", "must be one that an image can state")
        return found


def _same_y(found, order):
    return all(found(vectors, first) == list(order(vectors, first)) for vectors in range(1, 6) for first in range(3))


@dataclass(frozen=True)
class Streams:
    """The streams of the runs of a program.

    Parameters
    ----------
    inputs, outputs : int
        Elements of a vector of x, and of one of the outputs.
    per_beat : int
        Elements of a beat of x.
    contexts : int
        K of the engine.
    sequences : int
        Independent sequences that a run works on.
    groups : int
        Groups of sequences that take turns; a piece of all groups comes before the next piece.
    every_step : bool
        A run sends a vector a step; otherwise one in all.
    repeats : int
        Vectors of a run that sends one in each step, where they are not as many as steps of x; 0: they are.
    together : int
        Elements of a sequence that are together in a packet: four of a linear head, else one.
    x_order : callable (steps) -> iterable of (step, first element, elements)
        As XOrder.
    y_order : callable (vectors, first_step) -> iterable of (vector, first element, elements)
        As YOrder.
    """

    inputs: int
    outputs: int
    per_beat: int
    contexts: int
    sequences: int
    groups: int
    every_step: bool
    repeats: int
    together: int
    x_order: Callable[[int], Iterable[Piece]]
    y_order: Callable[[int, int], Iterable[Piece]]

    @property
    def side_by_side(self) -> int:
        """Sequences whose elements share a beat of x."""
        return self.contexts if self.sequences >= self.contexts else 1

    def vectors(self, steps: int) -> int:
        """Output vectors of a run, of each sequence."""
        return (self.repeats or steps) if self.every_step else 1

    def beats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x vectors to the beats of the input stream.

        A beat holds an element of each of K sequences, or, of fewer sequences than contexts, consecutive elements of
        one. Sequences beyond those of a beat take turns, a piece each.

        Parameters
        ----------
        x : int array (sequences, steps, Lx)

        Returns
        -------
        beats : int array (beats, per_beat)
        lasts : int array (beats,)
            1 where a vector ends.

        Raises
        ------
        InputError
            ``x`` has another shape, or no step.
        """
        length = self.inputs
        if x.ndim != 3 or len(x) != self.sequences or x.shape[2] != length:
            raise InputError("x", f"shape {x.shape}", f"must be ({self.sequences}, steps, {length}) for this plan")
        steps = x.shape[1]
        if not steps:
            raise InputError("x", "0 steps", "must be at least 1 for this plan")
        per_beat, side_by_side = self.per_beat, self.side_by_side
        groups = x.reshape(-1, side_by_side, steps, length)
        beats, lasts = [], []
        for (step, first, columns), group in ((piece, group) for piece in self.x_order(steps) for group in groups):
            piece = group[:, step, first : first + columns]
            if side_by_side > 1:
                rows = np.zeros((columns, per_beat), dtype=np.int64)
                rows[:, :side_by_side] = piece.T
            else:
                rows = np.zeros(-(-columns // per_beat) * per_beat, dtype=np.int64)
                rows[:columns] = piece[0]
                rows = rows.reshape(-1, per_beat)
            beats.append(rows)
            lasts.append(np.arange(len(rows)) == (len(rows) - 1 if first + columns == length else len(rows)))
        return np.concatenate(beats), np.concatenate(lasts).astype(np.int64)

    def packets(self, outputs: np.ndarray, first_step: int = 0) -> list[list[int]]:
        """What a run sends on the output stream.

        In a packet the sequences of a group take turns: elements of h one by one, outputs of a head four by four.

        Parameters
        ----------
        outputs : int array (sequences, vectors, elements)
            One vector a step, or one in all of a head on the last step.
        first_step : int
            Steps since zero state before the run.

        Returns
        -------
        list of int lists
        """
        flat = np.asarray(outputs).ravel()
        return [flat[positions].tolist() for positions in self._positions(np.shape(outputs), first_step)]

    def packet_lengths(self, steps: int, first_step: int = 0) -> list[int]:
        """Elements of each packet of a run of so many steps."""
        return [len(positions) for positions in self._positions(self._shape(steps), first_step)]

    def outputs_of(self, packets: Sequence[Sequence[int]], steps: int, first_step: int = 0) -> np.ndarray:
        """Inverse of :meth:`packets`.

        Parameters
        ----------
        packets : list of int lists
        steps : int
            Time steps of the run.
        first_step : int

        Returns
        -------
        int64 array (sequences, vectors, elements)

        Raises
        ------
        InputError
            A run of so many steps sends other packets.
        """
        shape = self._shape(steps)
        flat, order = np.empty(np.prod(shape), dtype=np.int64), self._positions(shape, first_step)
        lengths, wanted = [len(packet) for packet in packets], [len(positions) for positions in order]
        if lengths != wanted:
            raise InputError("packets", f"of {lengths} elements", f"must be of {wanted} for a run of {steps} steps")
        for packet, positions in zip(packets, order, strict=True):
            flat[positions] = packet
        return flat.reshape(shape)

    def _shape(self, steps):
        return self.sequences, self.vectors(steps), self.outputs

    def _positions(self, shape, first_step):
        """Where the elements of each packet are in outputs of a shape: list of int arrays."""
        _, vectors, _ = shape
        groups = np.arange(np.prod(shape)).reshape(self.groups, -1, vectors, self.outputs)
        positions = []
        for vector, first, count in self.y_order(vectors, first_step):
            for group in groups:
                piece = group[:, vector, first : first + count]
                if self.together == 1:
                    positions.append(piece.T.ravel())
                else:
                    some = range(0, count, self.together)
                    positions.append(np.concatenate([piece[:, at : at + self.together].ravel() for at in some]))
        return positions
