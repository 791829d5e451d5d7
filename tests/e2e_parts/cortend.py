"""A real cortend with everything of its own: roots, socket, bridge, cgroup parent."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from e2e_parts.http import Connection
from e2e_parts.patience import PATIENCE, until

PROJECT = Path(__file__).resolve().parents[2]
CORTEND = Path(sys.executable).parent / "cortend"
IMAGE = "corten/busybox"


@contextmanager
def short_root() -> Iterator[Path]:
    """A directory for a daemon, whose path leaves room for those of sockets; it is removed at the end."""
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


class Cortend:
    """Started by `start`, ended by `stop`. The bridge is taken away at the end, as a daemon leaves it to the next.

    with short_root() as root, Cortend(root, "--debug") as daemon:  # stopped at the end, not started at the beginning
        daemon.start()
    """

    def __init__(self, root: Path, *flags: str, program: Sequence[str] = ()) -> None:
        self.root = root
        self.name = f"ce{secrets.token_hex(3)}"
        self.data, self.exec, self.socket = root / "d", root / "r", root / "s"
        self.address = f"unix://{self.socket}"
        self.bridge, self.cgroup = self.name, f"/{self.name}"
        self.log = root / "log"
        self._flags = flags
        self._program = list(program) or [str(CORTEND)]
        self._process: subprocess.Popen[bytes] | None = None
        self._kept: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    @property
    def command(self) -> list[str]:
        own = ["--data-root", str(self.data), "--exec-root", str(self.exec), "-H", self.address]
        net = ["--bridge", self.bridge, "--cgroup-parent", self.cgroup, "--group", "root"]
        return [*self._program, *own, *net, *self._flags]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        environment = {**os.environ, "CORTEN_E2E": self.name}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        deadline = time.monotonic() + PATIENCE
        try:
            while not self._answers():
                assert self._process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.02)
        except BaseException:  # or `stop` would ask it for its containers
            self._process.kill()
            self._process.wait(60)
            raise

    @property
    def started(self) -> bool:
        """And not stopped since, though it may have been killed."""
        return self._process is not None

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spent(self) -> float:
        """Seconds of a processor that the daemon has used: they say nothing of what else the machine has to do."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        try:
            with self.connection() as connection:
                return connection.ask("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def stop(self) -> None:
        """End the daemon; its containers, which would go on, are removed first."""
        if self._process is None:
            return
        if self._kept is not None:
            self._kept.close()
        try:
            if self._process.poll() is None:
                self.remove_everything()
                self._process.terminate()
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
            raise
        finally:
            self._process = None
            self._clear()

    def restart_killed(self) -> None:
        """Kill it, and start it again beside what it has left."""
        self.kill()
        self.start()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _clear(self) -> None:
        """What a daemon leaves to the next one on purpose: bridge, firewall table, control group."""
        for command in (
            ["ip", "link", "delete", self.bridge],
            ["nft", "delete", "table", "inet", f"corten-{self.name}"],
            ["nft", "delete", "table", "netdev", f"corten-{self.name}"],
        ):
            subprocess.run(command, capture_output=True, timeout=60)
        for group in [*Path("/sys/fs/cgroup").glob(f"*/{self.name}"), Path("/sys/fs/cgroup") / self.name]:
            until(lambda: _removed(group))  # noqa: B023

    def warm_up(self, host_config: Mapping[str, Any] | None = None, timeout: float = PATIENCE) -> None:
        """One container and one network, so that what a daemon makes once and keeps is there: image, cgroup, namespace
        in store, name server, forwarder of ports."""
        assert self.ask("POST", "/networks/create", {"Name": "warm"})[0] == 201
        status, made = self.ask(
            "POST",
            "/containers/create",
            {
                "Image": IMAGE,
                "Cmd": ["true"],
                "ExposedPorts": {"80/tcp": {}},
                "HostConfig": {"NetworkMode": "warm", "PublishAllPorts": True, **(host_config or {})},
            },
        )
        assert status == 201, made
        with Connection(self.socket, timeout) as connection:
            status, answer = connection.ask("POST", f"/containers/{made['Id']}/start")
        assert status == 204, answer
        assert self.ask("POST", f"/containers/{made['Id']}/wait")[0] == 200
        self.remove_everything()

    def connection(self) -> Connection:
        return Connection(self.socket)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request on a connection of its own: status, and the answer as JSON or text."""
        with self.connection() as connection:
            return connection.ask(method, path, body, **headers)

    def get(self, path: str) -> Any:
        status, answer = self.ask("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    def ask_quietly(self, path: str) -> Any:
        """`get` on a connection that is kept, so that counting the daemon's descriptors does not change them."""
        for _ in range(2):
            self._kept = self._kept or self.connection()
            try:
                return self._kept.ask("GET", path)[1]
            except (OSError, http.client.HTTPException):  # the daemon may close what is idle
                self._kept.close()
                self._kept = None
        raise AssertionError(f"no answer to {path}: {self.log.read_text()}")

    def containers(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.get("/containers/json?all=1")
        return listed

    def remove_everything(self) -> None:
        """Containers, volumes and networks; images stay."""
        with self.connection() as connection:
            for container in connection.ask("GET", "/containers/json?all=1")[1]:
                connection.ask("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            for volume in connection.ask("GET", "/volumes")[1]["Volumes"] or ():
                connection.ask("DELETE", f"/volumes/{volume['Name']}?force=1")
            connection.ask("POST", "/networks/prune")

    def events(self, since: float, **filters: Any) -> list[dict[str, Any]]:
        """What has happened from `since` until now."""
        wanted = json.dumps({key: [value] if isinstance(value, str) else value for key, value in filters.items()})
        status, text = self.ask("GET", f"/events?since={since:.9f}&until={time.time():.9f}&filters={wanted}")
        assert status == 200, text
        return [json.loads(line) for line in (json.dumps(text) if isinstance(text, dict) else text).splitlines()]


def _removed(group: Path) -> bool:
    """A control group, which the kernel keeps for a moment longer than a process in it."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # EBUSY
        return False
    return True
