"""Ways out that other runtimes had (docs/threats.md), tried from inside real containers.

The oracle: a directory of the host with a token in it, which nothing may read or change.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import corten
from e2e_parts import census
from fault_parts.fragile import Fragile
from fault_parts.images import CHARACTER, FIFO, busybox, load, node, python, python_binds
from image_parts import tars
from image_parts.trees import listing


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = secrets.token_hex(16)
        (path / "dir").mkdir(parents=True)
        (path / "secret").write_text(self.token)
        (path / "setuid").write_text("x")
        (path / "setuid").chmod(0o4755)
        os.mkfifo(path / "fifo")
        self.before = listing(path)

    def check(self, *said: str) -> None:
        assert listing(self.path) == self.before
        assert not any(self.token in text for text in said)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    made = Canary(tmp_path / "canary")
    yield made
    made.check()


def attempt(daemon: Fragile, image: str, command: list[str], host: dict[str, Any] | None = None, **config: Any) -> str:
    """Create, start, run to the end: whatever is said by daemon and container. Neither has to succeed."""
    body = {"Image": image, "Cmd": command, "HostConfig": host or {}, **config}
    status, answer = daemon.ask("POST", "/containers/create", body)
    if status != 201:
        assert status in (400, 404, 409, 500) and answer["message"], (status, answer)
        return str(answer["message"])
    id = answer["Id"]
    status, answer = daemon.ask("POST", f"/containers/{id}/start")
    said = daemon.output(id) if status == 204 and daemon.wait(id) else str(answer["message"])
    daemon.ask("DELETE", f"/containers/{id}?force=1&v=1")
    return said


# ------------------------------------------------------------------------------------- executable, descriptors, cwd

SELF = """
import os
try: os.open('/proc/self/exe', os.O_WRONLY)
except OSError as error: print('errno', error.errno)
else: print('OPENED')
"""


def test_own_executable_as_program(daemon: Fragile) -> None:
    """ESC-01, CVE-2019-5736: the runtime's executable, run inside, cannot be written to: EROFS."""
    command = ["/proc/self/exe", "-I", "-S", "-c", SELF]
    assert daemon.outcome(*command, host={"Binds": python_binds()}) == (0, "errno 30\n")
    id = daemon.run("sleep", "1000", host={"Binds": python_binds()})
    assert daemon.inside(id, *command) == (0, "errno 30\n")


RACE = """
import json, os, stat, time
outside, caught = set(), []
print("ready", flush=True)
end = time.monotonic() + 60
root = os.stat("/")
while time.monotonic() < end and not os.path.exists("/stop"):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) in (1, os.getpid()): continue
        for what, how in (("exe", os.O_WRONLY), ("cwd", os.O_RDONLY), ("root", os.O_RDONLY)):
            try:
                name = os.readlink(f"/proc/{pid}/exe")
                fd = os.open(f"/proc/{pid}/{what}", how)
            except OSError: continue
            status = os.fstat(fd)
            if what == "exe": outside.add("exe " + name)
            elif (status.st_dev, status.st_ino) != (root.st_dev, root.st_ino): outside.add(what)
            if "python" in name: caught.append(what)
            os.close(fd)
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                status = os.stat(f"/proc/{pid}/fd/{fd}")
                if stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) != (root.st_dev, root.st_ino):
                    outside.add("directory " + os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError: pass
print(json.dumps([sorted(outside), len(caught)]))
"""


@pytest.mark.parametrize("capabilities", [[], ["SYS_PTRACE"]])
def test_race_for_a_process_that_enters(daemon: Fragile, canary: Canary, capabilities: list[str]) -> None:
    """ESC-01, ESC-03, CVE-2016-9962: what enters by exec cannot be read or traced before it is the user's program.

    With CAP_SYS_PTRACE its memory can be opened, but its executable is sealed and it has no descriptor of the host's.
    """
    id = daemon.run(*python(RACE), host={"Binds": python_binds(), "CapAdd": capabilities})
    while "ready" not in daemon.output(id):
        assert daemon.state(id)["Running"], daemon.output(id)
    for _ in range(40):
        assert daemon.inside(id, "true")[0] == 0
    daemon.inside(id, "touch", "/stop")
    daemon.wait(id)
    outside, caught = json.loads(daemon.output(id).splitlines()[-1])
    assert not outside
    assert capabilities or not caught, "without the capability nothing of it can be opened"


