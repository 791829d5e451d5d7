"""corten compose create: what `up` makes, without a start."""

from __future__ import annotations

from msgspec.structs import replace

from corten.cli.compose.commands.up import CREATE_FLAGS, asked, ready
from corten.cli.compose.context import Command
from corten.cli.compose.performing import perform, provided
from corten.compose.observed import observe
from corten.compose.plan.up import up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    project = provided(compose, compose.project(flags.words))
    order = replace(asked(flags, project), start=False)
    ready(compose, project, flags)
    observed = observe(compose.client, project)
    perform(compose, project, observed, up(project, observed, order))
    return 0


COMMAND = Command(run, "[OPTIONS] [SERVICE...]", "Create containers without starting them", CREATE_FLAGS)
