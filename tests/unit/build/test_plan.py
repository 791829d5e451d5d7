"""From a Dockerfile to a graph."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from build_plans import PATH, Images, copies, env, image_env, plan, runs, steps
from corten.build.contract import Bind, BuildFailed, BuildRequest, CacheMount, Client, CopyStep
from corten.build.dockerfile import load
from corten.build.plan import keys
from corten.build.plan.graph import Base, Local, Remote, Repository, Step
from corten.build.plan.planner import BaseFailed
from corten.build.plan.remote import file_name
from corten.errors import Invalid
from corten.spec.dockerfile.errors import DockerfileError
from corten.spec.dockerfile.mounts import SecretMount, SshMount, TmpfsMount
from corten.spec.dockerfile.parse import parse

F = "FROM busybox\n"


def names(planned: Any) -> list[str]:
    return [node.name for node in planned.plan.nodes]


# ---------------------------------------------------------------------------------------------------------- variables


@pytest.mark.parametrize(
    ("text", "arguments", "wanted"),
    [
        ("ARG T=busybox\nFROM $T\nRUN x", {}, {}),
        ("ARG T=busybox\nFROM $T\nARG T\nRUN x", {}, {"T": "busybox"}),
        ("ARG T=busybox\nFROM $T\nARG T\nRUN x", {"T": "other"}, {"T": "other"}),
        ("ARG A=busy\nARG B=${A}box\nFROM $B\nARG B\nRUN x", {}, {"B": "busybox"}),
        (F + "ARG A=1 B=${A}2\nRUN x", {}, {"A": "1", "B": "12"}),
        ("FROM busybox AS a\nARG A=1\nFROM busybox\nRUN x", {}, {}),
        ("FROM busybox AS a\nARG A=1\nFROM a\nRUN x", {}, {"A": "1"}),
        (F + "ENV V=env\nARG V=arg\nRUN x", {"V": "cli"}, {"V": "cli"}),
        (F + "ARG A=1\nRUN x", {"A": ""}, {"A": ""}),
        (F + "ARG A\nRUN x", {}, {}),
    ],
)
async def test_variables_of_a_run(text: str, arguments: dict[str, str], wanted: dict[str, str]) -> None:
    assert env(await plan(text + "\n", arguments=arguments)) == wanted


@pytest.mark.parametrize(
    ("text", "arguments", "wanted"),
    [
        ("FROM busybox AS a\nARG A=1\nFROM a\nRUN x", {}, {}),
        (F + "ENV V=env\nARG V=arg\nRUN x", {"V": "cli"}, {"V": "env"}),
        (F + "ARG TARGETARCH\nRUN x", {}, {}),
    ],
)
async def test_variables_of_a_classic_run(text: str, arguments: dict[str, str], wanted: dict[str, str]) -> None:
    assert env(await plan(text + "\n", arguments=arguments, classic=True)) == wanted


async def test_arguments_become_what_env_makes_of_them() -> None:
    text = F + "ARG V\nENV V=${V:-d}\nENV abc=hello\nENV abc=bye def=$abc\n"
    assert image_env(await plan(text, arguments={"V": "cli"})) == ["V=cli", "abc=bye", "def=hello"]
    assert image_env(await plan(text))[0] == "V=d"


async def test_proxies_are_given_and_not_keyed() -> None:
    planned = await plan(F + "RUN x\n", arguments={"HTTP_PROXY": "p"})
    assert env(planned) == {} and steps(planned)[0].unkeyed == ("HTTP_PROXY=p", "http_proxy=p")
    planned = await plan(F + "RUN x\n", arguments={"HTTP_PROXY": "p"}, classic=True)
    assert steps(planned)[0].unkeyed == ("HTTP_PROXY=p",)
    declared = await plan(F + "ARG HTTP_PROXY\nRUN x\n", arguments={"HTTP_PROXY": "p"})
    assert "|" not in declared.plan.entries[-1].history.created_by


async def test_unconsumed() -> None:
    planned = await plan("ARG G\n" + F + "ARG A\n", arguments={"A": "1", "G": "1", "NO": "1", "HTTP_PROXY": "p"})
    assert planned.unconsumed == ("NO",)


async def test_platform_arguments() -> None:
    images = Images()
    planned = await plan("FROM --platform=$BUILDPLATFORM busybox\nARG TARGETPLATFORM\nRUN x\n", images)
    assert env(planned) == {"TARGETPLATFORM": "linux/arm64"}
    assert images.asked == [("busybox", "linux/amd64")]


# ------------------------------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ("CMD [ 'a' ]", "Cmd", ["/bin/sh", "-c", "[ 'a' ]"]),
        ("CMD x\nENTRYPOINT y", "Cmd", ["/bin/sh", "-c", "x"]),
        ("ENTRYPOINT y", "Cmd", None),
        ('SHELL ["s", "-x"]\nCMD c', "Cmd", ["s", "-x", "c"]),
        ('SHELL ["s", "-x"]', "Shell", ["s", "-x"]),
        ("WORKDIR /a\nWORKDIR b\nENV Q=q\nWORKDIR $Q/c/../d", "WorkingDir", "/a/b/q/d"),
        ("WORKDIR a", "WorkingDir", "/a"),
        ("ENV v=x\nVOLUME /a $v", "Volumes", {"/a": {}, "x": {}}),
        ("ENV S=9\nSTOPSIGNAL $S", "StopSignal", "9"),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}),
        (
            "HEALTHCHECK --interval=5s --retries=2 CMD x",
            "Healthcheck",
            {"Test": ["CMD-SHELL", "x"], "Interval": 5_000_000_000, "Retries": 2},
        ),
        (
            "ENV v=1\nLABEL c='x $v' d=\"$v\"\nLABEL h i j",
            "Labels",
            {"c": "x $v", "d": "1", "h": "i j", "f": "l"},
        ),
        (
            "ENV P=90\nEXPOSE 100-101 $P/tcp 80/TCP 8080:81",
            "ExposedPorts",
            {"100/tcp": {}, "101/tcp": {}, "90/tcp": {}, "80/tcp": {}, "81/tcp": {}},
        ),
        ("USER u:g", "User", "u:g"),
        ("ONBUILD COPY --from=zz a b", "OnBuild", ["COPY --from=zz a b"]),
    ],
)
async def test_configuration(text: str, key: str, wanted: object) -> None:
    planned = await plan(F + text + "\n", labels={"f": "l"} if key == "Labels" else {})
    assert planned.plan.config.get(key) == wanted


async def test_cmd_of_a_stage_below() -> None:
    text = "FROM busybox AS a\nCMD x\nFROM a\nENTRYPOINT y\n"
    assert (await plan(text)).plan.config.get("Cmd") is None
    assert (await plan(text, classic=True)).plan.config["Cmd"] == ["/bin/sh", "-c", "x"]


async def test_scratch_has_a_path_and_no_steps() -> None:
    planned = await plan("FROM scratch\n")
    assert planned.plan.config["Env"][0].startswith("PATH=") and steps(planned) == []
    assert isinstance(planned.plan.top, Base) and planned.plan.top.image is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (F + 'VOLUME [""]\n', "VOLUME specified can not be an empty string"),
        ("FROM $NONE\n", r"base name \(\$NONE\) should not be blank"),
        (F + "RUN --security=insecure x\n", "security.insecure is not allowed"),
        (F + "RUN --network=host x\n", "network.host is not allowed"),
        ("FROM busybox AS a\nCOPY --from=a x /\n", "circular dependency detected on stage: a"),
        (F + "COPY --from=$S x /\n", "variable expansion is not supported for --from"),
        (F + "COPY --from=3 x /\n", "invalid stage index 3"),
    ],
)
async def test_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message) as error:
        await plan(text)
    assert error.value.line == text.count("\n")


async def test_a_circle_by_a_trigger_is_refused() -> None:
    images = Images(trigger={"OnBuild": ["COPY --from=b x /"]})
    with pytest.raises(DockerfileError, match="circular dependency"):
        await plan("FROM trigger AS a\nFROM a AS b\nRUN x\n", images)


# ------------------------------------------------------------------------------------------------------------- stages

STAGES = """FROM busybox AS one
RUN 1
FROM nothere AS unneeded
RUN 2
FROM one
COPY --from=FOUR x /
FROM busybox AS four
RUN 4
FROM one AS last
COPY --from=3 y /
RUN 5
"""


async def test_only_what_the_target_needs() -> None:
    assert names(await plan(STAGES)) == [
        "[one 1/2] FROM docker.io/library/busybox:latest",
        "[one 2/2] RUN 1",
        "[four 1/2] FROM docker.io/library/busybox:latest",
        "[four 2/2] RUN 4",
        "[last 1/2] COPY --from=3 y /",
        "[last 2/2] RUN 5",
    ]


async def test_the_classic_builder_needs_all_up_to_the_target() -> None:
    with pytest.raises(BaseFailed, match="no image nothere") as failed:
        await plan(STAGES, classic=True)
    assert failed.value.span.line == 3
    planned = await plan(STAGES, classic=True, target="one")
    assert [line.text for line in planned.lines] == ["FROM busybox AS one", "RUN 1"]


async def test_targets() -> None:
    assert names(await plan(STAGES, target="Four"))[-1] == "[four 2/2] RUN 4"
    with pytest.raises(Invalid, match='target stage "0" could not be found'):
        await plan(STAGES, target="0")


async def test_triggers_come_first_and_are_not_kept() -> None:
    images = Images(trigger={"OnBuild": ["RUN first", "ENV A=1"], "Env": []})
    planned = await plan("FROM trigger\nRUN echo $A\n", images)
    assert [run.args[-1] for run in runs(planned)] == ["first", "echo $A"]
    assert "OnBuild" not in planned.plan.config and env(planned) == {"A": "1"}
    assert runs(planned)[0].env == planned.plan.config["Env"][:1] or "A" not in env(planned, 0)


async def test_names_of_steps() -> None:
    planned = await plan(F + "ENV A=1\nRUN echo $A\nWORKDIR /x\nCOPY a b\nCMD x\n")
    assert names(planned) == [
        "[1/4] FROM docker.io/library/busybox:latest",
        "[2/4] RUN echo 1",
        "[3/4] WORKDIR /x",
        "[internal] load build context",
        "[4/4] COPY a b",
    ]


async def test_named_contexts() -> None:
    images = Images()
    contexts = {"busybox": "docker-image://other", "src": "local:mine"}
    planned = await plan(F + "COPY --from=src a /\n", images, contexts=contexts)
    assert [name for name, _ in images.asked] == ["other"]
    (local,) = [node for node in planned.plan.nodes if isinstance(node, Local)]
    assert (local.source, local.wanted, local.exclude) == ("mine", ("a",), ())


async def test_copy_from_an_image() -> None:
    planned = await plan("FROM scratch\nCOPY --from=other /a /b\n")
    assert "FROM docker.io/library/other:latest" in names(planned)


# -------------------------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("sources", "wanted"),
    [("a b/c", ("a", "b/c")), ("./a *.c /d/", ("*.c", "a", "d")), (".", ()), ("a ../b", ()), ("a /", ())],
)
async def test_what_is_asked_of_the_client(sources: str, wanted: tuple[str, ...]) -> None:
    planned = await plan(F + f"COPY {sources} /t/\n")
    (local,) = [node for node in planned.plan.nodes if isinstance(node, Local)]
    assert (local.wanted, local.exclude) == (wanted, ("*.log",))


async def test_targets_of_copies() -> None:
    planned = await plan(F + "WORKDIR /w\nCOPY a .\nCOPY a b c\nCOPY a d/\nCOPY a /e\nCOPY a ../../f\n")
    assert [copy.target for copy in copies(planned)][1:] == ["/w/", "/w/c/", "/w/d/", "/e", "/f"]
    with pytest.raises(DockerfileError, match="the destination must be a directory and end with a /"):
        await plan(F + "COPY a b c\n", classic=True)


async def test_workdir_belongs_to_the_user() -> None:
    text = F + "USER 7\nWORKDIR /a\n"
    assert [(copy.target, copy.owner) for copy in copies(await plan(text))] == [("/a/", "7")]
    assert [copy.owner for copy in copies(await plan(text, classic=True))] == [""]


async def test_copy_flags() -> None:
    text = F + "COPY --chown=1:2 --chmod=700 --link --exclude=*.md --parents a b /t/\nADD x.tar /\n"
    first, second = copies(await plan(text))
    shown = (first.owner, first.mode, first.link, first.exclude, first.parents, first.unpack)
    assert shown == ("1:2", "700", True, ("*.md",), True, False)
    assert second.unpack


async def test_what_a_run_gets() -> None:
    text = F + 'USER u\nWORKDIR /w\nSHELL ["s"]\nRUN --network=none a b\nRUN ["x", "$y"]\n'
    first, second = runs(await plan(text, extra_hosts=("h:1",), network="mine"))
    assert (first.args, first.user, first.cwd, first.network, first.hosts) == (
        ("s", "a b"),
        "u",
        "/w",
        "none",
        ("h:1",),
    )
    assert (second.args, second.network, second.hostname) == (("x", "$y"), "mine", "buildkitsandbox")


async def test_mounts() -> None:
    text = (
        F + "RUN --mount=target=/b,source=s --mount=type=cache,target=/c,uid=5,mode=0700 --mount=type=tmpfs,target=/t"
        " --mount=type=secret,id=i --mount=type=ssh x\n"
    )
    planned = await plan(text)
    bind, cache, tmpfs, secret, ssh = runs(planned)[0].mounts
    assert isinstance(bind, Bind) and (bind.target, bind.path, bind.writable) == ("/b", "s", False)
    assert cache == CacheMount("/c", "/c", uid=5, mode=0o700)
    assert tmpfs == TmpfsMount("/t")
    assert secret == SecretMount("i", "/run/secrets/i")
    assert ssh == SshMount("default", "/run/buildkit/ssh_agent.0")
    local, *others = steps(planned)[0].origins
    assert isinstance(local, Local) and local.wanted == ("s",) and others == [None] * 4


async def test_heredocs() -> None:
    text = F + 'RUN <<EOF\necho $A\nEOF\nRUN <<P\n#!/x\nbody\nP\nARG V=1\nCOPY <<a <<"b" /t/\n$V\na\n$V\nb\n'
    planned = await plan(text)
    first, second = runs(planned)
    assert first.args[-1] == "echo $A\n"
    assert second.args[-1] == "/dev/pipes/P" and second.files == {"/dev/pipes/P": b"#!/x\nbody\n"}
    assert [dict(source.content) for source in copies(planned)[0].sources] == [{"a": b"1\n"}, {"b": b"$V\n"}]


async def test_no_cache_of_a_stage() -> None:
    text = "FROM busybox AS a\nRUN 1\nFROM busybox\nCOPY --from=a x /\n"
    assert [step.fresh for step in steps(await plan(text, no_cache_stages=("a",)))] == [True, False]
    assert [step.fresh for step in steps(await plan(text, no_cache=True))] == [True, True]


def remotes(planned: Any) -> list[Remote]:
    return [node for node in planned.plan.nodes if isinstance(node, Remote)]


async def test_what_is_fetched() -> None:
    digest = "sha256:" + "a" * 64
    text = F + f"ARG U=https://u:p@host/a%20[b\nADD --checksum={digest} $U /x/\n"
    planned = await plan(text)
    (remote,) = remotes(planned)
    assert (remote.name, remote.file) == ("https://host/a%20[b", "a [b")
    assert (remote.url, remote.checksum, remote.lines) == ("https://u:p@host/a%20[b", digest, (3, 3))
    (copy,) = copies(planned)
    assert copy.sources[0].paths == ("a \\[b",) and not copy.unpack
    assert not any(isinstance(node, Local) for node in planned.plan.nodes)
    assert copies(await plan(F + "ADD --unpack https://host/x.tgz /\n"))[0].unpack
    assert len(remotes(await plan(F + "ADD https://host/x http://host/y.git /d/\n", classic=True))) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY https://host/x /", "source can't be a URL for COPY"),
        ("ADD --checksum=sha256:1 https://host/x /", "invalid checksum digest format: 'sha256:1'"),
        (f"ADD --checksum=sha256:{'a' * 64} x /", "checksum requires HTTP(S) or Git sources"),
        (
            f"ADD --checksum=sha256:{'a' * 64} http://h/x http://h/y /",
            "checksum can't be specified for multiple sources",
        ),
        ("COPY git@host:x /", "source can't be a git ref for COPY"),
        (f"ADD --checksum=sha256:{'a' * 64} git@host:x /", "expected hex commit hash"),
        ("ADD --keep-git-dir git@host:x?keep-git-dir=0 /", "inconsistent keep-git-dir configuration"),
        ("ADD --checksum=aaaaa git@host:x?checksum=bbbbb /", 'checksum mismatch "aaaaa" != "bbbbb"'),
        ("ADD https://host/x.git#--upload-pack=x /", "invalid git ref: '--upload-pack=x'"),
        ("ADD git://host/x#main:../../etc /", "invalid subdir of a git repository"),
        ("ADD ssh://-oProxyCommand=x/y /", "has no host that can be asked"),
    ],
)
async def test_what_is_not_fetched(text: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=re.escape(message)):
        await plan(F + text + "\n")


def repositories(planned: Any) -> list[Repository]:
    return [node for node in planned.plan.nodes if isinstance(node, Repository)]


async def test_what_is_fetched_from_git() -> None:
    text = F + "ARG U=https://u:p@host/x.git\nADD --keep-git-dir --checksum=ABCDEF $U#main:sub git@host:y a /x/\n"
    first, second = repositories(await plan(text.replace(" --checksum=ABCDEF", "")))
    assert (first.name, first.keep_git_dir, first.lines) == ("https://host/x.git#main:sub", True, (3, 3))
    assert (first.url.remote, first.url.ref, first.url.subdir) == ("https://u:p@host/x.git", "main", "sub")
    assert (second.url.remote, second.keep_git_dir) == ("git@host:y", True)
    (alone,) = repositories(await plan(text.replace("git@host:y a ", "")))
    assert alone.url.checksum == "abcdef"


async def test_files_and_addresses_in_one_add() -> None:
    (mixed,) = copies(await plan(F + "ADD a.tar https://host/b.tar git@host:c /d/\n"))
    assert [(source.paths, source.packed) for source in mixed.sources] == [
        (("a.tar",), False),
        (("b.tar",), True),
        ((".",), True),
    ]
    assert mixed.unpack
    (packed,) = copies(await plan(F + "ADD --unpack=false a.tar https://host/b.tar /d/\n"))
    assert not packed.unpack and not any(source.packed for source in packed.sources)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("local:mine", "[context files] load from client"),
        ("https://host/x.git#v1", "[context files] https://host/x.git#v1"),
        ("https://host/data.bin", "[context files] https://host/data.bin"),
    ],
)
async def test_a_stage_that_begins_with_a_context_of_files(value: str, shown: str) -> None:
    text = "FROM files AS one\nENV A=1\nRUN x\nFROM one\nCOPY --from=files a /\n"
    planned = await plan(text, contexts={"files": value})
    first, run, copy = steps(planned)
    assert isinstance(first.work, CopyStep) and first.work.sources[0].paths == ("/",) and first.work.target == "/"
    assert [first.name, run.name, copy.name] == [
        "[one 1/2] FROM files",
        "[one 2/2] RUN x",
        "[stage-1 1/1] COPY --from=files a /",
    ]
    (files,) = first.origins
    assert files is copy.origins[0] and files is not None and files.name == shown
    assert not isinstance(files, Local) or files.wanted == ()
    assert planned.plan.base.image is None and run.parent is first and copy.parent is run
    assert planned.plan.config == {"Env": [PATH, "A=1"], "WorkingDir": "/"}
    assert planned.plan.entries[0].history.created_by == shown


async def test_named_contexts_at_addresses() -> None:
    contexts = {"src": "https://host/x.git#v1", "file": "https://host/data.bin"}
    planned = await plan(
        F + "COPY --from=src a /\nCOPY --from=src b /\nCOPY --from=file context /\n", contexts=contexts
    )
    (repository,), (file,) = repositories(planned), remotes(planned)
    assert (repository.name, repository.url.ref) == ("[context src] https://host/x.git#v1", "v1")
    assert (file.name, file.file) == ("[context file] https://host/data.bin", "context")
    assert [copy.sources[0].paths for copy in copies(planned)] == [("a",), ("b",), ("context",)]


@pytest.mark.parametrize(
    ("url", "classic", "other"),
    [
        ("http://h/a/b.txt?q=1#f", "b.txt", "b.txt"),
        ("http://h/a%2fb%20c", "b c", "b c"),
        ("http://h/dir/", "", "dir"),
        ("http://h", "", "__unnamed__"),
        ("http://h/", "", "__unnamed__"),
        ("http://h/a/%2e%2e", "", "__unnamed__"),
        ("http://h/%00", "", "__unnamed__"),
        (f"http://h/{'n' * 256}", "", "__unnamed__"),
        ("http://[h/x", "", "__unnamed__"),
    ],
)
def test_names_of_files_of_the_web(url: str, classic: str, other: str) -> None:
    assert file_name(url, "/t/", True) == classic
    assert file_name(url, "/t/", False) == file_name(url, "/t", False) == other
    assert file_name(url, "/t", True) == (classic or "__unnamed__")


async def test_histories() -> None:
    text = F + 'ARG A=1\nENV B=2\nRUN x\nCOPY a /\nCMD ["x"]\nWORKDIR /a\nWORKDIR b/../c\n'
    said = [(entry.history.created_by, entry.step is None) for entry in (await plan(text)).plan.entries]
    assert said == [
        ("ARG A=1", True),
        ("ENV B=2", True),
        ("RUN |1 A=1 /bin/sh -c x # buildkit", False),
        ("COPY a / # buildkit", False),
        ('CMD ["x"]', True),
        ("WORKDIR /a", False),
        ("WORKDIR /a/c", False),
    ]
    classic = [entry.history.created_by for entry in (await plan(text, classic=True)).plan.entries]
    assert classic == [
        "/bin/sh -c #(nop)  ARG A=1",
        "/bin/sh -c #(nop)  ENV B=2",
        "|1 A=1 /bin/sh -c x",
        "/bin/sh -c #(nop) COPY \0 in / ",
        '/bin/sh -c #(nop)  CMD ["x"]',
        "/bin/sh -c #(nop) WORKDIR /a",
        "/bin/sh -c #(nop) WORKDIR /a/c",
    ]


async def test_an_argument_of_a_classic_history_is_as_it_was_written() -> None:
    planned = await plan(F + "ENV V=1\nARG V=2\nARG A=3\nRUN x\n", arguments={"V": "4", "A": "5"}, classic=True)
    said = [entry.history.created_by for entry in planned.plan.entries]
    assert said[1:] == ["/bin/sh -c #(nop)  ARG V=2", "/bin/sh -c #(nop)  ARG A=3", "|1 A=5 /bin/sh -c x"]


async def test_label_flags_are_instructions_of_a_classic_build() -> None:
    planned = await plan(F + "LABEL l=1\n", labels={"o": "2", "l": "$x"}, classic=True)
    assert [line.text for line in planned.lines][2:] == ["LABEL l=$x", "LABEL o=2"]
    assert planned.plan.config["Labels"] == {"l": "$x", "o": "2"}


BOMBS = {
    "values in history and for RUNs": "ENV a="
    + "x" * 60_000
    + "\n"
    + "".join(f"ENV a{i}={'$a' * 8}\n" for i in range(15))
    + "RUN x\n" * 100,
    "ARGs for RUNs": "".join(f"ARG a{i}={'y' * 300}\n" for i in range(2000)) + "RUN x\n" * 500,
    "ports": "EXPOSE 1-65535\n" * 30,
    "variables of stages": "".join(f"ENV a{i}=b c{i}=d e{i}=f\nFROM s{i} AS s{i + 1}\n" for i in range(999)),
}


@pytest.mark.parametrize("classic", [False, True])
@pytest.mark.parametrize("bomb", BOMBS)
async def test_what_is_small_and_becomes_large(bomb: str, classic: bool) -> None:
    with pytest.raises(DockerfileError, match="more than 67108864 bytes when it is expanded"):
        await plan("FROM busybox AS s0\n" + BOMBS[bomb], classic=classic)


@pytest.mark.parametrize("image", [{"OnBuild": ["RUN x"] * 10_001}, {}])
async def test_too_many_triggers(image: dict[str, Any]) -> None:
    """Of an image, and of a stage that many begin with."""
    text = "FROM other AS s\n" + "ONBUILD RUN x\n" * 1000 + "".join(f"FROM s AS s{i}\n" for i in range(11))
    with pytest.raises(DockerfileError, match="more than 10000 instructions of ONBUILD triggers"):
        await plan(text if not image else F, Images(busybox=image), classic=True)


@pytest.mark.parametrize("line", ["ENV a{}=b\n", "ARG a{}=b\n", "LABEL a{}=b\n", "VOLUME /a{}\n"])
async def test_the_event_loop_goes_on_while_there_is_much_to_plan(line: str) -> None:
    """A turn for each line, of which there are as many as show it: what they cost grows with their square."""
    lines, turns = 1000, 0
    text = F + "".join(line.format(i) for i in range(lines))

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await plan(text, classic=True)
    counting.cancel()
    assert turns > lines


class Silent:
    """A client that has no .dockerignore."""

    async def files(self, source: str, names: Sequence[str]) -> Mapping[str, bytes]:
        return {}


async def test_the_event_loop_goes_on_while_a_dockerfile_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = threading.Event()

    def late(*args: Any) -> Any:
        assert turned.wait(60), "the event loop waits for it"
        return parse(*args)

    monkeypatch.setattr("corten.build.dockerfile.parse", late)
    loading = asyncio.create_task(load(BuildRequest(text=b"FROM a\n"), cast(Client, Silent()), lambda event: None))
    await asyncio.sleep(0.01)
    turned.set()
    assert len((await loading).file.stages) == 1


@pytest.mark.parametrize(
    "image",
    [
        *("docker/dockerfile", "docker/dockerfile:1.7-labs", "docker.io/docker/dockerfile-upstream:master"),
        *("mirror:5000/docker/dockerfile:1@sha256:" + "0" * 64, "mirror/cache/docker/dockerfile"),
    ],
)
async def test_frontends_that_are_this_one(image: str) -> None:
    text = f"# syntax={image}\nFROM scratch\n".encode()
    assert (await load(BuildRequest(text=text), cast(Client, Silent()), lambda event: None)).file.stages


@pytest.mark.parametrize(
    ("image", "arguments"),
    [
        *((image, {}) for image in ("localhost:1/nosuch", "dockerfile", "notdocker/dockerfile", "docker/dockerfile2")),
        ("docker/dockerfile", {"BUILDKIT_SYNTAX": "other/frontend:1"}),
    ],
)
async def test_frontends_that_are_programs(image: str, arguments: dict[str, str]) -> None:
    text = f"# check=skip=all\n# syntax={image}\nFROM scratch\n".encode()
    asked = BuildRequest(text=text, arguments=arguments)
    with pytest.raises(BuildFailed, match="is not supported: docker/dockerfile is") as raised:
        await load(asked, cast(Client, Silent()), lambda event: None)
    assert raised.value.ranges == ((2, 2),)
    await load(replace(asked, classic=True), cast(Client, Silent()), lambda event: None)


async def test_too_many_stages() -> None:
    with pytest.raises(DockerfileError, match="more than 1000 stages"):
        await plan("FROM busybox\n" * 1001)


async def test_what_is_hashed_of_settings_grows_with_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with their square: a Dockerfile may have thousands. Two lines that say something else are distinguished."""

    async def hashed(count: int) -> int:
        sizes: list[int] = []
        digest = keys.digest

        def measured(*parts: Any) -> str:
            sizes.append(len(repr(parts)))
            return digest(*parts)

        with monkeypatch.context() as patch:
            patch.setattr(keys, "digest", measured)
            text = "".join(f"ENV V{i:03}={i:03}\nLABEL l{i:03}={i:03}\n" for i in range(count))
            planned = await plan(F + text, classic=True)
        assert len({step.work for step in planned.plan.nodes if isinstance(step, Step)}) == 2 * count
        return sum(sizes)

    assert await hashed(200) < 2.5 * await hashed(100)
