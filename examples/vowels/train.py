"""Train the vowels example: two stacked LSTM layers that tell nine speakers by one utterance of two vowels.

The data are the "Japanese Vowels" recordings (Kudo, Toyama, Shimbo, Pattern Recognition Letters 20, 1999): 12 cepstrum
coefficients a frame, 7 to 29 frames an utterance, 270 utterances to learn from and 370 to be judged by. Package
``aeon`` ships them. Utterances are brought to 29 frames by zeros in front, which leave an LSTM near its zero state.

Needs torch and aeon, which the rest of the package does not. Writes ``model.safetensors`` and ``test.npz`` beside this
file (or into the folder given as the argument) and prints the accuracy on the 370 utterances. Every random choice is
seeded and the computation runs on one thread.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from aeon.datasets import load_japanese_vowels
from torch import nn

from lstm_hw.model.store import write_tensors

SEED = 2024
COEFFICIENTS = 12
FRAMES = 29
HIDDEN = 96, 64
SPEAKERS = 9
CALIBRATION_UTTERANCES = 64
EPOCHS = 120
BATCH = 30
PEAK_LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.05
DROPOUT = 0.5
NOISE = 0.1


class Classifier(nn.Module):
    """The speakers' scores are a linear function of the upper layer's last hidden state."""

    def __init__(self):
        super().__init__()
        self.layer0 = nn.LSTM(COEFFICIENTS, HIDDEN[0], batch_first=True)
        self.layer1 = nn.LSTM(*HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN[1], SPEAKERS)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, utterances):
        below = self.dropout(self.layer0(utterances)[0])
        return self.head(self.dropout(self.layer1(below)[0][:, -1]))

    def tensors(self):
        """Weights under the names of one stacked ``nn.LSTM`` and its head."""
        stacked = {
            f"lstm.{name.removesuffix('_l0')}_l{number}": value
            for number, layer in enumerate((self.layer0, self.layer1))
            for name, value in layer.state_dict().items()
        }
        head = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        return {name: value.numpy() for name, value in (stacked | head).items()}


def utterances(split):
    """float32 array (N, FRAMES, COEFFICIENTS) and the speakers' numbers from 0, int64 (N,)."""
    recordings, names = load_japanese_vowels(split=split)
    x = np.zeros((len(recordings), FRAMES, COEFFICIENTS), dtype=np.float32)
    for padded, recording in zip(x, recordings, strict=True):
        padded[FRAMES - recording.shape[1] :] = recording.T
    return x, names.astype(np.int64) - 1


def later(x, generator):
    """Each utterance up to three frames shorter at its end, with Gaussian noise on its frames."""
    moved = x.clone()
    for n, frames in enumerate(torch.randint(0, 4, (len(x),), generator=generator).tolist()):
        if frames:
            moved[n] = torch.cat([torch.zeros(frames, COEFFICIENTS), x[n, :-frames]])
    spoken = (moved != 0).any(dim=2, keepdim=True)
    return moved + NOISE * torch.randn(moved.shape, generator=generator) * spoken


def train(x, speakers):
    """Train a classifier with cross-entropy, AdamW and one learning-rate cycle."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(speakers)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            scores = model(later(inputs[batch], generator))
            loss = nn.functional.cross_entropy(scores, targets[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model, x, speakers):
    """Share of the utterances whose highest score is at their speaker."""
    with torch.no_grad():
        return float((model(torch.from_numpy(x)).argmax(1).numpy() == speakers).mean())


def main(folder):
    x, speakers = utterances("train")
    test_x, test_speakers = utterances("test")
    model = train(x, speakers)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(
        folder / "model.safetensors",
        model.tensors(),
        {"gate_order": "ifgo", "head": "last_step", "framework": "torch"},
    )
    every = np.linspace(0, len(x) - 1, CALIBRATION_UTTERANCES).astype(int)
    np.savez_compressed(folder / "test.npz", x=test_x, labels=test_speakers.astype(np.uint8), calibration=x[every])
    print(f"training accuracy {accuracy(model, x, speakers):.2%} of {len(speakers)} utterances")
    print(f"held-out accuracy {accuracy(model, test_x, test_speakers):.2%} of {len(test_speakers)} utterances")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
