"""What a client says of a directory: in the order that the daemon expects, only what is wanted, and nothing through a
link."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.build.transfer.walk import ENTRIES, Walk
from corten.client import following, walks
from corten.client.walks import Directory, Given
from corten.errors import Invalid
from corten.spec import build_frames as f
from corten.spec import go_modes
from corten.spec.protobuf.session import Stat


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for name in ("src/lib", "docs", "src-old"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a", "src/main.c", "src/util.c", "src/lib/part.h", "docs/index", "src-old/x"):
        (tmp_path / name).write_text(name)
    return tmp_path


def said(walk: walks.Walk) -> dict[str, f.Entry]:
    """By path, as the daemon's own checks take it."""
    found, checks = {}, Walk(ENTRIES)
    while (frame := walk.next()) is not None and frame[0] == f.ENTRIES:
        for mode, size, modified, path, link in f.entries(frame[1]):
            checks.next(Stat(path, go_modes.of(mode), size=size, modified=modified, link=link))
            found[path] = (mode, size, modified, path, link)
    assert frame == (f.END, b"")
    return found  # type: ignore[return-value]


def names(top: Path, follow: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    return list(said(Directory(str(top)).walk(follow, exclude)))


def test_a_walk_is_in_order(top: Path) -> None:
    first = ["a", "docs", "docs/index", "src", "src/lib", "src/lib/part.h"]
    assert names(top) == [*first, "src/main.c", "src/util.c", "src-old", "src-old/x"]


def test_what_is_said_of_a_file(top: Path) -> None:
    os.utime(top / "a", ns=(1, 1_700_000_000_123_456_789))
    (top / "a").chmod(0o4755)
    os.link(top / "a", top / "b")
    (top / "to").symlink_to("/etc/passwd")
    found = said(Directory(str(top)).walk((), ()))
    assert found["a"] == (0o104755, 1, 1_700_000_000_123_456_789, "a", "")
    assert found["b"][4] == "a" and found["to"][4] == "/etc/passwd" and found["to"][1] == 0


def test_sockets_are_left_out_and_names_need_not_be_utf8(top: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(top / "docs/sock"))
        (Path(os.fsdecode(os.fsencode(top) + b"/\xff\xfe"))).write_text("x")
        found = names(top)
    assert "docs/sock" not in found and "\udcff\udcfe" in found


def test_excluded_directories_are_said_when_something_comes_back(top: Path) -> None:
    assert names(top, exclude=["src", "docs"]) == ["a", "src-old", "src-old/x"]
    assert names(top, exclude=["src", "!src/lib/part.h", "src-old"]) == [
        "a", "docs", "docs/index", "src", "src/lib", "src/lib/part.h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("follow", "expected"),
    [
        (["a"], ["a"]),
        (["src/*.c"], ["src", "src/main.c", "src/util.c"]),
        (["s*/lib"], ["src", "src/lib", "src/lib/part.h", "src-old"]),
        (["src/lib", "src/lib/part.h", "docs"], ["docs", "docs/index", "src", "src/lib", "src/lib/part.h"]),
        (["nope", "a/b", "nope/*"], ["a"]),
        (["through/main.c"], ["src", "src/main.c", "through"]),
        (["out"], ["out"]),
    ],
)
def test_only_what_is_followed(top: Path, follow: list[str], expected: list[str]) -> None:
    (top / "through").symlink_to("docs/../src")
    (top / "out").symlink_to("../../../etc/passwd")
    assert names(top, follow) == expected


def test_links_without_an_end(top: Path) -> None:
    (top / "loop").symlink_to("loop")
    with pytest.raises(Invalid, match="may have no end"):
        following.tree(str(top), ["loop"])


def test_names_that_look_like_patterns(top: Path) -> None:
    (top / "[x]*").write_text("x")
    (top / "[").write_text("x")
    assert "[x]*" in names(top, ["[x]*"]) and names(top, ["["]) == ["["]
    assert names(top, ["\\[x\\]\\*"]) == ["[x]*"]


@settings(max_examples=30, deadline=None)
@given(st.sets(st.text("ab-.\u00e9\U0001f600/", min_size=1, max_size=6), max_size=12))
def test_any_tree_is_said_in_an_order_that_is_taken(tmp_path_factory: pytest.TempPathFactory, paths: set[str]) -> None:
    top = tmp_path_factory.mktemp("tree")
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", ".", "..")]
        try:
            top.joinpath(*parts).parent.mkdir(parents=True, exist_ok=True)
            top.joinpath(*parts).write_text(path)
        except OSError:  # a file where a directory would be
            continue
    there = {str(path.relative_to(top)) for path in top.rglob("*")}
    assert set(names(top)) == there


# ------------------------------------------------------------------------------------------------------- contents


def contents(walk: walks.Walk) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while (frame := walk.next()) is not None:
        kind, data = frame
        assert kind in (f.PART, f.FILE)
        number, piece = f.split(data)
        found[number] = found.get(number, b"") + piece
    return found


def test_what_is_wanted_is_sent(top: Path) -> None:
    (top / "docs/index").write_bytes(bytes(f.PIECE) + b"end")
    walk = Directory(str(top)).walk(["a", "docs"], ())
    said(walk)
    assert walk.next() is None
    walk.take(f.WANTED, f.wanted([2, 0, 99]))
    assert contents(walk) == {2: bytes(f.PIECE) + b"end", 0: b"a"}


def test_a_file_that_has_become_a_link_is_an_error(top: Path) -> None:
    walk = Directory(str(top)).walk(["a"], ())
    said(walk)
    (top / "a").unlink()
    (top / "a").symlink_to("/etc/passwd")
    walk.take(f.WANTED, f.wanted([0]))
    with pytest.raises(OSError, match="symbolic links"):
        walk.next()
    walk.close()


def test_files_in_memory() -> None:
    walk = Given({"Dockerfile": b"FROM x", "Dockerfile.dockerignore": b"y", "other": b""}).walk(
        ["Dockerfile", "Dockerfile.dockerignore"], ()
    )
    assert list(said(walk)) == ["Dockerfile", "Dockerfile.dockerignore"]
    walk.take(f.WANTED, f.wanted([0]))
    assert contents(walk) == {0: b"FROM x"}
    walk.close()
