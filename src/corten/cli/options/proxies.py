"""The proxies of the user's config.json as a container's environment, as docker's client gives them to it.

    "proxies": {"default": {"httpProxy": URL, "httpsProxy", "noProxy", "ftpProxy", "allProxy"}, "tcp://HOST": {...}}

The entry of the daemon's URL goes before `default`. Each is set under its name in upper and in lower case.
"""

from __future__ import annotations

VARIABLES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "noProxy": "NO_PROXY",
    "ftpProxy": "FTP_PROXY",
    "allProxy": "ALL_PROXY",
}


def missing(proxies: dict[str, dict[str, str]], host: str, environment: list[str]) -> list[str]:
    """NAME=VALUE of what `environment` (NAME=VALUE or NAME) does not have yet; `host` is the daemon's URL."""
    given = {entry.partition("=")[0] for entry in environment}
    values = proxies.get(host) or proxies.get("default") or {}
    found = []
    for key, variable in VARIABLES.items():
        if values.get(key):
            found += [f"{name}={values[key]}" for name in (variable, variable.lower()) if name not in given]
    return found
