"""Pulls: platforms, errors, what stays and what does not, with a scripted registry."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import CortenError, Exhausted, Failed, Invalid, NotFound
from corten.images.collect import Collector
from corten.spec import platform as platforms
from corten.spec.oci_image import OCI_INDEX, OCI_MANIFEST, chain_ids
from corten.store.blobs import Blobs
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import BOTTOM, TOP, Made, Store, body, collect, digest, docker_archive, entry, texts
from image_parts.workers import ForkWorkers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


async def test_pull(store: Store, server: Scripted) -> None:
    name = f"{server.host}/a/b"
    image = Made([BOTTOM, TOP])
    first, second = (digest(layer)[7:19] for layer in image.layers)
    messages = texts(await collect(store.images.pull(name, "1", None, None)))
    assert messages[:3] == ["Pulling from a/b 1", f"Pulling fs layer {first}", f"Pulling fs layer {second}"]
    for shown in (first, second):
        steps = [m.rpartition(" ")[0] for m in messages if m.endswith(shown)]
        assert steps == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    top = digest(image.manifest)
    assert messages[-2:] == [f"Digest: {top}", f"Status: Downloaded newer image for {name}:1"]
    assert store.events == [("pull", f"{name}:1", {"name": name})]

    again = texts(await collect(store.images.pull(f"{name}:1")))
    assert again == ["Pulling from a/b 1", f"Digest: {top}", f"Status: Image is up to date for {name}:1"]

    found = store.images.resolve(f"{name}:1")
    assert found.id == digest(image.config)
    assert found.repo_tags == (f"{name}:1",)
    assert found.repo_digests == (f"{name}@{top}",)
    assert found.chain_id == chain_ids([digest(BOTTOM), digest(TOP)])[-1]
    for other in (f"{name}@{top}", found.id, found.id[7:], found.id[7:19], found.id[:17]):
        assert store.images.resolve(other).id == found.id
    inspected = store.images.inspect(found.id)
    assert inspected["RootFS"]["Layers"] == [digest(BOTTOM), digest(TOP)]
    assert inspected["Config"]["Cmd"] == ["sh"]


async def test_names_that_are_not_there(store: Store) -> None:
    for ref, shown in (
        ("nothing", "nothing:latest"),
        ("a/b:c", "a/b:c"),
        ("0123456789ab", "0123456789ab:latest"),
        ("a" * 64, f"sha256:{'a' * 64}"),
    ):
        with pytest.raises(NotFound, match=f"No such image: {shown}$"):
            store.images.resolve(ref)
    with pytest.raises(Invalid, match="must be lowercase"):
        store.images.resolve("UPPER")
    with pytest.raises(NotFound):
        store.images.inspect("UPPER")


async def test_all_tags(store: Store, server: Scripted) -> None:
    server.add("2", Made([BOTTOM]))

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path.endswith("/tags/list"):
            return web.json_response({"tags": [] if request.query.get("last") else ["1", "2"]})
        return None

    server.before = before
    await collect(store.images.pull(f"{server.host}/a/b", None, None, None))
    assert {tag for row in store.images.list() for tag in row["RepoTags"]} == {
        f"{server.host}/a/b:1",
        f"{server.host}/a/b:2",
    }


async def test_platforms(store: Store, server: Scripted) -> None:
    images = {arch: Made([BOTTOM], arch) for arch in ("amd64", "arm64", "riscv64")}
    for arch, image in images.items():
        server.add(arch, image)
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                **entry("application/vnd.oci.image.manifest.v1+json", i.manifest),
                "platform": {"os": "linux", "architecture": a},
            }
            for a, i in images.items()
        ],
    }
    server.manifests["multi"] = (OCI_INDEX, json.dumps(index).encode())
    name = f"{server.host}/a/b"
    await collect(store.images.pull(name, "multi", "linux/arm64", None))
    assert store.images.resolve(f"{name}:multi").config.architecture == "arm64"
    with pytest.raises(NotFound, match="does not match the specified platform"):
        await raised(store, name, "riscv64", "linux/arm64")
    warned = texts(await collect(store.images.pull(name, "riscv64", None, None)))
    assert any("WARNING" in text and "linux/riscv64" in text for text in warned)
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x"):
        await raised(store, name, "multi", "linux/s390x")


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("nosuch", "unknown operating system or architecture"),
        ("linux/nosuch", "unknown operating system or architecture"),
        ("nosuch/amd64", "unknown operating system or architecture"),
        ("windows/amd64", "operating system is not supported: windows/amd64"),
        ("a/b/c/d", "want os/architecture"),
        ("linux/", "want os/architecture"),
    ],
)
async def test_platforms_that_cannot_be(store: Store, server: Scripted, platform: str, said: str) -> None:
    """No registry is asked for them, and no image is given one."""
    with pytest.raises(Invalid, match=said):
        store.images.pull(f"{server.host}/a/b", "1", platform)
    with pytest.raises(Invalid, match=said):
        store.images.import_(body(BOTTOM), "imp", "1", platform=platform)
    with pytest.raises(Invalid, match=said):
        store.images.pull("corten/busybox", "latest", platform)
    assert server.requests == []


async def test_built_in_images_are_made_for_this_machine_only(store: Store) -> None:
    other = "linux/s390x" if str(platforms.host()) != "linux/s390x" else "linux/amd64"
    with pytest.raises(NotFound, match=f"is made for {platforms.host()} here, not for {other}"):
        store.images.pull("corten/busybox", "latest", other)


@pytest.mark.parametrize("there", [True, False])
async def test_foreign_layers(store: Store, server: Scripted, there: bool) -> None:
    """From the registry, if it has them; the addresses that they have are not asked."""
    image = Made([BOTTOM, TOP])
    document = json.loads(image.manifest)
    foreign = document["layers"][1]
    foreign["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    async with scripted() as owner:
        owner.blobs[foreign["digest"]] = image.layers[1]
        foreign["urls"] = [f"http://{owner.host}/v2/a/b/blobs/{foreign['digest']}"]
        server.add("1", image)
        server.manifests["1"] = (OCI_MANIFEST, json.dumps(document).encode())
        if not there:
            del server.blobs[foreign["digest"]]
        messages = await collect(store.images.pull(f"{server.host}/a/b", "1"))
        assert owner.requests == []
    if there:
        assert store.images.resolve(f"{server.host}/a/b:1").chain_id == chain_ids([digest(BOTTOM), digest(TOP)])[-1]
        body_, blobs = server.manifests["1"][1], dict(server.blobs)
        server.manifests.clear()
        server.blobs.clear()
        messages = await collect(store.images.push(f"{server.host}/a/b", "1"))
        assert "error" not in messages[-1] and server.manifests["1"][1] == body_ and server.blobs == blobs
    else:
        text = (
            f"layer {foreign['digest']} is foreign ({foreign['mediaType']}): registry {server.host}/a/b has not got it"
        )
        assert messages[-1]["error"].startswith(text)
        assert store.leftovers() == []


async def raised(store: Store, name: str, tag: str, platform: str | None = None) -> None:
    """The error of a pull, whether it came before or after the first message."""
    last = (await collect(store.images.pull(name, tag, platform, None)))[-1]
    assert last.get("error") == last["errorDetail"]["message"]
    text = last["error"]
    raise (NotFound if "match" in text else Failed)(text)


async def test_errors_before_the_first_message_are_raised(store: Store, server: Scripted) -> None:
    with pytest.raises(NotFound, match="manifest unknown"):
        await collect(store.images.pull(f"{server.host}/a/b", "none", None, None))
    with pytest.raises(Failed, match="connection refused"):
        await collect(store.images.pull("127.0.0.1:1/a:b", None, None, None))
    with pytest.raises(Invalid):
        store.images.pull("Bad Name", None, None, None)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (gzip.compress(tars.archive(tars.file("../../escape"))), "escapes its root"),
        (gzip.compress(TOP)[:-9], "truncated gzip"),
        (b"\x1f\x8b" + b"\xff" * 100, "damaged gzip"),
        (gzip.compress(b"no tar at all " * 100), "not a tar archive"),
        (gzip.compress(BOTTOM[:700]), "truncated"),
        (gzip.compress(TOP + b"\0" * 512), "unpacks to sha256:"),
    ],
    ids=["escape", "short-gzip", "damaged-gzip", "no-tar", "short-tar", "other-content"],
)
async def test_bad_layers_leave_nothing(store: Store, server: Scripted, layer: bytes, words: str) -> None:
    image = Made([BOTTOM, TOP])
    document = json.loads(image.manifest)
    document["layers"][1] = entry(document["layers"][1]["mediaType"], layer)
    image.manifest = json.dumps(document).encode()
    server.add("bad", image)
    server.blobs[digest(layer)] = layer
    messages = await collect(store.images.pull(f"{server.host}/a/b", "bad", None, None))
    assert words in messages[-1]["error"]
    assert store.images.list() == []
    store.images.store.collector.everything()
    assert store.leftovers() == []
    await collect(store.images.pull(f"{server.host}/a/b", "1", None, None))
    assert len(store.images.list()) == 1


async def test_manifest_and_configuration_that_disagree(store: Store, server: Scripted) -> None:
    image = Made([BOTTOM, TOP])
    document = json.loads(image.manifest)
    document["layers"].pop()
    image.manifest = json.dumps(document).encode()
    server.add("bad", image)
    last = (await collect(store.images.pull(f"{server.host}/a/b", "bad", None, None)))[-1]
    assert "1 layers, but its configuration names 2" in last["error"]


async def test_a_reader_that_goes_away_cancels_the_pull(store: Store, server: Scripted) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def before(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" in request.path and request.path.rpartition("/")[2] != digest(Made([BOTTOM, TOP]).config):
            reached.set()
            await release.wait()
        return None

    server.before = before
    messages = store.images.pull(f"{server.host}/a/b", "1", None, None)
    assert (await anext(messages))["status"] == "Pulling from a/b"
    await reached.wait()
    assert isinstance(messages, AsyncGenerator)
    await messages.aclose()
    release.set()
    assert store.images.list() == []
    server.before = None
    await collect(store.images.pull(f"{server.host}/a/b", "1", None, None))
    assert len(store.images.list()) == 1


async def test_many_pulls_of_one_image_fetch_it_once(store: Store, server: Scripted) -> None:
    pulls = [collect(store.images.pull(f"{server.host}/a/b", "1", None, None)) for _ in range(5)]
    for messages in await asyncio.gather(*pulls):
        assert messages[-1]["status"].startswith("Status: ")
    fetched = [r.path for r in server.requests if "/blobs/" in r.path]
    assert len(fetched) == len(set(fetched)) == 3
    assert len(store.images.list()) == 1


async def test_a_daemon_that_was_killed(tmp_path: Path, server: Scripted) -> None:
    store = Store(tmp_path / "root")
    name = f"{server.host}/a/b"
    await collect(store.images.pull(name, "1", None, None))
    draft = store.trees.receive()  # as if killed while unpacking
    (draft.path / "half").write_text("x")
    part = store.blobs.ingest(digest(b"later"))
    part.write(b"lat")
    part.close()
    await store.close()
    store = Store(tmp_path / "root")
    assert store.images.resolve(f"{name}:1").repo_tags == (f"{name}:1",)
    assert not draft.path.exists()
    assert store.blobs.ingest(digest(b"later")).offset == 3  # kept to be resumed
    await store.close()


async def test_a_full_disk(tmp_path: Path, server: Scripted) -> None:
    class Full(ForkWorkers):
        async def unpack(self, tree: Path, source_fd: int) -> dict[str, Any]:
            await super().unpack(tree, source_fd)
            raise Exhausted("no space left on device")

    store = Store(tmp_path / "root", Full())
    last = (await collect(store.images.pull(f"{server.host}/a/b", "1", None, None)))[-1]
    assert "no space left" in last["error"]
    assert store.leftovers() == []
    await store.close()


async def test_the_event_loop_is_not_kept_waiting_by_the_disk(
    store: Store, server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def watched(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def called(*arguments: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                asked.append(f"{kind.__name__}.{name}")
            return method(*arguments)

        monkeypatch.setattr(kind, name, called)

    for kind, names in {Blobs: "put read ingest forget", Collector: "discard everything trees blobs"}.items():
        for name in names.split():
            watched(kind, name)
    image, bad = Made([BOTTOM, TOP]), Made([BOTTOM, b"no tar" * 1000])
    server.add("1", image)
    server.add("2", bad)
    assert "error" not in (await collect(store.images.pull(f"{server.host}/a/b", "1")))[-1]
    assert "error" in (await collect(store.images.pull(f"{server.host}/a/b", "2")))[-1]
    await collect(store.images.load(body(docker_archive(image, ["loaded:1"])), True))
    with pytest.raises(CortenError):
        await collect(store.images.load(body(docker_archive(bad, ["loaded:2"])), True))
    await collect(store.images.import_(body(BOTTOM), "imported"))
    assert "error" not in (await collect(store.images.push(f"{server.host}/a/b", "1")))[-1]
    assert asked == []
