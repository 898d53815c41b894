"""Bidirectional layers as one layer with the units of both directions.

In step t the engine reads x of step t beside x of step T - 1 - t. The weights of the two directions are blocks of
matrices that have zeros otherwise, so every unit computes what it does in its own direction, in the same order. What
belongs to one step then comes from two steps of the engine; :class:`.Arrangement` brings it together.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import ModelError
from ..machine.arrangement import Arrangement
from .float_model import DenseWeights, FloatModel, PlainWeights, RecurrentWeights

WHOLE = (
    "model.path: x is read from both ends: sequences must be whole, and are told to no engine step by step; the layer "
    "has the units of both directions, half of whose weights are zeros"
)
"""What is told of a bidirectional network."""
STACK = (
    "must be the only recurrent layer, whose h no other one reads: the layer above would have to wait for the whole "
    "sequence; run each as a model of its own"
)
"""Rule of what is no bidirectional network that can be built."""


def beside(first: RecurrentWeights, second: RecurrentWeights) -> RecurrentWeights:
    """One layer with the units of two of one kind, each of which reads its own inputs and its own h.

    Raises
    ------
    ModelError
        They are of other sizes, or one alone begins from a state.
    """
    same = type(first) is type(second) and first.w_x.shape == second.w_x.shape and first.w_h.shape == second.w_h.shape
    if not same or (first.initial is None) != (second.initial is None):
        found = f"{first.hidden_size} units forward, {second.hidden_size} backward, of {first.KIND} and {second.KIND}"
        raise ModelError(first.source, found, "must be as many of one kind, with a state to begin from or without")
    sums, initial = first.SUMS, None
    if first.initial is not None:
        initial = tuple(map(np.concatenate, zip(first.initial, second.initial, strict=True)))
    bias = np.concatenate([part.bias.reshape(sums, -1) for part in (first, second)], axis=1).ravel()
    w_x = _blocks(first.w_x, second.w_x, sums)
    # A GRU that resets h before its product has columns for h, then for r*h.
    w_h = _blocks(first.w_h, second.w_h, sums, 1 + first.reset_before)
    return replace(first, w_x=w_x, w_h=w_h, bias=bias, initial=initial)


def _blocks(first, second, sums, parts=1):
    """(sums H, parts C) of each to (sums 2 H, parts 2 C), sum by sum and part by part."""
    rows, columns = len(first) // sums, first.shape[1] // parts
    found = np.zeros((sums, 2, rows, parts, 2, columns))
    for number, matrix in enumerate((first, second)):
        found[:, number, :, :, number] = matrix.reshape(sums, rows, parts, columns)
    return found.reshape(2 * len(first), 2 * first.shape[1])


def bidirectional(
    front: Sequence[PlainWeights],
    forward: Sequence[RecurrentWeights],
    backward: Sequence[RecurrentWeights],
    linear: Sequence[DenseWeights],
    mode: str,
    **said: Any,
) -> FloatModel:
    """A network of one bidirectional layer.

    Parameters
    ----------
    front : sequence of PlainWeights
        Layers in front of it without an h, on every step.
    forward, backward : sequence of RecurrentWeights
        The two directions: a layer each, with its projection behind it if it has one.
    linear : sequence of DenseWeights
        Linear layers behind it, which read h of the forward direction, then that of the other.
    mode : str
        Which h they read: ``final_state``, of each direction at its end; ``every_step``; or ``last_step``, of the last
        step, where the backward direction has just begun. Without linear layers the outputs are h of every step, where
        the mode is ``every_step``; or as the engine computes it, so that the last vector is the final state.
    **said
        Other arguments of the FloatModel.

    Raises
    ------
    ModelError
        Directions of unlike sizes, or layers behind h of every step or of the last one that software cannot add.
    """
    layers = [beside(layer, layer) for layer in front]
    layers += [beside(*pair) for pair in zip(forward, backward, strict=True)]
    sends = "sent" if mode == "final_state" else "apart"
    dense = list(linear)
    if dense and mode != "final_state":
        sends, dense = "added" if mode == "every_step" else "added_last", [_apart(dense, mode)]
    said["assumptions"] = (*said.get("assumptions", ()), WHOLE)
    return FloatModel(
        tuple(layers),
        dense.pop() if dense else None,
        dense=tuple(dense),
        head_every_step=bool(linear) and mode != "final_state",
        arrangement=Arrangement("both", sends),
        **said,
    )


def _apart(linear, mode):
    """A head whose sums are of the one direction, then of the other: software adds those of two steps."""
    head = linear[0]
    if len(linear) > 1 or head.activation != "none":
        found = f"{len(linear)} linear layers" if len(linear) > 1 else f"a linear layer with {head.activation}"
        rule = (
            "must be one linear layer without an activation, since software adds what the two directions give; "
            "model.head_prefix = 'none' leaves the linear layers out, which must then happen outside"
        )
        raise ModelError(head.source, f"{found} behind a bidirectional layer, {mode}", rule)
    if head.input_size % 2:
        raise ModelError(head.source, f"{head.input_size} inputs", "must be the units of both directions")
    first, second = np.split(head.weight, 2, axis=1)
    nothing = np.zeros_like(first)
    weight = np.block([[first, nothing], [nothing, second]])
    return replace(head, weight=weight, bias=np.concatenate([head.bias, np.zeros_like(head.bias)]))
