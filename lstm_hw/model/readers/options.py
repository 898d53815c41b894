"""What a user may say of a model file that does not say it itself, and what every reader is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import ConfigError
from ...machine.arrangement import MOST_STEPS
from ...machine.isa import ACTIVATIONS
from ..float_model import FloatModel

HEAD_MODES = ("last_step", "every_step")
FINAL = "final_state"
"""What the head of a bidirectional layer may read besides: the last h of each direction, which are of two steps."""
ALL = "all_steps"
"""What the first linear layer may read besides: h of all steps side by side, of a sequence of as many as it has weights
for."""
NO_HEAD = "none"
"""What a file without a head may say of it, and the head's prefix where a file's linear layers are to be left out."""
ZERO = "zero"
OUTSIDE = "outside"
NONLINEARITY = "nonlinearity"
"""What a file calls it that says it, behind the prefix of the RNN."""
NONLINEARITIES = ("tanh", "relu")
"""Of a plain RNN, as PyTorch names them; what is taken where nobody says it comes first."""
SKIPS = ("first", "all")
"""Which inputs are added to the outputs."""
RESIDUALS = ("h + x", "h, x", "x, h")
"""What is behind a recurrent module instead of its h, x being what it reads: their sum, or both side by side."""
HEAD_INPUTS = ("h", *RESIDUALS)
"""What a linear layer reads, h being what the one in front of it gives: that alone, or with x as behind a module."""
OF_TENSORS = ("nonlinearity", "front_prefix", "front_activations", "residual", "head_inputs")
"""Options of files of tensors alone, whatever else the file says."""
AROUND = ("input_scale", "input_offset", "output_scale", "output_offset", "held")
"""Options of what happens to inputs and outputs outside."""
HEAD_OPTIONS = ("head_prefix", "head_activations")
HEAD_ASSUMED = (
    "model.head: {path} does not say it; taken as {mode!r} (the head reads h of the last step, not {other!r})"
)
"""What is told of a model whose head's mode is said nowhere."""


