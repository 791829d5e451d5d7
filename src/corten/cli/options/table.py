"""The flags of `run` and `create` that describe a container, one line each."""

from __future__ import annotations

from corten.cli.flags import (
    ADDRESS,
    BOOL,
    BYTES,
    DURATION,
    ENV,
    INT,
    LABEL,
    LINK,
    LIST,
    MAP,
    STRING,
    UINT16,
    UINT64,
    Flag,
    flag,
    lazy,
)

CPUS = lazy("decimal", 0, "cli.options.resources", "parse_cpus")
MEMORY_SWAP = lazy("bytes", 0, "cli.options.resources", "parse_memory_swap")
ULIMIT = lazy("ulimit", (), "cli.options.resources", "parse_ulimit", many=True)
MOUNT = lazy("mount", (), "cli.options.mounts", "parse_mount", many=True)
NETWORK = lazy("network", (), "cli.options.networks", "parse_network", many=True)
ATTACH = lazy("list", (), "cli.options.texts", "parse_attach", many=True)
SYSCTL = lazy("map", (), "cli.options.texts", "parse_sysctl", many=True)
SECRET = lazy("secret", (), "cli.options.secrets", "parse_secret", many=True)
CGROUP_RULE = lazy("list", (), "cli.options.devices", "parse_cgroup_rule", many=True)
WEIGHT = lazy("list", (), "cli.options.devices", "parse_weight", many=True)
BPS = lazy("list", (), "cli.options.devices", "parse_bps", many=True)
IOPS = lazy("list", (), "cli.options.devices", "parse_iops", many=True)
HOST = lazy("list", (), "cli.options.texts", "parse_extra_host", many=True)
DOMAIN = lazy("list", (), "cli.options.texts", "parse_domain", many=True)
GPUS = lazy("gpu-request", "", "cli.options.devices", "parse_gpus")

