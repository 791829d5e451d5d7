"""Git and addresses of the web as contexts, named contexts and sources of ADD, by unmodified clients."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from e2e_parts.builders import Builder, builder, remove_builds, run
from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from git_servers import Repository, Web, git_daemon, web

DOCKERFILE = f"FROM {IMAGE}\nCOPY . /files/\nCMD cd /files && find . -type f | sort | xargs grep .\n"


@pytest.fixture(autouse=True)
def no_builds_left(daemon: Cortend, no_images_left: None) -> Iterator[None]:
    yield
    remove_builds(daemon)


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    found = Repository(tmp_path / "srv/x.git")
    found.commit({"sub/Dockerfile": DOCKERFILE, "sub/.dockerignore": "*.log\n", "sub/x.log": "x", "sub/f": "first\n"})
    found.git("tag", "v1")
    found.commit({"sub/f": "second\n", "top": "t\n"})
    return found


@pytest.fixture
def base(repo: Repository) -> Iterator[str]:
    with git_daemon(repo.path.parent) as found:
        yield found


@pytest.fixture
def server(repo: Repository) -> Iterator[Web]:
    with web(repo.path.parent, password="x-access-token:t0ken") as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], Path]:
    def made(dockerfile: str) -> Path:
        root = tmp_path / "context"
        root.mkdir(exist_ok=True)
        (root / "Dockerfile").write_text(dockerfile)
        with tarfile.open(root / "a.tar", "w") as tar:
            (entry := tarfile.TarInfo("unpacked")).size = 1
            tar.addfile(entry, io.BytesIO(b"u"))
        return root

    return made


@pytest.fixture(params=["docker 20.10", "buildx"])
def build(request: pytest.FixtureRequest, daemon: Cortend, tmp_path: Path) -> Builder:
    return builder(request.param, daemon, tmp_path)


def test_a_context_by_the_classic_endpoint_and_our_own_client(corten: Client, daemon: Cortend, base: str) -> None:
    address = f"{base}/x.git#v1:sub"
    status, said = daemon.ask("POST", f"/build?t=made&remote={quote(address, safe='')}")
    assert status == 200 and "Successfully tagged made:latest" in str(said)
    shown = "./.dockerignore:*.log\n./Dockerfile:"
    assert run(daemon, "made").startswith(shown) and run(daemon, "made").endswith("./f:first\n./x.log:x\n")
    keep = quote('{"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"}')
    daemon.ask(
        "POST", f"/build?t=made&dockerfile=sub/Dockerfile&buildargs={keep}&remote={quote(f'{base}/x.git', safe='')}"
    )
    assert "./.git/HEAD:" in run(daemon, "made") and "./sub/f:second\n" in run(daemon, "made")
    done = execute([*corten.command, "build", "-t", "made", f"{base}/x.git#master:sub"], timeout=100, env=corten.env)
    assert done.code == 0 and f"[internal] load git source {base}/x.git#master:sub" in done.err
    assert run(daemon, "made").endswith("./f:second\n./x.log:x\n")
    failed = execute([*corten.command, "build", f"{base}/x.git#nope"], timeout=100, env=corten.env)
    assert failed.code != 0 and "repository does not contain ref nope" in failed.err
    refused = execute([*corten.command, "build", f"{base}/x.git#v1:../.."], timeout=100, env=corten.env)
    assert refused.code != 0 and "invalid subdir of a git repository" in refused.err


def test_a_context_by_buildkits_clients(build: Builder, daemon: Cortend, base: str) -> None:
    first = build("-t", "made", f"{base}/x.git#v1:sub").err
    assert "load git source" in first and "[new tag]" in first  # in git's own words
    assert run(daemon, "made").endswith("./f:first\n./x.log:x\n")
    again = build("-t", "made", f"{base}/x.git#v1:sub")
    assert "CACHED" in again.err


def test_commits_in_provenance(corten: Client, daemon: Cortend, repo: Repository, base: str) -> None:
    """Of the context, and of a repository in ADD: every input with its digest, so the dependencies are complete."""
    repo.commit({"Dockerfile": f"FROM {IMAGE}\nADD {base}/x.git#v1 /r/\nCOPY top /\n"})
    address = f"{base}/x.git#master"
    corten("build", "-q", "--provenance", "mode=max", "-t", "made", address, timeout=100)
    (ref, *_) = corten.out("builder", "history", "ls", "-q").split()
    found = json.loads(corten.out("builder", "history", "attachment", ref, "provenance"))
    definition, metadata = found["buildDefinition"], found["runDetails"]["metadata"]
    commits = {name: repo.git("rev-parse", name).strip() for name in ("master", "v1")}
    known = {each["uri"]: each["digest"] for each in definition["resolvedDependencies"]}
    assert known[address] == {"sha1": commits["master"]} and known[f"{base}/x.git#v1"] == {"sha1": commits["v1"]}
    assert definition["externalParameters"]["configSource"]["digest"] == {"sha1": commits["master"]}
    assert metadata["buildkit_completeness"] == {"request": True, "resolvedDependencies": True}
    assert metadata["buildkit_hermetic"] is True


def test_a_repository_that_asks_for_a_token(build: Builder, daemon: Cortend, server: Web, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    address = f"{server.url}/x.git#v1:sub"
    secret = f"id=GIT_AUTH_TOKEN,src={tmp_path / 'token'}"
    keep = ("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
    build("-t", "made", "--secret", secret, *keep, address)
    assert run(daemon, "made").endswith("./f:first\n./x.log:x\n")
    failed = build("-t", "made", address, code=1)
    assert f"failed to fetch remote {address}" in failed.err


def test_add(
    build: Builder, daemon: Cortend, repo: Repository, server: Web, tmp_path: Path, files: Callable[[str], Path]
) -> None:
    """A repository, a file of the web and an archive in one ADD. What is pinned by its commit is asked of no one."""
    (repo.path.parent / "data").write_bytes(b"data\n")
    commit = repo.git("rev-parse", "v1")
    with git_daemon(repo.path.parent) as base, web(repo.path.parent) as plain:
        text = f"""FROM {IMAGE}
