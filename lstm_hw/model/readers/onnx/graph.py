"""The way through an ONNX graph, from its input to its output.

What stands between must be recurrent nodes, linear ones, sums and concatenations, nodes that only move axes, and the
choice of the last step. Every axis is known by what it counts, so a transposed batch is no other model, and a node that
mixes axes is refused by its name.
"""

from dataclasses import dataclass, replace

from ....errors import ConfigError, LstmHwError, ModelError
from ...float_model import FloatModel
from ..options import NO_HEAD, ReadOptions
from .file import RECURRENT, OnnxFile, attributes_of, name_of
from .flow import BATCH, BOTH, FEATURES, LAYERS, OF_LAYERS, ONE, TIME, Flow, Found, input_axes
from .joints import JOINTS, is_complete, is_joint, join, repeats, settled
from .linear import ACTIVATION_NODES, LINEAR_NODES, linear
from .moves import both_directions, last_step, repeated, reshaped, squeezed
from .outcome import outcome
from .recurrent import recurrent

_SAME = ("Identity", "Dropout", "Cast")
_MOVES = (*_SAME, "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Gather", "Slice", "Concat")
_OF_ONE = ("Unsqueeze", "Reshape")


@dataclass(frozen=True)
class OnnxGraph(OnnxFile):
    """An ONNX file as a model; parameters and errors are those of the file."""

    def contents(self) -> list[str]:
        """The nodes that hold weights, and the others by number."""
        lines, others = [], {}
        for node in self.graph.node:
            shapes = [
                "x".join(map(str, self.constants[name].dims))
                for name in node.input
                if name in self.constants and len(self.constants[name].dims) > 1
            ]
            if shapes:
                lines.append(f"{name_of(node)}: {node.op_type}, {', '.join(shapes)}")
            elif node.op_type != "Constant":
                others[node.op_type] = others.get(node.op_type, 0) + 1
        rest = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        return [*lines, *([f"without weights: {rest}"] if rest else [])]

    def model(self, options: ReadOptions) -> FloatModel:
        """The LSTM and its head."""
        self._check_options(options)
        options.refuse_tensors(self.path)
        if isinstance(options.prefix, tuple):
            raise ConfigError("model.prefix", list(options.prefix), "must be one: that of the first node")
        try:
            return self._read(options)
        except LstmHwError:
            raise
        except Exception as error:  # of nodes without inputs or outputs, or with attributes of another kind
            raise self.damaged(error) from error

    def _read(self, options):
        start = self._first(options.prefix)
        found = Found(options)
        if options.prefix is not None:
            flow = Flow(start.input[0], input_axes(start))
        else:
            flow = self._before(start)
            found.lengths = self._lengths(flow)
            flow = replace(flow, features=found.lengths.pop(FEATURES, None))
        waiting, ends, left_out = [], [], []  # nodes with what they read, a branch to its end before the next
        for _ in range(2 * len(self.graph.node) + 2):
            used = self._readers(flow, found)
            if joined := both_directions(self, used, flow):
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
            raise self.damaged(ModelError(f"{self.path}: {flow.name}", "a cycle", "must not be"))
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
        return outcome(self, ends[0], found, options)

    def _first(self, prefix):
        """The first LSTM node, or that of a name."""
        nodes = [node for node in self.graph.node if node.op_type in RECURRENT]
        if not nodes:
            kinds = sorted({node.op_type for node in self.graph.node})
            inner = any(attribute.HasField("g") for node in self.graph.node for attribute in node.attribute)
            where = "the graph itself, not a graph inside a node" if inner else "it: an unrolled cell is not recognised"
            raise ModelError(self.path, f"no LSTM node among {', '.join(kinds)}", f"must have LSTM nodes in {where}")
        if prefix is not None:
            nodes = [node for node in nodes if node.name.startswith(prefix) or node.output[0].startswith(prefix)]
            if not nodes:
                names = sorted(node.name or node.output[0] for node in self.graph.node if node.op_type in RECURRENT)
                raise ConfigError("model.prefix", repr(prefix), f"must begin one of {names}, as {self.path} has them")
        return nodes[0]

    def _before(self, start):
        """The graph's input with its axes, followed backwards from the first LSTM: nodes that move axes only."""
        flow, undo = start.input[0], []
        producers = {output: node for node in self.graph.node for output in node.output}
        while flow in producers:
            node = producers[flow]
            if node.op_type not in (*_SAME, "Transpose", *_OF_ONE, *LINEAR_NODES, *ACTIVATION_NODES, *JOINTS):
                rule = (
                    f"must not stand before the LSTM; model.prefix = {start.name or start.output[0]!r} begins at the "
                    "LSTM, and what stands before it must then happen outside"
                )
                raise ModelError(f"{self.path}: {node.name or flow}", node.op_type, rule)
            undo.append(node)
            flow = next((name for name in node.input if name not in self.constants), node.input[0])
        axes = list(input_axes(start))
        for node in undo:
            if node.op_type == "Transpose":
                order = self.order(node, len(axes))
                moved = [""] * len(axes)
                for to, from_ in enumerate(order):
                    moved[from_] = axes[to]
                axes = moved
            elif node.op_type in _OF_ONE:
                axes = self._smaller(node, axes, start)
        return Flow(flow, tuple(axes))

    def _smaller(self, node, axes, start):
        """Axes in front of a node that adds axes of size one: that of the features where there is one alone, or that of
        the sequences."""
        subject = f"{self.path}: {name_of(node)}"
        single = [BATCH, *[FEATURES] * (self.constant(start.input[1], subject).shape[-1:] == (1,))]
        if node.op_type == "Unsqueeze":
            gone = {at % len(axes) for at in self.axes_of(node, subject)}
        else:
            values = (*self.graph.input, *self.graph.value_info)
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

    def _lengths(self, flow):
        """Axis -> its length, of those of the graph's input that have a fixed one."""
        given = next((value for value in self.graph.input if value.name == flow.name), None)
        sizes = [d.dim_value for d in given.type.tensor_type.shape.dim] if given is not None else []
        found = zip(flow.axes, sizes, strict=True) if len(sizes) == len(flow.axes) else ()
        return {axis: size for axis, size in found if size > 0 and axis in (TIME, BATCH, FEATURES)}

    def _readers(self, flow, found):
        """Nodes that compute with a tensor; its shape may be asked for besides."""
        found.flows[flow.name] = flow
        readers = [node for node in self.graph.node if flow.name in node.input and node.op_type != "Shape"]
        for node in [node for node in readers if node.op_type in ("Transpose", *_SAME)] if len(readers) > 1 else ():
            above = [other.op_type for other in self.graph.node if node.output[0] in other.input]
            if above and set(above) == {"Shape"}:
                readers.remove(node)
                found.flows[node.output[0]] = self._step(node, flow, found)
        return readers

    def _forked(self, used, flow, found, waiting, ends):
        """The tensor that some nodes read, which wait for their turn where nothing else is lacking; others may be left
        out."""
        joints = [node for node in used if is_joint(self, node, flow)]
        if len(used) + ends > 1 or joints:
            flow = settled(self, flow, found)
        for node in reversed(used):
            if node not in joints or is_complete(self, node, flow, found):
                waiting.append((node, flow))
        return flow

    def _may_end_at(self, node, flow, found):
        """Whether a node may be left out with all behind it, since nothing but recurrent ones is wanted."""
        if found.options.head_prefix != NO_HEAD or not found.layers or is_joint(self, node, flow):
            return False
        return node.op_type not in RECURRENT and self.leading.isdisjoint(node.output)

    def _ends_at(self, node, flow, found):
        """Whether it is left out: it does more than move axes."""
        return node.op_type not in _MOVES and self._may_end_at(node, flow, found)

    def _step(self, node, flow, found):
        """What becomes of a tensor in a node."""
        subject = f"{self.path}: {name_of(node)}"
        kind = node.op_type
        if is_joint(self, node, flow):
            return join(node, found, subject)
        again = repeats(node, flow)
        if kind in ACTIVATION_NODES or again:
            flow = found.alone(flow, subject, kind in ACTIVATION_NODES)
        if kind in RECURRENT:
            return recurrent(self, node, flow, found, subject)
        if kind in _SAME or kind in JOINTS and len(node.input) == 1:
            if kind == "Cast" and attributes_of(node).get("to") not in _floats():
                raise ModelError(subject, "a Cast to no floating-point type", "must be left out: it changes outputs")
            return replace(flow, name=node.output[0])
        if kind == "Transpose":
            order = self.order(node, len(flow.axes))
            return replace(flow, name=node.output[0], axes=tuple(flow.axes[at] for at in order))
        if kind in ("Squeeze", "Unsqueeze"):
            return squeezed(self, node, flow, subject)
        if kind in ("Gather", "Slice"):
            return last_step(self, node, flow, found, subject)
        if again and found.layers:
            return repeated(self, node, flow, found, subject)
        if kind == "Concat" and flow.axes[0] in (ONE, BOTH) and flow.last and node.input[-1] == flow.name:
            if attributes_of(node).get("axis", 0) == 0:  # h of all layers, the last layer's last
                first = LAYERS if flow.axes[0] == ONE else OF_LAYERS
                return replace(flow, name=node.output[0], axes=(first, *flow.axes[1:]))
        flat = kind == "Flatten" and flow.axes[:1] == (BATCH,) and attributes_of(node).get("axis", 1) == 1
        if kind == "Reshape" or flat:
            return reshaped(self, node, flow, found, subject)
        if (computed := linear(self, node, flow, found, subject)) is not None:
            return computed
        what = f"{kind} behind {len(found.layers)} recurrent layers and {len(found.chain.layers)} linear layers"
        rule = (
            "must be LSTM, GRU or RNN nodes and Gemm, MatMul and Add, or Conv of width 1, with activations or without"
        )
        if not found.layers:
            rule += "; model.prefix begins at a node, and what stands before it must then happen outside"
        else:
            rule += f"; {self.way_out(node)}"
        raise ModelError(subject, what, rule)


def _floats():
    from onnx import TensorProto

    return TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16
