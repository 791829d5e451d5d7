"""Which stages there are, what each begins with, and what a target needs.

    plan = plan(file, PlanOptions(target="app", arguments={...}, automatic={...}, contexts=(...)))
    plan.order      the stages that the target needs, each after what it needs
    plan.names      what names of COPY --from and RUN --mount=from= mean

A name of FROM is an earlier stage, `scratch`, a named context or an image. A name of COPY --from is a stage wherever it
stands, a stage's number, a named context or an image; of RUN --mount=from= the same without numbers. A stage whose name
is a named context is that context.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from corten.errors import Invalid
from corten.spec import platform as platforms
from corten.spec import reference
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.expand import Expanded, expand
from corten.spec.dockerfile.instructions import Copy, Dockerfile, From, Instruction, Run, StageText
from corten.spec.dockerfile.scope import global_arguments
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.texts import did_you_mean, quoted

SCRATCH = "scratch"
CONTEXT = "context"
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class StageSource:
    index: int


@dataclass(frozen=True, slots=True)
class ImageSource:
    """As it was written, variables expanded; `reference.parse` reads it."""

    name: str


@dataclass(frozen=True, slots=True)
class ContextSource:
    """A named context, by its name as `contexts` has it."""

    name: str


@dataclass(frozen=True, slots=True)
class Scratch:
    """No files at all."""


Origin = StageSource | ImageSource | ContextSource | Scratch


@dataclass(frozen=True, slots=True)
class Stage:
    """`base` is the FROM, expanded. `needs` are stages that it copies from or mounts, not the one that it begins with,
    with the place of the first instruction that does."""

    text: StageText
    base: From
    origin: Origin
    needs: Mapping[int, Span]
    undefined: frozenset[str] = frozenset()

    @property
    def index(self) -> int:
        return self.text.index

    @property
    def shown(self) -> str:
        """Its name, or stage-N."""
        return self.text.name or f"stage-{self.index}"

    @property
    def all_needs(self) -> dict[int, Span]:
        begins = {self.origin.index: self.base.written.span} if isinstance(self.origin, StageSource) else {}
        return {**begins, **self.needs}


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """`automatic` are the arguments that are there without an ARG before the first FROM (`automatic`)."""

    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    automatic: Mapping[str, str] = field(default_factory=dict)
    contexts: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """What names mean: stages by theirs in lower case (of two with one name the later), contexts by their one
    spelling."""

    count: int
    stages: Mapping[str, int]
    contexts: Mapping[str, str]

    def context(self, name: str) -> str | None:
        """The named context that a name is."""
        if not self.contexts or not name or name.lower() in (SCRATCH, CONTEXT):
            return None
        return self.contexts.get(context_name(name))

    def origin(self, name: str, stages: Mapping[str, int] | None = None) -> Origin:
        index = (self.stages if stages is None else stages).get(name.lower())
        if index is not None:
            return StageSource(index)
        if name == SCRATCH:
            return Scratch()
        context = self.context(name)
        return ImageSource(name) if context is None else ContextSource(context)

    def copied(self, name: str, instruction: Instruction) -> Origin:
        """Of COPY --from, where a number is a stage's. Raises DockerfileError."""
        if not _NUMBER.fullmatch(name):
            return self.origin(name)
        if not 0 <= int(name) < self.count:
            raise DockerfileError(f"invalid stage index {int(name)}", instruction.written.span, f"--from={name}")
        return StageSource(int(name))

    def needs(self, instructions: Iterable[Instruction]) -> dict[int, Span]:
        found: dict[int, Span] = {}
        for instruction in instructions:
            for origin in self._origins(instruction):
                if isinstance(origin, StageSource):
                    found.setdefault(origin.index, instruction.written.span)
        return found

    def _origins(self, instruction: Instruction) -> Iterator[Origin]:
        match instruction:
            case Copy() if instruction.source:
                yield self.copied(expand(instruction, {}).instruction.source, instruction)
            case Run():
                yield from (self.origin(flag.source) for flag in instruction.mounts if flag.source)


@dataclass(frozen=True, slots=True)
class Plan:
    """`order` holds indexes of `stages`; the last one is the target. `globals` is what FROM sees."""

    stages: tuple[Stage, ...]
    order: tuple[int, ...]
    globals: Mapping[str, str]
    names: Names

    @property
    def target(self) -> Stage:
        return self.stages[self.order[-1]]

    def with_triggers(self, index: int, triggers: Sequence[Instruction]) -> Plan:
        """ONBUILD triggers run right after the FROM of a stage: they may need other stages. Raises DockerfileError."""
        stage = self.stages[index]
        text = replace(stage.text, instructions=(*triggers, *stage.text.instructions))
        stage = replace(stage, text=text, needs={**self.names.needs(triggers), **stage.needs})
        stages = (*self.stages[:index], stage, *self.stages[index + 1 :])
        return replace(self, stages=stages, order=tuple(_walk(stages, self.order[-1])))


