"""Tars to and from the daemon."""

from __future__ import annotations

import os
from contextlib import closing

from corten.cli.errors import CommandError
from corten.cli.output import STDOUT, write_all
from corten.cli.terminal import is_terminal
from corten.cli.whole import Whole

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
    answer = fetch()
    with closing(Whole(path, 0o600)) as file:
        _copy(answer, file.fd)
        file.keep()


def _copy(answer: Answer, fd: int) -> None:
    for part in answer.parts():
        write_all(fd, part)
    answer.close()
