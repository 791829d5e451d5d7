"""What run, start, attach and exec share: signals for the container, its terminal's size, its exit code."""

from __future__ import annotations

import os
import select

from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.cli.signals import NAMES, NUMBERS
from corten.cli.terminal import SignalPipe, is_terminal, size
from corten.client import containers
from corten.client.errors import ApiError, Broken, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.cli.session import Session
    from corten.client.api import Answer, Client
    from corten.errors import CortenError

STDIN, STDOUT = 0, 1
# All that a user can send and that makes sense elsewhere. KILL and STOP cannot be caught, CHLD, PIPE and URG are our
# own business, and a fault of this program is no message to the container.
FORWARDED = tuple(number for number, name in NAMES.items() if name != "PIPE")
# What a terminal and its shell send to stop this program and not the container: Ctrl-Z, and reading or writing in the
# background. A terminal in raw mode sends none of them.
JOB_CONTROL = tuple(NUMBERS[name] for name in ("TSTP", "TTIN", "TTOU"))
ENDING = tuple(NUMBERS[name] for name in ("HUP", "INT", "QUIT", "TERM"))
WINCH = NUMBERS["WINCH"]
DETACH_KEYS = b"\x10\x11"  # ctrl-p,ctrl-q, the default


class Interrupted(Exception):
    """A signal that is not forwarded arrived: undo what must be undone, then die by it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def check_terminal(attach_stdin: bool, tty: bool) -> None:
    """A container's terminal needs one on our side, or input would never be what it expects.

    Raises CommandError without one.
    """
    if attach_stdin and tty and not is_terminal(STDIN):
        raise CommandError("the input device is not a TTY")


def detach_keys(session: Session, given: str) -> tuple[str, bytes]:
    """(spelling for the daemon, bytes for us): the flag's, the configuration's, or the default."""
    text = given or session.config.detach_keys
    if not text:
        return "", DETACH_KEYS
    from corten.spec.detach_keys import parse

    try:
        return text, parse(text)
    except ValueError as error:
        raise CommandError(f"invalid detach keys: unknown character: '{error}'") from None


def signal_pipe(forward: bool, tty: bool, raw: int | None) -> SignalPipe:
    """The signals to watch: all to forward, or those that would end us with the terminal still raw.

    `raw` is the terminal that goes into raw mode. Without one, signals of job control stop this program.
    """
    numbers = FORWARDED if forward else (*ENDING, *((WINCH,) if tty else ()))
    return SignalPipe(number for number in numbers if raw is not None or number not in JOB_CONTROL)


def forwarder(client: Client, ref: str, forward: bool, resize: Callable[[], None] | None) -> Callable[[int], None]:
    """What to do with a signal: resize, send it on to the container, or end."""

    def act(number: int) -> None:
        if number == WINCH and resize is not None:
            resize()
        if forward:
            try:
                containers.kill(client, ref, NAMES[number])
            except ApiError:
                # The container has ended or has not started: no process can get the signal.
                pass
            except (Broken, Unreachable) as error:
                err(f"corten: the container did not get the signal {NAMES[number]}: {error}")
        elif number in ENDING:
            raise Interrupted(number)

    return act


def resizer(client: Client, ref: str, call: Callable[[Client, str, int, int], None]) -> Callable[[], None]:
    """Give the container's terminal the size of ours."""

    def resize() -> None:
        height, width = size(STDOUT)
        if not height and not width:
            return
        try:
            call(client, ref, height, width)
        except (ApiError, Broken, Unreachable):
            # It ended in the meantime, and its exit code says the rest; or the daemon did, and the streams go on.
            pass

    return resize


class ExitWatch:
    """A wait for a container's exit, asked for before the start so that none can be missed. `close` it, or `code`.

    A daemon that ends meanwhile does not end the container: the next one is asked.
    """

    def __init__(self, client: Client, ref: str, condition: str = "") -> None:
        self._client = client
        self._ref = ref
        self._condition = condition
        self._waiting = containers.begin_wait(client, ref, condition)
        self._answer: Answer | None = None

    def registered(self) -> None:
        """Return once the daemon is waiting: it sends the head of its answer at once (API 1.30). Raises ApiError."""
        if self._client.at_least("1.30"):
            self._read_head()

    def code(self, signals: SignalPipe, on_signal: Callable[[int], None]) -> int:
        """The exit code; signals are handled until it comes. Raises CommandError when the daemon does not know it."""
        while True:
            try:
                self._await(signals, on_signal)
                return self.result()
            except (Broken, Unreachable) as lost:
                self._ask_again(lost, signals, on_signal)

    def _await(self, signals: SignalPipe, on_signal: Callable[[int], None]) -> None:
        poll = select.poll()
        poll.register(self._waiting.fileno(), select.POLLIN)
        poll.register(signals.fileno(), select.POLLIN)
        while self._answer is None or not self._waiting.buffered():
            ready = [fd for fd, _ in poll.poll()]
            if signals.fileno() in ready:
                for number in signals.take():
                    on_signal(number)
            if self._waiting.fileno() in ready:
                if self._answer is not None:
                    break
                self._read_head()

    def _ask_again(self, lost: CortenError, signals: SignalPipe, on_signal: Callable[[int], None]) -> None:
        from corten.cli.again import again

        # The exit may have been in between, and would never be the next one.
        condition = "removed" if self._condition == "removed" else ""

        def ask() -> None:
            self.close()
            self._waiting = containers.begin_wait(self._client, self._ref, condition)
            self._answer = None
            self.registered()

        def pause(seconds: float) -> None:
            if select.select([signals.fileno()], [], [], seconds)[0]:
                for number in signals.take():
                    on_signal(number)

        again(ask, lost, pause)

    def result(self) -> int:
        """The exit code, however long it takes."""
        result = self._read_head().json()
        self.close()
        if (result.get("Error") or {}).get("Message"):
            raise CommandError(f"error waiting for container: {result['Error']['Message']}", 125)
        return int(result["StatusCode"])

    def close(self) -> None:
        self._waiting.close()

    def _read_head(self) -> Answer:
        if self._answer is None:
            self._answer = self._client.receive(self._waiting, "POST")
        return self._answer


def restore_and_die(number: int) -> int:
    """128+n, for the case that the signal was blocked or ignored by our parent process."""
    from corten.cli.terminal import die_by

    die_by(number)
    return 128 + number


def open_stdin_terminal(tty: bool, stdin: bool) -> int | None:
    """The descriptor to put into raw mode, if any."""
    return STDIN if tty and stdin and os.isatty(STDIN) else None
