"""Another OCI runtime's binary (runc, crun, corten-oci, ...) as an instance.

The root file system is mounted in a mount namespace of the supervisor's own, so that it is gone with the supervisor
and never seen by the host. What needs no binary (signals, freezing, limits, statistics) is done as for our own runtime,
by pidfd and control group.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from corten.errors import NotFound
from corten.instance.contract import ChildStdio, Created, Execution, Size
from corten.kernel import mount as m
from corten.kernel import process as p
from corten.kernel import syscall as sys
from corten.runtime import cgroups, identity, messages, mountplan, null
from corten.runtime.messages import ChildFailed
from corten.runtime.prepare import bind, is_elsewhere, of_host
from corten.runtime.program import with_group_names
from corten.runtime.spawn import Entering
from corten.supervisor import place
from corten.supervisor.processes import HostProcess, HostProcesses
from corten.supervisor.requests import Create

Json = dict[str, Any]

_MISSING = ("executable file not found", "no such file or directory")
_DENIED = ("permission denied", "is a directory", "exec format error")


class External(HostProcesses):
    """One container made by the binary `request.runtime`."""

    def __init__(self, request: Create) -> None:
        HostProcesses.__init__(self, request, cgroups.detect)
        self._binary = request.runtime
        self._arguments = request.runtime_args
        self._id = request.id
        self._directory = request.run
        self._bundle = request.bundle
        with open(os.path.join(self._bundle, "config.json"), "rb") as file:
            self.spec: Json = json.load(file)
        linux = self.spec.get("linux") or {}
        self._cgroup_path = linux.get("cgroupsPath") or f"/corten/{self._id}"
        self._own_pids = any(n["type"] == "pid" and not n.get("path") for n in linux.get("namespaces") or ())
        self._root = os.path.join(self._directory, "rootfs")
        self._mounted = False
        self._places: list[str] = []  # mounts beside the root

    def create(self, stdio: ChildStdio, size: Size) -> Created:
        """`RUNTIME create`. Raises ChildFailed with what the binary said. A terminal's size is set when it is there."""
        place.prepare(self._directory, self._bundle)
        p.prctl(p.PR_SET_CHILD_SUBREAPER, 1)  # the binary ends, and its child becomes ours
        self._mount_root()
        self._write_bundle()
        pid_file = os.path.join(self._directory, "pid")
        arguments = ["create", "--bundle", self._directory, "--pid-file", pid_file]
        console = _ConsoleSocket(self._directory) if stdio is None else None
        if console:
            arguments += ["--console-socket", console.path]
        try:
            self._create(arguments, stdio)
            self._pid = _read_pid(pid_file)
            self._pidfd = os.pidfd_open(self._pid)
            master = console.accept() if console else -1
            self._null = null.open_of(self._pid)  # before anything of the image has run
        finally:
            if console:
                console.close()
        self._path = self._cgroup_path
        oom = self._own_group.oom_fd()
        self._oom = -1 if oom is None else oom
        listener = place.settle(self._directory, self._pid, os.getpid())
        return Created(self._pid, self._pidfd, master, listener, self._oom, {}, ())

    def _create(self, arguments: list[str], stdio: ChildStdio) -> None:
        """A container keeps the null device that it is given here, if the binary does not put its own in the place."""
        instead = null.open_stand_in()
        try:
            self._run("create", [*arguments, self._id], stdio and null.filled_in(stdio, instead))
        finally:
            os.close(instead)

    def _mount_root(self) -> None:
        p.unshare(p.CLONE_NEWNS)
        m.set_propagation("/", m.MS_SLAVE)
        (plan,) = (mountplan.parse(entry) for entry in self._request.rootfs)
        os.makedirs(self._root)
        fd = bind(plan) if plan.kind == "bind" else m.new(plan.fstype, plan.data, plan.add, plan.source)
        m.move_to(fd, self._root)
        self._mounted = True
        os.close(fd)

    def _write_bundle(self) -> None:
        """The specification without our extensions: names of users and groups have become numbers."""
        spec = {**self.spec, "root": {**(self.spec.get("root") or {}), "path": self._root}}
        spec["process"] = self._numeric(with_group_names(spec["process"], spec))
        spec["mounts"] = [self._bound(*numbered) for numbered in enumerate(spec.get("mounts") or ())]
        with open(os.path.join(self._directory, "config.json"), "w") as file:
            json.dump(spec, file)

    def _bound(self, number: int, entry: Json) -> Json:
        """What only we know how to mount is mounted here, and bound by the binary."""
        plan = mountplan.parse(entry)
        if plan.kind == "host":
            fd = of_host(plan)
        elif is_elsewhere(plan):
            fd = bind(plan)
        else:
            return entry
        place = f"{self._root}.{number}"
        os.mkdir(place)
        m.move_to(fd, place)
        os.close(fd)
        self._places.append(place)
        mode = ["ro"] if "ro" in (entry.get("options") or ()) else []
        return {"destination": plan.target, "type": "bind", "source": place, "options": ["rbind", *mode]}

    def _numeric(self, process: Json) -> Json:
        user = dict(process.get("user") or {})
        text, names = user.pop("username", None), process.get("groupNames") or ()
        result = {key: value for key, value in process.items() if key != "groupNames"}
        if text is not None or names:
            root = m.view(sys.AT_FDCWD, self._root)  # the container may exchange its files for devices meanwhile
            try:
                who = identity.resolve(root, text or "", (*map(str, user.get("additionalGids") or ()), *names))
            finally:
                os.close(root)
            user |= {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)}
        result["user"] = user
        return result

    def start(self) -> None:
        self._run("start", ["start", self._id], None)

    def enter(self, execution: Execution, stdio: ChildStdio) -> HostProcess:
        """`RUNTIME exec --detach`, which unlike our own is waited for."""
        if self._cgroup is None:
            raise NotFound(f"control group {self._cgroup_path} does not exist")
        process_file = os.path.join(self._directory, f"exec-{execution.id}.json")
        pid_file = process_file + ".pid"
        with open(process_file, "w") as file:
            json.dump(self._numeric(with_group_names(execution.process, self.spec)), file)
        arguments = ["exec", "--detach", "--process", process_file, "--pid-file", pid_file]
        console = _ConsoleSocket(self._directory) if stdio is None else None
        if console:
            arguments += ["--tty", "--console-socket", console.path]
        ours, theirs = messages.pair()
        try:
            child = stdio and null.filled_in(stdio, self._null)  # a binary sees to that for `create` only
            self._run("exec", [*arguments, self._id], child)
            pid = _read_pid(pid_file)
            if console:
                master = console.accept()
                messages.send(theirs, messages.CONSOLE, master)
                os.close(master)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.unlink(process_file)
            if console:
                console.close()
        return HostProcess(Entering(pid, os.pidfd_open(pid), ours, ()))

    def delete(self) -> None:
        self._close()
        if not self._mounted:  # nothing was made, or it is deleted
            return
        self._mounted = False
        try:
            self._run("delete", ["delete", "--force", self._id], None)
        finally:
            group = self._cgroup
            self._path, self._group = "", None
            if group:
                group.remove()
            for place in (*self._places, self._root):
                m.unmount(place, m.MNT_DETACH)

    def _run(self, step: str, arguments: list[str], stdio: ChildStdio) -> None:
        """Run the binary and wait. Its log says why it failed; nothing else of it does."""
        log = os.path.join(self._directory, "runtime.log")
        state = os.path.join(self._directory, "runtime")
        command = [self._binary, *self._arguments, "--root", state, "--log", log, "--log-format", "json", *arguments]
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            fds = stdio or (nothing, nothing, nothing)
            actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(fds)]
            environment = {"PATH": os.environ.get("PATH", os.defpath)}  # some look for runc there
            pid = os.posix_spawn(self._binary, command, environment, file_actions=actions)
        finally:
            os.close(nothing)
        _, status = os.waitpid(pid, 0)
        if status:
            text = _last_error(log) or f"{self._binary} {step} exited with {os.waitstatus_to_exitcode(status)}"
            raise ChildFailed(step, text, _code(text))


def _code(text: str) -> int:
    """What a container reports when its program cannot run. The binary's words are all there is to tell by."""
    if any(words in text for words in _MISSING):
        return 127
    return 126 if any(words in text for words in _DENIED) else 125


def _last_error(log: str) -> str:
    try:
        with open(log, "rb") as file:
            lines = [json.loads(line) for line in file.read()[-65536:].splitlines() if line.startswith(b"{")]
    except (OSError, ValueError):
        return ""
    return next((str(line.get("msg", "")) for line in reversed(lines) if line.get("level") in ("error", "fatal")), "")


def _read_pid(path: str) -> int:
    with open(path) as file:
        return int(file.read())


class _ConsoleSocket:
    """Where the binary sends the master of the terminal that it makes (runc's `--console-socket`)."""

    def __init__(self, directory: str) -> None:
        # By a descriptor: the name of a unix socket has 107 bytes, and the directory's alone may be longer.
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self._directory}/console.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.settimeout(10)

    def accept(self) -> int:
        connection, _ = self._listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        return fds[0]

    def close(self) -> None:
        self._listener.close()
        os.unlink(self.path)
        os.close(self._directory)
