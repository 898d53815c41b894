"""What software does with the x and the outputs of a whole run, where a network does not read x from first to last.

An engine works step by step. A network that reads a sequence from both of its ends has, in step t, x of step t beside x
of step T - 1 - t, and what its two halves give belongs to these two steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, InputError

READS = ("forward", "backward", "both")
"""How x reaches the engine: as it is, last step first, or both side by side."""
MOST_STEPS = 1 << 14
"""Most steps that a linear layer has weights of its own for."""
SENDS = ("sent", "backward", "apart", "added", "added_last")
"""What outputs are, where raw ones have R elements: as the engine sends them; last step first; in step t the first R/2
of step t, and the others of step T - 1 - t; the same two halves added; and that of the last step alone."""
WAITS = {"": 1, "apart": 1, "both": 2, "ends": 2, "last": 1, "twice": 2}
"""How a layer reads h of the layer below -> its inputs for each unit there. Without a wait that of the same step.
Otherwise all steps below come first: of two directions, in step t, the first half of step t and the other of step
T - 1 - t (``apart``); the same of step t beside that of step T - 1 - t (``both``); of one direction, h of step t beside
that of step T - 1 - t (``ends``); or h of the last step, in every step (``last``), of two directions beside itself
(``twice``)."""
LAST = ("last", "twice")
"""Those of them that read the last step alone, of which two places are enough."""


OF_X = -1
"""What stands for x of the network among the sources of a layer, which are numbers of layers."""


@dataclass(frozen=True)
class Arrangement:
    """What software does around a run.

    Parameters
    ----------
    reads : str
        One of ``READS``.
    sends : str
        One of ``SENDS``.
    steps : int
        Steps that a sequence must have, since a linear layer has weights of its own for h of each; 0: any.
    least, most : int
        Steps that a sequence may have where a layer waits for all of them: so many h are kept on chip. 0: any.
    repeats : int
        Steps of the layers from the first one on that repeats the last h below, and of the outputs, where they are not
        as many as those of x; 0: they are.

    Raises
    ------
    ConfigError
        Another name, steps together with outputs of two directions or with layers that wait, fewer steps at most than
        at least, or repeats without end.
    """

    reads: str = "forward"
    sends: str = "sent"
    steps: int = 0
    least: int = 0
    most: int = 0
    repeats: int = 0

    def __post_init__(self):
        if not 0 <= self.repeats <= MOST_STEPS or self.repeats and self.steps:
            found = f"{self.repeats}" + f", with a linear layer for {self.steps} steps" * (self.steps > 0)
            rule = f"must be at most {MOST_STEPS}, without a linear layer that reads all steps"
            raise ConfigError("arrangement: repeats", found, rule)
        if not 0 <= self.least <= self.most <= MOST_STEPS or self.most and self.steps:
            found = f"{self.least} to {self.most}" + f", with a linear layer for {self.steps}" * (self.steps > 0)
            rule = f"must be at most {MOST_STEPS}, the least first, without a linear layer that reads all steps"
            raise ConfigError("arrangement: most", found, rule)
        if not 0 <= self.steps <= MOST_STEPS or self.steps and self.sends != "sent":
            found = f"{self.steps} of x that is read {self.reads}, outputs {self.sends}"
            rule = f"must be at most {MOST_STEPS}, and 0 where outputs are not taken as they are sent"
            raise ConfigError("arrangement: steps", found, rule)
        for name, known in (("reads", READS), ("sends", SENDS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"arrangement: {name}", repr(getattr(self, name)), f"must be one of {', '.join(known)}"
                )

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to do, so that runs may go on from one another."""
        return self == PLAIN

    @property
    def described(self) -> str:
        """What is special of the network, in words."""
        if self.steps:
            return f"a network with a linear layer that reads h of all {self.steps} steps"
        if self.waits:
            return "a network with a layer that waits for h of all steps"
        return f"a network that reads x {self.reads}"

    @property
    def of_engine(self) -> "Arrangement":
        """What is left of it in the engine's own numbers."""
        return Arrangement(steps=self.steps, least=self.least, most=self.most, repeats=self.repeats)

    @property
    def waits(self) -> bool:
        """Whether a layer waits for h of all steps below."""
        return self.most > 0 or self.repeats > 0

    @property
    def kept(self) -> int:
        """Steps whose h is kept where a layer waits: that of a later one takes the place of the one so many before."""
        return max(2, self.most, self.repeats) if self.waits else 0

    @property
    def halves(self) -> int:
        """Inputs of the engine for one of the network."""
        return 1 + (self.reads == "both")

    @property
    def from_end(self) -> bool:
        """Whether the engine's first step needs the last x of a sequence."""
        return self.reads != "forward"

    @property
    def output_halves(self) -> int:
        """Raw outputs for one of the network."""
        return 1 + self.sends.startswith("added")

    @property
    def gives_one(self) -> bool:
        """Whether one vector is left of all that the engine sends."""
        return self.sends == "added_last"

    def refuses(self, steps: int) -> str:
        """What a sequence of so many steps breaks, as a rule; nothing if it may have them."""
        if self.steps and steps != self.steps:
            return f"must have {self.steps} steps: a linear layer has weights of its own for h of each"
        if not self.most or self.least <= steps <= self.most:
            return ""
        if self.least == self.most:
            return f"must have {self.least} steps, as the model repeats its h"
        return f"must have at most {self.most} steps, of which h is kept on chip; model.most_steps says how many"

    def x(self, x: np.ndarray) -> np.ndarray:
        """x as the engine reads it.

        Parameters
        ----------
        x : array (..., T, Lx)
            Whole sequences.

        Returns
        -------
        array (..., T, Lx) or (..., T, 2 Lx)

        Raises
        ------
        InputError
            Of other steps than it must have.
        """
        if self.steps or self.from_end or self.waits:
            rule = "must be whole sequences (..., steps, inputs)" if np.ndim(x) < 2 else self.refuses(np.shape(x)[-2])
            if rule:
                raise InputError("x", f"shape {np.shape(x)}", rule)
        if not self.from_end:
            return x
        back = np.flip(x, -2)
        return back if self.reads == "backward" else np.concatenate([x, back], axis=-1)

    def outputs(self, raw: np.ndarray) -> np.ndarray:
        """The network's outputs from those of a run.

        Parameters
        ----------
        raw : array
            As the engine sends them; (..., T, R) where they are not taken as they are.

        Returns
        -------
        array
            (..., T, R), (..., T, R/2) or (..., R/2). Of integers, sums are exact: they may be wider.
        """
        if self.sends == "sent":
            return raw
        back = np.flip(raw, -2)
        if self.sends == "backward":
            return back
        half = raw.shape[-1] // 2
        first, second = raw[..., :half], back[..., half:]
        if self.sends == "apart":
            return np.concatenate([first, second], axis=-1)
        return first[..., -1, :] + second[..., -1, :] if self.gives_one else first + second

    def check_whole(self, subject: str) -> None:
        """Refuse to go on from the state of another run: the second half of x would be of other steps.

        Raises
        ------
        InputError
        """
        if not self.is_plain:
            rule = "must begin from zero state: sequences must be whole"
            raise InputError(subject, f"true for {self.described}", rule)


