"""One network in a file of every kind: each reader must find the same weights, and say what it cannot do."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import model_files
from bench.model_files import HIDDEN, INPUTS, OUTPUTS, layers_of
from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.model.both_ways import WHOLE
from lstm_hw.model.float_model import FloatModel, LstmWeights, PlainWeights
from lstm_hw.model.load import LOADERS, load, open_model
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference

EVERY_STEP = ReadOptions(head="every_step")


@pytest.fixture(scope="module")
def given():
    return model_files.tensors()


@pytest.fixture(scope="module")
def files(tmp_path_factory, given):
    pytest.importorskip("h5py"), pytest.importorskip("onnx"), pytest.importorskip("tflite")
    return model_files.write_all(tmp_path_factory.mktemp("files"), given)


def refused(path, *parts, options=None, error=ModelError):
    """Loading must fail, and the message must hold the parts in this order."""
    with pytest.raises(error) as caught:
        load(path, options)
    assert re.search(".*".join(map(re.escape, parts)), str(caught.value), re.DOTALL), str(caught.value)


def same(model, given):
    assert (model.input_size, model.hidden_sizes, model.output_size) == (INPUTS, (HIDDEN, HIDDEN), OUTPUTS)
    for layer, (w_x, w_h, b, more) in zip(model.layers, layers_of(given), strict=True):
        assert np.array_equal(layer.w_x, w_x) and np.array_equal(layer.w_h, w_h)
        np.testing.assert_allclose(layer.bias, b.astype(float) + more, atol=1e-6)
    assert np.array_equal(model.head.weight, given["head.weight"])
    assert np.array_equal(model.head.bias, given["head.bias"])


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


PAGE = Path(__file__).parents[3] / "docs" / "models.md"


def torch_files(given):
    """Option -> tensors of a state_dict that has it."""
    first = {name: array for name, array in given.items() if "_l1" not in name}
    rows = {
        kind: {n: a[: k * HIDDEN] if "lstm" in n else a for n, a in given.items()}
        for k, kind in ((3, "GRU"), (1, "RNN"))
    }
    both = {f"{name}{way}": array for name, array in first.items() if "_l0" in name for way in ("", "_reverse")}
    above = {name.replace("_l0", "_l1"): array for name, array in both.items()}
    wider = {f"lstm.weight_ih_l1{way}": np.ones((4 * HIDDEN, 2 * HIDDEN), np.float32) for way in ("", "_reverse")}
    stacked = both | above | wider
    flat = given | {"head.weight": np.ones((OUTPUTS, 5 * HIDDEN), np.float32)}
    projected = dict(given)
    for n in range(2):
        projected[f"lstm.weight_hr_l{n}"] = np.eye(HIDDEN, dtype=np.float32)
    return {
        "num_layers": given,
        "bias=False": {name: array for name, array in given.items() if "lstm.bias" not in name},
        "LSTMCell": {name.replace("_l0", ""): array for name, array in first.items()},
        "optimiser in a checkpoint": given,  # test_what_torch_writes
        "dropout, batch_first": given,
        "bidirectional": both | {"fc.weight": np.ones((OUTPUTS, 2 * HIDDEN), np.float32)},
        "bidirectional, of two layers": stacked | {"fc.weight": np.ones((OUTPUTS, 2 * HIDDEN), np.float32)},
        "flatten": flat,
        "flatten that nobody tells": flat,
        "proj_size": projected,
        **rows,
        "linear layer in front": given | {"front.weight": np.ones((INPUTS, INPUTS), np.float32)},
        "several linear layers": given | {"fc.weight": np.ones((OUTPUTS, OUTPUTS), np.float32)},
        "other tensors beside it": given | {"conv.weight": np.zeros((2, 3, 4), np.float32)},
    }


ON_EVERY_STEP = {
    "return_sequences",
    "TimeDistributed(Dense)",
    "RepeatVector",
    "RepeatVector before Dense",
    "Dense with an activation behind Bidirectional",
    "Add, Subtract, Average, Concatenate",
}
"""Options of Keras files whose head reads h of every step."""


def keras_files(given):
    """Option -> layers of a Keras model that has it."""
    layers, many = (model_files.keras_layers(given, every_step) for every_step in (False, True))

    def configured(number, **config):
        return [(k, c | config if n == number else c, a) for n, (k, c, a) in enumerate(layers)]

    def both(**config):
        return [(k, c | config if k == "LSTM" else c, a) for k, c, a in layers]

    def between(kind, name, **config):
        return [*layers[:2], (kind, {"name": name, **config}, []), layers[2]]

    square = [np.eye(OUTPUTS, dtype=np.float32), np.ones(OUTPUTS, np.float32)]
    front, middle = ([np.eye(size, dtype=np.float32), np.ones(size, np.float32)] for size in (INPUTS, HIDDEN))
    more, tanh = ("Dense", {"name": "more"}, square), {"name": "tanh", "activation": "tanh"}

    def around(kind):
        return kind, {"name": "joint", "reads": ["lstm", "lstm_1"]}, []

    def grus(after):
        bias = [np.zeros((2, 3 * HIDDEN) if after else 3 * HIDDEN)]
        return [
            ("GRU", c | {"name": f"gru{n}", "reset_after": after}, [matrix[:, : 3 * HIDDEN] for matrix in a[:2]] + bias)
            for n, (_, c, a) in enumerate(layers[:2])
        ] + layers[2:]

    def bidirectional(merge, backward=None, **config):
        inner = layers[1][1] | config
        item = {"class_name": "LSTM", "config": inner}
        other = {"class_name": "LSTM", "config": inner | {"go_backwards": True}}
        config = {"name": "both", "layer": item, "backward_layer": other, "merge_mode": merge}
        return ("Bidirectional", config, [*layers[0][2], *(backward or layers[0][2])])

    smaller = [part.reshape(-1, 4, HIDDEN)[..., 1:].reshape(-1, 4 * (HIDDEN - 1)) for part in layers[0][2]]
    smaller = [smaller[0], smaller[1][1:], smaller[2].ravel()]
    every = ("Dense", layers[2][1], [np.ones((5 * HIDDEN, OUTPUTS), np.float32), layers[2][2][1]])
    wide = ("Dense", layers[2][1], [np.ones((2 * HIDDEN, OUTPUTS), np.float32), layers[2][2][1]])
    repeated = ("RepeatVector", {"name": "repeat", "n": 3}, [])
    wrapped = {"name": "each", "layer": {"class_name": "Dense", "config": many[2][1]}}
    return {
        "return_sequences": many,
        "use_bias=False": [(k, c | {"use_bias": False}, a[:-1]) for k, c, a in layers],
        "Dropout": between("Dropout", "dropout", rate=0.5),
        "TimeDistributed(Dense)": [*many[:2], ("TimeDistributed", wrapped, many[2][2])],
        "softmax at the end": configured(2, activation="softmax"),
        "unroll, stateful, implementation": configured(0, unroll=True, stateful=True, implementation=1),
        "activation": configured(0, activation="relu"),
        "hard_sigmoid": both(recurrent_activation="hard_sigmoid"),
        "hard_tanh": both(activation="hard_tanh"),
        "recurrent_activation": configured(0, recurrent_activation="swish"),
        "unlike activations": configured(0, recurrent_activation="hard_sigmoid"),
        **{
            name: configured(0, **{name: True})
            for name in ("go_backwards", "return_state", "zero_output_for_mask", "time_major")
        },
        "units unlike the arrays": configured(0, units=HIDDEN + 1),
        "units of Dense unlike the arrays": configured(2, units=OUTPUTS + 1),
        "activation of Dense": configured(2, activation="relu"),
        **{f"GRU{option}": grus(after) for option, after in (("", True), (" with reset_after=False", False))},
        "SimpleRNN": [
            ("SimpleRNN", {"name": f"rnn{n}", **settings, "activation": "relu"}, [part[..., :HIDDEN] for part in a])
            for n, (_, settings, a) in enumerate(layers[:2])
        ]
        + layers[2:],
        "SimpleRNN of another activation": [("SimpleRNN", {"name": "rnn", "activation": "gelu"}, []), *layers],
        "Dense before": [("Dense", {"name": "front", "activation": "elu"}, front), *layers],
        "Dense between": [layers[0], ("Dense", {"name": "middle", "activation": "elu"}, middle), *layers[1:]],
        "go_backwards of a layer behind another": configured(1, go_backwards=True),
        "Bidirectional": [bidirectional("concat"), wide],
        "merge_mode concat, sum, ave": [bidirectional("ave"), layers[2]],
        "merge_mode mul": [bidirectional("mul"), layers[2]],
        "Bidirectional before another layer": [bidirectional("sum", return_sequences=True), *layers[1:]],
        "Dense with an activation behind Bidirectional": [
            bidirectional("sum", return_sequences=True),
            ("Dense", {"name": "middle", "activation": "tanh"}, middle),
            layers[2],
        ],
        "Add, Subtract, Average, Concatenate": [*many[:2], around("Add"), many[2]],
        "Multiply": [*many[:2], around("Multiply"), many[2]],
        "Add around Bidirectional": [
            many[0],
            bidirectional("sum", return_sequences=True),
            ("Add", {"name": "add", "reads": ["lstm", "both"]}, []),
            many[2],
        ],
        "Bidirectional of other units backward": [bidirectional("concat", smaller), wide],
        "Flatten": [*many[:2], ("Flatten", {"name": "flatten"}, []), every],
        "Flatten of both directions": [
            bidirectional("concat", return_sequences=True),
            ("Flatten", {"name": "flatten"}, []),
            ("Dense", layers[2][1], [np.ones((6 * HIDDEN, OUTPUTS), np.float32), layers[2][2][1]]),
        ],
        "Flatten of directions that are added": [
            bidirectional("sum", return_sequences=True),
            ("Flatten", {"name": "flatten"}, []),
            every,
        ],
        "GRU behind LSTM": [configured(0, return_sequences=True)[0], grus(True)[1], layers[2]],
        "RepeatVector": [*configured(0, return_sequences=False)[:1], repeated, *many[1:]],
        "RepeatVector before Dense": [*layers[:2], repeated, layers[2]],
        "Masking": [("Masking", {"name": "mask"}, []), *layers],
        "second Dense": [*layers, ("Dense", {"name": "more", "activation": "tanh"}, square)],
        "Activation, ReLU": [*layers, ("ReLU", {"name": "relu"}, []), more, ("Activation", tanh, [])],
        "ELU": [*layers, ("ELU", {"name": "elu"}, [])],
        "ELU of another alpha": [*layers, ("ELU", {"name": "elu", "alpha": 0.5}, [])],
        "other activation of Dense": configured(2, activation="gelu"),
        "ReLU of two slopes": [*layers, ("ReLU", {"name": "leaky", "negative_slope": 0.1}, [])],
        "softmax before the end": [*configured(2, activation="softmax"), more],
        "softmax over steps": [*many, ("Softmax", {"name": "over", "axis": 1}, [])],
        "activation before Dense": between("Activation", "a", activation="tanh"),
        "softmax before Dense": between("Activation", "a", activation="softmax"),
    }


def onnx_files(given):
    """Option -> (on every step, change of a graph so that it has it)."""
    from onnx import TensorProto, helper, numpy_helper

    def attribute(**values):
        return lambda graph: graph.node[1].attribute.extend([helper.make_attribute(*v) for v in values.items()])

    def hard(graph):
        for node, slope in ((graph.node[1], [1 / 6]), (graph.node[3], [0.16666667])):
            for values in ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, {"activation_alpha": slope}):
                node.attribute.extend([helper.make_attribute(*value) for value in values.items()])

    def hidden_size(graph):
        next(item for item in graph.node[1].attribute if item.name == "hidden_size").i += 1

    def given_input(at, values):
        def change(graph):
            if values is None:
                graph.input.append(helper.make_tensor_value_info("given", TensorProto.FLOAT, [1, None, HIDDEN]))
            else:
                graph.initializer.append(numpy_helper.from_array(values, "given"))
            graph.node[1].input.extend([""] * (8 - len(graph.node[1].input)))
            graph.node[1].input[at] = "given"

        return change

    def shorten(graph, gates):
        """Weights of so many gates."""
        for tensor in graph.initializer:
            if tensor.name[0] in "WRB" and tensor.name[1:].isdigit():
                rows = (2 if tensor.name[0] == "B" else 1) * gates * HIDDEN
                shorter = numpy_helper.to_array(tensor)[:, :rows]
                tensor.CopyFrom(numpy_helper.from_array(shorter, tensor.name))

    def gru(**values):
        def change(graph):
            for node in graph.node:
                if node.op_type == "LSTM":
                    node.op_type = "GRU"
                    node.attribute.extend([helper.make_attribute(*value) for value in values.items()])
            shorten(graph, 3)

        return change

    def rnn(**values):
        def change(graph):
            for node in (graph.node[1], graph.node[3]):
                node.op_type = "RNN"
                node.attribute.extend([helper.make_attribute(*value) for value in values.items()])
            shorten(graph, 1)

        return change

    def reverse(graph):
        for node in graph.node:
            if node.op_type == "LSTM":
                node.attribute.append(helper.make_attribute("direction", "reverse"))

    def bidirectional(graph):
        """The first node has both directions; without the second one, whose place a Reshape takes."""
        lstm, stored = graph.node[1], {tensor.name: tensor for tensor in graph.initializer}
        lstm.attribute.append(helper.make_attribute("direction", "bidirectional"))
        for name in ("W0", "R0", "B0"):
            both = np.concatenate([numpy_helper.to_array(stored[name])] * 2)
            stored[name].CopyFrom(numpy_helper.from_array(both, name))
        stored["weight"].CopyFrom(numpy_helper.from_array(np.ones((2 * HIDDEN, OUTPUTS), np.float32), "weight"))
        graph.initializer.append(numpy_helper.from_array(np.array([0, 0, -1]), "shape"))
        kept = [node for node in graph.node if node.op_type not in ("LSTM", "Squeeze")]
        moved = helper.make_node("Transpose", [lstm.output[0]], ["moved"], perm=[0, 2, 1, 3])
        joined = helper.make_node("Reshape", ["moved", "shape"], ["h1"])
        nodes = [kept[0], helper.make_node("LSTM", lstm.input, lstm.output, "lstm0"), moved, joined, *kept[1:]]
        nodes[1].attribute.extend(lstm.attribute)
        del graph.node[:]
        graph.node.extend(nodes)

    def flat(turned):
        def change(graph):
            stored = {tensor.name: tensor for tensor in graph.initializer}
            every = np.ones((5 * HIDDEN, OUTPUTS), np.float32)
            stored["weight"].CopyFrom(numpy_helper.from_array(every, "weight"))
            at = next(n for n, node in enumerate(graph.node) if node.output[0] == "h")
            graph.node[at].output[0] = "hs"
            if turned == "shaped":  # to (sequences, -1)
                graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))
                graph.initializer.append(numpy_helper.from_array(np.array([-1]), "free"))
                makes = ["Shape", ["hs"], ["s"]], ["Gather", ["s", "zero"], ["n"]], ["Concat", ["n", "free"], ["shape"]]
                made = [helper.make_node(*one, **{"axis": 0} if one[0] != "Shape" else {}) for one in makes]
                for place, node in enumerate([*made, helper.make_node("Reshape", ["hs", "shape"], ["h"])], at + 1):
                    graph.node.insert(place, node)
            elif turned:
                graph.node[at].attribute[0].CopyFrom(helper.make_attribute("perm", [1, 2, 0]))
                graph.initializer.append(numpy_helper.from_array(np.array([0, -1]), "shape"))
                graph.node.insert(at + 1, helper.make_node("Reshape", ["hs", "shape"], ["h"], "flat"))
            else:
                graph.node.insert(at + 1, helper.make_node("Flatten", ["hs"], ["h"], "flat"))

        return change

    def rows_of_steps(graph):
        at = next(n for n, node in enumerate(graph.node) if node.output[0] == "h")
        graph.node[at].output[0], graph.node[-1].output[0] = "hs", "rows"
        for name, values in (("shape", [-1, HIDDEN]), ("back", [2, -1, OUTPUTS])):
            graph.initializer.append(numpy_helper.from_array(np.array(values), name))
        graph.node.insert(at + 1, helper.make_node("Reshape", ["hs", "shape"], ["h"]))
        graph.node.append(helper.make_node("Reshape", ["rows", "back"], ["y"]))
        graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

    def projection(graph):
        wide = np.ones((1, 4 * HIDDEN, 2), np.float32)
        next(t for t in graph.initializer if t.name == "R0").CopyFrom(numpy_helper.from_array(wide, "R0"))

    def multiplied(graph, at, size, name, *nodes):
        """A product with the unit matrix in front of what a node reads, and nodes behind it."""
        read = graph.node[at].input[0]
        graph.initializer.append(numpy_helper.from_array(np.eye(size, dtype=np.float32), f"{name}s"))
        made = [helper.make_node("MatMul", [read, f"{name}s"], [name]), *nodes]
        for place, node in enumerate(made, at):
            graph.node.insert(place, node)
        graph.node[at + len(made)].input[0] = made[-1].output[0]

    def front(graph):
        graph.initializer.append(numpy_helper.from_array(np.ones(INPUTS, np.float32), "ones"))
        multiplied(graph, 0, INPUTS, "front", helper.make_node("Add", ["front", "ones"], ["added"]))

    def middle(graph):
        at = next(n for n, node in enumerate(graph.node) if node.op_type == "LSTM" and n > 1)
        multiplied(graph, at, HIDDEN, "middle", helper.make_node("Elu", ["middle"], ["activated"]))

    def before_of(kind):
        def change(graph):
            graph.node.insert(0, helper.make_node(kind, ["x"], ["scaled"], "odd"))
            graph.node[1].input[0] = "scaled"

        return change

    before = before_of("Relu")

    def behind(graph):
        graph.node.insert(len(graph.node) - 2, helper.make_node("Elu", ["h"], ["bent"]))
        graph.node[-2].input[0] = "bent"

    def head(*nodes):
        def change(graph):
            del graph.node[-2:]
            graph.node.extend(helper.make_node(*node[0], **node[1]) for node in nodes)

        return change

    def convolution(graph):
        del graph.node[-3:]
        weight = given["head.weight"][:, :, None]
        graph.initializer.append(numpy_helper.from_array(weight, "wide"))
        graph.node.append(helper.make_node("Transpose", ["h1"], ["t"], perm=[1, 2, 0]))
        graph.node.append(helper.make_node("Conv", ["t", "wide", "bias"], ["c"], kernel_shape=[1]))
        graph.node.append(helper.make_node("Transpose", ["c"], ["y"], perm=[0, 2, 1]))

    def around(kind, sizes=1, **attributes):
        """A node that joins h of both layers."""

        def change(graph):
            at = next(n for n, node in enumerate(graph.node) if node.output[0] == "h")
            graph.node.insert(at, helper.make_node(kind, ["h0", "h1"], ["joint"], "joint", **attributes))
            graph.node[at + 1].input[0] = "joint"
            weight = next(t for t in graph.initializer if t.name == "weight")
            weight.CopyFrom(numpy_helper.from_array(np.concatenate([given["head.weight"].T] * sizes), "weight"))

        return change

    def more(*nodes, **attributes):
        """Nodes behind the head, whose outputs are y0; attributes are of the last one."""

        def change(graph):
            graph.node[-1].output[0] = "plain"
            graph.initializer.append(numpy_helper.from_array(np.array([[2, 1], [0.5, -1]], np.float32), "square"))
            graph.node.extend(helper.make_node(*node) for node in nodes[:-1])
            graph.node.append(helper.make_node(*nodes[-1], **attributes))

        return change

    def between(kind, **attributes):
        """A node between product and bias."""

        def change(graph):
            node = helper.make_node(kind, ["product"], ["between"], **attributes)
            graph.node.insert(len(graph.node) - 1, node)
            graph.node[-1].input[0], graph.node[-1].name = "between", "last"

        return change

    def batch_first(graph):
        """Both nodes with the batch first, and no transposition."""
        del graph.node[0], graph.node[-3]
        for number in (0, 2):
            graph.node[number].attribute.append(helper.make_attribute("layout", 1))
        graph.node[0].input[0], graph.node[-2].input[0] = "x", "h1"
        for number in (1, 3):
            graph.node[number].input[1] = "two"
        graph.initializer.append(numpy_helper.from_array(np.array([2]), "two"))

    def final_state(graph):
        del graph.node[-4:-2]
        graph.node[-3].output[:] = ["", "yh"]
        graph.node.insert(len(graph.node) - 2, helper.make_node("Squeeze", ["yh", "zero"], ["h"]))
        graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))

    def unrolled(graph):
        del graph.node[1], graph.node[2]

    def inside(graph):
        loop = helper.make_node("Loop", ["", "", "x"], ["y"], body=helper.make_graph(list(graph.node), "body", [], []))
        del graph.node[:]
        graph.node.append(loop)

    zeros, ones = np.zeros((1, 1, HIDDEN), np.float32), np.ones((1, 1, HIDDEN), np.float32)
    return {
        "stacked nodes": (False, lambda graph: None),
        "initial_h and initial_c of zeros": (False, given_input(5, zeros)),
        "initial_h and initial_c as inputs": (False, given_input(6, None)),
        "Gemm": (False, head((("Gemm", ["h", "weight", "bias"], ["y"]), {}))),
        "MatMul and Add": (True, lambda graph: None),
        "Conv of width 1": (True, convolution),
        "second Gemm": (False, more(["Gemm", ["plain", "square"], ["y"]])),
        "Relu, Sigmoid, Tanh": (
            True,
            more(["Relu", ["plain"], ["r"]], ["MatMul", ["r", "square"], ["t"]], ["Tanh", ["t"], ["y"]]),
        ),
        "Elu": (False, more(["Elu", ["plain"], ["y"]])),
        "other activation": (False, more(["LeakyRelu", ["plain"], ["y"], "leaky"])),
        "Softmax before the end": (
            False,
            more(["Softmax", ["plain"], ["r"]], ["Gemm", ["r", "square"], ["y"], "last"]),
        ),
        "Softmax and Add": (False, between("Softmax")),
        "Softmax over steps": (True, more(["Softmax", ["plain"], ["y"], "last"], axis=1)),
        "Cast to whole numbers": (False, more(["Cast", ["plain"], ["y"], "last"], to=TensorProto.INT64)),
        "Add along another axis": (True, between("Transpose", perm=[0, 2, 1])),
        "Flatten": (True, flat(False)),
        "Flatten of another order": (True, flat(True)),
        "Reshape to a computed shape": (True, flat("shaped")),
        "Reshape to rows and back": (True, rows_of_steps),
        "layout=1": (True, batch_first),
        "Y_h as output": (False, final_state),
        "hidden_size unlike R": (False, hidden_size),
        "direction reverse": (True, reverse),
        "direction bidirectional": (True, bidirectional),
        "direction of one node alone": (False, attribute(direction="reverse")),
        "clip": (False, attribute(clip=1.0)),
        "input_forget": (False, attribute(input_forget=1)),
        "activations": (False, attribute(activations=["Sigmoid", "Relu", "Tanh"])),
        "HardSigmoid": (False, hard),
        "HardSigmoid of another slope": (
            False,
            attribute(activations=["HardSigmoid", "Tanh", "Tanh"], activation_alpha=[0.3]),
        ),
        "activation_alpha": (False, attribute(activation_alpha=[0.5])),
        "activation_beta": (False, attribute(activation_beta=[0.5])),
        "sequence_lens": (False, given_input(4, np.array([3], np.int32))),
        "initial_h": (False, given_input(5, ones)),
        "initial_c": (False, given_input(6, ones)),
        "P": (False, given_input(7, np.linspace(-2, 1, 3 * HIDDEN, dtype=np.float32)[None])),
        "GRU with linear_before_reset=1": (False, gru(linear_before_reset=1)),
        "GRU with linear_before_reset=0": (False, gru()),
        "RNN": (False, rnn()),
        "RNN of another activation": (False, rnn(activations=["Softsign"])),
        "LSTM of torch with proj_size": (False, projection),
        "MatMul and Add before": (False, front),
        "MatMul and Elu between": (False, middle),
        "Relu before the LSTM": (False, before),
        "Elu behind the LSTM": (False, behind),
        "node before the LSTM": (False, before_of("Neg")),
        "Add, Sub, Sum, Mean": (False, around("Add")),
        "Concat": (True, around("Concat", 2, axis=-1)),
        "Mul": (False, around("Mul")),
        "branch that ends": (False, lambda graph: graph.node.append(helper.make_node("Add", ["h0", "h0"], ["more"]))),
        "repeated last step": (False, more(("Tile", ["plain", "square"], ["y"], "more"))),
        "unrolled or decomposed cell": (False, unrolled),
        "LSTM in a graph inside a node": (False, inside),
    }


def rows(framework):
    """Option -> answer, as the page has them."""
    found = re.findall(rf"^\| {framework} \| (.*?) \| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(dict(found)) == len(found) > 5
    return dict(found)


def judged(path, answer, given, options=None):
    """A file that has an option is read to the same network, or refused by the page's words."""
    if answer != "done":
        refused(path, path.name, answer, options=options)
        return
    model = load(path, options)
    assert (model.input_size, model.output_size) == (INPUTS, OUTPUTS)
    if any(layer.KIND != "lstm" for layer in model.layers):  # their numbers: test_gru_files, test_plain_files
        return
    if model.arrangement.reads == "both":  # test_both_ways_files
        return
    for layer, (w_x, w_h, b, more) in zip(model.layers, layers_of(given), strict=False):
        assert np.array_equal(layer.w_x, w_x) and np.array_equal(layer.w_h, w_h)
        assert not layer.bias.any() or np.allclose(layer.bias, b.astype(float) + more, atol=1e-6)


