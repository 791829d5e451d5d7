"""What a command asks of a plan beside the files."""

from __future__ import annotations

import msgspec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIVERGED, ALWAYS, NEVER = "diverged", "always", "never"


class Asked(msgspec.Struct, frozen=True):
    """`named` are the services of the command line, empty for all; `recreate` holds for them, `recreate_dependencies`
    for those that they depend on. `seconds` is the time for a stop, None what the containers say."""

    named: tuple[str, ...] = ()
    recreate: str = DIVERGED
    recreate_dependencies: str = DIVERGED
    scales: Mapping[str, int] = {}
    seconds: int | None = None
    remove_orphans: bool = False
    start: bool = True
    wait: bool = False
    renew_volumes: bool = False  # anonymous ones of a container that is replaced
    replace_volumes: bool = False  # those whose configuration has changed, with what is in them
    ignore_orphans: bool = False
    pinned: tuple[str, ...] = ()  # services whose containers stay as they are: only what they need is there afterwards

    def recreation(self, service: str) -> str:
        return self.recreate if not self.named or service in self.named else self.recreate_dependencies
