"""A golden model in Python's integers and fractions, written from docs/numbers.md alone, and the file that it reads.

It shares nothing with the package: neither formats nor activations nor readers.
"""

import hashlib
import json
import math
import re
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from safetensors import safe_open

from lstm_hw.machine.activation import make_activation
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from tests.projects import CHAIN, with_chain


def written(text):
    """(fraction bits, function from a real number to a stored integer) of a format's name."""
    m, n, rounding, overflow = re.fullmatch(r"Q(-?\d+)\.(-?\d+)/(\w+)/(\w+)", text).groups()
    m, n = int(m), int(n)

    def store(value):
        scaled = Fraction(value) * Fraction(2) ** n
        modes = {
            "half_up": math.floor(scaled + Fraction(1, 2)),
            "half_even": round(scaled),
            "floor": math.floor(scaled),
        }
        q, span = modes[rounding], 1 << m + n
        return (q + span) % (2 * span) - span if overflow == "wrap" else max(-span, min(span - 1, q))

    return n, store


def split(text):
    """(m, n) of a format's name."""
    return tuple(map(int, re.match(r"Q(-?\d+)\.(-?\d+)", text).groups()))


def real(integers, fraction):
    return [Fraction(int(q)) / Fraction(2) ** fraction for q in integers]


class ActivationUnit:
    P = staticmethod(lambda v: 1 / (1 + (-v).exp()) - Decimal("0.5"))

    def __init__(self, name, fi, fo, store):
        degree = 1 if name == "pwl" else 2
        self.n = {"quadratic64": 64, "quadratic128": 128, "pwl": min(256, 1 << max(4, fi + 3))}[name]
        self.f, self.fi, self.b, self.store = fo + 5, fi, 4 + fi - int(math.log2(self.n)), store
        with localcontext() as context:
            context.prec = 60
            self.rows = [self.row(n, degree) for n in range(self.n)]

    def row(self, n, degree):
        half = Decimal("0.5")

        def p(t):
            return self.P((n + half + t) * 16 / self.n)

        def nearest(v):
            return math.floor(v + half)

        most = (1 << self.f - 1) - 1
        if degree == 1:
            d = Decimal(2).sqrt() / 4
            lo, hi = p(-d), p(d)
            return min(nearest((lo + hi) / 2 * 2**self.f), most), nearest((hi - lo) / (2 * d) * 2 ** (self.f - 1)), None
        s = Decimal(1) / 32 if n == 0 else Decimal(0)
        m, d = -s / 2, Decimal(3).sqrt() / 2 * (1 + s) / 2
        lo, mid, hi = p(m - d), p(m), p(m + d)
        k1, k2 = (hi - lo) / (2 * d), (hi + lo - 2 * mid) / (2 * d * d)
        c2 = nearest(k2 * 2 ** (self.f - 2))
        c1 = nearest((k1 - 2 * k2 * m) * 2 ** (self.f - 1))
        c0 = nearest((mid - k1 * m + k2 * m * m + (k2 - Decimal(c2) / 2 ** (self.f - 2)) / 8) * 2**self.f)
        return min(c0, most), c1, c2

    def __call__(self, x, tanh):
        v, b = 2 * x if tanh else x, self.b
        mag = min(v if v >= 0 else -v - 1, (1 << 4 + self.fi) - 1)
        c0, c1, c2 = self.rows[mag >> b]
        t = mag % (1 << b) - Fraction(1 << b, 2) + (v < 0)
        if c2 is not None:
            c1 = math.floor(c1 + c2 * t / Fraction(1 << b, 2) + Fraction(1, 2))
        total = c0 * Fraction(1 << b, 2) + c1 * t
        total = -total if v < 0 else total
        total = 2 * total if tanh else total + Fraction(1 << self.f + b, 4)
        return self.store(total / Fraction(1 << self.f + b, 2))


class Elu(ActivationUnit):
    """exp(x) / 2 of negative x, as the sigmoid of another P."""

    def __init__(self, _, preact, activated):
        self.P = lambda v: (1 - (-v).exp()) / 2
        (fi, _), (fo, store) = written(preact), written(activated)
        super().__init__("quadratic64", fi, fo, store)


def p_of(v):
    return 1 / (1 + (-v).exp()) - Decimal("0.5")


