"""Skips around layers, concatenations and branches in files, with the outputs of the frameworks that wrote them."""

import warnings

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.machine.arrangement import OF_X
from lstm_hw.model.load import load
from lstm_hw.model.readers.joined import Joined
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference

torch = pytest.importorskip("torch")
SIZE, STEPS = 3, 7


def twice(x, first, second):
    """A skip around each of two layers."""
    x = x + first(x)[0]
    return x + second(x)[0]


WAYS = {
    "last": lambda m, x: m.fc((x + m.a(x)[0])[:, -1]),
    "twice": lambda m, x: m.fc(m.c(twice(x, m.a, m.b))[0][:, -1]),
    "alone": lambda m, x: m.a(x)[0] + x,
    "side by side": lambda m, x: m.fc(m.wide(torch.cat([m.a(x)[0], x], -1))[0]),
    "around two": lambda m, x: m.fc(x + m.two(x)[0]),
    "time first": lambda m, x: m.fc(x + m.first(x.transpose(0, 1))[0].transpose(0, 1)),
    "branches": lambda m, x: m.both(torch.cat([m.a(x)[1][0][-1], m.b(x)[1][0][-1]], -1)),
    "relu": lambda m, x: m.fc(torch.relu(x + m.a(x)[0])),
    "dense": lambda m, x: m.fc(torch.tanh(m.mid(x)) - m.gru(x)[0]),
    "front": lambda m, x: m.fc(twice(torch.tanh(m.mid(x)), m.a, m.b)),
    "all steps": lambda m, x: m.all((x + m.a(x)[0]).reshape(x.shape[0], -1)),
    "three": lambda m, x: m.fc(m.a(x)[0] + x + m.b(x)[0]),
}
REFUSED = {
    "two directions": (lambda m, x: m.both(torch.cat([x, m.ways(x)[0]], -1)), "branches|two directions"),
    "two outputs": (lambda m, x: (m.fc(m.a(x)[0]), m.mid(x)), "branches that end in .*; must lead to one output"),
    "last beside all": (lambda m, x: m.fc(m.a(x)[0] + x[:, -1:]), "of the last step; must be of tensors with the same"),
    "over steps": (lambda m, x: m.fc(torch.cat([x, m.a(x)[0]], 1)), "Concat along time; must be along the features"),
}


class Network(torch.nn.Module):
    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.c = (torch.nn.LSTM(SIZE, SIZE, batch_first=True) for _ in range(3))
        self.two, self.first = torch.nn.LSTM(SIZE, SIZE, 2, batch_first=True), torch.nn.LSTM(SIZE, SIZE)
        self.wide, self.gru = (
            torch.nn.LSTM(2 * SIZE, SIZE, batch_first=True),
            torch.nn.GRU(SIZE, SIZE, batch_first=True),
        )
        self.ways = torch.nn.LSTM(SIZE, SIZE, batch_first=True, bidirectional=True)
        self.fc, self.mid, self.both = (torch.nn.Linear(n * SIZE, size) for n, size in ((1, 2), (1, SIZE), (2, 2)))
        self.all = torch.nn.Linear(STEPS * SIZE, 2)
        self.way = forward

    def forward(self, x):
        return self.way(self, x)


def exported(forward, path, fixed):
    """x, and what the module makes of it."""
    torch.manual_seed(1)
    made, x = Network(forward).eval(), torch.randn(2, STEPS, SIZE)
    if forward is REFUSED["two directions"][0]:
        made.both = torch.nn.Linear(3 * SIZE, 2)
    axes = None if fixed else {"x": {0: "batch", 1: "time"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, (x,), str(path), dynamo=False, input_names=["x"], dynamic_axes=axes)
        outputs = made(x)
    return x.numpy(), outputs if isinstance(outputs, tuple) else outputs.detach().numpy()


@pytest.mark.parametrize("way, fixed", [*((way, False) for way in WAYS), ("last", True), ("all steps", True)])
def test_what_torch_exports(tmp_path, way, fixed):
    x, expected = exported(WAYS[way], tmp_path / "m.onnx", fixed)
    model = load(tmp_path / "m.onnx")
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-5)
    assert any(layer.sources for layer in (*model.layers, *model.linear)) and not model.assumptions


