"""vm create: what is asked of the daemon, and the pull of an image that is not there."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from unit.cli.scripted import Daemon, Request, reply, stream

Corten = Callable[..., tuple[int, str, str]]
CREATE = "POST /vms/create"


def test_paths_in_an_image_are_as_they_are_given(daemon: Daemon, corten: Corten) -> None:
    daemon.on(CREATE, reply(201, {"Id": "m1", "Name": "web"}))
    words = (
        "--image",
        "system",
        "--image-size",
        "2g",
        "--kernel",
        "/boot/k",
        "--append",
        "x",
        "--disk",
        "image=a:1,size=1g",
    )
    assert corten("vm", "create", *words, "web") == (0, "web\n", "")
    assert daemon.request(CREATE).json() == {
        "Image": "system", "ImageSize": "2g", "Kernel": "/boot/k", "KernelArguments": "x",
        "Disks": [{"Image": "a:1", "Size": "1g"}],
    }  # fmt: skip


def test_paths_of_the_host_are_absolute(daemon: Daemon, corten: Corten) -> None:
    daemon.on(CREATE, reply(201, {"Id": "m1", "Name": "web"}))
    corten("vm", "create", "--kernel", "k", "--initrd", "/i", "web")
    assert daemon.request(CREATE).json() == {"Disks": None, "Kernel": os.path.abspath("k"), "Initrd": "/i"}


@pytest.mark.parametrize("message", ["No such image: host:5/system:latest", "network lab not found"])
def test_a_missing_image_is_pulled_once(daemon: Daemon, corten: Corten, message: str) -> None:
    created = []

    def create(_request: Request, connection: socket.socket) -> None:
        created.append(1)
        missing = reply(404, {"message": message})
        connection.sendall(missing if len(created) == 1 else reply(201, {"Id": "m1", "Name": "web"}))

    daemon.on(CREATE, create)
    daemon.on("POST /images/create", stream({"status": "Status: done"}))
    code, out, err = corten("vm", "create", "--image", "host:5/system", "web")
    if "image" in message:
        assert (code, out) == (0, "web\n") and len(created) == 2
        assert err == "Unable to find image 'host:5/system:latest' locally\nStatus: done\n"
    else:
        assert code == 1 and message in err and len(created) == 1
