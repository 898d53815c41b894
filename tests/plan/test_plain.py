"""Plain layers anywhere among recurrent ones: proved, with the bits of the integer reference, and PyTorch's numbers."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, ModelError, ProgramError
from lstm_hw.machine.isa import MODE_CELL, MODE_LINEAR
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.model.budget import error_budget, partly_rounded, places_of
from lstm_hw.model.delta import with_thresholds
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import matrix_sizes, quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.choose import choose
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.layer import words_of
from lstm_hw.plan.rowblock import RowBlockPlanner, old_columns
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import engine_and_plan, engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.prune.apply import prune
from lstm_hw.prune.settings import PruneConfig
from tests.plan.test_chains import SCHEDULES, check_bits, engine, runs_of
from tests.proof.test_checker import changed, where

INPUTS = 6


def cells(rng, inputs, units, kind="lstm", projection=None):
    """An LSTM or GRU layer, or an LSTM's and its projection."""
    if kind == "gru":
        matrices = (rng.uniform(-0.7, 0.7, (3 * units, columns)) for columns in (inputs, units))
        return [GruWeights.of_gates(*matrices, *rng.uniform(-0.7, 0.7, (2, 3 * units)), "layer")]
    reads = projection or units
    arrays = (rng.uniform(-0.7, 0.7, (4 * units, columns)) for columns in (inputs, reads))
    layer = LstmWeights(*arrays, rng.uniform(-0.7, 0.7, 4 * units), projected=projection is not None)
    return [layer, *([plain(rng, units, projection, "none", bias=0)[0]] if projection else [])]


def plain(rng, inputs, outputs, activation="tanh", recurrent=False, bias=0.7):
    w_h = rng.uniform(-0.7, 0.7, (outputs, outputs)) if recurrent else np.zeros((outputs, 0))
    w_x = rng.uniform(-0.7, 0.7, (outputs, inputs))
    return [PlainWeights(w_x, w_h, bias * rng.uniform(-1, 1, outputs), activation=activation)]


def rnn(rng, inputs, outputs, activation="tanh"):
    return plain(rng, inputs, outputs, activation, True)


def head(rng, inputs, outputs=3, activation="none"):
    return DenseWeights(rng.uniform(-0.7, 0.7, (outputs, inputs)), rng.uniform(-1, 1, outputs), activation=activation)


def most_pinned(network, config):
    return max(old_columns(shape, config) for shape in network.recurrent)


def model_of(name):
    rng = np.random.default_rng(4)
    if name == "rnn":
        return FloatModel(rnn(rng, INPUTS, 9))
    if name == "two rnn, last step":
        return FloatModel((*rnn(rng, INPUTS, 9), *rnn(rng, 9, 7, "relu")), head(rng, 7))
    if name == "elu in front":
        return FloatModel((*plain(rng, INPUTS, 9, "elu"), *cells(rng, 9, 5)), head(rng, 5))
    if name == "everywhere":
        front = (*plain(rng, INPUTS, 9, "relu"), *plain(rng, 9, 4, "sigmoid"), *cells(rng, 4, 5, "gru"))
        layers = (*front, *plain(rng, 5, 7, "none"), *cells(rng, 7, 6, "gru"))
        return FloatModel(layers, head(rng, 6), True, dense=(head(rng, 6, 6, "relu"),))
    if name == "projection":
        return FloatModel(cells(rng, INPUTS, 9, projection=4))
    if name == "two projections":
        layers = (*cells(rng, INPUTS, 9, projection=4), *cells(rng, 4, 5, projection=3))
        return FloatModel(layers, head(rng, 3, 2), True)
    return FloatModel((*rnn(rng, INPUTS, 5), *cells(rng, 5, 4), *rnn(rng, 4, 4)), head(rng, 4, 2), True)


MODELS = (
    "rnn",
    "two rnn, last step",
    "elu in front",
    "everywhere",
    "projection",
    "two projections",
    "rnn beside lstm",
)
BATCHES = {
    "blocking-batching": lambda network, config: BatchPlanner(network, config, 3, 2, tile_columns=2),
    "blocking-batching, case 2": lambda network, config: BatchPlanner(network, config, 3, 2, 2, tile_columns=2),
    "blocking-batching, case 3": lambda network, config: BatchPlanner(network, config, 3, 2, 3, tile_columns=2),
    "blocking-batching, batch 1": lambda network, config: BatchPlanner(network, config, 1, 1, 1, tile_columns=2),
}
STREAMING = {
    "conventional": ConventionalPlanner,
    "pinned": lambda network, config: ConventionalPlanner(network, config, most_pinned(network, config)),
    "row blocks": RowBlockPlanner,
    "row blocks, 3 groups": lambda network, config: RowBlockPlanner(network, config, 3),
}
X = np.random.default_rng(5).uniform(-1, 1, (6, 9, INPUTS))


