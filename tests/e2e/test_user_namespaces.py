"""userns-remap: root in a container is an unprivileged user on the host."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import foreign
from e2e_parts import census, host_inodes
from e2e_parts.clients import Client, Done, available, execute
from e2e_parts.cortend import CORTEND, IMAGE, Cortend
from e2e_parts.host_inodes import ITS_OWN, Box

FIRST = 100_000


@pytest.fixture(scope="module")
def remapped() -> Iterator[Cortend]:
    if not (Path("/etc/subuid").exists() and Path("/etc/subgid").exists()):
        pytest.skip("no /etc/subuid and /etc/subgid (Debian package passwd)")
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    root.chmod(0o755)
    (root / "ids").write_text(f"root:{FIRST}:65536\n")
    # its own view of the two files, not the machine's
    script = f'for name in subuid subgid; do mount --bind {root}/ids /etc/$name || exit 1; done; exec "$@"'
    program = ["unshare", "-m", "sh", "-c", script, "sh", str(CORTEND)]
    daemon = Cortend(root, "--userns-remap", "root", program=program)
    try:
        daemon.start()
        daemon.data /= f"{FIRST}.{FIRST}"
        daemon.warm_up({"UsernsMode": "host"})
        daemon.warm_up()
        yield daemon
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def client(remapped: Cortend) -> Iterator[Client]:
    known = available()
    before = census.settled(remapped)
    client = Client("docker", known.get("docker", known["corten"]), remapped.address, remapped.root)
    yield client
    client.close()
    remapped.remove_everything()
    left = census.difference(before, remapped)
    assert not left, left


def inside(client: Client, *flags: str, script: str) -> str:
    return client("run", "--rm", *flags, IMAGE, "sh", "-c", script).out.strip()


def test_root_is_mapped(client: Client) -> None:
    files = "stat -c %u /bin/busybox /etc/hosts /proc/1; touch /x && stat -c %u /x"
    lines = inside(client, script=f"id -u; cat /proc/self/uid_map; {files}").splitlines()
    assert lines[0] == "0" and lines[1].split() == ["0", str(FIRST), "65536"]
    assert set(lines[2:]) == {"0"}


def test_the_host_sees_the_mapped_ids(client: Client, remapped: Cortend) -> None:
    client("run", "-d", "--name", "seen", "-v", "vol:/v", IMAGE, "sh", "-c", "touch /made /v/made; sleep 1000")
    client("exec", "seen", "sh", "-c", "until test -e /v/made; do sleep 0.01; done")
    pid = client.out("inspect", "-f", "{{.State.Pid}}", "seen")
    assert Path(f"/proc/{pid}").stat().st_uid == FIRST
    assert Path(f"/proc/{pid}/root/made").stat().st_uid == FIRST
    source = client.out("inspect", "-f", "{{(index .Mounts 0).Source}}", "seen")
    assert Path(source, "made").stat().st_uid == FIRST
    assert client.out("exec", "seen", "id", "-u") == "0"
    assert client.out("exec", "-u", "1000", "seen", "id", "-u") == "1000"


def test_new_volumes_belong_to_the_mapped_root(client: Client, remapped: Cortend) -> None:
    script = "stat -c %u /etc /etc/passwd; touch /etc/x && echo ok"
    assert inside(client, "-v", "fresh:/etc", script=script).split() == ["0", "0", "ok"]


def test_published_ports_and_limits(client: Client) -> None:
    flags = ["-m", "64m", "-p", "127.0.0.1::80"]
    script = "echo hi >/tmp/index.html; exec httpd -f -h /tmp"
    client("run", "-d", "--name", "web", *flags, IMAGE, "sh", "-c", script)
    port = client.out("port", "web", "80").rpartition(":")[2]
    client("exec", "web", "sh", "-c", "until wget -q -O - http://127.0.0.1/; do sleep 0.02; done")
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read() == b"hi\n"


def test_userns_host(client: Client) -> None:
    assert inside(client, "--userns", "host", script="cat /proc/self/uid_map").split()[:2] == ["0", "0"]
    assert inside(client, "--userns", "host", "--privileged", script="id -u") == "0"


def test_what_does_not_go_with_it(client: Client) -> None:
    for flag in (["--privileged"], ["--network", "host"], ["--pid", "host"]):
        done = client("run", "--rm", *flag, IMAGE, "true", code=125)
        assert "user namespace" in done.err or "namespace" in done.err


def test_an_init(client: Client) -> None:
    done = client("run", "--rm", "--init", "-u", "1000", IMAGE, "sh", "-c", "cat /proc/1/comm; exit 3", code=3)
    assert done.out == "docker-init\n"


def test_a_terminal_and_devices(client: Client) -> None:
    assert inside(client, "-t", script="tty") == "/dev/pts/0"
    assert inside(client, script="echo x > /dev/null; head -c1 /dev/zero | wc -c") == "1"


def test_the_data_root_is_apart(remapped: Cortend) -> None:
    """A daemon that remaps and one that does not have different files, as with dockerd."""
    shown = remapped.get("/info")["DockerRootDir"]
    assert shown == str(remapped.data)
    assert Path(shown).is_dir()


def tar_owners(data: bytes) -> dict[str, tuple[int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name.rstrip("/"): (member.uid, member.gid) for member in tar}


def test_commit_export_and_cp_speak_of_the_containers_ids(client: Client, remapped: Cortend, tmp_path: Path) -> None:
    script = "touch /f /other; chown 5:6 /other; mkdir /d; chown 1000:1000 /d; chmod 600 /etc/passwd"
    client("run", "--name", "wrote", IMAGE, "sh", "-c", script)
    expected = {"f": (0, 0), "other": (5, 6), "d": (1000, 1000), "etc/passwd": (0, 0), "bin/busybox": (0, 0)}
    execute([*client.command, "export", "-o", str(tmp_path / "tar"), "wrote"], env=client.env)
    found = tar_owners((tmp_path / "tar").read_bytes())
    assert {name: found[name] for name in expected} == expected
    (tmp_path / "in").write_text("copied in\n")
    client("cp", str(tmp_path / "in"), "wrote:/in")
    client("cp", "wrote:/other", str(tmp_path / "out"))
    assert client.out("diff", "wrote").splitlines() == ["A /d", "C /etc", "C /etc/passwd", "A /f", "A /in", "A /other"]
    client("commit", "wrote", "mapped:1")
    try:
        shown = client.out("run", "--rm", "mapped:1", "sh", "-c", "stat -c %u:%g /f /other /d /etc/passwd /in")
        assert shown.split() == ["0:0", "5:6", "1000:1000", "0:0", "0:0"]
        plain = client.out("run", "--rm", "--userns", "host", "mapped:1", "sh", "-c", "stat -c %u:%g /f /other /d")
        assert plain.split() == ["0:0", "5:6", "1000:1000"]
    finally:
        client("rm", "wrote")
        client("rmi", "mapped:1")


def test_nothing_of_the_host_can_be_changed(client: Client) -> None:
    """Its devices are the host's nodes, bound: read-only, or a process that may write to one could set its times."""
    with host_inodes.kept():
        box = Box(client, "--device", "/dev/full")
        assert {"/dev/null", "/dev/full", *ITS_OWN} <= set(box.before)
        assert box.run() == []
        for how in ((), ("-t",), ("-u", "1000")):
            assert (how, box.exec(*how)) == (how, [])


