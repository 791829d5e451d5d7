import bz2
import gzip
import lzma
import os
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from corten.errors import Corrupt, Exhausted, Invalid, NotFound
from corten.spec import digest as digests
from corten.spec.image_config import ImageConfig, RootFS
from corten.store.blobs import Blobs
from corten.store.compression import Decoder, detect
from corten.store.database import MIGRATIONS, Database
from corten.store.images import ImageRecord, ImageRecords
from corten.store.leases import Leases
from corten.store.records import Records
from image_parts.disks import small_disk

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "corten.db")
    yield database
    database.close()


def test_records(database: Database) -> None:
    records = Records(database)
    records.put("container", "b", {"n": 1})
    records.put("container", "a", {"n": 2})
    records.put("network", "a", {})
    assert list(records.list("container").items()) == [("a", {"n": 2}), ("b", {"n": 1})]
    records.delete("container", "a")
    records.delete("container", "a")
    assert records.get("container", "a") is None
    assert records.get("network", "a") == {}


def test_a_write_that_fails_is_undone(database: Database) -> None:
    records = Records(database)
    with pytest.raises(ZeroDivisionError), database.write():
        records.put("container", "a", {})
        raise ZeroDivisionError
    assert records.list("container") == {}
    records.put("container", "b", {})  # the connection is still good
    assert list(records.list("container")) == ["b"]


def test_what_sqlite_finds_wrong(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:  # without foreign keys, as a tool would
        connection.execute("INSERT INTO tags VALUES ('name', 'sha256:none')")
    with closing(Database(path)) as database:
        assert database.faults() == ["tags: a row refers to images that is not there"]
        database.rows("DELETE FROM tags")
        assert database.faults() == []


def test_a_newer_or_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db"
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(Corrupt, match="newer"):
        Database(path)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt):
        Database(path)


def test_leases() -> None:
    leases = Leases()
    with leases.hold() as lease, leases.hold() as other:
        lease.add("blob", "x", "y")
        lease.add("blob", "x")
        other.add("blob", "x")
        assert leases.held("blob", ["x", "z"]) == {"x"}
        lease.release()
        lease.release()
        assert leases.held("blob", ["x", "y"]) == {"x"}
    assert leases.held("blob", ["x"]) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_records_can_be_deleted_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk, closing(Database(disk / "db")) as database:
        records = Records(database)
        records.put_all("container", {str(n): {"text": "x" * 500} for n in range(500)})
        with pytest.raises(OSError), (disk / "filling").open("wb") as file:
            file.write(bytes(16 << 20))
        for n in range(250):
            records.delete("container", str(n))
        records.put("container", "new", {})
        assert len(records.list("container")) == 251
        with pytest.raises(Exhausted, match="no space left"):
            records.put_all("container", {str(n): {"text": "x" * 5000} for n in range(2000)})
        assert len(records.list("container")) == 251