@pytest.fixture(scope="module", params=MODELS)
def made(request):
    model = model_of(request.param)
    return model, quantize(model, X)


@pytest.mark.parametrize("contexts", [1, 2])
def test_bits_in_pieces(made, contexts):
    check_bits("resident", made[1], X, contexts=contexts, x_per_beat=contexts)


@pytest.mark.parametrize("fields", [{"rows": 8}, {"rows": 32, "contexts": 1}])
@pytest.mark.parametrize("schedule", STREAMING)
def test_bits_of_weights_that_stream(made, schedule, fields):
    _, qmodel = made
    network = network_of(qmodel)
    planner = STREAMING[schedule](network, engine(qmodel, network, **fields))
    plan = planner.plan()
    check(plan)
    runs = runs_of(plan, qmodel, X).runs[-4:]
    beats = sum(words_of(layer.streamed) for layer in planner.layers) * plan.config.beats_per_word
    assert [run.counters["read_beats"] for run in runs] == [run.steps * beats for run in runs]


@pytest.mark.parametrize("fields", [{"rows": 8}, {"rows": 32, "contexts": 1, "x_per_beat": 1}])
@pytest.mark.parametrize("schedule", BATCHES)
def test_bits_of_batches_of_steps(made, schedule, fields):
    _, qmodel = made
    network = network_of(qmodel)
    config = engine(qmodel, network, **fields)
    if any(shape.projected for shape in network.layers):
        with pytest.raises(ConfigError, match="'sbe' for a model with a projection; must be one that is for it"):
            BATCHES[schedule](network, config)
        return
    planner = BATCHES[schedule](network, config)
    plan = planner.plan()
    check(plan)
    runs = runs_of(plan, qmodel, X).runs[-4:]
    words = [planner.words_read(run.steps) for run in runs]
    assert [run.counters["read_beats"] for run in runs] == [n * plan.config.beats_per_word for n in words]


def test_numbers(made, tmp_path):
    model, qmodel = made
    exact, _ = float_reference(model, X)
    stored, _ = integer_reference(qmodel, qmodel.quantize_input(X))
    assert np.abs(qmodel.dequantize_output(stored) - exact).mean() < 2e-4
    assert np.array_equal(partly_rounded(model, qmodel, X, places_of(qmodel)), qmodel.dequantize_output(stored))
    assert np.allclose(partly_rounded(model, qmodel, X, ()), exact, rtol=0, atol=1e-12)
    assert {entry["place"] for entry in error_budget(model, qmodel, X[:1])["by_place"]} >= {"w_x", "h"}
    report, _ = quantization_report(model, qmodel, X)
    for layer, found in zip(qmodel.layers, report["layers"], strict=True):
        assert set(found) == ({"h", "zeroed"} if layer.KIND == "plain" else set(found) | {"pre", "c", "h"})
    qmodel.save(tmp_path / "model.safetensors")
    assert QuantModel.load(tmp_path / "model.safetensors").digest() == qmodel.digest()


def test_state_goes_from_call_to_call(made):
    model, qmodel = made
    for run, given, x in ((float_reference, model, X), (integer_reference, qmodel, qmodel.quantize_input(X))):
        whole, _ = run(given, x)
        first, state = run(given, x[:, :4])
        second, _ = run(given, x[:, 4:], state)
        if whole.ndim == 3:
            assert np.array_equal(np.concatenate([first, second], axis=1), whole)
        else:
            assert np.array_equal(second, whole)


def test_the_smallest_engine(made):
    _, qmodel = made
    config, plan = engine_and_plan(network_of(qmodel), **engine_formats(qmodel))
    check(plan)
    assert config.chains and plan.schedule == "resident"
    found = choose(network_of(qmodel), 5, formats=engine_formats(qmodel))
    assert found.outcome.name == "resident"
    with pytest.raises(ConfigError, match="for a model with plain layers.*; must be auto or resident or"):
        choose(network_of(qmodel), 5, schedule="row_window", formats=engine_formats(qmodel))


