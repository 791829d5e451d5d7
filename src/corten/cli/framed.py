"""Output that came in frames, to our own STDOUT and STDERR."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.output import STDERR, STDOUT, write_all
from corten.client.stdcopy import STDERR as ERROR_STREAM
from corten.client.stdcopy import SYSTEM_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def show(parts: Iterable[tuple[int, bytes | memoryview]]) -> None:
    """Write the parts to STDOUT and STDERR. Raises CommandError for an error of the daemon itself."""
    for stream, part in parts:
        if stream == SYSTEM_ERROR:
            raise CommandError(f"error from daemon in stream: {bytes(part).decode('utf-8', 'replace')}")
        write_all(STDERR if stream == ERROR_STREAM else STDOUT, part)
