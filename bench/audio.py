"""The amplifier example in real time (``make bench-audio``): a sample in, a sample out, before the next one comes.

The phrases of the example, or a recording (``--wav``), are played by the float model and by the integer reference with
weights of 16 and 8 bits; what both give is left as WAV files to listen to. The first samples go through the emitted
Verilog too, in runs of 10 ms from which the state goes on to the next, and must be the reference's in every bit.
"""

import wave
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

from lstm_hw.errors import ConfigError, InputError, ToolError
from lstm_hw.model.reference import float_reference
from lstm_hw.plan.resources import estimate
from lstm_hw.progress import progress
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.runs import ModelReference, Piece, scenario_of
from sim.play import play

from .table import FOLDER, Row, command

CONFIG = "examples/amplifier/amplifier.toml"
RESULT = f"{FOLDER}/audio.json"
WAVES = f"{FOLDER}/audio"
RATE = 48_000
BLOCK = RATE // 100
"""Samples of a run in Verilog."""
TARGETS = {16: -55, 8: -40}
"""Width of weights -> error-to-signal ratio against the float model, dB, that must be reached."""
LONGEST = 60
"""Seconds of a recording that are played, at most."""


def read_wav(path: Path) -> np.ndarray:
    """Samples of a WAV file of 48 kHz, the first channel, as shares of full scale.

    Parameters
    ----------
    path : path-like
        PCM of 16, 24 or 32 bits.

    Returns
    -------
    float64 array (N,)

    Raises
    ------
    InputError
        It is no such file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(min(file.getnframes(), LONGEST * RATE))
    except (OSError, EOFError, wave.Error) as error:
        raise InputError(path, str(error) or "ends too soon", "must be a WAV file of PCM samples") from error
    if rate != RATE:
        raise InputError(path, f"{rate} samples a second", f"must be {RATE}: the model was trained for that")
    if width not in (2, 3, 4):
        raise InputError(path, f"samples of {8 * width} bits", "must be of 16, 24 or 32 bits")
    data = data[: len(data) // (width * channels) * (width * channels)]
    if not data:
        raise InputError(path, "no sample", "must have one at least")
    bytes_of = np.frombuffer(data, np.uint8).reshape(-1, channels, width)[:, 0]
    padded = np.zeros((len(bytes_of), 4), np.uint8)
    padded[:, 4 - width :] = bytes_of
    return padded.view("<i4")[:, 0] / 2.0**31


def write_wav(path: Path, samples: np.ndarray) -> int:
    """Write samples, shares of full scale, as a WAV file of 16 bits and 48 kHz; returns how many were beyond it."""
    scaled = np.floor(np.asarray(samples) * 2.0**15 + 0.5)
    bounded = np.clip(scaled, -(2**15), 2**15 - 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bounded.astype("<i2").tobytes())
    return int(np.count_nonzero(scaled != bounded))


def decibels(found: np.ndarray, wanted: np.ndarray) -> float:
    """Power of what is wrong over that of what is wanted, in dB."""
    power = float(np.square(wanted).sum())
    if not power:
        raise InputError("wav", "silence", "must be a signal: its error has no ratio")
    return 10 * np.log10(max(float(np.square(found - wanted).sum()), 1e-300) / power)


@dataclass(frozen=True)
class Played:
    """What the Verilog did with the first samples, all of it as expected.

    Parameters
    ----------
    samples, runs, cycles : int
    """

    samples: int
    runs: int
    cycles: int


def in_verilog(project, x: np.ndarray, folder: Path) -> Played:
    """Play samples (N,) on the emitted Verilog in runs of ``BLOCK``, each going on from the state of the one before.

    Raises
    ------
    VerificationError
        An output bit or a counter differs.
    """
    stored = project.qmodel.quantize_input(x[None, :, None])
    pieces = [Piece(stored[:, first : first + BLOCK], not first) for first in range(0, len(x), BLOCK)]
    plan, memory = project.plan, project.memory
    reference = ModelReference(project.qmodel)
    with progress("interpret") as tell:
        scenario = scenario_of(plan, project.words, reference, pieces, memory, progress=tell)
    with progress("simulate") as tell:
        played = play(scenario, project.verilog, folder, cache=project.config.simulate.cache, progress=tell)
    runs = played.runs[-len(pieces) :]
    return Played(len(x), len(runs), sum(run["counters"]["cycles"] for run in runs))


def rows_of(project, width: int, error: float, played: Played, samples: int) -> list[Row]:
    """Rows of config ``<model>/<width>``."""
    config, clock, part = f"{project.config.name}/{width}", project.clock_mhz, project.config.target.fpga
    deadline, cycles = clock * 1e6 / RATE, played.cycles / played.samples
    latency, engine = max(project.response), project.engine
    simulated = f"emitted Verilog, {played.samples} samples in {played.runs} runs, state carried on"
    modelled = "exact model, the most of all slots of the cell unit"
    of_engine = f"estimate, {engine.rows} x {engine.contexts} lanes"
    result = [
        Row("error_to_signal", config, error, "dB", None, f"integer reference against float, {samples} samples"),
        Row(
            "error_to_signal_met", config, int(error <= TARGETS[width]), f"of {TARGETS[width]} dB at most", None, "ours"
        ),
        Row("agreement", config, 100.0, "% of the bits, and of all counters", None, simulated),
        Row("cycles_per_sample", config, cycles, f"cycles of {deadline:.0f} at {clock:g} MHz", None, simulated),
        Row("deadline_met", config, int(cycles <= deadline), f"at {RATE} samples a second", None, simulated),
        Row("x_to_y", config, latency, f"cycles, {latency / clock:.2f} µs", None, modelled),
    ]
    shares = part.shares(estimate(engine, project.family)) if part else {}
    for name, (taken, there) in shares.items():
        if name in ("LUT", "BRAM36", "DSP"):
            unit = f"% of {there:g} of an {part.name}"
            result.append(
                Row(f"share_{name.lower()}", config, 100 * taken / there, unit, None, f"{of_engine}: {taken:g}")
            )
    return result


@command(RESULT)
@click.argument("config", default=CONFIG)
@click.option("--wav", type=click.Path(), help="A recording to play, mono or its first channel, 48 kHz.")
@click.option("--folder", type=click.Path(), default=WAVES, show_default=True, help="Gets the WAV files.")
@click.option(
    "--seconds",
    type=click.FloatRange(1 / RATE, LONGEST),
    default=0.1,
    show_default=True,
    help="Of the signal that go through the Verilog.",
)
@click.option(
    "--bits", "widths", type=click.Choice([str(width) for width in TARGETS]), multiple=True, help="These only."
)
def main(config, wav, folder, seconds, widths):
    """Play CONFIG's test phrases or a recording, in floating point, in integers and in Verilog.

    \b
    python -m bench.audio --wav guitar.wav              # leaves build/bench/audio/out16.wav and others
    python -m bench.audio --seconds 1 --bits 16         # a second in Verilog
    """
    settings, folder, result, told = ProjectConfig.load(config), Path(folder), [], []
    base = convert(settings, progress=progress)
    if (base.model.input_size, base.model.output_size, base.model.head_every_step) != (1, 1, True):
        raise ConfigError(config, "another model", "must have one input and one output, at every step")
    x = read_wav(wav) if wav else np.concatenate(base.x[:, :, 0])
    wanted = float_reference(base.model, x[None, :, None])[0][0, :, 0]
    try:
        beyond = {"in": write_wav(folder / "in.wav", x), "float": write_wav(folder / "float.wav", wanted)}
    except OSError as error:
        raise ToolError(folder, error.strerror or str(error), "must be a folder that can be written to") from error
    for width in [int(width) for width in widths] or TARGETS:
        quantize = replace(settings.quantize, weight_bits=width)
        project = convert(settings, quantize=quantize, output=f"{WAVES}/{width}", progress=progress)
        heard = project.predict(x[None, :, None])[0, :, 0]
        beyond[f"out{width}"] = write_wav(folder / f"out{width}.wav", heard)
        played = in_verilog(project, x[: max(1, round(seconds * RATE))], Path(f"{WAVES}/{width}/played"))
        result += rows_of(project, width, decibels(heard, wanted), played, len(x))
    told += [f"{name}.wav: {count} samples beyond full scale" for name, count in beyond.items() if count]
    return result, [
        *told,
        f"wrote {folder}: in.wav, float.wav and {', '.join(f'{name}.wav' for name in list(beyond)[2:])}",
    ]


if __name__ == "__main__":
    main()
