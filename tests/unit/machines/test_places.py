"""Where disks and interfaces of a machine are, by their names, which may be the same."""

from __future__ import annotations

from pathlib import Path

from corten.machines import create, plan, records
from corten.machines.records import Begun
from corten.spec.docker.machine import MachineDisk
from corten.spec.docker.networking import EndpointSettings
from unit.machines.world import World, asked

NETWORKS = {"disk0": EndpointSettings(), "cloud-init": EndpointSettings(), "bridge": EndpointSettings()}


async def test_a_network_that_is_called_as_a_disk(tmp_path: Path) -> None:
    machines = await World(tmp_path).begin()
    config = asked(MachineDisk(size="1m")).replace(networks=NETWORKS, cloud_init="")
    machine = await create.create(machines, "web", config)
    expected = {"disk0": 0, "cloud-init": 1, "network=disk0": 2, "network=cloud-init": 3, "bridge": 4}
    assert plan.begun(machine).places == expected


async def test_a_record_of_an_earlier_version(tmp_path: Path) -> None:
    """A name that is a disk's as well stays that one's."""
    world = World(tmp_path)
    machine = await create.create(await world.begin(), "web", asked(MachineDisk(size="1m")).replace(networks=NETWORKS))
    machine.record.begun = Begun(1, 1, {"disk0": 2, "cloud-init": 3, "bridge": 4})
    world.machines.save(machine)
    (found,), _ = records.load(world.table)
    assert found.begun.places == {"disk0": 2, "network=cloud-init": 3, "bridge": 4}
    machine.record.disks = []
    world.machines.save(machine)
    (found,), _ = records.load(world.table)
    assert found.begun.places == {"network=disk0": 2, "network=cloud-init": 3, "bridge": 4}
