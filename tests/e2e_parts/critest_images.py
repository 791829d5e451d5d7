"""The images that critest asks for, made of this machine's busybox and dash, and put into a registry.

Names are critest's, without the registry. The image whose digest it names cannot be made.
"""

from __future__ import annotations

import http.client
import io
import json
import shutil
import subprocess
import tarfile
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from corten.spec.oci_image import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from corten.spec.platform import host
from registry_parts.own import digest, entry

_ROOMS = ("bin", "dev", "etc", "lib64", "proc", "root", "run", "sys", "usr/bin", "var/tmp", "www")
_PASSWD = """root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/bin/sh
default-user:x:1000:1000::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
"""
_GROUP = "root:x:0:\nwww-data:x:33:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"
_PGREP = """#!/bin/sh
for one in /proc/[0-9]*; do
    first=$(tr '\\0' '\\n' <"$one/cmdline" 2>/dev/null | head -n 1)
    [ "${first##*/}" != "$1" ] || echo "${one#/proc/}"
done
"""
# A shell that runs with its file's owner, and says whose rights those are by itself: busybox gives them up.
_WHO = 'while read -r key _ id _; do [ "$key" != Uid: ] || echo "Effective uid: $id"; done </proc/self/status'


@dataclass(frozen=True, slots=True)
class Image:
    """`names` without the registry. `file` is one of its own, for images that are to differ."""

    names: tuple[str, ...]
    command: tuple[str, ...] = ("sh",)
    user: str = ""
    file: str = ""


def _web(port: int) -> tuple[str, ...]:
    """The first process, a shell, is called as nginx's; busybox's server is its child."""
    serve = f"echo httpd; echo $$ >/run/nginx.pid; httpd -p {port} -h /www"
    wait = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"
    return ("nginx", "-c", f"{serve}; {wait}", "nginx: master process")


def _staged(name: str) -> str:
    return f"k8s-staging-cri-tools/{name}"


EVERY = (
    Image(("e2e-test-images/busybox:1.29-2",)),
    Image(("e2e-test-images/nginx:1.14-2", "e2e-test-images/httpd:2.4.39-4"), _web(80)),
    Image(("e2e-test-images/nonewprivs:1.3",), ("/bin/who-am-i", "-p", "-c", _WHO)),
    Image(("pause:3.9",), ("sleep", "100000000")),
    Image((_staged("hostnet-nginx-amd64:latest"),), _web(12003)),
    *(Image((_staged(f"{name}:latest"),), file=name) for name in
      ("test-image-1", "test-image-2", "test-image-3", "test-image-latest", "test-image-digest")),
    Image(tuple(_staged(f"test-image-tags:{tag}") for tag in (1, 2, 3)), file="same-image"),
    Image((_staged("test-image-tag:test"),), file="test"),
    Image((_staged("test-image-tag:all"),), file="all"),
    Image((_staged("test-image-user-uid:latest"),), user="1002"),
    Image((_staged("test-image-user-username:latest"),), user="www-data"),
    Image((_staged("test-image-user-uid-group:latest"),), user="1003:1004"),
    Image((_staged("test-image-user-username-group:latest"),), user="www-data:1004"),
    Image((_staged("test-image-predefined-group:latest"),), user="1000"),
)  # fmt: skip


def push(registry: str) -> None:
    """Put all of them into the registry at host:port."""
    connection = http.client.HTTPConnection(registry, timeout=60)
    try:
        for image in EVERY:
            layers = [_base(), *([_layer({image.file: (b"", 0o644)})] if image.file else ())]
            for name in image.names:
                _put(connection, name, _config(image, layers), layers)
    finally:
        connection.close()


def _config(image: Image, layers: Sequence[bytes]) -> bytes:
    platform = host()
    return json.dumps({
        "architecture": platform.architecture, "os": platform.os,
        "config": {"Cmd": list(image.command), "User": image.user, "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
    }).encode()  # fmt: skip


def _put(connection: http.client.HTTPConnection, name: str, config: bytes, layers: Sequence[bytes]) -> None:
    repository, _, tag = name.partition(":")
    for blob in (config, *layers):
        wanted = urllib.parse.quote(digest(blob))
        _ask(connection, "POST", f"/v2/{repository}/blobs/uploads/?digest={wanted}", blob, "application/octet-stream")
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry(config, OCI_CONFIG),
                "layers": [entry(layer, OCI_LAYER) for layer in layers]}  # fmt: skip
    _ask(connection, "PUT", f"/v2/{repository}/manifests/{tag}", json.dumps(document).encode(), OCI_MANIFEST)


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes, kind: str) -> None:
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status == 201, (method, path, answer.status, said)


@cache
def _base() -> bytes:
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    dash = Path("/bin/dash")
    files = {"bin/busybox": (busybox, 0o755), "bin/sh": (dash.read_bytes(), 0o755),
             "bin/who-am-i": (dash.read_bytes(), 0o4755), "bin/nginx": (dash.read_bytes(), 0o755),
             "bin/ipcs": (Path("/usr/bin/ipcs").read_bytes(), 0o755), "bin/pgrep": (_PGREP.encode(), 0o755),
             "etc/passwd": (_PASSWD.encode(), 0o644), "etc/group": (_GROUP.encode(), 0o644),
             "www/index.html": (b"it works\n", 0o644)}  # fmt: skip
    for library in _libraries(dash):
        files[library.lstrip("/")] = (Path(library).read_bytes(), 0o755)
    applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    return _layer(files, [name for name in applets if f"bin/{name}" not in files])


def _libraries(program: Path) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for line in said.splitlines() for word in line.split() if word.startswith("/")]


def _layer(files: Mapping[str, tuple[bytes, int]], applets: Sequence[str] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        directories = set(_ROOMS) if applets else set()
        directories |= {str(above) for name in files for above in Path(name).parents if str(above) != "."}
        directories |= {str(above) for name in directories for above in Path(name).parents if str(above) != "."}
        for name in sorted(directories):
            _add(tar, name, tarfile.DIRTYPE, 0o755)
        if applets:
            _add(tar, "tmp", tarfile.DIRTYPE, 0o1777)
            _add(tar, "var/run", tarfile.SYMTYPE, 0o777, link="../run")
        for name, (data, mode) in files.items():
            _add(tar, name, tarfile.REGTYPE, mode, data)
        for name in applets:  # no symbolic links: what masks one of them would mask all
            _add(tar, f"bin/{name}", tarfile.LNKTYPE, 0o755, link="bin/busybox")
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "") -> None:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, len(data), link
    tar.addfile(info, io.BytesIO(data))
