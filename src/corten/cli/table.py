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
bake | bake | Make the images that a bake file describes
build | build, image build, builder build | Make an image of a Dockerfile
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
volume_create | volume create | Make a volume
inspect_volume | volume inspect | Show everything known about volumes
volume_ls | volume ls, volume list | List volumes
volume_prune | volume prune | Remove volumes that nothing uses
volume_rm | volume rm, volume remove | Remove volumes
dial_stdio | system dial-stdio | Pass standard input and output on to the engine
system_check | system check | Account for every byte kept, and find damage
system_prune | system prune | Remove whatever nothing uses
df | system df | Show what takes how much of the disk
events | events, system events | Show what happens in the engine
info | info, system info | Show the state of the engine
version | version | Show the versions of client and engine
daemon | daemon | Run the engine (cortend)
registry | registry serve | Serve images to any OCI client
registry_gc | registry gc | Free what nothing in a registry needs
"""

GROUPS = {
    "builder": "Manage what builds left",
    "builder history": "Manage the history of builds",
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "registry": "Run a registry",
    "system": "Manage the engine",
    "volume": "Manage volumes",
}

# Commands and groups of docker's client that are not here, and what to do instead.
ABSENT = {
    name: hint
    for names, hint in (
        ("buildx", "use 'corten build' and 'corten builder'"),
        ("compose", "use 'docker compose' with DOCKER_HOST=unix:///run/corten/corten.sock"),
        ("context", "choose the engine with -H or CORTEN_HOST"),
        ("swarm node service stack config secret plugin checkpoint trust manifest", "the engine does not do that"),
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
    found = []
    for line in COMMANDS.strip().splitlines():
        module, paths, short = (part.strip() for part in line.split("|"))
        found.append(Entry(module, [path.strip() for path in paths.split(",")], short))
    return found


def find(path: str) -> Entry | None:
    """The entry of "run" or "container ls"."""
    return next((entry for entry in entries() if path in entry.paths), None)
