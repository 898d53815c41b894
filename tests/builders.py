"""Random networks and an integer LSTM that shares no code with the package but the activation."""

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from lstm_hw.errors import ConfigError
from lstm_hw.machine.activation import make_activation
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.machine.pack import bias_digits

WEIGHT_FRACTION, OPERAND_FRACTION, BIAS_FRACTION = 12, 15, 22
ACCUMULATOR_FRACTION = WEIGHT_FRACTION + OPERAND_FRACTION
LSTM_SHIFT, LINEAR_SHIFT = 15, 14
"""Bits that rounding drops from an accumulator: 27 fraction bits to the 12 of Q3.12, 13 for a head."""

PAIRS = {"weight_bits": 8, "operand_bits": 8, "hidden": QFormat(0, 7), "accumulator_bits": 24}
"""Fields of an engine with two 8-bit lanes to a DSP slice."""


def config_of(**values):
    """A small engine; keyword arguments replace fields."""
    return EngineConfig(
        **{"rows": 8, "axi_data_bits": 64, "weight_words": 1024, "h_elements": 128, "x_elements": 64, "states": 128}
        | values
    )


def smallest_buffer(config, planner, step=4):
    """The engine with the smallest weight buffer, from that of ``config`` on, that ``planner(config)`` accepts."""
    while True:
        try:
            planner(config)
            return config
        except ConfigError as error:
            if error.subject != "engine.weight_words":
                raise
        config = replace(config, weight_words=config.weight_words + step)


@dataclass(frozen=True)
class RandomNetwork:
    """A quantised network, with what a planner and a packer want to know of it.

    ``sizes`` is (Lx, H of each LSTM layer); ``head`` outputs of a linear layer, 0 for none.
    """

    network: Network
    layers: tuple
    weight_bits: int
    operand_bits: int
    row_bits: int = 0

    @property
    def widths(self):
        """Fields of an engine for it."""
        return {
            "weight_bits": self.weight_bits,
            "operand_bits": self.operand_bits,
            "hidden": QFormat(0, self.operand_bits - 1),
            "accumulator_bits": {8: 28, 16: 44}[self.operand_bits],
        }

    @property
    def shifts(self):
        return tuple(shape.shift for shape in self.network.layers)

    @property
    def lifts(self):
        """Those of an engine for it."""
        return tuple(sorted({lift + self.row_bits for layer in self.layers for lift in layer.lifts}))

    @property
    def factors(self):
        """Fields of an engine that say how operands and sums are shifted."""
        kind = {} if self.network.kind == "lstm" else {"kind": self.network.kind}
        kind |= {"reset_before": True} if self.network.reset_before else {}
        return {"shifts": self.shifts, "lifts": self.lifts, "row_bits": self.row_bits, **kind}


