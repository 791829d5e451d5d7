"""What a create names outside of its container: the networks that it is to be in, and the containers that it joins."""

from __future__ import annotations

from collections.abc import Mapping

from corten.engine.containers.containers import Containers
from corten.engine.networks.networks import Networks
from corten.errors import Invalid, NotFound
from corten.plan.namespaces import joins
from corten.spec.docker.config import Config, NetworkingConfig
from corten.spec.docker.host_config import HostConfig
from corten.spec.docker.networking import EndpointSettings

#: Fields of HostConfig that can be "container:X", and how Docker begins to say that there is no such container.
_JOINING = {"network_mode": "joining network namespace of container: ", "pid_mode": "", "ipc_mode": ""}


def with_ids(containers: Containers, host: HostConfig) -> HostConfig:
    """The HostConfig with ids where it joins other containers: they may be renamed before its start.

    Raises Invalid for one that is not there; with 404 clients would pull the image, and try again. A container that
    names itself is not there yet.
    """
    for field, before in _JOINING.items():
        if name := joins(getattr(host, field)):
            try:
                host = host.replace(**{field: f"container:{containers.get(name).id}"})
            except NotFound as error:
                raise Invalid(f"{before}{error}") from error
    return host


def networks_of(
    networks: Networks, config: Config, host: HostConfig, asked: NetworkingConfig
) -> dict[str, EndpointSettings]:
    """Endpoint settings by the network's name, NetworkMode's first: those that the client gave, and where it gave none
    NetworkMode's alone; nothing with NetworkDisabled. Config.MacAddress is for NetworkMode's.

    A network that is not there is the start's business, as with dockerd; one that cannot give what is asked is refused.
    """
    mode = host.network_mode or "default"
    if joins(mode) or config.network_disabled:
        return {}
    first = _name(networks, mode)
    given = {_name(networks, ref): settings for ref, settings in (asked.endpoints_config or {}).items()}
    wanted = {name: given[name] for name in (first, *given) if name in given} or {first: EndpointSettings()}
    _check_modes(mode, wanted)
    if config.mac_address:
        wanted = _with_mac(wanted, first, config.mac_address)
    for name, settings in wanted.items():
        try:
            networks.validate(name, settings)
        except NotFound:
            continue
    return wanted


def _check_modes(mode: str, wanted: Mapping[str, EndpointSettings]) -> None:
    """What has no network namespace of its own cannot be in a network, and the host's network needs none."""
    if mode == "host" and wanted.keys() != {"host"}:
        raise Invalid("conflicting options: a container in the host's network cannot be in another one as well")
    if mode != "host" and "host" in wanted:
        raise Invalid("conflicting options: only a container with the network mode host can be in the host's network")
    if "none" in wanted and len(wanted) > 1:
        raise Invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


def _with_mac(wanted: Mapping[str, EndpointSettings], first: str, mac: str) -> dict[str, EndpointSettings]:
    """With the container's address at the endpoint that it is for. Below API 1.44 that is the only one there is, and it
    has it already."""
    if any(settings.mac_address.lower() == mac.lower() for settings in wanted.values()):
        return dict(wanted)
    if first not in wanted:
        raise Invalid(
            "unable to migrate container-wide MAC address to a specific network: HostConfig.NetworkMode must match the "
            "identity of a network in NetworkSettings.Networks"
        )
    if wanted[first].mac_address:
        raise Invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be "
            "left empty"
        )
    return {**wanted, first: wanted[first].replace(mac_address=mac)}


def _name(networks: Networks, reference: str) -> str:
    try:
        return networks.find(reference).definition.name
    except NotFound:
        return reference
