"""What is said while a plan is done: one line for each thing that begins or is done, as Docker Compose has it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Report(Protocol):
        def event(self, kind: str, name: str, status: str) -> None:
            """`kind` is Container, Network, Volume, Image or Service; called by several threads."""

        def warning(self, text: str) -> None: ...


class Silent:
    """Nothing is said."""

    def event(self, kind: str, name: str, status: str) -> None:
        return

    def warning(self, text: str) -> None:
        return
