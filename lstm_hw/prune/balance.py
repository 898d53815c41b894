"""How evenly a mask loads lanes: cycles over non-zeros / lanes, and the zeros stored to make up for what is uneven.

Row i of a matrix is lane i mod R's. In a cycle every lane takes one stored weight, and the lanes march in step: what
ties them together decides how long they wait for the lane with the most weights.

- A *window*: a lane picks its operand from ``width`` elements that stand side by side, for one row block at a time.
- A *slot*: every operand goes to all lanes, and a lane says which of its rows a weight belongs to.
- *Both*: a lane picks from the window, for any of its rows.

Operands come one a cycle, so a window of L takes L cycles at least.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError

WINDOW = 64
"""Elements of a window."""
ORGANISATIONS = ("window", "slot", "both")


@dataclass(frozen=True)
class Balance:
    """What a mask does to lanes.

    Parameters
    ----------
    cycles : int
        To multiply by the whole matrix once.
    stored : int
        Weights stored, zeros that pad them included.
    nonzeros : int
    lanes : int
    """

    cycles: int
    stored: int
    nonzeros: int
    lanes: int

    @property
    def imbalance(self) -> float:
        """Cycles over those of lanes that are always busy; 1 is best."""
        return self.cycles * self.lanes / self.nonzeros

    @property
    def padding(self) -> float:
        """Zeros stored, over non-zeros; 0 is best."""
        return self.stored / self.nonzeros - 1


def balance(mask: np.ndarray, lanes: int, organisation: str, width: int = WINDOW) -> Balance:
    """The balance of a mask.

    Parameters
    ----------
    mask : bool array (rows, columns)
        True where a weight is not 0. Rows are filled up to whole row blocks, columns to whole windows.
    lanes : int
        R, rows that work side by side.
    organisation : {"window", "slot", "both"}
    width : int
        Elements of a window.

    Returns
    -------
    Balance

    Raises
    ------
    ConfigError
        No lanes, no window, another organisation, or a mask without a weight.
    """
    mask = np.asarray(mask) != 0
    if organisation not in ORGANISATIONS:
        raise ConfigError("organisation", repr(organisation), f"must be one of {', '.join(ORGANISATIONS)}")
    for name, value in (("lanes", lanes), ("width", width)):
        if type(value) is not int or value < 1:
            raise ConfigError(name, repr(value), "must be an integer above 0")
    if mask.ndim != 2 or not mask.any():
        raise ConfigError("mask", f"shape {mask.shape}", "must be (rows, columns) with a weight that stays")
    width = 1 if organisation == "slot" else width
    rows, columns = mask.shape
    padded = np.pad(mask, ((0, -rows % lanes), (0, -columns % width)))
    counts = padded.reshape(len(padded) // lanes, lanes, -1, width).sum(axis=3)  # row block, lane, window
    if organisation != "window":
        counts = counts.sum(axis=0, keepdims=True)
    busy = counts.max(axis=1).sum(axis=0)  # cycles of each window
    # A single operand comes with its weights: only windows wait for theirs.
    cycles = busy if width == 1 else np.maximum(busy, width)
    return Balance(int(cycles.sum()), int(busy.sum()) * lanes, int(mask.sum()), lanes)
