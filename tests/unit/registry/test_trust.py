"""Which servers the client accepts, and what it sends them: TLS, proxies, other origins."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pytest
from aiohttp import web

from corten.errors import CortenError, Failed, Unavailable
from corten.http import authorities
from corten.registry.client.proxies import Proxies
from corten.registry.client.registry import Registry, Settings
from corten.registry.client.sources import Rule
from corten.spec.oci_image import OCI_LAYER, Descriptor
from corten.spec.reference import parse
from corten.store.blobs import Blobs
from image_parts.proxies import proxy
from image_parts.registries import Scripted, scripted
from image_parts.stores import Made, digest

DATA = b"layer" * 1000
KNOWN = {"username": "u", "password": "hunter2"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for registry.invalid and 127.0.0.1, and the certificate that makes it believed."""
    place = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:registry.invalid,IP:127.0.0.1"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x".split()
    files = ["-keyout", str(place / "key"), "-out", str(place / "ca.crt")]
    subprocess.run([*command, "-addext", names, *files], check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(place / "ca.crt", place / "key")
    return tls, place / "ca.crt"


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as registry:
        filled(registry)
        yield registry


def filled(registry: Scripted) -> None:
    registry.add("1", Made([b"layer"]))
    registry.blobs[digest(DATA)] = DATA


class Given(TypedDict, total=False):
    """Of `Settings`."""

    insecure: tuple[str, ...]
    rules: tuple[Rule, ...]
    proxies: Proxies


def client(
    tmp_path: Path, authority: Path | None = None, hosts: tuple[str, ...] = (), **settings: Unpack[Given]
) -> Registry:
    for host in hosts:
        (tmp_path / "certs.d" / host).mkdir(parents=True)
        if authority is not None:
            (tmp_path / "certs.d" / host / "ca.crt").write_bytes(authority.read_bytes())
    known = Settings(**settings)
    return Registry(Blobs(tmp_path / "blobs"), known, pause=0.01, certificates=(tmp_path / "certs.d",), stall=5)


async def fetch(registry: Registry, host: str, auth: dict[str, str] | None = None) -> None:
    """A manifest and a blob of `host`, each once."""
    reference = parse(f"{host}/a/b:1")
    try:
        (source,) = registry.sources(reference, auth)
        await registry.manifest(source, reference)
        await registry.blob(source, Descriptor(OCI_LAYER, digest(DATA), len(DATA)))
        assert registry._blobs.has(digest(DATA))
    finally:
        await registry.close()


# ------------------------------------------------------------------------------------------------------------ proxies


async def test_plain_requests_through_a_proxy(tmp_path: Path, server: Scripted) -> None:
    with proxy({"registry.invalid:80": server.host}) as between:
        proxies = Proxies(f"http://me:pass@{between.address}", "")
        await fetch(client(tmp_path, insecure=("registry.invalid",), proxies=proxies), "registry.invalid", KNOWN)
        assert all(head.startswith("GET http://registry.invalid/v2/") for head in between.heads)
        assert all("Proxy-Authorization: Basic bWU6cGFzcw==" in head for head in between.heads)
        assert all("Proxy-Authorization" not in request.headers for request in server.requests)


async def test_tls_through_a_proxy(tmp_path: Path, authority: tuple[ssl.SSLContext, Path]) -> None:
    """The proxy sees where to, and nothing else."""
    async with scripted(authority[0]) as behind:
        filled(behind)

        async def before(request: web.Request) -> web.StreamResponse | None:
            wanted = "Authorization" not in request.headers
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"}) if wanted else None

        behind.before = before
        with proxy({"registry.invalid:443": behind.host}) as between:
            proxies = Proxies("", f"http://{between.address}")
            known = client(tmp_path, authority[1], ("registry.invalid",), proxies=proxies)
            await fetch(known, "registry.invalid", KNOWN)
            assert {head.split("\r\n")[0] for head in between.heads} == {"CONNECT registry.invalid:443 HTTP/1.1"}
            assert all("Authorization" not in head for head in between.heads)
            with pytest.raises(Failed, match="certificate"):  # whose authority is not configured
                await fetch(client(tmp_path / "other", proxies=proxies), "registry.invalid")


async def test_the_authorities_of_the_system(
    tmp_path: Path, authority: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are loaded with the first session (`http.authorities`)."""
    async with scripted(authority[0]) as behind:
        filled(behind)
        with proxy({"registry.invalid:443": behind.host}) as between:
            proxies = Proxies("", f"http://{between.address}")
            authorities.verifying.cache_clear()
            monkeypatch.setenv("SSL_CERT_FILE", str(authority[1]))
            try:
                await fetch(client(tmp_path, proxies=proxies), "registry.invalid")
            finally:
                authorities.verifying.cache_clear()


async def test_a_proxy_that_refuses(tmp_path: Path) -> None:
    with proxy({}) as between, pytest.raises(Failed, match="403"):
        proxies = Proxies("", f"http://{between.address}")
        await fetch(client(tmp_path, proxies=proxies), "registry.invalid")


async def test_this_machine_is_asked_directly(tmp_path: Path, server: Scripted) -> None:
    await fetch(client(tmp_path, proxies=Proxies("http://127.0.0.1:1", "http://127.0.0.1:1")), server.host)


# ---------------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[bytes]]]:
    """A port that writes down the first bytes of each connection, and breaks it."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    seen.append(connection.recv(100))

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


async def test_no_way_back_to_plain_text(tmp_path: Path, recorder: tuple[str, list[bytes]]) -> None:
    """CVE-2014-5277: a registry that is to speak TLS and breaks off is not asked without."""
    host, seen = recorder
    with pytest.raises(CortenError):  # a certs.d directory makes it TLS, on this machine too
        await fetch(client(tmp_path, hosts=(host,)), host, KNOWN)
    assert seen and all(first[:1] == b"\x16" for first in seen), seen


async def test_only_what_is_configured_is_asked_without_tls(tmp_path: Path, recorder: tuple[str, list[bytes]]) -> None:
    host, seen = recorder
    with pytest.raises(CortenError):
        await fetch(client(tmp_path, insecure=(host,)), host)
    assert {first[:1] for first in seen} == {b"\x16", b"G"}


async def test_a_mirror_with_a_bad_certificate_is_passed_over(
    tmp_path: Path, server: Scripted, authority: tuple[ssl.SSLContext, Path]
) -> None:
    async with scripted(authority[0]) as mirror:
        with proxy({"registry.invalid:443": mirror.host}) as between:
            await passed_over(
                client(
                    tmp_path,
                    rules=(Rule(server.host, ("https://registry.invalid",)),),
                    proxies=Proxies(https=between.address),
                ),
                server.host,
            )
        assert mirror.requests == []


async def passed_over(known: Registry, host: str) -> None:
    reference = parse(f"{host}/a/b:1")
    first, last = known.sources(reference, KNOWN)
    with pytest.raises(Failed, match="certificate"):
        await known.manifest(first, reference)
    await known.manifest(last, reference)
    await known.close()


async def test_bad_certificates_of_others(
    tmp_path: Path, server: Scripted, authority: tuple[ssl.SSLContext, Path]
) -> None:
    """CVE-2019-10214: the server of tokens, and where blobs are, are verified as the registry itself is."""
    async with scripted(authority[0]) as other:
        filled(other)

        async def asking(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="https://{other.host}/token"'})

        async def redirecting(request: web.Request) -> web.StreamResponse | None:
            if "/blobs/" not in request.path:
                return None
            return web.Response(status=307, headers={"Location": f"https://{other.host}{request.path}"})

        for before in (asking, redirecting):
            server.before = before
            with pytest.raises(Failed, match="certificate"):
                await fetch(client(tmp_path / before.__name__), server.host, KNOWN)
        assert other.requests == []


# ------------------------------------------------------------------------------------------ this machine, and networks


async def test_a_registry_on_this_machine_with_a_certificate_of_its_own(
    tmp_path: Path, authority: tuple[ssl.SSLContext, Path]
) -> None:
    """As dockerd: TLS first. A certs.d directory says whom to believe, and then that is asked."""
    async with scripted(authority[0]) as registry:
        filled(registry)
        await fetch(client(tmp_path / "any"), registry.host, KNOWN)
        assert {request.scheme for request in registry.requests} == {"https"}
        with pytest.raises(Failed, match="certificate"):
            await fetch(client(tmp_path / "none", hosts=(registry.host,)), registry.host)
        await fetch(client(tmp_path / "own", authority[1], (registry.host,)), registry.host)


async def test_a_mirror_on_this_machine_with_a_certificate_of_its_own(
    tmp_path: Path, server: Scripted, authority: tuple[ssl.SSLContext, Path]
) -> None:
    async with scripted(authority[0]) as mirror:
        filled(mirror)
        known = client(tmp_path, rules=(Rule(server.host, (f"https://{mirror.host}",)),))
        reference = parse(f"{server.host}/a/b:1")
        await known.manifest(known.sources(reference, None)[0], reference)
        await known.close()
        assert mirror.requests


@pytest.mark.parametrize(
    ("addresses", "insecure", "schemes"),
    [
        (["127.0.0.1"], ("127.0.0.0/8",), {"http"}),
        (["127.0.0.1", "::1"], ("127.0.0.0/8", "::1/128"), {"http"}),
        (["127.0.0.1", "192.0.2.1"], ("127.0.0.0/8",), set()),  # one of them is elsewhere
        (["127.0.0.1"], ("10.0.0.0/8",), set()),
        ([], ("127.0.0.0/8",), set()),
    ],
)
async def test_names_that_resolve_into_an_insecure_network(
    tmp_path: Path,
    server: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    addresses: list[str],
    insecure: tuple[str, ...],
    schemes: set[str],
) -> None:
    port, original = int(server.host.rpartition(":")[2]), socket.getaddrinfo

    def resolve(host: str, *args: Any, **kwargs: Any) -> Any:
        if host != "registry.test":
            return original(host, *args, **kwargs)
        if not addresses:
            raise socket.gaierror("no such host")
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, port))
            for each in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    known = client(tmp_path, insecure=insecure)
    if schemes:
        await fetch(known, f"registry.test:{port}", KNOWN)
    else:
        with pytest.raises(CortenError):
            await fetch(known, f"registry.test:{port}", KNOWN)
    assert {request.scheme for request in server.requests} == schemes


# ------------------------------------------------------------------------------------------------------- other origins


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["manifests", "blobs"])
async def test_credentials_do_not_cross(tmp_path: Path, server: Scripted, status: int, path: str) -> None:
    """CVE-2020-15157: whatever the redirect, and whatever is asked for."""
    async with scripted() as other:
        filled(other)

        async def before(request: web.Request) -> web.StreamResponse | None:
            if "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            if f"/{path}/" in request.path:
                headers = {"Location": f"http://{other.host}{request.path}", "Set-Cookie": "session=1"}
                return web.Response(status=status, headers=headers)
            return None

        async def demanding(request: web.Request) -> web.StreamResponse | None:
            assert not {"Authorization", "Cookie", "Proxy-Authorization"} & set(request.headers)
            return None

        server.before, other.before = before, demanding
        await fetch(client(tmp_path), server.host, KNOWN)
        assert other.requests


