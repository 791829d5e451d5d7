"""A cluster whose nodes run on Corten: a Deployment through its life, a Service, a node that fails, kubectl's commands.

The tests are one script in this order: each goes on with what those before it have made.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.cluster import REGISTRY, Cluster, Node, Space, eventually
from e2e_parts.cortend import CORTEND
from e2e_parts.kubelet import Json, is_ready
from e2e_parts.patience import PATIENCE

pytestmark = pytest.mark.timeout(900)
_SERVE = 'echo "$(hostname) $VERSION" > /www/index.html; echo "serving $VERSION"; exec httpd -f -p 8080 -h /www'
_NODE_PORT = 30080
_REQUESTS = 40  # of three replicas each is asked: that one is not has a chance of 3 * (2/3)**40


class Script:
    """The cluster, and what is asked of it again and again."""

    def __init__(self, root: Path) -> None:
        self.cluster = Cluster(root, os.environ["CORTEN_KUBERNETES_PROGRAMS"], nodes=2)
        self.begun = time.monotonic()

    def say(self, text: str) -> None:
        """A step, for who runs it with -s."""
        print(f"{time.monotonic() - self.begun:6.1f} s  {text}", file=sys.stderr)

    @property
    def nodes(self) -> tuple[Node, Node]:
        first, second = self.cluster.nodes
        return first, second

    def pods(self, version: str = "") -> list[Json]:
        """Those of the Deployment that are ready and not about to end."""
        return [
            pod
            for pod in self.cluster.get("pods", "-l", "app=web")
            if is_ready(pod["status"]) and "deletionTimestamp" not in pod["metadata"]
            if not version or pod["spec"]["containers"][0]["image"].endswith(f":{version}")
        ]

    def until_pods(self, number: int, version: str = "") -> list[Json]:
        return eventually(lambda: self.pods(version), lambda found: len(found) == number)

    def answers(self, space: Space, address: str, number: int = _REQUESTS) -> Counter[str]:
        """Who has answered how often, as "POD VERSION"."""
        return Counter(space.fetch(address).strip() for _ in range(number))


@pytest.fixture(scope="module")
def script(request: pytest.FixtureRequest) -> Iterator[Script]:
    root = Path(tempfile.mkdtemp(prefix="ce-"))
    made = Script(root)
    try:
        made.cluster.start()
        yield made
    finally:
        if request.session.testsfailed or sys.exc_info()[0]:
            made.say(made.cluster.log())
        made.cluster.stop()
        assert not made.cluster.left()
        shutil.rmtree(root)


def test_both_nodes_are_ready(script: Script) -> None:
    listed = eventually(
        lambda: script.cluster.get("nodes"), lambda found: [is_ready(each["status"]) for each in found] == [True] * 2
    )
    assert {each["status"]["nodeInfo"]["containerRuntimeVersion"].split(":")[0] for each in listed} == {"corten"}
    script.say(script.cluster.kubectl("get", "nodes", "-o", "wide"))


def test_images_are_pushed(script: Script) -> None:
    """By one node, to our registry: the others have to pull them."""
    node, root = script.nodes[0], script.cluster.root / "image"
    root.mkdir()
    corten = [str(CORTEND.parent / "corten"), "-H", node.daemon.address]
    for version in ("1", "2"):
        name = f"{REGISTRY}/web:{version}"
        (root / "Dockerfile").write_text(f"FROM corten/busybox\nRUN mkdir /www\nENV VERSION={version}\n")
        for words in (["build", "-q", "-t", name, str(root)], ["push", "-q", name], ["rmi", name]):
            done = subprocess.run([*corten, *words], capture_output=True, text=True, timeout=PATIENCE)
            assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_a_deployment_is_spread_over_both(script: Script) -> None:
    script.cluster.apply(_deployment(), _service())
    pods = script.until_pods(3)
    assert set(_places(pods).values()) == {1, 2}
    for pod in pods:
        node = next(each for each in script.nodes if each.name == pod["spec"]["nodeName"])
        assert pod["status"]["podIP"].startswith(node.pods)
    script.say(script.cluster.kubectl("get", "pods", "-o", "wide"))


def test_logs_exec_and_port_forward(script: Script) -> None:
    """For a pod on each node."""
    cluster = script.cluster
    for node in script.nodes:
        name = next(_name(pod) for pod in script.pods() if pod["spec"]["nodeName"] == node.name)
        assert cluster.kubectl("logs", name) == "serving 1\n"
        assert cluster.kubectl("exec", name, "--", "hostname") == f"{name}\n"
        assert cluster.kubectl("exec", "-i", name, "--", "sh", "-c", "wc -c", given="12345").strip() == "5"
        code, said = cluster.try_kubectl("exec", name, "--", "sh", "-c", "exit 7")
        assert "exit code 7" in said and code == 7
        with subprocess.Popen(
            cluster.command("port-forward", name, "18080:8080"), stdout=subprocess.PIPE, cwd=cluster.root
        ) as forward:
            assert forward.stdout is not None
            try:
                assert forward.stdout.readline().startswith(b"Forwarding from 127.0.0.1:18080")
                assert script.answers(cluster.space, "127.0.0.1:18080", 5) == {f"{name} 1": 5}
            finally:
                forward.terminate()
        script.say(f"{node.name}: logs, exec and port-forward of {name}")


def test_pods_reach_one_another(script: Script) -> None:
    """Across nodes, by their own addresses, and the API server by its service, with the token that a pod has."""
    pods = script.pods()
    for pod in pods:
        for other in pods:
            said = script.cluster.kubectl(
                "exec", _name(pod), "--", "wget", "-qO-", f"http://{other['status']['podIP']}:8080/"
            )
            assert said == f"{_name(other)} 1\n"
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    listed = script.cluster.kubectl("exec", _name(pods[0]), "--", "ls", token).split()
    assert listed == ["ca.crt", "namespace", "token"]


def test_a_service_balances(script: Script) -> None:
    """From pods and nodes by its address, and from elsewhere by each node's port."""
    cluster = script.cluster
    every = {f"{_name(pod)} 1" for pod in script.pods()}
    address = _address(script)
    for node in script.nodes:
        eventually(lambda node=node: node.space.fetch(address))  # type: ignore[misc]
        assert set(script.answers(node.space, address)) == every
        outside = script.answers(cluster.space, f"{node.address}:{_NODE_PORT}")
        assert set(outside) == every
        name = next(_name(pod) for pod in script.pods() if pod["spec"]["nodeName"] == node.name)
        loop = f"for i in $(seq {_REQUESTS}); do wget -qO- http://{address}/; done"
        inside = Counter(cluster.kubectl("exec", name, "--", "sh", "-c", loop).splitlines())
        assert set(inside) == every and inside.total() == _REQUESTS
        script.say(
            f"service from a pod on {node.name}: {sorted(inside.values())}, by its port: {sorted(outside.values())}"
        )


