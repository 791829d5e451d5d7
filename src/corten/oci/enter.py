"""exec: a further process in a container."""

from __future__ import annotations

import json
import os
from argparse import Namespace

from corten.errors import Conflict, Invalid
from corten.oci import state
from corten.oci.create import filter_of, send_console, write_pid
from corten.runtime import messages, null, spawn
from corten.runtime.enter import Entry, foreign_namespaces
from corten.runtime.plan import check_labels, has_own_mounts
from corten.spec.json import Json


def exec_(arguments: Namespace) -> int:
    """0 when detached, else the process's exit status."""
    container = state.find(arguments.root, arguments.id)
    if container.status() not in ("running", "created"):
        raise Conflict(f"cannot exec in a container that is {container.status()}: {arguments.id}")
    process = _process(arguments, container.spec())
    check_labels(process)
    terminal = bool(process.get("terminal"))
    if terminal and not arguments.console_socket:
        raise Invalid("a terminal needs --console-socket")
    target_fd = os.pidfd_open(container.pid)
    keep = tuple(range(3, 3 + arguments.preserve_fds))
    entry = Entry(process, container.pid, target_fd, foreign_namespaces(container.pid),
                  None if terminal else null.not_the_caller_s((0, 1, 2)), null.open_of(container.pid), (0, 0),
                  keep, not has_own_mounts(container.spec()))  # fmt: skip
    filter_ = filter_of(container.spec(), arguments.root)
    entering = spawn.enter(lambda: entry, container.pid, container.cgroup(), lambda: filter_)
    if terminal:
        send_console(arguments.console_socket, messages.expect(entering.channel, messages.CONSOLE).fd)
    messages.receive(entering.channel)  # end of file: it runs; a failure is raised
    if arguments.pid_file:
        write_pid(arguments.pid_file, entering.pid)
    if arguments.detach:
        return 0
    _, status = os.waitpid(entering.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _process(arguments: Namespace, spec: Json) -> Json:
    """What is to run: a file, or words on the command line over the container's own process."""
    if arguments.process:
        with open(arguments.process, "rb") as file:
            process: Json = json.load(file)
        return process
    if not arguments.args:
        raise Invalid("exec needs a program, or --process")
    process = dict(spec["process"])
    process |= {"args": arguments.args, "terminal": arguments.tty}
    if arguments.cwd:
        process["cwd"] = arguments.cwd
    process["env"] = [*(process.get("env") or ()), *arguments.env]
    if arguments.user:
        uid, _, gid = arguments.user.partition(":")
        process["user"] = {"uid": int(uid), "gid": int(gid or 0)}
    if arguments.additional_gids:
        process["user"] = {**process.get("user", {}), "additionalGids": arguments.additional_gids}
    if arguments.cap:
        sets = process.get("capabilities") or {}
        names = ("bounding", "effective", "permitted")
        process["capabilities"] = {**sets, **{n: [*(sets.get(n) or ()), *arguments.cap] for n in names}}
    if arguments.no_new_privs:
        process["noNewPrivileges"] = True
    process |= {key: text for key, text in _labels(arguments).items() if text}
    return process


def _labels(arguments: Namespace) -> Json:
    return {"apparmorProfile": arguments.apparmor, "selinuxLabel": arguments.process_label}
