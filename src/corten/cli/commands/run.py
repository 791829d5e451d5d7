"""corten run: create, attach and wait before start, start, move bytes, and end with the container's exit code."""

from __future__ import annotations

import time

from corten.cli import attached, creating, waiting
from corten.cli.attached import STDIN, STDOUT, Interrupted
from corten.cli.command import Command
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.options import request
from corten.cli.options.table import CONTAINER_FLAGS
from corten.cli.output import err, out
from corten.cli.streams import Pump
from corten.cli.terminal import Raw, SignalPipe, is_terminal
from corten.client import containers, quickjson
from corten.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from corten.cli.attached import ExitWatch
    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.client.api import Upgraded
    from corten.spec.docker.create import CreateRequest

RUN_FLAGS = (
    flag("detach", BOOL, "Run in the background and print the container's ID", "d"),
    flag("detach-keys", STRING, "Keys that leave the container running (ctrl-p,ctrl-q)"),
    flag("sig-proxy", BOOL, "Send the signals we get to the container", default=True),
    flag("timing", BOOL, "Show where the start spent its time"),
)


class Phases:
    """Wall-clock seconds of the client's steps, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {"client start-up": time.process_time()}
        self._last = time.monotonic()

    def done(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._last
        self._last = now


def run(session: Session, flags: Flags) -> int:
    return _Run(session, flags).perform()


class _Run:
    def __init__(self, session: Session, flags: Flags) -> None:
        self._session = session
        self._flags = flags
        self._detached = flags.on("detach")
        self._phases = Phases()
        self._daemon: dict[str, float] = {}
        self._body = self._request()
        self._id = ""

    def _request(self) -> CreateRequest:
        flags = self._flags
        if self._detached and flags.many("attach"):
            raise CommandError("conflicting options: cannot specify both --attach and --detach", 125)
        image, *command = flags.words
        body = request.create(flags, image, command, self._detached, self._session)
        if not self._detached:
            attached.check_terminal(body.attach_stdin, body.tty)
        return body

    def perform(self) -> int:
        try:
            keys = attached.detach_keys(self._session, self._flags.text("detach-keys"))
        except CommandError as error:
            raise CommandError(str(error), 125) from None
        try:
            self._id = creating.create(self._session, self._flags, self._body)
        except ApiError as error:
            raise refusal(error) from error
        self._phases.done("create")
        try:
            code = self._in_background() if self._detached else self._in_foreground(keys)
        except Interrupted as interrupted:
            return attached.restore_and_die(interrupted.number)
        if self._flags.on("timing"):
            self._show_timing()
        return code

    def _in_background(self) -> int:
        self._start()
        out(self._id)
        return 0

    def _in_foreground(self, keys: tuple[str, bytes]) -> int:
        body, forward = self._body, self._flags.on("sig-proxy")
        tty = body.tty
        resize = None
        if tty and is_terminal(STDOUT):
            resize = attached.resizer(self._session.client, self._id, containers.resize)
        act = attached.forwarder(self._session.client, self._id, forward, resize)
        raw = attached.open_stdin_terminal(tty, body.attach_stdin)
        with attached.signal_pipe(forward, tty, raw) as signals:
            watch = attached.ExitWatch(
                self._session.client, self._id, "removed" if self._flags.on("rm") else "next-exit"
            )
            upgraded = self._attach(keys[0])
            watch.registered()
            self._phases.done("attach and wait")
            with Raw(raw):
                self._start(upgraded, watch)
                if resize is not None:
                    resize()
                detached = self._pump(upgraded, keys[1] if raw is not None else b"", signals, act)
            self._phases.done("run")
            if detached:
                watch.close()
                return 0
            code = watch.code(signals, act)
            self._phases.done("wait and clean up")
            return code

    def _attach(self, keys: str) -> Upgraded | None:
        body = self._body
        stdin, stdout, stderr = body.attach_stdin, body.attach_stdout, body.attach_stderr
        if not (stdin or stdout or stderr):
            return None
        return containers.attach(self._session.client, self._id, stdin, stdout, stderr, keys)

    def _pump(self, upgraded: Upgraded | None, keys: bytes, signals: SignalPipe, act: Callable[[int], None]) -> bool:
        if upgraded is None:
            return False
        stdin = STDIN if self._body.attach_stdin else None
        return Pump(upgraded, stdin, self._body.tty, keys, signals, act).run()

    def _start(self, upgraded: Upgraded | None = None, watch: ExitWatch | None = None) -> None:
        try:
            with waiting.Explained(self._session.client, self._id):
                head = containers.start(self._session.client, self._id, self._flags.text("detach-keys"))
        except ApiError as error:
            if upgraded is not None:
                upgraded.sock.close()
            if watch is not None:
                if self._flags.on("rm"):
                    # The daemon removes what did not start; its name is free again when we return.
                    watch.result()
                watch.close()
            raise refusal(error) from error
        self._phases.done("start")
        timing = head.headers.get("x-corten-timing")
        if timing:
            self._daemon = quickjson.loads(timing)
        elif self._flags.on("timing"):
            self._daemon = self._inspected_timing()

    def _inspected_timing(self) -> dict[str, float]:
        try:
            found: dict[str, float] = containers.inspect(self._session.client, self._id).get("Timing") or {}
        except ApiError:
            # A short-lived container with --rm is gone already.
            return {}
        return found

    def _show_timing(self) -> None:
        from corten.cli.timing import table

        err(table(self._phases.seconds, self._daemon))


def refusal(error: ApiError) -> CommandError:
    """Docker's exit codes for a refused start: the API has no field for them, so the words decide, as they do there."""
    text = str(error).lower()
    code = 125
    if "executable file not found" in text or "no such file or directory" in text:
        code = 127
    elif "permission denied" in text or "is a directory" in text or "exec format error" in text:
        code = 126
    return CommandError(f"Error response from daemon: {error}", code)


COMMAND = Command(
    run,
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a container from an image and run it",
    (*CONTAINER_FLAGS, *RUN_FLAGS),
    least=1,
    interspersed=False,
    failure=125,
)
