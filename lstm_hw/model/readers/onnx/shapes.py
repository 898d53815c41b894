"""Shapes that nodes of an ONNX graph compute: each size is a number times what axes count."""

from collections.abc import Sequence
from math import prod

from ....errors import ModelError
from .file import MAX_NODES, OnnxFile, attributes_of
from .flow import BOTH, FEATURES, ONE, ROWS, TIME, Flow, Found, Size

MAX_AXES = 8
"""Most elements of a shape."""
_OF_SHAPES = ("Shape", "Gather", "Slice", "Concat", "Mul", "Equal", "Where", "ConstantOfShape")
_OF_SHAPES += ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity")


def as_size(number: int, *axes: str) -> Size:
    """A number times what axes count."""
    return number, axes


def times(sizes: Sequence[Size]) -> Size:
    """The product of sizes."""
    return prod(factor for factor, _ in sizes), tuple(sorted(axis for _, axes in sizes for axis in axes))


def size_of(axis: str, flow: Flow, found: Found) -> Size:
    """Size of an axis of a tensor."""
    if axis in ROWS:
        return times([size_of(part, flow, found) for part in ROWS[axis]])
    known = {ONE: 1, BOTH: 2, FEATURES: flow.features, **found.lengths}.get(axis)
    if axis == TIME:
        known = flow.steps or known
    return as_size(1, axis) if known is None else as_size(known)


def spelled(size: Size) -> str:
    """A size, for people."""
    factor, axes = size
    return " x ".join([*[str(factor)] * (factor != 1 or not axes), *axes])


def groupings(axes: Sequence[str], sizes: Sequence[Size], shape: Sequence[Size]) -> list[list[tuple[str, ...]]]:
    """Every way to put axes, of sizes that may be one, into groups in order, one for each element of a shape; that of
    -1 takes any."""
    if not shape:
        return [] if axes else [[]]
    ends = range(len(axes) + 1)
    ends = [end for end in ends if shape[0] in (as_size(-1), times(sizes[:end]))]
    return [[tuple(axes[:end]), *way] for end in ends for way in groupings(axes[end:], sizes[end:], shape[1:])]


def sizes_of(file: OnnxFile, name: str, found: Found, subject: str) -> list[Size]:
    """A shape that nodes compute: of each element (factor, axes), a number times what axes count."""
    producers, known = {output: node for node in file.graph.node for output in node.output}, {}
    wanted = [name]
    while wanted:  # without recursion, however deep the graph
        if len(known) + len(wanted) > MAX_NODES:
            raise file.damaged(ModelError(f"{subject}: {name}", "a cycle", "must not be"))
        now = wanted[-1]
        node = producers.get(now)
        if now in file.constants or node is None or node.op_type not in _OF_SHAPES:
            known[wanted.pop()] = [as_size(int(value)) for value in file.constant(now, subject).ravel()[:MAX_AXES]]
        elif node.op_type == "Shape" and node.input[0] in found.flows:
            known[wanted.pop()] = _shape_of(node, found)
        elif missing := [given for given in node.input if given and given not in known]:
            wanted += missing
        else:
            known[wanted.pop()] = _computed(file, node, [known[given] for given in node.input if given], subject)
    return known[name]


def _shape_of(node, found):
    """What a Shape node gives."""
    flow, attributes = found.flows[node.input[0]], attributes_of(node)
    sizes = [size_of(axis, flow, found) for axis in flow.axes]
    return sizes[attributes.get("start", 0) : attributes.get("end", len(sizes))]


def _computed(file, node, given, subject):
    """What a node makes of shapes."""
    if node.op_type == "Concat":
        found = [size for part in given for size in part]
    elif node.op_type in ("Mul", "Equal", "Where"):
        longest = max(map(len, given))
        alike = zip(*(part * longest if len(part) == 1 else part for part in given), strict=True)
        make = {"Mul": times, "Equal": lambda pair: as_size(int(pair[0] == pair[1]))}
        found = [make.get(node.op_type, lambda three: three[1 if three[0][0] else 2])(some) for some in alike]
    elif node.op_type == "ConstantOfShape":
        values = [file.numbers(a.t, subject).ravel() for a in node.attribute if a.name == "value"]
        count = min(times(given[0])[0], MAX_AXES + 1)
        found = [as_size(int(values[0][0]) if values else 0)] * count
    elif node.op_type == "Gather":
        found = [given[0][factor] for factor, _ in given[1]]
    elif node.op_type == "Slice":
        starts, ends, axes, steps = file.slice(node, subject)
        if len(starts) != 1 or list(steps) not in ([], [1]):
            raise ModelError(subject, f"Slice of {len(starts)} axes of a shape", "must be of one, step by step")
        found = given[0][starts[0] : ends[0]]
    else:
        found = [as_size(len(given[0]))] if node.op_type == "Shape" else given[0]
    return found[: MAX_AXES + 1]
