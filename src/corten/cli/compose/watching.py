"""`watch`: what changes below the paths of `develop.watch` is brought into the containers of its service.

Changes are gathered until nothing has come for QUIET seconds; then each trigger does its action once for all of them.
"""

from __future__ import annotations

import os
import posixpath
import tempfile
import time
from contextlib import closing

import msgspec

from corten.cli import packing, smallfiles
from corten.cli.compose import building
from corten.cli.compose.inotify import Changes
from corten.cli.compose.performing import perform
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.client import containers
from corten.client.beneath import Beneath
from corten.client.errors import ApiError
from corten.compose.execute.hooks import run_hook
from corten.compose.model import Hook, Project, Service, Trigger
from corten.compose.observed import Container, observe, project_containers
from corten.compose.plan.asked import Asked
from corten.compose.plan.up import up
from corten.compose.refusals import Refused
from corten.layers import write
from corten.spec.dockerfile.ignore import Patterns, lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from corten.cli.compose.context import Compose

QUIET = 0.5  # seconds
_BLOCK = 1 << 18
# Of editors, and of git.
_ALWAYS = ("**/.git", "**/*.swp", "**/*.swx", "**/*~", "**/.#*", "**/#*#", "**/4913", "**/.idea")
_TOO_MANY = 1000  # paths that are removed by one command


class _Watched(msgspec.Struct, frozen=True):
    service: Service
    trigger: Trigger
    ignored: Patterns
    included: Patterns | None
    context: str  # of the build, "" without one
    left_out: Patterns | None  # of the context, by its .dockerignore

    def takes(self, path: str) -> bool:
        """Whether the trigger is about this path."""
        if path != self.trigger.path and not path.startswith(f"{self.trigger.path}/"):
            return False
        relative = os.path.relpath(path, self.trigger.path)
        if relative != "." and self.ignored.excludes(relative):
            return False
        if self.included is not None and not os.path.isdir(path) and not self.included.excludes(relative):
            return False
        if self.left_out is not None and path.startswith(f"{self.context}/"):
            return not self.left_out.excludes(os.path.relpath(path, self.context))
        return True

    def target(self, path: str) -> str:
        relative = os.path.relpath(path, self.trigger.path)
        return self.trigger.target if relative == "." else posixpath.join(self.trigger.target, relative)


def watched(project: Project, names: Sequence[str]) -> list[_Watched]:
    """Raises CommandError when there is nothing to watch."""
    found = []
    for name, service in project.services.items():
        if service.develop is None or (names and name not in names):
            continue
        context = service.build.context if service.build is not None and os.path.isdir(service.build.context) else ""
        left_out = _left_out(context)
        for trigger in service.develop.watch:
            ignored = Patterns([*_ALWAYS, *trigger.ignore])
            included = Patterns(trigger.include) if trigger.include else None
            found.append(_Watched(service, trigger, ignored, included, context, left_out))
    if not found:
        raise CommandError(
            "none of the selected services is configured for watch, consider setting an 'develop' section"
        )
    return found


def _left_out(context: str) -> Patterns | None:
    try:
        return Patterns(lines(smallfiles.content(os.path.join(context, ".dockerignore")))) if context else None
    except OSError:
        return None


def watch(compose: Compose, project: Project, names: Sequence[str], quiet: bool) -> None:
    """Without an end: Ctrl-C ends the program as it would any other. Raises CommandError, Refused, ApiError before the
    first change."""
    all_ = watched(project, names)
    changes = Changes(lambda path: not any(each.takes(path) for each in all_))
    for each in all_:
        if not os.path.lexists(each.trigger.path):
            raise CommandError(f"service {each.service.name}: {each.trigger.path} is not there to be watched")
        changes.add(each.trigger.path)
    for each in all_:
        if each.trigger.initial_sync and each.trigger.action.startswith("sync"):
            _sync(compose, project, each, list(_below(each)))
    err("Watch enabled")
    while True:
        paths = _gathered(changes)
        for each in all_:
            mine = list(_below(each)) if paths is None else sorted(path for path in paths if each.takes(path))
            if mine:
                try:
                    _act(compose, project, each, mine, quiet)
                except (ApiError, CommandError, Refused) as error:
                    err(str(error))  # the next change may set it right


