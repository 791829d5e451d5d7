"""The settings of the process: flags over the key `cri` of daemon.json."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corten.errors import Invalid

_LONGEST = 107  # bytes (unix(7))
_FILE = Path("/etc/corten/daemon.json")
_DAEMONS = ("start", "cni-gc", "cni-conf-dir", "cni-bin-dir", "cluster-cidr")
KEYS = ("socket", "daemon", "streaming-address", "streaming-port")


@dataclass(frozen=True, slots=True)
class Config:
    """`socket` is where Kubernetes calls, `daemon` the socket of cortend. Streams are served at `address`:`port`, 0 for
    any port that is free."""

    socket: Path = Path("/run/corten/cri.sock")
    daemon: str = "/run/corten/corten.sock"
    address: str = "127.0.0.1"
    port: int = 0
    debug: bool = False


def load(arguments: Sequence[str]) -> Config:
    """Raises Invalid; SystemExit for unknown flags and --help."""
    parser = argparse.ArgumentParser("corten cri", description="Serve Kubernetes' Container Runtime Interface")
    parser.add_argument("--config-file", type=Path, default=None, help=f"daemon.json (default {_FILE})")
    parser.add_argument("--socket", help=f"unix socket that the kubelet calls (default {Config().socket})")
    parser.add_argument("-H", "--daemon", help=f"unix socket of the daemon (default {Config().daemon})")
    parser.add_argument("--streaming-address", help="where exec, attach and port-forward are served")
    parser.add_argument("--streaming-port", help="its port, 0 for any that is free")
    parser.add_argument("-D", "--debug", action="store_true")
    found = parser.parse_args(arguments)
    given = _from_file(found.config_file or _FILE, required=found.config_file is not None)
    for key in KEYS:
        if (value := getattr(found, key.replace("-", "_"))) is not None:
            given[key] = value
    default = Config()
    port = str(given.get("streaming-port", default.port))
    if not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"invalid streaming-port {port}")
    return Config(
        Path(_path(given.get("socket", str(default.socket)))),
        _path(given.get("daemon", default.daemon)),
        given.get("streaming-address", default.address),
        int(port),
        found.debug,
    )


def _from_file(path: Path, required: bool) -> dict[str, str]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        if required:
            raise Invalid(f"there is no {path}") from None
        return {}
    except ValueError as error:
        raise Invalid(f"{path}: {error}") from error
    given = content.get("cri", {}) if isinstance(content, dict) else None
    if not isinstance(given, dict):
        raise Invalid(f"{path}: cri is not an object")
    check(given)
    return {key: str(value) for key, value in given.items()}


def check(given: dict[str, object]) -> None:
    """Raises Invalid for a key that is not known."""
    for key, value in given.items():
        if key in _DAEMONS:
            continue
        if key not in KEYS:
            raise Invalid(f"cri: unknown key {key} (there are: {', '.join((*KEYS, *_DAEMONS))})")
        if not isinstance(value, (str, int)):
            raise Invalid(f"cri: {key} is neither a text nor a number")


def _path(text: str) -> str:
    path = text.removeprefix("unix://")
    if not path.startswith("/"):
        raise Invalid(f"{text} is not a unix socket's absolute path")
    if len(os.fsencode(path)) > _LONGEST:
        raise Invalid(f"{text}: the path of a unix socket has at most {_LONGEST} bytes")
    return path
