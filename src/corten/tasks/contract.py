"""What runs a container: tasks, and the network namespaces that they live in, as protocols.

Words used here:

task        one run of a container: its first process and everything that descends from it
supervisor  the process that owns a task; it outlives the daemon
stream      a client's raw connection (after the HTTP upgrade); the supervisor serves it itself, the daemon only hands
            the descriptor over, so an attached terminal does not notice the daemon's death either
bundle      the directory of one container, with OCI's config.json in it

A run, as the engine drives it:

    mounts = snapshots.prepare(key, parent)                     # nothing is mounted yet
    netns  = await namespaces.create()                          # held by a descriptor, pinned nowhere
    task   = await runtime.create(Bundle(...), streams=[...])   # init waits, pid is known
    await task.start()                                          # raises StartFailed(126 or 127)
    exit   = await task.wait()                                  # also after a daemon's restart: runtime.adopt(id)
    await task.delete()                                         # cgroups, sockets; idempotent
    snapshots.remove(key)
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from corten.instance.contract import NetworkChange, TreeRequest
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.supervisor.requests import Guest


@dataclass(frozen=True, slots=True)
class Stream:
    """A client's connection to be served by a supervisor. The descriptor is the receiver's from now on.

    `early` are bytes that the client sent behind its request head and that were already read. `mux` frames output as
    Docker does for containers without a terminal (8-byte header: stream, 0, 0, 0, length big-endian).
    `replay` is bytes to send first (the log, for attach?logs=1), already framed.
    """

    fd: int
    stdin: bool = True
    stdout: bool = True
    stderr: bool = True
    mux: bool = False
    early: bytes = b""
    detach_keys: bytes = b"\x10\x11"
    replay: bytes = b""


@dataclass(frozen=True, slots=True)
class LogFile:
    """Where output is kept, in Docker's json-file format, or in Kubernetes' ("cri"), which is not rotated here. `path`
    None keeps nothing (log driver "none")."""

    path: Path | None
    max_size: int = 50 * 1024 * 1024
    max_file: int = 3
    labels: Mapping[str, str] = field(default_factory=dict)  # goes into each record's "attrs"
    format: str = ""


@dataclass(frozen=True, slots=True)
class GuestPart:
    """What makes a bundle's container one in a guest. The descriptors are those of `Guest`, in its order, and stay the
    caller's."""

    guest: Guest
    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything that a runtime needs to make a task."""

    id: str
    path: Path  # holds config.json (OCI runtime specification 1.2)
    rootfs: tuple[Mount, ...]  # mounted by the runtime, in the container's mount namespace, on root.path
    log: LogFile
    terminal: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    console_size: tuple[int, int] = (0, 0)  # rows, columns
    runtime: str = "corten"  # or "vm", or the path of another OCI runtime binary
    runtime_args: tuple[str, ...] = ()  # of that one, before its verb
    cgroup: str = ""  # the specification's cgroupsPath
    # Namespaces that the first process may be cloned into before the specification is read. None when it cannot: it
    # joins another's processes, or lives in a user namespace, which has to own the others.
    clone_namespaces: tuple[str, ...] | None = None
    # What is registered with binfmt_misc while the task runs: in the user namespace at this path, or ("") on the host.
    emulators: tuple[str, ...] = ()
    userns: str = ""
    guest: GuestPart | None = None  # with the runtime "vm", when it is created
    # The directory for output that waits for slow clients, up to 1 GiB for each, when `path` is in memory.
    spill: Path | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a task, or an exec, ended. `status` is the exit code, or 128 + the signal."""

    status: int
    at: float  # seconds since the epoch
    oom_killed: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class ExecSpec:
    """A further process in a running task. `process` is OCI's process object (args, env, cwd, user, capabilities ...).

    `process["user"]["username"]`, when present, is Docker's USER[:GROUP] text and is looked up in the container's own
    /etc/passwd and /etc/group by the runtime; `additionalGids` then come on top of what the group file says.
    The same holds for config.json's process.
    """

    id: str
    process: Json
    terminal: bool = False
    stdin: bool = False
    console_size: tuple[int, int] = (0, 0)


