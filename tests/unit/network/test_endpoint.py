"""Endpoints on record."""

from __future__ import annotations

import json

import pytest

from corten.network.endpoint import Endpoint
from corten.spec.docker.networking import EndpointSettings

# As daemons wrote them that knew one index, "ifindex", of an end on the host that a macvlan does not have.
_FIRST = {
    "bridge": (
        '{"network_id": "d1", "network_name": "bridge", "endpoint_id": "04066b896ce2", "container_id": "c1",'
        ' "container_name": "web", "interface": "eth0", "host_interface": "v3adeb04066b896", "ifindex": 3981910,'
        ' "mac": "02:42:ac:11:00:02", "address": "172.17.0.2", "prefix": 16, "gateway": "172.17.0.1", "address6": "",'
        ' "prefix6": 0, "gateway6": "", "ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]},'
        ' "aliases": [], "dns_names": [], "gw_priority": 0, "settings_in": {"IPAMConfig": null, "Links": null,'
        ' "Aliases": null, "MacAddress": "", "DriverOpts": null, "GwPriority": 3}}',
        (3981911, 3981910),
    ),
    "macvlan": (
        '{"network_id": "d2", "network_name": "mv", "endpoint_id": "5e46266a26f9", "container_id": "c1",'
        ' "container_name": "web", "interface": "eth0", "host_interface": "", "ifindex": 185332194,'
        ' "mac": "02:42:ac:12:00:02", "address": "172.18.0.2", "prefix": 16, "gateway": "172.18.0.1"}',
        (185332195, None),
    ),
    "none": (
        '{"network_id": "d3", "network_name": "none", "endpoint_id": "adf3be37cd24", "container_id": "c1",'
        ' "container_name": "web", "interface": "", "host_interface": "", "ifindex": 0, "mac": "", "address": ""}',
        (0, None),
    ),
}


@pytest.mark.parametrize("kind", _FIRST)
def test_a_record_of_the_first_daemons(kind: str) -> None:
    text, indexes = _FIRST[kind]
    read = Endpoint.from_json(json.loads(text))
    assert (read.index, read.host_index) == indexes
    kept = {"index", "host_index", "settings_in"}
    assert {k: v for k, v in json.loads(text).items() if k not in ("ifindex", *kept)}.items() <= read.record.items()
    assert "ifindex" not in read.record
    assert Endpoint.from_json(json.loads(json.dumps(read.record))) == read


def test_an_endpoint_is_what_its_record_says() -> None:
    settings = EndpointSettings(aliases=["www"], gw_priority=3)
    made = Endpoint("n", "net", "e", "c", "web", "eth0", 8, "v1", 7, settings_in=settings, aliases=["www"])
    record = json.loads(json.dumps({**made.record, "of a newer version": 1}))
    assert Endpoint.from_json(record) == made
    assert Endpoint.from_json(replaced(record, host_interface="", host_index=None)).host_index is None


def replaced(record: dict[str, object], **values: object) -> dict[str, object]:
    return {**record, **values}
