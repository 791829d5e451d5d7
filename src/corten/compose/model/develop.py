"""What `watch` does when files change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from corten.compose.model.struct import Struct


class Hook(Struct, frozen=True, kw_only=True):
    """A program that runs in a service's container at a point of its life."""

    always: ClassVar[frozenset[str]] = frozenset()

    command: tuple[str, ...] | None = None
    image: str = ""
    """Of `pre_start` only: run in a container of this image instead of the service's."""
    user: str = ""
    privileged: bool = False
    working_dir: str = ""
    environment: Mapping[str, str | None] = {}
    per_replica: bool = False
    """Of `pre_start` only: before each replica instead of once."""


class Trigger(Struct, frozen=True, kw_only=True):
    always: ClassVar[frozenset[str]] = frozenset(("path", "action"))
    embedded: ClassVar[frozenset[str]] = frozenset(("exec",))

    path: str = ""
    """Absolute: a file or a directory with all below it."""
    action: str = ""
    """sync, rebuild, restart, sync+restart or sync+exec."""
    target: str = ""
    """Where in the container `path` is copied to."""
    exec: Hook = Hook()
    """What sync+exec runs after copying."""
    include: tuple[str, ...] = ()
    """Patterns as of .dockerignore, relative to `path`; without any all files."""
    ignore: tuple[str, ...] = ()
    initial_sync: bool = False
    """Copy everything once at the start of watching."""


class Develop(Struct, frozen=True, kw_only=True):
    watch: tuple[Trigger, ...] = ()
