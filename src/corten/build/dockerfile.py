"""The Dockerfile of a build and what its .dockerignore says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from corten.build.contract import BuildFailed, BuildRequest, Client, Trace
from corten.build.plan.keys import digest
from corten.build.vertices import vertex
from corten.errors import NotFound
from corten.spec.dockerfile import ignore
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.instructions import Dockerfile
from corten.spec.dockerfile.parse import parse
from corten.spec.dockerfile.source import syntax

_FRONTENDS = ("/docker/dockerfile", "/docker/dockerfile-upstream")
_NAME, _IGNORE = "Dockerfile", ".dockerignore"
DEFINITION = digest("definition")  # the vertex


@dataclass(frozen=True, slots=True)
class Definition:
    """`text` is the Dockerfile's, which is called `name`; `excludes` are lines of the ignore file."""

    file: Dockerfile
    text: bytes
    name: str
    excludes: tuple[str, ...]

    def failed(self, message: str, lines: tuple[int, int], vertex: str = "", status: int = 0) -> BuildFailed:
        return BuildFailed(message, status, [lines] if lines[0] else (), self.name, self.text, vertex)


async def load(request: BuildRequest, client: Client, trace: Trace) -> Definition:
    """Raises BuildFailed for a Dockerfile that is missing, or wrong, with its lines."""
    wanted = request.dockerfile or _NAME
    shown = wanted.rpartition("/")[2]
    (name, text, beside), ignored = await asyncio.gather(
        _dockerfile(request, client, trace, wanted, shown), _ignored(client, trace)
    )
    if not request.classic:
        _check_frontend(request.arguments.get("BUILDKIT_SYNTAX") or syntax(text), name, text)
    try:
        file = await asyncio.to_thread(parse, text, name)  # up to half a second
    except DockerfileError as error:
        raise BuildFailed(str(error), 0, [(error.line, error.end)], name, text) from error
    own = beside.get(f"{name}.dockerignore")
    chosen = ignored if own is None or request.classic else own
    return Definition(file, text, name, ignore.lines(chosen) if chosen is not None else ())


def reads_for(frontend: str) -> bool:
    """Whether this builder reads a Dockerfile in the place of this image: Docker's own frontend, at any registry and of
    any tag. Others are programs, which are not run."""
    path, _, last = frontend.partition("@")[0].rpartition("/")
    return f"/{path}/{last.partition(':')[0]}".endswith(_FRONTENDS)


def _check_frontend(image: str, name: str, text: bytes) -> None:
    if image and not reads_for(image):
        message = f"the frontend {image[:200]!r} is not supported: docker/dockerfile is"
        raise BuildFailed(message, 0, _line_of(text), name, text)


def _line_of(text: bytes) -> list[tuple[int, int]]:
    """Of the directive, where there is one in the first lines."""
    lines = text.split(b"\n", 20)[:20]
    return [(at, at) for at, line in enumerate(lines, 1) if b"syntax" in line.lower()][:1]


async def _dockerfile(
    request: BuildRequest, client: Client, trace: Trace, wanted: str, shown: str
) -> tuple[str, bytes, Mapping[str, bytes]]:
    """Its name, its text, and the other files beside it that were asked for."""
    async with vertex(trace, DEFINITION, f"[internal] load build definition from {shown}"):
        if request.text is not None:
            return wanted, request.text, {}
        names = [wanted, f"{wanted}.dockerignore"]
        names += [wanted.lower()] if not request.dockerfile else []
        found = await client.files("dockerfile", names)
        for name in (wanted, wanted.lower()):
            if name in found and name in names:
                return name, found[name], found
        if request.classic:
            raise NotFound(f"Cannot locate specified Dockerfile: {wanted}")
        raise NotFound(f"failed to read dockerfile: open {wanted}: no such file or directory")


async def _ignored(client: Client, trace: Trace) -> bytes | None:
    async with vertex(trace, digest("ignore"), "[internal] load .dockerignore"):
        return (await client.files("context", [_IGNORE])).get(_IGNORE)
