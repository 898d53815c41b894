"""Quantisation-aware fine-tuning: a torch module that computes with the hardware's numbers and can be trained.

Its forward pass gives the bits of :func:`~lstm_hw.model.reference.integer_reference`; its backward pass takes every
rounding for the identity within its format's range, and for constant beyond it (the straight-through estimator of
Bengio, Leonard and Courville, 2013). Formats are those of a quantised model and stay; weights are real numbers and
move::

    tuned = FineTune(model, quantize(model, calibration, config))
    ...                                   # any torch optimizer and loss on tuned(x), or distil()
    tuned.quantized()                     # the model in the hardware's numbers
    tuned.float_model()                   # the same weights for a model file; quantised by the same rules they stay

Needs torch.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..errors import FormatError, ModelError
from ..machine.formats import QFormat
from ..machine.shared_activation import make_exponential
from .float_model import FloatModel, refuse_arranged, refuse_peepholes, refuse_plain, unread, with_layers
from .quant_layer import OF_PREACT, QuantLayer
from .quant_model import QuantModel
from .reference import float_reference
from .sources import refuse_sources

FLOAT_BITS = 53
"""Integers of fewer bits, and so sums that stay below, are exact in float64."""
HALF_UP = "half_up"
SEQUENCES = 256
"""Sequences that are judged at a time."""


class FineTune(torch.nn.Module):
    """A quantised model whose weights can be trained.

    Parameters
    ----------
    model : FloatModel
        Where the weights start.
    qmodel : QuantModel
        What it was quantised to: formats, scales of the inputs, activation unit.

    Raises
    ------
    ModelError
        ``qmodel`` is not of the shapes of ``model``.
    ConfigError
        The model has plain layers or a projection.
    FormatError
        A format does not round half up and saturate, or sums are not exact in float64.
    """

    def __init__(self, model: FloatModel, qmodel: QuantModel):
        super().__init__()
        refuse_plain(model, "fine-tuning")
        refuse_arranged(model, "fine-tuning")
        refuse_sources(model, "fine-tuning")
        refuse_peepholes(model, "fine-tuning")
        shapes = [(layer.input_size, layer.hidden_size) for layer in model.layers]
        found = [(layer.input_size, layer.hidden_size) for layer in qmodel.layers]
        shapes += [(layer.input_size, layer.output_size) for layer in model.linear]
        found += [(layer.input_size, layer.output_size) for layer in qmodel.linear]
        if shapes != found or len(model.linear) != len(qmodel.linear):
            raise ModelError(model.source, f"layers {shapes}", f"must have the shapes of the quantised model, {found}")
        self.model, self.template = model, qmodel
        parts = list(zip((*model.layers, *model.linear), (*qmodel.layers, *qmodel.linear), strict=True))
        for _, layer in parts:
            _check(layer)
        self.scales = torch.as_tensor(np.exp2(qmodel.input_exponents or [0.0] * qmodel.input_size))
        self.layers = torch.nn.ModuleList(
            _Rounded(layer, self._start(weights, layer, number)) for number, (weights, layer) in enumerate(parts)
        )
        self.tables = [_Tables(qmodel, layer, model.functions) for layer in qmodel.layers]

    def _start(self, weights, layer, number):
        """The arrays of a part as real numbers, W_x divided by the inputs' scales.

        What the quantised model rounded otherwise than to the nearest starts where it is there.
        """
        arrays = {name: np.array(getattr(weights, name)) for name in layer.ARRAYS}
        if number == 0:
            arrays["w_x"] = arrays["w_x"] / self.scales.numpy()
        if "skip" in arrays:
            arrays["skip"] = arrays["skip"] / self.scales.numpy()
        for name, values in arrays.items():
            number_format, stored = getattr(layer, layer.ARRAYS[name]), getattr(layer, name)
            rows = np.exp2(layer.row_shift).reshape(-1, *[1] * (values.ndim - 1))
            same = number_format.quantize(values * rows) == stored
            arrays[name] = np.where(same, values, layer.real(name))
        return arrays

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs in real numbers, each of them one that the hardware gives.

        Parameters
        ----------
        x : tensor (N, T, Lx)
            Real numbers.

        Returns
        -------
        float64 tensor
            (N, O) of a head on the last step, (N, T, O) of a head on every step, (N, T, H) without head.
        """
        qmodel = self.template
        given = x = _rounded(x.double() * self.scales, qmodel.input_format)
        for layer, part, tables in zip(qmodel.layers, self.layers, self.tables, strict=False):
            x = _run(layer, part.rounded(), tables, x)
        if qmodel.head is None:
            return x
        x = x if qmodel.head_every_step else x[:, -1]
        for layer, part in zip(qmodel.linear, self.layers[len(qmodel.layers) :], strict=True):
            weights = part.rounded()
            sums = x @ weights["weight"].T + weights["bias"]
            sums = sums + given @ weights["skip"].T if "skip" in weights else sums
            sums = _rounded(sums, layer.rounded_format(qmodel.preact))
            x = _rounded(_activated(layer.activation, self.tables[-1], sums), layer.output)
        return x

    def quantized(self) -> QuantModel:
        """The quantised model of the weights as they are now."""
        parts = [part.quantized() for part in self.layers]
        count = len(self.template.layers)
        return with_layers(self.template, parts[:count], parts[count:])

    def float_model(self) -> FloatModel:
        """The weights as they are now, rounded to what the hardware has, as a model in floating point."""
        with torch.no_grad():
            arrays = [{name: value.numpy() for name, value in part.rounded().items()} for part in self.layers]
        arrays[0]["w_x"] = arrays[0]["w_x"] * self.scales.numpy()
        if self.model.head is not None and self.model.head.skip is not None:
            arrays[-1]["skip"] = arrays[-1]["skip"] * self.scales.numpy()
        parts = (*self.model.layers, *self.model.linear)
        parts = [replace(layer, **values) for layer, values in zip(parts, arrays, strict=True)]
        count = len(self.model.layers)
        return with_layers(self.model, parts[:count], parts[count:])


