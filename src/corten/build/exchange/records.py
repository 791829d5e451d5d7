"""From the steps of a build to a cache that others can have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from corten.build.exchange.config import CacheConfig, CacheLayer, CacheResult
from corten.build.plan.graph import Base, Step
from corten.spec.docker import times
from corten.spec.oci_image import Descriptor


@dataclass(frozen=True, slots=True)
class Done:
    """A step of a build: its key, and the tree behind it. `created` is when its layer was made, seconds since the
    epoch; 0 for a base's."""

    key: str
    blobs: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    created: float


@dataclass(frozen=True, slots=True)
class Exported:
    """`layers` are the blobs of `config`, in its order, with their diff ids."""

    config: CacheConfig
    layers: tuple[tuple[Descriptor, str], ...]


def below(top: Base | Step) -> Iterable[Step]:
    """The steps that a result has its layers of, topmost first."""
    while isinstance(top, Step):
        yield top
        top = top.parent


def of(done: Iterable[Done]) -> Exported:
    """A step that leads to no layer at all is in no record."""
    numbers: dict[tuple[str, int], int] = {}
    layers, found = list[tuple[Descriptor, str]](), dict[str, tuple[CacheResult, ...]]()
    for step in done:
        top = -1
        for blob, diff in zip(step.blobs, step.diff_ids):
            at = (blob.digest, top)
            if at not in numbers:
                numbers[at] = len(layers)
                layers.append((blob, diff))
            top = numbers[at]
        if top >= 0:
            found[step.key] = (_result(top, step),)
    parents = {number: parent for (_, parent), number in numbers.items()}
    table = tuple(CacheLayer(blob.digest, parents[number]) for number, (blob, _) in enumerate(layers))
    return Exported(CacheConfig(table, found), tuple(layers))


def inline(done: Iterable[Done], image: Sequence[str]) -> CacheConfig:
    """For an image with these diff ids: what leads to its own layers."""
    found = {}
    for step in done:
        count = len(step.diff_ids)
        if count and tuple(image[:count]) == step.diff_ids:
            found[step.key] = (_result(count - 1, step),)
    return CacheConfig((), found)


def _result(top: int, step: Done) -> CacheResult:
    return CacheResult(top, times.of_seconds(step.created) if step.created else "")


def again(found: Exported, blobs: Mapping[str, Descriptor]) -> Exported:
    """The same with other blobs in the place of some."""
    layers = tuple((blobs.get(blob.digest, blob), diff) for blob, diff in found.layers)
    table = tuple(CacheLayer(blob.digest, each.parent) for (blob, _), each in zip(layers, found.config.layers))
    return Exported(CacheConfig(table, found.config.records), layers)
