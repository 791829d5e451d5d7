"""The key `runtimes` of daemon.json, and where the binaries are."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from typing import Any

from corten.errors import Invalid
from corten.plan.runtimes import OciRuntime

log = logging.getLogger(__name__)

_SHIM = "io.containerd.runc.v2"  # containerd's, for any binary that has runc's command line


def parse(name: str, entry: Any) -> OciRuntime:
    """{"path", "runtimeArgs"}, or containerd's {"runtimeType", "options": {"BinaryName"}}. Raises Invalid.

    Other keys have no effect, as with dockerd: nvidia's tool writes one.
    """
    if not isinstance(entry, dict):
        raise Invalid(f"runtime {name} is no object")
    kind, options = entry.get("runtimeType", ""), entry.get("options") or {}
    if kind not in ("", _SHIM):
        raise Invalid(f"runtime {name}: runtimeType {kind!r} is not supported, only {_SHIM}")
    if not isinstance(options, dict):
        raise Invalid(f"runtime {name}: options is no object")
    if unknown := sorted(set(options) - {"BinaryName"}):
        raise Invalid(f"runtime {name}: unknown options: {', '.join(unknown)}")
    path, args = entry.get("path") or options.get("BinaryName") or ("runc" if kind else ""), entry.get("runtimeArgs")
    if not isinstance(path, str) or not path:
        raise Invalid(f"runtime {name} has no path")
    if args is not None and not (isinstance(args, list) and all(isinstance(word, str) for word in args)):
        raise Invalid(f"runtime {name}: runtimeArgs is no list of texts")
    return checked(name, OciRuntime(path, tuple(args or ())))


def checked(name: str, found: OciRuntime) -> OciRuntime:
    """A path from the root on, or a name for PATH. Raises Invalid."""
    if "/" in found.path and not found.path.startswith("/"):
        raise Invalid(f"runtime {name}: {found.path!r} is neither an absolute path nor a name in PATH")
    return found


def located(configured: Mapping[str, OciRuntime]) -> dict[str, OciRuntime]:
    """The same with names replaced by the paths that PATH has for them, where it has one."""
    found = {}
    for name, runtime in configured.items():
        path = runtime.path if "/" in runtime.path else shutil.which(runtime.path)
        if path is None:
            log.warning("runtime %s: %s is not in PATH; containers that ask for it will not start", name, runtime.path)
        found[name] = runtime._replace(path=path or runtime.path)
    return found
