"""The `--change` of import and commit: Dockerfile instructions that only touch the configuration.

Variables are those of its environment as the change finds it; PATH is the default one where it has none, as it is for
the container's program. What a shell or a program gets later (CMD, ENTRYPOINT, HEALTHCHECK, ONBUILD) keeps its `$`.
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterable
from typing import Any

from corten.errors import Invalid
from corten.spec import go_json
from corten.spec.default_path import PATH
from corten.spec.json import Json
from corten.spec.shell_words import expanded, words
from corten.units.durations import parse_duration

# As `docker run -p` has them: [[IP:]HOST:]PORT[-PORT][/PROTOCOL]; only the container's side is the image's.
_PORT = re.compile(r"(?:(?:(?:[0-9.]+|\[[0-9A-Fa-f:]+\]):)?[0-9-]*:)?(\d{1,5})(?:-(\d{1,5}))?(?:/([A-Za-z]+))?")
_PROTOCOLS = ("tcp", "udp", "sctp")
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
    result, commanded = copy.deepcopy(config), False
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
        commanded = commanded or word.upper() == "CMD"
        if word.upper() == "ENTRYPOINT" and not commanded:
            result.pop("Cmd", None)  # those were arguments of another program
    return result


def _variables(config: Json) -> dict[str, str]:
    return {"PATH": PATH, **dict(entry.partition("=")[::2] for entry in config.get("Env") or [])}


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


def _words(config: Json, text: str) -> list[str]:
    if not text.startswith("["):
        return [word.text for word in words(text, _variables(config))]
    listed = _json(text)
    if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
        raise ValueError("not a list of strings")
    return [expanded(word, _variables(config)) for word in listed]


def _pairs(config: Json, text: str) -> list[tuple[str, str]]:
    """`A=1 B="2 3"`, or the old form `A 1`."""
    first = text.split(None, 1)
    if "=" not in first[0] and first[0][0] not in "\"'":
        if len(first) < 2:
            raise ValueError("wants a name and a value")
        return [(first[0], expanded(first[1], _variables(config)))]
    found = words(text, _variables(config))
    if any(word.equals < 1 for word in found):
        raise ValueError("wants NAME=VALUE")
    return [(word.text[: word.equals], word.text[word.equals + 1 :]) for word in found]


def _env(config: Json, text: str) -> None:
    env = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    env.update(_pairs(config, text))
    config["Env"] = [f"{name}={value}" for name, value in env.items()]


def _label(config: Json, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(config, text))}


def _expose(config: Json, text: str) -> None:
    ports = config.setdefault("ExposedPorts", None) or {}
    for word in words(text, _variables(config)):
        for each in word.text.split():
            ports |= {port: {} for port in _ports(each)}
    config["ExposedPorts"] = ports


def _ports(text: str) -> list[str]:
    """Each port of a range, as PORT/PROTOCOL."""
    found = _PORT.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid port {text[:100]!r}")
    first, protocol = int(found[1]), (found[3] or "tcp").lower()
    last = int(found[2] or first)
    if protocol not in _PROTOCOLS:
        raise ValueError(f"invalid protocol {found[3]!r}")
    if not first <= last < 1 << 16:
        raise ValueError(f"invalid port {text[:100]!r}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _volume(config: Json, text: str) -> None:
    config["Volumes"] = {**(config.get("Volumes") or {}), **{word: {} for word in _words(config, text)}}


def _workdir(config: Json, text: str) -> None:
    """In the one before it, where it is not absolute."""
    path = posixpath.join("/", config.get("WorkingDir") or "", expanded(text, _variables(config)))
    config["WorkingDir"] = "/" + posixpath.normpath(path).lstrip("/")


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
    config["User"] = expanded(text, _variables(config))


def _stop_signal(config: Json, text: str) -> None:
    config["StopSignal"] = expanded(text, _variables(config))


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
