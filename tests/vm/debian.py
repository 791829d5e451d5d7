"""A whole Debian on a disk with a boot loader, as its cloud images are: `python tests/vm/debian.py DISK.raw` (as root).

With Debian's packages mmdebstrap, extlinux, fdisk and e2fsprogs, a loop device, and a mirror: some minutes. It has
cloud-init, QEMU's agent, an ssh server, and its console on the first serial port. Limits of time are long: emulated, it
takes a minute or two to boot, and far more on a machine that has other work.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

PACKAGES = (
    "linux-image-cloud-amd64 systemd-sysv udev dbus openssh-server qemu-guest-agent cloud-init cloud-guest-utils fdisk "
    "iproute2 e2fsprogs netplan.io"
).split()
_UNUSED = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
_MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service man-db.timer dpkg-db-backup.timer fstrim.timer "
    "systemd-networkd-wait-online.service"
).split()
_FIRST = 2048  # sector of the one partition
_ARGUMENTS = "root=/dev/vda1 ro console=ttyS0 mitigations=off random.trust_cpu=on no_timer_check"
_LOCALE = "locale: C.UTF-8\n"  # one that is there without being generated
_SLOW = "[Manager]\nDefaultDeviceTimeoutSec=30min\nDefaultTimeoutStartSec=30min\n"


def make(disk: Path, release: str = "bookworm", mirror: str = "http://deb.debian.org/debian", size: int = 1536) -> None:
    """`size` in MiB. CalledProcessError with what a program has said."""
    with ExitStack() as undo:
        scratch = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=disk.parent)))
        tar, root = scratch / "root.tar", scratch / "root"
        excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in _UNUSED]
        kind = ["--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}"]
        _run("mmdebstrap", *kind, *excluded, release, str(tar), mirror)
        _run("truncate", "-s", f"{size}M", str(disk))
        _run("sfdisk", "-q", str(disk), text=f"start={_FIRST}, type=83, bootable\n")
        _run("dd", "if=/usr/lib/EXTLINUX/mbr.bin", f"of={disk}", "conv=notrunc", "status=none")
        loop = _run("losetup", "-f", "--show", "-o", str(_FIRST * 512), str(disk)).strip()
        undo.callback(_run, "losetup", "-d", loop)
        _run("mkfs.ext4", "-q", "-O", "^64bit,^metadata_csum", "-L", "root", loop)  # extlinux reads no others
        root.mkdir()
        _run("mount", loop, str(root))
        undo.callback(_run, "umount", str(root))
        _run("tar", "-C", str(root), "--numeric-owner", "-xf", str(tar))
        _boots(root)


def _boots(root: Path) -> None:
    kernel, initrd = (next((root / "boot").glob(pattern)).name for pattern in ("vmlinuz-*", "initrd.img-*"))
    (root / "boot/extlinux").mkdir()
    (root / "boot/extlinux/extlinux.conf").write_text(
        f"DEFAULT debian\nLABEL debian\n  LINUX /boot/{kernel}\n  INITRD /boot/{initrd}\n  APPEND {_ARGUMENTS}\n"
    )
    _run("extlinux", "--install", str(root / "boot/extlinux"))
    (root / "etc/fstab").write_text("/dev/vda1 / ext4 errors=remount-ro 0 1\n")
    (root / "etc/systemd/system.conf.d").mkdir()
    (root / "etc/systemd/system.conf.d/slow.conf").write_text(_SLOW)
    (root / "etc/cloud/cloud.cfg.d/10_locale.cfg").write_text(_LOCALE)
    for words in (("enable", "systemd-networkd"), ("mask", *_MASKED)):
        _run("systemctl", f"--root={root}", *words)


def _run(*words: str, text: str = "") -> str:
    return subprocess.run(words, input=text, stdout=subprocess.PIPE, check=True, text=True).stdout


if __name__ == "__main__":
    make(Path(sys.argv[1]).absolute())
