"""The protocol of what a supervisor owns.

Words used here:

instance   one run of a container, or of a guest that takes its place: what is created, runs a program, and ends
process    a further program in it (`docker exec`)
console    the master of a pseudoterminal, or whatever bytes of a terminal can be read from and written to
stdio      descriptors of pipes for 0, 1 and 2; -1 stands for the instance's own /dev/null; None for a terminal

A run, as the supervisor drives it:

    instance = Native(request, filter_fd)             # or External(request); nothing exists yet
    created = instance.create(stdio, (24, 80))        # all is made but the program does not run
    ...                                               # created.ended, created.oom and created.listener are watched
    instance.start()                                  # the program runs; StartFailed(126 or 127) when it cannot
    process = instance.enter(execution, stdio)        # a further one, on its way in
    ...                                               # process.ready is readable:
    console = process.started()                       # None: not yet. -1, or its terminal: it runs
    ...                                               # process.ended is readable:
    status = process.reap()
    work = instance.work(Fetch("/etc"), reply, pipe)  # its tree is looked into; the answer comes on `reply`
    ...                                               # work.ended is readable:
    work.reap()
    ...                                               # created.ended is readable:
    ending = instance.ending()                        # its status; nothing in it runs any more
    instance.delete()                                 # nothing of it is left

Lifecycle: created, running, ended, deleted. Between created and running `signal`, `resize`, `pause`, `resume`,
`update` and `delete` are in order, and `work` where the host does not see the tree; `enter`, `work`, `attach` and
`detach` are from running on. After `ending` only `delete` is.

Idempotent are `delete`, `pause`, `resume` and `resize`. `create`, `start` and `ending` are called once.

Nothing here waits for longer than a kernel call or a runtime's binary takes: a supervisor has one thread, and drains
the program's output with it. What takes longer has a descriptor that becomes readable (`created.ended`, `created.oom`,
`process.ready`, `process.ended`, `work.ended`); such a descriptor is the instance's, and callers only watch it.
An instance whose programs are another kernel's has work of its own meanwhile: `events` and `advance`.

Errors are those of `corten.errors` and OSError. What an implementation lacks raises Unsupported with the reason, which
a client gets to read. `corten.supervisor.requests` and docs/supervisor.md say how a daemon's requests come here.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

Json = dict[str, Any]
Size = tuple[int, int]  # rows, columns
ChildStdio = tuple[int, int, int] | None


class Created(NamedTuple):
    """An instance whose program has not been executed yet.

    `console` is the caller's to close, -1 without a terminal; so is `listener`, the socket in the run directory where
    daemons connect (`supervisor.place`). `ended` and `oom` become readable at the end, and when memory may have run
    out; they stay the instance's, and `oom` is -1 where this is not reported.
    """

    pid: int  # in the host's numbering: of the first process, or of the monitor of a guest
    ended: int
    console: int
    listener: socket.socket
    oom: int
    timing: dict[str, float]  # seconds, by phase
    warnings: tuple[str, ...]


class Ending(NamedTuple):
    """`status` is the exit code, or 128 + the signal; `out_of_memory`: the kernel has killed for lack of memory.
    `error`: why the status is none of the program's."""

    status: int
    out_of_memory: bool
    error: str = ""


class Execution(NamedTuple):
    """A further program. `process` is OCI's process object (see `tasks.contract.ExecSpec`)."""

    id: str
    process: Json
    terminal: bool
    stdin: bool
    size: Size


class Look(NamedTuple):
    """Docker's PathStat of `path`, as the answer."""

    path: str


class Fetch(NamedTuple):
    """The same, and the tar of what is at `path`, named by its last component."""

    path: str


class Put(NamedTuple):
    """Unpack a tar in the directory `path`. `strict`: no directory takes the place of something else, nor the other way
    round. With `owner` ("USER[:GROUP]", looked up inside) all becomes that user's."""

    path: str
    strict: bool = False
    owner: str = ""


class Export(NamedTuple):
    """The tar of the whole tree, without what is mounted in it."""


class Changes(NamedTuple):
    """What has changed since the instance was made, as Docker's JSON list of Path and Kind."""


class Layer(NamedTuple):
    """The same as the uncompressed tar of a layer."""


TreeRequest = Look | Fetch | Put | Export | Changes | Layer


class Plug(NamedTuple):
    """A further network interface, by one descriptor: a tap's. `mtu` 0 is the kernel's, `addresses` are as
    "172.17.0.2/16", and default routes lead by `gateways`, where there are any, from now on."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]


class Route(NamedTuple):
    """Default routes lead by these gateways, which are behind the interface `name`, from now on."""

    name: str
    gateways: tuple[str, ...]


class ServeNames(NamedTuple):
    """One descriptor, a datagram socket that answers DNS questions: 127.0.0.11 asks it from now on."""


class Refresh(NamedTuple):
    """The engine's own files in it (hosts, resolv.conf ...) are as on the host once more."""


NetworkChange = Plug | Route | ServeNames | Refresh


class Work(Protocol):
    """What is done about an instance's tree, from its beginning to its end."""

    @property
    def ended(self) -> int:
        """A descriptor that is readable when nothing is done any more, whatever was answered; -1 when it is reaped."""

    def end(self) -> None:
        """End it now; `ended` becomes readable when it has."""

    def reap(self) -> None:
        """After its end, once."""


