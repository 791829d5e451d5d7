"""Counters of containers and pods, and events."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from corten.cri.daemon import Daemon
from corten.cri.metrics import Sample, descriptors, of_container, of_pod
from corten.cri.runtime import PREFIX, ContainerView, Runtime, function, selected
from corten.errors import Conflict, CortenError, NotFound
from corten.http2.grpc import Call, Function, begin
from corten.spec.protobuf import cri
from corten.spec.protobuf.codec import Message

Json = dict[str, Any]
_AT_ONCE = 16  # containers that are asked at the same time
_EVENTS = {
    ("container", "create"): (cri.Event.CREATED,),
    ("container", "start"): (cri.Event.STARTED,),
    ("container", "die"): (cri.Event.STOPPED,),
    ("container", "destroy"): (cri.Event.DELETED,),
    ("pod", "start"): (cri.Event.CREATED, cri.Event.STARTED),
    ("pod", "stop"): (cri.Event.STOPPED,),
    ("pod", "destroy"): (cri.Event.DELETED,),
}


class Stats:
    def __init__(self, daemon: Daemon, runtime: Runtime) -> None:
        self._daemon = daemon
        self._runtime = runtime
        self._asking = asyncio.Semaphore(_AT_ONCE)
        self._root = ""

    def functions(self) -> dict[str, Function]:
        table: Mapping[str, Function] = {
            "ContainerStats": function(cri.ContainerStatsRequest, self.container),
            "ListContainerStats": function(cri.ListContainerStatsRequest, self.containers),
            "PodSandboxStats": function(cri.PodSandboxStatsRequest, self.pod),
            "ListPodSandboxStats": function(cri.ListPodSandboxStatsRequest, self.pods),
            "ListMetricDescriptors": function(cri.Empty, self.descriptors),
            "ListPodSandboxMetrics": function(cri.Empty, self.metrics),
            "GetContainerEvents": self.events,
        }
        return {PREFIX + name: served for name, served in table.items()}

    # ------------------------------------------------------------------------------------------------------- counters

    async def container(self, request: cri.ContainerStatsRequest) -> Message:
        view = await self._runtime.view(request.container_id)
        return cri.ContainerStatsResponse((await self._counted(view))[0])

    async def containers(self, request: cri.ListContainerStatsRequest) -> Message:
        asked = request.filter or cri.ContainerStatsFilter()
        found = [
            view
            for view in await self._runtime.views()
            if view.status.id.startswith(asked.id)
            and view.pod.startswith(asked.pod_sandbox_id)
            and selected(asked.label_selector, view.status.labels)
        ]
        return cri.ListContainerStatsResponse([stats for stats, _ in await self._all(found)])

    async def pod(self, request: cri.PodSandboxStatsRequest) -> Message:
        pod, views = await asyncio.gather(self._runtime.pod(request.pod_sandbox_id), self._runtime.views())
        return cri.PodSandboxStatsResponse(await self._of_pod(pod, views))

    async def pods(self, request: cri.ListPodSandboxStatsRequest) -> Message:
        asked = request.filter or cri.PodSandboxStatsFilter()
        pods, views = await asyncio.gather(self._runtime.pods(), self._runtime.views())
        wanted = [pod for pod in pods if pod.id.startswith(asked.id) and selected(asked.label_selector, pod.labels)]
        return cri.ListPodSandboxStatsResponse([await self._of_pod(pod, views) for pod in wanted])

    async def _of_pod(self, pod: cri.PodSandboxStatus, views: Iterable[ContainerView]) -> cri.PodSandboxStats:
        counted = await self._all([view for view in views if view.pod == pod.id])
        now = time.time_ns()
        interfaces = next((each for _, each in counted if each), [])
        memory = [stats.memory for stats, _ in counted if stats.memory]
        linux = cri.LinuxPodSandboxStats(
            cpu=cri.CpuUsage(now, _sum(stats.cpu.usage_core_nano_seconds for stats, _ in counted if stats.cpu)),
            memory=cri.MemoryUsage(
                now,
                working_set_bytes=_sum(each.working_set_bytes for each in memory),
                usage_bytes=_sum(each.usage_bytes for each in memory),
                rss_bytes=_sum(each.rss_bytes for each in memory),
                page_faults=_sum(each.page_faults for each in memory),
                major_page_faults=_sum(each.major_page_faults for each in memory),
            ),
            network=cri.NetworkUsage(now, interfaces[0] if interfaces else None, interfaces[1:]),
            process=cri.ProcessUsage(now, cri.UInt64Value(len(counted))),
            containers=[stats for stats, _ in counted],
        )
        attributes = cri.PodSandboxAttributes(pod.id, pod.metadata, pod.labels, pod.annotations)
        return cri.PodSandboxStats(attributes, linux)

    async def _all(
        self, views: Iterable[ContainerView]
    ) -> list[tuple[cri.ContainerStats, list[cri.NetworkInterfaceUsage]]]:
        """Of those that are there when they are asked."""

        async def counted(view: ContainerView) -> tuple[cri.ContainerStats, list[cri.NetworkInterfaceUsage]] | None:
            try:
                return await self._counted(view)
            except (NotFound, Conflict):
                return None

        return [each for each in await asyncio.gather(*map(counted, views)) if each is not None]

    async def _counted(self, view: ContainerView) -> tuple[cri.ContainerStats, list[cri.NetworkInterfaceUsage]]:
        status = view.status
        attributes = cri.ContainerAttributes(status.id, status.metadata, status.labels, status.annotations)
        async with self._asking:
            size = await self._daemon.ask("GET", f"/containers/{status.id}/json", Json, query={"size": "1"})
            layer = cri.FilesystemUsage(
                time.time_ns(),
                cri.FilesystemIdentifier(await self._place()),
                cri.UInt64Value(max(0, int(size.get("SizeRw") or 0))),
                cri.UInt64Value(0),
            )
            if status.state != cri.State.RUNNING:
                return cri.ContainerStats(attributes, writable_layer=layer), []
            query = {"stream": "0", "one-shot": "1"}
            found = await self._daemon.ask("GET", f"/containers/{status.id}/stats", Json, query=query)
        now = time.time_ns()
        used = int(found.get("cpu_stats", {}).get("cpu_usage", {}).get("total_usage") or 0)
        cpu = cri.CpuUsage(now, cri.UInt64Value(used))
        return cri.ContainerStats(attributes, cpu, _memory(found.get("memory_stats") or {}, now), layer), [
            cri.NetworkInterfaceUsage(name, *(cri.UInt64Value(int(counters.get(key) or 0)) for key in _INTERFACE))
            for name, counters in (found.get("networks") or {}).items()
        ]

    async def _place(self) -> str:
        """The directory of writable layers, by which the kubelet finds their file system. A daemon keeps its own."""
        if not self._root:
            self._root = str((await self._daemon.ask("GET", "/info", Json))["DockerRootDir"])
        return self._root

    # --------------------------------------------------------------------------------------------------------- metrics

    async def descriptors(self, _: cri.Empty) -> Message:
        return cri.ListMetricDescriptorsResponse(list(descriptors()))

    async def metrics(self, _: cri.Empty) -> Message:
        pods, views, about = await asyncio.gather(
            self._runtime.pods(), self._runtime.views(), self._daemon.ask("GET", "/info", Json)
        )
        disk = os.statvfs(str(about["DockerRootDir"]))
        found = []
        for pod in pods:
            running = [view for view in views if view.pod == pod.id and view.status.state == cri.State.RUNNING]
            samples = [each for each in await asyncio.gather(*(self._sample(v, disk) for v in running)) if each]
            own = [cri.ContainerMetrics(each.status.id, of_container(each, pod.id)) for each in samples]
            network = of_pod(samples[0], pod.id) if samples else []
            found.append(cri.PodSandboxMetrics(pod.id, network, own))
        return cri.ListPodSandboxMetricsResponse(found)

    async def _sample(self, view: ContainerView, disk: os.statvfs_result) -> Sample | None:
        """None when it has ended meanwhile."""
        id = view.status.id
        try:
            async with self._asking:
                inspected = await self._daemon.ask("GET", f"/containers/{id}/json", Json, query={"size": "1"})
                held = await self._daemon.ask("GET", f"/pods/containers/{id}/processes", Json)
                query = {"stream": "0", "one-shot": "1"}
                stats = await self._daemon.ask("GET", f"/containers/{id}/stats", Json, query=query)
        except (NotFound, Conflict):
            return None
        written = max(0, int(inspected.get("SizeRw") or 0))
        return Sample(stats, inspected["HostConfig"], held, view.status, written, disk)

    # ---------------------------------------------------------------------------------------------------------- events

    async def events(self, call: Call) -> None:
        """Until the client leaves, or the daemon."""
        await call.request()
        begin(call.stream)
        pods = {view.status.id: view.pod for view in await self._runtime.views()}
        query = {"filters": '{"type":["container","pod"]}'}
        async for message in self._daemon.messages("GET", "/events", query):
            kind, id = str(message.get("Type")), str(message.get("Actor", {}).get("ID"))
            for event in _EVENTS.get((kind, str(message.get("Action"))), ()):
                if kind == "container" and (id not in pods and not await self._is_member(id, pods)):
                    continue
                pod = id if kind == "pod" else pods[id]
                at = int(message.get("timeNano") or time.time_ns())
                await call.send((await self._event(id, event, at, pod)).encode())
                if event == cri.Event.DELETED:
                    pods.pop(id, None)

    async def _is_member(self, id: str, pods: dict[str, str]) -> bool:
        try:
            pods[id] = (await self._runtime.view(id)).pod
        except CortenError:
            return False
        return True

    async def _event(self, id: str, event: cri.Event, at: int, pod: str) -> cri.ContainerEventResponse:
        try:
            status, views = await asyncio.gather(self._runtime.pod(pod), self._runtime.views())
        except NotFound:
            return cri.ContainerEventResponse(id, event, at)
        own = [view.status for view in views if view.pod == pod]
        return cri.ContainerEventResponse(id, event, at, status, own)


_INTERFACE = ("rx_bytes", "rx_errors", "tx_bytes", "tx_errors")


def _memory(found: Json, now: int) -> cri.MemoryUsage:
    usage, details = int(found.get("usage") or 0), found.get("stats") or {}
    inactive = int(details.get("total_inactive_file") or details.get("inactive_file") or 0)
    limit = int(found.get("limit") or 0)
    working = max(0, usage - inactive)
    return cri.MemoryUsage(
        now,
        working_set_bytes=cri.UInt64Value(working),
        available_bytes=cri.UInt64Value(max(0, limit - working)),
        usage_bytes=cri.UInt64Value(usage),
        rss_bytes=cri.UInt64Value(int(details.get("total_rss") or details.get("rss") or details.get("anon") or 0)),
        page_faults=cri.UInt64Value(int(details.get("pgfault") or 0)),
        major_page_faults=cri.UInt64Value(int(details.get("pgmajfault") or 0)),
    )


def _sum(values: Iterable[cri.UInt64Value | None]) -> cri.UInt64Value:
    return cri.UInt64Value(sum(each.value for each in values if each is not None))
