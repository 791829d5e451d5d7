"""What a RUN executes, and what progress displays and histories say of steps.

executed(run, shell)              ("/bin/sh", "-c", "make"), and the file of a heredoc that begins with #!
shown(instruction, variables)     RUN make $X (cat <<EOF...)      of a progress display
created_by(instruction, ...)      RUN |1 X=1 /bin/sh -c make # buildkit    of an image's history
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    Healthcheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.spec.dockerfile.mounts import SecretMount
from corten.spec.dockerfile.source import heredoc_of
from corten.spec.dockerfile.texts import SPACE, quoted, quoted_list, unicode
from corten.spec.dockerfile.words import Rules, process
from corten.units.durations import go_duration

SHELL = ("/bin/sh", "-c")
COMMENT = "buildkit.dockerfile.v0"  # of each entry of a history
PIPES = "/dev/pipes"
HIDDEN = "****"


@dataclass(frozen=True, slots=True)
class Executed:
    """`files`: what is to be there while it runs, by path, with mode 0755."""

    args: tuple[str, ...]
    files: Mapping[str, bytes]


def executed(run: Run, shell: Sequence[str] = ()) -> Executed:
    """`shell` is the stage's SHELL; () is the default. One heredoc that is the whole line is the script itself; with
    `#!` it is a file that is executed. Others are put together again for the shell. Raises ValueError for heredocs of
    which nothing can be made."""
    if not run.heredocs:
        return Executed(with_shell(run.command, shell), {})
    line = run.command.args[0]
    first = run.heredocs[0]
    if heredoc_of(line) is None:
        whole = line + "".join(f"\n{unicode(doc.content)}{doc.name}" for doc in run.heredocs)
        return Executed(with_shell(Command((whole,), shell=True), shell), {})
    if not first.text.startswith("#!"):
        return Executed(with_shell(Command((unicode(first.text),), shell=True), shell), {})
    if "/" in first.name or first.name in ("", ".", ".."):
        raise ValueError(f"a heredoc with #! cannot be named {quoted(first.name)}")
    path = f"{PIPES}/{first.name}"
    return Executed(with_shell(Command((path,), shell=True), shell), {path: first.data})


def with_shell(command: Command, shell: Sequence[str] = ()) -> tuple[str, ...]:
    """The arguments, or the line for the shell."""
    return (*(shell or SHELL), " ".join(command.args)) if command.shell else command.args


def shown(instruction: Instruction, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Its line, the keyword in upper case, variables in place; of a RUN only those that are set."""
    text, rules = instruction.written.text, Rules(escape)
    if isinstance(instruction, Run):
        text, rules = text + _summary(instruction), Rules(escape, quotes="kept", keep_unset=True)
    try:
        text = process(text, variables, rules).text
    except ValueError:
        pass  # it is shown as it was written
    keyword, blank, rest = text.partition(" ")
    return keyword.upper() + blank + rest


def hide(variables: Mapping[str, str], secrets: Sequence[SecretMount]) -> dict[str, str]:
    """Variables for `shown`, those with a secret's name with stars."""
    return {**variables, **{secret.variable: HIDDEN for secret in secrets if secret.variable}}


def _summary(run: Run) -> str:
    """The first line of a heredoc that is the whole command."""
    if not run.heredocs or heredoc_of(run.command.args[0]) is None:
        return ""
    first, *others = unicode(run.heredocs[0].content).strip(SPACE).replace("\r\n", "\n").split("\n")
    return f" ({first}{'...' if others else ''})"


def step_name(stage: str, number: int, count: int, text: str, triggered: bool = False, platform: str = "") -> str:
    """`[stage 2/5] RUN make`: `stage` "" when it is the only one, `platform` only when there are several."""
    where = "".join(f"{word} " for word in (platform, stage) if word)
    return f"[{where}{number:{len(str(count))}}/{count}] {'ONBUILD ' if triggered else ''}{text}"


def created_by(
    instruction: Instruction,
    args: Sequence[str] = (),
    arguments: Sequence[Argument] = (),
    variables: Mapping[str, str] | None = None,
) -> str:
    """The history of an instruction that is expanded. `args` are a RUN's, as `executed` has them, or CMD's and
    ENTRYPOINT's with their shell; `arguments` and `variables` are the ARGs that a RUN sees and their values."""
    match instruction:
        case Run():
            return f"RUN {_with_arguments(args, arguments, variables or {})} # buildkit"
        case Copy() | Add():
            return f"{_copied(instruction)} # buildkit"
        case Cmd():
            return f"CMD {quoted_list(args)}"
        case Entrypoint():
            return f"ENTRYPOINT {quoted_list(args)}"
        case Healthcheck():
            return f"HEALTHCHECK {_health(instruction)}"
    return _plain(instruction)


