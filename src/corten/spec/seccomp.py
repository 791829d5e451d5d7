"""Docker's seccomp profiles (its own JSON, with conditions) resolved to OCI's linux.seccomp (without).

An entry of a profile may hold only with a capability, on an architecture, or from a kernel on: "includes" must all be
true, "excludes" must all be false. What is left when the conditions are decided is OCI's list.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from corten.errors import Invalid
from corten.spec import seccomp_default
from corten.spec.json import Json

# Machine (uname) to Go's name, which profiles use in conditions, and to libseccomp's.
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}


def default(capabilities: Collection[str], machine: str, kernel: str) -> Json:
    """Docker's default profile as OCI's linux.seccomp.

    `capabilities` is the bounding set ("CAP_CHOWN"), `machine` and `kernel` are uname's words ("x86_64", "6.18.2-x").
    """
    resolved = resolve(_default_profile(), capabilities, machine, kernel)
    assert resolved is not None  # the default has a default action
    return resolved


@cache
def _default_profile() -> Json:
    return seccomp_default.profile()


def resolve(profile: Json, capabilities: Collection[str], machine: str, kernel: str) -> Json | None:
    """The OCI form of a profile of --security-opt seccomp=FILE. None for an empty one, which means unconfined. What is
    OCI's already (flags, listenerPath) is kept. Raises Invalid when it is of the wrong shape."""
    if not isinstance(profile, dict):
        raise Invalid("seccomp profile is no JSON object")
    if not profile.get("defaultAction") and not profile.get("syscalls"):
        return None
    try:
        return _resolve(profile, capabilities, machine, kernel)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid(f"seccomp profile is of the wrong shape: {error!r}") from error


def _resolve(profile: Json, capabilities: Collection[str], machine: str, kernel: str) -> Json:
    go, native = _MACHINES[machine]
    if profile.get("architectures") and profile.get("archMap"):
        raise Invalid("seccomp profile has both architectures and archMap; only one of them can hold")
    found: Json = {
        key: profile[key]
        for key in ("defaultAction", "defaultErrnoRet", "flags", "listenerPath", "listenerMetadata")
        if profile.get(key) is not None
    }
    architectures = list(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == native:
            architectures = [native, *(entry.get("subArchitectures") or ())]
            break
    if architectures:
        found["architectures"] = architectures
    release = _version(kernel)
    entries = (_named(entry) for entry in profile.get("syscalls") or ())
    found["syscalls"] = [_oci(entry) for entry in entries if _holds(entry, capabilities, go, release)]
    return found


def _named(entry: Json) -> Json:
    """Profiles of before 2016 have one "name" an entry."""
    if not entry.get("name"):
        return entry
    if entry.get("names"):
        raise Invalid("seccomp profile has an entry with both name and names")
    return {**entry, "names": [entry["name"]]}


def _oci(entry: Json) -> Json:
    found = {"names": list(entry["names"]), "action": entry["action"]}
    if entry.get("errnoRet") is not None:
        found["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        found["args"] = [dict(argument) for argument in entry["args"]]
    return found


def _holds(entry: Json, capabilities: Collection[str], go: str, release: tuple[int, int]) -> bool:
    excludes, includes = entry.get("excludes") or {}, entry.get("includes") or {}
    if go in (excludes.get("arches") or ()) or any(name in capabilities for name in excludes.get("caps") or ()):
        return False
    if excludes.get("minKernel") and release >= _version(excludes["minKernel"]):
        return False
    if includes.get("arches") and go not in includes["arches"]:
        return False
    if not all(name in capabilities for name in includes.get("caps") or ()):
        return False
    return not includes.get("minKernel") or release >= _version(includes["minKernel"])


def _version(text: str) -> tuple[int, int]:
    """ "6.18.44-fc" is (6, 18)."""
    major, minor = text.split(".")[:2]
    return int(major), int("".join(digit for digit in minor.split("-")[0] if digit.isdigit()))
