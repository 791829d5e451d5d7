"""A container's Config: what the client asked for over what its image says.

Image configs are hostile input: an `Env` entry without "=" would mean "take it from the environment of whoever runs
this" further down, so it is dropped here (CVE-2026-57231). In the client's own list the same entry is a wish to unset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from corten.engine.oci.facts import Json
from corten.engine.validate.schema import check_image_config, check_types
from corten.spec.image_config import CONFIG

_FROM_IMAGE_WHEN_EMPTY = ("User", "WorkingDir", "StopSignal", "Shell")
#: What a field that nobody set looks like in inspect.
UNSET: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_HEALTH_FIELDS = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def merge_config(image_config: Mapping[str, Any], config: Mapping[str, Any]) -> Json:
    """Docker's Config after create. Neither argument is changed.

    The client's value wins. Env is merged by key, Labels, ExposedPorts and Volumes are united, and an image's Cmd is
    used only when the client gave no Entrypoint (`[""]` counts as none, but drops the image's). Invalid when either
    has a field of a wrong type.
    """
    check_image_config(image_config)
    check_types(config, None, None)
    known = {key: value for key, value in config.items() if value is not None and key in CONFIG.fields}
    merged: Json = {**UNSET, **known}
    for key in _FROM_IMAGE_WHEN_EMPTY:
        if not merged.get(key) and image_config.get(key):
            merged[key] = image_config[key]
    merged["Env"] = _merge_env(image_config.get("Env") or (), config.get("Env") or ())
    merged["Labels"] = {**(image_config.get("Labels") or {}), **(config.get("Labels") or {})}
    merged["Volumes"] = {**(image_config.get("Volumes") or {}), **(config.get("Volumes") or {})} or None
    ports = {**(image_config.get("ExposedPorts") or {}), **(config.get("ExposedPorts") or {})}
    if ports:
        merged["ExposedPorts"] = ports
    _merge_command(merged, image_config)
    health = _merge_health(image_config.get("Healthcheck"), config.get("Healthcheck"))
    if health is not None:
        merged["Healthcheck"] = health
    return merged


def command_line(config: Mapping[str, Any]) -> list[str]:
    """Entrypoint and Cmd as one argument list; the first is the program."""
    return [*(_words(config.get("Entrypoint")) or ()), *(_words(config.get("Cmd")) or ())]


def override_env(base: Iterable[str], overrides: Iterable[str]) -> list[str]:
    """`base` with each override put in its key's place, or at the end; "KEY" without "=" removes KEY."""
    env = {entry.partition("=")[0]: entry for entry in base}
    for entry in overrides:
        key, equals, _ = entry.partition("=")
        if equals:
            env[key] = entry
        else:
            env.pop(key, None)
    return list(env.values())


def well_formed_env(entries: Iterable[object]) -> list[str]:
    """Only the entries that are KEY=VALUE with a key and without NUL."""
    return [e for e in entries if isinstance(e, str) and e.find("=") > 0 and "\0" not in e]


def _merge_env(image: Iterable[object], asked: Sequence[str]) -> list[str]:
    """The client's entries in order, then those of the image whose key the client did not name."""
    named = {entry.partition("=")[0] for entry in asked}
    return [*asked, *(e for e in well_formed_env(image) if e.partition("=")[0] not in named)]


def _merge_command(merged: Json, image_config: Mapping[str, Any]) -> None:
    entrypoint, command = _words(merged["Entrypoint"]), _words(merged["Cmd"])
    if not entrypoint:
        if not command:
            command = _words(image_config.get("Cmd"))
            if image_config.get("ArgsEscaped"):
                merged["ArgsEscaped"] = True
        if entrypoint is None:
            entrypoint = _words(image_config.get("Entrypoint"))
    merged["Entrypoint"] = None if entrypoint == [""] else entrypoint
    merged["Cmd"] = command


def _merge_health(image: Mapping[str, Any] | None, asked: Mapping[str, Any] | None) -> Json | None:
    if image is None or asked is None:
        chosen = asked if image is None else image
        return dict(chosen) if chosen is not None else None
    merged = dict(asked)
    if not merged.get("Test"):
        merged["Test"] = image.get("Test")
    for key in _HEALTH_FIELDS:
        if not merged.get(key) and image.get(key):
            merged[key] = image[key]
    return merged


def _words(value: Any) -> list[str] | None:
    """Docker takes a list, or one string that stands for a list of one."""
    return [value] if isinstance(value, str) else value
