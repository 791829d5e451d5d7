"""corten compose config: the project that the files say, or one thing of it."""

from __future__ import annotations

from corten.cli.compose import digests
from corten.cli.compose.command import ComposeCommand
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.cli.output import draw, out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.cli.compose.session import ComposeSession
    from corten.cli.flags import Flags
    from corten.compose.model import Project


def run(session: ComposeSession, flags: Flags) -> int:
    for name, show in LISTS.items():
        if flags.value(name):
            lines = list(show(session, flags))
            if lines and not flags.on("quiet"):
                out("\n".join(lines))
            return 0
    text = _text(session, flags)
    if flags.on("quiet"):
        return 0
    if flags.text("output"):
        _save(flags.text("output"), text)
    else:
        draw(text, end="")
    return 0


def _text(session: ComposeSession, flags: Flags) -> str:
    from corten.compose.output import printed

    form = flags.text("format") or "yaml"
    if form not in ("yaml", "json"):
        raise CommandError(f'unsupported format "{form}"')
    if flags.on("no-interpolate"):
        return _uninterpolated(session, flags, form)
    project = _project(session, flags, flags.words)
    if not flags.on("no-consistency"):
        from corten.compose.loader.consistency import check_container_names

        check_container_names(project)
    if flags.on("resolve-image-digests") or flags.on("lock-image-digests"):
        project = digests.resolved(project, session.session)
    if flags.on("lock-image-digests"):
        project = digests.only_images(project)
    return printed(project, form)


def _uninterpolated(session: ComposeSession, flags: Flags, form: str) -> str:
    from corten.compose.output import printed_tree

    model = session.model(interpolate=False, **_steps(flags))
    tree = model.tree
    if flags.on("resolve-image-digests") or flags.on("lock-image-digests"):
        digests.resolved_tree(tree, session.session)
    if flags.on("lock-image-digests"):
        digests.only_images_tree(tree)
    return printed_tree(tree, form)


def _project(session: ComposeSession, flags: Flags, services: Iterable[str] = (), env: bool = True) -> Project:
    interpolate = not flags.on("no-interpolate")
    return session.project(tuple(services), interpolate=interpolate, resolve_env=env, **_steps(flags))


def _steps(flags: Flags) -> dict[str, bool]:
    return {
        "normalize": not flags.on("no-normalize"),
        "resolve_paths": not flags.on("no-path-resolution"),
        "consistency": not flags.on("no-consistency"),
    }


def _save(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise CommandError(f"open {path}: {(error.strerror or '').lower()}") from None


# ------------------------------------------------------------------------------------------------------------- lists


def _services(session: ComposeSession, flags: Flags) -> Iterable[str]:
    if flags.on("no-interpolate"):
        services = session.model(interpolate=False, **_steps(flags)).tree.get("services")
        return sorted(services) if isinstance(services, dict) else ()
    from corten.compose.loader.select import in_order

    return in_order(_project(session, flags, env=False))


def _volumes(session: ComposeSession, flags: Flags) -> Iterable[str]:
    return sorted(_project(session, flags, env=False).volumes)


def _networks(session: ComposeSession, flags: Flags) -> Iterable[str]:
    return sorted(_project(session, flags, env=False).networks)


def _models(session: ComposeSession, flags: Flags) -> Iterable[str]:
    models = _project(session, flags, env=False).models
    return [model.model for _, model in sorted(models.items()) if model.model]


def _hashes(session: ComposeSession, flags: Flags) -> Iterable[str]:
    from corten.compose.output import service_hash

    services = _project(session, flags, env=False).services
    names = sorted(services) if flags.text("hash") == "*" else sorted(flags.text("hash").split(","))
    for name in names:
        if name not in services:
            raise CommandError(f"no such service: {name}: not found")
        yield f"{name} {service_hash(services[name])}"


def _profiles(session: ComposeSession, flags: Flags) -> Iterable[str]:
    project = _project(session, flags, flags.words, env=False)
    every = (*project.services.values(), *project.disabled.values())
    return sorted({profile for service in every for profile in service.profiles})


def _images(session: ComposeSession, flags: Flags) -> Iterable[str]:
    project = _project(session, flags, flags.words, env=False)
    return [project.image_of(service) for _, service in sorted(project.services.items())]


def _variables(session: ComposeSession, flags: Flags) -> Iterable[str]:
    from corten.cli.compose.variables import shown
    from corten.compose.variables.used import variables

    model = session.model(interpolate=False, resolve_env=False, **_steps(flags))
    return shown(variables(model.tree), flags.text("format")).splitlines()


def _environment(session: ComposeSession, flags: Flags) -> Iterable[str]:
    return sorted(f"{name}={value}" for name, value in _project(session, flags, flags.words).environment.items())


LISTS = {
    "services": _services,
    "volumes": _volumes,
    "networks": _networks,
    "models": _models,
    "hash": _hashes,
    "profiles": _profiles,
    "images": _images,
    "variables": _variables,
    "environment": _environment,
}

COMMAND = ComposeCommand(
    run,
    "[OPTIONS] [SERVICE...]",
    "Show the project that the files say, in its full form",
    (
        flag("environment", BOOL, "Show the variables that texts were interpolated with"),
        flag("format", STRING, "yaml or json; of --variables also table"),
        flag("hash", STRING, 'Show the hashes of these services (NAME,...), or of all ("*")'),
        flag("images", BOOL, "Show the names of images"),
        flag("lock-image-digests", BOOL, "Show a file that pins the images to their digests"),
        flag("models", BOOL, "Show the names of models"),
        flag("networks", BOOL, "Show the names of networks"),
        flag("no-consistency", BOOL, "Do not check that what is referred to is there"),
        flag("no-env-resolution", BOOL, "Accepted as Docker Compose does; files of variables are read all the same"),
        flag("no-interpolate", BOOL, "Leave variables as they are"),
        flag("no-normalize", BOOL, "Leave out what follows from what the files say"),
        flag("no-path-resolution", BOOL, "Leave relative paths as they are"),
        flag("output", STRING, "Write to this file", "o"),
        flag("profiles", BOOL, "Show the names of profiles"),
        flag("quiet", BOOL, "Only check the files", "q"),
        flag("resolve-image-digests", BOOL, "Pin the images to their digests"),
        flag("services", BOOL, "Show the names of services"),
        flag("variables", BOOL, "Show the variables that the files use, and their defaults"),
        flag("volumes", BOOL, "Show the names of volumes"),
    ),
)
