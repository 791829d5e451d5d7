"""A launcher, a runtime over supervisors, and bundles to make tasks of; for tests of what runs containers."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from corten.oci.template import template
from corten.runtime import cgroups
from corten.spec.mounts import Mount
from corten.tasks.contract import Bundle, LogFile, Task
from corten.tasks.launcher import Launcher
from corten.tasks.supervisors import Supervisors
from corten.tasks.task import SupervisedTask

BUSYBOX = "/bin/busybox"
RUNTIMES = ("corten", "corten by a helper", "/usr/sbin/runc")
_PARENT = f"corten-contract-{os.getpid()}"  # of control groups: another process's may go between two mkdirs


class RuntimeWorld:
    """`runtime` is one of RUNTIMES: our own, which clones the first process itself or has a helper do it, and runc."""

    def __init__(self, root: Path, runtime: str) -> None:
        self.root = root
        self.runtime = runtime.removesuffix(" by a helper")
        self.clone_namespaces = ("pid",) if runtime == "corten" else None
        self.launcher = Launcher(root / "launcher.log")
        self.launcher.start()
        (root / "run").mkdir()
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.supervisors = Supervisors(self.launcher, root / "run", lambda *event: self.events.append(event))
        self.tree = root / "tree"
        for directory in ("bin", "etc"):
            (self.tree / directory).mkdir(parents=True)
        shutil.copy(BUSYBOX, self.tree / "bin/busybox")
        for applet in ("sh", "cat", "sleep", "id", "echo", "head", "stty"):
            (self.tree / "bin" / applet).symlink_to("busybox")
        (self.tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n")
        self.bundles: list[Bundle] = []

    def bundle(self, *command: str, **options: Any) -> Bundle:
        # Another worker of pytest has a directory of the same name.
        name = f"{self.root.name}-{os.getpid()}-{len(self.bundles)}"
        path = self.root / name
        for directory in (path, path / "upper", path / "work"):
            directory.mkdir()
        spec = template()
        spec["process"] |= {"args": list(command), "terminal": options.get("terminal", False), "noNewPrivileges": False}
        if "console_size" in options:
            spec["process"]["consoleSize"] = dict(zip(("height", "width"), options["console_size"], strict=True))
        spec["root"] = {"path": "rootfs"}
        spec["linux"]["cgroupsPath"] = f"/{_PARENT}/{name}"
        (path / "config.json").write_text(json.dumps(spec))
        layers = (f"lowerdir={self.tree}", f"upperdir={path / 'upper'}", f"workdir={path / 'work'}")
        rootfs = (Mount("overlay", "overlay", "/", layers),)
        given = {"log": LogFile(path / "log"), "cgroup": spec["linux"]["cgroupsPath"], **options}
        made = Bundle(name, path, rootfs, runtime=self.runtime, clone_namespaces=self.clone_namespaces, **given)
        self.bundles.append(made)
        return made

    async def started(self, *command: str, **options: Any) -> SupervisedTask:
        task = await self.supervisors.create(self.bundle(*command, **options))
        await task.start()
        return task

    def supervisor(self, task: Task) -> int:
        """The pid of a task's."""
        return int(json.loads((self.root / "run" / task.id / "state.json").read_text())["supervisor"])

    def log(self, task: Task) -> str:
        lines = (self.root / task.id / "log").read_text().splitlines()
        return "".join(json.loads(line)["log"] for line in lines)

    def left(self) -> list[str]:
        """What tasks have left behind: run directories, control groups, and what the launcher complains of."""
        groups = [
            f"{hierarchy.mountpoint}/{_PARENT}/{name}"
            for hierarchy in cgroups.detect().hierarchies
            for name in os.listdir(self.root)
        ]
        return [
            *(str(path) for path in (self.root / "run").iterdir()),
            *(group for group in groups if os.path.exists(group)),
            *(self.root / "launcher.log").read_text().splitlines(),
        ]

    async def close(self) -> None:
        """Fails when tasks have left anything behind, and ends those of a test that failed."""
        self.supervisors.close()
        left = self.left()
        for bundle in self.bundles:
            if (self.root / "run" / bundle.id).exists() and (task := await self.supervisors.adopt(bundle)):
                await task.destroy()
                await task.delete()
        self.launcher.close()
        for hierarchy in cgroups.detect().hierarchies:
            with suppress(FileNotFoundError):
                os.rmdir(f"{hierarchy.mountpoint}/{_PARENT}")
        assert left == [] == self.left()
