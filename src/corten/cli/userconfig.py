"""The user's config.json, Docker's format: $CORTEN_CONFIG, $DOCKER_CONFIG, or ~/.docker is its directory."""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "https://index.docker.io/v1/"


def path(environ: dict[str, str] | os._Environ[str]) -> str:
    directory = environ.get("CORTEN_CONFIG") or environ.get("DOCKER_CONFIG")
    return os.path.join(directory or os.path.join(environ.get("HOME", "/root"), ".docker"), "config.json")


def load(environ: dict[str, str] | os._Environ[str]) -> dict[str, Any]:
    """The configuration file; empty when there is none. Raises CommandError when it cannot be used."""
    where = path(environ)
    try:
        with open(where, "rb") as file:
            config = quickjson.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CommandError(f"{where} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CommandError(f"{where} is not a JSON object")
    return config


def headers(config: dict[str, Any]) -> dict[str, str]:
    """`HttpHeaders`: what every request carries. Raises CommandError for what cannot be a header of ours.

    A User-Agent has no effect: docker's client, which once wrote one there, sends its own as well.
    """
    found = config.get("HttpHeaders") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CommandError("config.json: HttpHeaders must be texts by name")
    for name, value in found.items():
        if not _can_be_sent(name, value):
            raise CommandError(f"config.json: HttpHeaders: {name!r} cannot be sent")
    return {name: value for name, value in found.items() if name.lower() != "user-agent"}


def _can_be_sent(name: str, value: str) -> bool:
    """RFC 9110 5.5 and 5.6.2; and the request's own headers are not changed from outside."""
    own = ("host", "connection", "upgrade", "content-length", "transfer-encoding", "content-type", "expect")
    token = name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    printable = all(char == "\t" or " " <= char <= "~" or "\xa0" <= char <= "\xff" for char in value)
    return token and printable and name.lower() not in own


def keep(registry: str, entry: dict[str, str]) -> None:
    """Keep the entry of a registry; everything else in the file stays as it is."""
    config = load(os.environ)
    config["auths"] = {**(config.get("auths") or {}), registry: entry}
    _write(config)


def forget(registries: list[str]) -> None:
    """Take the entries of these registries away."""
    config = load(os.environ)
    auths = config.get("auths") or {}
    if any(registry in auths for registry in registries):
        config["auths"] = {key: value for key, value in auths.items() if key not in registries}
        _write(config)


def _write(config: dict[str, Any]) -> None:
    # The target of a symbolic link, for users who keep their settings elsewhere.
    where = os.path.realpath(path(os.environ))
    os.makedirs(os.path.dirname(where), 0o700, exist_ok=True)
    aside = f"{where}.{os.getpid()}"
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(quickjson.dumps(config))
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, where)


def registry_of(reference: str) -> str:
    """The registry's host in an image reference; "docker.io" when it names none."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return "docker.io" if first == "index.docker.io" else first
    return "docker.io"
