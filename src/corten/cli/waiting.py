"""What a start waits for, said while it takes long: the first guest of a daemon boots, half a minute where it is
emulated. Other clients read it in the container's inspection ("Waiting"), in the events ("boot"), in the daemon's log.
"""

from __future__ import annotations

import _thread

from corten.cli.output import err
from corten.client import containers
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.api import Client

SILENCE = 1.5  # seconds


class Explained:
    """A context around the start of a container: one line to stderr, where the daemon has a reason."""

    def __init__(self, client: Client, ref: str) -> None:
        self._client, self._ref = client, ref
        self._started, self._ended = _thread.allocate_lock(), _thread.allocate_lock()

    def __enter__(self) -> None:
        self._started.acquire()
        self._ended.acquire()
        _thread.start_new_thread(self._watch, ())

    def __exit__(self, *_: object) -> None:
        self._started.release()
        self._ended.acquire(timeout=SILENCE)

    def _watch(self) -> None:
        beside = self._client.beside()
        try:
            while not self._started.acquire(timeout=SILENCE):
                if reason := str(containers.inspect(beside, self._ref).get("Waiting") or ""):
                    err(f"corten: {self._ref[:12]} waits: {reason}")
                    return
        except (CortenError, OSError):  # the start's own answer says what is wrong
            return
        finally:
            beside.close()
            self._ended.release()
