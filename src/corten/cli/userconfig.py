"""The user's config.json, Docker's format: $CORTEN_CONFIG, $DOCKER_CONFIG, or ~/.docker is its directory."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.client import quickjson
from corten.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Never

    Json = dict[str, Any]

HUB = "https://index.docker.io/v1/"
FORMATS = ("psFormat", "imagesFormat", "networksFormat", "volumesFormat", "statsFormat", "secretFormat")
_JSON_TYPES = {str: "a string", bool: "a boolean", list: "an array", dict: "an object"}


class UserConfig:
    """What the file sets; a field that it lacks, or has as null, is empty. Docker's other fields are not read.

    `formats` has templates of listings by their field's name, `proxies` Docker's names and URLs by the daemon's URL,
    `auths` and `cred_helpers` are by server. Raises Invalid, which names `where`, for a value of another type.
    """

    __slots__ = (
        "auths", "cred_helpers", "creds_store", "current_context", "detach_keys",
        "formats", "http_headers", "proxies", "prune_filters",
    )  # fmt: skip

    def __init__(self, document: Json | None = None, where: str = "config.json") -> None:
        fields = _Fields(document or {}, where)
        self.auths = {server: StoredLogin(entry) for server, entry in fields.objects("auths")}
        self.cred_helpers = fields.strings("credHelpers")
        self.creds_store = fields.string("credsStore")
        self.current_context = fields.string("currentContext")
        self.detach_keys = fields.string("detachKeys")
        self.formats = {key: fields.string(key) for key in FORMATS}
        self.http_headers = fields.headers("HttpHeaders")
        self.proxies = {daemon: entry.all_strings() for daemon, entry in fields.objects("proxies")}
        self.prune_filters = fields.filters("pruneFilters")


class StoredLogin:
    """A server's entry of `auths`; `auth` is base64 of user:password and goes before the two."""

    __slots__ = ("auth", "identity_token", "password", "username")

    def __init__(self, fields: _Fields) -> None:
        self.auth = fields.string("auth")
        self.username = fields.string("username")
        self.password = fields.string("password")
        self.identity_token = fields.string("identitytoken")


class _Fields:
    """An object of the file, read by type; `where` is its place in words."""

    __slots__ = ("_object", "_where")

    def __init__(self, document: Json, where: str) -> None:
        self._object = document
        self._where = where

    def _wrong(self, key: str, wanted: str) -> Never:
        value = self._object[key]
        raise Invalid(f"{self._where}: {key} must be {wanted}, not {_JSON_TYPES.get(type(value), 'a number')}")

    def string(self, key: str) -> str:
        value = self._object.get(key)
        if value is None:
            return ""
        return value if isinstance(value, str) else self._wrong(key, "a string")

    def object(self, key: str) -> Json:
        value = self._object.get(key)
        if value is None:
            return {}
        return value if isinstance(value, dict) else self._wrong(key, "an object")

    def objects(self, key: str) -> list[tuple[str, _Fields]]:
        found = _Fields(self.object(key), f"{self._where}: {key}")
        return [(name, _Fields(found.object(name), f"{found._where}: {name}")) for name in found._object]

    def strings(self, key: str) -> dict[str, str]:
        return _Fields(self.object(key), f"{self._where}: {key}").all_strings()

    def all_strings(self) -> dict[str, str]:
        return {name: self.string(name) for name in self._object}

    def headers(self, key: str) -> dict[str, str]:
        """What every request carries. A User-Agent has no effect: docker's client, which once wrote one there, sends
        its own as well."""
        found = self.strings(key)
        for name, value in found.items():
            if not _can_be_sent(name, value):
                raise Invalid(f"{self._where}: {key}: {name!r} cannot be sent")
        return {name: value for name, value in found.items() if name.lower() != "user-agent"}

    def filters(self, key: str) -> list[str]:
        value = self._object.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) and "=" in one for one in value):
            raise Invalid(f"{self._where}: {key} must be an array of name=value")
        return value


def path(environ: dict[str, str] | os._Environ[str]) -> str:
    directory = environ.get("CORTEN_CONFIG") or environ.get("DOCKER_CONFIG")
    return os.path.join(directory or os.path.join(environ.get("HOME", "/root"), ".docker"), "config.json")


def load(environ: dict[str, str] | os._Environ[str]) -> UserConfig:
    """The configuration file; empty when there is none.

    Raises CommandError when it cannot be read or is no JSON object, Invalid for a field of the wrong type.
    """
    return UserConfig(_document(environ), path(environ))


def _document(environ: dict[str, str] | os._Environ[str]) -> Json:
    """All that is in the file, as it is."""
    where = path(environ)
    try:
        with open(where, "rb") as file:
            document = quickjson.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CommandError(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise CommandError(f"{where} is not a JSON object")
    return document


def _can_be_sent(name: str, value: str) -> bool:
    """RFC 9110 5.5 and 5.6.2; and the request's own headers are not changed from outside."""
    own = ("host", "connection", "upgrade", "content-length", "transfer-encoding", "content-type", "expect")
    token = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    printable = all(char == "\t" or " " <= char <= "~" or "\xa0" <= char <= "\xff" for char in value)
    return token and printable and name.lower() not in own


def keep(registry: str, entry: dict[str, str]) -> None:
    """Keep the entry of a registry; everything else in the file stays as it is. Raises as `load` does."""
    document, auths = _auths()
    _write({**document, "auths": {**auths, registry: entry}})


def forget(registries: list[str]) -> None:
    """Remove the entries of these registries. Raises as `load` does."""
    document, auths = _auths()
    if any(registry in auths for registry in registries):
        _write({**document, "auths": {key: value for key, value in auths.items() if key not in registries}})


def _auths() -> tuple[Json, Json]:
    document = _document(os.environ)
    return document, _Fields(document, path(os.environ)).object("auths")


def _write(document: Json) -> None:
    # The target of a symbolic link, for users who keep their settings elsewhere.
    where = os.path.realpath(path(os.environ))
    os.makedirs(os.path.dirname(where), 0o700, exist_ok=True)
    aside = f"{where}.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(quickjson.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, where)


def registry_of(reference: str) -> str:
    """The registry's host in an image reference; "docker.io" when it names none."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return "docker.io" if first == "index.docker.io" else first
    return "docker.io"
