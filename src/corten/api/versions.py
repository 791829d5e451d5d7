"""API versions: the prefix of a path, its bounds in Docker's words, and what differs between versions."""

from __future__ import annotations

import re
from typing import NamedTuple

from corten.engine.system import API_VERSION, MIN_API_VERSION
from corten.errors import Invalid

_PREFIX = re.compile(r"/v([0-9]{1,4})\.([0-9]{1,4})(?=/|\Z)")


class Version(NamedTuple):
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def parse(text: str) -> Version:
    major, _, minor = text.partition(".")
    return Version(int(major), int(minor))


NEWEST, OLDEST = parse(API_VERSION), parse(MIN_API_VERSION)

# What came with which version, by the name that code here asks for.
WEBSOCKET_BYTES = Version(1, 28)  # websockets have binary messages
WAIT_FLUSHES = Version(1, 30)  # wait answers its head at once
STREAM_TYPES = Version(1, 42)  # attach, exec and logs distinguish framed output from raw
STOP_SIGNAL = Version(1, 42)  # stop and restart take a signal
PLATFORM_AT_CREATE = Version(1, 41)
MANIFESTS = Version(1, 47)  # of an image's index: lists, and inspect from 1.48
PLATFORM_AT_HISTORY = Version(1, 48)
PLATFORM_AT_INSPECT = Version(1, 49)
PRUNE_NAMED_VOLUMES = Version(1, 42)  # below, prune takes named volumes too
DF_TYPES = Version(1, 42)
CONSOLE_SIZE = Version(1, 42)


def split(path: str, oldest: Version = OLDEST) -> tuple[Version, str]:
    """The version that a path asks for (the newest when none) and the rest of the path.

    Raises Invalid outside the bounds.
    """
    found = _PREFIX.match(path)
    if found is None:
        return NEWEST, path
    version = Version(int(found[1]), int(found[2]))
    if version > NEWEST:
        raise Invalid(f"client version {version} is too new. Maximum supported API version is {NEWEST}")
    if version < oldest:
        raise Invalid(
            f"client version {version} is too old. Minimum supported API version is {oldest}, "
            "please upgrade your client to a newer version"
        )
    return version, path[found.end() :]
