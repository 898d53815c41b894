"""The same small network in a file of every kind that is read, written without the frameworks.

The layouts are those of :mod:`lstm_hw.model.readers`; the fuzzer damages these files, and the tests read them.
"""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np

from lstm_hw.model.store import write_tensors

INPUTS, HIDDEN, OUTPUTS = 3, 4, 2
ONNX_ORDER = (0, 3, 1, 2)
"""Positions of i, o, f, c."""
KERAS_RECURRENT = ("LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU", "SimpleRNN")
KERAS_ARRAYS = ("kernel", "recurrent_kernel", "bias")
KERAS_FOLDERS = {"TimeDistributed": "time_distributed", "SimpleRNN": "simple_rnn"}


def tensors(layers: int = 2, seed: int = 1, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """A state_dict: ``lstm.*`` and ``head.*``."""
    rng, shapes = np.random.default_rng(seed), {}
    for n in range(layers):
        shapes[f"lstm.weight_ih_l{n}"] = (4 * HIDDEN, HIDDEN if n else INPUTS)
        shapes[f"lstm.weight_hh_l{n}"] = (4 * HIDDEN, HIDDEN)
        shapes[f"lstm.bias_ih_l{n}"] = shapes[f"lstm.bias_hh_l{n}"] = (4 * HIDDEN,)
    shapes |= {"head.weight": (OUTPUTS, HIDDEN), "head.bias": (OUTPUTS,)}
    return {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}


def layers_of(given: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """W_x, W_h and both biases of each layer."""
    count = sum("weight_ih" in name for name in given)
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [tuple(given[f"lstm.{part}_l{n}"] for part in parts) for n in range(count)]


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive whose members are stored as they are, the same bytes for the same content."""
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return result.getvalue()


def torch_archive(given: dict[str, np.ndarray], folder: str = "archive") -> bytes:
    """What ``torch.save`` of a state_dict makes, without PyTorch: a pickle put together by its instructions."""

    def text(value):
        return pickle.BINUNICODE + len(value.encode()).to_bytes(4, "little") + value.encode()

    def number(value):
        return pickle.BININT + int(value).to_bytes(4, "little", signed=True)

    def numbers(values):
        return pickle.MARK + b"".join(map(number, values)) + pickle.TUPLE

    def named(module, name):
        return pickle.GLOBAL + f"{module}\n{name}\n".encode()

    kinds = {"f2": "HalfStorage", "f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage"}
    body = pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK
    for key, (name, array) in enumerate(given.items()):
        kind = named("torch", kinds[array.dtype.str[1:]])
        storage = pickle.MARK + text("storage") + kind + text(str(key)) + text("cpu") + number(array.size)
        body += text(name) + named("torch._utils", "_rebuild_tensor_v2") + pickle.MARK
        body += storage + pickle.TUPLE + pickle.BINPERSID + number(0) + numbers(array.shape)
        body += numbers(stride // array.itemsize for stride in array.strides) + pickle.NEWFALSE
        body += named("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.TUPLE + pickle.REDUCE
    members = {f"{folder}/data.pkl": body + pickle.SETITEMS + pickle.STOP, f"{folder}/byteorder": b"little"}
    return zipped(members | {f"{folder}/data/{key}": array.tobytes() for key, array in enumerate(given.values())})


def amplifier_json(given: dict[str, np.ndarray], **changed: object) -> bytes:
    """A file of Automated-GuitarAmpModelling."""
    said = {"model": "SimpleRNN", "input_size": INPUTS, "skip": 0, "output_size": OUTPUTS, "unit_type": "LSTM"}
    said |= {"num_layers": len(layers_of(given)), "hidden_size": HIDDEN, "bias_fl": True, **changed}
    return json.dumps({"model_data": said, "state_dict": {n: v.tolist() for n, v in given.items()}}).encode()


def rtneural_json(given: dict[str, np.ndarray], activation: str = "", **changed: object) -> bytes:
    """A file of RTNeural, with an activation of its dense layer."""
    layers = [
        {"type": "lstm", "activation": "tanh", "shape": [None, None, HIDDEN], "weights": [w_x.T, w_h.T, b + more]}
        for w_x, w_h, b, more in layers_of(given)
    ]
    weights = [given["head.weight"].T, given["head.bias"]]
    layers.append({"type": "dense", "activation": activation, "shape": [None, None, OUTPUTS], "weights": weights})
    for layer in layers:
        layer["weights"] = [array.tolist() for array in layer["weights"]]
    return json.dumps({"in_shape": [None, None, INPUTS], "layers": layers, **changed}).encode()


def nam(given: dict[str, np.ndarray], state: float = 0.0) -> bytes:
    """A file of Neural Amp Modeler."""
    values: list[float] = []
    for w_x, w_h, b, more in layers_of(given):
        values += np.concatenate([w_x, w_h], axis=1).ravel().tolist() + (b + more).tolist() + [state] * 2 * HIDDEN
    values += given["head.weight"].ravel().tolist() + given["head.bias"].tolist()
    config = {"input_size": INPUTS, "hidden_size": HIDDEN, "num_layers": len(layers_of(given)), "out_channels": OUTPUTS}
    return json.dumps({"version": "0.5.1", "architecture": "LSTM", "config": config, "weights": values}).encode()


def keras_layers(given: dict[str, np.ndarray], every_step: bool) -> list[tuple[str, dict, list[np.ndarray]]]:
    """Class, configuration and arrays of the layers of a Keras model."""
    count, result = len(layers_of(given)), []
    for n, (w_x, w_h, b, more) in enumerate(layers_of(given)):
        config = {
            "name": f"lstm_{n}" if n else "lstm",
            "units": HIDDEN,
            "return_sequences": every_step or n < count - 1,
        }
        config |= {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True, "go_backwards": False}
        result.append(("LSTM", config, [w_x.T, w_h.T, b + more]))
    config = {"name": "dense", "units": OUTPUTS, "activation": "linear", "use_bias": True}
    return [*result, ("Dense", config, [given["head.weight"].T, given["head.bias"]])]


def _keras_model(items):
    """The configuration of a model of a chain of layers; of a graph where one has ``reads`` in its own, a list of
    names."""
    config = {"name": "model", "layers": items}
    if not any("reads" in item["config"] for item in items):
        return {"class_name": "Sequential", "config": config}
    below: list[str] = []
    for item in items:
        item["config"] = dict(item["config"])
        reads = item["config"].pop("reads", below)
        item["inbound_nodes"] = [[[name, 0, 0, {}] for name in reads]] if reads else []
        below = [item["config"]["name"]]
    return {"class_name": "Functional", "config": config | {"output_layers": [[below[0], 0, 0]]}}


def keras_h5(path: Path, layers: list[tuple[str, dict, list[np.ndarray]]], version: str = "2.15.0") -> None:
    """Write what ``model.save("m.h5")`` writes."""
    import h5py

    model = _keras_model([{"class_name": kind, "config": config} for kind, config, _ in layers])
    with h5py.File(path, "w") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(model), version
        for kind, config, arrays in layers:
            inner = f"{config['name']}/{f'{kind.lower()}_cell/' if kind in KERAS_RECURRENT else ''}"
            names = [
                f"{inner}{name}:0" for name in KERAS_ARRAYS if kind in KERAS_RECURRENT or name != "recurrent_kernel"
            ]
            if kind == "Bidirectional":
                ways = ("forward_lstm", "backward_lstm")
                names = [f"{config['name']}/{way}/lstm_cell/{name}:0" for way in ways for name in KERAS_ARRAYS]
            group = file.create_group(f"model_weights/{config['name']}")
            group.attrs["weight_names"] = [name.encode() for name in names[: len(arrays)]]
            for name, array in zip(names, arrays, strict=False):
                group.create_dataset(name, data=array)


def keras_archive(layers: list[tuple[str, dict, list[np.ndarray]]]) -> bytes:
    """What ``model.save("m.keras")`` writes."""
    import h5py

    items = [{"module": "keras.layers", "class_name": kind, "config": config} for kind, config, _ in layers]
    weights, counts = io.BytesIO(), {}
    with h5py.File(weights, "w") as file:
        for kind, _, arrays in layers:
            number = counts[kind] = counts.get(kind, -1) + 1
            folder = f"layers/{KERAS_FOLDERS.get(kind, kind.lower())}{f'_{number}' if number else ''}"
            ends = [{"TimeDistributed": "/layer/vars"}.get(kind, "/cell/vars" if kind in KERAS_RECURRENT else "/vars")]
            if kind == "Bidirectional":
                ends = ["/forward_layer/cell/vars", "/backward_layer/cell/vars"]
            for number, end in enumerate(ends):
                file.create_group(f"{folder}{end}")
                for at, array in enumerate(arrays[number * len(arrays) // len(ends) :][: len(arrays) // len(ends)]):
                    file.create_dataset(f"{folder}{end}/{at}", data=array)
    model = {"module": "keras"} | _keras_model(items)
    members = {"metadata.json": b'{"keras_version": "3.0.0"}', "config.json": json.dumps(model).encode()}
    return zipped(members | {"model.weights.h5": weights.getvalue()})


def onnx_model(given: dict[str, np.ndarray], every_step: bool):
    """A ModelProto as PyTorch exports a model whose batch comes first."""
    from onnx import TensorProto, helper, numpy_helper

    constants, nodes, at = {}, [helper.make_node("Transpose", ["x"], ["x0"], perm=[1, 0, 2])], "x0"

    def gates(stacked):
        return stacked.reshape(4, HIDDEN, -1)[list(ONNX_ORDER)].reshape(stacked.shape)

    for n, (w_x, w_h, b, more) in enumerate(layers_of(given)):
        constants |= {f"W{n}": gates(w_x)[None], f"R{n}": gates(w_h)[None]}
        constants[f"B{n}"] = np.concatenate([gates(b), gates(more)])[None]
        nodes.append(
            helper.make_node("LSTM", [at, f"W{n}", f"R{n}", f"B{n}"], [f"y{n}"], f"lstm{n}", hidden_size=HIDDEN)
        )
        nodes.append(helper.make_node("Squeeze", [f"y{n}", "one"], [f"h{n}"]))
        at = f"h{n}"
    constants |= {
        "one": np.array([1]),
        "last": np.array(-1),
        "weight": given["head.weight"].T,
        "bias": given["head.bias"],
    }
    if every_step:
        nodes.append(helper.make_node("Transpose", [at], ["h"], perm=[1, 0, 2]))
    else:
        nodes.append(helper.make_node("Gather", [at, "last"], ["h"], axis=0))
    nodes += [
        helper.make_node("MatMul", ["h", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def tflite_model(given: dict[str, np.ndarray], bits8: bool = False, **changed: object) -> bytes:
    """A TFLite file with the head on every step.

    ``changed`` are fields of the first LSTM's options, or ``inputs``; ``dense`` is the activation of the head,
    ``before`` are weight, bias and activation of the linear layers in front of it, ``front`` those in front of the
    LSTMs, and ``reshape`` is the shape of h of all steps that it reads. ``peepholes`` (3, H) are those of all LSTMs,
    ``projection`` (H, H) and (H) the matrix and bias of their projections. With ``rnn``, an activation, the candidates
    of the LSTMs are plain RNNs. With ``both`` layers are of two directions: the backward one has the weights of the
    other with their signs changed. ``merge_outputs`` is theirs. ``softmax`` is the beta of one that ends the
    file, ``outputs`` are what comes out of the graph.
    """
    import tflite as t

    from .tflite_builder import TfliteBuilder

    lstm = t.BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    others = (t.BuiltinOperator.FULLY_CONNECTED, t.BuiltinOperator.RESHAPE, t.BuiltinOperator.SOFTMAX)
    file = TfliteBuilder([changed.get("code", lstm), *others], bits8)
    first = file.tensor((1, 5, INPUTS))
    flow = _tflite_dense(file, first, changed.get("front", ()))
    for w_x, w_h, b, more in layers_of(given):
        flow = _tflite_recurrent(file, flow, (w_x, w_h, b + more), changed)
    flow = _tflite_dense(file, flow, changed.get("before", ()))
    shape = changed.get("reshape")
    if shape:
        flow = file.operator(2, [flow], shape, "ReshapeOptions")
    head = given["head.weight"], given["head.bias"], changed.get("dense", t.ActivationFunctionType.NONE)
    output = _tflite_dense(file, flow, [head], shape[:1] if shape else (1, 5))
    if "softmax" in changed:
        output = file.operator(3, [output], (1, 5, len(head[1])), "SoftmaxOptions", Beta=changed["softmax"])
    return file.file([first], changed.get("outputs", [output]))


def _tflite_dense(file, flow, layers, steps=(1, 5)):
    for weight, bias, activation in layers:
        inputs, shape = [flow, file.constant(weight), file.constant(bias)], (*steps, len(bias))
        flow = file.operator(1, inputs, shape, "FullyConnectedOptions", FusedActivationFunction=activation)
    return flow


def _tflite_recurrent(file, flow, weights, changed):
    """An LSTM or what ``changed`` makes of it."""
    import tflite as t

    arrays = [part for array in weights for part in np.split(array, 4)]
    parts, biases = list(map(file.constant, arrays[:8])), list(map(file.constant, arrays[8:]))
    state = [file.tensor((1, HIDDEN)) for _ in range(2)]
    inputs = [flow, *parts, -1, -1, -1, *biases, -1, -1, *state, *[-1] * 4]
    if "peepholes" in changed:
        inputs[9:12] = map(file.constant, changed["peepholes"])
    if "projection" in changed:
        inputs[16:18] = map(file.constant, changed["projection"])
    for place, value in changed.get("inputs", {}).items():
        inputs[place] = value
    options = {"FusedActivationFunction": changed.get("rnn", changed.get("activation", t.ActivationFunctionType.TANH))}
    if "both" in changed:
        turned = [file.constant(-array) for array in arrays]
        return _tflite_both(file, flow, parts, biases, state, turned, changed, options)
    if "rnn" in changed:
        inputs = [flow, parts[2], parts[6], biases[2], state[0]]
        return file.operator(0, inputs, (1, 5, HIDDEN), "SequenceRNNOptions", **options)
    options |= {"CellClip": changed.get("cell_clip", 0.0), "TimeMajor": changed.get("time_major", False)}
    return file.operator(0, inputs, (1, 5, HIDDEN), "UnidirectionalSequenceLSTMOptions", **options)


def _tflite_both(file, flow, parts, biases, state, turned, changed, options):
    """A layer of two directions; ``turned`` are the arrays of the backward one."""
    shape, options = (1, 5, 2 * HIDDEN), options | {"MergeOutputs": changed.get("merge_outputs", True)}
    if "rnn" in changed:
        inputs = [flow, parts[2], parts[6], biases[2], state[0], turned[2], turned[6], turned[10], state[0]]
        return file.operator(0, inputs, shape, "BidirectionalSequenceRNNOptions", **options)
    forward, backward = ([*a, -1, -1, -1, *b, -1, -1] for a, b in ((parts, biases), (turned[:8], turned[8:])))
    inputs, options = [flow, *forward, *backward, *state, *state, *[-1] * 9], options | {"TimeMajor": False}
    return file.operator(0, inputs, shape, "BidirectionalSequenceLSTMOptions", **options)


def write_all(folder: Path, given: dict[str, np.ndarray] | None = None) -> dict[str, Path]:
    """Write the network, its head on every step, into a file of every kind.

    Returns
    -------
    dict of str to Path
        By the name of the kind.
    """
    given = tensors() if given is None else given
    layers = keras_layers(given, every_step=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "m.safetensors", given, {"head": "every_step"})
    np.savez(folder / "m.npz", **given)
    keras_h5(folder / "m.h5", layers)
    for name, content in {
        "m.pt": torch_archive(given),
        "amplifier.json": amplifier_json(given),
        "rtneural.json": rtneural_json(given),
        "m.nam": nam(given),
        "m.keras": keras_archive(layers),
        "m.onnx": onnx_model(given, every_step=True).SerializeToString(),
        "m.tflite": tflite_model(given),
    }.items():
        (folder / name).write_bytes(content)
    return {path.name: path for path in sorted(folder.iterdir())}
