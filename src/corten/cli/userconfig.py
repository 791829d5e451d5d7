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
    """Empty when there is no such file; CommandError when there is one that cannot be used."""
    where = path(environ)
    try:
        with open(where, "rb") as file:
            config = quickjson.loads(file.read())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CommandError(f"{where} is not a JSON object")
    return config


def keep(registry: str, entry: dict[str, str] | None) -> None:
    """Keep the credentials of a registry, None to forget them; everything else in the file stays as it is."""
    where = path(os.environ)
    config = load(os.environ)
    auths = {key: value for key, value in (config.get("auths") or {}).items() if key != registry}
    if entry is not None:
        auths[registry] = entry
    config["auths"] = auths
    os.makedirs(os.path.dirname(where) or ".", 0o700, exist_ok=True)
    aside = f"{where}.{os.getpid()}"
    # Through a link, as people have it who keep their settings elsewhere.
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(quickjson.dumps(config))
    os.rename(aside, os.path.realpath(where))


def credentials(config: dict[str, Any], registry: str) -> str:
    """The X-Registry-Auth header for `registry` (a host name): base64url of JSON, or "" when none are stored."""
    # Not at the top: most commands read the configuration and know no registry.
    import base64

    auths = config.get("auths") or {}
    key = HUB if registry == "docker.io" else registry
    entry = auths.get(key) or auths.get(f"https://{registry}") or {}
    user, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except ValueError:
            raise CommandError(f"the stored credentials of {key} cannot be read; log in again") from None
    answer = {"username": user, "password": password.rstrip("\0"), "serveraddress": key}
    if entry.get("identitytoken"):
        answer = {"identitytoken": entry["identitytoken"], "serveraddress": key}
    if not user and "identitytoken" not in answer:
        return ""
    return base64.urlsafe_b64encode(quickjson.dumps(answer).encode()).decode()


def registry_of(reference: str) -> str:
    """The registry's host in an image reference; "docker.io" when it names none."""
    first, slash, _ = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return "docker.io" if first == "index.docker.io" else first
    return "docker.io"
