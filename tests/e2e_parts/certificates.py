"""An authority, a server at 127.0.0.1 and a client, by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def make(root: Path) -> None:
    """ca.pem; and what it signed for the server (server.pem, server-key.pem) and a client (cert.pem, key.pem)."""

    def openssl(words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=root, check=True, capture_output=True)

    openssl(f"req -x509 {KEY} -subj /CN=ca -keyout ca-key.pem -out ca.pem")
    for use, key, cert in (("server", "server-key.pem", "server.pem"), ("client", "key.pem", "cert.pem")):
        (root / "ext").write_text(f"extendedKeyUsage={use}Auth\nsubjectAltName=IP:127.0.0.1\n")
        openssl(f"req {KEY} -subj /CN={use} -keyout {key} -out {use}.csr")
        openssl(f"x509 -req -in {use}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -extfile ext -out {cert}")
