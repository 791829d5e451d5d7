"""The OCI command line by itself: what runc's callers do with a bundle."""

from __future__ import annotations

import json
import os

import pytest

from oci_bundle import Runtime


def test_run_gives_the_program_s_status(runtime: Runtime) -> None:
    runtime.configure("sh", "-c", "id -u; exit 5")
    done = runtime("run", "-b", str(runtime.bundle), "box")
    assert (done.returncode, done.stdout) == (5, "0\n")


def test_the_life_of_a_container(runtime: Runtime) -> None:
    runtime.configure("sleep", "1000")
    assert runtime("create", "-b", str(runtime.bundle), "--pid-file", str(runtime.root / "pid"), "box").returncode == 0
    state = json.loads(runtime("state", "box").stdout)
    assert (state["status"], state["pid"]) == ("created", int((runtime.root / "pid").read_text()))
    assert runtime("start", "box").returncode == 0
    assert json.loads(runtime("state", "box").stdout)["status"] == "running"
    assert runtime("exec", "box", "echo", "inside").stdout == "inside\n"
    assert runtime("pause", "box").returncode == 0
    assert json.loads(runtime("state", "box").stdout)["status"] == "paused"
    assert runtime("resume", "box").returncode == 0
    assert runtime("delete", "box").returncode == 1  # it runs
    assert runtime("kill", "box", "KILL").returncode == 0
    assert runtime("delete", "--force", "box").returncode == 0
    assert runtime("state", "box").returncode == 1


def test_a_second_of_the_same_name_is_refused(runtime: Runtime) -> None:
    runtime.configure("sleep", "1000")
    assert runtime("create", "-b", str(runtime.bundle), "box").returncode == 0
    done = runtime("create", "-b", str(runtime.bundle), "box")
    assert (done.returncode, "container with id exists" in done.stdout) == (1, True)


def test_a_create_that_was_killed_leaves_a_name_that_can_be_freed(runtime: Runtime) -> None:
    """Between its directory and its state.json; as with runc."""
    runtime.configure("sleep", "1000")
    (runtime.root / "state/box").mkdir(parents=True)
    (runtime.root / "state/box/config.json").touch()
    assert "exists" in runtime("create", "-b", str(runtime.bundle), "box").stdout
    assert runtime("delete", "box").returncode == 1  # there is none, and the name is free
    assert runtime("create", "-b", str(runtime.bundle), "box").returncode == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"linux": {"namespaces": [{"type": "nope"}]}}, "unknown namespace type"),
        ({"process": {"args": ["nosuch"], "cwd": "/"}}, "executable file not found in $PATH"),
        ({"hooks": {"createContainer": [{"path": "/bin/true"}]}}, "not supported"),
        ({"process": None}, "no process"),
    ],
)
def test_what_cannot_be_is_one_line(runtime: Runtime, change: dict[str, object], words: str) -> None:
    runtime.configure("sleep", "1000")
    path = runtime.bundle / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    log = runtime.root / "log"
    done = runtime("--log", str(log), "--log-format", "json", "create", "-b", str(runtime.bundle), "box")
    assert done.returncode == 1 and words in done.stdout and done.stdout.count("\n") == 1
    assert words in json.loads(log.read_text())["msg"]


def test_a_tmpfs_begins_with_what_it_hides(runtime: Runtime) -> None:
    """tmpcopyup: times, links and attributes too, and a hole of terabytes in little memory."""
    data = runtime.bundle / "rootfs/data"
    (data / "below").mkdir(parents=True)
    (data / "file").write_text("from the image")
    (data / "file").chmod(0o4755)
    os.setxattr(data / "file", "trusted.note", b"kept")
    os.link(data / "file", data / "below/alias")
    os.symlink("/etc/shadow", data / "link")
    os.mkfifo(data / "fifo")
    with (data / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    for path in (data / "file", data / "fifo", data / "below", data):
        os.utime(path, (981173106, 981173106))
    look = "stat -c '%n %a %u %h %Y' /data /data/file /data/below /data/below/alias /data/fifo; readlink /data/link"
    runtime.configure("sh", "-c", f"{look}; stat -c '%s %b' /data/sparse; grep -c ' /data tmpfs' /proc/self/mounts")
    for applet in ("stat", "readlink", "grep"):
        (runtime.bundle / "rootfs/bin" / applet).symlink_to("busybox")
    path = runtime.bundle / "config.json"
    spec = json.loads(path.read_text())
    tmpfs = {"type": "tmpfs", "source": "tmpfs", "destination": "/data", "options": ["tmpcopyup", "size=1m"]}
    spec["mounts"].insert(0, tmpfs)  # before there is a /proc
    path.write_text(json.dumps(spec))
    shown = runtime("run", "-b", str(runtime.bundle), "box").stdout.splitlines()
    assert shown == [
        "/data 755 0 3 981173106", "/data/file 4755 0 2 981173106", "/data/below 755 0 2 981173106",
        "/data/below/alias 4755 0 2 981173106", "/data/fifo 644 0 1 981173106", "/etc/shadow",
        f"{1 << 40} 0", "1",
    ]  # fmt: skip


def test_hooks_get_the_state(runtime: Runtime) -> None:
    runtime.configure("echo", "ran")
    path = runtime.bundle / "config.json"
    spec = json.loads(path.read_text())
    hook = runtime.root / "hook"
    seen = runtime.root / "seen"
    hook.write_text(f"#!/bin/sh\ncat >> {seen}\necho >> {seen}\n")
    hook.chmod(0o755)
    spec["hooks"] = {kind: [{"path": str(hook)}] for kind in ("prestart", "createRuntime", "poststart", "poststop")}
    path.write_text(json.dumps(spec))
    assert runtime("run", "-b", str(runtime.bundle), "box").stdout == "ran\n"
    states = [json.loads(line) for line in seen.read_text().splitlines()]
    assert [state["id"] for state in states] == ["box"] * 4
    assert states[0]["status"] == "creating" and states[-1]["status"] == "stopped"


def set_hooks(runtime: Runtime, kind: str, *scripts: str) -> None:
    runtime.change(hooks={kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]} for script in scripts]})


