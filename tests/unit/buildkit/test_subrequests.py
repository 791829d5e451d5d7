"""`build --call`: the answers' JSON and text, in the shapes of BuildKit's own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from corten.build.contract import BuildFailed, BuildRequest
from corten.build.dockerfile import Definition
from corten.build.outlined import outlined
from corten.buildkit import subrequests
from corten.spec.dockerfile.parse import parse

TEXT = b"""# base is what all begin with
ARG base=alpine
# unused by any stage
ARG unused=1
ARG tag=${base}-1
# first builds it
FROM img:$tag AS First
# flag switches something
ARG flag=on
ARG base
RUN --mount=type=secret,id=tok,required --mount=type=ssh make
FROM scratch AS other
ARG only=other
# app is the result
FROM first AS app
ARG own
RUN --mount=type=secret,id=tok --mount=type=secret,id=second --mount=type=ssh,id=k,required=true x
COPY --from=deps a /
FROM busybox AS deps
ARG depth=$flag
FROM app
"""


def definition(text: bytes = TEXT) -> Definition:
    return Definition(parse(text), text, "Dockerfile", ())


def answer(target: str, **arguments: str) -> tuple[dict[str, Any], str]:
    found = definition()
    metadata = subrequests.outline(found, outlined(found, BuildRequest(target=target, arguments=arguments)))
    assert metadata["version"] == b"1.0.0"
    return json.loads(metadata["result.json"]), metadata["result.txt"].decode()


def at(line: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}}]}


def test_an_outline() -> None:
    found, text = answer("app", flag="off")
    assert found == {
        "name": "app",
        "description": "is the result",
        "args": [
            {"name": "base", "description": "is what all begin with", "value": "alpine", "location": at(2)},
            {"name": "tag", "value": "alpine-1", "location": at(5)},
            {"name": "flag", "description": "switches something", "value": "off", "location": at(9)},
            {"name": "own", "location": at(16)},
            {"name": "depth", "location": at(20)},
        ],
        "secrets": [
            {"name": "tok", "required": True, "location": at(11)},
            {"name": "second", "location": at(17)},
        ],
        "ssh": [{"name": "default", "location": at(11)}, {"name": "k", "required": True, "location": at(17)}],
        "sources": [base64.b64encode(TEXT).decode()],
    }
    assert text == (
        "TARGET:      app\n"
        "DESCRIPTION: is the result\n\n"
        "BUILD ARG   VALUE      DESCRIPTION\n"
        "base        alpine     is what all begin with\n"
        "tag         alpine-1   \n"
        "flag        off        switches something\n"
        "own                    \n"
        "depth                  \n\n"
        "SECRET   REQUIRED\n"
        "tok      true\n"
        "second   \n\n"
        "SSH       REQUIRED\n"
        "default   \n"
        "k         true\n\n"
    )


def test_what_a_target_does_not_need_is_not_in_it() -> None:
    found, text = answer("other", unused="2")
    assert found["args"] == [{"name": "only", "value": "other", "location": at(13)}]
    assert "secrets" not in found and "SECRET" not in text
    assert [each["name"] for each in answer("")[0]["args"]] == ["base", "tag", "flag", "own", "depth"]


@pytest.mark.parametrize("text", ["FROM $x\n", "ARG a=${a:?gone}\nFROM x\nARG b=${c:?no}\n"])
def test_an_outline_of_what_cannot_be_planned(text: str) -> None:
    found = definition(text.encode())
    with pytest.raises(BuildFailed):
        outlined(found, BuildRequest())
    with pytest.raises(BuildFailed, match="could not be found"):
        outlined(definition(), BuildRequest(target="nope"))


def test_targets() -> None:
    metadata = subrequests.targets(definition())
    found = json.loads(metadata["result.json"])
    assert found["targets"] == [
        {"name": "first", "description": "builds it", "base": "img:$tag", "location": at(7)},
        {"name": "other", "base": "scratch", "location": at(12)},
        {"name": "app", "description": "is the result", "base": "first", "location": at(15)},
        {"name": "deps", "base": "busybox", "location": at(19)},
        {"default": True, "base": "app", "location": at(21)},
    ]
    assert metadata["result.txt"] == (
        b"TARGET    DESCRIPTION\nfirst     builds it\nother     \napp       is the result\ndeps      \n(default) \n"
    )


def test_what_can_be_asked() -> None:
    metadata = subrequests.described()
    assert [each["name"] for each in json.loads(metadata["result.json"])] == [
        "frontend.outline",
        "frontend.targets",
        "frontend.lint",
        "frontend.subrequests.describe",
    ]
    lines = metadata["result.txt"].decode().splitlines()
    assert lines[:2] == [
        "NAME                 VERSION DESCRIPTION",
        "outline              1.0.0   List all parameters current build target supports",
    ]
