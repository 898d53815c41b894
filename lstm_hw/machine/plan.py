"""A plan: a program with the image that it reads, and how its streams are ordered."""

from collections.abc import Callable
from dataclasses import dataclass

from .layout import Image
from .network import Network
from .program import Program


@dataclass(frozen=True)
class Plan:
    """A program with the image that it reads.

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
    steps : int, optional
        The one number of time steps that a run may have; any if not given.
    x_order : tuple of (step, first column, columns), optional
        Order in which the x stream brings the pieces of the vectors; whole vectors in time order if not given.
    groups : int
        Groups of sequences that take turns; a piece of all groups comes before the next piece.
    needs : dict of str to int, optional
        Fields of the engine that the schedule asked for, with the least value that does.
    y_order : callable (steps, first_step) -> iterable of (step, first unit, units), optional
        The packets that a run sends, where a packet is not simply a step; ``first_step`` counts from zero state.
    """

    config: object
    network: Network
    schedule: str
    program: Program
    image: Image
    sequences: int = 1
    steps: int | None = None
    x_order: tuple | None = None
    groups: int = 1
    y_order: Callable | None = None
    needs: dict | None = None

    @property
    def plans(self):
        """The plans that run one after the other: this one alone (see :class:`lstm_hw.plan.stack.Stack`)."""
        return (self,)

    def entry(self, layer=0, done=0):
        """Name of the entry at which a run starts, whatever is behind it."""
        return "run"

    def packets(self, outputs, first_step=0):
        """What a run sends on the output stream.

        Parameters
        ----------
        outputs : int array (sequences, steps, Lh)
            h of every sequence.
        first_step : int
            Steps since zero state before the run.

        Returns
        -------
        list of int lists
            Packets: the sequences of a group side by side, unit by unit; groups take turns.
        """
        sequences, steps, length = outputs.shape
        groups = outputs.reshape(self.groups, sequences // self.groups, steps, length)
        order = self.y_order(steps, first_step) if self.y_order else ((step, 0, length) for step in range(steps))
        return [
            group[:, step, first : first + units].T.ravel().tolist() for step, first, units in order for group in groups
        ]
