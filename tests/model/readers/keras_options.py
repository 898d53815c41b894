"""Keras models that have an option: lists of layers for ``keras_h5`` and ``keras_archive`` of ``bench.model_files``."""

import numpy as np

from bench.model_files import HIDDEN, INPUTS, OUTPUTS, keras_layers, tensors

LAST, EVERY = (keras_layers(tensors(), every_step) for every_step in (False, True))
"""Two LSTM layers and a Dense one, on the last step and on every step."""


def _dense(name, size, **config):
    """A layer of as many outputs as inputs."""
    return "Dense", {"name": name, **config}, [np.eye(size, dtype=np.float32), np.ones(size, np.float32)]


def _head(inputs):
    """The Dense layer behind another number of values."""
    kind, config, (_, bias) = LAST[2]
    return kind, config, [np.ones((inputs, OUTPUTS), np.float32), bias]


def _with(number, **config):
    """One layer is configured otherwise."""
    return [(k, c | config if n == number else c, a) for n, (k, c, a) in enumerate(LAST)]


def _all_with(**config):
    """All LSTM layers are configured otherwise."""
    return [(k, c | config if k == "LSTM" else c, a) for k, c, a in LAST]


def _before_head(kind, name, **config):
    return [*LAST[:2], (kind, {"name": name, **config}, []), LAST[2]]


def _joined(kind):
    """h of both layers, joined in front of the head."""
    return [*EVERY[:2], (kind, {"name": "joint", "reads": ["lstm", "lstm_1"]}, []), EVERY[2]]


def _grus(after):
    bias = np.zeros((2, 3 * HIDDEN) if after else 3 * HIDDEN)
    layers = [
        ("GRU", c | {"name": f"gru{n}", "reset_after": after}, [*(part[:, : 3 * HIDDEN] for part in a[:2]), bias])
        for n, (_, c, a) in enumerate(LAST[:2])
    ]
    return [*layers, LAST[2]]


def _rnns():
    layers = [
        ("SimpleRNN", {"name": f"rnn{n}", **c, "activation": "relu"}, [part[..., :HIDDEN] for part in a])
        for n, (_, c, a) in enumerate(LAST[:2])
    ]
    return [*layers, LAST[2]]


def _bidirectional(merge, backward=None, **config):
    inner = LAST[1][1] | config
    item = {"class_name": "LSTM", "config": inner}
    other = {"class_name": "LSTM", "config": inner | {"go_backwards": True}}
    config = {"name": "both", "layer": item, "backward_layer": other, "merge_mode": merge}
    return "Bidirectional", config, [*LAST[0][2], *(backward or LAST[0][2])]


def _of_fewer_units(arrays):
    kernel, recurrent, bias = (part.reshape(-1, 4, HIDDEN)[..., 1:].reshape(-1, 4 * (HIDDEN - 1)) for part in arrays)
    return [kernel, recurrent[1:], bias.ravel()]


