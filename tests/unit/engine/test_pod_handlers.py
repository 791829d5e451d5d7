"""Runtime handlers of pods: which there are, why one is not, and that a pod in a guest has one container at a time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from corten.engine.containers import membership
from corten.engine.containers.records import Membership
from corten.engine.pods import handlers
from corten.errors import Conflict, Unsupported
from corten.plan.runtimes import OciRuntime
from corten.spec.docker.host_config import HostConfig
from corten.spec.protobuf import cri
from fakes.containers import make
from fakes.engine import PlainEngine

_OWN_PROCESSES = cri.NamespaceOption(pid=cri.NamespaceMode.CONTAINER)
_CONTEXT = cri.LinuxSandboxSecurityContext(_OWN_PROCESSES)
_CONFIG = cri.PodSandboxConfig(linux=cri.LinuxPodSandboxConfig(security_context=_CONTEXT))


async def test_a_daemon_without_guests_says_so(engine: PlainEngine) -> None:
    containers = engine.containers
    configuration = containers.configuration
    configuration.settings = replace(configuration.settings, runtimes={"crun": OciRuntime("/usr/bin/crun")})
    known = {each.name: each for each in await handlers.known(containers)}
    assert list(known) == ["", "corten", "crun", "runc", "vm"]
    assert [name for name, each in known.items() if each.reason] == ["vm"]
    assert "this daemon has no guests" in known["vm"].reason
    assert not known["vm"].user_namespaces and known["runc"].user_namespaces
    with pytest.raises(Unsupported, match="this daemon has no guests"):
        await handlers.check(containers, "vm", _CONFIG)
    with pytest.raises(Unsupported, match="no runtime for 'kata' is configured"):
        await handlers.check(containers, "kata", _CONFIG)
    assert not await handlers.check(containers, "crun", _CONFIG)


async def test_the_handler_without_a_name_is_the_daemon_s_default(engine: PlainEngine) -> None:
    containers, configuration = engine.containers, engine.containers.configuration
    assert not await handlers.check(containers, "", _CONFIG)
    configuration.facts = replace(configuration.facts, default_runtime="vm")
    known = {each.name: each.user_namespaces for each in await handlers.known(containers)}
    assert (known[""], known["runc"]) == (False, True)
    with pytest.raises(Unsupported, match="hostNetwork"):
        config = cri.PodSandboxConfig(
            linux=cri.LinuxPodSandboxConfig(
                security_context=cri.LinuxSandboxSecurityContext(cri.NamespaceOption(cri.NamespaceMode.NODE))
            )
        )
        await handlers.check(containers, "", config)


async def test_one_at_a_time_runs_in_a_pod_in_a_guest(engine: PlainEngine) -> None:
    first, second = [await make(engine, "true") for _ in range(2)]
    for each in (first, second):
        each.record.pod = Membership("pod")
        each.record.host_config = HostConfig(isolation="vm")
    async with AsyncExitStack() as run:
        membership.alone(engine.containers, first.record, run)
        async with AsyncExitStack() as other:
            with pytest.raises(Conflict, match=f"container {first.id} runs in pod pod"):
                membership.alone(engine.containers, second.record, other)
            second.record.host_config = HostConfig()
            membership.alone(engine.containers, second.record, other)
            second.record.host_config = HostConfig(isolation="vm")
    async with AsyncExitStack() as run:
        membership.alone(engine.containers, second.record, run)
    for each in (first, second):
        each.record.pod = None
        each.record.host_config = HostConfig()
