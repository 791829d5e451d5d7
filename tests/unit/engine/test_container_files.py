"""What a container does with its hosts file, which others share or the engine writes again."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from corten.engine.containers import files
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from leases import leased


def container(bundle: Path, mode: str = "") -> Any:
    bundle.mkdir()
    record = SimpleNamespace(config=Config(), host_config=HostConfig(network_mode=mode))
    return SimpleNamespace(id=bundle.name, bundle=bundle, record=record)


def test_neither_size_nor_bytes_of_anothers_files_matter(tmp_path: Path) -> None:
    first, second = container(tmp_path / "a"), container(tmp_path / "b", "container:first")
    (first.bundle / "hosts").write_bytes(b"127.0.0.1 \xff\n" + bytes(8 << 20))
    (first.bundle / "resolv.conf").write_bytes(b"nameserver 127.0.0.11\n")
    files.write_network(cast(Any, SimpleNamespace(get=lambda name: first)), second)
    written = (second.bundle / "hosts").read_bytes()
    assert written.startswith(b"127.0.0.1 \xff\n") and len(written) == 1 << 20
    assert (second.bundle / "resolv.conf").read_bytes() == b"nameserver 127.0.0.11\n"


def test_a_lease_on_a_file_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = container(tmp_path / "a"), container(tmp_path / "b", "container:first")
    for one in (first, second):
        for name in ("hosts", "resolv.conf"):
            (one.bundle / name).write_text("")
    containers = cast(Any, SimpleNamespace(get=lambda name: first))
    started = time.monotonic()
    with leased(second.bundle / "hosts"), caplog.at_level(logging.WARNING):
        files.rewrite_network(containers, second)
    assert "container b keeps its hosts and resolv.conf" in caplog.text
    with leased(first.bundle / "hosts"), pytest.raises(BlockingIOError):
        files.write_network(containers, second)
    assert time.monotonic() - started < 10  # the kernel would hold an open(2) up for 45 s
