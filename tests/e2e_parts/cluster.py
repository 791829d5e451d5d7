"""A cluster of Kubernetes on this machine: a control plane and nodes, whose kubelets run on a Corten each.

    cluster = Cluster(root, programs, nodes=2)
    cluster.start()
    cluster.kubectl("get", "nodes")
    cluster.nodes[0].kill()                                 # its kubelet and its engine; the pods go on
    cluster.nodes[0].start()
    cluster.stop()

The control plane and each node have a network and a mount namespace of their own, so that addresses and ports are the
same wherever this runs and nothing of the machine's network is touched:

    control 10.77.0.1 ---- bridge ---- 10.77.0.11 node 1, pods in 10.78.1.0/24
                              |------- 10.77.0.12 node 2, pods in 10.78.2.0/24          services in 10.79.0.0/24

What a kubelet mounts, and what it keeps in fixed places below /var/lib and /var/log, goes with its namespace.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from e2e_parts.cortend import CORTEND, Cortend
from e2e_parts.kubelet import Json, Kubelet, Seen, listening, mounts_below
from e2e_parts.patience import PATIENCE, until

CONTROL, REGISTRY = "10.77.0.1", "10.77.0.1:5000"
SERVER = f"https://{CONTROL}:6443"
PODS, SERVICES, FIRST_SERVICE = "10.78.0.0/16", "10.79.0.0/24", "10.79.0.1"
_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
_METRICS = "metrics-server"
_CONTROL = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_MINUTES = 3  # that a step of the cluster's may take: it does nothing at once, and this machine has two processors
_GRACE = "12s"  # until a node that says nothing is given up
_HOLD = """
mount --make-rshared / &&
mount -t tmpfs corten-test /var/lib && mount -t tmpfs corten-test /var/log &&
ip link set lo up && echo ready && exec sleep infinity
"""


def eventually(look: Callable[[], Seen], enough: Callable[[Seen], object] = bool) -> Seen:
    """`until`, for what a cluster does by itself: with more patience, and looks that cost a process each."""
    deadline = time.monotonic() + _MINUTES * 60
    while not enough(seen := look()):
        assert time.monotonic() < deadline, f"not after {_MINUTES} min; seen last: {seen!r}"
        time.sleep(0.5)
    return seen


class Space:
    """A network and a mount namespace, with nothing but a loopback device, held by a process that sleeps."""

    def __init__(self) -> None:
        # it ends with this process however that ends
        command = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            _HOLD,
        ]
        self._holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid
        self.inode = os.stat(f"/proc/{self.pid}/ns/net").st_ino
        self.enter = ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt", "--"]

    def run(self, *command: str, given: str = "") -> str:
        """The output of a program in it; fails when it does."""
        done = subprocess.run([*self.enter, *command], input=given, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def fetch(self, address: str) -> str:
        """The answer of a web server, "" for none."""
        command = [*self.enter, "curl", "-s", "-m", "3", "--noproxy", "*", f"http://{address}/"]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(PATIENCE)
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Program:
    """One that runs in a space, with a log of its own. `start` again after `kill`."""

    def __init__(self, space: Space, root: Path, *command: str) -> None:
        self.name = Path(command[0]).name
        self.log = root / f"{self.name}.log"
        self._command, self._root = [*space.enter, *command], root
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._root
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def said(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def runs(self) -> bool:
        assert self._process.poll() is None, f"{self.log.name}: {self.said()}"
        return True

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)


class Authority:
    """Certificates, and files with which clients of the API server find and authenticate themselves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._openssl(f"req -x509 {_KEY} -subj /CN=ca -keyout ca.key -out ca.pem")
        self._openssl(
            f"req -x509 {_KEY} -subj /CN=front -keyout front.key -out front.pem"
        )  # of the API server, to others
        self._openssl("genrsa -out accounts.key 2048")
        self._openssl("rsa -in accounts.key -pubout -out accounts.pub")

    def _openssl(self, words: str) -> None:
        subprocess.run(["openssl", *words.split()], cwd=self.root, check=True, capture_output=True)

    def issue(self, name: str, subject: str, names: str = "") -> None:
        """NAME.pem and NAME.key, for a server with these `names` (as IP:10.0.0.1,DNS:web), or a client."""
        rows = ["extendedKeyUsage=serverAuth,clientAuth", *([f"subjectAltName={names}"] if names else [])]
        (self.root / "ext").write_text("\n".join(rows) + "\n")
        self._openssl(f"req {_KEY} -subj {subject} -keyout {name}.key -out {name}.csr")
        self._openssl(f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out {name}.pem")

    def client(self, name: str, subject: str) -> Path:
        """A kubeconfig."""
        self.issue(name, subject)
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": SERVER, **self._data("certificate-authority", "ca.pem")}}
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        **self._data("client-certificate", f"{name}.pem"),
                        **self._data("client-key", f"{name}.key"),
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path = self.root / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def _data(self, key: str, file: str) -> dict[str, str]:
        return {f"{key}-data": base64.b64encode((self.root / file).read_bytes()).decode()}


class Node:
    """A kubelet with its Corten and kube-proxy. `start` also after `kill`."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster, self.name = cluster, f"node{number}"
        self.root = cluster.root / self.name
        self.root.mkdir()
        self.address, self.pods = f"10.77.0.{10 + number}", f"10.78.{number}."
        self.space = Space()
        self._wire(number)
        settings = self.root / "daemon.json"
        settings.write_text(json.dumps(self._daemon()))
        self.daemon = Cortend(self.root, "--config-file", str(settings), program=[*self.space.enter, str(CORTEND)])
        self.face = self.daemon.exec / "cri.sock"
        authority = cluster.authority
        authority.issue(f"{self.name}-server", f"/CN={self.name}", f"IP:{self.address},DNS:{self.name}")
        config = authority.client(self.name, f"/O=system:nodes/CN=system:node:{self.name}")
        self.kubelet = _ClusterKubelet(
            f"{cluster.programs}/kubelet",
            self.root / "k",
            f"unix://{self.face}",
            f"/{self.daemon.name}k",
            self.space.enter,
            self._kubelet(),
            ("--hostname-override", self.name, "--node-ip", self.address, "--kubeconfig", str(config)),
        )
        self.proxy: Program | None = None

    def _wire(self, number: int) -> None:
        control, inside = self.cluster.space, self.space
        ends = ["type", "veth", "peer", "name", "up0", "netns", str(inside.pid)]
        control.run("ip", "link", "add", self.name, "master", "nodes", "up", *ends)
        inside.run("ip", "addr", "add", f"{self.address}/24", "dev", "up0")
        inside.run("ip", "link", "set", "up0", "up")
        inside.run("ip", "route", "add", "default", "via", CONTROL)
        control.run("ip", "route", "add", f"{self.pods}0/24", "via", self.address)

    def _daemon(self) -> Json:
        cri = {"start": True, "cni-conf-dir": str(self.root / "none"), "cluster-cidr": PODS}
        return {"bip": f"{self.pods}1/24", "insecure-registries": [REGISTRY], "cri": cri}

    def _kubelet(self) -> Json:
        authority = self.cluster.authority.root
        return {
            "address": self.address,
            "port": 10250,
            "readOnlyPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority / "ca.pem")},
            },
            "authorization": {"mode": "Webhook"},
            "localStorageCapacityIsolation": True,  # or its summary of usage is an error
            "tlsCertFile": str(authority / f"{self.name}-server.pem"),
            "tlsPrivateKeyFile": str(authority / f"{self.name}-server.key"),
            "nodeStatusUpdateFrequency": "3s",
            "nodeStatusReportFrequency": "10s",
            "nodeLeaseDurationSeconds": 8,
        }

    def start(self) -> None:
        self.daemon.start()
        until(lambda: listening(self.face))
        self.kubelet.start()
        if self.proxy is None:
            self._start_proxy()

    def _start_proxy(self) -> None:
        kubeconfig = self.cluster.authority.client(f"{self.name}-proxy", "/CN=system:kube-proxy")
        config = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "hostnameOverride": self.name,
            "clusterCIDR": PODS,
            "healthzBindAddress": "127.0.0.1:10256",
            "conntrack": {"maxPerCore": 0},  # it is the whole machine's
            "nftables": {"minSyncPeriod": "100ms"},
        }
        path = self.root / "proxy.json"
        path.write_text(json.dumps(config))
        self.proxy = Program(self.space, self.root, f"{self.cluster.programs}/kube-proxy", "--config", str(path))

    def kill(self) -> None:
        """As a failure of the machine's programs would: containers, and what stands on the kernel, go on."""
        self.kubelet.kill()
        if face := listening(self.face):
            os.kill(face, signal.SIGKILL)
        self.daemon.kill()

    def stop(self) -> None:
        """Pods that are there still are removed, as after a test that has failed."""
        with ExitStack() as ends:
            ends.callback(self.space.close)
            if self.proxy is not None:
                ends.callback(self.proxy.stop)
            ends.callback(self.kubelet.stop)
            ends.callback(self.daemon.stop)
            if self.daemon.started and not self.daemon.runs():
                self.daemon.start()
            self.kubelet.end()
            if self.daemon.runs():
                for pod in self.daemon.get("/pods/json"):
                    self.daemon.ask("DELETE", f"/pods/{pod['id']}")


class _ClusterKubelet(Kubelet):
    """One that is asked by way of the API server."""

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        return True


class Cluster:
    def __init__(self, root: Path, programs: str, nodes: int) -> None:
        self.root, self.programs = root, programs
        self.space = Space()
        self._running: list[Program] = []
        self._control: list[Program] = []  # of these the ones that are Kubernetes' own, in the order of their start
        self.space.run("ip", "link", "add", "nodes", "up", "type", "bridge")
        self.space.run("ip", "addr", "add", f"{CONTROL}/24", "dev", "nodes")
        self.space.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        for directory in ("authority", "control"):
            (root / directory).mkdir()
        self.authority = Authority(root / "authority")
        own = f"DNS:kubernetes.default.svc,DNS:{_METRICS}.kube-system.svc"
        names = f"IP:{CONTROL},IP:127.0.0.1,IP:{FIRST_SERVICE},{own}"
        self.authority.issue("server", "/CN=kube-apiserver", names)
        self.authority.issue("to-kubelets", "/O=system:masters/CN=kube-apiserver")
        self._admin = self.authority.client("admin", "/O=system:masters/CN=admin")
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]

    def start(self) -> None:
        own, ca = self.root / "control", self.authority.root
        self._run("etcd", f"--data-dir={own}/etcd", "--unsafe-no-fsync")
        self._run(
            "kube-apiserver",
            "--etcd-servers=http://127.0.0.1:2379",
            f"--advertise-address={CONTROL}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--cert-dir={own}",
            f"--client-ca-file={ca}/ca.pem",
            f"--tls-cert-file={ca}/server.pem",
            f"--tls-private-key-file={ca}/server.key",
            f"--kubelet-client-certificate={ca}/to-kubelets.pem",
            f"--kubelet-client-key={ca}/to-kubelets.key",
            f"--kubelet-certificate-authority={ca}/ca.pem",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={ca}/accounts.key",
            f"--service-account-key-file={ca}/accounts.pub",
            "--authorization-mode=Node,RBAC",
            f"--requestheader-client-ca-file={ca}/front.pem",
            "--requestheader-allowed-names=front",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={ca}/front.pem",
            f"--proxy-client-key-file={ca}/front.key",
            "--default-not-ready-toleration-seconds=5",
            "--default-unreachable-toleration-seconds=5",
        )
        registry = [str(CORTEND.parent / "corten"), "registry", "serve"]
        self._running.append(Program(self.space, own, *registry, "--root", str(own / "registry"), "--listen", REGISTRY))
        eventually(self._answers)
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self._admin}",
            f"--cert-dir={own}",
            "--leader-elect=false",
            f"--root-ca-file={ca}/ca.pem",
            f"--service-account-private-key-file={ca}/accounts.key",
            "--node-monitor-period=2s",
            f"--node-monitor-grace-period={_GRACE}",
        )
        self._run("kube-scheduler", f"--kubeconfig={self._admin}", "--leader-elect=false", f"--cert-dir={own}")
        for node in self.nodes:
            node.start()
        self._control = [each for each in self._running if each.name in _CONTROL]
        self._measure()

    def kill_control(self) -> None:
        """Its control plane; nodes and pods go on."""
        for program in self._control:
            program.kill()

    def start_control(self) -> None:
        """After `kill_control`."""
        for program in self._control:
            program.start()
        eventually(self._answers)

    def _measure(self) -> None:
        """What `kubectl top` asks: a server beside the API server, which sends requests on to it."""
        ca = self.authority.root
        self._run(
            _METRICS,
            f"--kubeconfig={self._admin}",
            f"--authentication-kubeconfig={self._admin}",
            f"--authorization-kubeconfig={self._admin}",
            "--secure-port=4443",
            f"--tls-cert-file={ca}/server.pem",
            f"--tls-private-key-file={ca}/server.key",
            f"--kubelet-certificate-authority={ca}/ca.pem",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        )
        place = {"name": _METRICS, "namespace": "kube-system"}
        group, version = "metrics.k8s.io", "v1beta1"
        ports = [{"port": 4443}]
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": place,
                "spec": {"type": "ExternalName", "externalName": CONTROL, "ports": ports},
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"{version}.{group}"},
                "spec": {
                    "group": group,
                    "version": version,
                    "service": {**place, "port": 4443},
                    "caBundle": base64.b64encode((ca / "ca.pem").read_bytes()).decode(),
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                },
            },
        )

    def _run(self, name: str, *flags: str) -> None:
        self._running.append(Program(self.space, self.root / "control", f"{self.programs}/{name}", *flags))

    def runs(self) -> bool:
        """AssertionError with the log of a program that has ended."""
        return all(program.runs() for program in self._running)

    def _answers(self) -> bool:
        return self.runs() and self.try_kubectl("get", "--raw", "/readyz")[0] == 0

    def stop(self) -> None:
        """All of it, also what has not come up. The first failure is raised when everything has ended."""
        failed: list[Exception] = []
        ends: list[Callable[[], None]] = [node.stop for node in self.nodes]
        ends += [program.stop for program in reversed(self._running)]
        for end in (*ends, self.space.close):
            try:
                end()
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def left(self) -> list[str]:
        """What is there after `stop` and should not be."""
        spaces = {space.inode for space in (self.space, *(node.space for node in self.nodes))}
        found = [f"mount {place}" for place in mounts_below(self.root)]
        for node in self.nodes:
            found += [f"group {group}" for group in Path("/sys/fs/cgroup").glob(f"*/{node.daemon.name}*")]
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.stat(path / "ns/net").st_ino in spaces:
                    found.append(f"process {path.name}: {(path / 'cmdline').read_bytes()!r}")
        return found

    # -------------------------------------------------------------------------------------------------------- kubectl

    def command(self, *words: str) -> list[str]:
        return [*self.space.enter, f"{self.programs}/kubectl", f"--kubeconfig={self._admin}", *words]

    def try_kubectl(self, *words: str, given: str = "") -> tuple[int, str]:
        """Status, and what it has written."""
        done = subprocess.run(
            self.command(*words), input=given, capture_output=True, text=True, timeout=_MINUTES * 60, cwd=self.root
        )
        return done.returncode, done.stdout + done.stderr

    def kubectl(self, *words: str, given: str = "") -> str:
        code, said = self.try_kubectl(*words, given=given)
        assert code == 0, (words, said)
        return said

    def get(self, *words: str) -> list[Json]:
        listed: list[Json] = json.loads(self.kubectl("get", *words, "-o", "json"))["items"]
        return listed

    def apply(self, *objects: Json) -> None:
        self.kubectl("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def log(self) -> str:
        every: Sequence[Path] = sorted(self.root.glob("*/*.log"))
        return "\n".join(f"== {path}\n" + "\n".join(path.read_text().splitlines()[-15:]) for path in every)
