"""corten compose run: a command in a new container of a service, in the place of what the service runs."""

from __future__ import annotations

import os
import secrets

from msgspec.structs import replace

from corten.cli import attached
from corten.cli.attached import STDIN, STDOUT, ExitWatch, Interrupted
from corten.cli.commands.run import refusal
from corten.cli.compose import imaging
from corten.cli.compose.commands.up import without_dependencies
from corten.cli.compose.context import Command
from corten.cli.compose.performing import perform, provided
from corten.cli.compose.reporting import report
from corten.cli.errors import CommandError
from corten.cli.flags import BOOL, ENV, LABEL, LIST, STRING, flag
from corten.cli.options import texts
from corten.cli.output import out
from corten.cli.streams import Pump
from corten.cli.terminal import Raw, is_terminal
from corten.client import containers
from corten.client.errors import ApiError
from corten.compose.execute.making import put
from corten.compose.loader import shellwords
from corten.compose.model import Port, Project, Service, ServiceVolume, VolumeBind, VolumeOptions
from corten.compose.observed import observe
from corten.compose.plan import images
from corten.compose.plan.asked import Asked
from corten.compose.plan.operations import Create
from corten.compose.plan.up import up
from corten.compose.requests.container import container
from corten.compose.requests.mounts import placed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.compose.context import Compose
    from corten.cli.flags import Flags
    from corten.compose.execute.doing import Doing

_SHORT = 12  # characters of the slug that are in the name


def run(compose: Compose, flags: Flags) -> int:
    name, *command = flags.words
    project = compose.project([name])
    if compose.outer.fetched:
        from corten.cli.compose.asking import ask_of_remote

        ask_of_remote(compose, project, flags.on("yes"), flags.many("env"))
    project = provided(compose, project)
    if name not in project.services:
        raise CommandError(f"no such service: {name}")
    service = _changed(project.services[name], command, flags)
    if flags.on("no-deps"):
        project = without_dependencies(project, [name])
        service = replace(service, depends_on={})
    whole = replace(project, services={**project.services, name: service})
    _images(compose, whole, flags)
    observed = observe(compose.client, whole)
    # The networks and volumes of the service are made with those of what it depends on.
    order = Asked(pinned=(name,), remove_orphans=flags.on("remove-orphans"), ignore_orphans=True)
    shown = report("quiet" if flags.on("quiet") else compose.progress, compose.dry_run)
    doing = perform(compose, whole, observed, up(whole, observed, order), shown=shown)
    if compose.dry_run:
        return 0
    id = _create(compose, whole, service, doing, flags)
    return _go(compose, service, id, flags)


def _changed(service: Service, command: list[str], flags: Flags) -> Service:
    """The service as the flags want it for once."""
    environment = dict(service.environment)
    for text in texts.environment(flags.many("env-from-file"), flags.many("env")):
        key, equals, value = text.partition("=")
        environment[key] = value if equals else None
    ports = service.ports if flags.on("service-ports") else ()
    tty = not flags.on("no-TTY") and is_terminal(STDIN) and is_terminal(STDOUT)
    changes: dict[str, object] = {
        "environment": environment,
        "ports": (*ports, *_ports(flags.many("publish"))),
        "expose": service.expose if flags.on("service-ports") else (),
        "tty": tty,
        "stdin_open": flags.on("interactive"),
        "restart": "no",
        "container_name": "",
        "labels": {**service.labels, **flags.pairs("label")},
        "cap_add": (*service.cap_add, *flags.many("cap-add")),
        "cap_drop": (*service.cap_drop, *flags.many("cap-drop")),
        "volumes": (*service.volumes, *(_volume(text) for text in flags.many("volume"))),
    }
    for key, option in (("user", "user"), ("working_dir", "workdir")):
        if flags.text(option):
            changes[key] = flags.text(option)
    if "entrypoint" in flags:
        changes["entrypoint"] = _words(flags.text("entrypoint"))
        changes["command"] = ()
    if command:
        changes["command"] = tuple(command)
    if service.deploy is not None:
        changes["deploy"] = replace(service.deploy, restart_policy=None, replicas=None)
    return replace(service, **changes)


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shellwords.split(text))
    except ValueError as error:
        raise CommandError(f"invalid --entrypoint {text!r}: {error}") from None


def _ports(specs: list[str]) -> list[Port]:
    from corten.cli.options import ports

    found = []
    for port, bindings in ports.published(specs)[1].items():
        number, _, protocol = port.partition("/")
        for each in bindings:
            found.append(Port(target=int(number), protocol=protocol, published=each.host_port, host_ip=each.host_ip))
    return found


def _volume(text: str) -> ServiceVolume:
    source, colon, rest = text.partition(":")
    if not colon:
        return ServiceVolume(type="volume", target=source, volume=VolumeOptions())
    target, _, modes = rest.partition(":")
    read_only = "ro" in modes.split(",")
    if source.startswith((".", "/", "~")):
        path = os.path.abspath(os.path.expanduser(source))
        return ServiceVolume(
            type="bind", source=path, target=target, read_only=read_only, bind=VolumeBind(create_host_path=True)
        )
    return ServiceVolume(type="volume", source=source, target=target, read_only=read_only, volume=VolumeOptions())


