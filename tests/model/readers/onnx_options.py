"""ONNX graphs that have an option: changes of the graph that ``bench.model_files.onnx_model`` makes."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from bench.model_files import HIDDEN, INPUTS, OUTPUTS

ONES = np.ones((1, 1, HIDDEN), np.float32)


def as_is(graph):
    """No change."""


def _store(graph, **tensors):
    """Constants of the graph, in place of those of the same names."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for name, values in tensors.items():
        tensor = numpy_helper.from_array(np.asarray(values), name)
        stored[name].CopyFrom(tensor) if name in stored else graph.initializer.append(tensor)


def _stored(graph, name):
    return numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name))


def _insert(graph, at, *nodes):
    for place, node in enumerate(nodes, at):
        graph.node.insert(place, node)


def _place_of(graph, output):
    """Place of the node that makes it."""
    return next(n for n, node in enumerate(graph.node) if node.output[0] == output)


def _layers(graph):
    return [node for node in graph.node if node.op_type == "LSTM"]


def _say(node, **attributes):
    node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())


# Recurrent nodes


def _first(**attributes):
    """The first recurrent node alone has them."""
    return lambda graph: _say(graph.node[1], **attributes)


def _hard(graph):
    for node, slope in zip(_layers(graph), ([1 / 6], [0.16666667]), strict=True):
        _say(node, activations=["HardSigmoid", "Tanh", "Tanh"], activation_alpha=slope)


def _hidden_size(graph):
    next(item for item in graph.node[1].attribute if item.name == "hidden_size").i += 1


def _given(at, values):
    """The first recurrent node has one more input: a constant, or one of the graph."""

    def change(graph):
        if values is None:
            graph.input.append(helper.make_tensor_value_info("given", TensorProto.FLOAT, [1, None, HIDDEN]))
        else:
            _store(graph, given=values)
        graph.node[1].input.extend([""] * (8 - len(graph.node[1].input)))
        graph.node[1].input[at] = "given"

    return change


def _of_kind(kind, gates, **attributes):
    """Recurrent nodes of another kind, with weights of so many gates."""

    def change(graph):
        for node in _layers(graph):
            node.op_type = kind
            _say(node, **attributes)
        for name in ("W0", "R0", "B0", "W1", "R1", "B1"):
            rows = (2 if name[0] == "B" else 1) * gates * HIDDEN
            _store(graph, **{name: _stored(graph, name)[:, :rows]})

    return change


def _reverse(graph):
    for node in _layers(graph):
        _say(node, direction="reverse")


def _bidirectional(graph):
    """The first node has both directions; without the second one, whose place a Reshape takes."""
    lstm = graph.node[1]
    _say(lstm, direction="bidirectional")
    _store(graph, **{name: np.concatenate([_stored(graph, name)] * 2) for name in ("W0", "R0", "B0")})
    _store(graph, weight=np.ones((2 * HIDDEN, OUTPUTS), np.float32), shape=[0, 0, -1])
    kept = [node for node in graph.node if node.op_type not in ("LSTM", "Squeeze")]
    moved = helper.make_node("Transpose", [lstm.output[0]], ["moved"], perm=[0, 2, 1, 3])
    joined = helper.make_node("Reshape", ["moved", "shape"], ["h1"])
    nodes = [kept[0], helper.make_node("LSTM", lstm.input, lstm.output, "lstm0"), moved, joined, *kept[1:]]
    nodes[1].attribute.extend(lstm.attribute)
    del graph.node[:]
    graph.node.extend(nodes)


def _projection(graph):
    _store(graph, R0=np.ones((1, 4 * HIDDEN, 2), np.float32))


def _batch_first(graph):
    """Both nodes with the batch first, and no transposition."""
    del graph.node[0], graph.node[-3]
    for node in _layers(graph):
        _say(node, layout=1)
    graph.node[0].input[0], graph.node[-2].input[0] = "x", "h1"
    for number in (1, 3):
        graph.node[number].input[1] = "two"
    _store(graph, two=[2])


def _final_state(graph):
    del graph.node[-4:-2]
    graph.node[-3].output[:] = ["", "yh"]
    _insert(graph, len(graph.node) - 2, helper.make_node("Squeeze", ["yh", "zero"], ["h"]))
    _store(graph, zero=[0])


# Nodes in front of them and between them


def _multiplied(graph, at, size, name, *nodes):
    """A product with the unit matrix in front of what a node reads, and nodes behind it."""
    _store(graph, **{f"{name}s": np.eye(size, dtype=np.float32)})
    made = [helper.make_node("MatMul", [graph.node[at].input[0], f"{name}s"], [name]), *nodes]
    _insert(graph, at, *made)
    graph.node[at + len(made)].input[0] = made[-1].output[0]


