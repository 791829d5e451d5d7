"""Work on disks of machines, and on the trees that they are made of, done by confined children of the launcher
(`supervisor.disk_work`, `supervisor.block_images`, `supervisor.boot_files`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.supervisor import wire
from corten.tasks.answers import SILENCE, answer, content
from corten.tasks.launcher import Asked

_FILL = 660.0  # seconds: mke2fs may have 600
_BOOT = 600.0  # seconds, to copy a kernel


class LauncherDisks:
    """`qemu` gives the program; Unsupported where there is none."""

    def __init__(self, launcher: Asked, qemu: Callable[[], str]) -> None:
        self._launcher, self._qemu = launcher, qemu

    async def convert(
        self,
        format: str,
        source: int,
        target: int,
        size: int = 0,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """`machines.disks.Convert`. Failed with QEMU's words, Exhausted; nothing is heard of it for ten minutes:
        Unavailable."""
        request: Json = {"do": "convert disk", "qemu": self._qemu(), "format": format, "size": size}
        with self._launcher.connect(request, [source, target]) as connection:
            decoder = wire.Decoder()
            while True:
                said, _ = await answer(connection, decoder, SILENCE)
                if "done" not in said:
                    content(said)
                    return
                progress(int(said["done"]), int(said["of"]))

    async def fill(self, tree: Mount, out: int) -> None:
        """Make an ext4 file system with all that a tree has in the file `out`, as large as that. Unsupported without
        e2fsprogs, Failed where that is too small."""
        answer, _ = await self._launcher.ask({"do": "fill disk", "tree": tree.entry()}, [out], _FILL)
        content(answer)

    async def boot_files(self, tree: Mount, kernel: str, initrd: str, targets: Sequence[int] = ()) -> tuple[str, str]:
        """Paths of a kernel in a tree and of its initial file system ("": none), which are copied to `targets` where
        those are given. Invalid for a tree that has none, or has what is not to be booted."""
        request = {"do": "boot files", "tree": tree.entry(), "kernel": kernel, "initrd": initrd}
        answer, _ = await self._launcher.ask(request, list(targets), _BOOT)
        found = content(answer)
        return str(found["kernel"]), str(found["initrd"])
