"""Records of steps: found, exchanged for older ones of the same content, kept, removed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corten.build.cache.cache import KIND, Cache, Record, chosen
from corten.build.cache.usage import select
from corten.build.contract import Layer
from corten.errors import Invalid
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.spec.oci_image import Descriptor
from fakes.table import MemoryTable


def layer(name: str, content: str = "", size: int = 10) -> Layer:
    return Layer(
        f"diff {name}", f"tree {name}", content or f"content {name}", size, Descriptor("m", f"sha256:{name}", 1)
    )


def always(found: Layer) -> bool:
    return True


def never(found: Layer) -> bool:
    return False


def test_a_record_is_found_on_its_parent_only() -> None:
    cache = Cache(MemoryTable())
    cache.put("k", "p", 1, layer("a"), "RUN a", {})
    assert cache.find("k", "q", always) is None and cache.find("none", "p", always) is None
    assert cache.find("k", "p", never) is None
    found = cache.find("k", "p", always)
    assert found is not None and (found.layer, found.count) == (layer("a"), 2)


def test_equal_content_is_the_older_layer() -> None:
    cache = Cache(MemoryTable())
    cache.put("k", "p", 1, layer("a", "same"), "RUN a", {})
    assert cache.same("p", layer("b", "same"), always) == layer("a", "same")
    assert cache.same("q", layer("b", "same"), always) == layer("b", "same")
    assert cache.same("p", layer("b", "same"), never) == layer("b", "same")


def test_what_is_kept_and_what_is_on_disk() -> None:
    table = MemoryTable()
    cache = Cache(table)
    cache.put("k", "p", 1, layer("a"), "RUN a", {"source": "sum"})
    cache.put("empty", "p", 1, Layer("", "", "c", 0, None), "RUN true", {})
    assert (cache.blobs(), cache.trees()) == ({"sha256:a"}, {"tree a"})
    again = Cache(table)
    assert sorted(again.all(), key=lambda each: each.key) == sorted(cache.all(), key=lambda each: each.key)
    assert again.sum("source") == "sum"
    again.remove(["k", "nosuch"])
    assert again.sum("source") is None and again.blobs() == set()
    assert list(table.list(KIND)) == ["empty"]


def test_uses_are_written_when_they_are_flushed() -> None:
    table = MemoryTable()
    cache = Cache(table)
    cache.put("k", "p", 1, layer("a"), "RUN a", {})
    cache.find("k", "p", always)
    assert Cache(table).all()[0].count == 1
    cache.flush()
    assert Cache(table).all()[0].count == 2


def record(key: str, used: float, depth: int = 1, size: int = 10) -> Record:
    return Record(key, "p", depth, layer(key, size=size), key, 0, used)


def names(records: list[Record]) -> list[str]:
    return [each.key for each in records]


def test_the_policy() -> None:
    records = [record("old", 10), record("parent", 50, 1), record("child", 50, 2), record("new", 90)]

    def size(each: Record) -> int:
        return each.layer.size

    assert names(chosen(records, size, 40)) == []
    assert names(chosen(records, size, 30)) == ["old"]
    assert names(chosen(records, size, 15)) == ["old", "child", "parent"]
    assert names(chosen(records, size, 40, 10)) == ["old"]  # beside 10 bytes of others
    assert names(chosen(records, size, 0)) == ["old", "child", "parent", "new"]
    free = replace(records[0], layer=replace(records[0].layer, size=0))
    assert names(chosen([free], size, 0)) == ["old"]


@pytest.mark.parametrize("key", ["until", "unused-for"])
def test_an_age_that_is_none_is_refused_though_nothing_is_there(key: str) -> None:
    with pytest.raises(Invalid, match=f"invalid filter {key}=BAD: time: invalid duration"):
        select([], Filters({key: ["BAD"]}))
    assert select([], Filters({key: ["24h"]})) == []


@pytest.mark.parametrize("body", [{}, {"parent": 1}, {"parent": "p", "blob": {"mediaType": "m"}}])
def test_a_record_that_cannot_be_read_is_no_record(body: Json) -> None:
    """The step is done again."""
    table = MemoryTable()
    cache = Cache(table)
    for key in ("good", "bad"):
        cache.put(key, "p", 1, layer(key), "RUN", {})
    table.put(KIND, "bad", body)
    assert [record.key for record in Cache(table).all()] == ["good"]
    assert list(table.list(KIND)) == ["good"]
