"""Files of the engine's own, whose content a guest is sent: a user may have bound others in their place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from corten.errors import Invalid
from corten.supervisor.guest_network import GuestNetwork
from corten.vm.planning import File


def _refuses(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("nothing is asked for that")


def _sent(source: Path) -> list[dict[str, Any]]:
    return GuestNetwork(_refuses, _refuses, _refuses).files([File(str(source), "/run/corten/files/0", True)])


@pytest.fixture(params=["pipe", "directory", "device", "large"])
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    match request.param:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case _:
            path.write_bytes(bytes((1 << 20) + 1))
    return path


@pytest.mark.timeout(60)
def test_what_has_no_content_to_be_sent(strange: Path) -> None:
    """Said at once: a supervisor that waits for a pipe's other end is asked for nothing, and does not end."""
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(Invalid, match=r"no file whose content|too large"):
        _sent(strange)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 me")
    (tmp_path / "hosts").chmod(0o640)
    (tmp_path / "link").symlink_to("hosts")
    assert _sent(tmp_path / "link") == [
        {"path": "/run/corten/files/0", "content": b"127.0.0.1 me".hex(), "mode": 0o640}
    ]
