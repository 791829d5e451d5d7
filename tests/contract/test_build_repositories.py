"""Git for builds: what servers of every kind give, what a hostile repository or server cannot do, and that nothing is
left.

The programs are the machine's git, over its own daemon and http on the loopback address."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from build_world import NoClient
from corten.build.contexts import Context, Contexts
from corten.build.contract import Commit
from corten.build.trees import GIT, Trees
from corten.build.work.repositories import GitRepositories
from corten.errors import CortenError, Failed, Invalid, NotFound, Unavailable
from corten.registry.client.proxies import Proxies
from corten.spec.git_url import parse
from corten.supervisor.jail import USER
from corten.tasks.launcher import Launcher
from corten.tasks.steps import LauncherSteps
from corten.tasks.workers import LauncherWorkers
from e2e_parts.patience import longer
from git_servers import Repository, git_daemon, sshd, web

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
TOKEN = "x-access-token:t0ken"


class World:
    """`srv` is what servers serve; `files` are those that came, by path, links as `-> target`."""

    def __init__(self, root: Path, launcher: Launcher) -> None:
        self.root = root
        self.srv = root / "srv"
        self.srv.mkdir()
        self.launcher = launcher
        self.contexts = Contexts(root / "contexts", LauncherWorkers(self.launcher.for_builds))
        self.kept = Trees(root / "kept", type=GIT)
        self.client = NoClient()
        self.said: list[bytes] = []
        self.git = self._made(20)

    def _made(self, patience: float) -> GitRepositories:
        steps = LauncherSteps(self.launcher.for_builds)
        return GitRepositories(self.contexts, steps, self.root / "memory", Proxies, self.kept, patience)

    def impatient(self) -> GitRepositories:
        return self._made(0.5)

    def repository(self, name: str = "x.git") -> Repository:
        return Repository(self.srv / name)

    async def commit(self, address: str) -> Commit:
        url = parse(address)
        assert url is not None
        return await self.git.commit(url, self.client, self.said.append)

    async def files(self, address: str, keep: bool = False) -> dict[str, str]:
        url = parse(address)
        assert url is not None
        context = await self.git.files(
            url, await self.git.commit(url, self.client, self.said.append), keep, self.client, self.said.append
        )
        try:
            return _found(context)
        finally:
            await context.remove()


def _found(context: Context) -> dict[str, str]:
    found = {}
    for path in context.directory.rglob("*"):
        name = str(path.relative_to(context.directory))
        assert os.lstat(path).st_uid == os.lstat(path).st_gid == 0
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_bytes().decode("utf-8", "replace")
    return found


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    log = tmp_path_factory.mktemp("launcher") / "launcher.log"
    found = Launcher(log)
    found.start()
    yield found
    assert log.read_text() == ""
    found.close()


@pytest.fixture
def world(tmp_path: Path, launcher: Launcher) -> Iterator[World]:
    yield World(tmp_path, launcher)
    assert not (tmp_path / "contexts").exists() or os.listdir(tmp_path / "contexts") == []
    assert not (tmp_path / "memory").exists()


def sent(world: World) -> int:
    """Objects that the server has sent, as git says them."""
    said = b"".join(world.said).decode()
    world.said.clear()
    return sum(int(count) for count in re.findall(r"remote: Total ([0-9]+)", said))


@pytest.fixture
def base(world: World) -> Iterator[str]:
    with git_daemon(world.srv) as found:
        yield found


def processes(launcher: Launcher) -> list[str]:
    """Programs that run below the launcher: git, and what it has begun."""
    said = subprocess.run(("ps", "-eo", "pid=,ppid=,uid=,args="), capture_output=True, text=True, timeout=20).stdout
    rows = [line.split(None, 3) for line in said.splitlines()]
    below = {str(launcher.pid)}
    while more := {pid for pid, parent, *_ in rows if parent in below} - below:
        below |= more
    return [row[3] for row in rows if row[0] in below and row[2] == str(USER) and not row[3].startswith("corten")]


# --------------------------------------------------------------------------------------------------------------- kept


@pytest.mark.parametrize("kind", ["daemon", "smart", "dumb"])
async def test_only_what_is_new_is_fetched(world: World, kind: str) -> None:
    repo = world.repository()
    repo.commit({f"d/{number}": f"{number}" * 50 for number in range(200)})
    with ExitStack() as held:
        if kind == "daemon":
            url = f"{held.enter_context(git_daemon(world.srv))}/x.git"
        else:
            server = held.enter_context(web(world.srv, dumb=kind == "dumb"))
            url = f"{server.url}/x.git{'/.git' if kind == 'dumb' else ''}"
        repo.git("update-server-info")
        assert len(await world.files(url)) == 200
        first = sent(world)
        newer = repo.commit({"d/7": "new"})
        repo.git("update-server-info")
        assert (await world.files(url))["d/7"] == "new"
        second = sent(world)
        assert kind == "dumb" or (first > 200 and second < 10)
        found = await world.files(f"{url}#{newer}")
        assert len(found) == 200 and found["d/7"] == "new" and ".git" not in found
        assert len(await world.files(f"{url}#{newer}", keep=True)) > 201  # with all of it in its own .git
    (kept,) = world.kept.every()
    assert not kept.in_use and kept.type == GIT
    assert kept.size == 0 if kind == "dumb" else 10_000 < kept.size < 1_000_000
    await world.kept.remove(kept.key)
    assert not list((world.root / "kept").iterdir())


async def test_what_is_damaged_is_fetched_again(world: World, base: str) -> None:
    repo = world.repository()
    repo.commit({"f": "1"})
    assert await world.files(f"{base}/x.git") == {"f": "1"}
    for pack in (world.root / "kept").rglob("*.pack"):
        pack.write_bytes(b"PACK" + bytes(100))
    assert await world.files(f"{base}/x.git") == {"f": "1"}
    (commits,) = (world.root / "kept").rglob("commits")
    commits.write_text("0" * 40 + "\n--upload-pack=x\n" + "x" * 10_000)
    assert await world.files(f"{base}/x.git") == {"f": "1"}
    assert len(commits.read_text().split()) == 1


async def test_what_is_kept_is_for_who_may_have_it(world: World) -> None:
    """A commit that is here is not given to a build that the server refuses."""
    commit = world.repository().commit({"f": "1"})
    with web(world.srv, password=TOKEN) as server:
        address = f"{server.url}/x.git#{commit}"
        world.client.secrets["GIT_AUTH_TOKEN"] = b"t0ken"
        assert await world.files(address) == {"f": "1"}
        world.client.secrets.clear()
        with pytest.raises(Failed):
            await world.files(address)


async def test_two_builds_of_one_repository_at_a_time(world: World, base: str) -> None:
    world.repository().commit({"f": "1"})
    found = await asyncio.gather(*(world.files(f"{base}/x.git") for _ in range(3)))
    assert found == [{"f": "1"}] * 3
    assert len(list((world.root / "kept").glob("*/*/commits"))) == 1


async def test_many_packs_are_one_again(world: World, base: str) -> None:
    repo = world.repository()
    repo.commit({"f": "0"})
    await world.files(f"{base}/x.git")
    (packs,) = (world.root / "kept").glob("*/*/objects/pack")
    for number in range(100):
        (packs / f"pack-{number}.keep").touch()
    repo.commit({"f": "1"})
    assert await world.files(f"{base}/x.git") == {"f": "1"}
    assert world.kept.every() == []


# ------------------------------------------------------------------------------------------------------------- servers


@pytest.mark.parametrize("kind", ["daemon", "smart", "dumb"])
async def test_every_kind_of_name_at_every_kind_of_server(world: World, kind: str) -> None:
    repo = world.repository()
    first = repo.commit({"a": "1", "sub/b": "b"})
    repo.git("tag", "-a", "v1", "-m", "one")
    second = repo.commit({"a": "2"})
    repo.git("branch", "v1", second)
    repo.git("branch", "feature/v1", first)
    repo.git("update-server-info")
    with ExitStack() as held:
        if kind == "daemon":
            url = f"{held.enter_context(git_daemon(world.srv))}/x.git"
        else:
            server = held.enter_context(web(world.srv, dumb=kind == "dumb"))
            url = f"{server.url}/x.git{'/.git' if kind == 'dumb' else ''}"
        assert await world.commit(url) == Commit(second, "HEAD")
        assert await world.commit(f"{url}#v1") == Commit(second, "refs/heads/v1")
        tag = repo.git("rev-parse", "refs/tags/v1")
        assert await world.commit(f"{url}#refs/tags/v1") == Commit(first, "refs/tags/v1", tag)
        assert (await world.commit(f"{url}?tag=v1&checksum={tag}")).id == first
        world.said.clear()
        assert await world.files(f"{url}#refs/tags/v1") == {"a": "1", "sub/b": "b"}
        assert any(b"v1" in line for line in world.said) and all(line.endswith(b"\n") for line in world.said)
        assert not any(b"\r" in line for line in world.said)
        assert await world.files(f"{url}#feature/v1:sub") == {"b": "b"}
        assert await world.files(f"{url}#{first}") == {"a": "1", "sub/b": "b"}
        with pytest.raises(NotFound, match="repository does not contain ref nope"):
            await world.commit(f"{url}#nope")


async def test_a_repository_that_is_kept_can_be_gone_on_with(world: World, base: str) -> None:
    repo = world.repository()
    repo.commit({"a": "1"})
    repo.git("tag", "-a", "v1", "-m", "one")
    url = parse(f"{base}/x.git#refs/tags/v1")
    assert url is not None
    commit = await world.git.commit(url, world.client, world.said.append)
    context = await world.git.files(url, commit, True, world.client, world.said.append)

    def git(*arguments: str) -> str:
        given = ("git", "-c", "safe.directory=*", "-C", str(context.directory), *arguments)
        return subprocess.run(given, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    assert git("rev-parse", "HEAD") == commit.id and git("describe") == "v1"
    assert git("status", "--porcelain") == "" and git("remote", "get-url", "origin") == f"{base}/x.git"
    assert not list((context.directory / ".git").glob("hooks/*"))
    await context.remove()
    assert await world.files(f"{base}/x.git?keep-git-dir=1&subdir=.", keep=False) == {"a": "1"}


async def test_times_of_the_commit(world: World, base: str) -> None:
    world.repository().commit({"d/a": "1"})
    url = parse(f"{base}/x.git?mtime=commit")
    assert url is not None
    context = await world.git.files(
        url, await world.git.commit(url, world.client, world.said.append), False, world.client, world.said.append
    )
    assert {int(path.stat().st_mtime) for path in context.directory.rglob("*")} == {1577934245}
    await context.remove()


async def test_a_commit_must_be_the_one_that_was_named(world: World, base: str) -> None:
    id = world.repository().commit({"a": "1"})
    assert (await world.commit(f"{base}/x.git?checksum={id[:8]}")).id == id
    with pytest.raises(Invalid, match=f"expected checksum to match {'0' * 40}, got {id}"):
        await world.commit(f"{base}/x.git?checksum={'0' * 40}")
    with pytest.raises(Invalid, match="expected checksum to match"):
        await world.commit(f"{base}/x.git?checksum={'0' * 8}&ref={id}")
    with pytest.raises(Failed, match="failed to fetch remote git://"):
        await world.files(f"{base}/x.git#{'0' * 40}")


# ---------------------------------------------------------------------------------------------------------- who asks


@pytest.mark.parametrize(
    ("secrets", "user"),
    [
        ({"GIT_AUTH_TOKEN": b"t0ken\n"}, ""),
        ({"GIT_AUTH_TOKEN": b"wrong", "GIT_AUTH_TOKEN.HOST": b"t0ken"}, ""),
        ({"GIT_AUTH_HEADER": b"basic eC1hY2Nlc3MtdG9rZW46dDBrZW4="}, ""),
        ({}, TOKEN + "@"),
        ({"GIT_AUTH_TOKEN": b"t0ken"}, ""),
    ],
)
async def test_credentials(world: World, secrets: dict[str, bytes], user: str) -> None:
    repo = world.repository()
    repo.commit({"a": "1"})
    with web(world.srv, password=TOKEN) as server:
        host = urlsplit(server.url).netloc
        world.client.secrets = {name.replace("HOST", host): value for name, value in secrets.items()}
        assert await world.files(f"http://{user}{host}/x.git") == {"a": "1"}
        world.client.secrets = {}
        with pytest.raises(Failed, match=f"failed to fetch remote http://{host}/x.git") as failed:
            await world.files(f"http://{host}/x.git")
        with pytest.raises(Failed) as wrong:
            await world.files(f"http://user:pass-word@{host}/x.git")
    assert "t0ken" not in f"{failed.value}" and "pass-word" not in f"{wrong.value}"


async def test_a_token_is_for_its_remote_alone(world: World) -> None:
    (inner := world.repository("inner.git")).commit({"i": "1"})
    with web(world.srv) as other, web(world.srv, password=TOKEN) as server:
        outer = world.repository()
        outer.git("submodule", "--quiet", "add", str(inner.path), "m")
        outer.git("config", "-f", ".gitmodules", "submodule.m.url", f"{other.url}/inner.git")
        outer.commit({})
        world.client.secrets = {"GIT_AUTH_TOKEN": b"t0ken"}
        assert (await world.files(f"{server.url}/x.git"))["m/i"] == "1"
        assert set(other.asked) == {""} and any(server.asked)


async def test_a_header_of_two_lines_is_refused(world: World) -> None:
    world.client.secrets = {"GIT_AUTH_HEADER": b"basic x\nX-Other: y"}
    with pytest.raises(Invalid, match="more than one line"):
        await world.files("http://127.0.0.1:1/x.git")


async def test_ssh_with_the_clients_agent(world: World, tmp_path: Path) -> None:
    world.repository().commit({"a": "1"})
    with sshd(tmp_path / "ssh") as server:
        address = f"ssh://{server.user}@127.0.0.1:{server.port}{world.srv}/x.git"
        with pytest.raises(Failed, match=r"no SSH agent came with the build: --ssh default"):
            await world.files(address)
        world.client.agents = {"default": server.agent}
        assert await world.files(address) == {"a": "1"}


# ---------------------------------------------------------------------------------------------------------- submodules


async def test_submodules_in_one_another(world: World, base: str) -> None:
    (deep := world.repository("deep.git")).commit({"d": "deep"})
    inner = world.repository("inner.git")
    inner.git("submodule", "--quiet", "add", str(deep.path), "below/deep")
    inner.git("config", "-f", ".gitmodules", "submodule.below/deep.url", "../deep.git")
    inner.commit({"i": "inner"})
    outer = world.repository()
    outer.git("submodule", "--quiet", "add", str(inner.path), "m")
    outer.git("config", "-f", ".gitmodules", "submodule.m.url", f"{base}/inner.git")
    outer.commit({"o": "outer"})
    found = await world.files(f"{base}/x.git")
    del found[".gitmodules"], found["m/.gitmodules"]
    assert found == {"o": "outer", "m/i": "inner", "m/below/deep/d": "deep"}
    assert set(await world.files(f"{base}/x.git?submodules=0")) == {"o", ".gitmodules"}
    assert set(await world.files(f"{base}/x.git#:m")) == {"i", ".gitmodules", "below/deep/d"}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///SRV/inner.git", "git over 'file' is not supported"),
        ("/SRV/inner.git", "invalid address of a submodule"),
        ("ext::sh -c touch% /tmp/x", "invalid address of a submodule"),
        ("ext::sh", "git over 'ext' is not supported"),
        ("-u./payload", "invalid address of a submodule"),
        ("ssh://-oProxyCommand=touch/x", "no host that can be asked"),
    ],
)
async def test_submodules_over_other_transports(world: World, base: str, url: str, message: str) -> None:
    (inner := world.repository("inner.git")).commit({"i": "1"})
    outer = world.repository()
    outer.git("submodule", "--quiet", "add", str(inner.path), "m")
    outer.git("config", "-f", ".gitmodules", "submodule.m.url", url.replace("/SRV", str(world.srv)))
    outer.commit({})
    with pytest.raises(Invalid, match=message):
        await world.files(f"{base}/x.git")


async def test_a_submodule_in_itself_ends(world: World, base: str) -> None:
    repo = world.repository()
    first = repo.commit({".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = {base}/x.git\n'})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{first},m")
    for _ in range(12):  # each has the one before it as a submodule
        repo.git("commit", "-q", "-m", "more")
        repo.git("update-index", "--add", "--cacheinfo", f"160000,{repo.git('rev-parse', 'HEAD')},m")
    with pytest.raises(Invalid, match="submodules are more than 10 deep"):
        await world.files(f"{base}/x.git")


async def test_a_submodule_without_an_address(world: World, base: str) -> None:
    repo = world.repository()
    first = repo.commit({".gitmodules": "[other]\n\tx = y\n"})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{first},m")
    repo.git("commit", "-q", "-m", "more")
    with pytest.raises(Invalid, match="no url found for submodule path 'm'"):
        await world.files(f"{base}/x.git")


# ------------------------------------------------------------------------------------------------- hostile repositories


async def test_links_stay_links_and_no_subdir_is_behind_one(world: World, base: str) -> None:
    repo = world.repository()
    repo.commit({"real/f": "1"})
    (repo.path / "link").symlink_to("/etc")
    (repo.path / "inside").symlink_to("real")
    (repo.path / "real/up").symlink_to("../..")
    repo.commit({})
    assert (await world.files(f"{base}/x.git"))["link"] == "-> /etc"
    for subdir, message in (
        ("link", "link is no directory of the repository: is a link, or behind one"),
        ("inside", "inside is no directory of the repository: is a link"),
        ("link/ssl", "is a link, or behind one"),
        ("real/up/etc", "is a link, or behind one"),
        ("real/f", "real/f is no directory of the repository"),
    ):
        with pytest.raises(Invalid, match=message):
            await world.files(f"{base}/x.git#master:{subdir}")
    with pytest.raises(NotFound, match="nope is not in the repository"):
        await world.files(f"{base}/x.git#master:nope")


def tree(repo: Repository, *entries: tuple[str, str, str]) -> str:
    """A tree that git itself would not make, of (mode, name, id)."""
    body = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(id) for mode, name, id in entries)
    command = ("git", "hash-object", "-t", "tree", "--literally", "-w", "--stdin")
    done = subprocess.run(command, input=body, cwd=repo.path, capture_output=True, check=True, timeout=20)
    return done.stdout.decode().strip()


@pytest.mark.parametrize("name", [".git", ".GIT", "..", "git~1", ".git\u200c", "a/b"])
async def test_trees_with_names_that_no_tree_has(world: World, base: str, name: str) -> None:
    """They are refused, or files like others: what is outside is not written to."""
    repo = world.repository()
    repo.commit({"f": "1", "link": "/etc"})
    link, file = repo.git("rev-parse", "HEAD:link"), repo.git("rev-parse", "HEAD:f")
    below = tree(repo, ("100644", "config", file), ("100644", "passwd", file))
    for number, entry in enumerate((("120000", name, link), ("40000", name, below))):
        top = tree(repo, entry, ("100644", "x", file))
        repo.git("update-ref", f"refs/heads/b{number}", repo.git("commit-tree", top, "-m", "odd"))
        with suppress(Failed):
            assert {path.partition("/")[0] for path in await world.files(f"{base}/x.git#b{number}")} <= {name, "x", "a"}


async def test_a_submodule_behind_a_link_of_the_same_name(world: World, base: str) -> None:
    (inner := world.repository("inner.git")).commit({"pwned": "1"})
    repo = world.repository()
    repo.commit({"link": "/work", ".gitmodules": f'[submodule "m"]\n\tpath = a/b\n\turl = {base}/inner.git\n'})
    link, modules = repo.git("rev-parse", "HEAD:link"), repo.git("rev-parse", "HEAD:.gitmodules")
    below = tree(repo, ("160000", "b", inner.git("rev-parse", "HEAD")))
    top = tree(repo, ("100644", ".gitmodules", modules), ("120000", "a", link), ("40000", "a", below))
    repo.git("update-ref", "refs/heads/odd", repo.git("commit-tree", top, "-m", "odd"))
    with suppress(Failed, Invalid, NotFound):
        found = await world.files(f"{base}/x.git#odd")
        assert found.get("a") in (None, "-> /work") and found.get("a/b/pwned") in (None, "1")


async def test_nothing_of_a_repository_is_run(world: World, base: str, tmp_path: Path) -> None:
    """Filters and diff drivers need settings, which a repository cannot bring; hooks are not taken from it."""
    mark = tmp_path / "mark"
    mark.mkdir(mode=0o777)
    script = f"#!/bin/sh\ntouch {mark}/hook /work/hook\n"
    repo = world.repository()
    repo.commit(
        {
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {mark}/filter\n',
            "hooks/post-checkout": script,
            ".githooks/post-checkout": script,
            "config": f"[core]\n\tfsmonitor = touch {mark}/fsmonitor\n",
            "HEAD": "ref: refs/heads/master\n",
            "objects/x": "",
            "refs/x": "",
        }
    )
    assert "hook" not in await world.files(f"{base}/x.git")
    assert list(mark.iterdir()) == []


async def test_a_small_repository_of_billions_of_files(world: World, base: str) -> None:
    repo = world.repository()
    repo.commit({"f": ""})
    kind, id = "100644 blob", repo.git("rev-parse", "HEAD:f")
    for _ in range(10):
        entries = "".join(f"{kind} {id}\t{number}\n" for number in range(10))
        kind, id = "040000 tree", repo.tree(entries)
    repo.git("update-ref", "refs/heads/bomb", repo.git("commit-tree", id, "-m", "bomb"))
    with pytest.raises(Invalid, match="more than 2000000 files"):
        await world.files(f"{base}/x.git#bomb")


async def test_a_small_repository_with_endless_names(world: World, base: str) -> None:
    """A name of millions of bytes, and paths of many names: no system call takes them."""
    repo = world.repository()
    repo.commit({"f": ""})
    blob = repo.git("rev-parse", "HEAD:f")
    for branch, name in (("name", "n" * (16 << 20)), ("path", "/".join(["n" * 200] * 1000))):
        kind, id = "100644 blob", blob
        for part in reversed(name.split("/")):
            kind, id = "040000 tree", repo.tree(f"{kind} {id}\t{part}\n")
        repo.git("update-ref", f"refs/heads/{branch}", repo.git("commit-tree", id, "-m", branch))
        with pytest.raises(Invalid, match="the repository has a path of more than 4095 bytes"):
            await world.files(f"{base}/x.git#{branch}")


async def test_a_server_with_many_names(world: World) -> None:
    """One that gives no commit alone: what else it has a name for takes no file here."""
    repo = world.repository()
    first = repo.commit({"f": "1"})
    for number in range(50):
        repo.git("update-ref", f"refs/heads/b{number}", first)
        repo.git("update-ref", f"refs/tags/t{number}", first)
    repo.commit({"f": "2"})
    with web(world.srv, dumb=True) as server:
        found = await world.files(f"{server.url}/x.git/.git#{first}", keep=True)
        tagged = await world.files(f"{server.url}/x.git/.git#refs/tags/t7", keep=True)
    assert found["f"] == tagged["f"] == "1" and ".git/packed-refs" not in found
    assert [name for name in found if name.startswith(".git/refs/")] == []
    assert [name for name in tagged if name.startswith(".git/refs/")] == [".git/refs/tags/t7"]


async def test_the_machine_is_not_seen(world: World, base: str) -> None:
    """A repository on the machine itself has no address: not by its path, not by a redirect of a setting."""
    (world.repository("secret.git")).commit({"s": "1"})
    repo = world.repository()
    repo.commit({".gitmodules": f'[submodule "m"]\n\tpath = m\n\turl = ../../../../..{world.srv}/secret.git\n'})
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},m")
    repo.git("commit", "-q", "-m", "more")
    with pytest.raises(CortenError):
        await world.files(f"{base}/x.git")


# ------------------------------------------------------------------------------------------------------ hostile servers


@pytest.mark.parametrize("scheme", ["git", "http"])
async def test_a_server_that_stalls(world: World, scheme: str, base: str) -> None:
    world.repository().commit({"f": "1"})
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/x.git"
        world.git = world.impatient()

        async def stalls(ref: str) -> None:
            with pytest.raises(Unavailable, match="nothing was heard of the other side for 500ms"):
                await world.files(address + ref)

        def work(ref: str) -> None:
            asyncio.run_coroutine_threadsafe(stalls(ref), loop).result()

        def beside() -> None:
            """A server that does not stall, as a git of this machine asks it."""
            subprocess.run(["git", "ls-remote", "-q", f"{base}/x.git"], check=True, stdout=subprocess.DEVNULL)

        for ref in ("", "#" + "a" * 40):
            took, _ = await asyncio.to_thread(longer, partial(work, ref), beside)
            assert took < 10
    assert processes(world.launcher) == []


async def test_a_build_that_ends_meanwhile(world: World) -> None:
    """Nothing runs, and nothing is left, when the call has ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        work = asyncio.ensure_future(world.files(f"git://127.0.0.1:{server.getsockname()[1]}/x.git#{'a' * 40}"))
        connection, _ = await asyncio.get_running_loop().sock_accept(server)
        with connection:
            assert any("fetch" in each for each in processes(world.launcher))
            work.cancel()
            await asyncio.wait({work})
            assert processes(world.launcher) == [] and os.listdir(world.root / "contexts") == []


