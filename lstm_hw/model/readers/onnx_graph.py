"""ONNX files: LSTM, GRU or RNN nodes of a graph and the linear layers in front of them, between and behind, and sums
and concatenations of what they give.

An LSTM node has W (1, 4H, I), R (1, 4H, H) and B (1, 8H), the bias of the inputs and of the recurrence, gates i, o,
f, c. The graph is followed from its input to its output: what stands between must be such nodes, nodes that only
move axes, the choice of the last step, and one matrix product. Every axis is known by what it counts, so a transposed
batch is no other model, and a node that mixes axes is refused by its name.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, LstmHwError, ModelError
from ...machine.arrangement import MOST_STEPS, OF_X, Arrangement
from ...reading import MAX_VALUES, read_file
from ..both_ways import Part, in_parts
from ..float_model import DenseWeights, FloatModel, LstmWeights, PlainWeights, check_shape
from ..functions import USUAL
from ..store import MAX_FILE_BYTES
from .chain import LinearChain
from .joined import Joined, behind, check_joints
from .json_models import gru_of_zrh
from .libraries import library
from .options import ALL, FINAL, HEAD_MODES, NO_HEAD, ZERO, ReadOptions

MAX_NODES = 1 << 14
"""Most nodes of a graph and of those inside it."""
TIME, BATCH, FEATURES, ONE, LAYERS, BOTH = "time", "batch", "features", "one", "layers", "directions"
OF_LAYERS = "directions of all layers"
ROWS = {f"{first} and {second}": (first, second) for first, second in ((BATCH, TIME), (TIME, BATCH))}
"""Axes that a Reshape made of two: a row for each step of each sequence."""
_MERGED = {(BOTH, FEATURES): FEATURES, (TIME, FEATURES): FEATURES} | {of: rows for rows, of in ROWS.items()}
"""What a Reshape may make one axis of."""
MAX_AXES = 8
"""Most elements of a shape."""
_GATES = (0, 2, 3, 1)
"""For each of i, f, g, o its position among the gates of an LSTM node; those of a GRU are z, r, h."""
_RECURRENT = ("LSTM", "GRU", "RNN")
_SAME = ("Identity", "Dropout", "Cast")
_MOVES = (*_SAME, "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Gather", "Slice", "Concat")
_ACTIVATIONS = ("Relu", "Elu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax")
_OF_ONE = ("Unsqueeze", "Reshape")
_OF_SHAPES = ("Shape", "Gather", "Slice", "Concat", "Mul", "Equal", "Where", "ConstantOfShape")
_OF_SHAPES += ("Unsqueeze", "Squeeze", "Reshape", "Cast", "Identity")
_LINEAR = ("Gemm", "MatMul", "Conv", "Add")
_SOFTMAX = ("Softmax", "LogSoftmax")
_JOINTS = ("Add", "Sub", "Sum", "Mean", "Concat")
"""Nodes that make one of several tensors, none of which is constant."""
_ONE_AXIS = 13
"""Operator set from which on a softmax is over one axis, rather than over that and all behind it."""
_END = 1 << 31
"""Ends of slices from here on mean the end of the axis."""
ATTRIBUTES = {
    "clip": (None, "must not be given: cells are not clipped"),
    "input_forget": (0, "must be 0"),
}
"""Attribute of an LSTM node -> the value that it must have, and the rule."""
ACTIVATIONS = [b"Sigmoid", b"Tanh", b"Tanh"]
LINE = 1e-6
"""As near as numbers of 32 bits come to a sixth."""


@dataclass(frozen=True)
class _Flow:
    """A tensor on the way: what its axes count, how many features there are, whether it is the last step only, or, of
    every direction, that of its end, or h of all steps side by side; and the vector, where that is not what the layer
    in front gives alone."""

    name: str
    axes: tuple[str, ...]
    features: int | None = None
    last: bool = False
    final: bool = False
    all: bool = False
    joined: Joined | None = None


@dataclass
class _Found:
    """What was met on the way."""

    options: ReadOptions
    parts: list = field(default_factory=list)
    direction: bytes | None = None
    every_step: bool = True
    final: bool = False
    steps: int = 0
    functions: tuple[str, str] | None = None
    assumptions: list = field(default_factory=list)
    repeats: int | None = None
    repeated: bool = False
    flows: dict = field(default_factory=dict)
    joints: dict = field(default_factory=dict)
    lengths: dict = field(default_factory=dict)

    def __post_init__(self):
        self.chain = LinearChain(self.assumptions, self.options)

    @property
    def layers(self):
        """The layers so far; of two directions the forward one."""
        return [layer for part in self.parts for layer in part.forward]

    @property
    def backward(self):
        """Whether layers are of two directions."""
        return any(part.backward for part in self.parts)

    @property
    def waits(self):
        """Whether layers are of two directions, or wait for others."""
        return len(self.parts) > 1 or self.backward

    def put(self, forward, backward=(), repeats=False):
        """Layers behind those of the last part, in it where they read its h step by step."""
        if forward and self.parts and not (self.parts[-1].backward or backward or repeats):
            self.parts[-1].forward.extend(forward)
        elif forward:
            self.parts.append(Part(list(forward), list(backward), repeats))


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


@dataclass(frozen=True)
class OnnxGraph:
    """An ONNX model.

    Parameters
    ----------
    path : pathlib.Path

    Raises
    ------
    ModelError
        onnx is not installed, or the file is damaged or too large.
    """

    path: Path

    def __post_init__(self):
        self._graph  # noqa: B018 - reads it

    @cached_property
    def _model(self):
        onnx = library("onnx", "onnx", self.path, "an ONNX file")
        content = read_file(self.path, MAX_FILE_BYTES, ModelError)
        try:
            return onnx.load_model_from_string(content)
        except Exception as error:  # protobuf's own
            raise ModelError(self.path, f"not readable ({error})", "must be an undamaged ONNX file") from error

    @cached_property
    def _graph(self):
        graph = self._model.graph
        if len(graph.node) > MAX_NODES:
            raise ModelError(self.path, f"{len(graph.node)} nodes", f"must not exceed {MAX_NODES}")
        if not graph.node:
            raise ModelError(self.path, "a graph without nodes", "must be an ONNX model")
        return graph

    @cached_property
    def _constants(self):
        """Name -> TensorProto of what does not depend on inputs."""
        found = {tensor.name: tensor for tensor in self._graph.initializer}
        for node in self._graph.node:
            if node.op_type == "Constant" and node.output:
                for attribute in node.attribute:
                    if attribute.name == "value":
                        found[node.output[0]] = attribute.t
        return found

    @cached_property
    def _inputs(self):
        """Names of what the caller gives."""
        return {value.name for value in self._graph.input} - self._constants.keys()

    def contents(self) -> list[str]:
        """The nodes that hold weights, and the others by number."""
        lines, others = [], {}
        for node in self._graph.node:
            shapes = [
                "x".join(map(str, self._constants[name].dims))
                for name in node.input
                if name in self._constants and len(self._constants[name].dims) > 1
            ]
            if shapes:
                lines.append(f"{_name(node)}: {node.op_type}, {', '.join(shapes)}")
            elif node.op_type != "Constant":
                others[node.op_type] = others.get(node.op_type, 0) + 1
        rest = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        return [*lines, *([f"without weights: {rest}"] if rest else [])]

    def model(self, options: ReadOptions) -> FloatModel:
        """The LSTM and its head."""
        options.refuse(f"{self.path} says it", "gate_order", "head_activations", "skip")
        options.refuse_tensors(self.path)
        if isinstance(options.prefix, tuple):
            raise ConfigError("model.prefix", list(options.prefix), "must be one: that of the first node")
        if options.head_prefix not in (None, NO_HEAD):
            raise ConfigError("model.head_prefix", repr(options.head_prefix), f"must be {NO_HEAD!r} for an ONNX file")
        try:
            return self._read(options)
        except LstmHwError:
            raise
        except Exception as error:  # of nodes without inputs or outputs, or with attributes of another kind
            raise self._damaged(error) from error

    def _damaged(self, error):
        found = f"a node that cannot be ({type(error).__name__}: {error})"
        return ModelError(self.path, found, "must be a model that onnx.checker accepts")

    def _read(self, options):
        start = self._first(options.prefix)
        found = _Found(options)
        if options.prefix is not None:
            flow = _Flow(start.input[0], _input_axes(start))
        else:
            flow = self._before(start)
            found.lengths = self._lengths(flow)
            flow = replace(flow, features=found.lengths.pop(FEATURES, None))
        waiting, ends, left_out = [], [], []  # nodes with what they read, a branch to its end before the next
        for _ in range(2 * len(self._graph.node) + 2):
            used = self._readers(flow, found)
            if joined := self._joined(used, flow):
                flow = joined
                continue
            further = [node for node in used if not self._ends_at(node, flow, found)]
            ends += [flow] * (not used)
            left_out += [flow] * (len(further) < len(used))
            flow = self._forked(further, flow, found, waiting, len(further) < len(used))
            while waiting:
                node, before = waiting.pop()
                try:
                    flow = self._step(node, before, found)
                    break
                except ModelError:
                    if not self._may_end_at(node, before, found):
                        raise
                    left_out.append(before)
            else:
                break
        else:
            raise self._damaged(ModelError(f"{self.path}: {flow.name}", "a cycle", "must not be"))
        if left_out:
            told = f"model.head_prefix: left out of {self.path.name}: what is behind the LSTM"
            found.assumptions.append(told)
            alike = {(flow.joined is None or flow.joined.is_last(len(found.layers)), flow.last) for flow in left_out}
            ends += left_out[:1] if alike <= {(True, left_out[0].last)} else left_out
        open_ends = [end.name for end in ends] + [name for name in found.joints if name not in found.flows]
        if len(open_ends) != 1 or not ends:
            rule = (
                "must lead to one output, and be joined of what comes from x; model.prefix begins at a node, "
                f"model.head_prefix = {NO_HEAD!r} ends behind the recurrent ones"
            )
            raise ModelError(self.path, f"branches that end in {', '.join(open_ends) or 'a cycle'}", rule)
        return self._finished(ends[0], found, options)

    def _is_joint(self, node, flow):
        """Whether a node joins tensors; h of all layers one behind the other is of a stack."""
        of_stack = node.op_type == "Concat" and flow.axes[0] in (ONE, BOTH) and _attributes(node).get("axis", 0) == 0
        return (
            node.op_type in _JOINTS and len(node.input) > 1 and not of_stack and not self._constants.keys() & node.input
        )

    def _is_complete(self, node, flow, found):
        """Whether all is there that a node joins, of which this is something."""
        name = node.output[0]
        check_joints(len(found.joints), self.path)
        there = found.joints.setdefault(name, {})
        there[flow.name] = flow
        return there.keys() >= set(node.input)

    def _settled(self, flow, found):
        """A tensor that several nodes read, or that is joined with others, as a vector of sources."""
        subject = f"{self.path}: {flow.name}"
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

    def _join(self, node, found, subject):
        """What a node makes of several tensors."""
        flows = [found.joints[node.output[0]][name] for name in node.input]
        first, kind, vectors = flows[0], node.op_type, [flow.joined for flow in flows]
        if any((flow.axes, flow.last, flow.all) != (first.axes, first.last, False) for flow in flows):
            found_axes = " and ".join(f"{flow.axes}{' of the last step' * flow.last}" for flow in flows)
            raise ModelError(subject, f"{kind} of {found_axes}", "must be of tensors with the same axes")
        if kind == "Concat":
            axis = first.axes[_attributes(node).get("axis", 0) % len(first.axes)]
            if axis != FEATURES:
                raise ModelError(subject, f"Concat along {axis}", "must be along the features")
            vector = Joined.beside(vectors, subject)
        else:
            factors = [1 / len(flows) if kind == "Mean" else 1.0] * len(flows)
            factors[1:] = [-factor if kind == "Sub" else factor for factor in factors[1:]]
            vector = Joined.added(vectors, factors, subject)
        return replace(first, name=node.output[0], features=vector.elements, joined=vector)

    @staticmethod
    def _alone(flow, found, subject, always=False):
        """A joined vector as the outputs of a linear layer; ``always``, if it is h of the layer in front alone, too."""
        if flow.joined is not None and (always or not flow.joined.is_last(len(found.layers))):
            found.chain.add(flow.joined.as_linear(len(found.layers), subject))
            found.every_step, found.final = not flow.last, flow.final
        return replace(flow, joined=None)

    @cached_property
    def _leading(self):
        """Names of tensors from which recurrent nodes follow."""
        found = set()
        for node in reversed(self._graph.node):
            if node.op_type in _RECURRENT or not found.isdisjoint(node.output):
                found.update(node.input)
        return found

    def _may_end_at(self, node, flow, found):
        """Whether a node may be left out with all behind it, since nothing but recurrent ones is wanted."""
        if found.options.head_prefix != NO_HEAD or not found.layers or self._is_joint(node, flow):
            return False
        return node.op_type not in _RECURRENT and self._leading.isdisjoint(node.output)

    def _ends_at(self, node, flow, found):
        """Whether it is left out: it does more than move axes."""
        return node.op_type not in _MOVES and self._may_end_at(node, flow, found)

    def _forked(self, used, flow, found, waiting, ends):
        """The tensor that some nodes read, which wait for their turn where nothing else is lacking; others may be left
        out."""
        joints = [node for node in used if self._is_joint(node, flow)]
        if len(used) + ends > 1 or joints:
            flow = self._settled(flow, found)
        for node in reversed(used):
            if node not in joints or self._is_complete(node, flow, found):
                waiting.append((node, flow))
        return flow

    def _readers(self, flow, found):
        """Nodes that compute with a tensor; its shape may be asked for besides."""
        found.flows[flow.name] = flow
        readers = [node for node in self._graph.node if flow.name in node.input and node.op_type != "Shape"]
        for node in [node for node in readers if node.op_type in ("Transpose", *_SAME)] if len(readers) > 1 else ():
            above = [other.op_type for other in self._graph.node if node.output[0] in other.input]
            if above and set(above) == {"Shape"}:
                readers.remove(node)
                found.flows[node.output[0]] = self._step(node, flow, found)
        return readers

    def _lengths(self, flow):
        """Axis -> its length, of those of the graph's input that have a fixed one."""
        given = next((value for value in self._graph.input if value.name == flow.name), None)
        sizes = [d.dim_value for d in given.type.tensor_type.shape.dim] if given is not None else []
        found = zip(flow.axes, sizes, strict=True) if len(sizes) == len(flow.axes) else ()
        return {axis: size for axis, size in found if size > 0 and axis in (TIME, BATCH, FEATURES)}

    def _finished(self, flow, found, options):
        if flow.name not in {output.name for output in self._graph.output} and options.head_prefix != NO_HEAD:
            raise ModelError(f"{self.path}: {flow.name}", "not an output of the graph", "must be the model's output")
        if len(self._graph.output) > 1:
            names = ", ".join(output.name for output in self._graph.output if output.name != flow.name)
            found.assumptions.append(f"model.path: outputs of {self.path.name} that are not given: {names}")
        flow = self._alone(flow, found, f"{self.path}: {flow.name}")
        linear, final = found.chain.layers, found.final if found.chain.layers else flow.final
        if not linear and flow.last:
            given = "the last h of both directions" if found.backward and final else "h of the last step"
            here = "that of every step is given, in the order of the run" if final and found.direction else ""
            here = here or "h of every step is given"
            found.assumptions.append(f"model.path: {self.path.name} gives {given}; here {here}")
        if BOTH in flow.axes or OF_LAYERS in flow.axes:
            what = f"h of both directions, with axes {flow.axes}"
            rule = "must be brought together by a Transpose and a Reshape, or by Gather and Concat"
            raise ModelError(f"{self.path}: {flow.name}", what, rule)
        if LAYERS in flow.axes and linear:
            rule = "must be of the last layer alone: a Gather takes it"
            raise ModelError(f"{self.path}: {flow.name}", "outputs for h of all layers", rule)
        if flow.all and not linear and options.head_prefix != NO_HEAD:
            rule = "must be read by a linear layer"
            raise ModelError(f"{self.path}: {flow.name}", "h of all steps side by side", rule)
        if found.repeated:
            rule = "must be read by a recurrent node or a linear layer"
            raise ModelError(f"{self.path}: {flow.name}", "the last step, repeated", rule)
        if linear and flow.last and found.every_step:
            self._chosen_behind(linear, found)
        mode = ALL if found.steps else FINAL if found.backward and final else HEAD_MODES[found.every_step]
        if linear:
            options.agree(self.path, mode)
        said = {"source": str(self.path), "functions": found.functions or USUAL}
        said["assumptions"] = tuple(found.assumptions)
        arrangement = Arrangement()
        if found.direction == b"reverse" and not found.steps:
            arrangement = self._reverse(linear, flow, found, final)
        if found.waits:
            most = found.repeats or options.most_steps or found.lengths.get(TIME)
            way = arrangement.reads, arrangement.sends
            return in_parts(found.parts, linear, mode, most, found.repeats or 0, *way, **said)
        if found.steps and found.direction == b"reverse":
            rule = "must be of nodes that read forward: the weights of each step are in the order of x"
            raise ModelError(f"{self.path}: {flow.name}", "h of all steps of a reverse direction", rule)
        said["arrangement"] = replace(arrangement, steps=found.steps)
        every_step = bool(linear) and found.every_step
        more, found.chain.layers = behind(linear, every_step)
        return FloatModel((*found.layers, *more), **found.chain.parts, **said, head_every_step=every_step)

    def _chosen_behind(self, linear, found):
        """The last step is chosen of what linear layers give, which read h of that step alone then."""
        reverse, both = found.direction == b"reverse", bool(found.parts[-1].backward)
        if reverse or both and len(linear) == 1 and linear[0].activation != "none":
            told = f"model.path: {self.path.name} gives outputs of the last step; here those of every step are given"
            found.assumptions.append(told)
        else:
            found.every_step = False

    def _reverse(self, linear, flow, found, final):
        """What software does for layers that all read from the end, whose h are in the order of x."""
        if final:
            return Arrangement("backward", "sent")
        if linear and not found.every_step or not linear and flow.last:
            what = "h of the last step, the first that a reverse direction computes"
            raise ModelError(f"{self.path}: {flow.name}", what, "must be Y_h, the last one")
        return Arrangement("backward", "backward")

    def _joined(self, used, flow):
        """h of both directions side by side, where two nodes take one each and a Concat joins them; of all layers', of
        which the last one's are last."""
        one = next((axis for axis in (BOTH, OF_LAYERS) if axis in flow.axes), None)
        if one is None or [node.op_type for node in used] != ["Gather"] * 2:
            return None
        axis, readers = flow.axes.index(one), []
        for node, places in zip(used, ((0, -2), (1, -1)) if one == BOTH else ((-2,), (-1,)), strict=True):
            index = self._constant(node.input[1], f"{self.path}: {_name(node)}")
            reader = [other for other in self._graph.node if node.output[0] in other.input]
            taken = _attributes(node).get("axis", 0) % len(flow.axes) == axis and index.ndim == 0
            if not taken or int(index) not in places or len(reader) != 1:
                return None
            readers += reader
        axes = tuple(name for name in flow.axes if name != one)
        joint = readers[0]
        names = [node.output[0] for node in used]
        if joint != readers[1] or joint.op_type != "Concat" or list(joint.input) != names:
            return None
        if axes[_attributes(joint).get("axis", 0) % len(axes)] != FEATURES:
            return None
        return replace(flow, name=joint.output[0], axes=axes, features=2 * flow.features)

    def _first(self, prefix):
        """The first LSTM node, or that of a name."""
        nodes = [node for node in self._graph.node if node.op_type in _RECURRENT]
        if not nodes:
            kinds = sorted({node.op_type for node in self._graph.node})
            inner = any(attribute.HasField("g") for node in self._graph.node for attribute in node.attribute)
            where = "the graph itself, not a graph inside a node" if inner else "it: an unrolled cell is not recognised"
            raise ModelError(self.path, f"no LSTM node among {', '.join(kinds)}", f"must have LSTM nodes in {where}")
        if prefix is not None:
            nodes = [node for node in nodes if node.name.startswith(prefix) or node.output[0].startswith(prefix)]
            if not nodes:
                names = sorted(node.name or node.output[0] for node in self._graph.node if node.op_type in _RECURRENT)
                raise ConfigError("model.prefix", repr(prefix), f"must begin one of {names}, as {self.path} has them")
        return nodes[0]

    def _before(self, start):
        """The graph's input with its axes, followed backwards from the first LSTM: nodes that move axes only."""
        flow, undo = start.input[0], []
        producers = {output: node for node in self._graph.node for output in node.output}
        while flow in producers:
            node = producers[flow]
            if node.op_type not in (*_SAME, "Transpose", *_OF_ONE, *_LINEAR, *_ACTIVATIONS, *_JOINTS):
                rule = (
                    f"must not stand before the LSTM; model.prefix = {start.name or start.output[0]!r} begins at the "
                    "LSTM, and what stands before it must then happen outside"
                )
                raise ModelError(f"{self.path}: {node.name or flow}", node.op_type, rule)
            undo.append(node)
            flow = next((name for name in node.input if name not in self._constants), node.input[0])
        axes = list(_input_axes(start))
        for node in undo:
            if node.op_type == "Transpose":
                order = self._order(node, len(axes))
                moved = [""] * len(axes)
                for to, from_ in enumerate(order):
                    moved[from_] = axes[to]
                axes = moved
            elif node.op_type in _OF_ONE:
                axes = self._smaller(node, axes, start)
        return _Flow(flow, tuple(axes))

    def _smaller(self, node, axes, start):
        """Axes in front of a node that adds axes of size one: that of the features where there is one alone, or that of
        the sequences."""
        subject = f"{self.path}: {_name(node)}"
        single = [BATCH, *[FEATURES] * (self._constant(start.input[1], subject).shape[-1:] == (1,))]
        if node.op_type == "Unsqueeze":
            gone = {at % len(axes) for at in self._axes_of(node, subject)}
        else:
            values = (*self._graph.input, *self._graph.value_info)
            rank = next((len(v.type.tensor_type.shape.dim) for v in values if v.name == node.input[0]), 0)
            gone = {at for at, axis in enumerate(axes) if axis == FEATURES and rank == len(axes) - 1}
            if rank not in (len(axes) - 1, len(axes)):
                gone = {len(axes)}
        if not all(at < len(axes) and axes[at] in single for at in gone):
            rule = (
                "must add the axis of sequences, or of features of which there is one; model.prefix = "
                f"{start.name or start.output[0]!r} begins at the LSTM, and what stands before must then happen outside"
            )
            raise ModelError(subject, f"{node.op_type} to {axes}", rule)
        return [axis for at, axis in enumerate(axes) if at not in gone]

    def _step(self, node, flow, found):
        """What becomes of a tensor in a node."""
        subject = f"{self.path}: {_name(node)}"
        kind = node.op_type
        if self._is_joint(node, flow):
            return self._join(node, found, subject)
        if kind in (*_ACTIVATIONS, "Tile", "Expand"):
            flow = self._alone(flow, found, subject, kind in _ACTIVATIONS)
        if kind in _RECURRENT:
            return self._recurrent(node, flow, found, subject)
        if kind in _SAME or kind in _JOINTS and len(node.input) == 1:
            if kind == "Cast" and _attributes(node).get("to") not in _floats():
                raise ModelError(subject, "a Cast to no floating-point type", "must be left out: it changes outputs")
            return replace(flow, name=node.output[0])
        if kind == "Transpose":
            order = self._order(node, len(flow.axes))
            return replace(flow, name=node.output[0], axes=tuple(flow.axes[at] for at in order))
        if kind in ("Squeeze", "Unsqueeze"):
            return self._squeezed(node, flow, subject)
        if kind in ("Gather", "Slice"):
            return self._last_step(node, flow, found, subject)
        if kind == "Concat" and flow.axes[0] in (ONE, BOTH) and flow.last and node.input[-1] == flow.name:
            if _attributes(node).get("axis", 0) == 0:  # h of all layers, the last layer's last
                first = LAYERS if flow.axes[0] == ONE else OF_LAYERS
                return replace(flow, name=node.output[0], axes=(first, *flow.axes[1:]))
        if kind in ("Tile", "Expand") and flow.last and found.layers:
            return self._repeated(node, flow, found, subject)
        flat = kind == "Flatten" and flow.axes[:1] == (BATCH,) and _attributes(node).get("axis", 1) == 1
        if kind == "Reshape" or flat:
            return self._reshaped(node, flow, found, subject)
        chain = found.chain
        if kind in _LINEAR[:3]:
            if found.repeated:  # the last step, in each step
                found.put([PlainWeights.same(flow.features, subject)], repeats=True)
                found.repeated = False
            dense = self._dense(node, flow, subject)
            chain.add(dense if flow.joined is None else flow.joined.read_by(dense, len(found.layers)))
            if flow.all and not found.steps:
                found.steps = chain.steps(found.layers[-1].hidden_size * found.parts[-1].directions)
            found.every_step, found.final = not (flow.last or flow.all), flow.final
            return replace(flow, name=node.output[0], features=chain.layers[-1].output_size, joined=None)
        if kind in _ACTIVATIONS and not chain.layers and self._may_be_alone(flow, found):
            chain.add(Joined.of(len(found.layers) - 1, flow.features, subject).as_linear(len(found.layers), subject))
            found.every_step, found.final = not flow.last, flow.final
        last = chain.layers[-1] if chain.layers else None
        if kind == "Add" and last is not None and last.activation == "none" and not last.bias.any():
            other = next(name for name in node.input if name != flow.name) if len(set(node.input)) > 1 else flow.name
            chain.check_open(subject)
            places = len(flow.axes) - flow.axes.index(FEATURES)
            bias = _bias(self._constant(other, subject), last.output_size, places, len(flow.axes), subject)
            chain.layers[-1] = replace(last, bias=bias, source=subject)
            return replace(flow, name=node.output[0])
        if kind in _ACTIVATIONS and last is not None and _attributes(node).get("alpha", 1.0) == 1.0:
            if kind in _SOFTMAX:
                self._check_softmax(node, flow, subject)
            chain.activate(kind, subject, _name(node))
            return replace(flow, name=node.output[0])
        what = f"{kind} behind {len(found.layers)} recurrent layers and {len(chain.layers)} linear layers"
        rule = (
            "must be LSTM, GRU or RNN nodes and Gemm, MatMul and Add, or Conv of width 1, with activations or without"
        )
        if not found.layers:
            rule += "; model.prefix begins at a node, and what stands before it must then happen outside"
        else:
            rule += f"; {self._way_out(node)}"
        raise ModelError(subject, what, rule)

    def _way_out(self, node):
        """What to do where a node behind recurrent ones cannot be read."""
        if self._leading.isdisjoint(node.output):
            return f"model.head_prefix = {NO_HEAD!r} takes what is in front, and the rest must then happen outside"
        return "what is in front of it and what is behind must be files of their own (onnx.utils.extract_model)"

    @staticmethod
    def _may_be_alone(flow, found):
        """Whether an activation may stand behind a tensor that no linear layer gives."""
        apart = {BOTH, OF_LAYERS, LAYERS} & {*flow.axes}
        return flow.features is not None and not (apart or flow.all or found.repeated)

    def _recurrent(self, node, flow, found, subject):
        gru, rnn = node.op_type == "GRU", node.op_type == "RNN"
        if flow.last:
            what = f"{'an LSTM' if node.op_type == 'LSTM' else f'a {node.op_type}'} behind a last step"
            raise ModelError(subject, what, "must stand before it")
        self._one_way(node, found, subject)
        found.put(found.chain.taken(subject))
        attributes, activations = _attributes(node), ACTIVATIONS[: 2 if gru else 3]
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
        wanted = _input_axes(node)
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
            if given[at] in self._inputs:
                found.assumptions.append(
                    f"model.path: {given[at]} of {self.path.name} is kept on the chip, zero at first"
                )
        gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[node.op_type]
        w_x, w_h = (self._constant(given[at], subject) for at in (1, 2))
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
        bias = self._constant(given[3], subject) if given[3] else np.zeros((directions, 2 * gates * units))
        check_shape(f"{subject}: B", bias.shape, (directions, 2 * gates * units))
        peepholes = [None] * directions
        if given[7]:
            held = self._constant(given[7], subject)
            check_shape(f"{subject}: P", held.shape, (directions, 3 * units))
            # ONNX has those of i, o and f.
            peepholes = held.reshape(directions, 3, units)[:, [0, 2, 1]] if held.any() else peepholes
        names = ((5, "initial_h"), (6, "initial_c"))[: 1 if gru or rnn else 2]
        initial = [
            self._initial(given[at], f"{subject}: {name}", directions, units, _layout(node)) for at, name in names
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
        read = {name for other in self._graph.node for name in other.input} | {o.name for o in self._graph.output}
        if outputs[1] in read and outputs[0] not in read:
            axes = (BATCH, counted, FEATURES) if _layout(node) else (counted, BATCH, FEATURES)
            return _Flow(outputs[1], axes, units, last=True, final=True)
        axes = (BATCH, TIME, counted, FEATURES) if _layout(node) else (TIME, counted, BATCH, FEATURES)
        return _Flow(outputs[0], axes, units)

    @staticmethod
    def _one_way(node, found, subject):
        """Refuse a node that reads backward behind or in front of others that do not."""
        direction = _attributes(node).get("direction", b"forward")
        before = found.direction
        if before is not None and direction != before and b"reverse" in (direction, before):
            rule = "must be that of all nodes, or bidirectional; run nodes of other directions as models of their own"
            raise ModelError(f"{subject}: direction", f"{direction!r:.80} behind {before!r}", rule)
        found.direction = direction

    def _initial(self, name, subject, directions, units, layout):
        """A state in the file, the same for all sequences: (directions, units); zeros where there is none, or an input
        is it."""
        if not name or name in self._inputs or self._is_zero(name):
            return np.zeros((directions, units))
        values = self._held(name, subject)
        at = int(bool(layout))
        if values.ndim != 3 or values.shape[at] != directions or values.shape[2] != units or not values.size:
            raise ModelError(subject, f"shape {values.shape}", f"must be ({directions}, 1, {units})")
        states = np.moveaxis(values, at, 0)
        if (states != states[:, :1]).any():
            raise ModelError(subject, f"{states.shape[1]} states", "must be the same for all sequences")
        return states[:, 0].astype(np.float64)

    def _held(self, name, subject):
        """A state that is stored, or some layers of one, which an Expand makes that of as many sequences as x has."""
        taken = slice(None)
        for kind in ("Slice", "Expand"):
            node = next((one for one in self._graph.node if name in one.output and one.op_type == kind), None)
            if node is not None and kind == "Slice":
                starts, ends, axes, steps = self._slice(node, subject)
                if [len(starts), len(ends), list(axes), list(steps) or [1]] != [1, 1, [0], [1]]:
                    raise ModelError(subject, f"Slice of axes {axes} of a state", "must take layers, the first axis")
                taken = slice(int(starts[0]), int(ends[0]))
            name = node.input[0] if node is not None else name
        values = self._constant(name, subject)
        return values[taken] if values.ndim else values

    def _squeezed(self, node, flow, subject):
        at = self._axes_of(node, subject)
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

    def _axes_of(self, node, subject):
        """The axes that a Squeeze or Unsqueeze names, or None."""
        at = _attributes(node).get("axes")
        if at is None and len(node.input) > 1:
            at = [int(value) for value in self._constant(node.input[1], subject).ravel()]
        return at

    def _last_step(self, node, flow, found, subject):
        """The last of an axis, by Gather or Slice: of time, of the layers of a Concat, or of one."""
        if node.op_type == "Gather":
            axis = _attributes(node).get("axis", 0)
            index = self._constant(node.input[1], subject)
            at = int(index.ravel()[0]) if index.size == 1 else None
            dropped = index.ndim == 0
        else:
            starts, ends, axes, steps = self._slice(node, subject)
            single = [len(starts), len(ends), len(axes)] == [1, 1, 1] and list(steps) in ([], [1])
            axis, dropped = int(axes[0]) if len(axes) == 1 else 0, False
            at = starts[0] if single and ends[0] >= _END else None
        kept, axis = list(flow.axes), axis % len(flow.axes)
        if kept[axis] == TIME and at is not None and at == found.lengths.get(TIME, 0) - 1:
            at = -1
        if at != -1 and not (at == 0 and kept[axis] == ONE) or kept[axis] not in (TIME, LAYERS, ONE):
            rule = "must take the last step of the axis of time, or the last layer's h"
            raise ModelError(subject, f"{node.op_type} of {at} of axis {axis} of {flow.axes}", rule)
        last = flow.last or kept[axis] == TIME
        kept[axis : axis + 1] = [] if dropped else [ONE]
        return replace(flow, name=node.output[0], axes=tuple(kept), last=last)

    def _slice(self, node, subject):
        attributes = _attributes(node)
        if "starts" in attributes:
            given = [attributes["starts"], attributes["ends"], attributes.get("axes", [0])]
            return (*given, [])
        parts = [self._constant(name, subject).ravel().tolist() if name else [] for name in node.input[1:]]
        parts += [[]] * (4 - len(parts))
        return parts[0], parts[1], parts[2] or list(range(len(parts[0]))), parts[3]

    def _reshaped(self, node, flow, found, subject):
        """What a Reshape or Flatten makes: axes of size one come and go, h of two directions comes together, steps and
        sequences become rows, and h of all steps comes side by side."""
        axes = [part for axis in flow.axes for part in ROWS.get(axis, (axis,)) if part != ONE]
        shape = [_size(0), _size(-1)] if node.op_type == "Flatten" else self._sizes(node.input[1], found, subject)
        shape = [_size_of(flow.axes[at], flow, found) if size == _size(0) else size for at, size in enumerate(shape)]
        sizes = [_size_of(axis, flow, found) for axis in axes]
        ways = [[self._merged(group, flow) for group in way] for way in _groups(axes, sizes, shape)]
        ways = [way for way in ways if None not in way]
        what = f"{node.op_type} of {flow.axes} to {[_spelled(size) for size in shape]}"
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
                f"where it goes side by side of all steps; {self._way_out(node)}"
            )
            raise ModelError(subject, what, rule)
        flow = self._alone(flow, found, subject)
        found.put(found.chain.taken(subject))
        return replace(flow, all=True)

    @staticmethod
    def _merged(group, flow):
        """What one axis may stand for of those of a group, or None; a single feature goes into any other axis."""
        if flow.features == 1 and group not in _MERGED:
            group = tuple(axis for axis in group if axis != FEATURES) or group
        return (group or (ONE,)) if len(group) < 2 or group in _MERGED else None

    def _repeated(self, node, flow, found, subject):
        """The last step, repeated in as many as there are, for recurrent nodes behind it."""
        sizes = self._sizes(node.input[1], found, subject)
        if sizes == [_size(1)] * len(flow.axes):
            return replace(flow, name=node.output[0])
        at = flow.axes.index(ONE) if flow.axes.count(ONE) == 1 else -1
        fits = len(sizes) == len(flow.axes) == 3 and sorted(flow.axes) == sorted((BATCH, ONE, FEATURES))
        for place, axis in enumerate(flow.axes if fits else ()):
            if place != at:
                known = (_size(1), _size(-1), _size_of(axis, flow, found)) if node.op_type == "Expand" else (_size(1),)
                fits &= sizes[place] in known
        steps = sizes[at] if fits else None
        fixed = found.lengths.get(TIME)
        if steps == _size(1, TIME):
            count = None
        elif fits and not steps[1] and 2 <= steps[0] <= MOST_STEPS and fixed in (None, steps[0]):
            count = steps[0]
        else:
            what = f"{node.op_type} of {flow.axes} to {[_spelled(size) for size in sizes]}"
            rule = "must repeat the last step in as many steps as x has"
            raise ModelError(subject, what, rule)
        if count is not None and found.repeats not in (None, count):
            raise ModelError(subject, f"{count} steps behind {found.repeats}", "must be as many as x has")
        if (found.parts[-1].backward or found.direction == b"reverse") and not flow.final:
            rule = "must be Y_h, the last of each direction: of Y the backward direction has just begun"
            raise ModelError(subject, "h of a backward direction of the last step, repeated", rule)
        before = found.chain.taken(subject)  # of the last step, which is the same of each of its repetitions
        found.put(before, repeats=True)
        found.repeats, found.repeated, found.every_step = count or found.repeats, not before, True
        axes = tuple(TIME if axis == ONE else axis for axis in flow.axes)
        return replace(flow, name=node.output[0], axes=axes, last=False, final=False)

    def _sizes(self, name, found, subject):
        """A shape that nodes compute: of each element (factor, axes), a number times what axes count."""
        producers, known = {output: node for node in self._graph.node for output in node.output}, {}
        wanted = [name]
        while wanted:  # without recursion, however deep the graph
            if len(known) + len(wanted) > MAX_NODES:
                raise self._damaged(ModelError(f"{subject}: {name}", "a cycle", "must not be"))
            now = wanted[-1]
            node = producers.get(now)
            if now in self._constants or node is None or node.op_type not in _OF_SHAPES:
                known[wanted.pop()] = [_size(int(value)) for value in self._constant(now, subject).ravel()[:MAX_AXES]]
            elif node.op_type == "Shape" and node.input[0] in found.flows:
                known[wanted.pop()] = self._shape_of(node, found)
            elif missing := [given for given in node.input if given and given not in known]:
                wanted += missing
            else:
                known[wanted.pop()] = self._computed(node, [known[given] for given in node.input if given], subject)
        return known[name]

    def _shape_of(self, node, found):
        """What a Shape node gives."""
        flow, attributes = found.flows[node.input[0]], _attributes(node)
        sizes = [_size_of(axis, flow, found) for axis in flow.axes]
        return sizes[attributes.get("start", 0) : attributes.get("end", len(sizes))]

    def _computed(self, node, given, subject):
        """What a node makes of shapes."""
        if node.op_type == "Concat":
            found = [size for part in given for size in part]
        elif node.op_type in ("Mul", "Equal", "Where"):
            longest = max(map(len, given))
            alike = zip(*(part * longest if len(part) == 1 else part for part in given), strict=True)
            make = {"Mul": _times, "Equal": lambda pair: _size(int(pair[0] == pair[1]))}
            found = [make.get(node.op_type, lambda three: three[1 if three[0][0] else 2])(some) for some in alike]
        elif node.op_type == "ConstantOfShape":
            values = [self._numbers(a.t, subject).ravel() for a in node.attribute if a.name == "value"]
            count = min(_times(given[0])[0], MAX_AXES + 1)
            found = [_size(int(values[0][0]) if values else 0)] * count
        elif node.op_type == "Gather":
            found = [given[0][factor] for factor, _ in given[1]]
        elif node.op_type == "Slice":
            starts, ends, axes, steps = self._slice(node, subject)
            if len(starts) != 1 or list(steps) not in ([], [1]):
                raise ModelError(subject, f"Slice of {len(starts)} axes of a shape", "must be of one, step by step")
            found = given[0][starts[0] : ends[0]]
        else:
            found = [_size(len(given[0]))] if node.op_type == "Shape" else given[0]
        return found[: MAX_AXES + 1]

    def _dense(self, node, flow, subject):
        kind, attributes = node.op_type, _attributes(node)
        weight = self._constant(next(name for name in node.input if name != flow.name), subject)
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
            bias = factor * _bias(self._constant(node.input[2], subject), len(weight), 1, 2, subject)
        check_shape(f"{subject}: weight", weight.shape, (None, None))
        return DenseWeights(weight, np.zeros(len(weight)) if bias is None else bias, source=subject)

    def _check_softmax(self, node, flow, subject):
        """Outputs keep their order under a softmax over them, not under one over steps or sequences."""
        versions = {opset.version for opset in self._model.opset_import if opset.domain in ("", "ai.onnx")}
        flat = max(versions, default=1) < _ONE_AXIS
        axis = _attributes(node).get("axis", 1 if flat else -1) % len(flow.axes)
        if FEATURES not in flow.axes[axis:] if flat else flow.axes[axis] != FEATURES:
            raise ModelError(subject, f"{node.op_type} of axis {axis} of {flow.axes}", "must be over the features")

    def _order(self, node, count):
        order = _attributes(node).get("perm", list(range(count))[::-1])
        if sorted(order) != list(range(count)):
            raise ModelError(f"{self.path}: {_name(node)}", f"perm {order}", f"must order {count} axes")
        return order

    def _is_zero(self, name):
        """Whether a state is zeros: a constant, or zeros made for the batch."""
        if name in self._constants:
            return not self._constant(name, f"{self.path}: {name}").any()
        producer = next((node for node in self._graph.node if name in node.output), None)
        if producer is None:
            return False
        if producer.op_type in ("Expand", "Slice", "Unsqueeze", "Squeeze", "Identity", "Reshape"):
            return self._is_zero(producer.input[0])
        if producer.op_type == "ConstantOfShape":
            values = [self._numbers(a.t, name) for a in producer.attribute if a.name == "value"]
            return not values or not values[0].any()
        return False

    def _constant(self, name, subject):
        if name not in self._constants:
            raise ModelError(f"{subject}: {name}", "not constant", "must be stored in the file")
        return self._numbers(self._constants[name], subject)

    def _numbers(self, tensor, subject):
        from onnx import TensorProto, numpy_helper

        if tensor.data_location == TensorProto.EXTERNAL:
            raise ModelError(f"{subject}: {tensor.name}", "data in another file", "must be in the file itself")
        if prod(tensor.dims) > MAX_VALUES or min(tensor.dims, default=1) < 0:
            raise ModelError(f"{subject}: {tensor.name}", f"shape {list(tensor.dims)[:8]}", "must be smaller")
        try:
            values = np.asarray(numpy_helper.to_array(tensor))
            return values.astype(np.float64 if values.dtype.kind not in "iu" else np.int64)
        except Exception as error:  # of a damaged tensor
            raise ModelError(f"{subject}: {tensor.name}", f"not readable ({error})", "must be numbers") from error


