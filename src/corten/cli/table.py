"""Every command, one line each: its module, its spellings, what it does.

A new command is one file under `commands` and one line here.
"""

from __future__ import annotations

COMMANDS = """
attach | attach, container attach | Attach your terminal's streams to a running container
cp | cp, container cp | Copy files between a container and here
create | create, container create | Create a container
exec | exec, container exec | Run a command in a running container
inspect | inspect | Show everything known about an object
inspect_container | container inspect | Show everything known about containers
kill | kill, container kill | Kill running containers
logs | logs, container logs | Show a container's output
ps | ps, container ls, container list, container ps | List containers
pause | pause, container pause | Suspend all processes of containers
port | port, container port | List published ports
rename | rename, container rename | Rename a container
restart | restart, container restart | Restart containers
rm | rm, container rm, container remove | Remove containers
run | run, container run | Create a container from an image and run it
start | start, container start | Start stopped containers
stats | stats, container stats | Show what containers use of the machine
stop | stop, container stop | Stop running containers
top | top, container top | List the processes of a container
unpause | unpause, container unpause | Resume all processes of containers
update | update, container update | Change the limits of containers
wait | wait, container wait | Wait until containers stop and print their exit codes
images | images, image ls, image list | List images
inspect_image | image inspect | Show everything known about images
import | import, image import | Make an image of a root file system's tar
load | load, image load | Load images from a tar
pull | pull, image pull | Get an image from a registry
rmi | rmi, image rm, image remove | Remove images
tag | tag, image tag | Give an image another name
compose | compose | Run the services that Compose files describe
bake | bake | Make the images that a bake file describes
build | build, image build, builder build | Make an image of a Dockerfile
builder_cache_export | builder cache export | Write the directory of a cache mount as a tar
builder_cache_import | builder cache import | Make the directory of a cache mount of a tar
builder_cache_ls | builder cache ls, builder cache list | List the directories of cache mounts
builder_cache_rm | builder cache rm, builder cache remove | Remove directories of cache mounts
builder_du | builder du | Show what builds left to be used again
builder_history_attachment | builder history attachment | Show what was attested of a build
builder_history_inspect | builder history inspect | Show everything known about builds
builder_history_logs | builder history logs | Show what a build said
builder_history_ls | builder history ls, builder history list | List the builds that were
builder_history_rm | builder history rm, builder history remove | Remove builds from the history
builder_prune | builder prune | Remove what builds left to be used again
container_prune | container prune | Remove stopped containers
commit | commit, container commit | Make an image of a container
diff | diff, container diff | Show what a container changed in its file system
export | export, container export | Write the file system of a container as a tar
history | history, image history | Show how an image came about
image_gc | image gc | Remove images by the garbage collection policy
image_prune | image prune | Remove images that nothing needs
login | login | Log in to a registry
logout | logout | Log out from a registry
push | push, image push | Send an image to a registry
search | search | Search a registry for images
save | save, image save | Write images as a tar
network_audit | network audit | Show who can reach which container
network_connect | network connect | Connect a container to a network
network_create | network create | Make a network
network_disconnect | network disconnect | Disconnect a container from a network
inspect_network | network inspect | Show everything known about networks
network_ls | network ls, network list | List networks
network_prune | network prune | Remove networks that nothing uses
network_rm | network rm, network remove | Remove networks
secret_create | secret create | Store a secret
inspect_secret | secret inspect | Show everything known about secrets
secret_ls | secret ls, secret list | List secrets
secret_rm | secret rm, secret remove | Remove secrets
volume_create | volume create | Make a volume
inspect_volume | volume inspect | Show everything known about volumes
volume_ls | volume ls, volume list | List volumes
volume_prune | volume prune | Remove volumes that nothing uses
volume_rm | volume rm, volume remove | Remove volumes
dial_stdio | system dial-stdio | Pass standard input and output on to the engine
system_check | system check | Account for every byte kept, and find damage
system_prune | system prune | Remove whatever nothing uses
df | system df | Show what takes how much of the disk
vm_addresses | vm addresses | Show the addresses that a machine itself sees, by QEMU's agent there
vm_backup | vm backup | Back a machine's disk up to a volume
vm_clone | vm clone | Make a second machine like another one
vm_commit | vm commit | Write what a machine's disk has into what it is based on
vm_console | vm console, vm attach | Use a machine's serial console in this terminal
vm_cp | vm cp | Copy a file between a machine and here, by QEMU's agent there
vm_create | vm create | Make a virtual machine
vm_device_add | vm device add | Plug a disk, a device of the host or a network into a machine
vm_device_eject | vm device eject | Take the CD out of a machine's drive
vm_device_insert | vm device insert | Put a CD into a machine's drive
vm_device_rm | vm device rm, vm device remove | Take a disk, a device of the host or a network out of a machine
vm_exec | vm exec | Run a program in a machine, by QEMU's agent there
vm_export | vm export | Write a machine to one archive, with its disks
vm_import | vm import | Make a machine of an archive that vm export has written
vm_inspect | vm inspect | Show everything known about machines
vm_kill | vm kill | End machines at once, as by pulling the plug
vm_logs | vm logs | Show what a machine's serial console has said
vm_ls | vm ls, vm list, vm ps | List machines
vm_migrate | vm migrate | Move a running machine to another engine
vm_pause | vm pause | Let machines stand still
vm_rebase | vm rebase | Let a machine's disk take in what it is based on
vm_reset | vm reset | Reset machines: they boot again, and notice nothing before
vm_restart | vm restart | Shut machines down and start them again
vm_rm | vm rm, vm remove | Remove machines
vm_save | vm save | Write machines' memory to the disk and switch them off; start goes on from there
vm_screenshot | vm screenshot | Make a picture of a machine's screen
vm_snapshot_create | vm snapshot create | Take a snapshot of a machine, with its memory when it runs
vm_snapshot_ls | vm snapshot ls, vm snapshot list | List a machine's snapshots
vm_snapshot_revert | vm snapshot revert, vm snapshot restore, vm restore | Let a machine be as it was at a snapshot
vm_snapshot_rm | vm snapshot rm, vm snapshot remove | Remove a snapshot of a machine
vm_ssh | vm ssh | Open a shell in a machine by ssh, or run a command there
vm_start | vm start | Start machines
vm_stats | vm stats | Show what machines use of the host
vm_stop | vm stop | Shut machines down
vm_unpause | vm unpause, vm resume | Let paused machines go on
vm_update | vm update | Change a machine: memory, processors, sizes of disks
vm_vnc | vm vnc | Give a machine's screen to a VNC client
vm_wait | vm wait | Wait until machines have ended, and print how
events | events, system events | Show what happens in the engine
info | info, system info | Show the state of the engine
version | version | Show the versions of client and engine
inspect_pod | pod inspect | Show everything known about pods
pod_logs | pod logs | Show the output of a pod's container
pod_ls | pod ls, pod list | List the pods of a kubelet
cri | cri | Serve Kubernetes' Container Runtime Interface
daemon | daemon | Run the engine (cortend)
registry | registry serve | Serve images to any OCI client
registry_gc | registry gc | Free what nothing in a registry needs
"""

