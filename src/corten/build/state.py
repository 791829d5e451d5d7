"""What there is behind a step of a build. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from corten.build.contract import Layer
from corten.build.plan import keys
from corten.errors import Invalid
from corten.spec.oci_image import MAX_LAYERS, Descriptor


class History(NamedTuple):
    """A line, and those before it, which states have in common."""

    before: History | None
    line: str


def history(lines: Iterable[str]) -> History | None:
    found: History | None = None
    for line in lines:
        found = History(found, line)
    return found


def lines(found: History | None) -> list[str]:
    """The first line first."""
    every = []
    while found is not None:
        found, line = found
        every.append(line)
    return every[::-1]


@dataclass(frozen=True, slots=True)
class State:
    """A stage's tree behind a step. `created` is when its topmost layer was made, seconds since the epoch, 0 in a base;
    `added` whether the step has added one, `copied` what a COPY brought, in the classic builder's words. `history` is
    what an image says of how it came to be, base and all, the last line first."""

    identity: str = ""
    diff_ids: tuple[str, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    top: str | None = None
    created: float = 0
    added: bool = False
    copied: str = ""
    history: History | None = None

    def over(self, layer: Layer, created: float, copied: str, said: str) -> State:
        """With what a step adds, whose line in the history is `said`."""
        history = History(self.history, said)
        if len(self.diff_ids) >= MAX_LAYERS and layer.blob is not None:
            raise Invalid(f"there are {MAX_LAYERS} layers below it already: there can be no more")
        if layer.blob is None:
            return replace(self, added=False, copied=copied, history=history)
        return State(
            keys.identity(self.identity, layer),
            (*self.diff_ids, layer.diff_id),
            (*self.blobs, layer.blob),
            layer.tree,
            created,
            True,
            copied,
            history,
        )
