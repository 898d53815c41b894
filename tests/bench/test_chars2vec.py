"""The Keras models of a package: gate order, letters, and what may not be in the archive."""

import hashlib
import io
import pickle
import tarfile

import h5py
import numpy as np
import pytest

from bench import chars2vec
from bench.chars2vec import VERSION, load, nearest, one_hot, package, rows
from lstm_hw.errors import InputError, ToolError
from lstm_hw.model.reference import float_reference

SIZE, LETTERS = 8, {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz_")}


def keras_lstm(x, kernel, recurrent, bias):
    """Keras's equations: gates i, f, c, o in columns, all with sigmoid but c with tanh."""
    h = c = np.zeros((len(x), len(recurrent)))
    outputs = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def archive_of(letters, content=None):
    """An archive as the package's, of a small random model, and that model's arrays."""
    rng, arrays, weights = np.random.default_rng(3), [], io.BytesIO()
    with h5py.File(weights, "w") as file:
        names = ["input_1", "lstm_1", "lstm_2"]
        file.attrs["layer_names"] = np.array([name.encode() for name in names])
        for name, inputs in zip(names[1:], (len(letters), SIZE), strict=True):
            shapes = {"kernel": (inputs, 4 * SIZE), "recurrent_kernel": (SIZE, 4 * SIZE), "bias": (4 * SIZE,)}
            arrays.append([rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes.values()])
            for kind, array in zip(shapes, arrays[-1], strict=True):
                file[f"{name}/{name}/{kind}:0"] = array
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in (
            ("weights.h5", weights.getvalue()),
            ("model.pkl", content or pickle.dumps([SIZE, letters])),
        ):
            entry = tarfile.TarInfo(f"chars2vec-{VERSION}/chars2vec/trained_models/eng_{SIZE}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    buffer.seek(0)
    return tarfile.open(fileobj=buffer), arrays


def test_weights_are_read_as_keras_means_them():
    archive, arrays = archive_of(LETTERS)
    model, letters = load(SIZE, archive)
    x = one_hot(["abs", "lambda", "x1"], letters)
    assert x.sum(axis=(1, 2)).tolist() == [3, 6, 1] and x[0, -3:].argmax(axis=1).tolist() == [0, 1, 18]
    expected = x
    for layer in arrays:
        expected = keras_lstm(expected, *layer)
    np.testing.assert_allclose(float_reference(model, x)[0], expected, atol=1e-12)


def test_nearest_is_another_one():
    assert nearest(np.array([[0.0], [0.1], [5.0], [4.0]])).tolist() == [1, 0, 3, 2]


@pytest.mark.slow
def test_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chars2vec, "SIMULATED", 1)
    monkeypatch.setattr(chars2vec, "SETTINGS", {"engine": {"rows": 8, "weight_words": 128}, "memory": {"latency": 9}})
    found = {row.metric: row.ours for row in rows(SIZE, archive_of(LETTERS)[0], "icarus")}
    assert found["nearest_agreement"] >= 0.95 and 0 < found["mean_error"] <= found["max_error"] < 0.01
    assert found["cycles_per_step"] > 8 * (27 + 8) / 2 and found["bytes_per_step"] > 0


def test_a_pickle_that_runs_something_is_refused():
    archive, _ = archive_of(LETTERS, pickle.dumps([SIZE, print]))
    with pytest.raises(InputError, match="chars2vec: a pickle of builtins.print; must hold plain values"):
        load(SIZE, archive)


def test_another_file_is_refused(tmp_path):
    file = tmp_path / f"chars2vec-{VERSION}.tar.gz"
    file.write_bytes(b"not it")
    with pytest.raises(ToolError, match=f"sha256 {hashlib.sha256(b'not it').hexdigest()}; must be .*; remove the file"):
        package(str(tmp_path))
