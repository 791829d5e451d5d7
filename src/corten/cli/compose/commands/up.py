"""corten compose up: make what the files say, start it, and show its output."""

from __future__ import annotations

from msgspec.structs import replace

from corten.cli.compose import imaging
from corten.cli.compose.context import Command, refuse_both
from corten.cli.compose.performing import perform, provided
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, INT, LIST, STRING, flag
from corten.compose.observed import observe
from corten.compose.plan import images
from corten.compose.plan.asked import ALWAYS, DIVERGED, NEVER, Asked
from corten.compose.plan.up import up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread

    from corten.cli.compose.attaching import Attached
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.execute.doing import Doing
    from corten.compose.model import Project
    from corten.compose.observed import Observed
    from corten.compose.plan.graph import Graph

INTERRUPTED = 130


def scales(texts: list[str]) -> dict[str, int]:
    """SERVICE=NUM. Raises CommandError."""
    found = {}
    for text in texts:
        name, equals, number = text.partition("=")
        if not equals or not name or not number.isdigit():
            raise CommandError(f"invalid scale option {text!r}: should be SERVICE=NUM")
        found[name] = int(number)
    return found


def asked(flags: Flags, project: Project) -> Asked:
    """What the flags of up, create and scale ask for. Raises CommandError."""
    refuse_both(flags, "force-recreate", "no-recreate")
    recreate = ALWAYS if flags.on("force-recreate") else NEVER if flags.on("no-recreate") else DIVERGED
    wanted = scales(flags.many("scale"))
    for name in wanted:
        if name not in project.services:
            raise CommandError(f"no such service: {name}")
    return Asked(
        named=tuple(flags.words),
        recreate=recreate,
        recreate_dependencies=NEVER if recreate == NEVER else DIVERGED,
        scales=wanted,
        remove_orphans=flags.on("remove-orphans"),
        replace_volumes=flags.on("yes"),
    )


def chosen(compose: Compose, flags: Flags) -> Project:
    """The services that are named with what they depend on; with --no-deps those alone."""
    project = compose.project(flags.words)
    return without_dependencies(project, flags.words) if flags.on("no-deps") and flags.words else project


def without_dependencies(project: Project, names: list[str]) -> Project:
    import msgspec

    kept = {
        name: msgspec.structs.replace(
            each, depends_on={other: given for other, given in each.depends_on.items() if other in names}
        )
        for name, each in project.services.items()
        if name in names
    }
    rest = {name: each for name, each in project.services.items() if name not in kept}
    return msgspec.structs.replace(project, services=kept, disabled={**project.disabled, **rest})


def ready(compose: Compose, project: Project, flags: Flags) -> None:
    """Its images, pulled or built."""
    policy = flags.text("pull") if "pull" in flags else ""
    if policy not in ("", "always", "missing", "never", "policy", "build"):
        raise CommandError(f"invalid --pull option {policy!r}")
    policy = "" if policy == "policy" else policy
    present = imaging.present(compose.client, images.needed(project))
    build, no_build = flags.on("build"), flags.on("no-build")
    wanted = images.wanted(project, project.services.values(), present, build, no_build, policy)
    shown = report(compose.progress, compose.dry_run)
    if compose.explain and wanted:
        from corten.cli.output import out

        out("\n".join(f"{each.action} image {each.image} of {each.service}: {each.cause}" for each in wanted))
    if compose.dry_run:
        for each in wanted:
            shown.event("Service", each.service, "Pulling" if each.action == images.PULL else "Building")
        return
    quiet_build = "quiet-build" in flags and flags.on("quiet-build")
    imaging.ensure(compose, project, wanted, shown, flags.on("quiet-pull"), quiet_build)


def run(compose: Compose, flags: Flags) -> int:
    _check(flags)
    project = chosen(compose, flags)
    if compose.outer.fetched:
        from corten.cli.compose.asking import ask_of_remote

        ask_of_remote(compose, project, flags.on("yes"))
    project = provided(compose, project)
    order = replace(
        asked(flags, project),
        seconds=flags.number("timeout") if "timeout" in flags else None,
        start=not flags.on("no-start"),
        wait=flags.on("wait"),
        renew_volumes=flags.on("renew-anon-volumes"),
        recreate_dependencies=_dependencies(flags),
    )
    ready(compose, project, flags)
    observed = observe(compose.client, project)
    if flags.on("rollout"):
        from corten.cli.compose import rollout

        return rollout.perform(compose, project, observed, order)
    graph = up(project, observed, order)
    detached = flags.on("detach") or flags.on("wait") or flags.on("no-start") or compose.dry_run
    if detached:
        seconds = float(flags.number("wait-timeout")) if "wait-timeout" in flags else 0
        perform(compose, project, observed, graph, not order.renew_volumes, seconds)
        return 0
    return _attached(compose, project, observed, graph, order, flags)


def _dependencies(flags: Flags) -> str:
    if flags.on("no-recreate"):
        return NEVER
    return ALWAYS if flags.on("always-recreate-deps") else DIVERGED


_FOREGROUND = (
    "abort-on-container-exit",
    "abort-on-container-failure",
    "attach",
    "attach-dependencies",
    "exit-code-from",
    "watch",
)


def _check(flags: Flags) -> None:
    for option in ("wait", "detach"):
        if flags.on(option) and any(name in flags for name in _FOREGROUND):
            *others, last = (f"--{name}" for name in _FOREGROUND)
            raise CommandError(f"--{option} cannot be combined with {', '.join(others)} or {last}")
    refuse_both(flags, "build", "no-build")
    refuse_both(flags, "always-recreate-deps", "no-recreate")
    refuse_both(flags, "attach", "attach-dependencies")
    refuse_both(flags, "abort-on-container-exit", "abort-on-container-failure")


