"""cp, diff, export, commit: a container's file tree from outside, running and stopped."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend
from fault_parts.fragile import until

pytestmark = pytest.mark.usefixtures("no_images_left")


CHANGE = (
    "echo new > /etc/new; echo x >> /etc/passwd; rm /etc/group; mkdir -p /opt/a/b; ln -s /etc/passwd /opt/l;"
    "echo 1 > /opt/one; ln /opt/one /opt/two; rm -rf /var/spool; mkdir /var/spool; touch /var/spool/kept;"
    "chmod 4755 /opt/one"
)
CHANGES = {
    "C /etc", "A /etc/new", "C /etc/passwd", "D /etc/group", "A /opt", "A /opt/a", "A /opt/a/b", "A /opt/l",
    "A /opt/one", "A /opt/two", "C /var", "D /var/spool/mail", "A /var/spool/kept",
}  # fmt: skip


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_diff(cli: Client, running: bool) -> None:
    cli("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    assert cli.out("diff", "box") == ""
    cli("exec", "box", "sh", "-c", CHANGE)
    if not running:
        cli("stop", "-t", "0", "box")
    found = set(cli.out("diff", "box").splitlines())
    assert found - {"C /var/spool"} == CHANGES
    assert "No such container" in cli("diff", "nosuch", code=1).err


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_export(cli: Client, tmp_path: Path, running: bool) -> None:
    cli("run", "-d", "--name", "box", "-v", "vol:/data", IMAGE, "sleep", "1000")
    cli("exec", "box", "sh", "-c", CHANGE + "; echo secret > /data/in-volume")
    if not running:
        cli("stop", "-t", "0", "box")
    cli("export", "-o", str(tmp_path / "t.tar"), "box")
    with tarfile.open(tmp_path / "t.tar") as tar:
        members = {member.name: member for member in tar}
        assert "etc/group" not in members and "data/in-volume" not in members
        assert members["data"].isdir() and members["proc"].isdir() and not [n for n in members if n.startswith("proc/")]
        assert members["opt/two"].islnk() and members["opt/two"].linkname == "opt/one"
        assert members["opt/one"].mode == 0o4755 and members["opt/l"].linkname == "/etc/passwd"
        assert tar.extractfile("etc/new").read() == b"new\n"  # type: ignore[union-attr]
    assert execute(["tar", "tf", str(tmp_path / "t.tar")]).code == 0


def test_copying_the_whole_tree_of_a_running_container(daemon: Cortend, docker: Client, tmp_path: Path) -> None:
    """As with dockerd: /proc, /sys and /dev are there, and what the kernel shows in them is not. What the user has put
    into the tree is: a volume, a bind, a file system in memory."""
    bound = tmp_path / "file"
    bound.write_text("bound")
    mounts = ["-v", "vol:/data", "-v", f"{tmp_path}:/bound", "--tmpfs", "/memory"]
    script = "echo in > /data/in; echo in > /memory/in; mkdir -p /opt/dev /opt/proc; echo in > /opt/dev/in; sleep 1000"
    docker("run", "-d", "--name", "box", *mounts, IMAGE, "sh", "-c", script)
    until(lambda: docker("exec", "box", "test", "-e", "/opt/dev/in", code=None).code == 0, "it has written")
    for path, within in (("/", "/"), ("/.", "./"), ("/proc", "proc/"), ("/sys/kernel", "kernel/")):
        with daemon.connection() as http:
            http.request("GET", f"/containers/box/archive?path={path}")
            data = http.getresponse().read()
        assert data.endswith(bytes(1024)), "a whole tar has an end"
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = {member.name.removeprefix("./").strip("/") for member in tar}
        if path in ("/", "/."):
            assert {
                "proc",
                "sys",
                "dev",
                "data/in",
                "memory/in",
                f"bound/{bound.name}",
                "opt/dev/in",
                "opt/proc",
                "bin/busybox",
            } <= names
            assert not [name for name in names if name.startswith(("proc/", "sys/", "dev/"))]
        else:
            assert names == {within.strip("/")}


def test_commit(cli: Client, daemon: Cortend) -> None:
    cli("run", "-d", "--name", "box", "-e", "A=1", IMAGE, "sleep", "1000")
    cli("exec", "box", "sh", "-c", CHANGE)
    flags = ["-a", "Ann", "-m", "a message", "-c", 'CMD ["cat","/etc/new"]', "-c", "ENV B=2", "-c", "LABEL l=v"]
    id = cli.out("commit", *flags, "box", "made:1")
    assert cli.out("inspect", "-f", "{{.State.Status}}", "box") == "running"
    assert cli.out("run", "--rm", "made:1") == "new"
    look = "ls -d /etc/group /var/spool/mail 2>/dev/null; ls /var/spool; readlink /opt/l"
    look += "; stat -c '%a %h' /opt/two; echo $A$B"
    assert cli.out("run", "--rm", "made:1", "sh", "-c", look).split() == ["kept", "/etc/passwd", "4755", "2", "12"]
    shown = daemon.get("/images/made:1/json")
    assert (shown["Id"], shown["Author"], shown["Comment"]) == (id, "Ann", "a message")
    assert shown["Config"]["Labels"] == {"l": "v"} and len(shown["RootFS"]["Layers"]) == 2
    assert daemon.get("/images/made:1/history")[0]["Comment"] == "a message"
    # A second commit of the same container stands on the same image below.
    cli("commit", "box", "made:2")
    cli("rm", "-f", "box")
    assert cli.out("run", "--rm", "made:2", "cat", "/etc/new") == "new"
    assert "is not a valid change" in cli("commit", "-c", "FROM x", cli.out("create", IMAGE), code=1).err


def test_changes_of_a_commit(cli: Client, daemon: Cortend) -> None:
    """Variables are the container's; the image says which one it was made on."""
    cli("create", "--name", "box", "-e", "PATH=/bin:/sbin", "-e", "DIR=/opt", IMAGE, "true")
    changes = ["ENV PATH=/x:$PATH", "WORKDIR $DIR/a/../b", "EXPOSE 90-92 80/udp", "USER ${WHO:-7}"]
    id = cli.out("commit", *[word for change in changes for word in ("-c", change)], "box", "made:1")
    shown = daemon.get("/images/made:1/json")
    assert shown["Parent"] == daemon.get(f"/images/{IMAGE}/json")["Id"]
    assert sorted(shown["Config"]["ExposedPorts"]) == ["80/udp", "90/tcp", "91/tcp", "92/tcp"]
    assert shown["Config"]["WorkingDir"] == "/opt/b"
    assert {row["Id"]: row["ParentId"] for row in daemon.get("/images/json")}[id] == shown["Parent"]
    assert cli.out("run", "--rm", "made:1", "sh", "-c", "echo $PATH $PWD; id -u").split() == [
        "/x:/bin:/sbin",
        "/opt/b",
        "7",
    ]


