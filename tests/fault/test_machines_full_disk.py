"""Machines whose data root has no room left: one error each that says so, and the machine goes on as before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.machines import MARKS, Vm, console, place, serving
from image_parts.disks import small_disk

pytestmark = MARKS
_LEFT = 2 << 20  # bytes


@pytest.fixture
def vm(tmp_path: Path) -> Iterator[Vm]:
    with small_disk(tmp_path / "d", 192):
        yield from serving(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ("vm", "snapshot", "create", "held", "full"),
        ("vm", "snapshot", "create", "--external", "held", "full"),
        ("vm", "save", "held"),
    ],
    ids=lambda words: "-".join(words[1:-1]),
)
def test_no_room_for_memory(vm: Vm, command: tuple[str, ...]) -> None:
    vm.create("held", "--disk", "16m", "--network", "none", "--start")
    vm.ready("held")
    console(vm, "held", "echo kept >/mark; echo do''ne", "done")
    before = _files(vm)
    filling = vm.daemon.data / "filling"
    filling.write_bytes(bytes(shutil.disk_usage(vm.daemon.data).free - _LEFT))
    said = vm.run(*command, code=1)
    assert "no space left" in said.lower() and said.count("\n") == 1, said
    assert "kept" in console(vm, "held", "cat /mark; echo re''ad", "read")
    assert vm.run("vm", "snapshot", "ls", "-q", "held") == "" and _files(vm) == before
    filling.unlink()
    vm.run(*command)
    vm.run("vm", "rm", "-f", "-v", "held")


def _files(vm: Vm) -> list[str]:
    """What the machine has in its directory and its volumes."""
    roots = (place(vm, "held"), vm.daemon.data / "volumes")
    return sorted(str(path) for root in roots for path in root.rglob("*") if path.is_file())
