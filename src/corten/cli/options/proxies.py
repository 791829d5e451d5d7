"""The proxies of the user's config.json as a container's environment, as docker's client gives them to it.

    "proxies": {"default": {"httpProxy": URL, "httpsProxy", "noProxy", "ftpProxy", "allProxy"}, "tcp://HOST": {...}}

The entry of the daemon's URL goes before `default`. Each is set under its name in upper and in lower case.
"""

from __future__ import annotations

from corten.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VARIABLES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def missing(config: dict[str, Any], host: str, environment: list[str]) -> list[str]:
    """NAME=VALUE of what `environment` (NAME=VALUE or NAME) does not have yet. Raises CommandError (125)."""
    given = {entry.partition("=")[0] for entry in environment}
    values = _values(config, host)
    found = []
    for key, variable in VARIABLES.items():
        if values.get(key):
            found += [f"{name}={values[key]}" for name in (variable, variable.lower()) if name not in given]
    return found


def _values(config: dict[str, Any], host: str) -> dict[str, str]:
    proxies = config["proxies"]
    if not isinstance(proxies, dict):
        raise CommandError("config.json: proxies must be objects by daemon", 125)
    values = proxies.get(host) or proxies.get("default") or {}
    if not isinstance(values, dict) or not all(isinstance(values.get(key, ""), str) for key in VARIABLES):
        raise CommandError("config.json: proxies must have texts as httpProxy, httpsProxy, noProxy and so on", 125)
    return values
