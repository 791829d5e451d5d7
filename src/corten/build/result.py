"""From what a plan's target is made of to the result that outputs are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from corten.build.outputs.contract import Made, Predicate
from corten.build.plan.graph import COPIED, Node, Plan
from corten.spec.docker import times
from corten.spec.image_config import History, ImageConfig, RootFS
from corten.spec.oci_image import Descriptor
from corten.spec.platform import Platform
from corten.units.durations import SECOND

if TYPE_CHECKING:
    from corten.build.state import State


@dataclass(frozen=True, slots=True)
class Built:
    """The end of a build. `id` is its image's, `digest` that of manifest or index, `config` the configuration as a
    document; `answer` describes its outputs to the client. `stored`: an output was the image store, so it is
    to stay there, and `root` is its manifest or index. `predicates` are what was attested. `platforms` are the
    configurations of an index's images, by platform; {} where none was asked for."""

    id: str
    digest: str
    config: bytes
    answer: Mapping[str, str]
    stored: bool
    root: Descriptor | None = None
    predicates: tuple[Predicate, ...] = ()
    platforms: Mapping[str, bytes] = field(default_factory=dict)


def document(plan: Plan, states: dict[Node, State], platform: Platform, epoch: int | None) -> ImageConfig:
    """The image's configuration. The same layers with the same settings give the same bytes on any day: what has no
    layer is as old as the layer below it. `epoch` takes the place of all times."""
    before = plan.base.image.config if plan.base.image is not None else ImageConfig()
    history = list(before.history)
    created = before.created
    for entry in plan.entries:
        state = states[entry.step] if entry.step is not None else None
        if state is not None and state.added:
            created = times.rfc3339(int(state.created * SECOND)) if epoch is None else times.moment(epoch * SECOND)
        empty = state is None or not state.added
        said = entry.history
        by = said.created_by.replace(COPIED, state.copied if state is not None else "")
        history.append(History(created, by, said.author, said.comment, empty))
    return ImageConfig(
        architecture=before.architecture or platform.architecture,
        os=before.os or platform.os,
        variant=before.variant or platform.variant,
        created=created,
        author=plan.author or before.author,
        config=plan.config,
        rootfs=RootFS(diff_ids=states[plan.top].diff_ids),
        history=tuple(history),
    )


def made(plan: Plan, states: dict[Node, State], platform: Platform, epoch: int | None = None) -> Made:
    """The image of one platform."""
    found = document(plan, states, platform, epoch)
    state = states[plan.top]
    inherited = len(plan.base.image.layers) if plan.base.image is not None else 0
    return Made(platform, found, state.blobs, state.top, inherited)
