"""Collections: what goes, what stays, and pushes that come at the worst moment."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from corten.errors import Conflict
from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.collect import Collector, Policy
from corten.registry.server.layout import stage
from corten.registry.server.retention import Keep
from corten.registry.server.store import Manifest, Needs, Store
from corten.spec.oci_image import OCI_MANIFEST
from corten.store.blobs import Blobs
from registry_parts.ageing import age
from registry_parts.own import Own, digest, entry, index, manifest, served

HOUR = 3600.0


@dataclass
class Here:
    own: Own
    store: Store
    root: Path

    def collect(self, policy: Policy | None = None, between: Callable[[], None] = lambda: None) -> list[str]:
        return [str(each).split()[0] for each in Collector(self.store, policy or Policy(), between=between).run()]

    def content(self) -> set[str]:
        return {found for found, _ in self.store.layout.blobs()}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    store = Store(tmp_path)
    async with served(Registry(store, Access())) as own:
        yield Here(own, store, tmp_path)
    store.close()


async def whole(own: Own, name: str, reference: str, *layers: bytes) -> None:
    """An image that can be pulled in full."""
    answer = await own.ask("GET", f"/v2/{name}/manifests/{reference}")
    assert answer.status == 200, answer
    for each in (answer.json["config"], *answer.json["layers"]):
        blob = await own.ask("GET", f"/v2/{name}/blobs/{each['digest']}")
        assert blob.status == 200 and digest(blob.body) == each["digest"]
    assert [each["digest"] for each in answer.json["layers"]] == [digest(layer) for layer in layers]


async def test_what_is_needed_stays(here: Here) -> None:
    body = await here.own.push_image("a", "1", b"one", b"two")
    await here.own.push_image("b", "1", b"two", b"three")
    await here.own.push_blob("a", b"never used")
    before = here.content()
    assert here.collect() == []  # the grace period
    age(here.root)
    assert here.collect(Policy(keep=(Keep(last=1),))) == ["link", "blob"]
    assert before - here.content() == {digest(b"never used")}
    assert (await here.own.ask("HEAD", f"/v2/a/blobs/{digest(b'never used')}")).status == 404
    await whole(here.own, "a", "1", b"one", b"two")
    assert (await here.own.ask("DELETE", f"/v2/a/manifests/{digest(body)}")).status == 202
    age(here.root)
    assert sorted(here.collect()) == ["blob", "blob", "link", "link", "link"]  # its config and b"one"
    await whole(here.own, "b", "1", b"two", b"three")
    assert (await here.own.ask("GET", "/v2/_catalog")).json == {"repositories": ["b"]}


async def test_a_dry_run_takes_nothing_away(here: Here) -> None:
    await here.own.push_image("a", "1", b"one")
    await here.own.push_image("a", "2", b"two")
    age(here.root)
    policy = Policy(untagged=0, keep=(Keep(last=1),))

    def times() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in here.root.rglob("*") if path.name != "collect.lock"}

    before = times()
    said = sorted(map(str, Collector(here.store, policy, dry_run=True).run()))
    assert before == times()
    assert said == sorted(map(str, Collector(here.store, policy).run())) and len(said) == 7


async def test_tags_and_untagged_manifests(here: Here) -> None:
    bodies = []
    for at in range(4):
        bodies.append(await here.own.push_image("team/a", f"nightly-{at}", b"layer %d" % at))
    age(here.root)
    for at in range(4):
        tag = here.store.layout.tags("team/a") / f"nightly-{at}"
        os.utime(tag, (tag.stat().st_atime, tag.stat().st_mtime + at))
    await here.own.push_image("team/a", "latest", b"layer 0")  # the manifest of nightly-0
    await here.own.push("team/a", "moved", bodies[1])
    await here.own.push("team/a", "moved", bodies[3])
    age(here.root, "blobs")
    rule = Keep(("team/**",), ("nightly-*",), last=2)
    removed = here.collect(Policy(keep=(rule,)))
    assert removed.count("tag") == 2
    tags = (await here.own.ask("GET", "/v2/team/a/tags/list")).json["tags"]
    assert tags == ["latest", "moved", "nightly-2", "nightly-3"]
    await whole(here.own, "team/a", "latest", b"layer 0")
    await whole(here.own, "team/a", digest(bodies[1]), b"layer 1")  # without a tag since just now
    age(here.root)
    assert "manifest" not in here.collect()  # a client may use its digest
    assert "manifest" not in here.collect(Policy(untagged=48 * HOUR))
    assert here.collect(Policy(untagged=HOUR)).count("manifest") == 1
    assert (await here.own.ask("GET", f"/v2/team/a/manifests/{digest(bodies[1])}")).status == 404
    await whole(here.own, "team/a", "nightly-2", b"layer 2")


async def test_indexes_and_referrers(here: Here) -> None:
    body = await here.own.push_image("a", "", b"amd")
    other = await here.own.push_image("a", "", b"arm")
    both = index(body, other)
    assert (await here.own.push("a", "all", both)).status == 201
    await here.own.push_blob("a", b"{}")
    signature = manifest(b"{}", subject=entry(body, OCI_MANIFEST), artifactType="x/signature")
    lost = manifest(b"{}", subject=entry(b"nothing", OCI_MANIFEST), artifactType="x/signature")
    for each in (signature, lost):
        assert (await here.own.push("a", "", each)).status == 201
    age(here.root)
    assert here.collect(Policy(untagged=HOUR)).count("manifest") == 1  # the lost one
    await whole(here.own, "a", digest(body), b"amd")
    await whole(here.own, "a", digest(other), b"arm")
    listed = (await here.own.ask("GET", f"/v2/a/referrers/{digest(body)}")).json["manifests"]
    assert [each["digest"] for each in listed] == [digest(signature)]
    age(here.root)
    assert here.collect(Policy(keep=(Keep(last=0),))).count("manifest") == 4  # they go with their index
    assert here.content() == set()


async def test_what_is_being_written_stays(here: Here) -> None:
    """However short the time after which it is taken for abandoned, and whichever process collects."""
    blobs = Blobs(here.root)
    fetched = blobs.ingest(digest(b"from an upstream"))
    fetched.write(b"from an ")
    staged = stage(here.store.layout.uploads, b"a manifest")
    assert "upload" not in here.collect(Policy(uploads=0))
    assert staged.exists()
    fetched.write(b"upstream")
    fetched.commit()
    left = blobs.ingest(digest(b"left"))
    left.close()
    here.collect(Policy(uploads=0))
    assert not left.path.exists()
    again = blobs.ingest(digest(b"left"))
    again.write(b"left")
    again.commit()
    age(here.root, "uploads")
    assert here.collect(Policy(uploads=0)) == ["upload"]
    assert not staged.exists()


async def test_an_upload_that_was_gone_on_with_meanwhile_stays(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = here.store.uploads.begin("a")
    age(here.root, "uploads")
    really = fcntl.flock

    def flock(fd: int, how: int) -> None:
        upload.path.write_bytes(b"more")  # between the look and the lock
        really(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert here.store.uploads.sweep(HOUR) == []
    assert upload.path.read_bytes() == b"more"


async def test_abandoned_uploads(here: Here) -> None:
    old = (await here.own.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
    await here.own.ask("PATCH", old, b"some")
    age(here.root, "uploads", seconds=25 * HOUR)
    new = (await here.own.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]
    held = here.store.uploads.begin("a")
    with held.held():
        age(here.root, "uploads", seconds=25 * HOUR)
        held.write(b"x")
        (here.root / "uploads" / new.rpartition("/")[2]).touch()
        assert here.collect() == ["upload"]
    assert (await here.own.ask("PATCH", old, b"more")).code == "BLOB_UPLOAD_UNKNOWN"
    assert (await here.own.ask("PATCH", new, b"more")).status == 202
    assert len(list((here.root / "uploads").iterdir())) == 4


async def test_a_manifest_that_cannot_be_read(here: Here) -> None:
    await here.own.push_image("a", "1", b"kept")
    await here.own.push_image("b", "1", b"gone")
    strange = b"of another time"
    here.store.put_manifest("a", "2", Manifest(digest(strange), "x", strange), Needs())
    age(here.root)
    removed = here.collect(Policy(keep=(Keep(last=0),)))
    assert removed.count("tag") == 1
    await whole(here.own, "a", "1", b"kept")
    assert (await here.own.ask("GET", "/v2/_catalog")).json["repositories"] == ["a"]


async def test_one_collection_at_a_time(here: Here) -> None:
    def again() -> None:
        with pytest.raises(Conflict):
            here.collect()

    await here.own.push_image("a", "1", b"one")
    here.collect(between=again)


# ------------------------------------------------------------------------- a push between finding and taking away


def once(function: Callable[[], None]) -> Callable[[], None]:
    calls = iter([function])
    return lambda: next(calls, lambda: None)()


async def unreferenced(here: Here) -> tuple[bytes, bytes]:
    """A blob and a config that nothing needs, for long; their manifest's body."""
    body = await here.own.push_image("a", "1", b"layer")
    assert (await here.own.ask("DELETE", f"/v2/a/manifests/{digest(body)}")).status == 202
    age(here.root)
    return body, json.dumps({"of": [digest(b"layer")]}).encode()


