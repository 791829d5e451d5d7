"""What provenance says of a build, and what it never says."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import build_plans
from corten.build import attributes
from corten.build.attest import options
from corten.build.attest.provenance import Course, predicate
from corten.build.contract import BuildRequest, Fetched, Layer
from corten.build.outputs import statements
from corten.build.outputs.contract import Predicate
from corten.build.plan.graph import Base, Node, Remote, Repository, Step
from corten.build.state import State
from corten.errors import Invalid
from corten.spec import platform as platforms
from corten.spec.oci_image import Descriptor

_TEXT = """\
FROM busybox AS base
ADD https://example.com/a.tar /
RUN --mount=type=secret,id=token,required --mount=type=secret,id=more --mount=type=ssh make
FROM scratch
ARG KEY
COPY --from=base /x /
COPY . /src/
"""
_PRIVATE = ("hidden-value", "s3cret", "hidden-label")


async def said(dockerfile: str = _TEXT, given: dict[str, str] | None = None, ask: str = "", **request: Any) -> Any:
    """The predicate of a build of this Dockerfile."""
    planned = await build_plans.plan(dockerfile, **request)
    blob = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:" + "1" * 64, 5)
    state = State().over(Layer("diff", "tree", "content", 1, blob), 1, "", "x")
    states: dict[Node, State] = {node: state for node in planned.plan.nodes if isinstance(node, (Step, Base))}
    digests = {node.digest: "sha256:" + "2" * 64 for node in planned.plan.nodes if isinstance(node, Remote)}
    digests |= {node.digest: "sha1:" + "4" * 40 for node in planned.plan.nodes if isinstance(node, Repository)}
    asked = BuildRequest(id="job", attributes=given or {}, **request)
    course = Course(
        asked, planned.plan, states, digests, "Dockerfile", dockerfile.encode(), 1_700_000_000.5, 1_700_000_002
    )
    found = options.read({"provenance": ask}).provenance
    assert found is not None
    return json.loads(json.dumps(predicate(course, found)))


async def test_every_input_has_its_digest() -> None:
    found = await said()
    definition, details = found["buildDefinition"], found["runDetails"]
    image, file = definition["resolvedDependencies"]
    assert image == {"uri": "pkg:oci/busybox@latest?platform=linux%2Famd64", "digest": {"sha256": "3" * 64}}
    assert file == {"uri": "https://example.com/a.tar", "digest": {"sha256": "2" * 64}}
    assert definition["buildType"].endswith("slsa-definitions.md")
    assert definition["internalParameters"]["builderPlatform"] == str(platforms.host())
    assert definition["externalParameters"]["configSource"] == {"path": "Dockerfile"}
    assert definition["externalParameters"]["request"]["locals"] == [{"name": "context"}, {"name": "dockerfile"}]
    metadata = details["metadata"]
    assert metadata["invocationID"] == "job" and metadata["startedOn"] == "2023-11-14T22:13:20.500000Z"
    assert metadata["finishedOn"] == "2023-11-14T22:13:22.000000Z"
    assert metadata["buildkit_completeness"] == {"request": True, "resolvedDependencies": False}
    assert metadata["buildkit_hermetic"] is False and metadata["buildkit_reproducible"] is False


async def test_what_came_from_git_has_its_commit() -> None:
    text = "FROM scratch\nADD https://user:pass@example.com/y.git#main /y\n"
    context = Fetched("https://example.com/x.git#v1:sub", "sha1:" + "5" * 40)
    for ask in ("mode=max", "mode=max,version=v0.2"):
        found = await said(text, ask=ask, context=context)
        if "buildDefinition" in found:
            known = found["buildDefinition"]["resolvedDependencies"]
            source = found["buildDefinition"]["externalParameters"]["configSource"]
        else:
            known, source = found["materials"], found["invocation"]["configSource"]
        assert known[0] == {"uri": context.uri, "digest": {"sha1": "5" * 40}}
        assert known[1]["uri"] == "https://example.com/y.git#main" and known[1]["digest"] == {"sha1": "4" * 40}
        assert source["uri"] == context.uri and source["digest"] == {"sha1": "5" * 40}
        assert "pass" not in json.dumps(found)


async def test_max_has_the_steps_and_the_dockerfile() -> None:
    found = await said(arguments={"KEY": "hidden-value"})
    steps = found["buildDefinition"]["internalParameters"]["buildConfig"]["llbDefinition"]
    assert [step["id"] for step in steps] == [f"step{number}" for number in range(len(steps))]
    named = {step["id"] for step in steps}
    assert all(each.removesuffix(":0") in named for step in steps for each in step.get("inputs", ()))
    (run,) = [step["op"]["Op"]["exec"] for step in steps if "exec" in step["op"]["Op"]]
    assert run["meta"]["args"] == ["/bin/sh", "-c", "make"]
    assert {mount["mountType"] for mount in run["mounts"]} == {1, 2}
    source = found["runDetails"]["metadata"]["buildkit_metadata"]["source"]
    assert base64.b64decode(source["infos"][0]["data"]).decode() == _TEXT
    assert {2, 3, 6, 7} == {each["locations"][0]["ranges"][0]["start"]["line"] for each in source["locations"].values()}
    assert found["runDetails"]["metadata"]["buildkit_metadata"]["layers"]
    request = found["buildDefinition"]["externalParameters"]["request"]
    assert request["secrets"] == [{"id": "token"}, {"id": "more", "optional": True}]
    assert request["ssh"] == [{"id": "default", "optional": True}]
    assert request["args"]["build-arg:KEY"] == "hidden-value"


async def test_min_has_no_values() -> None:
    asked: dict[str, Any] = {"arguments": {"KEY": "hidden-value"}, "labels": {"a": "hidden-label"}, "target": "base"}
    found = await said(ask="mode=min,builder-id=https://b.example/1,reproducible=true", **asked)
    text = json.dumps(found)
    assert not [word for word in _PRIVATE if word in text] and "make" not in text and "token" not in text
    assert found["buildDefinition"]["externalParameters"]["request"]["args"] == {"target": "base"}
    assert found["runDetails"]["builder"]["id"] == "https://b.example/1"
    assert found["runDetails"]["metadata"]["buildkit_completeness"]["request"] is False
    assert found["runDetails"]["metadata"]["buildkit_reproducible"] is True


async def test_passwords_in_addresses_are_never_there() -> None:
    proxy = "http://user:s3cret@proxy:3128"
    given = {"build-arg:HTTP_PROXY": proxy, "vcs:source": "https://s3cret@example.com/r.git", "vcs:revision": "abc"}
    given |= {"frontend.caps": "x", "attest:provenance": "", "image-resolve-mode": "local"}
    dockerfile = "FROM busybox\nARG HTTP_PROXY\nRUN --mount=type=secret,id=a true\n"
    found = await said(dockerfile, given, arguments={"HTTP_PROXY": proxy})
    assert "s3cret" not in json.dumps(found)
    metadata = found["runDetails"]["metadata"]["buildkit_metadata"]
    assert metadata["vcs"] == {"source": "https://xxxxx@example.com/r.git", "revision": "abc"}
    args = found["buildDefinition"]["externalParameters"]["request"]["args"]
    assert args == {"build-arg:HTTP_PROXY": "http://xxxxx@proxy:3128"}


@pytest.mark.parametrize("password", ["s3cret", "s3@cret", "a:s3@s3cret"])
async def test_passwords_of_files_at_addresses(password: str) -> None:
    """In what is there of the steps, too; the Dockerfile itself has its own text."""
    found = await said(f"FROM scratch\nADD https://user:{password}@example.com/f /\n", ask="mode=max")
    details = found["runDetails"]["metadata"]["buildkit_metadata"]
    assert details["source"].pop("infos")
    assert "cret" not in json.dumps(found) and "https://xxxxx@example.com/f" in json.dumps(found)


async def test_hermetic_builds() -> None:
    text = "FROM busybox\nRUN --network=none true\n"
    closed = await said(text, text=text.encode())
    assert closed["runDetails"]["metadata"]["buildkit_hermetic"] is True
    opened = await said("FROM busybox\nRUN true\n", text=b"x")
    assert opened["runDetails"]["metadata"]["buildkit_hermetic"] is False


async def test_contexts_that_are_no_directories() -> None:
    """One at a URL is complete by its digest; what a client sends on its standard input has no address."""
    text = "FROM busybox\nCOPY a /\n"
    fetched = Fetched("https://example.com/a.tar", "sha256:" + "6" * 64)
    for own, locals in ((False, []), (True, [{"name": "dockerfile"}])):
        found = await said(text, context=fetched, local_dockerfile=own)
        assert found["buildDefinition"]["externalParameters"]["request"].get("locals", []) == locals
        metadata = found["runDetails"]["metadata"]
        assert metadata["buildkit_completeness"]["resolvedDependencies"] is metadata["buildkit_hermetic"] is not own
    sent = await said(text, {"context": "http://buildkit-session/1"})
    assert sent["buildDefinition"]["externalParameters"]["configSource"] == {"path": "Dockerfile"}


async def test_the_older_version() -> None:
    found = await said(ask="version=v0.2", arguments={"KEY": "hidden-value"})
    assert found["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert [each["uri"] for each in found["materials"]][1] == "https://example.com/a.tar"
    assert found["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
    assert found["invocation"]["parameters"]["frontend"] == "dockerfile.v0"
    assert found["metadata"]["buildInvocationID"] == "job" and found["metadata"]["completeness"]["environment"]
    assert found["buildConfig"]["llbDefinition"]


@pytest.mark.parametrize(
    "ask",
    ["mode=some", "version=v2", "reproducible=maybe", "filename=a/b", "filename=..", "filename=", '"mode=min'],
)
def test_what_cannot_be_asked_for(ask: str) -> None:
    with pytest.raises(Invalid):
        options.read({"provenance": ask})


def test_what_is_asked_for() -> None:
    assert not options.read({}).any
    assert options.read({"sbom": ""}).sbom and options.read({"sbom": "generator=image"}).sbom
    assert not options.read({"sbom": "type=sbom,disabled=true", "provenance": "disabled=1"}).any
    found = options.read({"provenance": "mode=min,inline-only=true"}).provenance
    assert found is not None and (found.mode, found.inline, found.version) == ("min", True, "v1")
    with pytest.raises(Invalid, match="unknown attestation type 'other'"):
        options.read({"other": ""})


def test_attributes_that_ask() -> None:
    given = {"attest:sbom": "", "build-arg:BUILDKIT_ATTEST_PROVENANCE": "mode=min", "build-arg:A": "1"}
    assert options.asked_by(given) == {"sbom": "", "provenance": "mode=min"}
    assert options.asked_by({"attest:sbom": "x=1", "build-arg:BUILDKIT_ATTEST_SBOM": ""}) == {"sbom": "x=1"}


def test_a_statement() -> None:
    subjects = statements.of_image(["docker.io/library/app:1"], "sha256:ab", platforms.Platform("linux", "amd64"))
    body = json.loads(statements.statement(Predicate("T", b'{"a": 1}', "x"), subjects))
    assert body == {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "T",
        "subject": [{"name": "pkg:docker/app@1?platform=linux%2Famd64", "digest": {"sha256": "ab"}}],
        "predicate": {"a": 1},
    }
    assert statements.of_image([], "sha256:ab", platforms.host()) == [("_", "sha256:ab")]


def test_attributes_of_a_request_without_them() -> None:
    request = BuildRequest(target="t", no_cache=True, arguments={"A": "1"}, extra_hosts=("h:1.2.3.4",), network="none")
    assert attributes.of(request) == {
        "filename": "Dockerfile", "target": "t", "no-cache": "", "build-arg:A": "1", "add-hosts": "h=1.2.3.4",
        "force-network-mode": "none",
    }  # fmt: skip
