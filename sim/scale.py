"""Runs a scenario on Verilog models of memory and streams (see ``sim/models``), which makes long runs possible."""

import json
from pathlib import Path

from lstm_hw.errors import ConfigError

from .runner import run_bench

MODELS = Path(__file__).parent / "models"


FILES = {"image": "image.hex", "parts": "parts.hex", "x": "x.hex", "y": "y.txt"}
"""Plusarg of the models -> file."""
PARTS = ("x", "h", "bias")


def run_scale(folder, scenario, verilog, memory, *, image=None, simulator="verilator", build_dir=None, progress=None):
    """Simulate a scenario's runs; the Verilog must give their packets and counters.

    Parameters
    ----------
    folder : path-like
        Where the scenario and the models' files go.
    scenario : Scenario
    verilog : path-like
        The emitted engine, module ``lstm_engine``.
    memory : MemoryModel
        Latency and bandwidth of the weight memory.
    image : Image, optional
        What the beats in memory are, to count those that are read.
    simulator, build_dir, progress
        As for :func:`sim.runner.run_bench`.

    Returns
    -------
    list of dict of str to int
        Counters read from the Verilog, one a run. With ``image``, also the beats that the memory model saw being read
        of each part, as ``beats_x``, ``beats_h`` and ``beats_bias``.

    Raises
    ------
    VerificationError
        Outputs or counters differ.
    ConfigError
        The engine has several weight ports, and the models one memory.
    """
    if scenario.config.axi_ports != 1:
        raise ConfigError("engine.axi_ports", scenario.config.axi_ports, "must be 1 for the Verilog models")
    folder = Path(folder).resolve()
    scenario.save(folder)
    (folder / "measured.json").unlink(missing_ok=True)
    config = scenario.config
    bits, beat = config.operand_bits, config.beat_bytes
    content = scenario.image
    (folder / "image.hex").write_text(
        "\n".join(content[n : n + beat][::-1].hex() for n in range(0, len(content), beat)) + "\n"
    )
    beats = len(content) // beat
    words = [PARTS.index(tile.part) for tile in image.tiles for _ in range(tile.words)] if image else []
    parts = [part for part in words for _ in range(config.beats_per_word)] or [len(PARTS)] * beats
    (folder / "parts.hex").write_text("\n".join(map(str, parts)) + "\n")
    digits = -(-(bits * config.x_per_beat + 1) // 4)
    mask = (1 << bits) - 1
    (folder / "x.hex").write_text(
        "\n".join(
            f"{sum((v & mask) << bits * e for e, v in enumerate(values)) | last << bits * config.x_per_beat:0{digits}x}"
            for run in scenario.runs
            for values, last in zip(run.x.tolist(), run.lasts.tolist(), strict=True)
        )
        + "\n"
    )
    parameters = {
        "DATA_BITS": config.axi_data_bits,
        "ADDRESS_BITS": config.axi_address_bits,
        "X_BITS": bits * config.x_per_beat,
        "IMAGE_BEATS": beats,
        "X_BEATS": sum(len(run.x) for run in scenario.runs),
        "BASE": scenario.weights_address,
        "LATENCY": memory.latency,
        "INTERVAL": memory.interval,
    }
    run_bench(
        [verilog, *sorted(MODELS.glob("*.v"))],
        "scale_top",
        "sim.bench_scale",
        simulator=simulator,
        parameters=parameters,
        extra_env={"LSTM_HW_SCENARIO": folder, "LSTM_HW_OUTPUT": folder / "y.txt"},
        plusargs=[f"+{name}={folder / file}" for name, file in FILES.items()],
        build_dir=build_dir,
        progress=progress,
    )
    measured = json.loads((folder / "measured.json").read_text())
    if image is None:
        return measured["counters"]
    return [
        counters | {f"beats_{part}": beats for part, beats in zip(PARTS, taken, strict=False)}
        for counters, taken in zip(measured["counters"], measured["taken"], strict=True)
    ]
