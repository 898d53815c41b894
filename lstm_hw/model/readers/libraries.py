"""Libraries that read containers, which are extras of this package."""

import importlib
from types import ModuleType

from ...errors import ModelError


def library(name: str, extra: str, path: object, kind: str) -> ModuleType:
    """Import a library that a file needs.

    Parameters
    ----------
    name : str
        Of the module.
    extra : str
        Of this package, that brings it.
    path : path-like
        The file.
    kind : str
        What the file is, as ``a Keras file``.

    Raises
    ------
    ModelError
        It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        rule = f"must be installed to read it: pip install 'lstm-hw[{extra}]'"
        raise ModelError(name, f"missing, and {path} is {kind}", rule) from error
