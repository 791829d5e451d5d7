"""The build checks of a file: what BuildKit warns of while it reads it, and while it goes through its stages.

    found = check(file, plan, CheckOptions(...))     all of it
    found = written(file, checks)                    only what needs no plan

What needs a base image's configuration (UndefinedVar, JSONArgsRecommended) takes it from `CheckOptions.images`; of a
stage whose base is not known these two say nothing. After MOST findings there are no more.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from corten.errors import Invalid
from corten.spec import platform as platforms
from corten.spec import reference
from corten.spec.dockerfile import ports
from corten.spec.dockerfile.check_rules import Checks, Finding, options
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.ignore import Patterns
from corten.spec.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Shell,
    StageText,
    Workdir,
)
from corten.spec.dockerfile.scope import Scope, global_arguments
from corten.spec.dockerfile.source import comment_directive
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.stages import SCRATCH, ImageSource, Plan, Scratch, Stage, StageSource
from corten.spec.dockerfile.texts import quoted, suggestion
from corten.spec.dockerfile.words import Rules, Word, process

MOST = 500
_RESERVED = ("context", SCRATCH)
_SECRET = re.compile("(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE)
_NO_SECRET = re.compile("(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Base:
    """What the configuration of a base image has."""

    environment: Mapping[str, str] = field(default_factory=dict)
    shell: bool = False


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """`images` by the name in FROM (expanded), `made_for` what they are made for by name and --platform; `target` is
    what is built for, None unknown. `ignore` are the patterns of .dockerignore. `every_stage`: also those
    that the target does not need."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    automatic: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Base] = field(default_factory=dict)
    made_for: Mapping[tuple[str, str], platforms.Platform] = field(default_factory=dict)
    target: platforms.Platform | None = None
    ignore: Patterns | None = None
    checks: Checks | None = None  # else those of the file's `# check=`
    every_stage: bool = True


def check(file: Dockerfile, plan: Plan, given: CheckOptions) -> list[Finding]:
    """In the order of their rules' work: the text, names and casing, then stage by stage. Raises DockerfileError for
    what would end the build."""
    checks = given.checks or options(file.directives.check)
    found = chain(
        written(file, checks),
        _defaults(file, given, checks),
        _froms(file, plan, given, checks),
        _stages(file, plan, given, checks),
    )
    return list(islice(found, MOST))


def written(file: Dockerfile, checks: Checks) -> Iterator[Finding]:
    """What needs no plan: how names and keywords are written."""
    for line, _ in file.empty_continuations:
        yield from _wanted(checks, Finding("NoEmptyContinuation", "Empty continuation line", Span(line)))
    for arg in file.arguments:
        yield from _filtered(checks, arg, _descriptions(arg))
    for stage in file.stages:
        yield from _filtered(checks, stage.base, _from_written(stage.base))
        for instruction in stage.instructions:
            yield from _filtered(checks, instruction, _instruction_written(instruction))
    yield from (finding for finding in _stage_names(file.stages) if checks.wants(finding.rule))
    yield from (finding for finding in _casing(file.stages) if checks.wants(finding.rule))


def _wanted(checks: Checks, finding: Finding) -> Iterator[Finding]:
    if checks.wants(finding.rule):
        yield finding


def _of(checks: Checks, instruction: Instruction) -> Checks:
    """With what a `# check=` right above an instruction says."""
    for comment in instruction.written.comments:
        name, value = comment_directive(comment)
        if name == "check":
            try:
                return checks.with_more(options(value))
            except Invalid:
                return checks
    return checks


def _filtered(checks: Checks, instruction: Instruction, findings: Iterable[Finding]) -> Iterator[Finding]:
    own = _of(checks, instruction)
    return (finding for finding in findings if own.wants(finding.rule))


# ------------------------------------------------------------------------------------------------- how it is written


def _from_written(base: From) -> Iterator[Finding]:
    span, keyword, other = base.written.span, base.written.keyword, base.keyword_as
    if base.name_written != base.name:
        yield Finding("StageNameCasing", f"Stage name '{base.name_written}' should be lowercase", span)
    cased = other.lower() if keyword == keyword.lower() else other.upper() if keyword == keyword.upper() else other
    if other != cased:
        yield Finding("FromAsCasing", f"'{other}' and '{keyword}' keywords' casing do not match", span)
    if base.name:
        yield from _description("FROM", [base.name], base)


def _instruction_written(instruction: Instruction) -> Iterator[Finding]:
    match instruction:
        case Maintainer():
            message = "Maintainer instruction is deprecated in favor of using label"
            yield Finding("MaintainerDeprecated", message, instruction.written.span)
        case Arg():
            yield from _descriptions(instruction)


def _descriptions(arg: Arg) -> Iterator[Finding]:
    return _description("ARG", [argument.key for argument in arg.arguments], arg)


