"""The command `corten-oci`: runc's flags, runc's log, runc's exit statuses."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corten import __version__
from corten.errors import CortenError, Invalid
from corten.oci import state, verbs
from corten.runtime.messages import ChildFailed

_DEFAULT_ROOT = Path("/run/corten-oci")


def entry() -> None:
    os.umask(0o022)  # not the caller's, which may be 0 (dockerd's is): --log and --pid-file are root's alone to write
    sys.exit(main(sys.argv[1:]))


def main(words: Sequence[str]) -> int:
    """One verb. A failure is one line on standard error, a record in --log, and exit status 1."""
    arguments = argparse.Namespace(log="", log_format="text")
    try:
        arguments = _parser().parse_args(list(words), arguments)
        arguments.root = Path(arguments.root)
        code: int = arguments.run(arguments)
        return code
    except (CortenError, OSError, ValueError) as error:
        text = f"{arguments.verb} failed: {_text(error)}" if hasattr(arguments, "verb") else _text(error)
        _log(arguments, text)
        print(f"corten-oci: {text}", file=sys.stderr)
        return 1


def _text(error: BaseException) -> str:
    if isinstance(error, ChildFailed) and error.exit_code in (126, 127):
        return f"unable to start container process: {error}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.strerror}: {error.filename}"
    return str(error)


def _log(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.log:
        return
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    record = {"level": "error", "msg": text, "time": now}
    line = json.dumps(record) if arguments.log_format == "json" else f'time="{now}" level=error msg={json.dumps(text)}'
    with open(arguments.log, "a") as file:
        file.write(line + "\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise Invalid(f"{message}; see '{self.prog} --help'")


# What makes processes is loaded by the verbs that do: `state` and `kill` are called for every container, and would
# spend a third of their time on it.


def _create(arguments: argparse.Namespace) -> int:
    from corten.oci import create

    create.create(arguments)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from corten.oci import create

    return create.run(arguments)


def _exec(arguments: argparse.Namespace) -> int:
    from corten.oci import enter

    return enter.exec_(arguments)


def _spec(arguments: argparse.Namespace) -> int:
    from corten.oci import template

    return template.spec(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="corten-oci",
        description="An OCI container runtime (specification 1.2).",
        formatter_class=argparse.RawDescriptionHelpFormatter,  # --version is two lines, and others read them
    )
    version = f"corten-oci version {__version__}\nspec: {state.OCI_VERSION}"
    parser.add_argument("-v", "--version", action="version", version=version)
    parser.add_argument("--root", default=_DEFAULT_ROOT, help="where the state of containers is kept")
    parser.add_argument("--log", help="file for errors")
    parser.add_argument("--log-format", choices=("text", "json"))
    for ignored in ("--debug", "--systemd-cgroup"):
        parser.add_argument(ignored, action="store_true", help=argparse.SUPPRESS)
    for ignored in ("--criu", "--rootless", "--cgroup-manager", "--log-level"):
        parser.add_argument(ignored, help=argparse.SUPPRESS)
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Any, help: str, id: bool = True) -> argparse.ArgumentParser:
        child: argparse.ArgumentParser = subparsers.add_parser(name, help=help)
        child.set_defaults(run=run)
        if id:
            child.add_argument("id")
        return child

    def make(name: str, run: Any, help: str) -> argparse.ArgumentParser:
        child = verb(name, run, help)
        child.add_argument("-b", "--bundle", default=".")
        child.add_argument("--console-socket", default="")
        child.add_argument("--pid-file", default="")
        child.add_argument("--preserve-fds", type=int, default=0)
        for ignored in ("--no-pivot", "--no-new-keyring", "--keep"):
            child.add_argument(ignored, action="store_true", help=argparse.SUPPRESS)
        return child

    make("create", _create, "make a container; `start` lets it run")
    make("run", _run, "create, start, wait and delete").add_argument("-d", "--detach", action="store_true")
    verb("start", verbs.start, "let a created container run its program")
    verb("state", verbs.show_state, "print the state of a container")
    child = verb("kill", verbs.kill, "send a signal")
    child.add_argument("signal", nargs="?", default="SIGTERM")
    child.add_argument("-a", "--all", action="store_true")
    verb("delete", verbs.delete, "take a container away").add_argument("-f", "--force", action="store_true")
    _exec_flags(verb("exec", _exec, "run a further process in a container"))
    child = verb("list", verbs.list_all, "list containers", id=False)
    child.add_argument("-f", "--format", choices=("table", "json"), default="table")
    child.add_argument("-q", "--quiet", action="store_true")
    child = verb("ps", verbs.ps, "list the processes of a container")
    child.add_argument("-f", "--format", choices=("table", "json"), default="table")
    child.add_argument("ps_args", nargs=argparse.REMAINDER)
    verb("pause", verbs.pause, "freeze all processes")
    verb("resume", verbs.resume, "let them go on")
    _update_flags(verb("update", verbs.update, "change limits"))
    child = verb("events", verbs.events, "print statistics")
    child.add_argument("--stats", action="store_true", help="once")
    child.add_argument("--interval", type=lambda text: float(text.rstrip("s")), default=5.0)
    verb("features", verbs.features, "print what this runtime can do", id=False)
    child = verb("spec", _spec, "write a config.json to begin with", id=False)
    child.add_argument("-b", "--bundle", default=".")
    return parser


def _exec_flags(child: argparse.ArgumentParser) -> None:
    child.add_argument("-p", "--process", default="", help="JSON file of the process")
    child.add_argument("-t", "--tty", action="store_true")
    child.add_argument("-d", "--detach", action="store_true")
    child.add_argument("-e", "--env", action="append", default=[])
    child.add_argument("-u", "--user", default="")
    child.add_argument("-g", "--additional-gids", action="append", type=int, default=[])
    child.add_argument("-c", "--cap", action="append", default=[])
    child.add_argument("--cwd", default="")
    child.add_argument("--pid-file", default="")
    child.add_argument("--console-socket", default="")
    child.add_argument("--preserve-fds", type=int, default=0)
    child.add_argument("--no-new-privs", action="store_true")
    child.add_argument("--apparmor", default="", help="AppArmor profile of the process")
    child.add_argument("--process-label", default="", help="refused: SELinux is not supported")
    child.add_argument("--cgroup", help=argparse.SUPPRESS)
    child.add_argument("--ignore-paused", action="store_true", help=argparse.SUPPRESS)
    child.add_argument("args", nargs=argparse.REMAINDER)


def _update_flags(child: argparse.ArgumentParser) -> None:
    child.add_argument("-r", "--resources", default="", help="JSON file of linux.resources, or -")
    for name in ("memory", "memory-swap", "memory-reservation", "cpu-share", "cpu-quota", "cpu-period", "pids-limit",
                 "blkio-weight"):  # fmt: skip
        child.add_argument(f"--{name}", type=int)
    for name in ("cpuset-cpus", "cpuset-mems"):
        child.add_argument(f"--{name}")
