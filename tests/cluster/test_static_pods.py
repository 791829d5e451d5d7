"""A kubelet without a cluster runs pods on Corten: all of a pod's life, and kill -9 of whatever is ours meanwhile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.kubelet import NODE, Json, Kubelet, listening
from e2e_parts.patience import until

pytestmark = pytest.mark.timeout(900)
_KILLS = 12  # of each that can be killed, while pods run and while they come up
_STAY = ("corten: supervisor", "corten: sandbox", "corten: pod's processes")  # what pods stand on
_PAGE = "what the init container has written"


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown = root / "shown"
        self.shown.mkdir()
        settings = root / "daemon.json"
        settings.write_text(json.dumps({"cri": {"start": True, "cni-conf-dir": str(root / "none")}}))
        self.daemon = Cortend(root, "--config-file", str(settings))
        self.face = self.daemon.exec / "cri.sock"
        program = f"{os.environ['CORTEN_KUBERNETES_PROGRAMS']}/kubelet"
        self.kubelet = Kubelet(program, root / "k", f"unix://{self.face}", f"/{self.daemon.name}k")

    def start(self) -> None:
        self.daemon.start()
        self.daemon.warm_up()
        until(lambda: listening(self.face))
        self.kubelet.start()

    def stop(self) -> None:
        for file in self.kubelet.pods.glob("*.json"):
            self.kubelet.take_away(file.stem)
        self.kubelet.stop()
        self.daemon.stop()

    def containers(self, pod: str) -> list[Json]:
        """Those of a pod that run, as the daemon inspects them."""
        listed = self.daemon.get("/containers/json")
        own = [each for each in listed if each["Labels"].get("io.kubernetes.pod.name") == f"{pod}-{NODE}"]
        return [self.daemon.get(f"/containers/{each['Id']}/json") for each in own]

    def container(self, pod: str, name: str) -> Json:
        """The one that runs."""
        found = [each for each in self.containers(pod) if each["Name"].startswith(f"/k8s_{name}_")]
        assert len(found) == 1, [each["Name"] for each in found]
        return found[0]

    def sandboxes(self, pod: str) -> list[str]:
        """Ids of those that are ready."""
        listed = self.daemon.get("/pods/json")
        return [each["id"] for each in listed if each["metadata"]["name"] == f"{pod}-{NODE}" and not each.get("state")]

    def until_gone(self, pod: str) -> None:
        self.kubelet.until(lambda: self.kubelet.find(pod), lambda found: found is None)
        self.kubelet.until(lambda: not self.sandboxes(pod) and not self.containers(pod))

    def kill_face(self) -> None:
        if pid := listening(self.face):
            os.kill(pid, signal.SIGKILL)

    def kill_daemon(self) -> None:
        """And what it has forked: the launcher, name server, forwarder, helpers that are at work."""
        helpers = _descendants(self.daemon.pid)
        os.kill(self.daemon.pid, signal.SIGSTOP)
        for pid in helpers:
            title = _title(pid)
            if not title.startswith(_STAY):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.daemon.restart_killed()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(Path(tempfile.mkdtemp(prefix="ce-")))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.root)


def spec(world: World, **more: Any) -> Json:
    """Two containers behind one that prepares: a web server and one that writes to the host's directory."""
    limits = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    return {
        "initContainers": [
            container("first", f"echo '{_PAGE}' > /www/index.html", mounts={"page": "/www"}),
        ],
        "containers": [
            container(
                "web",
                "echo serving; exec httpd -f -p 8080 -h /www",
                mounts={"page": "/www"},
                resources=limits,
                startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
                readinessProbe={"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1},
                livenessProbe={"exec": {"command": ["test", "-f", "/www/index.html"]}, "periodSeconds": 1},
            ),
            container("beside", "echo begun >> /shown/$NAME; exec sleep 100000", mounts={"shown": "/shown"},
                      env=[{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        ],
        "volumes": [
            {"name": "page", "emptyDir": {"medium": "Memory"}},
            {"name": "shown", "hostPath": {"path": str(world.shown), "type": "Directory"}},
        ],
        "terminationGracePeriodSeconds": 2,
        **more,
    }  # fmt: skip


def container(name: str, script: str, mounts: dict[str, str], **more: Any) -> Json:
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": volume, "mountPath": place} for volume, place in mounts.items()],
        **more,
    }


def test_all_of_a_pods_life(world: World) -> None:
    kubelet = world.kubelet
    kubelet.place("life", spec(world))
    status = kubelet.until_ready("life")
    first = status["containers"]["first"]
    assert first["state"]["terminated"]["reason"] == "Completed" and first["state"]["terminated"]["exitCode"] == 0
    assert status["podIP"] and (world.shown / f"life-{NODE}").read_text() == "begun\n"

    web = world.container("life", "web")
    assert (web["HostConfig"]["Memory"], web["HostConfig"]["CpuQuota"]) == (64 << 20, 50_000)
    group = _group(web["State"]["Pid"], "memory")
    assert group.parent.parent.name == "burstable" and web["Id"] in group.name, group
    assert (group / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
    names = subprocess.run(
        ["docker", "-H", world.daemon.address, "ps", "--format", "{{.Names}}"], capture_output=True, text=True
    ).stdout.split()
    uid = status["containers"]["web"]["containerID"].removeprefix("corten://")
    assert uid == web["Id"] and any(name.startswith(f"k8s_web_life-{NODE}_default_") for name in names)

    code, log = kubelet.logs("life", "web")
    assert (code, log) == (200, "serving\n")
    code, said = kubelet.run("life", "web", "cat /www/index.html")
    assert (code, said) == (200, f"{_PAGE}\n")

    kubelet.take_away("life")
    world.until_gone("life")


def test_what_ends_is_started_again(world: World) -> None:
    """A container that ends by itself, and one that a probe finds dead; the other one goes on."""
    kubelet = world.kubelet
    kubelet.place("ends", spec(world))
    kubelet.until_ready("ends")
    web, beside = (world.container("ends", name) for name in ("web", "beside"))
    os.kill(beside["State"]["Pid"], signal.SIGKILL)
    kubelet.until(lambda: kubelet.status("ends")["containers"]["beside"]["restartCount"], lambda count: count == 1)
    last = kubelet.status("ends")["containers"]["beside"]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")
    kubelet.until_ready("ends")
    assert world.container("ends", "web")["Id"] == web["Id"]

    assert kubelet.run("ends", "web", "mv /www/index.html /www/away.html")[0] == 200
    kubelet.until(lambda: kubelet.status("ends")["containers"]["web"]["restartCount"])
    kubelet.until(lambda: kubelet.run("ends", "web", "mv /www/away.html /www/index.html")[0] == 200)
    kubelet.until_ready("ends")
    assert kubelet.status("ends")["containers"]["beside"]["restartCount"] == 1
    kubelet.take_away("ends")


def test_a_pod_that_is_changed_is_replaced(world: World) -> None:
    kubelet = world.kubelet
    kubelet.place("change", spec(world))
    kubelet.until_ready("change")
    before = world.sandboxes("change")
    changed = spec(world)
    changed["containers"][1]["command"][2] = "echo changed; exec sleep 100000"
    kubelet.place("change", changed)
    kubelet.until(lambda: world.sandboxes("change"), lambda now: now and now != before)
    kubelet.until_ready("change")
    code, log = kubelet.logs("change", "beside")
    assert (code, log) == (200, "changed\n")
    kubelet.take_away("change")


def test_a_limit_of_memory(world: World) -> None:
    kubelet = world.kubelet
    greedy = container("greedy", "exec tail /dev/zero", {}, resources={"limits": {"memory": "24Mi"}})
    kubelet.place("greedy", {"containers": [greedy], "restartPolicy": "Never"})

    def ended() -> Json:
        found: Json = kubelet.status("greedy")["containers"].get("greedy", {}).get("state", {}).get("terminated", {})
        return found

    last = kubelet.until(ended)
    assert (last["reason"], last["exitCode"]) == ("OOMKilled", 137)
    kubelet.take_away("greedy")


def test_pods_go_on_when_all_of_ours_is_killed(world: World) -> None:
    """Nothing is started again, and nothing is made twice."""
    kubelet = world.kubelet
    for name in ("one", "two"):
        kubelet.place(name, spec(world))
    for name in ("one", "two"):
        kubelet.until_ready(name)
    before = {name: _running(world, name) for name in ("one", "two")}
    for _ in range(_KILLS):
        world.kill_face()
        world.kill_daemon()
        until(lambda: listening(world.face))
    kubelet.kill()
    kubelet.start()
    for name in ("one", "two"):
        kubelet.until_ready(name)
        assert _running(world, name) == before[name]
        assert {each["restartCount"] for each in kubelet.status(name)["containers"].values()} == {0}
        assert (world.shown / f"{name}-{NODE}").read_text() == "begun\n"
        code, said = kubelet.run(name, "web", "cat /www/index.html")
        assert (code, said) == (200, f"{_PAGE}\n")
        kubelet.take_away(name)


def test_kills_while_pods_come_and_go(world: World) -> None:
    """At any moment of the calls that make and remove them: in the end each is there once, and then not at all."""
    kubelet, chance = world.kubelet, random.Random(int(os.environ.get("CORTEN_SEED", "16")))
    names = [f"p{number}" for number in range(_KILLS // 2)]
    for name in names:
        kubelet.place(name, spec(world))
        time.sleep(chance.uniform(0, 3))  # not to wait for something: when it is killed is to differ
        world.kill_face() if chance.random() < 0.5 else world.kill_daemon()
    for name in names:
        kubelet.until_ready(name)
        assert len(world.sandboxes(name)) == 1
        assert {each["Name"].split("_")[1] for each in world.containers(name)} == {"web", "beside"}
        assert len(world.containers(name)) == 2
    for name in names:
        (kubelet.pods / f"{name}.json").unlink()
        time.sleep(chance.uniform(0, 3))
        world.kill_face() if chance.random() < 0.5 else world.kill_daemon()
    for name in names:
        world.until_gone(name)


def test_nothing_is_left(world: World) -> None:
    kubelet = world.kubelet
    until(lambda: not world.daemon.containers() and not world.daemon.get("/pods/json"))
    until(lambda: not list((world.daemon.exec / "sandboxes").glob("*")))
    assert not list((world.daemon.data / "containers").glob("*"))
    kubepods = Path("/sys/fs/cgroup/memory") / kubelet.cgroup.strip("/") / "kubepods"
    kubelet.until(lambda: not [path for path in kubepods.rglob("pod*") if path.is_dir()])


def _running(world: World, name: str) -> dict[str, tuple[str, int]]:
    return {each["Name"]: (each["Id"], each["State"]["Pid"]) for each in world.containers(name)}


def _group(pid: int, controller: str) -> Path:
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return Path("/sys/fs/cgroup") / controller / path.strip("/")
    raise AssertionError(f"no group of {controller}")


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    """Children, and theirs: those of containers are among them, which are asked for by no title of ours."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found: list[int] = []
    for child in children.get(pid, []):
        found.append(child)
        if _title(child).startswith("corten"):
            found += [each for each in _descendants(child) if _title(each).startswith("corten")]
    return found
