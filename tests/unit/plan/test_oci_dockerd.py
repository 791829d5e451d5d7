"""Our documents against those that a real dockerd (20.10) wrote for the same requests, field by field.

Where ours differ on purpose, the table says why; a difference that is not in the table fails, and so does an entry of
the table that no case needs any more.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from unit.plan.dockerd_cases import CASES, Json
from unit.plan.dockerd_golden import golden, ours, recorded

#: (case, place, why). Both are patterns.
INTENDED = (
    ("*", "spec.ociVersion", "we write 1.2"),
    ("*", "spec.root.path", "the snapshot's mounts are made on <bundle>/rootfs, inside the container's namespace"),
    ("*", "spec.process.user.username", "our runtime looks the USER text up in the container's own files"),
    ("*", "spec.process.user.additionalGids", "dockerd adds the groups of the group file; our runtime does"),
    ("*", "spec.linux.maskedPaths", "newer: interrupts and powercap (side channels) are masked too"),
    ("*", "host_config.MaskedPaths", "newer: as above"),
    ("*", "host_config.RestartPolicy.Name", 'newer: an unset policy is shown as "no"'),
    ("*", "config.NetworkDisabled", "the recording daemon had no bridge"),
    ("*", "config.Image", "the engine fills it in"),
    ("terminal", "spec.process.consoleSize", "newer: the terminal has its size from the start"),
    (
        "*",
        "host_config.SecurityOpt",
        "dockerd: no SELinux labels in the host's namespaces; we have none at all",
    ),
    ("host network", "spec.linux.namespaces", "dockerd joins the host's namespace by path; we never leave it"),
    ("*init", "spec.mounts./sbin/docker-init.options", "ours is in the data root, which may be mounted noexec"),
    ("device bare", "spec.linux.*", "dockerd loses a device that has no path inside; we use the host's path, and rwm"),
    ("device rule", "spec.linux.resources.devices", "dockerd writes a star as -1; OCI says to leave it out"),
    ("wrong letters", "*", "Go's decoder takes field names in any case; we take Docker's names only"),
)

#: Absent, null and Go's zero values mean the same in these documents.
_SAYS_NOTHING: tuple[object, ...] = ({}, [], False, "", None)


def differences(case: str) -> Iterator[tuple[str, Any, Any]]:
    mine, theirs = ours(CASES[case]), recorded(case)
    for part in ("spec", "config", "host_config", "mounts"):
        yield from compare(tidy(part, mine[part]), tidy(part, theirs[part]), part)


def tidy(part: str, value: Any) -> Any:
    """In an order that does not matter: mounts of one depth, and in inspect all of them."""
    if part == "mounts":
        return sorted(value, key=lambda point: point["Destination"])
    if part == "spec":
        asked = sorted(value["mounts"][7:], key=lambda m: (m["destination"].count("/"), m["destination"]))
        memory, cpu, blkio = (value["linux"]["resources"].get(key, {}) for key in ("memory", "cpu", "blockIO"))
        resources = {"memory": nonzero(memory), "cpu": nonzero(cpu), "blockIO": nonzero(blkio)}
        linux = {**value["linux"], "resources": {**value["linux"]["resources"], **resources}}
        return {**value, "mounts": value["mounts"][:7] + asked, "linux": linux}
    return value


def nonzero(group: Json) -> Json:
    return {key: value for key, value in group.items() if value}


def compare(mine: Any, theirs: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in mine.keys() | theirs.keys():
            yield from compare(mine.get(key), theirs.get(key), f"{place}.{key}")
    elif place == "spec.mounts" and [m["destination"] for m in mine] == [m["destination"] for m in theirs]:
        for mount, other in zip(mine, theirs):
            yield from compare(mount, other, f"{place}.{mount['destination']}")
    elif mine != theirs and not (mine in _SAYS_NOTHING and theirs in _SAYS_NOTHING):
        yield place, mine, theirs


@functools.cache
def intended(case: str, place: str) -> int | None:
    for index, (cases, places, _) in enumerate(INTENDED):
        if fnmatch.fnmatchcase(case, cases) and fnmatch.fnmatchcase(place, places):
            return index
    return None


@pytest.mark.parametrize("case", CASES)
def test_document_is_the_one_dockerd_writes(case: str) -> None:
    assert [found for found in differences(case) if intended(case, found[0]) is None] == []


def test_every_intended_difference_is_still_one() -> None:
    used = {intended(case, found[0]) for case in CASES for found in differences(case)}
    assert [INTENDED[index] for index in range(len(INTENDED)) if index not in used] == []


def test_golden_files_are_complete() -> None:
    assert golden("specs")["specs"].keys() == CASES.keys()
