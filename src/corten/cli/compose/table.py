"""Every command of `corten compose`, one line each: its module, its spellings, what it does.

A new command is one file under `compose/commands` with a `COMMAND`, and one line here.
"""

from __future__ import annotations

from corten.cli.table import Entry, parsed

COMMANDS = """
attach | attach | Attach your terminal to a service's container
build | build | Build the images of services
commit | commit | Make an image of a service's container
config | config, convert | Show the project that the files say, in its full form
cp | cp | Copy files between a service's container and here
create | create | Create containers without starting them
down | down | Stop and remove containers and networks
events | events | Show what happens to containers
exec | exec | Run a command in a service's container
export | export | Write a container's file system as a tar, or the project for systemd or Kubernetes
images | images | List the images of containers
kill | kill | Send a signal to containers
logs | logs | Show the output of containers
ls | ls | List projects
pause | pause | Suspend all processes of services
port | port | Show where a port of a service is published
ps | ps | List containers
publish | publish | Put the project's files into a registry
pull | pull | Get the images of services
push | push | Send the images of services to registries
restart | restart | Restart containers
rm | rm | Remove stopped containers
run | run | Run a command in a new container of a service
scale | scale | Set how many containers services have
start | start | Start containers that are there
stats | stats | Show what containers use of the machine
stop | stop | Stop containers
top | top | List the processes of containers
unpause | unpause | Resume all processes of services
up | up | Create and start everything
volumes | volumes | List volumes
wait | wait | Wait until the containers of services stop
watch | watch | Bring changed files into containers
"""


def entries() -> list[Entry]:
    return parsed(COMMANDS)


def find(name: str) -> Entry | None:
    return next((each for each in entries() if name in each.paths), None)
