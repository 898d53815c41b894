"""The bench of published models on files of every kind, and what it says of those that it cannot use."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bench import model_files, models
from lstm_hw.model.load import load
from lstm_hw.model.reference import float_reference


def rows(folder):
    result = CliRunner().invoke(models.main, ["--models", str(folder), "--output", str(folder / "rows.txt")])
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
    found = rows(tmp_path)
    assert found["float_error", "a.json"]["ours"] < 1e-5 and found["float_error", "m.pt"]["ours"] < 1e-5
    assert found["mean_error", "a.json/16"]["ours"] < found["mean_error", "a.json/8"]["ours"] < 0.15
    assert found["error_to_signal", "a.json/16"]["ours"] < -50
    assert found["cycles_per_step", "a.json"]["ours"] > 20 and found["deadline_met", "a.json"]["ours"] == 1
    assert "refused: " in found["read", "b.json"]["unit"] and "skip: 3" in found["read", "b.json"]["unit"]
    assert "refused: x: " in found["float_error", "wide.nam"]["unit"]
    assert not any("alone" in config for _, config in found)


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
