"""A host with an IOMMU, and with USB where its kernel has that, emulated by QEMU: devices are given to a machine on it.

    PYTHONPATH=tests python tests/vm/emulated_host.py DIRECTORY [KERNEL]

By hand, as root, a minute or more, 1 GB in DIRECTORY: for what `test_passed_devices` cannot see where the hardware is
not there. `KERNEL`: a directory with a package of Debian's kernel unpacked (`dpkg-deb -x linux-image-VERSION-amd64.deb
KERNEL`; cloud kernels, as guests have them, know no USB). In that host, `passing.py` looks at its devices as a daemon
does, binds them, and begins a QEMU that has them; it prints what it sees.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from corten.vm import kernels
from corten.vm.cpio import Archive
from corten.vm.kernels import Kernel
from vm import tiny

HERE = Path(__file__).parent
PROGRAMS = ("/usr/bin/qemu-system-x86_64", os.path.realpath(sys.executable), str(tiny.BUSYBOX))
_DRIVERS = Path("/usr/lib/x86_64-linux-gnu/qemu")
_DATA = ("/usr/share/qemu", "/usr/share/seabios")
_MODULES = (
    "virtio_pci virtio_blk libcrc32c crc32c_generic ext4 irqbypass vfio vfio_virqfd vfio_iommu_type1 vfio_pci nvme "
    "xhci_pci usbcore usb_storage scsi_mod sd_mod"
).split()
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
mount -t ext4 /dev/vda /mnt
mount -t tmpfs tmpfs /mnt/tmp
for place in proc sys dev; do mount --bind /$place /mnt/$place; done
exec switch_root /mnt /run-it
"""
_RUN = f"""#!/bin/busybox sh
PYTHONPATH=/code:/site {PROGRAMS[1]} /code/passing.py 2>&1
/bin/busybox poweroff -f
"""


def initrd(kernel: Kernel, path: Path) -> None:
    files = kernels.module_files(kernel)
    order = kernels.in_order(files, [name for name in _MODULES if name in files])
    out = io.BytesIO()
    archive = Archive(out)
    for name in ("bin", "dev", "proc", "sys", "mnt"):
        archive.directory(f"/{name}")
    archive.device("/dev/console", 5, 1)
    archive.file("/bin/busybox", tiny.BUSYBOX.read_bytes(), 0o755)
    for name in order:
        archive.file(f"/modules/{name}.ko", kernels.content(files[name]))
    archive.file("/modules/order", "".join(f"{name}.ko\n" for name in order).encode())
    archive.file("/init", _INIT.encode(), 0o755)
    archive.end()
    path.write_bytes(out.getvalue())


def tree(root: Path) -> None:
    """What the host has: QEMU, Python, and Corten, with the libraries of all."""
    for name in ("proc", "sys", "dev", "tmp", "usr/bin", "usr/lib", "usr/lib64", "usr/share"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, root / str(library)[1:], ignore=shutil.ignore_patterns("test", "__pycache__"))
    (root / str(_DRIVERS)[1:]).mkdir(parents=True)
    drivers = [_DRIVERS / "accel-tcg-x86_64.so", _DRIVERS / "hw-usb-host.so"]
    for file in (*PROGRAMS, *map(str, drivers), *map(str, (library / "lib-dynload").glob("*.so"))):
        _copy(file, root)
        for needed in re.findall(r"(/\S+)", subprocess.run(["ldd", file], capture_output=True, text=True).stdout):
            _copy(needed, root)
    for place in _DATA:
        shutil.copytree(place, root / place[1:])
    (root / "usr/bin/sh").symlink_to("busybox")
    shutil.copytree(HERE.parents[1] / "src", root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "passing.py", root / "code")
    shutil.copytree(Path(sysconfig.get_path("purelib")) / "msgspec", root / "site/msgspec")
    (root / "run-it").write_text(_RUN)
    (root / "run-it").chmod(0o755)


def _copy(file: str, root: Path) -> None:
    target = root / os.path.realpath(os.path.dirname(file))[1:] / os.path.basename(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(file, target)


def command(kernel: Kernel, place: Path) -> list[str]:
    """A network card, a virtio device and an NVMe disk with virtual functions, each behind a port of its own; a tablet
    and a disk of USB."""
    words = (
        "qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -machine q35 -accel tcg -cpu max "
        "-m 1200M -smp 2 -serial stdio -device intel-iommu,intremap=on,caching-mode=on "
        f"-kernel {kernel.image} -initrd {place}/initrd "
        f"-drive file={place}/disk,format=raw,if=none,id=disk -device virtio-blk-pci,drive=disk,addr=2 "
        "-device pcie-root-port,id=one,chassis=1,addr=3 -device e1000e,bus=one "
        "-device pcie-root-port,id=two,chassis=2,addr=4 "
        "-device virtio-net-pci,bus=two,disable-legacy=on,iommu_platform=on "
        "-device pcie-root-port,id=three,chassis=3,addr=5 -device nvme-subsys,id=nvme "
        "-device nvme,serial=x,subsys=nvme,bus=three,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,"
        "max_ioqpairs=6,msix_qsize=7 "
        f"-drive file={place}/stick,format=raw,if=none,id=stick -device qemu-xhci,id=usb "
        "-device usb-tablet,bus=usb.0 -device usb-storage,bus=usb.0,drive=stick"
    ).split()
    return [*words, "-append", "console=ttyS0 quiet panic=-1 no_timer_check random.trust_cpu=on intel_iommu=on"]


def main(place: Path, kernel: Kernel) -> None:
    root = place / "root"
    tree(root)
    initrd(kernel, place / "initrd")
    for name, size, files in (("disk", "800M", ["-d", str(root)]), ("stick", "16M", [])):
        subprocess.run(["truncate", "-s", size, place / name], check=True)
        subprocess.run(["mkfs.ext4", "-q", *files, place / name], check=True)
    subprocess.run(command(kernel, place), check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), kernels.at(Path(sys.argv[2]) if len(sys.argv) > 2 else tiny.PLACE))
