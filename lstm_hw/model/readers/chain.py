"""Linear layers in front of an LSTM or behind it, as a reader finds them one after the other."""

from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import ModelError
from ...machine.isa import ACTIVATIONS
from ..float_model import DenseWeights, PlainWeights
from ..functions import LEFT_OUT
from .options import ReadOptions

_SPELLED = {"": "none", "linear": "none", "logistic": "sigmoid", "log_softmax": "logsoftmax"}
"""What frameworks call an activation, in small letters -> its name here, where that is another."""


@dataclass
class LinearChain:
    """What a reader has found of the chain so far.

    Parameters
    ----------
    assumptions : list of str
        Gets a sentence for what is left out.
    layers : list of DenseWeights
    options : ReadOptions
        They may not scale outputs whose softmax is left out.
    softmax : str
        Whose softmax was left out: nothing may follow.
    left_out : str
        Which one, of :data:`~lstm_hw.model.functions.LEFT_OUT`.
    """

    assumptions: list[str]
    options: ReadOptions
    layers: list[DenseWeights] = field(default_factory=list)
    softmax: str = ""
    left_out: str = ""

    def add(self, layer: DenseWeights) -> None:
        """The next linear layer."""
        self.check_open(layer.source)
        self.layers.append(layer)

    def activate(self, activation: object, subject: str, name: str) -> None:
        """The activation of the last linear layer, as a framework calls it; ``name`` is what has it, for people."""
        spelled = activation.lower() if isinstance(activation, str) else activation
        found = _SPELLED.get(spelled, spelled) if isinstance(spelled, str) else None
        if found == "none":
            return
        self.check_open(subject)
        if found in LEFT_OUT and self.layers:
            self.options.refuse(f"the {found} of {name} is left out in front of it", "output_scale", "output_offset")
            self.softmax, self.left_out = name, found
            told = f"model.path: {found} of {name} is left out: the largest output stays the largest"
            self.assumptions.append(told)
            return
        subject = f"{subject}: activation"
        if found not in ACTIVATIONS or not self.layers:
            rule = (
                f"must be one of linear, {', '.join(ACTIVATIONS[1:])} behind a linear layer, or softmax at the very end"
            )
            raise ModelError(subject, f"{activation!r:.80}", rule)
        if self.layers[-1].activation != "none":
            found = f"{activation!r:.80} behind {self.layers[-1].activation}"
            raise ModelError(subject, found, "must be the only one of its layer")
        self.layers[-1] = replace(self.layers[-1], activation=found)

    def taken(self, subject: str) -> list[PlainWeights]:
        """What has been found, in front of a recurrent layer that follows; the chain begins anew."""
        self.check_open(subject)
        found, self.layers = [PlainWeights.of_dense(layer) for layer in self.layers], []
        return found

    def steps(self, units: int) -> int:
        """How many steps the first layer has weights of its own for, where it reads so many units of each."""
        layer = self.layers[0]
        if layer.input_size % units:
            found, rule = f"{layer.input_size} inputs", f"must be a multiple of the {units} units of each step"
            raise ModelError(layer.source, found, rule)
        return layer.input_size // units

    @property
    def parts(self) -> dict[str, Any]:
        """Arguments of a FloatModel: ``head`` and ``dense``."""
        *dense, head = self.layers or [None]
        return {"head": head, "dense": tuple(dense)}

    def check_open(self, subject: str) -> None:
        """Refuse what stands behind a softmax, which was left out."""
        if self.softmax:
            raise ModelError(
                subject, f"behind the softmax of {self.softmax}", "must have no softmax but at the very end"
            )