def random_network(
    rng,
    sizes,
    head=0,
    head_every_step=False,
    weight_bits=16,
    operand_bits=16,
    lifts=((0, 0),),
    row_bits=0,
    skip=False,
    kind="lstm",
    reset_before=False,
):
    """Random weights of a size that reaches the flat parts of the activations now and then.

    Layers take turns with ``lifts`` of x and h; rows have random shifts of ``row_bits`` bits. With ``skip`` the head
    has a matrix for x too.
    """
    # Fewer bits are the top ones of the format: the same range of sums from fewer steps.
    weight_limit = 6000 if weight_bits == 16 else (1 << weight_bits - 1) - 1
    fraction = (WEIGHT_FRACTION if weight_bits == 16 else weight_bits - 2) + operand_bits - 1
    bias_format = QFormat(3, fraction - 4)
    layers, shapes = [], []

    def add(kind, inputs, outputs, rows, shift, **matrices):
        bias = rng.integers(-1 << bias_format.fraction, 1 << bias_format.fraction, rows)
        lifts = lifts_of(len(layers))[: len(matrices)]
        shifts = rng.integers(0, 1 << row_bits, rows) if row_bits else np.zeros(rows, int)
        layer = SimpleNamespace(
            bias=bias, acc_fraction=fraction, bias_format=bias_format, lifts=lifts, row_shift=shifts, **matrices
        )
        stored = (bias << fraction - bias_format.fraction + row_bits) + shifts
        structure, _ = bias_digits(stored, weight_bits, operand_bits, highest)
        layers.append(layer)
        lifts = tuple(n + row_bits for n in (*lifts, 0)[:2])
        added = sizes[0] if "skip" in matrices else 0
        reads = 2 * outputs if reset_before and kind == "gru" else None
        shapes.append(LayerShape(kind, inputs, outputs, shift, structure, lifts, skip=added, reads=reads))

    highest = max(max(pair) for pair in lifts) + row_bits

    def lifts_of(number):
        return lifts[number % len(lifts)]

    def matrix(rows, columns, part=0):
        limit = weight_limit >> lifts_of(len(layers))[part]
        return rng.integers(-limit, limit, (rows, columns), endpoint=True)

    inputs = sizes[0]
    for outputs in sizes[1:]:
        matrices = {"w_x": matrix(4 * outputs, inputs), "w_h": matrix(4 * outputs, outputs, 1)}
        if kind == "gru":  # n_x has no h and n_h no x
            n_x, n_h = slice(2 * outputs, 3 * outputs), slice(3 * outputs, 4 * outputs)
            of_n = matrices["w_h"][n_h].copy()
            matrices["w_h"][n_x] = matrices["w_x"][n_h] = 0
            if reset_before:
                matrices["w_h"][n_h] = 0
                matrices["w_h"] = np.hstack([matrices["w_h"], np.zeros_like(matrices["w_h"])])
                matrices["w_h"][n_x, outputs:] = of_n
        add(kind, inputs, outputs, 4 * outputs, fraction - 12, **matrices)
        inputs = outputs
    if head:
        added = {"skip": matrix(head, sizes[0], 1)} if skip else {}
        add("linear", inputs, head, head, fraction - 13, weight=matrix(head, inputs), **added)
    return RandomNetwork(Network(tuple(shapes), head_every_step), tuple(layers), weight_bits, operand_bits, row_bits)


def pruned(model, zeros, seed=0):
    """The network with so large shares of W_x and W_h zero, and with a network that tells so."""
    rng, layers, shapes = np.random.default_rng(seed), [], []
    for layer, shape in zip(model.layers, model.network.layers, strict=True):
        if shape.is_recurrent:
            matrices = [
                matrix * (rng.permutation(matrix.size).reshape(matrix.shape) >= round(share * matrix.size))
                for matrix, share in zip((layer.w_x, layer.w_h), zeros, strict=True)
            ]
            layer = SimpleNamespace(**{**vars(layer), "w_x": matrices[0], "w_h": matrices[1]})
            shape = replace(shape, used=tuple(matrix != 0 for matrix in matrices))
        layers.append(layer)
        shapes.append(shape)
    return replace(model, network=replace(model.network, layers=tuple(shapes)), layers=tuple(layers))


