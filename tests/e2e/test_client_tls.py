"""A daemon on TCP with certificates on both sides, the docker client and ours before it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e_parts.clients import Client, available, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import need
from free_ports import free_port

KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def _authority(root: Path) -> None:
    """ca.pem; and what it signed for the server (server.pem, server-key.pem) and a client (cert.pem, key.pem)."""

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=root, check=True, capture_output=True)

    openssl(f"req -x509 {KEY} -subj /CN=ca -keyout ca-key.pem -out ca.pem")
    for use, key, cert in (("server", "server-key.pem", "server.pem"), ("client", "key.pem", "cert.pem")):
        (root / "ext").write_text(f"extendedKeyUsage={use}Auth\nsubjectAltName=IP:127.0.0.1\n")
        openssl(f"req {KEY} -subj /CN={use} -keyout {key} -out {use}.csr")
        openssl(f"x509 -req -in {use}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile ext -out {cert}")


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Path, str]]:
    """The directory of the certificates, and the daemon's address."""
    need("openssl")
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    _authority(root)
    address = f"tcp://127.0.0.1:{free_port()}"
    files = {"--tlscacert": "ca.pem", "--tlscert": "server.pem", "--tlskey": "server-key.pem"}
    flags = [word for flag, name in files.items() for word in (flag, str(root / name))]
    daemon = Cortend(root, "-H", address.removeprefix("tcp://"), "--tlsverify", *flags)  # as dockerd takes it too
    try:
        daemon.start()
        yield root, address
    finally:
        daemon.stop()
        shutil.rmtree(root)


@pytest.fixture(params=["docker", "corten"])
def bare(request: pytest.FixtureRequest, guarded: tuple[Path, str]) -> Client:
    """A client that has the address and no certificates."""
    root, address = guarded
    commands = available()
    if request.param not in commands:
        pytest.skip(f"not on this machine: {request.param}")
    (root / "none").mkdir(exist_ok=True)
    return Client(request.param, commands[request.param], address, root / "none")


@pytest.fixture
def client(bare: Client, guarded: tuple[Path, str]) -> Client:
    root, _ = guarded
    names = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    flags = [f"--tls{'cacert' if kind == 'ca' else kind}={root / name}" for kind, name in names.items()]
    return replace(bare, command=[*bare.command, "--tlsverify", *flags])


def test_streams(client: Client) -> None:
    run = ("run", "--rm", "--network", "none")
    done = client(*run, IMAGE, "sh", "-c", "echo out; echo err >&2; exit 4", code=4)
    assert (done.out, done.err) == ("out\n", "err\n")
    assert client.out(*run, "-i", IMAGE, "cat", input="half\n") == "half"
    assert client.out(*run, "-i", IMAGE, "wc", "-c", input=b"x" * 5_000_000) == "5000000"
    assert len(client(*run, IMAGE, "head", "-c", "5000000", "/dev/zero").out) == 5_000_000


def test_by_environment(guarded: tuple[Path, str], bare: Client) -> None:
    root, _ = guarded
    env = {**bare.env, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(root)}
    done = execute([*bare.command, "run", "--rm", "--network", "none", IMAGE, "echo", "hello"], env=env)
    assert (done.code, done.out) == (0, "hello\n"), done


def test_refusals(guarded: tuple[Path, str], bare: Client) -> None:
    """Each in a line or two, at once, and no request is served."""
    root, _ = guarded
    trust = ["--tlsverify", f"--tlscacert={root / 'ca.pem'}"]
    for flags in ([], trust, ["--tlsverify"], ["--tlsverify", "--tlscacert=/nosuch.pem"]):
        done = execute([*bare.command, *flags, "ps"], env=bare.env)
        assert done.code == 1 and done.out == "" and 1 <= done.err.count("\n") <= 2, (flags, done)
    assert "certificate" in execute([*bare.command, *trust, "ps"], env=bare.env).err.lower()
    assert "only one -h" in execute([*bare.command, "-H", "a", "-H", "b", "ps"], env=bare.env).err.lower()


def test_by_a_context(guarded: tuple[Path, str], bare: Client) -> None:
    """One that docker's client has made: its certificates come from its directory."""
    need("docker")
    root, address = guarded
    (root / "contexts").mkdir(exist_ok=True)
    env = {name: value for name, value in bare.env.items() if not name.endswith("_HOST")}
    env |= {"DOCKER_CONFIG": str(root / "contexts"), "HOME": str(root)}
    files = ",".join(f"{kind}={root / kind}.pem" for kind in ("ca", "cert", "key"))
    made = execute(["docker", "context", "create", bare.name, "--docker", f"host={address},{files}"], env=env)
    assert made.code == 0, made
    run = ("run", "--rm", "--network", "none", IMAGE, "echo", "hello")
    done = execute([*bare.command, "--context", bare.name, *run], env=env)
    assert (done.code, done.out) == (0, "hello\n"), done


@pytest.mark.parametrize("request_line", [b"GET /_ping HTTP/1.1", b"POST /containers/create HTTP/1.0"])
def test_the_answer_to_a_client_without_tls(guarded: tuple[Path, str], request_line: bytes) -> None:
    """In Go's words, as dockerd: clients know them."""
    _, address = guarded
    host, _, port = address.removeprefix("tcp://").partition(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(request_line + b"\r\nHost: x\r\n\r\n")
        said = b"".join(iter(lambda: sock.recv(4096), b""))
    assert said == b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"


def test_what_a_client_without_tls_shows(bare: Client) -> None:
    done = execute([*bare.command, "ps"], env=bare.env)
    assert done.code == 1 and "Client sent an HTTP request to an HTTPS server" in done.err, done
