"""A machine of its own for tests: Debian's cloud kernel in QEMU, our package, and a Python script to run as root.

    guest = Guest(cache)                       # a directory for the kernel, kept between runs
    results = guest.run(script, files)         # boots, runs, powers off: about five seconds
    results[0] == {"name": "memory", ...}      # what the script gave to report(...)

In the guest everything is in memory. /sys/fs/cgroup is control groups v2, the script's standard output goes to the
console (which is in `guest.console` afterwards), and `from guest import report` gives the way to the host: one JSON
object a call. An uncaught exception of the script is reported as {"exception": traceback}.

Always emulated (tcg): an unmodified kernel does not boot under every host's nested KVM.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vm.cpio import Archive

Json = dict[str, Any]
Source = str | bytes | Path  # content, or what to copy

_KERNEL = "linux-image-cloud-amd64"
_MODULES = ("virtio_pci", "virtio_blk", "overlay", "bfq")  # always; `modules=` adds "veth", "bridge", "nf_tables" ...
_PACKAGE = Path(__file__).parents[2] / "src" / "corten"
_NOT_NEEDED = frozenset(
    ("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "distutils", "unittest")
    + ("site-packages", "dist-packages", "lib-dynload", "venv", "curses", "dbm", "wsgiref")
)
_EXTENSIONS_NOT_NEEDED = ("_test", "_xx", "xx", "_tkinter", "_curses", "_dbm", "_gdbm", "nis", "ossaudio", "readline")

# The initial file system cannot be left by pivot_root(2), so the first thing is a root of our own.
_INIT = """#!/bin/busybox sh
if [ ! -e /own-root ]; then
    /bin/busybox mkdir /own-root
    /bin/busybox mount -t tmpfs -o size=80% root /own-root
    for entry in /*; do [ "$entry" = /own-root ] || /bin/busybox cp -a "$entry" /own-root/; done
    /bin/busybox mkdir /own-root/own-root
    exec /bin/busybox switch_root /own-root /init
fi
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /dev/pts /dev/shm /tmp /run /root
/bin/busybox mount -t devpts -o ptmxmode=0666 devpts /dev/pts
/bin/busybox mount -t tmpfs shm /dev/shm
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox mount -t tmpfs run /run
/bin/busybox mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox ip link set lo up
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root PYTHONPATH=/guest:/src PYTHONHOME=@HOME@
/bin/busybox --install -s /bin
exec @PYTHON@ -u /guest/main.py
"""

_MAIN = """
import ctypes, os, runpy, sys, traceback
from guest import report
status = {"exit": 0}
try:
    runpy.run_path("/guest/script.py", run_name="__main__")
except SystemExit as end:
    status = {"exit": end.code or 0}
except BaseException:
    status = {"exit": 1, "exception": traceback.format_exc()}
sys.stdout.flush()
report(**status)
os.sync()
ctypes.CDLL(None).reboot(0x01234567)  # RB_AUTOBOOT; with -no-reboot QEMU exits
"""

_REPORT = """
import json, os, termios, tty
_line = os.open("/dev/ttyS1", os.O_WRONLY | os.O_NOCTTY)
tty.setraw(_line)
def report(**values):
    data = json.dumps(values, default=str).encode() + b"\\n"
    while data:
        data = data[os.write(_line, data):]
    termios.tcdrain(_line)
"""


class GuestFailed(Exception):
    """The machine did not come up, or did not come to its end; the text has the console's last lines."""


def missing() -> str:
    """What this machine lacks for running guests, as a reason to skip; empty when nothing."""
    if platform.machine() != "x86_64":
        return "guests are x86_64 machines with the host's own Python"
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("dpkg-deb", "dpkg"),
        ("apt-get", "apt"),
    ):
        if not shutil.which(program):
            return f"{program} is missing (Debian package {package})"
    return ""


class Guest:
    """`cache` keeps the kernel. `disks` are sizes in bytes; they appear as /dev/vda, /dev/vdb, empty. `modules` are
    loaded beside those for the disks and overlay, with what they depend on."""

    def __init__(
        self,
        cache: Path,
        *,
        memory: int = 512 << 20,
        processors: int = 2,
        disks: Sequence[int] = (),
        modules: Sequence[str] = (),
        kernel_arguments: str = "",
        timeout: float = 100,
    ) -> None:
        self.cache = cache
        self.memory = memory
        self.processors = processors
        self.disks = disks
        self.modules = (*_MODULES, *modules)
        self.kernel_arguments = kernel_arguments
        self.timeout = timeout
        self.console = ""

    def run(self, script: str, files: Mapping[str, Source] | None = None) -> list[Json]:
        """Boot, run `script`, and return what it reported. `files` are put in before: path in the guest to content, or
        to a file or directory of the host. The package is at /src/corten already.

        GuestFailed when the machine did not get to the script's end in time.
        """
        kernel = prepare_kernel(self.cache)
        with tempfile.TemporaryDirectory(prefix="corten-guest-") as name:
            work = Path(name)
            image = work / "initramfs"
            with image.open("wb") as out:
                out.write(_base(self.cache))
                archive = Archive(out)
                _put_modules(archive, kernel, self.modules)
                archive.file("/guest/script.py", script.encode())
                for path, source in (files or {}).items():
                    _put(archive, path, source)
                archive.copy("/src/corten", _PACKAGE)
                archive.end()
            return self._boot(kernel, image, work)

    def _boot(self, kernel: Path, image: Path, work: Path) -> list[Json]:
        console = work / "console"
        try:
            ended = subprocess.run(
                self._command(kernel, image, console, work),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout,
            )
            output, problem = ended.stdout, ended.stderr.decode(errors="replace")
        except subprocess.TimeoutExpired as late:
            output, problem = late.stdout or b"", f"not at its end after {self.timeout} s"
        self.console = console.read_text(errors="replace") if console.exists() else ""
        results: list[Json] = [json.loads(line) for line in output.splitlines() if line.strip()]
        if not results or "exit" not in results[-1]:
            raise GuestFailed(f"{problem}\nreported: {results}\n{self.console[-3000:]}")
        return results

    def _command(self, kernel: Path, image: Path, console: Path, work: Path) -> list[str]:
        arguments = f"console=ttyS0 quiet panic=-1 random.trust_cpu=on tsc=reliable {self.kernel_arguments}"
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(self.processors)]
        command += ["-m", f"{self.memory >> 20}M", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-kernel", str(kernel), "-initrd", str(image), "-append", arguments]
        command += ["-serial", f"file:{console}", "-serial", "stdio"]
        for index, size in enumerate(self.disks):
            disk = work / f"disk{index}"
            with disk.open("wb") as file:
                file.truncate(size)
            command += ["-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
        return command


def _put(archive: Archive, path: str, source: Source) -> None:
    if isinstance(source, Path):
        archive.copy(path, source)
    else:
        archive.file(path, source.encode() if isinstance(source, str) else source)


# ---------------------------------------------------------------------------------------------------------- kernel


def prepare_kernel(cache: Path) -> Path:
    """Debian's cloud kernel; its modules are beside it, in "modules". GuestFailed when apt cannot get it."""
    ready = cache / "kernel"
    if not ready.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            fresh = Path(name) / "kernel"
            _unpack(_download(Path(name)), fresh)
            try:
                fresh.rename(ready)
            except OSError:  # another run was quicker
                if not ready.exists():
                    raise
    return ready / "vmlinuz"


def _download(directory: Path) -> Path:
    depends = _output(["apt-cache", "depends", "--important", _KERNEL], directory)
    names = [line.split()[-1] for line in depends.splitlines() if "Depends:" in line]
    if not names:
        raise GuestFailed(f"apt has no package {_KERNEL}; try apt-get update")
    _output(["apt-get", "download", "-q", names[0]], directory)
    return next(directory.glob("*.deb"))


def _output(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode:
        raise GuestFailed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _unpack(package: Path, into: Path) -> None:
    """vmlinuz, and all modules as flat files."""
    modules = into / "modules"
    modules.mkdir(parents=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                name = Path(member.name).name
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and name.startswith("vmlinuz-"):
                    (into / "vmlinuz").write_bytes(content.read())
                elif content is not None and name.endswith(".ko"):
                    (modules / name.replace("-", "_")).write_bytes(content.read())


def _put_modules(archive: Archive, kernel: Path, names: Sequence[str]) -> None:
    order: list[str] = []
    for name in names:
        _with_dependencies(kernel.parent / "modules", name, order)
    for file in order:
        archive.copy(f"/modules/{file}", kernel.parent / "modules" / file)
    archive.file("/modules/order", "\n".join(order).encode())


def _with_dependencies(modules: Path, name: str, order: list[str]) -> None:
    """A module says in its own file what it depends on. One that is built in has no file."""
    file = f"{name}.ko"
    if file in order or not (modules / file).exists():
        return
    content = (modules / file).read_bytes()
    start = content.index(b"depends=") + len(b"depends=")
    for other in content[start : content.index(b"\0", start)].decode().split(","):
        if other:
            _with_dependencies(modules, other.replace("-", "_"), order)
    order.append(file)


# ------------------------------------------------------------------------------------------------------- initramfs


def _base(cache: Path) -> bytes:
    """What does not change from run to run: busybox and Python. Kept in the cache."""
    version = f"{sys.version_info.major}{sys.version_info.minor}{sys.version_info.micro}"
    kept = cache / f"base-{version}-{int(Path(__file__).stat().st_mtime)}.cpio"
    if not kept.exists():
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as out:
            archive = Archive(out)  # type: ignore[arg-type]
            _fill(archive)
            archive.end()
        Path(out.name).rename(kept)
        for old in cache.glob("base-*.cpio"):
            if old != kept:  # which another run may be about to read
                old.unlink(missing_ok=True)
    return kept.read_bytes()


def _fill(archive: Archive) -> None:
    for directory in ("/proc", "/sys", "/dev", "/tmp", "/run", "/etc", "/root", "/bin"):
        archive.directory(directory)
    archive.device("/dev/console", 5, 1)
    python = Path(os.path.realpath(sys.executable))
    busybox = shutil.which("busybox")
    assert busybox is not None
    archive.copy("/bin/busybox", Path(busybox))
    archive.copy(str(python), python)
    stdlib = Path(sysconfig.get_path("stdlib"))
    archive.copy(str(stdlib), stdlib, _NOT_NEEDED)
    for extension in sorted((stdlib / "lib-dynload").glob("*.so")):
        if not extension.name.startswith(_EXTENSIONS_NOT_NEEDED):
            archive.copy(str(extension), extension)
            _libraries(archive, extension)
    _libraries(archive, python)
    archive.file("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    archive.file("/etc/group", b"root:x:0:\n")
    archive.file("/guest/main.py", _MAIN.encode())
    archive.file("/guest/guest.py", _REPORT.encode())
    init = _INIT.replace("@PYTHON@", str(python)).replace("@HOME@", sys.base_prefix)
    archive.file("/init", init.encode(), 0o755)


def _libraries(archive: Archive, binary: Path) -> None:
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True).stdout
    for word in listed.split():
        if word.startswith("/"):
            archive.copy(word, Path(os.path.realpath(word)))
