"""Reference models: the float network and the integer network whose bits the hardware must give.

Both take N sequences of T vectors at once and carry the state from call to call.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from ..machine.arrangement import waited
from ..machine.formats import shift_round
from ..machine.limits import CELL_SUMS
from .delta import X, passed_on
from .exact import EXACT, ExactSteps, is_exact
from .float_model import FloatModel
from .functions import SIGMOIDS, TANHS, sigmoid
from .quant_layer import QuantSkip
from .quant_model import QuantModel
from .sources import Vectors
from .sparse_h import kept_groups, sparse

BLOCK = 256
"""Sequences that are worked on at a time: their values stay in the processor's caches, and memory is bounded."""
State = list[tuple[np.ndarray, ...]]
"""h and c, arrays (N, H), of each layer; with thresholds also the references of its x (N, Lx) and of its h (N, H)."""


def float_reference(
    model: FloatModel, x: np.ndarray, state: State | None = None, trace: dict[int, dict[str, np.ndarray]] | None = None
) -> tuple[np.ndarray, State]:
    """Run a FloatModel in float64; the equations are those of ``torch.nn.LSTM``, ``torch.nn.GRU`` and ``torch.nn.RNN``,
    with the model's ``functions``.

    Parameters
    ----------
    model : FloatModel
    x : float array (N, T, Lx)
    state : list of (h, c), float arrays (N, H), optional
        One pair a layer, as returned; without it the model's initial one, or zeros. The h of a GRU goes from step to
        step as c, and that of a plain layer is both.
    trace : dict, optional
        Receives, by layer number, a dict of ``pre`` (N, T, 4H), or (N, T, H) of a plain layer, ``c`` and ``h``
        (N, T, H); of linear layers, whose numbers follow, ``y``: their outputs, (N, T, O) or of the last step alone
        (N, 1, O).

    Returns
    -------
    outputs : float array
        (N, O) of the head on the last step, (N, T, O) of a head on every step, (N, T, H) without head.
    state : list of (h, c)

    Raises
    ------
    InputError
        ``x`` or ``state`` has the wrong shape, or holds NaN or infinity, or x is to be whole and there is a state.
    """
    x = model.arrangement.x(checked_sequences("x", x, model.input_size))
    if state is not None:
        model.arrangement.check_whole("state")
    gate, tanh = SIGMOIDS[model.functions[0]], TANHS[model.functions[1]]
    given, kept = x, [[("h", size, None), ("c", size, None)] for size in model.hidden_sizes]
    state = _checked_state(state, len(x), kept, np.float64, [layer.initial for layer in model.layers])
    states, vectors = [*state], Vectors(model, x)
    for group in step_groups(model.layers):
        first = model.layers[group[0]]
        x = waited(first.waits, vectors.read(first), model.arrangement)
        records = {n: _Record(x.shape[:2], model.layers[n], np.float64, ("pre",)) for n in group}
        pre_x = x @ first.w_x.T + first.bias
        for step in range(x.shape[1]):
            below = None
            for number in group:
                layer, c = model.layers[number], states[number][1]
                pre = pre_x[:, step] if below is None else below @ layer.w_x.T + layer.bias
                h = states[number + layer.projected][0]
                if layer.w_h.size:
                    pre = pre + h @ layer.w_h[:, : h.shape[1]].T
                if layer.reset_before:
                    pre = pre + gate(pre[:, : h.shape[1]]) * c @ layer.w_h[:, h.shape[1] :].T
                below, c = _float_cell(layer, pre, c, gate, tanh)
                states[number] = below, c
                records[number].add(step, pre, c, below)
        for number, record in records.items():
            x = record.finish(trace, number)
            vectors.add(number, x)
    if model.head is None:
        return model.arrangement.outputs(x), states
    x = vectors.read(model.linear[0])
    if model.arrangement.steps:
        x = x.reshape(len(x), 1, -1)
    x = x if model.head_every_step else x[:, -1:]
    for number, layer in enumerate(model.linear, len(model.layers)):
        sums = x @ layer.weight.T + layer.bias
        x = activated(layer.activation, sums if layer.skip is None else sums + given @ layer.skip.T)
        if trace is not None:
            trace[number] = {"y": x}
    return model.arrangement.outputs(x if model.head_every_step else x[:, 0]), states


