"""What is executed, shown and kept in histories."""

from __future__ import annotations

import pytest

from corten.spec.dockerfile.commands import (
    classic_created_by,
    created_by,
    executed,
    hide,
    shown,
    step_name,
    with_shell,
)
from corten.spec.dockerfile.instructions import Cmd, Copy, Healthcheck, Instruction, OnBuild, Run
from corten.spec.dockerfile.mounts import SecretMount
from dockerfile_parts.files import one, run_through


@pytest.mark.parametrize(
    ("line", "text", "classic"),
    [
        ("ENV a=b c='d e'", "ENV a=b c=d e", "/bin/sh -c #(nop)  ENV a=b c=d e"),
        ("LABEL a=1", "LABEL a=1", "/bin/sh -c #(nop)  LABEL a=1"),
        ("ARG A=1 B", "ARG A=1 B", "/bin/sh -c #(nop)  ARG A=1 B"),
        ("WORKDIR /a", "WORKDIR /a", "/bin/sh -c #(nop) WORKDIR /a"),
        ("USER a:b", "USER a:b", "/bin/sh -c #(nop)  USER a:b"),
        ('VOLUME ["/a", "/b"]', "VOLUME [/a /b]", "/bin/sh -c #(nop)  VOLUME [/a /b]"),
        ("EXPOSE 80 53/udp", "EXPOSE [53/udp 80]", "/bin/sh -c #(nop)  EXPOSE 53/udp 80"),
        ("STOPSIGNAL 9", "STOPSIGNAL 9", "/bin/sh -c #(nop)  STOPSIGNAL 9"),
        ('SHELL ["a", "-c"]', "SHELL [a -c]", "/bin/sh -c #(nop)  SHELL [a -c]"),
        ("MAINTAINER a b", "MAINTAINER a b", "/bin/sh -c #(nop)  MAINTAINER a b"),
        ("ONBUILD RUN x", "ONBUILD RUN x", "/bin/sh -c #(nop)  ONBUILD RUN x"),
        (
            "HEALTHCHECK --interval=90s --retries=3 CMD a b",
            "HEALTHCHECK {Test:[CMD-SHELL a b] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}",
            "/bin/sh -c #(nop)  HEALTHCHECK &{[\"CMD-SHELL\" \"a b\"] \"1m30s\" \"0s\" \"0s\" '\\x03'}",
        ),
    ],
)  # fmt: skip
def test_histories(line: str, text: str, classic: str) -> None:
    (step,) = run_through(f"FROM scratch\n{line}")[0]
    assert created_by(step) == text
    assert classic_created_by(step) == classic


def test_history_of_a_command() -> None:
    cmd = one(Cmd, 'CMD ["a", "b \\"c\\n"]')
    assert created_by(cmd, with_shell(cmd.command)) == 'CMD ["a" "b \\"c\\n"]'
    line = one(Cmd, "CMD a b")
    assert created_by(line, with_shell(line.command)) == 'CMD ["/bin/sh" "-c" "a b"]'
    assert classic_created_by(cmd, ("x",), shell=("bash", "-c")) == 'bash -c #(nop)  CMD ["x"]'


def test_history_of_a_run() -> None:
    steps, scope = run_through("FROM scratch\nARG A=1\nARG B\nARG A=2\nENV B=env\nRUN x $A")
    run = steps[-1]
    assert isinstance(run, Run)
    args = executed(run).args
    text = "|2 A=2 B=env /bin/sh -c x $A"
    assert created_by(run, args, scope.arguments, scope.variables) == f"RUN {text} # buildkit"
    assert classic_created_by(run, args, scope.arguments, scope.variables) == text


def test_history_of_a_copy() -> None:
    copy = one(Copy, "COPY --parents --chown=1 --chmod=755 --link a <<f /t\nx\nf")
    assert created_by(copy) == "COPY --parents --chown=1 --chmod=755 a <<f /t # buildkit"
    assert classic_created_by(copy, copied="file:0123") == "/bin/sh -c #(nop) COPY file:0123 in /t "


def test_a_command_is_shown_with_its_variables() -> None:
    assert shown(one(Run, "run echo '$X' $X ${Y:-z}"), {"X": "1"}) == "RUN echo '$X' 1 ${Y:-z}"
    assert shown(one(Copy, "COPY $X  /t"), {"X": "1"}) == "COPY 1  /t"
    assert shown(one(Run, "RUN echo ${X"), {}) == "RUN echo ${X"
    assert shown(one(Run, "RUN <<E\n a $X\nb\nE"), {}) == "RUN <<E (a $X...)"
    assert shown(one(Run, "RUN cat <<E\na\nE"), {}) == "RUN cat <<E"
    secret = SecretMount("s", "", "TOKEN")
    assert shown(one(Run, "RUN a $TOKEN"), hide({"TOKEN": "x"}, [secret])) == "RUN a ****"


def test_names_of_steps() -> None:
    assert step_name("", 2, 5, "RUN x") == "[2/5] RUN x"
    assert step_name("stage-1", 2, 12, "RUN x") == "[stage-1  2/12] RUN x"
    assert step_name("a", 1, 1, "RUN x", triggered=True, platform="linux/arm64") == "[linux/arm64 a 1/1] ONBUILD RUN x"


def test_a_heredoc_is_no_path() -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        executed(one(Run, "RUN <<../x\n#!/bin/sh\n../x"))


def test_the_kinds_have_names() -> None:
    kinds: list[Instruction] = [one(Healthcheck, "HEALTHCHECK NONE"), one(OnBuild, "ONBUILD RUN x")]
    assert created_by(kinds[0]).startswith("HEALTHCHECK {Test:[NONE]")
    assert classic_created_by(kinds[1]).endswith("ONBUILD RUN x")
