"""The network that files of every kind hold, and what Keras itself writes: importing it takes longer than models do."""

import os
import subprocess
import sys

import numpy as np
import pytest

from bench import model_files
from lstm_hw.provenance import kept_folder

KERAS = """
import numpy as np, keras
from keras import layers
keras.utils.set_random_seed(1)
some = dict(bias_initializer="random_uniform")
lstm = lambda: layers.LSTM(5, return_sequences=True, **some)
models = {
    "rnn": [layers.SimpleRNN(5, return_sequences=True, **some), layers.SimpleRNN(4, activation="relu", **some)],
    "front": [layers.Dense(6, activation="elu", **some), lstm(), layers.Dense(2, **some)],
    "between": [layers.TimeDistributed(layers.Dense(4, **some)), layers.ReLU(), lstm(),
                layers.Dense(3, activation="tanh"), lstm(), layers.TimeDistributed(layers.Dense(2, **some))],
    "gru": [*(layers.GRU(5, return_sequences=True, **some) for _ in range(2)), layers.Dense(2)],
    "before": [layers.GRU(5, reset_after=False, return_sequences=True, **some),
               layers.GRU(4, reset_after=False, **some), layers.Dense(2)],
    "beforehard": [layers.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid", use_bias=False)],
    "mixed": [layers.SimpleRNN(4, return_sequences=True), lstm(), layers.Dense(2)],
    "gelu": [layers.SimpleRNN(4, activation="gelu")],
    "masked": [layers.Masking(), layers.SimpleRNN(4)],
    "softmax": [layers.Dense(4, activation="softmax"), lstm()],
    "fewer": [layers.SimpleRNN(4), layers.RepeatVector(3), lstm()],
    "more": [layers.Bidirectional(lstm()), layers.Bidirectional(layers.LSTM(4)), layers.RepeatVector(9),
             layers.Bidirectional(lstm()), layers.Dense(3, activation="relu", **some), layers.Dense(2)],
    "again": [layers.SimpleRNN(4), layers.RepeatVector(3), layers.LSTM(4), layers.RepeatVector(2), lstm()],
    "both": [layers.Bidirectional(lstm()), layers.TimeDistributed(layers.Dense(2, **some))],
    "both_end": [layers.Dense(4, activation="relu"), layers.Bidirectional(layers.GRU(5, **some)),
                 layers.Dense(3, activation="relu", **some), layers.Dense(2)],
    "both_sum": [layers.Bidirectional(layers.SimpleRNN(5, **some), merge_mode="ave"), layers.Dense(2, **some)],
    "both_before": [layers.Bidirectional(layers.GRU(5, reset_after=False, **some)), layers.Dense(2, **some)],
    "both_h": [layers.Bidirectional(lstm())],
    "turned": [layers.LSTM(5, go_backwards=True, return_sequences=True, **some), lstm(), layers.Dense(2)],
    "both_product": [layers.Bidirectional(lstm(), merge_mode="mul"), layers.Dense(2)],
    "both_stack": [layers.Bidirectional(lstm()), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)],
    "above": [lstm(), layers.Bidirectional(lstm())],
    "both_relu": [layers.Bidirectional(lstm()), layers.Dense(2, activation="relu")],
    "both_alone": [layers.Bidirectional(lstm(), merge_mode="ave")],
    "turned_late": [lstm(), layers.LSTM(4, go_backwards=True)],
    "auto": [lstm(), layers.LSTM(4, **some), layers.RepeatVector(7), layers.LSTM(3, return_sequences=True), lstm(),
             layers.TimeDistributed(layers.Dense(2, **some))],
    "auto_both": [layers.Bidirectional(layers.LSTM(4), merge_mode="sum"), layers.Dense(3, activation="relu", **some),
                  layers.RepeatVector(7), layers.Bidirectional(lstm())],
    "auto_middle": [layers.GRU(5), layers.Dense(3, **some), layers.RepeatVector(7), layers.GRU(4)],
    "auto_dense": [layers.LSTM(4), layers.RepeatVector(7), layers.Dense(2)],
    "all": [lstm(), layers.Flatten(), layers.Dense(4, activation="relu", **some), layers.Dense(2)],
    "all_each": [lstm(), layers.Dense(3, activation="tanh", **some), layers.Flatten(), layers.Dense(2, **some)],
    "all_turned": [layers.LSTM(5, go_backwards=True, return_sequences=True), layers.Flatten(), layers.Dense(2)],
    "all_end": [lstm(), layers.Flatten()],
    "all_both": [layers.Bidirectional(lstm()), layers.Flatten(), layers.Dense(2)],
}
x = np.load("x.npy")
for name, parts in models.items():
    model = keras.Sequential([keras.Input((7, 3)), *parts])
    np.save(name + ".npy", keras.ops.convert_to_numpy(model(x)))
    model.save(name + ".keras")
    two = ("rnn", "front", "between", "mixed", "gru", "beforehard")
    if name in two or name.startswith(("both", "turned", "auto", "all")):
        model.save(name + ".h5")
given, x = x, keras.Input((7, 3))
@keras.saving.register_keras_serializable("Other")
class LSTM(layers.LSTM):
    pass
h = lambda units, x, kind=layers.LSTM: kind(units, return_sequences=True, **some)(x)
once = layers.Add()([x, h(3, x)])
twice = layers.Add()([h(3, once), once])
dense = layers.Concatenate()([h(5, x), x])
both = layers.Bidirectional(layers.LSTM(3, return_sequences=True), merge_mode="sum", name="both")(x)
graphs = {
    "around": layers.Dense(2, **some)(once),
    "around_alone": once,
    "around_twice": layers.Dense(2, **some)(layers.LSTM(4, **some)(twice)),
    "around_dense": layers.Dense(2, activation="relu", **some)(layers.Concatenate()([dense, h(4, dense)])),
    "around_tanh": layers.Dense(2)(layers.Activation("tanh")(layers.Subtract()([h(3, x, layers.GRU), x]))),
    "branches": layers.Dense(2, **some)(layers.Concatenate()([layers.GRU(5, **some)(x), layers.GRU(4, **some)(x)])),
    "branches_dense": layers.Dense(2)(
        layers.Average()([layers.Dense(4, activation="tanh", **some)(h(5, x)), layers.Dense(4, **some)(x)])
    ),
    "around_all": layers.Dense(2, **some)(layers.Flatten()(once)),
    "around_both": layers.Dense(2)(layers.Add()([x, both])),
    "repeated": layers.Add()([again := layers.RepeatVector(7, name="again")(layers.LSTM(3)(x)), h(3, again)]),
    "product": layers.Dense(2)(layers.Multiply(name="product")([x, h(3, x)])),
    "over_steps": layers.Concatenate(axis=1, name="over")([x, h(3, x)]),
    "unlike": layers.Add(name="unlike")([h(3, x), layers.LSTM(3)(x)]),
    "plus": layers.Dense(2)(h(3, x) + 1.0),
    "from_one": layers.Dense(2)(keras.ops.subtract(np.ones(3, np.float32), h(3, x))),
    "mean": keras.ops.average(h(3, x), axis=1),
    "begun": layers.LSTM(3, name="begun")(x, initial_state=[np.ones((1, 3), np.float32)] * 2),
    "training": layers.Dropout(0.5, name="training")(h(3, x), training=True),
    "own": h(3, x, LSTM),
    "own_inside": layers.Bidirectional(LSTM(3), name="own_inside")(x),
}
for name, outputs in graphs.items():
    model = keras.Model(x, outputs)
    np.save(name + ".npy", keras.ops.convert_to_numpy(model(given)))
    model.save(name + ".keras")
    model.save(name + ".h5")
keras.Model(x, [layers.Dense(2)(h(3, x)), once]).save("two_outputs.keras")
"""


@pytest.fixture(scope="module")
def given():
    """Tensors of the network that is written to files of every kind."""
    return model_files.tensors()


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory):
    """A folder with models that Keras 3 saved, ``NAME.npy``, their outputs, and ``x.npy``; one for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "keras"

    def write(new):
        np.save(new / "x.npy", np.random.default_rng(1).standard_normal((2, 7, 3)).astype(np.float32))
        environment = os.environ | {"KERAS_BACKEND": "torch"}
        subprocess.run([sys.executable, "-c", KERAS], cwd=new, env=environment, check=True, capture_output=True)

    return kept_folder(folder, {"models": KERAS}, write)