@pytest.mark.parametrize("sequences, names", [(1, {"conventional", "pinned", "sbe"}), (6, {"rowblock", "sbe"})])
def test_auto_streams_what_does_not_fit(made, sequences, names):
    _, qmodel = made
    network, formats = network_of(qmodel), engine_formats(qmodel)
    _, resident = engine_and_plan(network, rows=4, **formats)
    given = {"rows": 4, "weight_words": resident.image.words - 1}
    found = choose(network, 5, sequences=sequences, formats=formats, given=given)
    check(found.outcome.plan)
    assert found.outcome.plan.schedule in names
    assert "resident does not fit" in found.reason


@pytest.mark.parametrize(
    "schedule", [name for name in SCHEDULES if name not in ("resident", "delta", "compressed", *STREAMING, *BATCHES)]
)
def test_other_schedules_refuse_them(schedule):
    qmodel = quantize(model_of("rnn"), X)
    network = network_of(qmodel)
    with pytest.raises(ConfigError, match="for a model with plain layers.*; must be one that is for it"):
        SCHEDULES[schedule](network, engine(qmodel, network))


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_rnn_is_that_of_torch(nonlinearity):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = torch.nn.RNN(INPUTS, 7, num_layers=2, nonlinearity=nonlinearity, batch_first=True).double()
    layers = []
    for number in range(2):
        w_x, w_h, *biases = (
            getattr(module, f"{name}_l{number}").detach().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        layers.append(PlainWeights(w_x, w_h, sum(biases), activation=nonlinearity))
    wanted = module(torch.as_tensor(X))[0].detach().numpy()
    assert np.abs(float_reference(FloatModel(layers), X)[0] - wanted).max() < 1e-12


def test_a_projection_is_that_of_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module = torch.nn.LSTM(INPUTS, 7, proj_size=3, batch_first=True).double()
    w_x, w_h, w_r, *biases = (
        getattr(module, f"{name}_l0").detach().numpy()
        for name in ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")
    )
    layers = (
        LstmWeights(w_x, w_h, sum(biases), projected=True),
        PlainWeights(w_r, np.zeros((3, 0)), np.zeros(3)),
    )
    wanted = module(torch.as_tensor(X))[0].detach().numpy()
    assert np.abs(float_reference(FloatModel(layers), X)[0] - wanted).max() < 1e-12


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_formats_by_matrix(bits):
    model = model_of("two projections")
    assert set(matrix_sizes(model)) == {*(f"{n}.w_x" for n in range(4)), "0.w_h", "2.w_h", "head"}
    qmodel = quantize(model, X, QuantConfig(weight_bits=bits, matrix_bits={"1.w_x": 4}, fractions="row"))
    assert qmodel.layers[1].w_x_format.width == 4 and qmodel.layers[0].w_h_format.width == bits
    assert qmodel.layers[0].h_format == qmodel.layers[1].hidden
    with pytest.raises(FormatError, match="h_format: .*; must be that of the projection that it reads"):
        wrong = replace(qmodel.layers[0], h_format=replace(qmodel.layers[0].h_format, integer=1, fraction=14))
        replace(qmodel, layers=(wrong, *qmodel.layers[1:]))


@pytest.mark.parametrize(
    "name, find, wrong, error",
    [
        ("rnn", {"mode": MODE_LINEAR}, {"activation": 0}, "activation 0 of layer 0; must be 4"),
        ("rnn", {"mode": MODE_LINEAR}, {"mode": MODE_CELL}, "mode 0 for layer 0; must be that of its kind"),
        ("rnn", {"mode": MODE_LINEAR}, {"write": 0}, "may not exist yet|must be of the step before|that nobody wrote"),
        ("rnn", {"mode": MODE_LINEAR}, {"target": 4}, "may still be read|must be the elements|must be of|stay below"),
        ("projection", {"mode": MODE_CELL}, {"mode": MODE_LINEAR}, "must be that of its kind"),
        ("projection", {"mode": MODE_LINEAR}, {"signal": 0}, "token .* must not wait for what no earlier command"),
    ],
)
def test_the_proof_sees_a_wrong_plain_layer(name, find, wrong, error):
    qmodel = quantize(model_of(name), X)
    network = network_of(qmodel)
    plan = ResidentPlanner(network, engine(qmodel, network)).plan()
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, where(plan, "CELL", **find), **wrong), 6)