def test_blobs_exist_only_when_right(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digest = digests.of(b"hello")
    ingest = blobs.ingest(digest)
    ingest.write(b"hellx")
    with pytest.raises(Corrupt):
        ingest.commit()
    assert not blobs.has(digest)
    assert not list((tmp_path / "ingest").iterdir())
    ingest = blobs.ingest(digest)
    ingest.write(b"hello")
    assert ingest.commit() == digest
    assert blobs.read(digest, 10) == b"hello"
    assert blobs.size(digest) == 5
    with pytest.raises(Corrupt):
        blobs.read(digest, 4)
    assert list(blobs.list()) == [digest]
    assert blobs.remove(digest) == 5
    assert blobs.remove(digest) == 0
    with pytest.raises(NotFound):
        blobs.open(digest)


def test_an_ingest_resumes(tmp_path: Path) -> None:
    digest = digests.of(b"hello world")
    first = Blobs(tmp_path).ingest(digest)
    first.write(b"hello ")
    first.close()
    blobs = Blobs(tmp_path)  # another daemon
    blobs.sweep()
    second = blobs.ingest(digest)
    assert second.offset == 6
    second.write(b"world")
    assert second.commit() == digest


def test_unknown_ingests_are_swept_and_old_parts_removed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    ingest = blobs.ingest()
    ingest.write(b"abc")
    assert blobs.remove_parts(0) == 0  # it is in use
    ingest.close()
    blobs.sweep()
    assert os.listdir(tmp_path / "ingest") == []
    part = blobs.ingest(digests.of(b"x"))
    part.write(b"abc")
    part.close()
    assert blobs.remove_parts(3600) == 0
    assert blobs.remove_parts(0) == 3


@pytest.mark.parametrize(
    "bad", ["sha256:../../etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32, "x", ""]
)
def test_a_digest_is_no_path(tmp_path: Path, bad: str) -> None:
    with pytest.raises(Invalid):
        Blobs(tmp_path).path(bad)


DATA = os.urandom(1000) + bytes(3_000_000) + os.urandom(1000)
STREAMS = {
    "gzip": gzip.compress(DATA[:100]) + gzip.compress(DATA[100:]),
    "zstd": zstd.compress(DATA[:100]) + zstd.compress(DATA[100:]),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
    "tar": DATA,
}


def decode(kind: str, stream: bytes, piece: int) -> bytes:
    decoder, out = Decoder(kind), []
    for at in range(0, len(stream), piece):
        out.append(decoder.feed(stream[at : at + piece]))
        while decoder.pending:
            out.append(decoder.feed(b""))
            assert len(out[-1]) <= 1 << 20
    decoder.finish()
    return b"".join(out)


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("piece", [997, 1 << 22])
def test_decoders(kind: str, piece: int) -> None:
    stream = STREAMS[kind]
    assert detect(stream[:8]) == (kind if kind != "tar" else detect(DATA[:8]))
    assert decode(kind, stream, piece) == DATA


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_broken_streams(kind: str) -> None:
    stream = STREAMS[kind]
    with pytest.raises(Invalid):
        decode(kind, stream[:-5], 1 << 16)
    with pytest.raises(Invalid):
        decode(kind, stream[:4] + b"\xff" * 50 + stream[54:], 1 << 16)
    with pytest.raises(Invalid):
        decode(kind, b"", 1)


def test_what_a_lease_kept_goes_with_it() -> None:
    freed: list[set[tuple[str, str]]] = []
    leases = Leases(lambda names: freed.append(set(names)))
    with leases.hold() as first:
        first.add("blob", "a", "b")
        with leases.hold() as second:
            second.add("blob", "a")
            leases.later("blob", ["a", "c"])  # c is not leased: it can be removed at once
        assert freed == []
    assert freed == [{("blob", "a")}]
    with leases.hold() as again:
        again.add("blob", "a")
    assert len(freed) == 1


def test_many_threads_put_the_same(tmp_path: Path) -> None:
    blobs, data = Blobs(tmp_path), b"manifest" * 1000
    with ThreadPoolExecutor(8) as threads:
        for round_ in range(20):
            piece = data + bytes([round_])
            assert len(set(threads.map(lambda _, piece=piece: blobs.put(piece), range(8)))) == 1
            assert blobs.read(blobs.put(piece), len(piece)) == piece
    assert blobs.parts() == []


def test_an_image_that_an_older_version_let_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One faulty configuration is no error of the list; what is right in it is shown, and the log has it once."""
    with closing(Database(tmp_path / "db")) as database:
        records = ImageRecords(database)
        good = ImageConfig(os="linux", rootfs=RootFS(diff_ids=("sha256:" + "1" * 64,)))
        for id in ("sha256:a", "sha256:b"):
            records.put(
                ImageRecord(id, "sha256:m", good, (), 1, "2024-01-01T00:00:00Z", 1.0), [f"docker.io/x/{id[7:]}:1"]
            )
        body = good.to_bytes().decode()[:-1] + ',"config":{"Labels":[1],"Cmd":["\\ud800"]}}'
        database.rows("UPDATE images SET config=? WHERE id='sha256:b'", (body,))
        for _ in range(2):
            assert [record.id for record in records.all()] == ["sha256:a", "sha256:b"]
        found = records.get("sha256:b")
        assert (
            found is not None and found.config.config == {"Cmd": ["\ufffd"]} and found.chain == records.all()[0].chain
        )
    (line,) = [each.getMessage() for each in caplog.records]
    assert "sha256:b" in line and "Config.config.Labels" in line
