"""A daemon on TCP with certificates on both sides, the docker client and ours before it."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from grpclib.client import Channel, UnaryUnaryMethod

from corten.spec.protobuf.session import SERVING, HealthCheckResponse
from e2e_parts import certificates
from e2e_parts.clients import Client, available, execute
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import need
from free_ports import free_port
from grpc_bytes import Bytes


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Path, str]]:
    """The directory of the certificates, and the daemon's address."""
    need("openssl")
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    certificates.make(root)
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


@pytest.mark.parametrize(
    ("offered", "chosen"), [([], None), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], "h2")]
)
def test_protocol_of_the_api(guarded: tuple[Path, str], offered: list[str], chosen: str | None) -> None:
    root, address = guarded
    context = _trust(root)
    if offered:
        context.set_alpn_protocols(offered)
    host, port = address.removeprefix("tcp://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=host) as tls,
    ):
        assert tls.selected_alpn_protocol() == chosen
        if chosen != "h2":
            tls.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
            assert tls.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_grpc(guarded: tuple[Path, str]) -> None:
    root, address = guarded
    host, port = address.removeprefix("tcp://").split(":")
    context = _trust(root)
    context.set_alpn_protocols(["h2"])
    async with Channel(host, int(port), ssl=context, codec=Bytes()) as channel:
        answer = await UnaryUnaryMethod(channel, "/grpc.health.v1.Health/Check", bytes, bytes)(b"", timeout=20)
        assert HealthCheckResponse.decode(answer).status == SERVING
        lost = _lost(channel)
    await asyncio.wait_for(lost.wait(), 20)  # grpclib closes without waiting, and TLS has a last word


def _lost(channel: Channel) -> asyncio.Event:
    """Set when its connection is closed."""
    lost, protocol = asyncio.Event(), channel._protocol
    assert protocol is not None
    before = protocol.connection_lost

    def connection_lost(exc: BaseException | None) -> None:
        before(exc)
        lost.set()

    protocol.connection_lost = connection_lost  # type: ignore[method-assign]
    return lost


def _trust(root: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=root / "ca.pem")
    context.load_cert_chain(root / "cert.pem", root / "key.pem")
    return context
