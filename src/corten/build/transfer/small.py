"""A few small files of a client, in memory."""

from __future__ import annotations

from collections.abc import Mapping

from corten.build.transfer.walk import DEPTH, SYMLINK, TYPES
from corten.errors import Invalid
from corten.spec.protobuf.session import Stat


class Small:
    """A sink for a few small files: `found` by the names they were asked for by, through links."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._paths: dict[int, str] = {}
        self._contents: dict[str, bytearray] = {}
        self._links: dict[str, str] = {}

    def entry(self, number: int, stat: Stat) -> bool:
        if stat.mode & SYMLINK or (stat.link and not stat.mode & TYPES):
            self._links[stat.path] = stat.link if stat.mode & SYMLINK else "/" + stat.link
            return False
        if stat.mode & TYPES:
            return False
        if stat.size > self._limit:
            raise Invalid(f"{stat.path} is larger than {self._limit} bytes")
        self._paths[number] = stat.path
        self._contents[stat.path] = bytearray()
        return True

    def attributes(self, number: int, given: Mapping[str, bytes]) -> None:
        return

    def data(self, number: int, piece: bytes | memoryview) -> None:
        content = self._contents[self._paths[number]]
        content += piece
        if len(content) > self._limit:
            raise Invalid(f"{self._paths[number]} is larger than {self._limit} bytes")

    def end(self, number: int) -> None:
        return

    def done(self) -> None:
        return

    def found(self, name: str) -> bytes | None:
        """None for a name that is not there, or leads nowhere."""
        done: list[str] = []
        waiting = [part for part in name.split("/") if part not in ("", ".")][::-1]
        for _ in range(DEPTH):
            if not waiting:
                content = self._contents.get("/".join(done))
                return bytes(content) if content is not None else None
            part = waiting.pop()
            if part == "..":
                done = done[:-1]
                continue
            link = self._links.get("/".join([*done, part]))
            if link is None:
                done.append(part)
                continue
            done = [] if link.startswith("/") else done
            waiting += [each for each in link.split("/") if each not in ("", ".")][::-1]
        return None
