"""Filters of lists, what a prune takes, events of volumes: on a dockerd and on us, the same answers."""

from __future__ import annotations

import itertools
import re
import shlex
import time
from pathlib import Path

from e2e_parts.clients import Client
from e2e_parts.others import archive, layer

SLEEP = "sleep 1000"

MAKE = f"""
run -d --name one --network none app:1 {SLEEP}
run --name two --network none app:1 true
run -d --name three --network none app:2 {SLEEP}
run --name four --network none app:2 sh -c 'exit 3'
run -d --name five --network none app:1 {SLEEP}
create --name six app:1
"""

CONTAINERS = """
ps
ps -a
ps -f since=one
ps -f since=two
ps -f before=four
ps -f before=five -f since=one
ps -a -f since=two
ps -a -f before=four
ps -a -f before=two -f since=one
ps -f since=nosuch
ps -f before=nosuch
ps -n 2
ps -n 2 -f before=five
ps -l
ps -f exited=3
ps -a -f exited=3
ps -a -f exited=x
ps -f status=exited
ps -f status=exited -f exited=0
ps -f status=created
ps -f status=nosuch
ps -f ancestor=app
ps -f ancestor=app:1
ps -f ancestor=app:2 -f name=three
ps -f name=^one$
ps -f name=o
ps -f name=/one
ps -f label=x
ps -f label=x=2
ps -a -f is-task=true
ps -a -f network=none
ps -f volume=nosuch
ps -f nosuch=x
"""

FAMILY = """
create --name other app:2
create --name parent app:1
commit parent child:1
create --name child child:1
commit child grandchild:1
create --name grandchild grandchild:1
"""

ANCESTORS = """
ps -a -f ancestor=app:1
ps -a -f ancestor=child:1
ps -a -f ancestor=child
ps -a -f ancestor=grandchild:1
ps -a -f ancestor=nosuch
ps -a -f ancestor=app:2 -f ancestor=child:1
"""

IMAGES = """
images
images -f before=app:2
images -f since=app:1
images -f since=app:1 -f before=app:3
images -f before=app:1
images -f since=app:3
images -f reference=app
images -f reference='a*:[12]'
images -f reference='*/*'
images -f reference='*/*/*'
images -f reference=host.example:5000/x/y
images -f reference='host.example:5000/*/*'
"""

PRUNES = f"""
tag app:1 app:spare
tag app:1 other:spare
tag app:1 third:1
tag app:2 unused:2
create --name user --network none other:spare
run -d --name runs --network none app:2 {SLEEP}
"""


def load(client: Client, root: Path) -> None:
    """Images of one second, in the order of their numbers."""
    base = layer({"etc/base": "base\n"}, programs=True)
    names = ("app:1", "app:2", "app:3", "host.example:5000/x/y:4")
    for number, name in enumerate(names, 1):
        own = layer({"own": "y" * number * 100})
        config = {"Labels": {"x": str(number)}, "Cmd": ["true"]}
        archive(root / "i.tar", name, [base, own], config, created=f"2024-01-01T03:04:05.00000000{number}Z")
        client("load", "-q", "-i", str(root / "i.tar"))


def cleared(client: Client) -> None:
    for id in client.out("ps", "-aq").split():
        client("rm", "-f", id)
    while images := list(dict.fromkeys(client.out("images", "-aq").split())):
        gone = [id for id in images if client("rmi", "-f", id, code=None).code == 0]
        assert gone, images  # a parent goes after its children, and images of one second have no order with dockerd


def answer(client: Client, line: str) -> tuple[int, list[str]]:
    """Names only, what else a row has is another test's. Images of one second have no order with dockerd."""
    command, *rest = shlex.split(line)
    names = "{{.Names}}" if command == "ps" else "{{.Repository}}:{{.Tag}}"
    done = client(command, "--format", names, *rest, code=None)
    shown = done.out.split() if command == "ps" else sorted(done.out.split())
    return done.code, shown


def differences(clients: list[Client], commands: str) -> list[str]:
    found = []
    for line in commands.strip().splitlines():
        theirs, ours = (answer(client, line) for client in clients)
        if theirs != ours:
            found.append(f"{line}\n  dockerd: {theirs}\n  corten:  {ours}")
    return found