def test_descriptors(daemon: Fragile) -> None:
    """FDSCAN: 0, 1 and 2 and nothing else, for the first process and for execs, with and without a terminal."""
    for tty in (False, True):
        id = daemon.run("sleep", "1000", Tty=tty)
        pid = daemon.state(id)["Pid"]
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
        _, said = daemon.inside(id, "ls", "/proc/self/fd")
        assert said.split() == ["0", "1", "2", "3"]  # 3 is what ls reads
        assert os.readlink(f"/proc/{pid}/cwd") == "/" and os.stat(f"/proc/{pid}/root").st_dev != os.stat("/").st_dev


def test_working_directory_by_descriptor(daemon: Fragile, canary: Canary) -> None:
    """ESC-02, CVE-2024-21626."""
    peek = ["sh", "-c", f"pwd; cat secret ../../../../../../../..{canary.path}/secret; ls ../../.."]
    running = daemon.run("sleep", "1000")
    for number in (*range(3, 16), 20, 30):
        for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../../.."):
            canary.check(attempt(daemon, "corten/busybox", peek, WorkingDir=cwd))
            status, made = daemon.ask("POST", f"/containers/{running}/exec", {"Cmd": peek, "WorkingDir": cwd})
            if status == 201:
                canary.check(str(daemon.ask("POST", f"/exec/{made['Id']}/start", {"Detach": False})[1]))


def test_image_with_links_as_working_directory(daemon: Fragile, canary: Canary) -> None:
    """ESC-27, CVE-2026-55686: a WORKDIR that does not exist is made, in the container."""
    targets = {"abs": str(canary.path), "up": "../../../../../.." + str(canary.path), "proc-root": "/proc/1/root",
               "fd": "/proc/self/fd/7", "loop": "loop"}  # fmt: skip
    links = [tars.symlink(name, target) for name, target in targets.items()]
    assert load(daemon, "workdirs", [*busybox(), *links]) == ""
    for cwd in ("/abs/new", "/up/new", "/proc-root/new", "/fd", "/fd/new", "/loop/new", "/abs/dir"):
        said = attempt(daemon, "workdirs", ["sh", "-c", "pwd; ls -la; cat ../secret"], WorkingDir=cwd)
        canary.check(said)


# --------------------------------------------------------------------------------------------- hostile trees

PLACES = ("dev", "proc", "sys", "etc", "dev/pts", "dev/shm", "dev/null", "dev/console", "proc/self", "etc/hosts", "tmp")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", ["absolute", "relative", "dangling", "file"])
def test_links_where_the_runtime_mounts(daemon: Fragile, canary: Canary, place: str, shape: str) -> None:
    """ESC-04, ESC-10, ESC-20, ESC-22, ESC-23: nothing is made, mounted, written outside; /proc and /sys are refused."""
    outside = str(canary.path)
    entry = {
        "absolute": tars.symlink(place, outside),
        "relative": tars.symlink(place, "../../../.." + outside),
        "dangling": tars.symlink(place, outside + "/new/deep"),
        "file": tars.file(place, b"a file"),
    }[shape]
    parent = [tars.directory(os.path.dirname(place))] if "/" in place else []
    tag = f"links-{place.replace('/', '-')}-{shape}"
    assert load(daemon, tag, [*busybox(), *parent, entry]) == ""
    said = attempt(
        daemon,
        tag,
        ["sh", "-c", "echo ran; cat /dev/secret /etc/secret /proc/secret; mount"],
        Tty=place == "dev/console",
    )
    canary.check(said)
    if place in ("proc", "sys"):
        assert "ordinary directory" in said or "ot a directory" in said, said
    daemon.ask("DELETE", f"/images/{tag}?force=1")


