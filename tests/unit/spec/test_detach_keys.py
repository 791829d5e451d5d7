from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.spec.detach_keys import DEFAULT, Watcher, parse


class Whole(bytes):
    """Bytes that may be searched, and must not be walked: a loop over them takes fifty times as long."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("walked byte by byte")


@pytest.mark.parametrize("text", ["ctrl-P", "CTRL-p", "ctrl-", "ctrl-1", "a,", ",", "aa", "del", " ctrl-p", "ä"])
def test_what_is_no_key_is_refused(text: str) -> None:
    """Each beside one that is a key; dockerd takes none of them either."""
    with pytest.raises(ValueError):
        parse(f"ctrl-p,{text}")


def test_keys() -> None:
    assert parse("ctrl-@,ctrl-a,ctrl-_,DEL,A, ,~") == b"\x00\x01\x1f\x7fA ~"


@given(st.lists(st.sampled_from([b"\x10", b"\x11", b"a", b"\x10\x10", b"\x10a"]), max_size=8))
def test_nothing_typed_is_lost_or_doubled(parts: list[bytes]) -> None:
    watcher = Watcher(parse(DEFAULT))
    out = b""
    for part in parts:
        out += watcher.feed(part)
        if watcher.found:
            break
    typed = b"".join(parts)
    if b"\x10\x11" in typed:
        assert watcher.found and out == typed[: typed.index(b"\x10\x11")]
    else:
        assert not watcher.found and out == typed[: len(out)] and typed[len(out) :] in (b"", b"\x10")


@given(st.text("ab", min_size=1, max_size=4), st.lists(st.text("abc", max_size=5), max_size=6))
def test_keys_that_repeat_themselves_are_found_wherever_they_begin(keys: str, parts: list[str]) -> None:
    watcher, out = Watcher(keys.encode()), b""
    for part in parts:
        out += watcher.feed(part.encode())
        if watcher.found:
            break
    before, found, _ = "".join(parts).encode().partition(keys.encode())
    assert watcher.found == bool(found)
    assert out == before if found else before.startswith(out) and keys.encode().startswith(before[len(out) :])


@pytest.mark.parametrize("keys", [b"", b"\x10\x11"])
def test_input_is_searched_and_not_walked(keys: bytes) -> None:
    assert Watcher(keys).feed(Whole(b"x" * 1000)) == b"x" * 1000


def test_without_keys_input_is_not_even_copied() -> None:
    data = b"x" * 1000
    assert Watcher(b"").feed(data) is data


def test_every_spelling_has_its_byte() -> None:
    assert parse("ctrl-a,x,ctrl-],ctrl-@,ctrl-\\,ctrl-^,ctrl-_,ctrl-[") == b"\x01x\x1d\x00\x1c\x1e\x1f\x1b"


@pytest.mark.parametrize("text", ["foo", "ctrl-", "ctrl-1", "a,,b"])
def test_what_is_no_key_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A(foo|ctrl-|ctrl-1|)\Z"):
        parse(text)