class Process(Protocol):
    """A further program, from its way in to its end."""

    @property
    def pid(self) -> int:
        """In the host's numbering; 0 where it has none there."""

    @property
    def ready(self) -> int:
        """A descriptor that is readable when `started` has something to say."""

    @property
    def ended(self) -> int:
        """A descriptor that is readable when the program has ended; -1 when it has been reaped."""

    def started(self) -> int | None:
        """What happened: the console (-1 without one; the caller's to close) when the program runs, None when there is
        more to wait for. Raises StartFailed with its exit code, or OSError; then nothing is left of the process."""

    def signal(self, number: int) -> None:
        """To this process alone. Does nothing when it has ended."""

    def reap(self) -> int:
        """After its end, once: the exit code, or 128 + the signal."""


class Instance(Protocol):
    """See the module. Raises Failed, OSError, and what is said here."""

    @property
    def events(self) -> int:
        """A descriptor that is readable when `advance` has something to do; -1 for an instance that never has. It is
        there, and the same, from the making of the instance to its `delete`."""

    def advance(self) -> None:
        """Go on with what comes and goes: streams of a guest, which are no descriptors of its programs. Never blocks.
        All other descriptors of such an instance become readable in here, or in another of its methods."""

    def create(self, stdio: ChildStdio, size: Size) -> Created:
        """All that comes before the program: StartFailed, Conflict, Invalid, Exhausted. `delete` takes away what there
        is then. The descriptors of `stdio` stay the caller's, `size` is the terminal's; (0, 0) leaves it."""

    def start(self) -> None:
        """Execute the program. Raises StartFailed with code 127 or 126; `ended` becomes readable then as well."""

    def enter(self, execution: Execution, stdio: ChildStdio) -> Process:
        """Begin a further process. NotFound when the instance is gone, StartFailed."""

    def signal(self, number: int, all_processes: bool) -> None:
        """To the first process, or to every process. Conflict when it has ended."""

    def pause(self) -> None:
        """Stop all processes; returns when they are stopped. Signals reach them when they are resumed: SIGKILL too."""

    def resume(self) -> None: ...

    def resize(self, console: int, size: Size) -> None:
        """Give the terminal behind `console`, the first process's or a further one's, another size. Programs in it get
        SIGWINCH. It is here because what a terminal is depends on the implementation."""

    def update(self, resources: Json) -> Sequence[str]:
        """Change limits; `resources` is OCI's linux.resources with the fields to change. Returns warnings."""

    def processes(self) -> list[int]:
        """All of its processes in the host's numbering. Unsupported where the host does not see them."""

    def table(self) -> Sequence[Json]:
        """The processes that its own kernel has, at most a thousand: "pid", "parent", "group", "session", "user"
        and "gid" as numbers of that kernel, "cpu" and "started" in seconds (of processor time, since the epoch),
        "terminal", "state" as ps(1) has it (but for L), "nice", "priority", "threads", "size" and "resident" in KiB,
        "share" of the memory in percent, "name", "command". Unsupported where they are the host's: its ps shows
        those."""

    def counters(self) -> Json:
        """{"cpu", "memory", "pids", "blkio"} in the shape of `runc events --stats`."""

    def work(self, request: TreeRequest, reply: int, data: int) -> Work:
        """Begin to do what `request` says about its tree, volumes and all. What answers is confined to the tree, and
        speaks on the socket `reply` as `supervisor.trees` says: a frame with what was found or the error, then the
        bytes of the stream on the pipe `data` (-1 for `Look`), then a frame that says whether that was all. The
        descriptors stay the caller's. It ends with the other side of `reply` at the latest. NotFound when the instance
        has ended, Unsupported."""

    def attach(self, name: str, device: int) -> None:
        """Give it the network interface `name`. `device`, the caller's, is the descriptor of a tap: of its two sides, a
        network device and this descriptor, a container gets the first (moved into its namespace, and up), a guest the
        second; the other one is the host's. Conflict when there is an interface of this name, Invalid for what is no
        tap, Unsupported for an instance in the host's network."""

    def detach(self, name: str) -> None:
        """Take it away again. NotFound when there is none of this name, Unsupported as in `attach`."""

    def change_network(self, change: NetworkChange, fds: Sequence[int] = ()) -> None:
        """Of an instance whose network is another kernel's; the descriptors stay the caller's. Unsupported where it is
        the host's: that is changed in its namespace. Of `Plug` Conflict for a name that there is, Invalid for what is
        no tap; when it raises there is no such interface."""

    def dial(self, port: int, connection: int) -> None:
        """Of an instance whose network is another kernel's: what is written to the other side of `connection`, the
        caller's descriptor of a stream socket, goes to what listens at that port of its own loopback (IPv4 first), and
        back. Failed with the reason when nothing can be reached there, NotFound when it has ended, Conflict while it is
        paused; Unsupported where the network is the host's: a socket of its namespace reaches the same."""

    def out_of_memory(self) -> bool:
        """To be called when `Created.oom` is readable: whether the kernel has killed for lack of memory."""

    def ending(self) -> Ending:
        """To be called when `Created.ended` is readable. What else still runs in the instance is killed. Raises
        nothing: what cannot be found out is not reported."""

    def delete(self) -> None:
        """Take everything away, killing what still runs. In any state, also after a `create` that failed."""
