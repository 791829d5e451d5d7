"""Interpolation of a tree's values (never of keys), and the types that texts become at some paths."""

from __future__ import annotations

import math
from collections.abc import Callable

from corten.compose.document import Tree, Value
from corten.compose.errors import ComposeError
from corten.compose.loader.rules import Rules
from corten.compose.variables.template import LONGEST, BadTemplate, Interpolation, Lookup, Missing
from corten.units.booleans import TRUE

Warn = Callable[[str, str], None]
"""Gets a warning and the path that it is about."""

_YES, _NO = ("y", "yes", "on"), ("n", "no", "off")


def interpolated(tree: Tree, lookup: Lookup, warn: Warn) -> Tree:
    """A new tree. Raises ComposeError with the path."""
    return _Walk(lookup, warn).mapping(tree, "", CASTS)


class _Walk:
    def __init__(self, lookup: Lookup, warn: Warn) -> None:
        self._path = ""
        self._length = 0
        self._warn = warn
        self._interpolation = Interpolation(lookup, self._unset)

    def _unset(self, name: str) -> None:
        self._warn(f'The "{name}" variable is not set. Defaulting to a blank string.', self._path)

    def mapping(self, tree: Tree, path: str, casts: Rules[Cast]) -> Tree:
        prefix = f"{path}." if path else ""
        return {key: self._value(value, f"{prefix}{key}", casts.step(key)) for key, value in tree.items()}

    def _value(self, value: Value, path: str, casts: Rules[Cast]) -> Value:
        if isinstance(value, dict):
            return self.mapping(value, path, casts)
        if isinstance(value, list):
            inner = casts.step("*")
            return [self._value(each, f"{path}.{at}", inner) for at, each in enumerate(value)]
        if not isinstance(value, str) or ("$" not in value and casts.found is None):
            return value
        return self._text(value, path, casts.found)

    def _text(self, value: str, path: str, cast: Cast | None) -> Value:
        self._path = path
        try:
            text = self._interpolation.text(value)
            self._length += len(text)
        except BadTemplate as error:
            said = f"invalid interpolation format for {shown(path)}.\nYou may need to escape any $ with another $.\n"
            raise ComposeError(said + error.text, path=path) from None
        except Missing as error:
            raise ComposeError(f"error while interpolating {shown(path)}: {error}", path=path) from None
        if self._length > LONGEST:
            raise ComposeError(f"interpolated texts are longer than {LONGEST} characters", path=path)
        if cast is None:
            return text
        try:
            return cast(text, lambda warning: self._warn(warning, path))
        except ValueError as error:
            said = f"error while interpolating {shown(path)}: failed to cast to expected type: {error}"
            raise ComposeError(said, path=path) from None


def shown(path: str) -> str:
    """Compose shows "[]" for every index of a list."""
    return ".".join("[]" if part.isdigit() else part for part in path.split("."))


Cast = Callable[[str, Callable[[str], None]], Value]


def _integer(function: str) -> Cast:
    def cast(text: str, warn: Callable[[str], None]) -> int:
        digits = text[1:] if text[:1] in ("+", "-") else text
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
        value = int(text) if len(digits) <= 19 else 2**63
        if not -(2**63) <= value < 2**63:
            raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
        return value

    return cast


def floating(text: str, warn: Callable[[str], None] = lambda warning: None) -> float:
    """Raises ValueError in Go's words."""
    try:
        if "_" in text or text != text.strip():
            raise ValueError
        value = float(text)
        if not math.isfinite(value):
            raise ValueError
        return value
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None


def boolean(text: str, warn: Callable[[str], None]) -> bool:
    """true and false in any case, YAML 1.1's others with a warning. Raises ValueError in Compose's words."""
    lower = text.lower()
    if lower in ("true", "false"):
        return lower == "true"
    if lower in _YES or lower in _NO:
        instead = "true" if lower in _YES else "false"
        warn(f'"{text}" for boolean is not supported by YAML 1.2, please use `{instead}`')
        return lower in _YES
    raise ValueError(f"invalid boolean: {text}")


def is_true(value: Value) -> bool:
    """Go's strconv.ParseBool, false for what is none."""
    return value is True or (isinstance(value, str) and value in TRUE)


INT, INT64 = _integer("Atoi"), _integer("ParseInt")
_SERVICE: dict[str, Cast] = {
    "cpu_count": INT64,
    "cpu_percent": floating,
    "cpu_period": INT64,
    "cpu_quota": INT64,
    "cpu_rt_period": INT64,
    "cpu_rt_runtime": INT64,
    "cpus": floating,
    "cpu_shares": INT64,
    "init": boolean,
    "deploy.replicas": INT,
    "deploy.update_config.parallelism": INT,
    "deploy.update_config.max_failure_ratio": floating,
    "deploy.rollback_config.parallelism": INT,
    "deploy.rollback_config.max_failure_ratio": floating,
    "deploy.restart_policy.max_attempts": INT,
    "deploy.placement.max_replicas_per_node": INT,
    "healthcheck.retries": INT,
    "healthcheck.disable": boolean,
    "oom_kill_disable": boolean,
    "oom_score_adj": INT64,
    "pids_limit": INT64,
    "ports.*.target": INT,
    "privileged": boolean,
    "read_only": boolean,
    "scale": INT,
    "stdin_open": boolean,
    "tty": boolean,
    "ulimits.*": INT,
    "ulimits.*.hard": INT,
    "ulimits.*.soft": INT,
    "volumes.*.read_only": boolean,
    "volumes.*.volume.nocopy": boolean,
}
_EXTERNAL = ("networks", "volumes", "secrets", "configs")
CASTS: Rules[Cast] = Rules(
    {
        **{f"services.*.{path}": cast for path, cast in _SERVICE.items()},
        **{f"networks.*.{key}": boolean for key in ("internal", "attachable", "enable_ipv4", "enable_ipv6")},
        **{f"{section}.*.external": boolean for section in _EXTERNAL},
    }
)
