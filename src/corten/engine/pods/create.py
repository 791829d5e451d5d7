"""Making a container in a pod: what was asked for as Docker's request, and what a pod has beyond that."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from corten.aio.threads import alone
from corten.engine.containers import create as container_create
from corten.engine.containers.container import Container
from corten.engine.containers.records import Membership
from corten.engine.pods.pods import Pod, Pods
from corten.engine.pods.records import Record
from corten.engine.pods.status import has_ended
from corten.errors import Conflict, Invalid, Unavailable, Unsupported
from corten.kernel import paths
from corten.plan import guest_pods
from corten.plan import pods as plan
from corten.plan.facts import HostFacts
from corten.plan.isolation import in_guest
from corten.plan.pod_texts import check_texts
from corten.plan.runtimes import VM
from corten.spec.docker.config import NetworkingConfig
from corten.spec.docker.host_config import HostConfig
from corten.spec.protobuf import cri

T = TypeVar("T")
log = logging.getLogger(__name__)
_LOOK = 10.0  # seconds
_PROFILE = 1 << 20  # bytes of a seccomp profile
_OTHERS = re.compile(r"[^a-zA-Z0-9_.-]")


async def create(pods: Pods, pod: Pod, asked: cri.ContainerConfig) -> Container:
    """A container in the pod, not started. Raises Conflict when there is one of its name, or the pod does not run;
    NotFound for an image that is not there; Invalid, Unsupported, Unavailable."""
    async with pod.lock:
        record, containers = pod.record, pods.containers
        if pod.gone or record.state != "ready":
            raise Conflict(f"pod {pod.id} does not run")
        check_texts(asked)
        if record.guest:
            guest_pods.check_container(asked, record.config)
            _check_alone(pods, pod)
        member = _membership(pods, pod, asked)
        await _look(lambda: _make_parent(member.log))
        profile = await _look(lambda: _profile(asked))
        asked = await _look(lambda: _followed(asked))
        facts = containers.configuration.facts
        config, host = plan.container_request(asked, record.config, facts, profile, record.addresses)
        host = _handled(host, record, facts)
        name = _name(pod, asked)
        container, warnings = await container_create.create(
            containers, name, config, host, NetworkingConfig(), pod=member
        )
        resources = asked.linux.resources if asked.linux else None
        if resources is not None and resources.oom_score_adj < facts.lowest_oom_score_adj:
            low = facts.lowest_oom_score_adj
            warnings.append(f"oom_score_adj is {low}, the lowest this daemon may set, not {resources.oom_score_adj}")
        for warning in warnings:
            log.warning("container %s in pod %s: %s", container.id, pod.id, warning)
        return container


def _handled(host: HostConfig, record: Record, facts: HostFacts) -> HostConfig:
    """As its pod was made, whatever the daemon's default is by now."""
    if record.guest:
        return host.replace(isolation=VM)
    host = host.replace(runtime=record.handler)
    return host.replace(isolation="process") if in_guest(host, facts) else host


def _check_alone(pods: Pods, pod: Pod) -> None:
    """Init containers, and those that take the place of one that has ended, come one after the other."""
    for other in pods.members(pod):
        if not (has_ended(other.record.state) or other.gone):
            raise Unsupported(
                f"a pod in a guest has one container at a time, and {other.record.name} of pod {pod.id} has not ended: "
                "put its containers into pods of their own, or use another runtime class"
            )


def _membership(pods: Pods, pod: Pod, asked: cri.ContainerConfig) -> Membership:
    if asked.metadata is None or not asked.metadata.name:
        raise Invalid("a container of a pod needs metadata with a name")
    options, context = plan.pod_namespaces(pod.record.config), plan.context_of(asked)
    own = context.namespace_options or options
    plan.check_namespaces(own)
    uids, gids = plan.pod_ids(pod.record.config)
    shares = [] if pod.record.on_host else ["network"] if pod.record.guest else ["network", "uts"]
    if options.ipc != cri.NamespaceMode.NODE and not pod.record.guest:
        shares.append("ipc")
    target = ""
    if own.pid == cri.NamespaceMode.POD:
        if options.pid != cri.NamespaceMode.POD:
            raise Invalid("the container is to be among the pod's processes, and the pod was made without such")
        shares.append("pid")
    elif own.pid == cri.NamespaceMode.TARGET:
        target = _target(pods, pod, own.target_id)
    return Membership(
        pod=pod.id,
        shares=shares,
        target=target,
        log=_log_path(pod, asked.log_path),
        uids=uids,
        gids=gids,
        ambient=list(context.capabilities.add_ambient_capabilities) if context.capabilities else [],
        idmapped=plan.idmapped(asked, pod.record.config),
        strict=context.supplemental_groups_policy == cri.GroupsPolicy.STRICT,
        config=msgspec.to_builtins(asked),
    )


def _target(pods: Pods, pod: Pod, id: str) -> str:
    found = pods.containers.get(id)
    if found.record.pod is None or found.record.pod.pod != pod.id:
        raise Invalid(f"container {id} is not one of pod {pod.id}")
    return found.id


def _log_path(pod: Pod, path: str) -> str:
    """Below the pod's log directory. Raises Invalid for one that leads out of it."""
    directory = pod.record.config.log_directory
    if not path or not directory:
        return ""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise Invalid(f"the log path {path!r} leads out of the pod's log directory")
    return os.path.join(directory, path)


def _make_parent(path: str) -> None:
    if path:
        paths.make_public(os.path.dirname(path))


def _profile(asked: cri.ContainerConfig) -> str:
    """The text of a seccomp profile that is a file of this host."""
    profile = plan.context_of(asked).seccomp
    if profile is None or profile.profile_type != cri.ProfileType.LOCALHOST or plan.context_of(asked).privileged:
        return "unconfined"
    path = profile.localhost_ref.removeprefix("localhost/")
    if not path.startswith("/"):
        raise Invalid(f"the seccomp profile {path!r} is not an absolute path")
    try:
        with open(path, "rb") as file:
            data = file.read(_PROFILE + 1)
    except OSError as error:
        raise Invalid(f"the seccomp profile {path}: {os.strerror(error.errno or 0).lower()}") from error
    if len(data) > _PROFILE:
        raise Invalid(f"the seccomp profile {path} has more than {_PROFILE} bytes")
    return data.decode(errors="replace")


def _followed(asked: cri.ContainerConfig) -> cri.ContainerConfig:
    """Links of host paths are followed once, now: what they lead to later is not what was asked for."""
    found = msgspec.convert(msgspec.to_builtins(asked), cri.ContainerConfig)
    for mount in found.mounts:
        if mount.image is None or not mount.image.image:
            if not mount.host_path.startswith("/"):
                raise Invalid(f"the host path {mount.host_path!r} of a mount is not absolute")
            mount.host_path = os.path.realpath(mount.host_path)
    return found


async def _look(work: Callable[[], T]) -> T:
    """On file systems of the host, which may not answer. Raises Unavailable, Invalid."""
    try:
        return await alone(work, _LOOK)
    except TimeoutError:
        raise Unavailable("a file system of this host does not answer") from None
    except OSError as error:
        raise Invalid(f"{error.filename}: {os.strerror(error.errno or 0).lower()}") from error


def _name(pod: Pod, asked: cri.ContainerConfig) -> str:
    """As `docker ps` shows it; unique because its parts are."""
    assert asked.metadata is not None
    of_pod = pod.record.metadata
    parts = (asked.metadata.name, of_pod.name, of_pod.namespace, of_pod.uid, str(asked.metadata.attempt))
    return _OTHERS.sub("-", "_".join(("k8s", *parts)))
