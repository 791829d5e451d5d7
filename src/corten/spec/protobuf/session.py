"""Messages of the services that a client's session has: moby.filesync.v1, moby.buildkit.secrets.v1, moby.sshforward.v1,
grpc.health.v1, and fsutil.types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from corten.spec.protobuf.codec import Message


@dataclass(slots=True)
class Stat(Message):
    """`mode` is Go's os.FileMode, `modified` nanoseconds since the epoch."""

    path: Annotated[str, 1] = ""
    mode: Annotated[int, 2] = 0
    uid: Annotated[int, 3] = 0
    gid: Annotated[int, 4] = 0
    size: Annotated[int, 5] = 0
    modified: Annotated[int, 6] = 0
    link: Annotated[str, 7] = ""
    major: Annotated[int, 8] = 0
    minor: Annotated[int, 9] = 0
    attributes: Annotated[dict[str, bytes], 10] = field(default_factory=dict)


STAT, REQUEST, DATA, FINISH, ERROR = range(5)


@dataclass(slots=True)
class Packet(Message):
    type: Annotated[int, 1] = STAT
    stat: Annotated[Stat | None, 2] = None
    id: Annotated[int, 3] = 0
    data: Annotated[bytes, 4] = b""


@dataclass(slots=True)
class BytesMessage(Message):
    data: Annotated[bytes, 1] = b""


@dataclass(slots=True)
class CredentialsRequest(Message):
    host: Annotated[str, 1] = ""


@dataclass(slots=True)
class CredentialsResponse(Message):
    username: Annotated[str, 1] = ""
    secret: Annotated[str, 2] = ""


@dataclass(slots=True)
class GetSecretRequest(Message):
    id: Annotated[str, 1] = ""
    annotations: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class GetSecretResponse(Message):
    data: Annotated[bytes, 1] = b""


@dataclass(slots=True)
class CheckAgentRequest(Message):
    id: Annotated[str, 1] = ""


@dataclass(slots=True)
class HealthCheckRequest(Message):
    service: Annotated[str, 1] = ""


@dataclass(slots=True)
class HealthCheckResponse(Message):
    status: Annotated[int, 1] = 0


SERVING, SERVICE_UNKNOWN = 1, 3
