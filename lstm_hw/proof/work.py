"""Columns and beats of a run: what its lanes and its weight port have to do, however they are timed."""

from collections.abc import Hashable, Iterator

from ..machine.config import EngineConfig
from ..machine.isa import BEATS_BITS, COUNT_BITS, Instruction
from ..machine.plan import Plan
from ..machine.program import Command
from .affine import EVER
from .count import registers_before
from .lists import Assumed, walked, walks_list
from .period import walk


class Work:
    """Adds up what the commands of a run ask for; a model for :func:`lstm_hw.proof.period.walk`.

    Parameters
    ----------
    config : EngineConfig
        What the commands are for.
    assumed : Assumed, optional
        What is taken for granted where commands walk lists or ask.

    Attributes
    ----------
    columns : int
        Columns that go to the lanes, one a cycle at the most.
    beats : int
        Beats of each weight port.
    """

    def __init__(self, config: EngineConfig, assumed: Assumed | None = None):
        self.config, self.assumed = config, assumed or Assumed()
        self.columns = self.beats = 0

    def execute(self, command: Command) -> None:
        """Account for one command."""
        if command.op == "MAC":
            fields = command.fields
            columns = fields["columns"]
            if columns and walks_list(self.config, fields):
                columns = walked(self.assumed.entries(fields))
            self.columns += fields["slots"] * columns
        elif command.op == "LOAD":
            self.beats += command.fields["beats"]

    def kept(self, group: int, of_x: int) -> bool:
        """Whether a group of h is taken to be kept, or an element of h or x to have changed."""
        return self.assumed.kept(group, of_x)

    def state(self) -> Hashable:
        """Nothing that came before changes what a command asks for."""
        return ()

    glance = state

    def progress(self) -> list[int]:
        """Columns and beats so far."""
        return [self.columns, self.beats]

    def furthest(self, since: list[int]) -> int:
        """Nothing ends periods."""
        return EVER

    def skip(self, times: int, since: list[int]) -> None:
        """All that was added since :meth:`progress` was ``since`` is added so many times more."""
        columns, beats = since
        self.columns += times * (self.columns - columns)
        self.beats += times * (self.beats - beats)

    def timed(self, instruction: Instruction) -> Iterator[tuple[int, int]]:
        """Registers on which columns and beats depend (see :func:`~lstm_hw.proof.period.walk`)."""
        for op, name, bits in (("MAC", "columns", COUNT_BITS), ("LOAD", "beats", BEATS_BITS)):
            if instruction.op == op:
                yield getattr(instruction, f"{name}_reg"), 1 << bits


def work(plan: Plan, steps: int, clear: bool = True, entry: str = "run") -> Work:
    """Columns and beats of a run of a plan, in a time that hardly grows with its steps.

    A run takes at least a cycle a column, and ``MemoryModel.interval`` cycles a beat.

    Parameters
    ----------
    plan : Plan
    steps : int
    clear : bool
        The run starts from zero state.
    entry : str

    Returns
    -------
    Work
    """
    found = Work(plan.config, Assumed.of(plan))
    walk(found, plan.program, entry, steps, clear, registers_before(plan, entry))
    return found
