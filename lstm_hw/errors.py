"""The typed error of the package.

Everything that a user can get wrong (files, tensors, formats, configurations, inputs) raises
:class:`LstmHwError`. A message names the *subject* (file, tensor, field), the offending value and
the rule that it breaks, in that order.
"""

LONGEST = 1000
"""Characters of each part of a message; of longer ones the middle is left out."""


def _plain(part):
    """A part of a message that can be shown anywhere, whatever a hostile file put into it."""
    text = str(part)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return (
        text if text.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
    )


class LstmHwError(Exception):
    """A user-facing error: ``<subject>: <what was found>; <rule>``.

    Parameters
    ----------
    subject : str
        What the error is about: a path, a tensor name, a configuration field.
    found : str
        The offending value, as found.
    rule : str
        The rule that it breaks, phrased so that it tells what to do.
    """

    def __init__(self, subject: object, found: object, rule: str):
        self.subject, self.found, self.rule = map(_plain, (subject, found, rule))
        super().__init__(f"{self.subject}: {self.found}; {self.rule}")


class ModelError(LstmHwError):
    """A model file or one of its tensors is not usable."""


class FormatError(LstmHwError):
    """A number format is malformed or cannot hold the values."""


class ConfigError(LstmHwError):
    """A configuration value is unknown, malformed or out of range."""


class InputError(LstmHwError):
    """An input vector or sequence does not fit the model."""


class ProgramError(LstmHwError):
    """A program breaks a rule of the instruction set or would compute something else."""


class ToolError(LstmHwError):
    """An external tool is missing or failed."""


class DeviceError(ToolError):
    """A device is missing, does not answer, or could not do what it was asked to.

    Attributes
    ----------
    registers : dict of str to int
        What its registers said then, by name; empty where nobody looked.
    """

    def __init__(self, subject: object, found: object, rule: str, registers: dict[str, int] | None = None):
        super().__init__(subject, found, rule)
        self.registers = registers or {}


class NotLoadedError(DeviceError):
    """An engine does not hold, or no longer, what this driver has loaded: another loaded, or it was reset."""


class TaskError(LstmHwError):
    """A task of a campaign failed, or ended the processes that worked on it."""


class VerificationError(LstmHwError):
    """Two models of the engine that must agree do not."""
