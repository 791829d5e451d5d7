"""Quotas: what counts, what is refused, and that the account is right afterwards."""

from __future__ import annotations

import asyncio
import gzip
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.registry.server import bodies, quotas, uploads
from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.htpasswd import Accounts
from corten.registry.server.quotas import Quota, Quotas
from corten.registry.server.store import Store
from corten.registry.server.uploads import Upload
from corten.spec.oci_image import OCI_MANIFEST
from registry_parts.ageing import age
from registry_parts.own import ANN, BOB, SECRET, Answer, Own, digest, entry, index, manifest, served

QUOTAS = (Quota("team", 10_000), Quota("", 30_000))


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    store = Store(tmp_path)
    async with served(Registry(store, Access(), quotas=QUOTAS)) as own:
        yield own
    store.close()


def refused(answer: Answer) -> None:
    assert (answer.status, answer.code) == (403, "DENIED"), answer
    assert "quota" in answer.json["errors"][0]["message"]


def usage(root: Path) -> dict[str, int]:
    """Counted anew, as after a restart."""
    store = Store(root)
    try:
        return {quota.prefix: used for quota, used in Quotas(store.layout, store.guard, QUOTAS).usage()}
    finally:
        store.close()


async def metered(own: Own) -> dict[str, int]:
    lines = (await own.ask("GET", "/metrics")).body.decode().splitlines()
    found = [line.split() for line in lines if line.startswith("corten_registry_quota_used_bytes")]
    return {name.split('"')[1]: int(value) for name, value in found}


async def test_a_quota_is_kept(own: Own, tmp_path: Path) -> None:
    assert (await own.push_blob("team/a", b"x" * 3000)).status == 201
    assert (await own.push_blob("team/b", b"x" * 3000)).status == 201  # the same content
    refused(await own.push_blob("team/b", b"y" * 7001))
    assert (await own.push_blob("team/b", b"v" * 3000)).status == 201
    assert (await own.push_blob("teams", b"y" * 4001)).status == 201  # another prefix
    refused(await own.ask("POST", f"/v2/team/c/blobs/uploads/?mount={digest(b'y' * 4001)}&from=teams"))
    assert (await own.push_blob("team", b"z" * 4000)).status == 201
    refused(await own.push_blob("team", b"1"))
    refused(await own.push_blob("else", b"w" * 20_000))
    assert await metered(own) == usage(tmp_path) == {"team": 10_000, "": 14_001}
    assert not list((tmp_path / "uploads").iterdir())


async def test_what_is_deleted_makes_room(own: Own, tmp_path: Path) -> None:
    await own.push_blob("team/a", b"x" * 10_000)
    mounted = digest(b"x" * 10_000)
    assert (await own.ask("POST", f"/v2/team/b/blobs/uploads/?mount={mounted}&from=team/a")).status == 201
    blob = f"blobs/{mounted}"
    assert (await own.ask("DELETE", f"/v2/team/a/{blob}")).status == 202
    refused(await own.push_blob("team/a", b"y"))
    assert (await own.ask("DELETE", f"/v2/team/b/{blob}")).status == 202
    assert (await own.push_blob("team/a", b"y" * 9000)).status == 201
    assert await metered(own) == usage(tmp_path) == {"team": 9000, "": 9000}


async def test_chunks_and_manifests(own: Own, tmp_path: Path) -> None:
    place = (await own.ask("POST", "/v2/team/a/blobs/uploads/")).headers["Location"]
    assert (await own.ask("PATCH", place, b"x" * 9000)).status == 202
    refused(await own.ask("PATCH", place, b"x" * 1001))
    assert (await own.ask("GET", place)).code == "BLOB_UPLOAD_UNKNOWN"
    place = (await own.ask("POST", "/v2/team/a/blobs/uploads/")).headers["Location"]
    assert (await own.ask("PATCH", place, b"x" * 9000)).status == 202
    assert (await own.ask("PUT", f"{place}?digest={digest(b'x' * 9500)}", b"x" * 500)).status == 201
    await own.push_blob("team/a", b"{}")
    body = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    answer = await own.push("team/a", "1", body + b" " * 1000)
    refused(answer)
    assert (await own.ask("GET", "/v2/team/a/tags/list")).json["tags"] == []
    assert (await own.push("team/a", "1", body)).status == 201
    assert await metered(own) == usage(tmp_path)


