"""What the checker asks of windows of operands: which elements lanes find there, and that they had been waited for."""

import numpy as np

from ..machine.isa import SPACE_CONSTANT
from .names import NOBODY, ZERO, Names


class Windows(Names):
    """Windows that a MAC fills, and from which another multiplies."""

    def _fill(self, command, count):
        """Elements go from the vector memory to the other window, which then is the one in use."""
        most = min(count, self.config.window)
        self._require(
            command.fill <= most, command, f"{command.fill} elements to fill", f"must be {most} at most: one a column"
        )
        if not command.fill:
            self._require(not command.wait, command, "wait without elements to fill", "must not be together")
            return
        self.windows.reverse()
        where = slice(command.operand, command.operand + command.fill)
        space = command.space
        self._require(space != SPACE_CONSTANT, command, "a window of constants", "must be of x or h")
        for k in range(self.config.contexts):
            bank = (k + command.rotate) % self.config.contexts
            names, tokens = self.vectors[space][bank, where], self.token[space][bank, where]
            self._require(
                len(names) == command.fill,
                command,
                f"operands up to {where.stop - 1}",
                f"must stay below {self.vectors[space].shape[1]}",
            )
            # What is not there yet is not known: the names of elements that a MAC multiplies must be.
            known = (tokens < self.guaranteed[space])[:, None]
            self.windows[0][k] = NOBODY
            self.windows[0][k, : command.fill] = np.where(known, names, NOBODY - 1)
            self.reader[space][bank, where] = self.slot - 1
        self.window_lift = command.lift

    def _gathered(self, command, k, columns):
        """(layer, sequence, step) of the operands in the window of context k."""
        found = self.windows[0][k, : columns.size]
        nothing = (found[:, 0] == ZERO).all() or (found[:, 0] == NOBODY).all()
        self._require(
            nothing or (found[:, :3] == found[0, :3]).all() and (found[:, 3] == columns).all(),
            command,
            f"the window of context {k}",
            "must hold the elements that the columns multiply, all of which were waited for",
        )
        return tuple(int(v) for v in found[0, :3])
