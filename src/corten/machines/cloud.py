"""What cloud-init reads at a machine's first boot: the files of its NoCloud source, on a CD called cidata. Pure.

Without a network configuration of the user's, the interfaces get the addresses that their networks have given them,
found by their MAC addresses. (cloudinit.readthedocs.io, "NoCloud" and "Networking config version 2")
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from corten.network.endpoint import Endpoint
from corten.spec import iso9660
from corten.spec.docker.machine import CloudInit
from corten.spec.json import Json

LABEL = "cidata"


def image(wanted: CloudInit, id: str, name: str, endpoints: Iterable[Endpoint], servers: Sequence[str]) -> bytes:
    """`servers`: of names."""
    files = {
        "meta-data": wanted.meta_data or json.dumps({"instance-id": id, "local-hostname": name}) + "\n",
        "user-data": wanted.user_data or "#cloud-config\n{}\n",
        "network-config": wanted.network_config or json.dumps(network_config(endpoints, servers)) + "\n",
    }
    return iso9660.write(LABEL, {name: text.encode() for name, text in files.items()})


def network_config(endpoints: Iterable[Endpoint], servers: Sequence[str]) -> Json:
    """JSON is YAML as well."""
    return {"version": 2, "ethernets": {f"net{n}": _interface(e, servers) for n, e in enumerate(endpoints)}}


def _interface(endpoint: Endpoint, servers: Sequence[str]) -> Json:
    made: Json = {"match": {"macaddress": endpoint.mac}}
    pairs = ((endpoint.address, endpoint.prefix), (endpoint.address6, endpoint.prefix6))
    if addresses := [f"{address}/{prefix}" for address, prefix in pairs if address]:
        made["addresses"] = addresses
    for key, gateway in (("gateway4", endpoint.gateway), ("gateway6", endpoint.gateway6)):
        if gateway:
            made[key] = gateway
    if servers:
        made["nameservers"] = {"addresses": list(servers)}
    return made
