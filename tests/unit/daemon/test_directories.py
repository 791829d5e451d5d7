"""What the daemon's directories are, whatever they were."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.daemon import directories
from corten.daemon.config import Config
from corten.kernel import paths


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(directories.UMASK)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def config(top: Path) -> Config:
    return Config(data_root=top / "lib" / "corten", exec_root=top / "run" / "corten")


def test_new_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = config(tmp_path)
    directories.make(wanted)
    assert mode(wanted.data_root) == mode(wanted.data_root / "containers") == 0o700
    assert mode(wanted.exec_root) == 0o711 and mode(wanted.exec_root / "containers") == 0o700
    assert mode(wanted.exec_root.parent) == 0o755  # clients come through
    assert not [record for record in caplog.records if "had the mode" in record.message]


def test_open_ones_are_closed_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = config(tmp_path)
    for name, was in (("", 0o711), ("volumes", 0o755), ("snapshots", 0o711), ("snapshots/0", 0o711)):
        (wanted.data_root / name).mkdir(parents=True)
        (wanted.data_root / name).chmod(was)
    (wanted.data_root / "corten.db").touch()
    (wanted.data_root / "corten.db").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        directories.make(wanted)
    assert mode(wanted.data_root) == mode(wanted.data_root / "volumes") == mode(wanted.data_root / "snapshots") == 0o700
    assert mode(wanted.data_root / "corten.db") == 0o600
    assert mode(wanted.data_root / "snapshots/0") == 0o711  # no tree is walked: no other user gets there
    said = [record.message for record in caplog.records if "had the mode" in record.message]
    assert len(said) == 4 and f"{wanted.data_root}/corten.db had the mode 644: 600 now" in said
    caplog.clear()
    directories.make(wanted)
    assert not [record for record in caplog.records if "had the mode" in record.message]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_data_root_of_another_user_becomes_root_s(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = config(tmp_path)
    wanted.data_root.mkdir(parents=True)
    os.chown(wanted.data_root, 1000, 1000)
    directories.make(wanted)
    assert wanted.data_root.stat().st_uid == 0
    assert f"{wanted.data_root} belonged to user 1000" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("owner", "group", "bits", "changeable"),
    [
        (0, 0, 0o755, False),
        (0, 0, 0o1777, False),  # /tmp: another's entries stay
        (0, 0, 0o775, False),  # the group is root's
        (0, 50, 0o2775, True),
        (0, 0, 0o777, True),
        (1000, 0, 0o755, True),
        (1000, 0, 0o1777, True),  # its owner may remove what is in it
    ],
)
def test_who_could_replace_the_data_root(tmp_path: Path, owner: int, group: int, bits: int, changeable: bool) -> None:
    (tmp_path / "above" / "corten").mkdir(parents=True)
    os.chown(tmp_path / "above", owner, group)
    (tmp_path / "above").chmod(bits)
    found = [line for line in directories.exposed(tmp_path / "above" / "corten") if f"{tmp_path}/above" in line]
    assert len(found) == changeable


def test_what_is_public_is_so_whatever_the_umask(tmp_path: Path) -> None:
    paths.make_public(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o755
    (tmp_path / "a").chmod(0o700)
    paths.make_public(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == 0o700  # it was there
