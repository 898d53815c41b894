"""The benchmark layers of E-LSTM beside its published figures (``python -m bench.elstm``).

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019: words of eSELL of
the six layers, with masks of the published sparsities by a fixed seed, and bits of a 768 x 768 matrix in each format
against its sparsity, as in the paper's figure.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lstm_hw.machine import esell
from lstm_hw.machine.bitmap import Bitmap
from lstm_hw.machine.pack import to_blocks
from lstm_hw.project.plots import save

from .table import FOLDER, Row, command
from .workloads import workload

RESULT, PLOT = f"{FOLDER}/elstm.json", f"{FOLDER}/elstm_volume.png"
LAYERS = ("mnist_1", "mnist_2", "ptb_1", "ptb_2", "wikitext_1", "wikitext_2")
ROWS, WEIGHT_BITS, PORT_BITS = 12, 16, 64
"""E-LSTM's 12 multipliers and its weight port."""
GROUP = 4
"""Columns of a segment of the bit map."""
SIZE, SPARSITIES = 768, tuple(n / 20 for n in range(20))
SEED = 0


def weights(rng: np.random.Generator, rows: int, columns: int, sparsity: float) -> np.ndarray:
    """Random stored weights (rows, columns), of which exactly the share ``sparsity`` is zero."""
    matrix = rng.integers(1, 1 << WEIGHT_BITS - 1, rows * columns) * rng.choice([-1, 1], rows * columns)
    matrix[rng.permutation(rows * columns)[: round(rows * columns * sparsity)]] = 0
    return matrix.reshape(rows, columns)


def segments(matrix: np.ndarray, group: int = GROUP) -> np.ndarray:
    """Words of the engine's segments (segments, words, rows): all row blocks of ``group`` columns in each."""
    blocks = to_blocks(np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % group))), ROWS)
    return blocks.reshape(len(blocks), ROWS, -1, group).transpose(2, 0, 3, 1).reshape(-1, len(blocks) * group, ROWS)


def volumes(matrix: np.ndarray) -> dict[str, int]:
    """Bits of a matrix in each format.

    CSC has a row number beside each weight and, a column, the number of weights in front of it.
    """
    rows, columns = matrix.shape
    used = int(np.count_nonzero(matrix))
    pointers = (columns + 1) * used.bit_length()
    return {
        "dense": matrix.size * WEIGHT_BITS,
        "csc": used * (WEIGHT_BITS + (rows - 1).bit_length()) + pointers,
        "esell": len(esell.encode(matrix)[0]) * esell.WORD_BITS,
        "bitmap": int(Bitmap(ROWS, WEIGHT_BITS, PORT_BITS).beats(segments(matrix)).sum()) * PORT_BITS,
    }


def volume_rows() -> list[Row]:
    """Bits of a square matrix against its sparsity; also a plot."""
    rng, found = np.random.default_rng(SEED), {}
    for sparsity in SPARSITIES:
        found[sparsity] = volumes(weights(rng, SIZE, SIZE, sparsity))
    figure = Figure(figsize=(6, 4))
    axes = figure.add_subplot()
    for name in found[0]:
        axes.plot(SPARSITIES, [found[s][name] / 1e6 for s in SPARSITIES], marker=".", label=name)
    axes.set_xlabel(f"sparsity of a {SIZE} x {SIZE} matrix")
    axes.set_ylabel("Mbit")
    axes.legend()
    save(figure, Path(PLOT))
    config = "{0} x {0}/{1:.0%}/{2}"
    return [
        Row("bits", config.format(SIZE, sparsity, name), bits, "bits", None, f"encoder, seed {SEED}")
        for sparsity, formats in found.items()
        for name, bits in formats.items()
    ]


def word_rows(name: str) -> list[Row]:
    """64-bit words of both matrices of a layer."""
    layer, rng = workload(name), np.random.default_rng(SEED)
    rows = []
    for part, columns, sparsity in (("w", layer.input, layer.sparsity_w), ("u", layer.hidden, layer.sparsity_u)):
        matrix = weights(rng, 4 * layer.hidden, columns, sparsity)
        for kind, bits in volumes(matrix).items():
            words = -(-bits // PORT_BITS)
            rows.append(Row("words", f"{name}/{part}/{kind}", words, "words", None, f"encoder, seed {SEED}"))
    return rows


@command(RESULT)
def main():
    """Words of the six layers of E-LSTM, and bits of each format against sparsity."""
    rows = [row for name in LAYERS for row in word_rows(name)]
    return [*rows, *volume_rows()], [f"wrote {PLOT}"]


if __name__ == "__main__":
    main()
