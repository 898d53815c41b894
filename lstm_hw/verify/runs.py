"""The one road from a plan and inputs to the runs of an engine and what they must answer.

Outputs come from a reference, counters from the interpreter of the program, whose outputs must be the reference's in
every bit. Any plan takes this road: every schedule, stack and head, any number of sequences, in pieces or whole.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..errors import InputError, VerificationError
from ..machine.pack import pack, to_bytes
from ..machine.plan import Plan
from ..machine.registers import CLIPPED_PLACES
from ..model.quant_model import QuantModel
from ..model.reference import integer_reference
from ..proof.interpreter import Interpreter
from ..proof.load_timing import MemoryModel
from .scenario import BENCH_MEMORY, Run, Scenario, Stress


@dataclass(frozen=True)
class Piece:
    """What a run works on.

    Parameters
    ----------
    x : int array (sequences, steps, Lx)
        Stored integers, a piece of each of the plan's sequences.
    clear : bool
        The run starts from zero state; otherwise it goes on where the one before ended.
    """

    x: np.ndarray
    clear: bool = True


class Reference(Protocol):
    """What an engine must answer, asked piece by piece in their order.

    Attributes
    ----------
    clipped : dict of str to int, or None
        Values of the last piece that were beyond their format, by place in CLIPPED_PLACES; None: not counted.
    """

    clipped: dict[str, int] | None

    def __call__(self, piece: Piece) -> np.ndarray:
        """Outputs of a piece: int array (sequences, vectors, elements)."""


Packets = Sequence[Sequence[int]]
"""Elements of the output stream, packet by packet."""


class ModelReference:
    """The integer reference of a quantised model, with the state that one run leaves to the next.

    Parameters
    ----------
    qmodel : QuantModel
    """

    def __init__(self, qmodel: QuantModel):
        self.qmodel, self.state, self.clipped = qmodel, None, None

    def __call__(self, piece: Piece) -> np.ndarray:
        """Outputs of a piece: int64 array (sequences, vectors, elements)."""
        state, found = None if piece.clear else self.state, Counter()
        outputs, self.state = integer_reference(self.qmodel, piece.x, state, clipped=found)
        self.clipped = dict.fromkeys(CLIPPED_PLACES, 0)
        for key, count in found.items():
            place = "output" if key == "output" or key[1] == "y" else key[1]
            self.clipped[place if place in self.clipped else "preact"] += count
        return outputs if outputs.ndim == 3 else outputs[:, None]


def image_words(plan: Plan, qmodel: QuantModel) -> np.ndarray:
    """The weight image of a quantised model, as a plan lays it out: int64 array (words, R)."""
    return pack(plan.image, [*qmodel.layers, *qmodel.linear], plan.config)


def wanted_runs(plan: Plan, reference: Reference, pieces: Sequence[Piece]) -> Iterator[Run]:
    """Runs with their beats and packets, without counters: the load entry's, if the plan has one, and one a piece.

    A generator: runs are made one by one, and none is kept.

    Parameters
    ----------
    plan : Plan
    reference : Reference
        As :class:`ModelReference`.
    pieces : sequence of Piece

    Yields
    ------
    Run

    Raises
    ------
    InputError
        A piece does not fit the plan, or the first one goes on from nothing.
    """
    if not pieces or not pieces[0].clear:
        raise InputError("pieces", "none from zero state", "must begin with a piece from zero state")
    if "load" in plan.program.entries:
        nothing, clipped = np.zeros((0, plan.config.x_per_beat), dtype=np.int64), dict.fromkeys(CLIPPED_PLACES, 0)
        yield Run(plan.program.entry_word("load"), 1, False, nothing, nothing[:, 0], [], clipped=clipped)
    first_step = 0
    for piece in pieces:
        steps, first_step = piece.x.shape[1], 0 if piece.clear else first_step
        beats, lasts = plan.beats(piece.x)
        packets = plan.packets(reference(piece), first_step)
        yield Run(plan.program.entry_word("run"), steps, piece.clear, beats, lasts, packets, clipped=reference.clipped)
        first_step += steps


def counted_runs(
    interpreter: Interpreter,
    runs: Iterable[Run],
    progress: Callable[[int, int], None] | None = None,
    total: int = 0,
) -> Iterator[Run]:
    """Runs with their counters, by the interpreter of the program, which must send what the runs say.

    Parameters
    ----------
    interpreter : Interpreter
    runs : iterable of Run
    progress : callable, optional
        Called as ``progress(done, total)`` in time steps of the plan's sequences.
    total : int
        Time steps of all runs, for progress.

    Yields
    ------
    Run

    Raises
    ------
    VerificationError
        The interpreter's outputs differ from the reference's; names the run and the first difference.
    """
    names = {interpreter.program.entry_word(name): name for name in interpreter.program.entries}
    done, loads = 0, 0
    for number, run in enumerate(runs):
        entry = names[run.entry]
        loads += entry == "load"
        taken = progress and len(run.x) and _share(progress, done, run.steps, len(run.x), total) or None
        packets = interpreter.run(entry, run.steps, run.clear, run.x, taken)
        if entry == "load":
            compare("load", "interpreter", packets, "definition: none", run.outputs)
        else:
            compare(f"run {number + 1 - loads}", "interpreter", packets, "reference", run.outputs)
            done += run.steps
        yield replace(run, counters=interpreter.timing.counters.to_dict())


def expected_runs(
    plan: Plan,
    words: np.ndarray,
    reference: Reference,
    pieces: Sequence[Piece],
    memory: MemoryModel = BENCH_MEMORY,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Run]:
    """Runs with all that they must answer: :func:`wanted_runs` with :func:`counted_runs`.

    Parameters
    ----------
    plan : Plan
    words : int array (words, R)
        The weight image.
    reference : Reference
        As :class:`ModelReference`.
    pieces : sequence of Piece
    memory : MemoryModel
        What the weight port meets; it matters for cycles only.
    progress : callable, optional
        Called as ``progress(done, total)`` in time steps of the plan's sequences.

    Yields
    ------
    Run

    Raises
    ------
    InputError, VerificationError
        As these two say.
    """
    interpreter = Interpreter(plan.config, plan.program, words, memory, plan.image)
    total = sum(piece.x.shape[1] for piece in pieces)
    return counted_runs(interpreter, wanted_runs(plan, reference, pieces), progress, total)


def _share(progress, done, steps, beats, total):
    """Progress in beats of a run of so many steps, told in steps of all runs."""
    return lambda count: progress(done + steps * count // beats, total)


def scenario_of(
    plan: Plan,
    words: np.ndarray,
    reference: Reference,
    pieces: Sequence[Piece],
    memory: MemoryModel = BENCH_MEMORY,
    stress: Stress | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scenario:
    """All of :func:`expected_runs`, with the configuration, the program and the image (Scenario)."""
    runs = list(expected_runs(plan, words, reference, pieces, memory, progress))
    return Scenario(
        plan.config, plan.program.encoded(), to_bytes(words, plan.config, plan.image), runs, stress or Stress(), memory
    )


def judge(scenario: Scenario, measured: list[dict[str, Any]]) -> None:
    """Compare what the Verilog did with what it must do; the bench is not the only judge of that.

    Parameters
    ----------
    scenario : Scenario
    measured : list of dict
        ``outputs`` (packets), ``counters`` and ``clipped`` of every run.

    Raises
    ------
    VerificationError
        A run is missing, or an output, a count of values beyond their format or, if nothing was held back, a counter
        differs.
    """
    if len(measured) != len(scenario.runs):
        raise VerificationError("simulation", f"{len(measured)} runs", f"must be {len(scenario.runs)}")
    for number, (run, found) in enumerate(zip(scenario.runs, measured, strict=True)):
        compare(f"run {number}", "Verilog", found["outputs"], "integer reference", run.outputs)
        if scenario.stress.quiet and run.counters is not None and found["counters"] != run.counters:
            raise VerificationError(f"run {number}", f"counters {found['counters']}", f"must be {run.counters}")
        if scenario.config.count_clipped and run.clipped is not None and found["clipped"] != run.clipped:
            rule = f"must be {run.clipped} as in the integer reference"
            raise VerificationError(f"run {number}", f"values clipped {found['clipped']}", rule)


def compare(subject: str, name: str, found: Packets, reference_name: str, wanted: Packets) -> None:
    """Raise VerificationError with the first difference of two lists of packets."""
    if [len(p) for p in found] != [len(p) for p in wanted]:
        raise VerificationError(
            subject,
            f"{name} sends packets of {[len(p) for p in found]} elements",
            f"must be {[len(p) for p in wanted]} as in the {reference_name}",
        )
    for packet, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        for element, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a != b:
                raise VerificationError(
                    f"{subject}, packet {packet}, element {element}",
                    f"{name} gives {a}",
                    f"must be {b} as in the {reference_name}",
                )
