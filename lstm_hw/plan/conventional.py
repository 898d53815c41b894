"""One sequence without weight reuse over time: what every schedule that reuses weights is compared with.

Each word that streams is loaded once a time step and used once: W_h words a step that no batch of
time steps can share, n^2 a gate for n hidden units. Words that are pinned on chip save exactly
themselves: (N - M) words a step with M of N pinned.
"""

from ..machine.config import EngineConfig
from ..machine.network import Network
from .rowblock import RowBlockPlanner


class ConventionalPlanner(RowBlockPlanner):
    """Any stack for one sequence, in context 0; further contexts of the engine are idle.

    Parameters
    ----------
    network : Network
    config : EngineConfig
    pinned : int
        Columns of W_h that stay on chip (the schedule is called ``pinned`` then): M is ``pinned`` times row blocks.
        All row blocks of a layer have as many, so that memory goes on while pinned words are used.
    """

    def __init__(self, network: Network, config: EngineConfig, pinned: int = 0) -> None:
        super().__init__(network, config, contexts=1, pinned=pinned)

    @property
    def name(self) -> str:
        return "pinned" if self.pinned else "conventional"
