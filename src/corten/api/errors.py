"""The HTTP status of each class of error, in one table."""

from __future__ import annotations

import errno
import logging
import os

from corten import errors

log = logging.getLogger(__name__)

STATUS: dict[type[errors.CortenError], int] = {
    errors.NotFound: 404,
    errors.Invalid: 400,
    errors.Conflict: 409,
    errors.NotModified: 304,
    errors.Forbidden: 403,
    errors.Unauthorized: 401,
    errors.Unavailable: 503,
    errors.Silent: 503,
    errors.Unsupported: 501,
    errors.Exhausted: 500,
    errors.Corrupt: 500,
    errors.Failed: 500,
}


# What the machine has run out of: the log needs no trace to say where.
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class TooLarge(errors.Invalid):
    """The body is larger than this engine reads."""


class BodyTimeout(errors.Invalid):
    """The client has not sent the rest of a body in time."""


def status(error: BaseException) -> int:
    """The status of an error; 500 for one that is no CortenError."""
    if isinstance(error, TooLarge):
        return 413
    if isinstance(error, BodyTimeout):
        return 408
    if isinstance(error, errors.StartFailed):  # what the client asked to run cannot be run: Docker says 400
        return 400 if error.exit_code in (126, 127) else 500
    return next((code for kind in type(error).__mro__ if (code := STATUS.get(kind))), 500)


def message(error: BaseException) -> str:
    """The message for the client. Errors that are no CortenError are logged with their trace."""
    if isinstance(error, errors.CortenError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        if isinstance(error, ConnectionError):
            log.debug("a client has disconnected: %s", error)
        elif error.errno in _OF_THE_MACHINE:
            log.warning("a request failed: %s", error)
        else:
            log.warning("a system call failed: %s", error, exc_info=error)
        reason = (
            "no space left on device" if error.errno == errno.ENOSPC else error.strerror or os.strerror(error.errno)
        )
        path = error.filename if isinstance(error.filename, str | bytes) else None  # a descriptor says a client nothing
        return f"{reason}: {os.fsdecode(path)}" if path else reason
    log.error("unhandled exception in a request", exc_info=error)
    return f"internal error: {type(error).__name__}: {error}"
