"""The client's end of a build's connection: answers what the daemon asks, and gives what it says.

    talk = Conversation(upgraded, {"walk": walk, "secret": secret, ...})
    for document in talk.documents(): ...

One thread: everything waits in one poll(2). What is asked for is answered in turns, as fast as the daemon reads.
"""

from __future__ import annotations

import _socket
import select
from collections import deque

from corten.client import quickjson
from corten.client.errors import BadAnswer
from corten.errors import CortenError
from corten.spec import build_frames as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Protocol

    from corten.client.api import Json, Upgraded

    class Answer(Protocol):
        """To one question of the daemon's. `fd` is what is waited for before `next` is called again, -1 for nothing."""

        fd: int

        def next(self) -> tuple[int, bytes] | None:
            """What to send: kind and payload; None when there is nothing at the moment. Raises OSError, CortenError."""

        def take(self, kind: int, data: bytes) -> None:
            """What the daemon says to it. Raises OSError, CortenError."""

        def end(self) -> tuple[int, bytes] | None:
            """The daemon has said all: what is said last. Raises OSError, CortenError."""

        def close(self) -> None:
            """Whatever has happened: also when the build has failed, and this is only half done."""

    Answering = Callable[[Json], Answer]

_BLOCK = 1 << 18  # bytes that go out at once
_READ = 1 << 16
_MOST = 256  # questions at a time, as many as a daemon of ours asks
_VECTORS = 512  # buffers of one call; the kernel takes 1024 (sendmsg(2), IOV_MAX)


class Said:
    """An answer that is known: `data` None is the answer that there is none."""

    fd = -1

    def __init__(self, data: bytes | None) -> None:
        pieces = [data[at : at + f.PIECE] for at in range(0, len(data), f.PIECE)] if data is not None else []
        self._frames = [(f.DATA, piece) for piece in pieces] + [(f.ABSENT if data is None else f.END, b"")]

    def next(self) -> tuple[int, bytes] | None:
        return self._frames.pop(0) if self._frames else None

    def take(self, kind: int, data: bytes) -> None:
        return

    def end(self) -> tuple[int, bytes] | None:
        """What is last of it, where that was not sent yet: the daemon waits for it."""
        return self._frames.pop() if self._frames else None

    def close(self) -> None:
        return


class Last(Said):
    """One frame."""

    def __init__(self, kind: int, data: bytes) -> None:
        self._frames = [(kind, data)]

    @property
    def said(self) -> bool:
        """Nothing is left of it: what comes to its question now is for nothing."""
        return not self._frames


class Refused(Last):
    """The client's own error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f.ERROR, explained(error).encode("utf-8", "surrogateescape")[: f.PIECE])


class Conversation:
    """Owns the connection. `answering` makes an answer by the question's `do`."""

    def __init__(self, upgraded: Upgraded, answering: Mapping[str, Answering]) -> None:
        self._sock: _socket.socket = upgraded.sock
        self._sock.setblocking(False)
        self._early = upgraded.early
        self._answering = answering
        self._frames = f.Frames(f.MOST_SAID)
        self._answers: dict[int, Answer] = {}
        self._busy: deque[int] = deque()  # channels that may have something to send
        self._out: deque[memoryview] = deque()
        self._deaf = False  # the daemon reads no more

    def documents(self) -> Iterator[Json]:
        """The events, until the daemon has said its last."""
        try:
            yield from self._said(self._early)
            while True:
                self._fill()
                if not self._wait():
                    continue
                try:
                    data = self._sock.recv(_READ)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    return
                if not data:
                    return
                yield from self._said(data)
        finally:
            self.close()

    def hang_up(self) -> None:
        """End it from another thread: the daemon ends the build, and `documents` comes to its end."""
        try:
            self._sock.shutdown(_socket.SHUT_RDWR)
        except OSError:  # it has ended
            pass

    def close(self) -> None:
        for answer in self._answers.values():
            answer.close()
        self._answers.clear()
        self._sock.close()

    def _wait(self) -> bool:
        """Send what can be sent, until something came from the daemon, or an answer can go on."""
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN | (select.POLLOUT if self._out else 0))
        waiting = {} if self._out else {answer.fd: number for number, answer in self._answers.items() if answer.fd >= 0}
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        came = False
        for fd, events in poll.poll():
            if fd == self._sock.fileno():
                if events & select.POLLOUT:
                    self._send()
                came = bool(events & ~select.POLLOUT)
            else:
                self._busy.append(waiting[fd])
        return came

    # ------------------------------------------------------------------------------------------------------- sending

    def _fill(self) -> None:
        """Have something to send, where there is anything."""
        size = sum(map(len, self._out))
        while size < _BLOCK and self._busy:
            number = self._busy.popleft()
            if (found := self._next(number)) is None:
                continue
            self._busy.append(number)
            if not self._deaf:
                kind, data = found
                self._out.append(memoryview(f.head(kind, number, len(data))))
                if data:
                    self._out.append(memoryview(data))
                size += len(data)

    def _next(self, number: int) -> tuple[int, bytes] | None:
        answer = self._answers.get(number)
        if answer is None:
            return None
        try:
            found = answer.next()
        except (OSError, CortenError) as error:
            self._drop(number)
            return Refused(error).next()
        if isinstance(answer, Last) and answer.said:
            self._drop(number)
        return found

    def _send(self) -> None:
        try:
            count = self._sock.sendmsg([*self._out][:_VECTORS])
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._deaf = True  # its reason is waiting to be read
            self._out.clear()
            return
        while count:
            first = self._out[0]
            if count < len(first):
                self._out[0] = first[count:]
                return
            count -= len(self._out.popleft())

    # ----------------------------------------------------------------------------------------------------- receiving

    def _said(self, data: bytes) -> Iterator[Json]:
        for kind, number, payload in self._frames.feed(data):
            if kind == f.EVENT:
                yield _loads(payload)
            elif kind == f.CALL:
                self._asked(number, _loads(payload))
            else:
                self._heard(number, kind, payload)

    def _asked(self, number: int, question: Json) -> None:
        if number in self._answers or len(self._answers) >= _MOST:
            raise BadAnswer(f"the daemon asks more than {_MOST} questions at a time, or one twice")
        answering = self._answering.get(str(question.get("do")))
        try:
            answer: Answer = answering(question) if answering is not None else Said(None)
        except LookupError:  # nothing here has that name
            answer = Said(None)
        except (OSError, CortenError) as error:
            answer = Refused(error)
        self._answers[number] = answer
        if answer.fd < 0:
            self._busy.append(number)

    def _heard(self, number: int, kind: int, data: bytes) -> None:
        answer = self._answers.get(number)
        if answer is None:
            return
        try:
            if kind == f.END:
                if (last := answer.end()) is None:
                    self._drop(number)
                    return
                self._instead(number, Last(*last))
            elif kind == f.ERROR:
                self._drop(number)
                return
            else:
                answer.take(kind, data)
        except (OSError, CortenError) as error:
            self._instead(number, Refused(error))
        if self._answers[number].fd < 0 and number not in self._busy:
            self._busy.append(number)

    def _instead(self, number: int, answer: Answer) -> None:
        self._drop(number)
        self._answers[number] = answer

    def _drop(self, number: int) -> None:
        self._answers.pop(number).close()


def explained(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        what = f"open {error.filename}: " if isinstance(error.filename, str) else ""
        return f"{what}{error.strerror.lower()}"
    return str(error)


def _loads(data: bytes) -> Any:
    try:
        return quickjson.loads(data)
    except ValueError:
        raise BadAnswer(f"the daemon's event is not JSON: {data[:80]!r}") from None