def _attached(compose: Compose, project: Project, observed: Observed, graph: Graph, order: Asked, flags: Flags) -> int:
    from corten.cli.compose.attaching import Attached
    from corten.cli.compose.printing import Printer

    services = _shown(project, flags)
    width = max(
        (len(f"{name}-{each.replicas}") for name, each in project.services.items() if each.provider is None), default=0
    )
    colour = compose.colour and not flags.on("no-color")
    printer = Printer(not flags.on("no-log-prefix"), colour, width)
    attached = Attached(compose, project, services, printer, flags.on("timestamps"))
    attached.seconds = order.seconds
    attached.code_of = flags.text("exit-code-from")
    if attached.code_of and attached.code_of not in project.services:
        raise CommandError(f"no such service: {attached.code_of}")
    if flags.on("abort-on-container-exit") or attached.code_of:
        attached.abort = "exit"
    elif flags.on("abort-on-container-failure"):
        attached.abort = "failure"
    leaving = _stopped(graph)
    for each in observed.containers:
        if each.runs and not each.oneoff and each.service in project.services and each.id not in leaving:
            attached.attach(compose.client, each.service, each.name, each.id)

    def before(doing: Doing) -> None:
        doing.before_start = attached.attach

    watching = _watching(compose, project, attached, flags) if flags.on("watch") else None
    attached.listen()
    try:
        perform(compose, project, observed, graph, not order.renew_volumes, prepare=before)
    except CommandError as error:
        if error.code == INTERRUPTED:
            return attached.interrupted()
        raise
    if watching is not None:
        watching.start()
    return attached.wait()


def _watching(compose: Compose, project: Project, attached: Attached, flags: Flags) -> Thread:
    """Raises CommandError when there is nothing to watch."""
    from threading import Thread

    from corten.cli.compose.watching import watch, watched

    names = sorted({each.service.name for each in watched(project, flags.words)})
    beside = compose.beside()
    attached.lasting = True

    def run() -> None:
        try:
            watch(beside, project, names, "quiet-build" in flags and flags.on("quiet-build"))
        except Exception as error:  # of any kind: it is raised again in the thread that waits
            attached.fail(error)

    return Thread(target=run, daemon=True)


def _stopped(graph: Graph) -> set[str]:
    """Ids of containers that the plan stops or removes."""
    return {str(getattr(step.operation, "ref", "")) for step in graph if type(step.operation).__name__ in _STOPS}


_STOPS = ("Stop", "Remove")


def _shown(project: Project, flags: Flags) -> set[str]:
    """The services whose output is shown: those that are named, or all but what says `attach: false`."""
    if flags.many("attach"):
        names = set(flags.many("attach"))
        if missing := sorted(names - set(project.services)):
            raise CommandError(f"no such service: {missing[0]}")
        return names
    named = set(flags.words) if flags.words and not flags.on("attach-dependencies") else set(project.services)
    left = {name for name, each in project.services.items() if each.attach is False or each.provider is not None}
    return named - left - set(flags.many("no-attach"))


CREATE_FLAGS = (
    flag("build", BOOL, "Build images first"),
    flag("force-recreate", BOOL, "Make containers anew also when nothing has changed"),
    flag("no-build", BOOL, "Build no image, also where the files say so"),
    flag("no-recreate", BOOL, "Leave containers that are there as they are"),
    flag("pull", STRING, "When images are pulled: always, missing, never or policy", default="policy"),
    flag("quiet-pull", BOOL, "Pull without showing progress"),
    flag("remove-orphans", BOOL, "Remove containers of services that the files do not have"),
    flag("scale", LIST, "How many containers a service has (SERVICE=NUM)"),
    flag("yes", BOOL, "Assume yes for what would be asked", "y"),
)
COMMAND = Command(
    run,
    "[OPTIONS] [SERVICE...]",
    "Create and start everything",
    (
        *CREATE_FLAGS,
        flag("abort-on-container-exit", BOOL, "Stop all when a container has ended"),
        flag("abort-on-container-failure", BOOL, "Stop all when a container has failed"),
        flag("always-recreate-deps", BOOL, "Make containers anew that others depend on"),
        flag("attach", LIST, "Show the output of this service only"),
        flag("attach-dependencies", BOOL, "Show the output of services that others depend on as well"),
        flag("detach", BOOL, "Leave containers running in the background", "d"),
        flag("exit-code-from", STRING, "End with the code of this service, when any container has ended"),
        flag("menu", BOOL, "Accepted and not used", hidden=True),
        flag("no-attach", LIST, "Do not show the output of this service"),
        flag("no-color", BOOL, "No colours"),
        flag("no-deps", BOOL, "Do not start what services depend on"),
        flag("no-log-prefix", BOOL, "Output without the names of containers"),
        flag("no-start", BOOL, "Create, and do not start"),
        flag("quiet-build", BOOL, "Build without showing progress"),
        flag("renew-anon-volumes", BOOL, "Make anonymous volumes anew too", "V"),
        flag("rollout", BOOL, "Replace containers one by one, each once the new one is healthy"),
        flag("timeout", INT, "Seconds for containers to stop", "t"),
        flag("timestamps", BOOL, "Show when each line was written"),
        flag("watch", BOOL, "Bring changed files into containers as well, until Ctrl-C", "w"),
        flag("wait", BOOL, "Wait until all run or are healthy; in the background"),
        flag("wait-timeout", INT, "Seconds for that at most"),
    ),
)
