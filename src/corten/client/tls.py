"""TLS to a daemon, as a plain socket: two threads carry what goes through it, one for each direction.

Everything else in this client can poll, half-close and hand on its sockets as if there were no TLS. The end of the
client's sending side becomes TLS's close_notify, behind which the daemon's output still comes.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading

from corten.client.errors import Unreachable
from corten.errors import Invalid

_PIECE = 1 << 16


class Files:
    """PEM files, empty where there is none; without `verify` the server's certificate is not checked."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, verify: bool, ca: str, cert: str, key: str) -> None:
        self.verify = verify
        self.ca = ca
        self.cert = cert
        self.key = key

    def context(self) -> ssl.SSLContext:
        """The client's TLS context. Raises Invalid for a file that cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            if self.verify and self.ca:
                context.load_verify_locations(self.ca)
            elif self.verify:
                context.load_default_certs()
            if self.cert or self.key:
                context.load_cert_chain(self.cert or self.key, self.key or None)
        except (OSError, ssl.SSLError) as error:
            used = ", ".join(path for path in (self.verify and self.ca, self.cert, self.key) if path)
            raise Invalid(f"TLS: {used} cannot be used: {error.strerror or error}") from None
        return context


def files(verify: bool, given: dict[str, str], directory: str) -> Files:
    """`given` are --tlscacert, --tlscert and --tlskey; what is not given is looked for in `directory`."""
    found = {name: given[name] or os.path.join(directory, f"{name}.pem") for name in ("ca", "cert", "key")}
    chosen = {name: path for name, path in found.items() if given[name] or os.path.exists(path)}
    return Files(verify, *(chosen.get(name, "") for name in ("ca", "cert", "key")))


def connect(outer: socket.socket, host: str, url: str, files: Files) -> socket.socket:
    """A socket that leads through TLS over `outer`, which is ours now.

    Raises Unreachable when the handshake fails, Invalid for a file that cannot be used.
    """
    ours, theirs = socket.socketpair()
    try:
        tunnel = _Tunnel(outer, theirs, files.context(), host)
        tunnel.shake_hands()
    except ssl.SSLError as error:
        for sock in (outer, ours, theirs):
            sock.close()
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        raise Unreachable(f"cannot connect to the Corten daemon at {url}: TLS: {reason}", absent=False) from error
    except BaseException:
        for sock in (outer, ours, theirs):
            sock.close()
        raise
    tunnel.start()
    return ours


class _Tunnel:
    """`outer` is the daemon's side, `inner` ours. The session is one thread's at a time; so is the way out."""

    def __init__(self, outer: socket.socket, inner: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._outer, self._inner = outer, inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._session, self._way_out = threading.Lock(), threading.Lock()

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send()
                data = self._outer.recv(_PIECE)
                if not data:
                    raise ssl.SSLError(0, "it hung up; does it speak TLS?") from None
                self._incoming.write(data)
            except ssl.SSLError:
                self._send()  # the alert that says why
                raise
            else:
                self._send()
                return

    def start(self) -> None:
        for work in (self._up, self._down):
            threading.Thread(target=work, daemon=True).start()

    def _up(self) -> None:
        try:
            while data := self._inner.recv(_PIECE):
                with self._session:
                    self._tls.write(data)
                self._send()
            with self._session:
                try:
                    self._tls.unwrap()
                except ssl.SSLError:  # the other side has not said the same yet
                    pass
            self._send()
        except OSError:  # the daemon is gone: the other thread reports it
            return

    def _down(self) -> None:
        try:
            while data := self._outer.recv(_PIECE):
                plain, more = self._decrypt(data)
                self._send()
                self._inner.sendall(plain)
                if not more:
                    break
        except ssl.SSLError as error:
            os.write(2, f"TLS: the daemon refused: {error.reason or error}\n".encode())
        except OSError:  # either side is gone; the other's connection ends now
            pass
        for sock in (self._inner, self._outer):
            try:
                sock.shutdown(socket.SHUT_RDWR)  # which ends the other thread as well
            except OSError:  # it was closed from the other side
                continue

    def _decrypt(self, data: bytes) -> tuple[bytes, bool]:
        """What can be read now, and whether more may come."""
        parts = []
        with self._session:
            self._incoming.write(data)
            try:
                while part := self._tls.read(_PIECE):
                    parts.append(part)
            except ssl.SSLWantReadError:
                return b"".join(parts), True
            except ssl.SSLZeroReturnError:
                pass
        return b"".join(parts), False

    def _send(self) -> None:
        if not self._outgoing.pending:
            return
        with self._way_out:
            with self._session:
                data = self._outgoing.read()
            self._outer.sendall(data)
