"""What a planner needs to know of a model: kinds and sizes of its layers, without their weights."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..errors import ConfigError
from .arrangement import LAST, OF_X, WAITS
from .isa import ACTIVATIONS
from .limits import CELL_SUMS, GATES

WORTH = 0.75
"""Most weights of a matrix that may not be zero where leaving zeros out is worth a try, in rows that have any: 3 of 4,
as patterns have it. What zeros are left by rounding to a few bits are fewer."""


@dataclass(frozen=True)
class Start:
    """How a layer begins a sequence from another state than zero; see :mod:`.priming`.

    Parameters
    ----------
    repeats : int
        How often the first of the stages, cell steps from h = c = 0 to the state's c, comes; if never, it is not there.
    prime_columns : tuple of (exponent, columns)
        As those of a bias: the pre-activations of one of the stages; none of a plain layer, which has no c.
    first_columns : tuple of (exponent, columns)
        ... and what is added to the sums of the first step: what W_h makes of h.
    """

    repeats: int
    prime_columns: tuple[tuple[int, int], ...]
    first_columns: tuple[tuple[int, int], ...]

    @property
    def stages(self) -> int:
        """Stages that differ."""
        return (1 + (self.repeats > 0)) * bool(self.prime_columns)


@dataclass(frozen=True)
class Source:
    """A part of what a layer reads, where that is not the vector below alone.

    Parameters
    ----------
    layer : int
        Whose h it is, or ``OF_X``: x of the network.
    elements : int
    lift : int
        Places that its elements stand higher when they meet their weights.
    """

    layer: int
    elements: int
    lift: int


def _before(used):
    before = np.zeros((used.shape[1] + 1, len(used)), dtype=np.min_scalar_type(-used.shape[1] - 1))
    np.cumsum(np.ascontiguousarray(used.T), axis=0, out=before[1:])
    return before


@dataclass(frozen=True)
class LayerShape:
    """One layer.

    Parameters
    ----------
    kind : str
        ``lstm``, ``gru``, ``plain`` or ``linear``. A plain layer is one of activation(W_x x + W_h h + b) in the
        recurrent part of a network; linear layers are those behind it.
    inputs, outputs : int
        Lx and Lh; for a linear layer the lengths of its input and output vectors.
    shift : int
        Right shift from accumulator to pre-activation (to output, for a linear layer); left if negative.
    bias_columns : tuple of (exponent, columns)
        How the bias enters: constant operands 2**exponent, each for so many columns.
    lifts : tuple of int
        Places that an element of x and one of h stand higher when they meet their weights; of a linear layer, of its
        input vector and of the inputs that it skips.
    sum_bits : int
        Width that holds every sum of these weights, whatever the operands; 0 if nobody says so.
    used : tuple of bool arrays (rows, columns), optional
        Of each matrix, which weights are not zero; where nobody says so, all may be.
    skip : int
        Inputs of the network that a linear layer has columns for besides those of its own input vector, or 0.
    activation : str
        Of a plain or linear layer's outputs, one of :data:`~lstm_hw.machine.isa.ACTIVATIONS`.
    start : Start, optional
        How the layer begins a sequence from another state than zero.
    peephole_columns : tuple of (exponent, columns)
        As those of the bias: of the peepholes of an LSTM's i, f and o, or none.
    reads : int, optional
        Columns of W_h, where they are not as many as outputs: none of a plain layer without an h of its own, twice as
        many of a GRU that resets h before its product, for h and for r*h.
    projected : bool
        Whether the h that its sums read is that of the layer above it, a projection of its own.
    steps : int
        Of a linear layer that has weights of its own for h of each step of a sequence, their number, or 0. A run of
        more begins with those of the first again.
    directions : int
        Parts side by side, of which each reads its own part of the inputs and of h: the other weights are zeros.
    waits : str
        How it reads h of the layer below, of :data:`.arrangement.WAITS`.
    sources : tuple of Source
        What it reads side by side, if not the vector below alone. The first of its ``lifts`` is of none of them.
    """

    kind: str
    inputs: int
    outputs: int
    shift: int
    bias_columns: tuple[tuple[int, int], ...] = ((14, 1), (0, 1))
    lifts: tuple[int, int] = (0, 0)
    sum_bits: int = 0
    used: tuple[np.ndarray, ...] = field(default=(), compare=False, repr=False)
    skip: int = 0
    activation: str = "none"
    start: Start | None = None
    reads: int | None = None
    projected: bool = False
    steps: int = 0
    directions: int = 1
    waits: str = ""
    sources: tuple[Source, ...] = ()
    peephole_columns: tuple[tuple[int, int], ...] = ()

    def __post_init__(self):
        if self.sources and self.inputs != sum(source.elements for source in self.sources):
            found = f"{self.inputs} inputs"
            rule = f"must be the {' + '.join(str(source.elements) for source in self.sources)} of its sources"
            raise ConfigError("layer sources", found, rule)
        if self.peephole_columns and self.kind != "lstm":
            raise ConfigError("layer peepholes", f"of a layer of kind {self.kind}", "must be of kind lstm")
        if self.waits not in WAITS or self.waits and not self.is_recurrent:
            found = f"{self.waits!r} of a layer of kind {self.kind}"
            raise ConfigError("layer waits", found, f"must be one of {', '.join(WAITS)}; none of a linear layer")
        if self.steps and self.kind != "linear":
            raise ConfigError("layer steps", f"{self.steps} of a layer of kind {self.kind}", "must be of kind linear")
        kinds = (*CELL_SUMS, "plain", "linear")
        if self.kind not in kinds:
            raise ConfigError("layer kind", repr(self.kind), f"must be one of {', '.join(kinds)}")
        if self.activation not in ACTIVATIONS or self.activation != "none" and self.is_cell:
            rule = f"must be one of {', '.join(ACTIVATIONS)}; none but for a plain or linear layer"
            raise ConfigError("layer activation", repr(self.activation), rule)
        if self.inputs < 1 or self.outputs < 1:
            raise ConfigError("layer size", f"{self.inputs} x {self.outputs}", "must be at least 1 x 1")
        if self.skip and self.kind != "linear":
            raise ConfigError("layer skip", f"{self.skip} in a layer of kind {self.kind}", "must be in a linear layer")
        if self.start and not self.h_columns:
            found = f"a state of a layer of kind {self.kind} without an h"
            raise ConfigError("layer start", found, "must be of a recurrent layer with an h of its own")
        if self.projected and self.kind != "lstm":
            raise ConfigError("layer projected", f"a layer of kind {self.kind}", "must be of kind lstm")
        known = {"plain": (0, self.outputs), "gru": (self.outputs, 2 * self.outputs)}.get(self.kind, ())
        if self.reads is not None and not self.projected and self.reads not in known:
            rule = f"must be its own {self.outputs} outputs, or of a plain layer 0, or of a gru twice as many"
            raise ConfigError("layer reads", self.reads, rule)

    @cached_property
    def used_before(self) -> tuple[np.ndarray, ...]:
        """Of each matrix of ``used``, of a row how many weights are in front of a column: int (columns + 1, rows)."""
        return tuple(_before(used) for used in self.used)

    @property
    def is_cell(self) -> bool:
        """Whether its units are cells, with a c and four sums each."""
        return self.kind in CELL_SUMS

    @property
    def reset_before(self) -> bool:
        """Whether it is a GRU that resets h before its product."""
        return self.kind == "gru" and self.h_columns > self.outputs

    @property
    def is_recurrent(self) -> bool:
        """Whether it is of the recurrent part of a network, and works on every step."""
        return self.kind != "linear"

    @property
    def matrix_rows(self) -> int:
        return self.outputs * (GATES if self.is_cell else 1)

    @property
    def h_columns(self) -> int:
        """Columns of W_h, or none of a linear layer."""
        if not self.is_recurrent:
            return 0
        return self.outputs if self.reads is None else self.reads

    @property
    def columns(self) -> int:
        """Columns of the stacked matrix [W_x | W_h], or [W | S] of a linear layer with a skip."""
        return self.x_columns + (self.h_columns if self.is_recurrent else self.skip)

    @property
    def x_columns(self) -> int:
        """Columns of W_x, or of the matrix of a linear layer."""
        return self.inputs * max(1, self.steps)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one time step, of weights that are not zero by the kind of the layer; a GRU has three
        matrices of x and three of h."""
        if self.kind == "gru":
            return 3 * self.outputs * (self.inputs + self.outputs) // self.directions
        return self.matrix_rows * self.columns // self.directions

    def lift(self, part: str) -> int:
        """Places that an element stands higher that meets a weight of a part, ``x``, ``h`` or ``skip``."""
        return self.lifts[int(part != "x")]

    def source_of(self, column: int) -> tuple[Source, int]:
        """The source that a column of W_x is for, and the first column that is."""
        first = 0
        for source in self.sources:
            if column < first + source.elements:
                break
            first += source.elements
        return source, first

    def blocks(self, rows: int) -> int:
        """Row blocks of ``rows`` rows."""
        return -(-self.matrix_rows // rows)

    def gate_blocks(self, rows: int) -> int:
        """Row blocks of each gate, where rows of a row block are of one."""
        return -(-self.outputs // rows)

    def units(self, rows: int) -> int:
        """Outputs of a row block of ``rows`` rows: a cell has four, a plain or linear output one."""
        return rows // (GATES if self.is_cell else 1)


@dataclass(frozen=True)
class Network:
    """A stack of recurrent layers, with plain layers among them or without, and possibly a chain of linear layers; the
    last one is the head.

    Parameters
    ----------
    layers : tuple of LayerShape
    head_every_step : bool
    thresholds : tuple of int
        Least changes of x and of each recurrent layer's h that reach the sums; empty where x and h themselves do.
    sparse_h : tuple of int
        Of each recurrent layer, the least size of a group of its h that reaches its own sums; empty where all do.
    activity : tuple of float
        With thresholds, the share of elements that change by as much, as measured or assumed; with sparse_h, that of
        groups of each layer's h that are kept. Without it all of them may.
    kept : int
        Steps whose h is kept below a layer that waits for all of them; 0 where none does.
    repeats : int
        Steps of the layers from the first one on that repeats the last h below, and of the outputs; 0: as many as x.
    """

    layers: tuple[LayerShape, ...]
    head_every_step: bool = False
    thresholds: tuple[int, ...] = ()
    sparse_h: tuple[int, ...] = ()
    activity: tuple[float, ...] = ()
    kept: int = 0
    repeats: int = 0

    def __post_init__(self):
        kinds = [layer.kind for layer in self.layers]
        if not kinds or kinds[0] == "linear" or kinds != sorted(kinds, key="linear".__eq__):
            raise ConfigError("network", kinds, "must be one or more recurrent layers, then linear layers or none")
        if len({layer.kind for layer in self.recurrent if layer.is_cell}) > 1:
            raise ConfigError("network", kinds, "must have cells of one kind: an engine has one")
        for layer, above in zip(self.layers, (*self.layers[1:], None), strict=True):
            if layer.projected and (above is None or (above.kind, above.reads) != ("plain", 0)):
                raise ConfigError("network", kinds, "must have a plain layer without an h above a projected one")
            if layer.projected and layer.h_columns != above.outputs:
                found = f"{layer.h_columns} columns of h below {above.outputs} outputs"
                raise ConfigError("network", found, "must be equal where the layer above is the projection")
        if self.has_plain and (self.thresholds or self.sparse_h):
            name = "thresholds" if self.thresholds else "sparse_h"
            rule = "must be none: plain layers and projections have no lists of what changed"
            raise ConfigError("network", f"{name} for {', '.join(kinds)}", rule)
        if self.reset_before and (self.thresholds or self.sparse_h):
            name = "thresholds" if self.thresholds else "sparse_h"
            rule = "must be none: a GRU that resets h before its product has no lists of what changed"
            raise ConfigError("network", f"{name} for {', '.join(kinds)}", rule)
        layers, of_x = len(self.recurrent), not self.sparse_h
        for name, most in (("thresholds", 1 + layers), ("sparse_h", layers), ("activity", of_x + layers)):
            if len(getattr(self, name)) not in (0, most):
                vectors = "of x and of each h" if most > layers else "of each h"
                found = f"{len(getattr(self, name))} of {name}"
                raise ConfigError("network", found, f"must be none or {most}: {vectors}")
        if self.has_peepholes and (self.thresholds or self.sparse_h):
            name = "thresholds" if self.thresholds else "sparse_h"
            raise ConfigError("network", name, "must be none: layers with peepholes have no lists of what changed")
        peepholes = [bool(layer.peephole_columns) for layer in self.layers if layer.is_cell]
        if any(peepholes) and not all(peepholes):
            raise ConfigError("network", "layers with peepholes and without", "must have them all, or none")
        if self.thresholds and self.sparse_h:
            raise ConfigError("network", "thresholds and sparse_h", "must not be together: changes, or groups of h")
        if self.thresholds and self.skip:
            rule = "must be none: of x there is a list of what changed, which the head cannot add"
            raise ConfigError("delta", "thresholds for a model with a skip", rule)
        self._check_sources()
        for below, above in zip(self.layers, self.layers[1:], strict=False):
            if not above.sources and above.inputs != WAITS[above.waits] * below.outputs:
                raise ConfigError("network", f"{above.inputs} inputs after {below.outputs} outputs", "must be equal")
        skips, inputs = [layer.skip for layer in self.layers], self.layers[0].inputs
        if any(skips[:-1]) or skips[-1] not in (0, inputs):
            raise ConfigError("network: skip", skips, f"must be 0, or the {inputs} inputs in the last layer")
        steps = [layer.steps for layer in self.linear]
        if any(steps[1:]) or any(steps) and self.head_every_step:
            raise ConfigError("network: steps", steps, "must be of the first linear layer alone, once a sequence")
        if self.layers[0].waits or self.waits != (self.kept >= 2) or self.waits and (self.skip or self.gathers):
            found = f"layers {[layer.waits for layer in self.layers]} with {self.kept} steps"
            rule = "must be of layers behind the first, with 2 steps at least, without a skip or a layer of all steps"
            raise ConfigError("network: waits", found, rule)
        if self.repeats and (self.repeats > self.kept or self.repeating == len(self.recurrent)):
            found = f"{self.repeats} steps with {self.kept} of h that is kept, layers {[x.waits for x in self.layers]}"
            raise ConfigError("network: repeats", found, "must be no more, of a layer that repeats the last h below")
        if self.skip and not self.head_every_step:
            raise ConfigError("network: skip", "with a head on the last step", "must be with a head on every step")

    def _check_sources(self):
        for number, layer in enumerate(self.layers):
            for source in layer.sources:
                below = self.layers[source.layer] if 0 <= source.layer < min(number, len(self.recurrent)) else None
                there = self.layers[0].inputs if source.layer == OF_X and number else below and below.outputs
                if source.elements != there or below is not None and below.projected:
                    found = f"{source.elements} elements of {source.layer} in layer {number}"
                    rule = "must be all of x, or of h of a recurrent layer in front of it that is not projected"
                    raise ConfigError("network: sources", found, rule)
        if self.branches and (
            self.thresholds or self.sparse_h or self.waits or any(layer.directions > 1 for layer in self.layers)
        ):
            rule = "must be read step by step, in one direction, with no lists of what changed"
            raise ConfigError("network: sources", "a layer that reads several vectors", rule)
        last = any(source.layer == OF_X for layer in self.linear for source in layer.sources)
        late = self.linear[not self.gathers :]
        if any(layer.sources for layer in late) or last and not self.head_every_step:
            found = "of a linear layer that is not the first, or x for the last step"
            raise ConfigError("network: sources", found, "must be of layers on every step")

    @property
    def branches(self) -> bool:
        """Whether a layer reads something else than the layer below, as a skip around that."""
        return any(layer.sources for layer in self.layers)

    @property
    def last_of_x(self) -> int:
        """The last layer in a step that reads x of the network."""
        readers = [n for n, layer in enumerate(self.layers) if any(s.layer == OF_X for s in layer.sources)]
        return len(self.layers) - 1 if self.skip else max(readers, default=0)

    @property
    def kind(self) -> str:
        """Of all its cells; where there are none, ``lstm``: of those that stand idle in the engine."""
        return next((layer.kind for layer in self.layers if layer.is_cell), "lstm")

    @property
    def has_plain(self) -> bool:
        """Whether plain layers are among the recurrent ones."""
        return any(layer.kind == "plain" for layer in self.layers)

    @property
    def reset_before(self) -> bool:
        """Whether a layer is a GRU that resets h before its product."""
        return any(layer.reset_before for layer in self.layers)

    @property
    def recurrent(self) -> tuple[LayerShape, ...]:
        return tuple(layer for layer in self.layers if layer.is_recurrent)

    @property
    def linear(self) -> tuple[LayerShape, ...]:
        """The linear layers, the head last."""
        return tuple(layer for layer in self.layers if layer.kind == "linear")

    @property
    def head(self) -> LayerShape | None:
        return self.layers[-1] if self.layers[-1].kind == "linear" else None

    @property
    def starts(self) -> bool:
        """Whether a layer begins from another state than zero."""
        return any(layer.start for layer in self.layers)

    @property
    def has_peepholes(self) -> bool:
        """Whether gates of cells see c."""
        return any(layer.peephole_columns for layer in self.layers)

    @property
    def skip(self) -> bool:
        """Whether x reaches the outputs past the LSTM layers too."""
        return self.layers[-1].skip > 0

    @property
    def gathers(self) -> bool:
        """Whether a linear layer reads h of all steps."""
        return any(layer.steps for layer in self.layers)

    @property
    def waits(self) -> bool:
        """Whether a layer waits for h of all steps below."""
        return any(layer.waits for layer in self.layers)

    @property
    def phases(self) -> tuple[tuple[LayerShape, ...], ...]:
        """Recurrent layers that go through the steps together: a layer that waits begins anew."""
        firsts = [number for number, layer in enumerate(self.recurrent) if layer.waits or not number]
        ends = [*firsts[1:], len(self.recurrent)]
        return tuple(self.recurrent[first:end] for first, end in zip(firsts, ends, strict=True))

    @property
    def repeating(self) -> int:
        """The first layer that repeats the last h below, or how many recurrent layers there are if none does."""
        waits = [layer.waits in LAST for layer in self.recurrent]
        return [*waits, True].index(True)

    def steps_of(self, steps: int) -> tuple[int, ...]:
        """Of each layer, how many steps it takes where x has so many; a linear layer as many as it has outputs."""
        behind = len(self.recurrent) - self.repeating
        of_recurrent = [steps] * self.repeating + [self.repeats or steps] * behind
        return (*of_recurrent, *[self.output_vectors(steps)] * len(self.linear))

    @property
    def has_chain(self) -> bool:
        """Whether outputs of a plain or linear layer have an activation or feed another one: what a head does not
        need."""
        return self.has_plain or len(self.linear) > 1 or any(layer.activation != "none" for layer in self.linear)

    @property
    def traits(self) -> tuple[str, ...]:
        """What a schedule must have been made for, in words: whatever is not a cell that begins at zero, or a head."""
        found = {
            "thresholds": self.thresholds,
            "sparse_h": self.sparse_h,
            "an initial state": self.starts,
            "peepholes": self.has_peepholes,
            "a GRU that resets h before its product": self.reset_before,
            "plain layers": self.has_plain,
            "a projection": any(layer.projected for layer in self.layers),
            "a skip": self.skip,
            "a linear layer that reads all steps": self.gathers,
            "a layer that waits for all steps": self.waits,
            "a skip around a layer": self.branches,
        }
        return tuple(trait for trait, there in found.items() if there)

    @property
    def pruned(self) -> bool:
        """Whether a matrix is known to have so many zeros that leaving them out may be worth it."""
        used = [used[used.any(axis=1)] for layer in self.layers for used in layer.used]
        return any(rows.size and rows.mean() <= WORTH for rows in used)

    def macs(self, steps: int) -> int:
        """Useful multiply-accumulates of a whole sequence."""
        return sum(layer.macs * n for layer, n in zip(self.layers, self.steps_of(steps), strict=True))

    def output_vectors(self, steps: int) -> int:
        """Vectors on the output stream for a sequence."""
        return 1 if self.head and not self.head_every_step else self.repeats or steps

    @property
    def output_size(self) -> int:
        return self.layers[-1].outputs
