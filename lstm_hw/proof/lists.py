"""How many columns a MAC walks where its operands are a list of what changed, and which groups of h are kept."""

from collections.abc import Mapping, Sequence

from ..machine.config import EngineConfig
from ..machine.isa import SPACE_DELTA, SPACE_X


def walks_list(config: EngineConfig, fields: Mapping[str, int]) -> bool:
    """Whether a MAC walks a list: of deltas of h or, in an engine with lists, of x."""
    return config.lists and fields["space"] in (SPACE_X, SPACE_DELTA)


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


def assumed_kept(group: int, activity: Sequence[float]) -> bool:
    """Whether a group of h is taken to be kept where nobody knows the values: kept ones are spread evenly.

    Parameters
    ----------
    group : int
    activity : sequence of float
        Share of groups that are kept, of each layer's h; all are without it.
    """
    return not activity or int((group + 1) * activity[0]) > int(group * activity[0])
