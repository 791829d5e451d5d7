"""One dataclass for each instruction of a Dockerfile, as it was written: variables are not expanded yet (`expand`).

Every instruction has `written`: its place and its text. Words keep their quotes where BuildKit expands them later;
`expand` takes the quotes away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from corten.spec.dockerfile.mounts import MountFlag
from corten.spec.dockerfile.run_devices import Device
from corten.spec.dockerfile.span import Span


@dataclass(frozen=True, slots=True)
class Written:
    """How an instruction was written. `text` is its line, continued lines joined, heredocs left out, as an image's
    history and progress displays have it. `keyword` is in the case it was written in. `comments` are those right above
    it."""

    text: str
    span: Span
    keyword: str
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`<<NAME`, and the lines to NAME. `content` is as written; `text` is without the tabs that `<<-` takes away. In
    both, bytes that are no UTF-8 are lone surrogates."""

    name: str
    content: str
    expand: bool = True  # the name had no quotes
    strip_tabs: bool = False
    text: str = ""

    @property
    def data(self) -> bytes:
        """The file that COPY and ADD make of it."""
        return self.text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Command:
    """What is executed: the arguments themselves, or with `shell` one line (or none) for the stage's shell."""

    args: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """`equals` False is the old form `ENV KEY the rest of the line`."""

    key: str
    value: str
    equals: bool = True


@dataclass(frozen=True, slots=True)
class Argument:
    """`value` None: only the name is there. `description` is from a comment above that begins with the name."""

    key: str
    value: str | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Instruction:
    written: Written


@dataclass(frozen=True, slots=True)
class From(Instruction):
    """`name` is in lower case, "" for none."""

    image: str
    name: str = ""
    platform: str = ""
    keyword_as: str = ""  # as it was written
    name_written: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[MountFlag, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    security: Literal["sandbox", "insecure"] = "sandbox"
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    """`ports` as written, sorted; `ports.exposed` reads them when they are expanded."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True)
class Healthcheck(Instruction):
    """`test` as an image's configuration has it: ("NONE",), ("CMD", ...), ("CMD-SHELL", line). Times in ns,
    0 is unset."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """`trigger` is the text that an image's configuration keeps; `parse.trigger` makes an instruction of it."""

    trigger: str


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    author: str


@dataclass(frozen=True, slots=True)
class Copy(Instruction):
    """`sources` are names and patterns, `heredocs` files that the Dockerfile itself has (their name, their `text`)."""

    sources: tuple[str, ...]
    target: str
    heredocs: tuple[Heredoc, ...] = ()
    source: str = ""  # --from: a stage's name or number, an image, a named context; "" is the context
    owner: str = ""  # --chown
    mode: str = ""  # --chmod
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Add(Instruction):
    sources: tuple[str, ...]
    target: str
    heredocs: tuple[Heredoc, ...] = ()
    owner: str = ""
    mode: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None  # None: not said
    unpack: bool | None = None  # None: archives of the context are, those of URLs are not


@dataclass(frozen=True, slots=True)
class Directives:
    """`# syntax=`, `# escape=`, `# check=` in the file's first lines."""

    syntax: str = ""
    escape: str = "\\"
    check: str = ""


@dataclass(frozen=True, slots=True)
class StageText:
    """A FROM and what follows it. `index` counts from 0."""

    index: int
    base: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        return self.base.name


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A file: the ARGs before its first FROM, and its stages, of which there is at least one.

    `empty_continuations` are the last lines of instructions in whose midst an empty line stands, with their text.
    """

    lines: tuple[str, ...]  # as decoded, without line ends, for messages
    directives: Directives
    arguments: tuple[Arg, ...]
    stages: tuple[StageText, ...]
    empty_continuations: tuple[tuple[int, str], ...] = ()
    filename: str = "Dockerfile"