async def test_another_process_makes_room(own: Own, tmp_path: Path) -> None:
    await own.push_blob("team/a", b"x" * 10_000)
    refused(await own.push_blob("team/a", b"y" * 100))
    age(tmp_path)
    command = [sys.executable, "-m", "corten.registry.server", "gc", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 blobs: 10000 bytes" in done.stderr, done
    assert (await own.push_blob("team/a", b"y" * 100)).status == 201
    assert await metered(own) == usage(tmp_path) == {"team": 100, "": 100}


# ------------------------------------------------------------------------------------------------ what is on its way


async def begun(own: Own, name: str) -> str:
    answer = await own.ask("POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202, answer
    return answer.headers["Location"]


async def chunked(own: Own, method: str, place: str, pieces: int, size: int = 100_000) -> Answer:
    """A body whose length is not said before."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(pieces):
            yield b"x" * size

    async with own.session.request(method, own.url + place, data=body()) as response:
        return Answer(response.status, dict(response.headers), await response.read())


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_bytes_count_as_they_come(tmp_path: Path, method: str) -> None:
    store = Store(tmp_path)
    most = 0
    really = Upload.write

    def watched(upload: Upload, data: bytes) -> None:
        nonlocal most
        really(upload, data)
        most = max(most, sum(path.stat().st_size for path in (tmp_path / "uploads").iterdir()))

    async with served(Registry(store, Access(), quotas=[Quota("team", 3_000_000)])) as own:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Upload, "write", watched)
            place = await begun(own, "team/a")
            answer = await chunked(own, method, f"{place}?digest={digest(b'')}", 60)
        refused(answer)
        assert 2_000_000 < most < 3_001_000
        assert not list((tmp_path / "uploads").iterdir())
        assert (await own.push_blob("team/a", b"x" * 3_000_000)).status == 201
    store.close()


async def test_a_body_counts_as_it_is(own: Own, tmp_path: Path) -> None:
    place = await begun(own, "team/a")
    packed = gzip.compress(b"x" * 100_000)
    for method, where in (("PATCH", place), ("PUT", "/v2/team/a/manifests/1"), ("POST", "/v2/team/a/blobs/uploads/")):
        answer = await own.ask(method, where, packed, Content_Encoding="gzip")
        assert (answer.status, answer.code, answer.headers["Accept-Encoding"]) == (415, "UNSUPPORTED", "identity")
    assert (await own.ask("PATCH", place, packed, Content_Encoding="identity")).status == 202
    assert usage(tmp_path)["team"] == len(packed)


async def test_a_body_that_is_refused_is_not_decoded(own: Own, caplog: pytest.LogCaptureFixture) -> None:
    """What says that it is compressed, and is not, would be an error of the decoder."""
    place = await begun(own, "team/a")
    for coding in ("gzip", "deflate", "br", "zstd"):
        assert (await own.ask("PATCH", place, b"no such thing", Content_Encoding=coding)).code == "UNSUPPORTED"
    assert not caplog.records


async def test_annotations_of_a_referrer_are_kept_once(own: Own, tmp_path: Path) -> None:
    """Its place below its subject costs each repository a name, and no bytes that are not counted."""
    body = manifest(b"{}", subject=entry(b"subject", OCI_MANIFEST), annotations={"a": "z" * 2000})
    for name in ("team/a", "team/b"):
        assert (await own.push_blob(name, b"{}")).status == 201
        assert (await own.ask("PUT", f"/v2/{name}/manifests/1", body, Content_Type=OCI_MANIFEST)).status == 201
        listed = (await own.ask("GET", f"/v2/{name}/referrers/{digest(b'subject')}")).json["manifests"]
        assert [(each["digest"], each["annotations"]) for each in listed] == [(digest(body), {"a": "z" * 2000})]
    assert usage(tmp_path)["team"] == len(body) + len(b"{}")
    assert sum(path.stat().st_size for path in tmp_path.rglob("_referrers/*/*/*")) == 0


async def test_uploads_count_from_their_first_byte(own: Own, tmp_path: Path) -> None:
    places = [await begun(own, f"team/{at}") for at in range(3)]
    for place in places[:2]:
        assert (await own.ask("PATCH", place, b"x" * 4000)).status == 202
    assert await metered(own) == usage(tmp_path) == {"team": 8000, "": 8000}
    refused(await own.ask("PATCH", places[2], b"x" * 4000))
    assert (await own.ask("DELETE", places[0])).status == 204
    assert (await own.push_blob("team/x", b"y" * 6000)).status == 201
    done = await own.ask("PUT", f"{places[1]}?digest={digest(b'x' * 4000)}")
    assert done.status == 201, done
    assert await metered(own) == usage(tmp_path) == {"team": 10_000, "": 10_000}


async def test_no_two_uploads_have_the_same_room(own: Own, tmp_path: Path) -> None:
    places = [await begun(own, f"team/{at}") for at in range(12)]
    answers = await asyncio.gather(*(chunked(own, "PATCH", place, 3, 1000) for place in places))
    assert sorted(answer.status for answer in answers) == [202] * 3 + [403] * 9
    assert await metered(own) == usage(tmp_path) == {"team": 9000, "": 9000}


async def test_an_upload_that_is_given_up_while_it_comes_counts_for_nothing(own: Own, tmp_path: Path) -> None:
    place, there, go_on = await begun(own, "team/a"), asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 2000
        there.set()
        await go_on.wait()
        yield b"x" * 2000

    async with asyncio.TaskGroup() as group:
        sending = group.create_task(own.session.patch(own.url + place, data=body()))
        await there.wait()
        assert (await own.ask("DELETE", place)).status == 204
        go_on.set()
    assert sending.result().status == 404
    sending.result().close()
    assert await metered(own) == usage(tmp_path) == {"team": 0, "": 0}


async def test_what_is_collected_makes_room(own: Own, tmp_path: Path) -> None:
    assert (await own.ask("PATCH", await begun(own, "team/a"), b"x" * 9000)).status == 202
    age(tmp_path)
    command = [sys.executable, "-m", "corten.registry.server", "gc", "--uploads", "1h", "--root", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, timeout=60).returncode == 0
    assert await metered(own) == {"team": 0, "": 0}


async def test_things_are_bounded_too(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "_LEAST", 6)
    await own.push_blob("team/a", b"x")  # which takes two directories as well
    body = index()
    for tag in ("1", "2", "2"):
        assert (await own.push("team/a", tag, body)).status == 201
    refused(await own.push("team/a", "3", body))
    refused(await own.ask("POST", f"/v2/team/b/blobs/uploads/?mount={digest(b'x')}&from=team/a"))
    refused(await own.ask("POST", "/v2/team/b/blobs/uploads/"))
    assert (await own.ask("DELETE", "/v2/team/a/manifests/1")).status == 202
    assert (await own.push("team/a", "3", body)).status == 201
    assert (await own.ask("DELETE", f"/v2/team/a/manifests/{digest(body)}")).status == 202  # and its two tags
    places = [await begun(own, "team/b") for _ in range(3)]
    refused(await own.ask("POST", "/v2/team/b/blobs/uploads/"))
    assert (await own.ask("DELETE", places[0])).status == 204
    assert (await own.push("team/a", "", body)).status == 201


async def test_a_repository_takes_a_directory_for_each_part_of_its_name(
    own: Own, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "_LEAST", 100)
    deep = "team/" + "/".join("a" * 97)
    refused(await own.push_blob(deep + "/a/a", b"x"))
    assert (await own.push_blob(deep, b"x")).status == 201
    refused(await own.push_blob("team/b", b"x"))
    assert (await own.ask("DELETE", f"/v2/{deep}/blobs/{digest(b'x')}")).status == 202
    assert not list((tmp_path / "repositories").iterdir())
    assert (await own.push_blob("team/b", b"x")).status == 201


async def test_what_is_deleted_leaves_no_directory(own: Own, tmp_path: Path) -> None:
    """A client that pushes to one name after the other, and deletes, would have all inodes, against its quota."""
    body, config = index(), b"{}"
    for name in ("team/a", "team/a/b"):
        assert (await own.push_blob(name, config)).status == 201
        assert (await own.push(name, "1", body)).status == 201
    for name in ("team/a", "team/a/b"):
        assert (await own.ask("DELETE", f"/v2/{name}/manifests/1")).status == 202
        assert (await own.ask("DELETE", f"/v2/{name}/manifests/{digest(body)}")).status == 202
        assert (await own.ask("DELETE", f"/v2/{name}/blobs/{digest(config)}")).status == 202
    assert not list((tmp_path / "repositories").iterdir())
    assert usage(tmp_path) == {"team": 0, "": 0}


async def test_uploads_of_one_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST", 2)
    place = ""
    for restarts in range(2):
        store = Store(tmp_path)
        async with served(Registry(store, Access(Accounts(f"ann:{SECRET}\nbob:{SECRET}")))) as own:
            for name in ("a", "b") if not restarts else ():
                place = (await own.ask("POST", f"/v2/{name}/blobs/uploads/", as_=ANN)).headers["Location"]
            answer = await own.ask("POST", "/v2/c/blobs/uploads/", as_=ANN)
            assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
            answer = await own.ask("POST", "/v2/c/blobs/uploads/", as_=BOB)
            assert answer.status == 202
            assert (await own.ask("DELETE", answer.headers["Location"], as_=BOB)).status == 204
        store.close()
    store = Store(tmp_path)
    store.abort(store.uploads.find("b", place.rpartition("/")[2]))
    assert store.begin("c", "ann").repository == "c"
    store.close()


async def test_an_upload_of_which_nothing_comes(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    place, forever = await begun(own, "team/a"), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        monkeypatch.setattr(bodies, "IDLE", 0.05)
        await forever.wait()

    async with own.session.patch(own.url + place, data=body()) as response:
        assert response.status == 408
        assert (await response.json())["errors"][0]["code"] == "BLOB_UPLOAD_INVALID"
    assert (await own.ask("GET", place)).headers["Range"] == "0-999"  # and it can be gone on with
