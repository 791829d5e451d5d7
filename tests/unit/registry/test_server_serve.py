"""`corten registry serve` as a process: flags, files, signals, what goes wrong."""

from __future__ import annotations

import base64
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from corten.registry.server.__main__ import main
from registry_parts.ageing import age
from registry_parts.own import SECRET, digest, own_process


def status(host: str, path: str, user: str = "") -> int:
    headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()} if user else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(f"http://{host}{path}", headers=headers), timeout=30
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_accounts_and_rules_are_read_again(tmp_path: Path) -> None:
    users, config = tmp_path / "users", tmp_path / "c.toml"
    users.write_text(f"ann:{SECRET}\n")
    rule = '[[allow]]\nusers = "{}"\nrepositories = "**"\nrights = "read"\n'
    config.write_text('root = "data"\nhtpasswd = "users"\n' + rule.format("ann"))
    with own_process("--config", str(config)) as (host, pid):
        assert (status(host, "/v2/", "ann"), status(host, "/v2/", "bob")) == (200, 401)
        assert (status(host, "/v2/a/tags/list", "ann"), (tmp_path / "data").is_dir()) == (404, True)
        users.write_text(f"ann:{SECRET}\nbob:{SECRET}\n")
        config.write_text('root = "data"\nhtpasswd = "users"\n' + rule.format("bob"))
        subprocess.run(["kill", "-HUP", str(pid)], check=True)
        until(lambda: status(host, "/v2/", "bob") == 200)
        assert (status(host, "/v2/a/tags/list", "ann"), status(host, "/v2/a/tags/list", "bob")) == (403, 404)
        config.write_text("nonsense")
        users.write_text("")
        subprocess.run(["kill", "-HUP", str(pid)], check=True)
        assert status(host, "/v2/", "bob") == 200


