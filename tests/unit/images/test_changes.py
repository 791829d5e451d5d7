"""The changes of commit and import. What is expected of each is what dockerd 20.10 made of it, but where it says so."""

from __future__ import annotations

from typing import Any

import pytest

from corten.errors import Invalid
from corten.images.changes import apply_changes

CONFIG = {"Env": ["A=1", "B=two", "EMPTY="], "Cmd": ["sh", "-c", "true"]}
DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize(("change", "variables"), [
    ("ENV C=${A}/${B:-d} D=$NOPE E=${NOPE:-x}", {"C": "1/two", "D": "", "E": "x"}),
    (r"""ENV F=\$A G="q $A" H='$A'""", {"F": "$A", "G": "q 1", "H": "$A"}),
    ("ENV X $A b", {"X": "1 b"}),
    ("ENV A=5 Z=$A", {"A": "5", "Z": "1"}),
    ("ENV X=${A:+alt} Y=${NOPE:+alt} W=${A:?err}", {"X": "alt", "Y": "", "W": "1"}),
    ("ENV X=$ Y=$1 Z=$$", {"X": "$", "Y": "", "Z": ""}),
    (r'ENV X=a\ b Y="a\"b" Z="a\b"', {"X": "a b", "Y": 'a"b', "Z": r"a\b"}),
    ("ENV X=${NOPE:-$A-${NOPE:-${B}}}", {"X": "1-two"}),
    # without a colon, and with spaces inside: BuildKit's, which dockerd 20.10 has no part of in this
    ("ENV X=${EMPTY:-x} Y=${EMPTY-y} Z=${NOPE-z} W=${EMPTY+w}", {"X": "x", "Y": "", "Z": "z", "W": "w"}),
    ('ENV X="$B=$A"', {"X": "two=1"}),
])  # fmt: skip
def test_variables(change: str, variables: dict[str, str]) -> None:
    made = dict(entry.partition("=")[::2] for entry in apply_changes(CONFIG, [change])["Env"])
    assert made == {"A": "1", "B": "two", "EMPTY": "", **variables}


def test_the_path_is_the_one_that_programs_have() -> None:
    """dockerd has nothing for it when the image says nothing, and makes an image without a usable PATH."""
    given = {"Env": ["PATH=/bin"]}
    assert apply_changes(given, ["ENV PATH=/x:$PATH", "ENV PATH=/y:${PATH}"])["Env"] == ["PATH=/y:/x:/bin"]
    assert apply_changes({}, ["ENV PATH=/x:$PATH"])["Env"] == [f"PATH=/x:{DEFAULT}"]


@pytest.mark.parametrize(("change", "key", "value"), [
    ("EXPOSE 90-92", "ExposedPorts", {"90/tcp": {}, "91/tcp": {}, "92/tcp": {}}),
    ("EXPOSE 90-91/udp 100", "ExposedPorts", {"90/udp": {}, "91/udp": {}, "100/tcp": {}}),
    ("EXPOSE $A ${NOPE:-2}", "ExposedPorts", {"1/tcp": {}, "2/tcp": {}}),
    ("EXPOSE 80:90 127.0.0.1:80:91 [::1]::92 80/TCP", "ExposedPorts",
     {"90/tcp": {}, "91/tcp": {}, "92/tcp": {}, "80/tcp": {}}),
    ("EXPOSE 0 65535", "ExposedPorts", {"0/tcp": {}, "65535/tcp": {}}),
    ("WORKDIR $B/x", "WorkingDir", "/two/x"),
    ("WORKDIR /$B/../c", "WorkingDir", "/c"),  # dockerd keeps what it finds
    ("WORKDIR //x/", "WorkingDir", "/x"),
    ("USER $B", "User", "two"),
    ("VOLUME /$B ${A}", "Volumes", {"/two": {}, "1": {}}),
    ('VOLUME ["/$B", "/b c"]', "Volumes", {"/two": {}, "/b c": {}}),
    ('LABEL k=$A "k 2"="$B"', "Labels", {"k": "1", "k 2": "two"}),
    ("LABEL k='$A'", "Labels", {"k": "$A"}),
    ("STOPSIGNAL $A", "StopSignal", "1"),
    ("HEALTHCHECK --interval=2s --retries=3 CMD x", "Healthcheck",
     {"Test": ["CMD-SHELL", "x"], "Interval": 2 * 10**9, "Retries": 3}),
    ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
    ("cmd echo", "Cmd", ["/bin/sh", "-c", "echo"]),
    ("CMD echo $A", "Cmd", ["/bin/sh", "-c", "echo $A"]),
    ('ENTRYPOINT ["$A"]', "Entrypoint", ["$A"]),
    ("ONBUILD RUN $A", "OnBuild", ["RUN $A"]),
    ("HEALTHCHECK CMD $A", "Healthcheck", {"Test": ["CMD-SHELL", "$A"]}),
])  # fmt: skip
def test_instructions(change: str, key: str, value: Any) -> None:
    assert apply_changes(CONFIG, [change])[key] == value


@pytest.mark.parametrize(("change", "said"), [
    ("EXPOSE 92-90", "invalid containerPort: 92-90"),
    ("EXPOSE 99999", "invalid containerPort: 99999"),
    ("EXPOSE x", "invalid containerPort: x"),
    ("EXPOSE 80/foo", "invalid proto: foo"),
    ("EXPOSE x:90", "invalid hostPort: x"),
    ("ENV X=${A", "missing '}'|unsupported modifier"),
    ("ENV X=${A:-b", "missing '}'"),
    ("ENV X=${NOPE:?gone}", "NOPE: gone"),
    ("ENV X=${NOPE?}", "NOPE: is not allowed to be unset"),
    ("STOPSIGNAL $B", "invalid signal: two"),
    ("EXPOSE ${NOPE:-2 3}", "missing '}'"),
    ("RUN x", "RUN is not a valid change command"),
    ("CMD", "CMD requires at least one argument"),
    ("CMD a\nUSER b", "single instruction"),
    ("CMD <<E\nx\nE", "single instruction|unknown instruction|unterminated"),
    ("ENV X=${}", "bad substitution"),
    ("ENV X='a", "single-quote"),
    ('ENV X="a', "double-quote"),
    ("ENV =a", "names can not be blank"),
    ("ENV X=1 Y", "Must be of the form: name=value"),
    ("ENV X=" + "${NOPE:-" * 1000 + "}" * 1000, "more than 50 substitutions"),
    ("VOLUME [5]", "comprised of strings only"),
])  # fmt: skip
def test_what_cannot_be(change: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        apply_changes(CONFIG, [change])


def test_arguments_go_with_their_program() -> None:
    assert "Cmd" not in apply_changes(CONFIG, ['ENTRYPOINT ["x"]'])
    assert apply_changes(CONFIG, ['CMD ["a"]', 'ENTRYPOINT ["x"]'])["Cmd"] == ["a"]
    assert apply_changes(CONFIG, ['ENTRYPOINT ["x"]', 'CMD ["a"]'])["Cmd"] == ["a"]
    assert CONFIG["Cmd"] == ["sh", "-c", "true"]