class MagnitudeUnit:
    """Units that work on the magnitude: coefficients of rows, then sums in integers."""

    DEFAULTS = {
        "table": 1024,
        "linear": 256,
        "nonuniform": 32,
        "quadratic": 128,
        "cubic": 32,
        "taylor": 128,
        "catmull_rom": 64,
    }
    DEGREES = {"table": 0, "linear": 1, "nonuniform": 1, "quadratic": 2, "cubic": 3, "catmull_rom": 3}
    LINES = {
        "plan": [("0", "1/4", "0"), ("1", "1/8", "1/8"), ("19/8", "1/32", "11/32"), ("5", "0", "1/2")],
        "hard5": [("0", "1/5", "0"), ("5/2", "0", "1/2")],
        "hard6": [("0", "1/6", "0"), ("3", "0", "1/2")],
        "tanh": [("0", "1/4", "0"), ("2", "0", "1/2")],
    }

    def __init__(self, text, preact, activated, tanh):
        self.name, _, given = text.rstrip(")").partition("(")
        given = {key: int(value) for key, value in (item.strip().split("=") for item in given.split(",") if given)}
        (m, self.fi), (_, self.fo) = (
            tuple(map(int, re.match(r"Q(-?\d+)\.(-?\d+)", t).groups())) for t in (preact, activated)
        )
        self.rounding, self.tanh = activated.split("/")[1], tanh
        self.f = self.fo + given.get("guard", 2 if self.name == "table" else 5)
        with localcontext() as context:
            context.prec = 60
            if self.name in self.LINES:
                self.make_lines()
            else:
                self.segments = given.get("segments", self.DEFAULTS.get(self.name, 64))
                self.d = given.get("order", self.DEGREES.get(self.name, 2))
                self.b = (3 if self.name == "nonuniform" else 4) + self.fi - int(math.log2(self.segments))
                self.top, self.u = (1 << 4 + self.fi) - 1, self.b - 1
                self.make_rows(min(self.top, 1 << 1 + m + self.fi))

    def make_lines(self):
        lines = self.LINES["tanh" if self.tanh and self.name != "plan" else self.name]
        self.d, self.u, self.f = 1, self.fi, self.fo + 2
        self.top = (1 << (3 if self.name == "plan" else 2) + self.fi) - 1
        self.starts = [Fraction(start) * 2**self.fi for start, _, _ in lines]
        both = lines if self.name == "plan" else self.LINES[self.name] + self.LINES["tanh"]
        for g in range(max(5, self.f - self.fi), 25):
            if all(self.exact(Fraction(slope), g, n) for n, (_, slope, _) in enumerate(both)):
                break
        self.fractions = [g + self.fi, g]
        self.shift = [self.f, g]
        self.rows = [(int(Fraction(c) * 2**self.f), math.ceil(Fraction(slope) * 2**g)) for _, slope, c in lines]

    def exact(self, slope, g, n):
        q = math.ceil(slope * 2**g)
        last = {"hard5": Fraction(5, 2), "hard6": 3}.get(self.name, 5) if n == 0 else 2
        return q == slope * 2**g or all(
            self.rounded(v * q, g + self.fi) == self.round(slope * v * Fraction(2) ** (self.fo - self.fi))
            for v in range(math.ceil(last * 2**self.fi))
        )

    def round(self, scaled):
        return {
            "half_up": math.floor(scaled + Fraction(1, 2)),
            "half_even": round(scaled),
            "floor": math.floor(scaled),
        }[self.rounding]

    def rounded(self, total, fraction):
        drop = fraction - self.fo
        if self.rounding == "half_up":
            return (total + (1 << drop - 1)) >> drop
        return self.round(Fraction(total, 1 << drop))

    def locate(self, v):
        if self.name in self.LINES:
            return sum(v >= start for start in self.starts) - 1, v
        if self.name == "table":
            return min((v + (1 << self.b >> 1)) >> self.b, self.segments - 1), 0
        n = 0
        if self.name == "nonuniform":
            e = max(0, (v >> self.fi).bit_length())
            n, v = e * self.segments, v * 2 ** (4 - max(e, 1)) % (1 << 3 + self.fi)
        return n + (v >> self.b), v % (1 << self.b) - (1 << self.b - 1)

    def bounds(self, n):
        if self.name == "nonuniform":
            e, n = divmod(n, self.segments)
            h = Decimal(2 ** max(0, e - 1)) / self.segments
            return (Decimal(2 ** (e - 1)) if e else Decimal(0)) + n * h, h
        h = Decimal(16) / self.segments
        return (n * h - h / 2, h) if self.name == "table" else (n * h, h)

    def through(self, n, d):
        start, h = self.bounds(n)

        def p(u, start=start, h=h):
            return p_of(start + (1 + u) * h / 2)

        if d == 0:
            return [(p(1) + p(-1)) / 2]
        if n == 0 and d == 1:
            k = p_of(h * Decimal(3).sqrt() / 2) / Decimal(3).sqrt()
            return [k, k]
        two = Decimal(2).sqrt()
        nodes = {1: [two / 2], 2: [Decimal(3).sqrt() / 2], 3: [(2 - two).sqrt() / 2, (2 + two).sqrt() / 2]}[d]
        nodes = [*(-u for u in nodes), *nodes, *([Decimal(0)] if d == 2 else [])]
        if n == 0:  # in the interval from -h/32 on
            nodes = [(33 * u - 1) / 32 for u in nodes]
        found = [Decimal(0)] * (d + 1)  # Lagrange
        for u in nodes:
            term = [Decimal(1)]
            for other in nodes:
                if other != u:
                    term = [a - other * b for a, b in zip([0, *term], [*term, 0], strict=True)]
                    term = [a / (u - other) for a in term]
            found = [a + p(u) * b for a, b in zip(found, term, strict=True)]
        return found

    def real_row(self, n):
        start, h = self.bounds(n)
        if self.name == "taylor":
            s = p_of(start + h / 2) + Decimal("0.5")
            d1 = s * (1 - s)
            d2 = d1 * (1 - 2 * s)
            d3 = d1 * (1 - 6 * s + 6 * s * s)
            half = h / 2
            return [s - Decimal("0.5"), d1 * half, d2 * half**2 / 2, d3 * half**3 / 6][: self.d + 1]
        if self.name == "catmull_rom":
            y = [p_of(start + k * h) for k in (-1, 0, 1, 2)]
            m1, m2 = (y[2] - y[0]) / 2, (y[3] - y[1]) / 2  # slopes by segment
            # In tau from 0 to 1: y1 + m1 tau + ...; then tau = (1 + u) / 2.
            a = [y[1], m1, 3 * (y[2] - y[1]) - 2 * m1 - m2, 2 * (y[1] - y[2]) + m1 + m2]
            return [
                a[0] + a[1] / 2 + a[2] / 4 + a[3] / 8,
                a[1] / 2 + a[2] / 2 + 3 * a[3] / 8,
                a[2] / 4 + 3 * a[3] / 8,
                a[3] / 8,
            ]
        return self.through(n, self.d)

    def integers(self, real):
        real, found = [k * 2**self.f for k in real], {}
        for k in reversed(range(len(real))):
            found[k] = math.floor(real[k] + Decimal("0.5"))
            if k >= 2:
                real[k - 2] += (real[k] - found[k]) * Decimal({2: "0.5", 3: "0.75"}[k])
        found[0] = min(found[0], (1 << self.f - 1) - 1)
        return [found[k] for k in range(len(real))] + [0] * (self.d + 1 - len(real))

    def make_rows(self, last):
        count = self.segments * (5 if self.name == "nonuniform" else 1)
        self.rows = [self.integers(self.real_row(n)) for n in range(count)]
        peaks = [max(abs(row[k]) for row in self.rows) for k in range(self.d + 1)]
        self.fractions, self.shift = [self.f], [self.f] * (self.d + 1)
        for k in range(self.d - 1, 0, -1):
            room = max(0, 16 - sum(peaks[k:]).bit_length())
            self.fractions.insert(0, min(self.fractions[0] + self.u, self.f + room))
        if self.d:
            self.fractions.insert(0, self.fractions[0] + self.u)
        inside = {}
        for v in range(last + 1):
            n, t = self.locate(v)
            inside.setdefault(n, []).append(t)
        before = (0, 0)
        for n, ts in inside.items():
            before = self.mend(n, ts, before)

    def mend(self, n, ts, before):
        for d in range(self.d, -1, -1):
            if d < self.d:
                self.rows[n] = self.integers(self.through(n, d))
            totals = [self.total(self.rows[n], t) for t in ts]
            step = 1 << self.fractions[0] - self.f

            def pairs(move, totals=totals, step=step):
                return [
                    (
                        self.rounded(a + move * step, self.fractions[0]),
                        self.rounded(2 * (a + move * step), self.fractions[0]),
                    )
                    for a in totals
                ]

            def begins(move, totals=totals[:1]):
                (found,) = pairs(move, totals)
                return found == (0, 0) if n == 0 else all(a >= b for a, b in zip(found, before, strict=True))

            near = next(move for k in range(1 << 20) for move in (-k, k) if begins(move))
            for move in sorted(range(near - 16, near + 17), key=lambda move: (abs(move - near), move)):
                found = pairs(move) if begins(move) else []
                if found and all(
                    a <= b for one, two in zip(found, found[1:], strict=False) for a, b in zip(one, two, strict=True)
                ):
                    self.rows[n] = [self.rows[n][0] + move, *self.rows[n][1:]]
                    return found[-1]
        raise AssertionError(n)

    def total(self, row, t):
        a = row[self.d]
        for k in range(self.d - 1, -1, -1):
            fraction = self.fractions[k + 1] + self.u
            a = a * t + row[k] * 2 ** (fraction - self.shift[k])
            drop = fraction - self.fractions[k]
            a = (a + (1 << drop >> 1)) >> drop
        return a

    def __call__(self, x, tanh):
        n, t = self.locate(min(abs(2 * x if tanh else x), self.top))
        r = self.rounded(self.total(self.rows[n], t) * (2 if tanh else 1), self.fractions[0])
        return (0 if tanh else Fraction(1, 2)) + Fraction(-r if x < 0 else r, 1 << self.fo)


