"""Files whose linear layer reads h of all steps, and linear layers in front in files of TFLite and RTNeural."""

import json
import warnings

import numpy as np
import pytest
import tflite

import lstm_hw
from bench import model_files
from lstm_hw.errors import ConfigError, InputError, ModelError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference
from lstm_hw.project.start import init

torch = pytest.importorskip("torch")
INPUTS, HIDDEN, STEPS = 3, 5, 7


class Network(torch.nn.Module):
    """An LSTM, a linear layer on every step or none, and two linear layers on all h as a way puts them side by side."""

    def __init__(self, way, **more):
        super().__init__()
        self.rnn, self.way = torch.nn.LSTM(INPUTS, HIDDEN, batch_first=True, **more), way
        size = HIDDEN * STEPS * (1 + more.get("bidirectional", False))
        self.each, self.fc, self.out = torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.Linear(size, 4), torch.nn.Linear(4, 2)

    def forward(self, x):
        h = self.rnn(x)[0]
        if self.way == "each":
            h = torch.tanh(self.each(h))
        if self.way == "turned":
            h = h.transpose(1, 2)
        h = h.reshape(-1, HIDDEN * STEPS) if self.way == "reshape" else h.flatten(1)
        return h if self.way == "end" else self.out(torch.relu(self.fc(h)))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((2, STEPS, INPUTS)).astype(np.float32)


def made(way, **more):
    torch.manual_seed(4)
    return Network(way, **more).eval()


def agrees(model, x, expected, reads="forward"):
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-5)
    assert model.arrangement == Arrangement(reads, steps=STEPS) and model.head_mode == "all_steps"


def expected_of(network, x):
    with torch.no_grad():
        return network(torch.as_tensor(x)).numpy()


def exported(network, x, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, torch.as_tensor(x), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}}
        )
    return path


def test_a_state_dict(tmp_path, x):
    network = made("flat")
    tensors = {name: values for name, values in network.state_dict().items() if not name.startswith("each")}
    torch.save(tensors, tmp_path / "m.pt")
    said = {"head_prefix": ("fc", "out"), "head_activations": ("relu", "none")}
    agrees(load(tmp_path / "m.pt", ReadOptions(head="all_steps", **said)), x, expected_of(network, x))
    for head in (None, "last_step", "every_step"):
        with pytest.raises(ModelError, match=r"fc.weight: shape \(4, 35\); must have 5 columns, or .* all 7 steps"):
            load(tmp_path / "m.pt", ReadOptions(head=head, **said))
    torch.save({**tensors, "fc.weight": tensors["fc.weight"][:, 1:]}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"shape \(4, 34\); must have a multiple of 5 columns"):
        load(tmp_path / "m.pt", ReadOptions(head="all_steps", **said))
    both = made("flat", bidirectional=True)
    torch.save({name: v for name, v in both.state_dict().items() if not name.startswith("each")}, tmp_path / "m.pt")
    agrees(load(tmp_path / "m.pt", ReadOptions(head="all_steps", **said)), x, expected_of(both, x), "both")
    torch.save(torch.nn.LSTM(INPUTS, HIDDEN).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="model.head: 'all_steps'; must not be given: .* no linear head"):
        load(tmp_path / "m.pt", ReadOptions(head="all_steps"))


@pytest.mark.parametrize("way, more", [("flat", {}), ("reshape", {}), ("each", {}), ("flat", {"bidirectional": True})])
def test_what_torch_exports(tmp_path, x, way, more):
    network = made(way, **more)
    path = exported(network, x, tmp_path / "m.onnx")
    agrees(load(path), x, expected_of(network, x), "both" if more else "forward")
    with pytest.raises(ConfigError, match="must be 'all_steps', as .*m.onnx has it"):
        load(path, ReadOptions(head="last_step"))
    alone = load(path, ReadOptions(head_prefix="none"))
    assert alone.head is None and alone.arrangement.is_plain != bool(more)


@pytest.mark.parametrize(
    "way, more, message",
    [
        ("turned", {}, "must take away axes of size one only"),
        ("flat", {"bidirectional": True, "num_layers": 2}, "h of 7 steps of a layer that waits for all below"),
        ("end", {}, "h of all steps side by side; must be read by a linear layer"),
    ],
)
def test_what_onnx_files_may_not_have(tmp_path, x, way, more, message):
    with pytest.raises(ModelError, match=message):
        load(exported(made(way, **more), x, tmp_path / "m.onnx"))
    alone = load(tmp_path / "m.onnx", ReadOptions(head_prefix="none"))
    assert alone.head is None and any("left out of m.onnx" in told for told in alone.assumptions) == (way != "end")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["all", "all_each", "all_turned", "all_both"])
