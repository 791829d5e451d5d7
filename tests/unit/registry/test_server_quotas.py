"""Quotas: what counts, what is refused, and that the account is right afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corten.registry.server.access import Access
from corten.registry.server.app import Registry
from corten.registry.server.quotas import Quota, Quotas
from corten.registry.server.store import Store
from registry_parts.ageing import age
from registry_parts.own import Answer, Own, digest, served

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
    assert (await own.push_blob("team/a", b"x" * 6000)).status == 201
    assert (await own.push_blob("team/b", b"x" * 6000)).status == 201  # the same content
    refused(await own.push_blob("team/b", b"y" * 4001))
    assert (await own.push_blob("teams", b"y" * 4001)).status == 201  # another prefix
    refused(await own.ask("POST", f"/v2/team/c/blobs/uploads/?mount={digest(b'y' * 4001)}&from=teams"))
    assert (await own.push_blob("team", b"z" * 4000)).status == 201
    refused(await own.push_blob("team", b"1"))
    refused(await own.push_blob("else", b"w" * 20_000))
    assert await metered(own) == usage(tmp_path) == {"team": 10_000, "": 14_001}
    assert not list((tmp_path / "uploads").iterdir())


async def test_what_is_deleted_makes_room(own: Own, tmp_path: Path) -> None:
    await own.push_blob("team/a", b"x" * 10_000)
    await own.push_blob("team/b", b"x" * 10_000)
    blob = f"blobs/{digest(b'x' * 10_000)}"
    assert (await own.ask("DELETE", f"/v2/team/a/{blob}")).status == 202
    refused(await own.push_blob("team/a", b"y"))
    assert (await own.ask("DELETE", f"/v2/team/b/{blob}")).status == 202
    assert (await own.push_blob("team/a", b"y" * 9000)).status == 201
    assert await metered(own) == usage(tmp_path) == {"team": 9000, "": 9000}


async def test_chunks_and_manifests(own: Own, tmp_path: Path) -> None:
    place = (await own.ask("POST", "/v2/team/a/blobs/uploads/")).headers["Location"]
    assert (await own.ask("PATCH", place, b"x" * 9000)).status == 202
    refused(await own.ask("PATCH", place, b"x" * 1001))
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
