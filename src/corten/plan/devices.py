"""Device nodes in a container's /dev, and which devices its processes may open."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from corten.errors import Invalid
from corten.plan.facts import DeviceNode, HostFacts
from corten.spec.docker.devices import DeviceMapping
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json

_RULE = re.compile(r"([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})", re.ASCII)


def _allow(kind: str, major: int, minor: int) -> Json:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": "rwm"}


#: Deny everything, then null, zero, full, random, urandom, tty, console; fuse is refused even to images that ask.
DEFAULT_RULES: tuple[Json, ...] = (
    {"allow": False, "access": "rwm"},
    _allow("c", 1, 5),
    _allow("c", 1, 3),
    _allow("c", 1, 9),
    _allow("c", 1, 8),
    _allow("c", 5, 0),
    _allow("c", 5, 1),
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
)
PRIVILEGED_RULES: tuple[Json, ...] = ({"allow": True, "access": "rwm"},)


def device_rules_and_nodes(host: HostConfig, facts: HostFacts) -> tuple[list[Json], list[Json]]:
    """(linux.resources.devices, linux.devices). Raises Invalid when a requested device does not exist."""
    if host.privileged:
        return [dict(rule) for rule in PRIVILEGED_RULES], _privileged_nodes(host, facts)
    rules, nodes = [dict(rule) for rule in DEFAULT_RULES], []
    for mapping in host.devices or ():
        for node, inside in _mapped(mapping, facts):
            nodes.append(_node(node, inside))
            rules.append({**_allow(node.type, node.major, node.minor), "access": permissions(mapping)})
    rules.extend(cgroup_rule(text) for text in host.device_cgroup_rules or ())
    return rules, nodes


def cgroup_rule(text: str) -> Json:
    """One --device-cgroup-rule, "c 13:* rwm". A star is an absent number in OCI's form."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise Invalid(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    rule: Json = {"allow": True, "type": kind}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return {**rule, "access": access}


def permissions(mapping: DeviceMapping) -> str:
    return mapping.cgroup_permissions or "rwm"


def _privileged_nodes(host: HostConfig, facts: HostFacts) -> list[Json]:
    """Every device of the host, and those of --device once more where they are to have another place."""
    nodes = [_node(node, node.path) for node in _devices("/dev", facts)]
    for mapping in host.devices or ():
        if mapping.path_in_container not in ("", mapping.path_on_host):
            nodes += [_node(node, inside) for node, inside in _mapped(mapping, facts)]
    return nodes


def _mapped(mapping: DeviceMapping, facts: HostFacts) -> list[tuple[DeviceNode, str]]:
    """The devices of one --device with their places inside; a directory stands for everything below it."""
    source = mapping.path_on_host
    target = mapping.path_in_container or source
    nodes = _devices(source, facts)
    if len(nodes) == 1 and nodes[0].path == posixpath.normpath(source):
        return [(nodes[0], target)]
    return [(node, posixpath.join(target, posixpath.relpath(node.path, source))) for node in nodes]


def _devices(path: str, facts: HostFacts) -> Sequence[DeviceNode]:
    try:
        nodes = facts.devices(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Invalid(f'error gathering device information while adding custom device "{path}": {reason}') from error
    if not nodes:
        raise Invalid(f'error gathering device information while adding custom device "{path}": not a device node')
    return nodes


def _node(node: DeviceNode, inside: str) -> Json:
    return {
        "path": inside,
        "type": node.type,
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    }
