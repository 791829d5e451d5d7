"""The verbs on a container that exists."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from argparse import Namespace

from corten.errors import Conflict, Failed, Invalid, NotFound
from corten.oci import hooks, state
from corten.oci.state import Container
from corten.runtime import cgroups
from corten.spec.json import Json


def start(arguments: Namespace) -> int:
    start_container(state.find(arguments.root, arguments.id))
    return 0


def start_container(container: Container) -> None:
    """Let the program run. Failed when a hook fails; the program has been killed then."""
    from corten.runtime import spawn  # as below: most verbs need none of it

    spawn.start(container.connect())
    try:
        hooks.run(container.spec(), "poststart", container.document())
    except Failed:
        _signal(container.pid, signal.SIGKILL)
        _await_end(container)
        raise


def show_state(arguments: Namespace) -> int:
    print(json.dumps(state.find(arguments.root, arguments.id).document(), indent=2))
    return 0


def kill(arguments: Namespace) -> int:
    container = state.find(arguments.root, arguments.id)
    number = signal_number(arguments.signal)
    if arguments.all:
        try:
            pids = container.cgroup().pids()
        except NotFound:
            return 0
        for pid in pids:
            _signal(pid, number)
        return 0
    if not container.alive():
        raise Conflict("container not running")
    _signal(container.pid, number)
    return 0


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def signal_number(text: str) -> int:
    if text.isdigit():
        return int(text)
    name = text.upper().removeprefix("SIG")
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise Invalid(f"unknown signal {text!r}") from None


def delete(arguments: Namespace) -> int:
    try:
        container = state.find(arguments.root, arguments.id)
    except NotFound:
        state.discard(arguments.root, arguments.id)
        if arguments.force:
            return 0
        raise
    delete_container(container, arguments.force)
    return 0


def delete_container(container: Container, force: bool) -> None:
    from corten.oci import root_mount

    status = container.status()
    if status in ("running", "paused") and not force:
        raise Conflict(f"cannot delete container {container.id} that is not stopped: {status}")
    if status != "stopped":
        _signal(container.pid, signal.SIGKILL)
    try:
        group = container.cgroup()
        group.kill()
    except NotFound:
        pass
    _await_end(container)
    root_mount.remove(container.content.get("root_mount"))
    cgroups.remove(cgroups.detect(), container.content["cgroup"])
    spec, document = container.spec(), {**container.document(), "status": "stopped"}
    container.remove()
    for warning in hooks.run_all(spec, "poststop", document):
        print(f"corten-oci: {warning}", file=sys.stderr)


def _await_end(container: Container) -> None:
    deadline = time.monotonic() + 10
    while container.alive():
        if time.monotonic() > deadline:
            raise Conflict(f"container {container.id} does not end")
        select.select([], [], [], 0.002)


def list_all(arguments: Namespace) -> int:
    documents = [container.document() for container in state.all_containers(arguments.root)]
    if arguments.quiet:
        print("".join(f"{d['id']}\n" for d in documents), end="")
    elif arguments.format == "json":
        print(json.dumps(documents))
    else:
        rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        rows += [(d["id"], str(d["pid"]), d["status"], d["bundle"], d["created"], "root") for d in documents]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("   ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip())
    return 0


def ps(arguments: Namespace) -> int:
    pids = state.find(arguments.root, arguments.id).cgroup().pids()
    if arguments.format == "json":
        print(json.dumps(pids))
        return 0
    import subprocess

    words = arguments.ps_args or ["-ef"]
    table = subprocess.run(["/bin/ps", *words], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    column = table[0].split().index("PID")
    print(table[0])
    for line in table[1:]:
        if int(line.split()[column]) in pids:
            print(line)
    return 0


def pause(arguments: Namespace) -> int:
    container = state.find(arguments.root, arguments.id)
    if container.status() not in ("running", "created"):
        raise Conflict(f"container {container.id} is not running")
    container.cgroup().freeze()
    return 0


def resume(arguments: Namespace) -> int:
    container = state.find(arguments.root, arguments.id)
    if container.status() != "paused":
        raise Conflict(f"container {container.id} is not paused")
    container.cgroup().thaw()
    return 0


def update(arguments: Namespace) -> int:
    container = state.find(arguments.root, arguments.id)
    if arguments.resources:
        text = sys.stdin.read() if arguments.resources == "-" else open(arguments.resources).read()  # noqa: SIM115
        resources = json.loads(text)
    else:
        resources = _resources(arguments)
    for warning in container.cgroup().update(resources):
        print(f"corten-oci: {warning}", file=sys.stderr)
    return 0


def _resources(arguments: Namespace) -> Json:
    memory = {"limit": arguments.memory, "swap": arguments.memory_swap, "reservation": arguments.memory_reservation}
    cpu = {
        "shares": arguments.cpu_share,
        "quota": arguments.cpu_quota,
        "period": arguments.cpu_period,
        "cpus": arguments.cpuset_cpus,
        "mems": arguments.cpuset_mems,
    }
    resources: Json = {
        "memory": {key: value for key, value in memory.items() if value is not None},
        "cpu": {key: value for key, value in cpu.items() if value is not None},
    }
    if arguments.pids_limit is not None:
        resources["pids"] = {"limit": arguments.pids_limit}
    if arguments.blkio_weight is not None:
        resources["blockIO"] = {"weight": arguments.blkio_weight}
    return {key: value for key, value in resources.items() if value}


def events(arguments: Namespace) -> int:
    """One line of statistics, or one every `--interval` seconds until the container ends."""
    container = state.find(arguments.root, arguments.id)
    while True:
        line = {"type": "stats", "id": container.id, "data": container.cgroup().stats()}
        print(json.dumps(line), flush=True)
        if arguments.stats or not container.alive():
            return 0
        pidfd = os.pidfd_open(container.pid)
        select.select([pidfd], [], [], arguments.interval)
        os.close(pidfd)
        if not container.alive():
            return 0


def features(arguments: Namespace) -> int:
    from corten.kernel import caps
    from corten.runtime.mountplan import _ATTRIBUTES, _PROPAGATION
    from corten.runtime.plan import NAMESPACES

    words = sorted({*_ATTRIBUTES, *_PROPAGATION, *(f"r{w}" for w in (*_ATTRIBUTES, *_PROPAGATION)), "bind", "rbind"})
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": state.OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "poststart", "poststop"],
        "mountOptions": words,
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": sorted(caps.known()),
            "cgroup": {"v1": True, "v2": True, "systemd": False, "systemdUser": False},
            "seccomp": {"enabled": True},
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
        },
    }
    print(json.dumps(document, indent=2))
    return 0
