"""Create requests: expected fields are those that the docker client sent for the same flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corten.cli.commands.update import LIMITS
from corten.cli.errors import CommandError, UsageError
from corten.cli.flags import Flags, parse
from corten.cli.options import host_config, request
from corten.cli.options.table import CONTAINER_FLAGS
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import HostConfig, UpdateConfig
from corten.spec.docker.struct import UNSET

Json = dict[str, Any]


def body(*words: str) -> Json:
    flags = parse(CONTAINER_FLAGS, [*words, "img", "cmd"], interspersed=False)
    image, *command = flags.words
    made = request.create(flags, image, command)
    sent = made.given_json()
    assert decode(CreateRequest, sent) == made, "a value is not of its field's type"
    return sent


def host(*words: str) -> Json:
    found: Json = body(*words)["HostConfig"]
    return found


def endpoints(*words: str) -> Json:
    found: Json = body(*words)["NetworkingConfig"]["EndpointsConfig"]
    return found


def test_nothing_asked_for_is_nothing_sent() -> None:
    assert body() == {
        "Image": "img",
        "Cmd": ["cmd"],
        "Tty": False,
        "OpenStdin": False,
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "StdinOnce": False,
        "HostConfig": {"NetworkMode": "default", "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
        "NetworkingConfig": {"EndpointsConfig": {}},
    }


def test_environment_comes_from_files_then_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOO", "mine")
    monkeypatch.delenv("NOPE", raising=False)
    (tmp_path / "env").write_text("# c\nA=1\nFOO\nNOPE\n  B=2 3\n\n")
    sent = body("-e", "C=", "-e", "FOO", "-e", "NOPE", "--env-file", str(tmp_path / "env"))["Env"]
    assert sent == ["A=1", "FOO=mine", "B=2 3", "C=", "FOO=mine", "NOPE"]


def test_labels_may_lack_a_value(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("x=1\ny\n")
    assert body("-l", "a=b", "-l", "c", "--label-file", str(tmp_path / "labels"))["Labels"] == {
        "x": "1",
        "y": "",
        "a": "b",
        "c": "",
    }


def test_volumes_with_a_source_are_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = body("-v", "/a:/b", "-v", "/anon", "-v", "vol:/c:ro", "-v", "./rel:/d", "--tmpfs", "/t:size=3m")
    assert found["Volumes"] == {"/anon": {}}
    assert found["HostConfig"]["Binds"] == ["/a:/b", "vol:/c:ro", f"{tmp_path}/rel:/d"]
    assert found["HostConfig"]["Tmpfs"] == {"/t": "size=3m"}


@pytest.mark.parametrize(
    ("spec", "mount"),
    [
        ("type=bind,src=/x,dst=/y,ro", {"Type": "bind", "Source": "/x", "Target": "/y", "ReadOnly": True}),
        ("dst=/y", {"Type": "volume", "Target": "/y"}),
        (
            "type=bind,src=/x,target=/y,bind-propagation=rslave,bind-recursive=disabled",
            {
                "Type": "bind",
                "Source": "/x",
                "Target": "/y",
                "BindOptions": {"Propagation": "rslave", "NonRecursive": True},
            },
        ),
        (
            'src=v,dst=/y,volume-driver=local,"volume-opt=o=a,b",volume-label=k=v,volume-nocopy',
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/y",
                "VolumeOptions": {
                    "DriverConfig": {"Name": "local", "Options": {"o": "a,b"}},
                    "Labels": {"k": "v"},
                    "NoCopy": True,
                },
            },
        ),
        (
            "type=tmpfs,dst=/t,tmpfs-size=10m,tmpfs-mode=1770",
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 10 << 20, "Mode": 0o1770}},
        ),
    ],
)
def test_mounts(spec: str, mount: Json) -> None:
    assert host("--mount", spec)["Mounts"] == [mount]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("type=bind,src=/x", "target is required"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("foo=bar", "unexpected key 'foo' in 'foo=bar'"),
        ("type=bind,src=/x,dst=/y,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("type=bind,src=/x,dst=/y,readonly=maybe", "invalid value for readonly: maybe"),
        ("type=tmpfs,dst=/y,tmpfs-mode=abc", "invalid value for tmpfs-mode: abc"),
        ('src=v,"dst=/y', "parse error"),
    ],
)
def test_bad_mounts_are_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=r'invalid argument .* for "--mount" flag') as caught:
        body("--mount", spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("8080:80", {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}),
        ("127.0.0.1:8080:80/udp", {"80/udp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}),
        ("127.0.0.1::80", {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}),
        ("[::1]:80:80", {"80/tcp": [{"HostIp": "::1", "HostPort": "80"}]}),
        (
            "8000-8001:80-81",
            {"80/tcp": [{"HostIp": "", "HostPort": "8000"}], "81/tcp": [{"HostIp": "", "HostPort": "8001"}]},
        ),
        ("8000-8010:80", {"80/tcp": [{"HostIp": "", "HostPort": "8000-8010"}]}),
        ("published=8080,target=80,protocol=udp", {"80/udp": [{"HostIp": "", "HostPort": "8080"}]}),
    ],
)
def test_published_ports(spec: str, bindings: Json) -> None:
    found = body("-p", spec)
    assert found["HostConfig"]["PortBindings"] == bindings
    assert found["ExposedPorts"] == {port: {} for port in bindings}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("80:abc", "invalid containerPort: abc"),
        ("abc:80", "invalid hostPort: abc"),
        ("99999:80", "invalid hostPort: 99999"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("80:80/foo", "invalid proto: foo"),
        ("8000-8002:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000-8002"),
        ("80:", "no port specified: 80:<empty>"),
    ],
)
def test_bad_ports_are_refused(spec: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        body("-p", spec)
    assert (str(caught.value), caught.value.code) == (message, 125)


def test_exposed_ports_may_be_ranges() -> None:
    assert body("--expose", "99", "--expose", "100-101/udp")["ExposedPorts"] == {
        "99/tcp": {},
        "100/udp": {},
        "101/udp": {},
    }


@pytest.mark.parametrize(
    ("words", "mode", "settings"),
    [
        (["--network", "host"], "host", {}),
        (["--network", "container:x"], "container:x", {}),
        (["--net", "foo"], "foo", {}),
        (["--ip", "1.2.3.4"], "default", {"default": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}),
        (["--link", "a:b"], "default", {}),
        (
            ["--network", "foo", "--network-alias", "a", "--ip", "1.2.3.4", "--mac-address", "02:42:ac:11:00:02"],
            "foo",
            {"foo": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}, "MacAddress": "02:42:ac:11:00:02"}},
        ),
        (
            ["--network", "name=foo,alias=x,ip=1.2.3.4,driver-opt=A=b,gw-priority=3", "--network", "bar"],
            "foo",
            {
                "foo": {
                    "Aliases": ["x"],
                    "IPAMConfig": {"IPv4Address": "1.2.3.4"},
                    "DriverOpts": {"a": "b"},
                    "GwPriority": 3,
                },
                "bar": {},
            },
        ),
    ],
)
def test_networks(words: list[str], mode: str, settings: Json) -> None:
    assert (host(*words)["NetworkMode"], endpoints(*words)) == (mode, settings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "foo", "--network", "foo"], 'network "foo" is specified multiple times'),
        (
            ["--network", "foo", "--network", "host"],
            "cannot attach both user-defined and non-user-defined network-modes",
        ),
        (["--network", "name=foo,alias=x", "--network-alias", "y"], "--network-alias and per-network alias"),
        (["--network-alias", "y"], "network-scoped aliases are only supported for user-defined networks"),
        (["--mac-address", "zz"], "zz is not a valid mac address"),
        (["--restart", "always", "--rm"], "conflicting options: cannot specify both --restart and --rm"),
        (["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (["--pid", "foo"], "--pid: invalid PID mode"),
        (["--userns", "foo"], "--userns: invalid USER mode"),
        (["--memory-swappiness", "200"], "Valid memory swappiness range is 0-100"),
        (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
        (["--health-interval", "-5s"], "--health-interval cannot be negative"),
        (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (["--storage-opt", "foo"], "invalid storage option"),
        (["--security-opt", "foo"], 'Invalid --security-opt: "foo"'),
        (["--security-opt", "seccomp=/no/such"], "opening seccomp profile (/no/such) failed"),
        (["--env-file", "/no/such"], "open /no/such: no such file or directory"),
        (["--device", "dev"], "dev is not an absolute path"),
        (["-v", ""], "invalid empty volume spec"),
    ],
)
def test_what_cannot_work_is_refused_before_the_daemon_is_asked(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        body(*words)
    assert message in str(caught.value) and caught.value.code == 125


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "=x"], "invalid environment variable: =x"),
        (["-a", "foo"], "valid streams are STDIN, STDOUT and STDERR"),
        (["--cpus", "0.0000000001"], "value is too precise"),
        (["--ulimit", "nofile=2:1"], "ulimit soft limit must be less than or equal to hard limit: 2 > 1"),
        (["--ulimit", "foo=1"], "invalid ulimit type: foo"),
        (["--sysctl", "kernel.panic=1"], "sysctl 'kernel.panic=1' is not allowed"),
        (["--add-host", "foo"], 'bad format for add-host: "foo"'),
        (["--dns", "foo"], "IP address is not correctly formatted: foo"),
        (["--device-read-bps", "/dev/sda:x"], "invalid rate for device: /dev/sda:x"),
        (["--blkio-weight-device", "/dev/sda:5"], "invalid weight for device: /dev/sda:5"),
        (["--device-cgroup-rule", "x"], "invalid device cgroup format 'x'"),
        (["--gpus", "some"], 'invalid count (some): value must be either "all" or an integer'),
        (["--gpus", "1,count=2"], "gpu request key 'count' can be specified only once"),
        (["--gpus", "nope=2"], "unexpected key 'nope' in 'nope=2'"),
    ],
)
def test_bad_values_name_their_flag(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=r"^invalid argument ") as caught:
        body(*words)
    assert message in str(caught.value) and f'{words[0]}" flag' in str(caught.value).replace(
        "-a, --attach", "-a"
    ).replace("-e, --env", "-e")


def test_resources() -> None:
    found = host(
        "-m",
        "100m",
        "--memory-swap",
        "-1",
        "--cpus",
        "1.5",
        "--ulimit",
        "nofile=1:2",
        "--pids-limit",
        "9",
        "--memory-swappiness",
        "0",
    )
    expected = {"Memory": 100 << 20, "MemorySwap": -1, "NanoCpus": 1_500_000_000, "PidsLimit": 9, "MemorySwappiness": 0}
    assert {name: found[name] for name in expected} == expected
    assert found["Ulimits"] == [{"Name": "nofile", "Hard": 2, "Soft": 1}]


def test_devices_and_their_limits() -> None:
    found = host("--device", "/dev/zero:/dev/z:rw", "--device", "vendor.com/gpu=0", "--device-read-bps", "/dev/sda:1mb")
    assert found["Devices"] == [{"PathOnHost": "/dev/zero", "PathInContainer": "/dev/z", "CgroupPermissions": "rw"}]
    assert found["DeviceRequests"][0]["DeviceIDs"] == ["vendor.com/gpu=0"]
    assert found["BlkioDeviceReadBps"] == [{"Path": "/dev/sda", "Rate": 1 << 20}]


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", {"Count": -1}),
        ("2", {"Count": 2}),
        ("driver=nvidia", {"Driver": "nvidia", "Count": 1}),
        ('"device=0,2"', {"DeviceIDs": ["0", "2"]}),
        ('all,"capabilities=compute,utility"', {"Count": -1, "Capabilities": [["compute", "utility", "gpu"]]}),
    ],
)
def test_gpus(text: str, request_: dict[str, Any]) -> None:
    """As Docker's client reads them (opts.GpuOpts)."""
    usual = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    assert host("--gpus", text)["DeviceRequests"] == [{**usual, **request_}]
    both = host("--gpus", text, "--device", "vendor.com/class=name")["DeviceRequests"]
    assert [each["Driver"] for each in both] == [request_.get("Driver", ""), "cdi"]