def classic_created_by(
    instruction: Instruction,
    args: Sequence[str] = (),
    arguments: Sequence[Argument] = (),
    variables: Mapping[str, str] | None = None,
    shell: Sequence[str] = (),
    copied: str = "",
) -> str:
    """The same in the words of the classic builder. `copied` names what a COPY or ADD brought: `file:DIGEST`."""
    prefix = " ".join(shell or SHELL) + " #(nop) "
    match instruction:
        case Run():
            return _with_arguments(args, arguments, variables or {})
        case Copy() | Add():
            return f"{prefix}{_name(instruction)} {copied} in {instruction.target} "
        case Workdir():
            return f"{prefix}WORKDIR {instruction.path}"
        case Expose():
            return f"{prefix} EXPOSE {' '.join(instruction.ports)}"
        case Cmd() | Entrypoint():
            return f"{prefix} {_name(instruction)} {quoted_list(args)}"
        case Healthcheck():
            return f"{prefix} HEALTHCHECK {_classic_health(instruction)}"
        case OnBuild():
            return f"{prefix} ONBUILD {instruction.trigger}"
    return f"{prefix} {_plain(instruction)}"


def _name(instruction: Instruction) -> str:
    return type(instruction).__name__.upper()


def _plain(instruction: Instruction) -> str:
    match instruction:
        case Env() | Label():
            return " ".join([_name(instruction), *(f"{pair.key}={pair.value}" for pair in instruction.pairs)])
        case Arg():
            return " ".join(["ARG", *map(_argument, instruction.arguments)])
        case Expose():
            return f"EXPOSE [{' '.join(instruction.ports)}]"
        case Volume():
            return f"VOLUME [{' '.join(instruction.paths)}]"
        case Shell():
            return f"SHELL [{' '.join(instruction.args)}]"
        case Workdir():
            return f"WORKDIR {instruction.path}"
        case User():
            return f"USER {instruction.user}"
        case StopSignal():
            return f"STOPSIGNAL {instruction.signal}"
        case Maintainer():
            return f"MAINTAINER {instruction.author}"
    return instruction.written.text


def _argument(argument: Argument) -> str:
    return argument.key if argument.value is None else f"{argument.key}={argument.value}"


def _with_arguments(args: Sequence[str], arguments: Sequence[Argument], variables: Mapping[str, str]) -> str:
    """`|2 A=1 B= /bin/sh -c make`: an ARG once, at its first place, with the value that the RUN sees."""
    values = {arg.key: variables.get(arg.key, arg.value or "") for arg in arguments}
    head = [f"|{len(values)}", *(f"{key}={value}" for key, value in values.items())] if values else []
    return " ".join([*head, *args])


def _copied(instruction: Copy | Add) -> str:
    parts = [_name(instruction)]
    if isinstance(instruction, Copy) and instruction.parents:
        parts.append("--parents")
    if instruction.owner:
        parts.append(f"--chown={instruction.owner}")
    if instruction.mode:
        parts.append(f"--chmod={instruction.mode}")
    heredocs: Sequence[Heredoc] = instruction.heredocs
    return " ".join([*parts, *instruction.sources, *(f"<<{doc.name}" for doc in heredocs), instruction.target])


def _health(health: Healthcheck) -> str:
    """Go's %+v of the structure."""
    times = {
        "Interval": health.interval,
        "Timeout": health.timeout,
        "StartPeriod": health.start_period,
        "StartInterval": health.start_interval,
    }
    spans = " ".join(f"{name}:{go_duration(length)}" for name, length in times.items())
    return f"{{Test:[{' '.join(health.test)}] {spans} Retries:{health.retries}}}"


def _classic_health(health: Healthcheck) -> str:
    """Go's %q of the structure, as API 1.41 has it: a number is printed as a character."""
    times = " ".join(quoted(go_duration(length)) for length in (health.interval, health.timeout, health.start_period))
    number = chr(health.retries) if health.retries < 0x110000 else "\ufffd"
    return f"&{{{quoted_list(health.test)} {times} '{_character(number)}'}}"


def _character(char: str) -> str:
    return {"'": "\\'", '"': '"', "\x00": "\\x00"}.get(char) or quoted(char)[1:-1]
