"""A linear layer that reads h of all steps: the products of each are added to its sums as soon as that h is there.

They have the weights of that step. Behind the last one a column of zeros hands the sums to the cell unit.
"""

from __future__ import annotations

from dataclasses import replace

from ..machine.isa import SPACE_CONSTANT
from ..machine.layout import Tile
from ..machine.network import LayerShape
from .layer import Frame
from .resident_layer import ResidentLayer
from .waits import PhasePlanner


class GatheringHead(ResidentLayer):
    """The layer: ``of_step`` are the tiles of the first step, and those of the others are behind them."""

    def __init__(self, planner: PhasePlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.of_step, firsts = self.order, range(0, shape.x_columns, shape.inputs)
        self.order = [
            replace(tile, first_column=first + tile.first_column) for first in firsts for tile in self.of_step
        ]
        self.zeros = Tile(number, "x", 0, self.blocks, shape.x_columns, 1)
        self.resident = (*self.bias_tiles(), *self.order, self.zeros)

    def begin(self) -> None:
        """A register tells the entry that sums go on from: the bias in the first step of a sequence."""
        self.started = self.b.variable(self.sums)

    def frame(self, frame: Frame) -> None:
        work, stride = self.sums + self.blocks, self.blocks * self.layer.inputs
        sums = {"source": self.started}
        for tile in self.of_step:
            ends = tile is self.of_step[-1] or self.blocks > 1
            sums |= {"store": 1, "target": work} if ends else {}
            weight = self.address[tile] + frame.first % self.layer.steps * stride
            comment = f"layer {self.number}, columns {tile.first_column}.. of a step's h"
            self._products(tile, comment, weight=weight, **sums, **self._vector(tile, frame.first, self.done))
            sums = {"source": work} if self.blocks > 1 else {"load": 0}
        self.b.assign(self.started, work)

    def behind_last_step(self) -> None:
        constant = {"space": SPACE_CONSTANT, "operand": 0}
        self._products(self.zeros, "nothing", source=self.sums + self.blocks, finish=1, **constant)
        self._outputs()
