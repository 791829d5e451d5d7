"""Tars to and from the daemon."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.cli.output import STDOUT, write_all
from corten.cli.terminal import is_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from corten.client.api import Answer

BLOCK = 1 << 18


def input_parts(path: str, shown: str) -> Iterator[bytes]:
    """The bytes of a file, or of STDIN when `path` is empty. The file is opened at once.

    Raises CommandError when it cannot be.
    """
    if not path:
        from corten.cli.pipes import widen

        widen(0)
        return _parts(0)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"open {shown}: {(error.strerror or str(error)).lower()}") from None
    return _parts(fd)


def _parts(fd: int) -> Iterator[bytes]:
    try:
        while data := os.read(fd, BLOCK):
            yield data
    finally:
        if fd:
            os.close(fd)


def save_to(path: str, fetch: Callable[[], Answer]) -> None:
    """Write an answer's body to a file, or to STDOUT when `path` is empty. The file appears when it is whole."""
    if not path:
        if is_terminal(STDOUT):
            raise CommandError("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        _copy(fetch(), STDOUT)
        return
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        raise CommandError(f"failed to save to {path}: the directory {directory} does not exist")
    if os.path.exists(path) and not os.path.isfile(path):
        # A device or a pipe is written as it is; there is nothing to put in its place.
        _write(path, os.O_WRONLY | os.O_CLOEXEC, fetch)
        return
    partial = f"{path}.{os.getpid()}.part"
    try:
        _write(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, fetch)
        os.rename(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def _write(path: str, how: int, fetch: Callable[[], Answer]) -> None:
    answer = fetch()
    fd = os.open(path, how, 0o600)
    try:
        _copy(answer, fd)
    finally:
        os.close(fd)


def _copy(answer: Answer, fd: int) -> None:
    for part in answer.parts():
        write_all(fd, part)
    answer.close()
