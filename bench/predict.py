"""Bit-true prediction beside torch's float one (``python -m bench.predict``): how many times its time it takes.

The digits example on a few thousand images, its integer reference against ``torch.nn.LSTM`` and ``torch.nn.Linear`` of
the same weights, both on one thread and by turns, in processor time, so that what else the machine does hardly matters.
The figure is the median of the ratios. Needs torch.
"""

import os
import sys
import time

from lstm_hw.errors import VerificationError
from lstm_hw.progress import progress
from lstm_hw.project.api import load

from .table import FOLDER, Row, command

RESULT = f"{FOLDER}/predict.json"
CONFIG = "examples/digits/digits.toml"
SEQUENCES = 3970
ROUNDS = 15
LEAST = 0.1
"""Seconds; systems tell processor time in steps of up to a hundredth."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that numpy's matrix products look at when it is loaded."""


def torch_model(model):
    """The float model in torch (float32): a function from inputs to outputs."""
    import torch

    torch.set_num_threads(1)
    sizes = (model.input_size, *model.hidden_sizes)
    lstm = torch.nn.LSTM(sizes[0], sizes[1], len(model.layers), batch_first=True)
    head = torch.nn.Linear(sizes[-1], len(model.head.bias))
    with torch.no_grad():
        for number, layer in enumerate(model.layers):
            for name, value in (("weight_ih", layer.w_x), ("weight_hh", layer.w_h), ("bias_ih", layer.bias)):
                getattr(lstm, f"{name}_l{number}").copy_(torch.as_tensor(value.copy()))
            getattr(lstm, f"bias_hh_l{number}").zero_()
        head.weight.copy_(torch.as_tensor(model.head.weight.copy()))
        head.bias.copy_(torch.as_tensor(model.head.bias.copy()))

    def run(x):
        with torch.inference_mode():
            return head(lstm(torch.as_tensor(x).float())[0][:, -1]).numpy()

    return run


def _seconds(function, x):
    """Processor time of a call; of several where one takes less than ``LEAST`` of it."""
    start, calls, taken = time.process_time(), 0, 0.0
    while taken < LEAST:
        function(x)
        calls, taken = calls + 1, time.process_time() - start
    return taken / calls


def rows(rounds=ROUNDS, sequences=SEQUENCES):
    """The figure, in a list."""
    project = load(CONFIG)
    x = project.x[[n % len(project.x) for n in range(sequences)]]
    float_model = torch_model(project.model)
    functions, ratios = (project.predict, float_model), []
    if abs(project.predict(x) - float_model(x)).max() > project.config.quantize.error_bound * abs(float_model(x)).max():
        rule = "must be those of the float model but for rounding"
        raise VerificationError("outputs in torch", "those of another model", rule)
    with progress("predict") as report:
        for number in range(rounds):
            ours, theirs = (_seconds(function, x) for function in functions)
            ratios.append(ours / theirs)
            report(number + 1, rounds)
    source = f"{sequences} images, one thread, median of {rounds} ratios (best {min(ratios):.2f})"
    return [Row("predict_time", "digits", sorted(ratios)[rounds // 2], "times torch.nn.LSTM's", None, source)]


@command(RESULT)
def main():
    """Print how many times torch.nn.LSTM's time the bit-true prediction of the digits example takes."""
    if any(os.environ.get(name) != "1" for name in THREADS):
        os.execve(sys.executable, sys.orig_argv, os.environ | dict.fromkeys(THREADS, "1"))
    return rows()


if __name__ == "__main__":
    main()
