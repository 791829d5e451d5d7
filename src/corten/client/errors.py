"""What can go wrong between a client and its daemon."""

from __future__ import annotations

from corten.errors import CortenError, Unavailable


class ApiError(CortenError):
    """The daemon answered with an error. `status` is HTTP's number, the message is the daemon's own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StreamError(CortenError):
    """An error that came inside a progress stream, after the daemon had already said 200."""


class Unreachable(Unavailable):
    """The socket could not be connected; the message says what to do. `absent` when no process listens there."""

    def __init__(self, message: str, absent: bool) -> None:
        super().__init__(message)
        self.absent = absent


class BadAnswer(CortenError):
    """What came over the socket is not HTTP as we asked for it."""


class Broken(BadAnswer):
    """The connection ended before its answer did, as when the daemon is restarted: it can be asked again."""
