"""Images of other platforms: kept with the one that a name means, and unpacked when they are needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Conflict, Invalid, NotFound
from corten.spec import platform as platforms
from corten.spec.oci_image import OCI_INDEX, OCI_MANIFEST
from corten.spec.platform import parse
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, Store, body, collect, digest, entry

ARM = parse("linux/arm64" if platforms.host().architecture != "arm64" else "linux/amd64")
S390X = parse("linux/s390x")
OWN = Made([tars.archive(tars.file("shared")), tars.archive(tars.file("own"))])
OTHER = Made([tars.archive(tars.file("shared")), tars.archive(tars.file("other"))], ARM.architecture)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        yield registry


def published(server: Scripted) -> bytes:
    """An index of both images, and of one of s390x that the registry has not, under the tag 1."""
    gone = {**entry(OCI_MANIFEST, b"{}"), "platform": platforms.described(S390X)}
    entries: list[dict[str, Any]] = []
    for image, platform in ((OWN, platforms.host()), (OTHER, ARM)):
        server.add(f"only-{platform.architecture}", image)
        server.manifests[digest(image.manifest)] = (OCI_MANIFEST, image.manifest)
        entries.append({**entry(OCI_MANIFEST, image.manifest), "platform": platforms.described(platform)})
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries, gone]}).encode()
    server.manifests["1"] = server.manifests[digest(index)] = (OCI_INDEX, index)
    return index


async def pull(store: Store, server: Scripted, platform: str | None = None) -> str:
    messages = await collect(store.images.pull(f"{server.host}/a/b", "1", platform))
    assert messages[-1]["status"].startswith("Status: "), messages[-1]
    return f"{server.host}/a/b:1"


@pytest.mark.parametrize("order", [(None, str(ARM)), (str(ARM), None)], ids=["own first", "other first"])
async def test_another_platform_of_an_index_is_kept_beside(
    store: Store, server: Scripted, order: tuple[str | None, str | None]
) -> None:
    published(server)
    for platform in order:
        name = await pull(store, server, platform)
    images = store.images
    assert images.resolve(name).id == digest(OWN.config), "the name means this machine's"
    assert (await images.provide(name, ARM)).id == digest(OTHER.config)
    assert [row["Id"] for row in images.list()] == [digest(OWN.config)]
    shown = images.list(manifests=True)[0]["Manifests"]
    assert [each["ImageData"]["Platform"]["architecture"] for each in shown] == [
        platforms.host().architecture,
        ARM.architecture,
    ]
    assert all(each["Available"] and each["Size"]["Total"] > each["Size"]["Content"] for each in shown)
    with pytest.raises(NotFound, match=r"does not match the specified platform \(linux/s390x\)"):
        await images.provide(name, S390X)
    await images.remove(name)
    assert images.list() == [] and store.leftovers() == []


async def test_an_index_is_saved_and_loaded(store: Store, server: Scripted, tmp_path: Path) -> None:
    index = published(server)
    await pull(store, server, str(ARM))
    name = await pull(store, server)
    tar = b"".join([piece async for piece in store.images.save([name])])
    alone = b"".join([piece async for piece in store.images.save([name], str(ARM))])
    assert digest(OWN.config).encode()[7:] in tar and digest(OWN.config).encode()[7:] not in alone
    second = Store(tmp_path / "second")
    try:
        messages = await collect(second.images.load(body(tar)))
        assert messages[-1] == {"stream": f"Loaded image: {name}\n"}
        assert second.images.resolve(name).id == digest(OWN.config)
        assert digest(index) in second.images.store.records.get(digest(OWN.config)).others  # type: ignore[union-attr]
        other = await second.images.provide(name, ARM)
        assert other.id == digest(OTHER.config) and other.chain_id is not None
        again = b"".join([piece async for piece in second.images.save([name])])
        assert again == tar
        for wanted, others in (([ARM], 0), ([ARM, platforms.host()], 3)):
            await second.images.remove(name)
            await collect(second.images.load(body(tar), platforms=wanted))
            record = second.images.store.records.get(second.images.resolve(name).id)
            assert record is not None and record.id == digest((OWN if others else OTHER).config)
            assert len(record.others) == others + bool(others)  # the index; manifest, configuration and layer of one
        for archive in (tar, alone):
            with pytest.raises(Invalid, match="for linux/s390x"):
                await collect(second.images.load(body(archive), platforms=[S390X]))
        await second.images.remove(name)
        await collect(second.images.load(body(alone)))
        assert second.images.resolve(name).id == digest(OTHER.config)
    finally:
        await second.close()


async def test_one_platform_is_removed(store: Store, server: Scripted) -> None:
    published(server)
    await pull(store, server, str(ARM))
    name = await pull(store, server)
    with pytest.raises(Conflict, match="remove the image"):
        await store.images.remove(name, platforms=[platforms.host()])
    with pytest.raises(NotFound, match="nothing for linux/s390x"):
        await store.images.remove(name, platforms=[S390X])
    assert await store.images.remove(name, platforms=[ARM]) == [{"Deleted": digest(OTHER.manifest)}]
    with pytest.raises(NotFound):
        await store.images.provide(name, ARM)
    assert not store.blobs.has(digest(OTHER.config)) and store.blobs.has(digest(OWN.layers[0]))
    assert store.images.resolve(name).id == digest(OWN.config)


async def test_an_image_that_is_removed_while_one_of_its_platforms_is(store: Store, server: Scripted) -> None:
    published(server)
    await pull(store, server)
    name = await pull(store, server, str(ARM))
    removing = asyncio.ensure_future(store.images.remove(name, platforms=[ARM]))
    await asyncio.sleep(0)  # it looks for that
    await store.images.remove(name, force=True)
    with pytest.raises(NotFound, match="No such image"):
        await removing
    assert not store.images.list()


async def test_an_image_that_is_removed_while_another_platform_comes(
    store: Store, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came is an image by itself, and the other one stays removed."""
    index = published(server)
    name, loop = await pull(store, server), asyncio.get_running_loop()
    own, put = store.images.resolve(name).id, store.images.store.blobs.put

    def meanwhile(body: bytes, digest: str | None = None) -> str:
        if body == index:
            asyncio.run_coroutine_threadsafe(store.images.remove(own, force=True), loop).result()
        return put(body, digest)

    monkeypatch.setattr(store.images.store.blobs, "put", meanwhile)
    await pull(store, server, str(ARM))
    assert [row["RepoTags"] for row in store.images.list()] == [[name]]
    assert store.images.resolve(name).id != own and store.images.store.records.get(own) is None