def test_a_seccomp_profile_is_sent_as_its_json(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text('{ "defaultAction": "SCMP_ACT_ALLOW",\n "x": [1, 2] }')
    found = host(
        "--security-opt",
        f"seccomp={profile}",
        "--security-opt",
        "no-new-privileges",
        "--security-opt",
        "systempaths=unconfined",
    )
    assert found["SecurityOpt"] == ['seccomp={"defaultAction":"SCMP_ACT_ALLOW","x":[1,2]}', "no-new-privileges"]
    assert (found["MaskedPaths"], found["ReadonlyPaths"]) == ([], [])
    assert json.loads(found["SecurityOpt"][0].removeprefix("seccomp="))["x"] == [1, 2]


def test_what_is_given_but_empty_still_counts() -> None:
    found = body("--entrypoint", "", "--init=false", "--stop-timeout", "0")
    assert (found["Entrypoint"], found["HostConfig"]["Init"], found["StopTimeout"]) == ([""], False, 0)


def test_capabilities_are_written_in_full() -> None:
    assert host("--cap-add", "net_admin", "--cap-drop", "ALL")["CapAdd"] == ["CAP_NET_ADMIN"]


def test_health_checks() -> None:
    check = body("--health-cmd", "curl x", "--health-interval", "5s", "--health-retries", "3")["Healthcheck"]
    assert check == {"Test": ["CMD-SHELL", "curl x"], "Interval": 5 * 10**9, "Retries": 3}
    assert body("--no-healthcheck")["Healthcheck"] == {"Test": ["NONE"]}


# One text for each kind of value that a flag takes, by the name of the kind.
EXAMPLES = {"": "true", "string": "text", "int": "7", "uint": "7", "uint16": "70", "bytes": "8m", "decimal": "1.5"}
# What a flag takes by itself, where it is checked.
OWN_EXAMPLES = {
    "pid": "host",
    "uts": "host",
    "userns": "host",
    "cgroupns": "private",
    "ulimit": "nofile=1:2",
    "dns": "10.0.0.1",
    "add-host": "a:10.0.0.1",
    "blkio-weight-device": "/dev/sda:70",
    "device-read-bps": "/dev/sda:1mb",
    "device-write-bps": "/dev/sda:1mb",
    "device-read-iops": "/dev/sda:7",
    "device-write-iops": "/dev/sda:7",
    "device-cgroup-rule": "c 1:3 rwm",
}


def given(name: str) -> Flags:
    """The flags of a command line that has this one with a value."""
    kind = next(one.kind for one in CONTAINER_FLAGS if one.name == name)
    text = OWN_EXAMPLES.get(name) or EXAMPLES.get(kind.name) or "text"
    return parse(CONTAINER_FLAGS, [f"--{name}={text}", "img"], interspersed=False)


@pytest.mark.parametrize(("name", "field"), request.CONFIG.items())
def test_a_plain_flag_of_the_configuration_is_a_field(name: str, field: str) -> None:
    made = request.create(given(name), "img", [])
    assert made.replace(**{field: UNSET}) != made, "it was not set"
    assert decode(CreateRequest, made.given_json()) == made


@pytest.mark.parametrize(("name", "field"), [*host_config.HOST_CONFIG.items(), *host_config.RESOURCES.items()])
def test_a_plain_flag_of_the_host_configuration_is_a_field(name: str, field: str) -> None:
    made = host_config.host_config(given(name), "default", [], {})
    assert made.replace(**{field: UNSET}) != made, "it was not set"
    assert decode(HostConfig, made.given_json()) == made


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_is_updated_is_a_field(name: str) -> None:
    made = UpdateConfig(**{host_config.RESOURCES[name]: given(name).value(name)})
    assert decode(UpdateConfig, made.given_json()) == made != UpdateConfig()