def _description(keyword: str, names: list[str], instruction: Instruction) -> Iterator[Finding]:
    comments = instruction.written.comments
    if comments and comments[-1].split(" ")[0] not in names:
        name = names[0] if len(names) == 1 else "<arg_key>"
        message = f"Comment for {keyword} should follow the format: `# {name} <description>`"
        yield Finding("InvalidDefinitionDescription", message, instruction.written.span)


def _stage_names(stages: Iterable[StageText]) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in stages:
        name, span = stage.name, stage.base.written.span
        if name in _RESERVED:
            message = f"Stage name should not use the same name as reserved stage {quoted(name)}"
            yield Finding("ReservedStageName", message, span)
        if name and name in seen:
            message = f"Duplicate stage name {quoted(name)}, stage names should be unique"
            yield Finding("DuplicateStageName", message, span)
        seen.add(name)


def _casing(stages: tuple[StageText, ...]) -> Iterator[Finding]:
    every = [each for stage in stages for each in (stage.base, *stage.instructions)]
    keywords = [each.written.keyword for each in every]
    lower = sum(word == word.lower() for word in keywords)
    upper = sum(word == word.upper() for word in keywords)
    right: Callable[[str], str] = str.lower if lower > upper else str.upper
    name = "lowercase" if lower > upper else "uppercase"
    for each, word in zip(every, keywords):
        if word != right(word):
            message = f"Command '{word}' should match the case of the command majority ({name})"
            yield Finding("ConsistentInstructionCasing", message, each.written.span)


# ------------------------------------------------------------------------------------------------------------- FROM


def _defaults(file: Dockerfile, given: CheckOptions, checks: Checks) -> Iterator[Finding]:
    """Bases that need a --build-arg to be a name."""
    escape = file.directives.escape
    try:
        known = global_arguments(file.arguments, {}, given.automatic, escape)
        names = [process(stage.base.image, known, Rules(escape)).text for stage in file.stages]
    except (DockerfileError, ValueError):
        return  # the build itself says it
    for stage, name in zip(file.stages, names):
        try:
            reference.parse(name)
        except Invalid:
            message = f"Default value for ARG {stage.base.image} results in empty or invalid base image name"
            finding = Finding("InvalidDefaultArgInFrom", message, stage.base.written.span)
            yield from _filtered(checks, stage.base, [finding])


def _froms(file: Dockerfile, plan: Plan, given: CheckOptions, checks: Checks) -> Iterator[Finding]:
    rules = Rules(file.directives.escape)
    declared = {argument.key for arg in file.arguments for argument in arg.arguments} | set(plan.globals)
    for stage in plan.stages:
        base = stage.text.base
        words = [process(text, plan.globals, rules) for text in (base.image, base.platform)]
        findings = [*_undeclared(base, words, declared)]
        if base.platform:
            findings += _platform(base, words[1], plan.globals)
        findings += _made_for(stage.base, given)
        yield from _filtered(checks, base, findings)


def _undeclared(base: From, words: Iterable[Word], declared: set[str]) -> Iterator[Finding]:
    for word in words:
        for name in sorted(word.undefined - declared):
            near = suggestion(name, declared)
            message = f"FROM argument '{name}' is not declared" + (f" (did you mean {near}?)" if near else "")
            yield Finding("UndefinedArgInFrom", message, base.written.span)


def _platform(base: From, word: Word, globals_: Mapping[str, str]) -> Iterator[Finding]:
    span, variable = base.written.span, "TARGETPLATFORM"
    if word.used == {variable} and not word.undefined and word.text == globals_.get(variable):
        message = f"Setting platform to predefined {base.platform} in FROM is redundant as this is the default behavior"
        yield Finding("RedundantTargetPlatform", message, span)
    if word.used or word.undefined:
        return
    try:
        platform = platforms.parse(word.text)
    except Invalid:
        return
    if platform.os not in base.name and platform.architecture not in base.name:
        message = f"FROM --platform flag should not use constant value {quoted(word.text)}"
        yield Finding("FromPlatformFlagConstDisallowed", message, span)


def _made_for(base: From, given: CheckOptions) -> Iterator[Finding]:
    """`base` is expanded."""
    actual = given.made_for.get((base.image, base.platform))
    expected = platforms.parse(base.platform) if base.platform else given.target
    if actual is None or expected is None:
        return
    if (actual.os, actual.architecture) != (expected.os, expected.architecture):
        message = (
            f"Base image {base.image} was pulled with platform {quoted(str(actual))}, expected "
            f"{quoted(str(expected))} for current build"
        )
        yield Finding("InvalidBaseImagePlatform", message, base.written.span)


# ----------------------------------------------------------------------------------------------------- stage by stage


@dataclass(slots=True)
class _State:
    """What is known behind an instruction of a stage. `known` is False where the base image is not."""

    scope: Scope
    known: bool
    shell: bool
    workdir: bool = False
    last: dict[type[Instruction], Instruction] = field(default_factory=dict)

    def of_stage(self) -> _State:
        return _State(self.scope.of_stage(), self.known, self.shell, self.workdir)