def test_page_of_torch_options(tmp_path, given):
    files = torch_files(given)
    assert list(files) == list(rows("torch"))
    for option, answer in rows("torch").items():
        (tmp_path / "m.pt").write_bytes(model_files.torch_archive(files[option]))
        said = {"bidirectional": "final_state", "flatten": "all_steps"}.get(option.split(",")[0])
        said = said and ReadOptions(head=said)
        judged(tmp_path / "m.pt", answer, given, said)


def test_page_of_json_options(tmp_path, given):
    files = {
        "skip: 1": model_files.amplifier_json(given, skip=1),
        "skip: 2": model_files.amplifier_json(given, skip=2),
        "in_skip: 1": model_files.rtneural_json(given, in_skip=1),
        "in_skip: 2": model_files.rtneural_json(given, in_skip=2),
        "in_gain and out_gain": model_files.rtneural_json(given, in_gain=0.0, out_gain=3),
        "input_gain": model_files.rtneural_json(given, input_gain=3),
        "initial state of Neural Amp Modeler": model_files.nam(given, 0.5),
    }
    assert list(files) == list(rows("JSON"))
    for option, answer in rows("JSON").items():
        path = tmp_path / ("m.nam" if "Neural" in option else "m.json")
        path.write_bytes(files[option])
        judged(path, answer, given)


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


