"""system prune and system df: with the docker client and ours, the same words and the same sums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from e2e_parts.others import archive, layer

pytestmark = pytest.mark.usefixtures("no_images_left", "its_image_is_back")


@pytest.fixture
def its_image_is_back(daemon: Cortend, nothing_left: None) -> Iterator[None]:
    yield
    daemon.warm_up()


def load(client: Client, path: Path, name: str, text: str, **labels: str) -> None:
    base = layer({"etc/base": "base\n"}, programs=True)
    archive(path / "i.tar", name, [base, layer({"etc/own": text})], {"Cmd": ["true"], "Labels": labels})
    client("load", "-q", "-i", str(path / "i.tar"))


def test_what_goes_and_what_stays(cli: Client, tmp_path: Path) -> None:
    load(cli, tmp_path, "prune/dangling:1", "one")
    load(cli, tmp_path, "prune/unused:1", "two")
    dangling = cli.out("images", "-q", "--no-trunc", "prune/dangling")
    cli("tag", "prune/unused:1", "prune/dangling:1")
    cli("create", "--name", "stopped", IMAGE)
    cli("run", "-d", "--name", "runs", "-v", "named:/a", "-v", "/b", "--network", "none", IMAGE, "sleep", "1000")
    cli("network", "create", "lonely")
    cli("volume", "create")
    cli("volume", "create", "kept")
    warned = cli("system", "prune", input="n\n").out
    assert "  - all stopped containers\n" in warned and "  - all dangling images\n" in warned
    assert cli.out("ps", "-aq", "--filter", "name=stopped")
    out = cli.out("system", "prune", "-f")
    assert "Deleted Containers:\n" in out and "Deleted Networks:\nlonely\n" in out and f"deleted: {dangling}" in out
    assert out.splitlines()[-1].startswith("Total reclaimed space: ") and "Deleted Volumes" not in out
    assert cli.out("images", "-q", "prune/unused")
    out = cli.out("system", "prune", "-af", "--volumes")
    assert "untagged: prune/unused:1" in out and len(cli.out("volume", "ls", "-q").splitlines()) == 3
    assert IMAGE in cli.out("images")  # it runs
    assert "Total reclaimed space: 0B" in cli.out("system", "prune", "-af", "--volumes")


def test_filters(cli: Client, tmp_path: Path) -> None:
    load(cli, tmp_path, "prune/a:1", "one", team="red")
    load(cli, tmp_path, "prune/b:1", "two", team="blue")
    cli("run", "-d", "--name", "holder", IMAGE, "sleep", "1000")  # its image stays
    cli("create", "--label", "team=blue", "--name", "blue", IMAGE)
    cli("create", "--name", "plain", IMAGE)
    assert (
        "Items to be pruned will be filtered with:" in cli("system", "prune", "--filter", "label=team", input="n").out
    )
    out = cli.out("system", "prune", "-af", "--filter", "label=team=blue")
    assert "prune/b:1" in out and "prune/a:1" not in out
    assert cli.out("ps", "-a", "--format", "{{.Names}}", "--filter", "name=blue", "--filter", "name=plain") == "plain"
    assert "prune/a:1" not in cli.out("system", "prune", "-af", "--filter", "label!=team")
    assert "until" in cli("system", "prune", "-f", "--volumes", "--filter", "until=1h", code=1).err
    assert "filter 'bad'" in cli("system", "prune", "-f", "--filter", "bad=x", code=1).err
    cli("create", "--name", "young", IMAGE)
    cli("system", "prune", "-f", "--filter", "until=1h")
    assert cli.out("ps", "-aq", "--filter", "name=young")


def test_df_is_exact(cli: Client, daemon: Cortend, tmp_path: Path) -> None:
    load(cli, tmp_path, "prune/a:1", "x" * 1000)
    load(cli, tmp_path, "prune/b:1", "y" * 234)
    script = "dd if=/dev/zero of=/f bs=1000 count=123; dd if=/dev/zero of=/sparse bs=1 count=1 seek=9999; ln -s f /link"
    cli(
        "run",
        "--name",
        "writes",
        "-v",
        "vol:/v",
        "prune/a:1",
        "sh",
        "-c",
        f"cp /bin/busybox /v/x; ({script}) 2>/dev/null",
    )
    answer = daemon.get("/system/df")
    images = {image["RepoTags"][0]: image for image in answer["Images"]}
    a, b = images["prune/a:1"], images["prune/b:1"]
    assert a["Size"] - a["SharedSize"] == 1000 and b["Size"] - b["SharedSize"] == 234
    assert a["SharedSize"] == b["SharedSize"] and (a["Containers"], b["Containers"]) == (1, 0)
    assert answer["LayersSize"] == sum(i["Size"] - i["SharedSize"] for i in answer["Images"]) + a["SharedSize"]
    (container,) = [c for c in answer["Containers"] if c["Names"] == ["/writes"]]
    assert (
        container["SizeRw"] == 123_000 + 10_000 + len("f")
        and container["SizeRootFs"] == container["SizeRw"] + a["Size"]
    )
    (volume,) = [v for v in answer["Volumes"] if v["Name"] == "vol"]
    assert volume["UsageData"] == {"RefCount": 1, "Size": Path("/bin/busybox").stat().st_size}
    lines = [line.split() for line in cli.out("system", "df", "-v").splitlines()]
    assert any(line[:2] == ["prune/a", "1"] and line[-2:] == ["1kB", "1"] for line in lines)
    assert any(line[:2] == ["prune/b", "1"] and line[-2:] == ["234B", "0"] for line in lines)
    assert "133kB" in next(line for line in lines if line and line[-1] == "writes")
    rows = [json.loads(line) for line in cli.out("system", "df", "--format", "json").splitlines()]
    assert [row["Type"] for row in rows] == ["Images", "Containers", "Local Volumes", "Build Cache"]
