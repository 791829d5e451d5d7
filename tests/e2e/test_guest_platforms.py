"""Images for another machine in guests of that, which are emulated."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import foreign
from e2e_parts import clients
from e2e_parts.clients import Client
from e2e_parts.cortend import Cortend, short_root
from e2e_parts.patience import LIMIT, PATIENCE, until

pytestmark = pytest.mark.timeout(LIMIT)

_PARTS = Path(sys.prefix) / "share/corten/kernel-arm64"
_PLATFORM = ("--platform", "linux/arm64")
_GUEST = (*_PLATFORM, "--isolation", "vm")
_BOOT = 300.0  # seconds: the first of a daemon's guests boots, and thirteen of them are the processor's
_SERVER = """
import socket
server = socket.create_server(("", 80))
print("ready", flush=True)
while True:
    server.accept()[0].sendall(b"hi")
"""


@pytest.fixture
def parts() -> Path:
    """Kernel and Python of arm64."""
    if not shutil.which("qemu-system-aarch64"):
        pytest.skip("needs qemu-system-aarch64 (Debian package qemu-system-arm)")
    if not (_PARTS / "usr/bin").is_dir():
        pytest.skip(f"needs a kernel for arm64 (scripts/guest-kernel {_PARTS} arm64)")
    return _PARTS


@pytest.fixture
def own() -> Iterator[Client]:
    """Docker's client of a daemon that has no guests yet, and keeps what they begin from."""
    known = clients.available()
    if "docker" not in known:
        pytest.skip("no docker client (Debian package docker.io)")
    with short_root() as root, Cortend(root) as daemon:
        daemon.start()
        client = Client("docker", known["docker"], daemon.address, root)
        yield client
        client.close()
        daemon.remove_everything()


def _python(client: Client, parts: Path, root: Path) -> str:
    """An image with the parts' Python."""
    tar, name = root / "python.tar", f"python{sys.version_info.major}.{sys.version_info.minor}"
    command = [
        "tar",
        "-C",
        str(parts),
        "-cf",
        str(tar),
        f"usr/bin/{name}",
        f"usr/lib/{name}",
        "lib/ld-linux-aarch64.so.1",
    ]
    subprocess.run([*command, "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu"], check=True)
    entry = json.dumps([f"/usr/bin/{name}", "-ISBc"])
    client("import", *_PLATFORM, "-c", f"ENTRYPOINT {entry}", str(tar), "arm64:python")
    return "arm64:python"


def test_an_image_for_arm64(parts: Path, own: Client, tmp_path: Path) -> None:
    """Run, exit code, filter of system calls, exec, logs, a published port, binds and volumes, more and less memory,
    statistics, pause, kill, files afterwards: as for this machine's own guests. All begin from the template of those
    with a limit of memory: one boot is enough."""
    hello = tmp_path / "hello.tar"
    hello.write_bytes(foreign.layer("arm64"))
    own("import", *_PLATFORM, "-c", 'CMD ["/hello"]', str(hello), "arm64:hello")
    done = own("run", "--rm", "-m", "256m", *_GUEST, "arm64:hello", timeout=_BOOT)
    assert (done.out, done.err) == ("arm64\n", "")
    image = _python(own, parts, tmp_path)
    (tmp_path / "shared").mkdir()
    shares = ("-v", f"{tmp_path}/shared:/bind", "-v", "volume:/volume", "-m", "256m")
    own("run", "-d", "--name", "arm", "-p", "127.0.0.1::80", *shares, *_GUEST, image, _SERVER)
    until(lambda: own.out("logs", "arm") == "ready")
    program = own.out("inspect", "-f", "{{index .Config.Entrypoint 0}}", "arm")
    script = "import os; print(os.uname().machine, open('/proc/self/status').read()); raise SystemExit(3)"
    looked = own("exec", "arm", program, "-ISBc", script, code=3)
    assert looked.out.startswith("aarch64 ")
    assert "Seccomp:\t2\n" in looked.out and "CapEff:\t00000000a80425fb\n" in looked.out
    host, _, port = own.out("port", "arm", "80").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        assert connection.recv(2) == b"hi"
    own("exec", "arm", program, "-ISBc", "[open(f'/{name}/made', 'w').write(name) for name in ('bind', 'volume')]")
    assert (tmp_path / "shared/made").read_text() == "bind"
    for size in ("512m", "128m"):
        own("update", "-m", size, "--memory-swap", "-1", "arm")
        limit = own.out("exec", "arm", program, "-ISBc", "print(open('/sys/fs/cgroup/memory.max').read(), end='')")
        assert int(limit) == int(size[:-1]) << 20
    refused = own("update", "--cpus", "2", "arm", code=1)
    assert "the guest was made for at most 1 processors: 2 are too many" in refused.err
    own("pause", "arm")
    assert own.out("inspect", "-f", "{{.State.Status}}", "arm") == "paused"
    own("unpause", "arm")
    assert own.out("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "arm").endswith(" / 128MiB 1")
    own("kill", "arm")
    assert own.out("inspect", "-f", "{{.State.ExitCode}}", "arm") == "137"
    own("cp", "arm:/volume/made", str(tmp_path / "made"))
    assert (tmp_path / "made").read_text() == "volume"


@pytest.mark.usefixtures("no_images_left")
def test_what_there_is_no_guest_for(docker: Client, tmp_path: Path) -> None:
    """Said at create, before anything is made."""
    for name, words, flags in (
        ("riscv64", "guests are amd64 or arm64, not riscv64", ()),
        ("arm64", "run it without --init", ("--init",)),
        ("arm64", "has one processor, not more --cpus", ("--cpus", "1.5")),
        ("arm64", "has one processor, not more --cpus", ("--cpu-quota", "200000")),
    ):
        tar = tmp_path / f"{name}.tar"
        tar.write_bytes(foreign.layer(name))
        docker("import", "--platform", f"linux/{name}", str(tar), f"{name}:1")
        asked = ("--isolation", "vm", "--platform", f"linux/{name}")
        refused = docker("create", *flags, *asked, f"{name}:1", "/hello", code=None)
        assert refused.code and words in refused.err