def test_page_of_keras_options(tmp_path, given):
    pytest.importorskip("h5py")
    files = keras_files(given)
    assert list(files) == list(rows("Keras"))
    for option, answer in rows("Keras").items():
        model_files.keras_h5(tmp_path / "m.h5", files[option])
        (tmp_path / "m.keras").write_bytes(model_files.keras_archive(files[option]))
        for name in ("m.h5", "m.keras"):
            judged(tmp_path / name, answer, given)
            if answer == "done":
                every_step = option in ON_EVERY_STEP
                assert load(tmp_path / name).head_every_step == every_step
                refused(
                    tmp_path / name,
                    "model.head",
                    options=ReadOptions(head=("every_step", "last_step")[every_step]),
                    error=ConfigError,
                )
                refused(tmp_path / name, "model.prefix", options=ReadOptions(prefix="lstm"), error=ConfigError)
    model_files.keras_h5(tmp_path / "m.h5", files["softmax at the end"])
    assert "softmax of dense is left out" in load(tmp_path / "m.h5").assumptions[0]
    scaled = {"options": ReadOptions(output_scale=(1.0, 3.0)), "error": ConfigError}
    refused(tmp_path / "m.h5", "model.output_scale", "the softmax of dense is left out", **scaled)
    model_files.keras_h5(tmp_path / "m.h5", files["return_sequences"][:1] + files["Dropout"][1:2])
    assert "gives h of the last step" in load(tmp_path / "m.h5").assumptions[0]
    model_files.keras_h5(tmp_path / "m.h5", files["activation of Dense"])
    model = load(tmp_path / "m.h5", ReadOptions(head_prefix="none"))
    assert model.head is None and "dense and what follows it" in model.assumptions[0]
    model_files.keras_h5(tmp_path / "m.h5", [(k, c, a[:1]) for k, c, a in files["Dropout"]])
    refused(tmp_path / "m.h5", "lstm: arrays kernel", "must be kernel, recurrent_kernel, bias")


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


