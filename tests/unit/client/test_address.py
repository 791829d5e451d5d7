from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from corten.client import address
from corten.client.errors import Unreachable
from corten.errors import Invalid


@pytest.mark.parametrize(
    ("url", "path", "host", "port", "base"),
    [
        ("unix:///run/x.sock", "/run/x.sock", "", 0, ""),
        ("tcp://h:99", "", "h", 99, ""),
        ("tcp://h", "", "h", 2375, ""),
        ("h:99", "", "h", 99, ""),
        ("tcp://[::1]:5/base/", "", "::1", 5, "/base"),
        ("tcp://[::1]", "", "::1", 2375, ""),
        ("http://h:1", "", "h", 1, ""),
    ],
)
def test_hosts_are_parsed(url: str, path: str, host: str, port: int, base: str) -> None:
    found = address.parse(url)
    assert (found.path, found.host, found.port, found.base) == (path, host, port, base)


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://u:p@h",
        "ssh://h:x",
        "ssh://@h",
        "ssh://-x@h",
        "ssh://h/a'b",
        "tcp://h:x",
        "npipe://x",
    ],
)
def test_other_hosts_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        address.parse(url)


@pytest.mark.parametrize(
    ("url", "words", "flags"),
    [
        ("ssh://h", ["--", "h"], ""),
        ("ssh://me@h:2222", ["-l", "me", "-p", "2222", "--", "h"], ""),
        ("ssh://[::1]:22/run/c.sock", ["-p", "22", "--", "::1"], "-H unix:///run/c.sock "),
    ],
)
def test_ssh_runs_a_command_there(url: str, words: list[str], flags: str) -> None:
    *before, command = address.parse(url).program
    assert before == ["ssh", "-T", "-o", "ConnectTimeout=30", *words]
    assert f"exec corten {flags}system dial-stdio" in command and f"exec docker {flags}system dial-stdio" in command


def test_the_flag_wins_over_our_variable_and_that_over_dockers() -> None:
    both = {"CORTEN_HOST": "c", "DOCKER_HOST": "d"}
    assert address.chosen("f", both) == "f"
    assert address.chosen("", both) == "c"
    assert address.chosen("", {"DOCKER_HOST": "d"}) == "d"
    assert address.chosen("", {}) == address.DEFAULT


def test_the_error_of_an_absent_daemon_says_how_to_start_it(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/none.sock"
    with pytest.raises(Unreachable, match=r"is it running\? start it with: corten daemon") as caught:
        address.connect(address.parse(url))
    assert caught.value.absent and url in str(caught.value)


def test_a_socket_without_a_listener_is_an_absent_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "closed.sock"))
    with pytest.raises(Unreachable) as caught:
        address.connect(address.parse(f"unix://{tmp_path}/closed.sock"))
    assert caught.value.absent


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
@pytest.mark.parametrize(("group", "advice"), [(0, "run this as root"), (1, "join the group 'daemon'")])
def test_a_socket_without_permission_says_who_may(tmp_path: Path, group: int, advice: str) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        os.chown(path, 0, group)
        path.chmod(0o660)
        reading, writing = os.pipe()
        # In a child, because the credentials cannot be had back without keeping privileges around.
        if (pid := os.fork()) == 0:
            try:
                tmp_path.chmod(0o755)
                os.chdir(tmp_path)  # those above are private, and other processes' as well
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                address.connect(address.parse(f"unix://{path.name}"))
            except Unreachable as error:
                os.write(writing, f"{error.absent} {error}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        message = os.read(reading, 4096).decode()
        os.close(reading)
        os.waitpid(pid, 0)
    assert message.startswith("False permission denied") and advice in message
    assert ("group" in message) == (group != 0)