def waited(waits: str, h: np.ndarray, arrangement: Arrangement) -> np.ndarray:
    """What a layer reads of the h of all steps below.

    Of more steps than are kept, a later one is read in place of the earlier one.

    Parameters
    ----------
    waits : str
        One of ``WAITS``.
    h : array (..., T, H)
        Of as many steps as x has, or, behind a layer that repeats the last one, as often as that does.
    arrangement : Arrangement

    Returns
    -------
    array (..., T, H), or (..., T, 2 H) where it is read from both ends; of other steps where the last one is repeated
    """
    if not waits:
        return h
    count, kept = h.shape[-2], arrangement.kept
    if waits in LAST:
        return np.tile(np.repeat(h[..., -1:, :], arrangement.repeats or count, axis=-2), WAITS[waits])
    if count > kept:
        steps = np.arange(count)
        h = h[..., steps + kept * ((count - 1 - steps) // kept), :]
    if waits != "ends":
        half = h.shape[-1] // 2
        h = np.concatenate([h[..., :half], np.flip(h, -2)[..., half:]], axis=-1)
    return h if waits == "apart" else np.concatenate([h, np.flip(h, -2)], axis=-1)


def directions_of(arrangement: Arrangement, layers: Sequence[Any]) -> list[int]:
    """Of each recurrent layer, float or quantised, how many directions its units are of: 1 or 2."""
    found = [arrangement.halves]
    for layer in layers:
        found.append(WAITS[layer.waits] if layer.waits else found[-1])
    return found[1:]


PLAIN = Arrangement()
"""x as it comes, outputs as they are sent."""
