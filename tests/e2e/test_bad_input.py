"""What cannot work: one clear line, the right status or exit code, and nothing left (which is checked after each)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import CORTEND, IMAGE, Cortend

UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run", "Bad Reference!", "true"], 125, "invalid reference format"),
        (["run", "--pull", "never", "nosuch/image", "true"], 125, "No such image"),
        (["run", "--name", "bad/name", IMAGE, "true"], 125, "Invalid container name"),
        (["run", "--no-such-flag", IMAGE], 125, "unknown flag"),
        (["run", "-v", "relative/path:/x", IMAGE, "true"], 125, "relative"),
        (["run", "-v", "/tmp:relative", IMAGE, "true"], 125, "absolute"),
        (["run", "-v", "/tmp:/", IMAGE, "true"], 125, "destination"),
        (["run", "-v", "/proc/nope/x:/y", IMAGE, "true"], None, "path '/proc/nope/x': no such file or directory"),
        (["run", "-v", "/etc/passwd/x:/y", IMAGE, "true"], None, "path '/etc/passwd/x': not a directory"),
        (["run", "-p", "99999:80", IMAGE, "true"], 125, "99999"),
        (["run", "--network", "nosuch", IMAGE, "true"], 125, "nosuch"),
        (["run", "--cap-add", "NOSUCH", IMAGE, "true"], 125, "NOSUCH"),
        (["run", "--security-opt", "nosuch=1", IMAGE, "true"], 125, "nosuch"),
        (["run", "--ulimit", "nosuch=1", IMAGE, "true"], 125, "nosuch"),
        (["create", "--restart", "sometimes", IMAGE, "true"], 1, "sometimes"),
        (["run", "--log-driver", "nosuch", IMAGE, "true"], 125, "nosuch"),
        (["run", "--runtime", "nosuch", IMAGE, "true"], 125, "nosuch"),
        (["run", "--stop-signal", "NOSUCH", IMAGE, "true"], 125, "NOSUCH"),
        (["run", "--sysctl", "kernel.panic=1", IMAGE, "true"], 125, "kernel.panic"),
        (["run", "--ipc", "nosuch", IMAGE, "true"], 125, "nosuch"),
        (["run", "--pid", "container:nosuch", IMAGE, "true"], 125, "nosuch"),
        (["run", "--add-host", "nonsense", IMAGE, "true"], 125, "nonsense"),
        (["run", "--dns", "nonsense", IMAGE, "true"], 125, "nonsense"),
        (["run", "-w", "relative", IMAGE, "true"], 125, "relative"),
        (["run", "--tmpfs", "/x:nosuchoption", IMAGE, "true"], None, "nosuchoption"),
        (["run", "--volumes-from", "nosuch", IMAGE, "true"], 125, "nosuch"),
        (["start", "nosuch"], 1, "nosuch"),
        (["stop", "nosuch"], 1, "nosuch"),
        (["exec", "nosuch", "true"], 1, "nosuch"),
        (["nosuchcommand"], 1, "nosuchcommand"),
    ],
)
def test_command_lines(cli: Client, words: list[str], code: int | None, says: str) -> None:
    done = cli(*words[:1], *(["--rm"] if words[0] == "run" else []), *words[1:], code=code)
    assert says.lower() in done.err.lower() and done.code != 0
    assert "Traceback" not in done.err and "b'" not in done.err and "openat2" not in done.err and done.out == ""


def test_a_name_in_use(cli: Client) -> None:
    id = cli.out("create", "--name", "taken", IMAGE, "true")
    done = cli("run", "--name", "taken", IMAGE, "true", code=125)
    assert 'name "/taken" is already in use' in done.err and id in done.err


def test_no_daemon(corten: Client, tmp_path: Path) -> None:
    absent = Client("corten", corten.command, f"unix://{tmp_path}/nosuch", tmp_path)
    for words in (["ps"], ["run", IMAGE, "true"]):
        done = absent(*words, code=None)
        assert done.code in (1, 125) and str(tmp_path / "nosuch") in done.err and "Traceback" not in done.err


def test_no_permission_on_the_socket(corten: Client, daemon: Cortend) -> None:
    assert oct(daemon.socket.stat().st_mode & 0o777) == "0o660"
    for parent in daemon.socket.parents:
        if not parent.stat().st_mode & 0o001:
            pytest.skip(f"{parent} is closed to others: the socket cannot even be seen")
    done = execute(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *corten.command, "ps"], env=corten.env
    )
    assert done.code == 1 and "permission denied" in done.err.lower()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/containers/create", b"{bad", 400),
        ("POST", "/containers/create", b"", 400),
        ("POST", "/containers/create", b"[]", 400),
        ("POST", "/containers/create", {"Image": 7}, 400),
        ("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Memory": "much"}}, 400),
        ("POST", "/containers/create", {"Image": "nosuch:x"}, 404),
        ("POST", "/containers/create?name=..", {"Image": IMAGE}, 400),
        ("POST", "/containers/create", {}, 400),
        ("POST", "/containers/nosuch/start", None, 404),
        ("POST", "/containers/nosuch/attach", None, 404),
        ("GET", "/containers/nosuch/json", None, 404),
        ("GET", "/containers/nosuch/logs?stdout=1", None, 404),
        ("GET", "/containers/json?filters=nonsense", None, 400),
        ("GET", "/images/nosuch/json", None, 404),
        ("DELETE", "/images/nosuch", None, 404),
        ("GET", "/nosuch", None, 404),
        ("PUT", "/containers/json", None, 405),
        ("GET", "/exec/nosuch/json", None, 404),
        ("POST", "/images/create?fromImage=", None, 400),
        ("GET", "/events?since=nonsense", None, 400),
    ],
)
def test_requests(daemon: Cortend, method: str, path: str, body: Any, status: int) -> None:
    headers = {"Content_Type": "application/json"} if isinstance(body, bytes) else {}
    got, answer = daemon.ask(method, path, body, **headers)
    assert got == status or (status == 405 and got == 404), answer
    assert isinstance(answer, dict) and list(answer) == ["message"] and "\n" not in answer["message"].strip()


def test_an_oversize_body(daemon: Cortend) -> None:
    status, answer = daemon.ask("POST", "/containers/create", {"Image": IMAGE, "Env": ["x" * 100] * 200_000})
    assert status in (400, 413), answer
    assert daemon.get("/_ping") == "OK"


def test_a_broken_request_affects_no_other(daemon: Cortend) -> None:
    head = b"POST /containers/create HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"
    for junk in (b"\r\n\r\n", b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", head):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(daemon.socket))
            sock.sendall(junk)
    assert daemon.get("/_ping") == "OK"


def test_no_space_left(docker: Client) -> None:
    """A full file system is the program's error, not the engine's."""
    done = docker(
        "run",
        "--rm",
        "--tmpfs",
        "/small:size=64k",
        IMAGE,
        "dd",
        "if=/dev/zero",
        "of=/small/x",
        "bs=1k",
        "count=999",
        code=1,
    )
    assert "No space left on device" in done.err


def test_a_second_daemon_on_the_same_roots(daemon: Cortend) -> None:
    done = execute(daemon.command, timeout=20)
    assert done.code == 1 and len(done.err.strip().splitlines()) == 1
    assert str(daemon.data) in done.err or str(daemon.exec) in done.err
    assert daemon.get("/_ping") == "OK"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--no-such-flag"], "no-such-flag"),
        (["--config-file", "/no/such/file"], "/no/such/file"),
        (["--log-driver", "nosuch"], "nosuch"),
        (["--storage-driver", "nosuch"], "nosuch"),
        (["--userns-remap", "nosuchuser"], "nosuchuser"),
        (["--default-runtime", "nosuch"], "nosuch"),
        (["-H", "nonsense://x"], "nonsense"),
        (["--bip", "nonsense"], "nonsense"),
    ],
)
def test_the_daemons_flags(tmp_path: Path, flags: list[str], says: str) -> None:
    bridge = "cebad0" if "--bip" in flags else "none"
    roots = ["--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "r"), "--bridge", bridge]
    listen = [] if "-H" in flags else ["-H", f"unix://{tmp_path}/s"]
    done = execute([str(CORTEND), *roots, *listen, *flags], timeout=20)
    assert done.code == 1 and says in done.err and "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) <= 2


def test_not_root() -> None:
    done = execute([*UNPRIVILEGED, str(CORTEND), "--data-root", "/nosuch/d", "--exec-root", "/nosuch/r"])
    if "Permission denied" in done.err and "cortend" not in done.err.split(":")[0]:
        pytest.skip("this tree is closed to other users")
    assert done.code == 1 and "must be started as root" in done.err and "Traceback" not in done.err


def test_a_machine_without_cgroups(tmp_path: Path) -> None:
    """Said in one line (seen by hiding /sys/fs/cgroup from it)."""
    script = 'umount -R /sys/fs/cgroup 2>/dev/null; mount -t tmpfs none /sys/fs/cgroup; exec "$@"'
    roots = ["--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "r")]
    command = [str(CORTEND), *roots, "-H", f"unix://{tmp_path}/s"]
    done = execute(["unshare", "-m", "sh", "-c", script, "sh", *command, "--bridge", "none"], timeout=20)
    assert done.code == 1 and "control groups" in done.err
