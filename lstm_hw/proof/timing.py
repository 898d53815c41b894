"""Cycles of a program: when every unit does what, without arithmetic.

The model follows the gateware cycle by cycle in closed form: a command costs a few sums and comparisons, whatever its
length. It assumes an x stream that always has the next beat, but for beats that are ``held``, and an output that always
takes one. Cycle 0 is the one of the start pulse.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

from ..errors import ProgramError
from ..machine.config import EngineConfig
from ..machine.isa import OPS, SPACE_CONSTANT, SPACE_X, Instruction
from ..machine.latency import (
    CREDIT,
    DECODE,
    DISPATCH,
    ENCODE,
    EXECUTE,
    FETCH,
    FREE_DELAY,
    LOADED,
    QUEUE,
    QUEUE_DEPTH,
    SCALAR,
    START,
    TAKE,
    X_TOKEN_DELAY,
    CellLatency,
)
from ..machine.limits import SERIAL_SLOTS
from ..machine.program import Command
from .cell_timing import CellTiming
from .lists import Assumed, walks_list
from .load_timing import LoadPort, MemoryModel
from .mac_timing import STALLS, MacTiming
from .tokens import Tokens

SETTLED = 64
"""So many cycles before the sequencer's next fetch nothing decides anything any more: it is more than all the delays
that can follow one another without a command behind that fetch."""


class Progress(NamedTuple):
    """Where a run stands.

    Parameters
    ----------
    grown : list of int
        Cycles, counters, tokens and row blocks so far.
    load : tuple of (int, int)
        The LOAD under way.
    asked : tuple of int
        How often commands asked for h, and for what the cell unit and the lanes give one another.
    aside : tuple
        What decides about the answers to these, relative to now.
    """

    grown: list[int]
    load: tuple[int, int]
    asked: tuple[int, int]
    aside: tuple[Hashable, Hashable]


@dataclass
class Counters:
    """The counters of the hardware, in cycles; exactly one of busy, stall_* and empty counts in each cycle."""

    cycles: int = 0
    busy: int = 0
    stall_weights: int = 0
    stall_h: int = 0
    stall_x: int = 0
    stall_output: int = 0
    empty: int = 0
    read_beats: int = 0

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


class Timing:
    """Accumulates the timing of a run, one command after another.

    Parameters
    ----------
    config : EngineConfig
    memory : MemoryModel, optional
    h_tokens : int
        Elements of h that the run before left unconsumed.
    assumed : Assumed
        What is taken for granted of lists and groups whose values nobody knows; all without it.

    Attributes
    ----------
    counters : Counters
        Of the whole run, once HALT has been executed.
    held : tuple of (int, int), optional
        Beats of x that come without delay, and the first cycle in which others come.
    last_x : int
        Cycle of the last beat of x.
    """

    def __init__(
        self,
        config: EngineConfig,
        memory: MemoryModel | None = None,
        h_tokens: int = 0,
        assumed: Assumed | None = None,
    ):
        self.config, self.memory, self.assumed = config, memory or MemoryModel(), assumed or Assumed()
        self.counters = Counters()
        self.clock = START  # next fetch
        self.taken = {name: deque(maxlen=QUEUE_DEPTH) for name, op in OPS.items() if op.unit}  # by queue entries
        self.free_at = dict.fromkeys(self.taken, 0)  # first cycle in which a unit takes the next command
        self.port = LoadPort(config, self.memory)
        self.h, self.x = Tokens(h_tokens), Tokens()
        self.lanes = MacTiming(config, self.port, self.h, self.x)
        self.cells = CellTiming(config, self.lanes.finished, self.lanes.rooms, self.h)
        self.quiet_at = 0  # first cycle in which everything but the sequencer and the cell unit is idle
        self.cells_quiet_at = 0
        self.asked_h = self.asked_cells = 0
        self.held, self.x_beats, self.last_x = None, 0, 0
        self.skipped = 0  # cycles of periods that were only counted; no other cycle here has them in it
        self._units = {"INPUT": self._input, "MAC": self._mac, "CELL": self._cell}

    @property
    def latency(self) -> CellLatency:
        """CellLatency of the engine."""
        return self.cells.latency

    @property
    def h_left(self) -> int:
        """Elements of h that nobody consumed."""
        return self.h.count - self.h.used

    def execute(self, command: Command, entries: int | None = None) -> None:
        """Account for one command (``HALT`` ends the run).

        Parameters
        ----------
        command : Command
        entries : int, optional
            Of the list that a MAC walks; what the activity says without it.
        """
        op = command.op
        self._entries = entries
        self.clock += SCALAR * command.scalars
        execute = self.clock + FETCH
        if op in self.taken:
            self._dispatch(op, command, execute + EXECUTE)
        elif op == "HALT":
            self._halt(execute)
        elif op == "LOOP":
            known = self._x_known[command.fields["group"]] if command.fields["of_x"] else self.cells.judged_at(command)
            self.clock = max(execute + EXECUTE, known) + 1
        else:
            self.clock += SCALAR
            if op == "RING":
                words = self.config.weight_words - command.fields["base"]
                self.port.credit(execute + CREDIT, words * self.config.beats_per_word)
            else:
                self.lanes.x_free = Tokens(command.fields["count"])

    def kept(self, group: int, of_x: int) -> bool:
        """Whether a group of h is taken to be kept, or an element of h or x to have changed."""
        return self.assumed.kept(group, of_x)

    def _dispatch(self, op, command, dispatch):
        """To the queue of a unit, which may have to take an older command first."""
        taken = self.taken[op]
        if len(taken) == QUEUE_DEPTH:
            dispatch = max(dispatch, self._left_queue(command, taken[0]) + 1)
        self.clock = dispatch + DISPATCH
        if op == "LOAD":
            fields = command.fields
            words = fields["words"] if self.config.decoder != "off" else 0
            load = fields["offset"], fields["beats"], fields["stream"], dispatch + QUEUE, words
            taken.append(self.port.submit(*load))
        else:
            take = max(dispatch + QUEUE, self.free_at[op])
            taken.append(take)
            self._units[op](command, take)

    def _left_queue(self, command, entry):
        """Cycle in which a queue entry was taken; for LOADs the entry is a number of the port."""
        if command.op != "LOAD":
            return entry
        cycle = self.port.accepted(entry)
        if cycle is None:
            raise ProgramError(
                f"program address {command.at}",
                "a LOAD that can never be queued",
                "must not wait for ring space that only later MACs release",
            )
        return cycle

    def _input(self, command, take):
        fields, first, free = command.fields, take + TAKE, self.lanes.x_free
        per_beat = 1 if fields["spread"] else self.config.x_per_beat
        elements, vectors = fields["elements"], fields["repeats"] + 1
        if fields["wait"]:
            # A vector is free from the start, or when the MAC that used it before has ended.
            if free.used == free.count:
                raise ProgramError(
                    f"program address {command.at}",
                    f"waits for free x vector {free.used + 1}, only {free.count} come",
                    "must not wait for a MAC that comes later",
                )
            first = max(first, free.at(free.used) + FREE_DELAY)
            free.use(free.used + 1)
        beats = -(-elements // per_beat)
        if self.held and self.x_beats >= self.held[0]:
            first = max(first, self.held[1])
        self.x_beats += vectors * beats
        self.last_x = first + vectors * beats - 1
        for vector in range(vectors):
            start = first + vector * beats + X_TOKEN_DELAY + ENCODE * self.config.lists
            cycles = range(start, start + beats)
            self._x_known = cycles  # of the latest vector
            self.x.add(cycles if per_beat == 1 else [start + n // per_beat for n in range(elements)])
        self.free_at["INPUT"] = first + vectors * beats
        self._active_until(first + vectors * beats)

    def _mac(self, command, take):
        entries = None
        if walks_list(self.config, command.fields):
            entries = self._entries
            if entries is None:
                entries = self.assumed.entries(command.fields)
        fields = command.fields
        self.asked_h += fields["wait"] and fields["space"] not in (SPACE_X, SPACE_CONSTANT)
        self.asked_cells += fields["finish"]
        last = self.lanes.execute(command, take, entries)
        if last > take:
            self.free_at["MAC"] = last
            self._active_until(last + 1)
        else:
            self.free_at["MAC"] = take + 1

    def _cell(self, command, take):
        self.asked_cells += 1
        self.free_at["CELL"], quiet = self.cells.execute(command, take)
        self.cells_quiet_at = max(self.cells_quiet_at, quiet)

    def _active_until(self, cycle):
        self.quiet_at = max(self.quiet_at, cycle)

    def _halt(self, execute):
        if self.port.unfinished:
            raise ProgramError("program", "a LOAD waits for ring space for ever", "must release every word it streams")
        counters, lanes = self.counters, self.lanes
        counters.read_beats = self.port.beats * self.config.axi_ports
        if self.port.beats:
            inside = DECODE - 1 if self.config.decoder != "off" else 0
            self._active_until(self.port.last_beat + LOADED + inside)
        counters.cycles = max(execute + 1, self.quiet_at, self.cells_quiet_at) + self.skipped
        counters.busy = lanes.busy
        for name, cycles in zip(STALLS, lanes.stalls, strict=True):
            setattr(counters, name, cycles)
        counters.empty = counters.cycles - lanes.busy - sum(lanes.stalls)

    def glance(self) -> Hashable:
        """A little of the state."""
        tokens = (self.x, self.port.ring, self.lanes.rooms)
        return max(self.free_at["MAC"] - self.clock, -SETTLED), *(t.count - t.used for t in tokens)

    def state(self) -> Hashable:
        """What decides about the cycles of later commands, relative to now, but for what is ``aside``."""
        now = self.clock
        settled = now - SETTLED
        taken = [cycle for op in ("INPUT", "MAC") for cycle in self.taken[op]]
        cycles = (*taken, self.free_at["INPUT"], self.free_at["MAC"], self.quiet_at)
        return (
            *map(len, self.taken.values()),
            *(max(cycle, settled) - now for cycle in cycles),
            self.x.left(settled, now),
            self.lanes.state(settled, now),
            self.port.state(settled, now),
        )

    def _aside(self):
        """What decides about commands that ask for h, and about those of the cell unit, relative to now.

        It may differ from period to period as long as nobody asks: h that is left for later, units that are at work
        while the lanes go on.
        """
        now, lanes = self.clock, self.lanes
        settled = now - SETTLED
        cycles = (*self.taken["CELL"], self.free_at["CELL"], self.cells_quiet_at)
        cells = (
            *(max(cycle, settled) - now for cycle in cycles),
            self.cells.state(settled, now),
            lanes.finished.left(settled, now),
            lanes.rooms.left(settled, now),
        )
        return self.h.left(settled, now), cells

    def progress(self) -> Progress:
        """Where the run stands."""
        lanes, port, tokens = self.lanes, self.port, (t.count for t in self._tokens())
        cycles = self.clock + self.skipped
        grown = [cycles, lanes.busy, port.beats, *lanes.stalls, *tokens, self.cells.started]
        return Progress(grown, port.under_way(), (self.asked_h, self.asked_cells), self._aside())

    def furthest(self, since: Progress) -> int:
        """Periods like the one since :meth:`progress` was ``since`` that can follow it."""
        cycles, *_, started = since.grown
        if self.cells.started != started and (self.clock + self.skipped - cycles) % SERIAL_SLOTS:
            return 0  # units would start in other phases
        asked = (self.asked_h != since.asked[0], self.asked_cells != since.asked[1])
        if any(asked) and any(
            one and now != then for one, now, then in zip(asked, self._aside(), since.aside, strict=True)
        ):
            return 0
        return self.port.furthest(since.load)

    def skip(self, times: int, since: Progress) -> None:
        """All that happened since :meth:`progress` was ``since`` happened so many times more."""
        before, lanes = since.grown, self.lanes
        grown = [times * (now - then) for now, then in zip(self.progress().grown, before, strict=True)]
        cycles, busy, beats, *rest = grown
        tokens = before[3 + len(STALLS) : -1]
        self.skipped += cycles
        self.cells.origin = START - self.skipped % SERIAL_SLOTS
        self.port.skip(times, since.load)
        lanes.busy += busy
        self.port.beats += beats
        lanes.stalls = [stall + more for stall, more in zip(lanes.stalls, rest, strict=False)]
        aside = []
        if self.asked_h == since.asked[0]:
            aside.append(self.h)
        if self.asked_cells == since.asked[1]:
            aside += [lanes.finished, lanes.rooms]
            self._longer_ago(cycles)
        for one, then, more in zip(self._tokens(), tokens, rest[len(STALLS) : -1], strict=True):
            if any(one is other for other in aside):
                one.repeat(times, cycles // times, then)
            else:
                one.shift(more)

    def _longer_ago(self, cycles):
        """What the cell unit began with is so many cycles longer ago: it does not go on with the periods."""
        self.taken["CELL"] = deque((cycle - cycles for cycle in self.taken["CELL"]), maxlen=QUEUE_DEPTH)
        self.free_at["CELL"] -= cycles
        self.cells_quiet_at -= cycles
        self.cells.last_hidden -= cycles
        self.cells.last_start -= cycles

    def _tokens(self):
        lanes, port = self.lanes, self.port
        return self.h, self.x, lanes.finished, lanes.rooms, lanes.x_free, port.ring, port.fresh

    def timed(self, instruction: Instruction) -> Iterator[tuple[int, int]]:
        """Registers of a command on which cycles depend, and modulo what (see :func:`~lstm_hw.proof.period.walk`)."""
        fields = {"LOAD": ("beats",), "MAC": ("columns",)}.get(instruction.op, ())
        if instruction.op == "LOAD":
            yield instruction.offset_reg, self.port.page
        if instruction.op == "MAC":
            used = {"weight": instruction.stream, "source": instruction.load, "target": instruction.store}
            fields += tuple(name for name, is_used in used.items() if is_used)
        for name in fields:
            yield getattr(instruction, f"{name}_reg"), 1 << OPS[instruction.op].fields[name]