@cache
def unit_of(text, preact, activated):
    """The function (stored pre-activation, whether tanh) -> stored result."""
    fi, _ = written(preact)
    fo, store = written(activated)
    if text in ("quadratic64", "quadratic128", "pwl"):
        return ActivationUnit(text, fi, fo, store)
    names = [*text.split("/"), text.split("/")[-1]][:2]
    units = [MagnitudeUnit(name, preact, activated, bool(tanh)) for tanh, name in enumerate(names)]
    return lambda x, tanh: store(units[tanh](x, tanh))


class Golden:
    def __init__(self, path):
        with safe_open(path, "numpy") as file:
            self.metadata = file.metadata()
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}
        self.model = json.loads(self.metadata["lstm_hw"])
        assert self.model["version"] == 2

    def digest(self):
        described = {name: [t.dtype.str, list(t.shape)] for name, t in self.tensors.items()}
        rest = {key: value for key, value in self.metadata.items() if key != "sha256"}
        state = hashlib.sha256(json.dumps([described, rest], sort_keys=True).encode())
        for name in sorted(self.tensors):
            state.update(self.tensors[name].tobytes())
        return state.hexdigest()

    def rows(self, prefix, formats, operands):
        """Exact sums of a layer's rows; ``operands`` are (tensor, its format, real numbers)."""
        sums = real(self.tensors[f"{prefix}.bias"], written(formats["bias_format"])[0])
        for name, number_format, vector in operands:
            fraction = written(formats[number_format])[0]
            for row, weights in enumerate(self.tensors[f"{prefix}.{name}"]):
                sums[row] += sum(a * b for a, b in zip(real(weights, fraction), vector, strict=True))
        shifts = self.tensors.get(f"{prefix}.row_shift", [0] * len(sums))
        return [total / 2 ** int(shift) for total, shift in zip(sums, shifts, strict=True)]

    def run(self, inputs):
        """Stored outputs for one sequence (T, Lx) of real numbers."""
        around = {"reads": "forward", "sends": "sent", "steps": 0} | self.model.get("arrangement", {})
        x = {"forward": inputs, "backward": inputs[::-1], "both": np.concatenate([inputs, inputs[::-1]], axis=1)}
        x = x[around["reads"]]
        fraction, store = written(self.model["layers"][0]["x_format"])
        exponents = self.model["input_exponents"] or [0] * x.shape[1]
        x = [real([store(v * 2.0**e) for v, e in zip(row, exponents, strict=True)], fraction) for row in x]
        layers = [Layer(self, number) for number in range(len(self.model["layers"]))]
        vectors, below, outputs = {-1: x}, x, []
        for number, layer in enumerate(layers):
            if number and layers[number - 1].formats.get("projected"):
                continue
            members = [layer]
            if layer.formats.get("projected"):
                members.append(layers[number + 1])
                layer.above = members[1]
            given = waiting(layer.formats, self.read(layer.formats, below, vectors), around.get("repeats"))
            passed, outputs = [], []
            for vector in given:
                for member in members:
                    vector = member.step(vector)
                passed.append(vector)
                outputs.append(member.h)
            below = passed
            vectors[number + len(members) - 1] = passed
        return arranged(self.outputs(outputs, vectors, around["steps"]), around["sends"])

    def outputs(self, h, vectors, steps):
        """What the engine sends of h of the last layer."""
        head, every_step = self.model["head"], self.model["head_every_step"]
        if head is None:
            fraction = written(self.model["layers"][-1]["hidden"])[0]
            return [[int(value * Fraction(2) ** fraction) for value in vector] for vector in h]
        linear = [(f"dense.{n}", layer) for n, layer in enumerate(self.model.get("dense", []))] + [("head", head)]
        read, outputs, inputs = self.read(linear[0][1], h, vectors), [], iter(vectors[-1])
        assert steps in (0, len(read))
        if steps:
            read = [sum(read, [])]
        for y in read if every_step else read[-1:]:
            for prefix, layer in linear:
                stored = self.linear(prefix, layer, y, inputs)
                y = real(stored, written(layer["output"])[0])
            outputs.append(stored)
        return outputs if every_step else outputs[0]

    @staticmethod
    def read(formats, below, vectors):
        """x of all steps of a layer."""
        if "sources" not in formats:
            return below
        parts = [vectors[source] for source in formats["sources"]]
        return [sum(step, []) for step in zip(*parts, strict=True)]

    def linear(self, prefix, layer, vector, inputs):
        """Stored outputs of a linear layer."""
        operands = [("weight", "w_format", vector)]
        if "skip_format" in layer:
            operands.append(("skip", "skip_format", next(inputs)))
        return self.activated(layer, layer["output"], self.rows(prefix, layer, operands))

    def activated(self, layer, result, sums):
        """Stored outputs, of the format ``result``, of exact sums."""
        activation = layer.get("activation")
        fraction, output = written(result)
        layers = self.model["layers"]
        preact = max((one["preact"] for one in layers), key=lambda text: split(text)[0])
        activated, argument = layers[-1]["activation_format"], self.argument(layers[-1])
        if activation == "relu":
            bits = max(sum(split(preact)), sum(split(result)))
            _, wide = written(f"Q{bits - fraction}.{fraction}/{result.partition('/')[2]}")
            return [output(max(Fraction(0), *real([wide(total)], fraction))) for total in sums]
        if activation == "elu":
            unit, fo = Elu(self.model["activation"], preact, activated), written(activated)[0]
            fi, store = written(preact)
            held = [store(total) for total in sums]
            return [output(real([q], fi)[0] if q >= 0 else 2 * real([unit(q, False)], fo)[0] - 1) for q in held]
        if activation:
            unit, fo = unit_of(self.model["activation"], argument, activated), written(activated)[0]
            lift = split(argument)[1] - split(preact)[1]
            return [output(real([unit(written(preact)[1](t) << lift, activation == "tanh")], fo)[0]) for t in sums]
        return [output(total) for total in sums]

    def argument(self, formats):
        """The format of what the activation unit takes of a layer."""
        m, n = (max(bits) for bits in zip(*(split(one["preact"]) for one in self.model["layers"]), strict=True))
        return re.sub(r"Q-?\d+\.-?\d+", f"Q{m}.{n}", formats["preact"])


