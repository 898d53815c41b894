"""Files with bidirectional layers, and with layers that read from the end, against the frameworks."""

import warnings

import numpy as np
import onnx
import pytest

from lstm_hw.errors import ConfigError, InputError, ModelError
from lstm_hw.machine.arrangement import Arrangement
from lstm_hw.model.load import load
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference

torch = pytest.importorskip("torch")

INPUTS, HIDDEN, OUTPUTS, STEPS = 3, 5, 2, 7
MODES = {"every_step": "added", "last_step": "added_last", "final_state": "sent"}


class Network(torch.nn.Module):
    """A bidirectional layer, what of its h is read, and linear layers."""

    def __init__(self, kind, mode, chain=False, **more):
        super().__init__()
        self.rnn = getattr(torch.nn, kind)(INPUTS, HIDDEN, batch_first=True, bidirectional=True, **more)
        self.fc = torch.nn.Linear(2 * (more.get("proj_size") or HIDDEN), OUTPUTS)
        self.more = torch.nn.Linear(OUTPUTS, OUTPUTS)
        self.mode, self.chain = mode, chain

    def forward(self, x):
        h, state = self.rnn(x)
        state = state[0] if isinstance(state, tuple) else state
        if self.mode == "last_step":
            h = h[:, -1]
        elif self.mode in ("final_state", "hidden"):
            h = torch.cat((state[-2], state[-1]), 1)
        elif self.mode == "swapped":
            h = torch.cat((state[-1], state[-2]), 1)
        elif self.mode == "flat":
            h = state.permute(1, 0, 2).flatten(1)
        if self.mode in ("none", "hidden"):
            return h
        return self.more(torch.relu(self.fc(h))) if self.chain else self.fc(h)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).standard_normal((2, STEPS, INPUTS)).astype(np.float32)


def network(*arguments, **more):
    torch.manual_seed(4)
    return Network(*arguments, **more).eval()


def expected_of(made, x):
    with torch.no_grad():
        return made(torch.as_tensor(x)).numpy()


def agrees(model, x, expected, last=False):
    found, _ = float_reference(model, x)
    np.testing.assert_allclose(found[:, -1] if last else found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "kind, more", [("LSTM", {}), ("GRU", {"bias": False}), ("RNN", {}), ("LSTM", {"proj_size": 2})]
)
@pytest.mark.parametrize("mode", [*MODES, "none"])
def test_a_state_dict(tmp_path, x, kind, more, mode):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, of projections
        made = network(kind, mode, **more)
        expected = expected_of(made, x)
    torch.save({n: v for n, v in made.state_dict().items() if not n.startswith("more")}, tmp_path / "m.pt")
    options = ReadOptions(prefix="rnn", head_prefix="none") if mode == "none" else ReadOptions(head=mode)
    model = load(tmp_path / "m.pt", options)
    agrees(model, x, expected)
    assert model.arrangement == Arrangement("both", MODES.get(mode, "apart"))
    assert (model.input_size, model.output_size) == (INPUTS, expected.shape[-1])
    assert model.gives_every_step == (expected.ndim == 3)


def test_what_a_state_dict_cannot_say(tmp_path, x):
    made = network("LSTM", "final_state", chain=True)
    torch.save(made.state_dict(), tmp_path / "m.pt")
    chain = {"head_prefix": ("fc", "more"), "head_activations": ("relu", "none")}
    model = load(tmp_path / "m.pt", ReadOptions(head="final_state", **chain))
    agrees(model, x, expected_of(made, x))
    assert model.head_mode == "final_state"
    with pytest.raises(
        ConfigError, match="not given for a bidirectional layer; must be final_state .* cannot say which"
    ):
        load(tmp_path / "m.pt", ReadOptions(**chain))
    with pytest.raises(InputError, match="state: true for a network that reads x both; must begin from zero state"):
        float_reference(model, x, float_reference(model.as_run, model.arrangement.x(x))[1])
    one = {"head": "every_step", "head_prefix": "fc", "prefix": "rnn"}
    with pytest.raises(ModelError, match="a linear layer with relu behind both; .* where it reads the last step"):
        load(tmp_path / "m.pt", ReadOptions(**one | {"head": "last_step"}, head_activations="relu"))
    with pytest.raises(ConfigError, match="model.skip: 'first'; must not be given: a bidirectional layer has no skip"):
        load(tmp_path / "m.pt", ReadOptions(**one, skip="first"))
    single = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(INPUTS, HIDDEN), "fc": torch.nn.Linear(HIDDEN, 1)})
    torch.save(single.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="'final_state'; must be one of last_step, .*: .* has one direction"):
        load(tmp_path / "m.pt", ReadOptions(head="final_state"))


