"""From a Dockerfile to a graph. Images are looked up while it is planned, all side by side; nothing else is done.

    planned = await Planner(file, request, platform, excludes, resolve).plan()

A stage is planned when a stage that is needed names it: the target, its base, a COPY --from, a mount, also of an
ONBUILD trigger of an image. The classic builder needs every stage up to the target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corten.build.contract import BuildRequest
from corten.build.plan import variables
from corten.build.plan.graph import Base, Fetched, Line, Local, Node, Plan, Remote, Repository, Step
from corten.build.plan.keys import digest
from corten.build.plan.remote import is_git, is_web
from corten.build.plan.stage import Stage
from corten.build.plan.step_names import StepNames
from corten.errors import CortenError, Invalid, Unsupported
from corten.images.image import Image
from corten.registry.client import archives
from corten.spec import git_url
from corten.spec import platform as platforms
from corten.spec.docker.config import ImageConfig
from corten.spec.dockerfile import checks, parse, stages
from corten.spec.dockerfile import instructions as d
from corten.spec.dockerfile import mounts as m
from corten.spec.dockerfile.check_rules import Finding
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.ignore import Patterns
from corten.spec.dockerfile.image_settings import ImageSettings, environment_of
from corten.spec.dockerfile.scope import Scope
from corten.spec.dockerfile.source import MOST_INSTRUCTIONS
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.stages import ContextSource, ImageSource, Origin, PlanOptions, StageSource
from corten.spec.git_url import GitUrl
from corten.spec.json import Json
from corten.spec.platform import Platform

Resolve = Callable[[str, str], Awaitable[tuple[Image, str]]]  # image and platform ("": any); its name as shown
_IMAGE = "docker-image://"
_LOCAL = "local:"
_MOST = 64 << 20  # bytes of the texts of all stages, of all platforms: variables with their values in place


@dataclass(frozen=True, slots=True)
class Planned:
    """`lines` are for the classic builder's stream; `unconsumed` are arguments that no ARG takes; `findings` what the
    Dockerfile's checks say, of all its stages."""

    plan: Plan
    lines: tuple[Line, ...]
    unconsumed: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


class BaseFailed(Exception):
    """An image that a Dockerfile names, at `span`, could not be had."""

    def __init__(self, error: CortenError, span: Span) -> None:
        super().__init__(str(error))
        self.error = error
        self.span = span


