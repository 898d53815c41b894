"""Results of tasks in a folder: a file a task, by the digest of all that the result follows from."""

import json
import os
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_json
from ..provenance import digest, read_stamped, stamped

MAX_BYTES = 1 << 27
"""Largest file of a result that is read back; what is larger is computed again."""

MAX_TASK = 2000
"""Characters of a task that the file of its result shows whole."""


class Kept:
    """The results of a function that are kept in a folder.

    Parameters
    ----------
    folder : path-like or None
        None: nothing is kept.
    name, sources : str
        Of the function, see :mod:`.task`.
    """

    def __init__(self, folder: str | os.PathLike | None, name: str, sources: str):
        self.folder, self.follows = folder and Path(folder), {"function": name, "sources": sources}
        self.refused: list[InputError] = []
        """Files that are there but not as they were written."""

    def key(self, task: Any) -> str:
        """SHA-256 (hex) of all that the task's result follows from."""
        return digest({**self.follows, "task": task})

    def path(self, key: str) -> Path:
        """Where the result of a task is."""
        return self.folder / f"{key}.json"

    def read(self, key: str, task: Any) -> str | None:
        """The result of a task as JSON text, or None; a file that is no such one is noted in ``refused``."""
        if self.folder is None or not self.path(key).exists():
            return None
        try:
            values = read_stamped(self.path(key), MAX_BYTES)
            wanted = {**self.follows, "task": _short(task)}
            if {name: values.get(name) for name in wanted} != wanted or "result" not in values:
                raise InputError(self.path(key), "the result of another task", "must be as it was written")
        except InputError as error:
            self.refused.append(error)
            return None
        return json.dumps(values["result"])

    def write(self, key: str, task: Any, result: Any) -> None:
        """Keep the result of a task.

        Raises
        ------
        ConfigError
            The folder cannot be written.
        """
        if self.folder is not None:
            write_json(self.path(key), stamped({**self.follows, "task": _short(task), "result": result}))


def _short(task):
    """A task as the file shows it: of a long one the digest."""
    return task if len(json.dumps(task)) <= MAX_TASK else {"digest": digest(task)}
