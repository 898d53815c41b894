"""Train the amplifier example: one LSTM layer that sounds like the clipping stage of an overdrive pedal.

The circuit is the op-amp stage with two diodes in its feedback of the Tube Screamer (Yeh, Abel, Smith, "Simplified,
physically-informed models of distortion and overdrive guitar effects pedals", DAFx 2007), solved by the trapezoidal
rule at four times the sample rate. Its output is the input plus the voltage of the diodes, so the network has a skip:
y = head(h) + x. The guitar is synthesised: plucked strings (Karplus and Strong, 1983), single ones and chords.

Needs torch, which the rest of the package does not. Writes ``model.json``, in the layout of
Automated-GuitarAmpModelling, and ``test.npz`` beside this file (or into the folder given as the argument). Every
random choice is seeded and the computation runs on one thread.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.signal import lfilter, resample_poly
from torch import nn

RATE = 48_000
OVERSAMPLING = 4
SEED = 2026
HIDDEN = 16
SECONDS = 0.3
PHRASES = 64
TEST_PHRASES = 5
CALIBRATION_PHRASES = 6
WARM_UP, CHUNK = 200, 500
"""Samples of a phrase that only bring the state to where it would be, and of one step of training behind them."""
EPOCHS = 90
LEARNING_RATE = 8e-3
GAIN = 10.0
"""Of the initial weights of x: volts of a pick-up are small."""
LOWEST, HIGHEST = 82.4, 660.0
"""Hertz of the plucked strings."""

R_IN, C_IN = 4.7e3, 47e-9
R_FEEDBACK, C_FEEDBACK = 101e3, 51e-12
SATURATION, THERMAL = 2.52e-9, 1.752 * 25.85e-3
"""Ohms and farads of the stage with its drive at a tenth, and amperes and volts of a 1N4148."""


def pluck(rng: np.random.Generator, hertz: float, samples: int) -> np.ndarray:
    """A plucked string: noise that goes round a delay line whose two-point average loses the high partials."""
    delay = RATE / hertz - 0.5
    whole, part = int(delay), delay - int(delay)
    noise = np.zeros(samples)
    noise[:whole] = rng.uniform(-1, 1, whole)
    loss = rng.uniform(0.990, 0.998)
    # y[n] = x[n] + loss * average of y around n - delay, with the part of a sample by linear interpolation.
    taps = loss * np.convolve([0.5, 0.5], [1 - part, part])
    string = lfilter([1.0], np.concatenate([[1.0], np.zeros(whole - 1), -taps]), noise)
    return lfilter([0.15], [1, -0.85], string)


def phrase(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Volts of a pick-up: one to four strings, plucked one after the other."""
    signal = np.zeros(samples)
    for _ in range(rng.integers(1, 5)):
        start = rng.integers(0, samples // 3)
        signal[start:] += pluck(rng, float(np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST)))), samples - start)
    return signal / np.abs(signal).max() * rng.uniform(0.05, 0.5)


def overdrive(volts: np.ndarray) -> np.ndarray:
    """Volts (N, T) behind the stage, by the trapezoidal rule and Newton's method.

    The input drives a current through R_IN and C_IN into the feedback: R_FEEDBACK, C_FEEDBACK and two diodes.
    """
    fine = resample_poly(volts, OVERSAMPLING, 1, axis=1)
    step = 1 / (RATE * OVERSAMPLING)
    charged, v = np.zeros((2, len(fine)))  # the voltage of C_IN, and of the diodes
    current, slope, before = np.zeros((3, len(fine)))
    out = np.empty_like(fine)
    for n in range(fine.shape[1]):
        now = fine[:, n]
        # C_IN: charged' = (now - charged) / (R_IN C_IN)
        share = step / (2 * R_IN * C_IN)
        charged = (charged * (1 - share) + share * (now + before)) / (1 + share)
        current, before = (now - charged) / R_IN, now
        target = v + step / 2 * slope
        for _ in range(30):
            diodes, conductance = _diodes(v)
            rate = (current - v / R_FEEDBACK - diodes) / C_FEEDBACK
            error = v - target - step / 2 * rate
            change = error / (1 + step / 2 * (1 / R_FEEDBACK + conductance) / C_FEEDBACK)
            v = v - np.clip(change, -THERMAL, THERMAL)
            if np.abs(change).max() < 1e-9:
                break
        slope = (current - v / R_FEEDBACK - _diodes(v)[0]) / C_FEEDBACK
        out[:, n] = now + v
    return resample_poly(out, 1, OVERSAMPLING, axis=1)