def waiting(formats, h, repeats):
    """x of all steps of a layer, of what it reads, waiting for it or not."""
    if "waits" not in formats:
        return h
    half, back = len(h[0]) // 2, h[::-1]
    apart = [one[:half] + other[half:] for one, other in zip(h, back, strict=True)]
    return {
        "ends": [one + other for one, other in zip(h, back, strict=True)],
        "apart": apart,
        "both": [one + other for one, other in zip(apart, apart[::-1], strict=True)],
        "last": [h[-1]] * (repeats or len(h)),
        "twice": [h[-1] + h[-1]] * (repeats or len(h)),
    }[formats["waits"]]


def arranged(y, sends):
    """Outputs of the network from those of the engine."""
    if sends in ("sent", "backward"):
        return y if sends == "sent" else y[::-1]
    half = len(y[0]) // 2
    pairs = [(one[:half], other[half:]) for one, other in zip(y, y[::-1], strict=True)]
    if sends == "apart":
        return [one + other for one, other in pairs]
    added = [[a + b for a, b in zip(*pair, strict=True)] for pair in pairs]
    return added[-1] if sends == "added_last" else added


class Layer:
    """A layer with its state, step by step; h are real numbers, c stored integers."""

    def __init__(self, golden, number):
        self.golden, self.prefix, self.formats = golden, f"layers.{number}", golden.model["layers"][number]
        self.kind, tensors = self.formats.get("kind", "lstm"), golden.tensors
        self.size = len(tensors[f"{self.prefix}.bias"]) // (1 if self.kind == "plain" else 4)
        self.has_h = f"{self.prefix}.w_h" in tensors
        zeros, self.fh = [0] * self.size, written(self.formats["hidden"])[0]
        self.h = real(tensors.get(f"{self.prefix}.initial_h", zeros), self.fh)
        self.c = [int(value) for value in tensors.get(f"{self.prefix}.initial_c", zeros)]
        self.above, thresholds = self, golden.model.get("thresholds")
        self.thresholds = thresholds and (None if number else thresholds[0], thresholds[number + 1])
        self.least = golden.model["sparse_h"][number] if "sparse_h" in golden.model else None
        self.passed_x, self.passed_h = [Fraction(0)] * tensors[f"{self.prefix}.w_x"].shape[1], self.h

    def step(self, x):
        """Takes a step and returns what the layer above reads of h."""
        h = self.above.h
        if self.thresholds:
            if self.thresholds[0] is not None:
                fx = written(self.formats["x_format"])[0]
                x = self.passed_x = passed(x, self.passed_x, self.thresholds[0], fx)
            h = self.passed_h
        if self.least is not None:
            h = self.sparse(h)
        if self.kind == "plain":
            stored = self.golden.activated(self.formats, self.formats["hidden"], self.sums(x, h))
        else:
            stored = self.cell(x, h)
        self.h = real(stored, self.fh)
        if not self.thresholds:
            return self.h
        self.passed_h = passed(self.h, self.passed_h, self.thresholds[1], self.fh)
        return self.passed_h

    def sums(self, x, h):
        operands = [("w_x", "w_x_format", x)] + [("w_h", "w_h_format", h)] * self.has_h
        return self.golden.rows(self.prefix, self.formats, operands)

    def sparse(self, h):
        found = []
        for first in range(0, len(h), 4):
            group = h[first : first + 4]
            sizes = [abs(value) * Fraction(2) ** self.fh for value in group]
            kept = sum(sizes) >= self.least or 2 * max(sizes) > self.least
            found += group if kept else [Fraction(0)] * len(group)
        return found

    def cell(self, x, h):
        """Stored h after a step; c is replaced."""
        formats, size = self.formats, self.size
        (fp, preact), fo = written(formats["preact"]), written(formats["activation_format"])[0]
        (fc, cell), hidden = written(formats["cell"]), written(formats["hidden"])[1]
        fa, argument = written(self.golden.argument(formats))
        unit = unit_of(self.golden.model["activation"], self.golden.argument(formats), formats["activation_format"])
        lift = fa - fp
        before, stored = real(self.c, fc), []
        if self.golden.tensors[f"{self.prefix}.w_h"].shape[1] == 2 * size and self.kind == "gru":
            nothing = real([unit(0, True)], fo)[0]
            gates = real([unit(preact(v) << lift, False) for v in self.sums(x, h + [0] * size)[:size]], fo)
            h = h + real([hidden(r * c + (1 - r) * nothing) for r, c in zip(gates, before, strict=True)], self.fh)
        pre = [preact(v) for v in self.sums(x, h)]
        peepholes = self.golden.tensors.get(f"{self.prefix}.peepholes")
        for u in range(size):
            sums = [pre[gate * size + u] for gate in range(4)]
            if self.kind == "gru":
                r, z = real([unit(q << lift, False) for q in sums[:2]], fo)
                n_x, n_h = real(sums[2:], fp)
                n = real([unit(argument(n_x + r * n_h), True)], fo)[0]
                total = (1 - z) * n + z * before[u]
                stored.append(hidden(total))
            else:
                p = [0, 0, 0]
                if peepholes is not None:
                    p = real(peepholes[:, u], written(formats["peephole_format"])[0])
                v = real(sums, fp)
                i, f = real([unit(argument(v[n] + p[n] * before[u]), False) for n in range(2)], fo)
                g = real([unit(sums[2] << lift, True)], fo)[0]
                total = f * before[u] + i * g
                o = real([unit(argument(v[3] + p[2] * real([cell(total)], fc)[0]), False)], fo)[0]
                stored.append(hidden(o * real([unit(argument(total), True)], fo)[0]))
            self.c[u] = cell(total)
        return stored


