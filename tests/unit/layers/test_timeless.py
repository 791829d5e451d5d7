"""The digest of a layer without its times."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.layers import header as tar
from corten.layers import write
from corten.layers.timeless import Timeless


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


def test_what_is_no_tar_is_refused() -> None:
    with pytest.raises(Invalid):
        digest(os.urandom(512))