@dataclass(frozen=True)
class ReadOptions:
    """Keys of [model].

    Parameters
    ----------
    gate_order : str, optional
        Order of the stacked gates, as ``ifgo`` or ``rzn``, for a file that does not say it.
    head : {"last_step", "every_step", "final_state", "all_steps"}, optional
        Which hidden states the linear head reads, for a file that does not say it; ``final_state`` of a bidirectional
        layer, ``all_steps`` of another.
    prefix : str or tuple of str, optional
        What the names of the LSTM's tensors, layers or nodes begin with, in a file that holds more than the LSTM and
        its head. What else is there is left out, and the model's assumptions say so. Of several LSTMs that follow one
        another in a file of tensors each one's, in order.
    head_prefix : str or tuple of str, optional
        The same for the linear head; ``none`` for the LSTM alone. Of a chain of linear layers each one's, in order.
    head_activations : str or tuple of str, optional
        What follows each of the linear layers, in a file of tensors, which does not say it.
    head_inputs : str or tuple of str, optional
        What each of them reads, one of :data:`HEAD_INPUTS`, in a file of tensors: h, of the LSTM or the linear layer in
        front, alone or with what the LSTM's first layer reads, x.
    front_prefix, front_activations : str or tuple of str, optional
        The same of linear layers in front of the LSTM, on every step, in a file of tensors.
    initial_state : "zero" or tuple of str, optional
        Begin with h = c = 0 although the file holds another state; or the names of two tensors, h and c (layers, H).
    skip : {"first", "all", "outside"}, optional
        The first input, or all inputs, are added to the outputs, in a file of tensors, which does not say it; or the
        addition of x to the outputs that the file asks for is left out.
    residual : {"h + x", "h, x", "x, h"}, optional
        What is behind the LSTM, or each of several, instead of its h, where x is what its first layer reads, in a file
        of tensors.
    nonlinearity : {"tanh", "relu"}, optional
        Of a plain RNN in a file of tensors, which does not say it.
    most_steps : int, optional
        Most steps of a sequence, where layers wait for h of all of them: so many are kept on chip.
    input_scale, input_offset, output_scale, output_offset : float or tuple of float, optional
    held : dict of str to float, optional
        What happens to inputs and outputs outside of the file's network; see :func:`lstm_hw.model.fold.folded`.
    """

    gate_order: str | None = None
    head: str | None = None
    prefix: str | tuple[str, ...] | None = None
    head_prefix: str | tuple[str, ...] | None = None
    head_activations: str | tuple[str, ...] | None = None
    head_inputs: str | tuple[str, ...] | None = None
    initial_state: str | tuple[str, ...] | None = None
    skip: str | None = None
    front_prefix: str | tuple[str, ...] | None = None
    front_activations: str | tuple[str, ...] | None = None
    nonlinearity: str | None = None
    residual: str | None = None
    most_steps: int | None = None
    input_scale: float | tuple[float, ...] | None = None
    input_offset: float | tuple[float, ...] | None = None
    output_scale: float | tuple[float, ...] | None = None
    output_offset: float | tuple[float, ...] | None = None
    held: Mapping[str, float] | None = field(default=None, hash=False)

    @property
    def around(self) -> dict[str, Any]:
        """What happens outside of the network: those of :data:`AROUND` that are given."""
        return {name: getattr(self, name) for name in AROUND if getattr(self, name) is not None}

    def __post_init__(self):
        known = (*HEAD_MODES, FINAL, ALL)
        if self.head not in (None, *known):
            raise ConfigError("model.head", repr(self.head), f"must be one of {', '.join(known)}")
        lists = ("prefix", "head_prefix", "head_activations", "head_inputs", "front_prefix", "front_activations")
        for name in (*lists, "initial_state"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):  # a list of one is that one
                object.__setattr__(self, name, value[0] if len(value) == 1 else tuple(value) or None)
        for name in ("head_activations", "front_activations"):
            for activation in _tuple(getattr(self, name)):
                if activation not in ACTIVATIONS:
                    rule = f"must be one of {', '.join(ACTIVATIONS)}, or a list with one for each linear layer"
                    raise ConfigError(f"model.{name}", repr(activation), rule)
        for way in self.inputs:
            if way not in HEAD_INPUTS:
                rule = f"must be one of {', '.join(map(repr, HEAD_INPUTS))}, or a list with one for each linear layer"
                raise ConfigError("model.head_inputs", repr(way), rule)
        state = self.initial_state
        if state not in (None, ZERO) and not (isinstance(state, tuple) and len(state) == 2):
            rule = f"must be {ZERO!r}, or a list of two tensors of the file: h and c, or h twice where there is no c"
            raise ConfigError("model.initial_state", repr(state), rule)
        if self.most_steps is not None and not 2 <= self.most_steps <= MOST_STEPS:
            raise ConfigError("model.most_steps", self.most_steps, f"must be 2 to {MOST_STEPS}")
        if self.nonlinearity not in (None, *NONLINEARITIES):
            rule = f"must be one of {', '.join(NONLINEARITIES)}"
            raise ConfigError("model.nonlinearity", repr(self.nonlinearity), rule)
        if self.residual not in (None, *RESIDUALS):
            rule = f"must be one of {', '.join(map(repr, RESIDUALS))}"
            raise ConfigError("model.residual", repr(self.residual), rule)
        if self.skip not in (None, OUTSIDE, *SKIPS):
            raise ConfigError("model.skip", repr(self.skip), f"must be one of {', '.join((*SKIPS, OUTSIDE))}")

    @property
    def head_prefixes(self) -> tuple[str, ...]:
        """Of each linear layer that is named; none where nothing is said."""
        return _tuple(self.head_prefix)

    @property
    def activations(self) -> tuple[str, ...]:
        """What is said to follow the linear layers."""
        return _tuple(self.head_activations)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is said that the linear layers read."""
        return _tuple(self.head_inputs)

    @property
    def front_prefixes(self) -> tuple[str, ...]:
        """Of each linear layer in front that is named."""
        return _tuple(self.front_prefix)

    @property
    def in_front(self) -> tuple[str, ...]:
        """What is said to follow the linear layers in front."""
        return _tuple(self.front_activations)

    def refuse(self, why: str, *names: str) -> None:
        """Refuse options that mean nothing for a file: those of ``names`` that are given."""
        for name in names:
            if getattr(self, name) is not None:
                raise ConfigError(f"model.{name}", repr(getattr(self, name)), f"must not be given: {why}")

    def refuse_tensors(self, path: object) -> None:
        """Refuse what only files of tensors need to be told."""
        if isinstance(self.initial_state, tuple):
            rule = f"must be {ZERO!r} or not given: {path} says its state itself"
            raise ConfigError("model.initial_state", repr(self.initial_state), rule)
        if self.skip in SKIPS:
            raise ConfigError("model.skip", repr(self.skip), f"must be {OUTSIDE!r} or not given: {path} says it itself")
        self.refuse(f"{path} says it", *OF_TENSORS)

    def agree(self, path: object, mode: str) -> None:
        """Refuse a mode of the head other than the file's."""
        if self.head not in (None, mode):
            raise ConfigError("model.head", repr(self.head), f"must be {mode!r}, as {path} has it")


def _tuple(value):
    return value if isinstance(value, tuple) else () if value is None else (value,)


class Reader(Protocol):
    """An open file. Opening it reads no more than it must to say what is in it, and raises ModelError."""

    def contents(self) -> list[str]:
        """What is in the file, a line each."""
        ...

    def model(self, options: ReadOptions) -> FloatModel:
        """The trained model; ModelError or ConfigError where file or options do not give one."""
        ...