@pytest.mark.parametrize("way", REFUSED)
def test_what_onnx_files_may_not_have(tmp_path, way):
    forward, message = REFUSED[way]
    exported(forward, tmp_path / "m.onnx", True)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "name, sources",
    [
        ("around", [(), (OF_X, 0)]),
        ("around_alone", [(), (OF_X, 0)]),
        ("around_twice", [(), (OF_X, 0), (OF_X, 0, 1), ()]),
        ("around_dense", [(), (OF_X, 0), (OF_X, 0, 1)]),
        ("around_tanh", [(), (OF_X, 0), ()]),
        ("branches", [(), (OF_X,), (0, 1)]),
        ("branches_dense", [(), (), (OF_X,), (1, 2)]),
        ("around_all", [(), (OF_X, 0), ()]),
    ],
)
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_what_keras_writes(keras_files, name, sources, suffix):
    model = load(keras_files / f"{name}.{suffix}")
    x, expected = np.load(keras_files / "x.npy"), np.load(keras_files / f"{name}.npy")
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-5)
    assert [layer.sources for layer in (*model.layers, *model.linear)] == sources and not model.assumptions


@pytest.mark.parametrize(
    "name, message",
    [
        ("around_both", "both: LSTM in a graph with branches; must be without layers of two directions"),
        ("repeated", "again: RepeatVector in a graph with branches, .*; must be read by one layer"),
        ("product", "product: Multiply of .*lstm.*; must read one layer, or be one of Add, Subtract, .* of their own"),
        ("over_steps", "over: axis: 1; must be the last one"),
        ("unlike", "unlike: Add of h of every step and of the last; must be of one of both"),
        ("plus", "called with 1.0; must be none"),
        ("from_one", "called with an array; must be none"),
        ("mean", "Average of lstm.* alone; must be of several layers"),
        ("begun", "begun: called with an array; must be none"),
        ("training", "training: called with True; must be none"),
        ("own", "class 'Other>LSTM' of 'None'; must be a layer of Keras itself"),
        ("own_inside", "own_inside: class 'Other>LSTM' of 'None'; must be a layer of Keras itself"),
        ("two_outputs", "a graph with branches; must have one input and one output, to which all layers lead"),
    ],
)
def test_what_keras_files_may_not_have(keras_files, name, message):
    with pytest.raises(ModelError, match=message):
        load(keras_files / f"{name}.keras")


@pytest.mark.parametrize("mode", ["every_step", "last_step", None])
@pytest.mark.parametrize("residual", ["h + x", "h, x", "x, h"])
@pytest.mark.parametrize("front", [False, True])
def test_a_state_dict_that_is_told(tmp_path, mode, residual, front):
    torch.manual_seed(2)
    parts = {"rnn": torch.nn.LSTM(SIZE, SIZE, 2, batch_first=True)}
    parts |= {"front": torch.nn.Linear(4, SIZE)} if front else {}
    parts |= {"fc": torch.nn.Linear(SIZE if residual == "h + x" else 2 * SIZE, 2)} if mode else {}
    made = torch.nn.ModuleDict(parts)
    torch.save(made.state_dict(), tmp_path / "m.pt")
    said = {"front_prefix": "front", "front_activations": "tanh"} if front else {}
    model = load(tmp_path / "m.pt", ReadOptions(residual=residual, head=mode, **said))
    given = torch.randn(2, STEPS, 4 if front else SIZE)
    x = torch.tanh(made["front"](given)) if front else given
    h = made["rnn"](x)[0]
    joined = h + x if residual == "h + x" else torch.cat([h, x] if residual == "h, x" else [x, h], -1)
    expected = made["fc"](joined) if mode else joined
    expected = (expected[:, -1] if mode == "last_step" else expected).detach().numpy()
    np.testing.assert_allclose(float_reference(model, given.numpy())[0], expected, atol=1e-5)


@pytest.mark.parametrize("residual", ["h + x", "x, h", None])
@pytest.mark.parametrize("kind, more", [("LSTM", {}), ("GRU", {}), ("LSTM", {"proj_size": 2})])
def test_modules_that_follow_one_another(tmp_path, residual, kind, more):
    torch.manual_seed(3)
    units = 5 if more else SIZE
    given = more.get("proj_size", SIZE)
    sizes = [given, 2 * given, 3 * given] if residual == "x, h" else [given] * 3
    rnns = [getattr(torch.nn, kind)(n, units, batch_first=True, **more) for n in sizes]
    behind = given if residual != "x, h" else sizes[-1] + given
    made = torch.nn.ModuleDict({"rnns": torch.nn.ModuleList(rnns), "fc": torch.nn.Linear(behind, 2)})
    torch.save(made.state_dict(), tmp_path / "m.pt")
    x = given_x = torch.randn(2, STEPS, given)
    for rnn in rnns:
        h = rnn(x)[0]
        x = h + x if residual == "h + x" else torch.cat([x, h], -1) if residual else h
    prefixes = [f"rnns.{n}" for n in range(3)]
    said = {"prefix": prefixes, "head_prefix": "fc", "head": "every_step"}
    model = load(tmp_path / "m.pt", ReadOptions(residual=residual, **said))
    expected = made["fc"](x).detach().numpy()
    np.testing.assert_allclose(float_reference(model, given_x.numpy())[0], expected, atol=1e-5)
    with pytest.raises(ModelError, match="LSTMs under the prefixes .*, or list those that follow one another"):
        load(tmp_path / "m.pt")