def _size(number, *axes):
    """A number times what axes count: (factor, axes)."""
    return number, axes


def _times(sizes):
    """The product of sizes."""
    return prod(factor for factor, _ in sizes), tuple(sorted(axis for _, axes in sizes for axis in axes))


def _size_of(axis, flow, found):
    """Size of an axis of a tensor."""
    if axis in ROWS:
        return _times([_size_of(part, flow, found) for part in ROWS[axis]])
    known = {ONE: 1, BOTH: 2, FEATURES: flow.features, **found.lengths}.get(axis)
    return _size(1, axis) if known is None else _size(known)


def _spelled(size):
    factor, axes = size
    return " x ".join([*[str(factor)] * (factor != 1 or not axes), *axes])


def _groups(axes, sizes, shape):
    """Every way to put axes, of sizes that may be one, into groups in order, one for each element of a shape; that of
    -1 takes any."""
    if not shape:
        return [] if axes else [[]]
    ends = range(len(axes) + 1)
    ends = [end for end in ends if shape[0] in (_size(-1), _times(sizes[:end]))]
    return [[tuple(axes[:end]), *way] for end in ends for way in _groups(axes[end:], sizes[end:], shape[1:])]


def _weights(gru, w_x, w_h, bias_x, bias_h, subject, initial, before):
    """A layer, from the matrices of a node."""
    if gru:
        return gru_of_zrh(w_x, w_h, bias_x, bias_h, subject, initial and initial[0], before)

    def gates(stacked):
        return stacked.reshape(4, -1, *stacked.shape[1:])[list(_GATES)].reshape(stacked.shape)

    return LstmWeights(gates(w_x), gates(w_h), gates(bias_x + bias_h), subject, initial)


def _bias(values, count, place, axes, subject):
    """What is added to ``count`` outputs, which are the axis at ``-place`` of ``axes``: (count,)."""
    one_each = values.size == count and values.ndim >= place and values.shape[-place] == count
    if values.ndim > axes or not (one_each or values.size == 1):
        wanted = ", ".join([str(count), *["1"] * (place - 1)])
        raise ModelError(f"{subject}: bias", f"shape {values.shape}", f"must be ({wanted}): one for each output")
    return np.broadcast_to(values.ravel(), (count,))


def _floats():
    from onnx import TensorProto

    return TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16


def _name(node):
    return node.name or next(iter(node.output), "a node without a name")


def _attributes(node) -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _layout(node):
    return _attributes(node).get("layout", 0)


def _input_axes(node):
    return (BATCH, TIME, FEATURES) if _layout(node) else (TIME, BATCH, FEATURES)
