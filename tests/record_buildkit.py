"""Record what BuildKit's clients send, for the tests that replay it:

    python tests/record_buildkit.py tests/unit/buildkit/recorded

Needs root, docker 20.10 and docker-buildx in PATH. A private cortend builds; a proxy before its socket keeps the bytes
of each connection that was upgraded, both ways, as JSON: "request" is its first line, "client"
and "daemon" are base64.
What a client sends on such a connection depends on nothing but the build, so that it can be read again without it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from e2e_parts.cortend import IMAGE, Cortend

CONTEXT = Path("/srv/recorded/app")
DOCKERFILE = f"FROM {IMAGE}\nCOPY . /files/\nRUN --mount=type=secret,id=s1 cat /run/secrets/s1\n"


class Proxy:
    """Listens at `path`; `kept` are the upgraded connections in the order in which they began."""

    def __init__(self, path: Path, behind: Path) -> None:
        self.kept: list[dict[str, bytearray]] = []
        self._behind = str(behind)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            daemon = socket.socket(socket.AF_UNIX)
            daemon.connect(self._behind)
            both = {"client": bytearray(), "daemon": bytearray()}
            self.kept.append(both)
            for name, source, target in (("client", client, daemon), ("daemon", daemon, client)):
                threading.Thread(target=_carry, args=(source, target, both[name]), daemon=True).start()


def _carry(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            kept += data
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def files() -> None:
    shutil.rmtree(CONTEXT, ignore_errors=True)
    (CONTEXT / "sub").mkdir(parents=True)
    for name, content in (("Dockerfile", DOCKERFILE), (".dockerignore", "*.log\n"), ("a", "a\n"), ("x.log", "x\n")):
        (CONTEXT / name).write_text(content)
    (CONTEXT / "sub/b").write_bytes(b"b" * 70_000)
    (CONTEXT / "sub/b").chmod(0o4755)
    (CONTEXT / "lnk").symlink_to("sub/b")
    os.link(CONTEXT / "a", CONTEXT / "hard")
    (CONTEXT.parent / "secret").write_text("content\n")
    for path in (*CONTEXT.rglob("*"), CONTEXT):
        os.utime(path, ns=(1_700_000_000_123_456_789,) * 2, follow_symlinks=False)


def record(out: Path, name: str, command: list[str], daemon: Cortend, root: Path) -> None:
    path = root / f"{name}.sock"
    proxy = Proxy(path, daemon.socket)
    env = {**os.environ, "DOCKER_HOST": f"unix://{path}", "DOCKER_CONFIG": str(root), "DOCKER_BUILDKIT": "1"}
    secret = f"id=s1,src={CONTEXT.parent / 'secret'}"
    subprocess.run([*command, "--secret", secret, "-t", "recorded", "."], cwd=CONTEXT, env=env, check=True)
    connections = []
    for both in proxy.kept:
        head, _, rest = bytes(both["client"]).partition(b"\r\n\r\n")
        answer, _, said = bytes(both["daemon"]).partition(b"\r\n\r\n")
        if answer.startswith(b"HTTP/1.1 101") and rest:
            request = " ".join(head.decode().split(" ", 2)[:2])
            sent = {"client": base64.b64encode(rest).decode(), "daemon": base64.b64encode(said).decode()}
            connections.append({"request": request, **sent})
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(connections, indent=1) + "\n")


def main() -> None:
    out = Path(sys.argv[1])
    root = CONTEXT.parent / "run"  # a client's traces have the path of its socket
    root.mkdir(parents=True)
    daemon = Cortend(root)
    daemon.start()
    try:
        files()
        record(out, "docker-20.10", ["/usr/bin/docker", "build"], daemon, root)
        daemon.ask("POST", "/build/prune?all=1")
        record(out, "buildx", ["docker-buildx", "build", "--provenance=false"], daemon, root)
    finally:
        daemon.stop()
        shutil.rmtree(CONTEXT.parent)


if __name__ == "__main__":
    main()