def step_groups(layers: Sequence) -> list[tuple[int, ...]]:
    """Numbers of layers that take a step together: a projected one with its projection, any other alone."""
    numbers = iter(range(len(layers)))
    return [(n, next(numbers)) if layers[n].projected else (n,) for n in numbers]


def _float_cell(layer, pre, c, sigmoid, tanh):
    """New h and c (N, H)."""
    if layer.KIND == "plain":
        h = activated(layer.activation, pre)
        return h, h
    if layer.KIND == "gru":
        r, z, n_x, n_h = np.split(pre, 4, axis=1)
        z = sigmoid(z)
        c = (1 - z) * tanh(n_x + sigmoid(r) * n_h) + z * c
        return c, c
    i, f, g, o = np.split(pre, 4, axis=1)
    of_i, of_f, of_o = (0, 0, 0) if layer.peepholes is None else layer.peepholes
    c = sigmoid(f + of_f * c) * c + sigmoid(i + of_i * c) * tanh(g)
    return sigmoid(o + of_o * c) * tanh(c), c


def integer_reference(
    qmodel: QuantModel,
    x_int: np.ndarray,
    state: State | None = None,
    trace: dict[int, dict[str, np.ndarray]] | None = None,
    clipped: Counter | None = None,
    changes: Counter | None = None,
) -> tuple[np.ndarray, State]:
    """Run a QuantModel; the hardware must give the same bits.

    Sums are exact, and a format's name stands for rounding and bounding as it says::

        acc = W_x x + W_h h + bias          pre = preact(acc)
        i, f, o = sigmoid(pre)              g = tanh(pre)               in activation_format
        with peepholes i, f = sigmoid(argument(pre + p*c)), and o = sigmoid(argument(pre + p*c'))
        c' = cell(f*c + i*g)                h' = hidden(o * tanh(argument(f*c + i*g)))
        y = output(W h' + bias)             with a skip y = output(W h' + S x + bias)

    and of a GRU::

        r, z = sigmoid(pre)                 n = tanh(argument(n_x + r*n_h))
        c' = cell((1 - z)*n + z*c)          h' = hidden((1 - z)*n + z*c)

    W_h of a GRU that resets h before its product multiplies h and behind it what such a step gives as h' from c with
    pre-activations r, r, 0 and 0: r*h, in the format of h.

    A plain layer, and a linear one with an activation, and what its outputs become in front of another one, is
    :meth:`PlainOutputs.outputs`.
    In acc, each operand is lifted to the accumulator's fraction (``QuantLayer.lifts``); a row has ``row_shift`` more.
    With thresholds, x and h in acc are their references (:mod:`lstm_hw.model.delta`); with sparse h, h in acc has zeros
    where a group of it is nearly zero (:mod:`lstm_hw.model.sparse_h`).

    Parameters
    ----------
    qmodel : QuantModel
    x_int : int array (N, T, Lx)
        Stored integers of ``qmodel.input_format``, as the engine reads them.
    state : list of (h, c), int arrays (N, H), optional
        One pair a layer, as returned, or (h, c, reference of x, reference of h) with thresholds; without it the model's
        initial one, or zeros.
    trace : dict, optional
        Receives, by layer number, a dict of ``pre`` (N, T, 4H), ``c`` and ``h`` (N, T, H), int64, of a plain layer of
        ``h`` alone; of linear layers, as :func:`float_reference`, ``y``.
    clipped : collections.Counter, optional
        Receives how many values were rounded to what their format does not hold: by (layer number, place), where the
        place is ``c``, ``h`` or, of pre-activations, one of ``CELL_SUMS``, by ``(number, "y")`` for a
        plain layer or a linear one in front of the head, and by ``output`` for the head.
    changes : collections.Counter, optional
        With thresholds, receives how many elements were passed on: of x by ``x``, of a layer's h by its number. With
        sparse h, how many groups of it reached a sum.

    Returns
    -------
    outputs : int64 array
        Stored integers of ``qmodel.output_format``, as the engine sends them: (N, O) of the head on the last step,
        (N, T, O) of a head on every step, (N, T, H) without head.
    state : list of (h, c)

    Raises
    ------
    InputError
        ``x_int`` or ``state`` has the wrong shape, is not of integers or is outside its format.
    """
    x = _checked("x", x_int, (None, None, qmodel.input_size), qmodel.input_format)
    initial = [layer.initial for layer in qmodel.layers]
    kept = [_state_shapes(qmodel, layer) for layer in qmodel.layers]
    state = _checked_state(state, len(x), kept, np.int64, initial)
    parts, records = [], [] if trace is not None else None
    plain = not (qmodel.thresholds or qmodel.sparse_h)
    plain &= not any(layer.KIND == "plain" for layer in qmodel.layers)
    exact = (is_exact(layer, qmodel.argument_of(layer)) for layer in qmodel.layers)
    fast = plain and trace is None and clipped is None and all(exact)
    for first in range(0, len(x), BLOCK):
        part = slice(first, first + BLOCK)
        before = [tuple(values[part] for values in entry) for entry in state]
        if fast:
            parts.append(_exact_block(qmodel, x[part], before))
        else:
            parts.append(_integer_block(qmodel, x[part], before, records, clipped, changes))
    if records:
        for number in range(len(records[0])):
            blocks = [record[number] for record in records]
            trace[number] = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    after = [tuple(map(np.concatenate, zip(*pairs, strict=True))) for pairs in zip(*(s for _, s in parts), strict=True)]
    return np.concatenate([outputs for outputs, _ in parts]), after


