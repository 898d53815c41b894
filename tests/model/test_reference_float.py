import numpy as np
import pytest

from lstm_hw.errors import InputError, ModelError
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.model.reference import float_reference


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(8))
def test_equals_torch(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    inputs, hidden, layers = (int(rng.integers(1, high)) for high in (12, 20, 4))
    sequences, steps = int(rng.integers(1, 5)), int(rng.integers(1, 15))
    lstm = torch.nn.LSTM(inputs, hidden, layers, batch_first=True)
    weights = {name: value.detach().numpy() for name, value in lstm.state_dict().items()}
    model = FloatModel(
        tuple(
            LstmWeights(
                weights[f"weight_ih_l{n}"],
                weights[f"weight_hh_l{n}"],
                weights[f"bias_ih_l{n}"].astype(float) + weights[f"bias_hh_l{n}"],
            )
            for n in range(layers)
        )
    )
    x = 2 * rng.standard_normal((sequences, steps, inputs))
    h, c = rng.standard_normal((2, layers, sequences, hidden))
    with torch.no_grad():
        expected, (h_after, c_after) = lstm(torch.tensor(x).float(), (torch.tensor(h).float(), torch.tensor(c).float()))
    outputs, state = float_reference(model, x, list(zip(h, c, strict=True)))
    np.testing.assert_allclose(outputs, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose([pair[0] for pair in state], h_after, atol=1e-5, rtol=0)
    np.testing.assert_allclose([pair[1] for pair in state], c_after, atol=1e-5, rtol=0)


@pytest.mark.parametrize("every_step", [False, True])
def test_head(random_model, every_step):
    model = random_model(1, 3, (5, 4), outputs=2, every_step=every_step)
    bare = FloatModel(model.layers)
    x = np.random.default_rng(2).standard_normal((3, 6, 3))
    hidden, state = float_reference(bare, x)
    outputs, state_with_head = float_reference(model, x)
    every = hidden @ model.head.weight.T + model.head.bias
    np.testing.assert_allclose(outputs, every if every_step else every[:, -1], atol=1e-12)
    assert outputs.shape == ((3, 6, 2) if every_step else (3, 2))
    for (h, c), (h2, c2) in zip(state, state_with_head, strict=True):
        assert np.array_equal(h, h2) and np.array_equal(c, c2)


def test_state_carries_over(random_model):
    model = random_model(3, 4, (6, 5))
    x = np.random.default_rng(4).standard_normal((2, 9, 4))
    whole, state = float_reference(model, x)
    first, between = float_reference(model, x[:, :4])
    second, after = float_reference(model, x[:, 4:], between)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-13)
    np.testing.assert_allclose(after[1][1], state[1][1], atol=1e-13)


def test_trace_and_large_values(random_model):
    model = random_model(5, 2, (3,), scale=300.0)
    trace = {}
    with np.errstate(all="raise", under="ignore"):
        outputs, _ = float_reference(model, np.full((1, 4, 2), 50.0), trace=trace)
    assert np.all(np.isfinite(outputs))
    shapes = {name: array.shape for name, array in trace[0].items()}
    assert shapes == {"pre": (1, 4, 12), "c": (1, 4, 3), "h": (1, 4, 3)}
    assert np.array_equal(trace[0]["h"], outputs)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3)), r"x: shape \(2, 3\); must be \(1 or more, 1 or more, 4\)"),
        (np.zeros((2, 3, 5)), r"x: shape \(2, 3, 5\)"),
        (np.zeros((2, 0, 4)), r"x: shape \(2, 0, 4\)"),
        (np.full((1, 1, 4), np.nan), "x: NaN or infinity; must be finite"),
        (np.zeros((1, 1, 4), dtype=complex), "x: dtype complex128; must be real numbers"),
        ([[1.0], [1.0, 2.0]], "x: .*; must be an array"),
    ],
)
def test_wrong_input(random_model, x, message):
    with pytest.raises(InputError, match=message):
        float_reference(random_model(0, 4, (3,)), x)


def test_wrong_state(random_model):
    model, x = random_model(0, 4, (3,)), np.zeros((2, 1, 4))
    with pytest.raises(InputError, match="state: 0 entries; must be 1 pairs"):
        float_reference(model, x, [])
    with pytest.raises(InputError, match="state: 1 entries; must be 1 pairs"):
        float_reference(model, x, [(np.zeros((2, 3)),)])
    with pytest.raises(InputError, match=r"state of layer 0: c: shape \(2, 2\)"):
        float_reference(model, x, [(np.zeros((2, 3)), np.zeros((2, 2)))])


def lstm(inputs=2, hidden=3, **changes):
    parts = {"w_x": np.zeros((4 * hidden, inputs)), "w_h": np.zeros((4 * hidden, hidden)), "bias": np.zeros(4 * hidden)}
    return LstmWeights(**parts | changes, source="m.safetensors: layer 0")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w_h": np.zeros((12, 4))}, r"m.safetensors: layer 0: w_h: shape \(12, 4\); must be \(4H, H\)"),
        ({"w_h": np.zeros(12)}, "w_h: shape"),
        ({"w_h": np.zeros((0, 0))}, "w_h: shape"),
        ({"w_x": np.zeros((11, 2))}, r"w_x: shape \(11, 2\); must be \(12, 1..65536\)"),
        ({"w_x": np.zeros((12, 0))}, "w_x: shape"),
        ({"bias": np.zeros((12, 1))}, "bias: shape"),
        ({"bias": np.full(12, np.inf)}, "bias: 12 values NaN or infinite; must be finite"),
        ({"bias": ["a"] * 12}, "bias: .*; must be an array of numbers"),
    ],
)
def test_lstm_weights_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        lstm(**changes)


def test_model_refused():
    with pytest.raises(ModelError, match="model: no recurrent layer; must have at least one"):
        FloatModel(())
    with pytest.raises(ModelError, match="model: layer 1: 2 inputs; must be the 3 hidden units of layer 0"):
        FloatModel((lstm(), lstm()))
    with pytest.raises(ModelError, match="model: head: 4 inputs; must be the 3 hidden units"):
        FloatModel((lstm(),), DenseWeights(np.zeros((2, 4)), np.zeros(2)))
    with pytest.raises(ModelError, match="head_every_step: true without a head"):
        FloatModel((lstm(),), head_every_step=True)
    with pytest.raises(ModelError, match=r"linear layer: bias: shape \(3,\); must be \(2\)"):
        DenseWeights(np.zeros((2, 4)), np.zeros(3))


def test_weights_cannot_change():
    given = np.zeros(12)
    layer = lstm(bias=given)
    given[0] = 1
    assert layer.bias[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        layer.bias[0] = 1


def test_sizes(random_model):
    model = random_model(0, 4, (6, 5), outputs=3)
    assert (model.input_size, model.hidden_sizes, model.output_size) == (4, (6, 5), 3)
    assert FloatModel(model.layers).output_size == 5
