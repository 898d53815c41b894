"""Files with plain RNNs, projections, and linear layers in front of an LSTM or between two, against the frameworks."""

import json
from collections import OrderedDict

import numpy as np
import pytest
from safetensors.numpy import save_file

from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference

torch = pytest.importorskip("torch")

INPUTS, HIDDEN, OUTPUTS = 3, 5, 2


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((2, 7, INPUTS)).astype(np.float32)


def agrees(model, x, expected):
    found, _ = float_reference(model, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_plain_rnn_of_torch(tmp_path, x, nonlinearity):
    torch.manual_seed(2)
    rnn = torch.nn.RNN(INPUTS, HIDDEN, 2, nonlinearity=nonlinearity, batch_first=True)
    torch.save(rnn.state_dict(), tmp_path / "m.pt")
    expected = rnn(torch.as_tensor(x))[0].detach().numpy()
    model = load(tmp_path / "m.pt", ReadOptions(nonlinearity=nonlinearity))
    agrees(model, x, expected)
    assert not model.assumptions
    if nonlinearity == "tanh":
        model = load(tmp_path / "m.pt")
        agrees(model, x, expected)
        assert "taken as 'tanh' (PyTorch's), not 'relu'" in model.assumptions[0]
    with pytest.raises(ConfigError, match="nonlinearity: 'gelu'; must be one of tanh, relu"):
        ReadOptions(nonlinearity="gelu")
    with pytest.raises(ModelError, match="gate_order: 'ifgo'; must be a permutation of n alone: a plain RNN has no"):
        load(tmp_path / "m.pt", ReadOptions(gate_order="ifgo"))


def test_an_rnn_cell_and_what_is_not_one(tmp_path, x):
    cell = torch.nn.RNNCell(INPUTS, HIDDEN)
    torch.save(cell.state_dict(), tmp_path / "m.pt")
    h, expected = torch.zeros(len(x), HIDDEN), []
    for step in range(x.shape[1]):
        h = cell(torch.as_tensor(x[:, step]), h)
        expected.append(h.detach().numpy())
    agrees(load(tmp_path / "m.pt"), x, np.stack(expected, axis=1))
    torch.save(torch.nn.LSTM(INPUTS, HIDDEN).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="model.nonlinearity: 'relu'; must not be given: .* holds no plain RNN"):
        load(tmp_path / "m.pt", ReadOptions(nonlinearity="relu"))


@pytest.mark.parametrize("scripted", [False, True])
def test_a_module_saved_whole_says_its_function(tmp_path, x, scripted):
    module = torch.nn.Sequential(OrderedDict(rnn=torch.nn.RNN(INPUTS, HIDDEN, nonlinearity="relu", batch_first=True)))
    expected = module(torch.as_tensor(x))[0].detach().numpy()
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.script(module), path) if scripted else torch.save(module, path)
    model = load(path)
    agrees(model, x, expected)
    assert not model.assumptions
    with pytest.raises(ConfigError, match="model.nonlinearity: 'tanh'; must be 'relu', as .*m.pt has it"):
        load(path, ReadOptions(nonlinearity="tanh"))


def test_metadata_say_the_function(tmp_path):
    tensors = {f"rnn.{name}": value.detach().numpy() for name, value in torch.nn.RNN(2, 3).named_parameters()}
    for said in ("relu", "selu"):
        save_file(tensors, tmp_path / f"{said}.safetensors", {"rnn.nonlinearity": said})
    assert load(tmp_path / "relu.safetensors").layers[0].activation == "relu"
    with pytest.raises(ModelError, match="rnn.nonlinearity: 'selu'; must be one of tanh, relu"):
        load(tmp_path / "selu.safetensors")


def test_a_layer_in_front_may_be_used_twice(tmp_path, x):
    front, rnn = torch.nn.Linear(INPUTS, INPUTS), torch.nn.RNN(INPUTS, HIDDEN, batch_first=True)
    torch.save(torch.nn.ModuleDict({"front": front, "rnn": rnn}).state_dict(), tmp_path / "m.pt")
    options = ReadOptions(front_prefix=("front", "front"), front_activations=("tanh", "relu"), nonlinearity="tanh")
    expected = rnn(torch.relu(front(torch.tanh(front(torch.as_tensor(x))))))[0].detach().numpy()
    agrees(load(tmp_path / "m.pt", options), x, expected)


