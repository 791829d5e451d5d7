"""Where clients connect: unix sockets, TCP with certificates, sockets that a supervisor of services passed."""

from __future__ import annotations

import grp
import os
import socket
import ssl
from pathlib import Path
from typing import NamedTuple

from corten.daemon import hosts
from corten.daemon.config import Config
from corten.daemon.hosts import PassedSockets, TcpHost, UnixHost
from corten.errors import Conflict, Invalid
from corten.kernel import paths

_FIRST_PASSED = 3  # sd_listen_fds(3)


class Listener(NamedTuple):
    """A socket that listens already; `tls` for those on which clients must show a certificate, `path` for those whose
    file this daemon made."""

    address: str
    socket: socket.socket
    tls: ssl.SSLContext | None = None
    path: Path | None = None


def listeners(config: Config, passed: list[Listener]) -> list[Listener]:
    """All of `config.hosts`. Closes what it opened when one fails."""
    opened: list[Listener] = []
    try:
        for host in config.hosts or (_default(config, passed),):
            opened += _listen(host, config, passed)
    except BaseException:
        for listener in opened:
            listener.socket.close()
        raise
    return opened


def remove_files(opened: list[Listener]) -> None:
    """Of unix sockets that this daemon made, before they are closed: afterwards the place may be another daemon's."""
    for listener in opened:
        if listener.path is not None:
            listener.path.unlink(missing_ok=True)


def check(config: Config, passed: list[Listener]) -> None:
    """Raises Invalid for sockets of systemd on which no connection would be accepted."""
    if passed and config.hosts and not any(isinstance(hosts.parse(host), PassedSockets) for host in config.hosts):
        raise Invalid(
            "systemd listens for this daemon, and hosts has no fd://: its clients would wait for ever (add fd:// to "
            "hosts, or: systemctl disable --now cortend.socket)"
        )


def _default(config: Config, passed: list[Listener]) -> str:
    return "fd://" if passed else f"unix://{config.exec_root}/corten.sock"


def _listen(text: str, config: Config, passed: list[Listener]) -> list[Listener]:
    match hosts.parse(text):
        case UnixHost(path):
            return [Listener(text, _unix(path, config.group), path=path)]
        case TcpHost() as host:
            return [_tcp(text, host, config)]
        case PassedSockets():
            return _taken(passed)


def _unix(path: Path, group: str) -> socket.socket:
    """The socket is created inaccessible and given to the group before a client can connect."""
    paths.make_public(path.parent)
    _take_place(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(sock.fileno(), 0o600)  # a socket file takes its mode from here: there is no moment in which it is open
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # by descriptor: a socket's path must not be longer than 107 bytes
        sock.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
    try:
        os.chown(path, 0, grp.getgrnam(group).gr_gid if not group.isdigit() else int(group))
        os.chmod(path, 0o660)
    except (KeyError, PermissionError):
        os.chmod(path, 0o600)  # no such group: root only
    sock.listen(512)
    sock.setblocking(False)
    return sock


def _take_place(path: Path) -> None:
    """Remove the socket of a daemon that has ended. Raises Conflict when a process listens on it."""
    if not path.is_socket():
        if path.exists():
            raise Conflict(f"{path} is not a socket; remove it or listen elsewhere")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise Conflict(f"another daemon listens on {path}; give this one -H of its own")


def _tcp(text: str, host: TcpHost, config: Config) -> Listener:
    """Its clients have root's power on this machine: without client certificates it is refused."""
    if not config.tlsverify:
        raise Invalid(f"{text}: listening on TCP needs --tlsverify with --tlscacert, --tlscert and --tlskey")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tlscert, config.tlskey)
        context.load_verify_locations(config.tlscacert)  # this authority alone, not those of the system
    except OSError as error:
        raise Invalid(f"{text}: cannot read the certificates: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1", "h2"])  # gRPC's clients take h2 alone; who takes both is to ask by REST
    try:
        sock = socket.create_server(
            (host.name, host.port), family=socket.AF_INET6 if ":" in host.name else socket.AF_INET
        )
    except OSError as error:
        raise Conflict(f"cannot listen on {text}: {error.strerror}") from error
    sock.setblocking(False)
    return Listener(text, sock, context)


def _taken(passed: list[Listener]) -> list[Listener]:
    if not passed:
        raise Invalid("fd://: no sockets were passed; start cortend by its systemd socket unit, or use unix://")
    return passed


def passed() -> list[Listener]:
    """Socket activation: LISTEN_FDS descriptors from 3 on, when they are meant for this process (sd_listen_fds(3)).

    Called before another process is started: one that held such a socket would keep clients waiting when the daemon has
    failed and systemd has closed it. The variables are taken away for the same reason.
    """
    count, process = (os.environ.pop(name, "") for name in ("LISTEN_FDS", "LISTEN_PID"))
    os.environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for fd in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        os.set_inheritable(fd, False)
        sock = socket.socket(fileno=fd)
        sock.setblocking(False)
        found.append(Listener(f"fd://{fd}", sock))
    return found
