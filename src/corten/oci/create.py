"""create and run."""

from __future__ import annotations

import json
import os
import signal
import socket
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from corten.errors import Invalid
from corten.kernel.process import start_time
from corten.oci import hooks, root_mount, state
from corten.oci.state import Container
from corten.runtime import cgroups, mountplan, null, spawn
from corten.runtime import seccomp as filters
from corten.runtime.cgroups import Cgroup
from corten.runtime.init import Inheritance
from corten.runtime.plan import Plan, plan
from corten.runtime.prepare import CgroupMount, prepare
from corten.spec.json import Json


def create(arguments: Namespace) -> Container:
    """A container whose init waits for `start`. What was made is taken back on failure."""
    bundle = os.path.abspath(arguments.bundle)
    spec = read_spec(bundle)
    hooks.check(spec)
    directory = state.reserve(arguments.root, arguments.id)
    try:
        return _create(arguments, bundle, spec, directory)
    except BaseException:
        for entry in directory.iterdir():
            entry.unlink()
        directory.rmdir()
        raise


def read_spec(bundle: str) -> Json:
    path = os.path.join(bundle, "config.json")
    try:
        with open(path, "rb") as file:
            spec = json.load(file)
    except FileNotFoundError:
        raise Invalid(f"JSON specification file {path} not found") from None
    except ValueError as error:
        raise Invalid(f"{path}: {error}") from error
    if not isinstance(spec, dict) or not isinstance(spec.get("process"), dict):
        raise Invalid(f"{path}: no process")
    return spec


def _create(arguments: Namespace, bundle: str, spec: Json, directory: Path) -> Container:
    rootfs = os.path.join(bundle, (spec.get("root") or {}).get("path") or "rootfs")
    plan_ = plan(spec, (mountplan.parse({"destination": "/", "source": rootfs, "options": ["rbind", "rslave"]}),))
    path = cgroup_path(spec, arguments.id)
    group = cgroups.create(cgroups.detect(), path, (spec.get("linux") or {}).get("resources") or {})
    content: Json = {
        "id": arguments.id,
        "bundle": bundle,
        "rootfs": rootfs,
        "cgroup": path,
        "annotations": spec.get("annotations") or {},
        "root_mount": None,
        "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    try:
        child = _spawn(arguments, plan_, group, directory, content)
        os.close(child.null)
        if child.console >= 0:
            send_console(arguments.console_socket, child.console)
        content |= {"pid": child.pid, "start_time": start_time(child.pid)}
        (directory / "config.json").write_text(json.dumps(spec))
        state.save(directory, content)
        if arguments.pid_file:
            write_pid(arguments.pid_file, child.pid)
    except BaseException:
        group.kill()
        root_mount.remove(content["root_mount"])
        group.remove()
        raise
    return Container(directory, content)


def _spawn(arguments: Namespace, plan_: Plan, group: Cgroup, directory: Path, content: Json) -> spawn.Spawned:
    terminal = bool(plan_.spec["process"].get("terminal"))
    if terminal and not arguments.console_socket:
        raise Invalid("a container with a terminal needs --console-socket")
    listener = state.listen(directory)
    size = plan_.spec["process"].get("consoleSize") or {}
    prepared = prepare(plan_, tuple(CgroupMount(*mount) for mount in group.mounts()), later=True)
    content["root_mount"] = root_mount.record(plan_, prepared.root)

    def run_hooks(pid: int) -> None:
        document = {"ociVersion": state.OCI_VERSION, "id": arguments.id, "status": "creating", "pid": pid,
                    "bundle": content["bundle"], "annotations": content["annotations"]}  # fmt: skip
        hooks.run(plan_.spec, "prestart", document)
        hooks.run(plan_.spec, "createRuntime", document)

    try:
        return spawn.spawn(
            plan_,
            lambda channel: Inheritance(
                channel, None if terminal else null.not_the_caller_s((0, 1, 2)), prepared, listener,
                tuple(range(3, 3 + arguments.preserve_fds)), (size.get("height", 0), size.get("width", 0)),
            ),
            group,
            filter_of(plan_.spec, arguments.root),
            run_hooks,
        )  # fmt: skip
    finally:
        prepared.close()
        listener.close()


def filter_of(spec: Json, root: Path) -> bytes | None:
    section = (spec.get("linux") or {}).get("seccomp")
    if not section:
        return None
    cache = root / ".seccomp"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return filters.cached(json.dumps(section).encode(), cache)


def cgroup_path(spec: Json, name: str) -> str:
    path = (spec.get("linux") or {}).get("cgroupsPath") or f"/corten-oci/{name}"
    if path.count(":") == 2:
        raise Invalid(f"cgroupsPath {path!r} is for systemd's driver, which is not supported; use a path")
    return str(path if path.startswith("/") else "/" + path)


def run(arguments: Namespace) -> int:
    """create, start, and with it in the foreground: wait, delete. The program's exit status."""
    from corten.oci.verbs import delete_container, start_container

    container = create(arguments)
    try:
        start_container(container)
    except BaseException:
        os.waitpid(container.pid, 0)
        delete_container(container, force=True)
        raise
    if arguments.detach:
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda received, _: os.kill(container.pid, received))
    while True:
        try:
            _, status = os.waitpid(container.pid, 0)
            break
        except InterruptedError:
            continue
    delete_container(container, force=False)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def write_pid(path: str, pid: int) -> None:
    """Whole or absent: the caller polls for this file."""
    temporary = f"{path}.tmp"
    with open(temporary, "w") as file:
        file.write(str(pid))
    os.replace(temporary, path)


def send_console(path: str, master: int) -> None:
    """Hand the terminal to the caller, as runc does: its descriptor beside its name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            socket.send_fds(connection, [b"/dev/ptmx"], [master])
        except OSError as error:
            raise Invalid(f"console socket {path}: {error.strerror}") from error
    os.close(master)
