"""Namespaces, sysctls, capabilities, security options and devices of a create request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from corten.engine.oci.devices import cgroup_rule, permissions
from corten.engine.oci.facts import HostFacts
from corten.engine.oci.namespaces import joins, own_network, remapped
from corten.engine.oci.security import normalize_capabilities, parse_security_options
from corten.errors import Invalid

_IPC_SYSCTLS = frozenset(
    f"kernel.{name}" for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split()
)
_SYSCTL = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_:@-]+)+", re.ASCII)
_PERMISSIONS = re.compile(r"[rwm]{1,3}", re.ASCII)


def check_security(host: Mapping[str, Any], facts: HostFacts) -> None:
    """Invalid when a mode, an option or a name is unknown, or does not go with another."""
    _check_modes(host)
    _check_remapped(host, facts)
    normalize_capabilities("CapAdd", _words(host.get("CapAdd")))
    normalize_capabilities("CapDrop", _words(host.get("CapDrop")))
    _check_options(host)
    for key, value in (host.get("Sysctls") or {}).items():
        check_sysctl(key, value, host, facts)
    _check_devices(host)
    for field in ("MaskedPaths", "ReadonlyPaths"):
        for path in host.get(field) or ():
            if not path.startswith("/"):
                raise Invalid(f"invalid {field}: '{path}' is not an absolute path")


def _check_modes(host: Mapping[str, Any]) -> None:
    ipc, pid, uts = host.get("IpcMode") or "", host.get("PidMode") or "", host.get("UTSMode") or ""
    userns, cgroupns = host.get("UsernsMode") or "", host.get("CgroupnsMode") or ""
    if ipc not in ("", "none", "private", "shareable", "host") and not joins(ipc):
        raise Invalid(f"invalid IPC mode: {ipc}")
    if pid not in ("", "host") and not joins(pid):
        raise Invalid(f"invalid PID mode: {pid}")
    if uts not in ("", "host"):
        raise Invalid(f"invalid UTS mode: {uts}")
    if userns not in ("", "host"):
        raise Invalid(f"invalid user namespace mode: {userns}")
    if cgroupns not in ("", "private", "host"):
        raise Invalid(f"invalid cgroup namespace mode: {cgroupns}")


def _check_remapped(host: Mapping[str, Any], facts: HostFacts) -> None:
    """The host's namespaces belong to the host's user namespace: a remapped root has no say in them."""
    if not remapped(host, facts):
        return
    if host.get("Privileged"):
        raise Invalid(
            "privileged mode is incompatible with user namespaces.  "
            "You must run the container in the host namespace when running privileged mode"
        )
    if host.get("NetworkMode") == "host":
        raise Invalid("cannot share the host's network namespace when user namespaces are enabled")
    if host.get("PidMode") == "host":
        raise Invalid("cannot share the host PID namespace when user namespaces are enabled")


def _check_options(host: Mapping[str, Any]) -> None:
    options = [option for option in host.get("SecurityOpt") or () if option != "systempaths=unconfined"]
    profile = parse_security_options(options).seccomp
    if profile in ("", "unconfined", "builtin"):
        return
    try:
        decoded = json.loads(profile)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(decoded, dict):
        raise Invalid("Decoding seccomp profile failed: it is not a JSON object")


def check_sysctl(key: str, value: str, host: Mapping[str, Any], facts: HostFacts) -> None:
    """Only what belongs to a namespace of the container's own may be set; anything else would change the host."""
    if "\n" in value or "\0" in value:
        raise Invalid(f'sysctl "{key}": the value must be one line')
    name = key.replace("/", ".")
    if not _SYSCTL.fullmatch(name):
        raise Invalid(f'sysctl "{key}" is not a valid name')
    if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
        if host.get("IpcMode") == "host":
            raise Invalid(f'sysctl "{key}" is not allowed in the hosts ipc namespace')
    elif name.startswith("net."):
        if (host.get("NetworkMode") or "") == "host":
            raise Invalid(f'sysctl "{key}" not allowed in host network namespace')
        if not own_network(host):
            raise Invalid(f'sysctl "{key}" not allowed in another container\'s network namespace')
    elif name == "kernel.domainname":
        if host.get("UTSMode") == "host":
            raise Invalid(f'sysctl "{key}" not allowed in host UTS namespace')
    elif not (name.startswith("user.") and remapped(host, facts)):
        raise Invalid(f'sysctl "{key}" is not in a separate kernel namespace')


def _check_devices(host: Mapping[str, Any]) -> None:
    for mapping in host.get("Devices") or ():
        for field in ("PathOnHost", "PathInContainer"):
            path = (mapping or {}).get(field) or ""
            if not path.startswith("/") and (path or field == "PathOnHost"):
                raise Invalid(f"'{path}' is not an absolute path")
        _check_device_target(mapping.get("PathInContainer") or mapping["PathOnHost"])
        if not _PERMISSIONS.fullmatch(permissions(mapping)):
            raise Invalid(f"bad mode specified: {permissions(mapping)}")
    for text in host.get("DeviceCgroupRules") or ():
        cgroup_rule(text)
    for request in host.get("DeviceRequests") or ():
        capabilities = "[" + " ".join(f"[{' '.join(names)}]" for names in request.get("Capabilities") or ()) + "]"
        driver = request.get("Driver") or ""
        raise Invalid(f'could not select device driver "{driver}" with capabilities: {capabilities}')


def _check_device_target(path: str) -> None:
    if ".." in path.split("/"):
        raise Invalid(f"'{path}' is not a clean path")


def _words(value: Any) -> list[str]:
    """Go also takes a single string for a list of words."""
    return [value] if isinstance(value, str) else value or []