def passed(values, reference, threshold, fraction):
    """References after a step: of elements that change by the threshold, in stored integers."""
    least = Fraction(threshold) / Fraction(2) ** fraction
    return [v if v != r and abs(v - r) >= least else r for v, r in zip(values, reference, strict=True)]


def agree(qmodel, x, folder):
    """Check the outputs of the integer reference, and the file, and return what the engine sends."""
    path, stored = folder / "quantized.safetensors", qmodel.quantize_input(x)
    qmodel.save(path)
    golden = Golden(path)
    assert golden.digest() == golden.metadata["sha256"]
    assert QuantModel.load(path).digest() == qmodel.digest()
    sent, _ = integer_reference(qmodel, stored)
    traced, _ = integer_reference(qmodel, stored, trace={})
    assert np.array_equal(sent, traced)
    assert [golden.run(sequence) for sequence in x] == qmodel.outputs_of(sent).tolist()
    assert len(np.unique(sent)) > 3
    return sent


WIDE = {"cell": QFormat(7, 16), "preact": QFormat(3, 16), "activation_format": QFormat(0, 17)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "quadratic128", **WIDE},
        {"activation": "pwl", "weight_bits": 8, "operand_bits": 8},
        {"activation": "hard6/nonuniform(segments=8)", "preact": QFormat(3, 12)},
        {"weight_bits": 5, "fractions": "row", "rounding": "compensated"},
        {"activation": "pwl", "cell": QFormat(3, 18, rounding="half_even"), "preact": QFormat(2, 13)},
        {"hidden": (QFormat(-1, 16), QFormat(0, 15, rounding="floor")), "cell": QFormat(1, 14, overflow="wrap")},
        {"cell": (QFormat(9, 14), QFormat(1, 22))},
        {"preact": (QFormat(1, 14), QFormat(3, 12, rounding="half_even")), "activation": "linear(segments=64)"},
    ],
    ids=["default", "wide", "8 bits", "two units", "shifts of rows", "fine c", "h of layers", "c of layers", "sums"],
)
def test_the_page_is_enough(random_model, tmp_path, options):
    model = random_model(5, 3, (4, 3), outputs=2, every_step=True, scale=0.9)
    x = np.random.default_rng(1).standard_normal((4, 9, 3)) * [1, 1, 0.002]
    outputs = agree(quantize(model, x, QuantConfig(**options)), x, tmp_path)
    assert len(np.unique(outputs)) > 20


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("options", [
    {},
    {"weight_bits": 8, "operand_bits": 8, "activation": "hard5/quadratic64"},
    {**WIDE, "preact": QFormat(3, 16, rounding="half_even"), "fractions": "row"},
    {"preact": QFormat(2, 13, overflow="wrap")},
], ids=["default", "8 bits", "wide", "wraps"])  # fmt: skip
def test_chains_of_linear_layers(random_model, tmp_path, options, every_step):
    model = with_chain(random_model(8, 2, (4,), scale=0.9), every_step, sizes=[6] * len(CHAIN))
    x = np.random.default_rng(1).standard_normal((3, 5, 2))
    qmodel = quantize(model, x / 2, QuantConfig(**options))
    agree(qmodel, x, tmp_path)
    assert [layer.activation for layer in qmodel.dense] == CHAIN[:-1]


