"""dockerd's settings that this engine does without: which are refused, and which are warned about by name.

A value that asks for what the engine does anyway, such as `live-restore: true`, is no reason for a warning.
"""

from __future__ import annotations

from collections.abc import Mapping

from corten.errors import Unsupported

# Booleans, with the value that agrees with what the engine does.
BOOLEANS = {
    "live-restore": True,  # always
    "iptables": True,  # by one nftables table of its own
    "ip6tables": True,
    "ip-forward": True,
    "selinux-enabled": False,
    "experimental": False,
    "raw-logs": False,
    "ip-forward-no-drop": False,
    "allow-direct-routing": False,
}
# Other values; those that agree, besides empty ones.
VALUES: dict[str, tuple[object, ...]] = {
    "allow-nondistributable-artifacts": (),
    "api-cors-header": (),
    "bridge-accept-fwmark": (),
    "cluster-advertise": (),
    "cluster-store": (),
    "containerd": (),
    "containerd-namespace": (),
    "containerd-plugin-namespace": (),
    "containerd-plugins-namespace": (),
    "cpu-rt-period": (),
    "cpu-rt-runtime": (),
    "features": (),
    "firewall-backend": (),
    "network-control-plane-mtu": (),
    "node-generic-resource": (),
    "node-generic-resources": (),
    "storage-opt": (),
    "storage-opts": (),
    "swarm-default-advertise-addr": (),
    "userland-proxy-path": (),
    "exec-opt": ("native.cgroupdriver=cgroupfs",),
    "exec-opts": (["native.cgroupdriver=cgroupfs"],),
    "log-format": ("text",),
    "oom-score-adjust": (0, "0"),
}
# Rules and figures that a machine may depend on: to go on without them would be worse than not to start.
REFUSED = {
    "authorization-plugin": "no request would be asked for",
    "authorization-plugins": "no request would be asked for",
    "metrics-addr": "no metrics are served",
}
_PLURALS = {"exec-opts", "storage-opts", "authorization-plugins", "node-generic-resources"}
FLAGS = frozenset((*VALUES, *REFUSED)) - _PLURALS - {"containerd-plugin-namespace"}
KEYS = frozenset((*BOOLEANS, *VALUES, *REFUSED))


def names(given: Mapping[str, object]) -> tuple[str, ...]:
    """The settings among `given` (by key or flag) whose value has no effect. Raises Unsupported for a refused one."""
    for name, reason in REFUSED.items():
        if given.get(name):
            raise Unsupported(f"{name} is not supported: {reason}")
    found = {name for name, agreed in BOOLEANS.items() if given.get(name, agreed) != agreed}
    found |= {name for name, agreed in VALUES.items() if given.get(name) and given[name] not in agreed}
    return tuple(sorted(found))
