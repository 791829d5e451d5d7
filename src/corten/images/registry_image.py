"""`corten/registry`: our registry server as an image, made from this machine's own Python and libraries.

What a Python of this machine has loaded when it has imported the server is asked of that Python: interpreter, standard
library, packages, shared libraries with the names they are looked up by, certificates. These files, at their places
(packages below /usr/lib/corten), are the layer.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from corten.errors import Unsupported
from corten.layers import write
from corten.layers.header import DIRECTORY, REGULAR, SYMLINK
from corten.spec.reference import Reference

REFERENCE = Reference("docker.io", "corten/registry", "latest")
HOME = "/var/lib/registry"
PACKAGES = "usr/lib/corten"
_CHUNK = 1 << 20
_PROBE = """
import ctypes, json, os, ssl, sys, sysconfig
import corten.registry.server.serve, corten.registry.server.gc
from corten.registry.server import htpasswd
htpasswd._library()
stdlib = os.path.realpath(sysconfig.get_path("stdlib"))
packages = set()
for name, module in list(sys.modules.items()):
    top = sys.modules.get(name.partition(".")[0])
    file, paths = getattr(top, "__file__", None), list(getattr(top, "__path__", ()))
    place = paths[0] if paths else file
    inside = place and os.path.realpath(place).startswith(stdlib + os.sep)
    named = top is not None and not top.__name__.endswith(("__main__", "customize"))
    if named and place and not place.startswith("<") and ((not inside) or "-packages" in place):
        packages.add(os.path.realpath(place))
with open("/proc/self/maps") as maps:
    mapped = {line.split(None, 5)[5].strip() for line in maps if line.count("/") and ".so" in line}
