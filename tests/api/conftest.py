from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes.daemon import Connection, Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as running:
        yield running


@pytest.fixture
def http(daemon: Daemon) -> Iterator[Connection]:
    connection = Connection(daemon)
    yield connection
    connection.close()


@pytest.fixture
def raw(daemon: Daemon) -> Iterator[socket.socket]:
    """A connection without a client library."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(60)
        made.connect(daemon.socket)
        yield made