def plan(file: Dockerfile, options: PlanOptions) -> Plan:
    """Raises DockerfileError, Invalid for a target that there is not."""
    escape = file.directives.escape
    globals_ = global_arguments(file.arguments, options.arguments, options.automatic, escape)
    names = Names(
        len(file.stages),
        {stage.name: stage.index for stage in file.stages if stage.name},
        {context_name(name): name for name in options.contexts},
    )
    stages: list[Stage] = []
    earlier: dict[str, int] = {}
    for text in file.stages:
        stages.append(_stage(text, _base(text.base, globals_, escape), names, earlier))
        if text.name:
            earlier[text.name] = text.index
    target = _target(file.stages, names, options.target)
    _refuse_circles(stages)
    return Plan(tuple(stages), tuple(_walk(stages, target)), globals_, names)


def _stage(text: StageText, base: Expanded[From], names: Names, earlier: Mapping[str, int]) -> Stage:
    context = names.context(text.name)
    if context is not None:  # it takes the place of the whole stage
        return Stage(replace(text, instructions=()), base.instruction, ContextSource(context), {}, base.undefined)
    origin = names.origin(base.instruction.image, earlier)
    return Stage(text, base.instruction, origin, names.needs(text.instructions), base.undefined)


def automatic(build: platforms.Platform, target: platforms.Platform, stage: str) -> dict[str, str]:
    """The arguments of platforms, and TARGETSTAGE ("" is the default stage)."""
    found: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        found |= {
            f"{prefix}PLATFORM": str(platform),
            f"{prefix}OS": platform.os,
            f"{prefix}OSVERSION": "",
            f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return {**found, "TARGETSTAGE": stage or "default"}


def context_name(text: str) -> str:
    """The one spelling of a named context: an image's short name without :latest, in lower case."""
    try:
        return str(reference.parse(text.lower()).familiar).removesuffix(":latest")
    except Invalid:
        return text.lower()


def _base(base: From, globals_: Mapping[str, str], escape: str) -> Expanded[From]:
    done = expand(base, globals_, escape)
    if not done.instruction.image:
        raise DockerfileError(f"base name ({base.image}) should not be blank", base.written.span, base.image)
    if base.platform and not done.instruction.platform:
        suggested = "".join(did_you_mean(name, globals_) for name in sorted(done.undefined)[:1])
        raise DockerfileError(
            f"empty platform value from expression {base.platform}{suggested}", base.written.span, base.platform
        )
    if done.instruction.platform:
        try:
            platforms.parse(done.instruction.platform)
        except Invalid as error:
            message = f"failed to parse platform {base.platform}: {error}"
            raise DockerfileError(message, base.written.span, base.platform) from None
    return done


def _target(stages: Sequence[StageText], names: Names, target: str) -> int:
    if not target:
        return len(stages) - 1
    index = names.stages.get(target.lower())
    if index is None:
        known = [stage.name or f"stage-{stage.index}" for stage in stages]
        raise Invalid(f"target stage {quoted(target)} could not be found{did_you_mean(target, known)}")
    return index


def _refuse_circles(stages: Sequence[Stage]) -> None:
    seen: set[int] = set()
    for stage in stages:
        if stage.index not in seen:
            seen.update(_walk(stages, stage.index, seen))


def _walk(stages: Sequence[Stage], first: int, seen: Collection[int] = ()) -> Iterator[int]:
    """`first` and the stages that it needs, each after its own needs, without those `seen`. No recursion: a file may
    have thousands in a row. Raises DockerfileError for a circle."""
    path = [(first, iter(sorted(stages[first].all_needs)))]
    on_path, closed = {first}, set()
    while path:
        index, needs = path[-1]
        need = next(needs, None)
        if need is None:
            path.pop()
            on_path.remove(index)
            closed.add(index)
            yield index
        elif need in on_path:
            message = f"circular dependency detected on stage: {stages[need].shown}"
            raise DockerfileError(message, stages[index].all_needs[need])
        elif need not in closed and need not in seen:
            path.append((need, iter(sorted(stages[need].all_needs))))
            on_path.add(need)