def _state_shapes(qmodel, layer):
    """(name, size, format) of what a layer keeps from call to call."""
    units, inputs = layer.hidden_size, layer.input_size
    kept = [(name, units, its) for name, its in zip("hc", layer.state_formats, strict=True)]
    if qmodel.thresholds:
        kept += [("reference of x", inputs, layer.x_format), ("reference of h", units, layer.hidden)]
    return kept


def _integer_block(qmodel, x, state, records, clipped, changes):
    """Outputs and state after them of a few sequences; adds their record of every layer where there is a list."""
    steps = [_Steps(qmodel, n, entry, clipped, changes) for n, entry in enumerate(state)]
    for layer in steps:
        layer.read = steps[layer.number + layer.layer.projected]
    record, vectors, outputs = [], Vectors(qmodel, x, shifted=True), None
    for group in step_groups(qmodel.layers):
        members = [steps[n] for n in group]
        given = waited(members[0].layer.waits, vectors.read(members[0].layer), qmodel.arrangement)
        shape = given.shape[:2]
        kept = [None if records is None else _Record(shape, layer.layer, np.int64) for layer in members]
        outputs = np.empty((*shape, members[-1].layer.hidden_size), np.int64)
        passed = np.empty_like(outputs) if qmodel.thresholds else outputs
        for step in range(shape[1]):
            below = given[:, step]
            for layer, one in zip(members, kept, strict=True):
                below, pre = layer.step(below)
                if one:
                    one.add(step, pre, layer.c, layer.h)
            outputs[:, step] = layer.h
            passed[:, step] = below
        vectors.add(group[-1], passed)
        record += [one and one.arrays for one in kept]
    if records is not None:
        records.append(record)
    after = [layer.state for layer in steps]
    if qmodel.linear and qmodel.linear[0].sources:
        outputs = vectors.read(qmodel.linear[0])
    return _linear(qmodel, outputs, x, clipped, None if records is None else record), after