def test_where_trees_lie(docker: Client, daemon: Cortend) -> None:
    docker("run", "-d", "--name", "box", IMAGE, "sh", "-c", "echo mine > /mine; exec sleep 1000")
    docker("exec", "box", "sh", "-c", "until [ -s /mine ]; do :; done")
    driver = daemon.get("/containers/box/json")["GraphDriver"]
    image = daemon.get(f"/images/{IMAGE}/json")["GraphDriver"]
    assert driver["Name"] == image["Name"] == "overlay2"
    places = {name: Path(path) for name, path in driver["Data"].items()}
    assert sorted(places) == ["ID", "LowerDir", "MergedDir", "UpperDir", "WorkDir"]
    assert (places["UpperDir"] / "mine").read_text() == (places["MergedDir"] / "mine").read_text() == "mine\n"
    assert str(places["LowerDir"]) == image["Data"]["UpperDir"]
    assert os.listdir(places["UpperDir"]) == ["mine"] and (places["LowerDir"] / "bin/busybox").exists()
    docker("stop", "-t", "0", "box")
    assert sorted(daemon.get("/containers/box/json")["GraphDriver"]["Data"]) == [
        "ID",
        "LowerDir",
        "UpperDir",
        "WorkDir",
    ]


def test_commit_pauses_by_default(docker: Client, daemon: Cortend) -> None:
    docker("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    began = time.time()
    docker("commit", "-p=false", "box", "made:1")
    assert daemon.events(began, type="container", event=["pause"]) == []
    docker("commit", "box", "made:1")
    actions = [event["Action"] for event in daemon.events(began, type="container")]
    assert [a for a in actions if a in ("pause", "unpause", "commit")].count("pause") == 1
    assert docker.out("inspect", "-f", "{{.State.Paused}}", "box") == "false"


def test_commit_of_a_container_without_changes(docker: Client, daemon: Cortend) -> None:
    docker("create", "--name", "box", IMAGE, "true")
    docker("commit", "box", "same:1")
    assert daemon.get("/images/same:1/json")["RootFS"] == daemon.get(f"/images/{IMAGE}/json")["RootFS"]
    docker("run", "--rm", "same:1", "true")


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_cp(cli: Client, tmp_path: Path, running: bool) -> None:
    cli("run", "-d", "--name", "box", "-v", "vol:/data", IMAGE, "sleep", "1000")
    cli("exec", "box", "sh", "-c", CHANGE + "; echo v > /data/v; ln -s /data /var/data; mkfifo /opt/fifo")
    if not running:
        cli("stop", "-t", "0", "box")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "f").write_text("up")
    os.chmod(tmp_path / "up" / "f", 0o640)
    os.chown(tmp_path / "up" / "f", 7, 8)
    # in: directory into directory, to a new name, through an absolute link, into a volume, with `/.`
    cli("cp", f"{tmp_path}/up", "box:/opt")
    cli("cp", f"{tmp_path}/up", "box:/opt/renamed")
    cli("cp", f"{tmp_path}/up/f", "box:/var/data/from-link")
    cli("cp", f"{tmp_path}/up/.", "box:/data/")
    cli("cp", f"{tmp_path}/up/f", "box:opt/file*?[x]")  # CP-06: no glob
    # out: file, directory, directory's content, link and what it leads to, from a volume, by relative path
    out = tmp_path / "out"
    out.mkdir()
    cli("cp", "box:/opt/up/f", str(out / "f"))
    assert ((out / "f").read_text(), (out / "f").stat().st_mode & 0o777) == ("up", 0o640)
    cli("cp", "box:/opt", str(out))
    assert (out / "opt/renamed/f").read_text() == "up" and (out / "opt/one").samefile(out / "opt/two")
    cli("cp", "box:/opt/renamed/.", str(out / "content"))
    assert os.listdir(out / "content") == ["f"]
    cli("cp", "box:/opt/l", str(out / "link"))
    assert os.readlink(out / "link") == "/etc/passwd"
    cli("cp", "-L", "box:/opt/l", str(out / "followed"))
    assert "root:" in (out / "followed").read_text() and not (out / "followed").is_symlink()
    cli("cp", "box:data/from-link", str(out / "v"))
    assert sorted(_tar(cli, "box:/data")) == [
        "data", "data/f", "data/from-link", "data/v",
    ]  # fmt: skip
    assert (out / "v").read_text() == "up"
    assert "file*?[x]" in _tar(cli, "box:/opt/file*?[x]")
    # refused
    assert "Could not find the file /nosuch in container box" in cli("cp", "box:/nosuch", str(out), code=1).err
    cli("cp", f"{tmp_path}/up", "box:/etc/passwd", code=1)
    cli("cp", f"{tmp_path}/up/f", "box:/no/such/dir/", code=1)
    cli("cp", f"{tmp_path}/up/f", "box:/opt/up/f/", code=1)
    if not running:
        cli("start", "box")
    assert cli.out("exec", "box", "stat", "-c", "%u:%g %a", "/opt/up/f") == "7:8 640"
    assert cli.out("exec", "box", "cat", "/data/f", "/data/from-link") == "upup"


