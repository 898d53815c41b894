"""The figures of a project: all that a report says, as one JSON-able dictionary with stable keys.

Nothing in it depends on when or where it was made, but for the versions of the tools.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING

from amaranth.hdl import Shape
from amaranth.lib import wiring

from ..gateware.top import members_of
from ..machine.parts import Part, Usage
from ..machine.ports import CONTROL, WEIGHTS, X, Y
from ..model.quant_layer import OF_PREACT
from ..plan.choose import activity_in_words
from ..plan.resources import estimate, estimate_at_most
from ..proof.cycles import Cycles
from ..proof.response import bounds
from ..proof.traffic import columns_by_layer
from ..prune.settings import DENSE, MATRICES
from ..verilog.tools import versions

if TYPE_CHECKING:
    from .api import Project

FORMAT_VERSION = 3
INTERFACES = {
    CONTROL: "AXI4-Lite slave, registers",
    WEIGHTS: "AXI4 read master, weight image",
    X: "AXI4-Stream slave, inputs",
    Y: "AXI4-Stream master, outputs",
}


def figures_of(project: "Project", resources: dict | None = None, fmax_mhz: float | None = None) -> tuple[dict, dict]:
    """Collect the figures of a project, simulated or not.

    Parameters
    ----------
    project : Project
    resources : dict, optional
        The result of a Synthesis.
    fmax_mhz : float, optional
        Clock in MHz that place and route reached.

    Returns
    -------
    figures : dict
        The content of ``report.json``.
    curves : dict
        Errors of every step, which only plots need: ``h`` and ``c``, a list of (largest, RMS) for each layer.
    """
    measured, engine, plan = project.measured, project.engine, project.plan
    estimated = project.estimate(measured.steps if measured else None)
    found = project.cycles_measured(measured) if measured else None
    part, clock = project.config.target.fpga, _clock(fmax_mhz, project.config.target)
    usage, at_most = (takes(engine, project.family) for takes in (estimate, estimate_at_most))
    return {
        "version": FORMAT_VERSION,
        "name": project.config.name,
        "content_id": f"{engine.content_id:#010x}",
        "model": _model(project),
        "pruning": pruning_of(project),
        "accuracy": _accuracy(project, measured),
        "numbers": _numbers(project),
        "budget": _all_rounded(project.budget()),
        "agreement": {
            "integer_interpreter": bool(measured) or None,  # without it there would be no measurement
            "interpreter_verilog": bool(measured) or None,
            "integer_verilog": bool(measured) or None,
            "cycles": measured.cycles_equal if measured else None,
            "missing": project.unmeasured,
        },
        "simulation": {
            "simulator": measured.simulator,
            "sequences": len(measured.outputs),
            "cycles": measured.cycles_simulated,
            "clipped": measured.clipped,
        }
        if measured
        else None,
        "schedule": _schedule(project),
        "clock": clock,
        "activity": _all_rounded(project.activity_taken),
        "assumed": activity_in_words(plan.network),
        "cycles": {"estimated": estimated.to_dict(), "measured": found.to_dict() if found else None},
        "x_to_y": {**bounds(project.response), "most_us": _rounded(max(project.response) / clock["mhz"])},
        "performance": {
            "estimated": _performance(plan, estimated, clock["mhz"]),
            "measured": _performance(plan, found, clock["mhz"]) if found else None,
        },
        "layers": _layers(plan, estimated.steps),
        "memory": {
            "image_bytes": plan.image.bytes(engine),
            "word_bytes": engine.word_bytes,
            "buffer_bytes": engine.weight_words * engine.word_bytes,
            "port_gbytes_per_s": _rounded(engine.axi_ports * engine.beat_bytes * clock["mhz"] / 1000),
        },
        "target": target_of(part, *([Usage.of_stat(resources)] if resources else [usage, at_most])),
        "resources": {"family": project.family, "estimated": asdict(usage), "synthesised": resources},
        "ports": _ports(engine),
        "tools": versions(),
        "engine": engine.to_dict(),
    }, {place: project.error_curves[place] for place in ("h", "c")}


def target_of(part: Part | None, usage: Usage, at_most: Usage | None = None) -> dict | None:
    """What a part holds, and what a design takes of it; None without a part. An estimate has to fit ``at_most``."""
    if part is None:
        return None
    shares = part.shares(usage)
    return {
        "part": part.name,
        "family": part.family,
        "source": part.source,
        "fits": not part.lacking(at_most or usage),
        "resources": {name: {"taken": taken, "there": there} for name, (taken, there) in shares.items()},
    }


def _rounded(value):
    return float(f"{value:.6g}")


def _kind(layer):
    """What a recurrent layer is, in words."""
    if layer.KIND != "plain":
        return f"{layer.KIND}, projected" if layer.projected else layer.KIND
    return "plain" if layer.activation == "none" else f"plain, {layer.activation}"


def _model(project):
    qmodel = project.qmodel
    layers = [
        {
            "kind": _kind(layer),
            "inputs": layer.input_size,
            "outputs": layer.hidden_size,
            "weights": [str(layer.w_x_format), *[str(layer.w_h_format)] * bool(layer.w_h.size)],
            "preact": str(layer.preact) if getattr(layer, "activation", "tanh") in OF_PREACT else "",
            "cell": str(layer.cell) if layer.KIND != "plain" else "",
            "result": str(layer.hidden),
        }
        for layer in qmodel.layers
    ]
    layers += [
        {
            "kind": "linear" if layer.activation == "none" else f"linear, {layer.activation}",
            "inputs": layer.input_size,
            "outputs": layer.output_size,
            "weights": [str(getattr(layer, kind)) for _, kind, _ in layer.PRODUCTS],
            "preact": str(qmodel.preact) if layer.activation in OF_PREACT else "",
            "cell": "",
            "result": str(layer.output),
        }
        for layer in qmodel.linear
    ]
    return {
        "digest": qmodel.digest(),
        "assumptions": list(project.assumptions),
        "input": str(qmodel.input_format),
        "input_exponents": list(qmodel.input_exponents),
        "output": str(qmodel.output_format),
        "head_every_step": qmodel.head_every_step,
        "layers": layers,
    }


def pruning_of(project: "Project") -> dict | None:
    """What became of each matrix, of the float model and as stored; None without pruning."""
    pruned, config = project.pruned, project.config.prune
    if pruned is None:
        return None
    matrices = []
    for number, layer in enumerate(project.qmodel.layers):
        for kind in MATRICES:
            matrix = pruned.matrices[len(matrices)]
            matrices.append(
                {
                    "matrix": f"{number}.{kind}",
                    "pattern": str(matrix.pattern or DENSE),
                    "weights": matrix.weights.size,
                    "asked": _rounded(matrix.asked),
                    "reached": _rounded(matrix.saved),
                    "zeros": _rounded(float((getattr(layer, kind) == 0).mean())),
                }
            )
    return {"done": config.done, "config": config.to_dict(), "matrices": matrices}


def _accuracy(project, measured):
    whole = project.accuracy()
    if whole is None:
        return None
    simulated = {"simulated": 0, "integer_simulated": None, "verilog": None}
    if measured:
        count, real, score = len(measured.outputs), project.qmodel.dequantize_output, project.metric.score
        simulated = {
            "simulated": count,
            "integer_simulated": score(real(project.outputs[1][:count])),
            "verilog": score(real(measured.outputs)),
        }
    return {**whole, **simulated}


def _numbers(project):
    """What rounding did at every place, by which inputs, and whether the largest error of the outputs is in bounds."""
    output, verdict = project.numbers["output"], project.verdict()
    return {
        "sequences": len(project.inputs),
        "inputs": "test" if project.data.x is not None else "calibration",
        **_all_rounded(project.numbers),
        "relative_error": _rounded(output["max"] / output["peak"]) if output["peak"] else None,
        **_all_rounded(verdict),
    }


def _all_rounded(values):
    if isinstance(values, dict):
        return {name: _all_rounded(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_all_rounded(value) for value in values]
    return _rounded(values) if isinstance(values, float) else values


def _schedule(project):
    plan, choice = project.plan, project.choice.to_dict()
    return {
        "name": plan.schedule,
        "reason": choice.pop("reason"),
        "choice": choice,
        "sequences": plan.sequences,
        "instructions": len(plan.program.instructions),
    }


def _clock(fmax_mhz, target):
    """The clock that times are given at, and whether it was measured."""
    if fmax_mhz is not None:
        return {"mhz": _rounded(fmax_mhz), "measured": True, "basis": "reached by place and route"}
    basis = "assumed, since no clock is given"
    if target.clock is not None or target.board is not None:
        basis = "the constraint target.clock" if target.clock is not None else f"that of the board {target.board}"
    return {"mhz": _rounded(target.clock_mhz), "measured": False, "basis": basis}


def _performance(plan, cycles: Cycles, mhz):
    """Times and rates at a clock; GB are 10**9 bytes, and a multiply-accumulate is two operations."""
    sequences = cycles.macs // plan.network.macs(cycles.steps)
    run_us = cycles.run["cycles"] / mhz
    bytes_read = cycles.run["read_beats"] * plan.config.beat_bytes
    return {
        "run_us": _rounded(run_us),
        "step_us": _rounded(cycles.per_step / mhz),
        "further_step_us": None if cycles.per_further_step is None else _rounded(cycles.per_further_step / mhz),
        "load_us": _rounded(cycles.load["cycles"] / mhz),
        "sequences_per_run": sequences,
        "sequences_per_second": _rounded(sequences / run_us * 1e6),
        "steps_per_second": _rounded(sequences * cycles.steps / run_us * 1e6),
        "gops": _rounded(2 * cycles.macs / run_us / 1000),
        "load_bytes": cycles.load["read_beats"] * plan.config.beat_bytes,
        "run_bytes": bytes_read,
        "bytes_per_step": _rounded(bytes_read / cycles.steps),
        "gbytes_per_s": _rounded(bytes_read / run_us / 1000),
    }


def _layers(plan, steps):
    """Work of each layer in a run; the columns of no layer only wait for tokens."""
    columns = columns_by_layer(plan, steps)
    layers = []
    for number, (layer, vectors) in enumerate(zip(plan.network.layers, plan.network.steps_of(steps), strict=True)):
        macs = layer.macs * vectors * plan.sequences
        layers.append(
            {
                "kind": layer.kind,
                "inputs": layer.inputs,
                "outputs": layer.outputs,
                "parameters": layer.macs + layer.matrix_rows,
                "vectors": vectors,
                "operations": 2 * macs,
                "lane_cycles": columns[number],
                "products_per_lane_cycle": _rounded(macs / (columns[number] * plan.config.lanes))
                if columns[number]
                else None,
            }
        )
    return layers


def _ports(engine):
    """Ports of the emitted top level, in its order."""
    ports = []
    for name, member in members_of(engine).items():
        interfaces = [doc for prefix, doc in INTERFACES.items() if name.startswith(prefix)]
        ports.append(
            {
                "name": name,
                "direction": "input" if member.flow == wiring.In else "output",
                "bits": Shape.cast(member.shape).width,
                "interface": interfaces[0] if interfaces else "clock, reset, interrupt",
            }
        )
    return ports
