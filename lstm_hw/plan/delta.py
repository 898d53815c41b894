"""The resident planner of delta networks: lanes walk lists of what changed, on sums that persist.

A sum is that of the references of x and h, always: it begins as the bias, at zero state, and every step adds what the
step's lists say. Both lists of a step are walked once a row block, so a row block's sum stays in the lanes as long as
a list is, and is stored and finished behind its last entry.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_DELTA, SPACE_X
from ..machine.layout import Tile
from ..machine.limits import LISTS_OF_X
from ..machine.network import LayerShape, Network
from .dense import ResidentLayer, ResidentPlanner
from .sums import Value


class DeltaLayer(ResidentLayer):
    """A layer whose sums change with the lists of x, or of the h of the layer below, and of its own h.

    ``thresholds`` are those of x and of each layer's h.
    """

    leaves_out = False

    def __init__(self, planner: DeltaPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.thresholds = planner.network.thresholds
        x, h = Tile(number, "x", 0, self.blocks, 0, shape.inputs), Tile(number, "h", 0, self.blocks, 0, shape.outputs)
        self.order = [h, x] if number else [x, h]
        self.resident = (*self.bias_tiles(), *self.order)
        self.buffers = min(LISTS_OF_X, self.config.x_elements // self.x_stride)
        self.own["accumulators"] = self.blocks

    def loaded(self) -> None:
        """Nothing: sums begin with a sequence."""

    def zero(self) -> int:
        self._bias()
        return super().zero()

    def take_x(self, target: Value = 0, **fields: Value) -> None:
        super().take_x(target, threshold=self.thresholds[0])

    def _step(self, step, number):
        """Both lists of a step, and its h; ``number`` counts since zero state."""
        old, new = self.h_before(number), self.h_before(number + 1)
        sums = {"load": 1, "source": self.sums, "store": 1, "target": self.sums}
        for tile in self.order:
            last = tile.columns - 1
            if tile.part == "h":
                changes = {"space": SPACE_DELTA, "operand": old, "list": self.number, "take": 1}
            elif not self.number:
                changes = {"space": SPACE_X, "operand": self.x_at(step), "take": 1, "free": 1}
            else:
                changes = {"space": SPACE_DELTA, "operand": self.below.h_before(number + 1), "list": self.below.number}
                last += self.tokens_before(self.sources[0])
            finish = int(tile is self.order[-1])
            comment = f"layer {self.number}, what changed of {tile.part}"
            self._products(tile, comment, **sums, **changes, wait=1, offset=last, finish=finish)
        self.all_cells(new, threshold=self.thresholds[self.number + 1])


class DeltaPlanner(ResidentPlanner):
    """Any stack with thresholds whose weights fit the weight buffer; a head is as in the resident schedule.

    Parameters
    ----------
    network : Network
        With thresholds.
    config : EngineConfig
        With lists.
    """

    name = "delta"
    layer = DeltaLayer
    takes, asks = (), ("thresholds",)

    def __init__(self, network: Network, config: EngineConfig) -> None:
        if not config.lists:
            raise ConfigError("engine.lists", config.lists, "must be true for a model with thresholds")
        if config.list_loads:
            raise ConfigError("engine.list_loads", config.list_loads, "must be false for the schedule delta")
        super().__init__(network, config)

    def _kept(self):
        """Biases of linear layers come first: the ``load`` entry uses them as they arrive."""
        first = len(self.layers)
        return sorted(super()._kept(), key=lambda tile: tile.layer < first or tile.part != "bias")
