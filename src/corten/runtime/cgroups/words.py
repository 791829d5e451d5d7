"""Messages for what the machine cannot limit. Where Docker has words for it, these are Docker's:
scripts and its own client look for them."""

from __future__ import annotations

MEMORY = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
SWAP = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
RESERVATION = (
    "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded."
)
SWAPPINESS = (
    "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
    "Memory swappiness discarded."
)
OOM_KILL_DISABLE = "Your kernel does not support OomKillDisable. OomKillDisable discarded."
PIDS = "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."
SHARES = "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded."
CFS = "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded."
BURST = "Your kernel does not support CPU bursts. CPU burst discarded."
IDLE = "Your kernel does not support idle control groups. CPU idle discarded."
REALTIME = (
    "Your kernel does not support CPU real-time scheduling of groups or the cgroup is not mounted. "
    "CPU real-time settings discarded."
)
CPUSET = "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded."
WEIGHT = "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
WEIGHT_DEVICE = (
    "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded."
)
READ_BPS = (
    "Your kernel does not support BPS Block I/O read limit or the cgroup is not mounted. "
    "Block I/O BPS read limit discarded."
)
WRITE_BPS = (
    "Your kernel does not support BPS Block I/O write limit or the cgroup is not mounted. "
    "Block I/O BPS write limit discarded."
)
READ_IOPS = (
    "Your kernel does not support IOPS Block read limit or the cgroup is not mounted. "
    "Block I/O IOPS read limit discarded."
)
WRITE_IOPS = (
    "Your kernel does not support IOPS Block write limit or the cgroup is not mounted. "
    "Block I/O IOPS write limit discarded."
)
HUGETLB = "Your kernel does not support huge page limits of {} or the cgroup is not mounted. Limit discarded."
NETWORK = "Your kernel does not support network classes and priorities of cgroups, or they are not mounted. Discarded."
RDMA = "Your kernel does not support RDMA limits or the cgroup is not mounted. RDMA limits discarded."
UNIFIED = "This machine's control groups are not version 2. Unified setting {} discarded."
UNIFIED_FILE = "Your kernel does not have the control group file {}. Unified setting discarded."
DEVICES = (
    "Your kernel does not support device control groups, or the cgroup is not mounted. Device access is not limited."
)
DEVICE_HOLE = "Device rule {!r} cannot take something back from a rule with a wildcard in control groups of version 1."
