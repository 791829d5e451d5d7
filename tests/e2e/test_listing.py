"""ps with filters and formats, inspect, events, info, version."""

from __future__ import annotations

import json
import time

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE, Cortend
from free_ports import free_port


def test_ps(every: Client) -> None:
    id = every.out("run", "-d", "--name", "up", "-l", "role=db", IMAGE, "sleep", "1000")
    every("run", "--name", "over", IMAGE, "sh", "-c", "exit 3", code=3)
    every("create", "--name", "new", "-l", "role=web", IMAGE, "true")
    header, line = every.out("ps").splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert line.startswith(id[:12]) and '"sleep 1000"' in line and "Up " in line and line.endswith("up")
    names = "{{.Names}}"
    assert every.out("ps", "-a", "--format", names).splitlines() == ["new", "over", "up"]
    assert every.out("ps", "-l", "--format", names) == "new"
    assert every.out("ps", "-n", "2", "--format", names).splitlines() == ["new", "over"]
    for filter, expected in (
        ("name=ov", "over"),
        ("status=created", "new"),
        ("status=running", "up"),
        ("exited=3", "over"),
        ("label=role=web", "new"),
        ("label=role", "new up"),
        (f"id={id[:8]}", "up"),
        ("before=over", "up"),
        ("since=over", "new"),
        (f"ancestor={IMAGE}", "new over up"),
        ("network=bridge", "new over up"),
    ):
        found = every.out("ps", "-a", "--filter", filter, "--format", names).split()
        assert " ".join(sorted(found)) == expected, filter
    assert "nosuch" in every("ps", "--filter", "nosuch=1", code=1).err


def test_ps_by_port(every: Client) -> None:
    """The host's ports, those that were chosen too, by `publish`; those inside by `expose`; of what runs. Answers are
    dockerd 20.10's."""
    port = str(free_port())
    every("run", "-d", "--name", "fixed", "-p", f"127.0.0.1:{port}:80", "--expose", "90", IMAGE, "sleep", "1000")
    every("run", "-d", "--name", "chosen", "-p", "80", IMAGE, "sleep", "1000")
    every("create", "--name", "made", "-p", f"127.0.0.1:{free_port()}:81/udp", IMAGE)
    chosen = every.out("port", "chosen", "80").splitlines()[0].rpartition(":")[2]
    for filters, expected in (
        (f"publish={port}", "fixed"),
        (f"publish={port}/tcp", "fixed"),
        (f"publish={port}/udp", ""),
        (f"publish={chosen}", "chosen"),
        ("publish=80", ""),
        ("publish=90", ""),
        ("publish=1-65535", "chosen fixed"),
        ("publish=0", "fixed"),
        ("publish=1-65535/udp", ""),
        ("expose=80", "chosen fixed"),
        ("expose=90", "fixed"),
        ("expose=80-90/tcp", "chosen fixed"),
        ("expose=81/udp", ""),
        (f"expose={port}", ""),
        (f"expose=90 publish={chosen}", "chosen fixed"),
        (f"publish={chosen} publish=9", "chosen"),
    ):
        flags = [word for one in filters.split() for word in ("-f", one)]
        assert every.out("ps", "-a", "--format", "{{.Names}}", *flags).split() == expected.split(), filters
    for wrong in ("publish=x", "publish=0-70000", "expose=x"):
        assert every("ps", "-f", wrong, code=1).err


def test_ps_formats(cli: Client) -> None:
    cli("run", "-d", "--name", "up", "-l", "a=b", "-p", "127.0.0.1:0:80", IMAGE, "sleep", "1000")
    line = json.loads(cli.out("ps", "--format", "json"))
    assert (line["Names"], line["Image"], line["State"]) == ("up", IMAGE, "running")
    table = cli.out("ps", "--format", "table {{.Names}}\t{{.Status}}").splitlines()
    assert table[0].split() == ["NAMES", "STATUS"]
    assert cli.out("ps", "--format", '{{.Label "a"}} {{.Ports}}').startswith("b 127.0.0.1:")
    assert cli.out("ps", "-s", "--format", "{{.Size}}").startswith("0B")
    assert cli("ps", "--format", "{{.NoSuch}}", code=1).err


def test_ps_with_two_hundred_containers(docker: Client, corten: Client, daemon: Cortend) -> None:
    with daemon.connection() as http:
        for number in range(200):
            assert http.ask("POST", f"/containers/create?name=n{number}", {"Image": IMAGE, "Cmd": ["true"]})[0] == 201
        before = daemon.spent()
        assert len(http.ask("GET", "/containers/json?all=1")[1]) == 200
        assert daemon.spent() - before < 1
        assert len(docker.out("ps", "-aq").split()) == len(corten.out("ps", "-aq").split()) == 200
        for number in range(200):
            assert http.ask("DELETE", f"/containers/n{number}")[0] == 204


