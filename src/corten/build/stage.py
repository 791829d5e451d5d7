"""One stage while it is planned: each instruction changes what the image says of its containers, adds a step, or both.

Pure: where an instruction reads from another stage, an image or a context, the node of that is handed in.

BuildKit's rules; the classic builder's, where they are other ones, for a `classic` request:

    ARG and ENV of one name     the later one counts              ENV
    ARG of a stage in FROM it   is known                          is not
    CMD, when ENTRYPOINT comes  an inherited one is dropped       one of a stage is kept
    WORKDIR makes it            for USER                          for root
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from corten.build import keys, remote, variables
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
from corten.build.graph import COPIED, Base, Entry, Line, Node, Remote, Repository, Settings, Step
from corten.build.keys import digest
from corten.errors import Invalid, Unsupported
from corten.registry.client import archives
from corten.spec import git_url
from corten.spec.default_path import PATH
from corten.spec.dockerfile import commands as c
from corten.spec.dockerfile import instructions as d
from corten.spec.dockerfile import mounts as m
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.glob import literal
from corten.spec.dockerfile.ports import exposed
from corten.spec.dockerfile.scope import Scope
from corten.spec.dockerfile.stages import Stage as Planned
from corten.spec.image_config import History
from corten.spec.json import Json
from corten.spec.platform import Platform, emulated

_WORK = (d.Run, d.Copy, d.Add, d.Workdir)
_TEXT = 64  # bytes that a text takes beside its characters
_NONE = Base("", "", "", None)


class Stage:
    """`planned` is its text; `shown` its name in vertices' names, "" for the only one without a name. `node`, `config`,
    `entries` are the state so far; `lines` are its own. `size` is what the texts of all
    these take, in bytes of memory, about. `platform` is that of its programs; of `several` it is in vertices' names."""

    def __init__(
        self,
        planned: Planned,
        request: BuildRequest,
        node: Base | Step,
        config: Json,
        scope: Scope,
        shown: str,
        escape: str,
        below: Stage | None = None,
        platform: Platform | None = None,
        several: bool = False,
    ) -> None:
        self.number = planned.index
        self.node = node
        self.config = config
        self.base: Base = below.base if below is not None else node if isinstance(node, Base) else _NONE
        self.entries: list[Entry] = list(below.entries) if below is not None else []
        self.author: str = below.author if below is not None else ""
        self.lines = [Line(planned.base.written.text, None, self.base)]
        self._name = planned.text.name
        self._scope = scope
        self._request = request
        self._shown = shown
        self._escape = escape
        self._platform = platform
        self._several = several
        self._commanded = request.classic and below is not None and bool(config.get("Cmd"))
        self._count = self._total = 0
        self._env_set = False
        self._own: dict[str, Json] = {}  # the tables of `config` that are this stage's own, to be changed
        self.size = _size(scope.variables)
        if below is None and "PATH" not in variables.env_of(config.get("Env")):
            config["Env"] = [*(config.get("Env") or ()), f"PATH={PATH}"]

    def next(self, planned: Planned, scope: Callable[[Json], Scope], shown: str) -> tuple[Stage, list[str]]:
        """A stage that begins with this one, and the triggers for it."""
        self._settle()
        config = dict(self.config)
        triggers = config.pop("OnBuild", None) or []
        own = scope(config) if self._request.classic else self._scope.of_stage()
        above = Stage(
            planned, self._request, self.node, config, own, shown, self._escape, self, self._platform, self._several
        )
        return above, triggers

    def take_triggers(self) -> list[str]:
        """Those of the image that it begins with; they are not kept."""
        return self.config.pop("OnBuild", None) or []

    def final_config(self) -> Json:
        self._settle()
        return {key: value for key, value in self.config.items() if value not in (None, "", [], {})}

    def expect(self, work: Sequence[d.Instruction], image: bool) -> None:
        """How many steps there will be, for their names. An image that it begins with counts as one."""
        self._total = sum(isinstance(each, _WORK) for each in work) + image

    def label(self, text: str, triggered: bool = False) -> str:
        """ "[build 2/3] RUN make" """
        self._count += 1
        platform = str(self._platform or "") if self._several else ""
        return c.step_name(self._shown, self._count, self._total, text, triggered, platform)

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
            self._update("Labels", {key: value})
            prefix = " ".join(self._shell)
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
            case d.Label():
                self._update("Labels", {pair.key: pair.value for pair in found.pairs})
            case d.Expose():
                ports = _exposed(found)
                self.size += _size(ports)
                self._update("ExposedPorts", {port: {} for port in ports})
            case d.Volume():
                self._update("Volumes", {path: {} for path in found.paths})
            case d.User():
                self.config["User"] = found.user
            case d.StopSignal():
                self.config["StopSignal"] = found.signal
            case d.Healthcheck():
                self.config["Healthcheck"] = _health(found)
            case d.Shell():
                self.config["Shell"] = list(found.args)
            case d.Cmd():
                self.config["Cmd"], self._commanded = self._command(found.command), True
            case d.Entrypoint():
                self._entrypoint(found)
            case d.OnBuild():
                self.config["OnBuild"] = [*(self.config.get("OnBuild") or ()), found.trigger]
            case d.Maintainer():
                self.author = found.author
            case _:
                raise DockerfileError(f"{found.written.keyword} cannot be here", found.written.span)

    def _update(self, key: str, values: Json) -> None:
        if key not in self._own:
            self._own[key] = self.config[key] = dict(self.config.get(key) or {})
        self._own[key].update(values)

    def _settle(self) -> None:
        """Write the variables down: not with each ENV, as that would be all of them each time."""
        if self._env_set:
            self.config["Env"] = [f"{name}={value}" for name, value in self._scope.environment.items()]

    def _history(self, found: d.Instruction) -> str:
        """What the image's history says. Proxies are in no image; a directory is absolute."""
        if isinstance(found, d.Workdir):
            found = replace(found, path=self._cwd)
        args: tuple[str, ...] = ()
        if isinstance(found, d.Run):
            args = self._executed(found).args
        elif isinstance(found, d.Cmd | d.Entrypoint):
            args = c.with_shell(found.command, self._shell)
        known = self._scope.arguments if isinstance(found, d.Run) else []
        known = [argument for argument in known if argument.key not in variables.PROXIES]
        values = self._scope.variables
        if self._request.classic:
            known = [argument for argument in known if argument.key not in self._scope.environment]
            chown = f"--chown={found.owner}" if isinstance(found, d.Copy | d.Add) and found.owner else ""
            return c.classic_created_by(found, args, known, values, self._shell, chown + COPIED)
        return c.created_by(found, args, known, values)

    def _executed(self, found: d.Run) -> c.Executed:
        try:
            return c.executed(found, self._shell)
        except ValueError as error:
            raise DockerfileError(str(error), found.written.span) from None

    @property
    def _shell(self) -> tuple[str, ...]:
        return tuple(self.config.get("Shell") or c.SHELL)

    def _command(self, command: d.Command) -> list[str]:
        return list(c.with_shell(command, self._shell))

    def _entrypoint(self, found: d.Entrypoint) -> None:
        self.config["Entrypoint"] = self._command(found.command)
        if not self._commanded:
            self.config.pop("Cmd", None)

    # -------------------------------------------------------------------------------------------------------- steps

    @property
    def _cwd(self) -> str:
        return self.config.get("WorkingDir") or "/"

    @property
    def _user(self) -> str:
        return self.config.get("User") or ""

    def _add(
        self,
        found: d.Instruction,
        work: RunStep | CopyStep,
        origins: tuple[Node | None, ...],
        unkeyed: tuple[str, ...] = (),
    ) -> None:
        name = self.label(self._row(found))
        span = found.written.span
        inputs = [node.digest if node is not None else "" for node in (self.node, *origins)]
        id = digest("vertex", self.number, self._count, len(self.entries), name, keys.planned(work), inputs)
        self.node = Step(id, name, self.node, work, origins, (span.line, span.end), unkeyed, self._fresh)

    def _settings(self, text: str, said: str, lines: tuple[int, int] = (0, 0)) -> Step:
        """The step of an instruction that only changes the configuration, as it is behind it."""
        history = [*(entry.history.created_by for entry in self.entries), said]
        work = Settings(keys.said(history, self.config, self.author))
        id = digest("vertex", self.number, self._count, len(self.entries), text)
        self.node = Step(id, text, self.node, work, (), lines, (), self._fresh, said)
        return self.node

    @property
    def _fresh(self) -> bool:
        return self._request.no_cache or self._name in self._request.no_cache_stages

    def _row(self, found: d.Instruction) -> str:
        """Its line as a progress display has it, variables in place."""
        secrets = [mount for mount in self.mounts(found) if isinstance(mount, m.SecretMount)]
        return c.shown(found, c.hide(self._scope.variables, secrets), self._escape)

    def _run(self, found: d.Run, origins: tuple[Node | None, ...], mounts: tuple[m.Mount, ...]) -> None:
        if found.security == "insecure":
            raise DockerfileError("security.insecure is not allowed", found.written.span)
        if found.devices:
            raise Unsupported("RUN --device is not supported yet")
        if found.network == "host" and self._request.network != "host":
            raise DockerfileError("network.host is not allowed", found.written.span)
        program = self._executed(found)
        env = self._scope.variables
        unkeyed = [each for each in variables.proxies(self._request.arguments, self._request.classic)
                   if each.partition("=")[0] not in env]  # fmt: skip
        work = RunStep(
            args=program.args,
            env=tuple(f"{name}={value}" for name, value in env.items()),
            cwd=self._cwd,
            user=self._user,
            network=self._request.network if found.network == "default" else found.network,
            mounts=self._mounts(mounts),
            files=program.files,
            hosts=self._request.extra_hosts,
            hostname=self._request.arguments.get("BUILDKIT_SANDBOX_HOSTNAME", "buildkitsandbox"),
            limits=self._request.limits,
            platform=emulated(self._platform),
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
        joined = posixpath.normpath(posixpath.join("/", self._cwd, path))
        joined = "/" + joined.lstrip("/")
        slash = path.endswith(("/", "/.")) or path == "."
        return joined + "/" if slash and joined != "/" else joined

    def _remotes(self, found: d.Copy | d.Add, origins: tuple[Node | None, ...]) -> tuple[Node | None, ...]:
        """With those in place that are fetched from the web."""
        if isinstance(found, d.Copy):
            self._refuse_fetched(found)
            return origins
        if found.checksum and len(found.sources) != 1:
            raise DockerfileError("checksum can't be specified for multiple sources", found.written.span)
        return tuple(self._remote(found, at, origin) for at, origin in enumerate(origins))

    def _refuse_fetched(self, found: d.Copy) -> None:
        for source in found.sources if not found.source else ():
            git = not self._request.classic and remote.is_git(source)
            if git or remote.is_web(source):
                what = "git ref" if git else "URL"
                raise DockerfileError(f"source can't be a {what} for COPY", found.written.span)

    def _remote(self, found: d.Add, at: int, origin: Node | None) -> Node | None:
        """What a source of an ADD is fetched by, or `origin`. Raises DockerfileError."""
        url, span = found.sources[at], found.written.span
        id = digest("remote", self.number, len(self.entries), at, url, found.target, found.checksum)
        try:
            if not self._request.classic and (git := git_url.parse(url)) is not None:
                git, keep = remote.repository(git, found.checksum, found.keep_git_dir)
                return Repository(id, git.shown, git, keep, (span.line, span.end))
            if not remote.is_web(url):
                if found.checksum:
                    raise Invalid("checksum requires HTTP(S) or Git sources")
                return origin
            file = remote.file_name(url, found.target, self._request.classic)
            checksum = remote.file_checksum(found.checksum)
            return Remote(id, archives.shown(url), url, file, checksum, (span.line, span.end))
        except Invalid as error:
            raise DockerfileError(str(error), span) from None

    def _copy(self, found: d.Copy | d.Add, origins: tuple[Node | None, ...]) -> None:
        origins = self._remotes(found, origins)
        unpacked = [isinstance(found, d.Add) and _unpacks(found, node) for node in origins]
        sources = tuple(
            Matched(
                None, (_named(node, path) if isinstance(found, d.Add) else path,), packed=any(unpacked) and not unpack
            )
            for path, node, unpack in zip(found.sources, origins, unpacked)
        )
        sources += tuple(Matched(None, (doc.name,), {doc.name: doc.text.encode()}) for doc in found.heredocs)
        several = len(sources) > 1 and not found.target.endswith("/")
        work = CopyStep(
            sources=sources,
            target=self._absolute(found.target) + ("/" if several and not self._request.classic else ""),
            owner=found.owner,
            mode=found.mode,
            exclude=found.exclude,
            parents=isinstance(found, d.Copy) and found.parents,
            link=found.link,
            unpack=any(unpacked),
            times=variables.epoch(self._request.arguments),
        )
        if several and self._request.classic:
            text = "with more than one source file, the destination must be a directory and end with a /"
            raise DockerfileError(f"When using {found.written.keyword.upper()} {text}", found.written.span)
        self._add(found, work, (*origins, *(None for _ in found.heredocs)))

    def _workdir(self, found: d.Workdir) -> None:
        path = posixpath.normpath(posixpath.join("/", self._cwd, found.path))
        self.config["WorkingDir"] = "/" + path.lstrip("/")
        owner = "" if self._request.classic else self._user
        if self.config["WorkingDir"] == "/":
            self._total -= 1
            return
        self._add(
            found,
            CopyStep((), self.config["WorkingDir"] + "/", owner=owner, times=variables.epoch(self._request.arguments)),
            (),
        )


def _unpacks(found: d.Add, node: Node | None) -> bool:
    """Archives from the web are files unless it is said."""
    return not isinstance(node, Remote | Repository) if found.unpack is None else found.unpack


def _named(node: Node | None, path: str) -> str:
    """What an ADD copies of a source's tree."""
    match node:
        case Remote():
            return literal(node.file)
        case Repository():
            return "."
    return path


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


def _exposed(found: d.Expose) -> tuple[str, ...]:
    try:
        return exposed(found.ports)
    except ValueError as error:
        raise DockerfileError(str(error), found.written.span) from None


def _health(found: d.Healthcheck) -> Json:
    times: dict[str, Any] = {
        "Interval": found.interval,
        "Timeout": found.timeout,
        "StartPeriod": found.start_period,
        "StartInterval": found.start_interval,
        "Retries": found.retries,
    }
    return {"Test": list(found.test), **{key: value for key, value in times.items() if value}}