def _tar(client: Client, source: str) -> dict[str, tarfile.TarInfo]:
    process = client.popen("cp", source, "-")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        return {member.name: member for member in tar}


def test_cp_tar_from_stdin_and_owner(docker: Client) -> None:
    docker("create", "--name", "box", "-u", "daemon", IMAGE, "cat", "/tmp/x")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("x")
        info.size, info.uid = 2, 1234
        tar.addfile(info, io.BytesIO(b"hi"))
    docker("cp", "-", "box:/tmp", input=buffer.getvalue())
    assert docker.out("start", "-a", "box") == "hi"
    assert _tar(docker, "box:/tmp/x")["x"].uid == 1234
    docker("cp", "-a", "-", "box:/tmp", input=buffer.getvalue())
    assert _tar(docker, "box:/tmp/x")["x"].uid == 1


@pytest.mark.parametrize(
    ("passwd", "owner"),
    [
        ("1000:x:7:7::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n", "1000:1000"),
        ("1000:x:7:7::/:/bin/sh\n", "1000:0"),  # in no group, as its program
    ],
)
def test_cp_gives_what_is_the_program_s(cli: Client, tmp_path: Path, passwd: str, owner: str) -> None:
    """A line that is named like the number does not choose the owner (CVE-2016-3697)."""
    (tmp_path / "passwd").write_text(passwd)
    (tmp_path / "up").write_text("up")
    program = "echo $(id -u):$(id -g) $(stat -c %u:%g /tmp/up)"
    cli("create", "--name", "box", "-u", "1000", IMAGE, "sh", "-c", program)
    cli("cp", str(tmp_path / "passwd"), "box:/etc/passwd")
    cli("cp", "-a", str(tmp_path / "up"), "box:/tmp/up")
    assert cli.out("start", "-a", "box") == f"{owner} {owner}"