def test_inspect_templates(cli: Client) -> None:
    flags = ["-e", "A=1", "-p", "127.0.0.1:0:80", "-v", "/tmp:/t:ro", "-w", "/tmp"]
    cli("run", "-d", "--name", "ii", *flags, IMAGE, "sleep", "1000")
    for template, expected in (
        ("{{.Name}}", "/ii"),
        ("{{.State.Running}} {{.State.ExitCode}}", "true 0"),
        ("{{range .Mounts}}{{.Source}}>{{.Destination}} {{.RW}}{{end}}", "/tmp>/t false"),
        ('{{join .Config.Cmd " "}}', "sleep 1000"),
        ("{{index .Config.Cmd 1}}", "1000"),
        ("{{len .Config.Env}}", None),
        ("{{json .HostConfig.RestartPolicy}}", '{"Name":"no","MaximumRetryCount":0}'),
        ("{{if .State.Paused}}p{{else}}r{{end}}", "r"),
        ('{{.Config.WorkingDir | printf "%q"}}', '"/tmp"'),
        ('{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}}', "127.0.0.1"),
        ("{{.NetworkSettings.Networks.bridge.Gateway}}", None),
        ("{{upper .Driver}}", "OVERLAY2"),
    ):
        found = cli.out("inspect", "-f", template, "ii")
        assert found and (expected is None or found == expected), template
    whole = json.loads(cli.out("inspect", "ii"))[0]
    assert whole["Config"]["Image"] == IMAGE and whole["Image"].startswith("sha256:")
    assert json.loads(cli.out("inspect", "--type", "image", IMAGE))[0]["RepoTags"] == [f"{IMAGE}:latest"]
    assert "nosuch" in cli("inspect", "nosuch", code=1).err


def test_events(cli: Client, daemon: Cortend) -> None:
    began = time.time()
    cli("run", "--rm", "--name", "watched", "-l", "k=v", IMAGE, "sh", "-c", "exit 4", code=4)
    # the last event comes behind the answer
    lines = [json.loads(line) for line in _events(cli, began, "{{json .}}")]
    names = [f"{line['Type']} {line['Action']}" for line in lines]
    assert [name for name in names if name.startswith("container")] == [
        "container create", "container attach", "container start", "container die", "container destroy",
    ]  # fmt: skip
    assert {"network connect", "network disconnect"} <= set(names)
    die = next(line for line in lines if line["Action"] == "die")
    attributes = die["Actor"]["Attributes"]
    assert (attributes["exitCode"], attributes["name"], attributes["k"]) == ("4", "watched", "v")
    assert _events(cli, began, "{{.Action}}", "event=die") == ["die"]
    assert _events(cli, began, "{{.Action}}", "container=watched", "event=start") == ["start"]
    assert _events(cli, began, "{{.Action}}", "type=network", "event=connect") == ["connect"]


def test_events_of_copies(cli: Client, daemon: Cortend) -> None:
    cli("create", "--name", "copied", "--network", "none", IMAGE, "true")
    began = time.time()
    archive = cli("cp", "copied:/etc/passwd", "-").out
    cli("cp", "-", "copied:/tmp", input=archive)
    cli("export", "copied")
    assert _events(cli, began, "{{.Action}}", "container=copied") == ["archive-path", "extract-to-dir", "export"]


def test_events_that_are_kept(cli: Client, daemon: Cortend) -> None:
    """`--since 0` is all of them, as `--until` alone is; two ends the wrong way round are refused."""
    cli("run", "--rm", "--network", "none", "--name", "kept", IMAGE, "true")
    until = f"{time.time():.9f}"
    wanted = ("--until", until, "--filter", "container=kept", "--format", "{{.Action}}")
    expected = ["create", "attach", "start", "die", "destroy"]
    for since in (("--since", "0"), ("--since", "10m"), ()):
        assert cli.out("events", *since, *wanted).splitlines()[-5:] == expected
    refused = cli("events", "--since", "10s", "--until", "20s", code=1)
    assert "cannot be after `until` time" in refused.err


def _events(client: Client, since: float, format: str, *filters: str) -> list[str]:
    flags = [word for filter in filters for word in ("--filter", filter)]
    times = ["--since", f"{since:.6f}", "--until", f"{time.time():.6f}"]
    return client.out("events", *times, "--format", format, *flags).splitlines()


def test_events_are_streamed(cli: Client) -> None:
    process = cli.popen("events", "--filter", "event=create", "--format", "{{.Actor.Attributes.name}}")
    assert process.stdout is not None
    for _ in range(50):  # it is not known when it has begun to listen
        time.sleep(0.05)
        cli("create", "--name", "seen", IMAGE, "true")
        import select

        if select.select([process.stdout], [], [], 0.2)[0]:
            break
        cli("rm", "seen")
    assert process.stdout.readline() == b"seen\n"


def test_info_and_version(every: Client, daemon: Cortend) -> None:
    info = json.loads(every.out("info", "--format", "{{json .}}"))
    assert info["DockerRootDir"] == str(daemon.data)
    assert info["Driver"] == "overlay2" and info["CgroupDriver"] == "cgroupfs"
    assert (info["Containers"], info["ContainersRunning"]) == (0, 0)
    assert "corten" in info["Runtimes"]
    assert "Server Version" in every.out("info")
    version = json.loads(every.out("version", "--format", "json" if every.name != "docker-old" else "{{json .}}"))
    assert version["Server"]["ApiVersion"] == "1.50" and version["Server"]["MinAPIVersion"] == "1.24"
    assert every.out("version", "--format", "{{.Server.Version}}")


def test_negotiation(daemon: Cortend) -> None:
    with daemon.connection() as http:
        status, answer = http.ask("GET", "/_ping")
        assert (status, answer) == (200, "OK")
        assert http.answer_headers["API-Version"] == "1.50" and http.answer_headers["OSType"] == "linux"
        assert http.ask("HEAD", "/_ping") == (200, "")
        for version in ("1.24", "1.41", "1.50"):
            assert http.ask("GET", f"/v{version}/version")[0] == 200
        assert http.ask("GET", "/v1.23/version")[0] == 400
        assert http.ask("GET", "/v1.51/version")[0] == 400
        assert http.ask("GET", "/v1.41/nosuch")[0] == 404
