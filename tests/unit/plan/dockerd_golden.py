"""dockerd's recorded answers, and our own to the same requests, brought into one form so that they can be compared."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from corten.plan.document import container_spec
from corten.plan.facts import ALL_CONTROLS, DeviceNode, HostFacts, MountPoint, SpecInputs
from corten.plan.mount_points import inspect_mount
from corten.plan.mounts import bundle_files
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig
from docker_json import merge_config, mount_points, normalize_host_config
from unit.plan.dockerd_cases import IMAGES, Json

_GOLDEN = Path(__file__).with_name("golden")
BUNDLE = "{data}/containers/{id}"


@functools.cache
def golden(part: str) -> Json:
    found: Json = json.loads((_GOLDEN / f"dockerd_{part}.json").read_text())
    return found


def apply(base: Json, difference: Json) -> Json:
    """The inverse of the recorder's `difference`."""
    result = {key: value for key, value in base.items() if key not in difference.get("-", ())}
    for key, value in difference.items():
        if key != "-":
            nested = isinstance(value, dict) and isinstance(base.get(key), dict)
            result[key] = apply(base[key], value) if nested else value
    return copy.deepcopy(result)


def recorded(name: str) -> Json:
    """dockerd's whole answer to one of CASES."""
    cases = golden("specs")["specs"]
    return cases["plain"] if name == "plain" else apply(cases["plain"], cases[name])


def devices(path: str) -> Sequence[DeviceNode]:
    """What the recorder had made."""
    found = {
        "/dev/null": [DeviceNode("/dev/null", "c", 1, 3, 0o666)],
        "/{src}/devs": [
            DeviceNode("/{src}/devs/deep/z", "c", 1, 7, 0o644),
            DeviceNode("/{src}/devs/x", "c", 1, 3, 0o644),
            DeviceNode("/{src}/devs/y", "c", 1, 5, 0o644),
        ],
        "/dev": [DeviceNode("/dev/null", "c", 1, 3, 0o666)],
    }
    if path not in found:
        raise FileNotFoundError(2, "No such file or directory", path)
    return found[path]


def facts(**other: Any) -> HostFacts:
    """The recording machine."""
    capabilities = recorded("privileged")["spec"]["process"]["capabilities"]["bounding"]
    known: dict[str, Any] = {
        "capabilities": tuple(capabilities),
        "cpus": golden("specs")["cpus"],
        "cpuset_cpus": frozenset(range(golden("specs")["cpus"])),
        "controls": ALL_CONTROLS - {"blkio_weight", "blkio_weight_device", "cpu_rt"},
        "recursive_readonly": False,
        "init_path": "/usr/bin/docker-init",
        "devices": devices,
        "runtimes": frozenset({"record"}),
        "default_runtime": "record",
    }
    return HostFacts(**{**known, **other})


def sourced(point: MountPoint) -> MountPoint:
    """With the source and name that the engine would give it."""
    if point.type != "volume":
        return point
    name = point.name or "{hex}"
    return replace(point, name=name, source="{data}/volumes/" + name + "/_data")


def absolute(request: Json) -> Json:
    """The request with its place holder turned into something that looks like a path."""
    made: Json = json.loads(json.dumps(request).replace("{src}", "/{src}"))
    return made


def parsed(request: Json) -> tuple[Config, HostConfig, list[MountPoint]]:
    """(Config, HostConfig, mount points) as the engine would record them."""
    asked = absolute(request)
    _, image = IMAGES.get(request.get("Image", "plain"), ([], {}))
    config = merge_config(image, {key: value for key, value in asked.items() if key != "HostConfig"})
    config = config.replace(hostname=config.hostname or ("{host}" if host_network(request) else "{id12}"))
    host = normalize_host_config(asked.get("HostConfig"), facts())
    return config, host, [sourced(point) for point in mount_points(config, host)]


def host_network(request: Json) -> bool:
    return (request.get("HostConfig") or {}).get("NetworkMode") == "host"


def ours(request: Json) -> Json:
    """Our answer in the form of the recorded ones."""
    config, host, points = parsed(request)
    parent = host.cgroup_parent or "/docker"
    namespaces = {"network": "{exec}/netns/default"} if host.network_mode == "host" else {}
    inputs = SpecInputs(
        "{id}",
        "name",
        config,
        host,
        Path("/bundle"),
        bundle_files(BUNDLE),
        points,
        namespaces,
        {"defaultAction": "SCMP_ACT_ERRNO"},
        f"{parent}/{{id}}",
        f"{BUNDLE}/mounts/shm" if host.ipc_mode == "shareable" else None,
    )
    spec = container_spec(inputs, facts())
    spec["linux"]["seccomp"] = "seccomp" in spec["linux"]
    if host.privileged:
        del spec["linux"]["devices"]  # not recorded: all devices of a machine
    mounts = [inspect_mount(point) for point in points]
    answer = {"spec": spec, "config": config.to_json(), "host_config": host.to_json(), "mounts": mounts}
    made: Json = json.loads(json.dumps(answer).replace("/{src}", "{src}"))
    return made
