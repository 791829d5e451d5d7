"""The system's certificate authorities are loaded by who verifies a server, and by no other process."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

import corten

PROGRAM = """
import json, os
before = dict(os.environ)
import {module}
import aiohttp.connector
from corten.http import authorities
contexts = (aiohttp.connector._SSL_CONTEXT_VERIFIED, authorities.verifying())
print(json.dumps([[context.cert_store_stats()["x509_ca"] for context in contexts], before == dict(os.environ)]))
"""
SOURCE = Path(corten.__file__).parent


@pytest.mark.parametrize("module", ["corten.daemon.main", "corten.cri.server", "corten.registry.server.serve"])
def test_aiohttp_has_none(module: str) -> None:
    """Nor does what hides them stay in the environment."""
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert system, "this machine has none: Debian's package ca-certificates"
    for variables in ({}, {"SSL_CERT_DIR": "/etc/ssl/certs"}):
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT")} | variables
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(module=module)], env=environ, capture_output=True, check=True
        )
        assert json.loads(done.stdout) == [[0, system], True]


def test_every_session_is_given_them_or_needs_none() -> None:
    """One of its own contexts would refuse every server."""
    sessions = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if "ClientSession(" in path.read_text()}
    by_name = {"registry/client/web.py", "registry/server/webhooks.py"}
    assert sessions == by_name | {"cri/daemon.py"}, "the last one connects to a socket file"
    assert all("connector=connector()" in (SOURCE / path).read_text() for path in by_name)