def test_usage(script: Script) -> None:
    """What `kubectl top` is made from."""
    for node in script.nodes:
        path = f"/api/v1/nodes/{node.name}/proxy/stats/summary"

        def measured(path: str = path) -> list[Json]:
            found = json.loads(script.cluster.kubectl("get", "--raw", path))["pods"]
            return [pod for pod in found if pod.get("memory", {}).get("workingSetBytes") and "cpu" in pod]

        mine = {_name(pod) for pod in script.pods() if pod["spec"]["nodeName"] == node.name}
        found = eventually(measured, lambda found, mine=mine: {_of(pod) for pod in found} == mine)  # type: ignore[misc]
        for pod in found:
            script.say(f"{node.name} {_of(pod)}: {pod['memory']['workingSetBytes'] >> 10} KiB, {_thousandths(pod)} m")
    for words, names in (
        ("nodes", {each.name for each in script.nodes}),
        ("pods", {_name(pod) for pod in script.pods()}),
    ):

        def listed(words: str = words) -> set[str]:
            assert script.cluster.runs()
            code, said = script.cluster.try_kubectl("top", words, "--no-headers")
            return {line.split()[0] for line in said.splitlines()} if code == 0 else set()

        eventually(listed, lambda found, names=names: found == names)  # type: ignore[misc]
        script.say(script.cluster.kubectl("top", words))


def test_scale_to_ten_and_back(script: Script) -> None:
    for number in (10, 3):
        script.cluster.kubectl("scale", "deployment/web", f"--replicas={number}")
        pods = script.until_pods(number)
        script.say(f"{number} replicas: {dict(_places(pods))}")
        if number == 10:
            assert set(_places(pods).values()) == {5}
    eventually(lambda: script.cluster.get("pods"), lambda found: len(found) == 3)


def test_roll_to_a_new_image(script: Script) -> None:
    """The Service answers all the time."""
    cluster = script.cluster
    address = f"{script.nodes[0].address}:{_NODE_PORT}"
    asking = f"while sleep 0.1; do curl -s -m 3 --noproxy '*' http://{address}/ || echo none; done"
    with (cluster.root / "answers").open("w") as answers:
        asker = subprocess.Popen([*cluster.space.enter, "sh", "-c", asking], stdout=answers)
        try:
            cluster.kubectl("set", "image", "deployment/web", f"web={REGISTRY}/web:2")
            eventually(lambda: (script.pods("2"), script.pods()), lambda found: [len(each) for each in found] == [3, 3])
            cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
            every = {f"{_name(pod)} 2" for pod in script.pods()}
            eventually(lambda: set(script.answers(cluster.space, address)), lambda found: found == every)
        finally:
            asker.terminate()
            asker.wait(PATIENCE)
    seen = Counter(line.split()[-1] for line in (cluster.root / "answers").read_text().splitlines())
    assert set(seen) == {"1", "2"}, seen
    script.say(f"rolled; answers meanwhile by version: {dict(seen)}")


