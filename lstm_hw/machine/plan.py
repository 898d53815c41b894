"""A plan: a program with the image that it reads, and how its streams are ordered."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .config import EngineConfig
from .layout import Image
from .limits import GATES
from .network import Network
from .program import Program
from .streams import Piece, Streams, XOrder, YOrder


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
    places : tuple of int, optional
        Vectors of each recurrent layer's h that are kept one behind another, where programs ask for groups of them; one
        each if not given.
    """

    config: EngineConfig
    network: Network
    schedule: str
    program: Program
    image: Image
    sequences: int = 1
    batch: int = 1
    x_order: Callable[[int], Iterable[Piece]] | None = None
    groups: int = 1
    y_order: Callable[[int, int], Iterable[Piece]] | None = None
    needs: dict[str, int] | None = None
    places: tuple[int, ...] = ()

    @property
    def streams(self) -> Streams:
        """What is on the streams of a run."""
        layers = self.network.layers
        inputs, outputs = layers[0].inputs, self.network.output_size
        return Streams(
            inputs,
            outputs,
            self.config.x_per_beat,
            self.config.contexts,
            self.sequences,
            self.groups,
            self.network.head is None or self.network.head_every_step,
            self.network.repeats,
            1 if layers[-1].is_cell else GATES,
            self.x_order or XOrder(1, ((0, inputs),)),
            self.y_order or YOrder(((0, outputs),), ((0, outputs),)),
        )

    def beats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x vectors to the beats of the input stream; see :meth:`.streams.Streams.beats`."""
        return self.streams.beats(x)

    def packets(self, outputs: np.ndarray, first_step: int = 0) -> list[list[int]]:
        """What a run sends on the output stream; see :meth:`.streams.Streams.packets`."""
        return self.streams.packets(outputs, first_step)

    def outputs(self, packets: Sequence[Sequence[int]], steps: int, first_step: int = 0) -> np.ndarray:
        """Inverse of :meth:`packets`; see :meth:`.streams.Streams.outputs_of`."""
        return self.streams.outputs_of(packets, steps, first_step)
