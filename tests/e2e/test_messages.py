"""What a user reads when something cannot be done: the object and the reason, no kernel call, Docker's exit codes."""

from __future__ import annotations

import re

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend

CALL = re.compile(r"\w+\(-?\d+, |bytes\}|Errno")  # openat2(13, 'etc/passwd', {24 bytes}, 24)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["-w", "/etc/passwd"], 126, 'chdir to cwd ("/etc/passwd") set in config.json failed: not a directory'),
        (["-w", "/nosuch"], 126, 'chdir to cwd ("/nosuch") set in config.json failed: no such file or directory'),
        (["-u", "99999999999"], 126, "uids and gids must be in range 0-2147483647"),
        (["-u", "nosuch"], 126, "unable to find user nosuch: no matching entries in passwd file"),
    ],
)
def test_an_exec_that_cannot_be(cli: Client, words: list[str], code: int, text: str) -> None:
    box = cli("run", "-d", IMAGE, "sleep", "1000").out.strip()
    try:
        done = cli("exec", *words, box, "true", code=None)
        assert done.code == code and text in done.out + done.err, done
        assert "become user" not in done.out + done.err
    finally:
        cli("rm", "-f", box)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-v", "/tmp:/etc/passwd/x"], "mounts: not a directory: etc/passwd/x"),
        (["--tmpfs", "/etc/passwd"], "mounts: not a directory: etc/passwd"),
        (["-v", "/etc/passwd:/etc"], "mounts: cannot mount '/etc/passwd' on '/etc'"),
        (["--device", "/dev/null:/etc/passwd/x"], "devices: not a directory: etc/passwd"),
        (["--sysctl", "net.nosuch=1"], "sysctls: cannot set net.nosuch=1: this kernel has no such parameter"),
    ],
)
def test_a_start_that_fails_names_no_system_call(cli: Client, words: list[str], text: str) -> None:
    done = cli("run", "--rm", *words, IMAGE, "true", code=None)
    assert done.code in (125, 126, 127) and text in done.err, done
    assert not CALL.search(done.err) and ".." not in done.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--tmpfs", "/t:size=abc"), "file systems: /t: cannot mount tmpfs: bad value for 'size' (options size=abc)"),
        (("--tmpfs", "/t:uid=abc"), "file systems: /t: cannot mount tmpfs: bad value for 'uid' (options uid=abc)"),
        (
            ("--sysctl", "net.ipv4.ip_local_port_range=abc"),
            "sysctls: cannot set net.ipv4.ip_local_port_range=abc: invalid argument",
        ),
        (("--sysctl", "net.ipv4.nosuch=1"), "sysctls: cannot set net.ipv4.nosuch=1: this kernel has no such parameter"),
    ],
)
def test_what_the_kernel_refuses(docker: Client, daemon: Cortend, flags: tuple[str, ...], said: str) -> None:
    """An error of the start, 500 as with dockerd 20.10, that names the option."""
    id = docker.out("create", "--network", "none", *flags, IMAGE, "true")
    assert daemon.ask("POST", f"/containers/{id}/start") == (500, {"message": said})
    assert docker.out("inspect", "-f", "{{.State.Error}}", id) == said
