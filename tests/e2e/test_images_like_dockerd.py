"""The same commands about images, on a dockerd and on us: the same answers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from e2e_parts.clients import Client
from e2e_parts.others import archive, layer, registry

LOADED = {"app:1": {"team": "red", "x": "1"}, "app:2": {"x": "2"}, "lib/other:latest": {"team": "blue"}}

LISTS = """
images
images -a
images --no-trunc
images --digests
images app
images app:1
images 'a*'
images '*/*'
images '*'
images '*:1'
images 'app:[12]'
images nosuch
images -f dangling=true
images -f dangling=false
images -f label=x
images -f label=x=2
images -f label=team -f label=x
images -f before=app:2
images -f since=app:2
images -f before=nosuch
images -f reference='app:*'
images -f reference=app -f reference='lib/*'
images --format '{{.ID}} {{.Repository}} {{.Tag}} {{.Digest}} {{.CreatedAt}} {{.Size}}'
history app:1
image inspect -f '{{.RepoTags}} {{.RepoDigests}} {{.Id}} {{.Size}} {{.Created}}' app:1
tag app:1 b@sha256:0000000000000000000000000000000000000000000000000000000000000000
tag app:1 sha256:x
"""

REMOVALS = """
tag app:1 app:one
tag app:1 other/name:x
rmi nosuch
rmi app:one
rmi ID1
create --name user --network none app:1
rmi other/name:x
rmi app:1
rmi -f app:1
rmi ID1
rmi -f ID1
images -a
images -f dangling=true -q
image prune -f
rm user
image prune -f
run -d --name runs --network none app:2 sleep 1000
rmi app:2
rmi -f ID2
tag app:2 keep:2
rmi -f app:2
rmi -f keep:2
images
rm -f runs
image prune -f --filter label=x=9
image prune -f --filter label=x
image prune -af --filter label!=team
image prune -af --filter until=2020-01-01
image prune -af --filter label=team=blue --filter until=24h
images -a
"""

DIGESTS = """
pull -q HOST/r/app:1
pull -q HOST/r/app@DIGEST2
images --digests
images -f dangling=true
images -f dangling=false
images HOST/r/app@DIGEST1
tag HOST/r/app@DIGEST2 foo:1
rmi HOST/r/app@DIGEST2
rmi foo:1
tag HOST/r/app:1 HOST/r/app:x
rmi HOST/r/app:1
images --digests
rmi HOST/r/app@DIGEST1
rmi HOST/r/app:x
pull -q HOST/r/app@DIGEST1
create --name user --network none HOST/r/app@DIGEST1
rmi HOST/r/app@DIGEST1
rm user
pull -q HOST/r/app@DIGEST1
image prune -f
images -a
"""


def load(client: Client, root: Path) -> None:
    base = layer({"etc/base": "base\n"}, programs=True)
    for number, (name, labels) in enumerate(LOADED.items()):
        own = layer({"own": "y" * (number + 1) * 100})
        created = f"2024-01-0{number + 1}T03:04:05Z"  # ties have no order with dockerd
        archive(root / "i.tar", name, [base, own], {"Labels": labels, "Cmd": ["true"]}, created=created)
        client("load", "-q", "-i", str(root / "i.tar"))


def normal(text: str) -> str:
    text = re.sub(r"\b(\d+|an?|About an?|Less than a) (second|minute)s? ago", "NOW", text)
    text = re.sub(r"container [0-9a-f]{12}", "container ID", text)
    text = re.sub(r"^[0-9a-f]{64}$", "ID", text, flags=re.MULTILINE)
    return re.sub(r"Invalid filter", "invalid filter", text)


def differences(engines: tuple[Client, Client, Path], commands: str, **words: str) -> list[str]:
    """Both answers to each command that is not answered alike."""
    found = []
    for line in commands.strip().splitlines():
        for word, value in words.items():
            line = line.replace(word, value)
        answers = [client(*shlex.split(line), code=None) for client in engines[:2]]
        theirs, ours = ((done.code, normal(done.out), normal(done.err)) for done in answers)
        if theirs != ours:
            found.append(f"{line}\n  dockerd: {theirs}\n  corten:  {ours}")
    return found


def cleared(engines: tuple[Client, Client, Path]) -> None:
    for client in engines[:2]:
        for id in client.out("ps", "-aq").split():
            client("rm", "-f", id)
        for id in sorted({*client.out("images", "-aq").split()}):
            client("rmi", "-f", id)


def test_lists_and_removals(engines: tuple[Client, Client, Path]) -> None:
    cleared(engines)
    for client in engines[:2]:
        load(client, engines[2])
    ids = {
        name: engines[0].out("image", "inspect", "-f", "{{.Id}}", image)
        for name, image in (("ID1", "app:1"), ("ID2", "app:2"))
    }
    assert differences(engines, LISTS) == []
    assert differences(engines, REMOVALS, **ids) == []


def test_digests(engines: tuple[Client, Client, Path], tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as host:
        cleared(engines)
        load(engines[0], engines[2])
        words = {"HOST": host}
        for number in ("1", "2"):
            engines[0]("tag", f"app:{number}", f"{host}/r/app:{number}")
            pushed = engines[0].out("push", f"{host}/r/app:{number}")
            words[f"DIGEST{number}"] = re.findall("sha256:[0-9a-f]{64}", pushed)[-1]
        cleared(engines)
        assert differences(engines, DIGESTS, **words) == []