class _Steps:
    """A layer with its state of a few sequences, step by step.

    Attributes
    ----------
    h, c : int64 arrays (N, H)
    read : _Steps
        The layer whose h its sums read: itself, or its projection.
    """

    def __init__(self, qmodel, number, state, clipped, changes):
        self.number, self.layer = number, qmodel.layers[number]
        self.h, self.c, *references = state
        self.changes, self.clipped = changes, clipped
        self.threshold = qmodel.sparse_h[number] if qmodel.sparse_h else None
        self.seen = _References(qmodel.thresholds, number, references, changes) if references else None
        self.product = _product(self.layer, self.layer.factors)
        layer = self.layer
        if layer.KIND == "plain":
            self.unit, self.preact = qmodel.unit, qmodel.preact
            return
        self.tables = _Tables(qmodel, layer)
        self.bounds = [
            _bounding(number_format, clipped, [(number, place)])
            for number_format, place in ((layer.cell, "c"), (layer.hidden, "h"))
        ]
        places = [(number, name) for name in CELL_SUMS[layer.KIND]]
        self.round_pre = _rounding(layer, _bounding(layer.preact, clipped, places))

    @property
    def state(self):
        return (self.h, self.c) if self.seen is None else (self.h, self.c, self.seen.x, self.seen.h)

    def step(self, x):
        """A step on x (N, Lx); returns what the layer above gets of h, and the pre-activations, if it has some."""
        if self.layer.KIND == "plain":
            return self._plain(x), None
        if self.threshold is not None:
            operands = x, _sparse(self.h, self.threshold, self.number, self.changes)
        else:
            operands = (x, self.read.h) if self.seen is None else self.seen.operands(x)
        if self.layer.reset_before:
            operands = (*operands, self._reset(operands))
        pre = self.round_pre(self.product(np.concatenate(operands, axis=1)))
        cell = INTEGER_CELLS[self.layer.KIND]
        self.h, self.c = cell(self.layer, self.tables, pre - self.layer.preact.lowest, self.c, *self.bounds)
        return self.h if self.seen is None else self.seen.pass_on(self.h), pre

    def _reset(self, operands):
        """r*h (N, H), from the sums without it; what is beyond formats counts where the step itself forms it."""
        layer, preact = self.layer, self.layer.preact
        nothing = np.zeros_like(self.h)
        pre = _rounding(layer, preact.bound)(self.product(np.concatenate([*operands, nothing], axis=1)))
        r, zero = pre[:, : layer.hidden_size] - preact.lowest, nothing - preact.lowest
        sums = np.concatenate([r, r, zero, zero], axis=1)
        return _integer_gru(layer, self.tables, sums, self.c, layer.cell.bound, layer.hidden.bound)[0]

    def _plain(self, x):
        """h of a plain layer, and what is beyond its formats."""
        operands = np.concatenate([x, self.h], axis=1) if self.layer.w_h.size else x
        sums = self.product(operands).astype(np.int64) + self.layer.acc_bias
        self.h, beyond = self.layer.outputs(sums, self.unit, self.preact)
        self.c = self.h
        if self.clipped is not None and beyond:
            self.clipped[self.number, "y"] += beyond
        return self.h


def _sparse(h, threshold, number, changes):
    """h without the groups that do not reach the sums; adds the number of others."""
    if changes is not None:
        changes[number] += int(np.count_nonzero(kept_groups(h, threshold)))
    return sparse(h, threshold)


class _References:
    """What a layer was passed of x, and passes on of its h; x of an upper layer is what the one below passes on."""

    def __init__(self, thresholds, number, references, changes):
        self.x, self.h = references
        self.number, self.changes = number, changes
        self.x_threshold, self.h_threshold = thresholds[0], thresholds[number + 1]

    def operands(self, x):
        """References of x and h for the sums of a step."""
        self.x = x if self.number else self._updated(x, self.x, self.x_threshold, X)
        return self.x, self.h

    def pass_on(self, h):
        """The reference of h after a step."""
        self.h = self._updated(h, self.h, self.h_threshold, self.number)
        return self.h

    def _updated(self, values, reference, threshold, name):
        changed = passed_on(values, reference, threshold)
        if self.changes is not None:
            self.changes[name] += int(np.count_nonzero(changed))
        return np.where(changed, values, reference)