def test_filters_of_containers(engines: tuple[Client, Client, Path]) -> None:
    *clients, root = engines
    for client in clients:
        cleared(client)
        load(client, root)
        for line in MAKE.strip().splitlines():
            client(*shlex.split(line), code=None)
    found = differences(clients, CONTAINERS)
    assert not found, "\n".join(found)


def test_images_that_were_committed_have_ancestors(engines: tuple[Client, Client, Path]) -> None:
    *clients, root = engines
    for client in clients:
        cleared(client)
        load(client, root)
        for line in FAMILY.strip().splitlines():
            client(*shlex.split(line))
    found = differences(clients, ANCESTORS)
    assert not found, "\n".join(found)
    assert answer(clients[1], "ps -a -f ancestor=app:1") == (0, ["grandchild", "child", "parent"])
    for client in clients:
        cleared(client)


def test_filters_of_images(engines: tuple[Client, Client, Path]) -> None:
    *clients, root = engines
    for client in clients:
        cleared(client)
        load(client, root)
    found = differences(clients, IMAGES)
    assert not found, "\n".join(found)


def test_a_prune_of_all_takes_spare_names(engines: tuple[Client, Client, Path]) -> None:
    """One stays of those of an image in use: any with dockerd, with us one that a container was made with."""
    *clients, root = engines
    for client in clients:
        cleared(client)
        load(client, root)
        for line in PRUNES.strip().splitlines():
            client(*shlex.split(line))
        client("image", "prune", "-f")
        assert len(client.out("images", "-q").split()) == 8
        client("image", "prune", "-af", "--filter", "label=x=9")
        assert len(client.out("images", "-q").split()) == 8
        client("image", "prune", "-af")
    theirs, ours = (answer(client, "images")[1] for client in clients)
    assert len(theirs) == len(ours) == 2
    assert ours == ["app:2", "other:spare"]


LIFE = f"""
run --name first --network none -v vol:/data -v /anon -v /tmp:/tmp:ro -v other:/ro:ro app:1 true
restart -t 0 first
cp first:/own -
cp /proc/version first:/data/file
cp first:/nosuch -
rm -v first
run -d --name second --network none -v vol:/data app:1 {SLEEP}
restart -t 0 second
cp second:/own -
cp /proc/version second:/data/file
export second
kill second
inspect second
run -d --name third --network none --mount type=volume,src=vol,dst=/x app:1 {SLEEP}
run -d --name fourth --network none --volumes-from third app:1 {SLEEP}
rm -f third
rm -f fourth
run --name fifth --network none -v vol:/data app:1 nosuchprogram
rm fifth
volume rm -f vol other
"""


def volume_events(client: Client, since: str) -> list[str]:
    template = "{{.Type}} {{.Action}} {{json .Actor.Attributes}}"
    done = client("events", "--since", since, "--until", f"{time.time():.9f}", "--format", template)
    ids = dict.fromkeys(re.findall(r"[0-9a-f]{64}", done.out))
    text = re.sub(r"[0-9a-f]{64}", lambda found: f"id{list(ids).index(found[0])}", done.out)
    volumes, containers = "mount unmount destroy", "start destroy archive-path extract-to-dir export"
    shown = tuple(
        [f"volume {verb} " for verb in volumes.split()] + [f"container {verb} " for verb in containers.split()]
    )
    return [re.sub(r'"image":.*', "", line) for line in text.splitlines() if line.startswith(shown)]


def grouped(lines: list[str]) -> list[str]:
    """Sorted where dockerd has the order of a map."""
    found: list[str] = []
    for _, group in itertools.groupby(lines, key=lambda line: line.split()[:2]):
        found += sorted(group)
    return found


def test_events_of_volumes(engines: tuple[Client, Client, Path]) -> None:
    """Runs, restarts and copies. (dockerd unmounts behind the answer to a kill; an inspect waits for that.)"""
    *clients, root = engines
    seen = []
    for client in clients:
        cleared(client)
        load(client, root)
        since = f"{time.time():.9f}"
        for line in LIFE.strip().splitlines():
            client(*shlex.split(line), code=None)
        seen.append(grouped(volume_events(client, since)))
    theirs, ours = seen
    assert ours == theirs
    assert sum(" mount " in line for line in ours) == sum(" unmount " in line for line in ours) == 11 + 4 * 3 + 3
