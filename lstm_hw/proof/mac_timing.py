"""Cycles in which the columns of MACs go to the lanes, and what they wait for.

A column goes in the cycle behind the one before, or as soon as all is there that it waits for. No two words arrive in
one cycle: where only words are late, each column waits at least as long as the one before, and the last one alone
tells when a MAC ends.
"""

from collections.abc import Hashable

from ..errors import ProgramError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_CONSTANT, SPACE_X
from ..machine.latency import CREDIT, FINISH_DELAY, FREE_DELAY, HAZARD_COLUMNS, OPEN_LIST, TAKE
from ..machine.program import Command
from .cycles import STALLS
from .lists import walked
from .load_timing import LoadPort
from .tokens import Tokens

WEIGHTS, H, X, OUTPUT = range(len(STALLS))


class MacTiming:
    """The MAC unit.

    Parameters
    ----------
    config : EngineConfig
    port : LoadPort
        Words come from here, and room in the ring goes back.
    h, x : Tokens
        Elements that have been written.

    Attributes
    ----------
    busy : int
        Columns so far.
    stalls : list of int
        Cycles waited, in the order of ``STALLS``.
    first_issue, last_issue : int or None
        Cycles of the first and of the last column.
    finished, rooms : Tokens
        Row blocks that the cell unit may take, and room for them.
    x_free : Tokens
        Vectors of x that may be written.
    spans : list of (int, int, int), optional
        A list here gets all spans of cycles in which columns go (0) or wait (1 + index into ``STALLS``): what, the
        first cycle, and the one behind the last.
    """

    def __init__(self, config: EngineConfig, port: LoadPort, h: Tokens, x: Tokens):
        self.port, self.h, self.x = port, h, x
        self.beats_per_word = config.beats_per_word
        self.busy, self.stalls = 0, [0] * len(STALLS)
        self.first_issue = self.last_issue = None
        self.finished, self.rooms, self.x_free = Tokens(), Tokens(config.finish_entries), Tokens()
        self.spans = None
        self.recent = {}  # accumulator entry -> cycle of its last store, if a column might still have to wait for it

    def execute(self, command: Command, take: int, entries: int | None = None) -> int:
        """Account for a MAC that is taken in cycle ``take``; returns the cycle of its last column.

        ``entries`` are those of the list that it walks, if it walks one.
        """
        fields = command.fields
        if entries is not None and fields["slots"] and fields["columns"]:
            fields = {**fields, "columns": walked(entries)}
        slots, columns, before = fields["slots"], fields["columns"], take + TAKE - 1
        count = slots * columns
        if count == 0:
            return take
        words, number = self._words(command, count)
        late = self._late(command, fields, before + 1, entries is not None)
        singles = count if self.spans is not None else max(late) + 1 if late else 0
        single = self._single(before, words, number, late, singles)
        done, start = len(single), single[-1] if single else before

        def issue(column):
            """Cycle of a column; of those behind ``single`` only words may be late."""
            if column < done:
                return single[column]
            cycle = start + column - done + 1
            return max(cycle, words.at(number + column)) if words else cycle

        last = issue(count - 1)
        self.stalls[WEIGHTS] += last - start - (count - done)
        self.busy += count
        self.first_issue, self.last_issue = self.first_issue or issue(0), last
        self._stores(fields, issue, last)
        if fields["finish"]:
            self.finished.add([issue(column) + FINISH_DELAY for column in range(columns - 1, count, columns)])
            self.rooms.use(self.rooms.used + slots)
        if fields["free"]:
            self.x_free.add((last,))
        if words and (fields["release"] or words is self.port.fresh):
            words.use(number + count)
        if fields["stream"] and fields["release"]:
            self.port.credit(last + CREDIT, (fields["weight"] + count) * self.beats_per_word)
        return last

    def _words(self, command, count):
        """The words that a MAC waits for: their tokens and the number of the first, or (None, 0)."""
        fields = command.fields
        if fields["stream"]:
            words, number = self.port.ring, self.port.ring.used + fields["weight"]
        elif fields["fresh"]:
            words, number = self.port.fresh, self.port.fresh.used
        else:
            return None, 0
        if number + count > words.count:
            raise ProgramError(
                f"program address {command.at}",
                f"waits for word {number + count}, only {words.count} arrive",
                "must not wait for words that are never loaded or do not fit the ring",
            )
        return words, number

    def _late(self, command, fields, first, walks):
        """Columns that have to wait for something else than words: column -> [(what for, until when)] in their order.

        Column ``n`` is not sooner than cycle ``first + n``, so that nothing that is there by then counts.
        """
        late = {}
        if fields["load"] and self.recent:
            self._late_sums(fields, first, late)
        if walks:
            self._late_list(fields, first, late)
        elif fields["wait"] and fields["space"] != SPACE_CONSTANT:
            self._late_tokens(fields, first, late)
        if fields["finish"]:
            self._late_rooms(command, fields, first, late)
        return late

    def _late_sums(self, fields, first, late):
        for entry, stored in self.recent.items():
            slot = entry - fields["source"]
            if 0 <= slot < (1 if fields["hold"] else fields["slots"]):
                column, ready = slot * fields["columns"], stored + HAZARD_COLUMNS
                if ready > first + column:
                    late.setdefault(column, []).append((H, ready))

    def _late_list(self, fields, first, late):
        """All elements of a list are there before its first column, and then its length is known."""
        kind, tokens = (X, self.x) if fields["space"] == SPACE_X else (H, self.h)
        ready = first
        if fields["wait"]:
            end = self._tokens_there(tokens, tokens.used + fields["offset"] + 1)
            ready = max(first, tokens.at(end - 1))
            if fields["take"]:
                tokens.use(end)
        late.setdefault(0, []).append((kind, ready + OPEN_LIST))

    @staticmethod
    def _tokens_there(tokens, end):
        """``end``, if so many tokens come."""
        if end > tokens.count:
            found = f"waits for token {end}, only {tokens.count} come"
            raise ProgramError("program", found, "must not wait forever")
        return end

    def _late_tokens(self, fields, first, late):
        kind, tokens = (X, self.x) if fields["space"] == SPACE_X else (H, self.h)
        start = tokens.used + fields["offset"]
        end = self._tokens_there(tokens, start + (fields["fill"] if fields["gather"] else fields["columns"]))
        if end > start and tokens.at(end - 1) > first:
            for column, ready in enumerate(tokens.between(start, end)):
                if ready > first + column:
                    late.setdefault(column, []).append((kind, ready))
        if fields["take"]:
            tokens.use(end)

    def _late_rooms(self, command, fields, first, late):
        """Of a row block the first column waits for room, which the cell unit gives."""
        slots, columns, rooms = fields["slots"], fields["columns"], self.rooms
        if rooms.used + slots > rooms.count:
            raise ProgramError(
                f"program address {command.at}",
                f"finishes row block {rooms.used + slots}, only {rooms.count} find room",
                "must not wait for a CELL that comes later",
            )
        if rooms.at(rooms.used + slots - 1) + FREE_DELAY > first:
            for slot, freed in enumerate(rooms.between(rooms.used, rooms.used + slots)):
                if freed + FREE_DELAY > first + slot * columns:
                    late.setdefault(slot * columns, []).append((OUTPUT, freed + FREE_DELAY))

    def _single(self, before, words, number, late, count):
        """Cycles of the first columns, one by one."""
        issued = []
        for column in range(count):
            cycle = before + 1
            waits = late.get(column, ())
            for kind, ready in ((WEIGHTS, words.at(number + column)), *waits) if words else waits:
                if ready > cycle:
                    self.stalls[kind] += ready - cycle
                    self._span(1 + kind, cycle, ready)
                    cycle = ready
            self._span(0, cycle, cycle + 1)
            issued.append(cycle)
            before = cycle
        return issued

    def _span(self, what, first, end):
        if self.spans is not None:
            self.spans.append((what, first, end))

    def _stores(self, fields, issue, last):
        """Remember the stores that the next column might have to wait for."""
        soonest = last + 2 - HAZARD_COLUMNS
        if self.recent:
            self.recent = {entry: cycle for entry, cycle in self.recent.items() if cycle >= soonest}
        if fields["store"]:
            columns = fields["columns"]
            for slot in reversed(range(fields["slots"])):
                cycle = issue((slot + 1) * columns - 1)
                if cycle < soonest:
                    break
                self.recent[fields["target"] + slot] = cycle

    def state(self, settled: int, now: int) -> Hashable:
        """What decides about later MACs, relative to ``now``, but for what the cell unit and they give one another."""
        recent = sorted((entry, cycle - now) for entry, cycle in self.recent.items() if cycle > settled)
        return *recent, self.x_free.left(settled, now)
