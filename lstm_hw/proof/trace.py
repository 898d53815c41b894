"""What every unit does over a run, command by command: the cycle model, recorded instead of only counted."""

import json
from dataclasses import dataclass

import numpy as np

from ..machine.isa import MODE_LINEAR
from ..machine.latency import OUTPUT_QUEUE
from ..machine.limits import CELL_PHASES, GATES, SERIAL_SLOTS
from ..machine.plan import Plan
from ..machine.program import Command, Program
from .count import registers_before
from .lists import Assumed
from .load_timing import MemoryModel
from .timing import Timing

UNITS = ("sequencer", "load port", "input", "MAC", "cell", "output")
"""Who does something, in the order in which weights, inputs and results pass."""
LIMIT = 10_000
"""Commands that are recorded."""


@dataclass(frozen=True)
class Span:
    """Cycles in which a unit is at a command: from the first to the one before ``end``."""

    unit: str
    first: int
    end: int
    command: Command


@dataclass(frozen=True)
class Trace:
    """What was recorded of a run.

    Parameters
    ----------
    spans : tuple of Span
        Those of a unit follow one another and do not overlap.
    beats : int array (beats,)
        Cycles in which the weight port takes a beat.
    starts : int array (units,)
        Cycles in which the cell unit starts a hidden unit, or four outputs of a linear layer.
    cell_cycles : float
        Cycles of the cell unit that a start takes; with all of them taken it can do no more.
    cycles : int
        Cycles that were recorded.
    complete : bool
        They are all of the run.
    """

    spans: tuple[Span, ...]
    beats: np.ndarray
    starts: np.ndarray
    cell_cycles: float
    cycles: int
    complete: bool


class _Recorder(Timing):
    def __init__(self, plan, memory):
        super().__init__(plan.config, memory, assumed=Assumed.of(plan))
        self.port.bursts, self.cells.starts = [], []
        self.spans, self.loads = [], []

    def execute(self, command, entries=None):
        before, started = self.clock, len(self.cells.starts)
        super().execute(command, entries)
        self._add("sequencer", before, self.clock, command)
        op, taken = command.op, self.taken.get(command.op)
        if op == "LOAD":
            self.loads.append(command)
        elif op in ("INPUT", "CELL"):
            self._add({"INPUT": "input", "CELL": "cell"}[op], taken[-1] + 1, self.free_at[op], command)
        elif op == "MAC":
            self._add("MAC", taken[-1] + 1, self.free_at[op] + 1, command)
        if op == "CELL" and command.emit and len(self.cells.starts) > started:
            self._emitted(command, self.cells.starts[started:])

    def _emitted(self, command, starts):
        if command.mode == MODE_LINEAR:
            first = self.latency.gather + self.latency.plain
            last = first + GATES - 1
        else:
            first = last = self.latency.total
        end = starts[-1] + last + OUTPUT_QUEUE + 1
        self._add("output", max(starts[0] + first + OUTPUT_QUEUE, self._end_of("output")), end, command)

    def _end_of(self, unit):
        return next((span.end for span in reversed(self.spans) if span.unit == unit), 0)

    def _add(self, unit, first, end, command):
        if end > first:
            self.spans.append(Span(unit, first, end, command))

    def load_spans(self):
        """Spans of the LOADs: from the first beat to the last."""
        numbers = {id(load): number for number, load in enumerate(self.port.loads)}
        ends = {}
        for load, first, last in self.port.bursts:
            number = numbers[id(load)]
            ends[number] = (ends.get(number, (first,))[0], last)
        return [Span("load port", first, last + 1, self.loads[number]) for number, (first, last) in ends.items()]


def record(plan: Plan, steps: int, clear: bool = True, memory: MemoryModel | None = None, limit: int = LIMIT) -> Trace:
    """Record a run of a plan whose weights have been loaded.

    Parameters
    ----------
    plan : Plan
    steps : int
    clear : bool
        The run starts from zero state.
    memory : MemoryModel, optional
    limit : int
        Commands after which the record ends.

    Returns
    -------
    Trace

    Raises
    ------
    ProgramError
        The program does not run to its end.
    """
    registers = registers_before(plan, "run")
    recorder, complete = _Recorder(plan, memory), False
    for number, command in enumerate(plan.program.run("run", steps, clear, registers, kept=recorder.kept)):
        if number == limit:
            break
        recorder.execute(command)
        complete = command.op == "HALT"
    cycles = recorder.counters.cycles if complete else recorder.clock
    beats = [np.arange(first, last + 1, recorder.memory.interval) for _, first, last in recorder.port.bursts]
    return Trace(
        tuple(sorted(recorder.spans + recorder.load_spans(), key=lambda span: (UNITS.index(span.unit), span.first))),
        np.concatenate(beats) if beats else np.zeros(0, dtype=int),
        np.array(recorder.cells.starts, dtype=int),
        SERIAL_SLOTS / len(CELL_PHASES[plan.config.cells]),
        int(cycles),
        complete,
    )


def to_trace_events(trace: Trace, mhz: float, program: Program) -> str:
    """A record in the Trace Event Format, which Perfetto, speedscope and Chrome's own viewer read.

    Parameters
    ----------
    trace : Trace
    mhz : float
        Clock, from which microseconds follow.
    program : Program
        Names commands by its comments.

    Returns
    -------
    str
        JSON, an event a line: one process, a thread a unit, a complete event a span with the command's fields as
        arguments. Times are whole nanoseconds, and a span ends one before the next can begin: a viewer that cuts
        off or rounds fractions would else see two of a thread overlap, and events must be nested.
    """

    def ns(cycle):
        return round(1000 * cycle / mhz)

    process = {"pid": 1, "tid": 0, "ph": "M"}
    events = [{"name": "process_name", **process, "args": {"name": "lstm_engine"}}]
    for number, unit in enumerate(UNITS, 1):
        thread = {"pid": 1, "tid": number, "ph": "M"}
        events += [
            {"name": "thread_name", **thread, "args": {"name": unit}},
            {"name": "thread_sort_index", **thread, "args": {"sort_index": number}},
        ]
    for span in trace.spans:
        command = span.command
        comment = program.comments.get(command.at)
        events.append(
            {
                "name": f"{command.op} {comment}" if comment else command.op,
                "cat": span.unit,
                "ph": "X",
                "pid": 1,
                "tid": 1 + UNITS.index(span.unit),
                "ts": ns(span.first) / 1000,
                "dur": max(0, ns(span.end) - ns(span.first) - 1) / 1000,
                "args": {
                    "address": command.at,
                    "first cycle": span.first,
                    "cycles": span.end - span.first,
                    **{name: value for name, value in command.fields.items() if value},
                },
            }
        )
    lines = ",\n".join(json.dumps(event, separators=(",", ":")) for event in events)
    return f'{{"displayTimeUnit":"ns","otherData":{{"clock_mhz":{json.dumps(mhz)}}},"traceEvents":[\n{lines}\n]}}\n'
