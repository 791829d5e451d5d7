"""Contexts at addresses, and files of the web that a Dockerfile adds."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from build_requests import FILES, Lines, build, cached, context, inspect, refused, said, text
from e2e_parts.patience import PATIENCE, until
from fakes.daemon import Connection, Daemon
from web_servers import Quiet, served


@pytest.fixture
def web(tmp_path: Any) -> Iterator[str]:
    """A directory of files behind a URL."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "Dockerfile").write_text("FROM test\nENV A=1\n")
    (root / "file").write_text("content\n")
    (root / "context.tar.gz").write_bytes(context(FILES, "w:gz"))
    handler = functools.partial(QuietHandler, directory=str(root))
    with served(handler) as address:
        yield address


class QuietHandler(Quiet, http.server.SimpleHTTPRequestHandler):
    """The files of a directory."""


def test_a_context_at_a_url(http: Connection, daemon: Daemon, web: str) -> None:
    build(http, b"", f"t=made&remote={web}/context.tar.gz")
    assert said(daemon, "made", "data/a") == "1"
    build(http, b"", f"t=made&remote={web}/Dockerfile")
    assert "A=1" in inspect(http, "made")["Config"]["Env"]
    assert refused(http, b"", f"remote={web}/nothing")[0] == 404
    assert refused(http, b"", "remote=https://host/x.git%23main") == (501, "this engine has no git")


@pytest.mark.parametrize(
    ("remote", "status", "message"),
    [
        ("https://host/x.git#--upload-pack=touch /tmp/x", 400, "invalid address of a git repository"),
        ("https://host/x.git#--upload-pack=x", 400, "invalid git ref: '--upload-pack=x'"),
        ("git://host/x#main:../../../etc", 400, "invalid subdir of a git repository"),
        ("git@host:x#main:.git", 400, "invalid subdir of a git repository"),
        ("ssh://-oProxyCommand=x/y", 400, "has no host that can be asked"),
        ("git@-oProxyCommand=x:y", 501, "a context at"),
        ("ext::sh -c x", 501, "a context at 'ext::sh -c x' is not supported"),
        ("file:///etc", 501, "a context at 'file:///etc' is not supported"),
        ("/etc", 501, "a context at '/etc' is not supported"),
        ("-x", 501, "a context at '-x' is not supported"),
    ],
)
def test_contexts_that_are_refused(http: Connection, daemon: Daemon, remote: str, status: int, message: str) -> None:
    found = refused(http, b"", f"remote={quote(remote, safe='')}")
    assert found[0] == status and message in found[1]
    assert not (contexts := daemon.root / "build/contexts").exists() or not list(contexts.iterdir())


CONTENT = "sha256:434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53"


def test_a_file_from_the_web(http: Connection, daemon: Daemon, web: str) -> None:
    files = {"Dockerfile": f"FROM test\nADD --checksum={CONTENT} {web}/file /d/\nADD {web}/context.tar.gz /e/\n"}
    for query in ("t=made", "t=made&trace=1"):
        build(http, files, query)
        assert said(daemon, "made", "d/file") == "content\n"
        until(lambda: not list((daemon.root / "build/contexts").iterdir()))
    assert cached(build(http, files)) == files["Dockerfile"].splitlines()[1:]


def test_a_download_that_is_cancelled_leaves_nothing(http: Connection, daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        lines: Lines = []

        def one() -> None:
            connection = Connection(daemon)
            lines.extend(build(connection, {"Dockerfile": f"FROM test\nADD {url} /\n"}, "buildid=slow"))
            connection.close()

        client = threading.Thread(target=one)
        client.start()
        connection, _ = server.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart")
            until(lambda: list((daemon.root / "build/contexts").glob("*/files/1/x")))
            assert http.ask("POST", "/build/cancel?id=slow")[0] == 204
            client.join(PATIENCE)
    assert lines[-1]["error"] == "the build was cancelled: context canceled"
    until(lambda: not list((daemon.root / "build/contexts").iterdir()))


def test_a_download_is_bounded(http: Connection, daemon: Daemon, web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corten.build.downloads.ALWAYS", 7)
    secret = web.replace("//", "//user:secret@")
    lines = build(http, {"Dockerfile": f"FROM test\nADD {secret}/file /\n"})
    assert lines[-1]["error"] == f"{web}/file has more than 7 bytes"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing /", "failed to GET {web}/nothing with status 404"),
        (f"--checksum={CONTENT[:-1]}0 file /", f"digest mismatch {CONTENT}: {CONTENT[:-1]}0"),
        (" /d/", "cannot determine filename for source {web}/"),
    ],
)
def test_a_file_from_the_web_that_fails_its_step(
    http: Connection, daemon: Daemon, web: str, source: str, message: str
) -> None:
    flag, _, rest = source.rpartition(" file ")
    line = f"ADD {flag} {web}/file {rest}" if flag else f"ADD {web}/{source}"
    lines = build(http, {"Dockerfile": f"FROM test\n{line}\n"})
    assert text(lines).endswith(f"Step 2/2 : {line}\n")
    assert lines[-1]["error"].startswith(message.format(web=web))
    if not source.startswith(" "):
        traced = build(http, {"Dockerfile": f"FROM test\n{line}\n"}, "trace=1")
        assert traced[-1]["errorDetail"]["ranges"] == [[2, 2]]
    until(lambda: not list((daemon.root / "build/contexts").iterdir()))