@pytest.mark.parametrize("text, preact, activated", [
    ("quadratic", "Q3.12", "Q0.15"),
    ("quadratic(segments=16, guard=2)", "Q2.9", "Q0.15/half_even"),
    ("linear(segments=32)", "Q4.11", "Q0.15"),
    ("cubic(segments=16)", "Q2.11", "Q0.15"),
    ("nonuniform(segments=16)", "Q3.12", "Q0.15"),
    ("taylor(segments=16, order=3)", "Q2.11", "Q0.15/floor"),
    ("catmull_rom(segments=32)", "Q3.12", "Q0.17"),
    ("table(segments=256)", "Q3.12", "Q0.15"),
    ("plan", "Q3.12", "Q0.15"),
    ("hard5/hard6", "Q3.10", "Q0.15"),
])  # fmt: skip
def test_the_page_has_every_activation_unit(text, preact, activated):
    i_format, o_format = QFormat.parse(preact), QFormat.parse(activated)
    spelled = [f"Q{f.integer}.{f.fraction}/{f.rounding}/{f.overflow}" for f in (i_format, o_format)]
    golden, unit = unit_of(text, *spelled), make_activation(text, i_format, o_format)
    x = np.unique(np.random.default_rng(3).integers(i_format.lowest, i_format.highest, 3000, endpoint=True))
    for tanh in (False, True):
        assert [golden(value, tanh) for value in x.tolist()] == unit.compute(x, tanh).tolist()


@pytest.mark.parametrize("config", [{}, {"weight_bits": 6}, {"weight_bits": 8, "operand_bits": 8}])
@pytest.mark.parametrize("added", [1, 2])
def test_the_page_has_the_skip(random_model, tmp_path, config, added):
    model = random_model(7, 3, (4,), outputs=2, every_step=True, skip=added)
    x = np.random.default_rng(2).standard_normal((2, 6, 3)) * [1, 1, 0.01]
    agree(quantize(model, x, QuantConfig(**config)), x, tmp_path)


def test_the_page_has_the_initial_state(random_model, tmp_path):
    model, rng = random_model(7, 3, (4, 3), outputs=2, every_step=True), np.random.default_rng(2)
    initial = [(rng.uniform(-1, 1, size), rng.uniform(-3, 3, size)) for size in (4, 3)]
    layers = [replace(layer, initial=pair) for layer, pair in zip(model.layers, initial, strict=True)]
    x = rng.standard_normal((2, 6, 3))
    agree(quantize(replace(model, layers=tuple(layers)), x), x, tmp_path)


