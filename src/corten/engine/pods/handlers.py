"""Runtime handlers, as a RuntimeClass names them: what containers of a pod are isolated by."""

from __future__ import annotations

import msgspec

from corten.engine.containers import guests
from corten.engine.containers.containers import Containers
from corten.errors import Unsupported
from corten.plan import guest_pods
from corten.plan.isolation import in_guest
from corten.plan.runtimes import OWN_NAMES, VM
from corten.spec.docker.host_config import HostConfig
from corten.spec.protobuf import cri

_HIDDEN = "io.containerd.runc.v2"  # which is a name of Docker's clients, and no handler's


class Handler(msgspec.Struct, rename="pascal"):
    """`reason`: why there can be no pod of it now; "" when there can."""

    name: str
    user_namespaces: bool
    recursive_read_only_mounts: bool = True
    reason: str = ""


async def known(containers: Containers) -> list[Handler]:
    """All that there are, the default one by the name ""."""
    configured = containers.configuration.settings.runtimes
    names = sorted({"", VM, *OWN_NAMES, *configured} - {_HIDDEN})
    return [await _handler(containers, name) for name in names]


async def _handler(containers: Containers, name: str) -> Handler:
    made, reason = _is_guest(containers, name), ""
    try:
        await _check_guests(containers, name)
    except Unsupported as error:
        reason = str(error)
    return Handler(name, user_namespaces=not made, reason=reason)


async def check(containers: Containers, name: str, config: cri.PodSandboxConfig) -> bool:
    """Whether a pod like this of that handler is in a guest. Raises Unsupported for a handler that there is not, or not
    now, and for what a guest cannot have."""
    if name not in ("", VM, *OWN_NAMES) and name not in containers.configuration.settings.runtimes:
        raise Unsupported(f"no runtime for {name!r} is configured")
    if not _is_guest(containers, name):
        return False
    guest_pods.check_pod(config)
    await _check_guests(containers, name)
    return True


def _is_guest(containers: Containers, name: str) -> bool:
    return in_guest(HostConfig(runtime=name), containers.configuration.facts)


async def _check_guests(containers: Containers, name: str) -> None:
    """Raises Unsupported with the remedy where it would have a guest, and there are none."""
    await guests.check(containers.stores, HostConfig(runtime=name), containers.configuration.facts, "")