def test_what_keras_saves(keras_files, name, suffix):
    x, expected = (np.load(keras_files / f"{part}.npy") for part in ("x", name))
    model = load(keras_files / f"{name}{suffix}")
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-5)
    reads = {"all_turned": "backward", "all_both": "both"}.get(name, "forward")
    assert model.arrangement == Arrangement(reads, steps=7) and model.head_mode == "all_steps"


@pytest.mark.parametrize(
    "name, message",
    [
        ("all_end", "Flatten: without a Dense layer behind it"),
    ],
)
def test_what_keras_files_may_not_have(keras_files, name, message):
    with pytest.raises(ModelError, match=message):
        load(keras_files / f"{name}.keras")


def test_tflite_and_rtneural(tmp_path):
    """Linear layers in front of the LSTMs, and in TFLite one that reads h of all steps."""
    rng, given = np.random.default_rng(3), model_files.tensors()
    inputs, hidden = model_files.INPUTS, model_files.HIDDEN
    front = [(rng.normal(0, 1, (inputs, inputs)), rng.normal(0, 1, inputs), tflite.ActivationFunctionType.RELU)]
    x = rng.uniform(-1, 1, (2, 5, inputs))
    within = np.maximum(x @ front[0][0].astype(np.float32).T + front[0][1].astype(np.float32), 0)
    path = tmp_path / "m.tflite"
    path.write_bytes(model_files.tflite_model(given))
    expected, _ = float_reference(load(path), within)
    path.write_bytes(model_files.tflite_model(given, front=front))
    np.testing.assert_allclose(float_reference(load(path), x)[0], expected, atol=1e-5)
    h, _ = float_reference(load(path, ReadOptions(head_prefix="none")), x)
    weight, bias = rng.normal(0, 1, (2, 5 * hidden)).astype(np.float32), np.ones(2, np.float32)
    wide = given | {"head.weight": weight, "head.bias": bias}
    path.write_bytes(model_files.tflite_model(wide, front=front, reshape=(1, 5 * hidden)))
    model = load(path)
    np.testing.assert_allclose(float_reference(model, x)[0], h.reshape(2, -1) @ weight.T + 1, atol=1e-5)
    assert model.arrangement == Arrangement(steps=5) and model.dense == () and not model.head_every_step
    with pytest.raises(ConfigError, match="must be 'all_steps'"):
        load(path, ReadOptions(head="every_step"))
    path = tmp_path / "m.json"
    content = json.loads(model_files.rtneural_json(given))
    weights = [front[0][0].T.tolist(), front[0][1].tolist()]
    content["layers"].insert(0, {"type": "dense", "activation": "relu", "weights": weights})
    path.write_text(json.dumps(content))
    np.testing.assert_allclose(float_reference(load(path), x)[0], expected, atol=1e-5)


def test_a_project_has_as_many_steps(tmp_path):
    """Random inputs have them, and arrays must."""
    given, size = model_files.tensors(), 5 * model_files.HIDDEN
    wide = given | {"head.weight": np.ones((2, size), np.float32), "head.bias": np.ones(2, np.float32)}
    (tmp_path / "m.tflite").write_bytes(model_files.tflite_model(wide, reshape=(1, size)))
    path, notes = init(tmp_path / "m.tflite", output=tmp_path / "m.toml")
    assert "(all_steps)" in notes[0] and lstm_hw.load(path).inputs.shape == (4, 5, 3)
    path.write_text(path.read_text().replace("steps = 5", "steps = 6"))
    with pytest.raises(ConfigError, match="data.steps: 6; must have 5 steps: a linear layer has weights of its own"):
        _ = lstm_hw.load(path).data
    np.savez(tmp_path / "d.npz", calibration=np.ones((2, 4, 3)))
    with pytest.raises(InputError, match=r"must hold an array \(sequences, 5, 3\) of typical inputs"):
        init(tmp_path / "m.tflite", tmp_path / "d.npz", tmp_path / "n.toml")
