"""What a container has written into its hosts file, for one that shares its network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from corten.engine.containers import files
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig


def container(bundle: Path, mode: str = "") -> Any:
    bundle.mkdir()
    record = SimpleNamespace(config=Config(), host_config=HostConfig(network_mode=mode))
    return SimpleNamespace(bundle=bundle, record=record)


def test_neither_size_nor_bytes_of_anothers_files_matter(tmp_path: Path) -> None:
    first, second = container(tmp_path / "a"), container(tmp_path / "b", "container:first")
    (first.bundle / "hosts").write_bytes(b"127.0.0.1 \xff\n" + bytes(8 << 20))
    (first.bundle / "resolv.conf").write_bytes(b"nameserver 127.0.0.11\n")
    files.write_network(cast(Any, SimpleNamespace(get=lambda name: first)), second)
    written = (second.bundle / "hosts").read_bytes()
    assert written.startswith(b"127.0.0.1 \xff\n") and len(written) == 1 << 20
    assert (second.bundle / "resolv.conf").read_bytes() == b"nameserver 127.0.0.11\n"
