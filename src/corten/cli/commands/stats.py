"""corten stats: what containers use of the machine, once or as it changes."""

from __future__ import annotations

import select
import time

from corten.cli.again import LOST, again
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.formats import listing
from corten.cli.formats.stats import COLUMNS, STATS
from corten.cli.output import draw, err, out
from corten.client import containers, quickjson
from corten.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Client
    from corten.client.connection import Connection

_EVERY = 1.0  # seconds between two pictures; the daemon sends as often
_HOME, _REST_OF_LINE, _REST = "\033[H", "\033[K", "\033[J"


class Watched:
    """One container's stream of samples; `sample` is the last, empty until there is one."""

    def __init__(self, client: Client, ref: str, stream: bool) -> None:
        self.ref = ref
        self.sample: dict[str, Any] = {}
        self.connection: Connection = containers.begin_stats(client, ref, stream)
        self.fd = self.connection.fileno()
        self._client = client
        self._pending = b""
        self._begun = False

    def read(self) -> bool:
        """Read what has come; False at the container's end. Raises ApiError when the daemon refuses, Broken when that
        ends."""
        if not self._begun:
            self._client.receive(self.connection, "GET")
            self._begun = True
            if not self.connection.buffered():
                return True
        data = self.connection.read()
        *lines, self._pending = (self._pending + (data or b"\n")).split(b"\n")
        lines = [line for line in lines if line.strip()]
        if lines:
            self.sample = quickjson.loads(lines[-1])
        return bool(data)

    def close(self) -> None:
        self.connection.close()


def run(session: Session, flags: Flags) -> int:
    template = session.format(flags.text("format"), "statsFormat")
    client, every = session.client, flags.on("all")
    if flags.words and every:
        raise CommandError("conflicting options: --all and names of containers")
    if flags.on("no-stream"):
        return _once(client, flags, template)
    return _Show(client, flags, template).run()


def _names(client: Client, flags: Flags) -> list[str]:
    return flags.words or [one["Id"][:12] for one in containers.listing(client, flags.on("all"))]


def _once(client: Client, flags: Flags, template: str) -> int:
    """All are asked at the same time: a sample takes the daemon a second or two."""
    watched = [Watched(client, ref, stream=False) for ref in _names(client, flags)]
    code, found = 0, []
    for one in watched:
        try:
            while one.read():
                pass
            found.append(one)
        except ApiError as error:
            if flags.words or error.status != 404:  # what was only listed may have gone meanwhile
                err(f"Error response from daemon: {error}")
                code = 1
        finally:
            one.close()
    if found or not flags.words:
        out(_picture(found, flags, template))
    return code


def _picture(watched: list[Watched], flags: Flags, template: str) -> str:
    full = flags.on("no-trunc")
    rows = [listing.Row(STATS, {"asked": one.ref, "sample": one.sample}, full) for one in watched]
    return listing.render(STATS, rows, template, COLUMNS)


class _Show:
    """Pictures one after the other, of the containers that were named, or of those that run at the time."""

    def __init__(self, client: Client, flags: Flags, template: str) -> None:
        self._client = client
        self._flags = flags
        self._template = template
        self._watched: dict[str, Watched] = {}
        self._poll = select.poll()

    def run(self) -> int:
        self._follow(_names(self._client, self._flags))
        if self._flags.words:
            for one in list(self._watched.values()):
                self._read(one)  # a name that does not exist is an error at once
        while self._watched or not self._flags.words:
            try:
                self._collect(time.monotonic() + _EVERY)
                self._show()
                if not self._flags.words:
                    self._follow(_names(self._client, self._flags))
            except LOST as lost:
                self._follow([])
                again(lambda: self._follow(_names(self._client, self._flags)), lost)
        return 0

    def _follow(self, names: list[str]) -> None:
        for ref in [ref for ref in self._watched if ref not in names]:
            self._forget(self._watched[ref])
        for ref in names:
            if ref not in self._watched:
                self._watched[ref] = one = Watched(self._client, ref, stream=True)
                self._poll.register(one.fd, select.POLLIN)

    def _forget(self, one: Watched) -> None:
        self._poll.unregister(one.fd)
        one.close()
        del self._watched[one.ref]

    def _collect(self, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            ready = {fd for fd, _ in self._poll.poll(left * 1000)}
            for one in list(self._watched.values()):
                if one.fd in ready:
                    self._read(one)

    def _read(self, one: Watched) -> None:
        try:
            more = one.read()
        except ApiError as error:
            if self._flags.words or error.status != 404:
                raise
            more = False
        if not more:
            self._forget(one)

    def _show(self) -> None:
        """Over the last picture: nothing is cleared first, so that nothing flickers."""
        lines = _picture(list(self._watched.values()), self._flags, self._template).split("\n")
        draw(_HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST, end="")


COMMAND = Command(
    run,
    "[OPTIONS] [CONTAINER...]",
    "Show what containers use of the machine",
    (
        flag("all", BOOL, "Also those that do not run", "a"),
        flag("format", STRING, "'table', 'table TEMPLATE', 'json', or a Go template"),
        flag("no-stream", BOOL, "Once, and end"),
        flag("no-trunc", BOOL, "Whole ids"),
    ),
)
