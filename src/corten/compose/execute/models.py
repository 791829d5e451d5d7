"""Models that services use: Docker's model runner has them, a program beside Docker's client (`docker model`).

    docker-model status --json                       {"endpoint": URL}
    docker-model ls --json                           [{"tags": [NAME, ...]}, ...]
    docker-model pull NAME                           of one that is not there
    docker-model configure [--context-size N] NAME [-- FLAG...]

Services get the endpoint and the model's name as variables: KEY_URL and KEY_MODEL, unless they say others
(compose-spec, models; docker/compose, pkg/compose/model.go).
"""

from __future__ import annotations

from msgspec import DecodeError, Struct, json
from msgspec.structs import replace

from corten.compose.errors import ComposeError
from corten.compose.execute.running import plugin
from corten.compose.refusals import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from corten.compose.execute.reports import Report
    from corten.compose.execute.running import Running
    from corten.compose.model import Model, Project, Service

    T = TypeVar("T")

_MOST = 4 << 20  # bytes of an answer


class _Status(Struct):
    endpoint: str = ""


class _Present(Struct):
    tags: list[str] | None = None


def furnished(project: Project, report: Report, running: Running, dry_run: bool = False) -> Project:
    """Have the models at hand, but for `dry_run`; the project with what its services are to know of them. Raises
    Refused; ComposeError with the line of a model when there is no runner."""
    if not project.models:
        return project
    runner = _Runner(project, running)
    endpoint = runner.asked(_Status, "status", "--json").endpoint
    if not dry_run:
        present = {tag for each in runner.asked(list[_Present], "ls", "--json") for tag in each.tags or ()}
        for key, model in sorted(project.models.items()):
            _prepare(runner, key, model, present, report)
    services = {name: _informed(each, project, endpoint) for name, each in project.services.items()}
    return replace(project, services=services)


def _prepare(runner: _Runner, key: str, model: Model, present: set[str], report: Report) -> None:
    name = model.name or key
    if model.model.startswith("-"):
        raise Refused(f"model {name}: {model.model!r} is no name of a model")
    if model.model not in present:
        report.event("Model", name, "Pulling")
        runner.run("pull", model.model)
        report.event("Model", name, "Pulled")
    report.event("Model", name, "Configuring")
    size = ["--context-size", str(model.context_size)] if model.context_size > 0 else []
    flags = ["--", *model.runtime_flags] if model.runtime_flags else []
    runner.run("configure", *size, model.model, *flags)
    report.event("Model", name, "Configured")


def _informed(service: Service, project: Project, endpoint: str) -> Service:
    found = dict(service.environment)
    for key, given in service.models.items():
        prefix = key.upper().replace("-", "_")
        found[(given.model_var if given is not None else "") or f"{prefix}_MODEL"] = project.models[key].model
        found[(given.endpoint_var if given is not None else "") or f"{prefix}_URL"] = endpoint
    return replace(service, environment=found)


class _Runner:
    def __init__(self, project: Project, running: Running) -> None:
        self._running = running
        self._directory = project.working_dir
        self._program = plugin("model")
        if not self._program:
            key = min(project.models)
            remedy = "install Docker's model plugin, or give services the model's address by environment"
            error = ComposeError("'models' support requires Docker Model plugin", path=f"models.{key}", remedy=remedy)
            raise error.located(project.positions)

    def asked(self, kind: type[T], *words: str) -> T:
        said = self.run(*words)
        try:
            return json.decode(said, type=kind)
        except DecodeError as error:
            shown = said.decode("utf-8", "replace").strip()[:80]
            raise Refused(f"docker model {words[0]} says {shown!r}: {error}") from None

    def run(self, *words: str) -> bytes:
        """What it says. Raises Refused when it fails."""
        command = [self._program, *words]
        with self._running.begin(command, self._directory) as process:
            assert process.stdout is not None
            said = process.stdout.read(_MOST)
            if len(said) == _MOST:
                process.kill()
                raise Refused(f"docker model {words[0]} says more than {_MOST} bytes")
        if process.returncode:
            why = said.decode("utf-8", "replace").strip()[-200:]
            raise Refused(f"docker model {words[0]} failed: {why or f'exit status {process.returncode}'}")
        return said
