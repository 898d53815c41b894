"""Files that have each option of the tables in docs/models.md: the answer is the page's."""

import re
from pathlib import Path

import numpy as np
import tflite
from onnx import helper
from onnx.reference import ReferenceEvaluator

from bench import model_files
from bench.model_files import HIDDEN, INPUTS, OUTPUTS, layers_of
from lstm_hw.errors import ConfigError
from lstm_hw.model.both_ways import WHOLE
from lstm_hw.model.float_model import FloatModel, LstmWeights, PlainWeights
from lstm_hw.model.load import load, open_model
from lstm_hw.model.readers.options import ReadOptions
from lstm_hw.model.reference import float_reference
from tests.model.readers import keras_options, onnx_options
from tests.model.readers.loading import refused, same

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


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
    wide = given | {"head.weight": np.ones((OUTPUTS, HIDDEN + INPUTS), np.float32)}
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
        "linear layer that reads x too": wide,
        "linear layer that reads x, which nobody tells": wide,
        "linear layer in front": given | {"front.weight": np.ones((INPUTS, INPUTS), np.float32)},
        "several linear layers": given | {"fc.weight": np.ones((OUTPUTS, OUTPUTS), np.float32)},
        "other tensors beside it": given | {"conv.weight": np.zeros((2, 3, 4), np.float32)},
    }


def test_page_of_torch_options(tmp_path, given):
    files = torch_files(given)
    assert list(files) == list(rows("torch"))
    for option, answer in rows("torch").items():
        (tmp_path / "m.pt").write_bytes(model_files.torch_archive(files[option]))
        said = {"bidirectional": "final_state", "flatten": "all_steps"}.get(option.split(",")[0])
        said = said and ReadOptions(head=said)
        if option == "linear layer that reads x too":
            said = ReadOptions(head="every_step", head_inputs="h, x")
        judged(tmp_path / "m.pt", answer, given, said)


def test_page_of_json_options(tmp_path, given):
    files = {
        "skip: 1": model_files.amplifier_json(given, skip=1),
        "skip: 2": model_files.amplifier_json(given, skip=2),
        "in_skip: 1": model_files.rtneural_json(given, in_skip=1),
        "in_skip: 2": model_files.rtneural_json(given, in_skip=2),
        "in_gain and out_gain": model_files.rtneural_json(given, in_gain=0.0, out_gain=3),
        "out_gain behind an activation": model_files.rtneural_json(given, "tanh", out_gain=3),
        "softmax at the end": model_files.rtneural_json(given, activation="softmax"),
        "out_gain behind a softmax": model_files.rtneural_json(given, "softmax", out_gain=3),
        "in_skip around a softmax": model_files.rtneural_json(given, "softmax", in_skip=1),
        "input_gain": model_files.rtneural_json(given, input_gain=3),
        "initial state of Neural Amp Modeler": model_files.nam(given, 0.5),
    }
    assert list(files) == list(rows("JSON"))
    for option, answer in rows("JSON").items():
        path = tmp_path / ("m.nam" if "Neural" in option else "m.json")
        path.write_bytes(files[option])
        judged(path, answer, given)


def test_page_of_keras_options(tmp_path, given):
    files = keras_options.OPTIONS
    assert list(files) == list(rows("Keras"))
    for option, answer in rows("Keras").items():
        model_files.keras_h5(tmp_path / "m.h5", files[option])
        (tmp_path / "m.keras").write_bytes(model_files.keras_archive(files[option]))
        for name in ("m.h5", "m.keras"):
            judged(tmp_path / name, answer, given)
            if answer == "done":
                every_step = option in keras_options.ON_EVERY_STEP
                assert load(tmp_path / name).head_every_step == every_step
                refused(
                    tmp_path / name,
                    "model.head",
                    options=ReadOptions(head=("every_step", "last_step")[every_step]),
                    error=ConfigError,
                )
    model_files.keras_h5(tmp_path / "m.h5", files["Dropout"])
    (tmp_path / "m.keras").write_bytes(model_files.keras_archive(files["Dropout"]))
    for name in ("m.h5", "m.keras"):
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


def test_hard_sigmoids_of_either_keras(tmp_path, given):
    layers = keras_options.OPTIONS["hard_sigmoid"]
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


def test_page_of_onnx_options(tmp_path, given):
    path, files = tmp_path / "m.onnx", onnx_options.OPTIONS
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
            found = float_reference(load(path), x[:sequences])[0]
            np.testing.assert_allclose(load(path).as_framework(found), expected, atol=1e-5)
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


def test_a_softmax_that_is_left_out(tmp_path, given):
    """The model knows it, so its outputs can be compared with the file's."""
    model_files.keras_h5(tmp_path / "m.h5", keras_options.OPTIONS["softmax at the end"])
    (tmp_path / "m.json").write_bytes(model_files.rtneural_json(given, activation="softmax"))
    (tmp_path / "m.tflite").write_bytes(model_files.tflite_model(given, softmax=1.0))
    made = model_files.onnx_model(given, every_step=True)
    made.graph.node[-1].output[0] = "plain"
    made.graph.node.append(helper.make_node("LogSoftmax", ["plain"], ["y"], axis=-1))
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    x = np.random.default_rng(5).uniform(-1, 1, (2, 5, INPUTS)).astype(np.float32)
    wanted = ReferenceEvaluator(made).run(None, {"x": x})[0]
    for name in ("m.h5", "m.json", "m.tflite", "m.onnx"):
        model = load(tmp_path / name)
        assert model.left_out == ("logsoftmax" if name == "m.onnx" else "softmax")
        found = model.as_framework(float_reference(model, x)[0])
        expected = wanted if name == "m.onnx" else np.exp(wanted)
        np.testing.assert_allclose(found, expected if model.gives_every_step else expected[:, -1], atol=1e-6)
    assert load(tmp_path / "m.h5", ReadOptions(head_prefix="none")).left_out == ""


def test_onnx_nodes_that_cannot_be(tmp_path, given):
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
        "SOFTMAX at the end": {"softmax": 1.0},
        "SOFTMAX of another beta": {"softmax": 2.0},
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
        "output of another operator": {"outputs": [0]},
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
            told = {"cell_clip": "cell_clip 10 of", "time_major": "time before batch"}
            told = told.get(option, "softmax of" if "SOFTMAX" in option else None)
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
