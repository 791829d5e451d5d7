"""The `--change` of import and commit: Dockerfile instructions that only touch the configuration."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Iterable
from typing import Any

from corten.errors import Invalid
from corten.spec import go_json
from corten.spec.json import Json
from corten.units.durations import parse_duration

_HEALTH = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def apply_changes(config: Json, changes: Iterable[str]) -> Json:
    """A copy of an image's `config` with these instructions applied.

    Raises Invalid with the instruction's name for a bad one.
    """
    result = copy.deepcopy(config)
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        rest = rest.strip()
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise Invalid(f"{word} is not a valid change command")
        if not rest:
            raise Invalid(f"{word.upper()} requires at least one argument")
        try:
            instruction(result, rest)
        except ValueError as error:
            raise Invalid(f"cannot parse change {change[:200]!r}: {error}") from error
    return result


def _json(text: str) -> Any:
    """JSON as Go reads it. Raises ValueError."""
    try:
        return go_json.value(text.encode(errors="surrogatepass"), "it")
    except Invalid as error:
        raise ValueError(str(error)) from error


def _command(text: str) -> list[str]:
    """The JSON form, or a line for the shell."""
    if text.startswith("["):
        try:
            words = _json(text)
            if isinstance(words, list) and all(isinstance(word, str) for word in words):
                return words
        except ValueError:
            pass
    return ["/bin/sh", "-c", text]


def _words(text: str) -> list[str]:
    if text.startswith("["):
        words = _json(text)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("not a list of strings")
        return words
    return shlex.split(text)


def _pairs(text: str) -> list[tuple[str, str]]:
    """`A=1 B="2 3"`, or the old form `A 1`."""
    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) < 2:
            raise ValueError("wants a name and a value")
        return [(first[0], first[1])]
    pairs = [word.partition("=") for word in shlex.split(text)]
    if any(not name or not equals for name, equals, _ in pairs):
        raise ValueError("wants NAME=VALUE")
    return [(name, value) for name, _, value in pairs]


def _env(config: Json, text: str) -> None:
    env = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    env.update(_pairs(text))
    config["Env"] = [f"{name}={value}" for name, value in env.items()]


def _label(config: Json, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(text))}


def _expose(config: Json, text: str) -> None:
    ports = config.setdefault("ExposedPorts", None) or {}
    for word in text.split():
        if not re.fullmatch(r"\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?", word):
            raise ValueError(f"invalid port {word!r}")
        ports[word if "/" in word else word + "/tcp"] = {}
    config["ExposedPorts"] = ports


def _volume(config: Json, text: str) -> None:
    config["Volumes"] = {**(config.get("Volumes") or {}), **{word: {} for word in _words(text)}}


def _workdir(config: Json, text: str) -> None:
    config["WorkingDir"] = text if text.startswith("/") else (config.get("WorkingDir") or "/").rstrip("/") + "/" + text


def _health(config: Json, text: str) -> None:
    health: Json = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        name, _, value = option[2:].partition("=")
        if name == "retries":
            health["Retries"] = int(value)
        elif name in _HEALTH:
            health[_HEALTH[name]] = parse_duration(value)
        else:
            raise ValueError(f"unknown flag {option}")
        text = text.lstrip()
    kind, _, rest = text.partition(" ")
    if kind.upper() == "NONE":
        health["Test"] = ["NONE"]
    elif kind.upper() == "CMD" and rest:
        words = _command(rest.strip())
        health["Test"] = ["CMD-SHELL", words[2]] if words[:2] == ["/bin/sh", "-c"] else ["CMD", *words]
    else:
        raise ValueError("wants CMD or NONE")
    config["Healthcheck"] = health


def _onbuild(config: Json, text: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or []), text]


def _entrypoint(config: Json, text: str) -> None:
    config["Entrypoint"] = _command(text)


def _cmd(config: Json, text: str) -> None:
    config["Cmd"] = _command(text)


def _user(config: Json, text: str) -> None:
    config["User"] = text


def _stop_signal(config: Json, text: str) -> None:
    config["StopSignal"] = text


_INSTRUCTIONS = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