ARG REPO={base}/x.git
ADD --chown=3:4 $REPO#{commit}:sub {plain.url}/data a.tar /all/
ADD --keep-git-dir --checksum={commit} {base}/x.git#v1 /kept
CMD cd /all && ls -An . && ls -A /kept
"""
        context = str(files(text))
        build("-t", "made", context)
        said = run(daemon, "made").split()
        assert {"unpacked", "data", "f", ".git", ".dockerignore"} <= set(said) and "3" in said
        wrong = text.replace(f"--checksum={commit}", f"--checksum={'0' * 40}")
        failed = build(str(files(wrong)), code=1)
        assert f"expected checksum to match {'0' * 40}, got {commit}" in failed.err
    with git_daemon(repo.path.parent) as base:
        pinned = f"FROM {IMAGE}\nADD {base}/x.git#{commit}:sub /pinned/\n"
        build("-t", "made", str(files(pinned)))
    build("-t", "again", str(files(pinned)))
    ids = {daemon.get(f"/images/{name}/json")["Id"] for name in ("made", "again")}
    assert len(ids) == 1


def test_named_contexts(
    daemon: Cortend, repo: Repository, base: str, tmp_path: Path, files: Callable[[str], Path]
) -> None:
    buildx = builder("buildx", daemon, tmp_path)
    (repo.path.parent / "data").write_bytes(b"data\n")
    text = f"FROM {IMAGE}\nCOPY --from=src sub/f /f\nRUN --mount=from=file,target=/m cp /m/context /d\nCMD cat /f /d\n"
    with web(repo.path.parent) as plain:
        named = ("--build-context", f"src={base}/x.git#v1", "--build-context", f"file={plain.url}/data")
        buildx("-t", "made", *named, str(files(text)))
    assert run(daemon, "made") == "first\ndata\n"


@pytest.mark.parametrize("name", ["corten", "buildx"])
def test_a_stage_that_begins_with_a_repository(name: str, daemon: Cortend, base: str, tmp_path: Path) -> None:
    client = builder(name, daemon, tmp_path)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(
        f"FROM src AS files\nFROM {IMAGE}\nCOPY --from=files sub/f /f\nCMD cat /f\n"
    )
    client("-t", "made", "--build-context", f"src={base}/x.git#v1", str(tmp_path / "context"))
    assert run(daemon, "made") == "first\n"


def test_contexts_of_the_web(build: Builder, daemon: Cortend, repo: Repository, tmp_path: Path) -> None:
    place = repo.path.parent
    with tarfile.open(place / "context.tar.gz", "w:gz") as tar:
        for name, text in (("Dockerfile", DOCKERFILE), ("f", "packed\n")):
            (entry := tarfile.TarInfo(name)).size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    (place / "alone").write_text(f"FROM {IMAGE}\nCMD echo alone\n")
    with web(place) as plain:
        assert "load remote build context" in build("-t", "made", f"{plain.url}/context.tar.gz").err
        assert run(daemon, "made").endswith("./f:packed\n")
        build("-t", "made", f"{plain.url}/alone")
        assert run(daemon, "made") == "alone\n"
        assert "failed to GET" in build(f"{plain.url}/nothing", code=1).err


def test_a_dockerfile_of_the_client_with_files_from_git(
    daemon: Cortend, base: str, tmp_path: Path, files: Callable[[str], Path]
) -> None:
    buildx = builder("buildx", daemon, tmp_path)
    own = files(f"FROM {IMAGE}\nCOPY f /f\nCMD cat /f; echo own\n") / "Dockerfile"
    with open(own, "rb") as text:
        buildx("-t", "made", "-f", "-", f"{base}/x.git#v1:sub", input=text.read())
    assert run(daemon, "made") == "first\nown\n"


def test_a_dockerfile_at_a_url(daemon: Cortend, repo: Repository, tmp_path: Path, files: Callable[[str], Path]) -> None:
    """The client has it read here (Solve of a definition, StatFile, ReadFile), and sends it with its own files."""
    buildx = builder("buildx", daemon, tmp_path)
    (repo.path.parent / "named").write_text(f"FROM {IMAGE}\nCOPY a.tar /\nCMD ls /a.tar\n")
    with web(repo.path.parent) as plain:
        buildx("-t", "made", "-f", f"{plain.url}/named", str(files("none")))
    assert run(daemon, "made") == "/a.tar\n"


def test_bake_from_a_repository(daemon: Cortend, repo: Repository, base: str, tmp_path: Path) -> None:
    """The definition comes back as an input: files of the repository are the target's context."""
    buildx = builder("buildx", daemon, tmp_path)
    repo.commit(
        {
            "docker-bake.json": '{"target": {"default": {"tags": ["made"]}}}',
            "Dockerfile": f"FROM {IMAGE}\nCOPY sub/f /f\nCMD cat /f\n",
        }
    )
    bake = Builder(buildx.name, (buildx.command[0], "bake", "--allow=fs=*"), buildx.env)
    bake(f"{base}/x.git")
    assert run(daemon, "made") == "second\n"


