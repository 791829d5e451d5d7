"""Names, filters and removal of images that are here."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.errors import Conflict, Invalid, NotFound
from corten.spec.oci_image import chain_ids
from image_parts.stores import BOTTOM, TOP, Made, Store, body, collect, digest, docker_archive

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

Users = dict[str, list[tuple[str, bool]]]


@pytest.fixture
async def loaded(tmp_path: Path) -> AsyncIterator[tuple[Store, Users]]:
    users: Users = {}
    store = Store(tmp_path / "root", users=lambda id: users.get(id, []))
    for name, layers in (("one:1", [BOTTOM]), ("two:1", [BOTTOM, TOP])):
        await collect(store.images.load(body(docker_archive(Made(layers), [name])), True))
    yield store, users
    await store.close()


async def test_tags(loaded: tuple[Store, Users]) -> None:
    store, _ = loaded
    store.images.tag("one:1", "localhost:5000/other", "v2")
    store.images.tag("one:1", "third", "")
    assert store.images.resolve("one:1").repo_tags == ("one:1", "third:latest", "localhost:5000/other:v2")
    assert store.images.resolve("third").id == store.images.resolve("one:1").id
    store.images.tag("two:1", "third", "latest")  # taken from the other
    assert store.images.resolve("third").id == store.images.resolve("two:1").id
    store.images.resolve("two:1")
    await store.images.remove("two:1")
    with pytest.raises(NotFound):
        store.images.resolve("two:1")
    assert store.images.resolve("third").repo_tags == ("third:latest",)
    for bad in (("A B", ""), ("x", "a b"), ("x@" + digest(b""), "")):
        with pytest.raises(Invalid):
            store.images.tag("one:1", *bad)
    with pytest.raises(NotFound):
        store.images.tag("nothing", "x", "y")


async def test_list_filters(loaded: tuple[Store, Users]) -> None:
    store, _ = loaded

    def names(**filters: list[str]) -> list[str]:
        return sorted(tag for row in store.images.list(filters) for tag in row["RepoTags"])

    assert names() == ["one:1", "two:1"]
    assert names(reference=["o*"]) == ["one:1"]
    assert names(reference=["*:1", "x"]) == ["one:1", "two:1"]
    assert names(dangling=["true"]) == []
    assert names(label=["a=b"]) == []
    assert names(until=["2000-01-01"]) == ["one:1", "two:1"]  # made long before: they have no time
    with pytest.raises(Invalid, match="invalid filter 'colour'"):
        names(colour=["x"])
    with pytest.raises(NotFound):
        names(before=["nothing"])
    shared = {row["RepoTags"][0]: row for row in store.images.list(shared_size=True)}
    assert shared["two:1"]["SharedSize"] == shared["one:1"]["SharedSize"] == shared["one:1"]["Size"] == 7


async def test_remove(loaded: tuple[Store, Users]) -> None:
    store, users = loaded
    store.images.tag("two:1", "other/two", "2")
    id = store.images.resolve("two:1").id
    with pytest.raises(
        Conflict, match=r"unable to delete .* \(must be forced\) - image is referenced in multiple repositories"
    ):
        await store.images.remove(id)
    assert await store.images.remove("other/two:2") == [{"Untagged": "other/two:2"}]
    users[id] = [("c" * 64, False)]
    with pytest.raises(
        Conflict,
        match=r'unable to remove repository reference "two:1" \(must force\) - container cccccccccccc is using',
    ):
        await store.images.remove("two:1")
    users[id] = [("c" * 64, True)]
    with pytest.raises(Conflict, match=r"cannot be forced.* being used by running container cccccccccccc"):
        await store.images.remove(id, force=True)
    users.clear()
    removed = await store.images.remove(id[7:19])
    chain = chain_ids([digest(BOTTOM), digest(TOP)])
    assert removed == [{"Untagged": "two:1"}, {"Deleted": id}, {"Deleted": chain[1]}]  # the lower layer is one:1's
    with pytest.raises(NotFound):
        await store.images.remove("two:1")
    await store.images.remove("one:1")
    assert store.leftovers() == []


async def test_layers_under_a_container_stay(loaded: tuple[Store, Users]) -> None:
    store, _ = loaded
    image = store.images.resolve("two:1")
    store.trees.prepare("container", image.chain_id)
    await store.images.remove("one:1")
    removed = await store.images.remove("two:1", force=True)
    assert {"Deleted": image.id} in removed
    assert image.chain_id not in [entry.get("Deleted") for entry in removed]
    assert store.trees.mounts("container")
    store.trees.remove("container")
    store.images.collect()
    assert store.leftovers() == []