def _front(graph):
    _store(graph, ones=np.ones(INPUTS, np.float32))
    _multiplied(graph, 0, INPUTS, "front", helper.make_node("Add", ["front", "ones"], ["added"]))


def _middle(graph):
    _multiplied(graph, 3, HIDDEN, "middle", helper.make_node("Elu", ["middle"], ["activated"]))


def _before(kind):
    def change(graph):
        _insert(graph, 0, helper.make_node(kind, ["x"], ["scaled"], "odd"))
        graph.node[1].input[0] = "scaled"

    return change


def _again(kind):
    """The last h of the first node, four times, in front of the second."""

    def change(graph):
        read, attributes = (["last"] * 4, {"axis": 0}) if kind == "Concat" else (["last", "often"], {})
        last = helper.make_node("Gather", [graph.node[3].input[0], "end"], ["last"], axis=0)
        _store(graph, end=[-1], often=[4, 1, 1])
        _insert(graph, 3, last, helper.make_node(kind, read, ["again"], **attributes))
        graph.node[5].input[0] = "again"

    return change


def _unrolled(graph):
    del graph.node[1], graph.node[2]


def _inside(graph):
    loop = helper.make_node("Loop", ["", "", "x"], ["y"], body=helper.make_graph(list(graph.node), "body", [], []))
    del graph.node[:]
    graph.node.append(loop)


# Nodes behind them


def _behind(graph):
    _insert(graph, len(graph.node) - 2, helper.make_node("Elu", ["h"], ["bent"]))
    graph.node[-2].input[0] = "bent"


def _joined(kind, sizes=1, **attributes):
    """A node that joins h of both layers."""

    def change(graph):
        at = _place_of(graph, "h")
        _insert(graph, at, helper.make_node(kind, ["h0", "h1"], ["joint"], "joint", **attributes))
        graph.node[at + 1].input[0] = "joint"
        _store(graph, weight=np.concatenate([_stored(graph, "weight")] * sizes))

    return change


def _of_all_steps(graph, *nodes):
    """Nodes that make one vector of h of five steps, ``hs``, for a head that reads it as ``h``."""
    _store(graph, weight=np.ones((5 * HIDDEN, OUTPUTS), np.float32))
    at = _place_of(graph, "h")
    graph.node[at].output[0] = "hs"
    _insert(graph, at + 1, *nodes)


def _flat(graph):
    _of_all_steps(graph, helper.make_node("Flatten", ["hs"], ["h"], "flat"))


def _flat_of_another_order(graph):
    _of_all_steps(graph, helper.make_node("Reshape", ["hs", "shape"], ["h"], "flat"))
    graph.node[_place_of(graph, "hs")].attribute[0].CopyFrom(helper.make_attribute("perm", [1, 2, 0]))
    _store(graph, shape=[0, -1])


def _flat_as_computed(graph):
    """To (sequences, -1)."""
    _store(graph, zero=[0], free=[-1])
    _of_all_steps(
        graph,
        helper.make_node("Shape", ["hs"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Concat", ["n", "free"], ["shape"], axis=0),
        helper.make_node("Reshape", ["hs", "shape"], ["h"]),
    )


def _rows_of_steps(graph):
    at = _place_of(graph, "h")
    graph.node[at].output[0], graph.node[-1].output[0] = "hs", "rows"
    _store(graph, shape=[-1, HIDDEN], back=[2, -1, OUTPUTS])
    _insert(graph, at + 1, helper.make_node("Reshape", ["hs", "shape"], ["h"]))
    graph.node.append(helper.make_node("Reshape", ["rows", "back"], ["y"]))
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def _gemm(graph):
    del graph.node[-2:]
    graph.node.append(helper.make_node("Gemm", ["h", "weight", "bias"], ["y"]))


def _convolution(graph):
    del graph.node[-3:]
    _store(graph, wide=_stored(graph, "weight").T[:, :, None])
    graph.node.append(helper.make_node("Transpose", ["h1"], ["t"], perm=[1, 2, 0]))
    graph.node.append(helper.make_node("Conv", ["t", "wide", "bias"], ["c"], kernel_shape=[1]))
    graph.node.append(helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 1]))


def _between(kind, **attributes):
    """A node between product and bias."""

    def change(graph):
        _insert(graph, len(graph.node) - 1, helper.make_node(kind, ["product"], ["between"], **attributes))
        graph.node[-1].input[0], graph.node[-1].name = "between", "last"

    return change


