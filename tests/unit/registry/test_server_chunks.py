"""Chunks of uploads: each is the next one, and as long as its Content-Range says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from registry_parts.own import Answer, Own, digest

DATA = bytes(range(100))


async def begun(own: Own) -> str:
    return (await own.ask("POST", "/v2/a/blobs/uploads/")).headers["Location"]


async def without_length(own: Own, method: str, place: str, data: bytes, span: str) -> Answer:
    async def body() -> AsyncIterator[bytes]:
        yield data

    headers = {"Content-Range": span}
    async with own.session.request(method, own.url + place, data=body(), headers=headers) as response:
        return Answer(response.status, dict(response.headers), await response.read())


async def test_chunks(own: Own) -> None:
    place = await begun(own)
    assert (await own.ask("PATCH", place, DATA[:40], Content_Range="0-39")).headers["Range"] == "0-39"
    assert (await without_length(own, "PATCH", place, DATA[40:60], "40-59")).headers["Range"] == "0-59"
    last = f"{place}?digest={digest(DATA)}"
    assert (await own.ask("PUT", last, DATA[60:], Content_Range="60-99")).status == 201
    assert (await own.ask("GET", f"/v2/a/blobs/{digest(DATA)}")).body == DATA


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("span", ["0-49", "0-29", "0-0"])
async def test_a_chunk_of_another_length(own: Own, method: str, span: str) -> None:
    """Nothing of it is taken, and the upload can be continued."""
    place = await begun(own)
    answer = await own.ask(method, f"{place}?digest={digest(DATA[:40])}", DATA[:40], Content_Range=span)
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert (await own.ask("GET", place)).headers["Range"] == "0-0"
    assert (await own.ask("PUT", f"{place}?digest={digest(DATA)}", DATA, Content_Range="0-99")).status == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_the_same_without_a_length(own: Own, method: str) -> None:
    """What has come is kept, as of a body that breaks off: it is said how much that is."""
    place = await begun(own)
    answer = await without_length(own, method, f"{place}?digest={digest(DATA[:40])}", DATA[:40], "0-49")
    assert (answer.status, answer.code, answer.headers["Range"]) == (400, "SIZE_INVALID", "0-39")
    assert (await own.ask("PATCH", place, DATA[40:], Content_Range="40-99")).status == 202
    assert (await own.ask("PUT", f"{place}?digest={digest(DATA)}")).status == 201


async def test_a_range_that_is_none(own: Own) -> None:
    place = await begun(own)
    assert (await own.ask("PATCH", place, DATA[:5], Content_Range="5-0")).status == 416
    assert (await own.ask("PATCH", place, DATA[:5], Content_Range="1-5")).status == 416
    assert (await own.ask("GET", place)).headers["Range"] == "0-0"
