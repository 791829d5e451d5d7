"""A container's Config: the client's request over the image's configuration.

Image configs are hostile input: an `Env` entry without "=" would mean "take it from the environment of the runtime's
process" further down, so it is dropped here (CVE-2026-57231). In the client's own list the same entry unsets a
variable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from corten.plan.paths import clean
from corten.spec.docker.config import Config, HealthConfig, ImageConfig


def merge_config(image: ImageConfig, asked: Config) -> Config:
    """Docker's Config after create. Neither argument is changed.

    The client's value wins. Env is merged by key, Labels, ExposedPorts and Volumes are united, and an image's Cmd is
    used only when the client gave no Entrypoint (`[""]` counts as none, but drops the image's).
    """
    return asked.replace(
        user=asked.user or image.user,
        working_dir=_cleaned(asked.working_dir or image.working_dir),
        stop_signal=asked.stop_signal or image.stop_signal,
        shell=asked.shell or image.shell,
        env=_merge_env(image.env or (), asked.env or ()),
        labels={**(image.labels or {}), **(asked.labels or {})},
        volumes={**(image.volumes or {}), **(asked.volumes or {})} or None,
        exposed_ports={**(image.exposed_ports or {}), **(asked.exposed_ports or {})} or None,
        healthcheck=_merge_health(image.healthcheck, asked.healthcheck),
        **_merge_command(image, asked),
    )


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


def well_formed_env(entries: Iterable[str]) -> list[str]:
    """Only the entries that are KEY=VALUE with a key and without NUL."""
    return [entry for entry in entries if entry.find("=") > 0 and "\0" not in entry]


def _cleaned(directory: str) -> str:
    return clean(directory) if directory else ""


def _merge_env(image: Iterable[str], asked: Sequence[str]) -> list[str]:
    """The client's entries in order, then those of the image whose key the client did not name."""
    named = {entry.partition("=")[0] for entry in asked}
    return [*asked, *(e for e in well_formed_env(image) if e.partition("=")[0] not in named)]


def _merge_command(image: ImageConfig, asked: Config) -> dict[str, Any]:
    entrypoint, command, escaped = asked.entrypoint, asked.cmd, asked.args_escaped
    if not entrypoint:
        if not command:
            command, escaped = image.cmd, escaped or image.args_escaped
        if entrypoint is None:
            entrypoint = image.entrypoint
    return {"entrypoint": None if entrypoint == [""] else entrypoint, "cmd": command, "args_escaped": escaped}


def _merge_health(image: HealthConfig | None, asked: HealthConfig | None) -> HealthConfig | None:
    if image is None or asked is None:
        return asked or image
    return asked.replace(**{name: getattr(asked, name) or getattr(image, name) for name in HealthConfig.FIELDS})
