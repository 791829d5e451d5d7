"""One run of a plugin of the Container Network Interface: a program of this host's, as a child of a helper.

The network namespace comes as a descriptor, and the plugin gets a path of this process's: it may use it as long as it
runs. What it writes is bounded, and so is its time. https://www.cni.dev/docs/spec/
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from typing import Any

from corten.error_codec import encode
from corten.errors import CortenError, Failed
from corten.kernel import memfd
from corten.kernel import process as p
from corten.supervisor import wire
from corten.units.durations import in_go

Json = dict[str, Any]
_MOST = 1 << 20  # bytes of an answer


def run(request: Json, fds: list[int]) -> None:
    """Answer with {"status": exit code, "output": text}. Does not return."""
    reply = socket.socket(fileno=fds[0])
    try:
        wire.send(reply, {"ok": _run(request, fds[1] if len(fds) > 1 else -1)})
    except (CortenError, OSError) as error:
        wire.send(reply, {"error": encode(error)})
    os._exit(0)


def _run(request: Json, namespace: int) -> Json:
    name = os.path.basename(request["plugin"])
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", **request["environment"]}
    environment["CNI_NETNS"] = f"/proc/{os.getpid()}/fd/{namespace}" if namespace >= 0 else ""
    config = memfd.holding("config", [request["config"].encode()])  # a plugin that reads none of it holds nothing up
    try:
        plugin = subprocess.Popen(
            [request["plugin"]],
            stdin=config,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
            preexec_fn=lambda: p.prctl(p.PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise Failed(f"cannot execute the CNI plugin {request['plugin']}: {reason}") from error
    finally:
        os.close(config)
    assert plugin.stdout is not None
    try:
        with plugin.stdout:
            output = _output(plugin, plugin.stdout.fileno(), time.monotonic() + request["seconds"])
    except TimeoutError:
        _kill(plugin)
        raise Failed(f"the CNI plugin {name} was killed: it did not end within {in_go(request['seconds'])}") from None
    except OverflowError:
        _kill(plugin)
        raise Failed(f"the CNI plugin {name} was killed: it answers with more than {_MOST} bytes") from None
    return {"status": plugin.returncode, "output": output.decode(errors="replace")}


def _output(plugin: subprocess.Popen[bytes], pipe: int, deadline: float) -> bytes:
    """What it has written to the pipe until its end; others that have the pipe then are not waited for. OverflowError
    for more than an answer has, as soon as it is there, TimeoutError."""
    found = b""
    os.set_blocking(pipe, False)
    ended = os.pidfd_open(plugin.pid)
    try:
        waiting = select.poll()
        waiting.register(pipe, select.POLLIN)
        waiting.register(ended, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = waiting.poll(left * 1000)
            while piece := _piece(pipe):
                found += piece
                if len(found) > _MOST:
                    raise OverflowError
            if piece is not None and any(fd == pipe for fd, _ in ready):  # its end
                waiting.unregister(pipe)
            if any(fd == ended for fd, _ in ready):
                plugin.wait()
                return found
        raise TimeoutError
    finally:
        os.close(ended)


def _piece(pipe: int) -> bytes | None:
    """b"" at the end, None when there is nothing now."""
    try:
        return os.read(pipe, 1 << 16)
    except BlockingIOError:
        return None


def _kill(plugin: subprocess.Popen[bytes]) -> None:
    os.killpg(plugin.pid, signal.SIGKILL)
    plugin.wait()
