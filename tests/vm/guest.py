"""A machine of its own for tests: Debian's cloud kernel in QEMU, our package, and a Python script to run as root.

    guest = Guest(cache)                       # a directory for what does not change, kept between runs
    results = guest.run(script, files)         # boots, runs, powers off: about five seconds
    results[0] == {"name": "memory", ...}      # what the script gave to report(...)

In the guest everything is in memory. /sys/fs/cgroup is control groups v2, the script's standard output goes to the
console (which is in `guest.console` afterwards), and `from guest import report` gives the way to the host: one JSON
object a call. An uncaught exception of the script is reported as {"exception": traceback}.

Always emulated (tcg): an unmodified kernel does not boot under every host's nested KVM.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corten.errors import CortenError
from corten.vm import kernels
from corten.vm.architectures import architecture
from corten.vm.cpio import Archive
from corten.vm.kernels import Kernel
from e2e_parts.patience import LIMIT

Json = dict[str, Any]
Source = str | bytes | Path  # content, or what to copy

KERNELS = (Path(sys.prefix) / "share/corten/kernel",)  # where scripts/guest-kernel puts one
_MODULES = ("virtio_pci", "virtio_blk", "overlay", "bfq")  # always; `modules=` adds "veth", "bridge", "nf_tables" ...
_PACKAGE = Path(__file__).parents[2] / "src" / "corten"
_NOT_NEEDED = frozenset(
    ("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data", "distutils", "unittest")
    + ("site-packages", "dist-packages", "lib-dynload", "venv", "curses", "dbm", "wsgiref")
    + (os.path.basename(sysconfig.get_config_var("LIBPL")),)  # for those who compile against Python: 30 MB
)
_EXTENSIONS_NOT_NEEDED = ("_test", "_xx", "xx", "_tkinter", "_curses", "_dbm", "_gdbm", "nis", "ossaudio", "readline")

# The initial file system cannot be left by pivot_root(2). The same one, mounted over it, can.
_INIT = """#!/bin/busybox sh
if [ ! -e /own-root ]; then
    /bin/busybox mkdir /own-root
    /bin/busybox mount --bind / /own-root
    cd /own-root
    /bin/busybox mount --move . /
    exec /bin/busybox chroot . /init
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
    ):
        if not shutil.which(program):
            return f"{program} is missing (Debian package {package})"
    try:
        kernels.find(KERNELS)
    except CortenError as error:
        return f"{error}; scripts/guest-kernel does that"
    return ""


class Guest:
    """`cache` keeps the interpreter's part. `disks` are files, or sizes in bytes of empty ones, as /dev/vda, /dev/vdb.
    `modules` are loaded beside those for the disks and overlay, with what they depend on."""

    def __init__(
        self,
        cache: Path,
        *,
        memory: int = 512 << 20,
        processors: int = 2,
        disks: Sequence[int | Path] = (),
        modules: Sequence[str] = (),
        kernel_arguments: str = "",
        timeout: float = LIMIT / 2,
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
        kernel = kernels.find(KERNELS)
        self.cache.mkdir(parents=True, exist_ok=True)
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
                compileall.compile_dir(_PACKAGE, quiet=2)  # an emulated processor takes many seconds for that
                _copy(archive, "/src/corten", _PACKAGE)
                archive.end()
            return self._boot(kernel, image, work)

    def _boot(self, kernel: Kernel, image: Path, work: Path) -> list[Json]:
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

    def _command(self, kernel: Kernel, image: Path, console: Path, work: Path) -> list[str]:
        words = "console=ttyS0 quiet panic=-1 random.trust_cpu=on tsc=reliable no_timer_check"
        words += " cryptomgr.notests mitigations=off"
        arguments = f"{words} {self.kernel_arguments}"
        emulated = architecture("x86_64").emulated
        # With a thread for each processor QEMU 7.2 hangs once in some fifty runs: the guest's kernel reports a soft
        # lockup of both, and nothing happens any more.
        command = ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", emulated, "-smp", str(self.processors)]
        command += ["-m", f"{self.memory >> 20}M", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        command += ["-kernel", str(kernel.image), "-initrd", str(image), "-append", arguments]
        command += ["-serial", f"file:{console}", "-serial", "stdio"]
        for index, given in enumerate(self.disks):
            disk = work / f"disk{index}" if isinstance(given, int) else given
            if isinstance(given, int):
                with disk.open("wb") as file:
                    file.truncate(given)
            command += ["-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"]
        return command


def _put(archive: Archive, path: str, source: Source) -> None:
    if isinstance(source, Path):
        _copy(archive, path, source)
    else:
        archive.file(path, source.encode() if isinstance(source, str) else source)


def _copy(archive: Archive, path: str, source: Path, skip: frozenset[str] = frozenset()) -> None:
    """A file, or a tree without what is named in `skip`; links are followed. Times are kept: Python compares a source's
    with the one in its compiled file."""
    if source.is_dir():
        archive.directory(path)
        for child in sorted(source.iterdir()):
            if child.name not in skip:
                _copy(archive, f"{path}/{child.name}", child, skip)
    else:
        status = source.stat()
        archive.file(path, source.read_bytes(), stat.S_IMODE(status.st_mode), int(status.st_mtime))


def _put_modules(archive: Archive, kernel: Kernel, names: Sequence[str]) -> None:
    files = kernels.module_files(kernel)
    order = kernels.in_order(files, names)
    for name in order:
        archive.file(f"/modules/{name}.ko", kernels.content(files[name]))
    archive.file("/modules/order", "".join(f"{name}.ko\n" for name in order).encode())


# ------------------------------------------------------------------------------------------------------- initramfs


def _base(cache: Path) -> bytes:
    """What does not change from run to run: busybox and Python. Kept in the cache."""
    version = f"{sys.version_info.major}{sys.version_info.minor}{sys.version_info.micro}"
    kept = cache / f"base-{version}-{int(Path(__file__).stat().st_mtime)}.cpio"
    try:
        return kept.read_bytes()
    except FileNotFoundError:
        pass
    with tempfile.NamedTemporaryFile(dir=cache, delete=False) as out:
        archive = Archive(out)  # type: ignore[arg-type]
        _fill(archive)
        archive.end()
    made = Path(out.name).read_bytes()  # a run of another version may remove it as soon as it has its name
    Path(out.name).rename(kept)
    for old in cache.glob("base-*.cpio"):
        if old != kept:
            old.unlink(missing_ok=True)
    return made


def _fill(archive: Archive) -> None:
    for directory in ("/proc", "/sys", "/dev", "/tmp", "/run", "/etc", "/root", "/bin"):
        archive.directory(directory)
    archive.device("/dev/console", 5, 1)
    python = Path(os.path.realpath(sys.executable))
    busybox = shutil.which("busybox")
    assert busybox is not None
    _copy(archive, "/bin/busybox", Path(busybox))
    _copy(archive, str(python), python)
    stdlib = Path(sysconfig.get_path("stdlib"))
    _copy(archive, str(stdlib), stdlib, _NOT_NEEDED)
    for extension in sorted((stdlib / "lib-dynload").glob("*.so")):
        if not extension.name.startswith(_EXTENSIONS_NOT_NEEDED):
            _copy(archive, str(extension), extension)
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
            _copy(archive, word, Path(os.path.realpath(word)))
