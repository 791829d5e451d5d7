"""From the kernel's first process to the agent: file systems, modules, the port.

`/init` of the initial file system is `main()`. That file system has: the interpreter with its standard library and
`corten`, /modules/order with the names of files beside it, one a line, in the order of loading, and empty directories
or none for what is mounted.
"""

from __future__ import annotations

import encodings.ascii
import encodings.latin_1  # noqa: F401
import os
import sys
import time

from corten.guest import devices
from corten.guest.agent import Agent
from corten.guest.machine import Own, power_off
from corten.kernel import modules, mount
from corten.kernel import syscall as sys_
from corten.runtime import cgroups
from corten.runtime.cgroups import devices as device_rules
from corten.runtime.cgroups import v2
from corten.spec import default_devices

# What is loaded elsewhere when it is needed first: there is nothing to load it from in a container's root, and what
# finds out what goes into the initial file system looks at what is loaded here.
from corten.supervisor import hangup, trees  # noqa: F401
from corten.supervisor.failures import print_exception

PORT = "corten.agent"
MODULES = "/modules"
_PATIENCE = 60.0  # seconds for the port to appear

_NOSUID_NODEV_NOEXEC = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_FILE_SYSTEMS = (  # where, what, its options, attributes
    ("/proc", "proc", (), _NOSUID_NODEV_NOEXEC),
    ("/sys", "sysfs", (), _NOSUID_NODEV_NOEXEC),
    ("/dev", "devtmpfs", ("mode=755",), mount.MOUNT_ATTR_NOSUID),
    ("/dev/pts", "devpts", ("ptmxmode=666", "mode=620", "gid=5"), mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NOEXEC),
    ("/dev/shm", "tmpfs", ("mode=1777",), mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV),
    ("/run", "tmpfs", ("mode=755",), mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV),
    ("/tmp", "tmpfs", ("mode=1777",), mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV),
    ("/sys/fs/cgroup", "cgroup2", (), _NOSUID_NODEV_NOEXEC),
)


def main() -> None:
    """Never returns: the machine is switched off at the end, whatever happens."""
    try:
        begin()
        Agent(open_port(), Own()).run()
    except BaseException:  # its last line is on the console, which the host reads
        print_exception()
    finally:
        power_off()


def begin() -> None:
    """All that does not depend on what the host says."""
    own_root()
    for where, kind, options, attributes in _FILE_SYSTEMS:
        os.makedirs(where, exist_ok=True)
        made = mount.new(kind, options, attributes, kind)
        mount.move_to(made, where)
        os.close(made)
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    load_modules(MODULES)
    devices.put_aside("virtio_net")  # clones of this guest have another interface in its place
    rehearse()


def rehearse() -> None:
    """What every container needs and what does not depend on it is done here: once for all clones of this guest. The
    controllers of its group stay on, and the kernel and this interpreter have been there before."""
    v2.keep_program(device_rules.parse(default_devices.RULES) + device_rules.ALWAYS)
    # This group stays: the kernel patches its own code with the first program that is attached to any, and the last.
    cgroups.create(cgroups.here(), "/corten/rehearsal", {"devices": [*default_devices.RULES]}).close()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def own_root() -> None:
    """The kernel's initial root cannot be left by pivot_root(2). A copy of its mount over it can, and has the same
    files."""
    copy = mount.clone(sys_.AT_FDCWD, "/")
    mount.move_to(copy, "/")
    os.fchdir(copy)
    os.chroot(".")
    os.close(copy)


def load_modules(directory: str) -> None:
    try:
        with open(os.path.join(directory, "order"), encoding="ascii") as order:
            names = order.read().split()
    except FileNotFoundError:  # a kernel that has all of it built in
        return
    for name in names:
        try:
            modules.load(os.path.join(directory, name))
        except OSError as error:  # one that is for other devices: what is missing shows itself later
            print(f"cannot load the module {name}: {error.strerror}", file=sys.stderr, flush=True)


def open_port() -> int:
    """Of the virtio-serial device. FileNotFoundError when it does not appear."""
    deadline = time.monotonic() + _PATIENCE
    found = devices.wait_for(lambda: devices.port(PORT), deadline)
    if found is None:
        raise FileNotFoundError(f"the port {PORT} did not appear")
    return os.open(found, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
