"""Train the digits example: an LSTM that reads an 8x8 image row by row.

Needs torch and scikit-learn, which the rest of the package does not. Writes ``model.safetensors``
and ``test.npz`` beside this file (or into the folder given as the argument) and prints the accuracy
on the held-out images. Every random choice is seeded and the computation runs on one thread.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from lstm_hw.model.store import write_tensors

SEED = 2024
HIDDEN = 64
CLASSES = 10
TEST_IMAGES = 397
CALIBRATION_IMAGES = 64
INPUT_SCALE = 1 / 16
EPOCHS = 200
BATCH = 32
PEAK_LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.1
PIXEL_NOISE = 0.1


class Classifier(nn.Module):
    """8 steps of 8 pixels; the class scores are a linear function of the last hidden state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def forward(self, rows):
        return self.head(self.lstm(rows)[0][:, -1])


def split():
    """Training images and labels, then held-out images and labels, by a seeded permutation."""
    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    images, labels = digits.images[order].astype(np.uint8), digits.target[order].astype(np.uint8)
    return images[:-TEST_IMAGES], labels[:-TEST_IMAGES], images[-TEST_IMAGES:], labels[-TEST_IMAGES:]


def augmented(images, generator):
    """Each image moved by -1, 0 or 1 pixels in both directions (zeros move in), with Gaussian pixel noise."""
    count = len(images)
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    down, right = torch.randint(0, 3, (2, count, 1, 1), generator=generator)
    index = torch.arange(8)
    moved = padded[torch.arange(count)[:, None, None], index[:, None] + down, index + right]
    return (moved + PIXEL_NOISE * torch.randn(moved.shape, generator=generator)).clamp(0, 1)


def scaled(images):
    return torch.from_numpy(images).float() * INPUT_SCALE


def train(images, labels):
    """Train a classifier with cross-entropy, AdamW and one learning-rate cycle."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps)
    inputs, targets = scaled(images), torch.from_numpy(labels).long()
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            scores = model(augmented(inputs[batch], generator))
            loss = nn.functional.cross_entropy(scores, targets[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model, images, labels):
    """Share of the images whose highest score is at the label."""
    with torch.no_grad():
        return float((model(scaled(images)).argmax(1).numpy() == labels).mean())


def main(folder):
    train_images, train_labels, test_images, test_labels = split()
    model = train(train_images, train_labels)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(
        folder / "model.safetensors",
        {name: value.detach().numpy() for name, value in model.state_dict().items()},
        {"gate_order": "ifgo", "head": "last_step", "framework": "torch"},
    )
    np.savez_compressed(
        folder / "test.npz",
        x=test_images,
        labels=test_labels,
        calibration=train_images[:CALIBRATION_IMAGES],
        input_scale=np.float64(INPUT_SCALE),
    )
    print(f"training accuracy {accuracy(model, train_images, train_labels):.2%} of {len(train_labels)} images")
    print(f"held-out accuracy {accuracy(model, test_images, test_labels):.2%} of {len(test_labels)} images")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