async def test_what_is_no_git_server(world: World) -> None:
    with web(world.srv, dumb=True) as server:
        (world.srv / "index.html").write_text("hello")
        with pytest.raises(Failed, match=r"failed to fetch remote http://\S+/nope.git: fatal: repository .* not found"):
            await world.files(f"{server.url}/nope.git")
    with pytest.raises(Failed, match=r"failed to fetch remote git://127\.0\.0\.1:1/x"):
        await world.files("git://127.0.0.1:1/x")


async def test_a_redirect_gets_no_credentials(world: World) -> None:
    """git sends the header of an address to wherever that leads. Without one, redirects are followed."""
    (world.repository()).commit({"f": "1"})
    with web(world.srv) as server, web(world.srv) as elsewhere:
        server.moved = elsewhere.url
        assert await world.files(f"{server.url}/x.git") == {"f": "1"}
        world.client.secrets = {"GIT_AUTH_TOKEN": b"t0ken"}
        elsewhere.asked.clear()
        for address in (f"{server.url}/x.git", f"{server.url.replace('//', '//user:pass@')}/x.git"):
            with pytest.raises(Failed, match=r"returned error: 302 \(a redirect is not followed"):
                await world.files(address)
        assert server.asked[-1].startswith("basic ") and elsewhere.asked == []