def test_the_proof_sees_an_h_that_is_not_the_projection():
    """The columns of W_h of the first layer meet its own h."""
    qmodel = quantize(model_of("projection"), X)
    network = network_of(qmodel)
    plan = ResidentPlanner(network, engine(qmodel, network)).plan()
    at = [
        n
        for n, i in enumerate(plan.program.instructions)
        if i.op == "MAC" and "layer 0, h" in plan.program.comments.get(n, "")
    ]
    before = plan.program.instructions[at[0]].fields["operand"]
    with pytest.raises(ProgramError, match="must be of layer 1|must be the elements"):
        check(changed(plan, at[0], operand=before - network.layers[0].outputs), 6)


def test_what_a_network_must_be():
    lstm, plain_shape = LayerShape("lstm", 4, 6, 15), LayerShape("plain", 6, 6, 14, reads=0, activation="relu")
    projected = replace(lstm, reads=3, projected=True)
    to_three = LayerShape("plain", 6, 3, 14, reads=0)
    assert Network((lstm, plain_shape)).macs(2) == 2 * (lstm.macs + 36) and Network((lstm, plain_shape)).has_chain
    assert Network((projected, to_three)).macs(1) == 24 * 7 + 18
    assert Network((plain_shape, replace(lstm, inputs=6))).kind == Network((plain_shape,)).kind == "lstm"
    for layers, error in (
        ((projected,), "must have a plain layer without an h above"),
        ((projected, replace(to_three, reads=3)), "must have a plain layer without an h above"),
        ((projected, plain_shape), "3 columns of h below 6 outputs"),
    ):
        with pytest.raises(ConfigError, match=error):
            Network(layers)
    with pytest.raises(ConfigError, match="thresholds for lstm, plain; must be none"):
        Network((lstm, plain_shape), thresholds=(1, 1, 1))
    with pytest.raises(ConfigError, match="layer reads: 3; must be its own 6 outputs, or of a plain layer 0"):
        replace(plain_shape, reads=3)
    with pytest.raises(ConfigError, match="layer projected: a layer of kind gru; must be of kind lstm"):
        replace(projected, kind="gru")


def test_what_a_model_must_be():
    rng = np.random.default_rng(1)
    projected, projection = cells(rng, 4, 6, projection=3)
    for layers in ((projected,), (projected, replace(projection, activation="relu")), (projected, *plain(rng, 6, 4))):
        with pytest.raises(ModelError, match="a projected layer; must have a plain layer of 3 outputs above it"):
            FloatModel(layers)
    with pytest.raises(ModelError, match="initial state: of one layer of two; must begin from a state with"):
        FloatModel((replace(projected, initial=(np.ones(6), np.ones(6))), projection))
    with pytest.raises(ModelError, match="activation: 'gelu'; must be one of none, relu"):
        plain(rng, 3, 4, "gelu")
    with pytest.raises(ModelError, match=r"w_h: shape \(4, 3\); must be \(1H, H\)"):
        PlainWeights(np.zeros((4, 2)), np.zeros((4, 3)), np.zeros(4))
    with pytest.raises(ModelError, match=r"w_h: shape \(24, 0\); must be \(4H, P\)"):
        replace(projected, w_h=np.zeros((24, 0)))
    mixed = (*plain(rng, 4, 5), *cells(rng, 5, 4), *cells(rng, 4, 4, "gru"))
    with pytest.raises(ModelError, match="layers of lstm and of gru; must be of one kind"):
        FloatModel(mixed)
    with pytest.raises(ModelError, match="tanh behind a linear layer, and hard5 in the gates"):
        FloatModel((*plain(rng, 4, 5), *cells(rng, 5, 4)), functions=("sigmoid", "hard5"))


def test_what_is_not_for_them():
    model = model_of("rnn")
    qmodel = quantize(model, X)
    with pytest.raises(ConfigError, match="delta: for a model of plain layers; must be for one of LSTM or GRU"):
        with_thresholds(qmodel, 0.1, [0.1])
    with pytest.raises(ConfigError, match="prune: for a model of plain layers"):
        prune(model, PruneConfig(pattern="unstructured", sparsity=0.5))
