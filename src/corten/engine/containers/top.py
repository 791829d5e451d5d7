"""The processes of a container, in the columns of the host's ps(1), as Docker shows them."""

from __future__ import annotations

from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.engine.containers.execs import check_running
from corten.errors import Invalid
from corten.spec.json import Json
from corten.tasks.guest_ps import check_titles

_FORBIDDEN = set(";|&`$<>\n\0")


async def top(containers: Containers, container: Container, arguments: str) -> Json:
    """{"Titles": [...], "Processes": [[...], ...]}; `arguments` are ps's ("-ef" when empty). Invalid when ps refuses
    them, or shows no PIDs."""
    check_running(container, "top")
    assert container.task is not None, "check_running saw it"
    words = arguments.split() or ["-ef"]
    if _FORBIDDEN & set(arguments):
        raise Invalid(f"ps arguments may not contain shell characters: {arguments}")
    check_titles(arguments)
    shown = await container.task.processes(words)
    containers.publish(container, "top")
    return {"Titles": shown.titles, "Processes": shown.rows}
