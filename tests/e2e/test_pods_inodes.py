"""As `test_host_inodes`, for what a container of a pod can name: mounts that the kubelet asks for, trees of images, and
the files and memory that containers of a pod share."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.spec.protobuf import cri
from e2e_parts import host_inodes, meddle
from e2e_parts.cortend import IMAGE, Cortend, short_root
from e2e_parts.host_inodes import ITS_OWN, Inode, file_systems
from e2e_parts.patience import until
from e2e_parts.pods import Face, container_config, own_network, pod_config
from fault_parts.images import python, python_binds

OURS = cri.NamespaceMode


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    with host_inodes.kept():
        yield


@pytest.fixture(scope="module")
def daemon() -> Iterator[Cortend]:
    with short_root() as root, Cortend(root, "--config-file", str(own_network(root))) as made:
        made.start()
        made.warm_up()
        yield made


def mounts(given: Path) -> list[cri.Mount]:
    """What brings Python, and read-only: a directory, a file through a link, and a tree of an image."""
    shared = given / "shared"
    (shared / "below").mkdir(parents=True)
    (shared / "below/file").write_text("kept\n")
    (given / "link").symlink_to(shared / "below/file")
    found = []
    for bind in python_binds():
        source, target, _ = bind.split(":")
        found.append(cri.Mount(target, source, True))
    found += [cri.Mount("/given", str(shared), True), cri.Mount("/given-file", str(given / "link"), True)]
    found.append(cri.Mount("/image", readonly=True, image=cri.ImageSpec(IMAGE)))
    found.append(cri.Mount("/image-part", readonly=True, image=cri.ImageSpec(IMAGE), image_sub_path="etc"))
    return found


def tree(place: Path) -> dict[str, Inode]:
    return {str(path): host_inodes.look(str(path)) for path in (place, *sorted(place.rglob("*")))}


class PodBox(host_inodes.Box):
    """A container of a pod, by the face."""

    def __init__(self, face: Face, id: str, first: str, own: tuple[str, ...]) -> None:
        self.own = (*ITS_OWN, *own)
        self.pid = int(face.daemon.get(f"/containers/{id}/json")["State"]["Pid"])
        self.first = str(self.pid) if first == "host" else first
        self.before = self.visible()


def said(log: Path) -> list[str]:
    """Whole lines of a container's output so far."""
    lines, part = [], b""
    whole = log.read_bytes().rpartition(b"\n")[0] if log.exists() else b""
    for record in whole.splitlines():
        _, _, kind, text = record.split(b" ", 3)
        part += text
        if kind == b"F":
            lines.append(part.decode())
            part = b""
    return lines


@pytest.mark.parametrize(
    ("pid", "privileged", "own"),
    [
        (OURS.CONTAINER, False, ()),
        (OURS.POD, False, ()),
        (OURS.NODE, False, ()),
        (OURS.CONTAINER, True, ("/sys/fs/cgroup",)),
    ],
    ids=("its own processes", "the pod's", "the host's", "privileged"),
)
async def test_nothing_of_the_host_can_be_changed(
    face: Face, tmp_path: Path, pid: cri.NamespaceMode, privileged: bool, own: tuple[str, ...]
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    config = pod_config(face, "inodes", pid)
    config.linux.security_context.privileged = privileged  # type: ignore[union-attr]
    pod = await face.pod(config)
    first = {OURS.CONTAINER: "1", OURS.POD: "1", OURS.NODE: "host"}[pid]
    devices = ",".join(map(str, file_systems()))
    words = [*python(Path(meddle.__file__).read_text())]
    asked = container_config(*words, "wait", devices, "self", *host_inodes.binds(), name="box")
    asked.mounts = mounts(given)
    asked.linux = cri.LinuxContainerConfig(
        security_context=cri.LinuxContainerSecurityContext(
            privileged=privileged, namespace_options=cri.NamespaceOption(pid=pid)
        )
    )
    before = tree(given)
    id = await face.container(pod, asked)
    box, log = PodBox(face, id, first, own), face.logs / "inodes/box.log"
    assert {"/given", "/given-file", "/image", "/etc/hosts", "/etc/resolv.conf"} <= {*box.before}
    await asyncio.to_thread(until, lambda: said(log))
    os.kill(box.pid, signal.SIGUSR1)
    lines = await asyncio.to_thread(until, lambda: said(log), lambda lines: len(lines) > 1)
    assert box.judge(lines[1]) == []
    out, err, code = await face.run(id, *words, devices, box.first, *host_inodes.binds())
    assert (err, code) == (b"", 0)
    assert box.judge(out.decode()) == []
    assert tree(given) == before
    await face.remove(pod)
