"""Digests of what a COPY would bring, with a memory of files: what has changed is seen, what has not is not read."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.kernel import xattr
from corten.layers import sums
from corten.layers.sums import Memory, Sum
from corten.spec.dockerfile.ignore import Patterns

LONG_AGO = 1_600_000_000 * 10**9


def tree(place: Path) -> Path:
    top = place / "tree"
    (top / "d").mkdir(parents=True)
    for name in ("a", "d/b", "d/c"):
        (top / name).write_text(name)
        os.utime(top / name, ns=(LONG_AGO, LONG_AGO))
    os.setxattr(top / "d/c", "user.one", b"1")
    (top / "link").symlink_to("a")
    settle(top)
    return top


def settle(top: Path) -> None:
    """Until every change of before is older than a tick."""
    for path in (top, *top.rglob("*")):
        while not sums.settled(path.lstat()):
            time.sleep(0.005)


def digest(top: Path, memory: Memory) -> str:
    root = os.open(top, os.O_RDONLY)
    try:
        found = Sum(memory, False, Patterns(()))
        found.one(root, b".")
        return found.digest
    finally:
        os.close(root)


def remembered(top: Path, before: bytes = b"") -> tuple[str, bytes]:
    memory = Memory(before)
    return digest(top, memory), memory.packed(1 << 20)


def test_what_is_known_and_plain_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, looked = tree(tmp_path), list[str]()
    first, kept = remembered(top)
    all_of = xattr.all_of

    def watched(held: int | bytes) -> dict[bytes, bytes]:
        looked.append(os.fsdecode(os.readlink(held)) if isinstance(held, bytes) else "")
        return all_of(held)

    monkeypatch.setattr(xattr, "all_of", watched)
    monkeypatch.setattr(sums, "_hash", lambda seen: pytest.fail("a known file is read"))
    second, again = remembered(top, kept)
    assert second == first and sorted(again) == sorted(kept)
    assert str(top / "d/c") in looked and not {str(top / "a"), str(top / "d/b")} & set(looked)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: rewritten(path, "d/x"),  # as long as it was, with the time that it had
        lambda path: os.setxattr(path, "user.two", b"2"),
        lambda path: path.chmod(0o600),
        lambda path: os.truncate(path, 1),
        lambda path: path.unlink(),
    ],
    ids=["content", "attribute", "mode", "size", "gone"],
)
def test_every_change_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    top = tree(tmp_path)
    first, kept = remembered(top)
    second, kept = remembered(top, kept)
    change(top / "d/b")
    changed = digest(top, Memory(kept))
    assert second == first != changed == digest(top, Memory())


def test_an_attribute_that_is_taken_away_is_seen(tmp_path: Path) -> None:
    top = tree(tmp_path)
    first, kept = remembered(top)
    os.removexattr(top / "d/c", "user.one")
    settle(top)
    second, kept = remembered(top, kept)
    assert second != first and digest(top, Memory(kept)) == second == digest(top, Memory())


def test_what_has_just_changed_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tree(tmp_path)
    monkeypatch.setattr(sums, "settled", lambda status: False)
    assert remembered(top)[1] == b""


def rewritten(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
