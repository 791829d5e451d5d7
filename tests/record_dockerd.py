"""Ask a private dockerd the requests of tests/unit/plan/dockerd_cases.py and keep its answers as JSON.

    python tests/record_dockerd.py tests/unit/plan/golden

Needs root, dockerd and busybox. The daemon gets a root of its own, no bridge and no firewall rules, and a runtime that
only keeps the config.json it is handed, so that every flag can be recorded whatever this machine can do.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parent))
from unit.plan.dockerd_cases import CASES, ERRORS, IMAGES, NAMES, UPDATES, Json

T = TypeVar("T")
RUNTIME = """#!/bin/sh
previous=
for word in "$@"; do
  [ "$previous" = --bundle ] && bundle=$word
  previous=$word
done
case " $* " in *" create "*) cp "$bundle/config.json" "{out}/$(basename "$bundle").json";; esac
exit 1
"""


class Daemon:
    """A dockerd under `root`, and one request at a time to it."""

    def __init__(self, root: Path) -> None:
        self.root, self.specs, self.src = root, root / "specs", root / "src"
        self.specs.mkdir()
        for name in ("a", "b", "devs/deep"):
            (self.src / name).mkdir(parents=True)
        for name, minor in (("x", 3), ("y", 5), ("deep/z", 7)):
            os.mknod(self.src / "devs" / name, 0o020666, os.makedev(1, minor))
        # slave and shared mounts need a source that is shared
        subprocess.run(["mount", "--bind", "--make-shared", str(self.src), str(self.src)], check=True)
        runtime = root / "runtime"
        runtime.write_text(RUNTIME.format(out=self.specs))
        runtime.chmod(0o755)
        (root / "daemon.json").write_text("{}")
        self.socket = str(root / "docker.sock")
        options = f"--data-root {root}/data --exec-root {root}/exec -H unix://{self.socket} --pidfile {root}/pid"
        options += " --bridge none --iptables=false --ip-forward=false --ip-masq=false --storage-driver vfs"
        options += f" --config-file {root}/daemon.json --add-runtime record={runtime} --default-runtime record"
        with (root / "log").open("wb") as log:
            self.process = subprocess.Popen(["dockerd", *options.split()], stderr=log, stdout=log)

    def wait(self) -> None:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                self.ask("GET", "/_ping", plain=True)
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError((self.root / "log").read_text())

    def ask(self, method: str, path: str, body: Any = None, plain: bool = False) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.socket)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        kind = "application/json" if not isinstance(body, bytes) else "application/x-tar"
        with contextlib.suppress(BrokenPipeError):  # an answer may come before the whole body went
            connection.request(method, path, raw, {"Content-Type": kind} if raw else {})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, text if plain else json.loads(text or b"null")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def import_images(daemon: Daemon) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        tar.add("/bin/busybox", "bin/sh")
    for name, (changes, _) in {**IMAGES, "none": ([], {})}.items():
        query = "&".join(f"changes={quote(line)}" for line in changes)
        path = f"/images/create?fromSrc=-&repo={name}&{query}"
        status, answer = daemon.ask("POST", path, archive.getvalue(), plain=True)
        if status != 200 or b"errorDetail" in answer:
            raise RuntimeError(answer)


def filled(value: Any, src: Path) -> Any:
    """The request with {src} replaced."""
    return json.loads(json.dumps(value).replace("{src}", str(src)))


def record_case(daemon: Daemon, request: Json) -> Json:
    body = {"Image": "plain", **filled(request, daemon.src)}
    status, created = daemon.ask("POST", "/containers/create", body)
    if status != 201:
        return {"status": status, "message": neutral(daemon, "", created["message"])}
    id = created["Id"]
    _, failure = daemon.ask("POST", f"/containers/{id}/start")
    _, shown = daemon.ask("GET", f"/containers/{id}/json")
    daemon.ask("DELETE", f"/containers/{id}?force=1&v=1")
    recorded = daemon.specs / f"{id}.json"
    if not recorded.exists():
        print(f"{request}: dockerd wrote no config.json: {failure}", file=sys.stderr)
        daemon.ask("DELETE", f"/containers/{id}?force=1&v=1")
        return neutral(daemon, id, failure)
    spec = json.loads(recorded.read_text())
    spec["linux"]["seccomp"] = "seccomp" in spec["linux"]
    spec.pop("hooks", None)
    if (request.get("HostConfig") or {}).get("Privileged"):
        spec["linux"].pop("devices", None)  # all devices of the machine that recorded
    answer = {
        "warnings": created["Warnings"] or [],
        "spec": spec,
        "config": shown["Config"],
        "host_config": shown["HostConfig"],
        "mounts": shown["Mounts"],
    }
    return neutral(daemon, id, answer)


def neutral(daemon: Daemon, id: str, answer: T) -> T:
    """The answer without this machine's paths and names."""
    text = json.dumps(answer)
    if id:
        text = (
            text.replace(id, "{id}")
            .replace(f'"{id[:12]}"', '"{id12}"')
            .replace(f"HOSTNAME={id[:12]}", "HOSTNAME={id12}")
        )
    text = (
        text.replace(str(daemon.src), "{src}")
        .replace(f"{daemon.root}/data", "{data}")
        .replace(f"{daemon.root}/exec", "{exec}")
    )
    text = re.sub(r"\b[0-9a-f]{64}\b", "{hex}", text)
    text = text.replace(f'"{socket.gethostname()}"', '"{host}"').replace(
        f"HOSTNAME={socket.gethostname()}", "HOSTNAME={host}"
    )
    cleaned: T = json.loads(text)
    return cleaned