paths = ssl.get_default_verify_paths()
print(json.dumps({
    "executable": os.path.realpath(sys.executable), "stdlib": stdlib, "packages": sorted(packages),
    "libraries": sorted(mapped), "authorities": [paths.openssl_cafile, paths.cafile or ""],
}))
"""
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "distutils", "pydoc_data",
             "site-packages", "dist-packages", "unittest", "venv"}  # fmt: skip
_DIRECTORIES = (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("run", 0o755), ("dev", 0o755), ("proc", 0o755),
                ("sys", 0o755), ("etc", 0o755), (HOME[1:], 0o700))  # fmt: skip
_TEXTS = (
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
)
_AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True, slots=True)
class Contents:
    """`files` maps a place in the image to a file here; `links` a place to what it leads to."""

    executable: str
    files: dict[str, str]
    links: dict[str, str]

    @property
    def newest(self) -> int:
        """Seconds since the epoch."""
        return max(int(os.stat(path).st_mtime) for path in self.files.values())


def contents() -> Contents:
    """The files of this Python. Raises Unsupported when it cannot be put into an image."""
    root = str(Path(__file__).resolve().parents[3])
    environment = {"PYTHONPATH": root, "PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    command = [sys.executable, "-P", "-c", _PROBE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise Unsupported(f"corten/registry cannot be made from {sys.executable}: {last[0][:300]}")
    return _gather(json.loads(done.stdout))


def _gather(said: dict[str, object]) -> Contents:
    executable, stdlib = str(said["executable"]), str(said["stdlib"])
    files = {executable[1:]: executable}
    for path in _walk(stdlib):
        files[path[1:]] = path
    for top in _texts(said["packages"]):
        base = os.path.dirname(top)
        for path in _walk(top) if os.path.isdir(top) else [top]:
            files[f"{PACKAGES}/{os.path.relpath(path, base)}"] = path
    links = _merged()
    for library in _texts(said["libraries"]):
        if not any(library == path for path in files.values()) and "-packages" not in library:
            files[library[1:]] = library
            links |= _names(library)
    links |= _loader(executable)
    if executable != "/usr/bin/python3":
        links["usr/bin/python3"] = executable
    links |= _authorities(_texts(said["authorities"]), files)
    return Contents(executable, files, links)


def _texts(found: object) -> list[str]:
    return [str(each) for each in found] if isinstance(found, list) else []


def _walk(top: str) -> Iterator[str]:
    """Regular files, compiled ones among them: without these each start would compile everything anew."""
    tag = f".{sys.implementation.cache_tag}."
    for directory, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT and not name.startswith("config-"))
        for name in sorted(files):
            path = os.path.join(directory, name)
            compiled = not name.endswith(".pyc") or (tag in name and ".opt-" not in name)
            if compiled and not name.endswith((".pyi", ".a")) and os.path.isfile(path):
                yield path


def _merged() -> dict[str, str]:
    """/lib, /lib64, /bin, /sbin where they are links into /usr."""
    places = ((name, os.path.realpath(f"/{name}")) for name in ("lib", "lib64", "bin", "sbin"))
    return {name: target[1:] for name, target in places if target.startswith("/usr/")}


def _names(library: str) -> dict[str, str]:
    """The names in its directory that lead to a library: its SONAME is one of them."""
    directory, own = os.path.split(library)
    others = (name for name in os.listdir(directory) if name.startswith(own.partition(".so")[0]) and name != own)
    return {f"{directory[1:]}/{name}": own for name in others if os.path.realpath(f"{directory}/{name}") == library}


def _loader(executable: str) -> dict[str, str]:
    """Where the kernel looks for the dynamic loader: PT_INTERP among the program headers (elf(5))."""
    with open(executable, "rb") as file:
        data = file.read(1 << 16)
    if len(data) < 64 or data[:5] != b"\x7fELF\x02":
        raise Unsupported(f"corten/registry cannot be made from {executable}: it is no 64-bit ELF program")
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(offset, offset + size * count, size):
        if struct.unpack_from("<I", data, at)[0] == 3:
            place, length = struct.unpack_from("<Q", data, at + 8)[0], struct.unpack_from("<Q", data, at + 32)[0]
            interpreter = data[place : place + length].rstrip(b"\0").decode()
            here = os.path.join(os.path.realpath(os.path.dirname(interpreter)), os.path.basename(interpreter))
            real = os.path.realpath(here)
            return {} if here == real else {here[1:]: real}
    return {}


def _authorities(known: list[str], files: dict[str, str]) -> dict[str, str]:
    """The certificates that TLS trusts, at the place where OpenSSL looks."""
    found = next((path for path in (known[1], *_AUTHORITIES) if path and os.path.isfile(path)), None)
    if found is None:
        return {}
    real = os.path.realpath(found)
    files[real[1:]] = real
    return {known[0][1:]: real} if known[0] and known[0] != real else {}


def layer(made: Contents) -> Iterator[bytes]:
    """The layer's tar; the same files give the same bytes."""
    at = made.newest * 10**9
    seen: set[str] = set()
    for name, mode in _DIRECTORIES:
        yield from _parents(name, seen, at)
        seen.add(name)
        yield write.header(name.encode() + b"/", DIRECTORY, mode=mode, mtime=at)
    for name, target in sorted(made.links.items()):
        yield from _parents(name, seen, at)
        yield write.header(name.encode(), SYMLINK, mode=0o777, mtime=at, link=target.encode())
    for name, text in _TEXTS:
        yield write.header(name.encode(), REGULAR, mode=0o644, size=len(text), mtime=at)
        yield text.encode() + write.padding(len(text))
    for name, path in sorted(made.files.items()):
        yield from _parents(name, seen, at)
        yield from _file(name, path)
    yield write.END


def _parents(name: str, seen: set[str], at: int) -> Iterator[bytes]:
    parts = name.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        parent = "/".join(parts[:end])
        if parent not in seen:
            seen.add(parent)
            yield write.header(parent.encode() + b"/", DIRECTORY, mode=0o755, mtime=at)


def _file(name: str, path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        mode = 0o755 if status.st_mode & 0o111 else 0o644
        # Whole seconds: a compiled module names the second in which its source was written.
        mtime = int(status.st_mtime) * 10**9
        yield write.header(name.encode(), REGULAR, mode=mode, size=status.st_size, mtime=mtime)
        left = status.st_size
        while left and (data := file.read(min(_CHUNK, left))):
            left -= len(data)
            yield data
        if left:
            raise Unsupported(f"{path} has changed while it was put into an image; try again")
        yield write.padding(status.st_size)


def config(made: Contents) -> dict[str, object]:
    """What a container of it does: serve on port 5000, and keep everything in a volume."""
    program = ["-P", "-m", "corten.registry.server", "--listen", "0.0.0.0:5000", "--root", HOME]
    return {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"PYTHONPATH=/{PACKAGES}"],
        "Entrypoint": [made.executable, *program],
        "ExposedPorts": {"5000/tcp": {}},
        "Volumes": {HOME: {}},
        "WorkingDir": HOME,
    }