def test_a_poststop_hook_that_fails_is_a_warning(runtime: Runtime) -> None:
    runtime.configure("echo", "ran")
    later = runtime.root / "later"
    set_hooks(runtime, "poststop", "exit 3", f"echo ran > {later}")
    done = runtime("run", "-b", str(runtime.bundle), "box")
    assert (done.returncode, done.stdout) == (0, "ran\ncorten-oci: poststop hook /bin/sh exited with 3\n")
    assert later.read_text() == "ran\n" and runtime("state", "box").returncode == 1


@pytest.mark.parametrize("verb", ["start", "run"])
def test_a_poststart_hook_that_fails_ends_the_program(runtime: Runtime, verb: str) -> None:
    runtime.configure("sleep", "1000")
    set_hooks(runtime, "poststart", "exit 3")
    bundle = ("-b", str(runtime.bundle))
    if verb == "start":
        assert runtime("create", *bundle, "box").returncode == 0
    done = runtime(verb, *(bundle if verb == "run" else ()), "box")
    assert (done.returncode, done.stdout) == (1, f"corten-oci: {verb} failed: poststart hook /bin/sh exited with 3\n")
    if verb == "start":
        assert json.loads(runtime("state", "box").stdout)["status"] == "stopped"
        assert runtime("delete", "box").returncode == 0
    assert runtime("state", "box").returncode == 1  # run took it away


def test_what_a_poststart_hook_has_failed_has_ended_when_that_is_said(runtime: Runtime) -> None:
    """However long it takes: a group of version 1 that is frozen keeps what was killed."""
    runtime.configure("sleep", "1000")
    group = f"/sys/fs/cgroup/freezer/corten-oci-test-{os.getpid()}/freezer.state"
    if not os.path.exists("/sys/fs/cgroup/freezer"):
        pytest.skip("no freezer of control groups of version 1")
    set_hooks(runtime, "poststart", f"echo FROZEN > {group}; (sleep 0.5; echo THAWED > {group}) >&- 2>&- & exit 3")
    assert runtime("create", "-b", str(runtime.bundle), "box").returncode == 0
    assert runtime("start", "box").returncode == 1
    assert json.loads(runtime("state", "box").stdout)["status"] == "stopped"


def ask(runtime: Runtime, **changes: object) -> list[str]:
    """What a container says of its standard input and of /proc/keys, and an exec in it of the former."""
    look = "busybox stat -L -c '%d %t:%T' /proc/self/fd/0; busybox chmod 666 /proc/keys; busybox wc -c /proc/keys"
    runtime.configure("sh", "-c", f"{look}; exec sleep 1000 >/dev/null 2>&1")
    path = runtime.bundle / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert runtime("create", "-b", str(runtime.bundle), "box").returncode == 0
    assert runtime("start", "box").returncode == 0
    return runtime("exec", "box", "sh", "-c", look).stdout.splitlines()


@pytest.mark.parametrize(
    "kind", ["a /dev of its own", "the bundle's /dev", "a file in its place", "a directory of the host"]
)
def test_the_caller_s_null_device_is_not_the_container_s(runtime: Runtime, kind: str) -> None:
    before = os.stat("/dev/null")
    mounts = json.loads((runtime.bundle / "config.json").read_text())["mounts"]
    if kind != "a /dev of its own":
        mounts = [mount for mount in mounts if not mount["destination"].startswith("/dev")]
    if kind == "a file in its place":
        (runtime.bundle / "rootfs/dev").mkdir()
        (runtime.bundle / "rootfs/dev/null").write_text("not a device")
    if kind == "a directory of the host":
        (runtime.root / "dev").mkdir()
        mounts += [{"destination": "/dev", "source": str(runtime.root / "dev"), "options": ["bind"]}]
    number, refused, size = ask(runtime, mounts=mounts, root={"path": "rootfs", "readonly": False})
    own = kind in ("a /dev of its own", "the bundle's /dev")
    assert number.endswith(" 1:3") and (number.split()[0] == str(before.st_dev)) is not own
    assert "Read-only file system" in refused and size.startswith("0 ")
    after = os.stat("/dev/null")
    assert (after.st_ctime_ns, after.st_mtime_ns) == (before.st_ctime_ns, before.st_mtime_ns)


@pytest.mark.parametrize(("env", "uid", "home"), [([], 7, "/seven"), (["HOME="], 7, "/seven"), (["HOME=/x"], 7, "/x"),
                                                  ([], 8, "/")])  # fmt: skip
def test_home_is_the_user_s(runtime: Runtime, env: list[str], uid: int, home: str) -> None:
    """As with runc, on which dockerd relies for it."""
    (runtime.bundle / "rootfs/etc").mkdir()
    (runtime.bundle / "rootfs/etc/passwd").write_text("x:x:7:7::/seven:\n8:x:9:9::/nine:\n")
    runtime.configure("sh", "-c", "echo $HOME")
    runtime.change(process={"env": ["PATH=/bin", *env], "user": {"uid": uid, "gid": 0}})
    assert runtime("run", "-b", str(runtime.bundle), "box").stdout == f"{home}\n"