def balanced(model, bank, keep, parts="xh", seed=0):
    """The network with ``keep`` weights left of every ``bank`` of a row, and with a network that tells so."""
    rng, layers, shapes = np.random.default_rng(seed), [], []

    def mask(matrix):
        rows, columns = matrix.shape
        score = rng.random((rows, columns // bank, bank))
        return (score.argsort(axis=2).argsort(axis=2) < keep).reshape(rows, columns)

    for layer, shape in zip(model.layers, model.network.layers, strict=True):
        if shape.kind != "linear":
            found = {f"w_{p}": getattr(layer, f"w_{p}") for p in "xh"}
            found |= {f"w_{p}": found[f"w_{p}"] * mask(found[f"w_{p}"]) for p in parts}
            layer = SimpleNamespace(**{**vars(layer), **found})
            shape = replace(shape, used=tuple(matrix != 0 for matrix in found.values()))
        layers.append(layer)
        shapes.append(shape)
    return replace(model, network=replace(model.network, layers=tuple(shapes)), layers=tuple(layers))


def random_x(rng, contexts, steps, length, operand_bits=16):
    """Input vectors with full-scale elements among them."""
    limit = 1 << operand_bits - 1
    x = rng.integers(-limit, limit, (contexts, steps, length))
    return np.where(rng.random(x.shape) < 0.1, rng.choice([-limit, limit - 1], x.shape), x)


def half_up(values, drop, bits=16):
    """Rounded and held to so many bits; a negative ``drop`` raises."""
    values = np.asarray(values, dtype=object)
    rounded = (values + (1 << drop - 1)) >> drop if drop > 0 else values << -drop
    return np.clip(rounded, -1 << bits - 1, (1 << bits - 1) - 1).astype(np.int64)


def looked_up(config, preact, layer):
    """The activation unit, whose input holds what all layers have, and pre-activations as its inputs."""
    shifts = config.preact_shifts or (0,)
    argument = replace(config.preact, fraction=config.preact.fraction + max(shifts))
    own = shifts[min(layer, len(shifts) - 1)]
    return make_activation(config.activation, argument, config.activated), np.asarray(preact) * 2 ** (max(shifts) - own)


def seen(config, preact, weight, c):
    """A pre-activation that sees c through a peephole."""
    of_pre, of_c = config.preact.fraction, config.peepholes.fraction + config.cell.fraction
    common = max(of_pre, of_c)
    preact, weight = (np.asarray(values, dtype=object) for values in (preact, weight))
    total = preact * (1 << common - of_pre) + weight * c * (1 << common - of_c)
    return half_up(total, common - of_pre, config.argument.width)


def lstm_cell(config, preact, c, layer=0, peepholes=None):
    """One cell on stored integers: (new h, new c). ``preact`` is (4, ...) in the order i, f, g, o, and ``peepholes``
    (3, ...) in the order i, f, o."""
    activation, preact = looked_up(config, preact, layer)
    if peepholes is not None:
        opened = (seen(config, preact[n], peepholes[n], c) for n in range(2))
        preact = np.array([*opened, preact[2], preact[3]])
    i, f = (activation.compute(preact[n], False).astype(object) for n in (0, 1))
    g = activation.compute(preact[2], True).astype(object)
    a, cell = config.activated.fraction, config.c_fraction(layer)
    # f*c has a + cell fraction bits, i*g has 2a: over the larger of the two, then one rounding to those of c.
    common = max(a + cell, 2 * a)
    total = f * np.asarray(c, dtype=object) * (1 << common - a - cell) + i * g * (1 << common - 2 * a)
    new_c = half_up(total, common - cell, config.cell.width)
    o = preact[3] if peepholes is None else seen(config, preact[3], peepholes[2], new_c)
    o = activation.compute(o, False).astype(object)
    argument = half_up(total, common - activation.i_format.fraction, activation.i_format.width)
    tanh = activation.compute(argument, True).astype(object)
    h = half_up(o * tanh, 2 * a - config.h_fraction(layer), config.hidden.width)
    return h, new_c


def sparse(h, least):
    """h without the groups of four that are nearly zero."""
    kept = []
    for first in range(0, len(h), 4):
        sizes = [abs(int(value)) for value in h[first : first + 4]]
        kept += [sum(sizes) >= least or any(2 * size > least for size in sizes)] * len(sizes)
    return np.where(kept, h, 0)


def gru_cell(config, preact, c, layer=0):
    """As :func:`lstm_cell`, of a GRU: ``preact`` is in the order r, z, n_x, n_h, and c is its h from step to step."""
    activation, preact = looked_up(config, preact, layer)
    r, z = (activation.compute(preact[n], False).astype(object) for n in (0, 1))
    a, cell = config.activated.fraction, config.c_fraction(layer)
    candidate = preact[2].astype(object) * (1 << a) + r * preact[3].astype(object)
    n = activation.compute(half_up(candidate, a, activation.i_format.width), True).astype(object)
    common = max(a + cell, 2 * a)
    total = z * np.asarray(c, dtype=object) * (1 << common - a - cell) + ((1 << a) - z) * n * (1 << common - 2 * a)
    new_c = half_up(total, common - cell, config.cell.width)
    return half_up(total, common - config.h_fraction(layer), config.hidden.width), new_c


CELLS = {"lstm": lstm_cell, "gru": gru_cell}


class IntegerNetwork:
    """The network on whole vectors, with the state of one sequence."""

    def __init__(self, model, config):
        self.model, self.config = model, config
        self.clear()

    def clear(self):
        self.h = [np.zeros(s.outputs, dtype=np.int64) for s in self.model.network.recurrent]
        self.c = [h.copy() for h in self.h]

    def run(self, x):
        """Output vectors for the x vectors (steps, Lx): list of int lists."""
        network, outputs = self.model.network, []
        for vector in x:
            below = vector
            for n in range(len(network.recurrent)):
                layer = self.model.layers[n]
                h = sparse(self.h[n], network.sparse_h[n]) if network.sparse_h else self.h[n]
                if network.layers[n].reset_before:
                    h = np.concatenate([h, self._reset(n, layer, below, h)])
                products = (layer.w_x @ below << layer.lifts[0]) + (layer.w_h @ h << layer.lifts[1])
                preact = self._rounded(n, self._sums(layer, products), self.config.preact.width).reshape(4, -1)
                self.h[n], self.c[n] = CELLS[self.config.kind](self.config, preact, self.c[n], n)
                below = self.h[n]
            if not network.head:
                outputs.append(below.tolist())
            elif network.head_every_step:
                outputs.append(self._head(vector))
        if network.head and not network.head_every_step:
            outputs.append(self._head())
        return outputs

    def _reset(self, n, layer, below, h):
        """r*h, rounded to the format of h; h is kept as c."""
        config, units = self.config, len(h)
        products = (layer.w_x @ below << layer.lifts[0]) + (layer.w_h[:, :units] @ h << layer.lifts[1])
        sums = self._rounded(n, self._sums(layer, products), config.preact.width)
        activation, preact = looked_up(config, sums[:units], n)
        r = activation.compute(preact, False).astype(object)
        drop = config.activated.fraction + config.c_fraction(n) - config.h_fraction(n)
        return half_up(r * self.c[n].astype(object), drop, config.hidden.width)

    def _sums(self, layer, products):
        return products + (layer.bias << layer.acc_fraction - layer.bias_format.fraction)

    def _head(self, x=None):
        layer = self.model.layers[-1]
        products = layer.weight @ self.h[-1] << layer.lifts[0]
        if hasattr(layer, "skip"):
            products = products + (layer.skip @ x << layer.lifts[1])
        sums = self._sums(layer, products)
        return self._rounded(-1, sums, 16).tolist()

    def _rounded(self, number, sums, bits):
        """Row by row: each has a shift of its own beside that of its layer."""
        shift, rows = self.model.network.layers[number].shift, self.model.layers[number].row_shift
        return np.array([half_up(total, shift + int(row), bits) for total, row in zip(sums, rows, strict=True)])


class IntegerReference:
    """The outputs of a plan's sequences piece by piece, for :func:`lstm_hw.verify.runs.expected_runs`."""

    clipped = None  # not counted

    def __init__(self, model, plan):
        self.networks = [IntegerNetwork(model, plan.config) for _ in range(plan.sequences)]

    def __call__(self, piece):
        """Outputs (sequences, vectors, elements)."""
        if piece.clear:
            for network in self.networks:
                network.clear()
        return np.array([network.run(x) for network, x in zip(self.networks, piece.x, strict=True)])
