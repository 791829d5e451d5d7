"""The flags of instructions, `--name=value`: one table, and BuildKit's sentences for what is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from corten.spec.dockerfile.texts import did_you_mean

Kind = Literal["text", "texts", "switch"]

TABLE: dict[str, dict[str, Kind]] = {
    "from": {"platform": "text"},
    "run": {"mount": "texts", "network": "text", "security": "text", "device": "texts"},
    "copy": {
        "from": "text",
        "chown": "text",
        "chmod": "text",
        "link": "switch",
        "parents": "switch",
        "exclude": "texts",
    },
    "add": {
        "chown": "text",
        "chmod": "text",
        "link": "switch",
        "exclude": "texts",
        "checksum": "text",
        "keep-git-dir": "switch",
        "unpack": "switch",
    },
    "healthcheck": {
        "interval": "text",
        "timeout": "text",
        "start-period": "text",
        "start-interval": "text",
        "retries": "text",
    },
}


class FlagError(ValueError):
    """`word` is the flag as it was written."""

    def __init__(self, message: str, word: str) -> None:
        super().__init__(message)
        self.word = word


@dataclass(slots=True)
class Flags:
    """What was given. A switch that was not is None."""

    _texts: dict[str, list[str]] = field(default_factory=dict)
    _switches: dict[str, bool] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        return self._texts.get(name, [default])[-1]

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._texts.get(name, ()))

    def switch(self, name: str) -> bool | None:
        return self._switches.get(name)

    def _add(self, kind: Kind, name: str, value: str | None, written: str) -> None:
        if kind != "texts" and (name in self._texts or name in self._switches):
            raise FlagError(f"duplicate flag specified: --{name}", written)
        if (value == "" and kind == "switch") or (value is None and kind != "switch"):
            raise FlagError(f"missing a value on flag: --{name}", written)
        if kind != "switch":
            self._texts.setdefault(name, []).append(value or "")
        elif (word := (value or "true").lower()) in ("true", "false"):
            self._switches[name] = word == "true"
        else:
            raise FlagError(f"expecting boolean value for flag --{name}, not: {value}", written)


def read(keyword: str, given: Sequence[str]) -> Flags:
    """`keyword` in lower case. Raises FlagError."""
    table, flags = TABLE.get(keyword, {}), Flags()
    for word in given:
        name, equals, value = word[2:].partition("=")
        kind = table.get(name)
        if kind is None:
            raise FlagError(f"unknown flag: --{name}{did_you_mean(name, table)}", f"--{name}")
        flags._add(kind, name, value if equals else None, f"--{name}")
    return flags
