"""What CDI devices change in a specification. Pure, but for the host's device files, which `facts` knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corten.errors import Invalid, Unsupported
from corten.plan.facts import DeviceNode, HostFacts
from corten.plan.merge import override_env
from corten.spec.cdi import DeviceName, Edits, Mount, Node, parse_name
from corten.spec.docker.devices import DeviceRequest
from corten.spec.json import Json

DRIVER = "cdi"
GPU_KINDS = ("nvidia.com/gpu", "amd.com/gpu")  # what `--gpus` means, where a file has devices of the kind


def names(request: DeviceRequest) -> list[DeviceName]:
    """The devices of a request with the driver "cdi". Raises Invalid."""
    if request.count:
        raise Invalid("cdi device requests have names, and no count")
    if not request.device_ids:
        raise Invalid("a cdi device request needs the names of devices")
    return [parse_name(text) for text in request.device_ids]


def asks_for_gpus(request: DeviceRequest) -> bool:
    """`--gpus`. The other capabilities that it may name (compute, utility) say what libraries are wanted."""
    return request.driver in ("", "nvidia", "amd") and any("gpu" in each for each in request.capabilities or ())


def gpu_names(request: DeviceRequest, known: Iterable[DeviceName]) -> list[DeviceName]:
    """The devices of `--gpus`, of the first vendor that has any. Raises Invalid when none has."""
    if request.count and request.device_ids:
        raise Invalid("cannot set both Count and DeviceIDs on device request")
    there = {device.kind for device in known}
    kind = next((kind for kind in GPU_KINDS if kind in there and kind.startswith(request.driver)), "")
    if not kind:
        raise Invalid(unselectable(request))
    if request.device_ids:
        return [DeviceName(kind, id) for id in request.device_ids]
    if request.count < 0:
        return [DeviceName(kind, "all")]
    return [DeviceName(kind, str(number)) for number in range(request.count or 1)]


def unselectable(request: DeviceRequest) -> str:
    """Docker's words."""
    capabilities = "[" + " ".join(f"[{' '.join(each)}]" for each in request.capabilities or ()) + "]"
    return f'could not select device driver "{request.driver}" with capabilities: {capabilities}'


def check(edits: Edits, where: str) -> None:
    """Raises Unsupported for what would be left out."""
    if edits.hooks:
        kinds = ", ".join(sorted({hook.hook_name for hook in edits.hooks}))
        raise Unsupported(f"{where} has hooks ({kinds}), which are not supported")
    if edits.intel_rdt:
        raise Unsupported(f"{where} has intelRdt, which is not supported")


def apply(spec: Json, edits: Sequence[Edits], facts: HostFacts) -> None:
    """Change `spec`, a container's, as the edits say, in their order. Raises Invalid for a device that is not there."""
    for edit in edits:
        process = spec["process"]
        process["env"] = override_env(process["env"], edit.env)
        for node in edit.device_nodes:
            _add_node(spec, node, facts)
        for mount in edit.mounts:
            _add_mount(spec, mount)
        for gid in edit.additional_gids:
            groups = process["user"].setdefault("additionalGids", [])
            if gid and gid not in groups:
                groups.append(gid)


def _add_node(spec: Json, node: Node, facts: HostFacts) -> None:
    linux = spec["linux"]
    found = _found(node, facts)
    uid = spec["process"]["user"].get("uid", 0)
    gid = spec["process"]["user"].get("gid", 0)
    entry = {
        "path": node.path, "type": found.type, "major": found.major, "minor": found.minor,
        "fileMode": found.mode if node.file_mode is None else node.file_mode,
        "uid": node.uid if node.uid is not None else uid or found.uid,
        "gid": node.gid if node.gid is not None else gid or found.gid,
    }  # fmt: skip
    others = [device for device in linux.get("devices") or () if device["path"] != node.path]
    linux["devices"] = [*others, entry]
    rule = {"allow": True, "type": found.type, "major": found.major, "minor": found.minor}
    linux["resources"]["devices"].append({**rule, "access": node.permissions or "rwm"})


def _found(node: Node, facts: HostFacts) -> DeviceNode:
    if node.type in ("c", "b", "u") and (node.major or node.minor):
        return DeviceNode(node.path, "c" if node.type == "u" else node.type, node.major, node.minor, 0o666)
    path = node.host_path or node.path
    try:
        (found,) = facts.devices(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else "not a device node"
        raise Invalid(f'error gathering device information of CDI device node "{path}": {reason}') from None
    if node.type and node.type != found.type:
        raise Invalid(f'CDI device node "{path}" is of type {found.type!r}, not {node.type!r}')
    return found


def _add_mount(spec: Json, mount: Mount) -> None:
    """Behind those that are there, with what lies above it first."""
    kind = {"type": mount.type} if mount.type else {}
    options = list(mount.options)
    if not kind and not {"bind", "rbind"} & set(options):
        options.append("rbind")
    entry = {"destination": mount.container_path, "source": mount.host_path, **kind, "options": options}
    spec["mounts"] = [each for each in spec["mounts"] if each["destination"] != mount.container_path] + [entry]
