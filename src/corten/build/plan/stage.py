"""One stage while it is planned: each instruction changes what the image says of its containers, adds a step, or both.

Pure: where an instruction reads from another stage, an image or a context, the node of that is handed in.

BuildKit's rules; the classic builder's, where they are other ones, for a `classic` request:

    ARG and ENV of one name     the later one counts              ENV
    ARG of a stage in FROM it   is known                          is not
    CMD, when ENTRYPOINT comes  an inherited one is dropped       one of a stage is kept
    WORKDIR makes it            for USER                          for root
    --chown=NAME                NAME and its group                NAME and the group NAME
    sources above the context   are the context's root            are refused
    a pattern without a hit     brings nothing                    is refused
    a file over a directory     is refused                        replaces it
    RUN writes to a VOLUME      it stays                          it is discarded
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from corten.build.contract import (
    Bind,
    BuildRequest,
    CacheMount,
    CopyStep,
    Matched,
    RunStep,
    StageTree,
    StepMount,
)
from corten.build.plan import keys, remote, variables
from corten.build.plan.graph import COPIED, Base, Entry, Line, Node, Settings, Step
from corten.build.plan.keys import digest
from corten.build.plan.step_names import StepNames
from corten.spec.default_path import PATH
from corten.spec.docker.config import ImageConfig
from corten.spec.dockerfile import commands as c
from corten.spec.dockerfile import instructions as d
from corten.spec.dockerfile import mounts as m
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.image_settings import ImageSettings, environment_of
from corten.spec.dockerfile.scope import Scope
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.stages import Stage as Planned
from corten.spec.image_config import History
from corten.spec.json import Json
from corten.spec.platform import Platform, emulated

_FILES = "buildkit.exporter.image.v0"  # in a history: what no instruction has made
_TEXT = 64  # bytes that a text takes beside its characters
_NONE = Base("", "", "", None)


class Stage:
    """`planned` is its text. `node`, `settings`, `entries` are the state so far; `lines` are its own. `size` is what
    the texts of all these take, in bytes of memory, about. `platform` is that of its programs."""

    def __init__(
        self,
        planned: Planned,
        request: BuildRequest,
        node: Base | Step,
        settings: ImageSettings,
        scope: Scope,
        names: StepNames,
        platform: Platform,
        below: Stage | None = None,
    ) -> None:
        self.number = planned.index
        self.node = node
        self.settings = settings
        self.names = names
        self.platform = platform
        self.base: Base = below.base if below is not None else node if isinstance(node, Base) else _NONE
        self.entries: list[Entry] = list(below.entries) if below is not None else []
        self.author: str = below.author if below is not None else ""
        last = below.lines[-1] if below is not None else None
        self.lines: list[Line] = [Line(planned.base.written.text, None, self.base, last)]
        self._name = planned.text.name
        self._scope = scope
        self._request = request
        self._env_set = False
        # A digest of what the image says with the first so many entries: to make it of all for each would take their
        # square.
        self._said: str = below._said if below is not None else keys.base(settings.config.given_json())
        self._counted: int = below._counted if below is not None else 0
        self.size = _size(scope.variables)
        if below is None and "PATH" not in environment_of(settings.config):
            settings.add_variable("PATH", PATH)

    def next(
        self, planned: Planned, scope: Callable[[ImageConfig], Scope], names: StepNames
    ) -> tuple[Stage, list[str]]:
        """A stage that begins with this one, and the triggers for it."""
        self._settle()
        config, classic = self.settings.config, self._request.classic
        settings = ImageSettings(config, commanded=classic and bool(config.cmd))
        triggers = settings.taken_triggers()
        own = scope(settings.config) if classic else self._scope.of_stage()
        return Stage(planned, self._request, self.node, settings, own, names, self.platform, self), triggers

    def final_config(self) -> Json:
        self._settle()
        return self.settings.document()

    def begin_with(self, files: Node, base: d.From) -> None:
        """FROM of a context that is no image: its files are the first layer."""
        work = CopyStep((Matched(None, ("/",)),), "/", times=variables.epoch(self._request.arguments))
        step = self._step(self.names.next(f"FROM {base.image}"), work, (files,), base.written.span)
        self.entries.append(Entry(History("", files.name, "", _FILES), step))

    # ------------------------------------------------------------------------------------------------- instructions

    def mounts(self, instruction: d.Instruction) -> tuple[m.Mount, ...]:
        """Of a RUN. Raises DockerfileError."""
        return self._scope.mounts(instruction) if isinstance(instruction, d.Run) else ()

    def apply(
        self, instruction: d.Instruction, origins: tuple[Node | None, ...] = (), mounts: tuple[m.Mount, ...] = ()
    ) -> None:
        """`origins` are the nodes that a COPY, an ADD or the `mounts` of a RUN read from. Raises DockerfileError, or
        Unsupported for what this builder does not do."""
        found = self._scope.take(instruction).instruction
        if self._request.classic and isinstance(found, d.Arg):
            env = self._scope.environment
            self._scope.variables.update({each.key: env[each.key] for each in found.arguments if each.key in env})
        before = self.node
        if isinstance(found, d.Run):
            self._run(found, origins, mounts)
        else:
            self._do(found, origins)
        # An ARG of a classic history has the value that it was written with.
        written = isinstance(found, d.Arg) and self._request.classic
        said = self._history(instruction if written else found)
        if self.node is before and self._request.classic:
            span = instruction.written.span
            self._settings(instruction.written.text, said, (span.line, span.end))
        step = self.node if self.node is not before and isinstance(self.node, Step) else None
        if step is not None and _all_said(found):
            step.said = said
        self.size += _size((said,))
        comment = "" if self._request.classic else c.COMMENT
        self.entries.append(Entry(History("", said, "", comment, step is None), step))
        self.lines.append(Line(instruction.written.text, step))

    def label_flags(self) -> None:
        """--label in the words of the classic builder: an instruction for each."""
        for key, value in sorted(self._request.labels.items()):
            text = f"LABEL {key}={value}"
            self.settings.label({key: value})
            prefix = " ".join(self.settings.shell)
            said = f"{prefix} #(nop)  {text}"
            step = self._settings(text, said)
            self.entries.append(Entry(History("", said, "", "", True), step))
            self.lines.append(Line(text, step))

    def _do(self, found: d.Instruction, origins: tuple[Node | None, ...]) -> None:
        match found:
            case d.Copy() | d.Add():
                self._copy(found, origins)
            case d.Workdir():
                self._workdir(found)
            case d.Env():
                self._env_set = True
            case d.Arg():
                return
            case d.Maintainer():
                self.author = found.author
            case _:
                self.size += _size(self.settings.take(found))

    def _settle(self) -> None:
        """Write the variables down: not with each ENV, as that would be all of them each time."""
        if self._env_set:
            self.settings.set_environment(self._scope.environment)

    def _history(self, found: d.Instruction) -> str:
        """What the image's history says. Proxies are in no image; a directory is absolute."""
        if isinstance(found, d.Workdir):
            found = replace(found, path=self.settings.directory)
        args: tuple[str, ...] = ()
        if isinstance(found, d.Run):
            args = self._executed(found).args
        elif isinstance(found, d.Cmd | d.Entrypoint):
            args = c.with_shell(found.command, self.settings.shell)
        known = self._scope.arguments if isinstance(found, d.Run) else []
        known = [argument for argument in known if argument.key not in variables.PROXIES]
        values = self._scope.variables
        if self._request.classic:
            known = [argument for argument in known if argument.key not in self._scope.environment]
            chown = f"--chown={found.owner}" if isinstance(found, d.Copy | d.Add) and found.owner else ""
            return c.classic_created_by(found, args, known, values, self.settings.shell, chown + COPIED)
        return c.created_by(found, args, known, values)

    def _executed(self, found: d.Run) -> c.Executed:
        try:
            return c.executed(found, self.settings.shell)
        except ValueError as error:
            raise DockerfileError(str(error), found.written.span) from None

    # -------------------------------------------------------------------------------------------------------- steps

    def _add(
        self,
        found: d.Instruction,
        work: RunStep | CopyStep,
        origins: tuple[Node | None, ...],
        unkeyed: tuple[str, ...] = (),
    ) -> None:
        secrets = [mount for mount in self.mounts(found) if isinstance(mount, m.SecretMount)]
        name = self.names.next_of(found, self._scope.variables, secrets)
        self._step(name, work, origins, found.written.span, unkeyed)

    def _step(
        self,
        name: str,
        work: RunStep | CopyStep,
        origins: tuple[Node | None, ...],
        span: Span,
        unkeyed: tuple[str, ...] = (),
    ) -> Step:
        inputs = [node.digest if node is not None else "" for node in (self.node, *origins)]
        id = digest("vertex", self.number, self.names.count, len(self.entries), name, keys.planned(work), inputs)
        self.node = Step(id, name, self.node, work, origins, (span.line, span.end), unkeyed, self._fresh)
        return self.node

    def _settings(self, text: str, said: str, lines: tuple[int, int] = (0, 0)) -> Step:
        """The step of an instruction that only changes the configuration, as it is behind it."""
        for entry in self.entries[self._counted :]:
            self._said = keys.said(self._said, entry.history.created_by)
        self._counted = len(self.entries)
        work = Settings(keys.said(self._said, said))
        id = digest("vertex", self.number, self.names.count, len(self.entries), text)
        self.node = Step(id, text, self.node, work, (), lines, (), self._fresh, said)
        return self.node

    @property
    def _fresh(self) -> bool:
        return self._request.no_cache or self._name in self._request.no_cache_stages

    def _run(self, found: d.Run, origins: tuple[Node | None, ...], mounts: tuple[m.Mount, ...]) -> None:
        if found.security == "insecure":
            raise DockerfileError("security.insecure is not allowed", found.written.span)
        for device in found.devices:
            if not {"*", device.name} & set(self._request.devices):
                raise DockerfileError(f"device {device.name} is not allowed", found.written.span)
        if found.network == "host" and self._request.network != "host":
            raise DockerfileError("network.host is not allowed", found.written.span)
        program = self._executed(found)
        env = self._scope.variables
        unkeyed = [each for each in variables.proxies(self._request.arguments, self._request.classic)
                   if each.partition("=")[0] not in env]  # fmt: skip
        work = RunStep(
            args=program.args,
            env=tuple(f"{name}={value}" for name, value in env.items()),
            cwd=self.settings.directory,
            user=self.settings.config.user,
            network=self._request.network if found.network == "default" else found.network,
            mounts=self._mounts(mounts),
            files=program.files,
            hosts=self._request.extra_hosts,
            hostname=self._request.arguments.get("BUILDKIT_SANDBOX_HOSTNAME", "buildkitsandbox"),
            limits=self._request.limits,
            platform=emulated(self.platform),
            devices=found.devices,
            volumes=tuple(self.settings.config.volumes or ()) if self._request.classic else (),
        )
        self.size += _size(work.env)
        self._add(found, work, origins, tuple(unkeyed))

    def _mounts(self, mounts: Sequence[m.Mount]) -> tuple[StepMount, ...]:
        sockets = iter(range(len(mounts)))
        return tuple(self._mount(mount, next(sockets) if isinstance(mount, m.SshMount) else 0) for mount in mounts)

    def _mount(self, found: m.Mount, number: int) -> StepMount:
        target = self._absolute(found.target) if found.target else ""
        match found:
            case m.BindMount():
                return Bind(target, StageTree(None), found.path or "/", found.writable)
            case m.CacheMount():
                ids = {
                    "uid": found.uid or 0,
                    "gid": found.gid or 0,
                    "mode": 0o755 if found.mode is None else found.mode,
                }
                path = found.path or "/"
                return CacheMount(target, found.id or target, None, path, found.sharing, found.read_only, **ids)
            case m.SshMount() if not target:
                return replace(found, target=f"/run/buildkit/ssh_agent.{number}")
        return replace(found, target=target)

    def _absolute(self, path: str) -> str:
        """In the working directory; a slash at the end stays."""
        joined = posixpath.normpath(posixpath.join("/", self.settings.directory, path))
        joined = "/" + joined.lstrip("/")
        slash = path.endswith(("/", "/.")) or path == "."
        return joined + "/" if slash and joined != "/" else joined

    def _copy(self, found: d.Copy | d.Add, origins: tuple[Node | None, ...]) -> None:
        keyword = found.written.keyword.upper() if self._request.classic else ""
        if keyword and not (isinstance(found, d.Copy) and found.source):
            _check_within(found, keyword)
        origins = remote.fetched(found, origins, (self.number, len(self.entries)), self._request.classic)
        unpacked = [isinstance(found, d.Add) and remote.unpacks(found, node) for node in origins]
        add, some = isinstance(found, d.Add), any(unpacked)
        sources = tuple(
            Matched(None, (remote.path_in(node, path) if add else path,), packed=some and not unpack)
            for path, node, unpack in zip(found.sources, origins, unpacked)
        )
        sources += tuple(Matched(None, (doc.name,), {doc.name: doc.text.encode()}) for doc in found.heredocs)
        several = len(sources) > 1 and not found.target.endswith("/")
        work = CopyStep(
            sources=sources,
            target=self._absolute(found.target) + ("/" if several and not self._request.classic else ""),
            owner=_classic_owner(found.owner) if keyword else found.owner,
            mode=found.mode,
            exclude=found.exclude,
            parents=isinstance(found, d.Copy) and found.parents,
            link=found.link,
            unpack=some,
            times=variables.epoch(self._request.arguments),
            classic=keyword,
        )
        if several and keyword:
            text = "with more than one source file, the destination must be a directory and end with a /"
            raise DockerfileError(f"When using {keyword} {text}", found.written.span)
        self._add(found, work, (*origins, *(None for _ in found.heredocs)))

    def _workdir(self, found: d.Workdir) -> None:
        self.settings.enter(found.path)
        directory = self.settings.directory
        if directory == "/":
            self.names.without_one()
            return
        owner = "" if self._request.classic else self.settings.config.user
        work = CopyStep((), directory + "/", owner=owner, times=variables.epoch(self._request.arguments))
        self._add(found, work, ())


def _check_within(found: d.Copy | d.Add, keyword: str) -> None:
    """The classic builder refuses what BuildKit takes for the context's root."""
    for path in found.sources:
        if not remote.is_web(path) and posixpath.normpath(path.lstrip("/")).split("/")[0] == "..":
            raise DockerfileError(
                f"{keyword} failed: forbidden path outside the build context: {path} ()", found.written.span
            )


def _classic_owner(owner: str) -> str:
    """Without a group it is the one of the user's name, not the user's own."""
    return f"{owner}:{owner}" if owner and ":" not in owner else owner


def _all_said(found: d.Instruction) -> bool:
    """Whether the line of a classic history says all that an instruction does."""
    match found:
        case d.Run():
            return not (found.mounts or found.heredocs or found.network != "default")
        case d.Add():
            return not (found.mode or found.link or found.exclude or found.unpack is not None)
        case d.Copy():
            return not (found.mode or found.link or found.exclude or found.parents)
    return True


def _size(texts: Iterable[str]) -> int:
    return sum(len(text) + _TEXT for text in texts)
