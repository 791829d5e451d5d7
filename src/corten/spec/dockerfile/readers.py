"""One function for each instruction: the parts of its line to its value. They raise ValueError in BuildKit's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from corten.spec.dockerfile import lexing
from corten.spec.dockerfile.flags import Flags, read
from corten.spec.dockerfile.instructions import (
    Add,
    Arg,
    Argument,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Pair,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
    Written,
)
from corten.spec.dockerfile.lexing import LexicalError
from corten.spec.dockerfile.mount_flags import mount_flag
from corten.spec.dockerfile.run_devices import device
from corten.spec.dockerfile.source import heredoc_of
from corten.spec.dockerfile.texts import SPACE, quoted
from corten.units.durations import parse_duration

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ON_BUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)
_SHORTEST_INTERVAL = 1_000_000  # ns
_MOST_RETRIES = 2**31 - 1

# What may not be a trigger, and the sentence for it.
NO_TRIGGERS = {
    "onbuild": "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
    "from": "FROM isn't allowed as an ONBUILD trigger",
    "maintainer": "MAINTAINER isn't allowed as an ONBUILD trigger",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The parts of an instruction's line. `rest` is what follows keyword and flags."""

    keyword: str
    flags: list[str]
    rest: str
    heredocs: tuple[Heredoc, ...]
    written: Written
    escape: str

    @property
    def name(self) -> str:
        return self.keyword.upper()

    def options(self) -> Flags:
        return read(self.keyword.lower(), self.flags)


def _one(part: Part) -> str:
    """The rest as the only argument, blanks and all."""
    if not part.rest:
        raise ValueError(f"{part.name} requires exactly one argument")
    part.options()
    return part.rest


def _some(part: Part, arguments: tuple[str, ...]) -> tuple[str, ...]:
    if not arguments:
        raise ValueError(f"{part.name} requires at least one argument")
    return arguments


def _list(part: Part) -> tuple[str, ...]:
    listed = lexing.json_words(part.rest)
    return tuple(lexing.split(part.rest)) if listed is None else listed


def _command(rest: str) -> Command:
    listed = lexing.json_words(rest)
    if listed is not None:
        return Command(listed, shell=False)
    return Command((rest,) if rest else (), shell=True)


def _from(part: Part) -> From:
    words = lexing.split(part.rest)
    name = words[2] if len(words) == 3 else ""
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].lower() != "as"):
        raise ValueError("FROM requires either one or three arguments")
    if name and not _STAGE_NAME.fullmatch(name.lower()):
        raise ValueError(
            f"invalid name for build stage: {quoted(name)}, name can't start with a number or contain symbols"
        )
    return From(
        part.written,
        image=words[0],
        name=name.lower(),
        platform=part.options().text("platform"),
        keyword_as=words[1] if name else "",
        name_written=name,
        description=_description(part, name.lower()),
    )


def _description(part: Part, name: str) -> str:
    comments = part.written.comments if name else ()
    return next((text.removeprefix(name + " ") for text in comments if text.startswith(name + " ")), "")


def _run(part: Part) -> Run:
    options = part.options()
    network, security = options.text("network", "default"), options.text("security", "sandbox")
    mounts = tuple(mount_flag(text) for text in options.texts("mount"))
    if network not in ("default", "none", "host"):
        raise ValueError(f"invalid network mode {quoted(network)}")
    if security not in ("sandbox", "insecure"):
        raise ValueError(f"security {quoted(security)} is not valid")
    return Run(
        part.written,
        command=_command(part.rest),
        heredocs=part.heredocs,
        mounts=mounts,
        network=cast("Literal['default', 'none', 'host']", network),
        security=cast("Literal['sandbox', 'insecure']", security),
        devices=tuple(device(text) for text in options.texts("device")),
    )


def _cmd(part: Part) -> Cmd:
    part.options()
    return Cmd(part.written, _command(part.rest))


def _entrypoint(part: Part) -> Entrypoint:
    part.options()
    return Entrypoint(part.written, _command(part.rest))


def _shell(part: Part) -> Shell:
    part.options()
    command = _command(part.rest)
    _some(part, command.args)
    if command.shell:
        raise ValueError("SHELL requires the arguments to be in JSON form")
    return Shell(part.written, command.args)


def _pairs(part: Part) -> tuple[Pair, ...]:
    """`A=1 B="2 3"`, or the old form `A all the rest`."""
    words = lexing.words(part.rest, part.escape)
    if words and "=" not in words[0]:
        key, value = lexing.first_word(part.rest)
        if value is None:
            raise LexicalError(f"{part.name} must have two arguments")
        pairs = [Pair(key, value, equals=False)]
    else:
        for word in words:
            if "=" not in word:
                raise LexicalError(f"Syntax error - can't find = in {quoted(word)}. Must be of the form: name=value")
        pairs = [Pair(key, value) for key, _, value in (word.partition("=") for word in words)]
    part.options()
    if not pairs:
        raise ValueError(f"{part.name} requires at least one argument")
    if not all(pair.key for pair in pairs):
        raise ValueError(f"{part.name} names can not be blank")
    return tuple(pairs)


