"""When each image was used last: by a pull, and by containers at their beginning and their end.

A use is noted in memory and written down a minute later with all others: no start of a container waits for it,
and a daemon that is killed loses a minute of them at most.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection

from corten.errors import CortenError
from corten.store.records import Records

log = logging.getLogger(__name__)
KIND = "image-use"
_LATER = 60.0  # seconds


class Uses:
    """`note` and `flush` are called in the event loop."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._at = {id: _time(body.get("at")) for id, body in records.list(KIND).items()}
        self._fresh: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, id: str) -> None:
        """The image is in use now."""
        self._at[id] = time.time()
        self._fresh.add(id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LATER, self.flush)

    def last(self, id: str) -> float:
        """Seconds since the epoch; 0 for never."""
        return self._at.get(id, 0.0)

    def flush(self) -> None:
        """Write down what was noted: one transaction, without an fsync of its own."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        fresh, self._fresh = self._fresh, set()
        if not fresh:
            return
        try:
            self._records.put_all(KIND, {id: {"at": self._at[id]} for id in fresh if id in self._at})
        except CortenError as error:  # a full disk, say: it is known here still, and tried with the next use
            self._fresh |= fresh
            log.warning("the times of %d images' last uses were not written: %s", len(fresh), error)

    def forget_all_but(self, ids: Collection[str]) -> None:
        for id in [id for id in self._at if id not in ids]:
            del self._at[id]
            self._records.delete(KIND, id)


def _time(recorded: object) -> float:
    """Seconds since the epoch; 0 for what is no number, of a record that cannot be read."""
    return float(recorded) if isinstance(recorded, int | float) else 0.0
