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
from functools import partial

from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.network import Network
from .gather_batch import BIAS, GatherBatchPlanner
from .gather_passes import PassLayer
from .layer import DOWN, UP, Frame, StreamedLayer, ring_words, words_of
from .sums import Sum, Value, as_sum


class GatherSaccLayer(PassLayer):
    """A layer: W_x of a batch, and a pass for each of its steps."""

    def keep(self, tiles: list[Tile]) -> None:
        super().keep(tiles)
        g = self.grid
        self.streamed = (*self.x_tiles, *self.triangles[DOWN], *self.triangles[UP])
        # First uses of the newest columns hold their words for the second ones.
        held = max(g.each * g.height * g.kept, *(tile.words for tile in self.x_tiles))
        self.ring = max(2 * held, ring_words(held, self.config))
        self.tail = () if self.stacked or self.answers else (self.group_units,)
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
        down, up = map(words_of, self.triangles)
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
    def bias(self) -> Value:
        return BIAS if self.tail else self.sums + (self.batch + self.stacked) * self.blocks

    def newest_h(self, step: Sum, later: int, number: Sum) -> Iterator[tuple[int, Value]]:
        for direction in self.directions(number):
            yield self.mask, self._h(direction)

    def left(self, number: Sum) -> Value:
        return self.last_units + number % 2 * (self.group_units - self.last_units) if self.tail else 0

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
        self.load(self.x_tiles, "W_x, for a batch")
        if not self.stacked:
            for direction in self.directions(self.done if first.known else self.done + 1):
                self._load(direction)

    def _load(self, direction):
        self.load(self.triangles[direction], ("lower triangle", "upper triangle")[direction])

    def frame(self, frame: Frame) -> None:
        b, more, idle = self.b, self.planner.more, self.planner.idle
        if self.stacked:
            self._begin()
        self._batch_products(frame)
        if self.stacked:
            for _ in b.each(idle, counts=self.done):  # so that a pass's number is that of its step, and of those done
                pass
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

    # W_x

    def _batch_products(self, frame):
        """Tiles of W_x, all but the last of which are alike, each for all steps of a batch."""
        b, count = self.b, len(self.x_tiles)
        first, last = self.x_tiles[0], self.x_tiles[-1]
        alike = int(bool(self.below) and last.columns == first.columns)  # who sends x is told which is the last one
        for tile, part in b.parts(1, max(0, count - 3 + alike), int(count > 2 and not alike), int(count > 1)):
            this = last if part == 3 else first
            then = None if this is last else last if part == 2 or count == 2 else first
            products = partial(self._x_products, frame, tile, this, then)
            if part == 0:  # the sums of the first step have been started already
                self._first_in_turn(products) if self.stacked else self._first_products(products)
            else:
                for step, later in self._steps_in_turn() if self.stacked else frame.steps():
                    products(step, later)
            if self.stacked:
                b.advance(self.first_x, self.tile)
        if self.stacked:
            self.free_x()

    def _first_products(self, products):
        """Those of the first tile."""
        b, planner = self.b, self.planner
        for _ in b.unless(planner.more):
            products(as_sum(0), 0)
        for _ in b.when(planner.more):
            products(as_sum(0), 1, first=1)
            rest = b.variable(-1, planner.more)
            for step, end in b.peeled(1, rest + 2, idle=planner.idle, of=self.batch - 1):
                products(step, int(not end), self.bias, first=1)

    def _first_in_turn(self, products):
        """... in a stack, where a shorter batch has the last sets of sums."""
        b, planner, started = self.b, self.planner, self.sums + self.batch * self.blocks
        for _ in b.unless(planner.more):
            products(as_sum(self.batch - 1), 0, started)
        for _ in b.when(planner.more):
            rest = b.variable(-1, planner.more)
            for step, kind in b.parts(planner.idle, 1, rest, 1, of=self.batch):
                if kind:
                    products(step, int(kind < 3), started if kind == 1 else self.bias)

    def _steps_in_turn(self):
        """Steps as of :attr:`Frame.steps`, of a batch that has the last ones."""
        for step, kind in self.b.parts(self.planner.idle, self.planner.more, 1, of=self.batch):
            if kind:
                yield step, int(kind == 1)

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

    name = "gather_sacc"
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
