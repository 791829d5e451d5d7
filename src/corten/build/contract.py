"""What a build is made of, as protocols and values: what a face gives, what does a step's work, what is said of it
meanwhile.

Words used here:

face       where a request comes from: the classic POST /build, BuildKit's session, our own command line
source     a directory of the client: "context", "dockerfile", or a named context
stage      a FROM and what follows it
step       one instruction of a stage that changes the tree: RUN, COPY, ADD, WORKDIR
tree       files that a step reads: a stage's (by the names of its layers' trees) or a client's (a directory of ours)
vertex     a step, or work beside it (loading the context, an export), as it is shown to people

A build, from outside to inside:

    request, client = ...                                  # the face's: options, and where files come from
    built = await builds.build(request, client, trace)     # plan, solve, outputs; `trace` gets each vertex
    layer = await worker.run(parent, RunStep(...), ...)    # the tree of one more layer, committed and recorded
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from corten.errors import Failed, NotFound
from corten.spec.dockerfile.mounts import SecretMount, Sharing, SshMount, TmpfsMount
from corten.spec.dockerfile.run_devices import Device
from corten.spec.oci_image import Descriptor
from corten.spec.packages.package import Inventory

if TYPE_CHECKING:
    from corten.build.contexts import Context
    from corten.spec.git_url import GitUrl

# ------------------------------------------------------------------------------------------------ what a face gives


@dataclass(frozen=True, slots=True)
class Limits:
    """Of each RUN's process, as `run` has them; 0 and () are no limit. Never part of a cache key."""

    memory: int = 0  # bytes
    memory_swap: int = 0  # bytes, memory and swap together
    cpu_shares: int = 0
    cpu_period: int = 0  # microseconds
    cpu_quota: int = 0  # microseconds
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    cgroup_parent: str = ""
    shm_size: int = 0  # bytes
    ulimits: tuple[tuple[str, int, int], ...] = ()  # name, soft, hard


@dataclass(frozen=True, slots=True)
class Fetched:
    """A context that was fetched: its address without user and password, and the digest of the file or the commit."""

    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An output, or a cache, as a client asks for it in BuildKit's words (`outputs.options`, `exchange.options`)."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build. Names of tags are canonical references. `platform` is what it is for, several separated by commas, ""
    the daemon's own; `index`: the result is an index, also of one platform."""

    id: str = ""  # by which it can be cancelled
    dockerfile: str = ""  # its path in the source "dockerfile"; "" is Dockerfile, or dockerfile
    text: bytes | None = None  # the Dockerfile itself, where it is in no source
    remote: str | GitUrl = ""  # a context by URL: git or http(s)
    context: Fetched | None = None  # what came from there; `remote` is "" then
    local_dockerfile: bool = False  # the Dockerfile is the client's all the same
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)  # --build-arg
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    platform: str = ""
    index: bool = False
    pull: bool = False  # ask the registry also for a base image that is here
    no_cache: bool = False
    no_cache_stages: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()  # names of images
    cache_imports: tuple[Asked, ...] = ()
    cache_exports: tuple[Asked, ...] = ()
    network: str = "default"  # or "none", "host", a network's name
    extra_hosts: tuple[str, ...] = ()  # NAME:ADDRESS
    devices: tuple[str, ...] = ()  # names of CDI devices that a RUN may ask for; "*" is any
    limits: Limits = field(default_factory=Limits)
    contexts: Mapping[str, str | GitUrl] = field(
        default_factory=dict
    )  # named contexts: name to docker-image://, local:SOURCE, URL
    classic: bool = False  # the rules of the classic builder, where they are other ones
    squash: bool = False
    attest: Mapping[str, str] = field(default_factory=dict)  # "sbom", "provenance" to what is asked of it
    attributes: Mapping[str, str] = field(default_factory=dict)  # as BuildKit's frontend has them; {}: what is above
    outputs: tuple[Asked, ...] = ()
    recorded: bool = True  # in the history of builds; False: by who asks
    store: bool = True  # keep the result as an image, under `tags`, also when no output is the image store


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Files of a source, as they are below `directory`, which only the builder writes to. `id` tells trees apart in the
    memory of checksums: the same id is the same content for as long as this daemon runs. `sums` are hashes that are
    known of its files (`corten.layers.sums.entry`).

    `content` is a name of what it has where that never changes, as a commit, else "". `bring`, where it is given, has
    to be called before its files are looked at: what it answers is here. `holder` is what the directory is in, and goes
    at the build's end: until then its files may be a layer's as well."""

    id: str
    directory: Path
    sums: bytes = field(default=b"", compare=False, repr=False)
    content: str = ""
    bring: Callable[[], Awaitable[SourceTree]] | None = field(default=None, compare=False, repr=False)
    holder: Path | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Commit:
    """Of a repository; `ref` is the whole name of what it was found by, "" when it was asked for by its id. `tag` is
    the id of the annotated tag that led to it, or ""."""

    id: str
    ref: str = ""
    tag: str = ""

    @property
    def digest(self) -> str:
        """With the algorithm before it."""
        return f"{'sha1' if len(self.id) == 40 else 'sha256'}:{self.id}"


Said = Callable[[bytes], None]  # whole lines


class Repositories(Protocol):
    """Git; what it says of its work goes to `said`. Both raise Failed with git's own words, NotFound, Invalid,
    Unavailable for a server that stalls, Unsupported where there is no git. When a call has ended so has all that it
    began. Secrets and SSH agents are the client's."""

    async def commit(self, url: GitUrl, client: Client, said: Said) -> Commit:
        """Which one the address names. Raises Invalid for another one than its checksum says."""

    async def files(self, url: GitUrl, commit: Commit, keep_git_dir: bool, client: Client, said: Said) -> Context:
        """The files of a commit, as a context for the caller to remove."""


