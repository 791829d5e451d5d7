"""The machine's program `git`, as it is run for a build: in a jail (`supervisor.jail`), without settings of anyone,
hooks, helpers or prompts, with four transports, and not for ever.

What a repository has can set none of this: its own configuration is made here, and the environment goes before it.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

from corten.errors import Failed, Unavailable, Unsupported
from corten.supervisor import jail
from corten.units.durations import in_go

TRANSPORTS = "http:https:git:ssh"  # no file, no ext
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "true",
    "core.logAllRefUpdates": "false",
    "core.packedGitLimit": "1g",
    "core.packedGitWindowSize": "32m",
    "core.bigFileThreshold": "64m",
    "core.preloadIndex": "false",  # each thread takes of the address space
    "pack.threads": "4",
    "index.threads": "2",
    "core.askPass": "/bin/false",
    "credential.helper": "",
    "fetch.unpackLimit": "1",  # a pack, however small, is what is counted and kept
    "init.defaultBranch": "master",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "initial",
}
_SSH = (
    "ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new "
    f"-o UserKnownHostsFile={jail.HOME}/known_hosts -o GlobalKnownHostsFile=/etc/ssh/ssh_known_hosts "
    "-o ConnectTimeout=30 -o ServerAliveInterval=15 -o ForwardAgent=no -o PermitLocalCommand=no -o LogLevel=ERROR"
)
_REMOTE = ("fetch", "ls-remote")  # commands that wait for a server; others wait for the disk
_LOCAL = 600.0  # seconds without a word of these
_PIECE = 1 << 16
_SAID = 4096  # bytes of its last words
_MOST_SAID = 4 << 20  # bytes of words altogether: progress for hours is less, and a server's words are among them
_ERRORS = ("fatal:", "error:", "remote:", "ssh:", "Permission")
_PROGRESS = ("remote: Enumerating", "remote: Counting", "remote: Compressing", "remote: Total")


class Git:
    """`settings` are more of git's own, by name; `proxies` variables; `patience` seconds that may pass without a word
    of a server. What it says of its work is written to the descriptor `said`, as far as there is room. Commands raise
    Unsupported where there is no git, Unavailable for one that stalls, Failed with its last words for one that fails.
    """

    def __init__(
        self, settings: dict[str, str], proxies: dict[str, str], agent: bool, patience: float, said: int
    ) -> None:
        self._patience = patience
        self._said = said
        self._environment = {
            **jail.environment(),
            **proxies,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_ALLOW_PROTOCOL": TRANSPORTS,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": _SSH,
            "GIT_SSH_VARIANT": "ssh",
            **_configured({**_SETTINGS, **settings}),
            **({"SSH_AUTH_SOCK": jail.AGENT} if agent else {}),
        }

    def run(self, *arguments: str, repository: str = "", tree: str = "", most: int = 4 << 20) -> bytes:
        """What it writes, `most` bytes of it. `repository` is a .git directory, `tree` what is checked out of it."""
        pieces: list[bytes] = []
        size = 0

        def take(piece: bytes) -> None:
            nonlocal size
            size += len(piece)
            if size > most:
                raise Failed(f"git {arguments[0]} says more than {most} bytes")
            pieces.append(piece)

        self.feed(take, *arguments, repository=repository, tree=tree)
        return b"".join(pieces)

    def feed(self, take: Callable[[bytes], None], *arguments: str, repository: str = "", tree: str = "") -> None:
        """The same in pieces. What `take` raises ends it."""
        where = {"GIT_DIR": repository} if repository else {}
        where |= {"GIT_WORK_TREE": tree} if tree else {}
        process = self._begun(arguments, where, tree)
        try:
            said = self._heard(process, take, arguments[0])
            if process.wait() != 0:
                raise Failed(_last(said, process.returncode))
        finally:
            _end(process)

    def _begun(self, arguments: tuple[str, ...], where: dict[str, str], tree: str) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                ("git", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=tree or jail.WORK,
                env={**self._environment, **where},
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Unsupported("git is not installed on the daemon's machine: what is in git cannot be built") from None

    def _heard(self, process: subprocess.Popen[bytes], take: Callable[[bytes], None], what: str) -> bytes:
        """Give what it writes to `take` until it ends; its last words."""
        said, count = b"", 0
        with selectors.DefaultSelector() as selector:
            for file in (process.stdout, process.stderr):
                assert file is not None
                selector.register(file.fileno(), selectors.EVENT_READ, file is process.stdout)
            patience = self._patience if what in _REMOTE else _LOCAL
            while selector.get_map():
                ready = selector.select(patience)
                if not ready:
                    raise Unavailable(f"git {what}: nothing was heard of the other side for {in_go(patience)}")
                for key, _ in ready:
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        selector.unregister(key.fd)
                    elif key.data:
                        take(piece)
                    else:
                        count += len(piece)
                        if count > _MOST_SAID:
                            raise Failed(f"git {what} has more than {_MOST_SAID} bytes of messages")
                        said = (said + piece)[-_SAID:]
                        with suppress(OSError):
                            os.write(self._said, piece)
        return said


def _configured(settings: dict[str, str]) -> dict[str, str]:
    """As variables: a command line can be read by others, and has no room for secrets."""
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _lines(said: bytes) -> list[str]:
    return said.decode("utf-8", "replace").expandtabs(1).replace("\r", "\n").splitlines()


def _last(said: bytes, status: int) -> str:
    """Its error in one line: what it says of progress is none."""
    lines = ["".join(letter if letter.isprintable() else "?" for letter in line) for line in _lines(said)]
    errors = [line.strip() for line in lines if line.startswith(_ERRORS) and not line.startswith(_PROGRESS)]
    words = errors or [line.strip() for line in lines if line.strip()][-3:]
    if not words:
        return f"git was ended by signal {-status}" if status < 0 else f"git failed with status {status}"
    return "; ".join(dict.fromkeys(words))[:1000]


def _end(process: subprocess.Popen[bytes]) -> None:
    """With what it has begun: that is all in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for file in (process.stdout, process.stderr):
        if file is not None:
            file.close()
