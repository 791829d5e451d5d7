"""Docker's contexts: names for where a daemon is, and for the certificates that it takes. `docker context` makes them.

    <configuration>/config.json                            "currentContext": NAME
    <configuration>/contexts/meta/ID/meta.json             {"Endpoints": {"docker": {"Host", "SkipTLSVerify"}}}
    <configuration>/contexts/tls/ID/docker/{ca,cert,key}.pem

ID is the SHA-256 of the name. What counts, as with docker's client: --context; -H; the host of the environment;
DOCKER_CONTEXT; currentContext. The context `default` is none.
"""

from __future__ import annotations

import os

from corten.cli.errors import CommandError
from corten.client import address, quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.address import Address

    Environ = dict[str, str] | os._Environ[str]

DEFAULT = "default"


class Context:
    """`host` is a URL, `directory` where its certificates are, if it has any."""

    __slots__ = ("directory", "host", "verify")

    def __init__(self, host: str, verify: bool, directory: str) -> None:
        self.host = host
        self.verify = verify
        self.directory = directory

    def address(self) -> Address:
        """Raises Invalid for a bad URL."""
        has_tls = os.path.isdir(self.directory) or not self.verify
        found = address.parse(self.host, address.DEFAULT_TLS_PORT if has_tls else address.DEFAULT_TCP_PORT)
        if has_tls and found.host:
            from corten.client import tls

            found.tls = tls.files(self.verify, {"ca": "", "cert": "", "key": ""}, self.directory)
        return found


def chosen(flag: str, host: str, environ: Environ, current: str) -> tuple[str, str]:
    """The name of the context that is meant, and what names it; ("", "") for none. `flag` and `host` are --context and
    -H, `current` is currentContext. Raises CommandError for both."""
    if flag and host:
        raise CommandError("conflicting options: cannot specify both --host and --context")
    if not flag and (host or environ.get("CORTEN_HOST") or environ.get("DOCKER_HOST")):
        return "", ""
    for name, where in (
        (flag, "--context"),
        (environ.get("DOCKER_CONTEXT", ""), "DOCKER_CONTEXT"),
        (current, "currentContext of config.json"),
    ):
        if name:
            return ("", "") if name == DEFAULT else (name, where)
    return "", ""


def load(name: str, where: str, directory: str) -> Context:
    """The context of that name in the configuration `directory`. Raises CommandError when it cannot be used."""
    import hashlib

    id = hashlib.sha256(name.encode()).hexdigest()
    path = os.path.join(directory, "contexts", "meta", id, "meta.json")
    try:
        with open(path, "rb") as file:
            meta = quickjson.loads(file.read())
    except FileNotFoundError:
        raise CommandError(f'context "{name}" ({where}) is not there: {path} is missing') from None
    except OSError as error:
        raise CommandError(f'context "{name}" ({where}): {path} cannot be read: {error.strerror}') from None
    except ValueError as error:
        raise CommandError(f'context "{name}" ({where}): {path} is not JSON: {error}') from None
    endpoints = meta.get("Endpoints") if isinstance(meta, dict) else None
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("Host", ""), str):
        raise CommandError(f'context "{name}" ({where}): {path} has no endpoint for docker')
    material = os.path.join(directory, "contexts", "tls", id, "docker")
    return Context(endpoint.get("Host") or address.DEFAULT, not endpoint.get("SkipTLSVerify"), material)
