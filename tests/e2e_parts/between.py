"""Between a client and its daemon: what is asked is passed on, until a request that is waited for."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


class Between:
    """A socket at `path`. With the first request that has `pattern` in it, `act` is called, before that is passed on;
    `vanish` is what `act` calls to be gone, as a daemon that was killed is."""

    def __init__(self, path: Path, daemon: Path, pattern: bytes, act: Callable[[Between], None]) -> None:
        self.address = f"unix://{path}"
        self.met = threading.Event()
        self._path, self._daemon, self._pattern, self._act = path, daemon, pattern, act
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def vanish(self) -> None:
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            sockets, self._sockets = self._sockets, []
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with self._listener, suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        """Both ways, until either side ends."""
        with client, socket.socket(socket.AF_UNIX) as daemon, suppress(OSError):
            daemon.connect(str(self._daemon))
            with self._lock:
                self._sockets.append(client)
            while True:
                for source in select.select([client, daemon], [], [])[0]:
                    if not (data := source.recv(1 << 16)):
                        return
                    if source is client and self._pattern in data and not self.met.is_set():
                        self.met.set()
                        self._act(self)
                    (daemon if source is client else client).sendall(data)
