"""--security-opt: a seccomp profile is a file of the client's machine and is sent as its JSON."""

from __future__ import annotations

import json

from corten.cli import smallfiles
from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OPEN_PATHS = "systempaths=unconfined"


def options(specs: Iterable[str]) -> tuple[list[str], bool]:
    """(SecurityOpt, whether /proc and /sys are to be left unmasked). Raises CommandError for a bad one."""
    found = []
    unmasked = False
    for spec in specs:
        if spec == OPEN_PATHS:
            unmasked = True
            continue
        found.append(_option(spec))
    return found, unmasked


def _option(spec: str) -> str:
    name, separator, value = spec.partition("=")
    if not separator and name != "no-new-privileges":
        # Docker's old spelling, "label:disable".
        name, separator, value = spec.partition(":")
        if not separator:
            raise CommandError(f"Invalid --security-opt: {json.dumps(spec)}", 125)
    if name == "seccomp" and value not in ("unconfined", "builtin"):
        return f"seccomp={_profile(value)}"
    return spec


def _profile(path: str) -> str:
    """The profile's JSON without its blanks."""
    try:
        text = smallfiles.content(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CommandError(f"opening seccomp profile ({path}) failed: open {path}: {reason}", 125) from None
    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as error:
        raise CommandError(f"compacting json for seccomp profile ({path}) failed: {error}", 125) from None
