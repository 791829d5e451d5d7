"""runtime.v1.RuntimeService: pods, and containers in them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from corten.cri.daemon import Daemon, part
from corten.cri.execution import run
from corten.cri.streaming.server import Ports, Streaming
from corten.cri.streaming.sessions import Session
from corten.errors import Conflict, CortenError, Invalid, NotFound, NotModified, Unavailable
from corten.http2.grpc import Call, Function
from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message

M = TypeVar("M", bound=Message)
PREFIX = "/runtime.v1.RuntimeService/"
_EMPTY = cri.Empty()


class ContainerView(msgspec.Struct):
    """As the daemon has it (`corten.engine.pods.status`)."""

    pod: str
    status: cri.ContainerStatus
    pid: int = 0


class Handler(msgspec.Struct, rename="pascal"):
    """The same (`corten.engine.pods.handlers`)."""

    name: str
    user_namespaces: bool
    recursive_read_only_mounts: bool
    reason: str

    def shown(self) -> cri.RuntimeHandler:
        features = cri.RuntimeHandlerFeatures(
            recursive_read_only_mounts=self.recursive_read_only_mounts, user_namespaces=self.user_namespaces
        )
        return cri.RuntimeHandler(self.name, features)


class Made(msgspec.Struct):
    id: str = msgspec.field(name="Id")


def function(kind: type[M], answer: Callable[[M], Awaitable[Message]]) -> Function:
    """A call with one request and one answer."""

    async def served(call: Call) -> bytes:
        return (await answer(kind.decode(await call.request()))).encode()

    return served


class Runtime:
    def __init__(self, daemon: Daemon, streaming: Streaming) -> None:
        self._daemon = daemon
        self._streaming = streaming

    def functions(self) -> dict[str, Function]:
        table: Mapping[str, Function] = {
            "Version": function(cri.VersionRequest, self.version),
            "Status": function(cri.StatusRequest, self.status),
            "RuntimeConfig": function(cri.Empty, self.runtime_config),
            "UpdateRuntimeConfig": function(cri.Empty, self.nothing),
            "RunPodSandbox": function(cri.RunPodSandboxRequest, self.run_pod),
            "StopPodSandbox": function(cri.StopPodSandboxRequest, self.stop_pod),
            "RemovePodSandbox": function(cri.RemovePodSandboxRequest, self.remove_pod),
            "PodSandboxStatus": function(cri.PodSandboxStatusRequest, self.pod_status),
            "ListPodSandbox": function(cri.ListPodSandboxRequest, self.list_pods),
            "UpdatePodSandboxResources": function(cri.UpdatePodSandboxResourcesRequest, self.update_pod),
            "CreateContainer": function(cri.CreateContainerRequest, self.create),
            "StartContainer": function(cri.StartContainerRequest, self.start),
            "StopContainer": function(cri.StopContainerRequest, self.stop),
            "RemoveContainer": function(cri.RemoveContainerRequest, self.remove),
            "ListContainers": function(cri.ListContainersRequest, self.list_containers),
            "ContainerStatus": function(cri.ContainerStatusRequest, self.container_status),
            "UpdateContainerResources": function(cri.UpdateContainerResourcesRequest, self.update),
            "ReopenContainerLog": function(cri.ReopenContainerLogRequest, self.reopen_log),
            "ExecSync": function(cri.ExecSyncRequest, self.exec_sync),
            "Exec": function(cri.ExecRequest, self.exec),
            "Attach": function(cri.AttachRequest, self.attach),
            "PortForward": function(cri.PortForwardRequest, self.port_forward),
        }
        return {PREFIX + name: served for name, served in table.items()}

    # ----------------------------------------------------------------------------------------------------- the engine

    async def version(self, _: cri.VersionRequest) -> Message:
        found = await self._daemon.ask("GET", "/version", dict[str, Any])
        return cri.VersionResponse("0.1.0", "corten", str(found["Version"]), "v1")

    async def status(self, request: cri.StatusRequest) -> Message:
        """RuntimeReady is whether the daemon answers. Its own network is there when it does."""
        info = {}
        try:
            about = await self._daemon.ask("GET", "/info", dict[str, Any])
        except Unavailable as error:
            reason, message = "DaemonUnavailable", str(error)
            conditions = [cri.RuntimeCondition(kind, False, reason, message) for kind in _CONDITIONS]
            return cri.StatusResponse(cri.RuntimeStatus(conditions))
        conditions = [cri.RuntimeCondition("RuntimeReady", True), await self._network_condition()]
        handlers = await self._daemon.ask("GET", "/pods/handlers", list[Handler])
        if request.verbose:
            info["config"] = json.dumps({"sandboxImage": "", "cgroupDriver": "cgroupfs"})
            info["handlers"] = json.dumps({each.name: each.reason or "ready" for each in handlers})
            info["daemon"] = json.dumps({key: about.get(key) for key in ("ServerVersion", "DockerRootDir", "Driver")})
        return cri.StatusResponse(
            cri.RuntimeStatus(conditions),
            info,
            [each.shown() for each in handlers if not each.reason],
            cri.RuntimeFeatures(supplemental_groups_policy=True),
        )

    async def _network_condition(self) -> cri.RuntimeCondition:
        """Our own network is there when the daemon is; one by plugins may lack them, or be configured wrongly."""
        try:
            await self._daemon.do("GET", "/pods/network")
        except CortenError as error:
            return cri.RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", str(error))
        return cri.RuntimeCondition("NetworkReady", True)

    async def runtime_config(self, _: cri.Empty) -> Message:
        return cri.RuntimeConfigResponse(cri.LinuxRuntimeConfiguration(cri.CgroupDriver.CGROUPFS))

    async def nothing(self, _: cri.Empty) -> Message:
        return _EMPTY

    # ----------------------------------------------------------------------------------------------------------- pods

    async def run_pod(self, request: cri.RunPodSandboxRequest) -> Message:
        if request.config is None:
            raise Invalid("a pod needs a configuration")
        query = {"handler": request.runtime_handler} if request.runtime_handler else {}
        made = await self._daemon.ask("POST", "/pods/create", Made, request.config, query)
        return cri.RunPodSandboxResponse(made.id)

    async def stop_pod(self, request: cri.StopPodSandboxRequest) -> Message:
        with suppress(NotFound):
            await self._daemon.do("POST", f"/pods/{part(request.pod_sandbox_id)}/stop")
        return _EMPTY

    async def remove_pod(self, request: cri.RemovePodSandboxRequest) -> Message:
        with suppress(NotFound):
            await self._daemon.do("DELETE", f"/pods/{part(request.pod_sandbox_id)}")
        return _EMPTY

    async def pod(self, id: str) -> cri.PodSandboxStatus:
        return await self._daemon.ask("GET", f"/pods/{part(id)}/json", cri.PodSandboxStatus)

    async def pod_status(self, request: cri.PodSandboxStatusRequest) -> Message:
        found, views = await asyncio.gather(self.pod(request.pod_sandbox_id), self.views())
        info = {"info": json.dumps({"runtimeHandler": found.runtime_handler})} if request.verbose else {}
        own = [view.status for view in views if view.pod == found.id]
        return cri.PodSandboxStatusResponse(found, info, own, time.time_ns())

    async def pods(self) -> list[cri.PodSandboxStatus]:
        return await self._daemon.ask("GET", "/pods/json", list[cri.PodSandboxStatus])

    async def list_pods(self, request: cri.ListPodSandboxRequest) -> Message:
        asked = request.filter or cri.PodSandboxFilter()
        found = [
            cri.PodSandbox(
                each.id,
                each.metadata,
                each.state,
                each.created_at,
                each.labels,
                each.annotations,
                each.runtime_handler,
            )
            for each in await self.pods()
            if each.id.startswith(asked.id)
            and (asked.state is None or asked.state.state == each.state)
            and selected(asked.label_selector, each.labels)
        ]
        return cri.ListPodSandboxResponse(found)

    async def update_pod(self, request: cri.UpdatePodSandboxResourcesRequest) -> Message:
        """The pod's control group is the kubelet's: only whether there is such a pod is answered."""
        await self.pod(request.pod_sandbox_id)
        return _EMPTY

    # ----------------------------------------------------------------------------------------------------- containers

    async def create(self, request: cri.CreateContainerRequest) -> Message:
        if request.config is None:
            raise Invalid("a container needs a configuration")
        path = f"/pods/{part(request.pod_sandbox_id)}/containers"
        made = await self._daemon.ask("POST", path, Made, request.config)
        return cri.CreateContainerResponse(made.id)

    async def start(self, request: cri.StartContainerRequest) -> Message:
        view = await self.view(request.container_id)
        if view.status.state != cri.State.CREATED:
            raise Conflict(f"container {view.status.id} is not in the state that is created")
        with suppress(NotModified):  # an earlier call has, whose answer was lost
            await self._daemon.do("POST", f"/containers/{view.status.id}/start")
        return _EMPTY

    async def stop(self, request: cri.StopContainerRequest) -> Message:
        with suppress(NotFound, NotModified):
            view = await self.view(request.container_id)
            query = {"t": str(request.timeout)} if request.timeout > 0 else {"t": "0", "signal": "KILL"}
            await self._daemon.do("POST", f"/containers/{view.status.id}/stop", query=query)
        return _EMPTY

    async def remove(self, request: cri.RemoveContainerRequest) -> Message:
        with suppress(NotFound):
            view = await self.view(request.container_id)
            await self._daemon.do("DELETE", f"/containers/{view.status.id}", query={"force": "1", "v": "1"})
        return _EMPTY

    async def view(self, id: str) -> ContainerView:
        return await self._daemon.ask("GET", f"/pods/containers/{part(id)}/json", ContainerView)

    async def views(self) -> list[ContainerView]:
        return await self._daemon.ask("GET", "/pods/containers/json", list[ContainerView])

    async def list_containers(self, request: cri.ListContainersRequest) -> Message:
        asked = request.filter or cri.ContainerFilter()
        every = await self._daemon.ask("GET", "/pods/containers/json", list[cri.Container], query={"brief": "1"})
        return cri.ListContainersResponse(
            [
                each
                for each in every
                if each.id.startswith(asked.id)
                and each.pod_sandbox_id.startswith(asked.pod_sandbox_id)
                and (asked.state is None or asked.state.state == each.state)
                and selected(asked.label_selector, each.labels)
            ]
        )

    async def container_status(self, request: cri.ContainerStatusRequest) -> Message:
        view = await self.view(request.container_id)
        info = {"info": json.dumps({"pid": view.pid, "sandboxID": view.pod})} if request.verbose else {}
        return cri.ContainerStatusResponse(view.status, info)

    async def update(self, request: cri.UpdateContainerResourcesRequest) -> Message:
        if request.linux is None:
            raise Invalid("there is nothing to update")
        await self._daemon.do("POST", f"/pods/containers/{part(request.container_id)}/update", body=request.linux)
        return _EMPTY

    async def reopen_log(self, request: cri.ReopenContainerLogRequest) -> Message:
        await self._daemon.do("POST", f"/pods/containers/{part(request.container_id)}/log")
        return _EMPTY

    async def exec_sync(self, request: cri.ExecSyncRequest) -> Message:
        return await run(self._daemon, await self._running(request.container_id), request.cmd, request.timeout)

    # -------------------------------------------------------------------------------------------------------- streams

    async def exec(self, request: cri.ExecRequest) -> Message:
        view = await self._running(request.container_id)
        if not request.cmd:
            raise Invalid("there is no command to execute")
        if not (request.stdin or request.stdout or request.stderr):
            raise Invalid("one of stdin, stdout and stderr has to be asked for")
        if request.tty and request.stderr:
            raise Invalid("a terminal has no standard error of its own")
        asked = Session(view, request.cmd, request.tty, request.stdin, request.stdout, request.stderr)
        return cri.ExecResponse(self._streaming.url(asked))

    async def attach(self, request: cri.AttachRequest) -> Message:
        view = await self._running(request.container_id)
        if not (request.stdin or request.stdout or request.stderr):
            raise Invalid("one of stdin, stdout and stderr has to be asked for")
        if request.tty and request.stderr:
            raise Invalid("a terminal has no standard error of its own")
        asked = Session(view, (), request.tty, request.stdin, request.stdout, request.stderr)
        return cri.AttachResponse(self._streaming.url(asked))

    async def port_forward(self, request: cri.PortForwardRequest) -> Message:
        pod = await self.pod(request.pod_sandbox_id)
        if pod.state != cri.PodState.READY:
            raise Conflict(f"pod {pod.id} does not run")
        return cri.PortForwardResponse(self._streaming.url(Ports(pod.id, tuple(request.port))))

    async def _running(self, id: str) -> str:
        view = await self.view(id)
        if view.status.state != cri.State.RUNNING:
            raise Conflict(f"container {view.status.id} does not run")
        return view.status.id


_CONDITIONS = ("RuntimeReady", "NetworkReady")


def selected(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