def test_dangling_links_of_real_images_work(daemon: Fragile) -> None:
    """The twin that must keep working: systemd's resolv.conf, /var/run, a WORKDIR and a volume behind a link."""
    entries = [*busybox(), tars.directory("etc"), tars.directory("var"), tars.directory("run"),
               tars.symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf"),
               tars.symlink("etc/hosts", "/etc/generated/hosts"), tars.symlink("var/run", "/run"),
               tars.symlink("work", "/not/there/yet"), tars.symlink("data", "../../../far/away")]  # fmt: skip
    assert load(daemon, "dangling", entries) == ""
    host = {"Binds": ["some:/data/inner", "/etc/hostname:/var/run/name/file:ro"]}
    look = "pwd; grep -c localhost /etc/hosts; cat /run/systemd/resolve/stub-resolv.conf; ls -d /far/away/inner; "
    look += "cat /run/name/file"
    said = attempt(daemon, "dangling", ["sh", "-c", look], host, WorkingDir="/work/x")
    assert said.startswith("/not/there/yet/x\n") and "/far/away/inner\n" in said, said
    assert "nameserver" in said and said.endswith(Path("/etc/hostname").read_text()), said


def test_links_that_a_container_makes_are_not_followed_at_its_restart(daemon: Fragile, canary: Canary) -> None:
    """ESC-05, CVE-2015-3629: the second start finds other things at its mount points."""
    volume = f"v{secrets.token_hex(4)}"
    swap = (
        f"rm -rf /data /etc/hostname /etc/hosts; umount /data; rmdir /data; "
        f"for p in /data /srv /opt; do ln -sfn {canary.path} $p; done; cat /data/secret /srv/secret; true"
    )
    id = daemon.create("sh", "-c", swap, host={"Binds": [f"{volume}:/data/inner", f"{volume}:/srv", "/etc:/opt/x:ro"]})
    for _ in range(4):
        assert daemon.ask("POST", f"/containers/{id}/start")[0] in (204, 500)
        daemon.wait(id)
        canary.check(daemon.output(id))


def test_volume_of_the_image_over_a_link(daemon: Fragile, canary: Canary) -> None:
    """ESC-28, CVE-2022-23648: what fills a new volume is the image's."""
    links = [tars.symlink("data", str(canary.path)), tars.symlink("up", "../../../.." + str(canary.path))]
    for number, path in enumerate(("/data", "/up", "/data/dir", "/../../../.." + str(canary.path), "/bin/..")):
        tag = f"volumes-{number}"
        assert load(daemon, tag, [*busybox(), *links], {"Volumes": {path: {}}, "Cmd": ["sh"]}) == ""
        canary.check(attempt(daemon, tag, ["sh", "-c", f"ls -laR {path}; cat {path}/secret {path}/*"]))


def test_volume_is_filled_once(daemon: Fragile) -> None:
    """CVE-2020-1726: a volume that has content is never filled again."""
    entries = [*busybox(), tars.directory("data"), tars.file("data/from-image", b"image")]
    assert load(daemon, "filled", entries) == ""
    host = {"Binds": ["once:/data"]}
    assert "from-image" in attempt(daemon, "filled", ["ls", "/data"], {"Binds": ["once2:/data"]})
    assert attempt(daemon, "corten/busybox", ["sh", "-c", "echo mine > /data/mine"], host) == ""
    assert attempt(daemon, "filled", ["ls", "/data"], host) == "mine\n"


# ------------------------------------------------------------------------------------------------------ trojans

TROJAN = b"open('/TROJAN', 'w').write('ran')\nraise SystemExit('TROJAN')\n"


def modules() -> list[str]:
    """Where an interpreter that was started on the host would look, once it is inside."""
    library = sysconfig.get_path("stdlib")
    source = str(Path(corten.__file__).parent.parent)
    names = ("os linecache traceback tokenize socket json/__init__ _strptime string stringprep encodings/__init__ "
             "encodings/idna encodings/utf_8 encodings/ascii encodings/latin_1 encodings/punycode site sitecustomize "
             "usercustomize importlib/__init__ ctypes/__init__ struct stat grp pwd errno signal").split()  # fmt: skip
    ours = "corten/__init__ corten/runtime/__init__ corten/runtime/init corten/kernel/pty corten/errors".split()
    return (
        [f"{library}/{name}.py" for name in names] + [f"{source}/{name}.py" for name in ours] + ["/encodings/idna.py"]
    )


