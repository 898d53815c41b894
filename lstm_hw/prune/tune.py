"""Fine-tuning what pruning left, in torch: pruned weights stay 0, equal ones equal, through all training.

In a training loop of one's own :func:`hold` does it::

    model = ...                                        # with an nn.LSTM
    pruned = prune(load_model("model.safetensors"), config)
    optimizer = torch.optim.Adam(model.parameters())
    hold(lstm_matrices(model.lstm), pruned, optimizer)

:func:`fine_tune` is such a loop, with the numbers of the hardware if a QuantConfig is given. Needs torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from ..errors import ConfigError, InputError, ModelError
from ..model.fine_tune import FineTune
from ..model.float_model import FloatModel, refuse_peepholes, with_layers
from ..model.functions import USUAL
from ..model.quant_config import QuantConfig
from ..model.quantize import quantize
from ..model.reference import checked_sequences
from .apply import Pruned, PrunedMatrix, quantizing
from .settings import MATRICES


def lstm_matrices(lstm: torch.nn.LSTM, first: int = 0) -> dict[str, torch.nn.Parameter]:
    """The matrices of an ``nn.LSTM`` by their names here, as ``0.w_x``; ``first`` is the number of its first layer."""
    names = zip(MATRICES, ("weight_ih", "weight_hh"), strict=True)
    pairs = [(kind, name) for kind, name in names]
    return {
        f"{first + number}.{kind}": getattr(lstm, f"{name}_l{number}")
        for number in range(lstm.num_layers)
        for kind, name in pairs
    }


def hold(
    matrices: Mapping[str, torch.nn.Parameter], pruned: Pruned, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Give matrices the pattern of a pruned model, now and through training.

    Their weights are projected onto the pattern at once; from then on their gradients are, so that what is pruned has
    none, and the weights again after every step of the optimizer, whatever its momentum or decay does.

    Parameters
    ----------
    matrices : dict of str to Parameter
        By name, as ``0.w_h``, gates stacked in the order i, f, g, o, as torch has them.
    pruned : Pruned
    optimizer : Optimizer, optional
        Without it weights are not projected again.

    Raises
    ------
    ModelError
        A pruned matrix is missing or of another shape.
    """
    held = []
    for matrix in pruned.matrices:
        if matrix.pattern is None:
            continue
        parameter = matrices.get(matrix.name)
        found = "missing" if parameter is None else f"shape {tuple(parameter.shape)}"
        if parameter is None or parameter.shape != matrix.weights.shape:
            raise ModelError(matrix.name, found, f"must be a parameter of shape {matrix.weights.shape}")
        project = _projection(matrix)
        parameter.register_hook(project)
        held.append((parameter, project))

    def apply(*_):
        with torch.no_grad():
            for parameter, project in held:
                parameter.copy_(project(parameter))

    apply()
    if optimizer is not None:
        optimizer.register_step_post_hook(apply)


def _projection(matrix: PrunedMatrix) -> Callable[[torch.Tensor], torch.Tensor]:
    """Onto the pattern of a matrix: linear, so that it does for gradients too."""
    if matrix.mask is not None:
        mask = torch.as_tensor(matrix.mask)
        return lambda values: torch.where(mask, values, torch.zeros((), dtype=values.dtype))
    places = np.arange(matrix.weights.size).reshape(matrix.weights.shape)
    index = torch.as_tensor(np.ascontiguousarray(matrix.pattern.groups(places)))

    def mean(values):
        groups = values.reshape(-1)[index]
        found = torch.empty_like(values.reshape(-1))
        found[index] = groups.mean(dim=1, keepdim=True).expand_as(groups)
        return found.reshape(values.shape)

    return mean


ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": torch.nn.Identity(),
    "relu": torch.relu,
    "elu": torch.nn.functional.elu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
"""Activations of linear layers by name."""


