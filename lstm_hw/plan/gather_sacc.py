"""SACC of balanced weights: a word of W_h that is read has weights that are not zero, and serves two time steps.

As in :mod:`lstm_hw.plan.sacc`, passes go down the row blocks in even steps and up in odd ones. Pass k finishes step k
and starts step k + 1; what it reads is the lower triangle of W_h, or the upper one. Here both uses of a tile follow one
another with all lanes, first with a window of h of step k - 1, then with that of step k. Row blocks go in groups, so
that tiles are high enough to hide the next window. What a group has on the diagonal every step needs: it stays on chip.

A group multiplies its diagonal, and then the columns whose h this pass has finished, those of the group before it last.
Their first uses end its sums, and cells work on them while the second uses, and the diagonal of the next group, take
the lanes: no step waits for the tail of the one before.

A tile of W_x serves a batch of time steps, as in :mod:`lstm_hw.plan.gather_batch`. As many sets of entries take turns:
the sums of the step behind a batch are in that of its first step, which has ended by then, or in one that it has no
step for.

In a stack, layers take turns batch by batch, and a layer has one more set, in which the sums of the step behind a batch
always are; so a shorter batch has the last sets, and the last places of x. Of a layer below another one cells work
twice on each group, as in :mod:`lstm_hw.plan.sacc`: once for the layer's own next step, and once for a copy of h that
stays until the layer above has taken it for its x, with a c of its own. A head at every step comes behind each pass,
whose h is complete by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .gather_batch import BIAS, GatherBatchLayer, GatherBatchPlanner
from .layer import DOWN, UP, Frame, StreamedLayer, ring_words, words_of
from .sums import Sum, as_sum
from .windows import hides, most_kept, window_tiles

NAME = "gather_sacc"


@dataclass(frozen=True)
class Grid:
    """W_h in groups of row blocks and windows of columns.

    Parameters
    ----------
    blocks, height : int
        Row blocks, and those of a group; the last one may have fewer.
    windows, width : int
        Windows, and columns of each, a divisor of the units of a group.
    each : int
        Windows of the units of a group.
    kept : int
        Words of a row block in each tile.
    """

    blocks: int
    height: int
    windows: int
    width: int
    each: int
    kept: int

    @property
    def groups(self) -> int:
        return -(-self.blocks // self.height)

    def rows(self, group: int) -> int:
        """Row blocks of a group."""
        return min(self.height, self.blocks - group * self.height)

    def own(self, group: int) -> int:
        """Windows of the units of a group."""
        return min(self.each, self.windows - group * self.each)

    @property
    def cycles(self) -> int:
        """Of the lanes with all products of a step, where windows that are not hidden take some too."""
        heights = [self.rows(group) for group in range(self.groups)]
        return self.windows * sum(
            height * self.kept + (0 if hides(height, self.kept, self.width) else self.width) for height in heights
        )


def grid(shape: LayerShape, config: EngineConfig, height: int) -> Grid:
    """W_h in groups of so many row blocks, with the windows that take the fewest cycles and words.

    Raises
    ------
    ConfigError
        There are no two groups, or as many words as columns.
    """
    blocks, units = shape.blocks(config.rows), shape.units(config.rows) * height
    if blocks == 1:
        rule = f"must be two at least for the schedule {NAME}: fewer rows have more"
        raise ConfigError("engine.rows", f"{config.rows}: one row block of {shape.outputs} units", rule)
    if not 1 <= height < blocks:
        raise ConfigError(
            "height", height, f"must be 1 to {blocks - 1}, fewer than the {blocks} row blocks of the layer"
        )
    found = []
    if shape.used:
        before = shape.used_before[1]
        for width in range(min(config.window, units), 0, -1):
            if units % width == 0:
                ends = [*range(0, shape.outputs, width), shape.outputs]
                kept = int(most_kept(before, ends).max())
                if kept < width:
                    found.append(Grid(blocks, height, len(ends) - 1, width, units // width, kept))
    if not found:
        rule = "must have so many zeros in every row that words gain by leaving them out, as with [prune] pattern"
        found = f"W_h without enough zeros for windows of a group's units in the layer of {shape.outputs} units"
        raise ConfigError("model", found, rule)
    return min(found, key=lambda grid: grid.cycles * grid.kept * grid.windows)


def heights(shape: LayerShape, config: EngineConfig) -> list[int]:
    """Row blocks of a group that are worth trying: with more, less of W_h serves two steps, so lanes must gain.

    Raises
    ------
    ConfigError
        That of :func:`grid` where no groups are possible.
    """
    found, refused = [], None
    for height in range(1, max(2, shape.blocks(config.rows))):
        try:
            cycles = grid(shape, config, height).cycles
        except ConfigError as error:
            refused = refused or error
            continue
        if not found or cycles < found[-1][0]:
            found.append((cycles, height))
    if not found:
        raise refused
    return [height for _, height in found]


class GatherSaccLayer(GatherBatchLayer):
    """A layer. h of odd steps is in front of that of even ones; ``step_tiles`` are the diagonal.

    Attributes
    ----------
    step : Sum
        Of the pass, from which on the sums of a step are counted.
    """

    whole = False
    step = as_sum(0)

    def cut_windows(self, pinned: int) -> tuple[list[Tile], list[Tile], list[Tile]]:
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
        return x, [], own

    def _all_of_x(self, of):
        """Windows of a matrix that is not sparse: a word a column."""
        tiles = self.column_tiles("x", self.layer.inputs, max(of, self.config.window // of * of))
        return [replace(tile, kept=tile.columns) for tile in tiles]

    def _h_tile(self, group, window):
        g = self.grid
        return Tile(self.number, "h", group * g.height, g.rows(group), window * g.width, g.width, g.kept)

    def keep(self, tiles: list[Tile]) -> None:
        super().keep(tiles)
        g = self.grid
        self.streamed = (*self.x_tiles, *self.triangles[DOWN], *self.triangles[UP])
        x, down, up = (words_of(tiles) for tiles in (self.x_tiles, *self.triangles))
        self.words_of_pass = (x, down), (x + down, up)  # first word and words of either direction
        # First uses of the newest columns hold their words for the second ones.
        held = max(g.each * g.height * g.kept, *(tile.words for tile in self.x_tiles))
        self.ring = max(2 * held, ring_words(held, self.config))
        self.tail = () if self.stacked or self.answers else (self.group_units,)
        self.place = g.windows * g.width  # elements of h of a step, with those that pad the last window
        self.own["h_elements"] = 2 * self.place + self.copies * self.batch * self.layer.outputs
        if self.stacked:
            self.buffers = 1  # x of a batch is taken, and is free, as one

    def fit(self, room: int) -> None:
        super().fit(room)
        self.shared["finish_entries"] = self.times * min(2 * self.grid.height, self.blocks)
        if self.stacked:
            self.shared["states"] = self.times * self.group_units
            self.own["accumulators"] += self.shared.pop("accumulators", 0) + self.blocks  # others have their turns

    def words_read(self, steps: int) -> int:
        (_, down), (_, up) = self.words_of_pass
        return -(-steps // self.batch) * words_of(self.x_tiles) + -(-steps // 2) * down + steps // 2 * up

    def y_order(self, steps: int, first_step: int) -> list[tuple[int, int, int]]:
        last = self.grid.groups - 1
        pieces = [
            (group * self.group_units, self.last_units if group == last else self.group_units)
            for group in range(last + 1)
        ]
        return [(step, *piece) for step in range(steps) for piece in pieces[:: -1 if (first_step + step) % 2 else 1]]

    # Where things are

    @property
    def bias(self) -> Sum | int:
        return BIAS if self.tail else self.sums + (self.batch + self.stacked) * self.blocks

    def _h(self, direction):
        """First element of h of the step of a pass."""
        return self.h + (self.place if direction == DOWN else 0)

    def _sums(self, ahead=0):
        """First entry of the sums of the step that is so many behind the present one."""
        step = self.step + ahead if self.stacked else (self.done + ahead) % self.batch
        return self.sums + step * self.blocks

    def newest_h(self, step: Sum, later: int, number: Sum) -> Iterator[tuple[int, Sum | int]]:
        for direction in self.directions(number):
            yield self.mask, self._h(direction)

    def left(self, number: Sum) -> Sum | int:
        return self.last_units + number % 2 * (self.group_units - self.last_units) if self.tail else 0

    def newest_tokens(self, direction: int) -> int:
        """Tokens of the group that a pass finishes last."""
        return self.times * (self.last_units if direction == DOWN else self.group_units)

    def settle(self, after: StreamedLayer, part: int | None = None, take: int = 1) -> None:
        for direction in self.directions(self.done) if self.tail else ():
            offset = self.newest_tokens(1 - direction) - 1
            self.b.emit("MAC", space=SPACE_H, columns=1, slots=1, wait=1, take=take, offset=offset)

    def x_at(self, step: Sum) -> Sum:
        if self.below:
            return self.below.copy_of(step)
        return step * self.x_stride if self.stacked else super().x_at(step)

    # What a run begins with, and LOADs

    def begin(self) -> None:
        if self.stacked:
            self.done = self.planner.layers[0].done

    def zero(self) -> int:
        self.start_from_bias(self.stacked * self.batch * self.blocks)
        return super().zero()

    def ahead(self, first: Sum) -> None:
        self.load(0, words_of(self.x_tiles), "W_x, for a batch")
        if not self.stacked:
            for direction in self.directions(self.done if first.known else self.done + 1):
                self._load(direction)

    def _load(self, direction):
        self.load(*self.words_of_pass[direction], ("lower triangle", "upper triangle")[direction])

    def frame(self, frame: Frame) -> None:
        b, more, idle = self.b, self.planner.more, self.planner.idle
        if self.stacked:
            self._begin()
            self._products_in_turn()
            for _ in b.each(idle, counts=self.done):  # so that a pass's number is that of its step, and of those done
                pass
        else:
            self._batch_products(frame)
        count, later = b.variable(1, more), b.variable(0, more)
        steps = b.parts(idle, count, of=self.batch) if self.stacked else b.parts(0, count, counts=self.done)
        for step, part in steps:
            if part:
                self._step(frame, step, later)
                b.advance(later, -1)
        if self.stacked:
            for _ in b.each(self.batch if self.last else idle, counts=self.done):
                pass

    def _step(self, frame, step, later):
        b, number = self.b, self.done
        if self.stacked:
            self.step, number = step, self.done + step
            for _ in b.unless(later):
                frame.following()
        for direction in self.directions(number):
            for _ in b.when(later):
                self._load(1 - direction)
            for _ in b.unless(later):
                if not self.stacked:
                    frame.following()
                self.start_from_bias(self.stacked * self.batch * self.blocks or self._sums(1) - self.sums)
            self._pass(direction, partial(self._behind, frame, direction, later))
            if self.answers:
                self.planner.heads[0].outputs(self.mask, self._h(direction))

    def _behind(self, frame, direction, later):
        """The window behind a pass: that of the next one, or of the next batch if there is one."""
        b, tokens = self.b, self.newest_tokens(direction)
        if self.answers:
            b.await_tokens(SPACE_H, tokens)
        for _ in b.when(later):
            yield self._first_of_h(1 - direction)
        for _ in b.unless(later):
            if self.stacked:
                if not self.answers:
                    b.await_tokens(SPACE_H, tokens)
                yield None
                continue
            for _ in b.when(b.left):
                yield from self._first_of_x(self.x_at(frame.first + self.batch))
            for _ in b.unless(b.left):
                yield None

    # In a stack

    def _begin(self):
        """What is there for others in their turns: words of the first pass, tokens of its h, and its window of x."""
        b = self.b
        for direction in self.directions(self.done):
            self._load(direction)
            if not self.answers:
                self.make_tokens(self.newest_tokens(1 - direction))
        stride = self.below.layer.outputs if self.below else self.x_stride
        self.first_x = b.variable(self.x_at(as_sum(0)).constant)  # of the first step, for the next tile
        for _ in b.each(self.planner.idle):
            b.advance(self.first_x, stride)
        self._fill_first(self.first_x)

    def _products_in_turn(self):
        """Tiles of W_x, each for all steps of a batch; the sums of its first step have been started already."""
        b, count, planner = self.b, len(self.x_tiles), self.planner
        first, last = self.x_tiles[0], self.x_tiles[-1]
        alike = int(bool(self.below) and last.columns == first.columns)  # who sends x is told which is the last one
        for tile, part in b.parts(1, max(0, count - 3 + alike), int(count > 2 and not alike), int(count > 1)):
            this = last if part == 3 else first
            then = None if this is last else last if part == 2 or count == 2 else first
            products = partial(self._x_products, None, tile, this, then)
            if part:
                for step, kind in b.parts(planner.idle, planner.more, 1, of=self.batch):
                    if kind:
                        products(step, int(kind == 1))
            else:
                started = self.sums + self.batch * self.blocks
                for _ in b.unless(planner.more):
                    products(as_sum(self.batch - 1), 0, started)
                for _ in b.when(planner.more):
                    rest = b.variable(-1, planner.more)
                    for step, kind in b.parts(planner.idle, 1, rest, 1, of=self.batch):
                        if kind:
                            products(step, int(kind < 3), started if kind == 1 else self.bias)
            b.advance(self.first_x, self.tile)
        self.free_x()

    # W_x

    def _batch_products(self, frame):
        """Tiles of W_x, all but the last of which are alike, each for all steps of a batch."""
        b, count = self.b, len(self.x_tiles)
        first, last = self.x_tiles[0], self.x_tiles[-1]
        for tile, part in b.parts(1, max(0, count - 3), int(count > 2), int(count > 1)):
            this = last if part == 3 else first
            then = None if this is last else last if part == 2 or count == 2 else first
            if part:
                for step, later in frame.steps():
                    self._x_products(frame, tile, this, then, step, later)
                continue
            # The sums of the first step have been started already.
            for _ in b.unless(self.planner.more):
                self._x_products(frame, tile, this, then, as_sum(0), 0)
            for _ in b.when(self.planner.more):
                self._x_products(frame, tile, this, then, as_sum(0), 1, first=1)
                rest = b.variable(-1, self.planner.more)
                for step, end in b.peeled(1, rest + 2, idle=self.planner.idle, of=self.batch - 1):
                    self._x_products(frame, tile, this, then, step, int(not end), self.bias, first=1)

    def _x_products(self, frame, number, tile, then, step, later, source=None, first=0):
        """Products of a step with a tile, the window of the next step, or of the tile ``then``, on its way."""
        sums = self.sums + step * self.blocks if self.stacked else self._sums(step)
        fields = {"source": sums if source is None else source, "store": 1, "target": sums}
        fields |= {"stream": 1, "release": int(not later)}
        if later:
            next_step = step + 1 if self.stacked else frame.first + step + 1
            windows = self._x_window_of(tile, self.x_at(next_step) + number * self.tile, first)
        elif then:
            x = self.first_x if self.stacked else self.x_at(frame.first) + number * self.tile
            windows = self._x_window_of(then, x + self.tile)
        else:
            windows = map(self._first_of_h, self.directions(self.done))
        for window in windows:
            self.multiply_window(tile, None, window, **fields)

    def _fill_first(self, x):
        for window in self._first_of_x(x):
            self.fill_window(window)

    def _first_of_x(self, x):
        return self._x_window_of(self.x_tiles[0], x, first=1)

    def _x_window_of(self, tile, x, first=0):
        """x of a step for a tile, from an element on: from the stream, if it is not h; and its window."""
        last, fields = int(tile is self.x_tiles[-1]), {}
        if not self.below:
            self._input(x, tile.columns, wait=first, last=last)
            fields = {"wait": 1, "take": 1, "free": 0 if self.stacked else last}
        yield self.window("x", x, tile.columns, **fields)

    # W_h

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
                self._bias(self.mask, -1, row, slots=self.grid.rows(kind), source=self._sums() + row, finish=1)
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


class GatherSaccPlanner(GatherBatchPlanner):
    """Any stack of which no W_h stays on chip; a head at every step does.

    Outputs leave in packets of one group each: step by step, groups ascending in steps 0, 2, 4, ... counted from zero
    state and descending in the others.

    Parameters
    ----------
    network, config, batch
        As of :class:`GatherBatchPlanner`.
    height : int
        Row blocks of a group, fewer than the largest layer has, and than the others as far as possible.
    """

    name = NAME
    layer = GatherSaccLayer

    def __init__(self, network: Network, config: EngineConfig, batch: int, height: int) -> None:
        self.height = height
        super().__init__(network, config, batch)

    def cycles(self, steps: int, interval: int = 1) -> int:
        """Of a run of so many steps, about: what lanes or port need of W_x, and then of W_h.

        ``interval`` is that of beats of the memory.
        """
        beats, batches, cycles = self.config.beats_per_word * interval, -(-steps // self.batch), 0
        for layer in self.layers:
            x, down, up = (words_of(tiles) for tiles in (layer.x_tiles, *layer.triangles))
            cycles += max(steps * x, batches * x * beats)
            cycles += max(steps * layer.grid.cycles, steps * (down + up) * beats // 2)
        return cycles
