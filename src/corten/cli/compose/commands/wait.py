"""corten compose wait: until the containers of services stop; the exit code of the first."""

from __future__ import annotations

import queue
import threading

from corten.cli.compose.choosing import chosen
from corten.cli.compose.context import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag
from corten.cli.output import out
from corten.client import containers
from corten.client.quickjson import quote
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.observed import Container


def run(compose: Compose, flags: Flags) -> int:
    found = chosen(compose, flags.words, everything=False)
    if not found:
        raise CommandError(f"no containers for project {quote(compose.name)}")
    ended: queue.SimpleQueue[tuple[Container, int | Exception]] = queue.SimpleQueue()

    def wait(container: Container) -> None:
        client = compose.client.another()
        try:
            ended.put((container, int(containers.wait(client, container.id)["StatusCode"])))
        except (CortenError, OSError) as error:
            ended.put((container, error))
        finally:
            client.close()

    for each in found:
        threading.Thread(target=wait, args=(each,), daemon=True).start()
    code = 0
    for count in range(len(found)):
        container, result = ended.get()
        if isinstance(result, Exception):
            raise result
        out(f'container "{container.id}" exited with status code {result}')
        code = result if count == 0 else code
        if flags.on("down-project"):
            from corten.cli.compose.commands.down import bring_down
            from corten.compose.plan.down import DownAsked

            bring_down(compose, DownAsked())
            break
    return code


COMMAND = Command(
    run,
    "SERVICE [SERVICE...] [OPTIONS]",
    "Wait until the containers of services stop",
    (flag("down-project", BOOL, "Take the project down when the first has stopped"),),
    least=1,
)
