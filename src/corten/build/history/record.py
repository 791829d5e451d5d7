"""What is kept of one build."""

from __future__ import annotations

from typing import Literal

import msgspec

from corten.errors import CortenError
from corten.http2.grpc import Status

State = Literal["running", "completed", "error", "canceled"]
FAILURE = "application/vnd.googeapis.google.rpc.status+proto"  # BuildKit's name, as it is spelled
CANCELED = "context canceled"  # in the words of all clients


class Output(msgspec.Struct, frozen=True):
    """As it was asked for."""

    type: str
    attributes: dict[str, str]


class Blob(msgspec.Struct, frozen=True):
    """A manifest or an index of the image store."""

    media_type: str
    digest: str
    size: int


class Attached(msgspec.Struct, frozen=True):
    """What is kept beside the log: a predicate that was attested, or what a client gets of an error (`FAILURE`)."""

    type: str
    digest: str
    size: int


class BuildRecord(msgspec.Struct, kw_only=True):
    """`ref` is the client's name of it, `attributes` are BuildKit's (`corten.build.attributes`), without what is
    private. Times are seconds since the epoch; `completed` 0 is not yet. `answer` is what was answered of its
    outputs. `file` is the name of its log, and begins those of what is attached; `bytes` are those of all."""

    ref: str
    frontend: str
    attributes: dict[str, str]
    outputs: list[Output]
    created: float
    completed: float = 0
    error: str = ""
    answer: dict[str, str] = {}
    image: str = ""
    result: Blob | None = None
    attached: list[Attached] = []
    total: int = 0
    done: int = 0
    cached: int = 0
    warnings: int = 0
    pinned: bool = False
    generation: int = 0
    file: str
    bytes: int = 0

    @property
    def state(self) -> State:
        if not self.completed:
            return "running"
        return "canceled" if CANCELED in self.error else "error" if self.error else "completed"


def why(error: BaseException) -> str:
    """The text of what ended a build."""
    if isinstance(error, (CortenError, OSError, Status)):
        return str(error)
    return "internal error" if isinstance(error, Exception) else CANCELED
