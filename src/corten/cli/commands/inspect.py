"""corten inspect: everything known about objects of any type."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.inspecting import inspect
from corten.client.containers import truth
from corten.client.errors import ApiError
from corten.client.http import named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags
    from corten.cli.session import Session

# In the order in which a name is looked for.
PATHS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
ELSEWHERE = ("config", "node", "plugin", "secret", "service", "task")
# 404 means "not here"; 400 and 501 that this kind cannot have such a name, or does not exist at all.
NOT_HERE = (400, 404, 501)


def run(session: Session, flags: Flags) -> int:
    wanted, size = flags.text("type"), flags.on("size")
    if "type" in flags and wanted not in PATHS:
        if wanted in ELSEWHERE:
            raise CommandError(f"objects of type {wanted!r} do not exist here: they belong to swarm or plugins")
        raise CommandError(f'unknown type: "{wanted}": must be one of "container", "image", "network", "volume"')

    def fetch(kind: str, name: str) -> bytes:
        query = {"size": truth(size)} if kind == "container" else None
        return session.client.raw("GET", PATHS[kind].format(named(kind, name, b"/:@")), query)

    def find(name: str) -> tuple[str, bytes]:
        if wanted:
            return wanted, fetch(wanted, name)
        for kind in PATHS:
            try:
                return kind, fetch(kind, name)
            except ApiError as error:
                if error.status not in NOT_HERE:
                    raise
        raise CommandError(f"Error: No such object: {name}")

    return inspect(flags.words, flags.text("format"), find)


COMMAND = Command(
    run,
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Show everything known about objects",
    (
        flag("format", STRING, "'json', or a Go template", "f"),
        flag("size", BOOL, "Show the sizes of containers", "s"),
        flag("type", STRING, "Look only for this type of object"),
    ),
    least=1,
)