@pytest.mark.parametrize("first", [True, False])
async def test_another_origin_that_asks_for_credentials_gets_none(
    tmp_path: Path, server: Scripted, first: bool
) -> None:
    """`first`: the registry itself asks for them before it redirects."""
    async with scripted() as other:

        async def before(request: web.Request) -> web.StreamResponse | None:
            if first and "Authorization" not in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            return web.Response(status=307, headers={"Location": f"http://{other.host}{request.path}"})

        async def demands_credentials(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401, headers={"WWW-Authenticate": f'Bearer realm="http://{other.host}/token"'})

        server.before, other.before = before, demands_credentials
        with pytest.raises(CortenError):
            await fetch(client(tmp_path), server.host, KNOWN)
        assert other.requests and all("Authorization" not in request.headers for request in other.requests)


@pytest.mark.parametrize("refused", [False, True])
async def test_what_else_is_on_the_registrys_port_gets_no_credentials(
    tmp_path: Path, server: Scripted, refused: bool
) -> None:
    """A store of signed addresses refuses a request with two kinds of authorisation."""

    async def before(request: web.Request) -> web.StreamResponse | None:
        if request.path.startswith("/store/"):
            if refused or "Authorization" in request.headers:
                return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
            return web.Response(body=DATA)
        if "Authorization" not in request.headers:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        if "/blobs/" in request.path:
            return web.Response(status=307, headers={"Location": f"/store/{digest(DATA)}?signature=%2B"})
        return None

    server.before = before
    if refused:
        with pytest.raises(CortenError):
            await fetch(client(tmp_path), server.host, KNOWN)
    else:
        await fetch(client(tmp_path), server.host, KNOWN)
    stored = [request for request in server.requests if request.path.startswith("/store/")]
    assert stored and all("Authorization" not in request.headers for request in stored)
    assert {request.query_string for request in stored} == {"signature=%2B"}


async def test_credentials_of_one_registry_are_not_for_its_mirrors(tmp_path: Path, server: Scripted) -> None:
    async with scripted() as mirror:

        async def demands_credentials(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})

        mirror.before = demands_credentials
        moved = Rule("moved.invalid", location=mirror.host)
        known = client(tmp_path, rules=(Rule(server.host, (f"http://{mirror.host}",)), moved))
        for name in (f"{server.host}/a/b:1", "moved.invalid/a/b:1"):
            reference = parse(name)
            with pytest.raises(CortenError):
                await known.manifest(known.sources(reference, KNOWN)[0], reference)
        await known.close()
        assert mirror.requests and all("Authorization" not in request.headers for request in mirror.requests)


async def test_endless_headers(tmp_path: Path) -> None:
    """DoS: a head that never ends is given up, and so is one of a megabyte."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * (1 << 20) + b"\r\n\r\n")
                    except OSError:
                        continue

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            with pytest.raises((Failed, Unavailable)):
                await fetch(client(tmp_path), f"127.0.0.1:{listener.getsockname()[1]}")
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)
