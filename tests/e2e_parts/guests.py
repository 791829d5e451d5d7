"""Tests of commands whose containers have guests: which they are, and what a guest cannot have."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.cortend import Cortend
from e2e_parts.patience import until

FILES = ("test_run", "test_exec", "test_life", "test_logs", "test_terminal", "test_networks_live")
ALONE = ("test_guest_networks", "test_guest_devices", "test_guest_silence")  # files for guests and no others
CHOSEN = {  # of files that take too long as a whole
    "test_network": (
        "test_containers_reach_each_other_and_the_host",
        "test_published_ports",
        "test_names_and_addresses",
        "test_mac_address",
    ),
}
FLAGS = ("--default-runtime", "vm")
_KERNEL = Path(__file__).parents[2] / ".venv/share/corten/kernel/boot"

_DISK = "a guest's disk is mounted by its guest alone: the working directory is made at the start"
REFUSED = {
    "test_the_working_directory_is_made_by_create": _DISK,
    "test_a_working_directory_that_is_there_is_left_alone": _DISK,
    "test_a_line_of_a_gigabyte": "a gigabyte takes minutes through the port of an emulated guest",
    "test_a_rate_is_kept_to_and_changed_while_it_runs": "limits of a guest's traffic are refused",
    "test_update_changes_what_runs": "it reads control groups v1; a guest has v2 (tests/vm/test_tasks.py)",
}


# Of these the same daemon does the same for a container beside a guest: what is left out differs on the host alone.
_ENOUGH: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "test_exit_codes": lambda chosen: chosen["code"] in (255, 128 + 15),
    "test_the_runtime_by_dockerd_s_names": lambda _: False,  # by these it has no guest
    "test_an_empty_home_is_the_user_s": lambda chosen: chosen["home"] == "/",
    "test_kill_answers_when_it_has_ended": lambda chosen: chosen["signal"] == "",
    "test_following_over_rotations_of_one_file": lambda chosen: chosen["driver"] == "local",
    "test_the_start_says_how_the_stream_is_framed": lambda chosen: (
        chosen["version"] == "1.45" and chosen["created"] == chosen["started"]
    ),
}


def missing() -> str:
    """Why this machine has no guests; "" when it has."""
    if shutil.which("qemu-system-x86_64") is None:
        return "needs qemu-system-x86_64 (Debian package qemu-system-x86)"
    return "" if _KERNEL.is_dir() else "needs a kernel for guests (scripts/guest-kernel)"


def daemons(file: str, test: str) -> list[str]:
    """What containers of that test's daemons are in; none for a daemon that knows no guests."""
    if file in ALONE:
        return ["vm"]
    return ["process", "vm"] if file in FILES or test in CHOSEN.get(file, ()) else []


def begin(running: Cortend, shared: Path) -> None:
    """Start that daemon, with one guest made. The first of a run boots it; what that has stored (kernel, first file
    system, memory of a guest) is what the others begin from. `shared` is a directory of the run's."""
    place, stored = running.data / "vm", shared / "vm"
    with (shared / "vm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if stored.is_dir():
            provide(running, shared)
        running.start()
        running.warm_up({"Isolation": "vm"})
        running.warm_up({"Isolation": "vm", "Memory": 64 << 20})  # guests with volumes begin from the same
        booted = [event["Action"] for event in running.events(0)].count("boot")
        assert booted == (0 if stored.is_dir() else 2)
        if not stored.is_dir():
            until(lambda: len([*place.glob("templates*/*.sum")]) == 2)  # which come last
            shutil.copytree(place, shared / "vm.new", copy_function=_link)
            (shared / "vm.new").rename(stored)


def provide(running: Cortend, shared: Path) -> None:
    """Give a daemon that has not been started what another one of this run has booted."""
    running.data.mkdir(mode=0o711)
    shutil.copytree(shared / "vm", running.data / "vm", copy_function=_link)


def _link(source: str, target: str) -> None:
    """None of these files is ever written to again. They may be on other file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def repeats(test: pytest.Item) -> bool:
    """In guests one client is enough: what another one asks is the same. So are some of the parameters."""
    if not in_guests(test):
        return False
    chosen = _parameters(test)
    if {chosen.get(name, "docker") for name in ("cli", "every")} != {"docker"}:
        return True
    enough = _ENOUGH.get(getattr(test, "originalname", ""))
    return enough is not None and not enough(chosen)


def in_guests(test: pytest.Item) -> bool:
    return _parameters(test).get("daemon") == "vm"


def times(daemon: Cortend, count: int, in_guests: int) -> int:
    """How often, or how many: a guest's start takes a hundred times a container's."""
    return in_guests if FLAGS[0] in daemon.command else count


def _parameters(test: pytest.Item) -> dict[str, Any]:
    callspec = getattr(test, "callspec", None)
    return {} if callspec is None else callspec.params


def refused(test: pytest.Item) -> str:
    """Why a test is none for guests; "" for one that is, and without guests."""
    if not in_guests(test):
        return ""
    return REFUSED.get(getattr(test, "originalname", ""), "")
