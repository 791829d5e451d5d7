"""Which variables an instruction of a stage sees: global ARGs, --build-arg, ARG, ENV and the base image's environment.

scope = Scope(globals_, given, environment)   at a FROM; Scope.of_stage(...) for one that begins with a stage
step = scope.take(instruction)                the instruction expanded; ARG and ENV are then seen by those after it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from corten.spec.default_path import PATH
from corten.spec.dockerfile import expand as expansion
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.expand import Expanded
from corten.spec.dockerfile.instructions import Arg, Argument, Env, Instruction, Run
from corten.spec.dockerfile.mounts import Mount
from corten.spec.dockerfile.words import Rules, process

# Arguments of ours: they are no variables of a RUN.
NO_VARIABLES = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")

Kind = TypeVar("Kind", bound=Instruction)


def global_arguments(
    args: Sequence[Arg], given: Mapping[str, str], automatic: Mapping[str, str], escape: str = "\\"
) -> dict[str, str]:
    """What FROM sees: automatic ones (TARGETPLATFORM, ...), and ARGs before the first FROM with the values that are
    `given` by --build-arg or their own; each sees those before it. Raises DockerfileError."""
    known = {name: given.get(name, value) for name, value in automatic.items()}
    for arg in args:
        for argument in arg.arguments:
            value = given.get(argument.key, argument.value)
            if argument.key not in given and value is not None:
                value = _value(value, known, escape, arg)
            if value is not None:
                known[argument.key] = value
    return known


def _value(text: str, known: Mapping[str, str], escape: str, arg: Arg) -> str:
    try:
        return process(text, known, Rules(escape)).text
    except ValueError as error:
        raise DockerfileError(str(error), arg.written.span) from None


class Scope:
    """Of one stage. `variables` is what words see and a RUN gets; `environment` what the image keeps; `arguments` the
    ARGs so far, for the history of a RUN."""

    def __init__(
        self,
        globals_: Mapping[str, str],
        given: Mapping[str, str],
        environment: Mapping[str, str],
        escape: str = "\\",
    ) -> None:
        self._globals = globals_
        self._given = given
        self._escape = escape
        self.environment = dict(environment)
        self.environment.setdefault("PATH", PATH)
        self.variables = dict(self.environment)
        self.arguments: list[Argument] = []
        self._declared: set[str] = set()  # also those without a value: using one is no mistake

    def of_stage(self) -> Scope:
        """For a stage that begins with this one: it inherits all."""
        other = Scope(self._globals, self._given, self.environment, self._escape)
        other.variables = dict(self.variables)
        other.arguments = list(self.arguments)
        other._declared = set(self._declared)
        return other

    def take(self, instruction: Kind) -> Expanded[Kind]:
        """Raises DockerfileError."""
        if isinstance(instruction, Arg):
            arg, used, undefined = self._take_arg(instruction)
            return Expanded(arg, used, undefined)  # type: ignore[arg-type]  # Kind is Arg here
        step = expansion.expand(instruction, self.variables, self._escape)
        if isinstance(step.instruction, Env):
            for pair in step.instruction.pairs:
                self.environment[pair.key] = self.variables[pair.key] = pair.value
        return replace(step, undefined=step.undefined - self._declared) if step.undefined else step

    def mounts(self, run: Run) -> tuple[Mount, ...]:
        """Raises DockerfileError."""
        return expansion.mounts(run, self.variables, self._escape)

    def _take_arg(self, arg: Arg) -> tuple[Arg, frozenset[str], frozenset[str]]:
        """A value is --build-arg's, else its own, else the global ARG's of this name."""
        found: list[Argument] = []
        used: set[str] = set()
        undefined: set[str] = set()
        for argument in arg.arguments:
            value = self._given.get(argument.key)
            if value is None and argument.value is not None:
                try:
                    word = process(argument.value, self.variables, Rules(self._escape))
                except ValueError as error:
                    raise DockerfileError(str(error), arg.written.span) from None
                value, used, undefined = word.text, used | word.used, undefined | word.undefined
            elif value is None:
                value = self._globals.get(argument.key)
            if value is not None and argument.key not in NO_VARIABLES:
                self.variables[argument.key] = value
            undefined -= self._declared
            found.append(replace(argument, value=value))
            self.arguments.append(found[-1])
            self._declared.add(argument.key)
        return replace(arg, arguments=tuple(found)), frozenset(used), frozenset(undefined)
