"""--cache-from of the classic builder: the only layers that count as cache are those of the images that it names.

A step is in such an image when that has the step's parent below it, layer by layer and line of history by line, and
then the step's line. A step whose line does not say all that it does (a mount, a heredoc, a mode) is in none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from corten.build.cache.cache import Cache
from corten.build.contract import BuildRequest, Layer
from corten.errors import CortenError
from corten.images.images import Images
from corten.spec.docker import times
from corten.store.images import ImageRecord
from corten.store.leases import Lease
from corten.units.durations import SECOND

log = logging.getLogger(__name__)
_NOTHING = Layer("", "", "", 0, None)


async def cache_images(images: Images, cache: Cache, request: BuildRequest, lease: Lease) -> CacheImages | None:
    """Those of a request that are here, held by `lease`; None when it asks for no such thing."""
    if not (request.classic and request.cache_from):
        return None
    found = []
    for name in request.cache_from:
        try:
            record = images.store.records.get((await images.provide(name)).id)
        except CortenError as error:
            log.info("cache from %s: %s", name[:200], error)
            continue
        if record is not None and record.whole:
            lease.add("blob", *record.blobs)
            lease.add("snapshot", *record.chain)
            found.append(record)
    return CacheImages(found, cache)


class CacheImages:
    """`cache` knows what the layers are that this daemon has made itself."""

    def __init__(self, records: Sequence[ImageRecord], cache: Cache) -> None:
        self._records = records
        self._cache = cache

    def find(
        self, history: Sequence[str], diff_ids: Sequence[str], said: str, here: Callable[[Layer], bool]
    ) -> tuple[Layer, float] | None:
        """What the step `said` has added on top of these layers, which came to be by `history`, and when: seconds since
        the epoch. None when no image has it."""
        at, below = len(history), len(diff_ids)
        for record in self._records if said else ():
            lines, diffs = record.config.history, record.config.diff_ids
            if [line.created_by for line in lines[: at + 1]] != [*history, said] or diffs[:below] != tuple(diff_ids):
                continue
            # Counted from the top: of layers of a base the history may say nothing.
            behind = len(diffs) - sum(not line.empty_layer for line in lines[at + 1 :])
            if lines[at].empty_layer and behind == below:
                return _NOTHING, 0
            if not lines[at].empty_layer and behind == below + 1 and here(layer := self._layer(record, below)):
                return layer, times.parse_time(lines[at].created) / SECOND if lines[at].created else 0
        return None

    def _layer(self, record: ImageRecord, at: int) -> Layer:
        """A layer that was made elsewhere has no other content than itself."""
        tree = record.chain[at]
        made = next((known.layer for known in self._cache.all() if known.layer.tree == tree), None)
        diff_id = record.config.diff_ids[at]
        return made or Layer(diff_id, tree, diff_id, 0, record.layers[at])
