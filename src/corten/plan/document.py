"""Docker's description of a container as an OCI runtime document (specification 1.2), as dockerd would write it.

Pure: the same arguments give the same document. An example, a container as `docker run -m 64m alpine sh` asks for it:

    config = merge_config(image["config"], {"Cmd": ["sh"], "Hostname": "3c5a0b"})
    host = normalize_host_config({"Memory": 64 << 20}, facts)
    points = [replace(p, source=volumes.path(p.name)) if p.type == "volume" else p
              for p in mount_points(config, host)]
    spec = container_spec(
        SpecInputs(
            id=id, name="tidy_fox", config=config, host_config=host, bundle=bundle,
            files=bundle_files(str(bundle)), mounts=points,
            namespaces={"network": f"/run/corten/netns/{id}"},
            seccomp=profile_for(capabilities(host, facts)), cgroup_path=f"/corten/{id}",
        ),
        facts,
    )
    (bundle / "config.json").write_bytes(encode(spec))

Two things are left to the runtime, because only it sees the container's files: `process.user.username` (Docker's USER
text, looked up in the container's passwd and group) and HOME. Group names of --group-add travel in the annotation
`dev.corten.groups`.
"""

from __future__ import annotations

from corten.plan.devices import device_rules_and_nodes
from corten.plan.facts import HostFacts, SpecInputs
from corten.plan.mounts import mounts, root_propagation
from corten.plan.namespaces import id_maps, namespaces, remapped, sysctls
from corten.plan.process import GROUPS_ANNOTATION, container_process, named_groups
from corten.plan.resources import resources
from corten.plan.security import hidden_paths, parse_security_options, unfiltered
from corten.spec.json import Json

OCI_VERSION = "1.2.0"


def container_spec(inputs: SpecInputs, facts: HostFacts) -> Json:
    """config.json of one container. Raises Invalid when a device, an option or a mount cannot be had."""
    host = inputs.host_config
    spec: Json = {
        "ociVersion": OCI_VERSION,
        "process": container_process(inputs, facts),
        "root": {"path": "rootfs", "readonly": host.readonly_rootfs},
        "mounts": mounts(inputs, facts),
        "linux": _linux(inputs, facts),
    }
    if host.uts_mode != "host":
        spec["hostname"] = inputs.config.hostname
    annotations = {**(host.annotations or {}), **inputs.annotations}
    groups = named_groups(host.group_add or ())
    if groups:
        annotations[GROUPS_ANNOTATION] = groups
    if annotations:
        spec["annotations"] = annotations
    return spec


def _linux(inputs: SpecInputs, facts: HostFacts) -> Json:
    host = inputs.host_config
    rules, nodes = device_rules_and_nodes(host, facts)
    masked, readonly = hidden_paths(host, facts)
    linux: Json = {
        "namespaces": namespaces(inputs, facts),
        "resources": {"devices": rules, **resources(host, facts)},
        "sysctl": sysctls(inputs, facts),
        "maskedPaths": masked,
        "readonlyPaths": readonly,
    }
    if nodes:
        linux["devices"] = nodes
    if inputs.cgroup_path:
        linux["cgroupsPath"] = inputs.cgroup_path
    if remapped(host, facts) and "user" not in inputs.namespaces:
        linux["uidMappings"], linux["gidMappings"] = id_maps(facts.uid_map), id_maps(facts.gid_map)
    propagation = root_propagation(inputs.mounts)
    if propagation:
        linux["rootfsPropagation"] = propagation
    if inputs.seccomp is not None and not _unconfined(inputs, facts):
        linux["seccomp"] = inputs.seccomp
    return linux


def _unconfined(inputs: SpecInputs, facts: HostFacts) -> bool:
    host = inputs.host_config
    return unfiltered(host, parse_security_options(host.security_opt).seccomp)
