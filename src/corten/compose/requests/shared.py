"""The bodies that make a project's networks and volumes."""

from __future__ import annotations

from corten.compose import labels
from corten.compose.model import Network, Project, Volume
from corten.spec.docker.networking import IPAM, IPAMConfig, NetworkCreate
from corten.spec.docker.struct import UNSET
from corten.spec.docker.volume import VolumeCreate


def network(project: Project, key: str, given: Network, hash: str) -> NetworkCreate:
    own = {
        labels.HASH: hash,
        labels.NETWORK: key,
        labels.PROJECT: project.name,
        labels.VERSION: labels.SPOKEN,
    }
    return NetworkCreate(
        name=given.name,
        driver=given.driver or UNSET,
        options=dict(given.driver_opts) or UNSET,
        internal=given.internal or UNSET,
        attachable=given.attachable or UNSET,
        enable_ipv4=UNSET if given.enable_ipv4 is None else given.enable_ipv4,
        enable_ipv6=UNSET if given.enable_ipv6 is None else given.enable_ipv6,
        ipam=_ipam(given),
        labels={**given.labels, **own},
    )


def _ipam(given: Network) -> IPAM:
    if not (given.ipam.driver or given.ipam.config or given.ipam.options):
        return UNSET
    pools = [
        IPAMConfig(
            subnet=each.subnet or UNSET,
            gateway=each.gateway or UNSET,
            ip_range=each.ip_range or UNSET,
            auxiliary_addresses=dict(each.aux_addresses) or UNSET,
        )
        for each in given.ipam.config
    ]
    return IPAM(driver=given.ipam.driver or "default", config=pools or UNSET, options=dict(given.ipam.options) or UNSET)


def volume(project: Project, key: str, given: Volume, hash: str) -> VolumeCreate:
    own = {
        labels.HASH: hash,
        labels.PROJECT: project.name,
        labels.VERSION: labels.SPOKEN,
        labels.VOLUME: key,
    }
    return VolumeCreate(
        name=given.name,
        driver=given.driver or UNSET,
        driver_opts=dict(given.driver_opts) or UNSET,
        labels={**given.labels, **own},
    )
