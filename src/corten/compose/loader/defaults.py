"""Values of keys that were not given."""

from __future__ import annotations

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.rules import Rules
from corten.compose.loader.texts import printed
from corten.compose.loader.walk import Change, changed


def with_defaults(tree: Tree) -> Tree:
    """The tree, changed."""
    return changed(tree, _DEFAULTS)


def _build(value: Value, path: str) -> Value:
    if isinstance(value, dict):
        value.setdefault("context", ".")
    return value


def _secret(value: Value, path: str) -> Value:
    if isinstance(value, dict):
        value.setdefault("target", f"/run/secrets/{printed(value.get('source'))}")
    return value


def _port(value: Value, path: str) -> Value:
    if isinstance(value, dict):
        value.setdefault("protocol", "tcp")
        value.setdefault("mode", "ingress")
    return value


def _device(value: Value, path: str) -> Value:
    if not isinstance(value, dict):
        raise ComposeError(f"{path}: invalid type for device request", path=path)
    if "count" not in value and "device_ids" not in value:
        value["count"] = "all"
    return value


_DEFAULTS: Rules[Change] = Rules(
    {
        "services.*.build": _build,
        "services.*.secrets.*": _secret,
        "services.*.ports.*": _port,
        "services.*.deploy.resources.reservations.devices.*": _device,
        "services.*.gpus.*": _device,
    }
)
