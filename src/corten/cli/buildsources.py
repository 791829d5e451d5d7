"""Where a build's files are: PATH, URL or -, --file, --build-context."""

from __future__ import annotations

import os

from corten.cli import smallfiles
from corten.cli.errors import CommandError
from corten.client.walks import Directory, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAME = "Dockerfile"
PIPED = "-"  # a tar on our standard input
_BLOCK = 1 << 18
_HEAD = 512  # bytes that say whether a stream is an archive
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_ELSEWHERE = (*_REMOTE, "docker-image://", "oci-layout://", "target:")


class Sources:
    """`directories` are sent as far as they are asked for, by source. `remote` is a URL, PIPED, or "" where the context
    is a directory; `head` is what was read already of a piped one. `contexts` are named ones."""

    def __init__(self, dockerfile: str, remote: str = "", head: bytes = b"") -> None:
        self.directories: dict[str, Directory | Given] = {}
        self.contexts: dict[str, str] = {}
        self.dockerfile = dockerfile
        self.remote = remote
        self.head = head


def sources(where: str, file: str, named: Mapping[str, str], inline: str | None = None) -> Sources:
    """Of PATH, URL or -, of --file, and of --build-context; `inline` is the text of a Dockerfile instead of a file.
    Raises CommandError for what is not there."""
    found = _sources(where, file, inline)
    for name, value in named.items():
        if value.startswith(_ELSEWHERE):
            found.contexts[name] = value
            continue
        if not os.path.isdir(value):
            raise CommandError(f"--build-context {name}: the directory {value} is not there")
        found.contexts[name] = f"local:{name}"
        found.directories[name] = Directory(value)
    return found


def _sources(where: str, file: str, inline: str | None) -> Sources:
    if where == "-":
        if file == "-":
            raise CommandError("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(file)
    if where.startswith(_REMOTE) and not os.path.isdir(where):
        found = Sources(file, where)
    elif not os.path.isdir(where):
        reason = "is no directory" if os.path.exists(where) else "not found"
        raise CommandError(f'unable to prepare context: path "{where}" {reason}')
    else:
        found = Sources(NAME)
        found.directories["context"] = Directory(where)
    if inline is not None or file == "-":
        text = inline.encode("utf-8", "surrogateescape") if inline is not None else b"".join(rest(b""))
        found.directories["dockerfile"] = Given({NAME: text})
    elif not found.remote:
        found.dockerfile, found.directories["dockerfile"] = _dockerfile(where, file)
    return found


def _from_stdin(file: str) -> Sources:
    """A tar, compressed or not; or else the Dockerfile itself, without a context."""
    head = b""
    while len(head) < _HEAD and (piece := os.read(0, _BLOCK)):
        head += piece
    if head.startswith(_MAGIC) or head[257:262] == b"ustar":
        return Sources(file, PIPED, head)
    if file:
        raise CommandError("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    found = Sources(NAME)
    found.directories["dockerfile"] = Given({NAME: b"".join(rest(head))})
    found.directories["context"] = Given({})
    return found


def rest(head: bytes) -> Iterator[bytes]:
    """Standard input, of which `head` was read."""
    yield head
    while piece := os.read(0, _BLOCK):
        yield piece


def _dockerfile(directory: str, file: str) -> tuple[str, Given]:
    """Its name, and it with the ignore file beside it. It may be anywhere."""
    path = file or os.path.join(directory, NAME)
    if not file and not os.path.lexists(path) and os.path.lexists(path.lower()):
        path = os.path.join(directory, NAME.lower())
    name = os.path.basename(path)
    files = {name: _read(path)}
    if os.path.isfile(f"{path}.dockerignore"):
        files[f"{name}.dockerignore"] = _read(f"{path}.dockerignore")
    return name, Given(files)


def _read(path: str) -> bytes:
    try:
        return smallfiles.content(path)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise CommandError(f"failed to solve: failed to read dockerfile: open {path}: {reason}") from None


def named(pairs: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE of --build-context. Raises CommandError."""
    found = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise CommandError(f"invalid context value: {text}, expected key=value")
        found[name] = value
    return found
