"""Images pinned to the digests that their registries have for them."""

from __future__ import annotations

from corten.client import images
from corten.client.errors import BadAnswer
from corten.spec import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.session import Session
    from corten.compose.document import Tree
    from corten.compose.model import Project


def resolved(project: Project, session: Session) -> Project:
    """The engine asks the registries. Raises Invalid for a bad reference, ApiError."""
    from msgspec.structs import replace

    services = {
        name: replace(service, image=_pinned(service.image, session)) for name, service in project.services.items()
    }
    return replace(project, services=services)


def resolved_tree(tree: Tree, session: Session) -> None:
    """The same of a tree, which is changed."""
    services = tree.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        if isinstance(service, dict) and isinstance(image := service.get("image"), str):
            service["image"] = _pinned(image, session)


def only_images(project: Project) -> Project:
    """A file to be given behind the others with -f."""
    from corten.compose.model import Project as Made
    from corten.compose.model import Service

    return Made(services={name: Service(image=service.image) for name, service in project.services.items()})


def only_images_tree(tree: Tree) -> None:
    services = tree.get("services")
    kept: Tree = {}
    for name, service in services.items() if isinstance(services, dict) else ():
        kept[name] = {key: each for key, each in service.items() if key == "image"} if isinstance(service, dict) else {}
    tree.clear()
    tree["services"] = kept


def _pinned(image: str, session: Session) -> str:
    """docker.io/library/nginx:1@sha256:...; "" stays."""
    if not image:
        return ""
    named = reference.parse(image).tagged
    if named.digest:
        return f"{named.name}@{named.digest}"
    from corten.cli import credentials

    answer = images.distribution(session.client, str(named), credentials.header(session.config, named.domain))
    digest = answer.get("Descriptor", {}).get("digest", "")
    if not digest:
        raise BadAnswer(f"the engine knows no digest of {image}")
    return f"{named}@{digest}"
