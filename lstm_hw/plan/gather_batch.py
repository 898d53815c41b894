"""Blocking-batching of balanced weights: what streams, and what is multiplied, are the weights that are not zero.

As in :mod:`lstm_hw.plan.sbe`, a tile of W_x serves a batch of time steps, and W_h lives as its case says. Here a tile
is a window (:mod:`lstm_hw.plan.windows`): the MAC that multiplies a step's window brings that of the next step, or of
the next tile. Sums start from the bias, which the ``load`` entry leaves in entries of its own.

In a stack, layers take turns batch by batch, and a layer begins with its first window. Of a layer below another one
cells work twice in each step, as in :mod:`lstm_hw.plan.sacc`: for the layer's own next step, and behind that for a copy
of h that stays until the layer above has taken it for its x, with a c of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H, SPACE_X
from ..machine.layout import Tile
from ..machine.network import Network
from .layer import Frame, words_of
from .sbe import BatchLayer, BatchPlanner
from .sums import Sum, Value, as_sum
from .windows import ZEROS, Windows, window_tiles

BIAS = 1
"""First accumulator entry of the bias: behind the one that is zero."""


class GatherBatchLayer(Windows, BatchLayer):
    """A layer; ``pinned`` of it are whole windows of W_x, the last ones.

    One that ``answers`` gives the outputs of a head at every step, behind the CELL of the step.

    Attributes
    ----------
    copies : int
        Of its h, for the layer above, each with a c.
    times : int
        That cells work on each unit and step.
    states : int
        From c to that of the copy.
    """

    slots = 1

    @property
    def answers(self) -> bool:
        network = self.planner.network
        return network.head_every_step and self.number == len(network.recurrent) - 1

    @property
    def bias(self) -> Value:
        """First entry of the bias of all row blocks, where it stays; with copies but for its last column, which
        finishes the sums."""
        return BIAS if "accumulators" in self.shared else self.sums + self.batch * self.blocks

    @property
    def times(self) -> int:
        return 1 + self.copies

    def cut(self, pinned: int) -> tuple[list[Tile], list[Tile], list[Tile]]:
        x = window_tiles(self.layer, self.number, "x", self.config, self.x_per_beat, least=2)
        hidden = window_tiles(self.layer, self.number, "h", self.config)
        for part, tiles in (("x", x), ("h", hidden)):
            if not tiles:
                raise ConfigError("model", f"W_{part} without enough zeros for windows", ZEROS)
        self.tile = x[0].columns
        # Tiles of a loop are alike: as wide, and with as many words.
        counts = [sum(tile.columns for tile in x[-behind:]) for behind in range(1, len(x) + 1)]
        behind = 1 + sum(count < pinned for count in counts)
        if self.number:  # as far as it has as many
            behind = min(behind, len(x) - 1)
        if behind >= len(x):
            rule = f"must leave at least a window of {x[0].columns} columns of {self.layer.inputs}"
            raise ConfigError("pinned", pinned, rule)
        streamed, most = x[:-behind], max(tile.kept for tile in x[:-behind])
        return [replace(tile, kept=most) for tile in streamed], x[-behind:], hidden

    def keep(self, tiles: Sequence[Tile]) -> None:
        super().keep(tiles)
        self.states = self.layer.outputs * self.config.contexts
        self.own["h_elements"] = self.layer.outputs * (1 + self.copies * self.batch)
        self.own["states"] = self.states * self.times
        if self.stacked:
            self.tail = ()

    def fit(self, room: int) -> None:
        super().fit(room)
        self.own["accumulators"] = self.blocks
        self.shared["finish_entries"] *= self.times
        if self.stacked:
            self.shared["states"] = self.times * self.layer.outputs
        if self.answers or self.stacked:  # others have their turns while sums wait
            self.own["accumulators"] += self.shared.pop("accumulators")

    # Instructions

    def loaded(self) -> None:
        """The bias of all row blocks, into the entries where it stays."""
        self.start_from_bias(self.bias - self.sums, fresh=1)
        if self.copies:  # nobody else waits for its last column
            self.one_sum(0, self.constants(self.bias_digits()[-1:], slots=self.blocks, fresh=1), {})

    def start_from_bias(self, target: Value, **fields: int) -> None:
        """Sums, in entries from ``target`` on, start from the bias."""
        self.start_sums(self.mask, target, finish=bool(self.copies), **fields)

    def zero(self) -> int:
        for _ in range(self.copies):
            self.zero_cells(self.mask, state=self.c + self.states, state_stride=self.layer.outputs)
        return super().zero() * self.times

    def copy_of(self, step: Sum) -> Sum:
        """First element of the copy of h of a step of a batch, behind the places of its own."""
        return step * self.layer.outputs + (self.h + self.own["h_elements"] - self.batch * self.layer.outputs)

    def first_window(self) -> None:
        """x of a run's first tile and step, and its window."""
        if not self.stacked:
            self._fill_first(self.x_at(as_sum(0)))

    def _fill_first(self, x):
        self._input_tile(x, first=True)
        self.fill_window(self._x_window(0, x))

    def _x_of(self, frame, step):
        """First element of x of a step of a batch."""
        return self.below.copy_of(as_sum(step)) if self.below else self.x_at(frame.first + step)

    def frame(self, frame: Frame) -> None:
        b, tiles = self.b, len(self.x_tiles)
        if self.stacked:  # tokens of h for the first step, as those that others have waited for
            self.make_tokens(self.times * self.layer.outputs)
            self._fill_first(self._x_of(frame, 0))
        for tile, part in b.parts(1, max(0, tiles - 2), int(tiles > 1)):
            last = part == 2 or tiles == 1
            for step, later in frame.steps():
                if later:
                    then = self._x_of(frame, step + 1)
                    self._input_tile(then + tile * self.tile, first=part == 0)
                    window = self._x_window(tile, then)
                elif last:
                    first = self._x_of(frame, 0)
                    self._input_pinned(first)
                    window = self._pinned_window(0, first)
                else:
                    first = self._x_of(frame, 0)
                    self._input_tile(first + (tile + 1) * self.tile, first=False)
                    window = self._x_window(tile + 1, first)
                sums = self.sums + step * self.blocks
                source = self.bias if part == 0 else sums
                words = {"stream": 1, "release": int(not later)}
                self.multiply_window(self.x_tiles[0], None, window, source=source, store=1, target=sums, **words)
        if not self.refetched:
            frame.following()
        for step, later in frame.steps():
            self._step(frame, step, later)
        if self.stacked:
            b.await_tokens(SPACE_H, self.times * self.layer.outputs)

    def _step(self, frame, step, later):
        """Pinned columns of W_x, and W_h."""
        self._refetch(frame, later)
        sums, pinned = self.sums + step * self.blocks, len(self.pinned_tiles)
        x = self._x_of(frame, step)
        for number, tile in enumerate(self.step_tiles):
            words, end = self._words(tile, later), {"store": 1, "target": sums}
            finish = end if self.copies else {"finish": 1}
            if tile is not self.step_tiles[-1]:
                behind = number + 1
                window = self._pinned_window(behind, x) if behind < pinned else self._h_window(behind)
                self.multiply_window(tile, None, window, source=sums, **end, **words)
            elif later:
                then = self._x_of(frame, step + 1)
                self._input_pinned(then)
                self.multiply_window(tile, None, self._pinned_window(0, then), source=sums, **finish, **words)
            else:
                then = self.x_at(frame.first + self.batch) if not self.stacked else 0
                for _ in self.b.when(0 if self.stacked else self.b.left):
                    self._input_tile(then, first=True)
                    self.multiply_window(tile, None, self._x_window(0, then), source=sums, **finish, **words)
                for _ in self.b.unless(0 if self.stacked else self.b.left):
                    self.multiply_window(tile, None, None, source=sums, **finish, **words)
        self._hidden(step, sums)
        if self.answers:
            self.b.await_tokens(SPACE_H, self.layer.outputs, take=0)
            self.planner.heads[0].outputs(self.mask, self.h, ahead=self.layer.outputs)

    def _hidden(self, step, sums):
        """h of a step, and behind it the copy, whose tokens of the step before are taken in front of both."""
        if not self.copies:
            self.all_cells(self.h)
            return
        units = self.layer.outputs
        self.b.await_tokens(SPACE_H, units)
        for state, target in ((self.c, self.h), (self.c + self.states, self.copy_of(step))):
            self.end_sums(self.mask, sums)
            self.cells(units, self.mask, state=state, state_stride=units, target=target)

    # Windows

    def window(self, part: str, operand: Value, columns: int, **fields: int) -> dict[str, Value]:
        """Fields of a MAC that brings a window, of x of the stream or of h."""
        space = SPACE_X if part == "x" and not self.below else SPACE_H
        return {"fill": columns, "lift": self.lift(part), "space": space, "operand": operand, **fields}

    def _input_tile(self, target, first):
        if not self.below:
            self._input(target, self.x_tiles[0].columns, wait=int(first))

    def _input_pinned(self, x):
        if not self.below:
            self._input(x + self.pinned_tiles[0].first_column, self.pinned, last=1)

    def _x_window(self, tile, x):
        """A step's window of a tile of W_x that streams."""
        columns = self.x_tiles[0].columns
        return self.window("x", x + tile * columns, columns, **self._arrives)

    def _pinned_window(self, number, x):
        tile, free = self.pinned_tiles[number], {}
        if tile is self.pinned_tiles[-1] and not self.below:
            free = {"free": 1}
        return self.window("x", x + tile.first_column, tile.columns, **self._arrives, **free)

    @property
    def _arrives(self):
        """Fields of a window that waits for x from the stream."""
        return {} if self.below else {"wait": 1, "take": 1}

    def _h_window(self, number):
        tile = self.step_tiles[number]
        return self.window("h", self.h + tile.first_column, tile.columns, wait=1, take=1)


