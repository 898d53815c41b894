"""How many columns a MAC walks where its operands are a list of what changed, and which groups of h are kept."""

from collections.abc import Mapping, Sequence

from ..machine.config import EngineConfig
from ..machine.isa import SPACE_DELTA, SPACE_X


def walks_list(config: EngineConfig, fields: Mapping[str, int]) -> bool:
    """Whether a MAC walks a list: of deltas of h or, in an engine with lists, of x."""
    return config.walks and fields["space"] in (SPACE_X, SPACE_DELTA)


def walked(entries: int) -> int:
    """Columns of a slot for so many entries: an empty list has one, with a zero operand."""
    return max(1, entries)


def assumed_entries(fields: Mapping[str, int], activity: Sequence[float]) -> int:
    """Entries of the list of a MAC where nobody knows the values.

    Parameters
    ----------
    fields : dict
        Of the command.
    activity : sequence of float
        Share of elements that change, of x and of each layer's h; all do without it.
    """
    if not activity:
        return fields["columns"]
    share = activity[0 if fields["space"] == SPACE_X else 1 + fields["list"]]
    return min(fields["columns"], round(share * fields["columns"]))


def assumed_kept(group: int, of_x: int, activity: Sequence[float]) -> bool:
    """Whether a group of h is taken to be kept, or an element to have changed, where nobody knows: spread evenly.

    Parameters
    ----------
    group : int
    of_x : int
        It is an element of x.
    activity : sequence of float
        As that of a network with one LSTM layer; all are kept without it.
    """
    if not activity:
        return True
    share = activity[0 if of_x else -1]
    return int((group + 1) * share) > int(group * share)


def takes_changes(config: EngineConfig, fields: Mapping[str, int]) -> bool:
    """Whether the operands of a MAC are deltas."""
    return config.lists and fields["space"] in (SPACE_X, SPACE_DELTA)
