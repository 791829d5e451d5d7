"""How a command ends other than by returning its exit code."""

from __future__ import annotations

from corten.errors import CortenError


class UsageError(CortenError):
    """The command line itself is wrong: an unknown flag, a bad value. Exit code 125, as with Docker."""


class CommandError(CortenError):
    """The command failed; `code` is its exit code and the message, when there is one, is shown as it is."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