@pytest.mark.parametrize("mode", ["every_step", "last_step"])
@pytest.mark.parametrize(
    "ways, residual, front",
    [
        (["h", "h, x"], None, False),
        (["x, h", "h", "h + x", "h"], None, True),
        (["h", "h", "x, h"], "h + x", False),
        (["h + x"], None, False),
    ],
)
def test_linear_layers_that_read_x(tmp_path, mode, ways, residual, front):
    """x of the first layer, beside what is in front of a linear layer or added to it."""
    torch.manual_seed(4)
    rnn = torch.nn.GRU(SIZE, SIZE, 2, batch_first=True)
    linear = [torch.nn.Linear(SIZE + SIZE * ("," in way), SIZE) for way in ways]
    parts = {"rnn": rnn, "head": torch.nn.ModuleList(linear)} | ({"front": torch.nn.Linear(4, SIZE)} if front else {})
    torch.save(torch.nn.ModuleDict(parts).state_dict(), tmp_path / "m.pt")
    activations = [*["relu"] * (len(ways) - 1), "none"]
    said = {"front_prefix": "front", "front_activations": "tanh"} if front else {}
    said |= {"head_prefix": [f"head.{n}" for n in range(len(ways))], "head_activations": activations, "head": mode}
    model = load(tmp_path / "m.pt", ReadOptions(head_inputs=ways, residual=residual, **said))
    given = torch.randn(2, STEPS, 4 if front else SIZE)
    x = torch.tanh(parts["front"](given)) if front else given
    h = rnn(x)[0]
    h = h + x if residual else h
    for way, layer, activation in zip(ways, linear, activations, strict=True):
        h = h + x if way == "h + x" else torch.cat([{"h": h, "x": x}[name] for name in way.split(", ")], -1)
        h = layer(h)
        h = torch.relu(h) if activation == "relu" else h
    expected = (h[:, -1] if mode == "last_step" else h).detach().numpy()
    np.testing.assert_allclose(float_reference(model, given.numpy())[0], expected, atol=1e-5)


def test_what_linear_layers_may_not_read(tmp_path):
    made = {"rnn": torch.nn.LSTM(2, SIZE), "a": torch.nn.Linear(SIZE, SIZE), "b": torch.nn.Linear(SIZE, SIZE)}
    torch.save(torch.nn.ModuleDict(made).state_dict(), tmp_path / "m.pt")
    said = {"head_prefix": ["a", "b"], "head_activations": ["relu", "none"], "head": "every_step"}

    def refuses(message, name="m", **more):
        with pytest.raises((ConfigError, ModelError), match=message):
            load(tmp_path / f"{name}.pt", ReadOptions(**said | more))

    refuses("model.head_inputs: 'x'; must be one of 'h', 'h . x', 'h, x', 'x, h', or a list", head_inputs=["h", "x"])
    refuses(r"model.head_inputs: \['h, x'\]; must have one of .* for each .*: \['a', 'b'\]", head_inputs="h, x")
    refuses("model.head_inputs: 'h . x'; must be .*: h has 3 elements, x has 2", head_inputs=["h", "h + x"])
    refuses(r"b.weight: shape \(3, 3\); must be \(1..65536, 5\)", head_inputs=["h", "h, x"])
    torch.save(torch.nn.ModuleDict(made | {"b": torch.nn.Linear(5, SIZE)}).state_dict(), tmp_path / "m.pt")
    refuses(r"b.weight: shape \(3, 5\); must have 3 columns, or model.head_inputs says that it reads the 2 elements")
    refuses("head_inputs: .*must not be given: model.head is 'all_steps'", head="all_steps", head_inputs=["h", "h"])
    made["rnn"] = torch.nn.LSTM(2, SIZE, bidirectional=True)
    torch.save(torch.nn.ModuleDict(made).state_dict(), tmp_path / "both.pt")
    refuses("model.head_inputs: .*a bidirectional layer has no skip", name="both", head_inputs=["h, x", "h"])


