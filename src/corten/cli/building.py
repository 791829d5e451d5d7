"""What `build` sends: the context, where its Dockerfile is, the query, credentials."""

from __future__ import annotations

import base64
import os

from corten.cli import credentials as stored
from corten.cli.errors import CommandError, UsageError
from corten.cli.output import err
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from corten.cli.flags import Flags
    from corten.cli.session import Session
    from corten.cli.userconfig import UserConfig
    from corten.spec.dockerfile.ignore import Patterns

_KINDS = ("sbom", "provenance")  # of attestations
_SWITCHES = {"true": "", "1": "", "false": "disabled=true", "0": "disabled=true"}
_NAME, _IGNORE = "Dockerfile", ".dockerignore"
_BLOCK = 1 << 18
_HEAD = 512  # bytes that say whether a stream is an archive
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")


class Source:
    """The body of the request, and the Dockerfile's name in it."""

    __slots__ = ("body", "dockerfile", "remote")

    def __init__(self, body: Iterable[bytes | bytearray], dockerfile: str, remote: str = "") -> None:
        self.body = body
        self.dockerfile = dockerfile
        self.remote = remote


def source(where: str, file: str) -> Source:
    """Of PATH, URL or -, and of --file. Raises CommandError for what is not there."""
    if where == "-":
        if file == "-":
            raise CommandError("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(file)
    if where.startswith(("http://", "https://", "git://", "ssh://", "git@", "github.com/")) and not os.path.isdir(
        where
    ):
        return Source((), file, where)
    if not os.path.isdir(where):
        reason = "is no directory" if os.path.exists(where) else "not found"
        raise CommandError(f'unable to prepare context: path "{where}" {reason}')
    return _from_directory(where, file)


def _from_stdin(file: str) -> Source:
    """A tar, compressed or not; or else the Dockerfile itself, without a context."""
    from corten.cli import context

    head = b""
    while len(head) < _HEAD and (piece := os.read(0, _BLOCK)):
        head += piece
    if head.startswith(_MAGIC) or head[257:262] == b"ustar":
        return Source(_rest(head), file)
    if file:
        raise CommandError("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    return Source(context.pack("", None, {_NAME: b"".join(_rest(head))}), _NAME)


def _rest(head: bytes) -> Iterator[bytes]:
    yield head
    while piece := os.read(0, _BLOCK):
        yield piece


def _from_directory(directory: str, file: str) -> Source:
    from corten.cli import context
    from corten.spec.dockerfile import ignore

    path = "" if file == "-" else file or os.path.join(directory, _NAME)
    name = "" if file == "-" else _inside(directory, path)
    if not file and not os.path.lexists(path) and os.path.lexists(path.lower()):
        name = _NAME.lower()
    if name and not os.path.isfile(os.path.join(directory, name)):
        raise CommandError(f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: {path}: "
                           "no such file or directory")  # fmt: skip
    beside = _read(f"{path}.dockerignore") if path else None
    text = beside if beside is not None else _read(os.path.join(directory, _IGNORE))
    lines = list(ignore.lines(text)) if text is not None else []
    files: dict[str, bytes] = {}
    if not name:  # it is elsewhere: sent under a name that no step sees
        name = f".dockerfile.{os.urandom(10).hex()}"
        files[name] = _stdin() if file == "-" else _must_read(path)
        lines += [_IGNORE, name]
    if text is not None or files:
        files[_IGNORE] = "".join(f"{line}\n" for line in lines).encode()
    return Source(context.pack(directory, _patterns([*lines, f"!{name}"]) if lines else None, files), name)


def _patterns(lines: list[str]) -> Patterns:
    from corten.spec.dockerfile.ignore import Patterns

    return Patterns(lines)


def _inside(directory: str, path: str) -> str:
    """The Dockerfile's path in the context; "" when it lies outside."""
    root, real = os.path.realpath(directory), os.path.abspath(path)
    parent = os.path.join(os.path.realpath(os.path.dirname(real)), os.path.basename(real))
    relative = os.path.relpath(parent, root)
    return "" if relative.startswith("..") else relative


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _must_read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CommandError(f"unable to prepare context: {path}: {(error.strerror or '').lower()}") from None


def _stdin() -> bytes:
    return b"".join(_rest(b""))


def query(session: Session, flags: Flags) -> list[tuple[str, str]]:
    """What the flags ask for."""
    arguments = _arguments(session, flags.many("build-arg"))
    pairs = [("t", name) for name in flags.many("tag")]
    pairs += [("extrahosts", entry) for entry in flags.many("add-host")]
    pairs += [("buildargs", quickjson.dumps(arguments))] if arguments else []
    labels = flags.pairs("label")
    pairs += [("labels", quickjson.dumps(labels))] if labels else []
    attested = _attested(flags)
    pairs += [("attest", quickjson.dumps(attested))] if attested else []
    stages = flags.many("no-cache-filter")
    pairs += [("nocachefilter", quickjson.dumps(stages))] if stages else []
    platforms = flags.many("platform")
    pairs += [("platform", ",".join(platforms))] if platforms else []
    for name, key in (("target", "target"), ("network", "networkmode")):
        pairs += [(key, flags.text(name))] if flags.text(name) else []
    for name, key in (("memory", "memory"), ("shm-size", "shmsize")):
        pairs += [(key, str(flags.number(name)))] if flags.number(name) else []
    for name, key in (("no-cache", "nocache"), ("pull", "pull")):
        pairs += [(key, "1")] if flags.on(name) else []
    return pairs


def _attested(flags: Flags) -> dict[str, str]:
    """By kind, what --attest, --sbom and --provenance ask for. Raises UsageError."""
    given = [*flags.many("attest"), *(f"type={kind},{flags.text(kind)}" for kind in _KINDS if flags.text(kind))]
    found = {}
    for text in given:
        fields = [_SWITCHES.get(field.lower(), field) for field in text.split(",")]
        kind = next((field.removeprefix("type=") for field in fields if field.startswith("type=")), "")
        if kind not in _KINDS:
            raise UsageError(f"invalid attestation {text}: want type=sbom or type=provenance")
        found[kind] = ",".join(field for field in fields if field and not field.startswith("type="))
    return found


def _arguments(session: Session, given: list[str]) -> dict[str, str]:
    """--build-arg, and the proxies of config.json; a name without a value is our own variable, if there is one."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    if session.config.proxies:
        from corten.cli.options import proxies

        for text in proxies.missing(session.config.proxies, session.host, list(found)):
            name, _, value = text.partition("=")
            found[name] = value
    return found


def credentials(config: UserConfig) -> str:
    """X-Registry-Config of every registry that the user is logged in to; "" for none."""
    found: dict[str, Any] = {}
    for server in sorted({*config.auths, *config.cred_helpers}):
        try:
            login = stored.find(config, server)
        except CommandError as error:
            err(f"WARNING: {error}; going on without credentials of {server}")
            continue
        if login.user or login.token:
            entry = {"identitytoken": login.token} if login.token else {"username": login.user}
            found[server] = {**entry, **({} if login.token else {"password": login.password})}
    return base64.urlsafe_b64encode(quickjson.dumps(found).encode()).decode() if found else ""
