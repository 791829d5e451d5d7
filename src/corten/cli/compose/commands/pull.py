"""corten compose pull: get the images of services."""

from __future__ import annotations

from corten.cli.compose import imaging
from corten.cli.compose.context import Command
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, STRING, flag
from corten.compose.plan.images import PULL, PULL_OR_BUILD, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags


def run(compose: Compose, flags: Flags) -> int:
    policy = flags.text("policy")
    if policy not in ("", "missing", "always"):
        raise CommandError(f"invalid --policy {policy!r}: must be missing or always")
    project = compose.project(flags.words)
    names = [name for name in project.services if not flags.words or flags.on("include-deps") or name in flags.words]
    services = [project.services[name] for name in sorted(names)]
    have = imaging.present(compose.client, [each.image for each in services if each.image])
    wanted = []
    shown = report("quiet" if flags.on("quiet") else compose.progress, compose.dry_run)
    for each in services:
        if each.provider is not None or not each.image or each.pull_policy in ("never", "build"):
            shown.event("Service", each.name, "Skipped")
            continue
        if each.build is not None and flags.on("ignore-buildable"):
            shown.event("Service", each.name, "Skipped")
            continue
        missing_only = (policy or each.pull_policy) in ("missing", "if_not_present")
        if missing_only and each.image in have:
            shown.event("Service", each.name, "Skipped")
            continue
        wanted.append(Wanted(each.name, each.image, PULL_OR_BUILD if each.build is not None else PULL, "pull"))
    if compose.dry_run:
        for each_wanted in wanted:
            shown.event("Service", each_wanted.service, "Pulled")
        return 0
    ignore = flags.on("ignore-pull-failures")
    failed = imaging.pull_all(compose, project, wanted, shown, quiet=False, ignore=ignore)
    if failed:
        shown.warning(f"build what could not be pulled: corten compose build {' '.join(sorted(failed))}")
    return 0


COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Get the images of services",
    (
        flag("ignore-buildable", BOOL, "Not those that can be built"),
        flag("ignore-pull-failures", BOOL, "Go on when an image cannot be had"),
        flag("include-deps", BOOL, "Those of services that others depend on as well"),
        flag("parallel", BOOL, "Accepted and not used", default=True, hidden=True),
        flag("policy", STRING, "missing or always"),
        flag("quiet", BOOL, "Say nothing", "q"),
    ),
)
