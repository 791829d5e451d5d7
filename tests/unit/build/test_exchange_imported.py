"""Records of caches from elsewhere: what they prove, and what they cannot bring."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from corten.build.exchange import config
from corten.build.exchange.imported import Imported, load
from corten.errors import Invalid, NotFound
from corten.images import pump
from corten.layers.timeless import Timeless
from corten.spec import oci_image
from corten.spec.oci_image import Descriptor
from image_parts import tars
from image_parts.stores import Made, Store, body, collect, digest, docker_archive, entry

KEY, OTHER = "sha256:" + "c" * 64, "sha256:" + "d" * 64
BASE = tars.archive(tars.file("base", b"base"))
STEP = tars.archive(tars.file("step", b"step"))
EVIL = tars.archive(tars.file("evil", b"evil"))


class Memory:
    """`corten.build.exchange.places.Place` in memory: blobs by digest, which may lie."""

    def __init__(self, store: Store, document: bytes, blobs: dict[str, bytes]) -> None:
        self._store = store
        self._document = document
        self._blobs = blobs
        self.fetched: list[str] = []

    async def manifest(self) -> bytes:
        return self._document

    async def document(self, blob: Descriptor, limit: int) -> bytes:
        return self._blobs[blob.digest]

    async def fetch(self, blob: Descriptor) -> None:
        self.fetched.append(blob.digest)
        if blob.digest not in self._blobs:
            raise NotFound("no such blob")
        await asyncio.to_thread(self._store.blobs.put, self._blobs[blob.digest], None)


def cache(store: Store, image: Made, diff_ids: list[str], layer: int = 1, key: str = KEY) -> Memory:
    """Of an image's layers, on one another."""
    layers = tuple(config.CacheLayer(digest(each), at - 1) for at, each in enumerate(image.layers))
    found = config.render(config.CacheConfig(layers, {key: (config.CacheResult(layer, ""),)}))
    entries: list[Any] = [
        {**entry(oci_image.OCI_LAYER + "+gzip", each), "annotations": {"containerd.io/uncompressed": diff}}
        for each, diff in zip(image.layers, diff_ids)
    ]
    named = Descriptor(config.MEDIA_TYPE, digest(found), len(found))
    document = oci_image.render_layers(named, entries, oci_image.OCI_MANIFEST)
    return Memory(store, document, {**image.blobs, digest(found): found})


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    """With an image of BASE."""
    made = Store(tmp_path / "store")
    await collect(made.images.load(body(docker_archive(Made([BASE]), ["base:1"])), True))
    yield made
    await made.close()


@contextmanager
def imported(store: Store, *places: Memory) -> Iterator[tuple[Any, list[str]]]:
    said: list[str] = []

    async def find(key: str, *diff_ids: str) -> Any:
        sources = {f"{at}": await load(place) for at, place in enumerate(places)}
        taken = Imported(sources, store.images.store, lease, lambda name, text: said.append(text))
        return await taken.find(key, diff_ids)

    with store.images.store.leases.hold() as lease:
        yield find, said


async def test_a_layer_on_the_very_tree_is_taken(store: Store) -> None:
    place = cache(store, Made([BASE, STEP]), [digest(BASE), digest(STEP)])
    with imported(store, place) as (find, said):
        layer, created = await find(KEY, digest(BASE))
        timeless = Timeless()
        timeless.update(STEP)
        assert (layer.diff_id, layer.content, created) == (digest(STEP), timeless.digest, 0)
        assert store.trees.tree_store.has(layer.tree) and store.blobs.has(layer.blob.digest)
        assert await find(OTHER, digest(BASE)) is None and not said
    assert len(place.fetched) == 1  # what is below was here


async def test_another_tree_below_is_not_replaced(store: Store) -> None:
    """A cache that claims the key, with another base in its layers: nothing of it is looked at."""
    place = cache(store, Made([EVIL, STEP]), [digest(EVIL), digest(STEP)])
    with imported(store, place) as (find, _):
        assert await find(KEY, digest(BASE)) is None
    assert not place.fetched


async def test_more_than_one_layer_is_not_a_step(store: Store) -> None:
    place = cache(store, Made([BASE, EVIL, STEP]), [digest(BASE), digest(EVIL), digest(STEP)], layer=2)
    with imported(store, place) as (find, _):
        assert await find(KEY, digest(BASE)) is None
    assert not place.fetched


async def test_a_step_that_brought_nothing(store: Store) -> None:
    place = cache(store, Made([BASE]), [digest(BASE)], layer=0)
    with imported(store, place) as (find, _):
        layer, _ = await find(KEY, digest(BASE))
        assert layer.blob is None and not place.fetched


async def test_a_blob_is_what_its_diff_id_says(store: Store) -> None:
    """Evil content under the name of a layer; also when the tree of that name is here already."""
    place = cache(store, Made([BASE, EVIL]), [digest(BASE), digest(STEP)])
    with imported(store, place) as (find, said):
        assert await find(KEY, digest(BASE)) is None and said
    good = cache(store, Made([BASE, STEP]), [digest(BASE), digest(STEP)])
    with imported(store, good) as (find, _):
        layer, _ = await find(KEY, digest(BASE))
        assert store.trees.tree_store.has(layer.tree)
        with imported(store, place) as (again, said):
            assert await again(KEY, digest(BASE)) is None
            assert "is not the layer that it says" in said[0]


async def test_a_blob_without_end_where_the_tree_is_here(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump, "_ALWAYS", 1 << 20)
    bomb = tars.archive(tars.file("bomb", bytes(64 << 20)))
    with imported(store, cache(store, Made([BASE, STEP]), [digest(BASE), digest(STEP)])) as (find, _):
        assert await find(KEY, digest(BASE)) is not None
        with imported(store, cache(store, Made([BASE, bomb]), [digest(BASE), digest(STEP)])) as (again, said):
            assert await again(KEY, digest(BASE)) is None
            assert "looks like a zip bomb" in said[0]


async def test_a_blob_that_is_not_there_is_no_error(store: Store) -> None:
    place = cache(store, Made([BASE, STEP]), [digest(BASE), digest(STEP)])
    place._blobs = {key: value for key, value in place._blobs.items() if value not in Made([BASE, STEP]).layers}
    with imported(store, place) as (find, said):
        assert await find(KEY, digest(BASE)) is None and "no such blob" in said[0]


async def test_nothing_is_left_of_what_no_image_has(store: Store) -> None:
    before = store.leftovers()
    place = cache(store, Made([BASE, STEP]), [digest(BASE), digest(STEP)])
    with store.images.store.leases.hold() as lease:
        taken = Imported({"": await load(place)}, store.images.store, lease, lambda name, text: None)
        assert await taken.find(KEY, [digest(BASE)]) is not None
        lease.collect()
        await asyncio.to_thread(lease.release)
    store.images.store.collector.trees()
    assert store.leftovers() == before


@pytest.mark.parametrize("document", [b"{}", b"x", json.dumps({"schemaVersion": 2, "manifests": []}).encode()])
async def test_what_is_no_cache(store: Store, document: bytes) -> None:
    with pytest.raises(Invalid):
        await load(Memory(store, document, {}))
