"""The report of a project: one set of figures, as JSON, as tables and as plots.

Estimates and measurements stand side by side. The JSON's keys are stable, and nothing in it depends on when or where it
was made.
"""

from dataclasses import dataclass

import numpy as np

from ..files import to_json, whole_folder, write_file
from ..machine.activation import make_activation
from ..proof.cycles import STALLS
from .score import score

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Report:
    """Figures of a project.

    Parameters
    ----------
    figures : dict
        JSON-able; the content of ``report.json``.
    curves : dict
        What only plots need: the lanes' state in every cycle and the errors of every step.
    """

    figures: dict
    curves: dict

    @classmethod
    def of(cls, project, resources=None):
        """Collect the figures of a project, simulated or not.

        Parameters
        ----------
        project : Project
        resources : dict, optional
            The result of a Synthesis.
        """
        from ..proof.timeline import timeline

        measured, engine = project.measured, project.engine
        steps = measured.steps if measured else None
        estimated = project.estimate(steps)
        errors, curves = _errors(project)
        _, curves["lanes"] = timeline(project.plan, estimated.steps)
        figures = {
            "version": FORMAT_VERSION,
            "name": project.config.name,
            "content_id": f"{engine.content_id:#010x}",
            "model": _model(project),
            "accuracy": _accuracy(project, measured),
            "agreement": {
                "integer_interpreter": bool(measured) or None,  # without it there would be no measurement
                "interpreter_verilog": bool(measured) or None,
                "integer_verilog": bool(measured) or None,
                "cycles": measured.cycles_equal if measured else None,
            },
            "simulation": {
                "simulator": measured.simulator,
                "sequences": len(measured.outputs),
                "cycles": measured.cycles_simulated,
            }
            if measured
            else None,
            "cycles": {
                "estimated": estimated.to_dict(),
                "measured": project.cycles_measured(measured).to_dict() if measured else None,
            },
            "resources": {"estimated": {"dsp": dsp_estimate(engine)}, "synthesised": resources},
            "error": errors,
            "schedule": project.plan.schedule,
            "engine": engine.to_dict(),
        }
        return cls(figures, curves)

    def rows(self):
        """The table: tuples of figure, unit, estimate and measurement; an empty text where there is none."""
        figures = self.figures
        accuracy, resources = figures["accuracy"], figures["resources"]
        estimated, measured = figures["cycles"]["estimated"], figures["cycles"]["measured"]
        rows = []
        if accuracy:
            rows += [
                (f"accuracy, {label} ({accuracy['sequences']} sequences)", "%", "", _percent(accuracy[name]))
                for name, label in (("float", "float model"), ("integer", "integer reference"))
            ]
            if accuracy["verilog"] is not None:
                rows.append(
                    (
                        f"accuracy, Verilog ({accuracy['simulated']} sequences; estimate: integer reference)",
                        "%",
                        _percent(accuracy["integer_simulated"]),
                        _percent(accuracy["verilog"]),
                    )
                )

        def cycles(label, unit, value):
            rows.append((label, unit, value(estimated), value(measured) if measured else ""))

        cycles(f"run of {estimated['steps']} steps", "cycles", lambda c: str(c["run"]["cycles"]))
        cycles("step", "cycles", lambda c: f"{c['per_step']:.1f}")
        cycles("further step", "cycles", lambda c: f"{c['per_further_step']:.1f}")
        cycles("stalls between steps", "cycles a step", lambda c: f"{c['interstep_stalls']:.1f}")
        cycles("lane utilisation", "%", lambda c: _percent(c["utilisation"]))
        for name in ("busy", *STALLS, "empty"):
            cycles(f"run: {name.replace('_', ', ')}", "cycles", lambda c, name=name: str(c["run"][name]))
        cycles("load", "beats", lambda c: str(c["load"]["read_beats"]))
        found = resources["synthesised"]
        rows.append(("DSP", "blocks", str(resources["estimated"]["dsp"]), str(found["dsp"]) if found else ""))
        if found:
            rows += [
                ("BRAM", "blocks of 36 Kb", "", f"{found['bram36']:g}"),
                ("LUT as logic", "", "", str(found["lut"])),
                ("LUT as memory", "", "", str(found["lutram"])),
                ("FF", "", "", str(found["ff"])),
                ("longest path", "LUTs", "", str(found["lut_levels"])),
            ]
        return rows

    def agreement(self):
        """What was found equal, in one sentence."""
        if not self.figures["simulation"]:
            return "Not simulated yet."
        simulation, equal = self.figures["simulation"], self.figures["agreement"]
        sentence = (
            f"Integer reference, interpreter and Verilog ({simulation['simulator']}) agree in every output bit "
            f"of {simulation['sequences']} sequences"
        )
        if equal["cycles"]:
            return f"{sentence}, and estimated and measured counters in every run."
        return f"{sentence}; cycles were not compared, since streams or memory were held back."

    def table(self):
        """The rows as aligned text."""
        rows = [("figure", "unit", "estimate", "measured"), *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, "<<>>", widths, strict=True))
            for row in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join(line.rstrip() for line in lines)

    def markdown(self, plots=()):
        """The report as a page; ``plots`` are (title, file)."""
        figures = self.figures
        lines = [
            f"# {figures['name']}",
            "",
            f"Content id {figures['content_id']}. {self.agreement()}",
            "",
            "| figure | unit | estimate | measured |",
            "| --- | --- | ---: | ---: |",
            *(f"| {' | '.join(row)} |" for row in self.rows()),
            "",
            "## Model",
            "",
            "| layer | inputs | outputs | weights | preact | result |",
            "| --- | ---: | ---: | --- | --- | --- |",
            *(
                f"| {n} {layer['kind']} | {layer['inputs']} | {layer['outputs']} | {', '.join(layer['weights'])} "
                f"| {layer['preact']} | {layer['result']} |"
                for n, layer in enumerate(figures["model"]["layers"])
            ),
            "",
            f"Inputs are {figures['model']['input']}; the activation unit is {figures['engine']['activation']}.",
            *(f"Assumed: {assumption}." for assumption in figures["model"]["assumptions"]),
            "",
            "## Error of quantisation",
            "",
            "Against the float model, over all test sequences and steps.",
            "",
            "| layer | h, largest | h, RMS | c, largest | c, RMS |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(
                f"| {n} | {' | '.join(f'{e[k]:.3g}' for k in ('h_max', 'h_rms', 'c_max', 'c_rms'))} |"
                for n, e in enumerate(figures["error"])
            ),
            "",
            "## Engine",
            "",
            "| setting | value |",
            "| --- | --- |",
            *(f"| {name} | {value} |" for name, value in figures["engine"].items()),
            "",
        ]
        for title, file in plots:
            lines += [f"![{title}]({file})", ""]
        return "\n".join(lines)

    def write(self, folder, plots=True):
        """Write ``report.json``, ``report.md`` and the plots into a folder, which is replaced.

        Returns
        -------
        Report
            This.
        """
        with whole_folder(folder) as new:
            drawn = []
            if plots:
                from .plots import draw

                drawn = draw(self, new)
            write_file(new / "report.json", to_json(self.figures))
            write_file(new / "report.md", self.markdown(drawn))
        return self


