"""LSTM, GRU and RNN nodes of an ONNX graph.

An LSTM node has W (1, 4H, I), R (1, 4H, H) and B (1, 8H), the bias of the inputs and of the recurrence, gates i, o,
f, c.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ....errors import ModelError
from ...float_model import LstmWeights, PlainWeights, check_shape
from ...functions import USUAL
from ..json_models import gru_of_zrh
from ..options import ZERO
from .file import OnnxFile, attributes_of, layout_of
from .flow import BATCH, BOTH, FEATURES, ONE, TIME, Flow, Found, input_axes

_GATES = (0, 2, 3, 1)
"""For each of i, f, g, o its position among the gates of an LSTM node; those of a GRU are z, r, h."""
ATTRIBUTES = {
    "clip": (None, "must not be given: cells are not clipped"),
    "input_forget": (0, "must be 0"),
}
"""Attribute of an LSTM node -> the value that it must have, and the rule."""
ACTIVATIONS = [b"Sigmoid", b"Tanh", b"Tanh"]
LINE = 1e-6
"""As near as numbers of 32 bits come to a sixth."""


def recurrent(file: OnnxFile, node: Any, flow: Flow, found: Found, subject: str) -> Flow:
    """h of a recurrent node, whose weights are put among the layers."""
    gru, rnn = node.op_type == "GRU", node.op_type == "RNN"
    if flow.last:
        what = f"{'an LSTM' if node.op_type == 'LSTM' else f'a {node.op_type}'} behind a last step"
        raise ModelError(subject, what, "must stand before it")
    _one_way(node, found, subject)
    found.put(found.chain.taken(subject))
    attributes, activations = attributes_of(node), ACTIVATIONS[: 2 if gru else 3]
    before = gru and not attributes.get("linear_before_reset", 0)
    directions = _directions(attributes, subject)
    for name, (must, rule) in ATTRIBUTES.items():
        value = attributes.get(name, must)
        if value != must:
            raise ModelError(f"{subject}: {name}", f"{value!r:.80}", rule)
    activation = _of_rnn(attributes, subject) if rnn else None
    if not rnn:
        functions = _functions(attributes, activations, subject)
        if found.functions not in (None, functions):
            rule = f"must be {' and '.join(found.functions)}, as in the node before: an engine has one unit"
            raise ModelError(f"{subject}: activations", " and ".join(functions), rule)
        found.functions = functions
    wanted = input_axes(node)
    single = (BATCH, FEATURES) if found.layers or flow.features not in (None, 1) else (FEATURES, BATCH)
    axes = list(flow.axes)
    for axis in single:
        if axis not in axes and len(axes) == len(wanted) and axes[wanted.index(axis)] == ONE:
            axes[wanted.index(axis)] = axis
    if tuple(axes) != wanted or node.input[0] != flow.name:
        raise ModelError(subject, f"an input with axes {flow.axes}", f"must be {wanted}")
    given = [*node.input, *[""] * (8 - len(node.input))]
    if given[4]:
        rule = "must not be given: all sequences have one length"
        raise ModelError(f"{subject}: sequence_lens", "given", rule)
    for at in (5, 6):
        if given[at] in file.inputs:
            found.assumptions.append(f"model.path: {given[at]} of {file.path.name} is kept on the chip, zero at first")
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
    w_x, w_h = (file.constant(given[at], subject) for at in (1, 2))
    check_shape(f"{subject}: R", w_h.shape, (directions, None, None))
    units = w_h.shape[2]
    if gates == 4 and w_h.shape[1] == 4 * attributes.get("hidden_size", units) != 4 * units:
        rule = (
            "must be gates of as many columns as rows: ONNX's LSTM has no projection, and what PyTorch exports for "
            "proj_size is another network; read the model's state_dict (.pt) instead"
        )
        raise ModelError(f"{subject}: R", f"shape {w_h.shape}, of a projection", rule)
    check_shape(f"{subject}: R", w_h.shape, (directions, gates * units, units))
    if attributes.get("hidden_size", units) != units:
        raise ModelError(f"{subject}: hidden_size", attributes["hidden_size"], f"must be {units}, as R has it")
    check_shape(f"{subject}: W", w_x.shape, (directions, gates * units, None))
    bias = file.constant(given[3], subject) if given[3] else np.zeros((directions, 2 * gates * units))
    check_shape(f"{subject}: B", bias.shape, (directions, 2 * gates * units))
    peepholes = [None] * directions
    if given[7]:
        held = file.constant(given[7], subject)
        check_shape(f"{subject}: P", held.shape, (directions, 3 * units))
        # ONNX has those of i, o and f.
        peepholes = held.reshape(directions, 3, units)[:, [0, 2, 1]] if held.any() else peepholes
    names = ((5, "initial_h"), (6, "initial_c"))[: 1 if gru or rnn else 2]
    initial = [
        _initial(file, given[at], f"{subject}: {name}", directions, units, layout_of(node)) for at, name in names
    ]
    if not any(values.any() for values in initial):
        initial = None
    elif found.options.initial_state == ZERO:
        found.assumptions.append(f"model.initial_state: the state of {node.name} is replaced by zeros")
        initial = None
    bias = bias.reshape(directions, 2, -1)
    ways = [[] for _ in range(directions)]
    for number, layers in enumerate(ways):
        state = initial and tuple(values[number] for values in initial)
        if rnn:
            matrices = w_x[number], w_h[number], sum(bias[number])
            layer = PlainWeights(*matrices, subject, state and (*state, *state), activation=activation)
        else:
            layer = _weights(gru, w_x[number], w_h[number], *bias[number], subject, state, before)
            layer = replace(layer, peepholes=peepholes[number])
        if flow.joined is not None:
            if directions > 1:
                raise ModelError(subject, "two directions of a joined vector", "must be of one direction")
            layer = flow.joined.read_by(layer, len(found.layers))
        layers.append(layer)
    found.put(*ways, repeats=found.repeated)
    found.repeated = False
    counted = ONE if directions == 1 else BOTH
    outputs = [*node.output, "", "", ""][:3]
    read = {name for other in file.graph.node for name in other.input} | {o.name for o in file.graph.output}
    if outputs[1] in read and outputs[0] not in read:
        axes = (BATCH, counted, FEATURES) if layout_of(node) else (counted, BATCH, FEATURES)
        return Flow(outputs[1], axes, units, last=True, final=True, steps=flow.steps)
    axes = (BATCH, TIME, counted, FEATURES) if layout_of(node) else (TIME, counted, BATCH, FEATURES)
    return Flow(outputs[0], axes, units, steps=flow.steps)


def _directions(attributes, subject):
    """How many directions a node has; of two, what is said for each must be the same, and is left as that of one."""
    direction = attributes.get("direction", b"forward")
    if direction not in (b"forward", b"reverse", b"bidirectional"):
        rule = "must be forward, reverse or bidirectional"
        raise ModelError(f"{subject}: direction", f"{direction!r:.80}", rule)
    if direction != b"bidirectional":
        return 1
    for name in ("activations", "activation_alpha", "activation_beta"):
        said = list(attributes.get(name) or [])
        half = len(said) // 2
        if said[:half] != said[half:]:
            raise ModelError(f"{subject}: {name}", f"{said!r:.80}", "must be the same of both directions")
        if said:
            attributes[name] = said[:half]
    return 2


def _functions(attributes, usual, subject):
    """What stands for sigmoid and tanh in a node."""
    named = attributes.get("activations", usual)
    if named not in (usual, [b"HardSigmoid", *usual[1:]]):
        rule = f"must be Sigmoid or HardSigmoid, {', '.join(name.decode() for name in usual[1:])}"
        raise ModelError(f"{subject}: activations", named, rule)
    if named == usual:
        for name in ("activation_alpha", "activation_beta"):
            if attributes.get(name):
                raise ModelError(f"{subject}: {name}", attributes[name], "must not be given without HardSigmoid")
        return USUAL
    alpha, beta = (
        list(attributes.get(f"activation_{name}") or [usual]) for name, usual in (("alpha", 0.2), ("beta", 0.5))
    )
    for name, slope in (("hard5", 1 / 5), ("hard6", 1 / 6)):
        if len(alpha) == len(beta) == 1 and abs(alpha[0] - slope) < LINE and abs(beta[0] - 0.5) < LINE:
            return name, USUAL[1]
    raise ModelError(f"{subject}: activation_alpha", f"{alpha} and beta {beta}", "must be 0.2 or 1/6 and 0.5")


def _of_rnn(attributes, subject):
    """The activation of an RNN node."""
    named = attributes.get("activations", [b"Tanh"])
    names = {b"Relu": "relu", b"Tanh": "tanh", b"Sigmoid": "sigmoid"}
    if len(named) != 1 or named[0] not in names:
        raise ModelError(f"{subject}: activations", named, "must be Tanh, Relu or Sigmoid")
    for name in ("activation_alpha", "activation_beta"):
        if attributes.get(name):
            raise ModelError(f"{subject}: {name}", attributes[name], "must not be given")
    return names[named[0]]


def _one_way(node, found, subject):
    """Refuse a node that reads backward behind or in front of others that do not."""
    direction = attributes_of(node).get("direction", b"forward")
    before = found.direction
    if before is not None and direction != before and b"reverse" in (direction, before):
        rule = "must be that of all nodes, or bidirectional; run nodes of other directions as models of their own"
        raise ModelError(f"{subject}: direction", f"{direction!r:.80} behind {before!r}", rule)
    found.direction = direction


def _initial(file, name, subject, directions, units, layout):
    """A state in the file, the same for all sequences: (directions, units); zeros where there is none, or an input
    is it."""
    if not name or name in file.inputs or file.is_zero(name):
        return np.zeros((directions, units))
    values = _held(file, name, subject)
    at = int(bool(layout))
    if values.ndim != 3 or values.shape[at] != directions or values.shape[2] != units or not values.size:
        raise ModelError(subject, f"shape {values.shape}", f"must be ({directions}, 1, {units})")
    states = np.moveaxis(values, at, 0)
    if (states != states[:, :1]).any():
        raise ModelError(subject, f"{states.shape[1]} states", "must be the same for all sequences")
    return states[:, 0].astype(np.float64)


def _held(file, name, subject):
    """A state that is stored, or some layers of one, which an Expand makes that of as many sequences as x has."""
    taken = slice(None)
    for kind in ("Slice", "Expand"):
        node = next((one for one in file.graph.node if name in one.output and one.op_type == kind), None)
        if node is not None and kind == "Slice":
            starts, ends, axes, steps = file.slice(node, subject)
            if [len(starts), len(ends), list(axes), list(steps) or [1]] != [1, 1, [0], [1]]:
                raise ModelError(subject, f"Slice of axes {axes} of a state", "must take layers, the first axis")
            taken = slice(int(starts[0]), int(ends[0]))
        name = node.input[0] if node is not None else name
    values = file.constant(name, subject)
    return values[taken] if values.ndim else values


def _weights(gru, w_x, w_h, bias_x, bias_h, subject, initial, before):
    """A layer, from the matrices of a node."""
    if gru:
        return gru_of_zrh(w_x, w_h, bias_x, bias_h, subject, initial and initial[0], before)

    def gates(stacked):
        return stacked.reshape(4, -1, *stacked.shape[1:])[list(_GATES)].reshape(stacked.shape)

    return LstmWeights(gates(w_x), gates(w_h), gates(bias_x + bias_h), subject, initial)
