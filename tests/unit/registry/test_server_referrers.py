"""Lists of referrers: pages, bounded in bytes, whatever annotations the referrers have."""

from __future__ import annotations

import asyncio
import http.client
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest

from corten.registry.client.bodies import next_page
from corten.registry.server import referrers
from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.store import Store
from corten.registry.server.upstreams import Upstream
from corten.spec.oci_image import OCI_MANIFEST
from registry_parts.own import Answer, Own, digest, entry, manifest, own_process, served

SUBJECT = digest(b"subject")
MB = 1 << 20


@asynccontextmanager
async def registry(root: Path, *upstreams: Upstream) -> AsyncIterator[Own]:
    store = Store(root)
    try:
        async with served(Registry(store, Access(), upstreams)) as own:
            yield own
    finally:
        store.close()


async def refer(own: Own, number: int, size: int, kind: str = "x/a") -> str:
    """Push a referrer with so many bytes of annotations; its digest."""
    note = {"number": str(number), "note": "n" * size}
    body = manifest(b"{}", subject=entry(b"subject", OCI_MANIFEST), artifactType=kind, annotations=note)
    assert (await own.ask("PUT", f"/v2/a/manifests/t{number}", body, Content_Type=OCI_MANIFEST)).status == 201
    return digest(body)


async def pages(own: Own, path: str) -> list[tuple[Answer, list[dict[str, Any]]]]:
    """All of them, as a client follows `Link`."""
    found = []
    while path:
        answer = await own.ask("GET", path)
        assert answer.status == 200, answer
        found.append((answer, answer.json["manifests"]))
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path = urljoin(path, link[1]) if link else ""
    return found


async def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers, "PAGE", 3000)
    async with registry(tmp_path) as own:
        await own.push_blob("a", b"{}")
        sizes = (900, 900, 900, 5000, 0, 900, 5000)
        known = [await refer(own, number, size, f"x/{'ab'[number % 2]}") for number, size in enumerate(sizes)]
        every = await pages(own, f"/v2/a/referrers/{SUBJECT}")
        listed = [each["digest"] for _, page in every for each in page]
        assert listed == sorted(known) and len(every) > 2
        assert all(len(answer.body) < 3200 or len(page) == 1 for answer, page in every)
        some = await pages(own, f"/v2/a/referrers/{SUBJECT}?artifactType=x/b")
        assert [each["digest"] for _, page in some for each in page] == sorted(known[1::2])
        assert {answer.headers["OCI-Filters-Applied"] for answer, _ in some} == {"artifactType"}
        none = await pages(own, f"/v2/a/referrers/{digest(b'else')}")
        assert [page for _, page in none] == [[]]


async def test_a_filter_that_fits_little_ends_a_page_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers, "READ", 2000)
    async with registry(tmp_path) as own:
        await own.push_blob("a", b"{}")
        for number in range(6):
            await refer(own, number, 900)
        wanted = await refer(own, 6, 0, "x/b")
        found = await pages(own, f"/v2/a/referrers/{SUBJECT}?artifactType=x/b")
        assert [each["digest"] for _, page in found for each in page] == [wanted]
        assert len(found) > 2


async def test_a_cache_gives_its_upstreams_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers, "PAGE", 1500)
    async with registry(tmp_path / "upstream") as source:
        await source.push_blob("a", b"{}")
        known = [await refer(source, number, 900, f"x/{'ab'[number % 2]}") for number in range(4)]
        async with registry(tmp_path / "cache", Upstream("hub", source.url)) as own:
            found = await pages(own, f"/v2/hub/a/referrers/{SUBJECT}")
            assert [each["digest"] for _, page in found for each in page] == sorted(known)
            assert len(found) == 4
            some = await pages(own, f"/v2/hub/a/referrers/{SUBJECT}?artifactType=x/b")
            assert [each["digest"] for _, page in some for each in page] == sorted(known[1::2])
            for bad in ("a%20b", "a%0d%0aX:%20y", "%23x", "%E2%82%AC"):
                assert (await own.ask("GET", f"/v2/hub/a/referrers/{SUBJECT}?next={bad}")).status == 400
        async with registry(tmp_path / "cache", Upstream("hub", "http://127.0.0.1:1")) as own:
            assert (await own.ask("GET", f"/v2/hub/a/referrers/{SUBJECT}")).json["manifests"] == []
            assert (await own.ask("GET", f"/v2/hub/a/referrers/{SUBJECT}?next=last%3Dx")).status == 503


@pytest.mark.parametrize(
    ("link", "query"),
    [
        ('</v2/a/referrers/D?last=x>; rel="next"', "last=x"),
        ("<http://other/v2/a/referrers/D?n=1&last=%2F>; rel=next", "n=1&last=%2F"),
        ('</v2/a/tags/list?last=x>; rel="next"', ""),
        ('</v2/a/referrers/D?last=x>; rel="prev"', ""),
        ('</v2/a/referrers/D>; rel="next"', ""),
        ("", ""),
        ("<" * 60_000, ""),
    ],
)
def test_links(link: str, query: str) -> None:
    assert next_page(link, "referrers/D") == query


async def test_large_annotations_take_the_memory_of_a_page(tmp_path: Path) -> None:
    """60 manifests of 4 MB with one subject: all at once took a gigabyte, and a second of all others' time."""
    with own_process("--root", str(tmp_path)) as (host, pid):
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            own = Own(session, f"http://{host}")
            await own.push_blob("a", b"{}")
            known = [await refer(own, number, 4 * MB - 4096) for number in range(60)]
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak begins anew
            before, path, bodies, sizes = peak(pid), f"/v2/a/referrers/{SUBJECT}", b"", []
            ended = threading.Event()
            other = asyncio.create_task(asyncio.to_thread(longest_work, host, pid, ended))
            while path:
                answer = await own.ask("GET", path)
                link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
                path, bodies = link[1] if link else "", bodies + answer.body.replace(b"n" * 1000, b"")
                sizes.append(len(answer.body))
            ended.set()
            assert re.findall(r'"digest": "([^"]+)"', bodies.decode()) == sorted(known)
            assert max(sizes) < 5 * MB
            assert peak(pid) - before < 50 * MB
            assert await other < 0.5, "seconds of a processor before another client was answered"  # 0.1


def peak(pid: int) -> int:
    """Bytes of memory that a process had at most."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) << 10


def longest_work(host: str, pid: int, ended: threading.Event) -> float:
    """What the registry did at most before it had answered a client that asks all the time: seconds of a processor."""
    clock = ~pid << 3 | 2  # its processor time, as clock_getcpuclockid(3) makes it
    longest = 0.0
    with closing(http.client.HTTPConnection(host, timeout=60)) as client:
        while not ended.is_set():
            began = time.clock_gettime(clock)
            client.request("GET", "/v2/")
            assert client.getresponse().read() is not None
            longest = max(longest, time.clock_gettime(clock) - began)
    return longest
