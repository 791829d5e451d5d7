"""Messages of containerd.services.content.v1.Content, which a client's session has for directories of blobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from corten.spec.protobuf.codec import Message


@dataclass(slots=True)
class Info(Message):
    digest: Annotated[str, 1] = ""
    size: Annotated[int, 2] = 0


@dataclass(slots=True)
class InfoRequest(Message):
    digest: Annotated[str, 1] = ""


@dataclass(slots=True)
class InfoResponse(Message):
    info: Annotated[Info | None, 1] = None


@dataclass(slots=True)
class ReadRequest(Message):
    digest: Annotated[str, 1] = ""
    offset: Annotated[int, 2] = 0
    size: Annotated[int, 3] = 0


@dataclass(slots=True)
class ReadResponse(Message):
    offset: Annotated[int, 1] = 0
    data: Annotated[bytes, 2] = b""


WRITE, COMMIT = 1, 2


@dataclass(slots=True)
class WriteRequest(Message):
    """`reference` names what is written until it is committed; `total` and `expected` are its size and digest."""

    action: Annotated[int, 1] = 0
    reference: Annotated[str, 2] = ""
    total: Annotated[int, 3] = 0
    expected: Annotated[str, 4] = ""
    offset: Annotated[int, 5] = 0
    data: Annotated[bytes, 6] = b""
    labels: Annotated[dict[str, str], 7] = field(default_factory=dict)


@dataclass(slots=True)
class WriteResponse(Message):
    action: Annotated[int, 1] = 0
    offset: Annotated[int, 4] = 0
    digest: Annotated[str, 6] = ""
