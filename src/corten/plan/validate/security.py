"""Namespaces, sysctls, capabilities, security options and devices of a create request."""

from __future__ import annotations

import json
import re

from corten.errors import Invalid
from corten.plan import cdi
from corten.plan.devices import cgroup_rule, permissions
from corten.plan.facts import HostFacts
from corten.plan.namespaces import joins, own_network, remapped
from corten.plan.security import SecurityOptions, normalize_capabilities, parse_security_options, without_effect
from corten.runtime.sysctls import namespace_of
from corten.spec.docker.host_config import HostConfig

_SYSCTL = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_:@-]+)+", re.ASCII)
_PERMISSIONS = re.compile(r"[rwm]{1,3}", re.ASCII)


def check_security(host: HostConfig, facts: HostFacts) -> list[str]:
    """Warnings. Raises Invalid when a mode, an option or a name is unknown, or does not go with another."""
    _check_modes(host)
    check_remapped(host, facts)
    normalize_capabilities("CapAdd", host.cap_add)
    normalize_capabilities("CapDrop", host.cap_drop)
    options = _check_options(host, facts)
    for key, value in (host.sysctls or {}).items():
        check_sysctl(key, value, host, facts)
    _check_devices(host)
    for field, paths in (("MaskedPaths", host.masked_paths), ("ReadonlyPaths", host.readonly_paths)):
        for path in paths or ():
            if not path.startswith("/"):
                raise Invalid(f"invalid {field}: '{path}' is not an absolute path")
    return without_effect(options)


def _check_modes(host: HostConfig) -> None:
    ipc, pid, uts = host.ipc_mode, host.pid_mode, host.uts_mode
    userns, cgroupns = host.userns_mode, host.cgroupns_mode
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


def check_remapped(host: HostConfig, facts: HostFacts) -> None:
    """The host's namespaces belong to the host's user namespace: a remapped root has no say in them."""
    if not remapped(host, facts):
        return
    if host.privileged:
        raise Invalid(
            "privileged mode is incompatible with user namespaces.  "
            "You must run the container in the host namespace when running privileged mode"
        )
    if host.network_mode == "host":
        raise Invalid("cannot share the host's network namespace when user namespaces are enabled")
    if host.pid_mode == "host":
        raise Invalid("cannot share the host PID namespace when user namespaces are enabled")


def _check_options(host: HostConfig, facts: HostFacts) -> SecurityOptions:
    options = [option for option in host.security_opt or () if option != "systempaths=unconfined"]
    asked = parse_security_options(options)
    if asked.apparmor not in ("", "unconfined") and not facts.apparmor:
        raise Invalid(f"AppArmor profile {asked.apparmor!r} cannot be applied: this machine has no AppArmor")
    profile = asked.seccomp
    if profile in ("", "unconfined", "builtin"):
        return asked
    try:
        decoded = json.loads(profile)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(decoded, dict):
        raise Invalid("Decoding seccomp profile failed: it is not a JSON object")
    return asked


def check_sysctl(key: str, value: str, host: HostConfig, facts: HostFacts) -> None:
    """Only what belongs to a namespace of the container's own may be set; anything else would change the host."""
    if "\n" in value or "\0" in value:
        raise Invalid(f'sysctl "{key}": the value must be one line')
    name = key.replace("/", ".")
    if not _SYSCTL.fullmatch(name):
        raise Invalid(f'sysctl "{key}" is not a valid name')
    kind = namespace_of(name)
    if kind == "ipc":
        if host.ipc_mode == "host":
            raise Invalid(f'sysctl "{key}" is not allowed in the hosts ipc namespace')
    elif kind == "network":
        if (host.network_mode) == "host":
            raise Invalid(f'sysctl "{key}" not allowed in host network namespace')
        if not own_network(host):
            raise Invalid(f'sysctl "{key}" not allowed in another container\'s network namespace')
    elif kind == "uts":
        if host.uts_mode == "host":
            raise Invalid(f'sysctl "{key}" not allowed in host UTS namespace')
    elif not (kind == "user" and remapped(host, facts)):
        raise Invalid(f'sysctl "{key}" is not in a separate kernel namespace')


def _check_devices(host: HostConfig) -> None:
    for mapping in host.devices or ():
        for path in (mapping.path_on_host, mapping.path_in_container or "/"):
            if not path.startswith("/"):
                raise Invalid(f"'{path}' is not an absolute path")
        _check_device_target(mapping.path_in_container or mapping.path_on_host)
        if not _PERMISSIONS.fullmatch(permissions(mapping)):
            raise Invalid(f"bad mode specified: {permissions(mapping)}")
    for text in host.device_cgroup_rules or ():
        cgroup_rule(text)
    for request in host.device_requests or ():
        if request.driver == cdi.DRIVER:
            cdi.names(request)
        elif not cdi.asks_for_gpus(request):
            raise Invalid(cdi.unselectable(request))


def _check_device_target(path: str) -> None:
    if ".." in path.split("/"):
        raise Invalid(f"'{path}' is not a clean path")
