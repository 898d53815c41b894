"""Tensors on their way through an ONNX graph, by what their axes count, and what was met on the way."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...both_ways import Part
from ..chain import LinearChain
from ..joined import Joined
from ..options import ReadOptions
from .file import layout_of

TIME, BATCH, FEATURES, ONE, LAYERS, BOTH = "time", "batch", "features", "one", "layers", "directions"
OF_LAYERS = "directions of all layers"
Size = tuple[int, tuple[str, ...]]
"""A number times what axes count: (factor, axes)."""
ROWS = {f"{first} and {second}": (first, second) for first, second in ((BATCH, TIME), (TIME, BATCH))}
"""Axes that a Reshape made of two: a row for each step of each sequence."""


@dataclass(frozen=True)
class Flow:
    """A tensor on the way: what its axes count, how many features there are, whether it is the last step only, or, of
    every direction, that of its end, or h of all steps side by side; the vector, where that is not what the layer in
    front gives alone; and how many steps there are, where they are not those of x."""

    name: str
    axes: tuple[str, ...]
    features: int | None = None
    last: bool = False
    final: bool = False
    all: bool = False
    joined: Joined | None = None
    steps: int | None = None


@dataclass
class Found:
    """What was met on the way."""

    options: ReadOptions
    parts: list = field(default_factory=list)
    direction: bytes | None = None
    every_step: bool = True
    final: bool = False
    steps: int = 0
    functions: tuple[str, str] | None = None
    assumptions: list = field(default_factory=list)
    repeats: Size | None = None
    repeated: bool = False
    flows: dict = field(default_factory=dict)
    joints: dict = field(default_factory=dict)
    lengths: dict = field(default_factory=dict)

    def __post_init__(self):
        self.chain = LinearChain(self.assumptions, self.options)

    @property
    def layers(self) -> list:
        """The layers so far; of two directions the forward one."""
        return [layer for part in self.parts for layer in part.forward]

    @property
    def backward(self) -> bool:
        """Whether layers are of two directions."""
        return any(part.backward for part in self.parts)

    @property
    def waits(self) -> bool:
        """Whether layers are of two directions, or wait for others."""
        return len(self.parts) > 1 or self.backward

    def put(self, forward: Sequence, backward: Sequence = (), repeats: bool = False) -> None:
        """Layers behind those of the last part, in it where they read its h step by step."""
        if forward and self.parts and not (self.parts[-1].backward or backward or repeats):
            self.parts[-1].forward.extend(forward)
        elif forward:
            self.parts.append(Part(list(forward), list(backward), repeats))

    def alone(self, flow: Flow, subject: str, always: bool = False) -> Flow:
        """A joined vector as the outputs of a linear layer; ``always``, if it is h of the layer in front alone, too."""
        if flow.joined is not None and (always or not flow.joined.is_last(len(self.layers))):
            self.chain.add(flow.joined.as_linear(len(self.layers), subject))
            self.every_step, self.final = not flow.last, flow.final
        return replace(flow, joined=None)


def input_axes(node: Any) -> tuple[str, ...]:
    """Axes of the input of a recurrent node."""
    return (BATCH, TIME, FEATURES) if layout_of(node) else (TIME, BATCH, FEATURES)
