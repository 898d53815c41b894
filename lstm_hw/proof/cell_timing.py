"""Cycles in which hidden units start in the cell unit, and when their h is there."""

from collections.abc import Hashable

from ..errors import ProgramError
from ..machine.config import EngineConfig
from ..machine.isa import MODE_LINEAR, MODE_ZERO
from ..machine.latency import ENCODE, JUDGE, OUTPUT_QUEUE, START, TAKE, TOKEN, CellLatency
from ..machine.limits import CELL_PHASES, GATES, H_GROUP, SERIAL_SLOTS
from ..machine.program import Command
from .tokens import Tokens


class CellTiming:
    """The cell unit.

    Parameters
    ----------
    config : EngineConfig
    finished, rooms : Tokens
        Row blocks that may be taken, and the room that is given back.
    h : Tokens
        Elements of h that are written.

    Attributes
    ----------
    latency : CellLatency
    last_hidden : int
        Cycle in which the last hidden unit was written.
    last_start : int
        Cycle in which the last unit started.
    last_sent : int
        Cycle of the last beat of the output stream.
    starts : list of int, optional
        A list here gets the cycles of all starts.
    """

    def __init__(self, config: EngineConfig, finished: Tokens, rooms: Tokens, h: Tokens):
        self.config, self.latency = config, CellLatency(config)
        self.finished, self.rooms, self.h = finished, rooms, h
        self.encode = ENCODE * config.lists
        self.last_hidden = self.last_start = self.last_sent = -1
        self.starts = None
        self.origin = START  # a cycle of the first phase
        self.started = 0  # row blocks
        self._written, self._first_written = [], 0  # cycles and first element of the latest h, where programs ask

    def execute(self, command: Command, take: int) -> tuple[int, int]:
        """Account for a CELL that is taken in cycle ``take``.

        Returns
        -------
        free, quiet : int
            First cycles in which the unit takes the next command, and in which nothing of this one is under way.
        """
        fields = command.fields
        contexts = bin(fields["mask"] & (1 << self.config.contexts) - 1).count("1")
        if not fields["units"] or not contexts:
            return take + 1, 0
        linear = fields["mode"] == MODE_LINEAR
        units = -(-fields["units"] // GATES) if linear else fields["units"]
        phases = CELL_PHASES[self.config.cells][: 1 if linear else None]
        if self.config.asks and not linear:
            self._written, self._first_written = [], fields["target"]
        if self.config.gate_blocks and fields["mode"] not in (MODE_LINEAR, MODE_ZERO):
            return self._of_gates(command, take + TAKE, contexts)
        earliest = max(take + TAKE, self.last_hidden + TOKEN) if linear else take + TAKE
        for first in range(0, units, self.config.units_per_block):
            count = min(self.config.units_per_block, units - first) * contexts
            if fields["mode"] == MODE_ZERO:
                self._start(earliest, count, phases, fields["signal"] and contexts)
            else:
                ready = max(earliest, self._next_block(command))
                outputs = fields["units"] - GATES * first if linear else 0
                self._start(ready, count, phases, fields["signal"] and contexts, outputs)
                self.rooms.add((self.last_start,))
        if linear:
            left = fields["units"] - GATES * (units - 1)
            quiet = self.last_start + self.latency.total
            written = self.last_start + self.latency.gather + self.latency.plain + left - 1
        else:
            quiet = written = self.last_hidden = self.last_start + self.latency.total
        if fields["emit"]:
            self.last_sent = written + OUTPUT_QUEUE
        emitted = self.last_sent + TOKEN if fields["emit"] else 0
        if fields["write"] and not linear:
            quiet += self.encode
        return self.last_start + 1, max(quiet + 1, emitted)

    def _of_gates(self, command, earliest, contexts):
        """As :meth:`execute`, where row blocks are of one gate: units wait for all of them, which become free, one a
        cycle, behind the last unit."""
        fields, blocks = command.fields, GATES * command.fields["stride"]
        ready = max([earliest, *(self._next_block(command) for _ in range(blocks))])
        self._start(ready, fields["units"] * contexts, CELL_PHASES[self.config.cells], fields["signal"] and contexts)
        freed = self.last_start + blocks
        self.rooms.add([*range(self.last_start + 1, freed + 1)])
        self.last_hidden = written = self.last_start + self.latency.total
        quiet = max(freed, written + self.encode * fields["write"])
        if fields["emit"]:
            self.last_sent = written + OUTPUT_QUEUE
        return freed + 1, max(quiet + 1, (self.last_sent + TOKEN) * fields["emit"])

    def judged_at(self, command: Command) -> int:
        """Cycle from which on it is known whether a group of h is kept: of any but the latest, it has long been."""
        size, delay = (H_GROUP, JUDGE) if self.config.sparse_h else (1, ENCODE)
        units, first = len(self._written), size * command.fields["group"] - self._first_written
        if not 0 <= first < units:
            return 0
        return self._written[min(first + size, units) - 1] + delay + TOKEN

    def _next_block(self, command):
        """Cycle from which on the next finished row block may be taken; it is taken."""
        number = self.finished.used
        if number == self.finished.count:
            raise ProgramError(
                f"program address {command.at}",
                f"waits for row block {number + 1}, only {number} are finished",
                "must follow the MAC that finishes it",
            )
        ready = self.finished.at(number)
        self.finished.use(number + 1)
        return ready

    def _start(self, ready, count, phases, contexts, outputs=0):
        """Start ``count`` units, the first at ``ready`` or later; every ``contexts`` of them make an element of h, or
        four of ``outputs`` that are left."""
        cycle, phase = divmod(max(ready, self.last_start + 1) - self.origin, SERIAL_SLOTS)
        first = cycle * len(phases) + sum(p < phase for p in phases)

        def start(index):
            """Cycle of a start, of all that there could be."""
            return self.origin + SERIAL_SLOTS * (index // len(phases)) + phases[index % len(phases)]

        self.last_start = start(first + count - 1)
        self.started += 1
        if self.starts is not None:
            self.starts.extend(start(n) for n in range(first, first + count))
        if self.config.asks and not outputs:
            self._written += [start(n) + self.latency.total for n in range(first, first + count)]
        if contexts:
            latency, lasts = self.latency, range(first + contexts - 1, first + count, contexts)
            if outputs:
                written = latency.gather + latency.plain + latency.token
                cycles = [start(n) + written + element for n in lasts for element in range(GATES)]
                self.h.add(cycles[:outputs])
            else:
                self.h.add([start(n) + latency.total + self.encode + latency.token for n in lasts])

    def state(self, settled: int, now: int) -> Hashable:
        """What decides about later CELLs, relative to ``now``."""
        return max(self.last_hidden, settled) - now, max(self.last_start, settled) - now
