"""Text and bytes to the terminal, unbuffered and whole: nothing is lost when a command ends by `os._exit`."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STDOUT, STDERR = 1, 2
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write everything; BrokenPipeError when the reader has gone."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            # The terminal was left non-blocking by another program that shares it.
            _wait_writable(fd)


def visible(text: str, fd: int = STDOUT) -> str:
    """`text` as it may be shown at `fd`: on a terminal a control character is its number, for what an image, a
    container, a registry or a daemon calls itself must not move the cursor or give the terminal orders."""
    return text.translate(_CONTROLS) if os.isatty(fd) else text


def out(text: str, end: str = "\n") -> None:
    """Our words and the daemon's, see `visible`."""
    draw(visible(text), end)


def draw(text: str, end: str = "\n") -> None:
    """As it is: what has control characters of ours, or of a template that the user wrote."""
    write_all(STDOUT, (text + end).encode("utf-8", "surrogateescape"))


def err(text: str, end: str = "\n") -> None:
    """As `out`, to STDERR."""
    write_all(STDERR, (visible(text, STDERR) + end).encode("utf-8", "surrogateescape"))


def show_frames(frames: Iterable[tuple[int, bytes | memoryview]]) -> None:
    """A container's output to our STDOUT and STDERR. CommandError for what the daemon says about itself."""
    from corten.client import stdcopy

    for stream, part in frames:
        if stream == stdcopy.SYSTEM_ERROR:
            raise CommandError(f"error from daemon in stream: {bytes(part).decode('utf-8', 'replace')}")
        write_all(STDERR if stream == stdcopy.STDERR else STDOUT, part)


def _wait_writable(fd: int) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
