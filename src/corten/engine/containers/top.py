"""The processes of a container, in the columns of the host's ps(1), as Docker shows them."""

from __future__ import annotations

import asyncio

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.execs import check_running
from corten.errors import Invalid, Unavailable, Unsupported
from corten.spec.json import Json

_PATIENCE = 10.0
_FORBIDDEN = set(";|&`$<>\n\0")


async def top(containers: Containers, container: Container, arguments: str) -> Json:
    """{"Titles": [...], "Processes": [[...], ...]}; `arguments` are ps's ("-ef" when empty). Invalid when ps refuses
    them, or shows no PIDs."""
    check_running(container, "top")
    assert container.task is not None, "check_running saw it"
    words = arguments.split() or ["-ef"]
    if _FORBIDDEN & set(arguments):
        raise Invalid(f"ps arguments may not contain shell characters: {arguments}")
    pids = {str(pid) for pid in await container.task.pids()}
    text = await _ps(words)
    containers.parts.events.publish("container", "top", container.id, container.attributes())
    return table(text, pids)


async def _ps(words: list[str]) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            "ps", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except FileNotFoundError:
        raise Unsupported("top needs the program ps on the host: install procps") from None
    try:
        async with asyncio.timeout(_PATIENCE):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise Unavailable(f"ps has not answered within {_PATIENCE:g} seconds") from None
    if process.returncode:
        said = errors.decode(errors="replace").strip().splitlines()  # the rest is how to call it
        raise Invalid(f"ps: {said[0].removeprefix('ps: ') if said else f'it ended with {process.returncode}'}")
    return output.decode(errors="replace")


def table(text: str, pids: set[str]) -> Json:
    """The lines of ps's output whose PID is one of `pids`; the last column keeps its blanks. Invalid without PID."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Invalid("couldn't find PID field in ps output")
    column, width = titles.index("PID"), len(titles)
    rows = [line.split(None, width - 1) for line in lines[1:]]
    return {"Titles": titles, "Processes": [row for row in rows if len(row) > column and row[column] in pids]}
