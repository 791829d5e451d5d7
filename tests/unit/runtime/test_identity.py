"""USER texts against hostile and odd passwd files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.runtime.identity import UnknownUser, resolve
from leases import leased

PASSWD = """root:x:0:0:root:/root:/bin/sh
bob:x:1000:1000::/home/bob:/bin/sh
1000:x:0:0:an old trick:/root:/bin/sh
broken:x:abc:0::/:
huge:x:4294967296:0::/:
short
"""
GROUP = "root:x:0:\nbob:x:1000:\nwheel:x:10:root,bob\ndocker:x:999:bob\n5:x:0:bob\n"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("text", "uid", "gid", "groups"),
    [
        ("", 0, 0, (0, 10)),
        ("bob", 1000, 1000, (1000, 10, 999, 0)),
        ("1000", 1000, 1000, (1000, 10, 999, 0)),  # the number, not the user of that name (CVE-2016-3697)
        ("1234", 1234, 0, (0,)),
        ("bob:wheel", 1000, 10, (10,)),
        ("7:8", 7, 8, (8,)),
        (":8", 0, 8, (8,)),
    ],
)
def test_docker_s_user_texts(root: int, text: str, uid: int, gid: int, groups: tuple[int, ...]) -> None:
    found = resolve(root, text)
    assert (found.uid, found.gid, found.groups) == (uid, gid, groups)


@pytest.mark.parametrize("text", ["nobody", "bob:nogroup", "2147483648", "4294967296", "-1", "0x0", "+1", " 1", "huge"])
def test_what_is_no_user_is_refused(root: int, text: str) -> None:
    with pytest.raises(UnknownUser):
        resolve(root, text)


def test_a_lease_on_passwd_keeps_no_program_from_being_executed(root: int, tmp_path: Path) -> None:
    with leased(tmp_path / "etc/passwd"), leased(tmp_path / "etc/group"):
        assert resolve(root, "")[:2] == (0, 0) and resolve(root, "5:6")[:2] == (5, 6)
        with pytest.raises(UnknownUser):
            resolve(root, "bob")
    assert resolve(root, "bob").uid == 1000


@given(st.integers())
def test_a_number_is_that_number_or_refused(number: int) -> None:
    fd = os.open("/var/empty" if os.path.isdir("/var/empty") else "/proc/self", os.O_PATH | os.O_DIRECTORY)
    try:
        assert resolve(fd, str(number)).uid == number
    except UnknownUser:
        assert not 0 <= number < 2**31
    finally:
        os.close(fd)


def test_added_groups_come_on_top_and_the_primary_group_is_always_there(root: int) -> None:
    assert resolve(root, "bob", ("docker", "77")).groups == (1000, 10, 999, 0, 77)


@pytest.mark.parametrize("kind", ["fifo", "directory", "huge", "device link"])
def test_a_hostile_passwd_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    (tmp_path / "etc").mkdir()
    passwd = tmp_path / "etc/passwd"
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "directory":
        passwd.mkdir()
    elif kind == "huge":
        with passwd.open("wb") as file:
            file.truncate(1 << 30)
    else:
        passwd.symlink_to("/dev/zero")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        if kind == "device link":  # leads nowhere inside this root
            assert resolve(fd, "").uid == 0
        else:
            with pytest.raises(OSError):
                resolve(fd, "")
    finally:
        os.close(fd)


def test_a_link_inside_the_root_works(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "real").write_text("amy:x:7:7::/:\n")
    (tmp_path / "etc/passwd").symlink_to("/real")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert resolve(fd, "amy").uid == 7
    finally:
        os.close(fd)
