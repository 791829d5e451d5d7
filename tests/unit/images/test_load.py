"""Archives: Docker's and OCI layouts, parents in them, and those that are none."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
import os
import tarfile
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from corten.errors import Corrupt, CortenError, Failed, Invalid
from corten.store.feed import Readers
from image_parts import tars
from image_parts.stores import BOTTOM, TOP, Made, Store, body, collect, digest, docker_archive, entry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
async def test_load_docker_archives(store: Store, compress: Any) -> None:
    image = Made([BOTTOM, TOP])
    data = compress(docker_archive(image, ["a:1", "r.io/b:2"], linked=True))
    messages = await collect(store.images.load(body(data, 1000), False))
    assert [m["stream"] for m in messages if "stream" in m] == ["Loaded image: a:1\n", "Loaded image: r.io/b:2\n"]
    assert store.images.resolve("a:1").id == digest(image.config)
    await store.images.remove("a:1")
    await store.images.remove("r.io/b:2")
    assert store.leftovers() == []


async def test_a_layer_that_is_known_need_not_be_in_the_archive(store: Store) -> None:
    """Some writers leave a link to what another archive had; dockerd looks only for layers that it has not got."""
    await collect(store.images.load(body(docker_archive(Made([BOTTOM]), ["base:1"]))))
    image = Made([BOTTOM, TOP])
    dangling = without(docker_archive(image, ["a:1"], linked=True), "0/layer.tar")
    await collect(store.images.load(body(dangling)))
    assert store.images.resolve("a:1").id == digest(image.config)
    for name in ("a:1", "base:1"):
        await store.images.remove(name)
    with pytest.raises(Failed, match="archive lacks layer"):
        await collect(store.images.load(body(dangling)))
    assert store.leftovers() == []


@pytest.mark.parametrize("kind", ["links", "files"])
async def test_names_do_not_fill_memory(store: Store, kind: str) -> None:
    """DOS-01: they are kept until the manifest has come, and a thousand times as long as what was sent."""
    packer, pieces = zlib.compressobj(9, zlib.DEFLATED, 31), list[bytes]()
    for number in range(140):
        name = f"{number}{'a' * 1_000_000}"
        pieces.append(packer.compress(tars.symlink(name, "x") if kind == "links" else tars.file(name)))
    data = b"".join([*pieces, packer.compress(bytes(1024)), packer.flush()])
    assert len(data) < 1 << 20
    with pytest.raises(Invalid, match="archive has too many members: more than 134217728 bytes of names"):
        await collect(store.images.load(body(data, 1 << 16)))
    assert store.leftovers() == []


def without(archive: bytes, member: str) -> bytes:
    kept = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as whole, tarfile.open(fileobj=kept, mode="w") as less:
        for info in whole:
            if info.name != member:
                less.addfile(info, whole.extractfile(info) if info.isreg() else None)
    return kept.getvalue()


def child_archive(history: int) -> tuple[bytes, Made, Made]:
    """A base, and an image on it whose history is `history` entries longer, in one archive that names its parent."""
    made = []
    for tars_, length in (([BOTTOM], 1), ([BOTTOM, TOP], 1 + history)):
        image = Made(tars_)
        steps = [{"created_by": f"step {at}", "empty_layer": at >= len(tars_)} for at in range(length)]
        document = {**json.loads(image.config), "history": steps}
        image.config = json.dumps(document).encode()
        made.append(image)
    base, child = made
    entries = [
        {"Config": "base.json", "RepoTags": ["base:1"], "Layers": ["0.tar"]},
        {
            "Config": "c.json",
            "RepoTags": ["c:1"],
            "Layers": ["0.tar", "1.tar"],
            "Parent": digest(base.config),
        },
    ]
    files = {"base.json": base.config, "c.json": child.config, "0.tar": BOTTOM, "1.tar": TOP}
    members = [tars.file(name, data) for name, data in files.items()]
    return tars.archive(*members, tars.file("manifest.json", json.dumps(entries).encode())), base, child


async def test_parents_in_an_archive(store: Store) -> None:
    data, base, child = child_archive(1)
    await collect(store.images.load(body(data)))
    assert store.images.inspect("c:1")["Parent"] == digest(base.config)
    assert {row["Id"]: row["ParentId"] for row in store.images.list()} == {
        digest(base.config): "",
        digest(child.config): digest(base.config),
    }
    saved = b"".join([piece async for piece in store.images.save(["base:1", "c:1"])])
    alone = b"".join([piece async for piece in store.images.save(["c:1"])])
    await store.images.remove("base:1")
    assert store.images.inspect("c:1")["Parent"] == ""  # it is not here any more
    await store.images.remove("c:1")
    await collect(store.images.load(body(alone)))
    assert store.images.inspect("c:1")["Parent"] == ""
    await collect(store.images.load(body(saved)))
    assert store.images.inspect("c:1")["Parent"] == digest(base.config)
    await collect(store.images.load(body(alone)))  # known, and with a parent, already
    assert store.images.inspect("c:1")["Parent"] == digest(base.config)


async def test_a_parent_outside_of_the_archive_is_none(store: Store) -> None:
    """Though it is here: as dockerd, which asks the archive alone."""
    data, base, child = child_archive(1)
    await collect(store.images.load(body(data)))
    await store.images.remove("c:1")
    assert store.images.resolve("base:1").id == digest(base.config)
    entry = {"Config": "c.json", "RepoTags": ["c:1"], "Layers": ["0", "1"], "Parent": digest(base.config)}
    members = {"c.json": child.config, "0": BOTTOM, "1": TOP, "manifest.json": json.dumps([entry]).encode()}
    await collect(store.images.load(body(tars.archive(*(tars.file(name, data) for name, data in members.items())))))
    assert store.images.inspect("c:1")["Parent"] == ""


@pytest.mark.parametrize("history", [0, 2])
async def test_a_parent_whose_history_the_image_does_not_continue_is_refused(store: Store, history: int) -> None:
    with pytest.raises(Invalid, match="is not a valid parent for"):
        await collect(store.images.load(body(child_archive(history)[0])))
    assert store.leftovers() == []


async def test_load_oci_layouts(store: Store) -> None:
    image = Made([BOTTOM, TOP])
    index = {"schemaVersion": 2, "manifests": [{**entry("application/vnd.oci.image.manifest.v1+json", image.manifest),
             "annotations": {"io.containerd.image.name": "docker.io/library/lay:out"}}]}  # fmt: skip
    blobs = {**image.blobs, digest(image.manifest): image.manifest, digest(b"other"): b"other"}
    data = tars.archive(
        tars.file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        *(tars.file("./blobs/sha256/" + name[7:], content) for name, content in blobs.items()),
        tars.file("index.json", json.dumps(index).encode()),
    )
    assert (await collect(store.images.load(body(data), True)))[-1] == {"stream": "Loaded image: lay:out\n"}
    assert not store.blobs.has(digest(b"other"))
    await store.images.remove("lay:out")
    wrong = data.replace(
        b"./blobs/sha256/" + digest(b"other")[7:].encode(), b"./blobs/sha256/" + digest(b"wrong")[7:].encode()
    )
    assert len(wrong) == len(data)
    with pytest.raises(CortenError):
        await collect(store.images.load(body(wrong), True))
    assert store.leftovers() == []


@pytest.mark.parametrize("lacking", ["manifest", "config", "layer"])
async def test_what_an_oci_layout_lacks_is_named(store: Store, lacking: str) -> None:
    image = Made([BOTTOM, TOP])
    index = {"schemaVersion": 2, "manifests": [entry("application/vnd.oci.image.manifest.v1+json", image.manifest)]}
    blobs = {**image.blobs, digest(image.manifest): image.manifest}
    content = {"manifest": image.manifest, "config": image.config, "layer": image.layers[1]}[lacking]
    del blobs[digest(content)]
    data = tars.archive(
        tars.file("index.json", json.dumps(index).encode()),
        *(tars.file("blobs/sha256/" + name[7:], content) for name, content in blobs.items()),
    )
    with pytest.raises(CortenError) as caught:
        await collect(store.images.load(body(data)))
    assert str(caught.value).startswith("archive ") and str(caught.value).count(digest(content)) == 1
    assert store.leftovers() == []


def listed(**document: Any) -> bytes:
    return tars.archive(tars.file("c", b"{}"), tars.file("manifest.json", json.dumps([document]).encode()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage" * 1000,
        tars.archive(tars.file("x")),
        tars.archive(tars.file("manifest.json", b"{")),
        tars.archive(tars.file("manifest.json", b"[]")),
        tars.archive(tars.file("manifest.json", b"[1]")),
        tars.archive(tars.file("manifest.json", b" " * (5 << 20))),
        listed(Config="../../etc/passwd", Layers=[]),
        listed(Config="c", Layers=["/etc/passwd"]),
        listed(Config=1, Layers=[]),
        listed(Config="c", RepoTags=["../x"]),
        listed(Config="c", RepoTags="x"),
        listed(Config="c", RepoTags=["x@" + digest(b"")]),
        tars.archive(tars.file("index.json", b'{"schemaVersion":2,"manifests":[{"digest":"sha256:../x","size":1}]}')),
        tars.archive(tars.file("index.json", b'{"schemaVersion":2,"manifests":[],"layers":[]}')),
        tars.archive(tars.symlink("manifest.json", "/etc/passwd")),
        docker_archive(Made([tars.archive(tars.file("../x"))]), ["x:1"]),
        docker_archive(Made([BOTTOM]), ["x:1"])[:-12_000],
        gzip.compress(docker_archive(Made([BOTTOM]), ["x:1"]))[:-100],
    ],
    ids=lambda data: digest(data)[7:15] if data[:2] != b"\x1f\x8b" else "short-gzip",
)
async def test_bad_archives_leave_nothing(store: Store, data: bytes) -> None:
    with pytest.raises(CortenError):
        messages = await collect(store.images.load(body(data), True))
        raise Corrupt(messages[-1]["error"])
    assert store.images.list() == []
    assert store.leftovers() == []


async def test_a_body_that_breaks_off_makes_no_image(store: Store) -> None:
    async def broken() -> Any:
        yield BOTTOM[:1024]
        raise ConnectionResetError

    for stream in (store.images.import_(broken(), "x", "1"), store.images.load(broken())):
        with pytest.raises(ConnectionResetError):
            await collect(stream)
    assert store.images.list() == []
    assert store.leftovers() == []


async def test_a_body_that_breaks_off_leaves_no_error_behind(collected: None, caplog: pytest.LogCaptureFixture) -> None:
    """The reader fails because the body did; asyncio would log that as an exception that was never retrieved."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError("the client has gone")

    with pytest.raises(ConnectionResetError):
        await Readers(1, "loads").run(broken(), lambda feed: list(feed.decoded()))
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records
