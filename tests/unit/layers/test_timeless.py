"""The digest of a layer without its times."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.layers import header as tar
from corten.layers import write
from corten.layers.timeless import Digests, Timeless


def digest(data: bytes, *cuts: int) -> str:
    found = Timeless()
    at = 0
    for cut in cuts:
        found.update(data[at : at + cut])
        at += cut
    found.update(data[at:])
    return found.digest


def archive(mtime: int, name: bytes = b"a", content: bytes = b"content", mode: int = 0o644) -> bytes:
    head = write.header(name, mode=mode, size=len(content), mtime=mtime, xattrs={b"user.x": b"1"})
    directory = write.header(b"d/", tar.DIRECTORY, mtime=mtime)
    return directory + head + content + write.padding(len(content)) + write.END


def test_only_times_are_left_out() -> None:
    first = digest(archive(0))
    assert digest(archive(5 * 10**9)) == first
    assert digest(archive(5 * 10**9 + 1)) == first  # in a record of its own
    assert digest(archive(0, name=b"b")) != first
    assert digest(archive(0, content=b"Content")) != first
    assert digest(archive(0, mode=0o600)) != first


@given(st.lists(st.integers(1, 600), max_size=12))
def test_pieces_may_be_of_any_length(cuts: list[int]) -> None:
    data = archive(10**18, name=b"n" * 300)
    assert digest(data, *cuts) == digest(data)


def test_the_end_of_a_file_is_not_the_next_header() -> None:
    """A file whose content is a tar itself."""
    inner = archive(7 * 10**9)
    one, two = (archive(0, content=content) for content in (inner, archive(8 * 10**9)))
    assert digest(one) != digest(two)


def test_an_attribute_is_no_entry() -> None:
    """A record whose value is what a header would be."""
    entry = write.header(b"a", size=0)
    inner = entry[:136] + entry[156:]
    plain, crafted = write.header(b"b", size=0), write.header(b"b", size=0, xattrs={b"user.x": inner})
    assert digest(entry + plain + write.END) != digest(crafted + write.END)


@given(st.lists(st.tuples(st.binary(max_size=1200), st.booleans()), max_size=40), st.lists(st.integers(1, 2000)))
def test_known_contents_need_not_be_hashed(files: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    parts, digests = list[bytes](), b""
    for number, (content, known) in enumerate(files):
        parts.append(write.header(b"%d" % number, size=len(content)) + content + write.padding(len(content)))
        if content:
            digests += hashlib.sha256(content).digest() if known else bytes(32)
    data = b"".join(parts) + write.END
    with tempfile.TemporaryFile() as file:
        file.write(digests)
        file.flush()
        found, at = Timeless(Digests(file.fileno())), 0
        for cut in cuts:
            found.update(data[at : at + cut])
            at += cut
        found.update(data[at:])
    assert found.digest == digest(data)


def test_digests_that_come_meanwhile(tmp_path: Path) -> None:
    """Each is there before its header; what is not there is hashed."""
    path = tmp_path / "digests"
    with path.open("wb", buffering=0) as out, path.open("rb") as file:
        digests = Digests(file.fileno())
        for number in range(3000):
            if number % 7:
                out.write(hashlib.sha256(b"%d" % number).digest())
                assert digests.next() == hashlib.sha256(b"%d" % number).digest()
            else:
                out.write(bytes(32))
                assert digests.next() == b""
        assert digests.next() == b""


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(Invalid):
        digest(os.urandom(512))


def test_headers_of_contents_that_are_known() -> None:
    """They are read for their sizes alone: what is none is refused, and the end of the tar takes no digest."""
    fd = os.memfd_create("digests")
    try:
        for mtime, content in ((0, b"content"), (1 << 70, b"c" * 1000)):  # the second with a record before it
            os.pwrite(fd, hashlib.sha256(content).digest() + b"of no content".ljust(32), 0)
            found = Timeless(Digests(fd))
            data = (
                write.header(b"a", size=len(content), mtime=mtime) + content + write.padding(len(content)) + write.END
            )
            found.update(data)
            assert found.digest == digest(data)
        block = bytearray(write.header(b"a", size=1))
        block[124:135] = b"99999999999"
        with pytest.raises(Invalid):
            Timeless(Digests(fd)).update(bytes(block))
    finally:
        os.close(fd)