def test_a_device_at_another_path_is_that_device(client: Client, tmp_path: Path) -> None:
    """And never what the host happens to have at the path: another device, or a file."""
    (tmp_path / "file").write_text("the host's")
    for path in ("/dev/other", "/dev/zero", f"{tmp_path}/file", f"{tmp_path}/device"):
        flags = ["--rm", "--device", f"/dev/full:{path}", IMAGE]
        assert client.out("run", *flags, "stat", "-c", "%F %t:%T", path) == "character special file 1:7"
        assert "No space left" in client("run", *flags, "sh", "-c", f"echo x > {path}", code=1).err


def test_another_container_s_network_can_be_shared(client: Client) -> None:
    """Its user namespace comes with it: that one owns the other."""
    client("run", "-d", "--name", "first", IMAGE, "sleep", "1000")
    out = inside(client, "--network", "container:first", script="cat /proc/self/uid_map").split()
    assert out[:3] == ["0", str(FIRST), "65536"]
    client("run", "-d", "--name", "second", "--network", "container:first", IMAGE, "sleep", "1000")
    client("restart", "-t", "0", "first")
    shown = [client("exec", name, "ip", "-o", "-4", "addr").out for name in ("first", "second")]
    assert shown[0] == shown[1] and "eth0" in shown[0]
    client("rm", "-f", "first", "second")


def test_a_working_directory_that_is_made_belongs_to_the_container_s_root(remapped: Cortend, client: Client) -> None:
    id = client.out("create", "-w", "/new/dir", IMAGE, "stat", "-c", "%u %a", "/new", "/new/dir")
    assert client.out("diff", id).splitlines() == ["A /new", "A /new/dir"]
    assert client.out("start", "-a", id).splitlines() == ["0 755", "0 755"]


def test_the_host_mounts_what_a_user_namespace_may_not(remapped: Cortend, client: Client) -> None:
    client("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=1777", "ram")
    flags = ["-v", "ram:/data", "--mount", f"type=image,src={IMAGE},dst=/image"]
    client("run", "-d", "--name", "one", *flags, IMAGE, "sh", "-c", "echo said > /data/f; exec sleep 1000")
    look = "until cat /data/f; do sleep 0.05; done; stat -c %u /data/f; ls /image/bin/busybox"
    assert client.out("run", "--rm", *flags, IMAGE, "sh", "-c", look).splitlines() == [
        "said",
        "0",
        "/image/bin/busybox",
    ]


