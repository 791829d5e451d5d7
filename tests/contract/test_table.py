"""What is expected of the table of records: the one on disk, and the tests' own in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.spec.json import Json
from corten.store.database import Database
from corten.store.records import Records
from corten.store.table import Table
from fakes.table import MemoryTable


@pytest.fixture(params=["disk", "memory"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    if request.param == "memory":
        yield MemoryTable()
        return
    database = Database(tmp_path / "db")
    yield Records(database)
    database.close()


def test_what_was_put_is_listed_by_kind_in_the_order_of_ids(table: Table) -> None:
    for id in ("b", "c", "a"):
        table.put("volume", id, {"name": id})
    table.put("network", "b", {"name": "other"})
    assert [*table.list("volume").items()] == [(id, {"name": id}) for id in "abc"]
    assert table.list("network") == {"b": {"name": "other"}}
    assert table.list("container") == {}


def test_a_record_is_renamed(table: Table | MemoryTable) -> None:
    assert isinstance(table, Records | MemoryTable)
    table.put("snapshot", "a", {"old": 1})
    table.put("snapshot", "b", {"other": 1})
    table.rename("snapshot", "a", "c", {"new": 2})
    assert table.list("snapshot") == {"b": {"other": 1}, "c": {"new": 2}}


def test_put_replaces(table: Table) -> None:
    table.put("volume", "a", {"old": 1})
    table.put("volume", "a", {"new": 2})
    assert table.list("volume") == {"a": {"new": 2}}


def test_delete_is_of_one_kind_and_idempotent(table: Table) -> None:
    table.put("volume", "a", {})
    table.put("network", "a", {"kept": True})
    for _ in range(2):
        table.delete("volume", "a")
    assert (table.list("volume"), table.list("network")) == ({}, {"a": {"kept": True}})


def test_a_record_is_a_copy(table: Table) -> None:
    body: Json = {"names": ["a"]}
    table.put("volume", "a", body)
    body["names"].append("b")
    table.list("volume")["a"]["names"].append("c")
    assert table.list("volume") == {"a": {"names": ["a"]}}


def test_json_comes_back_as_it_was(table: Table) -> None:
    body: Json = {"text": "ä\U0001f600\n\0", "numbers": [0, -1, 1 << 62, 0.5], "none": None, "deep": [{"a": {}}], "": 1}
    table.put("volume", "ä/b c", body)
    assert table.list("volume") == {"ä/b c": body}
    assert [type(number) for number in table.list("volume")["ä/b c"]["numbers"]] == [int, int, int, float]


@pytest.mark.parametrize("value", [object(), {1, 2}.__iter__()])
def test_what_is_no_json_is_refused_and_changes_nothing(table: Table, value: object) -> None:
    table.put("volume", "a", {"old": 1})
    with pytest.raises(TypeError):
        table.put("volume", "a", {"new": value})
    assert table.list("volume") == {"a": {"old": 1}}


@pytest.mark.parametrize("body", ["{", "", "null", "[]", '"x"', "7", "\x00", '{"a":' * 5000, b"\xff", b'{"a": "\xff"}'])
def test_a_body_that_cannot_be_read_hides_no_other(tmp_path: Path, body: str | bytes) -> None:
    """And its id stays known: what is not is taken for left over, and removed."""
    database = Database(tmp_path / "db")
    table = Records(database)
    table.put("volume", "a", {"name": "a"})
    with database.write() as cursor:
        cursor.execute("INSERT INTO records VALUES ('volume', 'b', CAST(? AS TEXT))", (body,))
    assert table.list("volume") == {"a": {"name": "a"}, "b": {}}
    database.close()