def _gathered(changes: Changes) -> set[str] | None:
    """What has changed, once nothing more has for QUIET seconds; None when it may be anything. What is not watched
    (a log that grows beside a watched file) holds nothing up."""
    paths: set[str] = set()
    lost = False
    until: float | None = None
    while changes.wait(None if until is None else max(0.0, until - time.monotonic())):
        taken = changes.take()
        lost = lost or taken is None
        paths |= taken or set()
        if taken or taken is None:
            until = time.monotonic() + QUIET
        elif until is not None and time.monotonic() > until:
            break
    return None if lost else paths


def _below(each: _Watched) -> Iterator[str]:
    """All that is there."""
    if not os.path.isdir(each.trigger.path):
        yield each.trigger.path
        return
    for directory, below, files in os.walk(each.trigger.path):
        below[:] = [name for name in below if each.takes(os.path.join(directory, name))]
        yield from (path for name in files if each.takes(path := os.path.join(directory, name)))


def _act(compose: Compose, project: Project, each: _Watched, paths: list[str], quiet: bool) -> None:
    name, action = each.service.name, each.trigger.action
    if action == "rebuild":
        err(f"Rebuilding service(s) [{name!r}] after changes were detected...")
        _rebuild(compose, project, name, quiet)
        err(f"service(s) [{name!r}] successfully built")
        return
    if action.startswith("sync"):
        _sync(compose, project, each, paths)
        err(f"Syncing service {name!r} after {len(paths)} changes were detected")
    for container in _running(compose, project, name) if action != "sync" else ():
        if action in ("restart", "sync+restart"):
            containers.restart(compose.client, container.id)
            err(f"service {name!r} restarted")
        elif action == "sync+exec":
            run_hook(compose.client, container.id, container.name, each.trigger.exec)


def _rebuild(compose: Compose, project: Project, name: str, quiet: bool) -> None:
    building.build(compose, project, [name], [], quiet, report("quiet"))
    observed = observe(compose.client, project)
    perform(compose, project, observed, up(project, observed, Asked(named=(name,), ignore_orphans=True)))


def _running(compose: Compose, project: Project, service: str) -> list[Container]:
    found = project_containers(compose.client, project.name, everything=False, oneoffs=False)
    return [each for each in found if each.service == service]


def _sync(compose: Compose, project: Project, each: _Watched, paths: list[str]) -> None:
    """Into all containers of the service: what is there as a tar, what is gone by rm."""
    running = _running(compose, project, each.service.name)
    gone = [each.target(path) for path in paths if not os.path.lexists(path)]
    with tempfile.TemporaryFile() as file:
        some = _pack(each, paths, file)
        for container in running:
            for at in range(0, len(gone), _TOO_MANY):
                remove = Hook(command=("rm", "-rf", "--", *gone[at : at + _TOO_MANY]))
                run_hook(compose.client, container.id, container.name, remove)
            if some:
                file.seek(0)
                containers.archive_put(compose.client, container.id, "/", iter(lambda: file.read(_BLOCK), b""))


def _pack(each: _Watched, paths: list[str], file: IO[bytes]) -> bool:
    """Whether something was there. What is gone again, or is something else, is left out: its event comes next."""
    count = 0
    for piece in packing.batched(_entries(each, paths)):
        count += len(piece)
        file.write(piece)
    return count > len(write.END)


def _entries(each: _Watched, paths: list[str]) -> Iterator[bytes]:
    """Through no link that is put in the place of a directory."""
    links: dict[tuple[int, int], str] = {}
    top = each.trigger.path
    if not os.path.isdir(top):
        top = os.path.dirname(top)
    try:
        beneath = Beneath(top)
    except OSError:
        return
    with closing(beneath):
        for path in paths:
            name, relative = each.target(path).lstrip("/"), os.path.relpath(path, top)
            try:
                pieces = packing.entry(beneath, relative, name, os.lstat(path), links, owners=False)
                first = next(pieces, b"")
            except OSError:
                continue
            yield first
            yield from pieces
