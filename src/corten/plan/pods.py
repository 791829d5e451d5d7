"""Kubernetes' description of a container in a pod, as Docker's of the same container. Pure.

    config, host = container_request(asked, pod, facts, profile)

`asked` is runtime.v1.ContainerConfig, `pod` the PodSandboxConfig of its sandbox. What Docker has no field for is in
`membership`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

from corten.errors import Invalid, Unsupported
from corten.plan.facts import HostFacts
from corten.plan.paths import clean
from corten.spec.docker.config import Config, HealthConfig
from corten.spec.docker.devices import DeviceMapping, DeviceRequest
from corten.spec.docker.host_config import HostConfig, LogConfig
from corten.spec.docker.mount import BindOptions, ImageOptions, Mount
from corten.spec.id_map import IdRange
from corten.spec.protobuf import cri

NO_CONTEXT = cri.LinuxContainerSecurityContext()
_NO_RESOURCES = cri.LinuxContainerResources()
_PROPAGATION = {
    cri.Propagation.PRIVATE: "rprivate",
    cri.Propagation.HOST_TO_CONTAINER: "rslave",
    cri.Propagation.BIDIRECTIONAL: "rshared",
}
_MAX_ID = 2**31 - 1
_MOST_RANGES = 340  # lines of a uid_map (user_namespaces(7))


def context_of(asked: cri.ContainerConfig) -> cri.LinuxContainerSecurityContext:
    return (asked.linux and asked.linux.security_context) or NO_CONTEXT


def pod_namespaces(pod: cri.PodSandboxConfig) -> cri.NamespaceOption:
    context = pod.linux.security_context if pod.linux else None
    return (context and context.namespace_options) or cri.NamespaceOption()


def check_namespaces(options: cri.NamespaceOption) -> None:
    """Raises Invalid for a mode that does not exist."""
    for kind in ("network", "pid", "ipc"):
        if (mode := getattr(options, kind)) not in tuple(cri.NamespaceMode):
            raise Invalid(f"unknown mode {mode} of the {kind} namespace")


def pod_ids(pod: cri.PodSandboxConfig) -> tuple[list[IdRange], list[IdRange]]:
    """The ranges of the pod's user namespace; empty where it has the host's ids. Raises Invalid, Unsupported."""
    asked = pod_namespaces(pod).userns_options
    if asked is None or asked.mode == cri.NamespaceMode.NODE:
        if asked is not None and (asked.uids or asked.gids):
            raise Invalid("a pod with the host's user namespace has no id mappings")
        return [], []
    if asked.mode != cri.NamespaceMode.POD:
        raise Unsupported(f"user namespace mode {asked.mode} is not supported: there are POD and NODE")
    uids, gids = _ranges(asked.uids), _ranges(asked.gids)
    if not uids or not gids:
        raise Invalid("a pod with a user namespace of its own needs mappings of user ids and of group ids")
    if any(all(each.container for each in ranges) for ranges in (uids, gids)):
        raise Invalid("a pod with a user namespace of its own needs a mapping of id 0: its network is root's there")
    return uids, gids


def _ranges(mappings: Sequence[cri.IDMapping]) -> list[IdRange]:
    if len(mappings) > _MOST_RANGES:
        raise Invalid(f"{len(mappings)} id mappings: the kernel takes {_MOST_RANGES}")
    for each in mappings:
        if each.length <= 0 or max(each.host_id, each.container_id) + each.length >= 1 << 32:
            raise Invalid(f"invalid id mapping {each.container_id} {each.host_id} {each.length}")
    for side in ("container_id", "host_id"):
        begun = 0
        for start, length in sorted((getattr(each, side), each.length) for each in mappings):
            if start < begun:  # the kernel takes none of them then (user_namespaces(7))
                raise Invalid(f"two id mappings have {start} as their {side}")
            begun = start + length
    return [IdRange(each.container_id, each.host_id, each.length) for each in mappings]


def container_request(
    asked: cri.ContainerConfig, pod: cri.PodSandboxConfig, facts: HostFacts, profile: str, addresses: Sequence[str]
) -> tuple[Config, HostConfig]:
    """`profile` is the text of a seccomp profile that is a file of the host's. `addresses` are the pod's. Raises
    Invalid, Unsupported."""
    return _config(asked, pod), _host_config(asked, pod, facts, profile, addresses)


def _config(asked: cri.ContainerConfig, pod: cri.PodSandboxConfig) -> Config:
    if asked.image is None or not asked.image.image:
        raise Invalid("a container needs an image")
    return Config(
        image=asked.image.image,
        hostname="" if pod_namespaces(pod).network == cri.NamespaceMode.NODE else pod.hostname,
        entrypoint=asked.command or None,
        cmd=asked.args or None,
        env=[_variable(each) for each in asked.envs],
        working_dir=asked.working_dir,
        labels=asked.labels,
        user=_user(context_of(asked)),
        tty=asked.tty,
        open_stdin=asked.stdin,
        stdin_once=asked.stdin_once,
        stop_signal=stop_signal(asked.stop_signal),
        healthcheck=HealthConfig(test=["NONE"]),  # probes are the kubelet's
        network_disabled=pod_namespaces(pod).network != cri.NamespaceMode.NODE,  # the pod's is there already
    )


def _variable(asked: cri.KeyValue) -> str:
    try:
        return f"{asked.key}={asked.value.decode()}"
    except UnicodeDecodeError:
        raise Invalid(f"the environment variable {asked.key} is not UTF-8") from None


def stop_signal(number: int) -> str:
    """A signal by the interface's number, "" for the image's. Raises Invalid."""
    if not 0 <= number <= len(cri.SIGNALS):
        raise Invalid(f"unknown stop signal {number}")
    return f"SIG{cri.SIGNALS[number - 1]}" if number else ""


def signal_number(name: str) -> int:
    """The interface's number of a signal, 0 for one that it does not have."""
    plain = name.upper().removeprefix("SIG")
    return cri.SIGNALS.index(plain) + 1 if plain in cri.SIGNALS else 0


