"""Services that a program provides: it is run for `up` and for `down`, and says in lines of JSON what dependents get.

    docker-TYPE compose metadata                      which options it takes, if it says so
    docker-TYPE compose --project-name=NAME up --KEY=VALUE SERVICE

Each line of the second is {"type": "info" | "error" | "setenv" | "rawsetenv" | "debug", "message": TEXT}; a setenv of
KEY=VALUE is SERVICE_KEY in the services that depend on it, the service's name in capitals, and rawsetenv KEY itself
(compose-spec, 05-services, provider; docker/compose, docs/extension.md). Their environment is the project's.
"""

from __future__ import annotations

import shutil

from msgspec import DecodeError, Struct, ValidationError, field, json
from msgspec.structs import replace

from corten.compose.execute.running import Running, plugin
from corten.compose.model import Project, Provider, Service
from corten.compose.plan.order import ordered
from corten.compose.refusals import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.compose.execute.reports import Report

_LINE = 1 << 16  # bytes of a line
_VARIABLES = 1000
_METADATA = 1 << 20  # bytes


def provide(project: Project, report: Report, running: Running) -> Project:
    """Run all providers; the project with what they set in the services that depend on them. Raises Refused."""
    services = dict(project.services)
    for name in ordered({each: service.depends_on for each, service in services.items()}):
        service = services[name]
        if service.provider is None:
            continue
        if others := [each for each in service.depends_on if each in services and services[each].provider is None]:
            raise Refused(
                f"service {name} has a provider, which is run before all containers: it cannot depend on {others[0]}"
            )
        report.event("Service", name, "Creating")
        found = run(project, service, "up", report, running)
        report.event("Service", name, "Created")
        for other, dependent in services.items():
            if name in dependent.depends_on and found:
                services[other] = replace(dependent, environment={**dependent.environment, **found})
    return replace(project, services=services)


def run(project: Project, service: Service, verb: str, report: Report, running: Running) -> dict[str, str]:
    """The variables that it sets, by the names that dependents see."""
    assert service.provider is not None
    program = _program(service.provider.type)
    options = _options(service.provider, verb, _metadata(program, project, service, running))
    command = [program, "compose", f"--project-name={project.name}", verb, *options, service.name]
    found: dict[str, str] = {}
    said = ""
    process = running.begin(command, project.working_dir)
    assert process.stdout is not None
    with process:
        try:
            while line := process.stdout.readline(_LINE):
                said = _take(_message(line, service), service, found, report) or said
        except Refused:
            process.kill()
            raise
    if process.returncode or said:
        raise Refused(f"the provider of service {service.name} failed: {said or f'exit status {process.returncode}'}")
    return found


def _take(message: tuple[str, str], service: Service, found: dict[str, str], report: Report) -> str:
    """Keep or show what it says; the text when it is an error."""
    kind, text = message
    if kind in ("setenv", "rawsetenv"):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Refused(f"the provider of service {service.name} sets {text[:80]!r}, which is no KEY=VALUE")
        found[key if kind == "rawsetenv" else f"{service.name.upper()}_{key}"] = value
        if len(found) > _VARIABLES:
            raise Refused(f"the provider of service {service.name} sets more than {_VARIABLES} variables")
    elif kind == "info":
        report.event("Service", service.name, text.partition("\n")[0])
    elif kind == "error":
        return text or "it does not say why"
    elif kind != "debug":
        raise Refused(f"the provider of service {service.name} says {kind[:80]!r}, which is no type of a message")
    return ""


def _message(line: bytes, service: Service) -> tuple[str, str]:
    try:
        found = json.decode(line, type=dict[str, str])
        return found["type"], found.get("message", "")
    except (DecodeError, ValidationError, KeyError):
        shown = line.decode("utf-8", "replace").strip()[:80]
        raise Refused(
            f"the provider of service {service.name} says {shown!r}, which is no JSON of type and message"
        ) from None


class _Parameter(Struct):
    name: str = ""
    required: bool = False


class _Command(Struct):
    parameters: list[_Parameter] | None = None


class _Metadata(Struct):
    """What `PROGRAM compose metadata` says; nothing of it where it says none."""

    description: str = ""
    up: _Command = field(default_factory=_Command)
    down: _Command = field(default_factory=_Command)

    @property
    def empty(self) -> bool:
        return not self.description and self.up.parameters is None and self.down.parameters is None


def _metadata(program: str, project: Project, service: Service, running: Running) -> _Metadata:
    with running.begin([program, "compose", "metadata"], project.working_dir) as process:
        assert process.stdout is not None
        said = process.stdout.read(_METADATA)
        if len(said) == _METADATA:
            process.kill()
            raise Refused(f"the provider of service {service.name} has metadata of more than {_METADATA} bytes")
    try:
        return _Metadata() if process.returncode else json.decode(said, type=_Metadata)
    except DecodeError:
        return _Metadata()  # it does not know that it can be asked


def _options(provider: Provider, verb: str, metadata: _Metadata) -> list[str]:
    """Those that the program takes for this. Raises Refused when one is missing."""
    command = metadata.up if verb == "up" else metadata.down
    known = {each.name: each.required for each in command.parameters or ()}
    if missing := [name for name, required in known.items() if required and name not in provider.options]:
        raise Refused(f'required parameter "{missing[0]}" is missing from provider "{provider.type}" definition')
    return [
        f"--{key}={value}"
        for key, values in provider.options.items()
        if metadata.empty or key in known
        for value in values
    ]


def _program(kind: str) -> str:
    """A plugin of Docker's client, or a program in PATH. Raises Refused when there is neither."""
    found = plugin(kind) or shutil.which(kind)
    if not found:
        raise Refused(f"provider {kind} is not there: neither docker-{kind} as a plugin nor {kind} in PATH")
    return found
