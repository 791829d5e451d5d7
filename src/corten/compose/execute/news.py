"""Events of a project's containers, read by a thread of their own."""

from __future__ import annotations

import threading

from corten.client import system
from corten.compose import labels
from corten.errors import CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.client.api import Answer, Client

    Json = dict[str, Any]


class News:
    """`tell` is called with each event, and with the error that ended them, by another thread. The engine takes note of
    events from the moment on at which this is made."""

    def __init__(self, client: Client, project: str, tell: Callable[[Json | Exception], None]) -> None:
        wanted = {"label": [labels.of_project(project)], "type": ["container"]}
        self._answer: Answer = system.events(client.another(), "", "", wanted)
        self._tell = tell
        self._closed = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for event in self._answer.documents():
                self._tell(event)
            error: Exception = CortenError("the engine ended the stream of events")
        except (CortenError, OSError, ValueError) as lost:
            error = lost
        if not self._closed:
            self._tell(error)

    def close(self) -> None:
        """The reading thread ends when its connection does."""
        self._closed = True
        self._answer.connection.shutdown()
