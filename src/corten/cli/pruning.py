"""What the prune commands share: the question before, the sum after."""

from __future__ import annotations

import os

from corten.cli.formats.listing import parse_filters
from corten.cli.output import out
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from corten.cli.session import Session

OPPOSITE = {"label": "label!", "label!": "label"}


def filters(session: Session, specs: Iterable[str]) -> dict[str, list[str]]:
    """--filter name=value, repeated, and `pruneFilters` of the user's config.json, as name -> values.

    A label that is asked for by flag goes before the opposite in the file.
    """
    wanted = parse_filters(specs)
    for name, values in parse_filters(session.config.prune_filters).items():
        against = wanted.get(OPPOSITE.get(name, ""), ())
        if added := [value for value in values if value not in against]:
            wanted.setdefault(name, []).extend(added)
    return wanted


def confirmed(warning: str) -> bool:
    """Ask on the terminal; anything but y or Y is no."""
    out(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", end="")
    answer = b""
    while not answer.endswith(b"\n") and (byte := os.read(0, 1)):
        answer += byte
    return answer.strip().lower() == b"y"


def image_lines(answer: dict[str, Any]) -> list[str]:
    """What an image prune removed, a line each."""
    return [
        f"untagged: {one['Untagged']}" if one.get("Untagged") else f"deleted: {one['Deleted']}"
        for one in answer.get("ImagesDeleted") or ()
    ]


def reclaimed(title: str, lines: list[str] | None, answer: dict[str, Any]) -> None:
    """The list of what is gone, and the space that is free again."""
    text = "\n".join([title, *lines, "", ""]) if lines else ""
    out(f"{text}Total reclaimed space: {human_size(answer.get('SpaceReclaimed') or 0)}")
