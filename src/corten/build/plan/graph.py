"""What a build does, as a graph: nodes that give trees, each with the nodes that it needs. Pure.

    Base        an image's files, or no files (scratch)
    Local       files of the client, by a source
    Remote      one file, by a URL
    Repository  files of a git repository
    Step        one more layer: what a RUN, COPY, ADD or WORKDIR makes of the tree of its parent

Of the classic builder's steps are also those that only change the configuration (`Settings`).

A step's work is the contract's (`RunStep`, `CopyStep`) with None in place of every tree: `origins` are the nodes that
give these trees, in the order of its mounts or sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from corten.build.contract import Bind, CacheMount, CopyStep, RunStep, StageTree, Tree
from corten.images.image import Image
from corten.spec.image_config import History
from corten.spec.json import Json

if TYPE_CHECKING:
    from corten.spec.git_url import GitUrl


@dataclass(eq=False, slots=True)
class Base:
    """`image` None: no files. `ref` is how the Dockerfile names it."""

    digest: str
    name: str
    ref: str
    image: Image | None


@dataclass(eq=False, slots=True)
class Local:
    """`follow` are the paths that steps name, and None among them is all of it."""

    digest: str
    name: str
    source: str
    exclude: tuple[str, ...] = ()
    follow: set[str | None] = field(default_factory=set)
    inputs: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """What to ask of the client; () for all."""
        return () if None in self.follow else tuple(sorted(path for path in self.follow if path))


@dataclass(eq=False, slots=True)
class Remote:
    """`file` is the name of the file, "" when it has none; `checksum` a digest that it must have, or ""; `lines` are
    those that name it."""

    digest: str
    name: str
    url: str
    file: str
    checksum: str
    lines: tuple[int, int]
    inputs: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class Repository:
    """`lines` are those that name it."""

    digest: str
    name: str
    url: GitUrl
    keep_git_dir: bool
    lines: tuple[int, int]
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """The work of a step without any, which is cached or not all the same: `digest` is of all that an image says behind
    it."""

    digest: str


Work = RunStep | CopyStep | Settings


@dataclass(eq=False, slots=True)
class Step:
    """`lines` are its first and last line in the Dockerfile. `unkeyed` are variables (NAME=VALUE) that its process
    gets and its key does not have: proxies. `fresh`: what was made before is not looked for. `said` is its line in an
    image's history, "" when another step may have the same and do something else."""

    digest: str
    name: str
    parent: Base | Step
    work: Work
    origins: tuple[Node | None, ...]
    lines: tuple[int, int]
    unkeyed: tuple[str, ...] = ()
    fresh: bool = False
    said: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Digests of the nodes that it needs, each once."""
        return tuple(dict.fromkeys(node.digest for node in (self.parent, *self.origins) if node is not None))


Fetched = Remote | Repository
Node = Base | Local | Fetched | Step


COPIED = "\0"  # in a line of the history: what a COPY brought, known when it is done


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of an image's history; `step` is what made its layer, None for one that only changes the configuration."""

    history: History
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An instruction as the classic builder's stream counts it. `base` for a FROM, and `below` for one of a stage: the
    last line of that."""

    text: str
    step: Step | None
    base: Base | None = None
    below: Line | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the target is made of. `base` has the history and the platform that the image begins with, `config` what it
    says of containers. `nodes` are all that is needed, each behind those that it needs."""

    top: Base | Step
    base: Base
    config: Json
    entries: tuple[Entry, ...]
    nodes: tuple[Node, ...]
    author: str = ""


def with_trees(work: Work, trees: tuple[Tree | None, ...]) -> Work:
    """The work with its trees in place, `trees` in the order of `Step.origins`."""
    if isinstance(work, Settings):
        return work
    if isinstance(work, CopyStep):
        return replace(work, sources=tuple(replace(each, tree=tree) for each, tree in zip(work.sources, trees)))
    mounts = []
    for mount, tree in zip(work.mounts, trees):
        if isinstance(mount, Bind):
            mount = replace(mount, tree=tree if tree is not None else StageTree(None))
        elif isinstance(mount, CacheMount):
            mount = replace(mount, tree=tree)
        mounts.append(mount)
    return replace(work, mounts=tuple(mounts))