async def test_a_container_holds_the_image_that_its_own_belongs_to(server: Scripted, tmp_path: Path) -> None:
    users = {digest(OTHER.config): [("c" * 64, False)]}
    store = Store(tmp_path / "used", users=lambda id: users.get(id, []))
    try:
        published(server)
        await pull(store, server, str(ARM))
        name = await pull(store, server)
        with pytest.raises(Conflict, match="container cccccccccccc is using"):
            await store.images.remove(name)
        with pytest.raises(Conflict, match="is using image"):
            await store.images.remove(name, platforms=[ARM])
        assert store.images.in_use(digest(OWN.config)), "prune leaves it"
        users.clear()
        await store.images.remove(name)
        assert store.images.list() == []
    finally:
        await store.close()


async def test_an_index_that_is_lost_hides_nothing(store: Store, server: Scripted) -> None:
    index = published(server)
    await pull(store, server, str(ARM))
    name = await pull(store, server)
    record = store.images.store.records.get(digest(OWN.config))
    assert record is not None
    store.images.store.records.put(replace(record, others=()))
    store.images.store.collector.discard([digest(index)])
    assert {row["Id"] for row in store.images.list()} == {digest(OWN.config), digest(OTHER.config)}
    with pytest.raises(NotFound):
        await store.images.provide(name, ARM)


def layout(index: bytes, blobs: list[bytes]) -> bytes:
    """An OCI layout with an index and blobs, as a tar."""
    named = {"org.opencontainers.image.ref.name": "hostile:1"}
    top = {"schemaVersion": 2, "manifests": [{**entry(OCI_INDEX, index), "annotations": named}]}
    members = [tars.file(f"blobs/sha256/{digest(each)[7:]}", each) for each in (index, *blobs)]
    return tars.archive(*members, tars.file("index.json", json.dumps(top).encode()))


def index_of(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


async def test_indexes_that_name_the_same_again_and_again(store: Store) -> None:
    """A thousand times a thousand names of one image: it is read once."""
    own = {**entry(OCI_MANIFEST, OWN.manifest), "platform": platforms.described(platforms.host())}
    inner = index_of(*[own] * 1000)
    index = index_of(own, *[entry(OCI_INDEX, inner)] * 1000)
    tar = layout(index, [inner, OWN.manifest, *OWN.blobs.values()])
    assert (await collect(store.images.load(body(tar))))[-1] == {"stream": "Loaded image: hostile:1\n"}
    assert len(store.images.list(manifests=True)[0]["Manifests"]) == 1


async def test_indexes_that_are_refused(store: Store) -> None:
    empty = {"schemaVersion": 2, "manifests": []}
    many = [json.dumps({**empty, "annotations": {"n": str(n)}}).encode() for n in range(300)]
    own = {**entry(OCI_MANIFEST, OWN.manifest), "platform": platforms.described(platforms.host())}
    index = index_of(own, *(entry(OCI_INDEX, each) for each in many))
    for tar, message in (
        (layout(index, [*many, OWN.manifest, *OWN.blobs.values()]), "more than 256 manifests"),
        (layout(index_of(own), []), "has no image of the index"),
        (layout(index_of(entry(OCI_INDEX, many[0])), many[:1]), "an index in an index in an index"),
        (layout(index_of(entry(OCI_MANIFEST, b"{}")), [b"{}"]), "manifest"),
    ):
        with pytest.raises(Invalid, match=message):
            await collect(store.images.load(body(tar)))
        assert store.images.list() == [] and store.leftovers() == []
