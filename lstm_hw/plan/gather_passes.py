"""The passes of SACC of balanced weights: down the groups of row blocks in even steps, up in odd ones.

A group multiplies its diagonal, and then the columns whose h this pass has finished, each window first for the step
that ends and then for the one behind it. Meanwhile the next window comes (:mod:`lstm_hw.plan.gather_sacc` says why).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..machine.layout import Tile
from .gather_batch import GatherBatchLayer
from .gather_grid import grid
from .layer import DOWN, UP
from .sums import as_sum
from .windows import window_tiles


class PassLayer(GatherBatchLayer):
    """A layer and its passes. h of odd steps is in front of that of even ones; ``step_tiles`` are the diagonal.

    Attributes
    ----------
    step : Sum
        Of the pass, from which on the sums of a step are counted.
    """

    whole = False
    step = as_sum(0)

    def cut(self, pinned: int) -> tuple[list[Tile], list[Tile], list[Tile]]:
        config, shape, planner, per_beat = self.config, self.layer, self.planner, self.x_per_beat
        most = max(shape.blocks(config.rows) for shape in planner.network.recurrent)
        height = planner.height if self.blocks == most else min(planner.height, max(1, self.blocks - 1))
        self.grid = g = grid(shape, config, height)
        *streamed, last = window_tiles(shape, self.number, "x", config, per_beat) or self._all_of_x(per_beat)
        most = max((tile.kept for tile in streamed), default=0)
        x = [*(replace(tile, kept=most) for tile in streamed), last]  # tiles of a loop are alike
        self.tile = x[0].columns
        rows = [[self._h_tile(group, window) for window in range(g.windows)] for group in range(g.groups)]
        own = [tile for group, tiles in enumerate(rows) for tile in tiles[group * g.each :][: g.each]]
        lower = [tile for group, tiles in enumerate(rows) for tile in tiles[: group * g.each]]
        upper = [t for group, tiles in [*enumerate(rows)][::-1] for t in tiles[: (group + 1) * g.each - 1 : -1]]
        self.triangles = lower, upper
        self.group_units = g.height * self.units
        self.last_units = shape.outputs - (g.groups - 1) * self.group_units
        self.last_columns = shape.outputs - (g.windows - 1) * g.width
        self.place = g.windows * g.width  # elements of h of a step, with those that pad the last window
        return x, [], own

    def _all_of_x(self, of):
        """Windows of a matrix that is not sparse: a word a column."""
        tiles = self.column_tiles("x", self.layer.inputs, max(of, self.config.window // of * of))
        return [replace(tile, kept=tile.columns) for tile in tiles]

    def _h_tile(self, group, window):
        g = self.grid
        return Tile(self.number, "h", group * g.height, g.rows(group), window * g.width, g.width, g.kept)

    def _h(self, direction):
        """First element of h of the step of a pass."""
        return self.h + (self.place if direction == DOWN else 0)

    def _sums(self, ahead=0):
        """First entry of the sums of the step that is so many behind the present one."""
        step = self.step + ahead if self.stacked else (self.done + ahead) % self.batch
        return self.sums + step * self.blocks

    def newest_tokens(self, direction: int) -> int:
        """Tokens of the group that a pass finishes last."""
        return self.times * (self.last_units if direction == DOWN else self.group_units)

    def _pass(self, direction, behind):
        """Pass down or up, ``behind`` which comes a window."""
        b, g, last = self.b, self.grid, self.grid.groups - 1
        if self.stacked and self.last_units == self.group_units:
            self._pass_alike(direction, behind)
            return
        if direction == DOWN:
            self._diagonal(DOWN, 0, 0, [self._old(DOWN, self.group_units)], first=True)
            for group, end in b.peeled(1, g.groups):
                then = behind if end else partial(self._next_diagonal, DOWN, group + 1)
                self._group(DOWN, group, last if end else 0, (group - 1) * g.each, 0, then)
            return
        self._diagonal(UP, last, last, [self._old(UP, (last - 1) * self.group_units)], first=True)
        for group, part in b.parts(int(last > 1), max(0, last - 2), 1, start=last - 1, step=-1):
            begins = part == 0 or last == 1
            older = 0 if begins else (last - 2 - group) * g.each + g.own(last)
            then = behind if part == 2 else partial(self._next_diagonal, UP, group - 1)
            self._group(UP, group, 0, older, last if begins else 0, then)

    def _pass_alike(self, direction, behind):
        """A pass over groups that are alike: in a stack no one is written out, or programs would be too long."""
        g, last = self.grid, self.grid.groups - 1
        begin, end, step = (0, last, 1) if direction == DOWN else (last, 0, -1)
        self._diagonal(direction, begin, 0, [self._old(direction, (begin + step) * self.group_units)], first=True)
        for group in self.b.each(begin + step, end + step, step):
            left = (end - group) * step
            older = ((group - begin) * step - 1) * g.each
            self._group(
                direction, group, 0, older, 0, partial(self._behind_group, direction, group + step, left, behind)
            )

    def _behind_group(self, direction, group, left, behind):
        for _ in self.b.when(left):
            yield from self._next_diagonal(direction, group)
        for _ in self.b.unless(left):
            yield from behind()

    def _next_diagonal(self, direction, group):
        yield self._old(direction, group * self.group_units)

    def _group(self, direction, group, kind, older, newest, then):
        """A group behind the first one of a pass: its diagonal, windows in front of the newest group's, and these.

        ``kind`` and ``newest`` are groups of known numbers that are like this one and the one before it.
        """
        b, g, tile = self.b, self.grid, self._h_tile(kind, 0)
        begin = 0 if direction == DOWN else (g.windows - 1) * g.width
        step = g.width if direction == DOWN else -g.width
        self._diagonal(direction, group, kind, [self._old(direction, begin)])
        sums, after = (self._sums(ahead) + group * g.height for ahead in (0, 1))
        goes_on, starts = ({"source": entry, "store": 1, "target": entry, "stream": 1} for entry in (sums, after))
        for number in b.each(older):
            here = begin + number * step
            self.multiply_window(tile, None, self._new(direction, here), **goes_on)
            self.multiply_window(tile, None, self._old(direction, here + step), **starts, release=1)
        count, first = g.own(newest), begin + older * step
        for number, end in b.peeled(count):
            word = number * tile.words
            if end:
                window = self._awaited(direction, newest, first)
                self.multiply_window(tile, None, window, source=sums, stream=1, weight=word, **self._end(sums))
                self._cells(direction, group, kind)
            else:
                self.multiply_window(
                    tile, None, self._old(direction, first + (number + 1) * step), **goes_on, weight=word
                )
        for number, end in b.peeled(count):
            ready = {"wait": 1, "take": 1} if direction == DOWN else {}
            windows = then() if end else [self._new(direction, first + (number + 1) * step, **ready)]
            for window in windows:
                self.multiply_window(tile, None, window, **starts, release=1)

    def _diagonal(self, direction, group, kind, windows, first=False):
        """What a group has of the columns of its own units; of the ``first`` one of a pass that is all."""
        g, tile = self.grid, self._h_tile(kind, 0)
        sums, weight = (
            self._sums() + group * g.height,
            self.address[self.step_tiles[0]] + group * (g.each * g.height * g.kept),
        )
        ready = {"wait": 1, "take": 1} if first and not self.answers and not self._ragged(kind) else {}
        for number, end in self.b.peeled(g.own(kind)):
            column = group * self.group_units + (number + 1) * g.width
            words = {"source": sums, "weight": weight + number * tile.words}
            words |= self._end(sums) if end and first else {"store": 1, "target": sums}
            for window in windows if end else [self._old(direction, column, **ready)]:
                self.multiply_window(tile, None, window, **words)
        if first:
            self._cells(direction, group, kind)

    def _end(self, sums):
        """Fields of the last MAC of a group; with copies its sums are finished twice, by a column of the bias."""
        return {"store": 1, "target": sums} if self.copies else {"finish": 1}

    def _cells(self, direction, group, kind):
        units, unit = self.last_units if kind else self.group_units, group * self.group_units
        to_copy = [(self.c + self.states, self.copy_of(self.step))] * self.copies
        for state, target in (*to_copy, (self.c, self._h(direction))):
            if self.copies:
                row = group * self.grid.height
                self.end_sums(self.mask, self._sums() + row, row, self.grid.rows(kind))
            where = {"state": state + unit, "target": target + unit}
            self.cells(units, self.mask, state_stride=self.layer.outputs, **where)

    # Windows

    def _old(self, direction, column, **fields):
        """Elements of h of the step before that of a pass."""
        return self.window("h", self._h(1 - direction) + column, self.grid.width, **fields)

    def _new(self, direction, column, **fields):
        """... and of h that the pass makes."""
        return self.window("h", self._h(direction) + column, self.grid.width, **fields)

    def _awaited(self, direction, newest, column):
        """The first window of the newest group's h, behind the copy; with a pass up the only one that waits."""
        if direction == DOWN:
            return self._new(direction, column, wait=1, take=1, offset=self.copies * self.group_units)
        units, columns = self.group_units, self.grid.width
        if newest:
            units, columns = self.last_units, self.last_columns
        return self._new(direction, column, wait=1, take=1, offset=self.times * units - columns) | {"fill": columns}

    def _first_of_h(self, direction):
        """The first window of a pass, of h that the pass before has made last."""
        last, ready = self.grid.groups - 1, {} if self.answers else {"wait": 1, "take": 1}
        if direction == DOWN:
            return self._old(direction, 0, offset=self.copies * self.group_units, **ready)
        window = self._old(direction, last * self.group_units, offset=self.copies * self.last_units, **ready)
        if self._ragged(last):
            columns = min(self.grid.width, self.last_units)
            window |= {"fill": columns, "offset": self.times * self.last_units - columns if ready else 0}
        return window

    def _ragged(self, kind):
        """Whether the last window of a group has columns that only fill it."""
        return kind > 0 and self.last_units % self.grid.width > 0
