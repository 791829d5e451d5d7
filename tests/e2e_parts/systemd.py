"""A real systemd, as the first process of namespaces of its own: nothing of the host is changed, no service of it runs.

    with Systemd(tmp_path) as system:          # a second
        system.run("systemctl is-active x")    # in its namespaces

Its root is the host's, with everything that is written in memory. It has a network without devices but the loopback,
control groups below one of its own, /sys and most of /proc/sys read-only, no units but systemd's own targets and the
journal.
"""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self

from e2e_parts.clients import Done, execute
from e2e_parts.cortend import PROJECT

PROGRAM = "/lib/systemd/systemd"
NEEDED = {"unshare": "util-linux", "nsenter": "util-linux", PROGRAM: "systemd", "systemctl": "systemd"}
_GROUPS = Path("/sys/fs/cgroup")

_BOOT = """
set -e
place=$1 console=$2
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay -o lowerdir=/,upperdir="$place/upper",workdir="$place/work" overlay "$place/root"
cd "$place/root"
mkdir -p var/lib/corten run tmp
for one in run tmp var/lib/corten; do mount -t tmpfs -o mode=755 tmpfs $one; done

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    for tree in /sys/fs/cgroup/*; do
        name=${tree##*/}
        [ -e "$tree/cgroup.procs" ] || continue
        mkdir sys/fs/cgroup/$name
        case $name in
            unified) mount -t cgroup2 cgroup2 sys/fs/cgroup/$name ;;
            systemd) mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/$name ;;
            *) mount -t cgroup -o $name cgroup sys/fs/cgroup/$name ;;
        esac
    done
fi

mount -t tmpfs -o mode=755 tmpfs dev
for one in null zero full random urandom tty; do
    touch dev/$one
    mount --bind /dev/$one dev/$one
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
touch dev/console
mount --bind "$console" dev/console

# what the host's own packages would start, or mount
rm -rf etc/systemd/system etc/fstab etc/init.d etc/rc?.d etc/corten lib/systemd/system-generators
rm -rf lib/systemd/system/multi-user.target.wants lib/systemd/system/timers.target.wants
rm -rf lib/systemd/system/local-fs.target.wants usr/local/bin/corten*
mkdir -p etc/systemd/system
(cd lib/systemd/system/sysinit.target.wants && ls | grep -v journald | xargs rm -f)
(cd lib/systemd/system/sockets.target.wants && ls | grep -v journald | xargs rm -f)
ln -s /lib/systemd/system/multi-user.target etc/systemd/system/default.target
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n' > etc/machine-id

mkdir old
# on a file system of its own, or below /tmp
[ -e ".$PROJECT/packaging" ] || { mkdir -p ".$PROJECT"; mount --rbind "$PROJECT" ".$PROJECT"; }
pivot_root . old
umount -l /old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console </dev/null
"""


def missing() -> str:
    """What this machine lacks, as a reason to skip; empty when nothing."""
    lacks = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    return f"needs Debian's {', '.join(lacks)}" if lacks else ""


class Systemd:
    def __init__(self, place: Path) -> None:
        self._place = place
        self._group = f"cesd{secrets.token_hex(3)}"
        self._process: subprocess.Popen[bytes] | None = None
        self._console = -1

    def __enter__(self) -> Self:
        try:
            self._boot()
            until = time.monotonic() + 20
            while self.run("systemctl is-system-running", code=None).out.strip() not in ("running", "degraded"):
                assert time.monotonic() < until, self.console()
                time.sleep(0.05)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _boot(self) -> None:
        self._console, inner = pty.openpty()
        os.set_blocking(self._console, False)
        spaces = ["--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "--kill-child"]
        self._process = subprocess.Popen(
            ["unshare", *spaces, "sh", "-c", _BOOT, "boot", str(self._place), os.ttyname(inner)],
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "PROJECT": str(PROJECT)},
            preexec_fn=self._enter_group,
        )
        os.close(inner)

    def _trees(self) -> list[Path]:
        return [tree for tree in (_GROUPS, *_GROUPS.iterdir()) if (tree / "cgroup.procs").exists()]

    def _enter_group(self) -> None:
        """In the new process: the control group that becomes the root of its namespace, in each hierarchy."""
        for tree in self._trees():
            group = tree / self._group
            group.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1: empty in a new group, and it can have no process then
                if (group / name).exists() and not (group / "cgroup.controllers").exists():
                    (group / name).write_text((tree / name).read_text())
            (group / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def pid(self) -> int:
        """systemd's, as the host sees it."""
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0])

    def command(self, script: str) -> list[str]:
        """What runs `script` in there."""
        return [
            "nsenter",
            "-t",
            str(self.pid),
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
            "--cgroup",
            "sh",
            "-ec",
            script,
        ]

    def run(self, script: str, code: int | None = 0, timeout: float = 30) -> Done:
        environment = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
        try:
            command = self.command(script)
        except (IndexError, FileNotFoundError):  # it is not that far
            assert self._process is not None and self._process.poll() is None, self.console()
            return Done(-1, "", "")
        done = execute(command, env=environment, timeout=timeout)
        assert code in (None, done.code), f"{script}: {done}\n{self.console()}"
        return done

    def console(self) -> str:
        said = b""
        with contextlib.suppress(OSError):
            while data := os.read(self._console, 1 << 16):
                said += data
        return said.decode(errors="replace")

    def close(self) -> None:
        """Everything in there ends with its first process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
        if self._console >= 0:
            os.close(self._console)
        for tree in self._trees():
            _remove(tree / self._group)


def _remove(group: Path) -> None:
    """A control group and those below it, once the kernel has taken their processes away."""
    until = time.monotonic() + 60
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(directory)
                break
            except OSError:
                assert time.monotonic() < until, f"processes in {directory}"
                time.sleep(0.02)
