"""kill -9 of the daemon while a volume is filled from an image: what fills it ends, and what is half done is erased."""

from __future__ import annotations

import http.client
import os
import threading
from contextlib import suppress

import pytest

from e2e_parts import census
from fault_parts.fixtures import lacking
from fault_parts.fragile import Fragile, alive, name, until
from fault_parts.images import busybox, load
from image_parts import tars
from leases import leased

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "-")
FILES = 20_000


def test_what_fills_it_ends_with_the_daemon(daemon: Fragile) -> None:
    entries = [*busybox(), tars.directory("data"), *(tars.file(f"data/{number}", b"") for number in range(FILES))]
    assert load(daemon, "filled", entries, {"Volumes": {"/data": {}}, "Cmd": ["true"]}) == ""
    volumes = daemon.data / "volumes"

    def create() -> None:
        with suppress(OSError, http.client.HTTPException):
            daemon.ask("POST", "/containers/create", {"Image": "filled"})

    (source,) = (daemon.data / "snapshots").glob("*/fs/data")
    creating = threading.Thread(target=create)
    with leased(source / os.listdir(source)[0]):  # which is copied last: it is not done before this process looks
        creating.start()
        moving = until(lambda: next(volumes.glob(".moving/*/_data"), None) or False, "a volume that is filled")
        until(lambda: os.listdir(moving), "a first file")
        helpers = [pid for pid in census._children(daemon.launcher) if name(pid) == "corten:launcher"]
        daemon.kill()
        creating.join()
        until(lambda: not any(map(alive, helpers)), "the end of what fills it")
    assert len(os.listdir(moving)) < FILES, "it was in the middle of it"
    daemon.start()
    until(lambda: not os.listdir(volumes / ".moving") and not os.listdir(volumes / ".removed"), "that it is erased")
    assert "cannot remove" not in daemon.log.read_text()
    status, answer = daemon.ask("POST", "/containers/create", {"Image": "filled"})
    assert status == 201, answer
    (mount,) = daemon.inspect(answer["Id"])["Mounts"]
    assert len(os.listdir(mount["Source"])) == FILES
    assert (daemon.exec / "launcher.log").read_text() == ""
