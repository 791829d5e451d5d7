"""What is kept of one build."""

from __future__ import annotations

from typing import Literal

import msgspec

from corten.errors import CortenError
from corten.http2.grpc import Status

State = Literal["running", "completed", "error", "canceled"]
CANCELED = "context canceled"  # in the words of all clients


class Output(msgspec.Struct, frozen=True):
    """As it was asked for."""

    type: str
    attributes: dict[str, str]


class Blob(msgspec.Struct, frozen=True):
    """Something in the image store that the build has made."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class BuildRecord(msgspec.Struct, kw_only=True):
    """`ref` is the client's name of it, `attributes` are BuildKit's (`corten.build.attributes`), without what is
    private. Times are seconds since the epoch; `completed` 0 is not yet. `answer` is what the client was told of its
    outputs. `file` is the name of its log, which has `bytes`."""

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
    attestations: list[Blob] = []
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