def test_cp_respects_what_is_read_only(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    cli("run", "-d", "--name", "box", "--read-only", "-v", "vol:/rw", "-v", "vol2:/ro:ro", IMAGE, "sleep", "1000")
    for _ in range(2):
        assert "read-only" in cli("cp", f"{tmp_path}/f", "box:/etc/", code=1).err
        assert "read-only" in cli("cp", f"{tmp_path}/f", "box:/ro/", code=1).err
        cli("cp", f"{tmp_path}/f", "box:/rw/")
        cli("stop", "-t", "0", "box")


def test_paths_that_cannot_be(daemon: Cortend, docker: Client) -> None:
    docker("create", "--name", "box", IMAGE, "true")
    assert daemon.ask("GET", "/containers/box/archive?path=")[0] == 400
    assert daemon.ask("GET", "/containers/box/archive?path=/etc/passwd/x")[0] == 400
    assert daemon.ask("GET", "/containers/box/archive?path=/" + "a/" * 3000)[0] == 400
    assert daemon.ask("HEAD", "/containers/box/archive?path=/nosuch")[0] == 404


def test_swap_while_copying(docker: Client, daemon: Cortend, tmp_path: Path) -> None:
    """CP-01: a container that exchanges a directory for a link to the outside reaches neither secret nor canary."""
    canary = tmp_path / "canary"
    canary.mkdir()
    (canary / "token").write_text("outside")
    swap = (
        "mkdir -p /w/d /w/real; echo inside > /w/d/token; while :; do mv /w/d /w/real/d; "
        f"ln -s {canary} /w/d; rm /w/d; ln -s /../../../../../../../..{canary} /w/d; rm /w/d; mv /w/real/d /w/d; done"
    )
    docker("run", "-d", "--name", "box", IMAGE, "sh", "-c", swap)
    until(lambda: docker("exec", "box", "test", "-d", "/w/real", code=None).code == 0, "it has begun")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("d/written")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    seen = set()
    with daemon.connection() as http:

        def asked() -> bool:
            """Whether it was ever found: a busy machine may stop the container while it is elsewhere."""
            for _ in range(60):
                status, answer = http.ask("GET", "/containers/box/archive?path=/w/d/token")
                seen.add(status)
                assert "outside" not in json.dumps(answer)
                seen.add(http.ask("HEAD", "/containers/box/archive?path=/w/d/token")[0])
            return 200 in seen

        until(asked, "it is found")
    for _ in range(10):
        docker("cp", "-", "box:/w", input=buffer.getvalue(), code=None)
    assert seen <= {200, 400, 404, 500} and 200 in seen
    assert os.listdir(canary) == ["token"] and (canary / "token").read_text() == "outside"


def test_nothing_of_the_image_is_executed(cli: Client, tmp_path: Path) -> None:
    """CP-02, CP-03: decompressors and libraries in the container are bait; a compressed tar goes through none."""
    bait = (
        "for x in xz gzip bzip2 zstd pigz unpigz unxz; do echo '#!/bin/sh' > /bin/$x; echo 'touch /owned' >> /bin/$x; "
    )
    cli("run", "-d", "--name", "box", IMAGE, "sh", "-c", f"{bait} chmod 755 /bin/$x; done; sleep 1000")
    cli("exec", "box", "sh", "-c", "until [ -x /bin/unxz ]; do :; done")
    for mode in ("w:xz", "w:gz", "w:bz2"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode=mode) as tar:
            info = tarfile.TarInfo(mode[2:])
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
        cli("cp", "-", "box:/tmp", input=buffer.getvalue())
        assert cli.out("exec", "box", "cat", f"/tmp/{mode[2:]}") == "x"
    cli("exec", "box", "ls", "/owned", code=1)
    assert not os.path.exists("/owned")


def test_hostile_tar_into_a_container(cli: Client, tmp_path: Path) -> None:
    """Entries that leave the extraction point end up in the container or nowhere."""
    cli("run", "-d", "--name", "box", IMAGE, "sleep", "1000")
    (tmp_path / "token").write_text("outside")
    link, through = tarfile.TarInfo("l"), tarfile.TarInfo("l/x")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    through.size = 1
    up = tarfile.TarInfo("../../../../../../../up")
    up.size = 1
    hard = tarfile.TarInfo("h")
    hard.type, hard.linkname = tarfile.LNKTYPE, f"../../../../../../..{tmp_path}/token"
    for members in ((link, through), (up,), (hard,)):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for member in members:
                tar.addfile(member, io.BytesIO(b"x"))
        cli("cp", "-", "box:/tmp", input=buffer.getvalue(), code=None)
    assert os.listdir(tmp_path) == ["token"] and (tmp_path / "token").read_text() == "outside"
