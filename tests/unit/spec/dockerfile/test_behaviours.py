"""The behaviours of Dockerfiles that are easiest to get wrong, by their number in the list of 84: those of syntax,
expansion and planning. The others are what a step does to a tree: tests of the builder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corten.errors import Invalid
from corten.spec.docker.config import ImageConfig
from corten.spec.dockerfile.check_rules import Checks
from corten.spec.dockerfile.checks import CheckOptions, check
from corten.spec.dockerfile.commands import created_by, executed, with_shell
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.expand import expand, mounts
from corten.spec.dockerfile.ignore import Patterns, lines
from corten.spec.dockerfile.image_settings import ImageSettings
from corten.spec.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    Volume,
    Workdir,
)
from corten.spec.dockerfile.mounts import BindMount, CacheMount, SecretMount, SshMount, TmpfsMount
from corten.spec.dockerfile.parse import parse, trigger
from corten.spec.dockerfile.ports import exposed
from corten.spec.dockerfile.source import syntax
from corten.spec.dockerfile.stages import ImageSource, Scratch, StageSource
from corten.spec.dockerfile.words import process
from dockerfile_parts.files import env, file, one, planned, refused, run_through, seen, unplanned


def command(line: str) -> str:
    return one(Run, line).command.args[0]


# ------------------------------------------------------------------------------------------------------------- syntax


@pytest.mark.parametrize("line", ["# escape=`", "#escape=`", "#\tEsCaPe =  `", "#  escape  =  `  "])
def test_01_escape_directive(line: str) -> None:
    assert command_of(f"{line}\nFROM scratch\nRUN a `\n  b \\\n") == "a   b \\"


def command_of(text: str) -> str:
    (run,) = file(text).stages[0].instructions
    assert isinstance(run, Run)
    return run.command.args[0]


@pytest.mark.parametrize("before", ["# a comment\n", "\n", "FROM busybox\n"])
def test_02_a_directive_after_something_else_is_a_comment(before: str) -> None:
    assert (
        command_of(
            f"{before}# escape=`\nFROM scratch\nRUN a \\\n b\n"
            if before[0] != "F"
            else "FROM scratch\n# escape=`\nRUN a \\\n b\n"
        )
        == "a  b"
    )


def test_03_a_directive_twice() -> None:
    assert refused("# escape=`\n# escape=`\nFROM scratch\n") == "only one escape parser directive can be used"
    assert refused("# syntax=a\n# syntax=b\nFROM scratch\n") == "only one syntax parser directive can be used"
    assert refused("# escape=x\nFROM scratch\n") == "invalid escape token 'x' does not match ` or \\"


def test_04_comments_in_a_continued_line() -> None:
    assert command("RUN a \\\n# one\n   # two\n b") == "a  b"


def test_05_an_empty_line_in_a_continued_line() -> None:
    found = file("FROM scratch\nRUN a \\\n\n   \n b\nRUN c\n")
    assert [run.command.args for run in found.stages[0].instructions if isinstance(run, Run)] == [("a  b",), ("c",)]
    assert found.empty_continuations == ((5, "RUN a  b"),)


def test_06_a_hash_in_a_line_is_the_shells() -> None:
    assert command("RUN echo a # b") == "echo a # b"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("RUN a\\   \n  b", "a  b"),
        ("RUN a\\\t\n\tb", "a\tb"),
        ("RUN a\\\\\nRUN b", "a\\\\"),
        ("RUN a \\\r\n b\r", "a  b"),
    ],
)
def test_07_what_continues_a_line(line: str, text: str) -> None:
    run = file(f"FROM scratch\n{line}\n").stages[0].instructions[0]
    assert isinstance(run, Run) and run.command.args == (text,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a\nFOO b", "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)"),
        ("FROM a\nFROMM b", "dockerfile parse error on line 2: unknown instruction: FROMM (did you mean FROM?)"),
        ("\n\nform a", "dockerfile parse error on line 3: unknown instruction: form (did you mean from?)"),
        ("RUN a", "no build stage in current context"),
        ("", "the Dockerfile cannot be empty"),
        ("# only this\n", "file with no instructions"),
        ("ARG a\n", "dockerfile contains no stages to build"),
    ],
)
def test_08_unknown_instructions(text: str, message: str) -> None:
    assert refused(text) == message


def test_09_lines_and_their_ends() -> None:
    assert refused("FROM a\nRUN " + "x" * 65532) == "dockerfile line greater than max allowed size of 65535"
    assert command("RUN " + "x" * 65531) == "x" * 65531
    found = parse(b"\xef\xbb\xbf# escape=`\r\nFROM scratch\r\nRUN <<E\r\na\r\nE\r\n")
    (run,) = found.stages[0].instructions
    assert found.directives.escape == "`"
    assert isinstance(run, Run) and run.heredocs[0].data == b"a\r\n"


# -------------------------------------------------------------------------------------------------- arguments and words


def test_10_a_global_argument_is_not_seen_in_a_stage() -> None:
    text = "ARG T=busybox\nFROM $T\n"
    assert planned(text).stages[0].origin == ImageSource("busybox")
    assert seen(text + "RUN x") == {}
    assert seen(text + "ARG T") == {"T": "busybox"}
    assert seen(text + "ARG T", {"T": "alpine"}) == {"T": "alpine"}


def test_11_arguments_that_use_others() -> None:
    assert planned("ARG A=bus\nARG B=${A}ybox\nFROM $B").stages[0].origin == ImageSource("busybox")
    assert seen("FROM scratch\nARG A=1 B=${A}2") == {"A": "1", "B": "12"}


def test_12_an_argument_is_of_its_stage() -> None:
    found = planned("FROM scratch AS a\nARG X=1\nFROM scratch\nENV Y=$X")
    (step,) = found.stages[1].text.instructions
    assert isinstance(step, Env)
    assert expand(step, {}).instruction.pairs[0].value == ""


def test_13_an_argument_is_inherited_by_a_stage_that_begins_with_it() -> None:
    scope = run_through("FROM scratch AS a\nARG X=1\nENV E=2")[1].of_stage()
    assert (scope.variables["X"], scope.environment["E"]) == ("1", "2")
    assert [arg.key for arg in scope.arguments] == ["X"]


def test_14_argument_and_environment_of_one_name() -> None:
    assert seen("FROM scratch\nENV V=env\nARG V=arg", {"V": "cli"}) == {"V": "cli"}
    assert env("ENV V=env\nARG V=arg", {"V": "cli"}) == {"V": "env"}


def test_15_an_environment_of_an_argument() -> None:
    assert env("ARG V\nENV V=${V:-d}", {"V": "cli"}) == {"V": "cli"}
    assert env("ARG V\nENV V=${V:-d}") == {"V": "d"}


def test_16_an_empty_build_argument_beats_the_default() -> None:
    assert seen("FROM scratch\nARG A=1", {"A": ""}) == {"A": ""}


def test_17_a_build_argument_without_arg_is_not_seen() -> None:
    assert seen("FROM scratch\nRUN x", {"NOPE": "1"}) == {}


def test_19_arguments_in_image_and_history() -> None:
    steps, scope = run_through("FROM scratch\nARG A=1\nRUN x")
    assert "A" not in scope.environment
    assert created_by(steps[0]) == "ARG A=1"
    assert isinstance(steps[1], Run)
    args = executed(steps[1]).args
    assert created_by(steps[1], args, scope.arguments, scope.variables) == "RUN |1 A=1 /bin/sh -c x # buildkit"


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("${a:-x}", "A"), ("${a-x}", "A"), ("${e:-x}", "x"), ("${e-x}", ""), ("${z:-d}", "d"), ("${z-d}", "d"),
        ("${a:+s}", "s"), ("${a+s}", "s"), ("${e:+s}", ""), ("${e+s}", "s"), ("${z:+n}", ""), ("${z+n}", ""),
        ("${a:?x}", "A"), ("${a?x}", "A"), ("${e?x}", ""), ("${z:-${a}b}", "Ab"), ("${z:-\"x y\"}", "x y"),
    ],
)  # fmt: skip
def test_21_substitution_as_a_shell_has_it(word: str, value: str) -> None:
    assert process(word, {"a": "A", "e": ""}).text == value


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${z:?no z}", "z: no z"), ("${z?}", "z: is not allowed to be unset"),
        ("${e:?}", "e: is not allowed to be empty"), ("${a", "syntax error: missing '}'"),
        ("${a:-x", "syntax error: missing '}'"), ("${", "syntax error: missing '}'"),
    ],
)  # fmt: skip
def test_21_substitution_that_fails(word: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        process(word, {"a": "A", "e": ""})
    assert str(error.value) == f'failed to process "{word}": {message}'


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("${s#*b}", "arbaz"), ("${s##*b}", "az"), ("${s%b*}", "foobar"), ("${s%%b*}", "foo"),
        ("${s/ba/XX}", "fooXXrbaz"), ("${s//ba/XX}", "fooXXrXXz"), ("${s#f?o}", "barbaz"), ("${s#x}", "foobarbaz"),
        ("${s%z}", "foobarba"), ("${s/b*/X}", "fooX"), ("${s//o/}", "fbarbaz"), ("${s//[o]/X}", "foobarbaz"),
        ("${z#x}", ""), ("${p//\\//-}", "a-b-c"), ("${s//?/x}", "xxxxxxxxx"), ("${s##*}", ""), ("${s#*}", "foobarbaz"),
    ],
)  # fmt: skip
def test_22_patterns(word: str, value: str) -> None:
    assert process(word, {"s": "foobarbaz", "p": "a/b/c"}).text == value


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${}", "syntax error: bad substitution"), ("${{a}", "syntax error: bad substitution"),
        ("${:a}", "syntax error: bad substitution"), ("${s:#x}", "unsupported modifier (:#) in substitution"),
        ("${s^x}", "unsupported modifier (^) in substitution"), ("${s/a}", "syntax error: missing '/' in ${}"),
        ("${s#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
    ],
)  # fmt: skip
def test_22_patterns_that_are_none(word: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        process(word, {"s": "a"})
    assert str(error.value).endswith(message)


def test_23_parameters_of_a_shell_are_never_set() -> None:
    assert env("ENV a=$1x b=$@y c=$ d=$$z") == {"a": "x", "b": "y", "c": "$", "d": "z"}
    assert process("$1x$@$", {}).undefined == {"1", "@"}


def test_24_values_see_what_was_before_the_line() -> None:
    assert env("ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc") == {"abc": "bye", "def": "hello", "ghi": "bye"}


def test_25_forms_of_env() -> None:
    assert env("ENV K a  b   c") == {"K": "a  b   c"}
    assert env('ENV Q "x y"') == {"Q": "x y"}
    assert env("ENV M=a\\ b N=' c' O=") == {"M": "a b", "N": " c", "O": ""}
    assert not one(Env, "ENV K a").pairs[0].equals
    assert refused("FROM a\nENV K") == "ENV must have two arguments"
    message = 'Syntax error - can\'t find = in "b". Must be of the form: name=value'
    assert refused("FROM a\nENV a=1 b") == message
    assert refused("FROM a\nENV =1") == "dockerfile parse error on line 2: ENV names can not be blank"


def test_26_quotes_and_escapes() -> None:
    assert env("ENV a=1\nENV b='$a' c=\"$a\" d=\\\"q\\\" e=\\$a f=\"\\$a\\x\"") == {
        "a": "1", "b": "$a", "c": "1", "d": '"q"', "e": "$a", "f": "$a\\x",
    }  # fmt: skip


def test_27_where_variables_are_expanded() -> None:
    head = "FROM scratch\nENV S=1\n"
    lines_ = ["ADD $S /$S/", "COPY $S /$S/", "EXPOSE $S", "LABEL l=$S", "STOPSIGNAL $S", "USER $S", "VOLUME /$S"]
    steps, _ = run_through(head + "\n".join([*lines_, "WORKDIR /$S"]))
    assert [str(step).count("$S") - step.written.text.count("$S") for step in steps[1:]] == [0] * 8
    kept = ["RUN $S", "CMD $S", "ENTRYPOINT $S", 'SHELL ["$S"]', "HEALTHCHECK CMD $S", "ONBUILD RUN $S"]
    for line in kept:
        (step,) = run_through(head + line)[0][1:]
        assert step == file(head + line).stages[0].instructions[1]
    assert unplanned("FROM scratch\nARG S\nCOPY --from=$S a b").startswith(
        "variable expansion is not supported for --from, define a new stage"
    )


# -------------------------------------------------------------------------------------------------------- instructions


def test_28_what_is_json() -> None:
    assert one(Cmd, "CMD [ 'a' ]").command.shell
    assert one(Cmd, 'CMD [ "a", "b\\u0063" ]').command.args == ("a", "bc")
    assert one(Cmd, 'CMD ["a" ] x').command.args == ('["a" ] x',)
    message = "when using JSON array syntax, arrays must be comprised of strings only"
    assert refused('FROM a\nCMD ["a", 1]') == message
    assert refused('FROM a\nRUN ["a", null]') == message


def test_29_commands() -> None:
    assert with_shell(one(Cmd, "CMD a b").command) == ("/bin/sh", "-c", "a b")
    assert with_shell(one(Entrypoint, 'ENTRYPOINT ["a"]').command) == ("a",)
    assert one(Entrypoint, "ENTRYPOINT []").command.args == ()


def test_30_shell() -> None:
    assert one(Shell, 'SHELL ["bash", "-ec"]').args == ("bash", "-ec")
    assert executed(one(Run, "RUN a"), ("bash", "-ec")).args == ("bash", "-ec", "a")
    message = "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form"
    assert refused("FROM a\nSHELL bash") == message
    assert refused("FROM a\nSHELL []") == "dockerfile parse error on line 2: SHELL requires at least one argument"


def test_37_sources_with_blanks_and_brackets() -> None:
    copy = one(Copy, 'COPY ["a b", "arr[[]0].txt", "/t/"]')
    assert (copy.sources, copy.target) == (("a b", "arr[[]0].txt"), "/t/")


def test_43_owner_and_mode() -> None:
    copy = one(Copy, "COPY --chown=u:g --chmod=a+x,go-w --link --parents --exclude=*.md --exclude=s a b")
    assert (copy.owner, copy.mode, copy.exclude) == ("u:g", "a+x,go-w", ("*.md", "s"))
    assert copy.link and copy.parents


def test_48_stages_by_number_and_name() -> None:
    text = "FROM scratch AS Foo\nFROM scratch\nCOPY --from={} a b"
    assert dict(planned(text.format("0")).stages[1].needs).keys() == {0}
    assert dict(planned(text.format("fOO")).stages[1].needs).keys() == {0}
    assert unplanned(text.format("7")) == "invalid stage index 7"
    assert dict(planned(text.format("busybox")).stages[1].needs) == {}


def test_49_circles_and_later_stages() -> None:
    assert unplanned("FROM scratch AS a\nCOPY --from=a x y") == "circular dependency detected on stage: a"
    two = "FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\nCOPY --from=a x y"
    assert unplanned(two) == "circular dependency detected on stage: a"
    assert planned("FROM scratch AS a\nCOPY --from=b x y\nFROM scratch AS b\n", target="a").order == (1, 0)


def test_50_exclude_matches_at_the_top_of_a_source() -> None:
    assert Patterns(["*.md"]).excludes("e.md") and not Patterns(["*.md"]).excludes("k/e.md")
    assert Patterns(["**/*.md"]).excludes("k/e.md") and Patterns(["s"]).excludes("s/x")


def test_51_unpack() -> None:
    assert one(Add, "ADD a.tar /").unpack is None
    assert one(Add, "ADD --unpack=false a.tar /").unpack is False
    assert one(Add, "ADD --unpack a.tar /").unpack is True


def test_52_flags_of_add() -> None:
    add = one(Add, "ADD --checksum=sha256:$X --keep-git-dir=true https://x/y /")
    assert (add.checksum, add.keep_git_dir) == ("sha256:$X", True)
    assert expand(add, {"X": "1"}).instruction.checksum == "sha256:1"


def test_53_workdir_is_expanded() -> None:
    step = expand(one(Workdir, "WORKDIR $Q/c/../d"), {"Q": "/q"})
    assert step.instruction.path == "/q/c/../d"


def test_56_an_empty_volume() -> None:
    message = "dockerfile parse error on line 2: VOLUME specified can not be an empty string"
    assert refused('FROM a\nVOLUME [""]') == message
    with pytest.raises(DockerfileError, match="VOLUME specified can not be an empty string"):
        expand(one(Volume, "VOLUME $X"), {})


def test_58_healthcheck() -> None:
    assert one(Healthcheck, "HEALTHCHECK NONE").test == ("NONE",)
    assert one(Healthcheck, 'HEALTHCHECK CMD ["a", "b"]').test == ("CMD", "a", "b")
    health = one(Healthcheck, "HEALTHCHECK --interval=5s --start-interval=1ms --retries=3 CMD a b")
    assert (health.test, health.interval, health.start_interval, health.retries) == (
        ("CMD-SHELL", "a b"), 5_000_000_000, 1_000_000, 3,
    )  # fmt: skip
    head = "dockerfile parse error on line 2: "
    for line, message in [
        ("--interval=1us CMD a", 'Interval "interval" cannot be less than 1ms'),
        ("--retries=-1 CMD a", "--retries cannot be negative (-1)"),
        ("NONE a", "HEALTHCHECK NONE takes no arguments"),
        ("CMD", "Missing command after HEALTHCHECK CMD"),
        ("FOO a", 'Unknown type "FOO" in HEALTHCHECK (try CMD)'),
        ("", "HEALTHCHECK requires at least one argument"),
        ("--intervl=1s CMD a", "unknown flag: --intervl (did you mean interval?)"),
    ]:
        assert refused(f"FROM a\nHEALTHCHECK {line}") == head + message


def test_59_stop_signal() -> None:
    assert expand(one(StopSignal, "STOPSIGNAL $S"), {"S": "9"}).instruction.signal == "9"


@pytest.mark.parametrize("signal", ["FOO", "0", "65", "SIG", ""])
def test_59_no_signal(signal: str) -> None:
    with pytest.raises(DockerfileError, match=f"invalid signal: {signal}"):
        ImageSettings(ImageConfig()).take(replace(one(StopSignal, "STOPSIGNAL x"), signal=signal))


def test_60_labels() -> None:
    label = expand(one(Label, "LABEL c='x $v' d=\"$v\""), {"v": "V"}).instruction
    assert [(pair.key, pair.value) for pair in label.pairs] == [("c", "x $v"), ("d", "V")]
    (pair,) = one(Label, "LABEL h i j").pairs
    assert (pair.key, pair.value, pair.equals) == ("h", "i j", False)


def test_61_expose() -> None:
    step = expand(one(Expose, "EXPOSE 100-102 $P/tcp 80/TCP 8080:80 [::1]:1:53/udp"), {"P": "7"}).instruction
    assert set(exposed(step.ports)) == {"100/tcp", "101/tcp", "102/tcp", "7/tcp", "80/tcp", "53/udp"}
    for word, message in [
        ("99999", "invalid containerPort: 99999"), ("80/x", 'invalid port: "80/x": invalid proto: x'),
        ("a:80", "invalid hostPort: a"), ("x:1:80", "invalid IP address: x"), ("5-4", "invalid containerPort: 5-4"),
        ("/tcp", 'invalid port: "/tcp": no port specified'),
    ]:  # fmt: skip
        with pytest.raises(ValueError) as error:
            exposed([word])
        assert str(error.value) == message


def test_62_on_build() -> None:
    head = "dockerfile parse error on line 2: "
    assert refused("FROM a\nONBUILD ONBUILD RUN x") == head + "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
    assert refused("FROM a\nONBUILD FROM x") == head + "FROM isn't allowed as an ONBUILD trigger"
    assert refused("FROM a\nONBUILD maintainer x") == head + "MAINTAINER isn't allowed as an ONBUILD trigger"
    assert one(OnBuild, "ONBUILD COPY --from=zz a b").trigger == "COPY --from=zz a b"
    heredoc = one(OnBuild, "ONBUILD RUN <<E cat\na\nE")
    assert heredoc.trigger == "RUN <<E cat\na\nE"
    base = file("\n\nFROM x").stages[0].base
    run = trigger(heredoc.trigger, base)
    assert isinstance(run, Run) and run.heredocs[0].content == "a\n" and run.written.span == base.written.span
    for text in ("RUN a\nRUN b", "", "FROM x", "ONBUILD RUN x", "NOPE", 'CMD ["a", 1]'):
        with pytest.raises(DockerfileError) as error:
            trigger(text, base)
        assert error.value.line == 3


def test_62_triggers_bring_what_they_need() -> None:
    found = planned("FROM scratch AS a\nFROM scratch AS b\nFROM base\nRUN x")
    assert found.order == (2,)
    more = found.with_triggers(2, [trigger("COPY --from=a x y", found.stages[2].base)])
    assert more.order == (0, 2)
    assert isinstance(more.target.text.instructions[0], Copy)


def test_63_names_of_stages() -> None:
    message = 'invalid name for build stage: "1x", name can\'t start with a number or contain symbols'
    assert refused("FROM a AS 1x") == f"dockerfile parse error on line 1: {message}"
    assert refused("FROM a b") == "dockerfile parse error on line 1: FROM requires either one or three arguments"
    found = planned("FROM scratch AS a\nFROM scratch AS a\nFROM scratch\nCOPY --from=a x y")
    assert dict(found.stages[2].needs).keys() == {1}


def test_64_scratch() -> None:
    assert planned("FROM scratch").target.origin == Scratch()


def test_65_target() -> None:
    text = "FROM scratch AS aa\nFROM scratch\n"
    assert planned(text, "aA").target.index == 0
    assert unplanned("FROM scratch AS a", "0") == 'target stage "0" could not be found (did you mean a?)'
    assert unplanned(text, "zzzz") == 'target stage "zzzz" could not be found'


def test_66_stages_that_are_not_needed() -> None:
    text = "FROM nope AS x\nFROM busybox AS a\nFROM a AS b\nFROM scratch\nRUN --mount=from=b,target=/b x"
    assert planned(text).order == (1, 2, 3)
    assert planned(text).stages[2].origin == StageSource(1)


# --------------------------------------------------------------------------------------------- heredocs, mounts, ignore


def test_67_heredocs_of_run() -> None:
    assert executed(one(Run, "RUN <<EOF\na\nb\nEOF")).args == ("/bin/sh", "-c", "a\nb\n")
    script = executed(one(Run, "RUN <<X\n#!/bin/py\nb\nX"))
    assert script.args == ("/bin/sh", "-c", "/dev/pipes/X")
    assert script.files == {"/dev/pipes/X": b"#!/bin/py\nb\n"}
    two = one(Run, 'RUN <<E1 cat && cat <<-"E2"\n$a\nE1\n\tb\n\tE2')
    assert [(doc.expand, doc.text) for doc in two.heredocs] == [(True, "$a\n"), (False, "b\n")]
    assert executed(two).args[2] == '<<E1 cat && cat <<-"E2"\n$a\nE1\n\tb\nE2'
    assert executed(one(Run, "RUN <<-E\n\t\ta\n\tE")).args[2] == "a\n"
    assert refused("FROM a\nRUN <<E\na\n") == "unterminated heredoc"
    assert one(Run, 'RUN ["<<E"]').heredocs == ()
    assert one(Run, "RUN echo $((1<<3))").heredocs == ()


def test_68_heredocs_of_copy() -> None:
    copy = one(Copy, 'COPY <<a.txt <<"b.txt" c /t/\n$x "q"\na.txt\n$x\nb.txt')
    assert (copy.sources, copy.target) == (("c",), "/t/")
    step = expand(copy, {"x": "1"}).instruction
    assert [(doc.name, doc.data) for doc in step.heredocs] == [("a.txt", b'1 "q"\n'), ("b.txt", b"$x\n")]
    assert refused("FROM a\nCOPY a <<E\nE") == (
        "dockerfile parse error on line 2: COPY cannot accept a heredoc as a destination"
    )
    latin = parse(b"FROM a\nCOPY <<f /t\n\xe9\nf\n").stages[0].instructions[0]
    assert isinstance(latin, Copy) and latin.heredocs[0].data == b"\xe9\n"


@pytest.mark.parametrize(
    ("flag", "mount"),
    [
        ("type=cache,target=/c,uid=5,mode=0700", CacheMount("/c", "/c", uid=5, mode=0o700)),
        ("type=cache,dst=/c/,id=$I,sharing=locked,ro", CacheMount("/c/", "7", sharing="locked", read_only=True)),
        ("target=/b", BindMount("/b")),
        ("type=bind,from=st,source=/x,target=b,rw", BindMount("b", "st", "/x", writable=True)),
        ("type=bind,target=/b,readonly=false", BindMount("/b", writable=True)),
        ("type=tmpfs,target=/t,size=1m", TmpfsMount("/t", 1048576)),
        ("type=secret,id=s1", SecretMount("s1", "/run/secrets/s1")),
        ("type=secret,target=/x/s2,required", SecretMount("s2", "/x/s2", required=True)),
        ("type=secret,id=s1,env=TOK", SecretMount("s1", "", "TOK")),
        ("type=secret,id=s1,env=TOK,target=/t,mode=0440", SecretMount("s1", "/t", "TOK", mode=0o440)),
        ("type=ssh", SshMount("default")),
        ("type=ssh,id=a,target=/s,required=true,gid=3", SshMount("a", "/s", True, gid=3)),
    ],
)
def test_69_to_72_mounts(flag: str, mount: object) -> None:
    assert mounts(one(Run, f"RUN --mount={flag} x"), {"I": "7"}) == (mount,)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("type=tmpfs,target=/", 'invalid mount target "/"'),
        ("type=bnd,target=/x", 'unsupported mount type "bnd" (did you mean bind?)'),
        ("type=cache,target=/x,sharing=lock", 'unsupported sharing value "lock" (did you mean locked?)'),
        ("targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
        ("target=/x,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=bind,target=/x,mode=1", 'mode not allowed for "bind" type mounts'),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=ssh,source=b", "ssh does not support source"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
    ],
)
def test_69_to_72_mounts_that_are_none(flag: str, message: str) -> None:
    with pytest.raises(DockerfileError) as error:
        mounts(one(Run, f"RUN --mount={flag} x"), {})
    assert str(error.value) == message


def test_70_from_of_a_mount_has_no_variables() -> None:
    assert refused("FROM a\nRUN --mount=from=$x,target=/y z") == (
        "dockerfile parse error on line 2: 'from' doesn't support variable expansion, define alias stage instead"
    )


def test_74_network_and_security() -> None:
    run = one(Run, "RUN --network=none --security=insecure x")
    assert (run.network, run.security) == ("none", "insecure")
    assert refused("FROM a\nRUN --network=x y") == 'dockerfile parse error on line 2: invalid network mode "x"'
    assert refused("FROM a\nRUN --security=x y") == 'dockerfile parse error on line 2: security "x" is not valid'


def test_77_automatic_arguments_need_an_arg_in_a_stage() -> None:
    found = file("FROM --platform=$BUILDPLATFORM scratch\nRUN x\n")
    from corten.spec.dockerfile.stages import PlanOptions, automatic, plan
    from corten.spec.platform import Platform

    given = automatic(Platform("linux", "amd64"), Platform("linux", "arm", "v7"), "")
    assert plan(found, PlanOptions(automatic=given)).target.base.platform == "linux/amd64"
    assert (given["TARGETPLATFORM"], given["TARGETVARIANT"], given["TARGETSTAGE"]) == ("linux/arm/v7", "v7", "default")


@pytest.mark.parametrize(
    ("data", "image"),
    [
        (b"# syntax=docker/dockerfile:1\nFROM a", "docker/dockerfile:1"),
        (b"#!/bin/x\n#syntax = a b\n", "a"),
        (b"\xef\xbb\xbf# escape=`\r\n# SYNTAX=x\r\n", "x"),
        (b"// syntax=x\n", "x"), (b'{"syntax": "x"}', "x"), (b"# a comment\n# syntax=x\n", ""), (b"", ""), (b"{", ""),
    ],
)  # fmt: skip
def test_78_syntax(data: bytes, image: str) -> None:
    assert syntax(data) == image


def test_79_the_last_pattern_wins() -> None:
    ignore = Patterns(["*", "!keep", "!d/x", "keep/no", "!sub/**/*.txt", "**/*.log"])
    kept = ["d/x", "keep/yes", "sub/p/q.txt"]
    gone = ["a", "d/y", "keep/no", "keep/no/x", "sub/p/q.md", "keep/a.log", "x/y/z"]
    assert [path for path in kept + gone if not ignore.excludes(path)] == kept
    assert Patterns(["a", "*"]).excludes("a") and not Patterns(["!a"]).excludes("a")


def test_80_patterns_are_cleaned_and_anchored() -> None:
    found = lines(b"\xef\xbb\xbf/a\n b/ \n./c\r\nd/../e\n# x\n\n! /f\n  #g\n")
    assert found == ("a", "b", "c", "e", "!f", "#g")
    assert not Patterns(found).excludes("sub/a") and Patterns(found).excludes("a/x")
    assert Patterns(["**"]).excludes("any/thing")
    with pytest.raises(Invalid, match="illegal exclusion pattern"):
        Patterns(["!"])
    with pytest.raises(Invalid, match="syntax error in pattern"):
        Patterns(["a[b"])


def test_83_history() -> None:
    args = executed(one(Run, "RUN make")).args
    assert created_by(one(Run, "RUN make"), args) == "RUN /bin/sh -c make # buildkit"


def test_84_findings_as_an_error() -> None:
    found = file("# check=error=true\nFROM scratch as a\n")
    findings = check(found, planned("FROM scratch as a\n"), CheckOptions())
    from corten.spec.dockerfile.check_rules import options, violation

    assert options(found.directives.check).fail
    assert violation(findings) == "lint violation found for rules: FromAsCasing"
    assert check(found, planned("FROM scratch as a\n"), CheckOptions(checks=Checks(skip_all=True))) == []


def test_an_argument_is_described_by_its_comment() -> None:
    arg = one(Arg, "# V the version\nARG V=1")
    assert arg.arguments[0].description == "the version"
