"""Which namespace a kernel parameter belongs to (proc(5), namespaces(7)); all others are the machine's."""

from __future__ import annotations

_IPC = frozenset(f"kernel.{name}" for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced".split())


def namespace_of(name: str) -> str:
    """OCI's word for the namespace, "" for none. Both spellings are taken, `net.core.somaxconn` and with slashes."""
    dotted = name.replace("/", ".")
    if dotted in _IPC or dotted.startswith("fs.mqueue."):
        return "ipc"
    if dotted.startswith("net."):
        return "network"
    if dotted == "kernel.domainname":
        return "uts"
    return "user" if dotted.startswith("user.") else ""
