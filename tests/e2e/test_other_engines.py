"""One runtime, other engines: dockerd and podman with corten-oci, and our engine with runc."""

from __future__ import annotations

import io
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, available, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import dockerd, layer, need
from e2e_parts.patience import until
from e2e_parts.terminal import Terminal

RUNTIME = Path(sys.executable).parent / "corten-oci"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """dockerd with corten-oci as a runtime, and an image."""
    if not RUNTIME.exists():
        pytest.skip("corten-oci is not installed")
    root = tmp_path_factory.mktemp("dockerd") / "root"
    with dockerd(root, "--add-runtime", f"corten={RUNTIME}") as client:
        client("import", "-", "box", input=io.BytesIO(layer({}, programs=True)).getvalue())
        yield client


FLAGS = ("--runtime", "corten", "--network", "none")


def test_dockerd_runs_containers_with_our_runtime(theirs: Client) -> None:
    done = theirs("run", "--rm", *FLAGS, "box", "/bin/sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.out, done.err) == ("out\n", "err\n")
    assert theirs("run", "--rm", "-i", *FLAGS, "box", "/bin/cat", input="piped").out == "piped"
    assert "no such file" in theirs("run", "--rm", *FLAGS, "box", "/no/such", code=127).err
    assert "seccomp" not in theirs("run", "--rm", *FLAGS, "-u", "5:6", "-m", "32m", "box", "/bin/id").err


def test_dockerd_drives_a_life_with_our_runtime(theirs: Client) -> None:
    theirs("run", "-d", "--name", "life", *FLAGS, "box", "/bin/sleep", "1000")
    assert theirs.out("exec", "life", "/bin/echo", "in it") == "in it"
    theirs("exec", "life", "/bin/sh", "-c", "exit 5", code=5)
    theirs("pause", "life")
    theirs("unpause", "life")
    theirs("update", "--pids-limit", "55", "life")
    assert "sleep" in theirs.out("top", "life")
    theirs("stop", "-t", "0", "life")
    assert theirs.out("inspect", "-f", "{{.State.ExitCode}}", "life") == "137"
    theirs("start", "life")
    theirs("rm", "-f", "life")


def test_dockerd_gives_a_terminal_with_our_runtime(theirs: Client, terminal: Callable[..., Terminal]) -> None:
    shell = terminal(theirs, "run", "--rm", "-it", *FLAGS, "box", "/bin/sh")
    shell.expect(r"# (\x1b\[J)?$")
    shell.type("echo $((6*7)); exit 3\r")
    shell.expect("42\r\n")
    assert shell.wait() == 3


@pytest.fixture
def short_path() -> Iterator[Path]:
    """podman's runroot may have fifty characters."""
    path = Path(tempfile.mkdtemp(prefix="ce-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_podman_runs_containers_with_our_runtime(short_path: Path) -> None:
    need("podman")
    if not RUNTIME.exists():
        pytest.skip("corten-oci is not installed")
    (short_path / "root.tar").write_bytes(layer({}, programs=True))
    roots = ["--root", str(short_path / "d"), "--runroot", str(short_path / "r"), "--tmpdir", str(short_path / "t")]
    flags = ["--cgroup-manager", "cgroupfs", "--events-backend", "none"]
    podman = ["podman", *roots, "--runtime", str(RUNTIME), *flags]

    def run(*words: str, code: int = 0, input: str | None = None) -> str:
        done = execute([*podman, *words], input, 60)
        assert done.code == code, (words, done)
        return done.out.strip()

    try:
        run("import", str(short_path / "root.tar"), "box")
        alone = ("--network", "none")
        assert run("run", "--rm", *alone, "box", "/bin/echo", "hi") == "hi"
        run("run", "--rm", *alone, "box", "/bin/sh", "-c", "exit 9", code=9)
        assert run("run", "--rm", "-i", *alone, "box", "/bin/cat", input="piped") == "piped"
        run("run", "-d", "--name", "life", *alone, "box", "/bin/sleep", "1000")
        assert run("exec", "life", "/bin/echo", "in it") == "in it"
        run("stop", "-t", "0", "life")
        run("rm", "life")
    finally:
        execute([*podman, "rm", "-fa", "-t", "0"], timeout=60)
        execute([*podman, "rmi", "-fa"], timeout=60)
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if f" {short_path}/" in line:
                execute(["umount", "-l", line.split()[1]])


@pytest.fixture(scope="module")
def with_runc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Our daemon with Debian's runc as a further runtime."""
    runc = shutil.which("runc") or "/usr/sbin/runc"
    if not Path(runc).exists():
        pytest.skip("no runc (Debian package runc)")
    if "docker" not in available():
        pytest.skip("no docker client (Debian package docker.io)")
    root = tmp_path_factory.mktemp("runc")
    marked = root / "marked"
    marked.write_text(f'#!/bin/sh\n[ "$1 $2" = "--mark two words" ] && shift 2 && exec {runc} "$@"\n')
    marked.chmod(0o755)
    runtimes = {"runc": {"path": "runc"}, "marked": {"path": str(marked), "runtimeArgs": ["--mark", "two words"]}}
    (root / "daemon.json").write_text(json.dumps({"runtimes": {**runtimes, "absent": {"path": "no-such-runtime"}}}))
    daemon = Cortend(root, "--config-file", str(root / "daemon.json"))
    daemon.start()
    client = Client("docker", available()["docker"], daemon.address, daemon.root)
    try:
        yield client
    finally:
        client.close()
        daemon.stop()


RUNC = ("--runtime", "runc")


def test_our_engine_runs_containers_with_runc(with_runc: Client) -> None:
    done = with_runc("run", "--rm", *RUNC, IMAGE, "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    assert (done.out, done.err) == ("out\n", "err\n")
    assert with_runc("run", "--rm", "-i", *RUNC, IMAGE, "cat", input="x" * 200_000).out == "x" * 200_000
    with_runc("run", "--rm", *RUNC, IMAGE, "no-such-program", code=127)
    assert with_runc.out("ps", "-aq") == ""
    assert "runc" in with_runc.out("info", "--format", "{{json .Runtimes}}")


def test_runtimes_with_arguments_and_from_path(with_runc: Client) -> None:
    assert with_runc.out("run", "--rm", "--runtime", "marked", IMAGE, "echo", "ran") == "ran"
    done = with_runc("run", "--rm", "--runtime", "absent", IMAGE, "true", code=125)
    assert "runtime absent: no-such-runtime is not in the daemon's PATH" in done.err
    known = json.loads(with_runc.out("info", "--format", "{{json .Runtimes}}"))
    assert Path(known["runc"]["path"]).is_absolute() and known["io.containerd.runc.v2"] == {"path": "corten-oci"}


def test_what_only_we_can_mount_with_runc(with_runc: Client) -> None:
    with_runc("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "ram")
    flags = [*RUNC, "-v", "ram:/data", "--mount", f"type=image,src={IMAGE},dst=/image"]
    with_runc("run", "-d", "--name", "one", *flags, IMAGE, "sh", "-c", "echo said > /data/f; exec sleep 1000")
    look = "until cat /data/f; do sleep 0.05; done; ls /image/bin/busybox; touch /image/x || echo refused"
    said = ["said", "/image/bin/busybox", "refused"]
    assert with_runc.out("run", "--rm", *flags, IMAGE, "sh", "-c", look).splitlines() == said
    with_runc("rm", "-f", "one")
    with_runc("volume", "rm", "ram")


def test_a_life_with_runc(with_runc: Client) -> None:
    flags = [*RUNC, "-p", "127.0.0.1::80"]
    with_runc("run", "-d", "--name", "life", *flags, IMAGE, "sh", "-c", "echo up; exec sleep 1000")
    assert with_runc.out("exec", "life", "echo", "in it") == "in it"
    with_runc("exec", "life", "sh", "-c", "exit 5", code=5)
    until(lambda: with_runc.out("logs", "life") == "up")
    with_runc("pause", "life")
    with_runc("unpause", "life")
    assert "sleep" in with_runc.out("top", "life")
    with_runc("stop", "-t", "0", "life")
    assert with_runc.out("inspect", "-f", "{{.State.ExitCode}}", "life") == "137"
    with_runc("start", "life")
    with_runc("rm", "-f", "life")


def test_terminals_with_runc(with_runc: Client, terminal: Callable[..., Terminal]) -> None:
    shell = terminal(with_runc, "run", "--rm", "-it", *RUNC, IMAGE, "sh", size=(31, 99))
    shell.expect(r"# (\x1b\[J)?$")
    shell.type("until stty size | grep '31 99'; do sleep 0.05; done; exit 4\r")
    shell.expect("31 99\r\n")
    assert shell.wait() == 4
    with_runc("run", "-d", "--name", "target", *RUNC, IMAGE, "sleep", "1000")
    inside = terminal(with_runc, "exec", "-it", "target", "sh")
    inside.expect(r"# (\x1b\[J)?$")
    inside.type("tty; exit 2\r")
    inside.expect("/dev/pts/")
    assert inside.wait() == 2
    with_runc("rm", "-f", "target")
