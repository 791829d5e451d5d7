"""What a daemon asks of a supervisor, read in one place: everything behind it has attributes, not keys.

`decode` reads a request on an established connection, `decode_create` the first message, which makes an instance. A
supervisor may be older or newer than the daemon: a key that is missing has the meaning it had before it was
introduced, a key that is not known is ignored, and a verb that is not known is refused. Both raise ValueError or
KeyError for what is no request. docs/supervisor.md has all of it as a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from corten.instance.contract import (
    Changes,
    Execution,
    Export,
    Fetch,
    Layer,
    Look,
    NetworkChange,
    Plug,
    Put,
    Refresh,
    Route,
    ServeNames,
    Size,
    TreeRequest,
)

if TYPE_CHECKING:
    from corten.vm.contract import GuestSection

Json = dict[str, Any]

# The version of a supervisor (`wire.VERSION`) that has
SIGNALS_EXECS = 2  # `SignalExec`
OPENS_INSTANCES = 3  # the requests about a tree, `AttachInterface` and `DetachInterface`
HOLDS_WAITS = 4  # `Hold` and `Release`
WRITES_LOG = 5  # `WriteLog`
HAS_GUESTS = 5  # `Table`
CHANGES_NETWORKS = 6  # `NetworkChange`
REOPENS_LOG = 6  # `ReopenLog`, and logs as Kubernetes reads them
SHOWS_COLUMNS = 6  # `Table` with what all columns of ps take
DIALS = 7  # `Dial`
ANSWERS_BY_ID = 8  # what has no "id" is not answered


class Attachment(NamedTuple):
    """How to serve a client's connection; see `tasks.contract.Stream`."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    mux: bool = False
    early: bytes = b""
    detach_keys: bytes = b""
    replay: bytes = b""


class Log(NamedTuple):
    """Docker's json-file, or in the `format` "cri" (`supervisor.cri_log`). `path` is empty when nothing is kept,
    `max_size` in bytes, 0 for any size."""

    path: str = ""
    max_size: int = 0
    max_file: int = 1
    attrs: str = ""  # JSON, for each record
    format: str = ""


class Guest(NamedTuple):
    """The guest of a container that has one. Its descriptors are behind all others: those of the section, and where
    `names`, a datagram socket that answers DNS questions."""

    section: GuestSection | None = None
    disks: tuple[Json, ...] = ()  # see `guest.disks`
    interfaces: tuple[Json, ...] = ()  # see `guest.network.Interface`
    names: bool = False
    devices: tuple[Json, ...] = ()  # see `guest.devices.of_container`


NO_GUEST = Guest()


class Create(NamedTuple):
    """An instance to be made. Its descriptors: the system call filter when `has_filter`, then the clients'."""

    run: str  # directory of the socket
    bundle: str  # directory of config.json and exit.json
    spill: str  # directory of what waits for slow clients
    id: str
    runtime: str  # "corten", or an OCI binary's path
    runtime_args: tuple[str, ...]
    rootfs: tuple[Json, ...]  # mounts as the specification writes them; () when the specification's root.path counts
    cgroup: str
    clone_namespaces: tuple[str, ...] | None  # see `tasks.contract.Bundle`
    log: Log
    terminal: bool
    open_stdin: bool
    stdin_once: bool
    size: Size
    has_filter: bool
    clients: tuple[Attachment, ...]
    emulators: tuple[str, ...] = ()  # this and the next: see `tasks.contract.Bundle`
    userns: str = ""
    guest: Guest = NO_GUEST  # with the runtime "vm"


class Start(NamedTuple):
    """`hold`: keys as of `Hold`, each with a descriptor."""

    hold: tuple[str, ...] = ()


class Attach(NamedTuple):
    """One descriptor: the client's connection."""

    client: Attachment


class Exec(NamedTuple):
    """One descriptor, or none without a client."""

    execution: Execution
    client: Attachment | None


class Signal(NamedTuple):
    number: int
    all_processes: bool