def _exact_block(qmodel, x, state):
    """As :func:`_integer_block`, in float64 and without a record."""
    inputs, after, last = x, [], len(qmodel.layers) - 1
    x = np.ascontiguousarray(x.transpose(1, 2, 0), np.float64)
    vectors, only_last = Vectors(qmodel, x, shifted=True, axis=1), False
    if qmodel.head is not None and not qmodel.head_every_step and not qmodel.arrangement.steps:
        only_last = not qmodel.linear[0].sources
    for number, (layer, pair) in enumerate(zip(qmodel.layers, state, strict=True)):
        h, c = (np.ascontiguousarray(values.T, np.float64) for values in pair)
        x = vectors.read(layer)
        if layer.waits:
            read = waited(layer.waits, x.transpose(2, 0, 1), qmodel.arrangement)
            x = np.ascontiguousarray(read.transpose(1, 2, 0))
        outputs = None if number == last and only_last else np.empty((len(x), *h.shape))
        ExactSteps(layer, qmodel.unit_of(layer), qmodel.argument_of(layer), x.shape[2]).run(x, h, c, outputs)
        after.append(tuple(values.T.astype(np.int64) for values in (h, c)))
        x = h[None] if outputs is None else outputs
        vectors.add(number, x)
    x = vectors.read(qmodel.linear[0] if qmodel.linear else None)
    return _linear(qmodel, x.transpose(2, 0, 1).astype(np.int64), inputs, None, None), after


def _linear(qmodel, x, inputs, clipped, record):
    """Outputs from h of every step (N, T, H), or of the last one alone, and from the network's inputs (N, T, Lx); adds
    the record of every linear layer."""
    if qmodel.head is None:
        return x
    steps, read = qmodel.arrangement.steps, np.arange(x.shape[1])
    if steps:
        x = x.reshape(len(x), 1, -1)
    x = x if qmodel.head_every_step else x[:, -1:]
    for number, layer in enumerate(qmodel.linear, len(qmodel.layers)):
        x = np.concatenate([x, inputs], axis=-1) if isinstance(layer, QuantSkip) else x
        factors = layer.factors
        if steps and number == len(qmodel.layers):  # of more steps, the engine begins with those of the first again
            factors = factors.reshape(len(factors), steps, -1)[:, read % steps].reshape(len(factors), -1)
        sums = _product(layer, factors)(x).astype(np.int64) + layer.acc_bias
        x, beyond = layer.outputs(sums, qmodel.unit, qmodel.preact)
        if clipped is not None and beyond:
            clipped["output" if layer is qmodel.head else (number, "y")] += beyond
        if record is not None:
            record.append({"y": x})
    return x if qmodel.head_every_step else x[:, 0]


def _bounding(number_format, clipped, places):
    """The function that bounds rounded integers or float64 to a format, and counts those beyond it.

    The last dimension is that of the places, one part of it behind the other.
    """
    if clipped is None:
        return number_format.bound

    def bound(rounded):
        if number_format.count_beyond(rounded):  # seldom: only then by place
            for place, part in zip(places, np.split(rounded, len(places), axis=-1), strict=True):
                clipped[place] += number_format.count_beyond(part)
        return number_format.bound(rounded)

    return bound


