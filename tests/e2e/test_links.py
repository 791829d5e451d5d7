"""--link on the default network, as Docker's documentation of it has the variables."""

from __future__ import annotations

from e2e_parts.clients import Client
from e2e_parts.cortend import IMAGE


def variables(client: Client, *flags: str) -> dict[str, str]:
    """What a container's program finds in its environment."""
    lines = client.out("run", "--rm", *flags, IMAGE, "env").splitlines()
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_variables_of_a_link(cli: Client) -> None:
    exposed = [f"--expose={port}" for port in ("53/udp", "8000", "8001", "8002", "53/tcp")]
    cli("run", "-d", "--name", "my-db", "-e", "SECRET=a=b", *exposed, IMAGE, "sleep", "1000")
    ip = cli.out("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "my-db")
    found = variables(cli, "--name", "web", "--link", "my-db:the-db", "-e", "THE_DB_ENV_OWN=1")
    links = {key: value for key, value in found.items() if key.startswith("THE_DB")}
    assert links.pop("THE_DB_NAME") == "/web/the-db"
    assert links.pop("THE_DB_ENV_SECRET") == "a=b"
    assert links.pop("THE_DB_ENV_OWN") == "1"
    assert links.pop("THE_DB_PORT") == f"tcp://{ip}:53"
    for port, protocol in ((53, "tcp"), (53, "udp"), (8000, "tcp"), (8001, "tcp"), (8002, "tcp")):
        name = f"THE_DB_PORT_{port}_{protocol.upper()}"
        assert links.pop(name) == f"{protocol}://{ip}:{port}"
        assert (links.pop(f"{name}_ADDR"), links.pop(f"{name}_PORT")) == (ip, str(port))
        assert links.pop(f"{name}_PROTO") == protocol
    run = {key.removeprefix("THE_DB_PORT_8000_TCP_"): value for key, value in links.items()}
    assert run == {
        "START": f"tcp://{ip}:8000",
        "PORT_START": "8000",
        "END": f"tcp://{ip}:8002",
        "PORT_END": "8002",
    }


def test_no_variables_in_networks_with_names(docker: Client) -> None:
    docker("network", "create", "linknet")
    docker("run", "-d", "--name", "db", "--network", "linknet", "--expose", "80", IMAGE, "sleep", "1000")
    assert not [key for key in variables(docker, "--network", "linknet", "--link", "db:db") if key.startswith("DB_")]


def test_names_of_a_link(cli: Client) -> None:
    cli("run", "-d", "--name", "db", "--hostname", "dbhost", IMAGE, "sleep", "1000")
    ip = cli.out("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db")
    cli("run", "-d", "--name", "app", "--link", "db:store", IMAGE, "sleep", "1000")

    def addresses() -> list[str]:
        lines = cli.out("exec", "app", "cat", "/etc/hosts").splitlines()
        return [line.partition("\t")[2] for line in lines if line.startswith(f"{ip}\t")]

    assert addresses() == ["store dbhost db"]
    assert cli.out("ps", "--format", "{{.Names}}") == "app\ndb"
    assert cli.out("ps", "--no-trunc", "--format", "{{.Names}}") == "app\napp/store,db"
    assert cli.out("inspect", "--format", "{{.Name}}", "app/store") == "/db"
    assert cli.out("exec", "app/store", "hostname") == "dbhost"
    assert cli.out("inspect", "--format", "{{json .HostConfig.Links}}", "app") == '["/db:/app/store"]'
    assert cli.out("rm", "--link", "app/store") == "app/store"
    assert addresses() == []
    assert cli.out("ps", "--no-trunc", "--format", "{{.Names}}") == "app\ndb"
    cli("restart", "-t", "0", "app")


def test_rows_of_etc_hosts(cli: Client) -> None:
    """One for each link, with all names of what it leads to; witnessed with dockerd 20.10."""
    cli("run", "-d", "--name", "db", "--hostname", "dbhost", IMAGE, "sleep", "1000")
    ip = cli.out("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "db")
    flags = ("--link", "db:one", "--link", "db:two", "--link", "db", "--add-host", "x:192.0.2.1")
    text = cli.out("run", "--rm", "--hostname", "me", *flags, IMAGE, "cat", "/etc/hosts")
    assert text.splitlines()[6:-1] == [
        "192.0.2.1\tx",
        f"{ip}\tone dbhost db",
        f"{ip}\ttwo dbhost db",
        f"{ip}\tdb dbhost",
    ]


def test_what_a_container_does_with_its_hosts_file_is_no_fault_of_another(docker: Client) -> None:
    """The one executes it: writing there fails with ETXTBSY, when a container that it is linked to starts again."""
    docker("run", "-d", "--name", "db", IMAGE, "sleep", "1000")
    program = "cat /bin/busybox > /etc/hosts; chmod +x /etc/hosts; exec -a sleep /etc/hosts 1000"
    docker("run", "-d", "--name", "user", "--link", "db:db", IMAGE, "sh", "-c", program)
    while docker.out("exec", "user", "readlink", "/proc/1/exe") != "/etc/hosts":
        assert docker.out("inspect", "--format", "{{.State.Running}}", "user") == "true"
    docker("restart", "-t", "0", "db")
    assert docker.out("exec", "db", "echo", "ready") == "ready"
    docker("kill", "db")
    assert docker.out("wait", "db") == "137"
    assert docker.out("inspect", "--format", "{{.State.Status}}", "db", "user").split() == ["exited", "running"]