class Credentials(NamedTuple):
    """Of a process, in the host's numbering; `groups` are its supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]


class Held(NamedTuple):
    """What the processes of a task are and hold, counted; None is not known."""

    processes: int
    threads: int
    descriptors: int | None
    sockets: int | None


class ProcessTable(NamedTuple):
    """Processes of a task, in the columns of ps(1)."""

    titles: list[str]
    rows: list[list[str]]


class Task(Protocol):
    """One run. Methods raise Conflict when the task is in no state for it, NotFound when it is gone, Unavailable when
    its supervisor does not answer, Unsupported for what this kind of task cannot do.

    `pid` is in the host's numbering, and is there to be shown: what can be done with a number is done by the methods
    here, because with some tasks it is no process of the container (with a guest it is its monitor).
    `paused`: its processes are frozen, as far as its supervisor has said.
    """

    id: str
    pid: int
    paused: bool

    async def start(self, hold: Mapping[str, int] | None = None) -> Mapping[str, float]:
        """Let init execute the user's program; returns once it does. Phases of the start in seconds, by name. `hold`
        are connections by key, as of `hold`, from the start on.

        Raises StartFailed with exit_code 127 or 126 and the reason. The task is then stopped; `delete` still has to be
        called.
        """

    async def attach(self, stream: Stream) -> None:
        """Serve this client from now on. Returns at once."""

    def hold(self, key: str, fd: int) -> None:
        """Take a copy of a client's connection on which a chunked HTTP/1.1 answer has begun, and end that answer with
        Docker's {"StatusCode": n} if this daemon is gone when the run ends. `key` is not used twice.

        Returns at once, whether or not the copy is kept: not by the supervisor of an older version, not behind the end,
        and not beyond `supervisor.waits.MOST`.
        """

    def release(self, key: str, answer: bool) -> None:
        """The copy is closed; or, with `answer`, kept and answered at the end whether or not this daemon is there."""

    async def write_log(self) -> None:
        """Returns when its log has what it has written until now; at once where its supervisor is older than that."""

    async def reopen_log(self) -> None:
        """Go on in the file that has the log's path now: another program has renamed the one before. Unsupported where
        the log is not of the format "cri"."""

    async def exec(self, spec: ExecSpec, stream: Stream | None) -> int:
        """Start a process; returns its pid (in the host's numbering). StartFailed as in `start`."""

    async def wait_exec(self, exec_id: str) -> Exit: ...

    async def signal_exec(self, exec_id: str, number: int) -> None:
        """To an exec's process alone. NotFound when it has ended."""

    def execs(self) -> Mapping[str, int]:
        """The pids of execs by their ids: those that this daemon has started and not waited for, and an earlier one's
        that run, or ended while there was no daemon. `wait_exec` has how they end."""

    async def exec_runs(self, exec_id: str) -> bool:
        """False when an exec's process has ended, also while its supervisor has not said so yet: then `wait_exec` is
        about to answer. True where this cannot be seen."""

    async def signal(self, number: int, all_processes: bool = False) -> None: ...

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    async def resize(self, rows: int, columns: int, exec_id: str | None = None) -> None: ...

    async def update(self, resources: Json) -> None:
        """Change limits while running; `resources` is OCI's linux.resources with only the fields to change."""

    async def pids(self) -> Sequence[int]: ...

    async def processes(self, arguments: Sequence[str]) -> ProcessTable:
        """Its processes as ps(1) shows them with these arguments. Invalid when it refuses them, or shows no PIDs."""

    async def interface_counters(self) -> Json:
        """{name: {"rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", ...}} of each network interface as a
        process inside sees it, loopback excepted; {} when it has ended."""

    def namespace(self, kind: str) -> Path:
        """Where one of its namespaces is seen on the host, to be shown; `kind` is OCI's word ("network", "pid", "ipc",
        ...)."""

    def open_namespace(self, kind: str) -> int:
        """A descriptor of one of its namespaces, the caller's to close. Raises NotFound when the task has ended."""

    async def held(self) -> Held:
        """Of those that are there now. NotFound, Unsupported where the host has no such processes."""

    def credentials(self) -> Credentials:
        """Of its first process now. NotFound when it has ended, Unsupported where the host has no such process."""

    def root(self) -> Path:
        """Where its root directory is found by a runtime that binds something of it, such as /dev/shm."""

    async def mount_number(self, path: str) -> int:
        """The kernel's number of the mount at `path` inside. To be asked before its program runs, which may change what
        is there. NotFound, Unavailable."""

    def open_tree(self) -> tuple[int, ...]:
        """Descriptors of its root, mount namespace and user namespace for `TreeWork`, the caller's to close; () when it
        does not run any more. OSError when this process has no descriptor left, Unsupported where the host has no
        descriptor of it."""

    def trees(self) -> TreeWork:
        """Work on its tree by way of its supervisor: the only way where the host has no descriptor of it. Unsupported
        when its supervisor is of an older version."""

    async def attach_interface(self, name: str, device: int) -> None:
        """Give it the network interface `name`, by the descriptor of a tap (`Instance.attach`), the caller's. Conflict,
        Invalid, Unsupported."""

    async def detach_interface(self, name: str) -> None:
        """Take it away again. NotFound when it has none of this name."""

    async def change_network(self, change: NetworkChange, fds: Sequence[int] = ()) -> None:
        """Of one in a guest, see `Instance.change_network`; the descriptors stay the caller's. Unsupported for others,
        and when its supervisor is of an older version."""

    async def dial(self, port: int, connection: int) -> None:
        """Of one in a guest, see `Instance.dial`; the descriptor stays the caller's. Unsupported for others, and when
        its supervisor is of an older version."""

    async def stats(self) -> Json:
        """Counters in runc's `events --stats` shape: {"cpu": .., "memory": .., "pids": .., "blkio": ..}."""

    async def wait(self) -> Exit:
        """The end of this run. Any number of callers, also after it ended."""

    async def destroy(self) -> None:
        """End a run whose supervisor does not answer: kill everything in it, then the supervisor itself if it does not
        notice. `wait` answers when this returns. Failed when the kernel holds a process of it."""

    async def delete(self) -> None:
        """Take away what is left of an ended task: cgroups, socket, supervisor. Idempotent."""


class PluginAnswer(NamedTuple):
    """What a plugin of the Container Network Interface ended with, and wrote."""

    status: int
    output: str


class Plugins(Protocol):
    """Runs plugins of the Container Network Interface, which are programs of this host's."""

    async def run(
        self, plugin: str, environment: Mapping[str, str], config: str, namespace: int, seconds: float
    ) -> PluginAnswer:
        """`namespace` is the descriptor of a network namespace, below 0 for none. Failed when it cannot be executed,
        does not end within `seconds`, or writes too much; Unavailable."""


OnEvent = Callable[[str, str, Json], None]


class Runtime(Protocol):
    """Makes tasks. It is made with a function `on_event(id, kind, attributes)`, which is called for "oom", "exec_exit",
    "detach", and "reached": an adopted task's supervisor answers, which did not when it was adopted."""

    async def create(self, bundle: Bundle, streams: Sequence[Stream] = ()) -> Task: ...

    async def adopt(self, bundle: Bundle) -> Task | None:
        """The task of an earlier daemon: running, or ended with its exit on disk. None when there is no trace.

        One whose supervisor does not answer is a task too: its methods raise Unavailable, `destroy` ends it. When its
        supervisor was killed before it wrote an exit, `wait` answers status 137 with an error that says so.
        """

    async def end(self, bundle: Path) -> None:
        """SIGKILL to all processes of the task with this bundle, one that is only being made among them: its `create`
        fails then. Nothing happens where there are none."""


@dataclass(frozen=True, slots=True)
class IdMap:
    """Contents for uid_map and gid_map (user_namespaces(7))."""

    uids: str
    gids: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace, held open by `fd` and by the processes in it; it is pinned nowhere, so a crash leaves none.

    `path` names it for a specification's "namespaces" as long as `fd` is open. `route` is a NETLINK_ROUTE socket inside
    it. `user` is the user namespace that owns it, when it was made with an id map (with the descriptor behind that
    path), and belongs into the specification as well.
    """

    path: Path
    fd: int
    route: int
    user: Path | None = None
    user_fd: int = -1

    def close(self) -> None:
        """Close the descriptors. The namespace lives on while a process is in it."""
        for fd in (self.fd, self.route, self.user_fd):
            if fd >= 0:
                os.close(fd)


class NetworkNamespaces(Protocol):
    """Made by the launcher, because the daemon never changes its own namespaces."""

    async def create(self, id_map: IdMap | None = None) -> Namespace:
        """A new namespace, loopback up. The caller closes it."""

    async def open(self, fd: int) -> Namespace:
        """The namespace of the descriptor `fd` (`Task.open_namespace`), which is the answer's from now on."""

    async def name_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        """Three sockets in it for a name server: UDP and listening TCP at 127.0.0.11, any port, and NETLINK_NETFILTER.
        The caller closes them. None at all where the kernel has no such thing."""

    async def name_client(self, namespace: Namespace) -> int:
        """A UDP socket in it that asks the name server there, if there is one. The caller closes it."""

    async def dial_sockets(self, namespace: Namespace) -> tuple[int, ...]:
        """TCP sockets in it, not connected: IPv4, and IPv6 where the kernel has it. The caller closes them."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a holder keeps beside a network namespace: "ipc" with a /dev/shm of `shm_size` bytes, "uts" with `hostname`,
    "pid" with a first process."""

    kinds: tuple[str, ...] = ()
    hostname: str = ""
    shm_size: int = 64 << 20


@dataclass(frozen=True, slots=True)
class SharedNamespaces:
    """Descriptors by kind, of a holder's process `pid`, whose /dev/shm is the pod's where it has an "ipc"."""

    pid: int
    descriptors: Mapping[str, int]

    @property
    def memory(self) -> Path:
        """Where that is found by a runtime that binds it."""
        return Path(f"/proc/{self.pid}/root/dev/shm")

    def close(self) -> None:
        for fd in self.descriptors.values():
            os.close(fd)


class Holders(Protocol):
    """Processes that keep namespaces while no other process is in them; they outlive the daemon. `ids` are those there
    are."""

    ids: set[str]

    async def start(
        self, id: str, id_map: IdMap | None = None, shared: Shared | None = None, network: Namespace | None = None
    ) -> Namespace:
        """New namespaces, kept from now on; `network` is one to keep instead of a new one, without an `id_map`, and
        stays the caller's. Raises Conflict when there is a holder of this id, Failed, Unavailable."""

    async def open(self, id: str) -> Namespace:
        """The network of a holder, also one that an earlier daemon started. Raises NotFound, Unavailable."""

    async def open_shared(self, id: str) -> SharedNamespaces:
        """What it keeps beside that, the caller's to close. Raises NotFound, Unavailable."""

    async def ended(self, id: str) -> None:
        """Return when the holder's process is gone; at once where it is, or cannot be reached."""

    async def end(self, id: str) -> None:
        """The holder ends; the namespaces live on while processes are in them. Idempotent."""


# --------------------------------------------------------------------------------------------------- trees of files


class TreeWork(Protocol):
    """Processes that see one tree. What they find is confined to it; they raise NotFound, Invalid, Forbidden, Failed.

    `where` and `fds` say which tree it is (`corten.supervisor.trees`); nothing for a task's own (`Task.trees`). The
    descriptors stay the caller's.
    """

    async def ask(self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()) -> Json:
        """A request with one answer."""

    def stream(
        self, request: TreeRequest, where: Json | None = None, fds: Sequence[int] = ()
    ) -> AbstractAsyncContextManager[tuple[Json, AsyncIterator[bytes]]]:
        """The answer, and the data behind it; reading that raises at its end when not all could be sent."""

    async def pour(
        self, request: TreeRequest, data: AsyncIterator[bytes], where: Json | None = None, fds: Sequence[int] = ()
    ) -> Json:
        """The answer of a process that reads `data`. It may answer before the end: the rest is not asked for then."""
