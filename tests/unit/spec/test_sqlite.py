"""Our reader of SQLite's format beside SQLite itself."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.spec.sqlite import Corrupted, Database, Value, logged


def opened(path: Path) -> Database:
    data = path.read_bytes()
    wal = path.with_name(path.name + "-wal")
    pages = logged(wal.read_bytes()) if wal.exists() else {}
    return Database(lambda at, size: data[at : at + size], len(data), pages)


def rows(path: Path, table: str = "Packages") -> dict[int, Value]:
    return {id: values[1] for id, values in opened(path).rows(table)}


def made(path: Path, count: int, page: int = 4096, journal: str = "delete") -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"pragma page_size={page}")
    database.execute(f"pragma journal_mode={journal}")
    for number in range(20):  # so that the schema has more than a page
        database.execute(f"create table other{number} (a text, b text, {','.join(f'c{n} text' for n in range(50))})")
    database.execute("create table Packages (hnum integer primary key autoincrement, blob blob not null)")
    database.execute("begin")
    for number in range(count):
        database.execute("insert into Packages (blob) values (?)", (os.urandom(number * 37 % 20_000),))
    database.execute("commit")
    return database


@pytest.mark.parametrize("page", [512, 4096, 65536])
def test_rows_of_any_size(tmp_path: Path, page: int) -> None:
    database = made(tmp_path / "db", 600, page)
    expected = dict(database.execute("select hnum, blob from Packages"))
    database.close()
    assert rows(tmp_path / "db") == expected and len(expected) == 600
    assert rows(tmp_path / "db", "nothing") == {}


@pytest.mark.parametrize("share", [0, 10, 50, 90, 99, 100])
def test_a_write_ahead_log(tmp_path: Path, share: int) -> None:
    """What was committed counts, what was not does not, wherever the log was cut off; one that was begun again has
    frames of the former behind its own."""
    database = made(tmp_path / "db", 300, journal="wal")
    database.execute("pragma wal_autocheckpoint=0")
    database.execute("pragma wal_checkpoint(restart)")
    for rest in range(3):
        database.execute("delete from Packages where hnum % 4 = ?", (rest,))
    database.execute("insert into Packages (blob) values (?)", (b"new",))
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(tmp_path / "db", copy)
    log = (tmp_path / "db-wal").read_bytes()
    (copy / "db-wal").write_bytes(log[: len(log) * share // 100])
    database.close()
    found = rows(copy / "db")
    again = sqlite3.connect(copy / "db")
    assert found == dict(again.execute("select hnum, blob from Packages"))
    again.close()


def test_numbers_and_texts(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "db")
    values = (None, 0, 1, -1, 127, -32768, 1 << 22, -(1 << 30), 1 << 45, -(1 << 62), "text", b"blob")
    database.execute(f"create table t ({','.join(f'c{n}' for n in range(len(values)))})")
    database.execute(f"insert into t values ({','.join('?' * len(values))})", values)
    database.commit()
    database.close()
    ((_, found),) = opened(tmp_path / "db").rows("t")
    assert found == [value.encode() if isinstance(value, str) else value for value in values]


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"x" * 4096, b"SQLite format 3\0" + bytes(4080)])
def test_what_is_no_database(data: bytes) -> None:
    with pytest.raises(Corrupted):
        list(Database(lambda at, size: data[at : at + size], len(data)).rows("Packages"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("db") / "db"
    made(path, 60, 512).close()
    return path.read_bytes()


@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)), max_size=10))
def test_damage_is_said_and_ends(small: bytes, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(small)
    for at, piece in damage:
        at %= len(data)
        data[at : at + len(piece)] = piece
    whole = bytes(data)
    try:
        for _ in Database(lambda at, size: whole[at : at + size], len(whole)).rows("Packages"):
            pass
    except ValueError:
        pass


@given(st.binary(max_size=400))
def test_a_log_of_any_bytes(data: bytes) -> None:
    logged(data)
    logged(b"\x37\x7f\x06\x82" + data)


def test_rows_that_lie_upon_one_another(small: bytes) -> None:
    """As many cells as a page has room to name, all of them the same large one."""
    page = bytearray(65536)
    count, place = 30_000, 61_000
    page[:8] = bytes([13, 0, 0, *count.to_bytes(2, "big"), 0, 0, 0])
    page[8 : 8 + 2 * count] = place.to_bytes(2, "big") * count
    page[place : place + 5] = bytes([0x81, 0x80 | 30, 0x00, 1, 2])  # a row of 20,224 bytes
    data = small[:16] + (1).to_bytes(2, "big") + small[18:100] + bytes(65536 - 100) + bytes(page) * 3
    with pytest.raises(Corrupted):
        list(Database(lambda at, size: data[at : at + size], len(data))._tree(2))


def test_a_log_with_a_page_far_behind_the_end(small: bytes) -> None:
    """It makes the database no larger, nor what may be read of it: each row here is the same three pages more."""
    page, count, place, local = bytearray(65536), 2000, 50_000, 8199
    page[:8] = bytes([13, 0, 0, *count.to_bytes(2, "big"), 0, 0, 0])
    page[8 : 8 + 2 * count] = place.to_bytes(2, "big") * count
    size = local + 3 * 65532
    page[place : place + 5] = bytes([0x80 | size >> 14, 0x80 | size >> 7 & 0x7F, size & 0x7F, 1, 1])
    page[place + 4 + local : place + 8 + local] = (3).to_bytes(4, "big")
    chain = b"".join(following.to_bytes(4, "big") + bytes(65532) for following in (4, 5, 0))
    data = small[:16] + b"\0\1" + small[18:100] + bytes(65536 - 100) + bytes(page) + chain
    reads = []

    def read(at: int, size: int) -> bytes:
        reads.append(at)
        return data[at : at + size]

    with pytest.raises(Corrupted):
        list(Database(read, len(data), {0xFFFFFFFF: bytes(65536)})._tree(2))
    assert 5 < len(reads) < 50


def test_a_row_of_millions_of_values(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "db")
    database.execute("create table Packages (hnum integer primary key, blob blob)")
    database.execute("insert into Packages values (1, ?)", (bytes(3 << 20),))
    database.commit()
    database.close()
    header, longer = b"\x06\x00\x83\x80\x80\x0c", b"\x81\x80\x80\x00\x00\x00"  # of 6 bytes, and of 2 MiB
    data = (tmp_path / "db").read_bytes()
    assert data.count(header) == 1
    data = data.replace(header, longer)
    with pytest.raises(Corrupted, match="more than 2000 values"):
        list(Database(lambda at, size: data[at : at + size], len(data)).rows("Packages"))


def test_a_page_that_is_its_own_child(small: bytes) -> None:
    page = bytearray(512)
    page[:8] = bytes([5, 0, 0, 0, 0, 0, 0, 0])
    page[8:12] = (2).to_bytes(4, "big")
    data = small[:512] + bytes(page) + small[1024:]
    with pytest.raises(Corrupted):
        list(Database(lambda at, size: data[at : at + size], len(data))._tree(2))
