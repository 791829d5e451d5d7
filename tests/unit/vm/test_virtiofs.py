"""What shares directories with a guest: its command line, and the memory that it shares with the guest."""

from __future__ import annotations

import os

import pytest

from corten.errors import Unsupported
from corten.kernel import memfd
from corten.vm import template, virtiofs


def test_its_command_line() -> None:
    line = virtiofs.arguments("/usr/lib/qemu/virtiofsd", 3, 1000)
    assert line[:4] == ["/usr/lib/qemu/virtiofsd", "--fd=3", "-f", "--rlimit-nofile=1000"]
    options = [value for option, value in zip(line[4::2], line[5::2], strict=True) if option == "-o"]
    assert {"source=/share", "sandbox=namespace", "announce_submounts", "modcaps=-mknod:-setfcap"} <= {*options}


def test_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtiofs, "PROGRAM", "/nowhere/virtiofsd")
    with pytest.raises(Unsupported, match=r"/nowhere/virtiofsd is missing, .*: install qemu-system-common"):
        virtiofs.program()


@pytest.mark.parametrize("pages", [(), (0,), (1, 2, 40), (63,)], ids=["none", "first", "some", "last"])
def test_a_copy_of_a_templates_memory(pages: tuple[int, ...]) -> None:
    """The same bytes, in a file of its own; holes take no memory, and no process can make it shorter."""
    saved = memfd.empty("saved", 64 * 4096)
    for page in pages:
        os.pwrite(saved, bytes([page + 1]) * 4096, page * 4096)
    memfd.seal(saved)
    made = template._copy(saved)
    try:
        assert os.pread(made, 65 * 4096, 0) == os.pread(saved, 65 * 4096, 0)
        assert os.fstat(made).st_blocks == os.fstat(saved).st_blocks
        assert os.pwrite(made, b"x", 0) == 1
        with pytest.raises(PermissionError):
            os.ftruncate(made, 4096)
    finally:
        os.close(made)
        os.close(saved)
