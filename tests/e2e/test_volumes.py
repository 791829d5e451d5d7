"""-v, --mount, --tmpfs and --volumes-from; what happens to volumes when containers come and go."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, execute
from e2e_parts.cortend import IMAGE, Cortend


def inside(client: Client, *flags: str, script: str, code: int = 0, image: str = IMAGE) -> str:
    return client("run", "--rm", *flags, image, "sh", "-c", script, code=code).out.strip()


@pytest.fixture(scope="module")
def content(daemon: Cortend) -> Iterator[str]:
    """An image with a volume that has files of several owners, and one without any."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        for name in ("sh", "cat", "ls", "stat", "sleep", "touch", "readlink", "find", "rm"):
            _member(tar, f"bin/{name}", tarfile.SYMTYPE, link="busybox")
        _member(tar, "data", tarfile.DIRTYPE, mode=0o750, uid=33, gid=44)
        _member(tar, "data/file", mode=0o640, uid=33, text="from the image\n")
        _member(tar, "data/below", tarfile.DIRTYPE, mode=0o700)
        _member(tar, "data/below/link", tarfile.SYMTYPE, link="/etc/shadow")
        _member(tar, "empty", tarfile.DIRTYPE, mode=0o700)
        _member(tar, "away", tarfile.SYMTYPE, link="/data")
    status, answer = daemon.ask(
        "POST", "/images/create?fromSrc=-&repo=e2e/content&changes=VOLUME%20/data", archive.getvalue(),
        Content_Type="application/x-tar",
    )  # fmt: skip
    assert status == 200, answer
    yield "e2e/content"
    assert daemon.ask("DELETE", "/images/e2e/content?force=1")[0] == 200


def _member(
    tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o755, uid: int = 0,
    gid: int = 0, text: str = "",
) -> None:  # fmt: skip
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.gid, info.size = kind, link, mode, uid, gid, len(text)
    tar.addfile(info, io.BytesIO(text.encode()) if text else None)


