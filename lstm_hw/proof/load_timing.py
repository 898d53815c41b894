"""Cycles of the weight port: when each word of each LOAD has arrived.

Follows the formulas of :class:`lstm_hw.gateware.load_unit.LoadUnit` and its burst splitter. A burst
into the ring waits for credit, which MACs give that come later in the program; so LOADs are worked
off as far as the credits known so far allow.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from ..machine.config import PAGE_BYTES
from ..machine.latency import (
    LOADED,
    PENDING_LOADS,
    REQUEST,
    SPLIT_BURSTS,
    SPLIT_CUT,
    SPLIT_DELAY,
    SPLIT_OUT,
    TOKEN,
    WORD_TOKEN_DELAY,
    in_flight,
)


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


@dataclass
class _Load:
    offset: int
    beats: int
    stream: bool
    earliest: int  # first cycle in which it can be accepted
    accepted: int | None = None
    cut: int = 0  # beats in bursts so far


class LoadPort:
    """Accepts LOADs in order and times their bursts.

    Parameters
    ----------
    config : EngineConfig
        With several weight ports, all of them meet the same memory and so do the same in every cycle.
    memory : MemoryModel
    """

    def __init__(self, config, memory):
        self.config, self.memory = config, memory
        self.loads, self.waiting = [], deque()
        self.credits, self.credited, self.used = deque(), 0, 0
        self.splitter_free = 0  # earliest s of the next LOAD
        self.splitter_start = 0  # s of the last LOAD
        self.issued = deque([-1] * SPLIT_BURSTS, maxlen=SPLIT_BURSTS)  # x of the last bursts
        self.received = deque(maxlen=in_flight(config.outstanding))
        self.ended = []  # cycle of the last beat of each LOAD
        self.bus_free = 0
        self.beats, self.last_beat = 0, -1
        self.ring, self.fresh = [], []  # cycles in which words can be used
        self._partial = 0  # beats of the word that is arriving

    def submit(self, offset, beats, stream, earliest):
        """Queue a LOAD that reaches the unit's queue in cycle ``earliest``; returns its number."""
        self.loads.append(_Load(offset, beats, stream, earliest))
        self.waiting.append(len(self.loads) - 1)
        self.ended.append(None)
        self._advance()
        return len(self.loads) - 1

    def credit(self, cycle, beats):
        """Buffer space is given back: the reader sees it in ``cycle``."""
        self.credited += beats
        self.credits.append((cycle, self.credited))
        self._advance()

    def accepted(self, number):
        """Cycle in which a LOAD is accepted, or None while that is unknown."""
        return self.loads[number].accepted

    @property
    def unfinished(self):
        return bool(self.waiting)

    def _advance(self):
        while self.waiting and self._accept(self.waiting[0]) and self._bursts(self.waiting[0]):
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
            cycle = max(cycle, before.accepted + 1)
            if before.beats and before.cut == 0:
                return False  # the splitter has not started it
            cycle = max(cycle, self.splitter_start - SPLIT_CUT)
        if number >= PENDING_LOADS:
            if self.ended[number - PENDING_LOADS] is None:
                return False
            cycle = max(cycle, self.ended[number - PENDING_LOADS] + LOADED)
        load.accepted = cycle
        return True

    def _bursts(self, number):
        """Time the bursts of a LOAD; False when the next one waits for credit."""
        load, config = self.loads[number], self.config
        page = PAGE_BYTES // config.beat_bytes
        if load.cut == 0:
            stands = max(load.accepted + SPLIT_DELAY, self.splitter_free)
        else:
            stands = self.splitter_free
        while load.cut < load.beats:
            first = load.offset + load.cut
            length = min(config.max_burst, page - first % page, load.beats - load.cut)
            leaves = max(stands, self.issued[0] + 1)
            issue = max(leaves + SPLIT_OUT, self.issued[-1] + 1)
            if len(self.received) == self.received.maxlen:
                issue = max(issue, self.received[0] + 1)
            if load.cut == 0:
                self.splitter_start = stands
            if load.stream:
                while self.credits and self.credits[0][1] < self.used + length:
                    self.credits.popleft()
                if not self.credits:
                    self.splitter_free = stands
                    return False
                issue = max(issue, self.credits[0][0] + TOKEN)
                self.used += length
            self._receive(load, issue + REQUEST, length)
            self.issued.append(issue)
            load.cut += length
            stands = leaves + 1
            self.splitter_free = stands
        self.ended[number] = self.last_beat
        return True

    def _receive(self, load, requested, length):
        interval, per_word = self.memory.interval, self.config.beats_per_word
        first = max(requested + self.memory.latency, self.bus_free)
        beats = first + interval * np.arange(length)
        self.last_beat = int(beats[-1])
        self.bus_free = self.last_beat + interval
        self.received.append(self.last_beat)
        self.beats += length
        ends = beats[per_word - 1 - self._partial :: per_word] if length >= per_word - self._partial else beats[:0]
        self._partial = (self._partial + length) % per_word
        (self.ring if load.stream else self.fresh).extend((ends + WORD_TOKEN_DELAY).tolist())
