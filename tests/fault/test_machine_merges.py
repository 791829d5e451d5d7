"""The daemon is killed while a disk is merged with what a snapshot has kept, and its guest writes to it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from e2e_parts.machines import MARKS, Vm, console, serving
from fault_parts.fragile import until

pytestmark = MARKS

_FILL = (
    "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do dd if=/bin/busybox of=/dev/vda bs=1M count=2 seek=$((n*2+1))"
    " conv=sync; done 2>/dev/null; sync; echo fil''led"
)
# Each number is in the disk before it is said to be.
_COUNT = (
    "(n=100; while true; do n=$((n+1)); echo $n | dd of=/dev/vda bs=512 seek=10 count=1 conv=fsync 2>/dev/null;"
    " echo $n >/said; done) & until [ -s /said ]; do sleep 0.1; done; echo coun''ts"
)
_READ = "dd if=/dev/vda iflag=direct 2>/dev/null"
_DIGEST = f"echo \"<$({_READ} bs=1M skip=1 count=32 | md5sum | cut -c1-32)>\"; echo e''nd"
_NUMBER = f"echo \"<$({_READ} bs=512 skip=10 count=1 | head -n1)>\"; echo e''nd"
_SAID = "echo \"<$(cat /said)>\"; echo e''nd"


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    yield from serving(tmp_path_factory.mktemp("machines"))


def said(vm: Vm, line: str) -> str:
    return console(vm, "merged", line, "end").rpartition("<")[2].partition(">")[0]


def chain(vm: Vm) -> list[str]:
    found: list[str] = vm.inspect("merged")["Disks"][0]["Chain"]  # type: ignore[index]
    return found


@pytest.mark.parametrize("moment", ["begun", "all"])
def test_a_merge(vm: Vm, moment: str) -> None:
    """The disk is what it was or is merged, and the merge can be done again; nothing of what was written is lost."""
    vm.create("merged", "--disk", "128m", "--network", "none", "--start")
    vm.ready("merged")
    console(vm, "merged", "dd if=/dev/zero of=/dev/vda bs=1M count=2; sync; echo zer''o", "zero")
    vm.run("vm", "snapshot", "create", "--disk-only", "merged", "one")
    console(vm, "merged", _FILL, "filled")
    digest = said(vm, _DIGEST)
    console(vm, "merged", _COUNT, "counts")
    with vm.daemon.connection() as removing, vm.daemon.connection() as looking:
        removing.request("DELETE", "/vms/merged/snapshots/one")
        until(lambda: reached(moment, looking.ask("GET", "/vms/merged/jobs")[1], vm), moment)
        vm.daemon.kill()
    vm.daemon.start()
    number = said(vm, _SAID)
    assert int(said(vm, _NUMBER)) >= int(number) > 100
    assert said(vm, _DIGEST) == digest
    if len(chain(vm)) == 2:
        assert "one" not in vm.run("vm", "snapshot", "ls", "merged")
        vm.run("vm", "commit", "merged", "disk0")
    assert chain(vm) == ["merged-disk0"]
    number = said(vm, _SAID)
    vm.run("vm", "kill", "merged")
    assert "nothing is wrong" in vm.run("system", "check")
    vm.run("vm", "start", "merged")
    vm.ready("merged", 2)
    assert int(said(vm, _NUMBER)) >= int(number)
    assert said(vm, _DIGEST) == digest
    vm.run("vm", "rm", "-f", "-v", "merged")


def reached(moment: str, jobs: Any, vm: Vm) -> bool:
    """So much of the merge is done; it may be over before that is seen."""
    merging = [job for job in jobs if job["Type"] == "commit"]
    if not merging:
        return bool(len(chain(vm)) == 1)
    done, total = merging[0]["Current"], merging[0]["Total"]
    return bool(moment == "begun" or (total and done >= total))
