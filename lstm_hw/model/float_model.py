"""A trained LSTM, GRU or plain RNN in floating point: what the loaders return and the quantiser reads.

Notation: Lx inputs, H hidden units, O outputs of the head. A unit has four sums of products, stacked with H rows each:
of an LSTM its gates in the order i, f, g, o (input, forget, candidate, output), of a GRU r, z, n_x, n_h (reset, update,
candidate of x and candidate of h). A unit of a plain layer has one. W_h of a GRU that resets h before its product has H
columns for h and H for r*h.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError, ModelError
from ..machine.arrangement import LAST, PLAIN, WAITS, Arrangement, directions_of
from ..machine.isa import ACTIVATIONS
from ..machine.limits import CELL_SUMS, GATES, PEEPHOLES
from .functions import LEFT_OUT, SIGMOIDS, TANHS, USUAL
from .sources import check_sources, read_size

HEAD = "head"
"""What the last linear layer and its matrix are called."""
MAX_SIZE = 1 << 16
"""Largest input, hidden or output size."""


def check_shape(subject: str, found: Sequence[int], expected: Sequence[int | None]) -> None:
    """Refuse a shape other than ``expected``; ``None`` stands for any size from 1 to ``MAX_SIZE``."""

    def fits(size, wanted):
        return 1 <= size <= MAX_SIZE if wanted is None else size == wanted

    if len(found) != len(expected) or not all(map(fits, found, expected)):
        wanted = ", ".join(f"1..{MAX_SIZE}" if size is None else str(size) for size in expected)
        raise ModelError(subject, f"shape {tuple(found)}", f"must be ({wanted})")


def hidden_size_of(subject: str, shape: Sequence[int], sums: int = 4) -> int:
    """Hidden size H of a recurrent matrix, whose shape must be (``sums`` H, H)."""
    if len(shape) != 2 or shape[0] != sums * shape[1] or not 1 <= shape[1] <= MAX_SIZE:
        raise ModelError(subject, f"shape {tuple(shape)}", f"must be ({sums}H, H) with H from 1 to {MAX_SIZE}")
    return shape[1]


def check_activation(subject: str, activation: str) -> None:
    """Refuse an activation of a linear layer that there is not."""
    if activation not in ACTIVATIONS:
        raise ModelError(f"{subject}: activation", repr(activation), f"must be one of {', '.join(ACTIVATIONS)}")


def check_chain(
    source: str, layers: Sequence, dense: Sequence, head: object, head_every_step: bool, steps: int = 0
) -> None:
    """Refuse linear layers that do not follow the LSTM and one another: ``dense``, then ``head``, or none at all; the
    first of which reads h of all steps where there are so many, one behind the other."""
    if steps and (head is None or head_every_step):
        found = "without a linear layer" if head is None else "on every step"
        raise ModelError(f"{source}: arrangement", f"{steps} steps {found}", "must be those that a linear layer reads")
    if head is None and head_every_step:
        raise ModelError(f"{source}: head_every_step", "true without a head", "must be false")
    if head is None and dense:
        raise ModelError(f"{source}: dense", f"{len(dense)} linear layers without a head", "must be none")
    size, below = layers[-1].hidden_size, "hidden units of the last layer"
    if head is not None and (first := (*dense, head)[0]).sources:
        size, below = read_size(layers, first.sources), "elements of its sources"
    if steps:
        size, below = steps * size, f"{below} in {steps} steps"
    for number, layer in enumerate((*dense, *[head] * (head is not None))):
        if layer.input_size != size:
            subject = f"dense {number}" if number < len(dense) else "head"
            raise ModelError(f"{source}: {subject}", f"{layer.input_size} inputs", f"must be the {size} {below}")
        size, below = layer.output_size, f"outputs of dense {number}"


def check_finite(subject: str, values: np.ndarray) -> None:
    """Refuse NaN and infinity."""
    if not np.all(np.isfinite(values)):
        raise ModelError(subject, f"{np.count_nonzero(~np.isfinite(values))} values NaN or infinite", "must be finite")


def _adopt(owner, **shapes):
    """Replace the named fields by checked, read-only float64 copies."""
    for name, expected in shapes.items():
        object.__setattr__(owner, name, _adopted(f"{owner.source}: {name}", getattr(owner, name), expected))


def _adopted(subject, values, expected):
    """A checked, read-only float64 copy of an array."""
    try:
        values = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(subject, str(error), "must be an array of numbers") from error
    check_shape(subject, values.shape, expected)
    check_finite(subject, values)
    values.setflags(write=False)
    return values


@dataclass(frozen=True, eq=False)
class RecurrentWeights:
    """What layers of all kinds have: so many sums a unit, ``SUMS``, W_x x + W_h h + bias.

    Parameters
    ----------
    w_x : float64 array (4H, Lx)
    w_h : float64 array (4H, H), or (4H, 2H) of a GRU that resets h before its product
    bias : float64 array (4H,)
        The sum of all biases of a row.
    source : str
        Where it comes from, for messages.
    initial : pair of float64 arrays (H,), optional
        h and c that a sequence starts from; zeros without it. Both are h of a GRU and of a plain layer; the h of a
        projected one is that of its projection, which nobody reads of itself.
    projected : bool
        Whether the h that ``w_h`` multiplies is that of the layer above, a plain one of P outputs: a projection. Then
        ``w_h`` is (4H, P).
    waits : str
        How it reads h of the layer below, of :data:`~lstm_hw.machine.arrangement.WAITS`.
    sources : tuple of int
        What it reads side by side, if not h of the layer below alone; see :mod:`.sources`.
    peepholes : float64 array (3, H), optional
        Of an LSTM, weights of c in i, f and o: of the c of the step before, and in o of the new one.

    Raises
    ------
    ModelError
        Shapes that do not agree, NaN or infinity, or what a layer of the kind does not have.
    """

    w_x: np.ndarray
    w_h: np.ndarray
    bias: np.ndarray
    source: str = "recurrent layer"
    initial: tuple[np.ndarray, np.ndarray] | None = None
    projected: bool = False
    waits: str = field(default="", kw_only=True)
    sources: tuple[int, ...] = field(default=(), kw_only=True)
    peepholes: np.ndarray | None = field(default=None, kw_only=True)

    KIND: ClassVar[str]
    """Of ``CELL_SUMS``, or ``plain``."""
    SUMS: ClassVar[int] = GATES
    """Sums of a unit."""

    def __post_init__(self):
        shape, hidden = hidden_rows(self)
        _adopt(self, w_h=shape, w_x=(self.SUMS * hidden, None), bias=(self.SUMS * hidden,))
        check_structure(self)
        if self.peepholes is not None:
            check_peepholes(self)
            _adopt(self, peepholes=(len(PEEPHOLES), hidden))
        if self.initial is not None:
            values = _adopted(f"{self.source}: initial h and c", list(self.initial), (2, hidden))
            if self.KIND != "lstm" and not np.array_equal(*values):
                found = f"an h and another c of kind {self.KIND}"
                raise ModelError(f"{self.source}: initial state", found, "must be h twice but for an LSTM")
            object.__setattr__(self, "initial", (values[0], values[1]))

    @property
    def input_size(self) -> int:
        return self.w_x.shape[1]

    @property
    def hidden_size(self) -> int:
        return len(self.w_h) // self.SUMS

    @property
    def reset_before(self) -> bool:
        """Whether it is a GRU that resets h before its product."""
        return is_reset_before(self)


class LstmWeights(RecurrentWeights):
    """One LSTM layer: c' = f*c + i*g, h' = o*tanh(c')."""

    KIND = "lstm"


class GruWeights(RecurrentWeights):
    """One GRU layer: n = tanh(n_x + r*n_h), h' = (1 - z)*n + z*h.

    Reset after its product, n_x reads x alone and n_h reads h alone: the other weights of their rows are zero. Reset
    before it, W_h multiplies h and behind it r*h, which n_x alone reads, and n_h nothing.
    """

    KIND = "gru"

    @classmethod
    def of_gates(
        cls,
        w_x: np.ndarray,
        w_h: np.ndarray,
        bias_x: np.ndarray,
        bias_h: np.ndarray,
        source: str,
        h: np.ndarray | None = None,
        reset_before: bool = False,
    ) -> "GruWeights":
        """From the three gates r, z, n, as ``torch.nn.GRU`` stacks them.

        Parameters
        ----------
        w_x : array (3H, Lx)
        w_h : array (3H, H)
        bias_x, bias_h : array (3H,)
            Beside the products of x, and of h; that of h in n is inside of what r is multiplied by, unless r
            multiplies h.
        source : str
        h : array (H,), optional
            That a sequence starts from; zeros without it.
        reset_before : bool
            Whether n = tanh(W x + b + U (r*h)), and not tanh(W x + b + r*(U h + b')).
        """
        both, last = slice(0, 2 * len(w_h) // 3), slice(2 * len(w_h) // 3, None)
        initial = None if h is None else (h, h)

        def stacked(of_x, of_h):
            return np.concatenate([of_x, of_h])

        w_x = stacked(w_x, np.zeros_like(w_x[last]))
        nothing = np.zeros_like(w_h[last])
        if reset_before:
            w_h = np.block([[w_h[both], np.zeros_like(w_h[both])], [nothing, w_h[last]], [nothing, nothing]])
            return cls(w_x, w_h, stacked(bias_x + bias_h, np.zeros_like(bias_x[last])), source, initial)
        return cls(
            w_x,
            stacked(w_h[both], stacked(nothing, w_h[last])),
            stacked(bias_x[both] + bias_h[both], stacked(bias_x[last], bias_h[last])),
            source,
            initial,
        )


@dataclass(frozen=True, eq=False)
class PlainWeights(RecurrentWeights):
    """One plain layer, y' = activation(W_x x + W_h y + bias): a plain RNN, or without an h, ``w_h`` of shape (H, 0), a
    linear layer on every step in front of a recurrent one, or the projection of the layer below.

    Parameters
    ----------
    activation : str
        One of :data:`~lstm_hw.machine.isa.ACTIVATIONS`.
    """

    activation: str = "none"

    KIND = "plain"
    SUMS = 1

    def __post_init__(self):
        check_activation(self.source, self.activation)
        super().__post_init__()

    @classmethod
    def same(cls, size: int, source: str) -> "PlainWeights":
        """A layer whose outputs are its inputs."""
        return cls(np.eye(size), np.zeros((size, 0)), np.zeros(size), source)

    @classmethod
    def of_dense(cls, layer: "DenseWeights") -> "PlainWeights":
        """A linear layer where recurrent ones follow it."""
        nothing = np.zeros((layer.output_size, 0))
        return cls(layer.weight, nothing, layer.bias, layer.source, activation=layer.activation, sources=layer.sources)


def hidden_rows(layer: Any) -> tuple[tuple[int, int], int]:
    """Shape that W_h of a layer, float or quantised, must have, and its hidden size H; ModelError for another one."""
    subject, shape = f"{layer.source}: w_h", np.shape(layer.w_h)
    if layer.KIND == "gru" and len(shape) == 2 and shape[0] == 2 * shape[1]:  # reset before
        return shape, hidden_size_of(subject, (shape[0], shape[1] // 2), layer.SUMS)
    if not layer.projected and (layer.KIND != "plain" or len(shape) != 2 or shape[1]):
        hidden = hidden_size_of(subject, shape, layer.SUMS)
        return (layer.SUMS * hidden, hidden), hidden
    if layer.projected and layer.KIND != "lstm":
        raise ModelError(subject, f"a projected layer of kind {layer.KIND}", "must be of kind lstm")
    rows, columns = shape if len(shape) == 2 else (0, 0)
    if not rows or rows % layer.SUMS or rows > layer.SUMS * MAX_SIZE or bool(columns) != layer.projected:
        raise ModelError(subject, f"shape {tuple(shape)}", f"must be ({layer.SUMS}H, {'P' if layer.projected else 0})")
    return (rows, columns), rows // layer.SUMS


def is_reset_before(layer: Any) -> bool:
    """Whether a layer, float or quantised, is a GRU that resets h before its product: W_h has columns for r*h too."""
    return layer.KIND == "gru" and layer.w_h.shape[1] > layer.hidden_size


def unread(layer: Any) -> dict[str, list[tuple[slice, slice]]]:
    """Where each matrix of a recurrent layer is zero by the kind of its cell: matrix -> (rows, columns) of each part;
    those of a GRU's candidate, and of r*h."""
    if layer.KIND != "gru":
        return {}
    units, every = layer.hidden_size, slice(None)
    gates, n_x, n_h = slice(0, 2 * units), slice(2 * units, 3 * units), slice(3 * units, 4 * units)
    if not layer.reset_before:
        return {"w_x": [(n_h, every)], "w_h": [(n_x, every)]}
    h, reset = slice(0, units), slice(units, 2 * units)
    return {"w_x": [(n_h, every)], "w_h": [(n_h, every), (n_x, h), (gates, reset)]}


def check_structure(layer: Any) -> None:
    """Refuse weights where the kind of a layer has none."""
    for name, parts in unread(layer).items():
        for rows, columns in parts:
            if np.any(getattr(layer, name)[rows, columns]):
                within = "" if columns.stop is None else f" and columns {columns.start} to {columns.stop - 1}"
                rule = (
                    f"must be zero in rows {rows.start} to {rows.stop - 1}{within}, which a {layer.KIND} does not have"
                )
                raise ModelError(f"{layer.source}: {name}", "weights", rule)


@dataclass(frozen=True, eq=False)
class DenseWeights:
    """A linear layer: y = weight h + bias, and of a head with a skip y = weight h + skip x + bias.

    Parameters
    ----------
    weight : float64 array (O, I)
    bias : float64 array (O,)
    source : str
        Where it comes from, for messages.
    skip : float64 array (O, Lx), optional
        Matrix of the network's inputs x, which reach the outputs past the LSTM layers; see :func:`skip_matrix`.
    activation : str
        Of y, one of :data:`~lstm_hw.machine.isa.ACTIVATIONS`.
    sources : tuple of int
        What the first linear layer reads, as of :class:`RecurrentWeights`.

    Raises
    ------
    ModelError
        Shapes that do not agree, NaN or infinity, or an unknown activation.
    """

    weight: np.ndarray
    bias: np.ndarray
    source: str = "linear layer"
    skip: np.ndarray | None = None
    activation: str = "none"
    sources: tuple[int, ...] = ()

    def __post_init__(self):
        check_activation(self.source, self.activation)
        _adopt(self, weight=(None, None))
        _adopt(self, bias=self.weight.shape[:1])
        if self.skip is not None:
            _adopt(self, skip=(self.output_size, None))

    @property
    def input_size(self) -> int:
        return self.weight.shape[1]

    @property
    def output_size(self) -> int:
        return self.weight.shape[0]


def skip_matrix(subject: str, added: int, inputs: int, outputs: int) -> np.ndarray:
    """The matrix of a skip that adds the first inputs to the outputs: input n to output n, or the first to all.

    Parameters
    ----------
    subject : str
        What says it, for messages.
    added : int
        How many inputs are added.
    inputs, outputs : int
        Lx and O.

    Returns
    -------
    float64 array (O, Lx)

    Raises
    ------
    ModelError
        Neither one input is added nor as many as there are outputs, or there are not as many inputs.
    """
    if added not in (1, outputs) or added > inputs:
        raise ModelError(subject, added, f"must be 1 or the {outputs} outputs, and at most the {inputs} inputs")
    matrix = np.zeros((outputs, inputs))
    matrix[np.arange(outputs), np.arange(outputs) % added] = 1
    return matrix


def check_stack(layers: Sequence, source: object) -> None:
    """Refuse cells of several kinds, and a projected layer without its projection, or its state."""
    kinds = list(dict.fromkeys(layer.KIND for layer in layers if layer.KIND in CELL_SUMS))
    if len(kinds) > 1:
        rule = "must be of one kind: the cells of an engine are; run the layers of each kind as a model of their own"
        raise ModelError(source, f"layers of {' and of '.join(kinds)}", rule)
    for layer, above in zip(layers, (*layers[1:], None), strict=True):
        if layer.projected and not is_projection(above, layer.w_h.shape[1]):
            rule = f"must have a plain layer of {layer.w_h.shape[1]} outputs above it, without activation or h"
            raise ModelError(layer.source, "a projected layer", rule)
        if layer.projected and (layer.initial is None) != (above.initial is None):
            rule = "must begin from a state with its projection, whose h its sums read, or without"
            raise ModelError(f"{layer.source}: initial state", "of one layer of two", rule)


def check_peepholes(layer: Any) -> None:
    """Refuse peepholes of a layer, float or quantised, that is no LSTM."""
    if layer.KIND != "lstm":
        raise ModelError(f"{layer.source}: peepholes", f"of a layer of kind {layer.KIND}", "must be of an LSTM")


def refuse_peepholes(model: Any, what: str) -> None:
    """Refuse peepholes of a model, float or quantised, where something is not made for them."""
    if any(layer.peepholes is not None for layer in model.layers):
        raise ConfigError(what, "for layers with peepholes", "must be for layers without peepholes")


def is_projection(layer: Any, size: int) -> bool:
    """Whether a layer, or None, can be a projection to so many elements."""
    plain = layer is not None and layer.KIND == "plain" and layer.activation == "none"
    return plain and layer.w_h.shape == (size, 0)


def cells_of(layers: Sequence) -> tuple:
    """Those of a model's recurrent layers that are cells: an LSTM's or a GRU's, not plain ones."""
    return tuple(layer for layer in layers if layer.KIND in CELL_SUMS)


def kind_of(layers: Sequence) -> str:
    """Kind of a model's cells; of one that has none, ``lstm``: of those that stand idle in its engine."""
    return next((layer.KIND for layer in cells_of(layers)), "lstm")


def refuse_plain(model: Any, what: str) -> None:
    """Refuse what plain layers and projections are not done for."""
    if any(layer.KIND == "plain" for layer in model.layers):
        kinds = ", ".join(layer.KIND for layer in model.layers)
        raise ConfigError(what, f"for a model of {kinds} layers", "must be for one of LSTM or GRU layers alone")


@dataclass(frozen=True, eq=False)
class FloatModel:
    """Recurrent layers, the first one first, whose cells are of one kind, and optionally a linear head, with linear
    layers in front of it or without.

    Parameters
    ----------
    layers : tuple of RecurrentWeights
    head : DenseWeights or None
    head_every_step : bool
        Whether the head reads the hidden state of every step rather than that of the last one.
    source : str
        Where it comes from, for messages.
    assumptions : tuple of str
        What nobody said and a reader had to assume, a sentence each.
    dense : tuple of DenseWeights
        Linear layers between the last recurrent layer and the head, the first one first.
    functions : pair of str
        What stands for sigmoid and for tanh in all cells, of :data:`.functions.SIGMOIDS` and :data:`.functions.TANHS`.
    arrangement : Arrangement
        How x of the network reaches the layers, and how outputs of the network come from those of the last one.
    left_out : str
        What stands behind the outputs in the file and is no part of the model, of :data:`.functions.LEFT_OUT`.

    Raises
    ------
    ModelError
        No layer, cells of both kinds, unknown functions, or others than those of a linear layer, sizes of neighbours
        that differ, ``head_every_step`` or ``dense`` without a head, or an arrangement that the last layer's outputs do
        not have.
    """

    layers: tuple[RecurrentWeights, ...]
    head: DenseWeights | None = None
    head_every_step: bool = False
    source: str = "model"
    assumptions: tuple[str, ...] = ()
    dense: tuple[DenseWeights, ...] = ()
    functions: tuple[str, str] = USUAL
    arrangement: Arrangement = PLAIN
    left_out: str = ""

    def __post_init__(self):
        if self.left_out not in LEFT_OUT:
            rule = f"must be empty, or one of {', '.join(filter(None, LEFT_OUT))}"
            raise ModelError(f"{self.source}: left_out", repr(self.left_out), rule)
        object.__setattr__(self, "functions", tuple(self.functions))
        for name, known, usual in zip(self.functions, (SIGMOIDS, TANHS), USUAL, strict=True):
            if name not in known:
                raise ModelError(f"{self.source}: {usual}", repr(name), f"must be one of {', '.join(known)}")
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "dense", tuple(self.dense))
        plain = [layer for layer in self.layers if layer.KIND == "plain"]
        for name, usual in zip(self.functions, USUAL, strict=True):
            if name != usual and any(layer.activation == usual for layer in (*plain, *self.linear)):
                found = f"{usual} behind a linear layer, and {name} in the gates"
                raise ModelError(f"{self.source}: activation", found, "must be one function: an engine has one unit")
        if not self.layers:
            raise ModelError(self.source, "no recurrent layer", "must have at least one")
        check_stack(self.layers, self.source)
        check_sources(self)
        for number, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False), 1):
            if above.sources:
                if above.input_size != read_size(self.layers[:number], above.sources):
                    rule = f"must be the {read_size(self.layers[:number], above.sources)} elements of its sources"
                    raise ModelError(f"{self.source}: layer {number}", f"{above.input_size} inputs", rule)
            elif above.input_size != WAITS.get(above.waits, 1) * below.hidden_size:
                twice = f"{WAITS[above.waits]} times the " if WAITS.get(above.waits, 1) > 1 else ""
                rule = f"must be {twice or 'the '}{below.hidden_size} hidden units of layer {number - 1}"
                raise ModelError(f"{self.source}: layer {number}", f"{above.input_size} inputs", rule)
        check_chain(self.source, self.layers, self.dense, self.head, self.head_every_step, self.arrangement.steps)
        check_arrangement(self)
        if self.head is not None and self.head.skip is not None:
            check_shape(f"{self.source}: skip", self.head.skip.shape, (self.head.output_size, self.input_size))
            if not self.head_every_step:
                raise ModelError(f"{self.source}: skip", "with a head on the last step", "must be on every step")
            if self.head.activation != "none":
                found = f"with {self.head.activation} behind the head"
                raise ModelError(f"{self.source}: skip", found, "must be with a head without an activation")
        if any(layer.skip is not None for layer in self.dense):
            raise ModelError(
                f"{self.source}: skip", "in front of the head", "must be in the head, the last linear layer"
            )

    def as_framework(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs (..., O), in real numbers, as the file's own network gives them: behind a softmax that was left
        out."""
        return LEFT_OUT[self.left_out](outputs)

    def with_skip(self, skip: np.ndarray) -> "FloatModel":
        """The same model, which has a head, with a matrix (O, Lx) of inputs that are added to its outputs."""
        return replace(self, head=replace(self.head, skip=skip))

    def assuming(self, more: Sequence[str]) -> "FloatModel":
        """The same model with more that had to be assumed."""
        return replace(self, assumptions=(*self.assumptions, *more))

    @property
    def linear(self) -> tuple[DenseWeights, ...]:
        """All linear layers, the head last."""
        return (*self.dense, *[self.head] * (self.head is not None))

    @property
    def named_linear(self) -> dict[str, DenseWeights]:
        """The same by what they and their matrices are called: ``dense.0`` and so on, and ``head``."""
        names = [*(f"dense.{number}" for number in range(len(self.dense))), HEAD]
        return dict(zip(names, self.linear, strict=False))

    @property
    def kind(self) -> str:
        """Kind of the cells, of ``CELL_SUMS``; see :func:`kind_of`."""
        return kind_of(self.layers)

    @property
    def input_size(self) -> int:
        """Inputs of the network; the first layer has twice as many where it reads x from both ends."""
        return self.layers[0].input_size // self.arrangement.halves

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Hidden units of each layer."""
        return tuple(layer.hidden_size for layer in self.layers)

    @property
    def output_size(self) -> int:
        """Size of one output vector: that of the head, or of the last hidden state without one."""
        if self.head is None:
            return self.hidden_sizes[-1]
        return self.head.output_size // self.arrangement.output_halves

    @property
    def gives_every_step(self) -> bool:
        """Whether it has an output vector a step, rather than one in all."""
        return (self.head is None or self.head_every_step) and not self.arrangement.gives_one

    @property
    def head_mode(self) -> str:
        """What the head reads, of ``HEAD_MODES``."""
        if self.arrangement.steps:
            return "all_steps"
        if directions_of(self.arrangement, self.layers)[-1] == 2 and not self.head_every_step:
            return "final_state"
        return "every_step" if self.gives_every_step else "last_step"

    @property
    def as_run(self) -> "FloatModel":
        """The same layers alone, whose x and outputs are those of the engine."""
        return replace(self, arrangement=self.arrangement.of_engine)


def check_arrangement(model: Any) -> None:
    """Refuse an arrangement that layers, float or quantised, do not have."""
    arrangement, head, subject = model.arrangement, model.head, f"{model.source}: arrangement"
    of_last = [layer.waits in LAST for layer in model.layers]
    of_x = model.layers[: of_last.index(True) if arrangement.repeats and any(of_last) else None]
    waiting = [layer for layer in of_x if layer.waits]
    if bool(waiting) != bool(arrangement.most) or model.layers[0].waits:
        found = f"{len(waiting)} layers that wait for all steps, of which there are at most {arrangement.most}"
        raise ModelError(subject, found, "must be none with any number of steps, or some behind the first layer")
    if arrangement.repeats and not any(of_last):
        found = f"the last step in {arrangement.repeats} steps"
        raise ModelError(subject, found, "must be for a layer that repeats the last h below")
    if arrangement.is_plain:
        return
    directions = directions_of(arrangement, model.layers)
    for layer, below in zip(model.layers[1:], model.layers, strict=False):
        if layer.waits not in WAITS or layer.waits and below.projected:
            raise ModelError(f"{layer.source}: waits", repr(layer.waits), f"must be one of {', '.join(WAITS)}")
        if layer.waits in ("apart", "both") and below.hidden_size % 2:
            found = f"{layer.waits} behind {below.hidden_size} units"
            raise ModelError(f"{layer.source}: waits", found, "must be behind as many units of each direction")
    if arrangement.sends in ("apart", "added", "added_last") and directions[-1] != 2:
        raise ModelError(subject, "outputs of two directions of a layer of one", "must be sent as they are")
    if model.layers[0].input_size % arrangement.halves:
        found = f"{model.layers[0].input_size} inputs of the first layer"
        raise ModelError(subject, found, "must be even where x is read from both ends")
    for layer in (layer for layer, count in zip(model.layers, directions, strict=True) if count == 2):
        for name, parts in (("w_x", 1), ("w_h", 1 + layer.reset_before)):
            check_apart(f"{layer.source}: {name}", getattr(layer, name), layer.SUMS, parts)
    if arrangement.output_halves == 2 and head is not None:
        check_apart(f"{head.source}: weight", head.weight, 1, 1)
    if arrangement.sends == "apart" and (head is not None or model.layers[-1].hidden_size % 2):
        raise ModelError(subject, "outputs of two directions apart", "must be as many of each, without a head")
    if arrangement.output_halves == 2 and (
        head is None or head.activation != "none" or model.dense or not model.head_every_step or head.output_size % 2
    ):
        rule = "must be those of one linear layer without an activation, on every step"
        raise ModelError(subject, "outputs of two directions that are added", rule)
    if arrangement.sends == "backward" and head is not None and not model.head_every_step:
        raise ModelError(subject, "outputs of a head on the last step", "must be sent as they are")
    if getattr(head, "skip", None) is not None:
        rule = "must be of a network that works step by step; model.skip = 'outside' or not given leaves it out"
        raise ModelError(f"{model.source}: skip", f"of x that is read {arrangement.reads}", rule)


def check_apart(subject: str, matrix: np.ndarray, sums: int, parts: int) -> None:
    """Refuse weights (sums 2 H, parts 2 C) between the two halves of rows and those of columns, of each part."""
    rows, columns = np.shape(matrix)
    if rows % (2 * sums) or columns % (2 * parts):
        raise ModelError(subject, f"shape {(rows, columns)}", "must have as many rows and columns of either direction")
    blocks = matrix.reshape(sums, 2, rows // sums // 2, parts, 2, columns // parts // 2)
    if np.any(blocks[:, 0, :, :, 1]) or np.any(blocks[:, 1, :, :, 0]):
        raise ModelError(subject, "weights from one direction to the other", "must be zero where x is read both ways")


def refuse_arranged(model: Any, what: str) -> None:
    """Refuse what is done for networks alone that read x from the first step to the last."""
    if not model.arrangement.is_plain:
        rule = "must be for one that reads x forward, step by step, and sends what it computes"
        raise ConfigError(what, f"for {model.arrangement.described}", rule)


def with_layers(model: Any, layers: Sequence, linear: Sequence) -> Any:
    """The same model, float or quantised, with other LSTM layers and other linear ones, the head last if it has one."""
    *dense, head = linear or [None]
    return replace(model, layers=tuple(layers), dense=tuple(dense), head=head)