@pytest.mark.parametrize("options", [{}, {"cell": QFormat(7, 16), "preact": QFormat(3, 14), "activation": "plan"}])
def test_the_page_has_peepholes(random_model, tmp_path, options):
    model, rng = random_model(7, 3, (4, 3), outputs=2, every_step=True), np.random.default_rng(2)
    layers = [replace(layer, peepholes=rng.normal(0, 2, (3, layer.hidden_size))) for layer in model.layers]
    x = rng.standard_normal((2, 6, 3))
    agree(quantize(replace(model, layers=tuple(layers)), x, QuantConfig(**options)), x, tmp_path)


@pytest.mark.parametrize("head", [None, 2])
def test_outputs_of_other_models(random_model, tmp_path, head):
    model = random_model(6, 2, (3,), outputs=head)
    x = np.random.default_rng(2).standard_normal((2, 5, 2))
    agree(quantize(model, x), x, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": QFormat(0, 23), "preact": QFormat(2, 15), "activation_format": QFormat(0, 17)},
        {"weight_bits": 5, "operand_bits": 8, "activation": "pwl", "cell": QFormat(0, 15, rounding="half_even")},
        {
            "preact": (QFormat(2, 13), QFormat(3, 12)),
            "cell": (QFormat(0, 15), QFormat(-1, 16)),
            "hidden": (QFormat(0, 15), QFormat(-1, 16)),
            "fractions": "row",
        },
    ],
    ids=["default", "wide", "8 bits", "formats of layers"],
)
def test_the_page_is_enough_for_a_gru(tmp_path, options):
    rng, layers = np.random.default_rng(8), []
    for inputs, units in ((3, 4), (4, 3)):
        w_x, w_h, *biases = (rng.uniform(-1, 1, (3 * units, *rest)) for rest in ((inputs,), (units,), (), ()))
        layers.append(GruWeights.of_gates(w_x, w_h, *biases, "layer"))
    model = FloatModel(tuple(layers), DenseWeights(rng.uniform(-1, 1, (2, 3)), rng.uniform(-1, 1, 2)), True)
    x = rng.standard_normal((3, 9, 3)) * [1, 1, 0.002]
    qmodel = quantize(model, x, QuantConfig(**options))
    outputs = agree(qmodel, x, tmp_path)
    assert len(np.unique(outputs)) > 20
    if "hidden" not in options:  # which clips
        assert np.abs(qmodel.dequantize_output(outputs) - float_reference(model, x)[0]).mean() < 0.02


