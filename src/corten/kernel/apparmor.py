"""AppArmor: which profile the next program of this process is confined by (apparmor(7), proc(5) "attr")."""

from __future__ import annotations

import os

UNCONFINED = "unconfined"
_ENABLED = "/sys/module/apparmor/parameters/enabled"
_PLACES = ("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec")  # the first since Linux 5.1, with other modules


def enabled() -> bool:
    """Whether this kernel has AppArmor, and it is switched on."""
    try:
        with open(_ENABLED, "rb") as file:
            return file.read(1) == b"Y"
    except FileNotFoundError:
        return False


def confine_next_program(profile: str) -> None:
    """Have execve(2) change to `profile`, also in processes that are forked before. Needs the host's /proc.

    Raises OSError: for a profile that is not loaded, and where there is no AppArmor, unless it is "unconfined".
    """
    if not enabled():
        if profile == UNCONFINED:
            return
        raise OSError(0, f"AppArmor profile {profile!r} cannot be applied: this machine has no AppArmor")
    place = next((path for path in _PLACES if os.path.exists(path)), _PLACES[-1])
    try:
        with open(place, "wb", buffering=0) as file:
            file.write(f"exec {profile}".encode())
    except FileNotFoundError as error:
        raise OSError(error.errno, f"AppArmor profile {profile!r} is not loaded") from error
    except OSError as error:
        raise OSError(error.errno, f"cannot apply AppArmor profile {profile!r}: {error.strerror}") from error
