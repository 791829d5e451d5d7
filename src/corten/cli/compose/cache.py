"""The user's cache of remote Compose files: a directory for each commit of a repository and each artifact.

A directory is there as a whole or not at all, also when two commands make the same one at once.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager

from corten.compose.errors import ComposeError
from corten.units.booleans import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def check_enabled(environ: Mapping[str, str], variable: str, kind: str) -> None:
    """Raises ComposeError when the variable switches remote files of this kind off."""
    text = environ.get(variable, "")
    try:
        enabled = not text or parse_bool(text)
    except ValueError as error:
        raise ComposeError(f"{variable} environment variable expects boolean value: {error}") from None
    if not enabled:
        raise ComposeError(f'{kind} remote resource is disabled by "{variable}"')


def _root(environ: Mapping[str, str]) -> str:
    return os.path.join(environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '')}/.cache", "corten", "compose")


def find(environ: Mapping[str, str], name: str) -> str | None:
    """The directory of that name, where it is there."""
    place = os.path.join(_root(environ), name)
    return place if os.path.isdir(place) else None


@contextmanager
def draft(environ: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    """An empty directory, and where its content is once the block has ended. Raises OSError."""
    root = _root(environ)
    os.makedirs(root, mode=0o700, exist_ok=True)
    place = os.path.join(root, name)
    with tempfile.TemporaryDirectory(dir=root) as directory:
        inner = os.path.join(directory, "files")
        os.mkdir(inner, 0o700)
        yield inner, place
        try:
            os.rename(inner, place)
        except OSError:
            if not os.path.isdir(place):
                raise


def keep(environ: Mapping[str, str], name: str, files: Mapping[str, bytes]) -> str:
    """A directory of these files. Raises OSError."""
    with draft(environ, name) as (directory, place):
        for path, content in files.items():
            with open(os.path.join(directory, path), "xb", opener=_private) as file:
                file.write(content)
    return place


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
