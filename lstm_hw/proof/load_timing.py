"""Cycles of the weight port: when each word of each LOAD has arrived.

Follows the formulas of :class:`lstm_hw.gateware.load_unit.LoadUnit` and its burst splitter. A burst
into the ring waits for credit, which MACs give that come later in the program; so LOADs are worked
off as far as the credits known so far allow.
"""

import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from ..machine.config import EngineConfig
from ..machine.latency import (
    DECODE,
    LOADED,
    PENDING_LOADS,
    QUEUE_DEPTH,
    REQUEST,
    SPLIT_BURSTS,
    SPLIT_CUT,
    SPLIT_DELAY,
    SPLIT_OUT,
    TOKEN,
    WORD_TOKEN_DELAY,
    in_flight,
)
from ..machine.limits import PAGE_BYTES
from .affine import EVER
from .tokens import Tokens


@dataclass(frozen=True)
class MemoryModel:
    """What the weight port meets.

    Parameters
    ----------
    latency : int
        Cycles from the handshake of a request to the handshake of its first beat, if no earlier
        request is still being answered. Requests are taken at once.
    interval : int
        Cycles from one beat to the next: 1 is the full bandwidth of the port.
    """

    latency: int = 1
    interval: int = 1

    @classmethod
    def of_bandwidth(cls, latency: int, bytes_per_cycle: float, port_bytes: int) -> "MemoryModel":
        """Of a memory behind ports that take ``port_bytes`` in a beat of all of them.

        A beat waits for whole cycles, so the bandwidth is rounded down.
        """
        return cls(latency, max(1, math.ceil(port_bytes / bytes_per_cycle - 1e-9)))


@dataclass(slots=True)
class _Load:
    offset: int
    beats: int
    stream: bool
    earliest: int  # first cycle in which it can be accepted
    words: int = 0  # of a segment, which waits for the room of all of them
    accepted: int | None = None
    cut: int = 0  # beats in bursts so far
    ended: int | None = None  # cycle of the last beat


