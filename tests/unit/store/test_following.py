"""A blob read while it arrives."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from corten.errors import Corrupt, Failed
from corten.store import following as module
from corten.store.blobs import Blobs, Ingest
from corten.store.following import Following

CONTENT = bytes(range(256)) * 8192
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
BLOBS = 9


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def everything(following: Following) -> bytes:
    pieces = []
    try:
        while piece := following.read(10_000):
            pieces.append(piece)
    finally:
        following.close()
    return b"".join(pieces)


def in_pieces(ingest: Ingest, content: bytes) -> None:
    for at in range(0, len(content), 100_000):
        ingest.write(content[at : at + 100_000])


def test_all_bytes_come_and_then_the_end(blobs: Blobs, thread: ThreadPoolExecutor) -> None:
    ingest = blobs.ingest(DIGEST)
    read = thread.submit(everything, Following(ingest))
    in_pieces(ingest, CONTENT)
    assert not read.done()  # it is not verified yet
    ingest.commit()
    assert read.result(60) == CONTENT


def test_what_was_there_before_is_read_too(blobs: Blobs, thread: ThreadPoolExecutor) -> None:
    first = blobs.ingest(DIGEST)
    first.write(CONTENT[:50_000])
    first.close()
    ingest = blobs.ingest(DIGEST)
    read = thread.submit(everything, Following(ingest))
    in_pieces(ingest, CONTENT[50_000:])
    ingest.commit()
    assert read.result(60) == CONTENT


def test_another_content_than_promised_has_no_end(blobs: Blobs, thread: ThreadPoolExecutor) -> None:
    ingest = blobs.ingest(DIGEST)
    read = thread.submit(everything, Following(ingest))
    ingest.write(b"something else")
    with pytest.raises(Corrupt):
        ingest.commit()
    with pytest.raises(Failed):
        read.result(60)


@pytest.mark.parametrize("end", [Ingest.close, Ingest.abort, Ingest.restart])
def test_one_that_breaks_off_has_no_end(
    blobs: Blobs, thread: ThreadPoolExecutor, end: Callable[[Ingest], None]
) -> None:
    ingest = blobs.ingest(DIGEST)
    read = thread.submit(everything, Following(ingest))
    ingest.write(CONTENT[:1000])
    end(ingest)
    with pytest.raises(Failed):
        read.result(60)
    with suppress(OSError):
        ingest.abort()


def test_a_stopped_reader_does_not_wait(blobs: Blobs, thread: ThreadPoolExecutor) -> None:
    ingest = blobs.ingest(DIGEST)
    following = Following(ingest)
    read = thread.submit(everything, following)
    following.stop()
    with pytest.raises(Failed):
        read.result(60)
    ingest.abort()


def test_one_that_is_over_cannot_be_followed(blobs: Blobs) -> None:
    ingest = blobs.ingest(DIGEST)
    ingest.write(CONTENT)
    ingest.commit()
    with pytest.raises(FileNotFoundError):
        Following(ingest)


def test_bytes_go_into_a_pipe(blobs: Blobs) -> None:
    ingest = blobs.ingest(DIGEST)
    following = Following(ingest)
    reader, writer = os.pipe()
    try:
        ingest.write(CONTENT)
        assert following.splice(writer, 4096) == 4096
        assert os.read(reader, 4096) == CONTENT[:4096]
        assert following.at == 4096
    finally:
        for fd in (reader, writer):
            os.close(fd)
        following.close()
        ingest.abort()


def test_watchers_are_called_for_their_digests(blobs: Blobs) -> None:
    seen: list[Ingest] = []
    with blobs.watch([DIGEST], seen.append):
        blobs.ingest("sha256:" + "1" * 64).abort()
        ingest = blobs.ingest(DIGEST)
        ingest.close()
    blobs.ingest(DIGEST).abort()
    assert seen == [ingest]


def cached(path: Path) -> bool:
    """Whether the first page of a file is in the page cache."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return bool(os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT))
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def drops(directory: Path) -> bool:
    """Whether the file system of `directory` has a page cache that follows posix_fadvise(2)."""
    path = directory / "control"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return not cached(path)


def test_the_page_cache_may_drop_what_was_read(blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many blobs: a page that the kernel itself has in hand, to move it perhaps, stays in spite of the advice."""
    if not drops(tmp_path):
        pytest.skip("this file system, a tmpfs perhaps, has nothing but the page cache")
    monkeypatch.setattr(module, "_STEP", len(CONTENT) // 2)
    assert sum(drops_what_was_read(blobs) for _ in range(BLOBS)) > BLOBS / 2


def drops_what_was_read(blobs: Blobs) -> bool:
    ingest = blobs.ingest(DIGEST)
    ingest.write(CONTENT)
    os.fsync(ingest._fd)
    following = Following(ingest)
    assert cached(ingest.path)
    assert following.read(len(CONTENT)) == CONTENT
    dropped = not cached(ingest.path)
    following.close()
    ingest.abort()
    return dropped
