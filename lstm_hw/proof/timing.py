"""Cycles of a program: when every unit does what, without arithmetic.

The model follows the gateware cycle by cycle in closed form: a command's columns are one running
maximum over the cycles in which what they wait for appears. It assumes an x stream that always has
the next beat and an output that always takes one. Cycle 0 is the one of the start pulse.
"""

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ProgramError
from ..machine.config import CELL_PHASES, GATES, SERIAL_SLOTS
from ..machine.isa import MODE_LINEAR, MODE_ZERO, SPACE_CONSTANT, SPACE_X
from ..machine.latency import (
    CREDIT,
    DISPATCH,
    EXECUTE,
    FETCH,
    FINISH_DELAY,
    FREE_DELAY,
    H_TOKEN_DELAY,
    HAZARD_COLUMNS,
    LOADED,
    OUTPUT_QUEUE,
    QUEUE,
    QUEUE_DEPTH,
    SCALAR,
    START,
    TAKE,
    TOKEN,
    X_TOKEN_DELAY,
    CellLatency,
)
from .load_timing import LoadPort, MemoryModel


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

    def to_dict(self):
        return asdict(self)


class Timing:
    """Accumulates the timing of a run, one command after another.

    Parameters
    ----------
    config : EngineConfig
    memory : MemoryModel, optional
    h_tokens : int
        Elements of h that the run before left unconsumed.
    """

    def __init__(self, config, memory=None, h_tokens=0):
        self.config, self.memory = config, memory or MemoryModel()
        self.latency = CellLatency(config)
        self.counters = Counters()
        self.clock = START  # next fetch
        self.taken = {"INPUT": [], "LOAD": [], "MAC": [], "CELL": []}  # cycles in which queue entries left
        self.free_at = dict.fromkeys(self.taken, 0)  # first cycle in which a unit takes the next command
        self.h_ready, self.h_used = _Tokens(h_tokens), 0
        self.x_ready, self.x_used = _Tokens(), 0
        self.port = LoadPort(config, self.memory)
        self.ring_head = self.fresh_used = 0
        self.x_buffers, self.x_frees, self.x_takes = 0, [], 0
        self.finish_ready, self.finish_frees = [], []  # per finished row block, in order
        self.finish_seen = 0
        self.stored = {}  # accumulator entry -> cycle of its last store
        self.mac_end = 0
        self.last_hidden = -1  # cycle in which the last hidden unit was written
        self.last_slot = -1  # grid index of the last unit started
        self.quiet_at = 0  # first cycle in which everything but the sequencer is idle
        self.first_issue = self.last_issue = None

    @property
    def h_left(self):
        return self.h_ready.count - self.h_used

    def execute(self, command):
        """Account for one command (``HALT`` ends the run)."""
        self.clock += SCALAR * command.scalars
        execute = self.clock + FETCH
        if command.op == "HALT":
            self._halt(execute)
        elif command.op in ("RING", "BUFFERS"):
            self.clock += SCALAR
            if command.op == "RING":
                words = self.config.weight_words - command.base
                self.port.credit(execute + CREDIT, words * self.config.beats_per_word)
            else:
                self.x_buffers, self.x_frees, self.x_takes = command.count, [], 0
        else:
            taken = self.taken[command.op]
            dispatch = execute + EXECUTE
            if len(taken) >= QUEUE_DEPTH:
                dispatch = max(dispatch, self._left_queue(command, taken[-QUEUE_DEPTH]) + 1)
            self.clock = dispatch + DISPATCH
            if command.op == "LOAD":
                taken.append(self.port.submit(command.offset, command.beats, command.stream, dispatch + QUEUE))
                return
            take = max(dispatch + QUEUE, self.free_at[command.op])
            taken.append(take)
            getattr(self, f"_{command.op.lower()}")(command, take)

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
        per_beat = 1 if command.spread else self.config.x_per_beat
        vectors = command.repeats + 1
        beats = vectors * -(-command.elements // per_beat)
        first = take + TAKE
        if command.wait:
            # A vector is free from the start, or when the MAC that used it before has ended.
            waited = self.x_takes - self.x_buffers
            if waited >= 0:
                first = max(first, self.x_frees[waited] + FREE_DELAY)
            self.x_takes += 1
        times = first + np.arange(beats)
        ready = np.repeat(times + X_TOKEN_DELAY, per_beat).reshape(vectors, -1)
        self.x_ready.add(ready[:, : command.elements].ravel())
        self.free_at["INPUT"] = first + beats
        self._active_until(first + beats)

    def _mac(self, command, take):
        slots, columns = command.slots, command.columns
        count = slots * columns
        if count == 0:
            self.free_at["MAC"] = take + 1
            self.mac_end = take
            return
        times, reasons = take + TAKE + np.arange(count), []

        def wait(kind, where, ready):
            earliest = np.full(count, -1)
            earliest[where] = ready
            reasons.append((kind, earliest))

        if command.stream:
            first = self.ring_head + command.weight
            wait("stall_weights", slice(None), self._arrivals(command, self.port.ring, first, count))
        elif command.fresh:
            wait("stall_weights", slice(None), self._arrivals(command, self.port.fresh, self.fresh_used, count))
            self.fresh_used += count
        if command.load:
            sources = command.source + (0 if command.hold else np.arange(slots))
            ready = [self.stored.get(int(e), -HAZARD_COLUMNS) + HAZARD_COLUMNS for e in np.broadcast_to(sources, slots)]
            wait("stall_h", slice(None, None, columns), ready)
        if command.wait and command.space != SPACE_CONSTANT:
            x = command.space == SPACE_X
            tokens, used = (self.x_ready, self.x_used) if x else (self.h_ready, self.h_used)
            wait("stall_x" if x else "stall_h", slice(columns), tokens.cycles(used + command.offset, columns))
            if command.take and x:
                self.x_used += command.offset + columns
            elif command.take:
                self.h_used += command.offset + columns
        if command.finish:
            blocks = self.finish_seen + np.arange(slots) - self.config.finish_entries
            ready = [self.finish_frees[b] + FREE_DELAY if b >= 0 else -1 for b in blocks if b < len(self.finish_frees)]
            wait("stall_output", slice(0, len(ready) * columns, columns), ready)
            self.finish_seen += slots

        issued = times
        if reasons:
            earliest = np.max([e for _, e in reasons], axis=0)
            issued = np.arange(count) + np.maximum.accumulate(np.maximum(times, earliest) - np.arange(count))
        self._account(take, issued, reasons)
        last = issued[columns - 1 :: columns]
        if command.store:
            for slot, cycle in enumerate(last):
                self.stored[command.target + slot] = int(cycle)
        if command.finish:
            self.finish_ready.extend((last + FINISH_DELAY).tolist())
        if command.stream and command.release:
            self.ring_head += command.weight + count
            self.port.credit(int(issued[-1]) + CREDIT, (command.weight + count) * self.config.beats_per_word)
        if command.free:
            self.x_frees.append(int(issued[-1]))
        self.first_issue = int(issued[0]) if self.first_issue is None else self.first_issue
        self.last_issue = self.mac_end = self.free_at["MAC"] = int(issued[-1])
        self._active_until(self.mac_end + 1)

    def _arrivals(self, command, words, first, count):
        """When words ``first`` .. can be used."""
        if first + count > len(words):
            raise ProgramError(
                f"program address {command.at}",
                f"waits for word {first + count}, only {len(words)} arrive",
                "must not wait for words that are never loaded or do not fit the ring",
            )
        return np.asarray(words[first : first + count])

    def _account(self, take, issued, reasons):
        """Charge every cycle since the last issue to what was waited for, in the priority of the hardware."""
        counters = self.counters
        counters.busy += len(issued)
        before = np.concatenate([[take], issued[:-1]])
        for kind in ("stall_weights", "stall_h", "stall_x", "stall_output"):
            of_kind = [e for k, e in reasons if k == kind]
            if of_kind:
                until = np.minimum(np.max(of_kind, axis=0), issued)
                waited = np.maximum(until - before - 1, 0)
                setattr(counters, kind, getattr(counters, kind) + int(waited.sum()))
                before = np.maximum(before, until - 1)

    def _cell(self, command, take):
        config = self.config
        contexts = bin(command.mask & (1 << config.contexts) - 1).count("1")
        if not command.units or not contexts:
            self.free_at["CELL"] = take + 1
            return
        linear, zero = command.mode == MODE_LINEAR, command.mode == MODE_ZERO
        units = -(-command.units // GATES) if linear else command.units
        earliest = take + TAKE
        if linear:
            earliest = max(earliest, self.last_hidden + TOKEN)
        starts = []
        for first in range(0, units, config.units_per_block):
            ready = earliest
            if not zero:
                ready = max(ready, self.finish_ready[len(self.finish_frees)])
            slots = self._grid(ready, min(config.units_per_block, units - first) * contexts, linear)
            starts.append(slots)
            if not zero:
                self.finish_frees.append(int(slots[-1]))
        starts = np.concatenate(starts)
        self.free_at["CELL"] = int(starts[-1]) + 1
        if linear:
            self._active_until(int(starts[-1]) + self.latency.total + 1)
            left = command.units - GATES * (units - 1)
            self._output(command, int(starts[-1]) + self.latency.gather + left)
            return
        written = starts + self.latency.total
        self.last_hidden = int(written[-1])
        if command.signal:
            self.h_ready.add(written[contexts - 1 :: contexts] + H_TOKEN_DELAY)
        self._active_until(self.last_hidden + 1)
        self._output(command, self.last_hidden)

    def _output(self, command, written):
        if command.emit:
            self._active_until(written + OUTPUT_QUEUE + TOKEN)

    def _grid(self, ready, count, linear):
        """Cycles in which ``count`` units start, the first at ``ready`` or later; phases are counted from cycle 1."""
        phases = CELL_PHASES[self.config.cells][:1] if linear else CELL_PHASES[self.config.cells]
        cycle, phase = divmod(max(ready, self.last_slot + 1) - 1, SERIAL_SLOTS)
        index = cycle * len(phases) + sum(p < phase for p in phases)
        index = index + np.arange(count)
        cycles = 1 + SERIAL_SLOTS * (index // len(phases)) + np.asarray(phases)[index % len(phases)]
        self.last_slot = int(cycles[-1])
        return cycles

    def _active_until(self, cycle):
        self.quiet_at = max(self.quiet_at, cycle)

    def _halt(self, execute):
        counters = self.counters
        if self.port.unfinished:
            raise ProgramError("program", "a LOAD waits for ring space for ever", "must release every word it streams")
        counters.read_beats = self.port.beats * self.config.axi_ports
        if self.port.beats:
            self._active_until(self.port.last_beat + LOADED)
        counters.cycles = max(execute + 1, self.quiet_at)
        stalled = counters.stall_weights + counters.stall_h + counters.stall_x + counters.stall_output
        counters.empty = counters.cycles - counters.busy - stalled


class _Tokens:
    """Cycles in which tokens appear, by number; grows in chunks."""

    def __init__(self, present=0):
        self._cycles, self.count = np.zeros(max(64, present), dtype=np.int64), present

    def add(self, cycles):
        need = self.count + len(cycles)
        if need > len(self._cycles):
            grown = np.zeros(2 * need, dtype=np.int64)
            grown[: self.count] = self._cycles[: self.count]
            self._cycles = grown
        self._cycles[self.count : need] = cycles
        self.count = need

    def cycles(self, first, count):
        """When tokens ``first`` .. are all there (running maximum is the caller's); missing ones never come."""
        if first + count > self.count:
            raise ProgramError(
                "program", f"waits for token {first + count}, only {self.count} come", "must not wait forever"
            )
        return self._cycles[first : first + count]