def test_bind(cli: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    assert inside(cli, "-v", f"{tmp_path}:/data", script="cat /data/file; echo back > /data/new") == "host"
    assert (tmp_path / "new").read_text() == "back\n"
    done = cli("run", "--rm", "-v", f"{tmp_path}:/data:ro", IMAGE, "touch", "/data/x", code=1)
    assert "Read-only file system" in done.err
    assert inside(cli, "-v", f"{tmp_path}/file:/etc/one", script="cat /etc/one") == "host"


def test_bind_makes_its_source_and_mount_does_not(cli: Client, tmp_path: Path) -> None:
    inside(cli, "-v", f"{tmp_path}/made/here:/data", script="touch /data/x")
    assert (tmp_path / "made" / "here" / "x").exists()
    done = cli("run", "--rm", "--mount", f"type=bind,src={tmp_path}/nosuch,dst=/data", IMAGE, "true", code=125)
    assert "bind source path does not exist" in done.err
    assert not (tmp_path / "nosuch").exists()


def test_mount_options(cli: Client, tmp_path: Path) -> None:
    flags = ["--mount", f"type=bind,src={tmp_path},dst=/b,readonly", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m"]
    flags += ["--mount", "type=volume,src=named,dst=/v"]
    script = "touch /b/x 2>&1; df -k /t | tail -1; touch /v/x; grep -E ' /(b|t|v) ' /proc/mounts"
    out = inside(cli, *flags, script=script)
    assert "Read-only" in out and " 1024 " in " ".join(out.split()) and len(out.splitlines()) == 5
    assert inside(cli, "-v", "named:/v", script="ls /v") == "x"


def test_recursive_read_only(docker: Client) -> None:
    """A mount below a read-only bind is read-only as well."""
    assert "Read-only" in inside(docker, "-v", "/dev:/hostdev:ro", script="touch /hostdev/shm/e2e-probe 2>&1; true")


def test_named_volumes_stay(cli: Client, daemon: Cortend) -> None:
    inside(cli, "-v", "kept:/data", script="echo 1 > /data/x")
    assert inside(cli, "-v", "kept:/data:ro", script="cat /data/x") == "1"
    cli("create", "--name", "user", "-v", "kept:/data", IMAGE, "true")
    status, answer = daemon.ask("DELETE", "/volumes/kept")
    assert status == 409 and "in use" in answer["message"]
    cli("rm", "-v", "user")
    assert daemon.ask("GET", "/volumes/kept")[0] == 200
    assert daemon.ask("DELETE", "/volumes/kept")[0] == 204
    assert not (daemon.data / "volumes" / "kept").exists()


def test_anonymous_volumes_go_when_asked(cli: Client, daemon: Cortend) -> None:
    cli("run", "--name", "anon", "-v", "/data", IMAGE, "touch", "/data/x")
    assert len(daemon.get("/volumes")["Volumes"]) == 1
    cli("rm", "anon")
    assert len(daemon.get("/volumes")["Volumes"]) == 1
    cli("run", "--name", "anon", "-v", "/data", IMAGE, "true")
    cli("rm", "-v", "anon")
    assert len(daemon.get("/volumes")["Volumes"]) == 1
    cli("run", "--rm", "-v", "/data", IMAGE, "true")
    assert len(daemon.get("/volumes")["Volumes"]) == 1


def test_volumes_from(cli: Client) -> None:
    cli(
        "run",
        "--name",
        "giver",
        "-v",
        "/anon",
        "-v",
        "named:/named",
        IMAGE,
        "sh",
        "-c",
        "echo a > /anon/a; echo n > /named/n",
    )
    assert inside(cli, "--volumes-from", "giver", script="cat /anon/a /named/n") == "a\nn"
    assert "Read-only" in inside(cli, "--volumes-from", "giver:ro", script="touch /named/x 2>&1; true")
    refused = cli("run", "--rm", "--volumes-from", "nosuch", IMAGE, "true", code=125).err
    assert "No such container: nosuch" in refused and "Unable to find image" not in refused


def test_new_volumes_have_what_the_image_has(cli: Client, content: str) -> None:
    script = "stat -c '%a %u %g' /data /data/file /data/below; cat /data/file; readlink /data/below/link"
    expected = ["750 33 44", "640 33 0", "700 0 0", "from the image", "/etc/shadow"]
    assert inside(cli, image=content, script=script).splitlines() == expected  # its own VOLUME
    assert inside(cli, "-v", "filled:/data", image=content, script=script).splitlines() == expected
    inside(cli, "-v", "filled:/data", image=content, script="rm -r /data/below; touch /data/mine")
    assert inside(cli, "-v", "filled:/data", image=content, script="ls /data").split() == ["file", "mine"]
    assert inside(cli, "-v", "other:/data:nocopy", image=content, script="ls /data") == ""
    assert inside(cli, "-v", "third:/empty", image=content, script="stat -c %a /empty; ls /empty") == "700"
    assert inside(cli, "-v", "fourth:/nosuch/dir", image=content, script="ls /nosuch/dir") == ""
    assert inside(cli, "-v", "fifth:/away", image=content, script="ls /away").split() == ["below", "file"]


def test_subpath_of_a_volume(docker: Client, tmp_path: Path) -> None:
    inside(docker, "-v", "tree:/v", script="mkdir -p /v/a/b; echo deep > /v/a/b/f; ln -s / /v/out")
    option = "type=volume,src=tree,dst=/d,volume-subpath="
    assert inside(docker, "--mount", option + "a/b", script="cat /d/f; ls /d") == "deep\nf"
    done = docker("run", "--rm", "--mount", option + "nosuch", IMAGE, "true", code=None)
    assert done.code in (125, 127) and done.err
    # a link that a container has put there leads nowhere out of the volume
    assert inside(docker, "--mount", option + "out", script="ls /d").split() == ["a", "out"]


def archive(daemon: Cortend, name: str, path: str) -> tarfile.TarFile:
    with daemon.connection() as asking:
        asking.request("GET", f"/containers/{name}/archive?path={path}")
        return tarfile.open(fileobj=io.BytesIO(asking.getresponse().read()))


def test_cp_of_a_container_that_does_not_run_sees_the_subpath(docker: Client, daemon: Cortend, tmp_path: Path) -> None:
    """As it is seen while the container runs: no more of the volume, and no link out of it."""
    inside(docker, "-v", "tree:/v", script="mkdir -p /v/a/b; echo deep > /v/a/b/f; echo no > /v/secret; ln -s / /v/out")
    option = "type=volume,src=tree,dst=/d,volume-subpath="
    docker("create", "--name", "made", "--mount", option + "a/b", IMAGE, "true")
    docker("run", "--name", "ended", "--mount", option + "a/b", IMAGE, "true")
    docker("create", "--name", "linked", "--mount", option + "out", IMAGE, "true")
    (tmp_path / "new").write_text("new\n")
    for name in ("made", "ended"):
        with archive(daemon, name, "/d") as tar:
            assert {member.name for member in tar} - {"d/new"} == {"d", "d/f"}
        docker("cp", str(tmp_path / "new"), f"{name}:/d/new")
        assert daemon.ask("HEAD", f"/containers/{name}/archive?path=/d/secret")[0] == 404
        assert daemon.ask("HEAD", f"/containers/{name}/archive?path=/d/f")[0] == 200
        assert inside(docker, "--volumes-from", name, script="ls /d").split() == ["f", "new"]
    assert inside(docker, "-v", "tree:/v", script="find /v | sort").split() == [
        "/v", "/v/a", "/v/a/b", "/v/a/b/f", "/v/a/b/new", "/v/out", "/v/secret"]  # fmt: skip
    with archive(daemon, "linked", "/d") as tar:
        assert {"d/a", "d/secret"} <= {member.name for member in tar} and "d/etc" not in tar.getnames()
    docker("create", "--name", "borrows", "--volumes-from", "made", IMAGE, "true")
    assert daemon.ask("HEAD", "/containers/borrows/archive?path=/d/secret")[0] == 404
    inside(docker, "-v", "tree:/v", script="rm -r /v/a")
    status, answer = daemon.ask("GET", "/containers/made/archive?path=/etc/passwd")
    assert status == 400 and "has no 'a/b' to mount" in answer["message"]  # as its start would say
    docker("export", "-o", str(tmp_path / "tar"), "made")  # is without volumes


def test_volumes_api(daemon: Cortend) -> None:
    status, made = daemon.ask("POST", "/volumes/create", {"Name": "vol", "Labels": {"a": "1"}})
    assert status == 201 and made["Mountpoint"] == str(daemon.data / "volumes" / "vol" / "_data")
    assert daemon.ask("POST", "/volumes/create", {"Name": "../x"})[0] == 400
    assert daemon.ask("GET", "/volumes/nosuch")[0] == 404
    assert [v["Name"] for v in daemon.get('/volumes?filters={"label":["a=1"]}')["Volumes"]] == ["vol"]
    assert daemon.ask("DELETE", "/volumes/vol")[0] == 204


def test_propagation(docker: Client, tmp_path: Path) -> None:
    """Private by default; what a container mounts in an rshared bind appears on the host."""
    if execute(["mount", "--bind", str(tmp_path), str(tmp_path)]).code:
        pytest.skip("cannot mount here")
    try:
        assert execute(["mount", "--make-shared", str(tmp_path)]).code == 0
        (tmp_path / "in").mkdir()
        script = "mount -t tmpfs x /p/in && touch /p/in/seen"
        inside(docker, "--privileged", "-v", f"{tmp_path}:/p", script=script)
        assert not (tmp_path / "in" / "seen").exists()
        inside(docker, "--privileged", "-v", f"{tmp_path}:/p:rshared", script=script)
        assert (tmp_path / "in" / "seen").exists()
    finally:
        execute(["umount", "-R", str(tmp_path)])


def test_a_link_in_the_image_stays_inside(docker: Client, content: str, tmp_path: Path) -> None:
    (tmp_path / "probe").write_text("probe")
    assert inside(docker, "-v", f"{tmp_path}:/away/sub", image=content, script="cat /data/sub/probe") == "probe"
    assert not os.path.exists("/data/sub")


def test_mounts_in_inspect(cli: Client, tmp_path: Path) -> None:
    cli("create", "--name", "shown", "-v", f"{tmp_path}:/b:ro", "-v", "vol:/v", "--tmpfs", "/t", IMAGE, "true")
    mounts = json.loads(cli.out("inspect", "-f", "{{json .Mounts}}", "shown"))
    found = {mount["Destination"]: (mount["Type"], mount["RW"]) for mount in mounts}
    assert found["/b"] == ("bind", False) and found["/v"] == ("volume", True)


def test_what_is_mounted_below_a_read_only_bind(every: Client, tmp_path: Path) -> None:
    """Read-only as well, but for clients of an API below 1.44, which only knew the other."""
    below = tmp_path / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", str(below)], check=True)
    try:
        script = "touch /x/below/f && echo written; touch /x/g || true"
        done = every("run", "--rm", "-v", f"{tmp_path}:/x:ro", IMAGE, "sh", "-c", script)
        assert ("written" in done.out) is (every.name == "docker-old")
        assert not (tmp_path / "g").exists()
    finally:
        subprocess.run(["umount", str(below)], check=True)