def _user(context: cri.LinuxContainerSecurityContext) -> str:
    user = context.run_as_username
    if context.run_as_user is not None:
        user = _id(context.run_as_user.value, "user")
    if context.run_as_group is None:
        return user
    if not user:
        raise Invalid("run_as_group is set, and neither run_as_user nor run_as_username")
    return f"{user}:{_id(context.run_as_group.value, 'group')}"


def _id(value: int, noun: str) -> str:
    if not 0 <= value <= _MAX_ID:
        raise Invalid(f"invalid {noun} id {value}")
    return str(value)


def _host_config(
    asked: cri.ContainerConfig, pod: cri.PodSandboxConfig, facts: HostFacts, profile: str, addresses: Sequence[str]
) -> HostConfig:
    context, namespaces = context_of(asked), context_of(asked).namespace_options or pod_namespaces(pod)
    resources = (asked.linux and asked.linux.resources) or _NO_RESOURCES
    linux = pod.linux or cri.LinuxPodSandboxConfig()
    capabilities, dns = context.capabilities or cri.Capability(), pod.dns_config or cri.DNSConfig()
    node, network = cri.NamespaceMode.NODE, pod_namespaces(pod).network
    on_host = network == node
    return HostConfig(
        network_mode="host" if on_host else "none",
        uts_mode="host" if on_host else "",
        pid_mode="host" if namespaces.pid == node else "",
        ipc_mode="host" if pod_namespaces(pod).ipc == node else "private",
        cgroup_parent=linux.cgroup_parent,
        log_config=LogConfig(type="none"),
        privileged=context.privileged,
        readonly_rootfs=context.readonly_rootfs,
        cap_add=capabilities.add_capabilities or None,
        cap_drop=capabilities.drop_capabilities or None,
        group_add=[_id(group, "group") for group in context.supplemental_groups] or None,
        security_opt=_security(context, profile),
        masked_paths=context.masked_paths or None,
        readonly_paths=context.readonly_paths or None,
        oom_score_adj=max(resources.oom_score_adj, facts.lowest_oom_score_adj),
        sysctls=sysctls(pod) or None,
        dns=dns.servers or None,
        dns_search=dns.searches or None,
        dns_options=dns.options or None,
        extra_hosts=[f"{pod.hostname}:{address}" for address in addresses] if pod.hostname else None,
        mounts=[_mount(each) for each in asked.mounts],
        devices=[_device(each) for each in asked.devices] or None,
        device_requests=_cdi(asked),
        **limits(resources),
    )


