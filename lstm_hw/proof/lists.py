"""How many columns a MAC walks where its operands are a list of what changed, and which groups of h are kept."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..machine.config import EngineConfig
from ..machine.isa import SPACE_DELTA, SPACE_X
from ..machine.limits import H_GROUP
from ..machine.plan import Plan


def walks_list(config: EngineConfig, fields: Mapping[str, int]) -> bool:
    """Whether a MAC walks a list: of deltas of h or, in an engine with lists, of x."""
    return config.walks and fields["space"] in (SPACE_X, SPACE_DELTA)


def walked(entries: int) -> int:
    """Columns of a slot for so many entries: an empty list has one, with a zero operand."""
    return max(1, entries)


def takes_changes(config: EngineConfig, fields: Mapping[str, int]) -> bool:
    """Whether the operands of a MAC are deltas."""
    return config.lists and fields["space"] in (SPACE_X, SPACE_DELTA)


@dataclass(frozen=True)
class Assumed:
    """What is taken for granted of lists and groups where nobody knows the values.

    Parameters
    ----------
    activity : tuple of float
        Share of elements that change, of x and of each layer's h, or of groups of each layer's h that are kept; all of
        them without it.
    parts : tuple of int
        Elements, or groups, of each layer's h, which are behind one another in memory.
    places : tuple of int
        Vectors of each layer's h that are there one behind another; one each without it.
    """

    activity: tuple[float, ...] = ()
    parts: tuple[int, ...] = ()
    places: tuple[int, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> "Assumed":
        size, network = H_GROUP if plan.network.sparse_h else 1, plan.network
        parts = tuple(-(-layer.outputs // size) for layer in network.recurrent)
        return cls(tuple(network.activity), parts, plan.places)

    def entries(self, fields: Mapping[str, int]) -> int:
        """Entries of the list of a MAC with these fields."""
        if not self.activity:
            return fields["columns"]
        share = self.activity[0 if fields["space"] == SPACE_X else 1 + fields["list"]]
        return min(fields["columns"], round(share * fields["columns"]))

    def kept(self, group: int, of_x: int) -> bool:
        """Whether a group of h is kept, or an element of x or h changed: spread evenly over the vector."""
        if not self.activity:
            return True
        share = self.activity[0]
        if not of_x:
            layer, places = 0, self.places or (1,) * len(self.parts)
            while group >= self.parts[layer] * places[layer]:
                group -= self.parts[layer] * places[layer]
                layer += 1
            group %= self.parts[layer]
            share = self.activity[len(self.activity) - len(self.parts) + layer]
        return int((group + 1) * share) > int(group * share)