class TorchModel(torch.nn.Module):
    """A float model in torch, in float32: one ``nn.LSTM`` a layer, and the linear layers.

    Parameters
    ----------
    model : FloatModel
    """

    def __init__(self, model: FloatModel):
        super().__init__()
        if model.functions != USUAL:
            found = f"{' and '.join(model.functions)} in the gates"
            raise ModelError(model.source, found, f"must be {' and '.join(USUAL)} to be fine-tuned when pruned")
        refuse_peepholes(model, "fine-tuning of what is pruned")
        self.model = model
        self.layers = torch.nn.ModuleList(
            torch.nn.LSTM(layer.input_size, layer.hidden_size, batch_first=True) for layer in model.layers
        )
        self.linear = torch.nn.ModuleList(
            torch.nn.Linear(layer.input_size, layer.output_size) for layer in model.linear
        )
        with torch.no_grad():
            for lstm, layer in zip(self.layers, model.layers, strict=True):
                for name, value in (("weight_ih", layer.w_x), ("weight_hh", layer.w_h), ("bias_ih", layer.bias)):
                    getattr(lstm, f"{name}_l0").copy_(torch.as_tensor(np.array(value)))
                lstm.bias_hh_l0.zero_()
            for linear, layer in zip(self.linear, model.linear, strict=True):
                linear.weight.copy_(torch.as_tensor(np.array(layer.weight)))
                linear.bias.copy_(torch.as_tensor(np.array(layer.bias)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs for x (N, T, Lx): (N, O) of a head on the last step, (N, T, O) on every step, (N, T, H) without."""
        given = x = x.float()
        for lstm, layer in zip(self.layers, self.model.layers, strict=True):
            state = None
            if layer.initial is not None:
                pair = (torch.as_tensor(values.copy()).float() for values in layer.initial)
                state = tuple(values.expand(1, len(x), -1).contiguous() for values in pair)
            x = lstm(x, state)[0]
        if not self.linear:
            return x
        x = x if self.model.head_every_step else x[:, -1]
        for linear, layer in zip(self.linear, self.model.linear, strict=True):
            sums = linear(x)
            if layer.skip is not None:
                sums = sums + given @ torch.as_tensor(np.array(layer.skip)).float().T
            x = ACTIVATIONS[layer.activation](sums)
        return x

    def matrices(self) -> dict[str, torch.nn.Parameter]:
        """W_x and W_h of every layer, by name."""
        return {name: value for n, lstm in enumerate(self.layers) for name, value in lstm_matrices(lstm, n).items()}

    def float_model(self) -> FloatModel:
        """The weights as they are now."""
        with torch.no_grad():
            layers = tuple(
                replace(
                    layer,
                    w_x=lstm.weight_ih_l0.double().numpy(),
                    w_h=lstm.weight_hh_l0.double().numpy(),
                    bias=(lstm.bias_ih_l0.double() + lstm.bias_hh_l0.double()).numpy(),
                )
                for lstm, layer in zip(self.layers, self.model.layers, strict=True)
            )
            linear = [
                replace(layer, weight=torch_layer.weight.double().numpy(), bias=torch_layer.bias.double().numpy())
                for torch_layer, layer in zip(self.linear, self.model.linear, strict=True)
            ]
        return with_layers(self.model, layers, linear)


def fine_tune(
    pruned: Pruned,
    x: np.ndarray,
    targets: np.ndarray,
    config: QuantConfig | None = None,
    calibration: np.ndarray | None = None,
    epochs: int = 30,
    rate: float = 2e-3,
    batch: int = 32,
    seed: int = 0,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pruned:
    """Train a pruned model further, its pattern held, by Adam with a rate that falls to zero along a cosine.

    Every random choice follows from the seed; on one thread of one machine the result is the same to the bit.

    Parameters
    ----------
    pruned : Pruned
        Where the weights start.
    x : float array (N, T, Lx)
    targets : array (N, ...)
        Integers are classes, (N,) or (N, T); real numbers what the outputs should be, as those of the model before it
        was pruned.
    config : QuantConfig, optional
        Train in the numbers of the hardware, as :class:`~lstm_hw.model.fine_tune.FineTune` does, from what the pruned
        model is quantised to; in floating point without it.
    calibration : float array (M, T, Lx), optional
        Inputs that its formats are chosen from; ``x`` without it.
    epochs : int
        Passes over ``x``.
    rate : float
        Largest step of Adam.
    batch : int
        Sequences a step.
    seed : int
    loss : callable (outputs, targets) -> scalar, optional
        Cross entropy for classes, least squares for numbers, without it.
    augment : callable (x, generator) -> x, optional
        What a batch is changed by before each step.
    progress : callable, optional
        Called as ``progress(done, total)`` after each epoch.

    Returns
    -------
    Pruned
        Of the same patterns and masks.

    Raises
    ------
    InputError
        Inputs or targets do not fit.
    ConfigError
        A number is out of range.
    """
    for name, value in (("epochs", epochs), ("batch", batch)):
        if type(value) is not int or value < 1:
            raise ConfigError(name, repr(value), "must be an integer above 0")
    x, targets = checked_sequences("x", x, pruned.model.input_size), np.asarray(targets)
    if len(targets) != len(x) or targets.dtype.kind not in "iuf":
        found = f"shape {targets.shape} of {targets.dtype}"
        raise InputError("targets", found, f"must be numbers, for each of the {len(x)} sequences of x")
    network, matrices = _network(pruned, config, x if calibration is None else calibration)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    hold(matrices, pruned, optimizer)
    inputs = torch.as_tensor(np.asarray(x, dtype=np.float64))
    wanted = torch.as_tensor(targets.astype(np.float64) if targets.dtype.kind == "f" else targets.astype(np.int64))
    generator, loss = torch.Generator().manual_seed(seed), loss or _loss
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // batch))
    for epoch in range(epochs):
        for chosen in torch.randperm(len(inputs), generator=generator).split(batch):
            given = inputs[chosen] if augment is None else augment(inputs[chosen], generator)
            optimizer.zero_grad()
            loss(network(given), wanted[chosen]).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if progress:
            progress(epoch + 1, epochs)
    model = network.float_model()
    matrices = tuple(
        replace(matrix, weights=getattr(model.layers[int(number)], kind))
        for matrix, (number, kind) in ((matrix, matrix.name.split(".")) for matrix in pruned.matrices)
    )
    return Pruned(model, matrices)


def _network(pruned, config, calibration):
    """What is trained, and its matrices by name."""
    if config is None:
        network = TorchModel(pruned.model)
        return network, network.matrices()
    qmodel = quantize(pruned.model, calibration, quantizing(config, pruned))
    network = FineTune(pruned.model, qmodel)
    parts = list(network.layers)[: len(pruned.model.layers)]
    return network, {f"{n}.{kind}": part.values[kind] for n, part in enumerate(parts) for kind in MATRICES}


def _loss(outputs, targets):
    if targets.dtype == torch.int64:
        return torch.nn.functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1))
    return torch.nn.functional.mse_loss(outputs, targets.to(outputs.dtype))