def put(store: Store, body: bytes, tag: str = "1") -> None:
    document = json.loads(body)
    blobs = tuple(each["digest"] for each in (document["config"], *document["layers"]))
    store.put_manifest("a", tag, Manifest(digest(body), OCI_MANIFEST, body), Needs(blobs))


async def test_a_blob_that_was_asked_for(here: Here) -> None:
    body, config = await unreferenced(here)

    def push() -> None:
        assert here.store.need_blob("a", digest(b"layer")) and here.store.need_blob("a", digest(config))

    assert here.collect(between=once(push)) == []
    put(here.store, body)
    await whole(here.own, "a", "1", b"layer")


async def test_a_manifest_that_comes_meanwhile(here: Here) -> None:
    body, _ = await unreferenced(here)
    assert here.collect(between=once(lambda: put(here.store, body))) == []
    await whole(here.own, "a", "1", b"layer")


async def test_a_tag_that_comes_meanwhile(here: Here) -> None:
    body = await here.own.push_image("a", "1", b"layer")
    await here.own.ask("DELETE", "/v2/a/manifests/1")
    age(here.root)
    assert here.collect(Policy(untagged=HOUR), once(lambda: put(here.store, body, "2"))) == []
    await whole(here.own, "a", "2", b"layer")


async def test_a_tag_that_is_pushed_again(here: Here) -> None:
    body = await here.own.push_image("a", "1", b"layer")
    age(here.root)
    assert here.collect(Policy(keep=(Keep(last=0),)), once(lambda: put(here.store, body))) == []
    await whole(here.own, "a", "1", b"layer")