class Client(Protocol):
    """What the client of a build gives on demand; made by a face for one build, closed by it."""

    async def files(self, source: str, names: Sequence[str]) -> Mapping[str, bytes]:
        """Those of these small files (Dockerfile, .dockerignore) that are there, by name. Raises Invalid for one above
        4 MiB, Unavailable when the client has gone."""

    async def tree(self, source: str, follow: Sequence[str], exclude: Sequence[str], received: Received) -> SourceTree:
        """The source with at least the paths `follow` (all when empty), and what links among them lead to, without what
        `exclude` (lines of .dockerignore) names. `received` gets the bytes that have come so far."""

    async def secret(self, id: str) -> bytes | None:
        """Its content; None when the client has none of this id."""

    async def agent(self, id: str) -> Agent | None:
        """The client's SSH agent of this id; None when there is none."""

    async def credentials(self, host: str) -> tuple[str, str] | None:
        """User and password, or "" and an identity token, for a registry's host."""


class Agent(Protocol):
    """An SSH agent of the client."""

    async def connect(self, fd: int) -> None:
        """Carry bytes between a connection that was accepted, the callee's from now on, and the agent."""


class Terminal(Protocol):
    """A terminal of the client, for one shell. `size` are its rows and columns."""

    size: tuple[int, int]

    async def carry(self, fd: int, resize: Callable[[int, int], Awaitable[None]]) -> None:
        """Carry bytes between a program's connection, the callee's from now on, and the terminal, until either ends;
        `resize` when the client's window changes."""


# Where a step has failed, as the text says: None when the client has no terminal.
Terminals = Callable[[str], AbstractAsyncContextManager[Terminal | None]]
Received = Callable[[int], None]

# ---------------------------------------------------------------------------------------------- what is said of it


@dataclass(frozen=True, slots=True)
class Vertex:
    """One row of a progress display. `digest` tells vertices of one build apart, `inputs` are others' digests. It is
    sent again with each change; times are seconds since the epoch, 0 is not yet."""

    digest: str
    name: str  # "[stage-1 2/3] RUN make", "[internal] load build context", "exporting to image"
    inputs: tuple[str, ...] = ()
    started: float = 0
    completed: float = 0
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """A row below a vertex: a layer that is downloaded, bytes of a context. `total` 0: unknown. `at` is when it was so,
    seconds since the epoch, 0 is now."""

    id: str
    vertex: str
    current: int = 0
    total: int = 0
    started: float = 0
    completed: float = 0
    at: float = 0


@dataclass(frozen=True, slots=True)
class Log:
    """Output of a step; `stream` is 1 or 2, `at` as that of a `Status`."""

    vertex: str
    stream: int
    data: bytes
    at: float = 0


@dataclass(frozen=True, slots=True)
class Warning:
    """What the Dockerfile's checks say."""

    vertex: str
    rule: str
    message: str
    url: str
    lines: tuple[int, int]  # first and last, from 1; 0: it is about no line


@dataclass(frozen=True, slots=True)
class ClassicText:
    """A line of the classic builder's stream ("Step 1/2 : FROM x", " ---> Running in x"). Only that face shows it.
    `image` is the id of the image that it is the first to name, "" for another line."""

    text: str
    image: str = ""


Event = Vertex | Status | Log | Warning | ClassicText
Trace = Callable[[Event], None]  # called in the event loop; never waits

# -------------------------------------------------------------------------------------------- what does a step's work


@dataclass(frozen=True, slots=True)
class Layer:
    """What one step has added. `tree` is the committed tree's name (its chain id), on top of the parent's.

    `content` is a digest of what was added without times, so that equal work on another day has an equal one.
    `blob` None: nothing was added (`diff_id` and `tree` are then "").
    """

    diff_id: str
    tree: str
    content: str
    size: int
    blob: Descriptor | None


@dataclass(frozen=True, slots=True)
class StageTree:
    """A stage's tree, by the name of its topmost committed tree; None for no files at all (scratch)."""

    top: str | None


Tree = StageTree | SourceTree


@dataclass(frozen=True, slots=True)
class Bind:
    """RUN --mount=type=bind: `path` of a tree at `target`. With `writable` what is written vanishes with the step."""

    target: str
    tree: Tree
    path: str = "/"
    writable: bool = False


