"""What an engine or its state does not allow a command to do."""

from __future__ import annotations

from corten.errors import CortenError


class Refused(CortenError):
    """The message is for the user as it is; `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
