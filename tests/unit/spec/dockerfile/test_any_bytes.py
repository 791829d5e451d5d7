"""Whatever the bytes are: a value or Invalid, and time that grows with the size, not with its square."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Invalid
from corten.spec.dockerfile import glob, ignore, ports
from corten.spec.dockerfile.checks import CheckOptions, check
from corten.spec.dockerfile.commands import executed, shown
from corten.spec.dockerfile.errors import DockerfileError, boxed, pointed
from corten.spec.dockerfile.instructions import Run
from corten.spec.dockerfile.parse import parse, trigger
from corten.spec.dockerfile.scope import Scope
from corten.spec.dockerfile.source import syntax
from corten.spec.dockerfile.stages import PlanOptions, plan
from corten.spec.dockerfile.words import Rules, process, process_words

_PIECES = st.sampled_from(
    [
        "FROM a\n",
        "FROM a AS b\n",
        "RUN ",
        "COPY ",
        "ENV ",
        "ARG ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "LABEL ",
        "EXPOSE ",
        "\n",
    ]
    + [
        "\\\n",
        "# ",
        "# escape=`\n",
        "<<E ",
        "E\n",
        '"',
        "'",
        "$",
        "{",
        "}",
        "a",
        "=",
        "--from=b ",
        "--mount=type=cache ",
    ]
    + ["[", "]", ",", "\t", "\r", "\x00", "é", "`", "/", "80", "-", ":", "*", "!"]
)
TEXTS = st.lists(_PIECES, max_size=40).map("".join)


def _all_of(data: bytes) -> None:
    """What a build does with a Dockerfile before anything runs."""
    file = parse(data)
    found = plan(file, PlanOptions())
    check(file, found, CheckOptions())
    for stage in found.stages:
        scope = Scope(found.globals, {}, {})
        for instruction in stage.text.instructions:
            step = scope.take(instruction).instruction
            shown(step, scope.variables)
            if isinstance(step, Run):
                scope.mounts(step)
                executed(step)


def _value_or_invalid(data: bytes) -> None:
    syntax(data)
    try:
        _all_of(data)
    except DockerfileError as error:
        lines = data.decode("utf-8", "replace").split("\n")
        assert 1 <= error.line <= error.end <= max(1, len(lines))
        assert "\n" not in pointed(lines, error).splitlines()[0]
        boxed(lines, error.span)
    except Invalid as error:
        assert "target" not in str(error)
    except ValueError as error:
        assert str(error).startswith("a heredoc with #! cannot be named")


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    _value_or_invalid(data)


@given(TEXTS)
def test_any_text_of_a_dockerfiles_parts(text: str) -> None:
    _value_or_invalid(("FROM x\n" + text).encode())
    _value_or_invalid(text.encode())


@given(TEXTS)
def test_any_trigger(text: str) -> None:
    base = parse(b"\nFROM x").stages[0].base
    try:
        assert trigger(text, base).written.span.line == 2
    except DockerfileError as error:
        assert error.line == 2


@given(
    st.text(alphabet="a${}:-+?#%/*'\"\\` <\té", max_size=30), st.sampled_from(["taken", "kept", "plain"]), st.booleans()
)
def test_any_word(text: str, quotes: str, keep: bool) -> None:
    try:
        words, word = process_words(text, {"a": "b a"}, Rules(quotes=quotes, keep_unset=keep))
    except ValueError:
        return
    assert process(text, {"a": "b a"}, Rules(quotes=quotes, keep_unset=keep)) == word
    assert "".join("".join(words).split()) == "".join(word.text.split())
    assert not word.used & word.undefined


@given(
    st.lists(st.text(alphabet="ab*?[]^!-\\/.", max_size=12), max_size=4),
    st.text(alphabet="ab/.", min_size=1, max_size=12),
)
def test_any_pattern(patterns: list[str], path: str) -> None:
    try:
        first = ignore.Patterns(patterns)
    except Invalid:
        return
    excluded = first.excludes(path)
    # What holds for a directory holds below it, unless something is taken back.
    if excluded and not first.take_back:
        assert first.excludes(path + "/x")


@given(st.text(alphabet="ab*?[]^-\\/.", max_size=12), st.text(alphabet="ab.", min_size=1, max_size=6))
def test_any_glob(pattern: str, name: str) -> None:
    try:
        parts = glob.names(pattern)
    except ValueError:
        return
    assert all(isinstance(part.matches(name), bool) for part in parts)


@given(st.text(alphabet="0123456789-/:tcpud[].", max_size=20))
def test_any_port(word: str) -> None:
    try:
        found = ports.exposed([word])
    except ValueError:
        return
    assert found


# ------------------------------------------------------------------------------------------------------ growth of time

_FILES: dict[str, Callable[[int], str]] = {
    "comments": lambda n: "# a\n" * n + "FROM a\n",
    "comments above instructions": lambda n: "FROM a\n" + "# a\nRUN b\n" * (n // 20),
    "continued lines": lambda n: "FROM a\nRUN " + "a\\\n# b\n\n" * n + "b\n",
    "words": lambda n: "FROM a\n" + ("ENV " + "a='b' " * 2000 + "\n") * (n // 2000),
    "blanks": lambda n: "# check= " + " x" * 20_000 + "\nFROM a\n" + ("ENV a" + " " * 60_000 + "b\n") * (n // 5_000),
    "heredocs": lambda n: "FROM a\n" + "RUN <<E\n" + "a\n" * n + "E\n",
    "many heredocs": lambda n: "FROM a\nRUN " + "<<E " * (n // 10) + "\n" + "E\n" * (n // 10),
    "quotes of heredocs": lambda n: "FROM a\nRUN <<E " + '"a\\' * (n // 10) + "\nE\n",
    "flags": lambda n: "FROM a\n" + "COPY " + "--exclude=a " * (n // 10) + "a b\n",
    "stages": lambda n: "".join(f"FROM a AS s{i}\nCOPY --from=s{i + 1} a b\n" for i in range(n // 20)) + "FROM b",
    "stages in a row": lambda n: "FROM a AS s0\n" + "".join(f"FROM s{i} AS s{i + 1}\n" for i in range(n // 50)),
    "arguments": lambda n: "FROM a\n" + "".join(f"ARG a{i}=$a{i - 1}\n" for i in range(n // 20)),
    "undefined": lambda n: "FROM scratch\n" + "".join(f"ENV a{i}=$b{i}\n" for i in range(n // 20)),
    "patterns": lambda n: (
        "FROM a\nENV a=" + "ab" * 20_000 + "\n" + "ENV c=${a#*a*a*b?b*c} d=${a//a?/b}\n" * (n // 5000)
    ),
    "braces": lambda n: "FROM a\n" + "ENV a=" + "${a:-" * 40 + "}" * 40 + "\n" + "ENV a=$a$a$a$a\n" * (n // 20),
    "json": lambda n: "FROM a\n" + "CMD " + "[" * (n // 4) + "\n" + "RUN [" + '"a",' * (n // 4) + '"b"]\n',
    "ports": lambda n: "FROM a\nEXPOSE " + "1-9000 " * (n // 10) + "\n",
    "a trigger in a trigger": lambda n: "FROM a\n" + "ONBUILD " * (n // 10) + "\n",
}


@pytest.mark.parametrize("shape", _FILES)
def test_time_grows_with_the_size(shape: str) -> None:
    """Four times the size may take six times the time; its square would be sixteen times."""
    small, large = (_least(_FILES[shape](n).encode()) for n in (5_000, 20_000))
    assert large < 6 * small + 0.2


@pytest.mark.parametrize(
    "pattern",
    ["*a*a*a*a*a*a*b", "**/a*/**/a*/**/b", "a**a**a**b", "?" * 200, "[a-z]*" * 50 + "c", "**" + "a" * 100 + "c"],
)
def test_patterns_do_not_go_back(pattern: str) -> None:
    found = ignore.Patterns([pattern])
    begin = time.process_time()
    assert not found.excludes("a" * 3000)
    found.excludes("a/" * 1500 + "a")
    (name,) = glob.names("*a*a*a*a*a*a*b")
    assert not name.matches("a" * 3000)
    assert time.process_time() - begin < 1


def _least(data: bytes) -> float:
    """Seconds of our own CPU time, the least of two."""
    taken = []
    for _ in range(2):
        begin = time.process_time()
        try:
            _all_of(data)
        except (Invalid, ValueError):
            pass
        taken.append(time.process_time() - begin)
    return min(taken)


@pytest.mark.parametrize("behind", [b"<x", b"EOF", b""], ids=["no-heredoc", "heredoc", "blanks"])
def test_blanks_behind_a_heredoc_s_sign_are_read_in_linear_time(behind: bytes) -> None:
    """DOS-04: the work grew with their square; 300 KB of them kept the interpreter, and the daemon, for hours."""
    blanks = b"\\\n".join([b" " * 60_000] * 10)
    began = time.thread_time()
    with contextlib.suppress(DockerfileError):
        parse(b"FROM x\nRUN <<" + blanks + behind + b"\n")
    assert time.thread_time() - began < 5
