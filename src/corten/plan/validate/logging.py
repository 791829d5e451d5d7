"""Log drivers and their options."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from corten.errors import Invalid, Unsupported
from corten.spec.docker.host_config import LogConfig
from corten.units.booleans import parse_bool
from corten.units.sizes import parse_bytes

_COMMON = frozenset({"mode", "max-buffer-size"})
_JSON_FILE = frozenset({"max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"})
_OPTIONS = {"json-file": _JSON_FILE, "local": frozenset({"max-file", "max-size", "compress"}), "none": frozenset()}
_DOCKERS = frozenset("awslogs etwlogs fluentd gcplogs gelf journald splunk syslog".split())


def check_logging(log: LogConfig, default_driver: str) -> None:
    """Check HostConfig.LogConfig, or the daemon's own: driver, options and their values.

    Raises Invalid for an unknown or bad one, Unsupported for a driver that only Docker has."""
    driver = log.type or default_driver
    options: Mapping[str, str] = log.config or {}
    if driver in _DOCKERS:
        raise Unsupported(f"log driver {driver} is not supported: json-file, local and none are")
    if driver not in _OPTIONS:
        raise Invalid(f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    if driver == "none":
        return
    _check_mode(options)
    for key, value in options.items():
        if key not in _OPTIONS[driver] and key not in _COMMON:
            raise Invalid(f"unknown log opt '{key}' for {driver} log driver")
        if key in _VALUES:
            _VALUES[key](value)


def max_size(text: str) -> int:
    """Bytes of a log option such as "10m"; -1 means without limit, which is 0. Raises Invalid in go-units' words."""
    try:
        return 0 if text == "-1" else parse_bytes(text)
    except ValueError as error:
        raise Invalid(str(error)) from None


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode") or "blocking"
    if mode not in ("blocking", "non-blocking"):
        raise Invalid(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options and mode != "non-blocking":
        raise Invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'")


def _check_count(text: str) -> None:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid(f"invalid max-file: '{text}' is not a number")
    if int(text) < 1:
        raise Invalid("max-file cannot be less than 1")


def _check_boolean(text: str) -> None:
    try:
        parse_bool(text)
    except ValueError:
        raise Invalid(f"invalid compress: '{text}' is neither true nor false") from None


_VALUES: dict[str, Callable[[str], object]] = {
    "max-size": max_size,
    "max-buffer-size": max_size,
    "max-file": _check_count,
    "compress": _check_boolean,
}
