"""RUN --mount on a daemon's own rooms: what a step sees, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from build_world import BuildWorld, NoClient
from corten.build.contract import Bind, CacheMount, Limits, RunStep, SourceTree, StageTree
from corten.errors import Conflict, Forbidden, Invalid, NotFound
from corten.spec.dockerfile.mounts import SecretMount, SshMount, TmpfsMount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the runtime needs root")


@pytest.fixture(scope="module", params=["overlay2", "copy"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildWorld]:
    world = BuildWorld(tmp_path_factory.mktemp("build"), "--storage-driver", request.param)
    yield world
    world.close()


def test_binds(world: BuildWorld) -> None:
    context = world.context("binds")
    (context.directory / "d").mkdir()
    (context.directory / "d/f").write_text("content")
    mounts = (Bind("/a", context), Bind("/b/c", context, "/d/f"), Bind("/tree", world.stage(*world.base), "/bin"))
    script = "cat /a/d/f /b/c; ls -d /tree/sh; touch /a/x || echo read-only; touch /tree/x || echo read-only"
    layer, said = world.run(script, mounts=mounts)
    assert [line for line in said.splitlines() if not line.startswith("touch")] == [
        "contentcontent/tree/sh", "read-only", "read-only",
    ]  # fmt: skip
    assert layer.blob is None
    assert world.left() == []


@pytest.mark.parametrize("kind", ["context", "stage"])
def test_what_is_written_to_a_bind_vanishes(world: BuildWorld, kind: str) -> None:
    context = world.context(f"writable-{kind}")
    (context.directory / "f").write_text("old")
    added, _ = world.run("echo old > /f; mkdir /sub; echo old > /sub/f")
    tree = context if kind == "context" else world.stage(*world.base, added.diff_id)
    mounts = (Bind("/m", tree, writable=True), Bind("/other", tree, writable=True))
    layer, said = world.run(
        "echo new > /m/f; echo more > /m/g; cat /m/f /m/g; cat /other/f; ls /other/g; true", mounts=mounts
    )
    assert [line for line in said.splitlines() if not line.startswith("ls:")] == ["new", "more", "old"]
    assert "No such file" in said
    assert layer.blob is None
    assert (context.directory / "f").read_text() == "old"
    assert world.left() == []


def test_what_is_deeper_than_a_path_can_be_vanishes(world: BuildWorld) -> None:
    tree = world.context("deep")
    deep = "cd /m; i=0; while [ $i -lt 3000 ]; do mkdir d; cd d; i=$((i+1)); done"
    world.run(deep, mounts=(Bind("/m", tree, writable=True),))
    assert world.left() == []
    caches = world.work.caches
    world.run(deep, mounts=(CacheMount("/m", "deep"),))
    (cache,) = [each for each in world.do(caches.every()) if each.id == "deep"]
    world.do(caches.remove(cache.name))
    assert "deep" not in [each.id for each in world.do(caches.every())]


def test_nothing_at_all_is_an_empty_directory(world: BuildWorld) -> None:
    _, said = world.run("ls -A /m; echo end", mounts=(Bind("/m", StageTree(None)),))
    assert said == "end\n"


def test_a_cache_outlives_its_step(world: BuildWorld) -> None:
    context = world.context("seed")
    (context.directory / "s").mkdir()
    (context.directory / "s/begin").write_text("seed")
    mount = CacheMount("/c", "../../one", context, "/s", uid=5, gid=6, mode=0o700)
    layer, said = world.run("cat /c/begin; stat -c '%a %u %g' /c; echo 1 > /c/f", mounts=(mount,))
    assert said == "seed700 5 6\n"
    assert layer.blob is None
    _, said = world.run("cat /elsewhere/f; echo 2 > /c/f; cat /elsewhere/f",
                        mounts=(CacheMount("/elsewhere", "../../one"), CacheMount("/c", "../../one")))  # fmt: skip
    assert said == "1\n2\n"
    _, said = world.run("touch /c/x || echo no", mounts=(CacheMount("/c", "../../one", read_only=True),))
    assert "no" in said
    (found,) = [cache for cache in world.do(world.work.caches.every()) if cache.id == "../../one"]
    assert (found.bytes, found.in_use) == (6, False)
    world.do(world.work.caches.remove(found.name))
    assert "../../one" not in [cache.id for cache in world.do(world.work.caches.every())]
    with pytest.raises(NotFound):
        world.do(world.work.caches.remove("../../etc"))
    assert world.left() == []


async def _beside(world: BuildWorld, sharing: Any) -> bool:
    """Whether two steps have the same directory, at the same time where they do not have to wait for one another."""
    mount = CacheMount("/c", f"beside-{sharing}", sharing=sharing)
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        one = await world.work.caches.hold(mount, first)
        waiting = asyncio.ensure_future(world.work.caches.hold(mount, second))
        if sharing == "locked":
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            assert not done
            await first.aclose()
        return await asyncio.wait_for(waiting, 60) == one


def test_how_steps_share_a_cache(world: BuildWorld) -> None:
    assert world.do(_beside(world, "shared"))
    assert not world.do(_beside(world, "private"))
    assert world.do(_beside(world, "locked"))


def test_caches_that_are_seeded(world: BuildWorld) -> None:
    caches, mount = world.work.caches, CacheMount("/c", "seeded", uid=5, mode=0o700)

    async def fill(directory: Path) -> None:
        (directory / "f").write_text("seed")

    async def broken(directory: Path) -> None:
        await fill(directory)
        raise Invalid("it breaks off")

    async def race() -> None:
        with pytest.raises(Invalid, match="breaks off"):
            await caches.seed("seeded", broken, replace=False)
        assert not list((world.data / "build/cache").iterdir())
        await caches.seed("seeded", fill, replace=False)
        with pytest.raises(Conflict, match="there already"):
            await caches.seed("seeded", fill, replace=False)
        async with AsyncExitStack() as held:
            path = await caches.hold(mount, held)
            status = path.stat()
            assert (status.st_uid, status.st_mode & 0o7777, (path / "f").read_text()) == (5, 0o700, "seed")
            (path / "f").write_text("of a step")
            with pytest.raises(Conflict, match="in use"):
                await caches.seed("seeded", fill, replace=True)
            path.chmod(0o755)
            with caches.held("seeded") as same:
                assert (same / "f").read_text() == "of a step"
        async with AsyncExitStack() as held:  # what a step has made of it stays
            assert (await caches.hold(mount, held)).stat().st_mode & 0o7777 == 0o755
        await caches.seed("seeded", fill, replace=True)
        with caches.held("seeded") as replaced, pytest.raises(Conflict):
            assert (replaced / "f").read_text() == "seed"
            await caches.remove((await caches.every())[0].name)
        (interrupted := replaced.parent.parent / "1234567890/fs").mkdir(parents=True)
        caches.recover()
        assert not interrupted.parent.exists() and [each.id for each in await caches.every()] == ["seeded"]
        await caches.remove((await caches.every())[0].name)
        with pytest.raises(NotFound, match="no such cache: seeded"), caches.held("seeded"):
            pass

    for cache in world.do(caches.every()):
        world.do(caches.remove(cache.name))
    world.do(race())
    assert not list((world.data / "build/cache").iterdir())


def test_locked_caches_in_any_order(world: BuildWorld) -> None:
    """One id twice in a step, and two steps that name two ids the other way round."""
    first = [CacheMount(f"/{n}", id, sharing="locked") for n, id in enumerate(("p", "q", "p"))]
    second = [CacheMount(f"/{n}", id, sharing="locked") for n, id in enumerate(("q", "p"))]

    async def both() -> list[bytes]:
        said: list[bytes] = []
        steps = [
            RunStep(("/bin/sh", "-c", "echo x > /0/f; cat /0/f; sleep 0.1"), mounts=tuple(mounts))
            for mounts in (first, second)
        ]
        await asyncio.gather(
            *(world.worker.run(world.base, step, NoClient(), lambda _, data: said.append(data)) for step in steps)
        )
        return said

    assert world.do(asyncio.wait_for(both(), 60)) == [b"x\n", b"x\n"]
    _, said = world.run("cat /2/f", mounts=tuple(first))
    assert said == "x\n"


def test_a_tmpfs(world: BuildWorld) -> None:
    layer, said = world.run("echo x > /t/f; df -k /t | tail -1", mounts=(TmpfsMount("/t", 1 << 20),))
    assert said.split()[1] == "1024"
    assert layer.blob is None
    with pytest.raises(Invalid, match='invalid mount target "/"'):
        world.run("true", mounts=(TmpfsMount("/"),))


def test_secrets(world: BuildWorld) -> None:
    client = NoClient({"s1": b"s3cret"})
    mounts = (
        SecretMount("s1", "/run/secrets/s1"),
        SecretMount("s1", "/x/y", uid=5, gid=6, mode=0o444),
        SecretMount("s1", "", "TOKEN"),
        SecretMount("absent", "/run/secrets/absent", "ABSENT"),
    )
    script = "stat -c '%a %u %g' /run/secrets/s1 /x/y; cat /run/secrets/s1; echo; echo $TOKEN; ls /run/secrets; env"
    layer, said = world.run(script, mounts=mounts, client=client)
    assert said.startswith("400 0 0\n444 5 6\ns3cret\ns3cret\ns1\n")
    assert "ABSENT" not in said
    assert layer.blob is None
    with pytest.raises(NotFound, match="secret zz: not found"):
        world.run("true", mounts=(SecretMount("zz", "/run/secrets/zz", required=True),), client=client)
    assert world.left() == []
    world.work.rooms.trees.tree_store.drain()
    for path in world.data.rglob("*"):
        assert not path.is_file() or path.is_symlink() or b"s3cret" not in path.read_bytes(), path


class Echo:
    """`corten.build.contract.Agent` that says what it hears."""

    async def connect(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(fileno=fd) as connection:
            connection.setblocking(False)
            while data := await loop.sock_recv(connection, 1000):
                await loop.sock_sendall(connection, data)


async def _through(world: BuildWorld, agent: Echo) -> tuple[str, bytes]:
    """What a step says of the socket, and what came back through it: busybox cannot connect to one, so this process
    does, while the step waits."""
    said: list[bytes] = []
    client = NoClient(agents={"default": agent})
    mounts = (SshMount("default", "/run/buildkit/ssh_agent.0", uid=7, mode=0o600), SshMount("absent", "/nowhere"))
    script = "stat -c '%a %u %F' $SSH_AUTH_SOCK; ls /nowhere; cat /fifo/f"
    fifo = world.root / "fifo"
    fifo.mkdir()
    os.mkfifo(fifo / "f")
    step = RunStep(("/bin/sh", "-c", script), mounts=(*mounts, Bind("/fifo", SourceTree("fifo", fifo))))
    running = asyncio.ensure_future(world.worker.run(world.base, step, client, lambda _, data: said.append(data)))
    writer = await asyncio.to_thread(os.open, fifo / "f", os.O_WRONLY)  # once the step is there
    (path,) = [path for path in world.work.rooms.memory.rglob("*") if path.is_socket()]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        connection.connect(str(path))
        await asyncio.get_running_loop().sock_sendall(connection, b"hello")
        heard = await asyncio.get_running_loop().sock_recv(connection, 100)
    os.close(writer)
    assert (await running).blob is None
    return b"".join(said).decode(), heard


def test_an_agent(world: BuildWorld) -> None:
    said, heard = world.do(_through(world, Echo()))
    assert "600 7 socket" in said
    assert heard == b"hello"
    with pytest.raises(NotFound, match="no SSH key"):
        world.run("true", mounts=(SshMount("absent", "/x", required=True),))
    assert world.left() == []


def test_files_of_the_dockerfile(world: BuildWorld) -> None:
    files = {"/dev/pipes/EOF": b"#!/bin/sh\necho from a file\n"}
    layer, said = world.run("/dev/pipes/EOF", files=files)
    assert said == "from a file\n"
    assert layer.blob is None


def test_environment_and_files_of_a_step(world: BuildWorld) -> None:
    step = {"env": ("A=1",), "cwd": "/made/here", "hosts": ("x:192.0.2.7",)}
    layer, said = world.run(
        "env; hostname; pwd; cat /etc/hosts; echo y >> /etc/hosts; grep Cap /proc/self/status", **step
    )
    lines = said.splitlines()
    assert "A=1" in lines
    assert not [line for line in lines if line.startswith("HOSTNAME=")]
    assert "HOME=/root" in lines
    assert "buildkitsandbox" in lines
    assert "/made/here" in lines
    assert any(line.split() == ["192.0.2.7", "x"] for line in lines)
    assert "CapEff:\t00000000a80425fb" in lines
    assert [line.split()[-1] for line in world.files(layer)] == ["made/", "made/here/"]


def test_a_step_can_write_to_nothing_in_the_memory_of_the_machine(world: BuildWorld) -> None:
    """As much as it likes into /etc/hosts, say, which filled the host's /run or /dev/shm."""
    files = {"/dev/pipes/EOF": b"#!/bin/sh\ncat /proc/self/mountinfo\n"}
    said = world.run(
        "/dev/pipes/EOF", files=files, mounts=(SecretMount("s1", "/run/s"),), client=NoClient({"s1": b"s"})
    )[1]
    device = os.stat(world.work.rooms.memory.parent).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    own = [line.split() for line in said.splitlines() if line.split()[2] == number]
    assert [(fields[4], fields[5].split(",")[0]) for fields in own] == [("/run/s", "ro")]