def _images(compose: Compose, project: Project, flags: Flags) -> None:
    present = imaging.present(compose.client, images.needed(project))
    policy = flags.text("pull") if "pull" in flags else ""
    wanted = images.wanted(project, project.services.values(), present, flags.on("build"), policy=policy)
    if not compose.dry_run:
        shown = report("quiet" if flags.on("quiet") else compose.progress)
        imaging.ensure(compose, project, wanted, shown, flags.on("quiet-pull"), flags.on("quiet-build"))


def _create(compose: Compose, project: Project, service: Service, doing: Doing, flags: Flags) -> str:
    slug = secrets.token_hex(32)
    name = flags.text("name") or f"{project.name}-{service.name}-run-{slug[:_SHORT]}"
    detached = flags.on("detach")
    made = replace(
        doing.making.made(service, Create(service.name, name, 1)),
        slug=slug,
        oneoff=True,
        balanced=False,
        auto_remove=flags.on("rm"),
        stdin=service.stdin_open and not detached,
        aliases=flags.on("use-aliases"),
    )
    client = compose.client
    version = tuple(int(part) for part in client.version.split("."))
    answer = containers.create(client, name, container(project, service, made, version), service.platform)
    id = str(answer["Id"])
    if version < (1, 44):
        doing.making.connect(client, service, made, id, version)
    put(client, id, placed(project, service))
    return id


def _go(compose: Compose, service: Service, id: str, flags: Flags) -> int:
    """As `corten run` does it: all is attached before the start."""
    client = compose.client
    if flags.on("detach"):
        containers.start(client, id)
        out(id)
        return 0
    stdin, tty = service.stdin_open, service.tty
    resize = attached.resizer(client, id, containers.resize) if tty else None
    act = attached.forwarder(client, id, True, resize)
    raw = attached.open_stdin_terminal(tty, stdin)
    try:
        with attached.signal_pipe(True, tty, raw) as signals:
            watch = ExitWatch(client, id, "removed" if flags.on("rm") else "next-exit")
            upgraded = containers.attach(client, id, stdin, True, True)
            watch.registered()
            with Raw(raw):
                try:
                    containers.start(client, id)
                except ApiError:
                    upgraded.sock.close()
                    raise
                if resize is not None:
                    resize()
                keys = attached.DETACH_KEYS if raw is not None else b""
                if Pump(upgraded, STDIN if stdin else None, tty, keys, signals, act).run():
                    watch.close()
                    return 0
            return watch.code(signals, act)
    except Interrupted as interrupted:
        return attached.restore_and_die(interrupted.number)
    except ApiError as error:
        raise refusal(error) from error


COMMAND = Command(
    run,
    "[OPTIONS] SERVICE [COMMAND] [ARG...]",
    "Run a command in a new container of a service",
    (
        flag("build", BOOL, "Build the image first"),
        flag("cap-add", LIST, "Add a capability"),
        flag("cap-drop", LIST, "Take a capability away"),
        flag("detach", BOOL, "Run it in the background and print the container's ID", "d"),
        flag("entrypoint", STRING, "Another entrypoint than the image's"),
        flag("env", ENV, "Set an environment variable", "e"),
        flag("env-from-file", LIST, "Read environment variables from a file"),
        flag("interactive", BOOL, "Keep STDIN open", "i", default=True),
        flag("label", LABEL, "Set a label", "l"),
        flag("name", STRING, "Name the container"),
        flag("no-TTY", BOOL, "Without a terminal (it gets one where we have one)", "T"),
        flag("no-deps", BOOL, "Do not start what the service depends on"),
        flag("publish", LIST, "Publish a port ([ADDRESS:][HOST:]CONTAINER)", "p"),
        flag("pull", STRING, "When the image is pulled: always, missing, never or policy", default="policy"),
        flag("quiet", BOOL, "Say nothing of our own", "q"),
        flag("quiet-build", BOOL, "Build without showing progress"),
        flag("quiet-pull", BOOL, "Pull without showing progress"),
        flag("remove-orphans", BOOL, "Remove containers of services that the files do not have"),
        flag("rm", BOOL, "Remove the container when it has ended"),
        flag("service-ports", BOOL, "Publish the service's ports", "P"),
        flag("tty", BOOL, "Accepted and not used", "t", hidden=True),
        flag("use-aliases", BOOL, "Let networks know it by the service's names"),
        flag("user", STRING, "User, by name or number", "u"),
        flag("volume", LIST, "Mount a path or a volume (SOURCE:TARGET[:ro])", "v"),
        flag("workdir", STRING, "Working directory", "w"),
        flag("yes", BOOL, "Assume yes for what would be asked", "y"),
    ),
    least=1,
    interspersed=False,
)
