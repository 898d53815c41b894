"""The bench of published models on files of every kind, and what it says of those that it cannot use."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench import model_files, models
from lstm_hw.model.float_model import FloatModel, GruWeights
from lstm_hw.model.load import load
from lstm_hw.model.reference import float_reference


def rows(folder, *options):
    result = CliRunner().invoke(models.main, ["--models", str(folder), "--output", str(folder / "rows.txt"), *options])
    assert result.exit_code == 0, result.output
    return {(row["metric"], row["config"]): row for row in json.loads((folder / "rows.txt").read_text())}


def test_folder(tmp_path):
    given = model_files.tensors()
    (tmp_path / "m.pt").write_bytes(model_files.torch_archive(given))
    (tmp_path / "a.json").write_bytes(model_files.amplifier_json(given, skip=1))
    (tmp_path / "b.json").write_bytes(model_files.amplifier_json(given, skip=3))
    (tmp_path / "wide.nam").write_bytes(model_files.nam(given))
    np.savez(tmp_path / "wide.nam.expected.npz", x=np.zeros((1, 4, model_files.INPUTS + 1)), y=np.zeros((1, 4, 1)))
    (tmp_path / "alone.nam").write_bytes(model_files.nam(given))
    x = np.random.default_rng(1).uniform(-1, 1, (2, 6, model_files.INPUTS))
    expected, _ = float_reference(load(tmp_path / "alone.nam"), x)
    for name in ("m.pt", "a.json", "b.json"):
        np.savez(tmp_path / f"{name}.expected.npz", x=x / 2, y=3 * expected, other=expected[:, -1])
    keys = 'skip = "outside"\ninput_scale = [2.0, 2.0, 2.0]\noutput_scale = 3.0\nrate = 48000\n'
    (tmp_path / "options.toml").write_text(f'["a.json"]\n{keys}["m.pt"]\ninput_scale = 2.0\nexpected = "other"\n')
    found = rows(tmp_path, "--no-simulate")
    assert found["float_error", "a.json"]["ours"] < 1e-5 and found["float_error", "m.pt"]["ours"] < 1e-5
    assert found["mean_error", "a.json/16"]["ours"] < found["mean_error", "a.json/8"]["ours"] < 0.15
    assert found["error_to_signal", "a.json/16"]["ours"] < -50
    assert found["cycles_per_step", "a.json"]["ours"] > 20 and found["deadline_met", "a.json"]["ours"] == 1
    assert "refused: " in found["read", "b.json"]["unit"] and "skip: 3" in found["read", "b.json"]["unit"]
    assert "refused: x: " in found["float_error", "wide.nam"]["unit"]
    assert not any("alone" in config for _, config in found)


def test_what_options_say(tmp_path, monkeypatch):
    """A file whose x are features, which a linear layer reads too; another array of expected outputs; the Verilog."""
    monkeypatch.setattr(models, "ENGINE", {"target": {"lanes": 8, "clock": models.CLOCK_MHZ}})
    rng, units = np.random.default_rng(2), 3
    shapes = {"rnn.weight_ih_l0": (9, 2), "rnn.weight_hh_l0": (9, units), "a.weight": (2, units), "b.weight": (1, 4)}
    given = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    np.savez(tmp_path / "m.npz", **given)
    x = rng.uniform(-1, 1, (2, 5, 2))
    inputs = np.stack([np.hypot(x[..., 0], x[..., 1]), x[..., 1]], -1)
    rnn = GruWeights.of_gates(given["rnn.weight_ih_l0"], given["rnn.weight_hh_l0"], *np.zeros((2, 9)), "rnn")
    h, _ = float_reference(FloatModel((rnn,)), inputs)
    y = np.concatenate([inputs, np.maximum(h @ given["a.weight"].T, 0)], -1) @ given["b.weight"].T
    np.savez(tmp_path / "m.npz.expected.npz", x=x, y=y, h=h)
    said = 'features = ["abs(x0, x1)", "x1"]\nprefix = "rnn"\nhead_prefix = '
    head = '["a", "b"]\nhead_activations = ["relu", "none"]\nhead_inputs = ["h", "x, h"]\nhead = "every_step"\n'
    (tmp_path / "options.toml").write_text(f'["m.npz"]\n{said}{head}["m.npz".h]\n{said}"none"\n')
    found = rows(tmp_path)
    assert found["float_error", "m.npz"]["ours"] < 1e-12 and found["float_error", "m.npz/h"]["ours"] < 1e-12
    assert found["verilog_exact", "m.npz"]["ours"] == 1, found["verilog_exact", "m.npz"]
    assert found["mean_error", "m.npz/16"]["ours"] < 1e-3


def test_a_softmax_that_ends_the_file(tmp_path):
    """Outputs are compared behind it."""
    (tmp_path / "m.json").write_bytes(model_files.rtneural_json(model_files.tensors(), activation="softmax"))
    x = np.random.default_rng(3).uniform(-1, 1, (2, 6, model_files.INPUTS))
    y = np.exp(float_reference(load(tmp_path / "m.json"), x)[0])
    np.savez(tmp_path / "m.json.expected.npz", x=x, y=y / y.sum(-1, keepdims=True))
    found = rows(tmp_path, "--no-simulate")
    assert found["float_error", "m.json"]["ours"] < 1e-12 and found["mean_error", "m.json/16"]["ours"] < 1e-3
    assert ("verilog_exact", "m.json") not in found


@pytest.mark.parametrize("name", ["bidirectional_two", "autoencoder", "residual"])
def test_a_kind_of_network(monkeypatch, name):
    """Smaller than the bench has it."""
    monkeypatch.setattr(models, "SIZES", (3, 4, 2))
    monkeypatch.setattr(models, "TIMES", 4)
    found = {(row["metric"], row["config"]): row["ours"] for row in models.rows({"network": name})}
    assert found["mean_error", f"{name}/16"] < found["mean_error", f"{name}/8"] < 0.1
    assert found["cycles_per_step", name] > 10


@pytest.mark.parametrize(
    "text, message",
    [
        ('["none.pt"]\nhead = "every_step"\n', "none.pt: no such model"),
        ('["m.nam"]\nsize = 3\n', "m.nam: size: unknown key"),
        ('["m.nam".h]\nsize = 3\n', "m.nam: size: unknown key"),
        (None, "no model file"),
    ],
)
def test_wrong_folder(tmp_path, text, message):
    if text:
        (tmp_path / "m.nam").write_bytes(model_files.nam(model_files.tensors()))
        np.savez(tmp_path / "m.nam.expected.npz", x=np.zeros((1, 2, 3)))
        (tmp_path / "options.toml").write_text(text)
    result = CliRunner().invoke(models.main, ["--models", str(tmp_path)])
    assert result.exit_code == 1 and message in result.output