def test_what_a_dockerfile_can_be_given(daemon: Cortend, tmp_path: Path, files: Callable[[str], Path]) -> None:
    """`--call`: the client prints it of what is answered."""
    buildx = builder("buildx", daemon, tmp_path)
    text = "# app is the result\nFROM nowhere.invalid/x AS app\n# who is greeted\nARG who=you\n"
    call = Builder(buildx.name, (buildx.command[0], "build"), buildx.env)
    context = str(files(f"{text}RUN --mount=type=secret,id=s,required y\nFROM app\n"))
    outline = call("--call=outline", "--target=app", "--build-arg=who=us", context).out
    assert outline.splitlines() == [
        "TARGET:      app",
        "DESCRIPTION: is the result",
        "",
        "BUILD ARG   VALUE   DESCRIPTION",
        "who         us      is greeted",
        "",
        "SECRET   REQUIRED",
        "s        true",
        "",
    ]
    targets = call("--call=targets", context).out.splitlines()
    assert targets == ["TARGET    DESCRIPTION", "app       is the result", "(default) "]
    described = call("--call=subrequests.describe", context).out
    assert "outline              1.0.0   List all parameters current build target supports" in described
    unknown = call("--call=nothing", context, code=1)
    assert "nothing" in unknown.err


def test_what_sources_are(daemon: Cortend, repo: Repository, tmp_path: Path) -> None:
    """A client that evaluates a policy asks what an image, a repository and a file are (ResolveSourceMeta)."""
    buildx = builder("buildx", daemon, tmp_path)
    repo.git("tag", "-a", "v2", "-m", "two")
    (repo.path.parent / "data").write_bytes(b"data\n")

    def ask(source: str, fields: str) -> dict[str, Any]:
        command = (buildx.command[0], "policy", "eval", "--print", "--fields", fields, source)
        found: dict[str, Any] = json.loads(Builder(buildx.name, command, buildx.env)().out)
        return found

    image = ask(f"docker-image://{IMAGE}", "image.checksum,image.labels")["image"]
    with web(repo.path.parent) as plain:
        git = ask(f"{plain.url}/x.git#refs/tags/v2", "git.checksum,git.commitChecksum")["git"]
        http = ask(f"{plain.url}/data", "http.checksum")["http"]
    assert git["commitChecksum"] == repo.git("rev-parse", "v2^{commit}")
    assert git["checksum"] == repo.git("rev-parse", "v2") and git["isAnnotatedTag"]
    assert http["checksum"] == "sha256:" + hashlib.sha256(b"data\n").hexdigest()
    assert (
        image["checksum"].startswith("sha256:") and image["env"] == daemon.get(f"/images/{IMAGE}/json")["Config"]["Env"]
    )