class SignalExec(NamedTuple):
    """Since `SIGNALS_EXECS`. A verb of its own: an older supervisor would send the signal to the first process."""

    name: str
    number: int


class Hold(NamedTuple):
    """Since `HOLDS_WAITS`. One descriptor: the connection of a client that waits for the end (`supervisor.waits`)."""

    key: str


class Release(NamedTuple):
    """Since `HOLDS_WAITS`. `answer`: its daemon will not."""

    key: str
    answer: bool


class WriteLog(NamedTuple):
    """Since `WRITES_LOG`. Answered when the log has what the container has written until now."""


class ReopenLog(NamedTuple):
    """Since `REOPENS_LOG`. Another program has renamed the log's file."""


class Pause(NamedTuple):
    pass


class Resume(NamedTuple):
    pass


class Resize(NamedTuple):
    """`name`: an exec's; empty for the first process's terminal."""

    size: Size
    name: str


class Update(NamedTuple):
    resources: Json


class Processes(NamedTuple):
    pass


class Counters(NamedTuple):
    pass


class Table(NamedTuple):
    """Since `HAS_GUESTS`."""


class AttachInterface(NamedTuple):
    """Since `OPENS_INSTANCES`. One descriptor: a tap's."""

    name: str


class DetachInterface(NamedTuple):
    """Since `OPENS_INSTANCES`."""

    name: str


class Dial(NamedTuple):
    """Since `DIALS`. One descriptor: a socket that is connected to that port of the instance's own loopback."""

    port: int


# What `decode` makes. Those about a tree have two descriptors: the socket for the answers, and a pipe (`Look`: none).
Request = (
    Start
    | Hold
    | Attach
    | Exec
    | Signal
    | SignalExec
    | Pause
    | Resume
    | Resize
    | Update
    | Processes
    | Counters
    | Table
    | TreeRequest
    | NetworkChange
    | AttachInterface
    | DetachInterface
    | Release
    | WriteLog
    | ReopenLog
    | Dial
)
ABOUT_TREES = (Look, Fetch, Put, Export, Changes, Layer)
ABOUT_NETWORKS = (Plug, Route, ServeNames, Refresh)


_START = Start()  # made before the fork, so that its class is not written to


def decode(message: Json) -> Request:
    do = message.get("do", "")
    match do:  # frequent ones first, as in `Supervisor._do` and for the same reason
        case "start":
            return Start(tuple(message["hold"])) if "hold" in message else _START
        case "hold":
            return Hold(str(message["key"]))
        case "stats":
            return Counters()
        case "exec":
            return Exec(_execution(message["exec"]), attachment(message["stream"]) if "stream" in message else None)
        case "attach":
            return Attach(attachment(message["stream"]))
        case "signal":
            return Signal(int(message["signal"]), bool(message.get("all")))
        case "signal exec":
            return SignalExec(message["exec"], int(message["signal"]))
        case "pause":
            return Pause()
        case "resume":
            return Resume()
        case "resize":
            return Resize((int(message["rows"]), int(message["columns"])), message.get("exec") or "")
        case "update":
            return Update(message["resources"])
        case "pids":
            return Processes()
        case "table":
            return Table()
        case "release":
            return Release(str(message["key"]), bool(message["answer"]))
        case "write log":
            return WriteLog()
        case "plug interface":
            return _plug(message)
        case "route":
            return Route(message["name"], tuple(message["gateways"]))
        case "serve names":
            return ServeNames()
        case "refresh files":
            return Refresh()
        case "reopen log":
            return ReopenLog()
        case "dial":
            return Dial(int(message["port"]))
        case "attach interface":
            return AttachInterface(message["name"])
        case "detach interface":
            return DetachInterface(message["name"])
        case _:
            return decode_tree(message)


def decode_tree(message: Json) -> TreeRequest:
    """What `encode_tree` makes. KeyError, ValueError."""
    match do := message.get("do", ""):
        case "tree look":
            return Look(message["path"])
        case "tree fetch":
            return Fetch(message["path"])
        case "tree put":
            return Put(message["path"], bool(message.get("strict")), message.get("owner") or "")
        case "tree export":
            return Export()
        case "tree changes":
            return Changes()
        case "tree layer":
            return Layer()
        case _:
            raise ValueError(f"unknown request {do!r}")


