"""What stands around a network and costs no hardware: scales, offsets and inputs that are held go into its weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import ConfigError
from .float_model import FloatModel
from .sources import with_input

Numbers = float | tuple[float, ...]


def folded(
    model: FloatModel,
    input_scale: Numbers | None = None,
    input_offset: Numbers | None = None,
    output_scale: Numbers | None = None,
    output_offset: Numbers | None = None,
    held: Mapping[str, float] | None = None,
) -> FloatModel:
    """Fold what happens to inputs and outputs outside into the weights.

    The network's x is ``x * input_scale + input_offset``, and y is ``output_scale`` times its outputs plus
    ``output_offset``; both are one number, or one for each input or output.

    Parameters
    ----------
    model : FloatModel
    input_scale, input_offset, output_scale, output_offset : float or tuple of float, optional
    held : dict of str to float, optional
        Number of an input, from 0, -> the value, before scale and offset, that it always has: it is no input any more.

    Returns
    -------
    FloatModel

    Raises
    ------
    ConfigError
        Numbers that are not one or one for each, an input that is not there, no input left, or outputs that no linear
        layer without an activation gives.
    """
    size, first = model.input_size, model.layers[0]
    scale, offset = (
        _each(name, values, size, "inputs", default)
        for name, values, default in (("input_scale", input_scale, 1.0), ("input_offset", input_offset, 0.0))
    )
    free, value = _free(held or {}, size)
    scale, offset, free, value = (np.tile(part, model.arrangement.halves) for part in (scale, offset, free, value))
    # Of free inputs the scale goes into the matrix; the offset, and what is held, are constants.
    constant = np.where(free, offset, value * scale + offset)
    first = replace(first, w_x=(first.w_x * scale)[:, free], bias=first.bias + first.w_x @ constant)
    (_, *others), linear = with_input(model, scale, free, constant)
    head = linear["head"]
    if head is not None and head.skip is not None:
        head = replace(head, skip=(head.skip * scale)[:, free], bias=head.bias + head.skip @ constant)
    if output_scale is not None or output_offset is not None:
        head = _with_outputs(model, head, output_scale, output_offset)
    return replace(model, layers=(first, *others), head=head, dense=linear["dense"])


def _with_outputs(model, head, output_scale, output_offset):
    name = "output_scale" if output_scale is not None else "output_offset"
    if head is None or head.activation != "none":
        found = "without a linear layer at the end" if head is None else f"with {head.activation} behind the head"
        raise ConfigError(f"model.{name}", f"for a model {found}", "must be for one that ends in a linear layer")
    scale = _each("output_scale", output_scale, model.output_size, "outputs", 1.0)
    offset = _each("output_offset", output_offset, model.output_size, "outputs", 0.0)
    # Of outputs that are added, the offset belongs to one.
    scale, offset = np.resize(scale, len(head.bias)), np.concatenate([offset, np.zeros(len(head.bias) - len(offset))])
    skip = None if head.skip is None else head.skip * scale[:, None]
    return replace(head, weight=head.weight * scale[:, None], bias=head.bias * scale + offset, skip=skip)


def _each(name, values, count, what, default):
    """One number for each of ``count``: float64 array."""
    given = np.atleast_1d(np.asarray(default if values is None else values, dtype=np.float64))
    if given.shape not in ((1,), (count,)) or not np.isfinite(given).all():
        raise ConfigError(f"model.{name}", repr(values), f"must be a finite number, or one for each of {count} {what}")
    if default and not given.all():
        raise ConfigError(f"model.{name}", repr(values), "must not be 0")
    return np.broadcast_to(given, (count,))


def _free(held, size):
    """Which inputs are not held (Lx,), and the values of those that are."""
    free, value = np.ones(size, bool), np.zeros(size)
    for key, number in held.items():
        if key not in map(str, range(size)):
            raise ConfigError("model.held", repr(key), f"must be the number of an input, 0 to {size - 1}")
        free[int(key)], value[int(key)] = False, number
    if not free.any():
        raise ConfigError("model.held", f"all {size} inputs", "must leave one at least")
    if not np.isfinite(value).all():
        raise ConfigError("model.held", repr(dict(held)), "must be finite numbers")
    return free, value
