"""Linear layers of an ONNX graph: products with a matrix, what is added to them, and activations."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from ....errors import ModelError
from ...float_model import DenseWeights, PlainWeights, check_shape
from ..joined import Joined
from .file import OnnxFile, attributes_of, name_of
from .flow import BOTH, FEATURES, LAYERS, OF_LAYERS, Flow, Found

LINEAR_NODES = ("Gemm", "MatMul", "Conv", "Add")
ACTIVATION_NODES = ("Relu", "Elu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax")
_SOFTMAX = ("Softmax", "LogSoftmax")
_ONE_AXIS = 13
"""Operator set from which on a softmax is over one axis, rather than over that and all behind it."""


def linear(file: OnnxFile, node: Any, flow: Flow, found: Found, subject: str) -> Flow | None:
    """What a node makes of a tensor as a linear layer or a part of one; None where it is no such node."""
    kind, chain = node.op_type, found.chain
    if kind in LINEAR_NODES[:3]:
        if found.repeated:  # the last step, in each step
            found.put([PlainWeights.same(flow.features, subject)], repeats=True)
            found.repeated = False
        dense = _dense(file, node, flow, subject)
        chain.add(dense if flow.joined is None else flow.joined.read_by(dense, len(found.layers)))
        if flow.all and not found.steps:
            found.steps = chain.steps(found.layers[-1].hidden_size * found.parts[-1].directions)
        found.every_step, found.final = not (flow.last or flow.all), flow.final
        return replace(flow, name=node.output[0], features=chain.layers[-1].output_size, joined=None)
    if kind in ACTIVATION_NODES and not chain.layers and _may_be_alone(flow, found):
        chain.add(Joined.of(len(found.layers) - 1, flow.features, subject).as_linear(len(found.layers), subject))
        found.every_step, found.final = not flow.last, flow.final
    last = chain.layers[-1] if chain.layers else None
    if kind == "Add" and last is not None and last.activation == "none" and not last.bias.any():
        other = next(name for name in node.input if name != flow.name) if len(set(node.input)) > 1 else flow.name
        chain.check_open(subject)
        places = len(flow.axes) - flow.axes.index(FEATURES)
        bias = _bias(file.constant(other, subject), last.output_size, places, len(flow.axes), subject)
        chain.layers[-1] = replace(last, bias=bias, source=subject)
        return replace(flow, name=node.output[0])
    if kind in ACTIVATION_NODES and last is not None and attributes_of(node).get("alpha", 1.0) == 1.0:
        if kind in _SOFTMAX:
            _check_softmax(file, node, flow, subject)
        chain.activate(kind, subject, name_of(node))
        return replace(flow, name=node.output[0])
    return None


def _may_be_alone(flow, found):
    """Whether an activation may stand behind a tensor that no linear layer gives."""
    apart = {BOTH, OF_LAYERS, LAYERS} & {*flow.axes}
    return flow.features is not None and not (apart or flow.all or found.repeated)


def _dense(file, node, flow, subject):
    kind, attributes = node.op_type, attributes_of(node)
    weight = file.constant(next(name for name in node.input if name != flow.name), subject)
    bias = None
    if kind == "Conv":
        if weight.ndim < 3 or prod(weight.shape[2:]) != 1 or attributes.get("group", 1) != 1:
            raise ModelError(subject, f"a convolution {weight.shape}", "must have width 1 and one group")
        if any(attributes.get("pads", [])) or set(attributes.get("strides", [1])) != {1}:
            raise ModelError(subject, "a convolution with pads or strides", "must have none")
        if len(flow.axes) < 2 or flow.axes[1] != FEATURES:
            raise ModelError(subject, f"an input with axes {flow.axes}", "must have the features at 1")
        weight = weight.reshape(weight.shape[:2])
    elif flow.axes[-1] != FEATURES or node.input[0] != flow.name:
        raise ModelError(subject, f"an input with axes {flow.axes}", "must have the features last")
    if kind == "MatMul" or (kind == "Gemm" and not attributes.get("transB", 0)):
        weight = weight.T
    if kind == "Gemm" and (attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0):
        raise ModelError(subject, "transA or alpha", "must be 0 and 1")
    if kind != "MatMul" and len(node.input) > 2:
        factor = attributes.get("beta", 1.0) if kind == "Gemm" else 1
        bias = factor * _bias(file.constant(node.input[2], subject), len(weight), 1, 2, subject)
    check_shape(f"{subject}: weight", weight.shape, (None, None))
    return DenseWeights(weight, np.zeros(len(weight)) if bias is None else bias, source=subject)


def _check_softmax(file, node, flow, subject):
    """Outputs keep their order under a softmax over them, not under one over steps or sequences."""
    versions = {opset.version for opset in file.model_proto.opset_import if opset.domain in ("", "ai.onnx")}
    flat = max(versions, default=1) < _ONE_AXIS
    axis = attributes_of(node).get("axis", 1 if flat else -1) % len(flow.axes)
    if FEATURES not in flow.axes[axis:] if flat else flow.axes[axis] != FEATURES:
        raise ModelError(subject, f"{node.op_type} of axis {axis} of {flow.axes}", "must be over the features")


def _bias(values, count, place, axes, subject):
    """What is added to ``count`` outputs, which are the axis at ``-place`` of ``axes``: (count,)."""
    one_each = values.size == count and values.ndim >= place and values.shape[-place] == count
    if values.ndim > axes or not (one_each or values.size == 1):
        wanted = ", ".join([str(count), *["1"] * (place - 1)])
        raise ModelError(f"{subject}: bias", f"shape {values.shape}", f"must be ({wanted}): one for each output")
    return np.broadcast_to(values.ravel(), (count,))
