"""Repositories for tests, and servers of them on the loopback address: git's own daemon, git over http (smart by
git-http-backend, dumb by files), with or without a password."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from free_ports import free_port

_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_AUTHOR_DATE": "2020-01-02T03:04:05Z",
    "GIT_COMMITTER_DATE": "2020-01-02T03:04:05Z",
}


class Repository:
    """A repository at `path`, with a branch `master`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "-q", "-b", "master")

    def tree(self, entries: str) -> str:
        """Of lines as `git mktree` takes them; its id."""
        return self.git("mktree", input=entries)

    def git(self, *arguments: str, input: str = "") -> str:
        command = ("git", "-c", "protocol.file.allow=always", *arguments)
        done = subprocess.run(command, cwd=self.path, env=_ENV, capture_output=True, text=True, timeout=60, input=input)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commit(self, files: dict[str, str], message: str = "more") -> str:
        """What is committed; its id."""
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.git("update-server-info")
        return self.git("rev-parse", "HEAD")


@contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """Serves what is below `root`; the beginning of addresses."""
    port = free_port()
    command = ("git", "daemon", "--reuseaddr", "--export-all", "--listen=127.0.0.1", f"--port={port}")
    process = subprocess.Popen(
        [*command, f"--base-path={root}", str(root)], env={**_ENV, **_trusted()}, stderr=subprocess.DEVNULL
    )
    try:
        while _is_closed(port):
            assert process.poll() is None
            time.sleep(0.02)
        yield f"git://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _trusted() -> dict[str, str]:
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


class Web(http.server.ThreadingHTTPServer):
    """What is below `root`, as files (`dumb`), or by git-http-backend; `password` is USER:PASSWORD or "". `asked` are
    the values of Authorization that came. All of it has `moved` to another server, where that is not ""."""

    def __init__(self, root: Path, dumb: bool, password: str) -> None:
        self.root = root
        self.dumb = dumb
        self.password = password
        self.asked: list[str] = []
        self.moved = ""
        super().__init__(("127.0.0.1", 0), functools.partial(_Handler, directory=str(root)))
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.SimpleHTTPRequestHandler):
    server: Web

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        given = self.headers.get("Authorization", "")
        self.server.asked.append(given)
        wanted = base64.b64encode(self.server.password.encode()).decode()
        if self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.server.password and given.partition(" ")[2] != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.server.dumb or ".git/" not in self.path:
            super().do_GET()
        else:
            self._backend()

    def _backend(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            **_ENV,
            **_trusted(),
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(("git", "http-backend"), input=body, env=env, capture_output=True, timeout=60)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def web(root: Path, dumb: bool = False, password: str = "") -> Iterator[Web]:
    server = Web(root, dumb, password)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Sshd:
    """A server that takes the key of `agent`."""

    def __init__(self, user: str, port: int, agent: SocketAgent) -> None:
        self.user = user
        self.port = port
        self.agent = agent


class SocketAgent:
    """`corten.build.contract.Agent`: the agent at a socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def connect(self, fd: int) -> None:
        there, agent = await asyncio.open_connection(sock=socket.socket(fileno=fd)), None
        try:
            agent = await asyncio.open_unix_connection(self._path)
            await asyncio.gather(_carried(there[0], agent[1]), _carried(agent[0], there[1]))
        finally:
            for writer in (there[1], *([agent[1]] if agent else [])):
                writer.close()


async def _carried(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextmanager
def sshd(root: Path) -> Iterator[Sshd]:
    """Skips where there is no sshd."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not os.path.exists(program):
        pytest.skip("needs openssh-server")
    root.mkdir(mode=0o700)
    for name in ("host", "key"):
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / name), check=True, timeout=20)
    shutil.copy(root / "key.pub", root / "authorized")
    os.makedirs("/run/sshd", 0o755, exist_ok=True)
    port = free_port()
    options = {"HostKey": root / "host", "AuthorizedKeysFile": root / "authorized", "StrictModes": "no", "UsePAM": "no"}
    options |= {"PidFile": "none", "ListenAddress": "127.0.0.1", "PermitRootLogin": "prohibit-password"}
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    server = subprocess.Popen(
        (program, "-D", "-e", "-f", "/dev/null", "-p", str(port), *flags), stderr=subprocess.DEVNULL
    )
    directory = tempfile.mkdtemp(prefix="ag-")  # the path of a socket is short
    agent = subprocess.Popen(("ssh-agent", "-D", "-a", f"{directory}/s"), stdout=subprocess.DEVNULL)
    try:
        while not os.path.exists(f"{directory}/s") or _is_closed(port):
            assert server.poll() is None and agent.poll() is None
            time.sleep(0.02)
        env = {**os.environ, "SSH_AUTH_SOCK": f"{directory}/s"}
        subprocess.run(("ssh-add", "-q", root / "key"), env=env, check=True, timeout=20)
        yield Sshd(pwd.getpwuid(os.getuid()).pw_name, port, SocketAgent(f"{directory}/s"))
    finally:
        for process in (server, agent):
            process.terminate()
            process.wait(20)
        shutil.rmtree(directory)


def _is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
