"""ONNX files: the nodes of a graph, their attributes, and the values that are stored."""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ....errors import ModelError
from ....reading import MAX_VALUES, read_file
from ...store import MAX_FILE_BYTES
from ..library_file import LibraryFile
from ..options import NO_HEAD

MAX_NODES = 1 << 14
"""Most nodes of a graph and of those inside it."""
RECURRENT = ("LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class OnnxFile(LibraryFile):
    """An ONNX file; parameters and errors are those of the base."""

    LIBRARY, KIND = ("onnx", "onnx"), "an ONNX file"

    def _open(self) -> None:
        self.graph  # noqa: B018 - reads it

    @cached_property
    def model_proto(self) -> Any:
        """The whole file."""
        onnx = self._library
        content = read_file(self.path, MAX_FILE_BYTES, ModelError)
        try:
            return onnx.load_model_from_string(content)
        except Exception as error:  # protobuf's own
            raise self._unreadable(error) from error

    @cached_property
    def graph(self) -> Any:
        """The nodes, the stored values, and what goes in and comes out."""
        graph = self.model_proto.graph
        if len(graph.node) > MAX_NODES:
            raise ModelError(self.path, f"{len(graph.node)} nodes", f"must not exceed {MAX_NODES}")
        if not graph.node:
            raise ModelError(self.path, "a graph without nodes", "must be an ONNX model")
        return graph

    @cached_property
    def constants(self) -> dict[str, Any]:
        """Name -> TensorProto of what does not depend on inputs."""
        found = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant" and node.output:
                for attribute in node.attribute:
                    if attribute.name == "value":
                        found[node.output[0]] = attribute.t
        return found

    @cached_property
    def inputs(self) -> set[str]:
        """Names of what the caller gives."""
        return {value.name for value in self.graph.input} - self.constants.keys()

    @cached_property
    def leading(self) -> set[str]:
        """Names of tensors from which recurrent nodes follow."""
        found = set()
        for node in reversed(self.graph.node):
            if node.op_type in RECURRENT or not found.isdisjoint(node.output):
                found.update(node.input)
        return found

    def constant(self, name: str, subject: str) -> np.ndarray:
        """A stored value; ModelError where it is computed."""
        if name not in self.constants:
            raise ModelError(f"{subject}: {name}", "not constant", "must be stored in the file")
        return self.numbers(self.constants[name], subject)

    def numbers(self, tensor: Any, subject: str) -> np.ndarray:
        """The values of a TensorProto: float64, or int64 of integers."""
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

    def is_zero(self, name: str) -> bool:
        """Whether a state is zeros: a constant, or zeros made for the batch."""
        if name in self.constants:
            return not self.constant(name, f"{self.path}: {name}").any()
        producer = next((node for node in self.graph.node if name in node.output), None)
        if producer is None:
            return False
        if producer.op_type in ("Expand", "Slice", "Unsqueeze", "Squeeze", "Identity", "Reshape"):
            return self.is_zero(producer.input[0])
        if producer.op_type == "ConstantOfShape":
            values = [self.numbers(a.t, name) for a in producer.attribute if a.name == "value"]
            return not values or not values[0].any()
        return False

    def order(self, node: Any, count: int) -> list[int]:
        """How a Transpose orders so many axes."""
        order = attributes_of(node).get("perm", list(range(count))[::-1])
        if sorted(order) != list(range(count)):
            raise ModelError(f"{self.path}: {name_of(node)}", f"perm {order}", f"must order {count} axes")
        return order

    def axes_of(self, node: Any, subject: str) -> list[int] | None:
        """The axes that a Squeeze or Unsqueeze names, or None."""
        at = attributes_of(node).get("axes")
        if at is None and len(node.input) > 1:
            at = [int(value) for value in self.constant(node.input[1], subject).ravel()]
        return at

    def slice(self, node: Any, subject: str) -> tuple[list, list, list, list]:
        """Starts, ends, axes and steps of a Slice."""
        attributes = attributes_of(node)
        if "starts" in attributes:
            given = [attributes["starts"], attributes["ends"], attributes.get("axes", [0])]
            return (*given, [])
        parts = [self.constant(name, subject).ravel().tolist() if name else [] for name in node.input[1:]]
        parts += [[]] * (4 - len(parts))
        return parts[0], parts[1], parts[2] or list(range(len(parts[0]))), parts[3]

    def way_out(self, node: Any) -> str:
        """What to do where a node behind recurrent ones cannot be read."""
        if self.leading.isdisjoint(node.output):
            return f"model.head_prefix = {NO_HEAD!r} takes what is in front, and the rest must then happen outside"
        return "what is in front of it and what is behind must be files of their own (onnx.utils.extract_model)"

    def damaged(self, error: Exception) -> ModelError:
        """What to say of a graph that cannot be."""
        found = f"a node that cannot be ({type(error).__name__}: {error})"
        return ModelError(self.path, found, "must be a model that onnx.checker accepts")


def name_of(node: Any) -> str:
    """What people know a node by."""
    return node.name or next(iter(node.output), "a node without a name")


def attributes_of(node: Any) -> dict[str, Any]:
    """Name -> value of the attributes that a node has."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def layout_of(node: Any) -> int:
    """Whether the axis of sequences is in front of that of time, in a recurrent node."""
    return attributes_of(node).get("layout", 0)
