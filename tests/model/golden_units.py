"""Activation units and number formats in Python's integers and fractions, written from docs/numbers.md alone."""

import math
import re
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache


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


def p_of(v):
    return 1 / (1 + (-v).exp()) - Decimal("0.5")


class ActivationUnit:
    P = staticmethod(p_of)

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
