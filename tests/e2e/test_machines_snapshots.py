"""corten vm: clones, snapshots in the disks' files and beside them, chains of disks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e_parts.machines import MARKS, Vm, console, place, serving

pytestmark = MARKS


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    yield from serving(tmp_path_factory.mktemp("machines"))


def test_clones_and_snapshots_of_one_that_is_off(vm: Vm) -> None:
    """No guest boots here: QEMU stands still, where it is needed at all."""
    vm.create("base", "--disk", "1g")
    vm.run("vm", "snapshot", "create", "base", "clean")
    assert "has snapshots" in vm.run("vm", "clone", "base", "no", code=1)
    vm.run("vm", "snapshot", "revert", "base", "clean")
    assert vm.inspect("base")["State"]["Status"] == "created"  # type: ignore[index]
    vm.run("vm", "snapshot", "rm", "base", "clean")
    assert vm.run("vm", "clone", "base", "first") == "first\n"
    assert vm.run("vm", "clone", "base", "second") == "second\n"
    disks = vm.inspect("second")["Disks"]
    assert disks[0]["Chain"] == ["base-disk0-base1", "second-disk0"]  # type: ignore[index]
    assert vm.inspect("base")["Disks"][0]["Chain"] == ["base-disk0-base1", "base-disk0"]  # type: ignore[index]
    assert "is in use" in vm.run("volume", "rm", "base-disk0-base1", code=1)
    assert "are based on it" in vm.run("vm", "create", "--disk", "base-disk0-base1", code=1)
    assert "is the disk of a machine" in vm.run("create", "-v", "base-disk0:/x", "corten/busybox", code=1)
    assert "nothing is wrong" in vm.run("system", "check")
    rebases(vm)
    for name in ("second", "first", "base"):
        vm.run("vm", "rm", "-v", name)
    assert vm.run("volume", "ls", "-q") == ""


def rebases(vm: Vm) -> None:
    """A disk takes in what it is based on, all or a part, while QEMU has it open and while none has."""
    vm.run("volume", "create", "-d", "disk", "-o", "backing=second-disk0", "third-disk0")
    vm.create("third", "--disk", "third-disk0", "--network", "none")
    assert "is not based on nothing" in vm.run("vm", "rebase", "--onto", "nothing", "third", "disk0", code=1)
    chain = ["base-disk0-base1", "second-disk0", "third-disk0"]
    assert vm.inspect("third")["Disks"][0]["Chain"] == chain  # type: ignore[index]
    vm.run("vm", "start", "third")
    assert vm.run("vm", "rebase", "third", "disk0", "--onto", chain[0]) == f"{chain[0]} {chain[2]}\n"
    assert vm.run("vm", "rebase", "third", "third-disk0") == f"{chain[2]}\n"
    assert vm.run("vm", "update", "third", "--disk", "disk0=1200m") == "third: disk0: done\n", "its node is known"
    assert "is based on nothing" in vm.run("vm", "rebase", "third", "disk0", code=1)
    vm.run("vm", "kill", "third")
    vm.run("vm", "start", "third")
    vm.run("vm", "rm", "-f", "-v", "third")
    assert vm.run("vm", "rebase", "second", "disk0") == "second-disk0\n"


WRITE = "echo %s | dd of=/dev/vda bs=512 count=1 seek=%d; sync; echo writ''ten"
READ = "cat /mark; dd if=/dev/vda bs=512 count=1 skip=%d iflag=direct | head -c 6; echo; echo se''en"


def chain(vm: Vm, name: str) -> list[str]:
    found: list[str] = vm.inspect(name)["Disks"][0]["Chain"]  # type: ignore[index]
    return found


def test_external_snapshots(vm: Vm) -> None:
    """Beneath the disks, with memory and without: a tree, to each of which one can go back, and which are merged while
    the machine runs and while it is off."""
    vm.run("volume", "create", "-d", "disk", "-o", "size=32m", "-o", "format=raw", "plain")
    vm.create("forked", "--disk", "plain", "--network", "none", "--start")
    vm.ready("forked")
    console(vm, "forked", WRITE % ("first", 9), "written")
    console(vm, "forked", "echo early >/mark; echo do''ne", "done")
    assert vm.run("vm", "snapshot", "create", "--external", "forked", "one") == "one\n"
    assert "one kind at a time" in vm.run("vm", "snapshot", "create", "forked", "inside", code=1)
    console(vm, "forked", "echo late >/mark; echo do''ne", "done")
    console(vm, "forked", WRITE % ("second", 9), "written")
    assert vm.run("vm", "snapshot", "create", "--disk-only", "forked", "two") == "two\n"
    console(vm, "forked", WRITE % ("third", 9), "written")
    assert chain(vm, "forked") == ["plain-base1", "plain-base2", "plain"]
    rows = [line.split()[0::2] for line in vm.run("vm", "snapshot", "ls", "forked").splitlines()[1:]]
    assert rows == [["one", "yes"], ["two", "no"]]
    assert "is in use" in vm.run("volume", "rm", "plain-base1", code=1)
    assert "snapshot two: vm snapshot rm merges it" in vm.run("vm", "commit", "forked", "disk0", code=1)
    vm.daemon.restart_killed()
    vm.run("vm", "snapshot", "revert", "forked", "one")
    said = console(vm, "forked", READ % 9, "seen")
    assert "early" in said and "first" in said
    assert chain(vm, "forked") == ["plain-base1", "plain"]
    console(vm, "forked", WRITE % ("fourth", 9), "written")
    vm.run("vm", "kill", "forked")
    vm.run("vm", "snapshot", "revert", "forked", "two")
    assert vm.inspect("forked")["State"]["Status"] == "exited"  # type: ignore[index]
    vm.run("vm", "start", "forked")
    vm.ready("forked", 2)
    assert "second" in console(vm, "forked", READ % 9, "seen")
    console(vm, "forked", WRITE % ("fifth", 10), "written")
    assert vm.run("vm", "snapshot", "rm", "forked", "one") == "one\n", "in the middle"
    assert chain(vm, "forked") == ["plain-base2", "plain"]
    assert vm.run("vm", "snapshot", "rm", "forked", "two") == "two\n", "beneath what is written"
    assert chain(vm, "forked") == ["plain"]
    assert vm.run("vm", "update", "forked", "--disk", "disk0=48m") == "forked: disk0: done\n", "its node is known"
    console(vm, "forked", WRITE % ("sixth", 11), "written")
    vm.run("vm", "kill", "forked")
    there = vm.daemon.data / "volumes/plain/_data/disk.raw"
    assert [there.read_bytes()[n << 9 :][:6] for n in (9, 10, 11)] == [b"second", b"fifth\n", b"sixth\n"]
    vm.run("vm", "snapshot", "create", "--external", "forked")
    vm.run("vm", "clone", "forked", "linked")
    vm.run("vm", "snapshot", "rm", "forked", "snapshot-1")
    assert (chain(vm, "linked"), chain(vm, "forked")) == (["plain-base1", "linked-disk0"], ["plain-base1", "plain"])
    assert "are based on" in vm.run("vm", "create", "--disk", "plain-base1", code=1)
    assert "in use by volume linked-disk0" in vm.run("vm", "commit", "forked", "disk0", code=1)
    vm.run("vm", "rm", "-v", "linked")
    assert vm.run("vm", "commit", "forked", "plain") == "plain\n"
    assert not any((place(vm, "forked") / "snapshots").iterdir())
    assert "nothing is wrong" in vm.run("system", "check")
    vm.run("vm", "rm", "-v", "forked")


def test_a_revert_behind_a_backup(vm: Vm) -> None:
    """The next backup has all of the disk. So it has to be where QEMU was killed, which is refused otherwise."""
    vm.create("kept", "--disk", "16m", "--network", "none", "--start")
    vm.ready("kept")
    console(vm, "kept", WRITE % ("first", 9), "written")
    vm.run("vm", "backup", "kept", "b1")
    vm.run("vm", "snapshot", "create", "kept", "early")
    console(vm, "kept", WRITE % ("second", 9), "written")
    vm.run("vm", "stop", "kept")
    vm.run("vm", "snapshot", "revert", "kept", "early")
    made = vm.daemon.ask("POST", "/vms/kept/backup", {"Volume": "b2"})[1]
    assert made["Base"] == ""
    vm.run("vm", "kill", "kept")
    assert vm.run("vm", "backup", "kept", "b3", code=1).endswith("is not known any more: take a full one (--full)\n")
    vm.run("vm", "backup", "--full", "kept", "b3")
    vm.run("vm", "rm", "-v", "kept")
    read = [(vm.daemon.data / f"volumes/{name}/_data/disk.qcow2").read_bytes() for name in ("b1", "b2", "b3")]
    assert [(b"first" in data, b"second" in data) for data in read] == [(True, False)] * 3
    vm.run("volume", "rm", "b1", "b2", "b3")
