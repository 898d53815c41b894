"""The resident planner: all weights on chip, every time step column by column without a stall.

A layer reads x of the step or h of layers below (:mod:`~lstm_hw.plan.resident_layer`), or h of all steps: once they are
all there (:mod:`~lstm_hw.plan.waits`) or, as the head, one after the other (:mod:`~lstm_hw.plan.all_steps`).
"""

from __future__ import annotations

from ..machine.config import EngineConfig
from ..machine.network import LayerShape, Network
from .all_steps import GatheringHead
from .layer import check_beat
from .resident_layer import ResidentLayer
from .waits import PhasePlanner, WaitingLayer


def resident_layer(planner: PhasePlanner, shape: LayerShape, number: int) -> ResidentLayer:
    """A layer, or the head, of the kind for what it reads."""
    kinds = (shape.waits, WaitingLayer), (shape.steps, GatheringHead)
    kind = next((kind for asked, kind in kinds if asked), ResidentLayer)
    return kind(planner, shape, number)


class ResidentPlanner(PhasePlanner):
    """Any stack whose weights fit the weight buffer.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        All K contexts work on independent sequences.
    """

    name = "resident"
    layer = head = staticmethod(resident_layer)
    takes = (
        "an initial state",
        "peepholes",
        "a GRU that resets h before its product",
        "plain layers",
        "a projection",
        "a skip",
        "a linear layer that reads all steps",
        "a layer that waits for all steps",
        "a skip around a layer",
    )

    def __init__(self, network: Network, config: EngineConfig) -> None:
        check_beat(config)
        super().__init__(network, config)

    def _heads(self, shapes, number):
        return [self.head(self, shape, number + n) for n, shape in enumerate(shapes)]

    def _kept(self):
        """Biases come first: the ``load`` entry uses them as they arrive."""
        return sorted(super()._kept(), key=lambda tile: tile.part != "bias")
