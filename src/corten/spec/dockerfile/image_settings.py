"""What the instructions of a stage change of what an image says of its containers."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from corten.errors import Invalid
from corten.spec.docker import signals
from corten.spec.docker.config import HealthConfig, ImageConfig
from corten.spec.docker.struct import UNSET
from corten.spec.dockerfile import instructions as d
from corten.spec.dockerfile.commands import SHELL, with_shell
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.ports import exposed
from corten.spec.json import Json


class ImageSettings:
    """`config` is what the image says so far. `commanded`: it has a CMD that an ENTRYPOINT leaves, as it leaves those
    that come with `take`."""

    def __init__(self, config: ImageConfig, commanded: bool = False) -> None:
        self.config = config
        self._commanded = commanded
        self._own: dict[str, dict[str, Any]] = {}  # tables that are no other's, to be changed

    @property
    def shell(self) -> tuple[str, ...]:
        return tuple(self.config.shell or SHELL)

    @property
    def directory(self) -> str:
        """In which programs run, and which paths are relative to."""
        return self.config.working_dir or "/"

    def taken_triggers(self) -> list[str]:
        """The ONBUILD triggers, which it has no more."""
        triggers = self.config.on_build or []
        self._set(on_build=UNSET)
        return triggers

    def add_variable(self, name: str, value: str) -> None:
        self._set(env=[*(self.config.env or ()), f"{name}={value}"])

    def set_environment(self, variables: Mapping[str, str]) -> None:
        self._set(env=[f"{name}={value}" for name, value in variables.items()])

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """These beside those that it has."""
        self.set_environment({**environment_of(self.config), **variables})

    def enter(self, path: str) -> None:
        """WORKDIR, in the one before where it is not absolute."""
        joined = posixpath.normpath(posixpath.join("/", self.directory, path))
        self._set(working_dir="/" + joined.lstrip("/"))

    def label(self, labels: Mapping[str, str]) -> None:
        self._update("labels", labels)

    def take(self, found: d.Instruction) -> tuple[str, ...]:
        """An expanded instruction that changes nothing else. What it brings that its own text does not have: ports of
        a range. Raises DockerfileError."""
        match found:
            case d.Label():
                self.label({pair.key: pair.value for pair in found.pairs})
            case d.Expose():
                ports = _exposed(found)
                self._update("exposed_ports", {port: {} for port in ports})
                return ports
            case d.Volume():
                self._update("volumes", {path: {} for path in found.paths})
            case d.User():
                self._set(user=found.user)
            case d.StopSignal():
                self._set(stop_signal=_signal(found))
            case d.Healthcheck():
                self._set(healthcheck=_health(found))
            case d.Shell():
                self._set(shell=list(found.args))
            case d.Cmd():
                self._set(cmd=self._command(found.command))
                self._commanded = True
            case d.Entrypoint():
                self._set(entrypoint=self._command(found.command))
                if not self._commanded:
                    self._set(cmd=UNSET)
            case d.OnBuild():
                self._set(on_build=[*(self.config.on_build or ()), found.trigger])
            case _:
                raise DockerfileError(f"{found.written.keyword} cannot be here", found.written.span)
        return ()

    def document(self) -> Json:
        """As an image's configuration has it: nothing that is empty."""
        return {key: value for key, value in self.config.given_json().items() if value not in (None, "", [], {})}

    def _command(self, command: d.Command) -> list[str]:
        return list(with_shell(command, self.shell))

    def _set(self, **values: Any) -> None:
        self.config = self.config.replace(**values)

    def _update(self, name: str, values: Mapping[str, Any]) -> None:
        if name not in self._own:
            self._own[name] = dict(getattr(self.config, name) or {})
            self._set(**{name: self._own[name]})
        self._own[name].update(values)


def environment_of(config: ImageConfig) -> dict[str, str]:
    """Its variables, by name."""
    return dict(entry.partition("=")[::2] for entry in config.env or ())


def _exposed(found: d.Expose) -> tuple[str, ...]:
    try:
        return exposed(found.ports)
    except ValueError as error:
        raise DockerfileError(str(error), found.written.span) from None


def _signal(found: d.StopSignal) -> str:
    try:
        signals.number(found.signal)
    except Invalid as error:
        raise DockerfileError(str(error), found.written.span) from None
    return found.signal


def _health(found: d.Healthcheck) -> HealthConfig:
    return HealthConfig(
        test=list(found.test),
        interval=found.interval or UNSET,
        timeout=found.timeout or UNSET,
        start_period=found.start_period or UNSET,
        start_interval=found.start_interval or UNSET,
        retries=found.retries or UNSET,
    )
