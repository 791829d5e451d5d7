"""A build's request in the words of BuildKit's frontend dockerfile.v0: what provenance and the history of builds have
of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from corten.build.contract import BuildRequest
from corten.spec.git_url import GitUrl

FRONTEND = "dockerfile.v0"
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]+@")  # up to the last @: a password may have some
_OF_THE_SESSION = ("frontend.caps", "local-sessionid:", "sharedkey:", "requestid")


def of(request: BuildRequest) -> dict[str, str]:
    """As its client gave them, or made of the request's own fields, for others to see."""
    return public(request.attributes or _made(request))


def public(given: Mapping[str, str]) -> dict[str, str]:
    """Without what is of the session alone; addresses have no user and password."""
    return {key: redacted(value) for key, value in sorted(given.items()) if not key.startswith(_OF_THE_SESSION)}


def redacted(text: str) -> str:
    """Addresses in it without their user and password."""
    return _CREDENTIALS.sub("xxxxx@", text)


def _made(request: BuildRequest) -> dict[str, str]:
    given = {
        "filename": request.dockerfile or "Dockerfile",
        "target": request.target,
        "platform": request.platform,
        "context": _address(request.remote),
        "image-resolve-mode": "pull" if request.pull else "",
        "no-cache": ",".join(request.no_cache_stages),
        "force-network-mode": "" if request.network == "default" else request.network,
        "add-hosts": ",".join(host.replace(":", "=", 1) for host in request.extra_hosts),
    }
    found = {key: value for key, value in given.items() if value}
    found |= {"no-cache": ""} if request.no_cache else {}
    for prefix, values in (("build-arg:", request.arguments), ("label:", request.labels)):
        found |= {prefix + key: value for key, value in values.items()}
    found |= {f"context:{key}": _address(value) for key, value in request.contexts.items()}
    return found | {f"attest:{key}": value for key, value in request.attest.items()}


def _address(value: str | GitUrl) -> str:
    return value if isinstance(value, str) else value.shown


def stripped(attributes: Mapping[str, str]) -> dict[str, str]:
    """Without the values of build arguments and labels."""
    return {key: value for key, value in attributes.items() if not key.startswith(("build-arg:", "label:"))}
