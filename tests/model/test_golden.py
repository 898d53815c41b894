"""A golden model in Python's integers and fractions, written from docs/numbers.md alone, and the file that it reads.

It shares nothing with the package: neither formats nor activations nor readers.
"""

import hashlib
import json
import math
import re
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from safetensors import safe_open

from lstm_hw.machine.formats import QFormat
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import integer_reference


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


def real(integers, fraction):
    return [Fraction(int(q)) / Fraction(2) ** fraction for q in integers]


class ActivationUnit:
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
            return 1 / (1 + (-(n + half + t) * 16 / self.n).exp()) - half

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
        first = written(self.model["layers"][0]["x_format"])
        exponents = self.model["input_exponents"] or [0] * inputs.shape[1]
        vectors = [
            real([first[1](v * 2.0**e) for v, e in zip(row, exponents, strict=True)], first[0]) for row in inputs
        ]
        for number, layer in enumerate(self.model["layers"]):
            vectors = self.layer(f"layers.{number}", layer, vectors)
        if self.model["head"] is None:
            return [[q for q, _ in step] for step in vectors]
        head, outputs = self.model["head"], []
        for h in vectors if self.model["head_every_step"] else vectors[-1:]:
            sums = self.rows("head", head, [("weight", "w_format", [value for _, value in h])])
            outputs.append([written(head["output"])[1](total) for total in sums])
        return outputs if self.model["head_every_step"] else outputs[0]

    def layer(self, prefix, formats, vectors):
        fi, preact = written(formats["preact"])
        fo, activated = written(formats["activation_format"])
        (fc, cell), (fh, hidden) = written(formats["cell"]), written(formats["hidden"])
        unit = ActivationUnit(self.model["activation"], fi, fo, activated)
        size = self.tensors[f"{prefix}.w_h"].shape[1]
        h, c, outputs = [Fraction(0)] * size, [0] * size, []
        for x in vectors:
            x = [value for _, value in x] if isinstance(x[0], tuple) else x
            pre = [preact(v) for v in self.rows(prefix, formats, [("w_x", "w_x_format", x), ("w_h", "w_h_format", h)])]
            stored = []
            for u in range(size):
                i, f, g, o = real([unit(pre[gate * size + u], gate == 2) for gate in range(4)], fo)
                total = f * real([c[u]], fc)[0] + i * g
                c[u] = cell(total)
                stored.append(hidden(o * real([unit(preact(total), True)], fo)[0]))
            h = real(stored, fh)
            outputs.append(list(zip(stored, h, strict=True)))
        return outputs


WIDE = {"cell": QFormat(7, 16), "preact": QFormat(3, 16), "activation_format": QFormat(0, 17)}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "quadratic128", **WIDE},
        {"activation": "pwl", "weight_bits": 8, "operand_bits": 8},
        {"weight_bits": 5, "fractions": "row", "rounding": "compensated"},
        {"activation": "pwl", "cell": QFormat(3, 18, rounding="half_even"), "preact": QFormat(2, 13)},
        {"hidden": (QFormat(-1, 16), QFormat(0, 15, rounding="floor")), "cell": QFormat(1, 14, overflow="wrap")},
        {"cell": (QFormat(9, 14), QFormat(1, 22))},
    ],
    ids=["default", "wide", "8 bits", "shifts of rows", "fine c", "h of layers", "c of layers"],
)
def test_the_page_is_enough(random_model, tmp_path, options):
    model = random_model(5, 3, (4, 3), outputs=2, every_step=True, scale=0.9)
    x = np.random.default_rng(1).standard_normal((4, 9, 3)) * [1, 1, 0.002]
    qmodel = quantize(model, x, QuantConfig(**options))
    qmodel.save(tmp_path / "quantized.safetensors")
    golden = Golden(tmp_path / "quantized.safetensors")
    assert golden.digest() == golden.metadata["sha256"]
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    assert [golden.run(sequence) for sequence in x] == outputs.tolist()
    assert len(np.unique(outputs)) > 20


@pytest.mark.parametrize("head", [None, 2])
def test_outputs_of_other_models(random_model, tmp_path, head):
    model = random_model(6, 2, (3,), outputs=head)
    x = np.random.default_rng(2).standard_normal((2, 5, 2))
    qmodel = quantize(model, x)
    qmodel.save(tmp_path / "quantized.safetensors")
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    assert [Golden(tmp_path / "quantized.safetensors").run(sequence) for sequence in x] == outputs.tolist()