class _Tables:
    """What the activation unit gives: of a layer's pre-activations, from the lowest on, and of tanh(c')."""

    def __init__(self, qmodel, layer):
        unit = qmodel.unit_of(layer)
        self.argument = qmodel.argument_of(layer)
        self.sigmoid, self.tanh = unit.results_for(layer.preact)
        self._sigmoid_of_argument, self._of_argument = unit.results

    def sigmoid_of(self, argument):
        """Sigmoid of stored integers of ``argument``."""
        return self._sigmoid_of_argument.take(argument - self.argument.lowest)

    def tanh_of(self, argument):
        """tanh of stored integers of ``argument``."""
        return self._of_argument.take(argument - self.argument.lowest)


def _integer_cell(layer, tables, pre, c, bound_c, bound_h):
    """New h and c (N, H) from pre-activations (N, 4H), counted from the lowest one, and c."""
    i, f, g, o = np.split(pre, 4, axis=1)
    g = tables.tanh.take(g)
    if layer.peepholes is None:
        i, f, o = (tables.sigmoid.take(gate) for gate in (i, f, o))
    else:
        lowest, argument = layer.preact.lowest, tables.argument
        i, f = (tables.sigmoid_of(layer.seen(gate + lowest, n, c, argument)) for n, gate in enumerate((i, f)))
    a, b = layer.activation_format.fraction, layer.cell.fraction
    fraction = a + max(a, b)
    f *= c
    f <<= fraction - a - b
    i *= g
    i <<= fraction - 2 * a
    f += i
    c = bound_c(shift_round(f, fraction - b, layer.cell.rounding))
    if layer.peepholes is not None:
        o = tables.sigmoid_of(layer.seen(o + lowest, 2, c, argument))
    o *= tables.tanh_of(c if layer.cell == tables.argument else tables.argument.requantize(f, fraction))
    return bound_h(shift_round(o, 2 * a - layer.hidden.fraction, layer.hidden.rounding)), c


def _integer_gru(layer, tables, pre, c, bound_c, bound_h):
    """As :func:`_integer_cell`."""
    r, z, n_x, n_h = np.split(pre, 4, axis=1)
    a, b, lowest = layer.activation_format.fraction, layer.cell.fraction, layer.preact.lowest
    r, z = tables.sigmoid.take(r), tables.sigmoid.take(z)
    total = (n_x + lowest << a) + r * (n_h + lowest)
    n = tables.tanh_of(tables.argument.requantize(total, a + layer.preact.fraction))
    fraction = a + max(a, b)
    total = (z * c << fraction - a - b) + (((1 << a) - z) * n << fraction - 2 * a)
    c = bound_c(shift_round(total, fraction - b, layer.cell.rounding))
    return bound_h(shift_round(total, fraction - layer.hidden.fraction, layer.hidden.rounding)), c


INTEGER_CELLS = {"lstm": _integer_cell, "gru": _integer_gru}
"""Kind -> the function of a step: new h and c."""


def _product(layer, matrix):
    """The exact function ``x -> x @ matrix.T``: in float64, which is far faster, where that is exact, else in int64."""
    if layer.peak_accumulator >= EXACT:
        return lambda operands: operands @ matrix.T
    transposed = np.ascontiguousarray(matrix.T, dtype=np.float64)
    return lambda operands: operands.astype(np.float64) @ transposed


def _rounding(layer, bound):
    """The function from sums without bias, as :func:`_product` gives them, to pre-activations (int64)."""
    bias, preact = layer.acc_bias, layer.preact
    shift = layer.acc_fraction + layer.row_shift - preact.fraction
    usual = (preact.rounding, preact.overflow) == ("half_up", "saturate")
    if not usual or layer.peak_accumulator >= EXACT >> 1:
        return lambda sums: bound(shift_round(sums.astype(np.int64) + bias, shift, preact.rounding))
    # floor(sum / 2**shift + 1/2) is exact in float64 for sums of less than 52 bits, and so are its bounds.
    scale, start = np.exp2(-shift), bias * np.exp2(-shift) + 0.5

    def rounded(sums):
        sums *= scale
        sums += start
        np.floor(sums, out=sums)
        return bound(sums).astype(np.int64)

    return rounded


