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
    try:
        file = await asyncio.to_thread(parse, text, name)  # up to half a second
    except DockerfileError as error:
        raise BuildFailed(str(error), 0, [(error.line, error.end)], name, text) from error
    own = beside.get(f"{name}.dockerignore")
    chosen = ignored if own is None or request.classic else own
    return Definition(file, text, name, ignore.lines(chosen) if chosen is not None else ())


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
