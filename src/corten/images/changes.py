"""The `--change` of import and commit: Dockerfile instructions that only touch the configuration, read as those of a
Dockerfile are (`corten.spec.dockerfile`).

Variables are those of its environment as the change finds it; PATH is the default one where it has none, as it is for
the container's program. What a shell or a program gets later (CMD, ENTRYPOINT, HEALTHCHECK, ONBUILD) keeps its `$`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corten.errors import Invalid
from corten.spec.json import Json

if TYPE_CHECKING:
    from corten.spec.dockerfile.image_settings import ImageSettings
    from corten.spec.dockerfile.scope import Scope

_COMMANDS = frozenset(
    ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")
)


def apply_changes(config: Json, changes: Iterable[str]) -> Json:
    """A copy of an image's `config` with these instructions applied.

    Raises Invalid with the instruction's name for a bad one.
    """
    given = [change.strip() for change in changes]
    if not given:
        return copy.deepcopy(config)
    # What a daemon that only runs containers has no use for.
    from corten.spec.docker.config import ImageConfig
    from corten.spec.docker.decode import decode
    from corten.spec.dockerfile.image_settings import ImageSettings, environment_of
    from corten.spec.dockerfile.scope import Scope

    settings = ImageSettings(decode(ImageConfig, config))
    scope = Scope({}, {}, environment_of(settings.config))
    for change in given:
        _apply(settings, scope, change)
    return settings.document()


def _apply(settings: ImageSettings, scope: Scope, change: str) -> None:
    from corten.spec.dockerfile import instructions as d
    from corten.spec.dockerfile import parse

    keyword, _, rest = change.partition(" ")
    if keyword.upper() not in _COMMANDS:
        raise Invalid(f"{keyword[:100]} is not a valid change command")
    if not rest.strip():
        raise Invalid(f"{keyword.upper()} requires at least one argument")
    try:
        found = scope.take(parse.single(change)).instruction
        match found:
            case d.Env():
                settings.set_variables({pair.key: pair.value for pair in found.pairs})
            case d.Workdir():
                settings.enter(found.path)
            case _:
                settings.take(found)
    except Invalid as error:
        raise Invalid(f"cannot parse change {change[:200]!r}: {str(error)[-1000:]}") from error
