"""Capabilities, security options and hidden paths: Docker's default profile, and what a container may change of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from corten.errors import Invalid
from corten.plan.facts import HostFacts
from corten.spec.docker.host_config import HostConfig
from corten.units.booleans import parse_bool

#: moby's default set. Bounding, permitted and effective only: an inheritable one lets file capabilities give it to
#: another user (CVE-2022-24769).
DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

#: capabilities(7), in the kernel's numbering. A name is "unknown" when it is not here, whatever this machine has.
KNOWN_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)
_KNOWN = frozenset(KNOWN_CAPABILITIES)

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


class SecurityOptions(NamedTuple):
    """SecurityOpt, taken apart.

    seccomp  "" for the daemon's default, "unconfined", "builtin", or the text of a profile (JSON)
    apparmor "" for the default; the profile's name otherwise
    labels   SELinux: the values of every label=
    """

    seccomp: str = ""
    no_new_privileges: bool = False
    apparmor: str = ""
    labels: tuple[str, ...] = ()
    writable_cgroups: bool = False


def parse_security_options(options: Iterable[str] | None, default_no_new_privileges: bool = False) -> SecurityOptions:
    """Docker's --security-opt values, `key=value` or the older `key:value`. Raises Invalid for an unknown one."""
    labels: list[str] = []
    single: dict[str, Any] = {"no_new_privileges": default_no_new_privileges}
    for option in options or ():
        if option == "no-new-privileges":
            single["no_new_privileges"] = True
        elif option == "disable":
            labels.append(option)
        else:
            key, value = _keyed_option(option)
            if key == "label":
                labels.append(value)
            else:
                single[key] = value
    return SecurityOptions(labels=tuple(labels), **single)


def _keyed_option(option: str) -> tuple[str, Any]:
    """("label", its value), or a field of SecurityOptions and its value."""
    key, separator, value = option.partition("=")
    if not separator:
        key, separator, value = option.partition(":")
    if not separator:
        raise Invalid(f'invalid --security-opt 1: "{option}"')
    if key in ("label", "apparmor", "seccomp"):
        return key, value
    if key in ("no-new-privileges", "writable-cgroups"):
        return key.replace("-", "_"), _boolean(option, value)
    raise Invalid(f'invalid --security-opt 2: "{option}"')


def without_effect(options: SecurityOptions) -> list[str]:
    """Warnings: what was asked for and will not be."""
    labels = [label for label in options.labels if label != "disable"]
    return [f"SELinux is not supported: the label {label!r} has no effect" for label in labels]


def unfiltered(host_config: HostConfig, profile: str) -> bool:
    """Whether no system call is filtered. A privileged container has no default profile, and may ask for one."""
    return profile == "unconfined" or (host_config.privileged and not profile)


def _boolean(option: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise Invalid(f'invalid --security-opt 2: "{option}"') from None


def normalize_capabilities(field: str, names: Sequence[str] | None) -> list[str]:
    """Upper case, with CAP_ in front; "ALL" stays. Raises Invalid for an unknown name, in Docker's words."""
    result = []
    for name in names or ():
        upper = name.upper()
        if upper != "ALL":
            upper = upper if upper.startswith("CAP_") else "CAP_" + upper
            if upper not in _KNOWN:
                raise Invalid(f'invalid {field}: unknown capability: "{upper}"')
        result.append(upper)
    return result


def capabilities(host_config: HostConfig, facts: HostFacts) -> list[str]:
    """What a container's first process may hold: its bounding, permitted and effective set.

    The seccomp profile is selected for this list. A privileged container gets everything that the daemon could give.
    """
    if host_config.privileged:
        return list(facts.capabilities)
    added, dropped = host_config.cap_add, host_config.cap_drop
    if not added and not dropped:
        return list(DEFAULT_CAPABILITIES)
    adds, drops = normalize_capabilities("CapAdd", added), normalize_capabilities("CapDrop", dropped)
    if "ALL" in adds:
        return [name for name in facts.capabilities if name not in drops]
    base = [] if "ALL" in drops else [name for name in DEFAULT_CAPABILITIES if name not in drops]
    return base + [name for name in dict.fromkeys(adds) if name not in base]


def capability_sets(names: Sequence[str], root: bool = True) -> dict[str, list[str]]:
    """OCI's process.capabilities: inheritable and ambient stay out, which means empty.

    A user other than root holds none, as after execve(2); the bounding set says what set-user-ID programs may get.
    """
    sets = {"bounding": list(names)}
    return {**sets, "effective": list(names), "permitted": list(names)} if root else sets


def hidden_paths(host_config: HostConfig, facts: HostFacts) -> tuple[list[str], list[str]]:
    """(maskedPaths, readonlyPaths). A client's empty list unmasks; null means Docker's own."""
    if host_config.privileged:
        return [], []
    masked, readonly = host_config.masked_paths, host_config.readonly_paths
    return (
        list(dict.fromkeys((*MASKED_PATHS, *facts.thermal_paths) if masked is None else masked)),
        list(READONLY_PATHS if readonly is None else readonly),
    )
