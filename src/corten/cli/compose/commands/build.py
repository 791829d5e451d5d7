"""corten compose build: the images of services."""

from __future__ import annotations

from corten.cli.compose import building
from corten.cli.compose.context import Command
from corten.cli.compose.imaging import push_all
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, BYTES, LIST, STRING, flag
from corten.cli.output import out
from corten.client import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    project = compose.project(flags.words)
    names = [
        name
        for name, each in sorted(project.services.items())
        if each.build is not None and (not flags.words or flags.on("with-dependencies") or name in flags.words)
    ]
    if flags.on("print"):
        targets = {name: building.target(project, project.services[name]) for name in names}
        out(quickjson.dumps({"group": {"default": {"targets": names}}, "target": targets}))
        return 0
    if not names:
        raise CommandError("No services to build")
    shown = report("quiet" if flags.on("quiet") else compose.progress, compose.dry_run)
    if compose.dry_run:
        for name in names:
            shown.event("Service", name, "Built")
        return 0
    options = [f"--{name}" for name in ("no-cache", "pull", "check") if flags.on(name)]
    options += [f"--build-arg={text}" for text in flags.many("build-arg")]
    options += [f"--ssh={text}" for text in flags.many("ssh")]
    options += [f"--memory={flags.number('memory')}"] if flags.number("memory") else []
    options += [f"--{kind}={flags.text(kind)}" for kind in ("provenance", "sbom") if flags.text(kind)]
    building.build(compose, project, names, options, flags.on("quiet"), shown)
    if flags.on("push"):
        return push_all(compose, [project.services[name] for name in names], shown, ignore=False)
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Build the images of services",
    (
        flag("build-arg", LIST, "Set a variable of the Dockerfiles (NAME=VALUE)"),
        flag("builder", STRING, "Accepted and not used", hidden=True),
        flag("check", BOOL, "Show what is to be said of the Dockerfiles, and build nothing"),
        flag("memory", BYTES, "Memory limit of each RUN", "m"),
        flag("no-cache", BOOL, "Do not use what was made before"),
        flag("print", BOOL, "Show what would be built as a bake file, and build nothing"),
        flag("provenance", STRING, "How the images were made, beside them"),
        flag("pull", BOOL, "Ask the registry for newer base images"),
        flag("push", BOOL, "Push the images"),
        flag("quiet", BOOL, "Say nothing", "q"),
        flag("sbom", STRING, "Which packages are in the images, beside them"),
        flag("ssh", LIST, "An SSH agent that steps may use"),
        flag("with-dependencies", BOOL, "Those of services that others depend on as well"),
    ),
)