def difference(base: Json, value: Json) -> Json:
    """What `value` has otherwise than `base`, object by object; keys that it lacks are listed under "-"."""
    result: Json = {}
    for key, entry in value.items():
        if key not in base:
            result[key] = entry
        elif entry != base[key]:
            both = isinstance(entry, dict) and isinstance(base[key], dict)
            result[key] = difference(base[key], entry) if both else entry
    gone = sorted(base.keys() - value.keys())
    return {**result, "-": gone} if gone else result


def record_error(daemon: Daemon, request: Json, name: str = "") -> Json:
    body = {"Image": "plain", **filled(request, daemon.src)}
    path = "/containers/create" + (f"?name={quote(name)}" if name else "")
    status, answer = daemon.ask("POST", path, body)
    if status == 201:
        started, failure = daemon.ask("POST", f"/containers/{answer['Id']}/start")
        message = (failure or {}).get("message", "")
        daemon.ask("DELETE", f"/containers/{answer['Id']}?force=1&v=1")
        reached_runtime = (daemon.specs / f"{answer['Id']}.json").exists()
        start = {} if reached_runtime else {"start": {"status": started, "message": message}}
        return neutral(daemon, answer["Id"], {"status": status, "warnings": answer["Warnings"] or [], **start})
    return neutral(daemon, "", {"status": status, "message": answer["message"]})


def record_update(daemon: Daemon, host_config: Json, body: Json) -> Json:
    _, created = daemon.ask("POST", "/containers/create", {"Image": "plain", "HostConfig": host_config})
    path = f"/containers/{created['Id']}"
    status, answer = daemon.ask("POST", f"{path}/update", body)
    _, shown = daemon.ask("GET", f"{path}/json")
    daemon.ask("DELETE", path)
    return neutral(daemon, created["Id"], {"status": status, **answer, "host_config": shown["HostConfig"]})


def record(out: Path) -> None:
    root = Path(tempfile.mkdtemp(prefix="record-", dir="/tmp"))
    daemon = Daemon(root)
    try:
        daemon.wait()
        import_images(daemon)
        _, version = daemon.ask("GET", "/version")
        head = {"engine": version["Version"], "api": version["ApiVersion"], "cpus": os.cpu_count()}
        cases = {name: record_case(daemon, request) for name, request in CASES.items()}
        errors = {name: record_error(daemon, request) for name, request in ERRORS.items()}
        names = {name: record_error(daemon, {}, name) for name in NAMES}
        updates = {name: record_update(daemon, *pair) for name, pair in UPDATES.items()}
    finally:
        daemon.stop()
        for place in ("exec/netns/default", "src"):
            subprocess.run(["umount", "--quiet", str(root / place)], check=False)
        shutil.rmtree(root, ignore_errors=True)
    plain = cases["plain"]
    cases = {name: case if case is plain else difference(plain, case) for name, case in cases.items()}
    hosts = updates["nothing"]["host_config"]
    for update in updates.values():
        update["host_config"] = difference(hosts, update["host_config"])
    for name, part in (("specs", cases), ("errors", errors), ("names", names), ("updates", updates)):
        lines = ",\n".join(f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(part[key])}" for key in part)
        (out / f"dockerd_{name}.json").write_text(json.dumps(head)[:-1] + f', "{name}": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    record(Path(sys.argv[1]))