def test_modules_that_do_not_follow(tmp_path):
    made = {"a": torch.nn.LSTM(SIZE, SIZE), "b": torch.nn.GRU(SIZE, SIZE), "c": torch.nn.LSTM(2, SIZE)}
    torch.save(torch.nn.ModuleDict(made).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ModelError, match="unlike modules a, b; must be of one kind"):
        load(tmp_path / "m.pt", ReadOptions(prefix=["a", "b"]))
    with pytest.raises(ModelError, match=r"c.weight_ih_l0: shape \(12, 2\); must be \(12, 3\)"):
        load(tmp_path / "m.pt", ReadOptions(prefix=["a", "c"]))
    with pytest.raises(ConfigError, match="model.initial_state: .*; must not be given for several modules"):
        load(tmp_path / "m.pt", ReadOptions(prefix=["a", "a"], initial_state=["h0", "c0"]))


def test_what_is_joined_is_bounded(tmp_path):
    """However sums are nested, or how many there are."""
    from onnx import TensorProto, helper, numpy_helper

    def written(count, *nodes):
        arrays = {"W": np.zeros((1, 4 * SIZE, SIZE)), "R": np.zeros((1, 4 * SIZE, SIZE)), "one": np.array([1])}
        made = [helper.make_node("LSTM", ["x", "W", "R"], ["y"]), helper.make_node("Squeeze", ["y", "one"], ["v0"])]
        made += [helper.make_node("Add", [f"v{n}", f"v{n}"], [f"v{n + 1}"]) for n in range(count)]
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("x", [None, None, SIZE]), (f"v{count}", None))
        ]
        tensors = [
            numpy_helper.from_array(a.astype(np.int64 if n == "one" else np.float32), n) for n, a in arrays.items()
        ]
        graph = helper.make_graph(
            made + [helper.make_node(*node) for node in nodes], "g", values[:1], values[1:], tensors
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        return tmp_path / "m.onnx"

    head = load(written(20)).head
    assert np.array_equal(head.weight, 2.0**20 * np.eye(SIZE)) and head.sources == ()
    with pytest.raises(ModelError, match="257 sums and concatenations; must be at most 256"):
        load(written(300))
    with pytest.raises(ModelError, match="a cycle"):
        load(written(1, ("Identity", ["v1"], ["v1"])))
    with pytest.raises(ModelError, match="branches that end in y1; must lead to one output"):
        load(written(0, ("Add", ["v0", "elsewhere"], ["y1"])))
    with pytest.raises(ModelError, match="4097 elements; must be 1 to 4096 to be joined"):
        Joined.of(0, 4097, "m")
    with pytest.raises(ModelError, match="vectors of .3, 4. elements; must be of as many elements each"):
        Joined.added([Joined.of(0, 3, "m"), Joined.of(1, 4, "m")], "m")


def test_what_may_not_be_told(tmp_path):
    made = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(2, SIZE), "fc": torch.nn.Linear(SIZE, 2)})
    torch.save(made.state_dict(), tmp_path / "m.pt")
    for options, message in (
        ({"residual": "h + x"}, "'h \\+ x'; must be one of 'h, x', 'x, h': h has 3 elements, x has 2"),
        ({"residual": "h, x", "head": "all_steps"}, "must not be given: model.head is 'all_steps'"),
        ({"residual": "h*x"}, "model.residual: 'h\\*x'; must be one of 'h \\+ x', 'h, x', 'x, h'"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(tmp_path / "m.pt", ReadOptions(**options))
    with pytest.raises(ModelError, match=r"fc.weight: shape \(2, 3\); must be \(1..65536, 5\)"):
        load(tmp_path / "m.pt", ReadOptions(residual="h, x"))
    torch.save(torch.nn.LSTM(2, SIZE, bidirectional=True).state_dict(), tmp_path / "m.pt")
    with pytest.raises(
        ConfigError, match="model.residual: 'h, x'; must not be given: a bidirectional layer has no skip"
    ):
        load(tmp_path / "m.pt", ReadOptions(residual="h, x"))


@pytest.mark.parametrize("kind, both", [("LSTM", True), ("GRU", False)])
def test_a_state_that_is_a_parameter(tmp_path, kind, both):
    """It is expanded to the sequences of x, and each layer takes its own."""

    class Begun(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(torch.nn, kind)(SIZE, SIZE, 2, batch_first=True, bidirectional=both)
            self.h, self.c = (torch.nn.Parameter(torch.rand(2 * (1 + both), 1, SIZE) - 0.5) for _ in range(2))

        def forward(self, x):
            h, c = (values.expand(-1, x.shape[0], -1).contiguous() for values in (self.h, self.c))
            return self.rnn(x, (h, c) if kind == "LSTM" else h)[0]

    torch.manual_seed(1)
    made, x = Begun().eval(), torch.randn(2, STEPS, SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
        torch.onnx.export(made, (x,), str(tmp_path / "m.onnx"), **said)
    model = load(tmp_path / "m.onnx")
    np.testing.assert_allclose(float_reference(model, x.numpy())[0], made(x).detach().numpy(), atol=1e-5)
