"""The specification's hooks (runtime-spec, config.md, "POSIX-platform Hooks"): programs that get the state on stdin.

prestart and createRuntime run once the namespaces exist; poststart after the program was started, poststop after the
container was deleted. One that fails is an error, but for poststop (runtime-spec, runtime.md, "Lifecycle").
createContainer and startContainer would run inside and are refused: by the time there is something inside to run them
in, this runtime has left the host's tree for good.
"""

from __future__ import annotations

import json
import os
import signal
import time

from corten.errors import Failed, Unsupported
from corten.spec.json import Json
from corten.units.durations import in_go


def check(spec: Json) -> None:
    for kind in ("createContainer", "startContainer"):
        if (spec.get("hooks") or {}).get(kind):
            raise Unsupported(f"hooks of kind {kind} are not supported")


def run(spec: Json, kind: str, state: Json) -> None:
    """Run the hooks of this kind in order. Failed when one fails."""
    for hook in (spec.get("hooks") or {}).get(kind) or ():
        _run(hook, kind, json.dumps(state).encode())


def run_all(spec: Json, kind: str, state: Json) -> list[str]:
    """Run every hook of this kind in order; what is to be said of those that failed."""
    warnings = []
    for hook in (spec.get("hooks") or {}).get(kind) or ():
        try:
            _run(hook, kind, json.dumps(state).encode())
        except Failed as error:
            warnings.append(str(error))
    return warnings


def _run(hook: Json, kind: str, state: bytes) -> None:
    path = hook["path"]
    reader, writer = os.pipe2(os.O_CLOEXEC)
    environment = dict(entry.partition("=")[::2] for entry in hook.get("env") or ())
    try:
        pid = os.posix_spawn(
            path, hook.get("args") or [path], environment, file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)]
        )
    except OSError as error:
        os.close(writer)
        raise Failed(f"{kind} hook {path}: {error.strerror}") from error
    finally:
        os.close(reader)
    try:
        os.write(writer, state)
    except BrokenPipeError:
        pass  # a hook need not read
    finally:
        os.close(writer)
    status = _wait(pid, hook.get("timeout"))
    if status is None:
        raise Failed(f"{kind} hook {path} did not end within {in_go(hook['timeout'])}")
    if status:
        raise Failed(f"{kind} hook {path} exited with {status}")


def _wait(pid: int, seconds: int | None) -> int | None:
    """Its exit code; None when it was killed for being too slow."""
    deadline = time.monotonic() + seconds if seconds else None
    pidfd = os.pidfd_open(pid)
    try:
        import select

        ready, _, _ = select.select([pidfd], [], [], None if deadline is None else seconds)
        if not ready:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) if ready else None
    finally:
        os.close(pidfd)