def test_a_node_fails_and_comes_back(script: Script) -> None:
    before = _places(script.pods())
    kept, lost = sorted(script.nodes, key=lambda node: before[node.name])
    lost.kill()
    killed = time.monotonic()
    pods = eventually(script.pods, lambda found: len(found) == 3 and _places(found) == {kept.name: 3})
    script.say(
        f"{lost.name} killed with {before[lost.name]} replicas: all on {kept.name} in {time.monotonic() - killed:.0f} s"
    )
    script.say(script.cluster.kubectl("get", "nodes"))
    every = {f"{_name(pod)} 2" for pod in pods}
    eventually(lambda: set(script.answers(kept.space, _address(script))), lambda found: found == every)
    lost.start()
    eventually(lambda: script.cluster.get("nodes"), lambda found: all(is_ready(each["status"]) for each in found))
    eventually(lambda: script.cluster.get("pods"), lambda found: len(found) == 3)
    eventually(lambda: lost.daemon.get("/pods/json"), lambda found: not found)
    script.cluster.kubectl("rollout", "restart", "deployment/web")
    script.cluster.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    eventually(lambda: _places(script.pods()), lambda places: set(places.values()) == {1, 2})
    script.say(f"{lost.name} is back: {dict(_places(script.pods()))}")


def test_the_control_plane_is_killed(script: Script) -> None:
    """Pods and Services go on without it, and a new one finds all of it as it was."""
    cluster = script.cluster
    before = eventually(lambda: _containers(script), lambda found: len(found) == 3)
    address, every = _address(script), {f"{_name(pod)} 2" for pod in script.until_pods(3)}
    cluster.kill_control()
    assert cluster.try_kubectl("get", "nodes")[0] != 0
    for node in script.nodes:
        assert set(script.answers(node.space, address)) == every
        assert set(script.answers(cluster.space, f"{node.address}:{_NODE_PORT}")) == every
    cluster.start_control()
    eventually(lambda: cluster.get("nodes"), lambda found: all(is_ready(each["status"]) for each in found))
    assert {f"{_name(pod)} 2" for pod in script.until_pods(3)} == every
    assert _containers(script) == before, "nothing was started again"
    cluster.kubectl("scale", "deployment/web", "--replicas=4")
    script.until_pods(4)
    assert before.items() < _containers(script).items()
    cluster.kubectl("scale", "deployment/web", "--replicas=3")
    eventually(lambda: cluster.get("pods"), lambda found: len(found) == 3)
    script.say("the control plane was killed: the Service has answered, and no container was started again")


def test_nothing_is_left(script: Script) -> None:
    script.cluster.kubectl("delete", "deployment/web", "service/web")
    eventually(lambda: script.cluster.get("pods"), lambda found: not found)
    for node in script.nodes:
        eventually(lambda node=node: node.daemon.get("/pods/json"), lambda found: not found)  # type: ignore[misc]
        assert not node.daemon.containers()
        assert not list((node.daemon.exec / "sandboxes").glob("*"))
        eventually(lambda node=node: _groups(node), lambda found: not found)  # type: ignore[misc]


def _deployment() -> Json:
    container = {
        "name": "web",
        "image": f"{REGISTRY}/web:1",
        "command": ["sh", "-c", _SERVE],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "2"]}}},  # until every node's kube-proxy knows of it
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"app": "web"}},
        "matchLabelKeys": ["pod-template-hash"],
    }
    pod = {"containers": [container], "topologySpreadConstraints": [spread], "terminationGracePeriodSeconds": 5}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
        },
    }


def _service() -> Json:
    port = {"port": 80, "targetPort": 8080, "nodePort": _NODE_PORT}
    spec = {"type": "NodePort", "selector": {"app": "web"}, "ports": [port]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}


def _address(script: Script) -> str:
    return str(next(each for each in script.cluster.get("services") if _name(each) == "web")["spec"]["clusterIP"])


def _containers(script: Script) -> dict[str, str]:
    """Ids of those that run, on all nodes, and when each was started."""
    inspected = [
        node.daemon.get(f"/containers/{each['Id']}/json")
        for node in script.nodes
        for each in node.daemon.get("/containers/json")
    ]
    return {each["Id"]: each["State"]["StartedAt"] for each in inspected}


def _places(pods: list[Json]) -> Counter[str]:
    return Counter(pod["spec"]["nodeName"] for pod in pods)


def _groups(node: Node) -> list[Path]:
    """Control groups of its pods."""
    return [path for top in node.kubelet.groups() for path in top.rglob("pod*") if path.is_dir()]


def _name(found: Json) -> str:
    return str(found["metadata"]["name"])


def _thousandths(usage: Json) -> int:
    """Of a processor."""
    return int(usage["cpu"].get("usageNanoCores", 0)) // 1_000_000


def _of(usage: Json) -> str:
    """The pod's name in a summary of usage."""
    return str(usage["podRef"]["name"])
