"""Builds for several platforms: what is shared between them, and what tells them apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from build_plans import image
from corten.build.contract import BuildRequest, RunStep
from corten.build.plan import keys, targets
from corten.build.plan.graph import Local, Plan, Step
from corten.build.plan.planner import Planned, Planner
from corten.build.solver import _once
from corten.buildkit.results import named_by, several
from corten.errors import Invalid
from corten.images.image import Image
from corten.spec import platform as platforms
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.parse import parse
from corten.spec.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platforms, "host", lambda: AMD64)


async def _resolve(ref: str, platform: str) -> tuple[Image, str]:
    made_for = platforms.parse(platform)
    found = image(f"{ref} for {platform}")
    config = replace_config(found, made_for)
    return config, f"docker.io/library/{ref}:latest"


def replace_config(found: Image, platform: Platform) -> Image:
    config = found.config
    fields = {name: getattr(config, name) for name in config.__struct_fields__}
    fields |= {"architecture": platform.architecture, "variant": platform.variant}
    return replace(found, config=type(config)(**fields))


async def plans(text: str, request: BuildRequest | None = None) -> list[Planned]:
    asked = request or BuildRequest(platform="linux/amd64,linux/arm64")
    return [
        await Planner(parse(text.encode()), asked, platform, (), _resolve, 2).plan() for platform in targets.of(asked)
    ]


def steps(plan: Plan) -> list[Step]:
    return [node for node in plan.nodes if isinstance(node, Step)]


def digests(plan: Plan) -> set[str]:
    return {step.digest for step in steps(plan)}


async def test_steps_of_the_build_s_own_platform_are_the_same() -> None:
    text = """FROM --platform=$BUILDPLATFORM a AS tool
RUN make
FROM --platform=$BUILDPLATFORM a AS cross
ARG TARGETARCH
RUN make
FROM a
COPY --from=tool /x /
COPY --from=cross /x /
"""
    one, other = (each.plan for each in await plans(text))
    shared = digests(one) & digests(other)
    assert [step.name for step in steps(one) if step.digest in shared] == ["[linux/amd64 tool 2/2] RUN make"]
    names = {step.name for step in steps(other)}
    assert "[linux/arm64 stage-2 2/3] COPY --from=tool /x /" in names
    assert len([step for step in steps(other) if step.name == "[linux/amd64 cross 2/2] RUN make"]) == 1


async def test_a_file_is_asked_for_once_by_all() -> None:
    one, other = (each.plan for each in await plans("FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH same /\n"))
    (local,) = [node for node in _once([*one.nodes, *other.nodes]).values() if isinstance(node, Local)]
    assert local.follow == {None, "same"}, "a name with a variable is any"


async def test_a_platform_is_in_the_key_of_a_run_that_is_emulated() -> None:
    one, other = (each.plan for each in await plans("FROM a\nRUN make\nCOPY x /\n"))
    (native,) = [step.work for step in steps(one) if isinstance(step.work, RunStep)]
    (foreign,) = [step.work for step in steps(other) if isinstance(step.work, RunStep)]
    assert (native.platform, foreign.platform) == ("", "linux/arm64")
    assert replace(foreign, platform="") == native
    assert keys.run("parent", native, ()) != keys.run("parent", foreign, ())


async def test_what_an_image_says_it_is_for_may_be_nothing() -> None:
    strange = replace_config(image("a"), Platform("linux", "x/y" * 100))

    async def resolve(ref: str, platform: str) -> tuple[Image, str]:
        return strange, ref

    request = BuildRequest()
    planned = await Planner(parse(b"FROM a\nRUN x\n"), request, AMD64, (), resolve).plan()
    assert [step.work.platform for step in steps(planned.plan) if isinstance(step.work, RunStep)] == [""]


async def test_platforms_share_the_memory_of_a_build() -> None:
    text = "FROM a\n" + f"ENV a={'x' * 60_000}\n" * 20 + "RUN $a\n" * 20
    with pytest.raises(DockerfileError, match="more than 2097152 bytes"):
        await Planner(parse(text.encode()), BuildRequest(), AMD64, (), _resolve_any, 32).plan()
    await Planner(parse(text.encode()), BuildRequest(), AMD64, (), _resolve_any).plan()


async def _resolve_any(ref: str, platform: str) -> tuple[Image, str]:
    return image(ref), ref


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [AMD64]),
        ("linux/arm64", [ARM64]),
        ("linux/amd64,linux/arm64/v8, linux/x86_64", [AMD64, ARM64]),
        ("linux/arm", [Platform("linux", "arm", "v7")]),
    ],
)
def test_platforms_as_they_are_asked_for(text: str, expected: list[Platform]) -> None:
    assert list(targets.of(BuildRequest(platform=text))) == expected


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (BuildRequest(platform="linux/nosuch"), "unknown operating system or architecture"),
        (BuildRequest(platform="linux/amd64,,"), "invalid platform"),
        (BuildRequest(platform="windows/amd64"), "operating system is not supported"),
        (BuildRequest(platform="linux/amd64,linux/arm64", classic=True), "one platform at a time"),
    ],
)
def test_platforms_that_are_refused(request_: BuildRequest, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        targets.of(request_)


def test_a_result_of_several_platforms_for_buildkit_s_clients() -> None:
    result = several("id", {"linux/amd64": b"one", "linux/arm/v7": b"other"})
    assert result.one is None and result.several is not None
    assert {name: ref.id for name, ref in result.several.refs.items()} == {"linux/amd64": "id", "linux/arm/v7": "id"}
    assert all(ref.definition and named_by(ref.definition) == "id" for ref in result.several.refs.values())
    assert result.metadata["containerimage.config/linux/arm/v7"] == b"other"
    assert json.loads(result.metadata["refs.platforms"])["Platforms"][1] == {
        "ID": "linux/arm/v7",
        "Platform": {"architecture": "arm", "os": "linux", "variant": "v7"},
    }
