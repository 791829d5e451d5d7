"""A blob while it is written: read behind the writer, to its verified end.

    following = Following(ingest)          # `close` it
    while piece := following.read(n): ...  # waits for bytes; b"" only when the whole has the promised digest

What was read before the end is not verified, and good for nothing when `read` raises.
"""

from __future__ import annotations

import os

from corten.errors import Failed
from corten.store.blobs import Ingest

_STEP = 64 << 20  # bytes between two calls of posix_fadvise(2)
_LOOK = 0.1  # seconds between two checks whether `stop` was called


class Following:
    """For one thread; `stop` may be called from any."""

    def __init__(self, ingest: Ingest) -> None:
        """Open the part of `ingest`. Raises FileNotFoundError when the ingest has ended."""
        self._ingest = ingest
        self._round = ingest.rounds
        self._stopped = False
        self.fd = os.open(ingest.path, os.O_RDONLY | os.O_CLOEXEC)
        self.at = 0  # bytes read so far
        self._dropped_at = 0

    @property
    def digest(self) -> str:
        """Of all that was read, at the end."""
        return self._ingest.digest

    def ready(self) -> int:
        """Bytes that can be read now; waits for the first. 0 at the end. Raises Failed when the rest will not come."""
        ingest = self._ingest
        with ingest.grown:
            while True:
                if self._stopped or ingest.rounds != self._round:
                    raise Failed("blob is not followed to its end")
                if ingest.offset > self.at:
                    return ingest.offset - self.at
                if ingest.verified:
                    return 0
                if ingest.closed:
                    raise Failed("blob does not arrive")
                ingest.grown.wait(_LOOK)

    def read(self, count: int) -> bytes:
        """At most `count` bytes. Raises as `ready`, and Failed when the download was restarted."""
        ready = self.ready()
        data = os.pread(self.fd, min(count, ready), self.at)
        if ready and not data:
            raise Failed("blob begins anew")
        self.at += len(data)
        self._drop_cache()
        return data

    def splice(self, pipe: int, count: int) -> int:
        """`read`, with the bytes spliced into a pipe; returns how many.

        Raises BlockingIOError when the pipe is full.
        """
        ready = self.ready()
        done = os.splice(self.fd, pipe, min(count, ready), offset_src=self.at) if ready else 0
        if ready and not done:
            raise Failed("blob begins anew")
        self.at += done
        self._drop_cache()
        return done

    def _drop_cache(self) -> None:
        """Drop from the page cache what was read and is on disk already.

        It is not read again soon. Memory for the cache is taken from others, and on a virtual machine memory that was
        not used for long is slow to get: a quarter of the time of a large pull.
        """
        if self.at - self._dropped_at >= _STEP:
            os.posix_fadvise(self.fd, 0, self.at, os.POSIX_FADV_DONTNEED)
            self._dropped_at = self.at

    def stop(self) -> None:
        """Make the reader fail."""
        self._stopped = True

    def close(self) -> None:
        os.close(self.fd)