def _more(*nodes, **attributes):
    """Nodes behind the head, whose outputs are ``plain``; attributes are of the last one."""

    def change(graph):
        graph.node[-1].output[0] = "plain"
        _store(graph, square=np.array([[2, 1], [0.5, -1]], np.float32))
        graph.node.extend(helper.make_node(*node) for node in nodes[:-1])
        graph.node.append(helper.make_node(*nodes[-1], **attributes))

    return change


def _branch_that_ends(graph):
    graph.node.append(helper.make_node("Add", ["h0", "h0"], ["more"]))


HEADS = {
    "Gemm": (False, _gemm),
    "MatMul and Add": (True, as_is),
    "Conv of width 1": (True, _convolution),
    "second Gemm": (False, _more(["Gemm", ["plain", "square"], ["y"]])),
    "Relu, Sigmoid, Tanh": (
        True,
        _more(["Relu", ["plain"], ["r"]], ["MatMul", ["r", "square"], ["t"]], ["Tanh", ["t"], ["y"]]),
    ),
    "Elu": (False, _more(["Elu", ["plain"], ["y"]])),
    "other activation": (False, _more(["LeakyRelu", ["plain"], ["y"], "leaky"])),
    "Softmax at the end": (True, _more(["Softmax", ["plain"], ["y"]], axis=-1)),
    "Softmax before the end": (False, _more(["Softmax", ["plain"], ["r"]], ["Gemm", ["r", "square"], ["y"], "last"])),
    "Softmax and Add": (False, _between("Softmax")),
    "Softmax over steps": (True, _more(["Softmax", ["plain"], ["y"], "last"], axis=1)),
    "Cast to whole numbers": (False, _more(["Cast", ["plain"], ["y"], "last"], to=TensorProto.INT64)),
    "Add along another axis": (True, _between("Transpose", perm=[0, 2, 1])),
    "Flatten": (True, _flat),
    "Flatten of another order": (True, _flat_of_another_order),
    "Reshape to a computed shape": (True, _flat_as_computed),
    "Reshape to rows and back": (True, _rows_of_steps),
}
RECURRENT = {
    "layout=1": (True, _batch_first),
    "Y_h as output": (False, _final_state),
    "hidden_size unlike R": (False, _hidden_size),
    "direction reverse": (True, _reverse),
    "direction bidirectional": (True, _bidirectional),
    "direction of one node alone": (False, _first(direction="reverse")),
    "clip": (False, _first(clip=1.0)),
    "input_forget": (False, _first(input_forget=1)),
    "activations": (False, _first(activations=["Sigmoid", "Relu", "Tanh"])),
    "HardSigmoid": (False, _hard),
    "HardSigmoid of another slope": (
        False,
        _first(activations=["HardSigmoid", "Tanh", "Tanh"], activation_alpha=[0.3]),
    ),
    "activation_alpha": (False, _first(activation_alpha=[0.5])),
    "activation_beta": (False, _first(activation_beta=[0.5])),
    "sequence_lens": (False, _given(4, np.array([3], np.int32))),
    "initial_h": (False, _given(5, ONES)),
    "initial_c": (False, _given(6, ONES)),
    "P": (False, _given(7, np.linspace(-2, 1, 3 * HIDDEN, dtype=np.float32)[None])),
    "GRU with linear_before_reset=1": (False, _of_kind("GRU", 3, linear_before_reset=1)),
    "GRU with linear_before_reset=0": (False, _of_kind("GRU", 3)),
    "RNN": (False, _of_kind("RNN", 1)),
    "RNN of another activation": (False, _of_kind("RNN", 1, activations=["Softsign"])),
    "LSTM of torch with proj_size": (False, _projection),
}
AROUND = {
    "MatMul and Add before": (False, _front),
    "MatMul and Elu between": (False, _middle),
    "Relu before the LSTM": (False, _before("Relu")),
    "Elu behind the LSTM": (False, _behind),
    "node before the LSTM": (False, _before("Neg")),
    "Add, Sub, Sum, Mean": (False, _joined("Add")),
    "Concat": (True, _joined("Concat", 2, axis=-1)),
    "Mul": (False, _joined("Mul")),
    "branch that ends": (False, _branch_that_ends),
    **{f"last step repeated by {kind}": (True, _again(kind)) for kind in ("Tile", "Expand", "Concat")},
    "repeated outputs": (False, _more(("Tile", ["plain", "square"], ["y"], "more"))),
    "unrolled or decomposed cell": (False, _unrolled),
    "LSTM in a graph inside a node": (False, _inside),
}
OPTIONS = {
    "stacked nodes": (False, as_is),
    "initial_h and initial_c of zeros": (False, _given(5, 0 * ONES)),
    "initial_h and initial_c as inputs": (False, _given(6, None)),
    **HEADS,
    **RECURRENT,
    **AROUND,
}
"""Option -> (whether the head is on every step, change of a graph so that it has it)."""