def _activated(activation, tables, sums):
    """Results of a linear layer's activation."""
    if activation in OF_PREACT:
        return tables(activation, sums)
    return torch.relu(sums) if activation == "relu" else sums


class _Rounded(torch.nn.Module):
    """The weights of one part: real parameters, and what they are rounded to. A skip is none that training moves."""

    def __init__(self, layer, arrays):
        super().__init__()
        self.layer, self.unread = layer, unread(layer) if hasattr(layer, "KIND") else {}
        self.values = torch.nn.ParameterDict(
            {name: torch.nn.Parameter(torch.as_tensor(value), name != "skip") for name, value in arrays.items()}
        )

    def rounded(self):
        formats = {name: getattr(self.layer, kind) for name, kind in self.layer.ARRAYS.items()}
        return {
            name: _rounded(value * self._rows(value), formats[name]) / self._rows(value) * self._there(name, value)
            for name, value in self._items()
        }

    def quantized(self):
        with torch.no_grad():
            formats = {name: getattr(self.layer, kind) for name, kind in self.layer.ARRAYS.items()}
            stored = {
                name: formats[name].quantize((value * self._rows(value) * self._there(name, value)).numpy())
                for name, value in self._items()
            }
            return replace(self.layer, **stored)

    def _there(self, name, value):
        """0 where the kind of the layer has no weight, 1 elsewhere."""
        there = torch.ones_like(value)
        for part in self.unread.get(name, ()):
            there[part] = 0
        return there

    def _rows(self, value):
        """2 to the power of each row's shift."""
        return torch.as_tensor(np.exp2(self.layer.row_shift)).reshape(-1, *[1] * (value.dim() - 1))

    def _items(self):
        return self.values.items()


_SIGMOIDS = {
    "sigmoid": torch.sigmoid,
    "hard5": lambda x: (x / 5 + 0.5).clamp(0, 1),
    "hard6": lambda x: (x / 6 + 0.5).clamp(0, 1),
}
_TANHS = {"tanh": torch.tanh, "hard5": lambda x: x.clamp(-1, 1)}


class _Tables:
    """Sigmoid and tanh as the hardware has them: results by pre-activation, in real numbers."""

    def __init__(self, qmodel, layer, functions):
        self.smooth = {"sigmoid": _SIGMOIDS[functions[0]], "tanh": _TANHS[functions[1]], "elu": torch.nn.functional.elu}
        self.argument, preact, result = qmodel.argument_of(layer), qmodel.preact, layer.activation_format
        results = qmodel.unit_of(layer).results
        self.sigmoid, self.tanh = (torch.as_tensor(result.to_float(table)) for table in results)
        table = make_exponential(preact, result)
        elu = np.where(table.inputs < 0, result.to_float(table.elu(table.inputs)), preact.to_float(table.inputs))
        self.elu = torch.as_tensor(elu)
        self.formats = {"sigmoid": self.argument, "tanh": self.argument, "elu": preact}

    def __call__(self, name, pre):
        """Values of a table, ``sigmoid``, ``tanh`` or ``elu``; gradients of the function."""
        smooth = self.smooth[name](pre)
        of = self.formats[name]
        exact = getattr(self, name)[(pre.detach() * 2.0**of.fraction).long() - of.lowest]
        return smooth + (exact - smooth).detach() if pre.requires_grad else exact


