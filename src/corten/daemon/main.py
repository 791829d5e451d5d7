"""The daemon's life: configuration, lock, launcher, engine, sockets; then signals until SIGTERM or SIGINT.

The order matters. The launcher is started before this process has a thread or a database, because it is forked from
here. The engine takes over what an earlier daemon left before a client can connect. On shutdown, client connections are
closed first, then the engine; containers go on running and are found again by the next daemon.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from corten.aio import memory
from corten.aio.logs import to_stderr
from corten.api.tls import TlsFront
from corten.daemon import assemble, config, directories, facts, registries, reload, sockets
from corten.daemon.config import Config
from corten.daemon.lock import lock
from corten.errors import CortenError
from corten.http.accepting import Accepting
from corten.kernel.process import raise_file_limit, undumpable
from corten.tasks.launcher import Launcher

if TYPE_CHECKING:
    from corten.daemon.kubernetes import Kubernetes

log = logging.getLogger("cortend")


def entry() -> None:
    """The command `cortend`."""
    status = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)  # sys.exit would wait for threads that count or remove trees, however large those are


def main(arguments: Sequence[str]) -> int:
    """Run the daemon until SIGTERM or SIGINT. Exit status: 0, or 1 with one line on standard error."""
    undumpable()
    try:
        settings, only_check = config.load(arguments)
        registries.settings(settings)
        if only_check:
            for warning in settings.warnings:
                print(warning, file=sys.stderr)
            print("configuration OK")
            return 0
        facts.check_machine()
        settings = replace(settings, data_root=facts.data_root(settings))
        _log_to_stderr(settings)
        return _run(settings, arguments)
    except CortenError as error:
        print(f"cortend: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cortend: {error}", file=sys.stderr)
        return 1


def _run(settings: Config, arguments: Sequence[str]) -> int:
    os.umask(directories.UMASK)  # before there is a thread: they share it
    directories.make(settings)
    passed = sockets.passed()  # before another process is started
    sockets.check(settings, passed)
    locks = [lock(settings.data_root), lock(settings.exec_root)]
    raise_file_limit()
    for warning in settings.warnings:
        log.warning("%s", warning.removeprefix("WARNING: "))
    launcher = Launcher(settings.exec_root / "launcher.log")
    launcher.start()
    memory.bound()
    try:
        if settings.pidfile:
            settings.pidfile.write_text(f"{os.getpid()}\n")
            settings.pidfile.chmod(0o644)  # it is there to be read
        asyncio.run(_serve(settings, launcher, arguments, passed))
    finally:
        launcher.close()
        if settings.pidfile:
            settings.pidfile.unlink(missing_ok=True)
        for fd in locks:
            os.close(fd)
    return 0


async def _serve(
    settings: Config, launcher: Launcher, arguments: Sequence[str], passed: list[sockets.Listener]
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    listening = sockets.listeners(settings, passed)
    face = _kubernetes(settings, launcher, listening)
    daemon = await assemble.assemble(settings, launcher)
    loop.add_signal_handler(signal.SIGHUP, reload.reload, daemon, arguments)
    servers = []
    for listener in listening:
        front = TlsFront(daemon.api, listener.tls) if listener.tls else daemon.api
        servers.append(Accepting([listener.socket], front))
        log.info("API listens on %s", listener.address)
    if face is not None:
        face.open()
    notify_ready()
    gc.collect()
    gc.freeze()  # what the start has made stays: later collections need not look at it
    memory.trim()
    log.info("daemon is ready, process %d", os.getpid())
    await ended.wait()
    log.info("daemon ends; containers go on")
    if face is not None:
        await face.close()
    sockets.remove_files(listening)
    for server in servers:
        server.close()
    await daemon.close(daemon.config.shutdown_timeout)


def _kubernetes(settings: Config, launcher: Launcher, listening: list[sockets.Listener]) -> Kubernetes | None:
    if not settings.cri.get("start"):
        return None
    from corten.daemon import kubernetes  # a daemon without pods does not carry it

    return kubernetes.configured(settings, launcher, listening)


def notify_ready() -> None:
    """Notify systemd, when it waits for that (sd_notify(3))."""
    import socket

    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("cannot notify %s: %s", address, error)


def _log_to_stderr(settings: Config) -> None:
    to_stderr(reload.level(settings), "%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
