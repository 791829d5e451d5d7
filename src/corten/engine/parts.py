"""What the engine is built from: the rooms below it, and the nouns that containers share."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from corten.aio.background import Background, Forever
from corten.engine.events import Events
from corten.engine.networks.networks import Networks
from corten.engine.volumes import Volumes
from corten.images.images import Images
from corten.images.policy import Policy
from corten.plan.bundle import LogDefaults
from corten.plan.facts import HostFacts
from corten.sandbox.sandboxes import Sandboxes
from corten.snapshots.contract import Snapshots
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from corten.spec.mounts import Mount
from corten.store.table import Table
from corten.tasks.contract import NetworkNamespaces, Runtime, TreeWork


class Groups(Protocol):
    """The control groups of this machine, in all trees at once."""

    def missing(self, path: str) -> dict[str, str]:
        """Directories that are not there of the group `path` and of those above it, in every tree: each's group."""
        ...

    def remove(self, directory: str) -> None:
        """Unless something is in it; absent is fine."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """The daemon's settings, as far as they show in the API or change what the engine does."""

    data_root: Path
    exec_root: Path
    driver: str = "overlay"
    labels: tuple[str, ...] = ()
    debug: bool = False
    stop_timeout: int = 10
    cgroup_parent: str = "/corten"
    log_defaults: LogDefaults = field(default_factory=lambda: LogDefaults(50 << 20, 3))
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    proxies: tuple[str, str, str] = (
        "",
        "",
        "",
    )  # for http and https, hosts without one; no passwords
    security_options: tuple[str, ...] = ("name=seccomp,profile=builtin",)
    runtimes: Mapping[str, str] = field(default_factory=lambda: {"corten": "corten-oci"})  # name -> path
    warnings: tuple[str, ...] = ()
    image_gc: Policy = field(default_factory=Policy)
    address_pools: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class Parts:
    """What each part is for. `settings` and `facts` are values that SIGHUP replaces; read them anew each time.

    seccomp    (profile, capabilities) -> OCI's linux.seccomp; a profile is "" for the daemon's own, "builtin", or text
    copy_up    (volume, rootfs, path, uids, gids): fills an empty directory from a tree's `path`, owners mapped
    tree_work  processes that look into a container's tree for cp, diff, export and commit
    groups     the machine's control groups, for those that users choose as parents
    mkdir      makes a container's directory, where the disk is quick to give it
    changing   work whose end matters: it is awaited at shutdown
    watching   work that ends with what it watches: it is cancelled
    """

    settings: Settings
    facts: HostFacts
    table: Table
    snapshots: Snapshots
    runtime: Runtime
    namespaces: NetworkNamespaces
    sandboxes: Sandboxes
    images: Images
    networks: Networks
    events: Events
    volumes: Volumes
    seccomp: Callable[[str, Sequence[str]], Json | None]
    copy_up: Callable[[Path, Sequence[Mount], str, Sequence[IdRange], Sequence[IdRange]], Awaitable[bool]]
    tree_work: TreeWork
    groups: Groups
    changing: Background = field(default_factory=Background)
    watching: Forever = field(default_factory=Forever)
    mkdir: Callable[[Path, int], None] = os.mkdir

    @property
    def containers_root(self) -> Path:
        return self.settings.data_root / "containers"
