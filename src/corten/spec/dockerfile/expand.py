"""The variables of an instruction put in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

from corten.spec.dockerfile import mount_flags
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    From,
    Heredoc,
    Instruction,
    Label,
    Pair,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.spec.dockerfile.mounts import Mount
from corten.spec.dockerfile.words import LONGEST, Rules, Word, process, process_words

Kind = TypeVar("Kind", bound=Instruction)


@dataclass(frozen=True, slots=True)
class Expanded(Generic[Kind]):
    """The instruction without variables and quotes. `used` and `undefined` are names of variables."""

    instruction: Kind
    used: frozenset[str] = frozenset()
    undefined: frozenset[str] = frozenset()


def expand(instruction: Kind, variables: Mapping[str, str], escape: str = "\\") -> Expanded[Kind]:
    """ADD COPY ENV EXPOSE FROM LABEL STOPSIGNAL USER VOLUME WORKDIR; others come back as they are (`mounts` is for RUN,
    `scope.Scope` for ARG). In ENV and LABEL every value sees what was before the line. Raises DockerfileError."""
    words = _Words(variables, escape)
    try:
        done = _expanded(instruction, words)
    except ValueError as error:
        raise DockerfileError(str(error), instruction.written.span) from None
    return Expanded(cast(Kind, done), frozenset(words.used), frozenset(words.undefined))


def mounts(run: Run, variables: Mapping[str, str], escape: str = "\\") -> tuple[Mount, ...]:
    """The mounts of a RUN, typed. Raises DockerfileError."""
    words = _Words(variables, escape)
    try:
        return tuple(mount_flags.mount(flag, words.one) for flag in run.mounts)
    except ValueError as error:
        raise DockerfileError(str(error), run.written.span) from None


class _Words:
    """Expands words of one instruction, together at most LONGEST characters, and keeps the names it met."""

    def __init__(self, variables: Mapping[str, str], escape: str) -> None:
        self.variables = variables
        self._rules = Rules(escape)
        self._size = 0
        self.used: set[str] = set()
        self.undefined: set[str] = set()

    def one(self, text: str) -> str:
        return self._counted(process(text, self.variables, self._rules)).text

    def several(self, text: str) -> tuple[str, ...]:
        words, word = process_words(text, self.variables, self._rules)
        self._counted(word)
        return words

    def document(self, text: str) -> str:
        """A heredoc: quotes are characters as any, a backslash escapes whatever the escape directive says."""
        return self._counted(process(text, self.variables, Rules(quotes="plain"))).text

    def _counted(self, word: Word) -> Word:
        self._size += len(word.text)
        if self._size > LONGEST:
            raise ValueError(f"the instruction is longer than {LONGEST} characters when it is expanded")
        self.used |= word.used
        self.undefined |= word.undefined
        return word


def _expanded(instruction: Instruction, words: _Words) -> Instruction:
    one = words.one
    match instruction:
        case From():
            return replace(instruction, image=one(instruction.image), platform=one(instruction.platform))
        case Env() | Label():
            pairs = tuple(Pair(one(pair.key), one(pair.value), pair.equals) for pair in instruction.pairs)
            return replace(instruction, pairs=pairs)
        case Expose():
            return replace(instruction, ports=tuple(word for port in instruction.ports for word in words.several(port)))
        case User():
            return replace(instruction, user=one(instruction.user))
        case Workdir():
            return replace(instruction, path=one(instruction.path))
        case Volume():
            paths = tuple(one(path) for path in instruction.paths)
            if not all(paths):
                raise ValueError("VOLUME specified can not be an empty string")
            return replace(instruction, paths=paths)
        case StopSignal():
            return replace(instruction, signal=one(instruction.signal))
        case Copy():
            return replace(_copied(instruction, words), source=_constant(instruction.source))
        case Add():
            return replace(_copied(instruction, words), checksum=one(instruction.checksum))
    return instruction


Copying = TypeVar("Copying", Copy, Add)


def _copied(instruction: Copying, words: _Words) -> Copying:
    return replace(
        instruction,
        owner=words.one(instruction.owner),
        mode=words.one(instruction.mode),
        sources=tuple(words.one(source) for source in instruction.sources),
        target=words.one(instruction.target),
        heredocs=tuple(_document(heredoc, words.document) for heredoc in instruction.heredocs),
    )


def _document(heredoc: Heredoc, expand_text: Callable[[str], str]) -> Heredoc:
    return replace(heredoc, text=expand_text(heredoc.text)) if heredoc.expand else heredoc


def _constant(source: str) -> str:
    """--from: a stage is found before any variable has a value. Raises ValueError when there is one."""
    if "$" in source and process(source, {}).text != source:
        raise ValueError(
            "variable expansion is not supported for --from, "
            "define a new stage with FROM using ARG from global scope as a workaround"
        )
    return source
