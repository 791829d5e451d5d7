"""Bytes to instructions. What is refused is what BuildKit refuses, in its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from corten.spec.dockerfile import lexing
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.flags import FlagError
from corten.spec.dockerfile.instructions import Arg, Dockerfile, From, Heredoc, Instruction, StageText, Written
from corten.spec.dockerfile.lexing import LexicalError
from corten.spec.dockerfile.readers import NO_TRIGGERS, READERS, Part
from corten.spec.dockerfile.source import MOST_INSTRUCTIONS, MOST_STAGES, Line, Reader, takes_heredocs
from corten.spec.dockerfile.span import Span
from corten.spec.dockerfile.texts import did_you_mean


def parse(data: bytes, filename: str = "Dockerfile") -> Dockerfile:
    """Raises DockerfileError: Invalid with a place."""
    if not data:
        raise DockerfileError("the Dockerfile cannot be empty", Span(1))
    reader = Reader(data)
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    empty: list[tuple[int, str]] = []
    count = 0
    for count, (line, instruction) in enumerate(_instructions(reader), 1):
        if count > MOST_INSTRUCTIONS:
            raise DockerfileError(f"more than {MOST_INSTRUCTIONS} instructions", line.span)
        if line.empty:
            empty.append((line.span.end, line.text))
        match instruction:
            case From() if len(stages) == MOST_STAGES:  # all that are needed are planned side by side
                raise DockerfileError(f"more than {MOST_STAGES} stages", line.span)
            case From():
                stages.append((instruction, []))
            case Arg() if not stages:
                arguments.append(instruction)
            case _ if not stages:
                raise DockerfileError("no build stage in current context", instruction.written.span)
            case _:
                stages[-1][1].append(instruction)
    if not stages:
        message = "dockerfile contains no stages to build" if count else "file with no instructions"
        raise DockerfileError(message, Span(max(1, len(reader.lines))))
    texts = tuple(StageText(i, base, tuple(following)) for i, (base, following) in enumerate(stages))
    return Dockerfile(reader.lines, reader.directives, tuple(arguments), texts, tuple(empty), filename)


def single(text: str) -> Instruction:
    """The one instruction of a text. Raises DockerfileError."""
    found = list(_instructions(Reader(text.encode("utf-8", "replace"))))
    if len(found) != 1:
        raise DockerfileError("it should be a single instruction", Span(1))
    return found[0][1]


def trigger(text: str, base: From) -> Instruction:
    """The instruction of an ONBUILD trigger, as an image's configuration has it, for the stage that begins with `base`,
    whose place it has. Raises DockerfileError."""
    try:
        found = list(_instructions(Reader(text.encode("utf-8", "replace"))))
    except DockerfileError as error:
        raise DockerfileError(str(error), base.written.span) from None
    if len(found) != 1:
        raise DockerfileError("onbuild trigger should be a single expression", base.written.span)
    instruction = found[0][1]
    if refused := NO_TRIGGERS.get(instruction.written.keyword.lower()):
        raise DockerfileError(refused, base.written.span)
    return replace(instruction, written=replace(instruction.written, span=base.written.span))


def _instructions(reader: Reader) -> Iterator[tuple[Line, Instruction]]:
    for line in reader:
        yield line, _instruction(reader, line)


def _instruction(reader: Reader, line: Line) -> Instruction:
    try:
        part = _part(reader, line)
        read = READERS.get(part.keyword.lower())
        if read is None:
            suggested = did_you_mean(part.keyword, READERS, cased=False)
            raise FlagError(f"unknown instruction: {part.keyword}{suggested}", part.keyword)
        return read(part)
    except LexicalError as error:
        raise DockerfileError(str(error), line.span) from None
    except FlagError as error:
        raise DockerfileError(_on_line(line, error), line.span, error.word) from None
    except ValueError as error:
        raise DockerfileError(_on_line(line, error), line.span) from None


def _on_line(line: Line, error: ValueError) -> str:
    return f"dockerfile parse error on line {line.span.line}: {error}"


def _part(reader: Reader, line: Line) -> Part:
    escape = reader.directives.escape
    keyword, rest = lexing.keyword(line.text)
    flags, rest = lexing.flags(rest, escape)
    heredocs: tuple[Heredoc, ...] = ()
    if _may_have_heredocs(keyword, rest, escape):
        heredocs, line = reader.heredocs(line)
    return Part(keyword, flags, rest, heredocs, Written(line.text, line.span, keyword, line.comments), escape)


def _may_have_heredocs(keyword: str, rest: str, escape: str) -> bool:
    if keyword.lower() == "onbuild":
        keyword, rest = lexing.keyword(rest)
        rest = lexing.flags(rest, escape)[1]
    return takes_heredocs(keyword) and "<<" in rest and lexing.json_words(rest) is None
