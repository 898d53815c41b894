"""One network in a file of every kind: each reader must find the same weights, and say what it cannot do."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import model_files
from bench.model_files import HIDDEN, INPUTS, OUTPUTS
from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.model.load import LOADERS, load, open_model
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference
from tests.model.readers.loading import refused, same, written

EVERY_STEP = ReadOptions(head="every_step")


@pytest.fixture(scope="module")
def files(tmp_path_factory, given):
    return model_files.write_all(tmp_path_factory.mktemp("files"), given)


def test_every_kind_is_tried(files):
    assert {path.suffix for path in files.values()} | {".pth", ".ckpt", ".hdf5"} == set(LOADERS)


@pytest.mark.parametrize(
    "name",
    [
        "m.safetensors",
        "m.npz",
        "m.pt",
        "amplifier.json",
        "rtneural.json",
        "m.nam",
        "m.h5",
        "m.keras",
        "m.onnx",
        "m.tflite",
    ],
)
def test_the_same_network(files, given, name):
    model = load(files[name], EVERY_STEP)
    same(model, given)
    assert model.head_every_step and model.assumptions == ()
    assert len(open_model(files[name]).contents()) >= 3
    says = name not in ("m.npz", "m.pt")
    if says:
        same(load(files[name]), given)
        with pytest.raises((ModelError, ConfigError), match="model.head|metadata head"):
            load(files[name], ReadOptions(head="last_step"))
    else:
        assert "model.head" in load(files[name]).assumptions[0]


def test_parts_of_a_checkpoint(tmp_path, given):
    """An LSTM among other networks is taken by its prefix; nothing is left out that nobody said."""
    more = {
        "conv.weight": np.zeros((4, 3, 5), np.float32),
        "actor.0.weight": np.ones((7, HIDDEN), np.float32),
        "actor.0.bias": np.ones(7, np.float32),
        "steps": np.zeros((), np.int64),
    }
    path = tmp_path / "whole.pt"
    path.write_bytes(model_files.torch_archive(given | more))
    refused(path, "actor.0.bias: unexpected tensor", "model.prefix = 'lstm.'", "['actor.0.', 'conv.']")
    refused(path, "linear layers under ['actor.0.', 'head.']", "model.head_prefix", options=ReadOptions(prefix="lstm"))
    for prefix, outputs in (("head", OUTPUTS), ("head.", OUTPUTS), ("actor.0", 7), ("none", HIDDEN)):
        model = load(path, ReadOptions(prefix="lstm", head_prefix=prefix))
        assert model.output_size == outputs and "conv.weight" in model.assumptions[0]
    refused(path, "model.prefix: 'gru'", "['lstm.']", options=ReadOptions(prefix="gru"), error=ConfigError)
    refused(
        path,
        "model.head_prefix: 'conv'",
        "['actor.0.', 'head.']",
        options=ReadOptions(head_prefix="conv"),
        error=ConfigError,
    )
    two = given | {name.replace("lstm", "other"): array for name, array in given.items() if "lstm" in name}
    path.write_bytes(model_files.torch_archive(two))
    refused(path, "LSTMs under the prefixes ['lstm.', 'other.']", "model.prefix")


def test_names_and_biases(tmp_path, given):
    cell = {
        name.replace("_l0", "").replace("lstm", "cell"): array for name, array in given.items() if "_l1" not in name
    }
    path = tmp_path / "m.npz"
    np.savez(path, **cell)
    assert load(path).hidden_sizes == (HIDDEN,)
    without = {name: array for name, array in given.items() if "bias" not in name}
    np.savez(path, **without)
    model = load(path, EVERY_STEP)
    assert not any(layer.bias.any() for layer in model.layers) and not model.head.bias.any()
    np.savez(path, **{name: array for name, array in given.items() if "bias_hh" not in name})
    assert "has bias_ih and no bias_hh" in load(path).assumptions[0]
    np.savez(path, **{name.replace("head", "lin"): array for name, array in given.items()})
    assert "only linear layer" in load(path).assumptions[0]
    np.savez(path, **{name: array for name, array in given.items() if name != "lstm.bias_hh_l1"})
    refused(path, "lstm.bias_hh_l1: missing", "or missing in every layer")
    np.savez(path, **{n: a[:HIDDEN] if "lstm" in n else a for n, a in given.items()})
    assert [layer.KIND for layer in load(path).layers] == ["plain"] * 2


def test_what_json_files_say(tmp_path, given):
    path = tmp_path / "m.json"

    def written(content):
        path.write_bytes(content)
        return path

    model = load(written(model_files.amplifier_json(given, skip=1)))
    assert np.array_equal(model.head.skip, [[1, 0, 0], [1, 0, 0]])  # the first input, to all outputs
    x = np.random.default_rng(1).standard_normal((2, 5, INPUTS))
    without = load(path, ReadOptions(skip="outside"))
    np.testing.assert_array_equal(float_reference(model, x)[0], float_reference(without, x)[0] + x[..., :1])
    model = load(written(model_files.amplifier_json(given, skip=2)))
    assert np.array_equal(model.head.skip, [[1, 0, 0], [0, 1, 0]])
    refused(written(model_files.amplifier_json(given, skip=3)), "skip: 3", "must be 1 or the 2 outputs")
    refused(written(model_files.amplifier_json(given, skip=-1)), "skip: -1", "must be a whole number")
    refused(written(model_files.amplifier_json(given, skip="x")), "skip: 'x'")
    model = load(written(model_files.amplifier_json(given, skip=1)), ReadOptions(skip="outside"))
    same(model, given)
    assert "x must be added outside" in model.assumptions[0]
    refused(written(model_files.amplifier_json(given, unit_type="GRU")), "unit_type: 'GRU'", "must be 'LSTM'")
    refused(written(model_files.amplifier_json(given, hidden_size=5)), "hidden_size: 5", "must be 4")
    assert "loss" in load(written(model_files.amplifier_json(given, loss=1))).assumptions[0]
    refused(path, "model.skip", "has no skip", options=ReadOptions(skip="outside"), error=ConfigError)
    model = load(written(model_files.rtneural_json(given, in_skip=1)))
    assert np.array_equal(model.head.skip, [[1, 0, 0], [1, 0, 0]])
    refused(written(model_files.rtneural_json(given, in_skip=2)), "in_skip: 2", "must be 1")
    refused(written(model_files.rtneural_json(given, in_skip=1, skip=1)), "in_skip: skip too")
    refused(written(model_files.rtneural_json(given, input_gain=3.0)), "input_gain: 3.0", "0 dB", "model.input_scale")
    for change, found in (
        ({"type": "conv1d"}, "type 'conv1d'"),
        ({"activation": "relu"}, "activation: 'relu'"),
        ({"weights": [[1]]}, "1 arrays"),
        ({"weights": [[[1]], [["x"]], [1]]}, "weights[1]: not an array of numbers"),
        ({"weights": 3}, "weights: int"),
    ):
        content = json.loads(model_files.rtneural_json(given))
        content["layers"][0] |= change
        refused(written(json.dumps(content).encode()), "layer 0", found)
    refused(written(b'{"a": 1}'), "an object with a", "state_dict")
    path = tmp_path / "m.nam"
    model = load(written(model_files.nam(given, state=0.5)))
    for layer in model.layers:
        assert [values.tolist() for values in layer.initial] == [[0.5] * HIDDEN] * 2
    model = load(path, ReadOptions(initial_state="zero"))
    assert "replaced by zeros" in model.assumptions[0] and model.layers[0].initial is None
    content = json.loads(model_files.nam(given))
    for change, found in (
        ({"architecture": "WaveNet"}, "architecture: 'WaveNet'"),
        ({"weights": content["weights"][:-1]}, "numbers; must be"),
        ({"config": content["config"] | {"gain": 2}}, "gain: unknown"),
        ({"config": content["config"] | {"hidden_size": 0}}, "hidden_size: 0"),
    ):
        refused(written(json.dumps(content | change).encode()), found)


def test_shapes_of_rtneural_unlike_the_weights(tmp_path, given):
    path = tmp_path / "m.json"
    for at, subject, size in (
        (None, "in_shape", INPUTS),
        (1, "layer 1: shape", HIDDEN),
        (2, "layer 2: shape", OUTPUTS),
    ):
        content = json.loads(model_files.rtneural_json(given))
        owner = content if at is None else content["layers"][at]
        owner[subject.rpartition(" ")[2]][-1] += 1
        path.write_text(json.dumps(content))
        refused(path, f"m.json: {subject}: [None, None, {size + 1}]", f"must end in {size}, as the weights have it")


def test_a_state_that_nobody_names(tmp_path, given):
    state = {name: np.ones((2, 1, HIDDEN), np.float32) for name in ("h0", "c0")}
    path = written(tmp_path, given | state, "m.npz")
    refused(path, "c0: unexpected tensor", "model.initial_state names h and c", "of ['c0', 'h0']")
    options = ReadOptions(head="every_step", initial_state=["h0", "c0"])
    assert load(path, options).layers[1].initial[0].tolist() == [1.0] * HIDDEN
    scalar = given | state | {"lstm.weight_hh_l1": np.float32(1)}
    refused(written(tmp_path, scalar, "m.npz"), "lstm.weight_hh_l1: shape ()", "must be (4H, H)", options=options)


def test_chains_of_linear_layers(tmp_path, given):
    """Every reader, to the same network; of a state_dict the user says what the file cannot."""
    x = np.random.default_rng(3).uniform(-1, 1, (2, 4, INPUTS))
    h, _ = float_reference(load(written(tmp_path, given, "m.npz"), ReadOptions(prefix="lstm", head_prefix="none")), x)
    first = {"fc.0.weight": np.random.default_rng(4).normal(0, 1, (5, HIDDEN)), "fc.0.bias": np.full(5, 0.25)}
    second = {"fc.2.weight": np.random.default_rng(5).normal(0, 1, (OUTPUTS, 5)), "fc.2.bias": np.full(OUTPUTS, -0.5)}
    wanted = np.tanh(np.maximum(0, h @ first["fc.0.weight"].T + 0.25) @ second["fc.2.weight"].T - 0.5)
    lstm = {name: array for name, array in given.items() if "head" not in name}
    path = written(tmp_path, lstm | first | second, "m.npz")
    said = {"head_prefix": ["fc.0", "fc.2"], "head": "every_step"}
    model = load(path, ReadOptions(head_activations=["relu", "tanh"], **said))
    np.testing.assert_allclose(float_reference(model, x)[0], wanted, atol=1e-6)
    assert load(path, ReadOptions("ifgo", "every_step", head_prefix=("fc.0",), prefix="lstm")).dense == ()
    refused(path, "linear layers under ['fc.0.', 'fc.2.']", "of a chain a list", "model.head_activations")
    for activations, found in ((None, "not given"), ("relu", "['relu']"), (["relu"] * 3, "['relu', 'relu', 'relu']")):
        options = ReadOptions(head_activations=activations, **said)
        refused(
            path, "model.head_activations", found, "for each of ['fc.0', 'fc.2']", options=options, error=ConfigError
        )
    options = ReadOptions(head_prefix=["fc.2", "fc.0"], head_activations=["relu", "tanh"])
    refused(path, "fc.2.weight: shape (2, 5)", options=options)
    with pytest.raises(ConfigError, match="model.head_activations: 'gelu'; must be one of none, relu"):
        ReadOptions(head_activations=["relu", "gelu"])
    layers = [
        ["relu", first["fc.0.weight"].T, first["fc.0.bias"]],
        ["tanh", second["fc.2.weight"].T, second["fc.2.bias"]],
    ]
    content = json.loads(model_files.rtneural_json(given))
    content["layers"][-1:] = [
        {"type": "dense", "activation": a, "weights": [w.tolist(), b.tolist()]} for a, w, b in layers
    ]
    path = tmp_path / "m.json"
    for change in (lambda: None, lambda: content["layers"].append({"type": "activation", "activation": "tanh"})):
        change()
        path.write_text(json.dumps(content))
        np.testing.assert_allclose(float_reference(load(path), x)[0], wanted, atol=1e-6)
        content["layers"][-1]["activation"] = ""
    content["layers"][-1]["activation"] = "elu6"
    path.write_text(json.dumps(content))
    refused(path, "activation: 'elu6'", "must be one of linear, relu")
    keras = model_files.keras_layers(given, True)[:2]
    keras += [("Dense", {"name": f"d{n}", "activation": a}, [w, b]) for n, (a, w, b) in enumerate(layers)]
    (tmp_path / "m.keras").write_bytes(model_files.keras_archive(keras))
    np.testing.assert_allclose(float_reference(load(tmp_path / "m.keras"), x)[0], wanted, atol=1e-6)


def test_a_library_that_runs_in_circles(files, monkeypatch):
    def circles(self):
        while True:
            pass

    monkeypatch.setattr("lstm_hw.model.readers.keras_file.KerasFile._everything", circles)
    refused(files["m.h5"], "m.h5: not readable", "does not come to an end")
    monkeypatch.setattr("lstm_hw.model.readers.keras_file.KerasFile._everything", lambda self: os.abort())
    refused(files["m.h5"], "m.h5: not readable", "does not come to an end")


@pytest.mark.parametrize("name, module", [("m.h5", "h5py"), ("m.onnx", "onnx"), ("m.tflite", "tflite")])
def test_a_library_that_is_not_there(files, monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    refused(files[name], f"{module}: missing", name, "pip install 'lstm-hw[")


def test_archives_that_do_more(tmp_path):
    """A pickle that would run something is a bag of attributes; one that no archive needs is refused."""
    path = tmp_path / "m.pt"
    for body, found in (
        (b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00trueR.", "not readable|missing"),
        (b"\x80\x02}(K\x01\x85\x85K\x01u.", "neither a name nor a number"),
        (b"\x80\x05\x8f.", "no archive of tensors needs"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "no archive of tensors needs"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "nested too deeply|too large|not readable"),
    ):
        path.write_bytes(model_files.zipped({"a/data.pkl": body}))
        with pytest.raises(ModelError, match=found):
            load(path)
    whole = bytearray(model_files.torch_archive(model_files.tensors()))
    at = whole.rfind(b"PK\x01\x02", 0, whole.rfind(b"archive/data.pkl"))
    whole[at + 20 : at + 24] = (1 << 30).to_bytes(4, "little")  # what the list of contents says of its stored size
    path.write_bytes(whole)
    refused(path, "archive/data.pkl: 1073741824 bytes", "must not exceed")
    path.write_bytes(model_files.zipped({"a/other": b"x"}))
    refused(path, "0 members data.pkl")
    path.write_bytes(b"\x80\x02\x8a" + bytes(200))
    refused(path, "no zip archive", "PyTorch 1.6")


@pytest.mark.torch
def test_what_torch_writes(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 5, 2, batch_first=True), "fc": torch.nn.Linear(5, 2)})
    x = torch.randn(2, 7, 3)
    with torch.no_grad():
        expected = network["fc"](network["lstm"](x)[0])
    optimizer = torch.optim.Adam(network.parameters())
    network["fc"](network["lstm"](x)[0]).sum().backward()
    optimizer.step()
    with torch.no_grad():
        expected = network["fc"](network["lstm"](x)[0])
    saved = {
        "dict.pt": network.state_dict(),
        "checkpoint.ckpt": {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3},
        "module.pth": network,
        "half.pt": {name: value.bfloat16() for name, value in network.state_dict().items()},
    }
    for name, value in saved.items():
        torch.save(value, tmp_path / name)
        outputs = float_reference(load(tmp_path / name, EVERY_STEP), x.numpy())[0]
        np.testing.assert_allclose(outputs, expected, atol=0.02 if "half" in name else 1e-5)
    negated = {"fc.bias": torch._neg_view(network["fc"].bias.detach())}
    torch.save(network.state_dict() | negated, tmp_path / "negated.pt")
    with pytest.raises(ModelError, match="a tensor whose values are not those that are stored: {'neg': True}"):
        load(tmp_path / "negated.pt", EVERY_STEP)

    prune = pytest.importorskip("torch.nn.utils.prune")
    for utility in (prune.identity, torch.nn.utils.weight_norm):
        changed = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 5), "fc": torch.nn.Linear(5, 2)})
        utility(changed["lstm"], "weight_hh_l0")
        for saved in (changed.state_dict(), changed):  # the whole module holds what was computed last, too
            torch.save(saved, tmp_path / "computed.pt")
            with pytest.raises(ModelError, match="lstm.weight_hh_l0_.*: of a weight that is computed .*prune.remove"):
                load(tmp_path / "computed.pt", EVERY_STEP)

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = network["lstm"], network["fc"]

        def forward(self, x):
            return self.out(self.rnn(x)[0])

    torch.jit.save(torch.jit.script(Whole()), tmp_path / "script.pt")
    outputs = float_reference(load(tmp_path / "script.pt", EVERY_STEP), x.numpy())[0]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_a_project_file_keeps_what_was_said(tmp_path, given, monkeypatch):
    from lstm_hw.cli import main
    from lstm_hw.project.settings import ProjectConfig

    monkeypatch.chdir(tmp_path)
    policy = given | {"actor.0.weight": np.ones((7, HIDDEN), np.float32)}
    Path("policy.pt").write_bytes(model_files.torch_archive(policy))
    main(
        ["init", "policy.pt", "--prefix", "lstm", "--head-prefix", "head", "--head", "every_step"],
        standalone_mode=False,
    )
    options = ProjectConfig.load("policy.toml").model.options
    assert options == ReadOptions(head="every_step", prefix="lstm", head_prefix="head")
    assert "left out of policy.pt: actor.0.weight" in Path("policy.toml").read_text().replace("\n#   ", " ")
    same(load("policy.pt", options), given)


def test_a_state_and_a_skip_that_a_file_of_tensors_cannot_say(tmp_path, given):
    rng, path = np.random.default_rng(5), tmp_path / "m.npz"
    h0, c0 = rng.uniform(-1, 1, (2, 2, HIDDEN))
    np.savez(path, **given, h0=h0, c0=c0[:, None])
    options = ReadOptions(head="every_step", initial_state=["h0", "c0"], skip="first")
    model = load(path, options)
    same(model, given)
    for number, layer in enumerate(model.layers):
        assert np.array_equal(layer.initial, [h0[number], c0[number]])
    assert model.head.skip.tolist() == [[1, 0, 0]] * OUTPUTS
    torch = pytest.importorskip("torch")
    lstm = torch.nn.LSTM(INPUTS, HIDDEN, len(h0), batch_first=True).double()
    lstm.load_state_dict({n.removeprefix("lstm."): torch.as_tensor(a) for n, a in given.items() if "lstm" in n})
    x = rng.standard_normal((1, 5, INPUTS))
    with torch.no_grad():
        h, _ = lstm(torch.as_tensor(x), (torch.as_tensor(h0[:, None]), torch.as_tensor(c0[:, None])))
    wanted = h.numpy() @ given["head.weight"].T + given["head.bias"] + x[..., :1]
    np.testing.assert_allclose(float_reference(model, x)[0], wanted, atol=1e-6)
    for said, error, kind in (
        ({"initial_state": ("h0", "none")}, "model.initial_state: 'none'; must be a tensor of", ConfigError),
        ({"initial_state": ("h0", "head.bias")}, "head.bias: shape", ModelError),
        ({"skip": "all"}, "must be 1 or the 2 outputs", ModelError),
        ({"skip": "outside"}, "asks for none", ConfigError),
        ({"initial_state": "zero"}, "holds no such thing", ConfigError),
    ):
        with pytest.raises(kind, match=error):
            load(path, ReadOptions(**{"head": "every_step", "initial_state": ("h0", "c0")} | said))
    with pytest.raises(ConfigError, match="a list of two tensors"):
        ReadOptions(initial_state=("h0",))
    with pytest.raises(ConfigError, match="must be one of first, all, outside"):
        ReadOptions(skip="last")
    (tmp_path / "m.nam").write_bytes(model_files.nam(given))
    with pytest.raises(ConfigError, match="m.nam says"):
        load(tmp_path / "m.nam", ReadOptions(initial_state=("h0", "c0")))
    (tmp_path / "m.json").write_bytes(model_files.amplifier_json(given))
    with pytest.raises(ConfigError, match="model.skip: 'all'; .* says it itself"):
        load(tmp_path / "m.json", ReadOptions(skip="all"))
