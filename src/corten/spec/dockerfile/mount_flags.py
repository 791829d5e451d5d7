"""RUN --mount=type=...: its text to values, in BuildKit's words (`mounts`)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from corten.spec.dockerfile.csv_fields import fields
from corten.spec.dockerfile.mounts import (
    BindMount,
    CacheMount,
    Kind,
    Mount,
    MountFlag,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from corten.spec.dockerfile.texts import did_you_mean, quoted
from corten.units.booleans import parse_bool
from corten.units.sizes import parse_bytes

_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARINGS = ("shared", "private", "locked")
_KEYS = (
    "type from source target readonly id sharing required size mode uid gid src dst destination ro rw readwrite env"
).split()
_OTHER_NAMES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_SWITCHES = ("readonly", "ro", "readwrite", "rw", "required")
_MOST = 2**32 - 1


def mount_flag(text: str) -> MountFlag:
    """What can be said before variables have values. Raises ValueError."""
    source = ""
    for field in fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            if "$" in value[:-1]:
                raise ValueError("'from' doesn't support variable expansion, define alias stage instead")
            source = value
    return MountFlag(text, source)


@dataclass(slots=True)
class _Options:
    kind: Kind = "bind"
    texts: dict[str, str] | None = None
    read_only: bool | None = None
    required: bool = False
    size: int = 0
    sharing: Sharing | None = None
    numbers: dict[str, int] | None = None

    def text(self, name: str) -> str:
        return (self.texts or {}).get(name, "")


def mount(flag: MountFlag, expand: Callable[[str], str]) -> Mount:
    """The mount with its values expanded. Raises ValueError in BuildKit's words."""
    options = _Options(texts={}, numbers={})
    for field in fields(flag.text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if equals:
            _set(options, key, expand(value), field)
        elif key in _SWITCHES:
            _set(options, key, "true", field)
        else:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
    return _typed(options, flag.source)


def _set(options: _Options, key: str, value: str, field: str) -> None:
    if key not in _KEYS:
        raise ValueError(f"unexpected key '{key}' in '{field}'{did_you_mean(key, _KEYS)}")
    match key:
        case "type":
            options.kind = cast(Kind, _of("mount type", value, _KINDS))
        case "sharing":
            options.sharing = cast(Sharing, _of("sharing value", value, _SHARINGS))
        case "readonly" | "ro":
            options.read_only = _switch(key, value)
        case "readwrite" | "rw":
            options.read_only = not _switch(key, value)
        case "required":
            _only(options, key, "secret", "ssh")
            options.required = _switch(key, value)
        case "size":
            _only(options, key, "tmpfs")
            options.size = _size(value)
        case "mode" | "uid" | "gid":
            assert options.numbers is not None
            options.numbers[key] = _number(key, value)
        case _:
            assert options.texts is not None
            options.texts[_OTHER_NAMES.get(key, key)] = value


def _of(what: str, value: str, known: tuple[str, ...]) -> str:
    if value.lower() not in known:
        raise ValueError(f"unsupported {what} {quoted(value)}{did_you_mean(value, known)}")
    return value.lower()


def _only(options: _Options, key: str, *kinds: str) -> None:
    if options.kind not in kinds:
        raise ValueError(f"unexpected key '{key}' for mount type '{options.kind}'")


def _switch(key: str, value: str) -> bool:
    try:
        return parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None


def _size(value: str) -> int:
    try:
        return parse_bytes(value)
    except ValueError:
        raise ValueError(f"invalid value for size: {value}") from None


def _number(key: str, value: str) -> int:
    digits, base = ("[0-7]", 8) if key == "mode" else ("[0-9]", 10)
    if not re.fullmatch(digits + "{1,20}", value) or int(value, base) > _MOST:
        raise ValueError(f"invalid value {value} for {key}")
    return int(value, base)


def _typed(options: _Options, source: str) -> Mount:
    numbers = options.numbers or {}
    if options.kind in ("bind", "tmpfs"):
        for key in ("mode", "uid", "gid"):
            if key in numbers:
                raise ValueError(f"{key} not allowed for {quoted(options.kind)} type mounts")
    target, path, id = options.text("target"), options.text("source"), options.text("id")
    if options.kind == "secret":
        return _secret(options, source, numbers)
    if options.sharing is not None and options.kind != "cache":
        raise ValueError(f"invalid cache sharing set for {options.kind} mount")
    if options.kind == "ssh":
        if path:
            raise ValueError("ssh does not support source")
        return SshMount(id or "default", target, options.required, **numbers)
    if target.startswith("/") and not posixpath.normpath(target).strip("/"):
        raise ValueError('invalid mount target "/"')
    if options.kind == "tmpfs":
        return TmpfsMount(target, options.size)
    if options.kind == "bind":
        return BindMount(target, source, path, writable=options.read_only is False)
    return CacheMount(
        target,
        id or posixpath.normpath(target),
        source,
        path,
        options.sharing or "shared",
        bool(options.read_only),
        numbers.get("uid"),
        numbers.get("gid"),
        numbers.get("mode"),
    )


def _secret(options: _Options, source: str, numbers: dict[str, int]) -> SecretMount:
    target, path, id = options.text("target"), options.text("source"), options.text("id")
    if source:
        raise ValueError("secret mount should not have a from")
    if options.sharing is not None:
        raise ValueError("secret mount should not define sharing")
    if not (target or path or id):
        raise ValueError("invalid secret mount. one of source, target required")
    if path and id:
        raise ValueError("both source and id can't be set")
    id = id or path or posixpath.basename(target)
    by_variable = "env" in (options.texts or {})
    return SecretMount(
        id,
        target if target or by_variable else "/run/secrets/" + posixpath.basename(id),
        (options.text("env") or id) if by_variable else "",
        options.required,
        **numbers,
    )