def _run(layer, weights, tables, x):
    """Hidden states (N, T, H) of one layer."""
    h = x.new_zeros((x.shape[0], layer.hidden_size))
    c, outputs = h, []
    if layer.initial is not None:
        formats = layer.hidden, layer.cell
        h, c = (h + torch.as_tensor(f.to_float(v)) for f, v in zip(formats, layer.initial, strict=True))
    units = layer.hidden_size
    for step in range(x.shape[1]):
        sums = x[:, step] @ weights["w_x"].T + h @ weights["w_h"][:, :units].T + weights["bias"]
        if layer.reset_before:
            r = _rounded(sums[:, :units], layer.preact)
            reset, _ = _gru(layer, tables, (r, r, torch.zeros_like(r), torch.zeros_like(r)), c)
            sums = sums + reset @ weights["w_h"][:, units:].T
        h, c = CELLS[layer.KIND](layer, tables, _rounded(sums, layer.preact).chunk(4, dim=1), c)
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def _lstm(layer, tables, sums, c):
    """New h and c (N, H)."""
    i, f, g, o = sums
    i, f, o = (tables("sigmoid", gate) for gate in (i, f, o))
    exact = f * c + i * tables("tanh", g)
    argument = _rounded(exact, tables.argument)
    return _rounded(o * tables("tanh", argument), layer.hidden), _rounded(exact, layer.cell)


def _gru(layer, tables, sums, c):
    r, z, n_x, n_h = sums
    r, z = (tables("sigmoid", gate) for gate in (r, z))
    n = tables("tanh", _rounded(n_x + r * n_h, tables.argument))
    exact = z * c + (1 - z) * n
    return _rounded(exact, layer.hidden), _rounded(exact, layer.cell)


CELLS = {"lstm": _lstm, "gru": _gru}
"""Kind -> the function of a step."""


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(context, values, number_format):
        stored = torch.floor(values * 2.0**number_format.fraction + 0.5)
        bounded = stored.clamp(number_format.lowest, number_format.highest)
        context.save_for_backward(stored == bounded)
        return bounded * number_format.lsb

    @staticmethod
    def backward(context, gradient):
        return gradient * context.saved_tensors[0], None


def _rounded(values: torch.Tensor, number_format: QFormat) -> torch.Tensor:
    """Values rounded half up and bounded to a format; gradients pass where nothing was bounded."""
    return _Round.apply(values, number_format)


def _check(layer: QuantLayer):
    for name in vars(layer):
        value = getattr(layer, name)
        if isinstance(value, QFormat) and (value.rounding, value.overflow) != (HALF_UP, "saturate"):
            raise FormatError(f"{layer.source}: {name}", value, "must round half up and saturate to be fine-tuned")
    if layer.accumulator_bits >= FLOAT_BITS:
        rule = f"must be below {FLOAT_BITS} to be fine-tuned"
        raise FormatError(f"{layer.source}: accumulator", f"{layer.accumulator_bits} bits", rule)


def distil(
    model: FloatModel,
    qmodel: QuantModel,
    x: np.ndarray,
    epochs: int = 100,
    rate: float = 2e-3,
    batch: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FineTune:
    """Fine-tune towards the outputs of the float model, so that neither labels nor the training set are needed.

    Least squares by Adam, the rate falling to zero along a cosine. The weights of the epoch with the least error stay:
    the result is never worse on ``x`` than what it starts from.

    Parameters
    ----------
    model : FloatModel
    qmodel : QuantModel
        What ``model`` was quantised to.
    x : float array (N, T, Lx)
        Inputs that are typical of use, as those of the calibration.
    epochs : int
        Passes over ``x``.
    rate : float
        Largest step of Adam, as a share of the largest weight of its matrix.
    batch : int
        Sequences a step.
    seed : int
        Of the order of the sequences.
    progress : callable, optional
        Called as ``progress(done, total)`` after each epoch.

    Returns
    -------
    FineTune
    """
    tuned, generator = FineTune(model, qmodel), torch.Generator().manual_seed(seed)
    targets = torch.as_tensor(float_reference(model, x)[0])
    inputs = torch.as_tensor(np.asarray(x, dtype=np.float64))
    groups = [
        {"params": [value], "lr": rate * float(value.detach().abs().max()) or rate} for value in tuned.parameters()
    ]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // batch))

    def error():
        with torch.no_grad():
            parts = zip(inputs.split(SEQUENCES), targets.split(SEQUENCES), strict=True)
            return sum(float((tuned(part) - target).square().sum()) for part, target in parts)

    def state():
        return {name: value.clone() for name, value in tuned.state_dict().items()}

    best = error(), state()
    for epoch in range(epochs):
        for chosen in torch.randperm(len(inputs), generator=generator).split(batch):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(tuned(inputs[chosen]), targets[chosen]).backward()
            torch.nn.utils.clip_grad_norm_(tuned.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        best = min(best, (error(), state()), key=lambda found: found[0])
        if progress:
            progress(epoch + 1, epochs)
    tuned.load_state_dict(best[1])
    return tuned