def _arg(part: Part) -> Arg:
    part.options()
    found = []
    for word in _some(part, tuple(lexing.words(part.rest, part.escape))):
        key, equals, value = word.partition("=")
        if not key:
            raise ValueError("ARG names can not be blank")
        found.append(Argument(key, value if equals else None, _description(part, key)))
    return Arg(part.written, tuple(found))


def _expose(part: Part) -> Expose:
    ports = _some(part, tuple(lexing.split(part.rest)))
    part.options()
    return Expose(part.written, tuple(sorted(ports)))


def _volume(part: Part) -> Volume:
    paths = _some(part, _list(part))
    part.options()
    trimmed = tuple(path.strip(SPACE) for path in paths)
    if not all(trimmed):
        raise ValueError("VOLUME specified can not be an empty string")
    return Volume(part.written, trimmed)


def _healthcheck(part: Part) -> Healthcheck:
    kind, rest = lexing.first_word(part.rest)
    command = _command(rest or "")
    if not kind:
        raise ValueError("HEALTHCHECK requires at least one argument")
    if kind.upper() == "NONE":
        if command.args:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(part.written, ("NONE",))
    options = part.options()
    if kind.upper() != "CMD":
        raise ValueError(f"Unknown type {quoted(kind.upper())} in HEALTHCHECK (try CMD)")
    if not command.args:
        raise ValueError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        part.written,
        ("CMD-SHELL" if command.shell else "CMD", *command.args),
        interval=_interval(options, "interval"),
        timeout=_interval(options, "timeout"),
        start_period=_interval(options, "start-period"),
        start_interval=_interval(options, "start-interval"),
        retries=_retries(options.text("retries")),
    )


def _interval(options: Flags, name: str) -> int:
    text = options.text(name)
    length = parse_duration(text) if text else 0
    if length and length < _SHORTEST_INTERVAL:
        raise ValueError(f"Interval {quoted(name)} cannot be less than 1ms")
    return length


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: invalid syntax")
    if int(text) < 0:
        raise ValueError(f"--retries cannot be negative ({int(text)})")
    if int(text) > _MOST_RETRIES:
        raise ValueError(f"strconv.ParseInt: parsing {quoted(text)}: value out of range")
    return int(text)


def _on_build(part: Part) -> OnBuild:
    trigger, rest = lexing.keyword(part.rest)
    if not trigger:
        raise ValueError("ONBUILD requires at least one argument")
    part.options()
    if refused := NO_TRIGGERS.get(trigger.lower()):
        raise ValueError(refused)
    _check_trigger(part, trigger, rest)
    text = _ON_BUILD.sub("", part.written.text, count=1)
    return OnBuild(part.written, text + "".join(f"\n{doc.content}{doc.name}" for doc in part.heredocs))


def _check_trigger(part: Part, keyword: str, rest: str) -> None:
    """A trigger that cannot be split in parts is refused now, all else when it runs, perhaps by another builder.
    Raises LexicalError."""
    reader = READERS.get(keyword.lower())
    flags, rest = lexing.flags(rest, part.escape)
    try:
        if reader is not None:
            reader(Part(keyword, flags, rest, part.heredocs, part.written, part.escape))
    except LexicalError:
        raise
    except ValueError:
        pass


def _copy(part: Part) -> Copy:
    words, options = _copied(part)
    sources, heredocs = _sources(part, words)
    return Copy(
        part.written,
        sources,
        words[-1],
        heredocs,
        source=options.text("from"),
        owner=options.text("chown"),
        mode=options.text("chmod"),
        link=bool(options.switch("link")),
        parents=bool(options.switch("parents")),
        exclude=options.texts("exclude"),
    )


def _add(part: Part) -> Add:
    words, options = _copied(part)
    sources, heredocs = _sources(part, words)
    return Add(
        part.written,
        sources,
        words[-1],
        heredocs,
        owner=options.text("chown"),
        mode=options.text("chmod"),
        link=bool(options.switch("link")),
        exclude=options.texts("exclude"),
        checksum=options.text("checksum"),
        keep_git_dir=options.switch("keep-git-dir"),
        unpack=options.switch("unpack"),
    )


def _copied(part: Part) -> tuple[tuple[str, ...], Flags]:
    words = _list(part)
    if len(words) < 2:
        raise ValueError(
            f"{part.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    options = part.options()
    if heredoc_of(words[-1]) is not None:
        raise ValueError(f"{part.name} cannot accept a heredoc as a destination")
    return words, options


def _sources(part: Part, words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[Heredoc, ...]]:
    """Sources that are files, and those that the Dockerfile itself has."""
    known = {heredoc.name: heredoc for heredoc in part.heredocs}
    named = [(word, heredoc_of(word)) for word in words[:-1]]
    files = tuple(word for word, heredoc in named if heredoc is None)
    return files, tuple(known.get(heredoc.name, heredoc) for _, heredoc in named if heredoc is not None)


READERS: dict[str, Callable[[Part], Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": lambda part: Env(part.written, _pairs(part)),
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": lambda part: Label(part.written, _pairs(part)),
    "maintainer": lambda part: Maintainer(part.written, _one(part)),
    "onbuild": _on_build,
    "run": _run,
    "shell": _shell,
    "stopsignal": lambda part: StopSignal(part.written, _one(part)),
    "user": lambda part: User(part.written, _one(part)),
    "volume": _volume,
    "workdir": lambda part: Workdir(part.written, _one(part)),
}
