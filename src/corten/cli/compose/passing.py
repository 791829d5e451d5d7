"""Commands that are those of one container, with a service's container in the place of its name."""

from __future__ import annotations

from corten.cli.flags import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from corten.cli.command import Command
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def given(flags: Flags, *names: str) -> list[str]:
    """These flags as words, as far as they were given."""
    found = []
    for name in names:
        if name not in flags:
            continue
        value = flags.value(name)
        values = value if isinstance(value, list) else [value]
        found += [f"--{name}={str(each).lower() if isinstance(each, bool) else each}" for each in values]
    return found


def pass_on(compose: Compose, command: Command, words: Sequence[str]) -> int:
    found = parse(command.flags, list(words), command.interspersed)
    command.check_words(compose.session.path, found.words)
    return command.run(compose.session, found)
