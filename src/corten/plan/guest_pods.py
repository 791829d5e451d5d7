"""What a pod in a guest, and a container of it, cannot have: what would be the host's, and what several of them share.

Each is refused by one sentence that says it in Kubernetes' words. What no container in a guest can have, in a pod or
not, is refused by `plan.validate.guest` and `vm.planning`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import Unsupported
from corten.plan.pods import context_of, pod_namespaces
from corten.spec.protobuf import cri

_NODE, _POD, _TARGET = cri.NamespaceMode.NODE, cri.NamespaceMode.POD, cri.NamespaceMode.TARGET
_ALONE = "a container in a guest has its processes to itself"


def check_pod(config: cri.PodSandboxConfig) -> None:
    """Raises Unsupported."""
    for reason in _of_pod(pod_namespaces(config)):
        raise Unsupported(f"a pod in a guest cannot have that: {reason}")


def check_container(asked: cri.ContainerConfig, pod: cri.PodSandboxConfig) -> None:
    """Raises Unsupported."""
    for reason in _of_container(asked, context_of(asked).namespace_options or pod_namespaces(pod)):
        raise Unsupported(f"a container of a pod in a guest cannot have that: {reason}")


def _of_pod(options: cri.NamespaceOption) -> Iterator[str]:
    if options.network == _NODE:
        yield "hostNetwork, because its network is its machine's"
    if options.ipc == _NODE:
        yield "hostIPC, because its kernel is its own"
    yield from _of_processes(options)
    if options.userns_options is not None and options.userns_options.mode != _NODE:
        yield "hostUsers: false, because users of a guest are none of the host's already"


def _of_processes(options: cri.NamespaceOption) -> Iterator[str]:
    if options.pid == _NODE:
        yield "hostPID, because its kernel is its own"
    if options.pid == _POD:
        yield f"shareProcessNamespace, because {_ALONE}: ask for the PID namespace CONTAINER"


def _of_container(asked: cri.ContainerConfig, options: cri.NamespaceOption) -> Iterator[str]:
    yield from _of_processes(options)
    if options.pid == _TARGET:
        yield f"the processes of another container, because {_ALONE}"
    for mount in asked.mounts:
        if mount.propagation == cri.Propagation.BIDIRECTIONAL:
            yield f"mountPropagation Bidirectional of {mount.container_path}: what it mounts stays in its kernel"
