"""Docker's events: the last ones are kept, and each listener has a bounded queue.

A listener that does not read loses its place, not its memory: when its queue is full it is cut off, and its stream ends
after what was queued. It can then ask again with `since`. An event has what clients and images say (a command, labels),
up to a megabyte, so both are bounded in bytes as well.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from functools import partial

from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.spec.reference import familiar, has_tag, repository_of
from corten.units.durations import SECOND

HISTORY = 1024
QUEUE = 4096
BYTES = 8 << 20  # of the history, and of each queue
_TURN = 16  # messages that one listener looks at before others have their turn
KEYS = frozenset(
    ("config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret")
    + ("service", "type", "vm", "volume")
)


class _Listener:
    """What waits to be sent to it; behind None comes nothing more."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Json | None, int]] = asyncio.Queue()
        self._bytes = 0

    def put(self, message: Json, size: int) -> bool:
        """False when it has no room: this is its end."""
        if self._queue.qsize() >= QUEUE or self._bytes > BYTES:
            self._queue.put_nowait((None, 0))
            return False
        self._bytes += size
        self._queue.put_nowait((message, size))
        return True

    async def get(self) -> Json | None:
        message, size = await self._queue.get()
        self._bytes -= size
        return message


class Events:
    """`history` holds the last messages, oldest first, in Docker's shape: at most `HISTORY`, and as many
    as have `BYTES`, and one."""

    def __init__(self) -> None:
        self.history: deque[Json] = deque()
        self._bytes = 0
        self._listeners: set[_Listener] = set()

    def __len__(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(self, type: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Give an event to all listeners. `attributes` are Docker's for this type: labels, name, image, exitCode ..."""
        at = times.now()
        message = _message(type, action, id, dict(attributes or {}), at)
        size = _size(message)
        self._keep(message, size)
        for listener in list(self._listeners):
            if not listener.put(message, size):
                self._listeners.discard(listener)

    def _keep(self, message: Json, size: int) -> None:
        while self.history and (len(self.history) >= HISTORY or self._bytes > BYTES):
            self._bytes -= _size(self.history.popleft())
        self.history.append(message)
        self._bytes += size

    async def listen(
        self, since: int | None = None, until: int | None = None, filters: Filters | None = None
    ) -> AsyncGenerator[Json, None]:
        """Messages at and after `since` (None: from now on, or all that are kept when there is an `until`), up to
        `until` (None: without end), both in nanoseconds.

        Replaying and listening are one step: nothing falls between them.
        """
        wanted = matcher(filters or Filters())
        listener = _Listener()
        begin = since or 0
        past = [] if since is until is None else [m for m in self.history if m["timeNano"] >= begin]
        self._listeners.add(listener)
        try:
            seen = 0
            async for message in _all(past, listener, until):
                if wanted(message):
                    yield message
                seen += 1
                if not seen % _TURN:
                    await asyncio.sleep(0)  # nothing above waits as long as there are messages
        finally:
            self._listeners.discard(listener)


def _size(message: Json) -> int:
    """About how many bytes it keeps: an entry of a dictionary is some hundred, however short its texts are."""
    attributes: Mapping[str, str] = message["Actor"]["Attributes"]
    texts = sum(map(len, attributes)) + sum(map(len, attributes.values()))
    return 1000 + 200 * len(attributes) + texts + len(message["Action"])


def _message(type: str, action: str, id: str, attributes: dict[str, str], at: int) -> Json:
    message: Json = {}
    if type in ("container", "image"):  # deprecated since 1.10 and still read by people's scripts
        message = {"status": action, "id": id}
        if type == "container" and "image" in attributes:
            message["from"] = attributes["image"]
    message |= {"Type": type, "Action": action, "Actor": {"ID": id, "Attributes": attributes}, "scope": "local"}
    return message | {"time": at // SECOND, "timeNano": at}


async def _all(past: Iterable[Json], listener: _Listener, until: int | None) -> AsyncIterator[Json]:
    for message in past:
        if until is not None and message["timeNano"] > until:
            return
        yield message
    async for message in _until(listener, until):
        yield message


async def _until(listener: _Listener, until: int | None) -> AsyncIterator[Json]:
    while True:
        left = None if until is None else (until - times.now()) / SECOND
        if left is not None and left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                message = await listener.get()
        except TimeoutError:
            return
        if message is None:
            return
        yield message


def matcher(filters: Filters) -> Callable[[Json], bool]:
    """Values of one key are alternatives, keys all have to match. Invalid for a key that Docker does not know."""
    filters.check(KEYS)
    tests = [_TESTS.get(key, partial(_actor_test, key))(filters[key]) for key in filters if key != "label"]

    def matches(message: Json) -> bool:
        labelled = filters.match_labels("label", message["Actor"]["Attributes"])
        return labelled and all(test(message) for test in tests)

    return matches


# Each takes a filter's values, of which there may be thousands, and makes what is asked of each message.
_Test = Callable[[Json], bool]


def _actor_test(type: str, values: Collection[str]) -> _Test:
    """container=, network=, volume= ...: the actor's id, the start of it, or its name."""
    begins = tuple(value for value in values if value)

    def test(message: Json) -> bool:
        if message["Type"] != type:
            return False
        id, name = message["Actor"]["ID"], message["Actor"]["Attributes"].get("name", "")
        return name in values or id in values or id.startswith(begins)

    return test


def _action_test(values: Collection[str]) -> _Test:
    """`event=exec_create` matches "exec_create: ls -l"."""
    return lambda message: message["Action"] in values or message["Action"].partition(":")[0] in values


def _image_test(values: Collection[str]) -> _Test:
    wanted = {familiar(value) for value in values}
    repositories = {repository_of(value) for value in values if not has_tag(value)}

    def test(message: Json) -> bool:
        names = [message["Actor"]["Attributes"].get("image", "")]
        if message["Type"] == "image":
            names = [message["Actor"]["ID"], message["Actor"]["Attributes"].get("name", "")]
        return any(familiar(name) in wanted or repository_of(name) in repositories for name in names if name)

    return test


_TESTS: dict[str, Callable[[Collection[str]], _Test]] = {
    "event": _action_test,
    "image": _image_test,
    "scope": lambda values: lambda message: message["scope"] in values,
    "type": lambda values: lambda message: message["Type"] in values,
}