def encode_tree(request: TreeRequest) -> Json:
    """A request about a tree as a daemon sends it, to supervisors and to helpers of the launcher alike."""
    return {"do": f"tree {type(request).__name__.lower()}", **request._asdict()}


_VERBS: dict[type[NetworkChange], str] = {
    Plug: "plug interface",
    Route: "route",
    ServeNames: "serve names",
    Refresh: "refresh files",
}


def encode_network(change: NetworkChange) -> Json:
    """As a daemon sends it. Since `CHANGES_NETWORKS`."""
    return {"do": _VERBS[type(change)], **change._asdict()}


def _plug(message: Json) -> Plug:
    addresses, gateways = tuple(message["addresses"]), tuple(message["gateways"])
    return Plug(message["name"], message["mac"], int(message["mtu"]), addresses, gateways)


def decode_create(message: Json) -> Create:
    log = message.get("log") or {}
    namespaces = message.get("clone_namespaces")
    return Create(
        run=message["run"],
        bundle=message["bundle"],
        spill=message.get("spill") or message["bundle"],
        id=message.get("id", ""),
        runtime=message.get("runtime", "corten"),
        runtime_args=tuple(message.get("runtime_args") or ()),
        rootfs=tuple(message.get("rootfs") or ()),
        cgroup=message.get("cgroup", ""),
        clone_namespaces=None if namespaces is None else tuple(namespaces),
        log=Log(
            log.get("path") or "",
            log.get("max_size") or 0,
            log.get("max_file") or 1,
            log.get("attrs") or "",
            log.get("format") or "",
        ),
        terminal=bool(message.get("terminal")),
        open_stdin=bool(message.get("open_stdin")),
        stdin_once=bool(message.get("stdin_once")),
        size=_size(message.get("console_size")),
        has_filter=bool(message.get("filter")),
        clients=tuple(map(attachment, message.get("streams") or ())),
        emulators=tuple(message.get("emulators") or ()),
        userns=message.get("userns", ""),
        guest=_guest(message["guest"]) if "guest" in message else NO_GUEST,
    )


def encode_guest(guest: Guest) -> Json:
    """That part of a request to create, as `decode_create` reads it."""
    assert guest.section is not None
    section = {**guest.section._asdict(), "shape": guest.section.shape._asdict()}
    return {**guest._asdict(), "section": section}


def _guest(body: Json) -> Guest:
    from corten.vm.contract import GuestSection, Shape  # which is not loaded for containers without a guest

    section = body["section"]
    shape = Shape(**section["shape"])
    disks = tuple((serial, bool(read_only)) for serial, read_only in section.get("disks") or ())
    interfaces = tuple((name, mac) for name, mac in section.get("interfaces") or ())
    made = GuestSection(shape, bool(section["cloned"]), section["memory"], section["cpus"], disks, interfaces)
    disks_of_guest, interfaces_of_guest = tuple(body.get("disks") or ()), tuple(body.get("interfaces") or ())
    return Guest(made, disks_of_guest, interfaces_of_guest, bool(body.get("names")), tuple(body.get("devices") or ()))


def _execution(body: Json) -> Execution:
    terminal, stdin = bool(body.get("terminal")), bool(body.get("stdin"))
    return Execution(body["id"], body["process"], terminal, stdin, _size(body.get("console_size")))


def _size(pair: list[int] | None) -> Size:
    rows, columns = pair or (0, 0)
    return rows, columns


def attachment(body: Json) -> Attachment:
    return Attachment(
        bool(body.get("stdin")),
        bool(body.get("stdout", True)),
        bool(body.get("stderr", True)),
        bool(body.get("mux")),
        bytes.fromhex(body.get("early", "")),
        bytes.fromhex(body.get("detach_keys", "")),
        bytes.fromhex(body.get("replay", "")),
    )