def test_an_amplifier_file_says_its_kind(tmp_path):
    network = torch.nn.ModuleDict({"rec": torch.nn.RNN(INPUTS, HIDDEN), "lin": torch.nn.Linear(HIDDEN, 1)})
    said = {"unit_type": "LSTM", "input_size": INPUTS, "hidden_size": HIDDEN, "num_layers": 1, "output_size": 1}
    content = {"model_data": said, "state_dict": {n: v.tolist() for n, v in network.state_dict().items()}}
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="unit_type: 'LSTM'; must be 'RNN', as state_dict has it"):
        load(tmp_path / "m.json")
    said["unit_type"] = "RNN"
    (tmp_path / "m.json").write_text(json.dumps(content))
    assert load(tmp_path / "m.json").layers[0].activation == "tanh"


@pytest.mark.parametrize("layers", [1, 2])
def test_a_projection_of_torch(tmp_path, x, layers):
    torch.manual_seed(3)
    lstm = torch.nn.LSTM(INPUTS, HIDDEN, layers, proj_size=2, batch_first=True)
    torch.save(lstm.state_dict(), tmp_path / "m.pt")
    model = load(tmp_path / "m.pt")
    assert model.hidden_sizes == (HIDDEN, 2) * layers
    agrees(model, x, lstm(torch.as_tensor(x))[0].detach().numpy())
    values = lstm.state_dict()
    torch.save({n: v for n, v in values.items() if n != "weight_hr_l0"}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="weight_hr_l0: missing|weight_hh_l0: shape"):
        load(tmp_path / "m.pt")
    torch.save({**values, "weight_hr_l0": values["weight_hr_l0"][:1]}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"weight_hh_l0: shape \(20, 2\); must be \(20, 1\)"):
        load(tmp_path / "m.pt")
    torch.save({**values, "h0": torch.ones(1, 5), "c0": torch.ones(1, 5)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=f"h0: shape .*; must be \\({layers}, 2\\), or \\({layers}, 1, 2\\)"):
        load(tmp_path / "m.pt", ReadOptions(initial_state=["h0", "c0"]))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind, more", [("RNN", {"nonlinearity": "relu"}), ("LSTM", {"proj_size": 2}), ("LSTM", {})])
def test_states_of_torch(tmp_path, x, kind, more, both):
    """Of plain RNNs, with a projection and of both directions."""
    torch.manual_seed(3)
    module = getattr(torch.nn, kind)(INPUTS, HIDDEN, 1 if both else 2, batch_first=True, bidirectional=both, **more)
    h0, c0 = (0.9 - 1.8 * torch.rand(2, 1, size) for size in (more.get("proj_size", HIDDEN), HIDDEN))
    names, state = ("h0", "h0"), h0.expand(-1, len(x), -1).contiguous()
    if kind == "LSTM":
        names, state = ("h0", "c0"), (state, c0.expand(-1, len(x), -1).contiguous())
    torch.save(module.state_dict() | {"h0": h0, "c0": c0}, tmp_path / "m.pt")
    said = {"nonlinearity": "relu"} if kind == "RNN" else {}
    options = ReadOptions(initial_state=names, prefix="", head_prefix="none", **said)
    agrees(load(tmp_path / "m.pt", options), x, module(torch.as_tensor(x), state)[0].detach().numpy())


def test_linear_layers_in_front_in_a_file_of_tensors(tmp_path, x):
    torch.manual_seed(4)
    front = torch.nn.Sequential(torch.nn.Linear(INPUTS, 6), torch.nn.ELU(), torch.nn.Linear(6, 4), torch.nn.Tanh())
    rest = {"lstm": torch.nn.LSTM(4, HIDDEN, batch_first=True), "out": torch.nn.Linear(HIDDEN, OUTPUTS)}
    torch.save(torch.nn.ModuleDict({"front": front, **rest}).state_dict(), tmp_path / "m.pt")
    expected = rest["out"](rest["lstm"](front(torch.as_tensor(x)))[0]).detach().numpy()
    said = {"front_prefix": ["front.0", "front.2"], "front_activations": ["elu", "tanh"], "head": "every_step"}
    agrees(load(tmp_path / "m.pt", ReadOptions(**said)), x, expected)
    for change, error in (
        ({"front_activations": None}, "model.front_activations: not given; must have one of .* for each of"),
        ({"front_activations": ["elu"]}, "model.front_activations: .*'elu'.*; must have one of"),
        ({"front_prefix": ["front.0", "front.1"]}, "model.front_prefix: 'front.1'; must be one of the linear layers"),
        ({"front_prefix": ["front.2", "front.0"]}, r"front.0.weight: shape \(6, 3\); must be \(1..65536, 4\)"),
        ({"front_prefix": "front.0", "front_activations": "elu"}, "must hold one linear head|weight_ih_l0: shape"),
    ):
        with pytest.raises((ConfigError, ModelError), match=error):
            load(tmp_path / "m.pt", ReadOptions(**said | change))


REFUSED = {
    "gelu": "activation: 'gelu'; must be one of linear, relu",
    "masked": "Masking",
    "softmax": "behind the softmax",
    "again": "repeat_vector.*: n: 2; must be the 3 of the RepeatVector below, as often as layers behind it run",
}


def test_keras(keras_files):
    x = np.load(keras_files / "x.npy")
    for name in ("rnn", "front", "between", "mixed"):
        expected = np.load(keras_files / f"{name}.npy")
        for suffix in ("keras", "h5"):
            found = float_reference(load(keras_files / f"{name}.{suffix}"), x)[0]
            np.testing.assert_allclose(found if expected.ndim == 3 else found[:, -1], expected, atol=1e-5)
    for name, error in REFUSED.items():
        with pytest.raises(ModelError, match=error):
            load(keras_files / f"{name}.keras")


def onnx_model(nodes, constants):
    from onnx import TensorProto, helper, numpy_helper

    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 7, size])
        for name, size in (("x", INPUTS), ("y", OUTPUTS))
    ]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("activation", ["Tanh", "Relu", "Sigmoid"])
