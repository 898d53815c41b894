"""Bidirectional layers as one layer with the units of both directions.

In step t the engine reads x of step t beside x of step T - 1 - t. The weights of the two directions are blocks of
matrices that have zeros otherwise, so every unit computes what it does in its own direction, in the same order. What
belongs to one step then comes from two steps of the engine; :class:`.Arrangement` brings it together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ModelError
from ..machine.arrangement import LAST, Arrangement
from .float_model import DenseWeights, FloatModel, PlainWeights, RecurrentWeights

WHOLE = (
    "model.path: x is read from both ends: sequences must be whole, and are told to no engine step by step; the layer "
    "has the units of both directions, half of whose weights are zeros"
)
"""What is told of a bidirectional network."""
WAITED = (
    "model.most_steps: layers wait for h of all steps, which is kept on chip, so sequences have at most {most} steps; "
    "where another number is wanted, model.most_steps says it"
)
"""What is told where nobody says how many steps there are."""
REPEATED = (
    "model.path: the last step of x is repeated in {repeats} steps, of which outputs are then, however many x has; "
    "what is said of a step counts those of x"
)
"""What is told of outputs in other steps than x."""
MOST = 64
"""Steps where nobody says how many."""


@dataclass(frozen=True)
class Part:
    """Layers of a network that read one another's h step by step.

    Parameters
    ----------
    forward : sequence of RecurrentWeights
    backward : sequence of RecurrentWeights
        Of the other direction, as many; none where they are of one.
    repeats : bool
        Whether they read the last h of the part below in every step.
    """

    forward: Sequence[RecurrentWeights]
    backward: Sequence[RecurrentWeights] = ()
    repeats: bool = False

    @property
    def directions(self) -> int:
        return 1 + bool(self.backward)

    @property
    def layers(self) -> list[RecurrentWeights]:
        """The units of both directions in one layer each."""
        if not self.backward:
            return list(self.forward)
        return [beside(*pair) for pair in zip(self.forward, self.backward, strict=True)]


def beside(first: RecurrentWeights, second: RecurrentWeights) -> RecurrentWeights:
    """One layer with the units of two of one kind, each of which reads its own inputs and its own h.

    Raises
    ------
    ModelError
        They are of other sizes, or one alone begins from a state.
    """
    peepholes = [part.peepholes for part in (first, second) if part.peepholes is not None]
    same = type(first) is type(second) and first.w_x.shape == second.w_x.shape and first.w_h.shape == second.w_h.shape
    if not same or (first.initial is None) != (second.initial is None) or len(peepholes) == 1:
        found = f"{first.hidden_size} units forward, {second.hidden_size} backward, of {first.KIND} and {second.KIND}"
        raise ModelError(first.source, found, "must be as many of one kind, both with a state or peepholes or without")
    sums, initial = first.SUMS, None
    if first.initial is not None:
        initial = tuple(map(np.concatenate, zip(first.initial, second.initial, strict=True)))
    bias = np.concatenate([part.bias.reshape(sums, -1) for part in (first, second)], axis=1).ravel()
    w_x = _blocks(first.w_x, second.w_x, sums)
    # A GRU that resets h before its product has columns for h, then for r*h.
    w_h = _blocks(first.w_h, second.w_h, sums, 1 + first.reset_before)
    peepholes = np.concatenate(peepholes, axis=1) if peepholes else None
    return replace(first, w_x=w_x, w_h=w_h, bias=bias, initial=initial, peepholes=peepholes)


def _blocks(first, second, sums, parts=1):
    """(sums H, parts C) of each to (sums 2 H, parts 2 C), sum by sum and part by part."""
    rows, columns = len(first) // sums, first.shape[1] // parts
    found = np.zeros((sums, 2, rows, parts, 2, columns))
    for number, matrix in enumerate((first, second)):
        found[:, number, :, :, number] = matrix.reshape(sums, rows, parts, columns)
    return found.reshape(2 * len(first), 2 * first.shape[1])


def in_parts(
    parts: Sequence[Part],
    linear: Sequence[DenseWeights],
    mode: str,
    most: int | None = None,
    least: int = 0,
    reads: str = "forward",
    sends: str = "sent",
    repeats: int = 0,
    **said: Any,
) -> FloatModel:
    """A network with layers of two directions, or that wait for h of all steps for another reason.

    Parameters
    ----------
    parts : sequence of Part
        The first one may be empty.
    linear : sequence of DenseWeights
        Linear layers behind them, which read h of the forward direction, then that of the other.
    mode : str
        Which h they read: ``final_state``, of each direction at its end; ``every_step``; ``all_steps``, those of all
        steps side by side; or ``last_step``, of the last step, where the backward direction has just begun. Without
        linear layers the outputs are h of every step, where the mode is ``every_step``; or as the engine computes it,
        so that the last vector is the final state.
    most, least : int, optional
        Steps of a sequence where a layer waits for all of them; ``MOST`` without it, which is told.
    reads, sends : str
        How a network reads x whose first layers are of one direction, ``forward`` or ``backward``; and how its outputs
        are sent where its last layers are, ``sent`` or ``backward``.
    repeats : int
        Steps in which parts that repeat the last h go on, 0: as many as x has.
    **said
        Other arguments of the FloatModel.

    Raises
    ------
    ModelError
        Directions of unlike sizes, or layers behind the h of the last step of both directions that software cannot add.
    """
    parts, dense = [part for part in parts if part.forward], list(linear)
    layers, steps = [], 0
    if mode == "all_steps":
        steps = dense[0].input_size // parts[-1].layers[-1].hidden_size
        if parts[-1].backward:
            dense[0] = _as_run(dense[0], steps)
    if len(parts) > 1 and parts[1].backward and not any(layer.w_h.size for layer in parts[0].layers):
        front, parts = parts[0], parts[1:]  # in front of both directions: of x from either end
        layers = [beside(layer, layer) for layer in front.layers]
    if parts[-1].backward and mode not in ("final_state", "all_steps"):
        sends = "apart"
        if len(dense) == 1 and dense[0].activation == "none":
            sends, dense = "added" if mode == "every_step" else "added_last", [_apart(dense[0])]
        elif dense:
            sends, alone = "sent", len(dense) == 1 and mode == "last_step"
            if alone:
                rule = (
                    "must be without an activation where it reads the last step, since software adds what the two "
                    "directions give; model.head_prefix = 'none' leaves it out, which must then happen outside"
                )
                raise ModelError(dense[0].source, f"a linear layer with {dense[0].activation} behind both", rule)
            last = dense.pop() if mode == "last_step" or dense[-1].activation == "none" else None
            parts = [*parts, Part([PlainWeights.of_dense(layer) for layer in dense])]
            dense = [] if last is None else [last]
    below = None
    for part in parts:
        first, *rest = part.layers
        if part.repeats:
            waits = LAST[part.directions - 1]
        else:
            waits = {(1, 2): "ends", (2, 1): "apart", (2, 2): "both"}.get((below, part.directions), "")
        layers += [replace(first, waits=waits), *rest]
        below = part.directions
    every_step = bool(dense) and (mode == "every_step" or sends == "added_last")
    told = [WHOLE] if any(part.backward for part in parts) else []
    waits = [layer.waits for layer in layers]
    waiting, kept = any(waits), any(waits)
    if repeats:
        told.append(REPEATED.format(repeats=repeats))
        kept = any(waits[: next(number for number, name in enumerate(waits) if name in LAST)])
    if kept and most is None:
        told.append(WAITED.format(most=MOST))
    said["assumptions"] = (*said.get("assumptions", ()), *told)
    if waiting and steps:
        rule = (
            "must be of layers that do not wait for others, where h of all steps goes side by side; "
            "model.head_prefix = 'none' takes what is in front, and the rest must then happen outside"
        )
        raise ModelError(dense[0].source, f"h of {steps} steps of a layer that waits for all below", rule)
    arrangement = Arrangement("both" if parts[0].backward else reads, sends, steps)
    if kept:
        arrangement = replace(arrangement, most=MOST if most is None else most, least=least)
    if repeats:
        arrangement = replace(arrangement, repeats=repeats)
    return FloatModel(
        tuple(layers),
        dense.pop() if dense else None,
        dense=tuple(dense),
        head_every_step=every_step,
        arrangement=arrangement,
        **said,
    )


def steps_of(x: int | None, repeats: int | None, most: int | None) -> dict[str, int | None]:
    """What a file says of steps, as arguments of :func:`in_parts`.

    Parameters
    ----------
    x : int or None
        Steps of x, if it says so.
    repeats : int or None
        Those in which it repeats the last one, if it does so in a number of its own.
    most : int or None
        Most steps of x, as asked for.
    """
    if repeats and repeats == x:
        return {"most": x, "least": x}
    return {"most": most or x, "repeats": repeats or 0}


def _as_run(layer, steps):
    """A linear layer of h of all steps of both directions, as the engine comes by them: that of the other direction
    from the last step to the first."""
    weight = layer.weight.reshape(layer.output_size, steps, 2, -1).copy()
    weight[:, :, 1] = weight[:, ::-1, 1]
    return replace(layer, weight=weight.reshape(layer.weight.shape))


def _apart(head):
    """A head whose sums are of the one direction, then of the other: software adds those of two steps."""
    if head.input_size % 2:
        raise ModelError(head.source, f"{head.input_size} inputs", "must be the units of both directions")
    first, second = np.split(head.weight, 2, axis=1)
    nothing = np.zeros_like(first)
    weight = np.block([[first, nothing], [nothing, second]])
    return replace(head, weight=weight, bias=np.concatenate([head.bias, np.zeros_like(head.bias)]))
