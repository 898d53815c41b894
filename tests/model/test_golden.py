"""The integer reference, and the file of a quantised model, against the golden model that follows docs/numbers.md."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.machine.activation import make_activation
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.both_ways import Part, in_parts
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from tests.model.golden import Golden
from tests.model.golden_units import unit_of
from tests.projects import CHAIN, with_chain


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