def test_output_that_waits_lies_on_the_disk(world: BuildWorld) -> None:
    """Up to 1 GiB of what a step writes faster than it is read was in memory that the whole machine shares."""
    found: list[str] = []

    def slow(_stream: int, _data: bytes) -> None:
        if not found:
            found.append(_waiting(world.data))

    step = RunStep(("/bin/sh", "-c", "head -c 8000000 /dev/zero"))
    world.do(world.worker.run(world.base, step, NoClient(), slow))
    assert len(found) == 1


def _waiting(data: Path) -> str:
    """The file below `data` in which a supervisor keeps output: other supervisors may have one elsewhere."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # others end meanwhile
                if b"supervisor for" in (process / "cmdline").read_bytes():
                    links = [os.readlink(entry) for entry in (process / "fd").iterdir()]
                    if ours := [link for link in links if link.startswith(f"{data}/") and "/#" in link]:
                        return ours[0]
    raise AssertionError(f"no supervisor keeps output in a file below {data}")


def test_users(world: BuildWorld) -> None:
    assert world.run("id -u; id -g", user="5:6")[1] == "5\n6\n"
    with pytest.raises(Invalid, match="unable to find user nosuch: no matching entries in passwd file"):
        world.run("true", user="nosuch")
    assert world.left() == []


def test_networks(world: BuildWorld) -> None:
    assert "eth0" in world.run("ip -o link")[1]
    assert "eth0" not in world.run("ip -o link", network="none")[1]
    with pytest.raises(Forbidden, match=r"network\.host is not allowed"):
        world.run("true", network="host")
    with pytest.raises(Forbidden, match=r"security\.insecure is not allowed"):
        world.run("true", insecure=True)
    with pytest.raises(NotFound):
        world.run("true", network="nosuch")
    lease = world.store.leases.hold()
    with lease as held:
        mine, world.worker = world.worker, world.work.worker(held, ["network.host", "security.insecure"])
        try:
            assert world.name in world.run("ip -o link", network="host")[1]
            assert "00000000a80425fb" not in world.run("grep CapEff /proc/self/status", insecure=True)[1]
        finally:
            world.worker = mine
    assert world.left() == []


def test_limits(world: BuildWorld) -> None:
    limits = Limits(ulimits=(("nofile", 77, 88),), shm_size=1 << 20)
    _, said = world.run("ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1", limits=limits)
    assert said.split()[:2] == ["77", "88"]
    assert said.split()[3] == "1024"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(memory=5 << 20), "Minimum memory limit allowed is 6MB"),
        (Limits(memory=100 << 20, memory_swap=50 << 20), "Minimum memoryswap limit should be larger than memory limit"),
        (Limits(memory_swap=10 << 20), "You should always set the Memory limit when using Memoryswap limit"),
        (Limits(cpu_period=5), "CPU cfs period can not be less than 1ms"),
        (Limits(cpu_quota=5), "CPU cfs quota can not be less than 1ms"),
        (Limits(cpu_shares=-1), "shares: invalid argument"),
        (Limits(cpuset_cpus="8000"), "Requested CPUs are not available"),
        (Limits(cpuset_mems="x"), "Invalid value x for cpuset mems"),
    ],
)
def test_limits_that_no_container_could_have(world: BuildWorld, limits: Limits, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        world.run("true", limits=limits)
    assert world.left() == []
