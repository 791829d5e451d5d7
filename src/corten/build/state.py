"""What there is behind a step of a build. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from corten.build.contract import Layer
from corten.build.plan import keys
from corten.errors import Invalid
from corten.spec.oci_image import MAX_LAYERS, Descriptor


@dataclass(frozen=True, slots=True)
class State:
    """A stage's tree behind a step. `created` is when its topmost layer was made, seconds since the epoch, 0 in a base;
    `added` whether the step has added one, `copied` what a COPY brought, in the classic builder's words. `history` is
    what an image says of how it came to be, base and all."""

    identity: str = ""
    diff_ids: tuple[str, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    top: str | None = None
    created: float = 0
    added: bool = False
    copied: str = ""
    history: tuple[str, ...] = ()

    def over(self, layer: Layer, created: float, copied: str, said: str) -> State:
        """With what a step adds, whose line in the history is `said`."""
        history = (*self.history, said)
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