WRAPPED = {"name": "each", "layer": {"class_name": "Dense", "config": EVERY[2][1]}}
REPEAT, AGAIN = (("RepeatVector", {"name": name, "n": n}, []) for name, n in (("repeat", 3), ("again", 2)))
OF_SEVEN = _with(0, return_sequences=False, batch_input_shape=[None, 7, INPUTS])[0]
FLATTEN = ("Flatten", {"name": "flatten"}, [])
SUM = _bidirectional("sum", return_sequences=True)
RECURRENT = {
    "return_sequences": EVERY,
    "use_bias=False": [(k, c | {"use_bias": False}, a[:-1]) for k, c, a in LAST],
    "Dropout": _before_head("Dropout", "dropout", rate=0.5),
    "TimeDistributed(Dense)": [*EVERY[:2], ("TimeDistributed", WRAPPED, EVERY[2][2])],
    "softmax at the end": _with(2, activation="softmax"),
    "unroll, stateful, implementation": _with(0, unroll=True, stateful=True, implementation=1),
    "activation": _with(0, activation="relu"),
    "hard_sigmoid": _all_with(recurrent_activation="hard_sigmoid"),
    "hard_tanh": _all_with(activation="hard_tanh"),
    "recurrent_activation": _with(0, recurrent_activation="swish"),
    "unlike activations": _with(0, recurrent_activation="hard_sigmoid"),
    **{
        name: _with(0, **{name: True})
        for name in ("go_backwards", "return_state", "zero_output_for_mask", "time_major")
    },
    "units unlike the arrays": _with(0, units=HIDDEN + 1),
    "units of Dense unlike the arrays": _with(2, units=OUTPUTS + 1),
    "activation of Dense": _with(2, activation="relu"),
    "GRU": _grus(True),
    "GRU with reset_after=False": _grus(False),
    "SimpleRNN": _rnns(),
    "SimpleRNN of another activation": [("SimpleRNN", {"name": "rnn", "activation": "gelu"}, []), *LAST],
    "Dense before": [_dense("front", INPUTS, activation="elu"), *LAST],
    "Dense between": [LAST[0], _dense("middle", HIDDEN, activation="elu"), *LAST[1:]],
    "go_backwards of a layer behind another": _with(1, go_backwards=True),
}
JOINED = {
    "Bidirectional": [_bidirectional("concat"), _head(2 * HIDDEN)],
    "merge_mode concat, sum, ave": [_bidirectional("ave"), LAST[2]],
    "merge_mode mul": [_bidirectional("mul"), LAST[2]],
    "Bidirectional before another layer": [SUM, *LAST[1:]],
    "Dense with an activation behind Bidirectional": [SUM, _dense("middle", HIDDEN, activation="tanh"), LAST[2]],
    "Add, Subtract, Average, Concatenate": _joined("Add"),
    "Multiply": _joined("Multiply"),
    "Add around Bidirectional": [EVERY[0], SUM, ("Add", {"name": "add", "reads": ["lstm", "both"]}, []), EVERY[2]],
    "Bidirectional of other units backward": [
        _bidirectional("concat", _of_fewer_units(LAST[0][2])),
        _head(2 * HIDDEN),
    ],
    "Flatten": [*EVERY[:2], FLATTEN, _head(5 * HIDDEN)],
    "Flatten of both directions": [
        _bidirectional("concat", return_sequences=True),
        FLATTEN,
        _head(6 * HIDDEN),
    ],
    "Flatten of directions that are added": [SUM, FLATTEN, _head(5 * HIDDEN)],
    "GRU behind LSTM": [_with(0, return_sequences=True)[0], _grus(True)[1], LAST[2]],
    "RepeatVector": [_with(0, return_sequences=False)[0], REPEAT, *EVERY[1:]],
    "RepeatVector of other steps than x": [OF_SEVEN, REPEAT, *EVERY[1:]],
    "RepeatVector of other steps than one below": [OF_SEVEN, REPEAT, LAST[1], AGAIN, LAST[2]],
    "RepeatVector before Dense": [*LAST[:2], REPEAT, LAST[2]],
}
BEHIND = {
    "Masking": [("Masking", {"name": "mask"}, []), *LAST],
    "second Dense": [*LAST, _dense("more", OUTPUTS, activation="tanh")],
    "Activation, ReLU": [
        *LAST,
        ("ReLU", {"name": "relu"}, []),
        _dense("more", OUTPUTS),
        ("Activation", {"name": "tanh", "activation": "tanh"}, []),
    ],
    "ELU": [*LAST, ("ELU", {"name": "elu"}, [])],
    "ELU of another alpha": [*LAST, ("ELU", {"name": "elu", "alpha": 0.5}, [])],
    "other activation of Dense": _with(2, activation="gelu"),
    "ReLU of two slopes": [*LAST, ("ReLU", {"name": "leaky", "negative_slope": 0.1}, [])],
    "softmax before the end": [*_with(2, activation="softmax"), _dense("more", OUTPUTS)],
    "softmax over steps": [*EVERY, ("Softmax", {"name": "over", "axis": 1}, [])],
    "activation before Dense": _before_head("Activation", "a", activation="tanh"),
    "softmax before Dense": _before_head("Activation", "a", activation="softmax"),
}
OPTIONS = {**RECURRENT, **JOINED, **BEHIND}
"""Option -> layers of a model that has it."""
ON_EVERY_STEP = {
    "return_sequences",
    "TimeDistributed(Dense)",
    "RepeatVector",
    "RepeatVector before Dense",
    "RepeatVector of other steps than x",
    "Dense with an activation behind Bidirectional",
    "Add, Subtract, Average, Concatenate",
}
"""Those whose head reads h of every step."""