class GatherBatchPlanner(BatchPlanner):
    """Any stack of which W_x, or all of it, does not stay on chip; a head does.

    Parameters
    ----------
    network : Network
        Says which weights are zero.
    config : EngineConfig
        With windows. K contexts work on K independent sequences.
    batch : int
        B, time steps that share a fetch of W_x, at least 2.
    pinned : int
        Columns of W_x that live as W_h does, at least: whole windows.
    case : {1, 2, 3}
        How W_h lives, as for :class:`BatchPlanner`.
    """

    name = "gather_sbe"
    least_batch = 2  # of one step, a tile of W_x would serve nobody else
    layer, takes, answers = GatherBatchLayer, (), True

    def __init__(self, network: Network, config: EngineConfig, batch: int, pinned: int = 1, case: int = 1) -> None:
        if not config.window:
            raise ConfigError("engine.window", config.window, f"must be 4 to 64 for the schedule {self.name}")
        super().__init__(network, config, batch, pinned, case)

    def columns(self, steps: int) -> int:
        """Cycles of the lanes, in a run of so many steps, with products of LSTM layers."""
        return steps * sum(layer.x_words + words_of(layer.step_tiles) for layer in self.layers)

    def _kept(self):
        """Biases of all layers are in front, as they are waited for one after the other."""
        return sorted(super()._kept(), key=lambda tile: tile.part != "bias" or tile.layer >= len(self.layers))

    def _first_frame(self):
        super()._first_frame()
        self.layers[0].first_window()