class LoadPort:
    """Accepts LOADs in order and times their bursts.

    Parameters
    ----------
    config : EngineConfig
        With several weight ports, all of them meet the same memory and so do the same in every cycle.
    memory : MemoryModel

    Attributes
    ----------
    ring, fresh : Tokens
        Words that can be used: of the ring, and resident ones.
    beats, last_beat : int
        Beats so far, and the cycle of the last one.
    bursts : list of (load, int, int), optional
        A list here gets all bursts: one of ``loads``, cycles of the first and of the last beat.
    """

    def __init__(self, config: EngineConfig, memory: MemoryModel):
        self.memory, self.per_word, self.max_burst = memory, config.beats_per_word, config.max_burst
        self.page = PAGE_BYTES // config.beat_bytes
        self.loads, self.waiting = [], deque()
        self.credits, self.credited, self.used = deque(), 0, 0
        self.splitter_free = 0  # earliest s of the next LOAD
        self.splitter_start = 0  # s of the last LOAD
        self.issued = deque([-1] * SPLIT_BURSTS, maxlen=SPLIT_BURSTS)  # x of the last bursts
        self.received = deque(maxlen=in_flight(config.outstanding))
        self.bus_free = 0
        self.beats, self.last_beat = 0, -1
        self.ring, self.fresh = Tokens(), Tokens()
        self.bursts = None
        self.word_delay = WORD_TOKEN_DELAY + (DECODE if config.decoder != "off" else 0)
        self._partial = 0  # beats of the word that is arriving

    def submit(self, offset: int, beats: int, stream: bool, earliest: int, words: int = 0) -> int:
        """Queue a LOAD that reaches the unit's queue in cycle ``earliest``, a segment of so many words if not 0.

        Returns its number.
        """
        self.loads.append(_Load(offset, beats, stream, earliest, words))
        self.waiting.append(len(self.loads) - 1)
        self._advance()
        return len(self.loads) - 1

    def credit(self, cycle: int, beats: int) -> None:
        """Buffer space is given back: the reader sees it in ``cycle``."""
        self.credited += beats
        self.credits.append((cycle, self.credited))
        if self.waiting:
            self._advance()

    def accepted(self, number: int) -> int | None:
        """Cycle in which a LOAD is accepted, or None while that is unknown."""
        return self.loads[number].accepted

    @property
    def unfinished(self) -> bool:
        return bool(self.waiting)

    def _advance(self):
        while self.waiting and self._accept(self.waiting[0]) and self._bursts(self.loads[self.waiting[0]]):
            self.waiting.popleft()
        # A LOAD can be accepted while the one before still waits for credit.
        if len(self.waiting) > 1 and self.loads[self.waiting[0]].accepted is not None:
            self._accept(self.waiting[1])

    def _accept(self, number):
        load = self.loads[number]
        if load.accepted is not None:
            return True
        cycle = load.earliest
        if number:
            before = self.loads[number - 1]
            if before.accepted is None:
                return False
            if before.beats and before.cut == 0:
                return False  # the splitter has not started it
            cycle = max(cycle, before.accepted + 1, self.splitter_start - SPLIT_CUT)
        if number >= PENDING_LOADS:
            ended = self.loads[number - PENDING_LOADS].ended
            if ended is None:
                return False
            cycle = max(cycle, ended + LOADED)
        if load.words:
            room = load.words * self.per_word
            credited = self._credited(room)
            if credited is None:
                return False
            cycle = max(cycle, credited)
            self.used += room
        load.accepted = cycle
        return True

    def _bursts(self, load):
        """Time the bursts of a LOAD; False when the next one waits for credit."""
        stands = self.splitter_free
        if load.cut == 0:
            stands = max(load.accepted + SPLIT_DELAY, stands)
        while load.cut < load.beats:
            first = load.offset + load.cut
            length = min(self.max_burst, self.page - first % self.page, load.beats - load.cut)
            leaves = max(stands, self.issued[0] + 1)
            issue = max(leaves + SPLIT_OUT, self.issued[-1] + 1)
            if len(self.received) == self.received.maxlen:
                issue = max(issue, self.received[0] + 1)
            if load.cut == 0:
                self.splitter_start = stands
            if load.stream and not load.words:
                credited = self._credited(length)
                if credited is None:
                    self.splitter_free = stands
                    return False
                issue = max(issue, credited + TOKEN)
                self.used += length
            self._receive(load, issue + REQUEST, length)
            self.issued.append(issue)
            load.cut += length
            stands = self.splitter_free = leaves + 1
        load.ended = self.last_beat
        return True

    def _credited(self, length):
        """Cycle in which there is room for so many beats more, or None while that is unknown."""
        while self.credits and self.credits[0][1] < self.used + length:
            self.credits.popleft()
        return self.credits[0][0] if self.credits else None

    def _receive(self, load, requested, length):
        interval, per_word = self.memory.interval, self.per_word
        first = max(requested + self.memory.latency, self.bus_free)
        self.last_beat = first + interval * (length - 1)
        self.bus_free = self.last_beat + interval
        self.received.append(self.last_beat)
        self.beats += length
        if self.bursts is not None:
            self.bursts.append((load, first, self.last_beat))
        end = self.last_beat + self.word_delay + 1
        if load.words:  # a word with each of its last beats
            silent = max(0, load.beats - load.words - load.cut)
            self.ring.add(range(first + interval * silent + self.word_delay, end, interval))
            return
        first += interval * (per_word - 1 - self._partial) + self.word_delay
        (self.ring if load.stream else self.fresh).add(range(first, end, interval * per_word))
        self._partial = (self._partial + length) % per_word

    def under_way(self) -> tuple[int, int]:
        """Number of the LOAD that is being split, and beats of it that are left."""
        load = self.loads[self.waiting[0]] if self.waiting else None
        return (self.waiting[0], load.beats - load.cut) if load and load.cut else (-1, 0)

    def furthest(self, since: tuple[int, int]) -> int:
        """Periods like the one since :meth:`under_way` was ``since`` until bursts are cut at the end of the LOAD."""
        (before, had), (number, left) = since, self.under_way()
        if number != before or had == left:
            return EVER if had == left else 0
        return (left - self.max_burst) // (had - left)

    def skip(self, times: int, since: tuple[int, int]) -> None:
        """So many periods like the one since :meth:`under_way` was ``since`` have been."""
        (before, had), (number, left) = since, self.under_way()
        if number == before and number >= 0:
            self.loads[number].cut += times * (had - left)

    def state(self, settled: int, now: int) -> Hashable:
        """What decides about later words besides :meth:`under_way`, relative to ``now``."""

        def relative(cycle):
            return None if cycle is None else max(cycle, settled) - now

        loads, first = [], (self.waiting[0] if self.waiting else len(self.loads)) - PENDING_LOADS
        for load in self.loads[max(0, min(first, len(self.loads) - QUEUE_DEPTH)) :]:
            loads.append((relative(load.accepted), relative(load.ended)))
            if load.ended is None:
                left = 0 if load.cut else load.beats  # of a LOAD that is being split it is under_way's
                loads.append(((load.offset + load.cut) % self.page, left, load.stream, relative(load.earliest)))
        credits = [(relative(cycle), total - self.used) for cycle, total in self.credits if total > self.used]
        cycles = (self.splitter_free, self.splitter_start, self.bus_free, self.last_beat, *self.issued, *self.received)
        return (
            *loads,
            *credits,
            *map(relative, cycles),
            self.credited - self.used,
            self._partial,
            self.ring.left(settled, now),
            self.fresh.left(settled, now),
        )