async def test_content_that_is_mounted_meanwhile(here: Here) -> None:
    await unreferenced(here)
    state: list[str] = []

    def mount() -> None:
        if not state:  # before a's links go; the second time they are gone, and the content has to stay
            state.append(here.store.mount("b", digest(b"layer"), ["a"]))

    assert "blob" in here.collect(between=mount)  # the config
    assert state == ["a"]
    assert (await here.own.ask("GET", f"/v2/b/blobs/{digest(b'layer')}")).body == b"layer"


async def test_content_that_is_uploaded_again(here: Here) -> None:
    await unreferenced(here)
    times: list[int] = []

    def upload() -> None:
        times.append(1)
        if len(times) == 2:  # no repository links to it any more, and it is about to be removed
            upload = here.store.uploads.begin("c")
            with upload.held():
                upload.write(b"layer")
                here.store.finish(upload, digest(b"layer"))

    here.collect(between=upload)
    assert len(times) == 2
    assert (await here.own.ask("GET", f"/v2/c/blobs/{digest(b'layer')}")).body == b"layer"


async def test_what_came_too_late_is_said(here: Here) -> None:
    body, config = await unreferenced(here)
    here.collect()
    assert (await here.own.ask("HEAD", f"/v2/a/blobs/{digest(b'layer')}")).status == 404
    assert (await here.own.push("a", "1", body)).code == "MANIFEST_BLOB_UNKNOWN"
    for blob in (config, b"layer"):
        await here.own.push_blob("a", blob)
    assert (await here.own.push("a", "1", body)).status == 201