def test_hard_sigmoids_of_either_keras(tmp_path, given):
    layers = keras_files(given)["hard_sigmoid"]
    x = 3 * np.random.default_rng(1).standard_normal((2, 5, INPUTS))
    for name, version, slope in (("m.h5", "2.15.0", 0.2), ("m.h5", "3.4.1", 1 / 6), ("m.keras", None, 1 / 6)):
        path = tmp_path / name
        if version:
            model_files.keras_h5(path, layers, version)
        else:
            path.write_bytes(model_files.keras_archive(layers))
        h = x
        for layer in load(path).layers:
            steps, state = [], np.zeros((2, len(h), HIDDEN))
            for step in range(5):
                pre = h[:, step] @ layer.w_x.T + state[0] @ layer.w_h.T + layer.bias
                i, f, o = (np.clip(slope * pre[:, n * HIDDEN : (n + 1) * HIDDEN] + 0.5, 0, 1) for n in (0, 1, 3))
                c = f * state[1] + i * np.tanh(pre[:, 2 * HIDDEN : 3 * HIDDEN])
                state = o * np.tanh(c), c
                steps.append(state[0])
            h = np.stack(steps, axis=1)
        wanted = h[:, -1] @ given["head.weight"].T + given["head.bias"]
        np.testing.assert_allclose(float_reference(load(path), x)[0], wanted, atol=1e-6)
    model_files.keras_h5(path.with_suffix(".h5"), layers, "1.2")
    refused(path.with_suffix(".h5"), "lstm: recurrent_activation: 'hard_sigmoid'", "keras_version of 2 or 3", "not 1.2")


