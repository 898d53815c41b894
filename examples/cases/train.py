"""Train the cases example: how far an epidemic has come, from the raw number of new cases a day.

The data are confirmed COVID-19 cases a day in 201 countries over 84 days of 2020 (data set "Covid3Month" of the time
series regression archive of Tan et al. 2021, from the World Health Organization's figures). Package ``aeon`` ships
them. After every day the network says the decimal logarithm of one more than the cases so far.

The inputs are what a log file holds: not normalised, from 0 to 20,000 and more. Gates saturate on them, and cell states
count days and cases far beyond the 8 that 16-bit cell states usually hold. It is the example of such a model.

Needs torch and aeon, which the rest of the package does not. Writes ``model.safetensors`` and ``test.npz`` beside this
file (or into the folder given as the argument) and prints the mean error on the countries held out. Every random choice
is seeded and the computation runs on one thread.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from aeon.datasets import load_covid_3month
from torch import nn

from lstm_hw.model.store import write_tensors

SEED = 2020
HIDDEN = 24
EPOCHS = 600
BATCH = 35
PEAK_LEARNING_RATE = 1e-2
FORGET_BIAS = 6.0
"""Remember for hundreds of days before training says otherwise."""


class Meter(nn.Module):
    """The level of every day is a linear function of the hidden state after it."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)
        with torch.no_grad():
            # Each unit wakes at another number of cases a day, from 1 to 10,000.
            wakes = torch.logspace(0, 4, HIDDEN)
            self.lstm.weight_ih_l0[:HIDDEN, 0] = 4 / wakes
            self.lstm.weight_ih_l0[2 * HIDDEN : 3 * HIDDEN, 0] = 1 / wakes
            self.lstm.weight_ih_l0[HIDDEN : 2 * HIDDEN, 0] = 0
            self.lstm.weight_ih_l0[3 * HIDDEN :, 0] = 0
            self.lstm.bias_ih_l0[HIDDEN : 2 * HIDDEN] = FORGET_BIAS

    def forward(self, cases):
        return self.head(self.lstm(cases)[0])


def countries(split):
    """float32 arrays (N, 84, 1): new cases a day, and log10(1 + cases so far)."""
    cases, _ = load_covid_3month(split=split)
    cases = cases.transpose(0, 2, 1).astype(np.float32)
    return cases, np.log10(1 + np.maximum(np.cumsum(cases, axis=1), 0)).astype(np.float32)


def train(x, level):
    """Train a meter with the mean absolute error, AdamW and one learning-rate cycle."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    model = Meter()
    # Weights on raw inputs are small: they learn at a rate of their own.
    raw = [model.lstm.weight_ih_l0]
    others = [value for value in model.parameters() if value is not raw[0]]
    rates = [PEAK_LEARNING_RATE / 10, PEAK_LEARNING_RATE]
    optimizer = torch.optim.Adam([{"params": raw, "lr": rates[0]}, {"params": others, "lr": rates[1]}])
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(level)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            loss = nn.functional.l1_loss(model(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
    return model.eval()


def error(model, x, level):
    """Mean distance of the outputs to the levels."""
    with torch.no_grad():
        return float((model(torch.from_numpy(x)) - torch.from_numpy(level)).abs().mean())


def main(folder):
    (x, level), (test_x, test_level) = countries("train"), countries("test")
    model = train(x, level)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    write_tensors(
        folder / "model.safetensors", tensors, {"gate_order": "ifgo", "head": "every_step", "framework": "torch"}
    )
    np.savez_compressed(folder / "test.npz", x=test_x, labels=test_level, calibration=x)
    print(f"mean error in training {error(model, x, level):.4f}, held out {error(model, test_x, test_level):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