def test_programs_of_another_machine(client: Client, tmp_path: Path) -> None:
    """Their emulator is registered for the container's own user namespace alone."""
    foreign.need("arm64")
    (tmp_path / "tar").write_bytes(foreign.layer("arm64"))
    image = client.out("import", "--platform", "linux/arm64", "-c", 'CMD ["/hello"]', str(tmp_path / "tar"), "f:1")
    flags = ("-v", "/bin/busybox:/busybox:ro", "--name", "box")
    try:
        client("run", "-d", *flags, image, "/busybox", "sleep", "1000")
        assert client.out("exec", "box", "/hello") == "arm64"
        with pytest.raises(OSError, match="Exec format error"):
            subprocess.run([f"/proc/{client.out('inspect', '-f', '{{.State.Pid}}', 'box')}/root/hello"])
    finally:
        client("rm", "-f", "box")
        client("rmi", image)


# --------------------------------------------------------------------------------------------------------------- builds

STEPS = """
FROM {image} AS first
RUN --mount=type=cache,target=/cache --mount=type=secret,id=s,uid=7,gid=8 --mount=type=bind,target=/context \\
    id -u > /who && cat /proc/self/uid_map > /map && touch /mine && chown 1000:1001 /mine && \\
    touch /set && chmod 4755 /set && mkdir /d && ln /set /d/again && \\
    stat -c %u:%g /run/secrets/s > /secret && stat -c %u:%g /context/given > /given && \\
    touch /cache/made && chown 5 /cache/made && stat -c %u /cache >> /given
FROM first AS base
RUN --mount=type=cache,target=/cache --mount=type=bind,from=first,target=/base,rw \\
    stat -c %u:%g:%a /mine /set /d /d/again /cache/made /base/mine > /seen && touch /base/x && rm /who
FROM {image}
COPY --from=base / /from
COPY --chown=3:4 given /given
RUN stat -c %u:%g:%a /from/mine /from/set /given > /copied && chown 9 /given
"""


@pytest.fixture
def built(client: Client, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "given").write_text("given")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "Dockerfile").write_text(STEPS.format(image=IMAGE))
    try:
        own(client, "build", "-t", "mapped", "--secret", f"id=s,src={tmp_path}/secret", str(tmp_path))
        yield tmp_path
    finally:
        own(client, "image", "rm", "-f", "mapped", code=None)
        own(client, "builder", "prune", "--all", "--force")


def own(client: Client, *arguments: str, code: int | None = 0) -> Done:
    """By Corten's command line, which builds whatever the other one is."""
    return Client("corten", available()["corten"], client.address, client.config)(*arguments, code=code)


def test_a_build_in_a_user_namespace(client: Client, built: Path, remapped: Cortend) -> None:
    text = inside_image(client, "cat /from/map /from/secret /from/given /from/seen /copied; stat -c %u:%g:%a /given")
    first, *rest = text.splitlines()
    assert first.split() == ["0", str(FIRST), "65536"]
    assert rest[:3] == ["7:8", "0:0", "0"]
    assert rest[3:9] == [
        "1000:1001:644", "0:0:4755", "0:0:755", "0:0:4755", "5:0:644", "1000:1001:644",
    ]  # fmt: skip
    assert rest[9:] == ["1000:1001:644", "0:0:4755", "3:4:644", "9:4:644"]


def inside_image(client: Client, script: str) -> str:
    return client("run", "--rm", "mapped", "sh", "-c", script).out.strip()


def test_layers_and_outputs_have_the_ids_inside(client: Client, built: Path, remapped: Cortend) -> None:
    """As those of a build without a namespace have them: on the disk, in the archive, and in what is exported."""
    trees = remapped.data / "snapshots"  # beside those that are being erased
    names = [name for name in census.below(trees) if name.endswith("/mine") and not name.startswith(".trash/")]
    snapshots = [path for path in map(trees.joinpath, names) if path.is_file()]
    assert snapshots and {(path.stat().st_uid, path.stat().st_gid) for path in snapshots} == {(1000, 1001)}
    (made,) = (remapped.data / "build/cache").rglob("made")
    assert made.stat().st_uid == 5
    own(client, "build", "--secret", f"id=s,src={built}/secret", "-o", f"type=tar,dest={built}/out.tar", str(built))
    with tarfile.open(built / "out.tar") as tar:
        members = {member.name.removeprefix("./"): member for member in tar}
    assert (members["from/mine"].uid, members["from/mine"].gid, members["from/set"].mode) == (1000, 1001, 0o4755)
    assert (members["given"].uid, members["given"].gid) == (9, 4)
    assert not [name for name, member in members.items() if member.uid >= FIRST or member.gid >= FIRST]


def test_a_step_asks_for_what_a_mapped_root_has_not(client: Client, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nRUN true\n")
    done = own(client, "build", "--network", "host", str(tmp_path), code=None)
    assert done.code and "cannot share the host's network namespace when user namespaces are enabled" in done.err