CONTAINER_FLAGS = (
    flag("add-host", HOST, "Add a line to /etc/hosts (name:address)"),
    flag("annotation", MAP, "Annotate the container for its OCI runtime"),
    flag("attach", ATTACH, "Connect to STDIN, STDOUT or STDERR", "a"),
    flag("blkio-weight", UINT16, "Share of block IO, 10 to 1000, 0 for no limit"),
    flag("blkio-weight-device", WEIGHT, "Share of one device's block IO"),
    flag("cap-add", LIST, "Give a capability"),
    flag("cap-drop", LIST, "Take a capability away"),
    flag("cgroup-parent", STRING, "The cgroup to make the container's in"),
    flag("cgroupns", STRING, "Cgroup namespace: host or private"),
    flag("cidfile", STRING, "Write the container's ID to this file"),
    flag("cpu-count", INT, "Number of CPUs (Windows only)", hidden=True),
    flag("cpu-percent", INT, "Percentage of CPUs (Windows only)", hidden=True),
    flag("cpu-period", INT, "Length of a CFS scheduler period in microseconds"),
    flag("cpu-quota", INT, "CPU time per period in microseconds"),
    flag("cpu-rt-period", INT, "Length of a real-time scheduler period in microseconds"),
    flag("cpu-rt-runtime", INT, "Real-time CPU time per period in microseconds"),
    flag("cpu-shares", INT, "Share of CPU time relative to others", "c"),
    flag("cpus", CPUS, "How many CPUs' worth of time"),
    flag("cpuset-cpus", STRING, "CPUs it may run on (0-3, 0,1)"),
    flag("cpuset-mems", STRING, "Memory nodes it may use (0-3, 0,1)"),
    flag("device", LIST, "Add a device of the host (path[:path[:rwm]])"),
    flag("device-cgroup-rule", CGROUP_RULE, "Add a rule to the allowed devices (c 1:3 rwm)"),
    flag("device-read-bps", BPS, "Limit reads from a device, bytes per second"),
    flag("device-read-iops", IOPS, "Limit reads from a device, operations per second"),
    flag("device-write-bps", BPS, "Limit writes to a device, bytes per second"),
    flag("device-write-iops", IOPS, "Limit writes to a device, operations per second"),
    flag("dns", ADDRESS, "Ask this DNS server"),
    flag("dns-opt", LIST, "A resolver option", hidden=True),
    flag("dns-option", LIST, "A resolver option"),
    flag("dns-search", DOMAIN, "Search this domain"),
    flag("domainname", STRING, "NIS domain name"),
    flag("entrypoint", STRING, "Replace the image's ENTRYPOINT"),
    flag("env", ENV, "Set an environment variable", "e"),
    flag("env-file", LIST, "Read environment variables from a file"),
    flag("expose", LIST, "Announce a port or a range of them"),
    flag("gpus", GPUS, "GPUs of a CDI file ('all', a number, or device=ID)"),
    flag("group-add", LIST, "An additional group"),
    flag("health-cmd", STRING, "Command that checks the container's health"),
    flag("health-interval", DURATION, "Time between two checks (ms|s|m|h)"),
    flag("health-retries", INT, "Failures in a row that make it unhealthy"),
    flag("health-start-interval", DURATION, "Time between two checks while starting (ms|s|m|h)"),
    flag("health-start-period", DURATION, "Time to start in which failures do not count (ms|s|m|h)"),
    flag("health-timeout", DURATION, "Time a check may take (ms|s|m|h)"),
    flag("hostname", STRING, "Host name", "h"),
    flag("init", BOOL, "Run an init that forwards signals and reaps processes"),
    flag("interactive", BOOL, "Keep STDIN open", "i"),
    flag("io-maxbandwidth", BYTES, "IO bandwidth of the system drive (Windows only)", hidden=True),
    flag("io-maxiops", UINT64, "IO operations of the system drive (Windows only)", hidden=True),
    flag("ip", STRING, "IPv4 address"),
    flag("ip6", STRING, "IPv6 address"),
    flag("ipc", STRING, "IPC namespace: private, shareable, none, host or container:NAME"),
    flag("isolation", STRING, "Isolation technology"),
    flag("kernel-memory", BYTES, "Limit of kernel memory", hidden=True),
    flag("label", LABEL, "Attach a label", "l"),
    flag("label-file", LIST, "Read labels from a file"),
    flag("link", LINK, "Link to another container"),
    flag("link-local-ip", ADDRESS, "Link-local address"),
    flag("log-driver", STRING, "Where output is logged"),
    flag("log-opt", LIST, "Option of the log driver"),
    flag("mac-address", STRING, "MAC address (92:d0:c6:0a:29:33)"),
    flag("memory", BYTES, "Limit of memory", "m"),
    flag("memory-reservation", BYTES, "Soft limit of memory"),
    flag("memory-swap", MEMORY_SWAP, "Limit of memory and swap together, -1 for no limit of swap"),
    flag("memory-swappiness", INT, "Swappiness, 0 to 100", default=-1),
    flag("mount", MOUNT, "Mount something (type=bind,source=PATH,target=PATH)"),
    flag("name", STRING, "Name of the container"),
    flag("net", NETWORK, "Connect to a network", hidden=True),
    flag("net-alias", LIST, "Another name of it in the network", hidden=True),
    flag("net-rate", STRING, "Limit of network traffic: 10mbit, or egress=10mbit,ingress=1gbit"),
    flag("network", NETWORK, "Connect to a network"),
    flag("network-alias", LIST, "Another name of it in the network"),
    flag("no-healthcheck", BOOL, "Ignore the image's HEALTHCHECK"),
    flag("oom-kill-disable", BOOL, "Do not kill it when memory runs out"),
    flag("oom-score-adj", INT, "How readily it is killed when memory runs out, -1000 to 1000"),
    flag("pid", STRING, "PID namespace: host or container:NAME"),
    flag("pids-limit", INT, "Limit of processes, -1 for none"),
    flag("platform", STRING, "Platform of the image (os/arch/variant)"),
    flag("privileged", BOOL, "Give it every privilege"),
    flag("publish", LIST, "Publish a port on the host", "p"),
    flag("publish-all", BOOL, "Publish every exposed port on a free one", "P"),
    flag("pull", STRING, "Pull the image first: always, missing or never", default="missing"),
    flag("quiet", BOOL, "Say nothing while pulling", "q"),
    flag("read-only", BOOL, "Make the root file system read-only"),
    flag("restart", STRING, "Restart policy", default="no"),
    flag("rm", BOOL, "Remove the container and its anonymous volumes when it ends"),
    flag("runtime", STRING, "Runtime to use"),
    flag("secret", SECRET, "Stored secret, as a file in /run/secrets (NAME, or source=NAME,target=FILE,mode=0400)"),
    flag("security-opt", LIST, "Security option"),
    flag("shm-size", BYTES, "Size of /dev/shm"),
    flag("start-after", LIST, "Container that a new daemon starts first: NAME[:started|healthy|completed]"),
    flag("stop-signal", STRING, "Signal that asks it to stop"),
    flag("stop-timeout", INT, "Seconds it has for stopping"),
    flag("storage-opt", LIST, "Option of the storage driver"),
    flag("sysctl", SYSCTL, "Set a kernel parameter of its namespaces"),
    flag("tmpfs", LIST, "Mount a tmpfs"),
    flag("tty", BOOL, "Give it a terminal", "t"),
    flag("ulimit", ULIMIT, "Limit of a resource (nofile=1024:2048)"),
    flag("user", STRING, "User, by name or number (name[:group])", "u"),
    flag("userns", STRING, "User namespace: host"),
    flag("uts", STRING, "UTS namespace: host"),
    flag("volume", LIST, "Mount a directory of the host or a volume", "v"),
    flag("volume-driver", STRING, "Driver of the container's volumes"),
    flag("volumes-from", LIST, "Mount what another container mounts"),
    flag("workdir", STRING, "Working directory", "w"),
)


def named(*names: str) -> tuple[Flag, ...]:
    """These of CONTAINER_FLAGS, for commands that take some of them."""
    return tuple(flag for flag in CONTAINER_FLAGS if flag.name in names)
