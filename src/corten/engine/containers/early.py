"""Streams of clients that attach to a container before it has a task: they are kept for its start."""

from __future__ import annotations

import os
import select

from corten.tasks.contract import Stream


class EarlyStreams:
    """Those for the next run. Closed when that has ended or could not start, or when the container is removed: a client
    that asked before then, and is slower to read its answer than that took, gets the end of its stream as well."""

    __slots__ = ("_closed", "_streams")

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._closed = False

    def add(self, stream: Stream) -> None:
        """Takes `stream.fd`. Those that were disconnected meanwhile are closed."""
        self._streams = [old for old in self._streams if not _disconnected(old)]
        if self._closed:
            os.close(stream.fd)
        else:
            self._streams.append(stream)

    def take(self) -> list[Stream]:
        taken, self._streams = self._streams, []
        return taken

    def close(self) -> None:
        self._closed = True
        for stream in self.take():
            os.close(stream.fd)


def _disconnected(stream: Stream) -> bool:
    """True, and the descriptor is closed, when the other side has closed both directions; a half-closed one reads."""
    poll = select.poll()
    poll.register(stream.fd, 0)
    if any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0)):
        os.close(stream.fd)
        return True
    return False
