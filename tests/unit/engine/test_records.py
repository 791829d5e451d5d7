"""What is stored of a container."""

from __future__ import annotations

from corten.engine.containers import records
from corten.engine.containers.records import Record, State
from corten.network.endpoint import Endpoint
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig, RestartPolicy
from corten.spec.docker.networking import EndpointSettings
from fakes.table import MemoryTable


def record() -> Record:
    config = Config(image="busybox", user="", cmd=["true"], labels={})
    host = HostConfig(network_mode="default", restart_policy=RestartPolicy(name="no"), port_bindings={})
    return Record("i", "n", 1, "busybox", "sha256:1", None, "true", [], config, host)


def test_of_dockers_structures_is_stored_what_was_set() -> None:
    table, made = MemoryTable(), record()
    made.networks["bridge"] = EndpointSettings(aliases=["web"])
    records.save(table, made)
    stored = table.list(records.KIND)["i"]
    assert stored["config"] == {"Image": "busybox", "User": "", "Cmd": ["true"], "Labels": {}}
    assert stored["host_config"] == {
        "NetworkMode": "default", "RestartPolicy": {"Name": "no"}, "PortBindings": {},
    }  # fmt: skip
    assert stored["networks"] == {"bridge": {"Aliases": ["web"]}}
    assert records.load(table) == ([made], [])


def test_a_record_with_zero_values_is_the_same() -> None:
    """Those of earlier versions have all of them."""
    table, made = MemoryTable(), record()
    records.save(table, made)
    full = {"config": made.config.to_json(), "host_config": made.host_config.to_json()}
    table.put(records.KIND, "i", {**table.list(records.KIND)["i"], **full})
    assert records.load(table) == ([made], [])


def test_a_record_that_cannot_be_read_hides_no_other() -> None:
    table, made = MemoryTable(), record()
    records.save(table, made)
    table.put(records.KIND, "j", {"id": "j"})
    found, broken = records.load(table)
    assert found == [made]
    assert [str(error).partition(":")[0] for error in broken] == ["record of container j cannot be read"]


def test_an_endpoint_is_read_as_it_was_stored() -> None:
    endpoint = Endpoint("n", "bridge", "e", "c", ports={"80/tcp": None}, settings_in=EndpointSettings(aliases=["web"]))
    assert endpoint.record["settings_in"] == {"Aliases": ["web"]}
    assert Endpoint.from_json(endpoint.record) == endpoint


def test_a_state_at_its_beginning_takes_no_room() -> None:
    table = MemoryTable()
    records.save(table, record())
    assert table.list(records.KIND)["i"].get("state", {}) == {}
    assert State() == records.load(table)[0][0].state
