"""corten cp: files between a container and here."""

from __future__ import annotations

import binascii
import os
import stat

from corten.cli.archives import input_parts
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, flag
from corten.cli.output import STDOUT, err, write_all
from corten.cli.terminal import is_terminal
from corten.client import containers, quickjson
from corten.client.errors import ApiError
from corten.units.sizes import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from corten.cli.flags import Flags
    from corten.cli.session import Session

_GO_DIRECTORY = 1 << 31


def run(session: Session, flags: Flags) -> int:
    (source, from_), (target, to) = _split(flags.words[0]), _split(flags.words[1])
    if source and target:
        raise CommandError("copying between containers is not supported")
    if not source and not target:
        raise CommandError("must specify at least one container source")
    archive, follow = flags.on("archive"), flags.on("follow-link")
    size = (
        _out(session, source, from_, to, follow, archive)
        if source
        else _in(session, from_, target, to, follow, archive)
    )
    if not flags.on("quiet") and is_terminal(STDOUT) and to != "-":
        err(f"Successfully copied {human_size(size)} to {flags.words[1]}")
    return 0


def _split(word: str) -> tuple[str, str]:
    """(container, path); "" for what is here. A path that begins with a slash or a dot is never a container."""
    container, colon, path = word.partition(":")
    if word == "-" or not colon or word.startswith((".", "/")) or "/" in container:
        return "", word
    return container, path


def _stat(session: Session, container: str, path: str) -> dict[str, Any] | None:
    try:
        header = containers.archive_stat(session.client, container, path)
    except ApiError as error:
        if error.status != 404:
            raise
        containers.inspect(session.client, container)  # there is no such container: that is the error then
        return None
    found: dict[str, Any] = quickjson.loads(binascii.a2b_base64(header))
    return found


def _out(session: Session, container: str, path: str, target: str, follow: bool, owners: bool) -> int:
    found = _stat(session, container, path)
    if found is None:
        raise CommandError(f"Error response from daemon: Could not find the file {path} in container {container}")
    if follow and found["linkTarget"]:
        path = found["linkTarget"]
        found = _stat(session, container, path) or found
    if target == "-":
        answer = containers.archive_get(session.client, container, path)
        for part in answer.parts():
            write_all(STDOUT, part)
        return 0
    from corten.cli import unpacking

    content = path.endswith("/.") or path == "."
    base = "" if content else path.rstrip("/").rpartition("/")[2]
    directory, name = _local(target, base, bool(found["mode"] & _GO_DIRECTORY), content)
    source = unpacking.Parts(containers.archive_get(session.client, container, path).parts())
    unpacking.unpack(source, directory, base, name, owners)
    return source.total


def _local(target: str, base: str, is_directory: bool, content: bool) -> tuple[str, str]:
    """Where a source goes here: an existing directory, and the name that it gets there ("": only its content)."""
    if os.path.isdir(target):
        return target, "" if content else base
    if os.path.lexists(target) and is_directory:
        raise CommandError("cannot copy directory")
    if target.endswith("/") and not is_directory:
        raise CommandError(f"destination directory {target!r} does not exist")
    directory, name = os.path.split(target.rstrip("/"))
    if not os.path.isdir(directory or "."):
        raise CommandError(f"invalid output path: directory {directory!r} does not exist")
    if content:
        os.mkdir(target)
        return target, ""
    return directory or ".", name


def _in(session: Session, path: str, container: str, target: str, follow: bool, owners: bool) -> int:
    if path == "-":
        containers.archive_put(session.client, container, target, input_parts("", "-"), owners)
        return 0
    content = path.endswith("/.") or path == "."
    follow = follow or path.endswith("/")
    try:
        status = os.stat(path) if follow or content else os.lstat(path)
    except OSError as error:
        raise CommandError(f"lstat {path}: {(error.strerror or str(error)).lower()}") from None
    is_directory = stat.S_ISDIR(status.st_mode)
    place = _stat(session, container, target)
    if place is not None and place["linkTarget"]:
        target = place["linkTarget"]
        place = _stat(session, container, target)
    base = "" if content else os.path.basename(path.rstrip("/"))
    if place is not None and place["mode"] & _GO_DIRECTORY:
        directory, name = target, base
    else:
        directory, name = _remote(place is not None, target, is_directory)
    from corten.cli import packing

    counted = _Counted(packing.pack(path.rstrip("/") or "/", name, follow))
    containers.archive_put(session.client, container, directory, counted.parts(), owners)
    return counted.total


def _remote(exists: bool, target: str, is_directory: bool) -> tuple[str, str]:
    """Where a source goes that gets a name of its own there: an existing directory, and the name."""
    if exists and is_directory:
        raise CommandError("cannot copy directory")
    if target.endswith("/") and not is_directory:
        raise CommandError("not a directory" if exists else f"destination directory {target!r} does not exist")
    directory, _, name = target.rstrip("/").rpartition("/")
    return directory or "/", name


class _Counted:
    def __init__(self, source: Iterator[bytes | bytearray]) -> None:
        self._source = source
        self.total = 0

    def parts(self) -> Iterator[bytes | bytearray]:
        for part in self._source:
            self.total += len(part)
            yield part


COMMAND = Command(
    run,
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n        corten cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files between a container and here",
    (
        flag("archive", BOOL, "Keep owners", "a"),
        flag("follow-link", BOOL, "Copy what a link as the source leads to", "L"),
        flag("quiet", BOOL, "Say nothing", "q"),
    ),
    least=2,
    most=2,
)
