"""Holders of sandboxes by way of the launcher; see `corten.supervisor.holder`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
from pathlib import Path

from corten.errors import Conflict, Failed, NotFound, Unavailable
from corten.spec.json import Json
from corten.supervisor import sockets, wire
from corten.tasks.answers import HELPER, Answer, answer, readable
from corten.tasks.contract import IdMap, Namespace, Shared, SharedNamespaces
from corten.tasks.launcher import Asked
from corten.tasks.namespaces import descriptors, namespace_of
from corten.tasks.outgoing import PATIENCE

_OPEN = "open the namespaces of a sandbox"


class LauncherHolders:
    """`corten.tasks.contract.Holders`. Each has a directory below `run`, with its socket."""

    def __init__(self, launcher: Asked, run: Path) -> None:
        self._launcher = launcher
        self._run = run
        self.ids = set(os.listdir(run)) if run.is_dir() else set()

    async def start(
        self, id: str, id_map: IdMap | None = None, shared: Shared | None = None, network: Namespace | None = None
    ) -> Namespace:
        directory = self._run / id
        try:
            directory.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise Conflict(f"sandbox {id} is held already") from None
        request: Json = {"do": "hold"}
        if id_map is not None:
            request["id_map"] = {"uids": id_map.uids, "gids": id_map.gids}
        if shared is not None:
            request |= {"kinds": shared.kinds, "hostname": shared.hostname, "shm": shared.shm_size}
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            given = [network.fd, network.route] if network is not None else []
            made = _network(await self._launcher.ask(request, [fd, *given], HELPER))
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        finally:
            os.close(fd)
        self.ids.add(id)
        return made

    async def open(self, id: str) -> Namespace:
        with self._connect(id) as connection:
            return _network(await _ask(connection, "open"))

    async def open_shared(self, id: str) -> SharedNamespaces:
        with self._connect(id) as connection:
            network, others = _opened(await _ask(connection, "open"))
            network.close()
            return SharedNamespaces(_pid(connection), others)

    async def ended(self, id: str) -> None:
        try:
            with self._connect(id) as connection:
                process = os.pidfd_open(_pid(connection))
        except (NotFound, Unavailable, ProcessLookupError):
            return
        try:
            await readable(process)
        finally:
            os.close(process)

    async def end(self, id: str) -> None:
        try:
            with self._connect(id) as connection:
                try:
                    await _ask(connection, "end")
                except NotFound:
                    pass
                except (Failed, Unavailable, OSError):  # it has been killed, or is stopped
                    _kill(connection)
        except NotFound:
            pass
        shutil.rmtree(self._run / id, ignore_errors=True)
        self.ids.discard(id)

    def _connect(self, id: str) -> socket.socket:
        """Raises NotFound when there is no such holder (any more)."""
        try:
            directory = os.open(self._run / id, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"sandbox {id} is not held") from None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:  # by descriptor: a socket's path must not be longer than 107 bytes
            connection.connect(f"/proc/self/fd/{directory}/{sockets.HOLDER}")
        except BlockingIOError:
            connection.close()
            raise Unavailable(f"the holder of sandbox {id} takes no connections") from None
        except OSError:
            connection.close()
            raise NotFound(f"the holder of sandbox {id} has ended") from None
        finally:
            os.close(directory)
        return connection


async def _ask(connection: socket.socket, do: str) -> Answer:
    try:
        wire.send(connection, {"do": do})  # the first bytes on this connection: there is room
        return await answer(connection, wire.Decoder(), PATIENCE)
    except ConnectionError as error:
        raise NotFound("the holder of a sandbox has just ended") from error


def _opened(given: Answer) -> tuple[Namespace, dict[str, int]]:
    """The network namespace, and the others by kind."""
    fds = descriptors(given, _OPEN)
    kinds = given[0].get("kinds") or ()
    first = len(fds) - len(kinds)
    return namespace_of(*fds[:first]), dict(zip(kinds, fds[first:], strict=True))


def _network(given: Answer) -> Namespace:
    network, others = _opened(given)
    for fd in others.values():
        os.close(fd)
    return network


def _pid(connection: socket.socket) -> int:
    """Of the process that listens at the other end (unix(7), SO_PEERCRED)."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)


def _kill(connection: socket.socket) -> None:
    """SIGKILL to the process that listens at the other end."""
    pid = _pid(connection)
    try:
        holder = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:  # the descriptor first: the number may be another's since, the descriptor's process cannot become another
        if Path(f"/proc/{pid}/comm").read_text() == "corten:sandbox\n":
            signal.pidfd_send_signal(holder, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass
    finally:
        os.close(holder)
