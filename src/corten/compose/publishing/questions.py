"""What is refused before a project is published, and what is asked: in Docker Compose's words."""

from __future__ import annotations

from corten.compose.document.read import SIZE, nodes
from corten.compose.errors import ComposeError
from corten.compose.loader.files import read_file
from corten.compose.publishing import sensitive
from corten.compose.refusals import Refused
from corten.compose.variables import dotenv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from corten.compose.model import Project, ServiceVolume
    from corten.compose.publishing.layers import Published

_DATA = "please double check that you are not leaking sensitive data\n"


class Declined(Exception):
    """A question was answered with no."""


def check(project: Project, published: Published, with_variables: bool, ask: Callable[[str], bool]) -> None:
    """`ask` shows a question and answers it. Raises Refused or ComposeError, and Declined."""
    _images(project)
    for question in (_mounts(project), _secrets(project, published)):
        if question and not ask(question):
            raise Declined
    if not with_variables:
        _refuse_variables(project, published)
    elif (question := _variables(project)) and not ask(question):
        raise Declined


def _images(project: Project) -> None:
    built = [name for name, each in sorted(project.services.items()) if each.build is not None and not each.image]
    if built:
        said = "your Compose stack cannot be published as it only contains a build section for service(s):"
        raise ComposeError(
            "\n".join((said, *(f'- "{name}"' for name in built))), path=f"services.{built[0]}",
            remedy="give it image as well, and push that",
        ).located(project.positions)  # fmt: skip
    for name, each in sorted(project.services.items()):
        if not each.image and each.provider is None:
            raise Refused(f'"service.image" attribute is mandatory to push an image for service "{name}"')


def _mounts(project: Project) -> str:
    lines = []
    for name, each in sorted(project.services.items()):
        binds = [_shown(volume) for volume in each.volumes if volume.type == "bind"]
        lines += [name, *binds] if binds else []
    if not lines:
        return ""
    return (
        "you are about to publish bind mounts declaration within your OCI artifact.\n"
        "only the bind mount declarations will be added to the OCI artifact (not content)\n"
        "please double check that you are not mounting potential user's sensitive directories or data\n"
        + "".join(f"{line}\n" for line in lines)
        + "Are you ok to publish these bind mount declarations?"
    )


def _shown(volume: ServiceVolume) -> str:
    return f"{volume.source}:{volume.target}:{'ro' if volume.read_only else 'rw'}"


def _secrets(project: Project, published: Published) -> str:
    found = sensitive.find(_texts(project, published))
    if not found:
        return ""
    lines = [f'{each.kind}\n"{each.key}": {each.shown}\n' for each in found]
    said = f"you are about to publish sensitive data within your OCI artifact.\n{_DATA}"
    return f"{said}{''.join(lines)}Are you ok to publish these sensitive data?"


def _texts(project: Project, published: Published) -> Iterator[tuple[str, str]]:
    for layer in published.files:
        for root in nodes(layer.content, layer.name)[1]:
            yield from sensitive.texts(root)
    for layer in published.variables:
        yield from dotenv.parse_raw(layer.content, layer.name, lambda name: None).items()
    files = [*project.configs.values(), *project.secrets.values()]
    for path in sorted({each.file for each in files if each.file}):
        yield path, read_file(path, SIZE).decode("utf-8", "replace")


def _refuse_variables(project: Project, published: Published) -> None:
    said = []
    for name, each in sorted(project.services.items()):
        said += [f'service "{name}" has env_file declared.'] if each.env_file else []
        said += [f'service "{name}" has environment variable(s) declared.'] if each.environment else []
    said += [
        f'config "{each.name or key}" is declare as an environment variable.'
        for key, each in sorted(project.configs.items())
        if each.environment
    ]
    if said:
        said += [
            "To avoid leaking sensitive data, you must either explicitly allow the sending of environment variables by "
            "using the --with-env flag,",
            "or remove sensitive data from your Compose configuration",
        ]
        raise Refused("\n".join(said))


def _variables(project: Project) -> str:
    lines = []
    for name, each in sorted(project.services.items()):
        if each.environment:
            lines.append(f"Service/Config  {name}\n")
            lines += [f"{key}={'' if value is None else value}\n" for key, value in sorted(each.environment.items())]
    for key, config in sorted(project.configs.items()):
        if config.environment:
            lines.append(f"Service/Config  {config.name or key}\n{config.name or key}={config.environment}\n")
    if not lines:
        return ""
    said = f"you are about to publish environment variables within your OCI artifact.\n{_DATA}"
    return f"{said}{''.join(lines)}Are you ok to publish these environment variables?"
