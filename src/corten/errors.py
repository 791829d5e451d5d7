"""The errors a caller can act on.

    CortenError
     ├── NotFound         the named object does not exist                      404
     ├── Invalid          the request can never succeed as it stands           400
     ├── Conflict         the object's present state or another object forbids 409
     ├── NotModified      there is nothing to do                               304
     ├── Forbidden        it is refused to every caller (predefined network)   403
     ├── Unauthorized     credentials are missing or wrong                     401
     ├── Unavailable      a part that is needed does not answer; try later     503
     │    └── Silent         it is the guest of a container, which was asked all the same
     ├── Unsupported      this machine or this engine cannot do it             501
     ├── Exhausted        no space, no address, no process left                500
     ├── Corrupt          what is on disk or on the wire is not what it claims 500
     └── Failed           the operation was attempted and failed               500
          └── StartFailed   a container's program could not be started; has the exit code 125, 126 or 127

A message is one lower-case line that names the object and, where there is one, the remedy. Messages are for users:
code decides by class, never by text. The numbers are the HTTP status that the API gives each class, for orientation;
the table that maps them is in `corten.api.errors`. How an error travels between processes: `corten.error_codec`.
"""

from __future__ import annotations


class CortenError(Exception):
    """Base of everything this engine raises on purpose."""


class NotFound(CortenError):
    """The named object does not exist."""


class Invalid(CortenError):
    """The request can never succeed as it stands."""


class Conflict(CortenError):
    """The object's present state, or another object, forbids it."""


class NotModified(CortenError):
    """The object already is as asked."""


class Forbidden(CortenError):
    """It is refused to every caller."""


class Unauthorized(CortenError):
    """Credentials are missing or wrong."""


class Unavailable(CortenError):
    """A part that is needed does not answer."""


class Silent(Unavailable):
    """A guest does not answer. What it was asked it has, and may still do."""


class Unsupported(CortenError):
    """This machine, or this engine, cannot do it."""


class Exhausted(CortenError):
    """Space, addresses or processes have run out."""


class Corrupt(CortenError):
    """Bytes are not what they claim to be."""


class Failed(CortenError):
    """The operation was attempted and failed for a reason the caller cannot fix."""


class StartFailed(Failed):
    """A container's program could not be started.

    `exit_code` is what the container reports: 127 when the program was not found, 126 when it could not be executed,
    125 when the engine failed before that. (128 is not used: Docker answers 127 or 126.)
    """

    def __init__(self, message: str, exit_code: int = 125) -> None:
        super().__init__(message)
        self.exit_code = exit_code
