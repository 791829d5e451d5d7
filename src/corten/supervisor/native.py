"""Our own runtime, as a supervisor drives it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from corten.runtime import cgroups, mountplan, spawn
from corten.runtime import seccomp as filters
from corten.runtime.cgroups import Cgroup
from corten.runtime.enter import Entry, foreign_namespaces
from corten.runtime.init import Inheritance
from corten.runtime.plan import plan
from corten.runtime.prepare import CgroupMount, prepare
from corten.runtime.program import with_group_names
from corten.runtime.spawn import Entering, Spawned
from corten.supervisor.created import Created
from corten.supervisor.output import Stdio

Json = dict[str, Any]


class Native:
    """One container made by `corten.runtime`."""

    def __init__(self, request: Json) -> None:
        self._request = request
        self._bundle = request["bundle"]
        with open(os.path.join(self._bundle, "config.json"), "rb") as file:
            self.spec: Json = json.load(file)
        self.spec["process"] = with_group_names(self.spec["process"], self.spec)
        linux = self.spec.get("linux") or {}
        self._cgroup_path = linux.get("cgroupsPath") or f"/corten/{request['id']}"
        self._resources = linux.get("resources") or {}
        self._seccomp: bytes | None = None
        self._child: Spawned | None = None
        self.cgroup: Cgroup | None = None
        self.own_pids = any(n["type"] == "pid" and not n.get("path") for n in linux.get("namespaces") or ())

    def create(self, stdio: Stdio, console_size: tuple[int, int]) -> Created:
        """Everything up to execve. Raises ChildFailed, InvalidSpec, CortenError or OSError; undoes what it did."""
        timing: dict[str, float] = {}
        with timed(timing, "plan"):
            plan_ = plan(self.spec, self._root())
            self._seccomp = self._filter()
        with timed(timing, "cgroup"):
            self.cgroup = cgroups.create(cgroups.detect(), self._cgroup_path, self._resources)
        with timed(timing, "mounts on the host side"):
            prepared = prepare(plan_, tuple(CgroupMount(*mount) for mount in self.cgroup.mounts()))
        try:
            with timed(timing, "init"):
                child = spawn.spawn(
                    plan_,
                    lambda channel: Inheritance(
                        channel, stdio.child, prepared, console_size=console_size, dies_with_parent=True
                    ),
                    self.cgroup,
                    self._seccomp,
                )
        finally:
            prepared.close()
        self._child = child
        timing.update({f"init: {step}": seconds for step, seconds in child.timing.items()})
        return Created(
            child.pid, child.pidfd, child.console, timing, (*self.cgroup.warnings, *child.warnings)
        )  # fmt: skip

    def _root(self) -> tuple[mountplan.MountPlan, ...]:
        given = self._request.get("rootfs")
        if given:
            return tuple(mountplan.parse(entry) for entry in given)
        path = os.path.join(self._bundle, (self.spec.get("root") or {}).get("path") or "rootfs")
        return (mountplan.parse({"destination": "/", "source": path, "options": ["rbind", "rslave"]}),)

    def _filter(self) -> bytes | None:
        section = (self.spec.get("linux") or {}).get("seccomp")
        if not section:
            return None
        return filters.cached(json.dumps(section).encode(), Path(self._request["cache"]))

    def start(self) -> None:
        """execve. Raises ChildFailed with code 127 or 126."""
        assert self._child is not None
        spawn.start(self._child.channel)

    def enter(self, request: Json, stdio: Stdio, target: int, target_fd: int) -> Entering:
        assert self.cgroup is not None
        entry = Entry(
            with_group_names(request["process"], self.spec), target, target_fd, foreign_namespaces(target), stdio.child,
            tuple(request.get("console_size") or (0, 0)),
        )  # fmt: skip
        return spawn.enter(entry, self.cgroup, self._seccomp)

    def delete(self) -> None:
        """After the end: nothing of the container is left in the kernel."""
        if self.cgroup:
            self.cgroup.kill()
            self.cgroup.remove()
            self.cgroup = None


class timed:
    """Adds the seconds spent in the context to `timing[name]`."""

    def __init__(self, timing: dict[str, float], name: str) -> None:
        self._timing, self._name, self._begin = timing, name, 0.0

    def __enter__(self) -> None:
        self._begin = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timing[self._name] = self._timing.get(self._name, 0.0) + time.perf_counter() - self._begin
