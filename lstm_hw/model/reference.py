"""Reference models: the float LSTM and the integer LSTM whose bits the hardware must give.

Both take N sequences of T vectors at once and carry the state from call to call.
"""

import numpy as np

from ..errors import InputError


def float_reference(model, x, state=None, trace=None):
    """Run a FloatModel in float64; the equations are those of ``torch.nn.LSTM``.

    Parameters
    ----------
    model : FloatModel
    x : float array (N, T, Lx)
    state : list of (h, c), float arrays (N, H), optional
        One pair a layer, as returned; zeros without it.
    trace : dict, optional
        Receives, by layer number, a dict of ``pre`` (N, T, 4H), ``c`` and ``h`` (N, T, H).

    Returns
    -------
    outputs : float array
        (N, O) of the head on the last step, (N, T, O) of a head on every step, (N, T, H) without head.
    state : list of (h, c)

    Raises
    ------
    InputError
        ``x`` or ``state`` has the wrong shape, or holds NaN or infinity.
    """
    x = _checked("x", x, (None, None, model.input_size), np.float64)
    state = checked_state(model.hidden_sizes, state, len(x), np.float64)
    after = []
    for number, (layer, (h, c)) in enumerate(zip(model.layers, state, strict=True)):
        pre_x = x @ layer.w_x.T + layer.bias
        record = _Record(x.shape[:2], layer.hidden_size, np.float64)
        for step in range(x.shape[1]):
            pre = pre_x[:, step] + h @ layer.w_h.T
            i, f, g, o = np.split(pre, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            record.add(step, pre, c, h)
        after.append((h, c))
        x = record.finish(trace, number)
    if model.head is None:
        return x, after
    x = x if model.head_every_step else x[:, -1]
    return x @ model.head.weight.T + model.head.bias, after


def sigmoid(x):
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * np.asarray(x))


class _Record:
    """Pre-activations, cell and hidden states of one layer over all steps."""

    def __init__(self, sequences_steps, hidden, dtype):
        shape = (*sequences_steps, hidden)
        self.arrays = {"pre": np.empty((*sequences_steps, 4 * hidden), dtype)}
        self.arrays |= {"c": np.empty(shape, dtype), "h": np.empty(shape, dtype)}

    def add(self, step, pre, c, h):
        for name, value in (("pre", pre), ("c", c), ("h", h)):
            self.arrays[name][:, step] = value

    def finish(self, trace, layer):
        """Leave the record in the trace, where there is one, and return h (N, T, H)."""
        if trace is not None:
            trace[layer] = self.arrays
        return self.arrays["h"]


def _checked(subject, values, shape, dtype):
    """``values`` as an array of ``dtype`` and ``shape``, where None stands for any size from 1."""
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise InputError(subject, str(error), "must be an array") from error
    kinds = "iu" if np.issubdtype(dtype, np.integer) else "iuf"
    if values.dtype.kind not in kinds:
        wanted = "integers" if kinds == "iu" else "real numbers"
        raise InputError(subject, f"dtype {values.dtype}", f"must be {wanted}")

    def fits(size, wanted):
        return size >= 1 if wanted is None else size == wanted

    if values.ndim != len(shape) or not all(map(fits, values.shape, shape)):
        wanted = ", ".join("1 or more" if size is None else str(size) for size in shape)
        raise InputError(subject, f"shape {values.shape}", f"must be ({wanted})")
    if kinds == "iuf" and not np.all(np.isfinite(values)):
        raise InputError(subject, "NaN or infinity", "must be finite")
    return values.astype(dtype)


def checked_state(hidden_sizes, state, sequences, dtype):
    """A list of one (h, c) a layer, of shape (sequences, H); zeros where ``state`` is None."""
    if state is None:
        return [(np.zeros((sequences, size), dtype), np.zeros((sequences, size), dtype)) for size in hidden_sizes]
    if len(state) != len(hidden_sizes) or any(len(pair) != 2 for pair in state):
        raise InputError("state", f"{len(state)} entries", f"must be {len(hidden_sizes)} pairs (h, c), one a layer")
    return [
        tuple(_checked(f"state of layer {n}: {name}", part, (sequences, size), dtype)
              for name, part in zip("hc", pair, strict=True))
        for n, (pair, size) in enumerate(zip(state, hidden_sizes, strict=True))
    ]