GROUPS = {
    "pod": "Look at the pods of a kubelet",
    "builder": "Manage what builds left",
    "builder cache": "Manage the directories of cache mounts",
    "builder history": "Manage the history of builds",
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "registry": "Run a registry",
    "secret": "Manage stored secrets",
    "system": "Manage the engine",
    "vm": "Manage virtual machines",
    "vm device": "Manage devices of virtual machines",
    "vm snapshot": "Manage snapshots of virtual machines",
    "volume": "Manage volumes",
}

# Commands and groups of docker's client that are not here, and what to do instead.
ABSENT = {
    name: hint
    for names, hint in (
        ("buildx", "use 'corten build' and 'corten builder'"),
        ("context", "choose the engine with -H or CORTEN_HOST"),
        ("swarm node service stack config plugin checkpoint trust manifest", "the engine does not do that"),
    )
    for name in names.split()
}


class Entry:
    """One line of the table. `paths[0]` is the name under which it is listed."""

    __slots__ = ("module", "paths", "short")

    def __init__(self, module: str, paths: list[str], short: str) -> None:
        self.module = module
        self.paths = paths
        self.short = short


def entries() -> list[Entry]:
    return parsed(COMMANDS)


def parsed(table: str) -> list[Entry]:
    """The lines of a table."""
    return [_entry(line) for line in table.strip().splitlines()]


def find(path: str) -> Entry | None:
    """The entry of "run" or "container ls"."""
    for line in COMMANDS.strip().splitlines():
        if path in line and path in (entry := _entry(line)).paths:
            return entry
    return None


def _entry(line: str) -> Entry:
    module, paths, short = line.split(" | ")
    return Entry(module, paths.split(", "), short)
