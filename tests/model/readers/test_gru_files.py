"""A GRU in files of every kind that holds one, against what the frameworks compute; and what cannot be read of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import model_files
from lstm_hw.errors import ModelError
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference

torch = pytest.importorskip("torch")
INPUTS, HIDDEN, OUTPUTS = 3, 5, 2


class Network(torch.nn.Module):
    def __init__(self, bias=True):
        super().__init__()
        self.rec = torch.nn.GRU(INPUTS, HIDDEN, 2, batch_first=True, bias=bias)
        self.lin = torch.nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        return self.lin(self.rec(x)[0])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return Network()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(4).uniform(-2, 2, (3, 7, INPUTS)).astype(np.float32)


def agrees(model, x, expected):
    assert model.kind == "gru"
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-5)


def layers_of(network):
    """For each layer W_x, W_h and both biases, gates in the order z, r, h."""

    def ordered(name, n):
        r, z, h = np.split(getattr(network.rec, f"{name}_l{n}").detach().numpy(), 3)
        return np.concatenate([z, r, h])

    return [[ordered(name, n) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")] for n in range(2)]


def head_of(network):
    return [network.lin.weight.detach().numpy().T, network.lin.bias.detach().numpy()]


@pytest.mark.parametrize("bias", [True, False])
def test_torch(tmp_path, x, bias):
    torch.manual_seed(5)
    network = Network(bias)
    expected = network(torch.as_tensor(x)).detach().numpy()
    torch.save({"state_dict": network.state_dict()}, tmp_path / "m.pt")
    model = load(tmp_path / "m.pt", ReadOptions(head="every_step"))
    agrees(model, x, expected)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    if bias:  # one bias of two is that of x or that of h: of a GRU not the same
        for kept in ("ih", "hh"):
            part = {name: value for name, value in state.items() if "bias" not in name or f"bias_{kept}" in name}
            np.savez(tmp_path / "m.npz", **part, **{"lin.bias": state["lin.bias"]})
            for number in range(2):
                getattr(network.rec, f"bias_{'hh' if kept == 'ih' else 'ih'}_l{number}").data.zero_()
            wanted = network(torch.as_tensor(x)).detach().numpy()
            network.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
            agrees(load(tmp_path / "m.npz", ReadOptions(head="every_step")), x, wanted)


def test_torch_from_a_stored_h(tmp_path, network, x):
    h0 = np.random.default_rng(8).uniform(-0.9, 0.9, (2, 1, HIDDEN)).astype(np.float32)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    np.savez(tmp_path / "m.npz", **state, h0=h0, c0=h0 / 2)
    found = network.rec(torch.as_tensor(x), torch.as_tensor(np.tile(h0, (1, len(x), 1))))[0]
    options = ReadOptions(head="every_step", initial_state=("h0", "h0"), prefix="rec", head_prefix="lin")
    agrees(load(tmp_path / "m.npz", options), x, network.lin(found).detach().numpy())
    with pytest.raises(
        ModelError, match="initial state: an h and another c of kind gru; must be h twice but for an LSTM"
    ):
        load(tmp_path / "m.npz", replace(options, initial_state=("h0", "c0")))


def test_gates_in_another_order(tmp_path, network, x):
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    zrn = {n: np.concatenate(np.split(a, 3)[1::-1] + np.split(a, 3)[2:]) if "rec" in n else a for n, a in state.items()}
    np.savez(tmp_path / "m.npz", **zrn)
    expected = network(torch.as_tensor(x)).detach().numpy()
    for order in ("zrn", "zrh"):
        agrees(load(tmp_path / "m.npz", ReadOptions(head="every_step", gate_order=order)), x, expected)
    with pytest.raises(ModelError, match="gate_order: 'ifgo'; must be a permutation of r, z and n"):
        load(tmp_path / "m.npz", ReadOptions(gate_order="ifgo"))


def test_a_gru_cell(tmp_path, x):
    cell = torch.nn.GRUCell(INPUTS, HIDDEN)
    torch.save(cell.state_dict(), tmp_path / "m.pt")
    h, expected = torch.zeros(len(x), HIDDEN), []
    for step in range(x.shape[1]):
        h = cell(torch.as_tensor(x[:, step]), h)
        expected.append(h.detach().numpy())
    agrees(load(tmp_path / "m.pt"), x, np.stack(expected, axis=1))


def test_json(tmp_path, network, x):
    expected = network(torch.as_tensor(x)).detach().numpy()
    said = {"unit_type": "GRU", "input_size": INPUTS, "hidden_size": HIDDEN, "num_layers": 2, "output_size": OUTPUTS}
    content = {"model_data": said, "state_dict": {n: v.tolist() for n, v in network.state_dict().items()}}
    (tmp_path / "m.json").write_text(json.dumps(content))
    agrees(load(tmp_path / "m.json"), x, expected)
    said["unit_type"] = "LSTM"
    (tmp_path / "m.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="unit_type: 'LSTM'; must be 'GRU', as state_dict has it"):
        load(tmp_path / "m.json")
    layers = [
        {"type": "gru", "activation": "tanh", "weights": [w_x.T.tolist(), w_h.T.tolist(), [b.tolist(), more.tolist()]]}
        for w_x, w_h, b, more in layers_of(network)
    ]
    layers.append({"type": "dense", "activation": "", "weights": [part.tolist() for part in head_of(network)]})
    (tmp_path / "m.json").write_text(json.dumps({"layers": layers}))
    agrees(load(tmp_path / "m.json"), x, expected)
    layers[0]["weights"][2] = layers[0]["weights"][2][0]
    (tmp_path / "m.json").write_text(json.dumps({"layers": layers}))
    assert [layer.reset_before for layer in load(tmp_path / "m.json").layers] == [True, False]
    layers[0]["weights"][2] = layers[0]["weights"][2][:-1]
    (tmp_path / "m.json").write_text(json.dumps({"layers": layers}))
    with pytest.raises(ModelError, match=r"layer 0: bias: shape \(14,\); must be \(30\)"):
        load(tmp_path / "m.json")


def test_keras(keras_files):
    """What Keras 3 writes and computes."""
    x, expected = np.load(keras_files / "x.npy"), np.load(keras_files / "gru.npy")
    for name in ("gru.keras", "gru.h5"):
        agrees(load(keras_files / name), x, expected)
    for name, file in (("before", "before.keras"), ("beforehard", "beforehard.keras"), ("beforehard", "beforehard.h5")):
        model = load(keras_files / file)
        assert all(layer.reset_before for layer in model.layers)
        last = float_reference(model, x)[0]
        np.testing.assert_allclose(last if model.head else last[:, -1], np.load(keras_files / f"{name}.npy"), atol=1e-5)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_cudnn_layers_of_keras(tmp_path, kind):
    gates, rng = {"GRU": 3, "LSTM": 4}[kind], np.random.default_rng(6)
    kernel, recurrent = (rng.normal(size=(n, gates * HIDDEN)).astype(np.float32) for n in (INPUTS, HIDDEN))
    bias = rng.normal(size=(2, gates * HIDDEN)).astype(np.float32)
    # cuDNN has the matrix (H, I) of each gate one row after the other where Keras has (I, H).
    in_memory = [
        np.hstack([np.ascontiguousarray(gate.T).reshape(gate.shape) for gate in np.hsplit(matrix, gates)])
        for matrix in (kernel, recurrent)
    ]
    config = {"name": "rnn", "units": HIDDEN, "return_sequences": True, "use_bias": True, "reset_after": True}
    config |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    plain = [kernel, recurrent, bias if kind == "GRU" else bias.sum(axis=0)]
    x, found = rng.normal(size=(2, 5, INPUTS)), []
    for name, arrays in ((kind, plain), (f"CuDNN{kind}", [*in_memory, bias.ravel()])):
        model_files.keras_h5(tmp_path / "m.h5", [(name, config, arrays)])
        found.append(float_reference(load(tmp_path / "m.h5"), x)[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("reset_before", [False, True], ids=["reset after", "reset before"])
def test_onnx(tmp_path, network, x, reset_before):
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    constants, nodes, at = {"one": np.array([1])}, [helper.make_node("Transpose", ["x"], ["x0"], perm=[1, 0, 2])], "x0"
    for n, (w_x, w_h, b, more) in enumerate(layers_of(network)):
        constants |= {f"W{n}": w_x[None], f"R{n}": w_h[None], f"B{n}": np.concatenate([b, more])[None]}
        inputs, settings = (
            [at, f"W{n}", f"R{n}", f"B{n}"],
            {"hidden_size": HIDDEN, "linear_before_reset": int(not reset_before)},
        )
        nodes.append(helper.make_node("GRU", inputs, [f"y{n}"], f"gru{n}", **settings))
        nodes.append(helper.make_node("Squeeze", [f"y{n}", "one"], [f"h{n}"]))
        at = f"h{n}"
    constants |= dict(zip(("weight", "bias"), head_of(network), strict=True))
    nodes += [
        helper.make_node("Transpose", [at], ["h"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["h", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, INPUTS])]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "network", values, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    agrees(load(tmp_path / "m.onnx"), x, expected)
    start = np.random.default_rng(7).uniform(-0.9, 0.9, HIDDEN).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(np.tile(start, (1, len(x), 1)), "start"))
    graph.node[1].input.extend(["", "start"])
    begun = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    (tmp_path / "m.onnx").write_bytes(begun.SerializeToString())
    agrees(load(tmp_path / "m.onnx"), x, ReferenceEvaluator(begun).run(None, {"x": x})[0])
    assert all(layer.reset_before == reset_before for layer in load(tmp_path / "m.onnx").layers)
    if not reset_before:
        np.testing.assert_allclose(expected, network(torch.as_tensor(x)).detach().numpy(), atol=1e-5)


def test_layers_of_both_kinds_are_refused(tmp_path):
    given = model_files.tensors()
    (kind, config, arrays), *rest = model_files.keras_layers(given, True)
    hidden = config["units"]
    gru = [arrays[0][:, : 3 * hidden], arrays[1][:, : 3 * hidden], np.zeros((2, 3 * hidden))]
    model_files.keras_h5(tmp_path / "m.h5", [("GRU", {**config, "name": "gru", "reset_after": True}, gru), *rest])
    with pytest.raises(ModelError, match="m.h5: layers of gru and of lstm; must be of one kind"):
        load(tmp_path / "m.h5")
