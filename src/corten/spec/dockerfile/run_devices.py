"""RUN --device=NAME[,required]: a CDI device."""

from __future__ import annotations

from dataclasses import dataclass

from corten.spec.dockerfile.csv_fields import fields
from corten.spec.dockerfile.texts import did_you_mean
from corten.units.booleans import parse_bool


@dataclass(frozen=True, slots=True)
class Device:
    name: str = ""
    required: bool = False


def device(text: str) -> Device:
    """Raises ValueError in BuildKit's words."""
    name, required = "", False
    for field in fields(text, "devices"):
        key, equals, value = field.partition("=")
        if key.lower() == "required":
            required = _switch(key.lower(), value) if equals else True
        elif equals and key.lower() == "name":
            if name:
                raise ValueError(f"device name already set to {name}")
            name = value
        elif not name:
            name = field  # a CDI name has an equals sign itself: vendor/class=name
        elif not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        else:
            suggested = did_you_mean(key.lower(), ("name", "required"))
            raise ValueError(f"unexpected key '{key.lower()}' in '{field}'{suggested}")
    return Device(name, required)


def _switch(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
