"""Errors of builds as gRPC's status, with the lines of the Dockerfile in the details: clients print those."""

from __future__ import annotations

import json

from corten.build.contract import BuildFailed
from corten.buildkit.trace import digest_in
from corten.errors import CortenError
from corten.http2.grpc import UNKNOWN, Status, status_code
from corten.spec.dockerfile import places
from corten.spec.protobuf.control import Any, RpcStatus

_TYPES = "github.com/moby/buildkit/errdefs."


def status(error: CortenError | OSError, job: str) -> Status:
    """Details are BuildKit's own: JSON in an Any. Vertices are the job's (`corten.buildkit.trace`)."""
    text = str(error)
    if not isinstance(error, CortenError):
        return Status(UNKNOWN, text)
    code = UNKNOWN if isinstance(error, BuildFailed) else status_code(error)
    details = [_source(error)] if isinstance(error, BuildFailed) and error.ranges else []
    if isinstance(error, BuildFailed) and error.vertex:
        details.append(_any("Vertex", {"digest": digest_in(job, error.vertex)}))
    return of(RpcStatus(code, text, details))


def of(found: RpcStatus) -> Status:
    return Status(found.code, found.message, found.encode() if found.details else b"")


def unknown_subrequest(name: str) -> Status:
    """For a client that can do without: it goes on without it."""
    text = f"unsupported request {name[:100]}"
    return of(RpcStatus(UNKNOWN, text, [_any("Subrequest", {"name": name[:100]})]))


def _source(error: BuildFailed) -> Any:
    info = places.source(error.filename, error.dockerfile)
    return _any("Source", {"info": info, "ranges": places.ranges(error.ranges)})


def _any(name: str, value: object) -> Any:
    return Any(f"{_TYPES}{name}+json", json.dumps(value).encode())
