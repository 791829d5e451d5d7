"""What a target can be given: the arguments that it uses, and the secrets and SSH agents that its steps mount; of the
stages that it needs as well. Without a look at any image.

A stage's ARG that takes the value of one before the first FROM is that one, with its place and description.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from corten.spec.dockerfile.expand import expand
from corten.spec.dockerfile.instructions import Arg, Argument, Dockerfile, Run
from corten.spec.dockerfile.mounts import SecretMount, SshMount
from corten.spec.dockerfile.scope import Scope
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.stages import PlanOptions, Stage, StageSource, plan
from corten.spec.dockerfile.words import Rules, process

T = TypeVar("T", "OutlineArgument", "Mounted")
_DEFAULT = "default"  # the SSH agent of a mount without an id


@dataclass(frozen=True, slots=True)
class OutlineArgument:
    name: str
    description: str
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Mounted:
    """A secret, or an agent."""

    name: str
    required: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Outline:
    """`name` and `description` are the target's; all others in the Dockerfile's order."""

    name: str
    description: str
    arguments: tuple[OutlineArgument, ...]
    secrets: tuple[Mounted, ...]
    agents: tuple[Mounted, ...]


def outline(file: Dockerfile, options: PlanOptions) -> Outline:
    """Raises DockerfileError, Invalid for a target that there is not."""
    planned = plan(file, options)
    found = _Outline(file, options.arguments, planned.globals)
    scopes: dict[int, Scope] = {}
    for index in planned.order:
        stage = planned.stages[index]
        scopes[index] = found.stage(stage, scopes)
    target = planned.target.text
    return Outline(
        target.name,
        target.base.description,
        _ordered(found.arguments.values()),
        _ordered(found.secrets.values()),
        _ordered(found.agents.values()),
    )


class _Outline:
    def __init__(self, file: Dockerfile, given: Mapping[str, str], globals_: Mapping[str, str]) -> None:
        self._escape = file.directives.escape
        self._given = given
        self._globals = globals_
        self._above: dict[str, tuple[Argument, Span, frozenset[str]]] = {}  # with the names that its value uses
        for arg in file.arguments:
            for argument in arg.arguments:
                self._above[argument.key] = argument, arg.written.span, self._uses(argument)
        self.arguments: dict[tuple[str, int], OutlineArgument] = {}  # by name and line
        self.secrets: dict[str, Mounted] = {}
        self.agents: dict[str, Mounted] = {}

    def _uses(self, argument: Argument) -> frozenset[str]:
        if argument.value is None or argument.key in self._given:
            return frozenset()
        return process(argument.value, self._globals, Rules(self._escape)).used - {argument.key}

    def stage(self, stage: Stage, scopes: Mapping[int, Scope]) -> Scope:
        """Add what a stage uses; what is seen behind its last instruction."""
        for name in expand(stage.text.base, self._globals, self._escape).used:
            self._use(name)
        if isinstance(stage.origin, StageSource):
            scope = scopes[stage.origin.index].of_stage()
        else:
            scope = Scope(self._globals, self._given, {}, self._escape)
        for instruction in stage.text.instructions:
            taken = scope.take(instruction).instruction
            if isinstance(instruction, Arg) and isinstance(taken, Arg):
                for written, argument in zip(instruction.arguments, taken.arguments):
                    self._argument(written, argument, instruction.written.span)
            elif isinstance(instruction, Run):
                self._run(scope, instruction)
        return scope

    def _argument(self, written: Argument, found: Argument, span: Span) -> None:
        if written.value is None and written.key not in self._given and written.key in self._globals:
            self._use(written.key)
        else:
            self._add(found, found.value or "", span)

    def _use(self, name: str) -> None:
        """One of those before the first FROM, and those in its value."""
        waiting, seen = [name], set()
        while waiting:
            one = waiting.pop()
            if one in seen or one not in self._above:
                continue
            seen.add(one)
            argument, span, uses = self._above[one]
            self._add(argument, self._globals.get(one, ""), span)
            waiting += uses

    def _add(self, argument: Argument, value: str, span: Span) -> None:
        found = OutlineArgument(argument.key, argument.description, value, span)
        self.arguments.setdefault((argument.key, span.line), found)

    def _run(self, scope: Scope, run: Run) -> None:
        for mount in scope.mounts(run):
            match mount:
                case SecretMount():
                    self.secrets.setdefault(mount.id, Mounted(mount.id, mount.required, run.written.span))
                case SshMount():
                    id = mount.id or _DEFAULT
                    self.agents.setdefault(id, Mounted(id, mount.required, run.written.span))


def _ordered(found: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(found, key=lambda each: each.span.line))