@pytest.mark.parametrize("kind", ["program", "fifo"])
def test_nothing_of_the_image_is_imported(daemon: Fragile, kind: str) -> None:
    """CP-02's twin for the runtime, CVE-2019-14271: not at a start, not at a failure, not by an exec; and no waiting
    for a FIFO where a traceback's source lines would be read."""
    made = {path.strip("/") for path in modules()}
    entries = [node(path, FIFO) if kind == "fifo" else tars.file(path, TROJAN) for path in sorted(made)]
    parents = sorted({str(p) for path in made for p in Path(path).parents if str(p) != "."})
    passwd = tars.file("etc/passwd", "röot:x:0:0::/:/bin/sh\nuser:x:7:7::/:/bin/sh\n".encode())
    tag = f"trojan-{kind}"
    entries = [*busybox(), *(tars.directory(path) for path in parents if path != "bin"), *entries]
    assert load(daemon, tag, [*entries, passwd]) == ""
    look = ["sh", "-c", "ls /TROJAN; id -u"]
    for config in ({}, {"User": "user"}, {"User": "röot"}, {"Tty": True}, {"Hostname": "xn--nxasmq6b"}):
        said = attempt(daemon, tag, look, **config)
        assert "No such file" in said and "TROJAN'" not in said.replace("'/TROJAN'", ""), said
    for command in (["/nosuch"], ["/etc/passwd"], ["/bin"]):
        assert attempt(daemon, tag, command)
    assert attempt(daemon, tag, ["true"], User="nosuch")
    id = daemon.run("sleep", "1000", Image=tag)
    for user in ("", "user", "röot"):
        assert "No such file" in daemon.inside(id, *look, User=user)[1]
    status, made_exec = daemon.ask("POST", f"/containers/{id}/exec", {"Cmd": ["/nosuch"]})
    assert status == 201 and daemon.ask("POST", f"/exec/{made_exec['Id']}/start", {"Detach": True})[0] >= 400
    assert "No such file" in daemon.inside(id, "ls", "/TROJAN")[1]


