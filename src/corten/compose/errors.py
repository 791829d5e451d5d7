"""What is wrong with a Compose file: Compose's words, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

from corten.compose.model import Position
from corten.errors import Invalid

LONGEST = 900  # characters: a message may have a text of the file in it


class ComposeError(Invalid):
    """A file or its environment that cannot be used.

    `message` is in Docker Compose's words where it has such an error. Shown as "FILE:LINE: MESSAGE: REMEDY".
    """

    def __init__(self, message: str, position: Position | None = None, remedy: str = "", path: str = "") -> None:
        self.message = message if len(message) <= LONGEST else f"{message[:LONGEST]}..."
        self.position = position
        self.remedy = remedy
        #: What it is about: "services.web.ports.0"; where that is in a file is found later.
        self.path = path
        #: What was warned of before it was found.
        self.warnings: tuple[str, ...] = ()
        super().__init__(self.message)

    def located(self, positions: Mapping[str, Position]) -> ComposeError:
        """The same with the position of its path, or of the nearest part above it, unless it has one."""
        path = self.path
        while self.position is None and path:
            self.position = positions.get(path)
            path = path.rpartition(".")[0]
        return self

    def __str__(self) -> str:
        where = f"{self.position}: " if self.position is not None else ""
        return f"{where}{self.message}{f': {self.remedy}' if self.remedy else ''}"