@pytest.mark.parametrize("scripted", [False, True])
def test_a_module_with_a_layer_in_front(tmp_path, x, scripted):
    torch.manual_seed(4)
    made = torch.nn.ModuleDict(
        {"front": torch.nn.Linear(INPUTS, 4), "rnn": torch.nn.GRU(4, HIDDEN, bidirectional=True)}
    )
    path, front = tmp_path / "m.pt", {"front_prefix": "front", "front_activations": "relu"}
    torch.jit.save(torch.jit.script(made["rnn"]), path) if scripted else torch.save(made.state_dict(), path)
    inner = np.maximum(x @ made["front"].weight.detach().numpy().T + made["front"].bias.detach().numpy(), 0)
    expected = made["rnn"](torch.as_tensor(inner.transpose(1, 0, 2)))[0].detach().numpy().transpose(1, 0, 2)
    agrees(load(path, ReadOptions(**({} if scripted else front))), inner if scripted else x, expected)


def exported(made, x, path):
    axes = {"x": {0: "batch", 1: "time"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, torch.as_tensor(x), path, dynamo=False, input_names=["x"], dynamic_axes=axes)
    return path


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("mode", [*MODES, "flat", "hidden", "none"])
def test_what_torch_exports(tmp_path, x, kind, mode):
    chain = mode in ("final_state", "flat")
    made = network(kind, mode, chain)
    model = load(exported(made, x, tmp_path / "m.onnx"))
    agrees(model, x, expected_of(made, x), last=mode == "hidden")
    assert model.arrangement == Arrangement("both", {**MODES, "none": "apart"}.get(mode, "sent"))
    if mode == "hidden":
        assert "gives the last h of both directions; here that of every step" in model.assumptions[0]
    elif mode in MODES:
        with pytest.raises(ConfigError, match=f"must be '{mode}', as .*m.onnx has it"):
            load(tmp_path / "m.onnx", ReadOptions(head=next(other for other in MODES if other != mode)))


@pytest.mark.parametrize(
    "mode, more, message",
    [
        ("swapped", {}, "branches; must be without layers of two directions"),
        ("swapped", {"num_layers": 2}, "branches; must be without layers of two directions"),
    ],
)
def test_what_onnx_files_may_not_have(tmp_path, x, mode, more, message):
    with pytest.raises(ModelError, match=message):
        load(exported(network("LSTM", mode, **more), x, tmp_path / "m.onnx"))


@pytest.mark.parametrize("final", [False, True])
def test_reverse_nodes_of_onnx(tmp_path, x, final):
    """All read from the end; Y is in the order of x. Of two nodes, one of the other direction is refused."""
    made = torch.nn.GRU(INPUTS, HIDDEN, 2)
    made.forward_of, forward = made.forward, lambda x: made.forward_of(x)[int(final)]
    made.forward = (lambda x: forward(x)[-1]) if final else forward
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, torch.as_tensor(x), tmp_path / "m.onnx", dynamo=False)
    graph = onnx.load(tmp_path / "m.onnx")
    nodes = [node for node in graph.graph.node if node.op_type == "GRU"]
    for number, node in enumerate(nodes, 1):
        node.attribute.append(onnx.helper.make_attribute("direction", "reverse"))
        onnx.save(graph, tmp_path / "m.onnx")
        if number < len(nodes):
            with pytest.raises(ModelError, match="direction: b'forward' behind b'reverse'; must be that of all"):
                load(tmp_path / "m.onnx")
    turned = np.flip(x, 1).transpose(1, 0, 2)
    expected = made.forward_of(torch.as_tensor(turned.copy()))[int(final)].detach().numpy()
    expected = expected[-1] if final else np.flip(expected, 0).transpose(1, 0, 2)
    model = load(tmp_path / "m.onnx")
    assert model.arrangement == Arrangement("backward", "sent" if final else "backward")
    agrees(model, x, expected, last=final)


