"""The noun `Images`, with a real store, real trees, confined workers and a scripted registry."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
import os
import tarfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from corten.errors import Conflict, Corrupt, CortenError, Exhausted, Failed, Forbidden, Invalid, NotFound, Unsupported
from corten.images import builtin as image_builtin
from corten.images import registry_image
from corten.images.collect import Collector
from corten.spec import platform as platforms
from corten.spec.oci_image import OCI_INDEX, OCI_MANIFEST, chain_ids
from corten.store.blobs import Blobs
from corten.store.feed import Readers
from image_parts import tars
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, Store, body, collect, digest, entry
from image_parts.workers import ForkWorkers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

Users = dict[str, list[tuple[str, bool]]]
BOTTOM = tars.archive(tars.directory("etc"), tars.file("etc/os", b"bottom"), tars.file("gone"))
TOP = tars.archive(tars.file("etc/more", b"top"), tars.file(".wh.gone", b""))


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        registry.add("1", Made([BOTTOM, TOP]))
        yield registry


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "root")
    yield store
    await store.close()


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [
        m["status"] + (f" {m['id']}" if "id" in m else "")
        for m in messages
        if m["status"] not in ("Extracting", "Downloading")
    ]


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
    assert again == ["Pulling from a/b 1", f"Already exists {first}", f"Already exists {second}", f"Digest: {top}",
                     f"Status: Image is up to date for {name}:1"]  # fmt: skip

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


# ----------------------------------------------------------------------------------------------- tag, list, remove


@pytest.fixture
async def loaded(tmp_path: Path) -> AsyncIterator[tuple[Store, Users]]:
    users: Users = {}
    store = Store(tmp_path / "root", users=lambda id: users.get(id, []))
    for name, layers in (("one:1", [BOTTOM]), ("two:1", [BOTTOM, TOP])):
        await collect(store.images.load(body(docker_archive(Made(layers), [name])), True))
    yield store, users
    await store.close()


def docker_archive(image: Made, names: list[str], linked: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))

        layers = []
        for number, layer in enumerate(image.layers):
            add(f"{number}/layer.tar", gzip.decompress(layer))
            layers.append(f"{number}/layer.tar")
            if linked:
                info = tarfile.TarInfo(f"l{number}/layer.tar")
                info.type, info.linkname = tarfile.SYMTYPE, f"../{number}/layer.tar"
                archive.addfile(info)
                layers[-1] = info.name
        add("config.json", image.config)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": names, "Layers": layers}]).encode())
    return buffer.getvalue()


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


# ------------------------------------------------------------------------------------------------- load and import


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


async def test_import(store: Store) -> None:
    changes = ['CMD ["echo", "hi"]', 'ENV A=1 B="2 3"', "EXPOSE 80 53/udp", "LABEL a=b", "WORKDIR /x", "USER 5",
               "VOLUME /v",
               "HEALTHCHECK --interval=5s CMD true"]  # fmt: skip
    (message,) = await collect(store.images.import_(body(BOTTOM), "imp", "1", "from afar", changes, None))
    image = store.images.resolve("imp:1")
    assert message == {"status": image.id}
    assert image.chain_id == digest(BOTTOM)
    shown = store.images.inspect("imp:1")
    assert shown["Comment"] == "from afar"
    assert shown["Config"]["Cmd"] == ["echo", "hi"]
    assert shown["Config"]["Env"] == ["A=1", "B=2 3"]
    assert shown["Config"]["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert shown["Config"]["Healthcheck"] == {"Interval": 5 * 10**9, "Test": ["CMD-SHELL", "true"]}
    for bad in ("RUN x", "ENV", "EXPOSE x", "ENV a"):
        with pytest.raises(Invalid):
            store.images.import_(body(BOTTOM), "", "", "", [bad], None)
    with pytest.raises(CortenError):
        await collect(store.images.import_(body(tars.file("../x")), "", "", "", [], None))
    await store.images.remove("imp:1")
    assert store.leftovers() == []


async def test_import_from_an_address(store: Store, server: Scripted) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/moved.tar.gz":
            return web.Response(status=302, headers={"Location": "/root.tar.gz?x=%2B"})
        if request.path == "/root.tar.gz":
            return web.Response(body=gzip.compress(BOTTOM), headers={"Content-Encoding": "x-gzip"})
        return None

    server.before = before
    source = f"user:hunter2@{server.host}/moved.tar.gz"  # http, as nothing else is said
    messages = await collect(store.images.import_(source, "imp", "1", changes=["CMD a"]))
    image = store.images.resolve("imp:1")
    where = f"http://{server.host}/moved.tar.gz"
    assert messages == [{"status": f"Downloading from {where}"}, {"status": image.id}]
    assert image.chain_id == digest(BOTTOM)
    assert store.images.inspect("imp:1")["Comment"] == f"Imported from {where}"
    assert [request.query_string for request in server.requests] == ["", "x=%2B"]
    await store.images.remove("imp:1")
    assert store.leftovers() == []


@pytest.mark.parametrize(("path", "error", "said"), [
    ("none.tar", NotFound, "failed to GET http://HOST/none.tar with status 404: blob unknown"),
    ("secret.tar", Forbidden, "failed to GET http://HOST/secret.tar with status 403"),
    ("login.tar", Failed, "failed to GET http://HOST/login.tar with status 401"),
    ("away.tar", Failed, "redirects to where it must not: file:///etc/passwd"),
    ("loop.tar", Failed, "redirects more than 10 times"),
    ("page.tar", Invalid, "not a tar archive"),
    ("cut.tar", CortenError, "http://HOST/cut.tar|truncated"),
])  # fmt: skip
async def test_addresses_that_give_no_archive(
    store: Store, server: Scripted, path: str, error: type[CortenError], said: str
) -> None:
    async def before(request: web.Request) -> web.StreamResponse | None:
        match request.path:
            case "/secret.tar":
                return web.Response(status=403)
            case "/login.tar":
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            case "/away.tar":
                return web.Response(status=302, headers={"Location": "file:///etc/passwd"})
            case "/loop.tar":
                return web.Response(status=302, headers={"Location": "/loop.tar"})
            case "/page.tar":
                return web.Response(text="<html>" * 1000)
            case "/cut.tar":
                return web.Response(body=BOTTOM[:700])
        return None

    server.before = before
    messages: list[dict[str, Any]] = []
    with pytest.raises((error, Corrupt), match=said.replace("HOST", server.host)):
        messages = await collect(store.images.import_(f"http://{server.host}/{path}", "imp", "1"))
        raise Corrupt(messages[-1]["error"])
    assert store.images.list() == []
    assert store.leftovers() == []


async def test_no_server_to_import_from(store: Store) -> None:
    with pytest.raises(Failed, match=r'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused'):
        await collect(store.images.import_("http://u:p@127.0.0.1:1/x"))
    for nonsense in ("ftp://x/y", "file:///etc/passwd", "http://", "http://x:99999/", "http://x y/", "http://[x/"):
        with pytest.raises(Invalid, match="is no http:// or https:// URL"):
            store.images.import_(nonsense)


async def test_a_body_that_breaks_off_makes_no_image(store: Store) -> None:
    async def broken() -> Any:
        yield BOTTOM[:1024]
        raise ConnectionResetError

    for stream in (store.images.import_(broken(), "x", "1"), store.images.load(broken())):
        with pytest.raises(ConnectionResetError):
            await collect(stream)
    assert store.images.list() == []
    assert store.leftovers() == []


# ---------------------------------------------------------------------------------------------------- the built-in


def has_busybox() -> bool:
    try:
        image_builtin.find()
    except NotFound:
        return False
    return True


@pytest.mark.skipif(not has_busybox(), reason="needs a static busybox (Debian package busybox-static)")
async def test_the_built_in_image(store: Store, tmp_path: Path) -> None:
    image = await store.images.provide("corten/busybox")
    assert image.config.config["Cmd"] == ["sh"]
    tree = Path(store.trees.view(image.chain_id or "")[0].source)
    assert (tree / "bin/sh").stat().st_ino == (tree / "bin/busybox").stat().st_ino
    assert (tree / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tree / "etc/passwd").read_text().startswith("root:x:0:0:")
    messages = await collect(store.images.pull("corten/busybox", "latest", None, None))
    assert any("built in" in m["status"] for m in messages)
    await store.images.remove("corten/busybox")
    with pytest.raises(NotFound):
        await store.images.remove("corten/busybox")
    assert (await store.images.provide("corten/busybox:latest")).id == image.id  # deterministic
    other = Store(tmp_path / "other")
    assert (await other.images.provide("corten/busybox")).id == image.id
    with pytest.raises(NotFound):
        await other.images.provide("busybox")
    await other.close()


@pytest.mark.skipif(not has_busybox(), reason="needs a static busybox (Debian package busybox-static)")
async def test_a_pull_makes_what_a_repair_took_from_a_built_in_image(store: Store) -> None:
    image = await store.images.provide("corten/busybox")
    record = store.images.store.records.get(image.id)
    assert record is not None
    for lost in record.blobs:
        os.unlink(store.blobs.path(lost))
        assert texts(await collect(store.images.pull("corten/busybox")))[-1] == "Status: Made corten/busybox:latest"
        assert store.blobs.has(lost)
        assert [part async for part in store.images.save(["corten/busybox"])], "it can be saved again"
    last = texts(await collect(store.images.pull("corten/busybox")))[-1]
    assert last == "Status: Image is up to date for corten/busybox:latest"


async def test_without_a_busybox(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "busybox"
    script.write_text("#!/bin/sh\n")
    monkeypatch.setattr(store.images._builtin, "_places", (str(script), str(tmp_path / "none")))
    with pytest.raises(NotFound, match="busybox-static"):
        await store.images.provide("corten/busybox")


async def test_built_in_images_are_made_for_containers_and_pulls_only_and_in_a_thread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[threading.Thread] = []

    def contents() -> registry_image.Contents:
        made.append(threading.current_thread())
        raise Unsupported("nothing here to make it of")

    monkeypatch.setattr(registry_image, "contents", contents)
    for look in (store.images.resolve, store.images.inspect, store.images.history):
        with pytest.raises(NotFound):
            look("corten/registry")
    with pytest.raises(NotFound):
        await store.images.remove("corten/registry")
    assert made == []
    with pytest.raises(Unsupported):
        await store.images.provide("corten/registry")
    assert "nothing here" in (await collect(store.images.pull("corten/registry")))[-1]["error"]
    assert len(made) == 2 and threading.main_thread() not in made


async def test_a_body_that_breaks_off_leaves_no_error_behind(caplog: pytest.LogCaptureFixture) -> None:
    """The reader fails because the body did; asyncio would log that as an exception that was never retrieved."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError("the client has gone")

    with pytest.raises(ConnectionResetError):
        await Readers(1, "loads").run(broken(), lambda feed: list(feed.decoded()))
    gc.collect()
    await asyncio.sleep(0)
    assert not caplog.records