def written(folder, tensors, name):
    np.savez(folder / name, **tensors)
    return folder / name


def test_a_library_that_runs_in_circles(files, monkeypatch):
    def circles(self):
        while True:
            pass

    monkeypatch.setattr("lstm_hw.model.readers.keras_file.KerasFile._everything", circles)
    refused(files["m.h5"], "m.h5: not readable", "does not come to an end")
    monkeypatch.setattr("lstm_hw.model.readers.keras_file.KerasFile._everything", lambda self: os.abort())
    refused(files["m.h5"], "m.h5: not readable", "does not come to an end")


def test_page_of_onnx_options(tmp_path, given):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    path, files = tmp_path / "m.onnx", onnx_files(given)
    assert list(files) == list(rows("ONNX"))
    x = np.random.default_rng(2).uniform(-1, 1, (2, 5, INPUTS)).astype(np.float32)
    for option, answer in rows("ONNX").items():
        every_step, change = files[option]
        model = model_files.onnx_model(given, every_step)
        change(model.graph)
        path.write_bytes(model.SerializeToString())
        judged(path, answer, given)
        if answer == "done" and option not in (
            "initial_h and initial_c as inputs",
            "layout=1",
            "initial_h and initial_c of zeros",
            "HardSigmoid",  # which the evaluator takes for Sigmoid
            "direction reverse",  # which it does not have: test_both_ways_files
            "direction bidirectional",
        ):
            sequences = 1 if option in ("initial_h", "initial_c") else None
            (expected,) = ReferenceEvaluator(model).run(None, {"x": x[:sequences]})
            np.testing.assert_allclose(float_reference(load(path), x[:sequences])[0], expected, atol=1e-5)
            joined = option in ("Add, Sub, Sum, Mean", "Concat")
            assert (load(path, ReadOptions(head_prefix="none")).head is None) != joined
        if option == "HardSigmoid":
            assert load(path).functions == ("hard6", "tanh")
        if option in ("initial_h", "initial_c"):
            initial = load(path).layers[0].initial
            assert [values.tolist() for values in initial] == [[float(option[-1] == part)] * HIDDEN for part in "hc"]
            zeroed = load(path, ReadOptions(initial_state="zero"))
            assert zeroed.layers[0].initial is None and "replaced by zeros" in zeroed.assumptions[-1]
        if option == "node before the LSTM":
            same(load(path, ReadOptions(prefix="lstm0")), given)
        if option == "initial_h and initial_c as inputs":
            assert "given of m.onnx is kept on the chip" in load(path).assumptions[0]


