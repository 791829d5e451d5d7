"""A kubelet without a cluster: it runs the pods whose files are in a directory (Kubernetes' static pods).

    kubelet = Kubelet(root, "unix:///x/cri.sock", "/cex")
    kubelet.start()
    kubelet.place("web", {"containers": [...]})            # a file; the kubelet calls the pod web-NODE
    kubelet.until_ready("web")
    kubelet.take_away("web")
    kubelet.stop()

Everything that it keeps is below `root`, and its control groups below one of the test's own. What it sets for the whole
machine is put back when it is stopped.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from e2e_parts.patience import until
from free_ports import free_port

Json = dict[str, Any]
Seen = TypeVar("Seen")
NODE = "node"
_LINKS = Path("/var/log/containers")  # a kubelet keeps links to logs there, wherever the logs are
_TUNABLES = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
             "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes")  # fmt: skip


class Kubelet:
    """`enter` are the words in front of the program, of another that executes it. `settings` go over those here."""

    def __init__(
        self,
        program: str,
        root: Path,
        runtime: str,
        cgroup: str,
        enter: Sequence[str] = (),
        settings: Json | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self.program, self.root, self.cgroup = program, root, cgroup
        self._enter, self._flags = enter, flags or ("--hostname-override", NODE)
        self.pods, self._logs = root / "pods", root / "pod-logs"
        self._port, self._open_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._links = _LINKS.exists()
        self._tunables = {name: (Path("/proc/sys") / name).read_text() for name in _TUNABLES}
        for directory in (self.pods, self._logs):
            directory.mkdir(parents=True)
        (root / "resolv.conf").write_text("nameserver 192.0.2.53\n")
        (root / "config.json").write_text(json.dumps({**self._config(runtime), **(settings or {})}))

    def _config(self, runtime: str) -> Json:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "staticPodPath": str(self.pods),
            "podLogsDir": str(self._logs),
            "containerRuntimeEndpoint": runtime,
            "address": "127.0.0.1",
            "port": self._port,
            "readOnlyPort": self._open_port,
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": self.cgroup,
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "evictionHard": {},
            "mergeDefaultEvictionSettings": False,
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,
            "resolvConf": str(self.root / "resolv.conf"),
            "volumePluginDir": str(self.root / "plugins"),
            "fileCheckFrequency": "1s",
            "syncFrequency": "5s",
            "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        }

    # ----------------------------------------------------------------------------------------------------------- life

    def start(self) -> None:
        self._make_groups()
        command = [*self._enter, self.program, "--config", str(self.root / "config.json"), "--root-dir",
                   str(self.root / "kubelet"), "--cert-dir", str(self.root / "certificates"), *self._flags,
                   "--v=2"]  # fmt: skip
        with (self.root / "kubelet.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return bool(self._get("/healthz") == "ok")
        except OSError:
            return False

    def _make_groups(self) -> None:
        """The one that pods are below has to be there. A new cpuset has no processors by itself (cpuset(7))."""
        for hierarchy in _hierarchies():
            group = hierarchy / self.cgroup.strip("/")
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (group / name).exists() and not (group / name).read_text().strip():
                    (group / name).write_text((hierarchy / name).read_text())

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)
        self._process = None

    def end(self) -> None:
        """Its process; pods go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def stop(self) -> None:
        """And what it has set and made. Pods are to be taken away before."""
        self.end()
        for place in mounts_below(self.root):
            subprocess.run(["umount", place], check=True)
        for name, value in self._tunables.items():
            (Path("/proc/sys") / name).write_text(value)
        if not self._links:
            shutil.rmtree(_LINKS, ignore_errors=True)
        for top in self.groups():
            for directory, _, _ in os.walk(top, topdown=False):
                with suppress(FileNotFoundError):
                    os.rmdir(directory)

    def groups(self) -> list[Path]:
        """Of control groups the one that all of its are below, in each hierarchy that has it."""
        return [top for hierarchy in _hierarchies() if (top := hierarchy / self.cgroup.strip("/")).is_dir()]

    def log(self) -> str:
        return "\n".join((self.root / "kubelet.log").read_text().splitlines()[-40:])

    # ----------------------------------------------------------------------------------------------------------- pods

    def place(self, name: str, spec: Json, **metadata: Any) -> None:
        """Write the pod's file, at once: the kubelet looks at files that are there."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}
        new = self.root / f"{name}.new"
        new.write_text(json.dumps(pod))
        new.rename(self.pods / f"{name}.json")

    def take_away(self, name: str) -> None:
        """Remove the file, and wait until the kubelet has nothing of the pod."""
        (self.pods / f"{name}.json").unlink()
        self.until(lambda: self.find(name), lambda found: found is None)

    def find(self, name: str) -> Json | None:
        """The pod as the kubelet has it, or None."""
        listed = json.loads(self._get("/pods"))["items"] or ()
        return next((pod for pod in listed if pod["metadata"]["name"] == f"{name}-{NODE}"), None)

    def status(self, name: str) -> Json:
        """Of a pod: its container statuses by name, below "containers"; without any while it is not known."""
        found = (self.find(name) or {}).get("status", {})
        every = [*found.get("initContainerStatuses", ()), *found.get("containerStatuses", ())]
        return {**found, "containers": {each["name"]: each for each in every}}

    def until_ready(self, name: str) -> Json:
        return self.until(lambda: self.status(name), is_ready)

    def until(self, look: Callable[[], Seen], enough: Callable[[Seen], object] = bool) -> Seen:
        try:
            return until(look, enough)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    # ------------------------------------------------------------------------------------------------------- requests

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._open_port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def run(self, pod: str, container: str, command: str) -> tuple[int, str]:
        """A command, its words separated by one blank each: status, and its output."""
        return self.ask("POST", f"/run/default/{pod}-{NODE}/{container}?cmd={urllib.parse.quote(command)}")

    def logs(self, pod: str, container: str) -> tuple[int, str]:
        return self.ask("GET", f"/containerLogs/default/{pod}-{NODE}/{container}")

    def ask(self, method: str, path: str) -> tuple[int, str]:
        """A request that is for administrators: logs, commands."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"https://127.0.0.1:{self._port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=60, context=trusting) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def is_ready(status: Json) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))


def listening(path: Path) -> int:
    """The process that does at a unix socket, 0 while none does."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)  # a path has at most 107 bytes (unix(7))
        except FileNotFoundError:
            return 0
        try:
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        except OSError:
            return 0
        finally:
            os.close(directory)
        pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid


def mounts_below(root: Path) -> list[str]:
    """The innermost first: a kubelet mounts its own directory on itself, and leaves it so."""
    places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((place for place in places if place.startswith(f"{root}/")), reverse=True)


def _hierarchies() -> list[Path]:
    """Of control groups, by the place where they are mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]
