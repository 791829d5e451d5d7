"""`RUN --mount`: what a step has mounted beside its tree, and what of it is taken away when it has ended.

Sources are held as descriptors before the step begins. Secrets and sockets lie in the step's own directory, which is in
memory; what a step writes to a writable bind goes to a directory of its own on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from corten.build.contract import (
    Bind,
    CacheMount,
    Client,
    RunStep,
    StageTree,
    StepMount,
)
from corten.build.work.agents import serving
from corten.build.work.caches import Caches
from corten.build.work.rooms import Rooms, view_of
from corten.errors import Invalid, NotFound
from corten.kernel import paths
from corten.layers.owners import AS_THEY_ARE, Owners
from corten.plan.facts import MountPoint
from corten.runtime.host_mounts import SUBPATH, TREE
from corten.spec.dockerfile.mounts import SecretMount, SshMount, TmpfsMount
from corten.spec.mounts import Mount

_OFF = ("index=off", "redirect_dir=off", "metacopy=off")  # as `snapshots.overlay`


@dataclass(slots=True)
class StepMounts:
    """For the specification: mount points, mounts by the runtime, files by their place, and variables."""

    points: list[MountPoint] = field(default_factory=list)
    mounted: dict[str, Mount] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    env: list[str] = field(default_factory=list)


class Mounting:
    """`memory` and `disk` are the step's own directories: what the step can write to is in the second. What `held` gets
    is released when the step has ended. `owners` are those of the step's user namespace."""

    def __init__(
        self,
        rooms: Rooms,
        caches: Caches,
        client: Client,
        memory: Path,
        disk: Path,
        held: AsyncExitStack,
        owners: Owners = AS_THEY_ARE,
    ) -> None:
        self._owners = owners
        self._mapped = owners is not AS_THEY_ARE  # what lies on the disk has the ids inside
        self._rooms = rooms
        self._caches = caches
        self._client = client
        self._memory = memory
        self._disk = disk
        self._held = held
        self._number = 0
        self._directories: dict[str, Path] = {}  # of caches, by id
        self.made = StepMounts()

    async def mount(self, step: RunStep) -> StepMounts:
        """Raises Invalid, and NotFound for a secret that is required."""
        for mount in step.mounts:
            _check(mount)
        await self._hold_caches([mount for mount in step.mounts if isinstance(mount, CacheMount)])
        for mount in step.mounts:
            await self._mount(mount)
        for path, data in step.files.items():
            # On the disk: the step may write to it, and would fill the memory that all programs of the machine share.
            self.made.files[path] = str(self._file(self._disk, data, 0o755))
        return self.made

    async def _hold_caches(self, mounts: Sequence[CacheMount]) -> None:
        """Each id once, in the order of ids: of two steps that wait for the same ones, one gets them all."""
        for mount in sorted(mounts, key=lambda mount: mount.id):
            if mount.id not in self._directories:
                self._directories[mount.id] = await self._caches.hold(mount, self._held)

    async def _mount(self, mount: StepMount) -> None:
        match mount:
            case Bind():
                self._bind(mount)
            case CacheMount():
                directory = str(self._directories[mount.id])
                point = MountPoint("bind", mount.target, directory, rw=not mount.read_only, recursive=False)
                self.made.points.append(replace(point, idmapped=self._mapped))
            case TmpfsMount():
                size = f",size={mount.size}" if mount.size else ""
                self.made.points.append(MountPoint("tmpfs", mount.target, options=f"exec{size}"))
            case SecretMount():
                await self._secret(mount)
            case SshMount():
                await self._ssh(mount)

    # -------------------------------------------------------------------------------------------------------- binds

    def _bind(self, mount: Bind) -> None:
        point = MountPoint("bind", mount.target, rw=mount.writable, recursive=False)
        if isinstance(mount.tree, StageTree) and mount.tree.top is None:
            empty = self._own("empty")
            self.made.points.append(replace(point, source=str(empty), idmapped=self._mapped))
            return
        view = view_of(self._rooms, mount.tree)
        inside = (SUBPATH + mount.path,) if mount.path.strip("/") else ()
        if mount.writable:
            self.made.mounted[mount.target] = Mount(
                "overlay", "overlay", mount.target, (TREE, *self._over(view), *inside)
            )
        elif view.type == "overlay":
            self.made.mounted[mount.target] = view._replace(options=(TREE, *view.options, *inside))
        else:
            fd = _inside(view.source, mount)
            self._held.callback(os.close, fd)
            source = f"/proc/{os.getpid()}/fd/{fd}"
            point = replace(point, source=source, idmapped=self._mapped)
        self.made.points.append(point)

    def _over(self, view: Mount) -> Sequence[str]:
        """Options of an overlay over it, what is written to which goes with the step."""
        lower = next((word for word in view.options if word.startswith("lowerdir=")), f"lowerdir={view.source}")
        upper, work = self._own("upper"), self._own("work")
        status = os.stat(lower.removeprefix("lowerdir=").partition(":")[0])
        os.chown(upper, status.st_uid, status.st_gid)  # the root of an overlay looks as its uppermost directory does
        os.chmod(upper, status.st_mode & 0o7777)
        return lower, f"upperdir={upper}", f"workdir={work}", *_OFF

    def _own(self, what: str) -> Path:
        self._number += 1
        path = self._disk / f"{self._number}" / what
        path.mkdir(mode=0o755, parents=True)
        os.chmod(path, 0o755)
        return path

    # --------------------------------------------------------------------------------------------- secrets, sockets

    def _file(self, directory: Path, data: bytes, mode: int, uid: int = 0, gid: int = 0) -> Path:
        self._number += 1
        path = directory / f"{self._number}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(data)
            os.fchown(fd, *self._owners.outside(uid, gid))
            os.fchmod(fd, mode)
        return path

    async def _secret(self, mount: SecretMount) -> None:
        data = await self._client.secret(mount.id)
        if data is None:
            if mount.required:
                raise NotFound(f"secret {mount.id}: not found")
            return
        if mount.variable:
            if b"\0" in data:
                raise Invalid(f"secret {mount.id} cannot be a variable: it has a NUL")
            self.made.env.append(f"{mount.variable}={os.fsdecode(data)}")
        if mount.target:
            path = self._file(self._memory, data, mount.mode, mount.uid, mount.gid)
            self.made.points.append(MountPoint("bind", mount.target, str(path), rw=False, recursive=False))

    async def _ssh(self, mount: SshMount) -> None:
        agent = await self._client.agent(mount.id)
        if agent is None:
            if mount.required:
                raise NotFound(f'no SSH key "{mount.id}" forwarded from the client')
            return
        self._number += 1
        path = self._memory / f"{self._number}"
        await self._held.enter_async_context(
            serving(agent, path, *self._owners.outside(mount.uid, mount.gid), mount.mode)
        )
        self.made.points.append(MountPoint("bind", mount.target, str(path), recursive=False))
        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in self.made.env):
            self.made.env.append(f"SSH_AUTH_SOCK={mount.target}")


def _check(mount: StepMount) -> None:
    target = mount.target
    if target and (not target.startswith("/") or not target.strip("/")):
        raise Invalid(f'invalid mount target "{target}"')


def _inside(top: str, mount: Bind) -> int:
    """The file or directory that is to be mounted; links lead nowhere out of the tree."""
    directory = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return paths.open_in(directory, mount.path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f'"/{mount.path.strip("/")}": not found') from None
    except OSError as error:
        raise Invalid(f"cannot mount {mount.path!r}: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(directory)