def test_sighup_while_it_begins(tmp_path: Path) -> None:
    """It waits for a file (a named pipe) when the signal comes."""
    users = tmp_path / "users"
    users.write_text(f"ann:{SECRET}\n")
    os.mkfifo(tmp_path / "c.toml")
    command = [sys.executable, "-m", "corten.registry.server", "--config", str(tmp_path / "c.toml")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = 'root = "data"\nhtpasswd = "users"\nlisten = "127.0.0.1:0"\n'
    (tmp_path / "new").write_text(text)
    with (tmp_path / "c.toml").open("w") as pipe:  # opened when it is about to be read
        process.send_signal(signal.SIGHUP)
        (tmp_path / "new").rename(tmp_path / "c.toml")  # before the pipe has been read, and the file is read again
        pipe.write(text)
    assert process.stdout.readline().startswith("registry on http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "corten registry: accounts and rules were read again\n")


def test_it_collects_by_itself(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('root = "data"\n[collect]\nevery = "1s"\n')
    with own_process("--config", str(tmp_path / "c.toml")) as (host, _):
        url = f"http://{host}/v2/a/blobs/uploads/?digest={digest(b'old')}"
        with urllib.request.urlopen(urllib.request.Request(url, b"old", method="POST"), timeout=30) as answer:
            assert answer.status == 201
        age(tmp_path / "data")

        def collected() -> bool:
            with urllib.request.urlopen(f"http://{host}/metrics", timeout=30) as answer:
                return "corten_registry_collected_bytes_total 3" in answer.read().decode()

        until(collected)
        assert status(host, f"/v2/a/blobs/{digest(b'old')}") == 404


def test_abandoned_uploads_are_removed_without_a_setting(tmp_path: Path) -> None:
    with own_process("--root", str(tmp_path)) as (host, _):
        request = urllib.request.Request(f"http://{host}/v2/a/blobs/uploads/", b"", method="POST")
        for _ in range(2):
            with urllib.request.urlopen(request, timeout=30) as answer:
                place = answer.headers["Location"]
    age(tmp_path / "uploads", seconds=25 * 3600)
    (tmp_path / "uploads" / place.rpartition("/")[2]).touch()
    with own_process("--root", str(tmp_path)) as (host, _):
        until(lambda: len(list((tmp_path / "uploads").iterdir())) == 2)
        assert status(host, place) == 204


def held(path: Path, pid: int) -> bool:
    """A request has the upload: its file is open there. To try its lock would be to hold it, against a request."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if os.readlink(fd) == str(path):
                return True
    return False


def until(true: object, limit: float = 30) -> None:
    assert callable(true)
    deadline = time.monotonic() + limit
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --root DIR"),
        (["--root", "/proc/none"], "/proc/none"),
        (["--config", "none.toml"], "none.toml: No such file"),
        (["--root", "x", "--listen", "here"], "listen is 'here'; want HOST:PORT"),
        (["--root", "x", "--allow", "ann"], "want USERS:REPOSITORIES:RIGHTS"),
        (["--root", "x", "--htpasswd", "none"], "none: No such file"),
        (["--root", "x", "--bogus"], "unrecognized arguments: --bogus; see 'corten registry serve --help'"),
        (["--root", "x", "more"], "unrecognized arguments: more"),
        (["--root", "file"], "file/blobs: Not a directory"),
        (["--root", "x", "--listen", ""], "listen is ''; want HOST:PORT"),
        (["--root", "x", "--listen", "::1:5000"], "listen is '::1:5000'; want HOST:PORT"),
        (["--root", "x", "--listen", "127.0.0.1:\u00b2"], "want HOST:PORT"),
        (["--root", "x", "--listen", "203.0.113.7:5000"], "cannot listen on 203.0.113.7:5000: "),
        (["--root", "x", "--tls-cert", "none"], "none: No such file"),
        (["--root", "x", "--tls-cert", "file", "--tls-key", "none"], "none: No such file"),
        (["--root", "x", "--tls-cert", "file"], "no certificate and its key are in file"),
        (["--root", "x", "--tls-cert", "file", "--tls-key", "key"], "no certificate and its key are in file and key"),
        (["--root", "x", "--tls-key", "key"], "a TLS key without its certificate"),
        (["gc", "--bogus"], "unrecognized arguments: --bogus; see 'corten registry gc --help'"),
        (["gc"], "give --root DIR"),
        (["gc", "--root", "."], "is no registry's directory"),
        (["gc", "--root", "x", "--grace", "soon"], "--grace is 'soon'; want a number"),
        (["gc", "--root", "x", "--keep-last", "a"], "want REPOSITORIES:TAGS:N"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "x" / "repositories").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\n")
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    err = capsys.readouterr().err
    assert said in err and err.startswith("corten registry: ") and err.count("\n") == 1, err


def test_a_port_that_is_in_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        assert main(["--root", str(tmp_path), "--listen", place]) == 1
    assert capsys.readouterr().err == f"corten registry: cannot listen on {place}: address already in use\n"


def test_it_exits_at_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "corten.registry.server", "--listen", "127.0.0.1:0", "--root", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("registry on http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_without_descriptors_others_wait_and_the_log_is_short(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "corten.registry.server", "--listen", "127.0.0.1:0", "--root", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 60)),
    )
    assert process.stdout is not None
    try:
        host, port = process.stdout.readline().split()[2].rstrip(",").rpartition("/")[2].split(":")
        with ExitStack() as stack:
            for _ in range(70):
                stack.enter_context(socket.create_connection((host, int(port))))
            until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) == 60)  # the limit was raised to what it may be
        assert status(f"{host}:{port}", "/healthz") == 200
    finally:
        process.terminate()
        _, err = process.communicate(timeout=30)
    lines = [line for line in err.splitlines() if "the collection ended early" not in line]  # it needs some as well
    assert (process.returncode, lines) == (
        0,
        ["corten registry: cannot take connections, which wait until there is room again: Too many open files"],
    )


def test_an_upload_that_breaks_off_is_not_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "corten.registry.server", "--listen", "127.0.0.1:0", "--root", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        host, port = process.stdout.readline().split()[2].rstrip(",").rpartition("/")[2].split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n\r\n")
            place = client.recv(9999).partition(b"Location: ")[2].partition(b"\r")[0]
            client.sendall(b"PATCH " + place + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" + b"x" * 9)
            path = tmp_path / "uploads" / place.decode().rpartition("/")[2]
            until(lambda: held(path, process.pid))
        until(lambda: not held(path, process.pid))
    finally:
        process.terminate()
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
