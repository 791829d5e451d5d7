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

from corten.api.tls import TlsFront
from corten.daemon import assemble, config, directories, facts, registries, reload, sockets
from corten.daemon.config import Config
from corten.daemon.lock import lock
from corten.errors import CortenError
from corten.http.accepting import Accepting
from corten.tasks.launcher import Launcher

log = logging.getLogger("cortend")

_MALLOC = ((-3, 1 << 20), (-1, 4 << 20), (-8, 2))  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD in bytes; M_ARENA_MAX


def entry() -> None:
    """The command `cortend`."""
    status = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)  # sys.exit would wait for threads that count or remove trees, however large those are


def main(arguments: Sequence[str]) -> int:
    """Run the daemon until SIGTERM or SIGINT. Exit status: 0, or 1 with one line on standard error."""
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
    give_memory_back()
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
    daemon = await assemble.assemble(settings, launcher)
    loop.add_signal_handler(signal.SIGHUP, reload.reload, daemon, arguments)
    servers = []
    for listener in listening:
        front = TlsFront(daemon.api, listener.tls) if listener.tls else daemon.api
        servers.append(Accepting([listener.socket], front))
        log.info("API listens on %s", listener.address)
    notify_ready()
    gc.collect()
    gc.freeze()  # what the start has made stays: later collections need not look at it
    log.info("daemon is ready, process %d", os.getpid())
    await ended.wait()
    log.info("daemon ends; containers go on")
    for server in servers:
        server.close()
    await daemon.close(daemon.config.shutdown_timeout)


def raise_file_limit() -> None:
    """A connection and a supervisor's socket for each of thousands of containers: as many files as may be."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def give_memory_back() -> None:
    """What is freed goes back to the kernel, but for a few megabytes (mallopt(3)), in as few heaps as two cores need.

    By default glibc learns from the first megabyte that is freed to keep such ones, in a heap for each thread: a push
    and a pull of a gigabyte left 79 MB resident instead of 54. Giving back every piece of a stream, on the other hand,
    means to have a page fault for each of its pages: a third of the time of a pull.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return  # another C library
    for parameter, value in _MALLOC:
        if not mallopt(parameter, value):
            log.warning("memory that is freed may stay with the daemon: mallopt(%d) is refused", parameter)


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
    logging.basicConfig(
        level=reload.level(settings), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