def _stages(file: Dockerfile, plan: Plan, given: CheckOptions, checks: Checks) -> Iterator[Finding]:
    states: dict[int, _State] = {}
    needed = set(plan.order)
    for stage in plan.stages:
        if not given.every_stage and stage.index not in needed:
            continue
        state = states[stage.index] = _begin(stage, file, plan, given, states)
        for instruction in stage.text.instructions:
            yield from _filtered(checks, instruction, _step(instruction, state, given))


def _begin(stage: Stage, file: Dockerfile, plan: Plan, given: CheckOptions, states: Mapping[int, _State]) -> _State:
    match stage.origin:
        case StageSource(index):
            return states[index].of_stage()
        case ImageSource(name) if name in given.images:
            base, known = given.images[name], True
        case origin:
            base, known = Base(), isinstance(origin, Scratch)
    scope = Scope(plan.globals, given.arguments, base.environment, file.directives.escape)
    return _State(scope, known, base.shell)


def _step(instruction: Instruction, state: _State, given: CheckOptions) -> Iterator[Finding]:
    before = state.scope.variables.keys() if state.known else ()
    step = state.scope.take(instruction)
    done, span = step.instruction, instruction.written.span
    if state.known:
        for name in sorted(step.undefined):
            near = suggestion(name, before)
            message = f"Usage of undefined variable '${name}'" + (f" (did you mean ${near}?)" if near else "")
            yield Finding("UndefinedVar", message, span)
    yield from _once(done, state)
    match done:
        case Env():
            yield from _pairs(done)
            yield from (_secret("ENV", pair.key, span) for pair in done.pairs if _is_secret(pair.key))
        case Arg():
            yield from (_secret("ARG", each.key, span) for each in done.arguments if _is_secret(each.key))
        case Label():
            yield from _pairs(done)
        case Workdir():
            if not state.workdir and not done.path.startswith("/"):
                message = f"Relative workdir {quoted(done.path)} can have unexpected results if the base image changes"
                yield Finding("WorkdirRelativePath", message, span)
            state.workdir = True
        case Shell():
            state.shell = True
        case Cmd() | Entrypoint() if done.command.shell and not state.shell and state.known:
            keyword = done.written.keyword
            message = f"JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"
            yield Finding("JSONArgsRecommended", message, span)
        case Expose():
            yield from _ports(done)
        case Copy() if not done.source:
            yield from _ignored("Copy", done.sources, span, given.ignore)
        case Add():
            sources = [source for source in done.sources if "://" not in source]
            yield from _ignored("Add", sources, span, given.ignore)


def _once(instruction: Instruction, state: _State) -> Iterator[Finding]:
    if isinstance(instruction, Cmd | Entrypoint | Healthcheck):
        before = state.last.get(type(instruction))
        state.last[type(instruction)] = instruction
        if before is not None:
            message = (
                f"Multiple {instruction.written.keyword} instructions should not be used in the same stage because "
                "only the last one will be used"
            )
            yield Finding("MultipleInstructionsDisallowed", message, before.written.span)


def _pairs(instruction: Env | Label) -> Iterator[Finding]:
    if not all(pair.equals for pair in instruction.pairs):
        name = instruction.written.keyword
        message = f'"{name} key=value" should be used instead of legacy "{name} key value" format'
        yield Finding("LegacyKeyValueFormat", message, instruction.written.span)


def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None and _NO_SECRET.search(name) is None


def _secret(keyword: str, name: str, span: Span) -> Finding:
    message = f"Do not use ARG or ENV instructions for sensitive data ({keyword} {quoted(name)})"
    return Finding("SecretsUsedInArgOrEnv", message, span)


def _ports(expose: Expose) -> Iterator[Finding]:
    for word in expose.ports:
        try:
            port = ports.port(word)
        except ValueError as error:
            raise DockerfileError(str(error), expose.written.span, word) from None
        if port.protocol != port.protocol.lower():
            message = f"Defined protocol '{word}' in EXPOSE instruction should be lowercase"
            yield Finding("ExposeProtoCasing", message, expose.written.span)
        if port.mapped:
            message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
            yield Finding("ExposeInvalidFormat", message, expose.written.span)


def _ignored(verb: str, sources: Iterable[str], span: Span, ignore: Patterns | None) -> Iterator[Finding]:
    """Where `!` takes something back, the patterns alone do not say what is there."""
    if ignore is None or not ignore.patterns or ignore.take_back:
        return
    everything = any(pattern.text in ("*", "**", "**/*") for pattern in ignore.patterns)
    for source in sources:
        path = posixpath.normpath(source)
        whole = path in (".", "/", "//")
        if everything if whole else ignore.excludes(path.lstrip("/")):
            message = f"Attempting to {verb} file {quoted(path)} that is excluded by .dockerignore"
            yield Finding("CopyIgnoredFile", message, span)
