"""Nodes of an ONNX graph that compute nothing: they move axes, put them together, take the last step or repeat it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ....errors import ModelError
from ....machine.arrangement import MOST_STEPS
from ..joined import PARTS
from .file import OnnxFile, attributes_of, name_of
from .flow import BATCH, BOTH, FEATURES, LAYERS, OF_LAYERS, ONE, ROWS, TIME, Flow, Found
from .shapes import as_size, groupings, size_of, sizes_of, spelled

_MERGED = {(BOTH, FEATURES): FEATURES, (TIME, FEATURES): FEATURES} | {of: rows for rows, of in ROWS.items()}
"""What a Reshape may make one axis of."""
_END = 1 << 31
"""Ends of slices from here on mean the end of the axis."""


def squeezed(file: OnnxFile, node: Any, flow: Flow, subject: str) -> Flow:
    """What a Squeeze or Unsqueeze makes."""
    at = file.axes_of(node, subject)
    axes = list(flow.axes)
    if node.op_type == "Squeeze":
        where = sorted({value % len(axes) for value in at or ()}, reverse=True)
        single = (ONE, *[FEATURES] * (flow.features == 1))
        if not where or any(axes[value] not in single for value in where):
            raise ModelError(subject, f"Squeeze of axes {at} of {flow.axes}", "must take away axes of size one")
        for value in where:
            del axes[value]
    else:
        for value in sorted(value % (len(axes) + len(at)) for value in at or ()):
            axes.insert(value, ONE)
    return replace(flow, name=node.output[0], axes=tuple(axes))


def last_step(file: OnnxFile, node: Any, flow: Flow, found: Found, subject: str) -> Flow:
    """The last of an axis, by Gather or Slice: of time, of the layers of a Concat, or of one."""
    if node.op_type == "Gather":
        axis = attributes_of(node).get("axis", 0)
        index = file.constant(node.input[1], subject)
        at = int(index.ravel()[0]) if index.size == 1 else None
        dropped = index.ndim == 0
    else:
        starts, ends, axes, steps = file.slice(node, subject)
        single = [len(starts), len(ends), len(axes)] == [1, 1, 1] and list(steps) in ([], [1])
        axis, dropped = int(axes[0]) if len(axes) == 1 else 0, False
        at = starts[0] if single and ends[0] >= _END else None
    kept, axis = list(flow.axes), axis % len(flow.axes)
    if kept[axis] == TIME and at is not None and size_of(TIME, flow, found) == as_size(at + 1):
        at = -1
    if at != -1 and not (at == 0 and kept[axis] == ONE) or kept[axis] not in (TIME, LAYERS, ONE):
        rule = "must take the last step of the axis of time, or the last layer's h"
        raise ModelError(subject, f"{node.op_type} of {at} of axis {axis} of {flow.axes}", rule)
    last = flow.last or kept[axis] == TIME
    kept[axis : axis + 1] = [] if dropped else [ONE]
    return replace(flow, name=node.output[0], axes=tuple(kept), last=last)


def reshaped(file: OnnxFile, node: Any, flow: Flow, found: Found, subject: str) -> Flow:
    """What a Reshape or Flatten makes: axes of size one come and go, h of two directions comes together, steps and
    sequences become rows, and h of all steps comes side by side."""
    axes = [part for axis in flow.axes for part in ROWS.get(axis, (axis,)) if part != ONE]
    shape = [as_size(0), as_size(-1)] if node.op_type == "Flatten" else sizes_of(file, node.input[1], found, subject)
    shape = [size_of(flow.axes[at], flow, found) if size == as_size(0) else size for at, size in enumerate(shape)]
    sizes = [size_of(axis, flow, found) for axis in axes]
    ways = [[_merged(group, flow) for group in way] for way in groupings(axes, sizes, shape)]
    ways = [way for way in ways if None not in way]
    what = f"{node.op_type} of {flow.axes} to {[spelled(size) for size in shape]}"
    rule = (
        "must take away axes of size one only, or add them, put h of two directions or, step by step, of all steps "
        "side by side, or make rows of sequences and steps"
    )
    if not ways:
        raise ModelError(subject, what, rule)
    # Of one sequence or step there are several: that which keeps most axes apart, of these rows before all steps.
    groups = max(ways, key=lambda way: (sum(group != (ONE,) for group in way), (TIME, FEATURES) not in way))
    made = [_MERGED.get(group, group[0]) for group in groups]
    features = flow.features * 2 if (BOTH, FEATURES) in groups else flow.features
    flow = replace(flow, name=node.output[0], axes=tuple(made), features=features)
    if (TIME, FEATURES) not in groups:
        return flow
    if [axis for axis in made if axis != ONE] != [BATCH, FEATURES] or not found.layers:
        raise ModelError(subject, what, rule)
    if found.waits and (found.chain.layers or not found.parts[-1].backward):
        rule = (
            "must be h of a bidirectional layer itself, or of layers that read forward and do not wait for others, "
            f"where it goes side by side of all steps; {file.way_out(node)}"
        )
        raise ModelError(subject, what, rule)
    flow = found.alone(flow, subject)
    found.put(found.chain.taken(subject))
    return replace(flow, all=True)


def _merged(group, flow):
    """What one axis may stand for of those of a group, or None; a single feature goes into any other axis."""
    if flow.features == 1 and group not in _MERGED:
        group = tuple(axis for axis in group if axis != FEATURES) or group
    return (group or (ONE,)) if len(group) < 2 or group in _MERGED else None


def repeated(file: OnnxFile, node: Any, flow: Flow, found: Found, subject: str) -> Flow:
    """The last step, repeated in as many as x has or in a number of its own, for recurrent nodes behind it."""
    if node.op_type == "Concat":
        sizes = [as_size(len(node.input) if axis == ONE else 1) for axis in flow.axes]
    else:
        sizes = sizes_of(file, node.input[1], found, subject)
    if sizes == [as_size(1)] * len(flow.axes):
        return replace(flow, name=node.output[0])
    at = flow.axes.index(ONE) if flow.axes.count(ONE) == 1 else -1
    fits = len(sizes) == len(flow.axes) == 3 and sorted(flow.axes) == sorted((BATCH, ONE, FEATURES))
    for place, axis in enumerate(flow.axes if fits else ()):
        if place != at:
            known = (as_size(1), as_size(-1), size_of(axis, flow, found)) if node.op_type == "Expand" else (as_size(1),)
            fits &= sizes[place] in known
    steps = sizes[at] if fits else None
    if not fits or steps != as_size(1, TIME) and (steps[1] or not 2 <= steps[0] <= MOST_STEPS):
        what = f"{node.op_type} of {flow.axes} to {[spelled(size) for size in sizes]}"
        rule = f"must repeat the last step in as many steps as x has, or in 2 to {MOST_STEPS}"
        raise ModelError(subject, what, rule)
    if found.repeats not in (None, steps):
        found_steps = f"the last step in {spelled(steps)} steps, behind one in {spelled(found.repeats)}"
        raise ModelError(subject, found_steps, f"must be in as many; {PARTS}")
    if (found.parts[-1].backward or found.direction == b"reverse") and not flow.final:
        rule = "must be Y_h, the last of each direction: of Y the backward direction has just begun"
        raise ModelError(subject, "h of a backward direction of the last step, repeated", rule)
    before = found.chain.taken(subject)  # of the last step, which is the same of each of its repetitions
    found.put(before, repeats=True)
    found.repeats, found.repeated, found.every_step = steps, not before, True
    axes = tuple(TIME if axis == ONE else axis for axis in flow.axes)
    flow = replace(flow, name=node.output[0], axes=axes, last=False, final=False)
    return flow if steps[1] else replace(flow, steps=steps[0])


def both_directions(file: OnnxFile, used: Sequence, flow: Flow) -> Flow | None:
    """h of both directions side by side, where two nodes take one each and a Concat joins them; of all layers', of
    which the last one's are last."""
    one = next((axis for axis in (BOTH, OF_LAYERS) if axis in flow.axes), None)
    if one is None or [node.op_type for node in used] != ["Gather"] * 2:
        return None
    axis, readers = flow.axes.index(one), []
    for node, places in zip(used, ((0, -2), (1, -1)) if one == BOTH else ((-2,), (-1,)), strict=True):
        index = file.constant(node.input[1], f"{file.path}: {name_of(node)}")
        reader = [other for other in file.graph.node if node.output[0] in other.input]
        taken = attributes_of(node).get("axis", 0) % len(flow.axes) == axis and index.ndim == 0
        if not taken or int(index) not in places or len(reader) != 1:
            return None
        readers += reader
    axes = tuple(name for name in flow.axes if name != one)
    joint = readers[0]
    names = [node.output[0] for node in used]
    if joint != readers[1] or joint.op_type != "Concat" or list(joint.input) != names:
        return None
    if axes[attributes_of(joint).get("axis", 0) % len(axes)] != FEATURES:
        return None
    return replace(flow, name=joint.output[0], axes=axes, features=2 * flow.features)
