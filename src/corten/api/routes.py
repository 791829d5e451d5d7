"""Routes as tables: (method, pattern, function). A pattern is a path whose {name} takes one part and {name:all} any."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple

from aiohttp import web

from corten.api.call import Call

Function = Callable[[Call], Awaitable[web.StreamResponse]]
Later = Callable[[], "Iterable[Route]"]


class Route(NamedTuple):
    """`stream` marks an answer that goes on: it is cut off when the client goes, all others are completed."""

    method: str
    pattern: str
    function: Function
    stream: bool = False


class Router:
    """Finds the route of a method and a path, by the path's first part and then in the order of the tables.

    `later` are tables that are loaded with the first request whose path begins so: most daemons never get one. Of each,
    those routes are taken that begin so.
    """

    def __init__(
        self, *tables: Iterable[Route], later: Mapping[str, Callable[[], Iterable[Route]]] | None = None
    ) -> None:
        self._routes: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        self._later = dict(later or {})
        for table in tables:
            self._add(table)

    def _add(self, table: Iterable[Route]) -> None:
        for route in table:
            key = (route.method, _first(route))
            self._routes.setdefault(key, []).append((_compile(route.pattern), route))

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        """`path` is without version and still percent-encoded; parameters come decoded."""
        first = path.split("/", 2)[1] if path.startswith("/") else ""
        if first in self._later:
            table = self._later.pop(first)()
            self._add(route for route in table if _first(route) == first)
        for pattern, route in self._routes.get((method, first), ()):
            if found := pattern.match(path):
                return route, {key: urllib.parse.unquote(value) for key, value in found.groupdict().items()}
        return None


def _first(route: Route) -> str:
    return route.pattern.split("/")[1]


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)(:all)?\}", pattern)
    text = ""
    for index in range(0, len(parts), 3):
        text += re.escape(parts[index])
        if index + 1 < len(parts):
            text += f"(?P<{parts[index + 1]}>{'.+' if parts[index + 2] else '[^/]+'})"
    return re.compile(text + r"/?\Z")