def test_maps_of_the_runtime_inside(daemon: Fragile) -> None:
    """The supervisor, which stays outside, has mapped nothing of any container."""
    id = daemon.run("sleep", "1000", host={"Binds": python_binds()})
    for line in Path(f"/proc/{daemon.supervisor(id)}/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[5] if len(line.split()) > 5 else ""
        assert str(daemon.data) not in path, line
    assert os.readlink(f"/proc/{daemon.supervisor(id)}/exe").endswith(Path(sys.executable).resolve().name)


# --------------------------------------------------------------------------------------------- accounts of the image


@pytest.mark.parametrize("file", ["passwd", "group"])
@pytest.mark.parametrize(
    "shape", ["fifo", "device", "huge", "long line", "directory", "outside", "device link", "loop"]
)
def test_accounts(daemon: Fragile, canary: Canary, file: str, shape: str) -> None:
    """IMG-06, CVE-2026-47262: bounded, regular, inside; and quick."""
    name = f"etc/{file}"
    entry = {
        "fifo": node(name, FIFO),
        "device": node(name, CHARACTER, 1, 8),
        "huge": tars.file(name, b"x:x:1:1:\n" * (2 << 20)),
        "long line": tars.file(name, b"x" * (11 << 20)),
        "directory": tars.directory(name),
        "outside": tars.symlink(name, "../../../.." + str(canary.path / "secret")),
        "device link": tars.symlink(name, "/dev/zero"),
        "loop": tars.symlink(name, file),
    }[shape]
    tag = f"accounts-{file}-{shape.replace(' ', '-')}"
    assert load(daemon, tag, [*busybox(), tars.directory("etc"), entry]) == ""
    for user in ("root", "1000:tty", "0", ""):
        canary.check(attempt(daemon, tag, ["id", "-u"], User=user))
    id = daemon.create("true", Image=tag, User="x:x")
    upload = tars.archive(tars.file("up"))
    status, answer = daemon.ask("PUT", f"/containers/{id}/archive?path=/bin&copyUIDGID=1", upload)
    assert status == 400 and answer["message"]  # there is no user of that name
    daemon.ask("DELETE", f"/containers/{id}?force=1")
    daemon.ask("DELETE", f"/images/{tag}?force=1")


def test_accounts_behind_a_link_inside_work(daemon: Fragile) -> None:
    """The twin that must keep working."""
    files = [*(tars.directory(name) for name in ("usr", "usr/share", "etc")),
             tars.file("usr/share/passwd", b"me:x:12:13::/home:/bin/sh\n"),
             tars.file("usr/share/group", b"mine:x:13:\nmore:x:14:me\n"),
             tars.symlink("etc/passwd", "/usr/share/passwd"),
             tars.symlink("etc/group", "../usr/share/group")]  # fmt: skip
    assert load(daemon, "linked", [*busybox(), *files]) == ""
    assert "uid=12" in attempt(daemon, "linked", ["id"], User="me")
    assert "14" in attempt(daemon, "linked", ["sh", "-c", "grep Groups /proc/self/status"], User="me")


def test_name_that_is_a_number(daemon: Fragile) -> None:
    """CVE-2016-3697: "1000" is a number, whatever /etc/passwd calls uid 0."""
    passwd = tars.file(
        "etc/passwd", b"1000:x:0:0::/:/bin/sh\n2147483648:x:0:0::/:/bin/sh\n4294967296:x:0:0::/:/bin/sh\n"
    )
    assert load(daemon, "numbers", [*busybox(), tars.directory("etc"), passwd]) == ""
    assert attempt(daemon, "numbers", ["id", "-u"], User="1000") == "1000\n"
    for user in ("2147483648", "4294967296"):
        assert attempt(daemon, "numbers", ["id", "-u"], User=user) not in ("0\n", f"{user}\n")


# -------------------------------------------------------------------------------------------- the host's things


def test_sockets_of_the_engine_are_out_of_reach(daemon: Fragile) -> None:
    """ESC-31, CVE-2020-15257: the network namespace of the host shows no abstract socket of ours."""
    id = daemon.run("sleep", "1000", host={"NetworkMode": "host"})
    _, said = daemon.inside(id, "cat", "/proc/net/unix")
    abstract = [line.split()[-1] for line in said.splitlines() if " @" in line]
    assert not [name for name in abstract if "corten" in name.lower() or daemon.name in name]
    for path in (daemon.socket, daemon.exec / "containers"):
        assert daemon.inside(id, "ls", str(path))[0] == 1
    for directory in (daemon.exec / "containers", daemon.exec / "containers" / id):
        assert directory.stat().st_mode & 0o777 == 0o700
    assert daemon.socket.stat().st_mode & 0o007 == 0
    assert daemon.data.stat().st_mode & 0o077 == 0


def test_every_supervisor_is_undumpable_and_single(daemon: Fragile) -> None:
    """PY-03; no process may attach (ptrace) to what will fork the next container."""
    id = daemon.run("sleep", "1000")
    for pid in (daemon.launcher, daemon.supervisor(id)):
        assert os.listdir(f"/proc/{pid}/task") == [str(pid)]
        status = Path(f"/proc/{pid}").stat()
        assert (status.st_uid, status.st_gid) == (0, 0)
        cwd = os.readlink(f"/proc/{pid}/cwd")
        assert cwd == "/"
        for fd in os.listdir(f"/proc/{pid}/fd"):
            link = census._link(f"/proc/{pid}/fd/{fd}")  # "": it is closed by now
            assert "corten.db" not in link and not link.endswith("/lock"), link


def test_processes_are_not_entered_by_top(daemon: Fragile) -> None:
    """ESC-30, CVE-2022-1227: no program of the container is run."""
    entries = [*busybox(), tars.directory("usr"), tars.directory("usr/bin"),
               tars.file("usr/bin/ps", b"#!/bin/sh\ntouch /RAN\n", mode=0o755)]  # fmt: skip
    assert load(daemon, "fake-ps", entries) == ""
    id = daemon.run("sleep", "1000", Image="fake-ps")
    assert daemon.get(f"/containers/{id}/top?ps_args=-ef")["Processes"]
    assert daemon.inside(id, "ls", "/RAN")[0] == 1
