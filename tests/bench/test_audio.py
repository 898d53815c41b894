"""The bench of the amplifier example: a few samples in Verilog, and WAV files in and out."""

import json
import wave

import numpy as np
import pytest
from click.testing import CliRunner

from bench import audio
from lstm_hw.errors import InputError
from lstm_hw.model.load import load
from lstm_hw.model.reference import float_reference
from lstm_hw.reading import NpzFile

SAMPLES = 24


def written(path, samples, rate=audio.RATE, width=2, channels=1):
    """A WAV file of integers (N, channels) of so many bytes."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        low = np.asarray(samples, "<i8").reshape(-1, channels)[..., None] >> 8 * np.arange(width)
        file.writeframes((low & 255).astype(np.uint8).tobytes())
    return path


def test_a_recording_in_floating_point_in_integers_and_in_verilog(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", SAMPLES // 2)
    monkeypatch.setattr(audio, "WAVES", str(tmp_path / "projects"))
    volts = np.round(8000 * np.sin(np.arange(400) / 20)).astype(int)
    path = written(tmp_path / "guitar.wav", volts)
    arguments = ["--wav", str(path), "--folder", str(tmp_path / "waves"), "--output", str(tmp_path / "audio.json")]
    found = CliRunner().invoke(audio.main, [*arguments, "--seconds", str(SAMPLES / audio.RATE), "--bits", "8"])
    assert found.exit_code == 0, found.output
    rows = {row["metric"]: row for row in json.loads((tmp_path / "audio.json").read_text())}
    assert {row["config"] for row in rows.values()} == {"amplifier/8"}
    assert f"{SAMPLES} samples in 2 runs, state carried on" in rows["agreement"]["source"]
    error = rows["error_to_signal"]["ours"]
    assert -50 < error < -30 and rows["error_to_signal_met"]["ours"] == int(error <= -40)
    assert rows["deadline_met"]["ours"] == 1 and 100 < rows["cycles_per_sample"]["ours"] < 521
    assert 100 < rows["x_to_y"]["ours"] < 521 and 0 < rows["share_lut"]["ours"] < 50
    x = audio.read_wav(tmp_path / "waves" / "in.wav")
    np.testing.assert_array_equal(x, volts / 2**15)
    wanted = float_reference(load("examples/amplifier/model.json"), x[None, :, None])[0][0, :, 0]
    for name, bound in (("float", 1e-4), ("out8", 0.05)):
        assert np.abs(audio.read_wav(tmp_path / "waves" / f"{name}.wav") - wanted).max() < bound


def test_the_example_is_what_the_circuit_gives():
    """The model is the circuit's to -20 dB, and it has its skip."""
    model, data = load("examples/amplifier/model.json"), NpzFile("examples/amplifier/test.npz")
    assert model.head.skip.tolist() == [[1]] and model.hidden_sizes == (16,) and model.assumptions == ()
    x, y = data.read("x").astype(float), data.read("labels").astype(float)
    outputs = float_reference(model, x)[0]
    assert audio.decibels(outputs[:, 200:], y[:, 200:]) < -20


def test_wav_files(tmp_path):
    values = np.array([0, 1, -1, 2**15 - 1, -(2**15)])
    for width in (2, 3, 4):
        path = written(tmp_path / "a.wav", values << 8 * (width - 2), width=width)
        np.testing.assert_array_equal(audio.read_wav(path), values / 2**15)
    stereo = written(tmp_path / "a.wav", np.stack([values, -values // 2], 1), channels=2)
    np.testing.assert_array_equal(audio.read_wav(stereo), values / 2**15)
    assert audio.write_wav(tmp_path / "b" / "b.wav", np.array([0.5, 1.5, -1.0, -2.0])) == 2
    np.testing.assert_array_equal(audio.read_wav(tmp_path / "b" / "b.wav"), [0.5, 1 - 2**-15, -1, -1])


def test_what_a_recording_must_be(tmp_path):
    for path, error in (
        (tmp_path / "missing.wav", "No such file"),
        (written(tmp_path / "a.wav", [1], rate=44_100), "44100 samples a second; must be 48000"),
        (written(tmp_path / "b.wav", [1], width=1), "samples of 8 bits"),
        (written(tmp_path / "c.wav", []), "no sample"),
    ):
        with pytest.raises(InputError, match=error):
            audio.read_wav(path)
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="must be a WAV file"):
        audio.read_wav(tmp_path / "d.wav")
    with pytest.raises(InputError, match="silence"):
        audio.decibels(np.ones(3), np.zeros(3))
