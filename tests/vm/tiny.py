"""The smallest machine that does what machines are asked for: Debian's kernel for guests, busybox, and a script.

It brings its interface up by DHCP where it gets an answer, mounts what cloud-init would read, shuts down when the power
button is pressed, writes "tiny: ready" to its serial console, and has a shell there.
"""

from __future__ import annotations

import io
from pathlib import Path

from corten.errors import NotFound
from corten.vm import kernels
from corten.vm.cpio import Archive

BUSYBOX = Path("/usr/bin/busybox")
PLACE = Path(__file__).parents[2] / ".venv/share/corten/kernel"
READY = "tiny: ready"
ARGUMENTS = "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check"
_MODULES = (
    "virtio_pci virtio_blk virtio_scsi sd_mod virtio_net virtio_mem virtio_balloon ext4 isofs button evdev af_packet"
).split()

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /tmp /run /cidata /disk
mount -t devpts pts /dev/pts
for module in $(cat /modules/order); do insmod /modules/$module || echo "tiny: no $module"; done
echo online_movable > /sys/devices/system/memory/auto_online_blocks
ip link set lo up
for event in /dev/input/event*; do
    (dd if=$event bs=24 count=1 of=/dev/null 2>/dev/null && echo "tiny: power button" && sync && poweroff -f) &
done
for block in /sys/block/vd*; do
    [ "$(cat $block/serial 2>/dev/null)" = cloud-init ] && mount -t iso9660 -o ro /dev/${block##*/} /cidata
done
%s
echo "tiny: ready"
while true; do setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1'; done
"""

_ADDRESS = """
address=$(sed -n 's/.*"addresses": \\["\\([0-9.]*\\/[0-9]*\\)".*/\\1/p' /cidata/network-config 2>/dev/null)
gateway=$(sed -n 's/.*"gateway4": "\\([0-9.]*\\)".*/\\1/p' /cidata/network-config 2>/dev/null)
cat > /dhcp <<'end'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/$mask dev $interface
ip route add default via $router
echo "$hostname $dns" > /names
end
chmod 755 /dhcp
[ -n "$address" ] || { ip link set eth0 up && udhcpc -i eth0 -n -q -t 5 -T 2 -s /dhcp; }
[ -z "$address" ] || { ip addr add $address dev eth0; ip link set eth0 up; ip route add default via $gateway; }
"""


def missing() -> str:
    """Why this machine has no such guest; "" when it has."""
    if not BUSYBOX.exists():
        return "needs a static busybox (Debian package busybox-static)"
    try:
        kernels.at(PLACE)
    except NotFound as error:
        return str(error)
    return ""


def kernel() -> Path:
    return kernels.at(PLACE).image


def initrd(path: Path, script: str = _ADDRESS) -> Path:
    """Written to `path`. `script` is done before it is ready."""
    found = kernels.at(PLACE)
    files = kernels.module_files(found)
    order = kernels.in_order(files, _MODULES)
    out = io.BytesIO()
    archive = Archive(out)
    for name in ("bin", "dev", "etc", "proc", "root", "sys"):
        archive.directory(f"/{name}")
    archive.device("/dev/console", 5, 1)
    archive.file("/bin/busybox", BUSYBOX.read_bytes(), 0o755)
    for name in order:
        archive.file(f"/modules/{name}.ko", kernels.content(files[name]))
    archive.file("/modules/order", "".join(f"{name}.ko\n" for name in order).encode())
    archive.file("/init", (_INIT % script).encode(), 0o755)
    archive.end()
    path.write_bytes(out.getvalue())
    return path


if __name__ == "__main__":
    import sys

    print(kernel(), initrd(Path(sys.argv[1])))