class Planner:
    """For one of the `count` platforms of a build. `excludes` are the lines of its .dockerignore."""

    def __init__(
        self,
        file: d.Dockerfile,
        request: BuildRequest,
        platform: Platform,
        excludes: Sequence[str],
        resolve: Resolve,
        count: int = 1,
    ) -> None:
        """Raises DockerfileError, Invalid for a target that there is not."""
        self._file = file
        self._request = request
        self._excludes = tuple(excludes)
        self._resolve = resolve
        self._platform = platform
        self._several = count > 1
        self._most = _MOST // count
        self._automatic = {} if request.classic else stages.automatic(platforms.host(), platform, request.target)
        options = PlanOptions(request.target, request.arguments, self._automatic, tuple(request.contexts))
        self._plan = stages.plan(file, options)
        self._target = self._plan.target.index
        if request.classic:
            _check_names(self._plan.stages)
        self._stages: dict[int, asyncio.Task[Stage]] = {}
        self._images: dict[tuple[str, str], asyncio.Task[Base]] = {}
        self._locals: dict[str, Local] = {}
        self._at_urls: dict[str, Fetched] = {}  # named contexts
        self._size = self._triggers = 0
        self._declared = {argument.key for arg in file.arguments for argument in arg.arguments}

    async def plan(self) -> Planned:
        """Raises DockerfileError, BaseFailed."""
        numbers = tuple(range(self._target + 1)) if self._request.classic else self._plan.order
        try:
            await asyncio.gather(*(self._begin(number) for number in numbers))
        finally:
            await self._end()
        target = self._stages[self._target].result()
        planned = [self._stages[number].result() for number in sorted(self._stages)]
        if self._request.classic:
            target.label_flags()
            if target.base.image is None and not target.entries:
                raise Invalid("No image was generated. Is your Dockerfile empty?")
        tops = [stage.node for stage in planned] if self._request.classic else [target.node]
        config = self._labelled(target.final_config())
        plan = Plan(target.node, target.base, config, tuple(target.entries), _ordered(tops), target.author)
        lines = [Line(arg.written.text, None) for arg in self._file.arguments]
        lines += [line for stage in planned for line in stage.lines]
        unconsumed = tuple(variables.unconsumed(self._request.arguments, self._declared))
        return Planned(plan, tuple(lines), unconsumed, self._checked())

    def _checked(self) -> tuple[Finding, ...]:
        if self._request.classic:
            return ()
        found = {key: task.result() for key, task in self._images.items() if not task.cancelled()}
        images = {ref: _checked_base(base) for (ref, _), base in found.items()}
        made_for = {
            key: base.image.config.platform
            for key, base in found.items()
            if base.image is not None and base.image.config.platform is not None
        }
        patterns = Patterns(self._excludes) if self._excludes else None
        given = checks.CheckOptions(
            self._request.arguments, self._automatic, images, made_for, self._platform, patterns
        )
        return tuple(checks.check(self._file, self._plan, given))

    async def _end(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._stages.values(), *self._images.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _labelled(self, config: Json) -> Json:
        labels = {**(config.get("Labels") or {}), **self._request.labels}
        return {**config, "Labels": labels} if labels else config

    # --------------------------------------------------------------------------------------------------------- stages

    def _begin(self, number: int) -> asyncio.Task[Stage]:
        if number not in self._stages:
            self._stages[number] = asyncio.create_task(self._stage(number))
        return self._stages[number]

    async def _planned(self, number: int) -> Stage:
        return await asyncio.shield(self._begin(number))

    async def _stage(self, number: int) -> Stage:
        stage, triggers = await self._begun(number)
        self._count(stage.size, self._plan.stages[number].base.written.span)
        if triggers:
            self._plan = self._plan.with_triggers(number, triggers)
        work = self._plan.stages[number].text.instructions
        image = stage.base if stage.node is stage.base and stage.base.image is not None else None
        origin = self._plan.stages[number].origin
        files = self._files(origin.name) if isinstance(origin, ContextSource) else None
        stage.names.expect(work, image is not None or files is not None)
        if image is not None:
            image.name = stage.names.next(image.name)
        elif files is not None:
            self._followed(files, "/")
            stage.begin_with(files, self._plan.stages[number].base)
        for need in self._plan.stages[number].needs:  # so that what it needs is looked up meanwhile
            self._begin(need)
        for instruction in work:
            if isinstance(instruction, d.Arg):
                self._declared.update(argument.key for argument in instruction.arguments)
            mounts = stage.mounts(instruction)
            origins, size = await self._origins(instruction, mounts), stage.size
            stage.apply(instruction, origins, mounts)
            self._count(stage.size - size, instruction.written.span)
            await asyncio.sleep(0)  # there may be thousands: requests are answered in between
        return stage

    def _count(self, size: int, span: Span) -> None:
        self._size += size
        if self._size > self._most:
            raise DockerfileError(f"the Dockerfile takes more than {self._most} bytes when it is expanded", span)

    async def _begun(self, number: int) -> tuple[Stage, list[d.Instruction]]:
        """The stage behind its FROM, and the triggers of what that names."""
        planned = self._plan.stages[number]
        if isinstance(planned.origin, StageSource):
            below = await self._planned(planned.origin.index)
            stage, triggers = below.next(planned, self._scope, self._names(planned, below.platform))
        else:
            try:
                base = await self._base(planned.origin, planned.base.platform, number)
            except CortenError as error:
                raise BaseFailed(error, planned.base.written.span) from error
            settings = ImageSettings(_defaults(base, self._request.classic))
            scope, platform = self._scope(settings.config), self._platform_of(base, planned.base.platform)
            names = self._names(planned, platform)
            stage = Stage(planned, self._request, base, settings, scope, names, platform)
            triggers = settings.taken_triggers()
        return stage, await self._triggered(triggers, planned.base)

    def _names(self, planned: stages.Stage, platform: Platform) -> StepNames:
        shown = planned.text.name or (f"stage-{planned.index}" if len(self._file.stages) > 1 else "")
        return StepNames(shown, self._file.directives.escape, str(platform) if self._several else "")

    def _platform_of(self, base: Base, asked: str) -> Platform:
        """That of the programs in a stage: its image's, else what FROM or the build asks for."""
        found = base.image.config.platform if base.image is not None else None
        return found or (platforms.parse(asked) if asked else self._platform)

    async def _triggered(self, texts: Sequence[str], base: d.From) -> list[d.Instruction]:
        """ONBUILD triggers as instructions. Those of an image are as many as it likes, and of a stage as often as it is
        begun with."""
        self._triggers += len(texts)
        if self._triggers > MOST_INSTRUCTIONS:
            raise DockerfileError(f"more than {MOST_INSTRUCTIONS} instructions of ONBUILD triggers", base.written.span)
        found = []
        for text in texts:
            found.append(parse.trigger(text, base))
            await asyncio.sleep(0)  # as in `_stage`
        return found

    def _scope(self, config: ImageConfig) -> Scope:
        escape = self._file.directives.escape
        return Scope(self._plan.globals, self._request.arguments, environment_of(config), escape)

    async def _base(self, origin: Origin, platform: str, number: int) -> Base:
        """What a stage begins with: a node of its own, which is named after the stage."""
        match origin:
            case ImageSource():
                found = await self._image(origin.name, platform)
            case ContextSource() if self._files(origin.name) is None:
                found = await self._image(str(self._request.contexts[origin.name]), platform)
            case _:
                return Base(digest("scratch", number), "scratch", "scratch", None)
        return Base(digest("base", number, found.digest), found.name, found.ref, found.image)

    # ----------------------------------------------------------------------------------------- what instructions read

    async def _origins(self, found: d.Instruction, mounts: Sequence[m.Mount]) -> tuple[Node | None, ...]:
        """The nodes that an instruction reads from: one for each source of a COPY or ADD, or mount of a RUN."""
        try:
            return await self._read_from(found, mounts)
        except DockerfileError:
            raise
        except CortenError as error:
            raise BaseFailed(error, found.written.span) from error

    async def _read_from(self, found: d.Instruction, mounts: Sequence[m.Mount]) -> tuple[Node | None, ...]:
        match found:
            case d.Copy():
                node = None
                if found.sources:
                    named = self._plan.names.copied(found.source, found) if found.source else None
                    node = await self._node(named)
                parents = found.parents
                return tuple(self._followed(node, _above_any(path) if parents else path) for path in found.sources)
            case d.Add():
                own = [None if self._fetched(path) else self._local("context") for path in found.sources]
                return tuple(self._followed(node, path) for node, path in zip(own, found.sources))
            case d.Run():
                return tuple([await self._mounted(mount) for mount in mounts])
        return ()

    async def _mounted(self, mount: m.Mount) -> Node | None:
        """Of a bind mount, and of a cache mount that begins with something."""
        match mount:
            case m.BindMount() | m.CacheMount() if isinstance(mount, m.BindMount) or mount.source:
                named = self._plan.names.origin(mount.source) if mount.source else None
                return self._followed(await self._node(named), mount.path or "/")
        return None

    def _followed(self, node: Node | None, path: str) -> Node | None:
        """With its path among those that are asked of the client; variables in it are unknown here, and stand for
        all."""
        if isinstance(node, Local):
            plain = path.replace("/./", "/").removeprefix("./").strip("/")
            node.follow.add(None if "$" in plain or plain in ("", ".") or ".." in plain.split("/") else plain)
        return node

    async def _node(self, origin: Origin | None) -> Node | None:
        """None is the context, and None the answer for no files at all."""
        match origin:
            case None:
                return self._local("context")
            case StageSource():
                return (await self._planned(origin.index)).node
            case ImageSource():
                return await self._image(origin.name, "")
            case ContextSource():
                return self._files(origin.name) or await self._image(str(self._request.contexts[origin.name]), "")
            case _:
                return Base(digest("scratch"), "scratch", "scratch", None)

    def _files(self, name: str) -> Local | Fetched | None:
        """A named context that is a directory of the client, a repository or a file of the web (called `context`, as
        BuildKit calls it); None for an image."""
        value = self._request.contexts[name]
        if (git := value if isinstance(value, GitUrl) else git_url.parse(value)) is not None:
            id, keep = digest("context", name, git.remote, git.ref), bool(git.keep_git_dir)
            return self._at_urls.setdefault(name, Repository(id, f"[context {name}] {git.shown}", git, keep, (0, 0)))
        value = str(value)
        if value.startswith(_LOCAL):
            return self._local(value.removeprefix(_LOCAL), name)
        if is_web(value):
            shown = f"[context {name}] {archives.shown(value)}"
            node = Remote(digest("context", name, value), shown, value, "context", "", (0, 0))
            return self._at_urls.setdefault(name, node)
        return None

    def _fetched(self, source: str) -> bool:
        """Whether a source of an ADD is at a URL, as far as it can be seen without its variables."""
        return is_web(source) or (not self._request.classic and is_git(source))

    def _local(self, source: str, name: str = "") -> Local:
        if source not in self._locals:
            shown = f"[context {name}] load from client" if name else "[internal] load build context"
            self._locals[source] = Local(digest("local", source), shown, source, self._excludes if not name else ())
        return self._locals[source]

    async def _image(self, value: str, platform: str) -> Base:
        ref = value.removeprefix(_IMAGE)
        if "://" in ref or ref.startswith(_LOCAL):
            raise Unsupported(f"a context like {value[:200]!r} cannot take the place of an image yet")
        key = (ref, platform)
        if key not in self._images:
            self._images[key] = asyncio.create_task(self._looked_up(*key))
        return await asyncio.shield(self._images[key])

    async def _looked_up(self, ref: str, platform: str) -> Base:
        asked = platform or (str(self._platform) if self._request.platform else "")
        image, shown = await self._resolve(ref, asked)
        return Base(digest("image", ref, platform, image.id), f"FROM {shown}", ref, image)


def _above_any(path: str) -> str:
    """The part of a path before `**`: any depth for --parents, one level for the clients that send files."""
    parts = path.split("/")
    return "/".join(parts[: parts.index("**")]) if "**" in parts else path


def _check_names(planned: Sequence[stages.Stage]) -> None:
    """The classic builder's: BuildKit takes the later one of two."""
    seen = set()
    for stage in planned:
        if (name := stage.text.name.lower()) and name in seen:
            raise DockerfileError(f"{name} stage name already used", stage.base.written.span)
        seen.add(name)


def _checked_base(base: Base) -> checks.Base:
    config = _defaults(base)
    return checks.Base(environment_of(config), bool(config.shell))


def _defaults(base: Base, classic: bool = False) -> ImageConfig:
    if base.image is not None:
        return base.image.defaults
    return ImageConfig() if classic else ImageConfig(working_dir="/")


def _ordered(tops: Sequence[Node]) -> tuple[Node, ...]:
    """All nodes that these need, each once, behind those that it needs."""
    ordered: dict[Node, None] = {}
    waiting: list[tuple[Node, bool]] = [(node, False) for node in reversed(tops)]
    while waiting:
        node, ready = waiting.pop()
        if node in ordered:
            continue
        below = [each for each in (node.parent, *node.origins) if each is not None] if isinstance(node, Step) else []
        if ready or not below:
            ordered[node] = None
        else:
            waiting.append((node, True))
            waiting += [(each, False) for each in reversed(below)]
    return tuple(ordered)
