"""-v (API: HostConfig.Binds, Config.Volumes)."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.spec.docker.gotypes import PathSet


def volumes(specs: Iterable[str]) -> tuple[list[str], PathSet]:
    """(Binds, Volumes): a spec with a source is a bind, one without is an anonymous volume.

    Raises CommandError for a bad one.
    """
    binds: list[str] = []
    anonymous: PathSet = {}
    for spec in specs:
        source = _source_of(spec)
        if not source:
            anonymous[spec] = {}
        elif source.startswith("."):
            binds.append(os.path.abspath(source) + spec[len(source) :])
        else:
            binds.append(spec)
    return binds, anonymous


def _source_of(spec: str) -> str:
    if not spec:
        raise CommandError("invalid empty volume spec", 125)
    parts = spec.split(":")
    if len(parts) == 1:
        return ""
    if not all(parts):
        raise CommandError(f"invalid spec: {spec}: empty section between colons", 125)
    if len(parts) > 3:
        raise CommandError(f"invalid spec: {spec}: too many colons", 125)
    return parts[0]