@pytest.mark.parametrize("final", [False, True])
def test_reverse_nodes_of_onnx_that_wait(tmp_path, x, final):
    """The last h is that of the first step of x, and outputs are in the order of x."""
    first, second = torch.nn.GRU(INPUTS, HIDDEN), torch.nn.GRU(HIDDEN, HIDDEN)
    made = torch.nn.ModuleList([first, second])
    made.forward = lambda x: second(first(x)[int(final)][-1:].repeat(len(x), 1, 1))[0]
    axes = {"x": {0: "time", 1: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = torch.as_tensor(x.transpose(1, 0, 2))
        torch.onnx.export(made, given, tmp_path / "m.onnx", dynamo=False, input_names=["x"], dynamic_axes=axes)
    graph = onnx.load(tmp_path / "m.onnx")
    for node in graph.graph.node:
        if node.op_type == "GRU":
            node.attribute.append(onnx.helper.make_attribute("direction", "reverse"))
    onnx.save(graph, tmp_path / "m.onnx")
    if not final:
        with pytest.raises(ModelError, match="h of a backward direction of the last step, repeated; must be Y_h"):
            load(tmp_path / "m.onnx")
        return
    expected = torch.flip(made.forward(torch.flip(given, [0])), [0]).detach().numpy().transpose(1, 0, 2)
    model = load(tmp_path / "m.onnx")
    assert (model.arrangement.reads, model.arrangement.sends) == ("backward", "backward")
    agrees(model, x, expected)


def test_both_directions_begin_from_a_state(tmp_path, x):
    made = network("LSTM", "none")
    state = [torch.rand(2, 1, HIDDEN) - 0.5 for _ in "hc"]
    graph = onnx.load(exported(made, x, tmp_path / "m.onnx"))
    (node,) = (node for node in graph.graph.node if node.op_type == "LSTM")
    for at, values in enumerate(state, 5):
        graph.graph.initializer.append(onnx.numpy_helper.from_array(values.numpy(), f"state{at}"))
        node.input[at] = f"state{at}"
    onnx.save(graph, tmp_path / "m.onnx")
    expected = made.rnn(torch.as_tensor(x), tuple(values.repeat(1, len(x), 1) for values in state))[0]
    agrees(load(tmp_path / "m.onnx"), x, expected.detach().numpy())


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    "name, sends",
    [
        ("both", "added"),
        ("both_end", "sent"),
        ("both_sum", "sent"),
        ("both_before", "sent"),
        ("both_h", "apart"),
        ("turned", "sent"),
    ],
)
def test_what_keras_saves(keras_files, name, sends, suffix):
    x, expected = (np.load(keras_files / f"{part}.npy") for part in ("x", name))
    model = load(keras_files / f"{name}{suffix}")
    agrees(model, x, expected)
    assert model.arrangement == Arrangement("backward" if name == "turned" else "both", sends)


@pytest.mark.parametrize(
    "name, message",
    [
        ("both_product", "merge_mode: 'mul'; must be one of concat, sum, ave"),
        ("both_alone", "merge_mode: 'ave'; must be concat where no Dense layer follows it"),
        ("turned_late", "go_backwards: true behind another recurrent layer; must be of the first"),
    ],
)
def test_what_keras_files_may_not_have(keras_files, name, message):
    with pytest.raises(ModelError, match=message):
        load(keras_files / f"{name}.keras")


@pytest.mark.parametrize(
    "name, waits, arrangement",
    [
        ("both_stack.h5", ["", "both"], Arrangement("both", most=7)),
        ("both_stack.keras", ["", "both"], Arrangement("both", most=7)),
        ("auto_dense.keras", ["", "last"], Arrangement(least=7, most=7)),
        ("above.keras", ["", "ends"], Arrangement("forward", "apart", most=7)),
        ("both_relu.keras", ["", "apart"], Arrangement("both", most=7)),
        ("auto.h5", ["", "", "last", ""], Arrangement(least=7, most=7)),
        ("auto.keras", ["", "", "last", ""], Arrangement(least=7, most=7)),
        ("auto_both.keras", ["", "last", "ends"], Arrangement("both", "apart", least=7, most=7)),
        ("auto_middle.keras", ["", "last", ""], Arrangement(least=7, most=7)),
        ("fewer.keras", ["", "last"], Arrangement(repeats=3)),
        ("more.keras", ["", "both", "twice", "apart"], Arrangement("both", most=7, repeats=9)),
    ],
)
def test_what_keras_saves_of_layers_that_wait(keras_files, name, waits, arrangement):
    x, expected = (np.load(keras_files / f"{part}.npy") for part in ("x", name.split(".")[0]))
    model = load(keras_files / name)
    found, _ = float_reference(model, x)
    np.testing.assert_allclose(found[:, -1] if expected.ndim < found.ndim else found, expected, atol=1e-5)
    assert [layer.waits for layer in model.layers] == waits and model.arrangement == arrangement
    if "auto" in name:
        with pytest.raises(InputError, match="must have 7 steps, as the model repeats its h"):
            float_reference(model, x[:, :6])
