"""corten compose publish: the project's files to a registry, from where `-f oci://REFERENCE` takes them."""

from __future__ import annotations

from corten.cli.compose import imaging
from corten.cli.compose.asking import agreed
from corten.cli.compose.context import Command
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, LIST, STRING, flag
from corten.compose.publishing import artifact, questions
from corten.compose.publishing.artifact import Layer
from corten.compose.publishing.layers import published
from corten.spec.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.execute.reports import Report
    from corten.compose.model import Project

_DIGESTS = "image-digests.yaml"


def run(compose: Compose, flags: Flags) -> int:
    version = flags.text("oci-version")
    if version not in ("", *artifact.VERSIONS):
        raise CommandError(f"unsupported OCI version: {version}: {' and '.join(artifact.VERSIONS)} are known")
    reference = parse(flags.words[0]).tagged
    if reference.digest:
        raise CommandError(f"{flags.words[0]}: a project is published under a tag: leave the digest out")
    project = compose.outer.every_profile()
    files = published(project)
    try:
        questions.check(project, files, flags.on("with-env"), lambda text: flags.on("yes") or agreed(text))
    except questions.Declined:
        return 0
    layers = [*files.files, *(files.variables if flags.on("with-env") else ())]
    shown = report(compose.progress, compose.dry_run)
    _push_images(compose, project, shown)
    if flags.on("resolve-image-digests") or flags.on("app"):
        project = _pinned(project, compose)
        layers.append(_digests_of(project))
    shown.event("Project", reference.familiar, "Publishing")
    if not compose.dry_run:
        from corten.cli.compose.pushed import Publication, publish

        images = [each.image for _, each in sorted(project.services.items()) if each.image] if flags.on("app") else []
        publication = Publication(reference, layers, version, images)
        publish(publication, compose.session.config, flags.many("insecure-registry"))
    shown.event("Project", reference.familiar, "Published")
    return 0


def _push_images(compose: Compose, project: Project, shown: Report) -> None:
    """Of services that are built; one that cannot be pushed is a warning."""
    services = [each for _, each in sorted(project.services.items()) if each.build is not None]
    if compose.dry_run:
        for each in services:
            shown.event("Service", each.name, "Pushed")
    elif services:
        imaging.push_all(compose, services, shown, ignore=True)


def _pinned(project: Project, compose: Compose) -> Project:
    from corten.cli.compose.digests import resolved

    return resolved(project, compose.session)


def _digests_of(project: Project) -> Layer:
    from corten.cli.compose.digests import only_images
    from corten.compose.output import printed

    return Layer(artifact.FILE, _DIGESTS, printed(only_images(project), "yaml").encode())


COMMAND = Command(
    run,
    "[OPTIONS] REPOSITORY[:TAG]",
    "Put the project's files into a registry",
    (
        flag("app", BOOL, "Copy the images of services there too, and pin them to their digests"),
        flag("insecure-registry", LIST, "A registry that may do without TLS", hidden=True),
        flag("oci-version", STRING, "Version of the OCI specification: 1.1 or 1.0 (what the registry takes)"),
        flag("resolve-image-digests", BOOL, "Pin the images to their digests"),
        flag("with-env", BOOL, "Files of variables and variables as well"),
        flag("yes", BOOL, "Assume yes for what would be asked", "y"),
    ),
    least=1,
    most=1,
)