class Drawn:
    """Layers of random weights."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape):
        return self.rng.normal(0, 0.6, shape)

    def states(self, units, kind):
        h, c = self.rng.uniform(-0.9, 0.9, (2, units))
        return h, c if kind == "lstm" else h

    def lstm(self, inputs, units, **more):
        arrays = [self.normal(4 * units, *rest) for rest in ((inputs,), (units,), ())]
        return LstmWeights(*arrays, **more)

    def gru(self, inputs, units, **more):
        arrays = [self.normal(3 * units, *rest) for rest in ((inputs,), (units,), (), ())]
        return GruWeights.of_gates(*arrays, "gru", **more)

    def before(self, inputs, units, **more):
        return self.gru(inputs, units, reset_before=True, **more)

    def plain(self, inputs, units, activation="none", h=True, **more):
        w_h = self.normal(units, units if h else 0)
        return PlainWeights(self.normal(units, inputs), w_h, self.normal(units), activation=activation, **more)

    def projected(self, inputs, units, outputs):
        """A layer and its projection, which begin from a state."""
        states = [self.states(size, kind) for size, kind in ((units, "lstm"), (outputs, "plain"))]
        arrays = [self.normal(4 * units, *rest) for rest in ((inputs,), (outputs,), ())]
        layer = LstmWeights(*arrays, projected=True, initial=states[0])
        return [layer, self.plain(units, outputs, h=False, initial=states[1])]

    def dense(self, inputs, outputs=2, **more):
        return DenseWeights(self.normal(outputs, inputs), self.normal(outputs), **more)

    def x(self, steps=5, inputs=3):
        return self.rng.standard_normal((2, steps, inputs))


@pytest.mark.parametrize("cells", ["lstm", "gru", None])
@pytest.mark.parametrize(
    "options",
    [{}, {"operand_bits": 8, "weight_bits": 8}, {"preact": QFormat(2, 15, overflow="wrap"), "fractions": "row"}],
    ids=["default", "8 bits", "wraps"],
)
def test_the_page_has_plain_layers(tmp_path, cells, options):
    drawn = Drawn(11)
    made = {"lstm": drawn.lstm, "gru": drawn.gru, None: drawn.plain}[cells]
    layers = [
        drawn.plain(3, 4, "elu", h=False),
        drawn.plain(4, 3, "relu", initial=drawn.states(3, "plain")),
        made(3, 3),
        drawn.plain(3, 4, "sigmoid", h=False),
        drawn.plain(4, 3, "tanh"),
        made(3, 3),
        drawn.plain(3, 4, "relu", h=False),
    ]
    model, x = FloatModel(tuple(layers), drawn.dense(4), True), drawn.x()
    agree(quantize(model, x / 2, QuantConfig(**options)), x, tmp_path)


def test_plain_layers_look_up_by_the_first_of_most_integer_bits(tmp_path):
    drawn = Drawn(12)
    layers = (drawn.plain(3, 4, "tanh"), drawn.lstm(4, 3), drawn.plain(3, 4, "elu"), drawn.lstm(4, 3))
    model, x = FloatModel(layers, drawn.dense(3, activation="sigmoid")), drawn.x()
    agree(quantize(model, x, QuantConfig(preact=(QFormat(1, 14), QFormat(3, 12, rounding="floor")))), x, tmp_path)


@pytest.mark.parametrize("options", [{}, {**WIDE, "cell": QFormat(0, 19)}, {"operand_bits": 8, "activation": "pwl"}])
def test_the_page_has_the_gru_that_resets_before(tmp_path, options):
    drawn = Drawn(13)
    layers = drawn.before(3, 4), drawn.before(4, 3, h=drawn.rng.uniform(-1, 1, 3))
    model, x = FloatModel(layers, drawn.dense(3), True), drawn.x(7)
    agree(quantize(model, x, QuantConfig(**options)), x, tmp_path)


@pytest.mark.parametrize("options", [{}, {"operand_bits": 8, "weight_bits": 8}])
def test_the_page_has_projections(tmp_path, options):
    drawn = Drawn(14)
    model = FloatModel((*drawn.projected(3, 5, 3), *drawn.projected(3, 4, 2)), None)
    x = drawn.x()
    agree(quantize(model, x, QuantConfig(**options)), x, tmp_path)


def around(name, drawn):
    """A network of two directions, or one that waits."""

    def one(inputs, units, kind="lstm"):
        return Part([getattr(drawn, kind)(inputs, units)])

    def both(inputs, units, kind="lstm"):
        return Part(one(inputs, units, kind).forward, one(inputs, units, kind).forward)

    def last(part):
        return replace(part, repeats=True)

    def projections(inputs):
        return Part(drawn.projected(inputs, 3, 2), drawn.projected(inputs, 3, 2))

    front = Part([drawn.plain(3, 4, "tanh", h=False)])
    parts, outputs, mode, more = {
        "added": ([both(3, 3)], 6, "every_step", {}),
        "added of the last": ([both(3, 3, "gru")], 6, "last_step", {}),
        "final state": ([both(3, 3, "before")], 6, "final_state", {}),
        "apart": ([both(3, 3, "plain")], 0, "every_step", {}),
        "all steps": ([front, both(4, 3)], 30, "all_steps", {}),
        "backward": ([one(3, 4)], 4, "every_step", {"reads": "backward", "sends": "backward"}),
        "from the end": ([one(3, 4)], 4, "last_step", {"reads": "backward"}),
        "ends": ([one(3, 4), both(4, 3)], 0, "every_step", {"most": 7}),
        "behind both": ([both(3, 3), one(6, 4)], 4, "every_step", {}),
        "both": ([both(3, 3, "before"), both(6, 2, "before")], 4, "every_step", {}),
        "decoder": ([one(3, 4, "gru"), last(one(4, 3, "gru"))], 3, "every_step", {"most": 5, "least": 5}),
        "decoder of both": ([both(3, 3), last(both(6, 2))], 0, "every_step", {}),
        "seven steps": ([one(3, 4), last(both(4, 3))], 6, "every_step", {"repeats": 7}),
        "three steps": ([both(3, 3), both(6, 2), last(one(4, 3)), both(3, 2)], 0, "every_step", {"repeats": 3}),
        "projections": ([projections(3), projections(4)], 4, "every_step", {}),
    }[name]
    return in_parts(parts, [drawn.dense(outputs)] if outputs else [], mode, **more)


@pytest.mark.parametrize(
    "name",
    [
        *("added", "added of the last", "final state", "apart", "all steps", "backward", "from the end"),
        *("ends", "behind both", "both", "decoder", "decoder of both", "seven steps", "three steps", "projections"),
    ],
)
def test_the_page_has_what_is_done_around_a_run(tmp_path, name):
    drawn = Drawn(15)
    model, x = around(name, drawn), drawn.x() * [1, 1, 0.01]
    qmodel = quantize(model, x)
    assert not qmodel.arrangement.is_plain
    agree(qmodel, x, tmp_path)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("left_out", [{"thresholds": (4000, 2500, 0)}, {"sparse_h": (30000, 12000)}])
def test_the_page_has_what_is_left_out(tmp_path, kind, left_out):
    drawn = Drawn(16)
    layers = [getattr(drawn, kind)(inputs, units) for inputs, units in ((3, 6), (6, 5))]
    skip = drawn.dense(5, 2, skip=drawn.normal(2, 3))
    model, x = FloatModel(tuple(layers), skip, True), drawn.x(9)
    qmodel = quantize(model, x, QuantConfig(scale_inputs=False))
    sent = agree(replace(qmodel, **left_out), x, tmp_path)
    assert np.mean(sent != agree(qmodel, x, tmp_path)) > 0.5


def test_the_page_has_sources(tmp_path):
    drawn = Drawn(17)
    layers = (
        drawn.lstm(3, 4),
        drawn.plain(7, 3, "relu", sources=(-1, 0)),
        drawn.lstm(7, 3, sources=(0, 1)),
    )
    model, x = FloatModel(layers, drawn.dense(9, sources=(-1, 1, 2)), True), drawn.x()
    agree(quantize(model, x, QuantConfig(hidden=(QFormat(0, 15), QFormat(-1, 16)))), x, tmp_path)
