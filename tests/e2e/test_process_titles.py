"""What `ps` shows of the engine's processes: what each is, and for which container."""

from __future__ import annotations

import subprocess

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend


def shown(daemon: Cortend) -> dict[int, tuple[str, str]]:
    """(command, arguments) of all processes that the daemon's launcher forked, and of the launcher."""
    done = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=,ppid=,comm:16=,args="], capture_output=True, text=True, check=True
    )
    rows = [line.split(None, 3) for line in done.stdout.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows}
    found = {}
    for pid, _, command, *arguments in rows:
        ancestor = int(pid)
        while ancestor not in (0, daemon.pid):
            ancestor = parents.get(ancestor, 0)
        if ancestor == daemon.pid and int(pid) != daemon.pid:
            found[int(pid)] = (command, arguments[0] if arguments else "")
    return found


def test_each_says_what_it_is_and_for_which_container(daemon: Cortend, corten: Client) -> None:
    network = f"{daemon.name}-titles"
    corten("network", "create", network)
    try:
        id = corten("run", "-d", "--network", network, "-p", "80", IMAGE, "sleep", "1000").out.strip()
        found = set(shown(daemon).values())
    finally:
        corten("rm", "-f", id)
        corten("network", "rm", network)
    assert {
        ("corten:launcher", "corten: launcher"),
        ("corten:netns", "corten: network namespaces"),
        ("corten:names", "corten: name server"),
        ("corten:forward", "corten: port forwarder"),
        ("corten:super", f"corten: supervisor for {id}"),
        ("sleep", "sleep 1000"),
    } <= found, found
    assert not [arguments for _, arguments in found if "-I -S" in arguments or "import" in arguments]


def test_the_environment_behind_the_arguments_stays(daemon: Cortend, corten: Client) -> None:
    id = corten("run", "-d", IMAGE, "sleep", "1000").out.strip()
    try:
        [pid] = [pid for pid, (_, arguments) in shown(daemon).items() if id in arguments]
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert b"LC_ALL=C.UTF-8" in file.read().split(b"\0")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            assert file.read().rstrip(b"\0") == f"corten: supervisor for {id}".encode()
    finally:
        corten("rm", "-f", id)