@dataclass(frozen=True, slots=True)
class CacheMount:
    """RUN --mount=type=cache. `tree` is what a new one begins with."""

    target: str
    id: str
    tree: Tree | None = None
    path: str = "/"
    sharing: Sharing = "shared"
    read_only: bool = False
    uid: int = 0
    gid: int = 0
    mode: int = 0o755


# The others are as the Dockerfile has them, with an absolute target ("": none).
StepMount = Bind | CacheMount | TmpfsMount | SecretMount | SshMount


@dataclass(frozen=True, slots=True)
class RunStep:
    """A RUN. `args` is what is executed; `files` are heredocs that are given to it as files, by path. `platform` is its
    programs', where this machine's processor cannot run them, else "". What it writes below `volumes` does not stay."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    network: str = "default"
    insecure: bool = False
    mounts: tuple[StepMount, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    hostname: str = "buildkitsandbox"
    limits: Limits = field(default_factory=Limits)
    platform: str = ""
    volumes: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Matched:
    """Sources of a COPY in one tree. `paths` are names and patterns of Go's filepath.Match; `content` of one is a file
    that the Dockerfile itself has (a heredoc). `packed`: archives among them stay files, whatever becomes of others."""

    tree: Tree | None
    paths: tuple[str, ...]
    content: Mapping[str, bytes] = field(default_factory=dict)
    packed: bool = False


@dataclass(frozen=True, slots=True)
class CopyStep:
    """A COPY or ADD, or the directory of a WORKDIR (no sources, `target` the directory)."""

    sources: tuple[Matched, ...]
    target: str  # absolute; with "/" at its end it is a directory
    owner: str = ""  # USER[:GROUP], looked up in the tree that is copied to
    mode: str = ""  # octal or symbolic (chmod(1))
    exclude: tuple[str, ...] = ()
    parents: bool = False
    link: bool = False  # nothing of the parent's tree is looked at
    unpack: bool = False  # archives among the sources (ADD)
    times: int | None = None  # SOURCE_DATE_EPOCH
    classic: str = ""  # the keyword, by the classic builder's rules: sources are there, and replace directories


class SourceMissing(NotFound):
    """What a step names in a tree is not there. `path` is as the Dockerfile has it."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


class BuildFailed(Failed):
    """A build that ended at one of its steps, or in its Dockerfile. The message is one line, as BuildKit has it;
    `status` is that of a RUN's process, 0 for another error. `ranges` are first and last lines (from 1) of the
    Dockerfile `filename`, whose text is `dockerfile`; () where it has none to show. `vertex` is the digest of the
    step's."""

    def __init__(
        self,
        message: str,
        status: int = 0,
        ranges: Sequence[tuple[int, int]] = (),
        filename: str = "Dockerfile",
        dockerfile: bytes = b"",
        vertex: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.ranges = tuple(ranges)
        self.filename = filename
        self.dockerfile = dockerfile
        self.vertex = vertex


class StepFailed(Exception):
    """A RUN whose process ended with another status than 0."""

    def __init__(self, args: Sequence[str], status: int) -> None:
        super().__init__(f"process {' '.join(args)!r} did not complete successfully: exit code: {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Entry:
    """Of a directory. `mode` is Go's os.FileMode, `modified` nanoseconds since the epoch, `link` what a link says."""

    name: str
    mode: int
    uid: int
    gid: int
    size: int
    modified: int
    link: str


class Looks(Protocol):
    """Looks into trees, links followed inside them. Raises NotFound, Invalid."""

    async def stat(self, tree: Tree, path: str) -> Entry: ...

    async def entries(self, tree: Tree, path: str) -> list[Entry]: ...

    async def content(self, tree: Tree, path: str, offset: int, length: int) -> bytes:
        """At most `length` bytes of a file."""


class Worker(Protocol):
    """Does steps. `parent` are the diff ids below, lowest first; their trees are leased by the caller. What is
    answered is on disk, and leased by `lease`. Cancelling a call ends its process, and nothing is left of it."""

    async def run(
        self, parent: Sequence[str], step: RunStep, client: Client, output: Callable[[int, bytes], None]
    ) -> Layer:
        """Raises StepFailed, Invalid (a user that is unknown), NotFound (`secret NAME: not found`)."""

    async def shell(self, parent: Sequence[str], step: RunStep, client: Client, terminal: Terminal) -> None:
        """Run a step's program at a terminal until it ends, whatever its status. What it writes is gone then."""

    async def copy(self, parent: Sequence[str], step: CopyStep) -> Layer:
        """Raises NotFound for a source that is not there, Invalid."""

    async def checksum(self, source: Matched, exclude: Sequence[str] = (), parents: bool = False) -> str:
        """A digest of what a COPY of these would bring: names, contents, modes, owners, link targets and attributes, no
        times. Raises NotFound with BuildKit's sentence for a name that is not there."""

    async def packages(self, parent: Sequence[str]) -> Inventory:
        """What package managers know of this tree. A database that cannot be read is named, and is no error."""
