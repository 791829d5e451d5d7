"""Which certificates the client accepts, and which users the server: certs.d, htpasswd."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from corten.errors import Failed, Invalid, NotFound
from corten.registry.client.registry import Registry
from corten.registry.server.access import Access
from corten.registry.server.app import Registry as Server
from corten.registry.server.app import start
from corten.registry.server.htpasswd import Accounts, credentials
from corten.registry.server.store import Store
from corten.spec.reference import parse
from corten.store.blobs import Blobs


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate of its own for 127.0.0.1, and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subject = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        *subject,
    ]
    subprocess.run([*command, "-keyout", key, "-out", cert, "-days", "2"], check=True, capture_output=True)
    return cert, key


async def test_a_private_authority(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    store = Store(tmp_path / "store")
    runner = await start(Server(store, Access()), "127.0.0.1", 0, tls)
    host = f"127.0.0.1:{runner.addresses[0][1]}"
    known = tmp_path / "certs.d" / host
    known.mkdir(parents=True)
    client = Registry(Blobs(tmp_path / "blobs"), pause=0.01, certificates=(tmp_path / "certs.d",))
    reference = parse(f"{host}/a/b:1")
    try:
        with pytest.raises(Failed, match="certificate"):  # a directory, so TLS; no authority in it, so no trust
            await client.manifest(client.repository(reference, None), reference)
        (known / "ca.crt").write_bytes(cert.read_bytes())
        with pytest.raises(NotFound):
            await client.manifest(client.repository(reference, None), reference)
        (known / "ca.crt").write_text("nonsense")
        with pytest.raises(Invalid, match="cannot be used"):
            client.repository(reference, None)
    finally:
        await client.close()
        await runner.cleanup()
        store.close()


@pytest.mark.parametrize("hashed", ["ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "ann:$6$saltsalt$%s"])
def test_htpasswd(hashed: str) -> None:
    if "%s" in hashed:
        made = subprocess.run(
            ["openssl", "passwd", "-6", "-salt", "saltsalt", "secret"], capture_output=True, text=True
        )
        hashed = f"ann:{made.stdout.strip()}"
    accounts = Accounts(hashed)
    for _ in range(2):  # the second time from memory
        assert accounts.check("ann", "secret")
        assert not accounts.check("ann", "wrong") and not accounts.check("bob", "secret")
    assert credentials("Basic YW5uOnNlY3JldA==") == ("ann", "secret")
    for given in ("", "Basic ???", "Bearer x", "Basic YQ=="):
        assert credentials(given) is None, given
    with pytest.raises(Invalid):
        Accounts("ann:plain")
