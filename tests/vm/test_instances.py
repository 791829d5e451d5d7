"""The contract of `Instance` once more, with real machines: what `contract.test_instance` does with a process.

Each case is a clone of one template, with an image of layers (erofs) and a disk of the container's own (ext4)."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from corten.instance.contract import Instance
from corten.kernel import netlink, rtnetlink
from corten.supervisor import guests
from corten.supervisor.requests import Create, Guest
from corten.tasks.leftovers import remove_cgroup
from corten.vm import planning
from corten.vm.template import Template
from instance_parts.cases import CASES, NETWORKS
from instance_parts.world import Case, World, remove_group, run_case
from vm import agents


class InMachine(World):
    tap_flags = agents.TAP
    machine = True

    def __init__(self, root: Path, template: Template) -> None:
        super().__init__(root, "vm")
        self._template = template

    def _made(self, request: Create) -> Instance:
        root = {"type": "overlay", "source": "overlay", "destination": "/", "options": agents.LAYERS}
        guest = Guest(agents.section(), agents.DISKS)
        fds = [*map(os.dup, self._template), *agents.disks(self.root, self.tree)]
        return guests.virtual(request._replace(rootfs=(root,), guest=guest), -1, fds)

    def send(self, name: str, device: int, frame: bytes) -> None:
        """By the network device, which is the host's."""
        with netlink.Socket() as route:
            route.request(rtnetlink.up(socket.if_nametoindex(name)))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
            packets.bind((name, 0))
            packets.send(frame)


def too_large_for_its_group(world: World) -> None:
    """A guest that has more than its machine was given on the host; here by a group that is made too small."""
    planning.OF_QEMU = -(128 << 20)
    script = "while ! test -e /go; do sleep 1; done; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    instance, created = world.started("sh", "-c", script)
    world.output_of(instance, "busybox", "touch", "/go")
    world.wait(created.ended)
    status, out_of_memory, error = instance.ending()
    assert (status, out_of_memory) == (137, True) and "memory that its control group has" in error, error
    instance.delete()


@pytest.mark.parametrize("function", [*CASES, too_large_for_its_group], ids=lambda function: function.__name__)
def test_in_a_machine(function: Case, agents_template: Template, tmp_path: Path) -> None:
    if function in NETWORKS and not os.path.exists("/dev/net/tun"):
        pytest.skip("needs /dev/net/tun")
    said = tmp_path / "said"
    pid = os.fork()
    if pid == 0:
        run_case(lambda: function(InMachine(tmp_path, agents_template)), said)
    _, status = os.waitpid(pid, 0)
    _, left = remove_cgroup(f"/corten-instance-{pid}/instance-{tmp_path.name}-{pid}")
    remove_group(pid)
    assert status == 0, said.read_text()
    assert not left
