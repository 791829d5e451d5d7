"""What the client reads of directories for a build, a copy or a watch, while their owner exchanges parts of them for
links: without the socket, from a client that is root.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.cli import context, packing
from corten.cli.compose import watching
from corten.client.walks import Directory
from corten.compose.model.develop import Trigger
from corten.compose.model.service import Service
from corten.spec import build_frames as f
from corten.spec.dockerfile.ignore import Patterns
from hostile.test_copy_races import Outside, exchanging, lay, outside, place

__all__ = ["outside", "place"]
TRIES = 2000


def walked(top: Path) -> bytes:
    """Names of a build's context, and what is in its files."""
    walk, said = Directory(str(top)).walk((), ()), list[bytes]()
    while (frame := walk.next()) is not None and frame[0] != f.END:
        said.append(frame[1])
    walk._wanted.extend(number for number, path in enumerate(walk._paths) if path.endswith(("file", "inner", "alias")))
    while walk._wanted or walk._file >= 0:
        try:
            said += [frame[1] for frame in [walk.next()] if frame is not None]
        except OSError:  # which ends a build; here the others are tried as well
            continue
    walk.close()
    return b"".join(said)


def copied(top: Path) -> bytes:
    return b"".join(bytes(piece) for piece in packing.pack(str(top), "x", False))


def built(top: Path) -> bytes:
    return b"".join(bytes(piece) for piece in context.pack(str(top), Patterns(["nothing"]), {}))


def watched(top: Path) -> bytes:
    each = watching._Watched(Service(name="s"), Trigger(path=str(top), target="/app"), Patterns([]), None, "", None)
    file = io.BytesIO()
    watching._pack(each, [f"{top}/{name}" for name in ("file", "dir/inner", "dir/deep/file")], file)
    return file.getvalue()


@pytest.mark.parametrize("read", [walked, copied, built, watched])
def test_nothing_is_read_through_a_link(place: Path, outside: Outside, read: Callable[[Path], bytes]) -> None:
    top = place / "top"
    (top / "dir/deep").mkdir(parents=True)
    for name in ("file", "dir/inner", "dir/deep/file"):
        (top / name).write_text("own")
    (outside.path / "dir/deep").mkdir()
    (outside.path / "dir/deep/file").write_text("secret")
    lay(top, outside)
    descriptors = len(os.listdir("/proc/self/fd"))
    with exchanging(top):
        found = [read(top) for _ in range(TRIES)]
    assert not [said for said in found if b"secret" in said or b"alias" in said]
    assert [said for said in found if b"own" in said], "there is something to be read"
    assert len(os.listdir("/proc/self/fd")) == descriptors
    if read is not walked:
        for said in found[:100]:
            with tarfile.open(fileobj=io.BytesIO(said)) as archive:
                archive.getmembers()


def test_a_file_that_becomes_shorter_leaves_the_archive_whole(tmp_path: Path) -> None:
    """It is filled up: what follows it stays in its place."""
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(name.encode() * 100_000)
    pieces = packing.pack(str(tmp_path), "x", False)
    said = [bytes(next(pieces))]
    os.truncate(tmp_path / "first", 10)
    said += [bytes(piece) for piece in pieces]
    with tarfile.open(fileobj=io.BytesIO(b"".join(said))) as archive:
        assert [member.name for member in archive] == ["x", "x/first", "x/second"]
