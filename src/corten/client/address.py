"""Where the daemon listens: `unix:///path`, `tcp://host:port` or `ssh://user@host`, and how to connect there."""

from __future__ import annotations

import _socket
import os

from corten.client.errors import Unreachable
from corten.errors import Invalid

DEFAULT = "unix:///run/corten/corten.sock"
DEFAULT_TCP_PORT, DEFAULT_TLS_PORT = 2375, 2376

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.tls import Files


class Address:
    """A parsed host. `path` is set for unix, `host` and `port` for tcp; `base` is a path prefix of a tcp URL.

    For ssh `program` is the command whose standard input and output lead there. `tls` is set where TLS is spoken.
    """

    __slots__ = ("base", "host", "path", "port", "program", "tls", "url")

    def __init__(
        self, url: str, path: str = "", host: str = "", port: int = 0, base: str = "", program: tuple[str, ...] = ()
    ) -> None:
        self.url = url
        self.path = path
        self.host = host
        self.port = port
        self.base = base
        self.program = program
        self.tls: Files | None = None


def parse(url: str, default_port: int = DEFAULT_TCP_PORT) -> Address:
    """Docker's host syntax: unix://PATH, tcp://HOST[:PORT][/BASE], http://..., HOST:PORT, or
    ssh://[USER@]HOST[:PORT][/SOCKET]. Raises Invalid otherwise."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "tcp", url
    if scheme == "unix":
        return Address(url, path=rest or DEFAULT.removeprefix("unix://"))
    if scheme == "ssh":
        from corten.client import ssh

        return Address(url, program=ssh.program(rest, url))
    if scheme not in ("tcp", "http"):
        raise Invalid(f"unable to parse docker host `{url}`: only unix://, tcp:// and ssh:// are spoken here")
    authority, _, base = rest.partition("/")
    host, port = _host_and_port(authority, url, default_port)
    return Address(url, host=host, port=port, base="/" + base.rstrip("/") if base.rstrip("/") else "")


def _host_and_port(authority: str, url: str, default_port: int) -> tuple[str, int]:
    host, separator, port = authority.rpartition(":")
    if not separator or authority.endswith("]"):
        host, port = authority, ""
    if port and not port.isdigit():
        raise Invalid(f"unable to parse docker host `{url}`: {port!r} is not a port")
    return host.strip("[]") or "127.0.0.1", int(port) if port else default_port


def chosen(flag: str, environ: dict[str, str] | os._Environ[str]) -> str:
    """The host to talk to: -H, else CORTEN_HOST, else DOCKER_HOST, else the default socket."""
    return flag or environ.get("CORTEN_HOST", "") or environ.get("DOCKER_HOST", "") or DEFAULT


def connect(address: Address) -> _socket.socket:
    """A connected blocking stream socket, close-on-exec. Raises Unreachable, with a remedy, when it fails."""
    if address.program:
        from corten.client import ssh

        return ssh.connect(address.program)
    try:
        return _connect_unix(address) if address.path else _connect_tcp(address)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Unreachable(
            f"cannot connect to the Corten daemon at {address.url}; is it running? start it with: corten daemon",
            absent=True,
        ) from error
    except PermissionError as error:
        raise Unreachable(_permission_advice(address), absent=False) from error
    except OSError as error:
        raise Unreachable(f"cannot connect to the Corten daemon at {address.url}: {error}", absent=False) from error


def _connect_unix(address: Address) -> _socket.socket:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    return _connected(sock, address.path)


def _connect_tcp(address: Address) -> _socket.socket:
    failure: OSError = OSError(f"no address for {address.host}")
    for family, kind, protocol, _, where in _socket.getaddrinfo(address.host, address.port, 0, _socket.SOCK_STREAM):
        try:
            sock = _connected(_socket.socket(family, kind, protocol), where)
        except OSError as error:
            failure = error
            continue
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        return _through_tls(sock, address) if address.tls is not None else sock
    raise failure


def _through_tls(sock: _socket.socket, address: Address) -> _socket.socket:
    import socket

    from corten.client import tls

    assert address.tls is not None
    return tls.connect(socket.socket(fileno=sock.detach()), address.host, address.url, address.tls)


def _connected(sock: _socket.socket, where: object) -> _socket.socket:
    """Connect `sock`, or close it and let the error through."""
    try:
        sock.connect(where)  # type: ignore[arg-type]
    except BaseException:
        sock.close()
        raise
    return sock


def _permission_advice(address: Address) -> str:
    """Names the group that may use the socket, as far as that can be seen from outside."""
    start = f"permission denied on the Corten daemon's socket at {address.url}"
    try:
        import grp

        group = grp.getgrgid(os.stat(address.path).st_gid).gr_name
    except (OSError, KeyError):
        return f"{start}: run this as root, or as a member of the daemon's group (cortend --group)"
    if group == "root":
        return f"{start}: run this as root"
    return f"{start}: run this as root, or join the group {group!r} (usermod -aG {group} USER, then log in again)"
