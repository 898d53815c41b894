"""A plan: a program with the image that it reads, and how its streams are ordered."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .config import GATES, EngineConfig
from .layout import Image
from .network import Network
from .program import Program

VectorPart = tuple[int, int, int]
"""Part of a vector on a stream: its step or number, the first element, and elements."""


@dataclass(frozen=True)
class Plan:
    """A program with the image that it reads.

    Entry ``load``, where there is one, brings the words that stay on chip; entry ``run`` takes x of so many time steps
    and sends the outputs of the last layer, going on from the state that the run before left unless it is cleared.

    Parameters
    ----------
    config : EngineConfig
    network : Network
    schedule : str
        Name of the planner.
    program : Program
    image : Image
    sequences : int
        Independent sequences that a run works on.
    batch : int
        Time steps that the schedule takes together; the last ones of a run may be fewer.
    x_order : callable (steps) -> iterable of (step, first column, columns), optional
        Order in which the x stream brings the pieces of the vectors; whole vectors in time order if not given.
    groups : int
        Groups of sequences that take turns; a piece of all groups comes before the next piece.
    y_order : callable (vectors, first_step) -> iterable of (vector, first element, elements), optional
        The packets of a run that sends so many output vectors, where a packet is not simply a vector; ``first_step``
        counts from zero state.
    needs : dict of str to int, optional
        Fields of the engine that the schedule asked for, with the least value that does.
    """

    config: EngineConfig
    network: Network
    schedule: str
    program: Program
    image: Image
    sequences: int = 1
    batch: int = 1
    x_order: Callable[[int], Iterable[VectorPart]] | None = None
    groups: int = 1
    y_order: Callable[[int, int], Iterable[VectorPart]] | None = None
    needs: dict[str, int] | None = None

    def x_pieces(self, steps: int) -> list[VectorPart]:
        """What the x stream brings in a run of so many steps: (step, first column, columns), in order."""
        if self.x_order is None:
            return [(step, 0, self.network.layers[0].inputs) for step in range(steps)]
        return list(self.x_order(steps))

    def beats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x vectors to the beats of the input stream.

        A beat holds an element of each of K sequences, or, of fewer sequences than contexts, consecutive elements of
        one. Sequences beyond those of a beat take turns, a piece each.

        Parameters
        ----------
        x : int array (sequences, steps, Lx)

        Returns
        -------
        beats : int array (beats, x_per_beat)
        lasts : int array (beats,)
            1 where a vector ends.

        Raises
        ------
        InputError
            ``x`` has another shape, or no step.
        """
        length = self.network.layers[0].inputs
        if x.ndim != 3 or len(x) != self.sequences or x.shape[2] != length:
            raise InputError("x", f"shape {x.shape}", f"must be ({self.sequences}, steps, {length}) for this plan")
        steps = x.shape[1]
        if not steps:
            raise InputError("x", "0 steps", "must be at least 1 for this plan")
        per_beat, contexts = self.config.x_per_beat, self.config.contexts
        side_by_side = contexts if self.sequences >= contexts else 1
        groups = x.reshape(-1, side_by_side, steps, length)
        beats, lasts = [], []
        for (step, first, columns), group in ((piece, group) for piece in self.x_pieces(steps) for group in groups):
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

    def outputs(self, packets: Sequence[Sequence[int]], steps: int, first_step: int = 0) -> np.ndarray:
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
        shape = self.sequences, self.network.output_vectors(steps), self.network.output_size
        flat, order = np.empty(np.prod(shape), dtype=np.int64), self._positions(shape, first_step)
        lengths, wanted = [len(packet) for packet in packets], [len(positions) for positions in order]
        if lengths != wanted:
            raise InputError("packets", f"of {lengths} elements", f"must be of {wanted} for a run of {steps} steps")
        for packet, positions in zip(packets, order, strict=True):
            flat[positions] = packet
        return flat.reshape(shape)

    def _positions(self, shape, first_step):
        """Where the elements of each packet are in outputs of a shape: list of int arrays."""
        _, vectors, elements = shape
        order = ((vector, 0, elements) for vector in range(vectors))
        if self.y_order:
            order = self.y_order(vectors, first_step)
        groups = np.arange(np.prod(shape)).reshape(self.groups, -1, vectors, elements)
        positions = []
        for vector, first, count in order:
            for group in groups:
                piece = group[:, vector, first : first + count]
                if self.network.head:
                    fours = [piece[:, at : at + GATES].ravel() for at in range(0, count, GATES)]
                    positions.append(np.concatenate(fours))
                else:
                    positions.append(piece.T.ravel())
        return positions
