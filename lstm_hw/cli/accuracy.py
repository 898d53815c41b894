"""Verbs about what quantisation and left-out changes do to the outputs."""

import click

from .shell import project_of, say, verb, wrote


@verb(["trace examples/digits/digits.toml", "trace examples/digits/digits.toml --images 500"])
@click.option("--images", type=click.IntRange(1), help="Sequences, from the first; so many as take seconds without it.")
def trace(config: str, images: int | None) -> None:
    """Show where accuracy goes: errors by layer and gate, and those of the outputs when one place alone is rounded."""
    from ..project import text

    project = project_of(config)
    folder, budget = project.write_trace(images)
    say(text.traced(project, budget))
    wrote(*sorted(folder.iterdir()))


@verb(
    [
        "precision examples/digits/digits.toml --accuracy 0.98",
        "precision examples/cases/cases.toml --max-error 0.02",
        "precision examples/vowels/vowels.toml --max-error 0.05 --samples 32 --wider 2",
    ]
)
@click.option(
    "--accuracy",
    type=click.FloatRange(0, 1, min_open=True),
    help="Least share of right labels of the test inputs; the choice has then seen these labels.",
)
@click.option(
    "--max-error",
    type=click.FloatRange(0, min_open=True),
    help="Largest error of an output for the calibration set, as a share of the float model's largest output; without "
    "both quantize.max_error.",
)
@click.option("--samples", type=click.IntRange(1), help="Sequences to measure, from the first; all without it.")
@click.option(
    "--wider",
    type=click.IntRange(0, 12),
    default=0,
    help="Bits by which a matrix may be wider than the narrowest engine's: fewer bits in all, a wider engine.",
)
def precision(config: str, accuracy: float | None, max_error: float | None, samples: int | None, wider: int) -> None:
    """Find how few weight bits, by layer and matrix, meet an accuracy or an error.

    First the narrowest width for all weights is found, from 4 to quantize.weight_bits; then one bit after the other is
    taken away where it costs least. The engine stores all weights at the widest width, so narrower matrices save no
    memory: they tell where accuracy needs bits. Prints the [quantize] section; nothing is written.
    """
    from ..project import text

    if accuracy is not None and max_error is not None:
        raise click.UsageError("give --accuracy or --max-error")
    project = project_of(config)
    found = project.precision(accuracy, max_error, samples, wider)
    say(text.precise(found, accuracy, accuracy or max_error or project.config.quantize.error_bound))


@verb(
    [
        "thresholds examples/digits/digits.toml --loss 0.005 --samples 200",
        "thresholds examples/cases/cases.toml --max-error 0.05",
    ]
)
@click.option(
    "--loss",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of right labels of the test inputs that may be lost; the choice has then seen these labels.",
)
@click.option(
    "--max-error",
    type=click.FloatRange(0, min_open=True),
    help="Largest error of an output for the calibration set, as a share of the float model's largest output.",
)
@click.option("--samples", type=click.IntRange(1), help="Sequences to measure, from the first; all without it.")
def thresholds(config: str, loss: float | None, max_error: float | None, samples: int | None) -> None:
    """Find how large a change of x and h may be that is left out: thresholds of a delta network.

    As few products as an accuracy or an error bears. Prints the [delta] section and the share of x and h that still
    changes; nothing is written.
    """
    from ..project import text

    if (loss is None) == (max_error is None):
        raise click.UsageError("give --loss or --max-error")
    project = project_of(config)
    say(text.thresholds(project.thresholds(loss, max_error, samples), loss, max_error if loss is None else loss))
