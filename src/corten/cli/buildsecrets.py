"""What a build's steps may have of ours: --secret, --ssh, credentials of registries, a tar on standard input. They are
answers to the daemon's questions (`corten.client.conversation`)."""

from __future__ import annotations

import _socket
import os
import select
import stat

from corten.cli import credentials as stored
from corten.cli.errors import CommandError
from corten.cli.output import err
from corten.client import quickjson
from corten.client.conversation import Said
from corten.spec import build_frames as f

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.cli.userconfig import UserConfig
    from corten.client.api import Json

_LARGEST = 500 << 10  # bytes of a secret, as BuildKit has it
_PIECE = 1 << 16
STDIN = 0
_DEFAULT = "default"


class Secret:
    """Of a file or of a variable of ours; read when it is asked for."""

    __slots__ = ("id", "path", "variable")

    def __init__(self, id: str, path: str = "", variable: str = "") -> None:
        self.id = id
        self.path = path
        self.variable = variable

    def read(self) -> bytes | None:
        """None for a variable that is not set. Raises OSError, CommandError."""
        if self.variable:
            value = os.environ.get(self.variable)
            return value.encode("utf-8", "surrogateescape") if value is not None else None
        with open(self.path, "rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise CommandError(f"the secret {self.id} is larger than {_LARGEST} bytes")
        return data


def secrets(texts: Iterable[str]) -> dict[str, Secret]:
    """By id, of `id=ID[,src=PATH|,env=NAME]`. Raises CommandError."""
    found = [_secret(fields(text, "secret")) for text in texts]
    return {secret.id: secret for secret in found}


def _secret(given: dict[str, str]) -> Secret:
    id = given.pop("id", "")
    kind = given.pop("type", "")
    paths = [given.pop(key) for key in ("source", "src") if key in given]
    variable = given.pop("env", "")
    if given:
        raise CommandError(f"invalid secret: unexpected key '{next(iter(given))}'")
    if kind not in ("", "file", "env"):
        raise CommandError(f'invalid secret: unsupported secret type "{kind}"')
    if not id:
        raise CommandError("invalid secret: id is missing")
    path = paths[-1] if paths else ""
    if kind == "env" and not variable:
        path, variable = "", path or id
    if not path and not variable:
        path, variable = ("", id) if id in os.environ else (id, "")
    if path and not os.path.exists(path):
        raise CommandError(f"the secret {id}: {path}: no such file or directory")
    return Secret(id, path, variable)


def fields(text: str, what: str) -> dict[str, str]:
    """KEY=VALUE pairs of one line of CSV. Raises CommandError."""
    if '"' in text:
        import csv

        parts = next(iter(csv.reader([text])), [])
    else:
        parts = text.split(",")
    found = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            raise CommandError(f"invalid {what}: '{part}' must be a key=value pair")
        found[key.strip().lower()] = value
    return found


def agents(texts: Iterable[str]) -> dict[str, str]:
    """Sockets by id, of `default` or `ID[=SOCKET]`. Raises CommandError."""
    found = {}
    for text in texts:
        id, _, path = text.partition("=")
        path = path or os.environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise CommandError("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
        try:
            is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
        except OSError as error:
            raise CommandError(f"--ssh {text}: {path}: {(error.strerror or '').lower()}") from None
        if not is_socket:
            raise CommandError(
                f"--ssh {text}: {path} is no socket; add keys to an agent by ssh-add, and name its socket"
            )
        found[id or _DEFAULT] = path
    return found


def credentials(config: UserConfig, host: str) -> Said:
    """What the user is logged in with at a registry."""
    try:
        login = stored.find(config, stored.server_of(host))
    except CommandError as error:
        err(f"WARNING: {error}; going on without credentials of {host}")
        return Said(None)
    if not login.user and not login.token:
        return Said(None)
    answer: Json = {"user": "" if login.token else login.user, "secret": login.token or login.password}
    return Said(quickjson.dumps(answer).encode())


class AgentConnection:
    """A connection to the agent at `path`, as an answer."""

    def __init__(self, path: str) -> None:
        self._sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
        try:
            self._sock.connect(path)
        except BaseException:
            self._sock.close()
            raise
        self.fd = self._sock.fileno()

    def next(self) -> tuple[int, bytes] | None:
        if self.fd < 0:
            return None
        try:
            data = self._sock.recv(_PIECE, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        if not data:
            self.fd = -1
            return f.END, b""
        return f.DATA, data

    def take(self, kind: int, data: bytes) -> None:
        if kind == f.DATA:
            self._sock.sendall(data)

    def end(self) -> tuple[int, bytes] | None:
        return None

    def close(self) -> None:
        self.fd = -1
        self._sock.close()


class Piped:
    """Our standard input, of which `head` was read, as an answer."""

    def __init__(self, head: bytes) -> None:
        self.fd = -1
        self._head = head
        self._ended = False

    def next(self) -> tuple[int, bytes] | None:
        if self._head:
            data, self._head = self._head[: f.PIECE], self._head[f.PIECE :]
            return f.DATA, data
        if self._ended:
            return None
        self.fd = STDIN
        if not readable(STDIN):
            return None
        data = os.read(STDIN, f.PIECE)
        if not data:
            self._ended, self.fd = True, -1
        return (f.DATA, data) if data else (f.END, b"")

    def take(self, kind: int, data: bytes) -> None:
        return

    def end(self) -> tuple[int, bytes] | None:
        return None

    def close(self) -> None:
        self.fd = -1


def readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