def activated(activation: str, y: np.ndarray) -> np.ndarray:
    """What the activation of a linear layer makes of its sums, element by element (float64)."""
    if activation == "relu":
        return np.maximum(y, 0.0)
    if activation == "elu":
        return np.where(y > 0, y, np.expm1(np.minimum(y, 0.0)))
    return {"none": lambda y: y, "sigmoid": sigmoid, "tanh": np.tanh}[activation](y)


class _Record:
    """Pre-activations, cell and hidden states of one layer over all steps; of a plain one h, and what is asked for."""

    def __init__(self, sequences_steps, layer, dtype, plain=()):
        sizes = {"pre": len(layer.bias), "c": layer.hidden_size, "h": layer.hidden_size}
        names = (*plain, "h") if layer.KIND == "plain" else sizes
        self.arrays = {name: np.empty((*sequences_steps, sizes[name]), dtype) for name in names}

    def add(self, step, pre, c, h):
        values = {"pre": pre, "c": c, "h": h}
        for name, array in self.arrays.items():
            array[:, step] = values[name]

    def finish(self, trace, layer):
        """Leave the record in the trace, where there is one, and return h (N, T, H)."""
        if trace is not None:
            trace[layer] = self.arrays
        return self.arrays["h"]


def checked_sequences(subject: str, x: np.ndarray, input_size: int) -> np.ndarray:
    """``x`` as a float64 array (N, T, input_size) of finite numbers, or InputError."""
    return _checked(subject, x, (None, None, input_size))


def _checked(subject, values, shape, number_format=None):
    """``values`` as an array of ``shape``, where None stands for any size from 1.

    Stored integers of ``number_format`` (int64), or finite real numbers (float64) without one.
    """
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise InputError(subject, str(error), "must be an array") from error
    if values.dtype.kind not in ("iu" if number_format else "iuf"):
        raise InputError(subject, f"dtype {values.dtype}", f"must be {'integers' if number_format else 'real numbers'}")

    def fits(size, wanted):
        return size >= 1 if wanted is None else size == wanted

    if values.ndim != len(shape) or not all(map(fits, values.shape, shape)):
        wanted = ", ".join("1 or more" if size is None else str(size) for size in shape)
        raise InputError(subject, f"shape {values.shape}", f"must be ({wanted})")
    if number_format is None:
        values = values.astype(np.float64)
        if not np.all(np.isfinite(values)):
            raise InputError(subject, "NaN or infinity", "must be finite")
        return values
    low, high = int(values.min()), int(values.max())
    if low < number_format.lowest or high > number_format.highest:
        rule = f"must fit {number_format}, {number_format.lowest} to {number_format.highest}"
        raise InputError(subject, f"{low} to {high}", rule)
    return values.astype(np.int64)


def _checked_state(state, sequences, layers, dtype, initial):
    """A list of a tuple a layer of arrays (sequences, size); where ``state`` is None, the ``initial`` ones or zeros.

    ``layers`` holds for each layer a list of (name, size, format): h and c, and what else it keeps.
    """
    if state is None:
        zeros = [tuple(np.zeros((sequences, size), dtype) for _, size, _ in kept) for kept in layers]
        return [
            entry if given is None else tuple(zero + values for zero, values in zip(entry, given, strict=True))
            for entry, given in zip(zeros, initial, strict=True)
        ]
    if len(state) != len(layers) or any(len(entry) != len(kept) for entry, kept in zip(state, layers, strict=False)):
        names = ", ".join(name for name, _, _ in layers[0])
        what = f"pairs ({names})" if len(layers[0]) == 2 else f"tuples ({names})"
        raise InputError("state", f"{len(state)} entries", f"must be {len(layers)} {what}, one a layer")
    return [
        tuple(
            _checked(f"state of layer {number}: {name}", values, (sequences, size), number_format)
            for values, (name, size, number_format) in zip(entry, kept, strict=True)
        )
        for number, (entry, kept) in enumerate(zip(state, layers, strict=True))
    ]