def test_onnx(tmp_path, x, activation):
    """A linear layer with ReLU, an RNN, another linear layer, an LSTM and a head."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(2)

    def values(*shape):
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)

    constants = {"one": np.array([1]), "F": values(INPUTS, 4), "f": values(4), "B0": values(1, 2 * HIDDEN)}
    constants |= {"W0": values(1, HIDDEN, 4), "R0": values(1, HIDDEN, HIDDEN), "M": values(HIDDEN, 6), "m": values(6)}
    constants |= {"W1": values(1, 4 * HIDDEN, 6), "R1": values(1, 4 * HIDDEN, HIDDEN), "B1": values(1, 8 * HIDDEN)}
    constants |= {"H": values(HIDDEN, OUTPUTS), "b": values(OUTPUTS)}
    nodes = [
        helper.make_node("MatMul", ["x", "F"], ["p0"]),
        helper.make_node("Add", ["p0", "f"], ["s0"]),
        helper.make_node("Relu", ["s0"], ["r0"]),
        helper.make_node("Transpose", ["r0"], ["t0"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["t0", "W0", "R0", "B0"], ["y0"], "rnn", hidden_size=HIDDEN, activations=[activation]),
        helper.make_node("Squeeze", ["y0", "one"], ["h0"]),
        helper.make_node("MatMul", ["h0", "M"], ["p1"]),
        helper.make_node("Add", ["m", "p1"], ["s1"]),
        helper.make_node("LSTM", ["s1", "W1", "R1", "B1"], ["y1"], "lstm", hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["y1", "one"], ["h1"]),
        helper.make_node("Transpose", ["h1"], ["t1"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t1", "H"], ["p2"]),
        helper.make_node("Add", ["p2", "b"], ["y"]),
    ]
    made = onnx_model(nodes, constants)
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    agrees(load(path), x, _expected(lambda: ReferenceEvaluator(made), activation, x, constants))
    begun = load(path, ReadOptions(prefix="lstm"))
    assert [layer.KIND for layer in begun.layers] == ["lstm"] and begun.input_size == 6
    for change, error in (
        ({"activations": ["Affine"]}, "rnn: activations"),
        ({"activation_alpha": [0.5]}, "rnn: activation_alpha"),
        ({"direction": "reverse"}, "lstm: direction: b'forward' behind b'reverse'"),
        ({"direction": "sideways"}, "rnn: direction: b'sideways'; must be forward, reverse or bidirectional"),
        ({"clip": 1.0}, "rnn: clip"),
    ):
        wrong = {"hidden_size": HIDDEN, "activations": [activation]} | change
        nodes[4] = helper.make_node("RNN", ["t0", "W0", "R0", "B0"], ["y0"], "rnn", **wrong)
        path.write_bytes(onnx_model(nodes, constants).SerializeToString())
        with pytest.raises(ModelError, match=error):
            load(path)
    constants["start"] = np.ones((1, len(x), HIDDEN), np.float32)
    nodes[4] = helper.make_node("RNN", ["t0", "W0", "R0", "B0", "", "start"], ["y0"], "rnn", hidden_size=HIDDEN)
    made = onnx_model(nodes, constants)
    path.write_bytes(made.SerializeToString())
    agrees(load(path), x, ReferenceEvaluator(made).run(None, {"x": x})[0])
    assert "replaced by zeros" in load(path, ReadOptions(initial_state="zero")).assumptions[0]


def _expected(evaluator, activation, x, constants):
    """Outputs of a graph; onnx's own evaluator knows tanh alone in an RNN, so other steps are formed here."""
    if activation == "Tanh":
        return evaluator().run(None, {"x": x})[0]
    act = {"Relu": lambda v: np.maximum(v, 0), "Sigmoid": lambda v: 1 / (1 + np.exp(-v))}[activation]
    v = np.maximum(x @ constants["F"] + constants["f"], 0)
    h, steps = np.zeros((len(x), HIDDEN)), []
    for step in range(x.shape[1]):
        bias = constants["B0"][0].reshape(2, -1).sum(axis=0)
        h = act(v[:, step] @ constants["W0"][0].T + h @ constants["R0"][0].T + bias)
        steps.append(h)
    s = np.stack(steps, axis=1) @ constants["M"] + constants["m"]
    lstm = torch.nn.LSTM(6, HIDDEN, batch_first=True)
    order = np.r_[0:HIDDEN, 2 * HIDDEN : 4 * HIDDEN, HIDDEN : 2 * HIDDEN]  # i o f c to i f g o
    parts = {"weight_ih_l0": constants["W1"][0], "weight_hh_l0": constants["R1"][0]}
    parts |= dict(zip(("bias_ih_l0", "bias_hh_l0"), constants["B1"][0].reshape(2, -1), strict=True))
    lstm.load_state_dict({name: torch.as_tensor(value[order]) for name, value in parts.items()})
    return lstm(torch.as_tensor(s.astype(np.float32)))[0].detach().numpy() @ constants["H"] + constants["b"]


