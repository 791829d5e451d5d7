"""Pods and their containers in the words of Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec

from corten.engine.containers.container import Container
from corten.engine.containers.records import Record, State
from corten.engine.pods.pods import Pod, Pods
from corten.errors import NotFound, Unsupported
from corten.plan import pods as plan
from corten.plan.paths import clean
from corten.spec import user_numbers
from corten.spec.id_map import IdRange
from corten.spec.protobuf import cri

_STATES = {
    "created": cri.State.CREATED,
    "running": cri.State.RUNNING,
    "paused": cri.State.RUNNING,
    "restarting": cri.State.RUNNING,
    "exited": cri.State.EXITED,
    "removing": cri.State.UNKNOWN,
    "dead": cri.State.UNKNOWN,
}
_START_ERROR = 128  # the exit code of what could not be started


class ContainerView(msgspec.Struct):
    """A container of a pod. `pid` and `cgroup` are this host's, for those who look closer."""

    pod: str
    status: cri.ContainerStatus
    pid: int = 0


def pod_status(pod: Pod) -> cri.PodSandboxStatus:
    record, config = pod.record, pod.record.config
    ready = record.state == "ready"
    addresses = record.addresses if ready else []
    return cri.PodSandboxStatus(
        id=record.id,
        metadata=config.metadata,
        state=cri.PodState.READY if ready else cri.PodState.NOT_READY,
        created_at=record.created,
        network=cri.PodSandboxNetworkStatus(
            ip=addresses[0] if addresses else "", additional_ips=[cri.PodIP(each) for each in addresses[1:]]
        ),
        linux=cri.LinuxPodSandboxStatus(cri.Namespace(plan.pod_namespaces(config))),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=record.handler,
    )


def has_ended(state: State) -> bool:
    """Also one that could not be started: nothing starts it again."""
    return _kind(state) == cri.State.EXITED


def view(pods: Pods, container: Container) -> ContainerView:
    record = container.record
    assert record.pod is not None
    asked, state = msgspec.convert(record.pod.config, cri.ContainerConfig), record.state
    kind = _kind(state)
    exited = kind == cri.State.EXITED
    status = cri.ContainerStatus(
        id=record.id,
        metadata=asked.metadata,
        state=kind,
        created_at=record.created,
        started_at=state.started_at,
        finished_at=(state.finished_at or record.created) if exited else 0,
        exit_code=(state.exit_code or (_START_ERROR if state.error and not state.started_at else 0)) if exited else 0,
        image=asked.image,
        image_ref=record.image_id,
        image_id=record.image_id,
        reason=_reason(container) if exited else "",
        message=state.error if exited else "",
        labels=asked.labels,
        annotations=asked.annotations,
        mounts=[_with_image(mount, record) for mount in asked.mounts],
        log_path=record.pod.log,
        resources=cri.ContainerResources(asked.linux.resources if asked.linux else None),
        user=_user(container),
        stop_signal=plan.signal_number(record.config.stop_signal or "SIGTERM"),
    )
    return ContainerView(record.pod.pod, status, state.pid if state.has_task else 0)


def listed(container: Container) -> cri.Container:
    """What a list says of it: a kubelet asks for all of them every second."""
    record = container.record
    assert record.pod is not None
    asked = record.pod.config
    return cri.Container(
        id=record.id,
        pod_sandbox_id=record.pod.pod,
        metadata=msgspec.convert(asked.get("metadata"), cri.ContainerMetadata | None),
        image=msgspec.convert(asked.get("image"), cri.ImageSpec | None),
        image_ref=record.image_id,
        image_id=record.image_id,
        state=_kind(record.state),
        created_at=record.created,
        labels=asked.get("labels") or {},
        annotations=asked.get("annotations") or {},
    )


def _kind(state: State) -> cri.State:
    """What could not be started has exited."""
    kind = _STATES[state.status]
    return cri.State.EXITED if kind == cri.State.CREATED and state.error else kind


def _with_image(mount: cri.Mount, record: Record) -> cri.Mount:
    """An image's mount says which image that was."""
    if mount.image is None or not mount.image.image:
        return mount
    place = clean(mount.container_path)
    id = next((p.source for p in record.mounts if p.type == "image" and p.destination == place), "")
    return replace(mount, image=replace(mount.image, image_ref=id))


def _reason(container: Container) -> str:
    state = container.record.state
    if state.oom_killed:
        return "OOMKilled"
    if state.error and not state.started_at:
        return "StartError"
    return "Completed" if state.exit_code == 0 else "Error"


def _user(container: Container) -> cri.ContainerUser | None:
    """Of its first process; of one that does not run what was asked for in numbers, as names are the image's."""
    task, pod = container.task, container.record.pod
    if task is not None and pod is not None and container.record.state.has_task:
        with suppress(NotFound, Unsupported):
            found = task.credentials()
            gid = _inside(found.gid, pod.gids)
            groups = sorted({gid, *(_inside(each, pod.gids) for each in found.groups)})
            return cri.ContainerUser(cri.LinuxContainerUser(_inside(found.uid, pod.uids), gid, groups))
    user, _, group = container.record.config.user.partition(":")
    asked = [user_numbers.number(text or "0") for text in (user, group)]
    own = [number for number in asked if number is not None]
    if own != asked:
        return None
    also = (user_numbers.number(text) for text in container.record.host_config.group_add or ())
    every = {own[1], *(number for number in also if number is not None)}
    return cri.ContainerUser(cri.LinuxContainerUser(own[0], own[1], sorted(every)))


def _inside(id: int, ranges: Sequence[IdRange]) -> int:
    """What the host's `id` is in the pod."""
    return next((r.container + id - r.host for r in ranges if r.host <= id < r.host + r.size), id)


def member(pods: Pods, id: str) -> Container:
    """A container of a pod. Raises NotFound, Invalid."""
    found = pods.containers.get(id)
    if found.record.pod is None:
        raise NotFound(f"No such container in a pod: {id}")
    return found
