"""Lists of changes that a guest's agent sends: those of trees come through, and nothing else."""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii

import pytest

from corten.errors import Corrupt
from corten.layers.limits import LONGEST_PATH
from corten.layers.listed import Listed

_PATHS = ("/", "/etc/passwd", '/"\\\n\t\x1b[2J\x7f', "/ü\ufffd\ud800", "/" + "\ufffd" * LONGEST_PATH, "/last")


def _passed(data: bytes, pieces: int) -> bytes:
    listed = Listed()
    out = b"".join(listed.feed(data[at : at + pieces]) for at in range(0, len(data), pieces))
    listed.end()
    return out


def _sent(paths: tuple[str, ...]) -> bytes:
    """As `supervisor.trees` writes it."""
    found = (f'{{"Path":{encode_basestring_ascii(path)},"Kind":{number % 3}}}' for number, path in enumerate(paths))
    return b"[" + ",".join(found).encode() + b"]"


@pytest.mark.parametrize("pieces", [100, 4096, 1 << 20])
@pytest.mark.parametrize("count", range(len(_PATHS) + 1))
def test_a_list_comes_through_as_it_is(count: int, pieces: int) -> None:
    data = _sent(_PATHS[:count])
    assert _passed(data, pieces) == data
    assert [change["Path"] for change in json.loads(data)] == [*_PATHS[:count]]


def test_what_comes_in_single_bytes() -> None:
    paths = ("/a", '/"', "/\n")
    spaced = json.dumps([{"Path": path, "Kind": 2} for path in paths]).encode()
    for data in (b"[]", _sent(paths), spaced):
        assert _passed(data, 1) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"{}",
        b"[",
        b"[,]",
        b"[]]",
        b"[] ",
        b"[1]",
        b'[{"Path":"/a","Kind":0}',
        b'[{"Path":"/a","Kind":0},]',
        b'[{"Path":"/a","Kind":0}]{}',
        b'[{"Path":"/a","Kind":3}]',
        b'[{"Path":"/a","Kind":-1}]',
        b'[{"Path":"a","Kind":0}]',
        b'[{"Path":"/a","Kind":0,"x":1}]',
        b'[{"Path":"/\x1b[2J","Kind":0}]',
        b'[{"Path":"/\xff","Kind":0}]',
        b'[{"Path":"/\\x41","Kind":0}]',
        b'[{"Path":"/a\n","Kind":0}]',
        b'[{"Path":"/a","Kind":0}{"Path":"/a","Kind":0}]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_changes(data: bytes) -> None:
    for pieces in (1000, 1 << 20):
        with pytest.raises(Corrupt):
            _passed(data, pieces)


def test_no_more_is_kept_than_the_longest_change() -> None:
    listed = Listed()
    assert listed.feed(b'[{"Path":"/') == b"["
    with pytest.raises(Corrupt):
        for _ in range(7):
            listed.feed(b"a" * LONGEST_PATH)
