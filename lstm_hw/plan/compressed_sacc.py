"""SACC with compressed weights: a segment of W_h serves two time steps, and is left out if neither needs its columns.

As in :mod:`lstm_hw.plan.sacc`, passes alternate. W_h is cut into *bands*, a few row blocks each, and their columns into
groups of four; a segment is a group of a band. A pass down the bands goes through the segments in front of a band's
own units and finishes an even step: with the h of band after band, the same segments serve the odd step behind it. A
pass up goes through the segments behind them, finishes the odd step and starts the next even one. The segments of a
band's own units come twice in a pass down, as the h of these units is there only behind the first time.

Where a model leaves out groups of h that are nearly zero, each step multiplies a segment if its own group is kept, and
the segment is asked for if one of both is. Of both steps that is known: a group is asked about behind the CELL of its
band.

W_x is fetched once for a batch of steps, beside the passes of the batch before: its products wait in sums of their own,
and a batch starts by adding the bias to them. Short segments of W_x come one by one between those of W_h, long ones
behind the passes. What a run leaves is h and c alone: a run begins with the upper segments for its first step, and ends
with a single step where it has an odd number of them.

In a stack, layers take turns batch by batch. Those above the first one go through their segments of W_x in front of the
passes. Of a layer below another one cells work twice on each band, as in :mod:`lstm_hw.plan.sacc`: once for the layer's
own next step, and once for a copy of h that stays until the layer above has taken it for its x, with a c of its own. A
head at every step comes behind the passes of a pair of steps, whose h is both there.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.network import Network
from .compressed import CompressedPlanner
from .compressed_passes import CompressedSaccLayer
from .compressed_turns import TurningLayer
from .stack import StackPlanner


class CompressedSaccPlanner(CompressedPlanner):
    """Any stack, one sequence, on an engine with a decoder; a head stays on chip.

    Outputs leave band by band, ascending in even steps of a run and descending in odd ones.

    Parameters
    ----------
    network, config, batch
        As of :class:`CompressedPlanner`, the batch an even number.
    """

    name = "compressed_sacc"
    layer, answers = CompressedSaccLayer, True

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if batch % 2:
            raise ConfigError("batch", batch, f"must be even for the schedule {self.name}")
        if len(network.recurrent) > 1 and network.sparse_h:
            self.layer = TurningLayer
        super().__init__(network, config, batch)

    def _batches(self):
        StackPlanner._batches(self)

    def _inputs(self, after, first):
        """The first layer multiplies x of the next batch in its frame, whoever comes behind it."""
        self.layers[0].inputs(self._taken, first + self.batch)

    def _first_frame(self):
        for layer in self.layers:
            layer.first_frame()
