"""Nodes of an ONNX graph that make one of several tensors: sums and concatenations."""

from dataclasses import replace
from typing import Any

from ....errors import ModelError
from ....machine.arrangement import OF_X
from ..joined import Joined, check_joints
from .file import OnnxFile, attributes_of
from .flow import BOTH, FEATURES, OF_LAYERS, ONE, Flow, Found

JOINTS = ("Add", "Sub", "Sum", "Mean", "Concat")
"""Nodes that make one of several tensors, none of which is constant."""


def is_joint(file: OnnxFile, node: Any, flow: Flow) -> bool:
    """Whether a node joins tensors; h of all layers one behind the other is of a stack."""
    of_stack = node.op_type == "Concat" and flow.axes[0] in (ONE, BOTH) and attributes_of(node).get("axis", 0) == 0
    several = len(node.input) > 1 and not (of_stack or repeats(node, flow))
    return node.op_type in JOINTS and several and not file.constants.keys() & node.input


def repeats(node: Any, flow: Flow) -> bool:
    """Whether a node repeats the last step: by itself, or one behind the other."""
    if node.op_type != "Concat" or not flow.last:
        return flow.last and node.op_type in ("Tile", "Expand")
    axis = attributes_of(node).get("axis", 0) % len(flow.axes)
    return flow.axes[axis] == ONE and len(node.input) > 1 and set(node.input) == {flow.name}


def is_complete(file: OnnxFile, node: Any, flow: Flow, found: Found) -> bool:
    """Whether all is there that a node joins, of which this is something."""
    name = node.output[0]
    check_joints(len(found.joints), file.path)
    there = found.joints.setdefault(name, {})
    there[flow.name] = flow
    return there.keys() >= set(node.input)


def settled(file: OnnxFile, flow: Flow, found: Found) -> Flow:
    """A tensor that several nodes read, or that is joined with others, as a vector of sources."""
    subject = f"{file.path}: {flow.name}"
    if found.waits or found.repeated or found.direction == b"reverse" or {BOTH, OF_LAYERS} & {*flow.axes}:
        rule = "must be without layers of two directions, or that read from the end, or wait for all steps"
        raise ModelError(subject, "branches", rule)
    if flow.joined is not None:
        return flow
    found.put(found.chain.taken(subject))
    if found.layers:
        vector = Joined.of(len(found.layers) - 1, found.layers[-1].hidden_size, subject)
    elif flow.features is None:
        raise ModelError(subject, "x of unknown size", "must be in a file that says the shape of its input")
    else:
        vector = Joined.of(OF_X, flow.features, subject)
    return replace(flow, joined=vector)


def join(node: Any, found: Found, subject: str) -> Flow:
    """What a node makes of several tensors."""
    flows = [found.joints[node.output[0]][name] for name in node.input]
    first, kind, vectors = flows[0], node.op_type, [flow.joined for flow in flows]
    if any((flow.axes, flow.last, flow.all) != (first.axes, first.last, False) for flow in flows):
        found_axes = " and ".join(f"{flow.axes}{' of the last step' * flow.last}" for flow in flows)
        raise ModelError(subject, f"{kind} of {found_axes}", "must be of tensors with the same axes")
    if kind == "Concat":
        axis = first.axes[attributes_of(node).get("axis", 0) % len(first.axes)]
        if axis != FEATURES:
            raise ModelError(subject, f"Concat along {axis}", "must be along the features")
        vector = Joined.beside(vectors, subject)
    else:
        vector = Joined.added(vectors, subject, minus=kind == "Sub", mean=kind == "Mean")
    return replace(first, name=node.output[0], features=vector.elements, joined=vector)