def dsp_estimate(engine):
    """DSP blocks: one a lane or pair of 8-bit lanes, in each cell one and those of the activation's polynomial."""
    activation = make_activation(engine.activation, engine.preact, engine.activated)
    return engine.lanes // engine.lanes_per_dsp + engine.cells * (1 + activation.degree)


def _percent(share):
    return f"{100 * share:.2f}"


def _model(project):
    qmodel = project.qmodel
    layers = [
        {
            "kind": "lstm",
            "inputs": layer.input_size,
            "outputs": layer.hidden_size,
            "weights": [str(layer.w_x_format), str(layer.w_h_format)],
            "preact": str(layer.preact),
            "result": str(layer.hidden),
        }
        for layer in qmodel.layers
    ]
    if qmodel.head is not None:
        head = qmodel.head
        layers.append(
            {
                "kind": "linear",
                "inputs": head.input_size,
                "outputs": head.output_size,
                "weights": [str(head.w_format)],
                "preact": "",
                "result": str(head.output),
            }
        )
    return {
        "digest": qmodel.digest(),
        "input": str(qmodel.input_format),
        "head_every_step": qmodel.head_every_step,
        "assumptions": list(project.model.assumptions),
        "layers": layers,
    }


def _accuracy(project, measured):
    whole = project.accuracy()
    if whole is None:
        return None
    labels = project.data.labels
    simulated = {"simulated": 0, "integer_simulated": None, "verilog": None}
    if measured:
        count = len(measured.outputs)
        integer = project.predict(project.x[:count], stored=True)
        simulated = {
            "simulated": count,
            "integer_simulated": score(integer, labels),
            "verilog": score(measured.outputs, labels),
        }
    return {**whole, **simulated}


def _errors(project):
    """Largest and RMS error of h and c a layer, and the curves over the steps."""
    x = project.data.x if project.data.x is not None else project.data.calibration
    errors, curves = [], {"h": [], "c": []}
    for layer in project.trace(x):
        error = {}
        for name in ("h", "c"):
            exact, rounded = layer[name]
            difference = np.abs(exact - rounded)
            error |= {f"{name}_max": float(difference.max()), f"{name}_rms": float(np.sqrt((difference**2).mean()))}
            curves[name].append((difference.max(axis=(0, 2)), np.sqrt((difference**2).mean(axis=(0, 2)))))
        errors.append({key: float(f"{value:.6g}") for key, value in error.items()})
    return errors, curves
