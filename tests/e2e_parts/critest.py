"""critest on a runtime, in namespaces of its own: mounts, network, processes.

    results = run("Corten", programs, root)     # spec: "passed", "failed" or "skipped"
    table(results of several)

As a program it is what runs inside: `python -m e2e_parts.critest NAME PROGRAMS ROOT`. There are a registry with the
images, the runtime, and critest; what containerd keeps in fixed places goes with the mounts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as Xml
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from e2e_parts.cortend import CORTEND
from e2e_parts.critest_images import push
from e2e_parts.kubelet import listening
from e2e_parts.patience import until
from registry_parts.own import own_process

Results = dict[str, str]
_NAMESPACES = ("--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
_BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "critest",
    "plugins": [
        {
            "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
            "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.99.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}  # fmt: skip
REGISTRIES = [
    "registry.k8s.io",
    "gcr.io",
    "k8s.gcr.io",
]  # whose names lead to ours: critest drops tags with another one
_FLAGS = ("-ginkgo.no-color", "-ginkgo.timeout=40m")


class Missing(Exception):
    """What the run needs and the machine lacks."""


def run(name: str, programs: str, root: Path, *flags: str) -> Results:
    """`name` is of `RUNTIMES`. What critest says is in `root`. Raises Missing."""
    for program in NEEDED[name]:
        if not shutil.which(program, path=f"{os.environ['PATH']}:/usr/lib/cni"):
            raise Missing(program)
    root.mkdir(parents=True)
    command = ["unshare", *_NAMESPACES, sys.executable, "-m", "e2e_parts.critest", name, programs, str(root), *flags]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with (root / "log").open("wb") as log:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    for top in Path("/sys/fs/cgroup").glob(f"*/{_group(root)}*"):
        for directory, _, _ in os.walk(top, topdown=False):
            os.rmdir(directory)
    assert (root / "junit.xml").exists(), (root / "log").read_text()[-4000:]
    return read(root / "junit.xml")


def read(path: Path) -> Results:
    """Of a JUnit report."""
    found = {}
    for case in Xml.parse(path).getroot().iter("testcase"):
        if case.get("name", "").startswith("[It]"):
            found[case.get("name", "").removeprefix("[It] ")] = _outcome(case)
    return found


def _outcome(case: Xml.Element) -> str:
    if case.find("skipped") is not None:
        return "skipped"
    return "failed" if case.find("failure") is not None or case.find("error") is not None else "passed"


def table(several: Mapping[str, Results]) -> str:
    """How many of each, and the specs whose outcomes differ."""
    kinds = ("passed", "failed", "skipped")
    lines = [f"{'':12}" + "".join(f"{kind:>9}" for kind in kinds)]
    lines += [
        f"{name:12}" + "".join(f"{list(found.values()).count(kind):9}" for kind in kinds)
        for name, found in several.items()
    ]
    for spec in sorted(set().union(*several.values())):
        outcomes = [found.get(spec, "absent") for found in several.values()]
        if len(set(outcomes)) > 1 or "failed" in outcomes:
            lines.append(f"{', '.join(outcomes)}: {spec}")
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------------- inside


def inside(name: str, programs: str, root: Path, flags: Sequence[str]) -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for place in ("/run", "/var/lib"):  # of memory: mounts of an overlay cannot be id-mapped, which a spec needs
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "critest", place], check=True)
    _cover(Path("/etc"), root)
    with open("/etc/hosts", "a") as hosts:
        hosts.write("".join(f"127.0.0.1 {name}\n" for name in REGISTRIES))
    with ExitStack() as stack:
        registry, _ = stack.enter_context(own_process("--root", str(root / "registry"), "--listen", "127.0.0.1:80"))
        push(registry)
        socket = stack.enter_context(RUNTIMES[name](root))
        command = [f"{programs}/critest", "-runtime-endpoint", f"unix://{socket}", "-image-endpoint", f"unix://{socket}",
                   f"-ginkgo.junit-report={root}/junit.xml", *_FLAGS, *flags]  # fmt: skip
        done = subprocess.run(command, cwd=root)
    return done.returncode


def _cover(place: Path, root: Path) -> None:
    """What is written there is not the machine's."""
    upper, work = (root / f"{place.name}.{what}" for what in ("upper", "work"))
    for directory in (upper, work):
        directory.mkdir()
    options = f"lowerdir={place},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(place)], check=True)


@contextmanager
def _corten(root: Path) -> Iterator[Path]:
    settings = root / "daemon.json"
    # The network is our own: there is no configuration of another one.
    of_pods = {"start": True, "cni-conf-dir": str(root / "none")}
    settings.write_text(json.dumps({"cri": of_pods, "insecure-registries": REGISTRIES, "bip": "10.99.0.1/16"}))
    command = [str(CORTEND), "--config-file", str(settings), "--data-root", str(root / "data"), "--exec-root",
               str(root / "exec"), "-H", f"unix://{root}/api.sock", "--cgroup-parent", f"/{_group(root)}",
               "--group", "root"]  # fmt: skip
    with _running(command, root / "cortend.log"):
        until(lambda: listening(root / "exec/cri.sock"))
        yield root / "exec/cri.sock"


@contextmanager
def _containerd(root: Path) -> Iterator[Path]:
    """Debian's, with runc and Debian's plugins."""
    (root / "net.d").mkdir()
    (root / "net.d/10-critest.conflist").write_text(json.dumps(_BRIDGE))
    own = 'plugins."io.containerd.grpc.v1.cri"'
    mirrors = "".join(f'[{own}.registry.mirrors."{name}"]\nendpoint = ["http://127.0.0.1:80"]\n' for name in REGISTRIES)
    (root / "config.toml").write_text(f"""version = 2
root = "{root}/data"
state = "{root}/exec"
[grpc]
address = "{root}/api.sock"
[{own}]
sandbox_image = "registry.k8s.io/pause:3.9"
restrict_oom_score_adj = true
[{own}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{root}/net.d"
[{own}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
{mirrors}""")
    with _running(["containerd", "-c", str(root / "config.toml")], root / "containerd.log"):
        until(lambda: listening(root / "api.sock"))
        yield root / "api.sock"


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)


def _group(root: Path) -> str:
    """The control group of containers."""
    return f"critest-{root.parent.name}-{root.name}"


RUNTIMES: Mapping[str, Callable[[Path], AbstractContextManager[Path]]] = {
    "containerd": _containerd,
    "Corten": _corten,
}
NEEDED = {
    "containerd": ("containerd", "runc", "bridge", "host-local", "portmap", "loopback", "iptables", "busybox", "dash"),
    "Corten": ("busybox", "dash", "nft"),
}

if __name__ == "__main__":
    sys.exit(inside(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:]))