def _diodes(v):
    """Current through the two diodes and its slope."""
    return 2 * SATURATION * np.sinh(v / THERMAL), 2 * SATURATION / THERMAL * np.cosh(v / THERMAL)


class Amplifier(nn.Module):
    """An LSTM layer, a linear layer, and the input added."""

    def __init__(self):
        super().__init__()
        self.rec, self.lin = nn.LSTM(1, HIDDEN, batch_first=True), nn.Linear(HIDDEN, 1)
        with torch.no_grad():
            self.rec.weight_ih_l0 *= GAIN

    def forward(self, x, state=None):
        h, state = self.rec(x, state)
        return self.lin(h) + x, state


def error_to_signal(found, wanted):
    """Power of what is wrong over that of what is wanted, with the high partials raised as the ear does."""
    raised = [values[:, 1:] - 0.85 * values[:, :-1] for values in (found, wanted)]
    return ((raised[0] - raised[1]) ** 2).sum() / (raised[1] ** 2).sum()


def train(x, y):
    """Adam on the error-to-signal ratio, chunk by chunk with the state carried on."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model, best, kept = Amplifier(), np.inf, None
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, LEARNING_RATE / 20)
    for epoch in range(EPOCHS):
        total = 0.0
        order = torch.randperm(len(x))
        for part in order.split(32):
            with torch.no_grad():
                _, state = model(x[part, :WARM_UP])
            for first in range(WARM_UP, x.shape[1] - CHUNK + 1, CHUNK):
                chunk = slice(first, first + CHUNK)
                found, state = model(x[part, chunk], state)
                loss = error_to_signal(found, y[part, chunk])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                state = tuple(value.detach() for value in state)
                total += float(loss)
        schedule.step()
        if total < best:
            best, kept = total, {name: value.clone() for name, value in model.state_dict().items()}
        print(f"epoch {epoch + 1}: {total:.4f}", flush=True)
    model.load_state_dict(kept)
    return model.eval()


def described(model):
    """The file of Automated-GuitarAmpModelling."""
    said = {"model": "SimpleRNN", "input_size": 1, "skip": 1, "output_size": 1, "unit_type": "LSTM"}
    said |= {"num_layers": 1, "hidden_size": HIDDEN, "bias_fl": True}
    tensors = {name: np.round(value.numpy().astype(float), 7).tolist() for name, value in model.state_dict().items()}
    return json.dumps({"model_data": said, "state_dict": tensors}) + "\n"


def decibels(model, x, y):
    """Error-to-signal ratio against the circuit."""
    with torch.no_grad():
        found = model(x)[0].numpy()[:, WARM_UP:]
    y = y.numpy()[:, WARM_UP:]
    return 10 * np.log10(np.square(found - y).sum() / np.square(y).sum())


def main(folder):
    rng = np.random.default_rng(SEED)
    samples = int(SECONDS * RATE)
    volts = np.stack([phrase(rng, samples) for _ in range(PHRASES + TEST_PHRASES)])
    heard = overdrive(volts)
    x, y = (torch.from_numpy(values.astype(np.float32))[..., None] for values in (volts, heard))
    model = train(x[:PHRASES], y[:PHRASES])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(described(model))
    test = slice(PHRASES, None)
    print(f"held-out error-to-signal ratio against the circuit {decibels(model, x[test], y[test]):.1f} dB")
    # One take of the test phrases behind each other, and what the amplifier is set by: other phrases.
    np.savez_compressed(
        folder / "test.npz",
        x=x[test].numpy()[:, : RATE // 10],
        labels=y[test].numpy()[:, : RATE // 10],
        calibration=x[:CALIBRATION_PHRASES].numpy()[:, : RATE // 10],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
