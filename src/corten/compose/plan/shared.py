"""The networks and volumes of a plan: made where they are missing, made anew where the files say otherwise."""

from __future__ import annotations

import msgspec

from corten.compose import hashes, labels
from corten.compose.model import Network, Project, Service, Volume
from corten.compose.observed import Container, Observed
from corten.compose.plan.asked import Asked
from corten.compose.plan.graph import Drawing
from corten.compose.plan.operations import CreateNetwork, CreateVolume, Remove, RemoveNetwork, RemoveVolume, Stop
from corten.compose.refusals import Refused


class Shared(msgspec.Struct):
    """The step that makes each network and volume, by key; and containers that had to be `stopped`, or are `gone`, for
    one that is made anew."""

    networks: dict[str, int] = {}
    volumes: dict[str, int] = {}
    changed_networks: set[str] = set()  # by name
    stopped: dict[str, int] = {}  # by the container's id
    gone: dict[str, int] = {}

    def needs(self, project: Project, service: Service) -> list[int]:
        keys = () if service.network_mode else service.networks
        found = [self.networks[key] for key in keys if key in self.networks]
        return found + [self.volumes[each.source] for each in service.volumes if each.source in self.volumes]


def shared(project: Project, observed: Observed, asked: Asked, drawing: Drawing) -> Shared:
    """Raises Refused for an external one that is not there, and for one that is not this project's."""
    found = Shared()
    services = [each for each in project.services.values() if each.provider is None]
    used = {key for each in services if not each.network_mode for key in each.networks}
    for key, network in project.networks.items():
        if key in used:
            _network(project, key, network, observed, asked, drawing, found)
    mounted = {each.source for service in services for each in service.volumes if each.type == "volume"}
    for key, volume in project.volumes.items():
        if key in mounted:
            _volume(project, key, volume, observed, asked, drawing, found)
    return found


_ENGINES = ("host", "bridge", "none", "default")


def _network(
    project: Project, key: str, network: Network, observed: Observed, asked: Asked, drawing: Drawing, found: Shared
) -> None:
    known = observed.networks.get(network.name)
    if network.external:
        if known is None and network.name not in _ENGINES:
            raise Refused(
                f"network {network.name} declared as external, but could not be found: "
                f"make it with 'corten network create {network.name}'"
            )
        return
    if known is None:
        found.networks[key] = drawing.add(CreateNetwork(key, network.name), "it is not there")
        return
    owner = known.labels.get(labels.PROJECT)
    if owner != project.name:
        whose = "by compose" if owner is None else f'for project "{project.name}"'
        drawing.warnings.append(
            f"a network with name {network.name} exists but was not created {whose}. "
            "Set `external: true` to use an existing network"
        )
    if known.labels.get(labels.NETWORK, "") != key:
        raise Refused(
            f"network {network.name} was found but has incorrect label {labels.NETWORK} set to "
            f'"{known.labels.get(labels.NETWORK, "")}" (expected: "{key}")'
        )
    if known.labels.get(labels.HASH, "") in ("", hashes.network_hash(network)):
        return
    why = f"the configuration of network {network.name} has changed"
    stopped = []
    for each in observed.containers:
        if network.name in each.networks and each.runs:
            stopped.append(_stop(each, asked, drawing, found, why))
    removed = drawing.add(RemoveNetwork(network.name, known.id), why, stopped)
    found.networks[key] = drawing.add(CreateNetwork(key, network.name), why, [removed])
    found.changed_networks.add(network.name)


def _stop(container: Container, asked: Asked, drawing: Drawing, found: Shared, why: str) -> int:
    if container.id not in found.stopped:
        stop = Stop(container.service, container.name, container.id, asked.seconds)
        found.stopped[container.id] = drawing.add(stop, why)
    return found.stopped[container.id]


def _volume(
    project: Project, key: str, volume: Volume, observed: Observed, asked: Asked, drawing: Drawing, found: Shared
) -> None:
    known = observed.volumes.get(volume.name)
    if volume.external:
        if known is None:
            raise Refused(
                f"external volume \"{volume.name}\" not found: make it with 'corten volume create {volume.name}'"
            )
        return
    if known is None:
        found.volumes[key] = drawing.add(CreateVolume(key, volume.name), "it is not there")
        return
    owner = known.get(labels.PROJECT)
    if owner != project.name:
        whose = (
            "was not created by Docker Compose" if owner is None
            else f'was created for project "{owner}" (expected "{project.name}")'
        )  # fmt: skip
        drawing.warnings.append(
            f'volume "{volume.name}" already exists but {whose}. Use `external: true` to use an existing volume'
        )
        return
    if known.get(labels.HASH, "") in ("", hashes.volume_hash(volume)):
        return
    if not asked.replace_volumes:
        drawing.warnings.append(
            f'volume "{volume.name}" exists but doesn\'t match the configuration in the compose file. It is kept as it '
            "is; with --yes it is made anew, and what is in it is lost"
        )
        return
    why = f"the configuration of volume {volume.name} has changed (--yes)"
    gone = []
    for each in observed.containers:
        if any(mount.name == volume.name for mount in each.volumes):
            stopped = [_stop(each, asked, drawing, found, why)] if each.runs else []
            found.gone[each.id] = drawing.add(Remove(each.name, each.id), why, stopped)
            gone.append(found.gone[each.id])
    removed = drawing.add(RemoveVolume(volume.name), why, gone)
    found.volumes[key] = drawing.add(CreateVolume(key, volume.name), why, [removed])
