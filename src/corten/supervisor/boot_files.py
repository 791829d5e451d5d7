"""A short-lived child that takes a kernel and its initial file system out of an image's tree."""

from __future__ import annotations

import os
from typing import Any

from corten.kernel import descriptors
from corten.kernel.full_disk import writing
from corten.layers.confine import confine
from corten.supervisor import steps, views
from corten.vm import boot_files

Json = dict[str, Any]


def take(request: Json, fds: list[int]) -> None:
    """Find them in the tree request["tree"], a mount, by request["kernel"] and request["initrd"] where these are not
    "", and answer with their paths. The kernel is copied to the empty file fds[1], its initial file system to fds[2],
    where those are given; what is answered has come to the disk. The process is confined to the tree."""
    targets = dict(zip(("kernel", "initrd"), fds[1:]))

    def work() -> Json:
        tree = views.of_mount(request["tree"])
        names = {kind: os.fsdecode(os.readlink(descriptors.path(fd))) for kind, fd in targets.items()}
        confine(tree)
        found = boot_files.find(tree, request["kernel"], request["initrd"])
        for kind, path in found._asdict().items():
            if path and kind in targets:
                with writing(names[kind]):
                    boot_files.copy(tree, path, kind, targets[kind])
                    os.fsync(targets[kind])
        return found._asdict()

    steps.serve(fds[0], work, None)
