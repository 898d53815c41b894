"""A golden model in Python's integers and fractions, written from docs/numbers.md alone, and the file that it reads.

It shares nothing with the package: neither formats nor activations nor readers.
"""

import hashlib
import json
import re
from fractions import Fraction

import numpy as np
from safetensors import safe_open

from .golden_units import Elu, real, split, unit_of, written


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
