"""Which certificates the client accepts, and which users the server: certs.d, htpasswd."""

from __future__ import annotations

import os
import pty
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from corten.errors import Failed, Invalid, NotFound
from corten.registry.client.endpoints import client_tls
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


def test_certificates_that_are_no_files(tmp_path: Path) -> None:
    """They are refused before anything is opened: OpenSSL would read a pipe, or /dev/zero, for as long as it gives."""
    cert, key = certificate(tmp_path)
    directory = tmp_path / "certs.d/here:5000"
    directory.mkdir(parents=True)
    (tmp_path / "link").symlink_to(cert)

    def with_files(**files: Path) -> ssl.SSLContext | None:
        for name in (*directory.iterdir(),):
            name.unlink()
        for suffix, source in files.items():
            (directory / f"a.{suffix}").symlink_to(source)
        return client_tls((tmp_path / "certs.d",), ("here:5000",))

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(cert.read_bytes() + bytes(4 << 20))
    assert with_files(crt=tmp_path / "link", cert=cert, key=key) is not None
    for what, why in (("pipe", "no regular file"), ("large", "more than 4194304 bytes")):
        for files in ({"crt": what}, {"cert": what, "key": "key.pem"}, {"cert": "cert.pem", "key": what}):
            with pytest.raises(Invalid, match=why):
                with_files(**{suffix: tmp_path / name for suffix, name in files.items()})
    with pytest.raises(Invalid, match="no regular file"):
        with_files(crt=Path("/dev/zero"))


def test_a_key_with_a_pass_phrase(tmp_path: Path) -> None:
    """OpenSSL would ask for it at the daemon's terminal, and everything would wait for that."""
    cert, key = certificate(tmp_path)
    directory = tmp_path / "certs.d/here:5000"
    directory.mkdir(parents=True)
    (directory / "a.cert").symlink_to(cert)
    made = ["openssl", "ec", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out"]
    subprocess.run([*made, directory / "a.key"], check=True, capture_output=True)
    ours, its = pty.openpty()
    os.write(ours, b"secret\n")  # what a prompt would take
    code = "from corten.registry.client.endpoints import *; client_tls((Path(sys.argv[1]),), ('here:5000',))"
    command = ["setsid", "--ctty", sys.executable, "-c", f"import sys; {code}", str(tmp_path / "certs.d")]
    try:
        done = subprocess.run(command, stdin=its, capture_output=True, text=True)
    finally:
        os.close(ours)
        os.close(its)
    assert done.returncode == 1 and "Invalid: certificate" in done.stderr


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
