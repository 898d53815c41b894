"""Trained Keras models of a public package through the whole flow, weights in memory (``make bench-chars2vec``).

chars2vec (on PyPI) ships embeddings of words: two stacked LSTM layers, 59 -> H -> H, that read a word letter by letter;
words of like spelling are near each other. The package is downloaded, not installed, since only its weights
are needed. Its own code builds ``keras.layers.LSTM`` with the defaults, so gates are sigmoids, as in today's Keras.
"""

import builtins
import hashlib
import io
import keyword
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import click
import numpy as np

from lstm_hw.errors import InputError, ToolError
from lstm_hw.model.float_model import FloatModel, LstmWeights
from lstm_hw.model.reference import float_reference
from lstm_hw.progress import progress
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig

from .table import FOLDER, Row, command

RESULT = f"{FOLDER}/chars2vec.json"
VERSION, SHA256 = "0.1.7", "df05b0765e406e1bdb9f9537adf7fccb24db4a81956aea5c25a707a03a6a8094"
SIZES = (50, 100, 200)
SETTINGS = {"target": {"lanes": 64, "clock": 100.0}, "engine": {"weight_words": 512}, "memory": {"latency": 40}}
"""64 lanes at 100 MHz, a buffer that none of the models fits, and the latency of a DRAM controller."""
WORDS = sorted({word.lower() for word in (*keyword.kwlist, *dir(builtins)) if len(word) <= 14})
"""Words of like spelling: Python's keywords and built-in names."""
CALIBRATION = WORDS[::4]
SIMULATED = 8


class _Plain(pickle.Unpickler):
    """Reads numbers, texts, lists and dictionaries; nothing that a pickle could run."""

    def find_class(self, module, name):
        raise InputError("chars2vec", f"a pickle of {module}.{name}", "must hold plain values")


def package(folder: str = f"{FOLDER}/chars2vec") -> tarfile.TarFile:
    """The package's archive, downloaded once.

    Raises
    ------
    ToolError
        pip cannot download it, or it is another file.
    """
    path = Path(folder) / f"chars2vec-{VERSION}.tar.gz"
    if not path.is_file():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        command += ["--disable-pip-version-check", "--dest", folder, f"chars2vec=={VERSION}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if not path.is_file():
            raise ToolError(
                "pip download chars2vec", (result.stderr or "nothing").strip().splitlines()[-1], "must work"
            )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ToolError(path, f"sha256 {found}", f"must be {SHA256}; remove the file")
    return tarfile.open(fileobj=io.BytesIO(content))


def load(size: int, archive: tarfile.TarFile) -> tuple[FloatModel, dict[str, int]]:
    """A trained model and the number of each letter.

    Keras stacks the gates as i, f, c, o, our i, f, g, o, and has inputs in rows where we have them in columns.
    """
    import h5py

    def member(name):
        return archive.extractfile(f"chars2vec-{VERSION}/chars2vec/trained_models/eng_{size}/{name}")

    layers = []
    with h5py.File(io.BytesIO(member("weights.h5").read())) as file:
        for name in (name.decode() for name in file.attrs["layer_names"]):
            if "lstm" in name:
                kernel, recurrent, bias = (
                    np.asarray(file[name][name][f"{kind}:0"], dtype=np.float64)
                    for kind in ("kernel", "recurrent_kernel", "bias")
                )
                layers.append(LstmWeights(kernel.T, recurrent.T, bias, source=f"eng_{size}: {name}"))
    _, letters = _Plain(member("model.pkl")).load()
    return FloatModel(tuple(layers), source=f"chars2vec eng_{size}"), letters


def one_hot(words: list[str], letters: dict[str, int]) -> np.ndarray:
    """Words as float arrays (N, T, letters): a one a letter, shorter words with zeros in front."""
    x = np.zeros((len(words), max(map(len, WORDS)), len(letters)))
    for number, word in enumerate(words):
        for step, letter in enumerate(word, x.shape[1] - len(word)):
            if letter in letters:
                x[number, step, letters[letter]] = 1
    return x


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Of each vector the number of the nearest other one."""
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(axis=1)


def rows(size: int, archive: tarfile.TarFile, simulator: str = "verilator") -> list[Row]:
    """The figures of one model; VerificationError unless the Verilog gives the integer reference's bits."""
    model, letters = load(size, archive)
    name = f"eng_{size}"
    config = ProjectConfig.from_dict({"name": name, "model": {"path": name}, **SETTINGS}, "chars2vec.toml")
    x = one_hot(WORDS, letters)
    project = convert(config, model=model, calibration=one_hot(CALIBRATION, letters), x=x, progress=progress)
    exact, ours = float_reference(model, x)[0][:, -1], project.predict(x)[:, -1]
    measured = project.simulate(SIMULATED, simulator)
    run, engine = measured.run, project.engine
    source = f"Verilog, {SIMULATED} words; {project.plan.schedule}, {engine.lanes} lanes"
    return [
        Row("nearest_agreement", name, float((nearest(exact) == nearest(ours)).mean()), "", None, f"{len(x)} words"),
        Row("mean_error", name, float(np.abs(ours - exact).mean()), "", None, "integer against float, embeddings"),
        Row("max_error", name, float(np.abs(ours - exact).max()), "", None, "integer against float, embeddings"),
        Row("cycles_per_step", name, run["cycles"] / measured.steps, "cycles", None, source),
        Row(
            "bytes_per_step",
            name,
            run["read_beats"] * engine.beat_bytes / measured.steps,
            "bytes",
            None,
            source,
        ),
        Row("agreement", name, 1.0, "", None, "bits and counters of the Verilog, or the bench fails"),
    ]


@command(RESULT)
@click.argument("sizes", nargs=-1, type=click.Choice([str(size) for size in SIZES]))
def main(sizes):
    """Run chars2vec's trained models, or those of some SIZES, in Verilog with their weights in memory."""
    archive = package()
    return [row for size in map(int, sizes or SIZES) for row in rows(size, archive)]


if __name__ == "__main__":
    main()