def test_onnx_nodes_that_cannot_be(tmp_path, given):
    pytest.importorskip("onnx")
    path = tmp_path / "m.onnx"
    for change in (
        lambda graph: graph.node[0].attribute[0].ClearField("type"),
        lambda graph: graph.node[1].ClearField("output"),
        lambda graph: graph.node[1].ClearField("input"),
        lambda graph: graph.node[-1].ClearField("input"),
    ):
        model = model_files.onnx_model(given, every_step=False)
        change(model.graph)
        path.write_bytes(model.SerializeToString())
        refused(path, "m.onnx", "must")
        assert open_model(path).contents()


def test_page_of_tflite_options(tmp_path, given):
    tflite = pytest.importorskip("tflite")
    path = tmp_path / "m.tflite"
    rnn = {"code": tflite.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_RNN}
    both = {"code": tflite.BuiltinOperator.BIDIRECTIONAL_SEQUENCE_LSTM, "both": True}
    both_rnn = {"both": True, "rnn": tflite.ActivationFunctionType.TANH}
    both_rnn["code"] = tflite.BuiltinOperator.BIDIRECTIONAL_SEQUENCE_RNN
    rng = np.random.default_rng(3)
    peepholes, projection = rng.normal(size=(3, HIDDEN)), (rng.normal(size=(HIDDEN, HIDDEN)), rng.normal(size=HIDDEN))
    files = {
        "stacked operators": {},
        "int8 weights": {"bits8": True},
        "cell_clip": {"cell_clip": 10.0},
        "time_major": {"time_major": True},
        "activation": {"activation": tflite.ActivationFunctionType.RELU},
        "coupled gates": {"inputs": {1: -1}},
        "peepholes": {"peepholes": peepholes},
        "peepholes of some gates": {"inputs": {9: 1}},
        "projection": {"projection": projection},
        "layer normalisation": {"inputs": {20: 1}},
        "activation of FULLY_CONNECTED": {"dense": tflite.ActivationFunctionType.RELU},
        "second FULLY_CONNECTED": {"before": [(np.eye(HIDDEN), np.ones(HIDDEN), tflite.ActivationFunctionType.TANH)]},
        "FULLY_CONNECTED in front": {"front": [(np.eye(INPUTS), np.ones(INPUTS), tflite.ActivationFunctionType.RELU)]},
        "RESHAPE of all steps": {"reshape": (1, 5 * HIDDEN)},
        "RESHAPE of another shape": {"reshape": (5, HIDDEN)},
        "other activation of FULLY_CONNECTED": {"dense": tflite.ActivationFunctionType.RELU6},
        "UNIDIRECTIONAL_SEQUENCE_RNN": rnn | {"rnn": tflite.ActivationFunctionType.TANH},
        "UNIDIRECTIONAL_SEQUENCE_RNN of another activation": rnn | {"rnn": tflite.ActivationFunctionType.RELU6},
        "BIDIRECTIONAL_SEQUENCE_LSTM": both,
        "BIDIRECTIONAL_SEQUENCE_RNN": both_rnn,
        "merge_outputs": both | {"merge_outputs": False},
    }
    one = {name: values for name, values in given.items() if "_l1" not in name}
    one["head.weight"] = np.ones((OUTPUTS, 2 * HIDDEN), np.float32)
    assert list(files) == list(rows("TFLite"))
    for option, answer in rows("TFLite").items():
        every = {"head.weight": np.ones((OUTPUTS, 5 * HIDDEN), np.float32)} if option == "RESHAPE of all steps" else {}
        path.write_bytes(model_files.tflite_model(one if "both" in files[option] else given | every, **files[option]))
        if option == "int8 weights":
            np.testing.assert_allclose(load(path).layers[1].w_h, given["lstm.weight_hh_l1"], atol=0.005)
        else:
            judged(path, answer, given)
        if option == "UNIDIRECTIONAL_SEQUENCE_RNN":
            for layer, (w_x, w_h, b, more) in zip(load(path).layers, layers_of(given), strict=True):
                candidate = slice(2 * HIDDEN, 3 * HIDDEN)
                assert np.array_equal(layer.w_x, w_x[candidate]) and np.array_equal(layer.w_h, w_h[candidate])
                np.testing.assert_allclose(layer.bias, (b + more)[candidate])
                assert layer.activation == "tanh"
        if option == "peepholes":
            assert all(np.array_equal(layer.peepholes, peepholes.astype(np.float32)) for layer in load(path).layers)
        if option == "projection":
            for layer, above in zip(load(path).layers[::2], load(path).layers[1::2], strict=True):
                assert layer.projected and np.array_equal(above.w_x, projection[0].astype(np.float32))
                assert np.array_equal(above.bias, projection[1].astype(np.float32))
        if option.startswith("BIDIRECTIONAL"):
            _of_both_directions(load(path), option, one)
        elif answer == "done":
            told = {"cell_clip": "cell_clip 10 of", "time_major": "time before batch"}.get(option)
            assert (told is None) == (load(path).assumptions == ()) and (not told or told in load(path).assumptions[0])
            assert load(path, ReadOptions(head_prefix="none")).head is None
    path.write_bytes(b"TFL3TFL3" + bytes(100))
    refused(path, "m.tflite")


def _of_both_directions(model, option, given):
    """The backward direction has the weights of the other with their signs changed."""
    ((w_x, w_h, b, more),) = layers_of(given)
    whole, candidate = [w_x, w_h, b.astype(float) + more], slice(2 * HIDDEN, 3 * HIDDEN)
    kind, part = (LstmWeights, slice(None)) if option.endswith("LSTM") else (PlainWeights, candidate)
    forward, backward = (
        kind(*(sign * array[part] for array in whole), **{} if kind is LstmWeights else {"activation": "tanh"})
        for sign in (1, -1)
    )
    x = np.random.default_rng(4).uniform(-1, 1, (2, 5, INPUTS))
    h = float_reference(FloatModel((forward,)), x)[0], float_reference(FloatModel((backward,)), x[:, ::-1])[0][:, ::-1]
    wanted = np.concatenate(h, axis=2) @ given["head.weight"].T + given["head.bias"]
    np.testing.assert_allclose(float_reference(model, x)[0], wanted, atol=1e-6)
    assert model.assumptions == (WHOLE,)


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
