"""Docker's JSON messages about pulls, pushes and loads, and the stream that carries them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from corten.errors import CortenError
from corten.spec.json import Json
from corten.units.sizes import human_size

Emit = Callable[[Json], None]
_log = logging.getLogger(__name__)
_INTERVAL = 0.1  # seconds between two progress messages about one thing
_BEHIND = 512  # messages that a slow reader may be behind before progress is left out


def status(text: str, id: str | None = None) -> Json:
    return {"status": text} if id is None else {"status": text, "progressDetail": {}, "id": id}


def retrying(emit: Emit, id: str | None) -> Callable[[float], None]:
    """What a registry's client calls before it waits: Docker's message about it."""

    def waiting(seconds: float) -> None:
        rounded = max(1, round(seconds))
        emit(status(f"Retrying in {rounded} second{'s' * (rounded != 1)}", id))

    return waiting


def error(text: str) -> Json:
    return {"errorDetail": {"message": text}, "error": text}


def bar(current: int, total: int) -> str:
    """Docker's text form of a progress bar, for clients that show `progress`."""
    shown = f"{human_size(current)}/{human_size(total)}"
    if total <= 0:
        return human_size(current)
    percent = min(100, current * 100 // total)
    done = percent // 2
    arrow = "=" * done + (">" if done < 50 else "")
    return f"[{arrow}{' ' * (50 - len(arrow))}]  {shown}"


class Meter:
    """Progress messages about one thing, at most ten a second."""

    def __init__(self, emit: Emit, text: str, id: str, total: int) -> None:
        self._emit = emit
        self._text = text
        self._id = id
        self._total = total
        self._last = 0.0

    def __call__(self, current: int) -> None:
        now = time.monotonic()
        if now - self._last < _INTERVAL:
            return
        self._last = now
        self._emit(
            {
                "status": self._text,
                "progressDetail": {"current": current, "total": self._total},
                "progress": bar(current, self._total),
                "id": self._id,
            }
        )


async def stream(work: Callable[[Emit], Awaitable[None]]) -> AsyncIterator[Json]:
    """What `work` emits, while it runs. It is cancelled when the reader goes away.

    An error before the first message is raised; later it is the last message.
    """
    queue: asyncio.Queue[Json | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(message: Json) -> None:
        if queue.qsize() < _BEHIND or not message.get("progressDetail"):
            queue.put_nowait(message)

    def emit(message: Json) -> None:  # from any thread
        loop.call_soon_threadsafe(put, message)

    async def run() -> None:
        await work(emit)

    task = asyncio.create_task(run())
    task.add_done_callback(lambda _: loop.call_soon(queue.put_nowait, None))
    started = reported = False
    try:
        while (message := await queue.get()) is not None:
            started = True
            yield message
        failed, reported = task.exception(), True
        if failed is not None:
            if not started:
                raise failed
            if not isinstance(failed, CortenError | OSError):
                _log.error("image stream failed", exc_info=failed)
            yield error(_words(failed))
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not reported:
            _left(task)


def _words(failed: BaseException) -> str:
    """Of a system call that failed the reason and what it was about, and not its number."""
    if isinstance(failed, OSError) and failed.strerror:
        return f"{failed.strerror}: {failed.filename}" if failed.filename else failed.strerror
    return str(failed) or type(failed).__name__


def _left(task: asyncio.Task[None]) -> None:
    """How work ended whose reader has gone; most often because of that, as an import whose archive was cut off."""
    failed = None if task.cancelled() else task.exception()
    if failed is not None and not isinstance(failed, CortenError | OSError):
        _log.error("image stream failed", exc_info=failed)