def test_the_projected_graph_that_torch_exports_is_refused_by_name(tmp_path):
    """R is (4H, P), which no LSTM of ONNX has: read as square gates it would be another network."""
    from onnx import helper

    constants = {"W": np.ones((1, 4 * HIDDEN, INPUTS), np.float32), "R": np.ones((1, 4 * HIDDEN, 2), np.float32)}
    nodes = [helper.make_node("LSTM", ["x", "W", "R"], ["y"], "lstm", hidden_size=HIDDEN)]
    (tmp_path / "m.onnx").write_bytes(onnx_model(nodes, constants).SerializeToString())
    with pytest.raises(ModelError, match=r"lstm: R: shape \(1, 20, 2\), of a projection; must be .*state_dict"):
        load(tmp_path / "m.onnx")


def test_an_rnn_node_whose_matrix_is_not_square_has_no_projection(tmp_path):
    from onnx import helper

    constants = {"W": np.ones((1, HIDDEN, INPUTS), np.float32), "R": np.ones((1, HIDDEN, 2), np.float32)}
    nodes = [helper.make_node("RNN", ["x", "W", "R"], ["y"], "rnn", hidden_size=HIDDEN)]
    (tmp_path / "m.onnx").write_bytes(onnx_model(nodes, constants).SerializeToString())
    with pytest.raises(ModelError, match=r"rnn: R: shape \(1, 5, 2\); must be \(1, 2, 2\)$"):
        load(tmp_path / "m.onnx")


def test_a_linear_layer_that_the_file_has_in_front_is_told_where_it_is_taken_as_the_head(tmp_path, x):
    fc, lstm = torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
    told, path = "'fc.' stands in front of lstm.weight_ih_l0 in m.pt, and is taken as what is behind", tmp_path / "m.pt"
    torch.save(torch.nn.ModuleDict({"fc": fc, "lstm": lstm}).state_dict(), path)
    assert any(told in line for line in load(path).assumptions)
    options = ReadOptions(head_prefix="none", front_prefix="fc", front_activations="none")
    x = np.tile(x, 2)[..., :HIDDEN]
    agrees(load(path, options), x, lstm(fc(torch.as_tensor(x)))[0].detach().numpy())
    assert not any(told in line for line in load(path, ReadOptions(head_prefix="fc")).assumptions)
    torch.save(torch.nn.ModuleDict({"lstm": lstm, "fc": fc}).state_dict(), path)
    assert not any("stands in front" in line for line in load(path).assumptions)
    fc = torch.nn.Linear(HIDDEN, OUTPUTS)
    torch.save(torch.nn.ModuleDict({"fc": fc, "lstm": lstm}).state_dict(), path)
    assert not any("stands in front" in line for line in load(path).assumptions)
