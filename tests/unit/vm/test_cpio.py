"""Archives are what the kernel's documentation says, and what cpio(1) reads."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest

from corten.vm.cpio import Archive


def _archive() -> bytes:
    out = io.BytesIO()
    archive = Archive(out)
    archive.file("/etc/a/b", b"hello", 0o755)
    archive.directory("/etc")
    archive.link("/bin", "usr/bin")
    archive.device("/dev/console", 5, 1)
    archive.file("/etc/a/b", b"the second one of a name")
    archive.end()
    return out.getvalue()


def _entries(data: bytes) -> list[tuple[str, int, bytes, tuple[int, int]]]:
    found = []
    while data:
        assert data[:6] == b"070701"
        fields = [int(data[6 + 8 * index : 14 + 8 * index], 16) for index in range(13)]
        name = data[110 : 110 + fields[11] - 1].decode()
        data = data[110 + fields[11] + -(110 + fields[11]) % 4 :]
        found.append((name, fields[1], data[: fields[6]], (fields[9], fields[10])))
        data = data[fields[6] + -fields[6] % 4 :]
    return found


def test_entries() -> None:
    assert _entries(_archive()) == [
        ("etc", 0o40755, b"", (0, 0)),
        ("etc/a", 0o40755, b"", (0, 0)),
        ("etc/a/b", 0o100755, b"hello", (0, 0)),
        ("bin", 0o120777, b"usr/bin", (0, 0)),
        ("dev", 0o40755, b"", (0, 0)),
        ("dev/console", 0o20600, b"", (5, 1)),
        ("TRAILER!!!", 0, b"", (0, 0)),
    ]


def test_the_same_calls_make_the_same_bytes() -> None:
    assert _archive() == _archive()


def test_cpio_reads_it() -> None:
    if shutil.which("busybox") is None:
        pytest.skip("busybox is missing (Debian package busybox-static)")
    listed = subprocess.run(["busybox", "cpio", "-it"], input=_archive(), capture_output=True, check=True).stdout
    assert listed.split() == [b"etc", b"etc/a", b"etc/a/b", b"bin", b"dev", b"dev/console"]
