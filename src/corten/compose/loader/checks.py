"""What no schema says: keys that exclude one another, values that are no address."""

from __future__ import annotations

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.interpolate import shown
from corten.compose.loader.rules import Rules
from corten.compose.loader.texts import printed
from corten.compose.loader.walk import Change, changed


def check(tree: Tree) -> None:
    """Raises ComposeError with the path."""
    changed(tree, _CHECKS)


def _volume(value: Value, path: str) -> Value:
    if isinstance(value, dict) and value.get("external") is True:
        for key in value:
            if key not in ("name", "external") and not key.startswith("x-"):
                said = f'{path}: conflicting parameters "external" and "{key}" specified'
                raise ComposeError(
                    said, path=f"{path}.{key}", remedy=f"remove {key}: what is external is not made here"
                )
    return value


def _one_of(*keys: str) -> Change:
    def check_it(value: Value, path: str) -> Value:
        if not isinstance(value, dict):
            return value
        given = [key for key in keys if key in value]
        if len(given) > 1:
            raise ComposeError(f"{path}: {'|'.join(keys)} attributes are mutually exclusive", path=path)
        if not given and "driver" not in value and "external" not in value:
            raise ComposeError(f"{path}: one of {'|'.join(keys)} must be set", path=path)
        return value

    return check_it


def _address(value: Value, path: str) -> Value:
    if isinstance(value, dict) and "host_ip" in value:
        import ipaddress

        text = printed(value["host_ip"])
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ComposeError(f"{shown(path)}: invalid ip address: {text}", path=f"{path}.host_ip") from None
    return value


def _path(value: Value, path: str) -> Value:
    if value == "":
        raise ComposeError(f"{shown(path)}: value can't be blank", path=path)
    return value


def _device(value: Value, path: str) -> Value:
    if isinstance(value, dict) and "count" in value and "device_ids" in value:
        raise ComposeError(f'{shown(path)}: "count" and "device_ids" attributes are exclusive', path=path)
    return value


_CHECKS: Rules[Change] = Rules(
    {
        "volumes.*": _volume,
        "configs.*": _one_of("file", "environment", "content"),
        "secrets.*": _one_of("file", "environment"),
        "services.*.ports.*": _address,
        "services.*.develop.watch.*.path": _path,
        "services.*.deploy.resources.reservations.devices.*": _device,
        "services.*.gpus.*": _device,
    }
)
