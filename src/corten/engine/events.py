"""Docker's events: the last ones are kept, and each listener has a bounded queue.

A listener that does not read loses its place, not its memory: when its queue is full it is cut off, and its stream ends
after what was queued. It can then ask again with `since`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping

from corten.spec.docker import times
from corten.spec.docker.filters import Filters
from corten.spec.json import Json
from corten.spec.reference import familiar, same_repository
from corten.units.durations import SECOND

HISTORY = 1024
QUEUE = 4096
KEYS = frozenset(
    ("config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret")
    + ("service", "type", "volume")
)


class Events:
    """`history` holds the last `HISTORY` messages, oldest first, in Docker's shape."""

    def __init__(self) -> None:
        self.history: deque[Json] = deque(maxlen=HISTORY)
        self._listeners: set[asyncio.Queue[Json | None]] = set()

    def __len__(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def publish(self, type: str, action: str, id: str, attributes: Mapping[str, str] | None = None) -> None:
        """Give an event to all listeners. `attributes` are Docker's for this type: labels, name, image, exitCode ..."""
        at = times.now()
        message = _message(type, action, id, dict(attributes or {}), at)
        self.history.append(message)
        for queue in list(self._listeners):
            if queue.qsize() >= QUEUE:
                self._listeners.discard(queue)
                queue.put_nowait(None)
            else:
                queue.put_nowait(message)

    async def listen(
        self, since: int | None = None, until: int | None = None, filters: Filters | None = None
    ) -> AsyncGenerator[Json, None]:
        """Messages at and after `since` (None: from now on, or all that are kept when there is an `until`), up to
        `until` (None: without end), both in nanoseconds.

        Replaying and listening are one step: nothing falls between them.
        """
        wanted = matcher(filters or Filters())
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        begin = since or 0
        past = [] if since is until is None else [m for m in self.history if m["timeNano"] >= begin]
        self._listeners.add(queue)
        try:
            for message in past:
                if until is not None and message["timeNano"] > until:
                    return
                if wanted(message):
                    yield message
            async for message in _until(queue, until):
                if wanted(message):
                    yield message
        finally:
            self._listeners.discard(queue)


def _message(type: str, action: str, id: str, attributes: dict[str, str], at: int) -> Json:
    message: Json = {}
    if type in ("container", "image"):  # deprecated since 1.10 and still read by people's scripts
        message = {"status": action, "id": id}
        if type == "container" and "image" in attributes:
            message["from"] = attributes["image"]
    message |= {"Type": type, "Action": action, "Actor": {"ID": id, "Attributes": attributes}, "scope": "local"}
    return message | {"time": at // SECOND, "timeNano": at}


async def _until(queue: asyncio.Queue[Json | None], until: int | None) -> AsyncIterator[Json]:
    while True:
        left = None if until is None else (until - times.now()) / SECOND
        if left is not None and left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                message = await queue.get()
        except TimeoutError:
            return
        if message is None:
            return
        yield message


def matcher(filters: Filters) -> Callable[[Json], bool]:
    """Values of one key are alternatives, keys all have to match. Invalid for a key that Docker does not know."""
    filters.check(KEYS)
    tests = [_TESTS.get(key, _actor_test(key)) for key in filters if key not in ("label",)]
    keys = [key for key in filters if key != "label"]

    def matches(message: Json) -> bool:
        labelled = filters.match_labels("label", message["Actor"]["Attributes"])
        return labelled and all(test(message, filters[key]) for key, test in zip(keys, tests))

    return matches


_Test = Callable[[Json, Collection[str]], bool]


def _actor_test(type: str) -> _Test:
    """container=, network=, volume= ...: the actor's id, the start of it, or its name."""

    def test(message: Json, values: Collection[str]) -> bool:
        if message["Type"] != type:
            return False
        id, name = message["Actor"]["ID"], message["Actor"]["Attributes"].get("name", "")
        return any(value in (id, name) or (value and id.startswith(value)) for value in values)

    return test


def _action_test(message: Json, values: Collection[str]) -> bool:
    """`event=exec_create` matches "exec_create: ls -l"."""
    action = message["Action"]
    return action in values or action.partition(":")[0] in values


def _image_test(message: Json, values: Collection[str]) -> bool:
    if message["Type"] == "image":
        names = {message["Actor"]["ID"], message["Actor"]["Attributes"].get("name", "")}
    else:
        names = {message["Actor"]["Attributes"].get("image", "")}
    return any(familiar(v) == familiar(n) or same_repository(v, n) for v in values for n in names if n)


_TESTS: dict[str, _Test] = {
    "event": _action_test,
    "image": _image_test,
    "scope": lambda message, values: message["scope"] in values,
    "type": lambda message, values: message["Type"] in values,
}
