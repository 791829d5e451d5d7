"""Files that the command line writes: whole or not at all, and nothing takes the place of a device, a pipe or a link.

As root `--iidfile /dev/null` would otherwise put a file where every other program of the machine has its null device.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from corten.cli import archives, buildoutputs, buildreport
from corten.cli.commands import vm_cp
from corten.cli.session import Session
from corten.cli.whole import Whole
from corten.client import machines
from corten.spec import build_frames as f

DATA = b"what is written"


class Answer:
    def parts(self) -> Iterator[bytes]:
        yield DATA

    def close(self) -> None:
        pass


class Client:
    client = None


def report(path: str) -> None:
    buildreport.write("iidfile", path, DATA.decode())


def output(path: str) -> None:
    with closing(buildoutputs.File(path)) as file:
        file.take(f.DATA, DATA)
        file.end()


def save(path: str) -> None:
    archives.save_to(path, cast(Any, Answer))


def from_machine(path: str) -> None:
    vm_cp._out(cast(Session, Client), "machine", "/etc/hostname", path)


@pytest.fixture(params=[report, output, save, from_machine])
def write(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setattr(machines, "file", lambda *_: Answer())
    return cast("Callable[[str], None]", request.param)


def test_a_new_file_and_an_old_one(write: Callable[[str], None], tmp_path: Path) -> None:
    write(str(tmp_path / "new"))
    (tmp_path / "old").write_text("much more than what comes")
    write(str(tmp_path / "old"))
    assert (tmp_path / "new").read_bytes() == (tmp_path / "old").read_bytes() == DATA
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


def test_a_pipe_stays_one(write: Callable[[str], None], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(str(pipe))
        assert os.read(reader, 100) == DATA
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(os.lstat(pipe).st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_link_stays_one(write: Callable[[str], None], tmp_path: Path) -> None:
    """/dev/stdout is one, and leads to a regular file where the output of the command goes to one."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("much more than what comes")
    link.symlink_to(target)
    write(str(link))
    assert link.is_symlink() and target.read_bytes() == DATA
    assert sorted(os.listdir(tmp_path)) == ["link", "target"]


def test_what_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(DATA)
    with closing(Whole(str(old))) as file:
        os.write(file.fd, b"half")
    assert old.read_bytes() == DATA and os.listdir(tmp_path) == ["old"]


def test_a_file_that_is_there_is_not_written_to(write: Callable[[str], None], tmp_path: Path) -> None:
    """In a directory that others write to too, the name of what is not whole yet may be taken."""
    other = tmp_path / f"new.{os.getpid()}.partial"
    other.write_text("other")
    with pytest.raises(Exception, match="exists"):
        write(str(tmp_path / "new"))
    assert other.read_text() == "other" and os.listdir(tmp_path) == [other.name]
