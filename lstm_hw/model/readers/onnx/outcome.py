"""The model of what was found in an ONNX graph."""

from dataclasses import replace

from ....errors import ModelError
from ....machine.arrangement import Arrangement
from ...both_ways import in_parts, steps_of
from ...float_model import FloatModel
from ...functions import USUAL
from ..joined import behind
from ..options import ALL, FINAL, HEAD_MODES, NO_HEAD, ReadOptions
from .file import OnnxFile
from .flow import BOTH, LAYERS, OF_LAYERS, TIME, Flow, Found


def outcome(file: OnnxFile, flow: Flow, found: Found, options: ReadOptions) -> FloatModel:
    """The model, whose output is a tensor."""
    if flow.name not in {output.name for output in file.graph.output} and options.head_prefix != NO_HEAD:
        raise ModelError(f"{file.path}: {flow.name}", "not an output of the graph", "must be the model's output")
    if len(file.graph.output) > 1:
        names = ", ".join(output.name for output in file.graph.output if output.name != flow.name)
        found.assumptions.append(f"model.path: outputs of {file.path.name} that are not given: {names}")
    flow = found.alone(flow, f"{file.path}: {flow.name}")
    linear, final = found.chain.layers, found.final if found.chain.layers else flow.final
    if not linear and flow.last:
        given = "the last h of both directions" if found.backward and final else "h of the last step"
        here = "that of every step is given, in the order of the run" if final and found.direction else ""
        here = here or "h of every step is given"
        found.assumptions.append(f"model.path: {file.path.name} gives {given}; here {here}")
    if BOTH in flow.axes or OF_LAYERS in flow.axes:
        what = f"h of both directions, with axes {flow.axes}"
        rule = "must be brought together by a Transpose and a Reshape, or by Gather and Concat"
        raise ModelError(f"{file.path}: {flow.name}", what, rule)
    if LAYERS in flow.axes and linear:
        rule = "must be of the last layer alone: a Gather takes it"
        raise ModelError(f"{file.path}: {flow.name}", "outputs for h of all layers", rule)
    if flow.all and not linear and options.head_prefix != NO_HEAD:
        rule = "must be read by a linear layer"
        raise ModelError(f"{file.path}: {flow.name}", "h of all steps side by side", rule)
    if found.repeated:
        rule = "must be read by a recurrent node or a linear layer"
        raise ModelError(f"{file.path}: {flow.name}", "the last step, repeated", rule)
    if linear and flow.last and found.every_step:
        _chosen_behind(file, linear, found)
    mode = ALL if found.steps else FINAL if found.backward and final else HEAD_MODES[found.every_step]
    if linear:
        options.agree(file.path, mode)
    said = {"source": str(file.path), "functions": found.functions or USUAL}
    said |= {"assumptions": tuple(found.assumptions), "left_out": found.chain.left_out}
    arrangement = Arrangement()
    if found.direction == b"reverse" and not found.steps:
        arrangement = _reverse(file, linear, flow, found, final)
    if found.waits:
        repeats = found.repeats[0] if found.repeats and not found.repeats[1] else 0
        said |= steps_of(found.lengths.get(TIME), repeats, options.most_steps)
        return in_parts(found.parts, linear, mode, reads=arrangement.reads, sends=arrangement.sends, **said)
    if found.steps and found.direction == b"reverse":
        rule = "must be of nodes that read forward: the weights of each step are in the order of x"
        raise ModelError(f"{file.path}: {flow.name}", "h of all steps of a reverse direction", rule)
    said["arrangement"] = replace(arrangement, steps=found.steps)
    every_step = bool(linear) and found.every_step
    more, found.chain.layers = behind(linear, every_step)
    return FloatModel((*found.layers, *more), **found.chain.parts, **said, head_every_step=every_step)


def _chosen_behind(file, linear, found):
    """The last step is chosen of what linear layers give, which read h of that step alone then."""
    reverse, both = found.direction == b"reverse", bool(found.parts[-1].backward)
    if reverse or both and len(linear) == 1 and linear[0].activation != "none":
        told = f"model.path: {file.path.name} gives outputs of the last step; here those of every step are given"
        found.assumptions.append(told)
    else:
        found.every_step = False


def _reverse(file, linear, flow, found, final):
    """What software does for layers that all read from the end, whose h are in the order of x."""
    if final:
        return Arrangement("backward", "sent")
    if linear and not found.every_step or not linear and flow.last:
        what = "h of the last step, the first that a reverse direction computes"
        raise ModelError(f"{file.path}: {flow.name}", what, "must be Y_h, the last one")
    return Arrangement("backward", "backward")
