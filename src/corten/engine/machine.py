"""Where this program and its data come from: what `version` and `info` say of it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import corten
from corten.spec.docker import times

UNKNOWN = "<unknown>"


@cache
def commit() -> str:
    """The commit of the clone that this package runs from, seven digits; empty when it was installed."""
    git = Path(corten.__file__).resolve().parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if head.startswith("ref: "):
            head = _resolved(git, head.removeprefix("ref: "))
    except OSError:
        return ""
    return head[:7]


def _resolved(git: Path, name: str) -> str:
    """gitrepository-layout(5): a reference is a file of its own, or a line of packed-refs."""
    try:
        return (git / name).read_text().strip()
    except FileNotFoundError:
        lines = (git / "packed-refs").read_text().splitlines()
        return next((line.partition(" ")[0] for line in lines if line.endswith(f" {name}")), "")


@cache
def installed() -> str:
    """When this package was put where it is (RFC 3339)."""
    return times.rfc3339(os.stat(corten.__file__).st_mtime_ns)


@cache
def file_system(place: Path) -> str:
    """The type of the file system that a directory is on (proc_pid_mountinfo(5)), "<unknown>" where no mount has its
    device, as on btrfs."""
    device = os.stat(place).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo") as file:
        for line in file:
            mount, _, source = line.partition(" - ")
            if mount.split()[2] == wanted:
                return source.split()[0]
    return UNKNOWN
