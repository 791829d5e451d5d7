"""Block devices of the host in guests, by the docker client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE
from e2e_parts.loop_devices import beginning, loop_device

NONE = ("--network", "none")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    with loop_device(tmp_path / "backing") as made:
        yield made


def test_a_block_device_of_the_host(docker: Client, device: str) -> None:
    """What is written is on it when the container has ended, also without fsync; what is for reading stays as it is."""
    script = """
        head -c 4 /dev/data; stat -c " %F" /dev/data
        printf guest | dd of=/dev/data conv=notrunc 2>/dev/null
        ls /dev | grep -c vd || true
    """
    said = docker.out("run", "--rm", *NONE, "--device", f"{device}:/dev/data", IMAGE, "sh", "-c", script)
    assert said.split("\n") == ["host block special file", "0"]
    assert beginning(device).startswith(b"guest\0")
    refused = "(echo x > /dev/data) 2>/dev/null || echo refused; head -c 5 /dev/data"
    said = docker.out("run", "--rm", *NONE, "--device", f"{device}:/dev/data:r", IMAGE, "sh", "-c", refused)
    assert said == "refused\nguest"
    assert beginning(device).startswith(b"guest\0")


def test_others_are_refused(docker: Client) -> None:
    for path in ("/dev/null", "/dev"):
        assert (
            "devices of the host that are no block devices"
            in docker("create", *NONE, "--device", path, IMAGE, "true", code=1).err
        )
    docker("create", "--name", "gone", *NONE, "--device", "/dev/there-is-none", IMAGE, "true")
    assert "no such file or directory" in docker("start", "gone", code=1).err