def limits(asked: cri.LinuxContainerResources) -> dict[str, Any]:
    """Of Docker's `Resources` those that are set."""
    given: dict[str, Any] = {
        "cpu_period": asked.cpu_period,
        "cpu_quota": asked.cpu_quota,
        "cpu_shares": asked.cpu_shares,
        "memory": asked.memory_limit_in_bytes,
        "memory_swap": asked.memory_swap_limit_in_bytes or (-1 if asked.memory_limit_in_bytes else 0),
        "cpuset_cpus": asked.cpuset_cpus,
        "cpuset_mems": asked.cpuset_mems,
    }
    if asked.hugepage_limits and any(each.limit for each in asked.hugepage_limits):
        raise Unsupported("limits of huge pages are not supported")
    return {name: value for name, value in given.items() if value}


def sysctls(pod: cri.PodSandboxConfig) -> dict[str, str]:
    """Of the pod's namespaces. Raises Invalid for one of the host's."""
    asked = pod.linux.sysctls if pod.linux else {}
    modes = pod_namespaces(pod)
    for name in asked:
        plain = name.replace("/", ".")
        if plain.startswith("net.") and modes.network == cri.NamespaceMode.NODE:
            raise Invalid(f"sysctl {name} is the host's: the pod is in its network")
        if plain.startswith(("kernel.", "fs.mqueue.")) and modes.ipc == cri.NamespaceMode.NODE:
            raise Invalid(f"sysctl {name} is the host's: the pod is in its IPC namespace")
    return asked


def _security(context: cri.LinuxContainerSecurityContext, profile: str) -> list[str]:
    found = ["no-new-privileges"] if context.no_new_privs else []
    asked = context.seccomp
    if asked is None or asked.profile_type == cri.ProfileType.UNCONFINED:
        return [*found, "seccomp=unconfined"]
    if asked.profile_type == cri.ProfileType.LOCALHOST:
        return [*found, f"seccomp={profile}"]
    if asked.profile_type != cri.ProfileType.RUNTIME_DEFAULT:
        raise Invalid(f"unknown kind of seccomp profile: {asked.profile_type}")
    return [*found, "seccomp=builtin"]


def _mount(asked: cri.Mount) -> Mount:
    target = asked.container_path
    if not target.startswith("/"):
        target = posixpath.join("/", target)
    if asked.image is not None and asked.image.image:
        if not asked.readonly:
            raise Invalid(f"mount {target}: an image can be mounted read-only alone")
        options = ImageOptions(subpath=asked.image_sub_path)
        return Mount(type="image", source=asked.image.image, target=target, read_only=True, image_options=options)
    propagation = _PROPAGATION.get(cri.Propagation(asked.propagation)) if 0 <= asked.propagation <= 2 else None
    if propagation is None:
        raise Invalid(f"mount {target}: unknown propagation {asked.propagation}")
    if asked.recursive_read_only and (not asked.readonly or propagation != "rprivate"):
        raise Invalid(f"mount {target}: recursively read-only needs read-only, and private propagation")
    bind = BindOptions(
        propagation=propagation,
        create_mountpoint=True,
        read_only_non_recursive=asked.readonly and not asked.recursive_read_only,
        read_only_force_recursive=asked.recursive_read_only,
    )
    return Mount(type="bind", source=asked.host_path, target=target, read_only=asked.readonly, bind_options=bind)


def idmapped(asked: cri.ContainerConfig, pod: cri.PodSandboxConfig) -> list[str]:
    """Destinations of the mounts whose owners are to be mapped as the pod's ids are, which is the only way that the
    kernel is asked for here. Raises Unsupported for another one."""
    uids, gids = pod_ids(pod)
    found = []
    for mount in asked.mounts:
        if not mount.uid_mappings and not mount.gid_mappings:
            continue
        if (_ranges(mount.uid_mappings), _ranges(mount.gid_mappings)) != (uids, gids):
            raise Unsupported(f"mount {mount.container_path}: id mappings that are not the pod's")
        found.append(clean(mount.container_path))
    return found


def _device(asked: cri.Device) -> DeviceMapping:
    return DeviceMapping(
        path_on_host=asked.host_path,
        path_in_container=asked.container_path or asked.host_path,
        cgroup_permissions=asked.permissions or "rwm",
    )


def _cdi(asked: cri.ContainerConfig) -> list[DeviceRequest] | None:
    names = [each.name for each in asked.cdi_devices]
    return [DeviceRequest(driver="cdi", device_ids=names)] if names else None
