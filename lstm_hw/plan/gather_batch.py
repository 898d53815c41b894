"""Blocking-batching of balanced weights: what streams, and what is multiplied, are the weights that are not zero.

As in :mod:`lstm_hw.plan.sbe`, a tile of W_x serves a batch of time steps, and W_h lives as its case says. Here a tile
is a window (:mod:`lstm_hw.plan.windows`): the MAC that multiplies a step's window brings that of the next step, or of
the next tile. Sums start from the bias, which the ``load`` entry leaves in entries of its own.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H, SPACE_X
from ..machine.layout import Tile
from ..machine.network import Network
from .layer import Frame, words_of
from .sbe import BatchLayer, BatchPlanner
from .sums import Sum, as_sum
from .windows import Windows, window_tiles

BIAS = 1
"""First accumulator entry of the bias: behind the one that is zero."""


class GatherBatchLayer(Windows, BatchLayer):
    """A layer; ``pinned`` of it are whole windows of W_x, the last ones.

    One that ``answers`` gives the outputs of a head at every step, behind the CELL of the step.
    """

    @property
    def answers(self) -> bool:
        network = self.planner.network
        return network.head_every_step and self.number == len(network.recurrent) - 1

    @property
    def bias(self) -> Sum | int:
        """First entry of the bias of all row blocks, where it stays."""
        return BIAS if "accumulators" in self.shared else self.sums + self.batch * self.blocks

    def cut(self, planner: BatchPlanner) -> tuple[list[Tile], list[Tile], list[Tile]]:
        self.planner, self.slots = planner, 1
        pinned = planner.asked[self.number]
        per_beat = self.config.x_per_beat if self.config.contexts == 1 else 1
        x = window_tiles(self.layer, self.number, "x", self.config, per_beat, least=2)
        hidden = window_tiles(self.layer, self.number, "h", self.config)
        for part, tiles in (("x", x), ("h", hidden)):
            if not tiles:
                rule = (
                    "must have so many zeros in every row that lanes gain by leaving them out, as with [prune] pattern"
                )
                raise ConfigError("model", f"W_{part} without enough zeros for windows", rule)
        self.tile = x[0].columns
        # Tiles of a loop are alike: as wide, and with as many words.
        counts = [sum(tile.columns for tile in x[-behind:]) for behind in range(1, len(x) + 1)]
        behind = 1 + sum(count < pinned for count in counts)
        if behind >= len(x):
            rule = f"must leave at least a window of {x[0].columns} columns of {self.layer.inputs}"
            raise ConfigError("pinned", pinned, rule)
        streamed, most = x[:-behind], max(tile.kept for tile in x[:-behind])
        return [replace(tile, kept=most) for tile in streamed], x[-behind:], hidden

    def fit(self, room: int) -> None:
        super().fit(room)
        self.own["accumulators"] = self.blocks
        if self.answers:  # a head has its turn while sums wait
            self.own["accumulators"] += self.shared.pop("accumulators")

    # Instructions

    def loaded(self) -> None:
        """The bias of all row blocks, into the entries where it stays."""
        self.start_sums(self.mask, self.bias - self.sums, finish=False, fresh=1)

    def first_window(self) -> None:
        """x of a run's first tile and step, and its window."""
        x = self.x_at(as_sum(0))
        self._input_tile(x, first=True)
        self.fill_window(self._x_window(0, x))

    def frame(self, frame: Frame) -> None:
        b, tiles = self.b, len(self.x_tiles)
        for tile, part in b.parts(1, max(0, tiles - 2), int(tiles > 1)):
            last = part == 2 or tiles == 1
            for step, later in frame.steps():
                if later:
                    then = self.x_at(frame.first + step + 1)
                    self._input_tile(then + tile * self.tile, first=part == 0)
                    window = self._x_window(tile, then)
                elif last:
                    first = self.x_at(frame.first)
                    self._input_pinned(first)
                    window = self._pinned_window(0, first)
                else:
                    first = self.x_at(frame.first)
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

    def _step(self, frame, step, later):
        """Pinned columns of W_x, and W_h."""
        self._refetch(frame, later)
        sums, pinned = self.sums + step * self.blocks, len(self.pinned_tiles)
        x = self.x_at(frame.first + step)
        for number, tile in enumerate(self.step_tiles):
            words, end = self._words(tile, later), {"store": 1, "target": sums}
            if tile is not self.step_tiles[-1]:
                behind = number + 1
                window = self._pinned_window(behind, x) if behind < pinned else self._h_window(behind)
                self.multiply_window(tile, None, window, source=sums, **end, **words)
            elif later:
                then = self.x_at(frame.first + step + 1)
                self._input_pinned(then)
                self.multiply_window(tile, None, self._pinned_window(0, then), source=sums, finish=1, **words)
            else:
                then = self.x_at(frame.first + self.batch)
                for _ in self.b.when(self.b.left):
                    self._input_tile(then, first=True)
                    self.multiply_window(tile, None, self._x_window(0, then), source=sums, finish=1, **words)
                for _ in self.b.unless(self.b.left):
                    self.multiply_window(tile, None, None, source=sums, finish=1, **words)
        self.all_cells(self.h)
        if self.answers:
            self.settle(self, take=0)
            self.planner.heads[0].outputs(self.mask, self.h, ahead=self.layer.outputs)

    # Windows

    def _input_tile(self, target, first):
        self._input(target, self.x_tiles[0].columns, wait=int(first))

    def _input_pinned(self, x):
        self._input(x + self.pinned_tiles[0].first_column, self.pinned, last=1)

    def _x_window(self, tile, x):
        """Fields of a MAC that brings a step's window of a tile of W_x that streams."""
        columns = self.x_tiles[0].columns
        vector = {"space": SPACE_X, "operand": x + tile * columns, "wait": 1, "take": 1}
        return {"fill": columns, "lift": self.lift("x"), **vector}

    def _pinned_window(self, number, x):
        tile = self.pinned_tiles[number]
        vector = {"space": SPACE_X, "operand": x + tile.first_column, "wait": 1, "take": 1}
        return {"fill": tile.columns, "lift": self.lift("x"), "free": int(tile is self.pinned_tiles[-1]), **vector}

    def _h_window(self, number):
        tile = self.step_tiles[number]
        vector = {"space": SPACE_H, "operand": self.h + tile.first_column, "wait": 1, "take": 1}
        return {"fill": tile.columns, "lift": self.lift("h"), **vector}


class GatherBatchPlanner(BatchPlanner):
    """One layer of which W_x, or all of it, does not stay on chip; a head does.

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
    stacks = False
    """Whether it takes more than one layer."""

    def __init__(self, network: Network, config: EngineConfig, batch: int, pinned: int = 1, case: int = 1) -> None:
        if not config.window:
            raise ConfigError("engine.window", config.window, f"must be 4 to 64 for the schedule {self.name}")
        if len(network.recurrent) > 1 and not self.stacks:
            rule = f"must be one for the schedule {self.name}"
            raise ConfigError("network", f"{len(network.recurrent)} recurrent layers", rule)
        super().__init__(network, config, batch, pinned, case)

    def columns(self, steps: int) -> int:
        """Cycles of the lanes, in a run of so many steps, with products of LSTM layers."""
        (layer,) = self.layers
        return steps * (layer.x_words + words_of(layer.step_tiles))

    def _first_frame(self):
        super()._first_frame()
        self.layers[0].first_window()
