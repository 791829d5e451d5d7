"""Device nodes in a container's /dev, and which devices its processes may open."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from corten.errors import Invalid
from corten.plan.facts import DeviceNode, HostFacts
from corten.plan.isolation import in_guest
from corten.spec.default_devices import RULES, allow
from corten.spec.docker.devices import DeviceMapping
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json

_RULE = re.compile(r"([acb]) ([0-9]{1,10}|\*):([0-9]{1,10}|\*) ([rwm]{1,3})", re.ASCII)


PRIVILEGED_RULES: tuple[Json, ...] = ({"allow": True, "access": "rwm"},)


def device_rules_and_nodes(host: HostConfig, facts: HostFacts) -> tuple[list[Json], list[Json]]:
    """(linux.resources.devices, linux.devices). Raises Invalid when a requested device does not exist."""
    if host.privileged:
        return [dict(rule) for rule in PRIVILEGED_RULES], _privileged_nodes(host, facts)
    rules, nodes = [dict(rule) for rule in RULES], []
    if in_guest(host, facts):  # its numbers are its kernel's: see `block_devices`
        return rules, []
    for mapping in host.devices or ():
        for node, inside in _mapped(mapping, facts):
            nodes.append(_node(node, inside))
            rules.append({**allow(node.type, node.major, node.minor), "access": permissions(mapping)})
    rules.extend(cgroup_rule(text) for text in host.device_cgroup_rules or ())
    return rules, nodes


class BlockDevice(NamedTuple):
    """A device of the host that a container in a guest has at `path`, with the access of --device ("rwm")."""

    node: DeviceNode
    path: str
    access: str


def block_devices(host: HostConfig, facts: HostFacts) -> list[BlockDevice]:
    """Those of --device for a guest, which gets a disk for each. Raises Invalid when one does not exist, or is none."""
    found = []
    for mapping in host.devices or ():
        for node, inside in _mapped(mapping, facts):
            if node.type != "b":
                raise Invalid(f"conflicting options: isolation vm and {node.path}, which is no block device")
            found.append(BlockDevice(node, inside, permissions(mapping)))
    return found


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
    """Every device of the host, and those of --device once more where they are to have another place. In a guest they
    are another kernel's."""
    if in_guest(host, facts):
        return []
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
    except (OSError, ValueError) as error:  # ValueError: a NUL
        reason = (getattr(error, "strerror", None) or str(error)).lower()
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
