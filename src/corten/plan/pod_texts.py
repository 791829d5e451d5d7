"""Texts of Kubernetes' configurations, before they become names, paths and variables. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from corten.errors import Invalid

_KEPT = ("labels", "annotations")  # stored and shown, and nothing else


def check_texts(asked: object) -> None:
    """Raises Invalid for a NUL, at which every name and path of the kernel's ends."""
    for where, text in _texts(asked, ""):
        if "\0" in text:
            raise Invalid(f"{where} must not contain a NUL")


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Each with the name of its field."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, bytes):
        yield where, value.decode(errors="replace")
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, where)
    elif isinstance(value, dict):
        for each in (*value, *value.values()):
            yield from _texts(each, where)
    elif is_dataclass(value):
        for field in fields(value):
            if field.name not in _KEPT:
                yield from _texts(getattr(value, field.name), field.name)
