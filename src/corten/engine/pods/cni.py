"""A pod's network by the Container Network Interface: what a configuration of the host's names, plugin by plugin.

    network = cni.configured(directory)          # None: there is no configuration, and our own network serves
    result = await cni.add(pod, network, fd)
    await cni.delete(pod, network, result, fd)   # until it succeeds; plugins may be asked again for what is gone
    await cni.status(network)                    # raises Unavailable: its plugins cannot serve now
    await cni.collect(network, ids)              # what plugins still have of other pods than these goes

The first file by name counts, *.conflist, *.conf or *.json. Specification 0.3.1 to 1.1; STATUS and GC are 1.1's.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from corten.engine.pods.records import Network, Record
from corten.errors import Failed, Invalid, Unavailable
from corten.spec.protobuf import cri
from corten.tasks.contract import Plugins

Json = dict[str, Any]
INTERFACE = "eth0"
_SECONDS = 60.0  # for one plugin
_SECONDS_OF_STATUS = 10.0  # the kubelet asks each 5 s, and waits
_MOST = 1 << 20  # bytes of a configuration
_VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")  # in their order
_WITH_STATUS_AND_GC = ("1.1.0",)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*\Z")
_BANDWIDTH = {"kubernetes.io/ingress-bandwidth": "ingress", "kubernetes.io/egress-bandwidth": "egress"}


def configured(directory: str) -> Network | None:
    """Raises Invalid for a configuration that cannot be used."""
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith((".conflist", ".conf", ".json")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read(Path(directory) / names[0]) if names else None


def _read(path: Path) -> Network:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
        content = json.loads(data) if len(data) <= _MOST else None
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path}: {error}") from None
    except OSError as error:
        raise Invalid(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
    if not isinstance(content, dict):
        raise Invalid(f"{path} is not a CNI configuration")
    plugins = content.get("plugins", [content])
    name, version = content.get("name"), _version(content)
    if not isinstance(name, str) or not _NAME.match(name):
        raise Invalid(f"{path}: the network has no name that can be one")
    if version not in _VERSIONS:
        raise Invalid(f"{path}: cniVersion {version!r} is not supported ({', '.join(_VERSIONS)} are)")
    if not isinstance(plugins, list) or not plugins:
        raise Invalid(f"{path}: there are no plugins")
    for plugin in plugins:
        kind = plugin.get("type") if isinstance(plugin, dict) else None
        if not isinstance(kind, str) or not _NAME.match(kind):
            raise Invalid(f"{path}: a plugin has no type that can be a program's name")
        if not isinstance(plugin.get("capabilities") or {}, dict):
            raise Invalid(f"{path}: the capabilities of {kind} are not an object")
    return Network(name, version, plugins, str(path), content.get("disableGC") is not True)


def _version(content: Json) -> object:
    """The youngest that both know, where there are several (`cniVersions`, 1.1)."""
    several = content.get("cniVersions")
    known = [each for each in _VERSIONS if isinstance(several, list) and each in several]
    return known[-1] if known else content.get("cniVersion", "0.3.1")


class Cni:
    def __init__(self, plugins: Plugins, directories: Sequence[str]) -> None:
        self._plugins = plugins
        self._directories = directories

    def check(self, network: Network) -> None:
        """Raises Unavailable when one of its plugins is not installed."""
        for plugin in network.plugins:
            self._program(plugin["type"])

    async def add(self, pod: Record, network: Network, namespace: int) -> Json:
        """The last plugin's result. Raises Failed, Unavailable; what was added is then still to be deleted."""
        result: Json = {}
        for plugin in network.plugins:
            result = await self._run("ADD", pod, network, plugin, result, namespace)
        return result

    async def delete(self, pod: Record, network: Network, result: Json, namespace: int = -1) -> None:
        """All of them, last first. Raises Failed, Unavailable: then it is to be tried again."""
        for plugin in reversed(network.plugins):
            await self._run("DEL", pod, network, plugin, result, namespace)

    async def status(self, network: Network) -> None:
        """Raises Unavailable when a plugin says that it cannot connect pods now."""
        if network.version not in _WITH_STATUS_AND_GC:
            return
        for plugin in network.plugins:
            try:
                await self._ask("STATUS", network, plugin, {}, {}, seconds=_SECONDS_OF_STATUS)
            except Failed as error:
                raise Unavailable(str(error)) from error

    async def collect(self, network: Network, pods: Sequence[str]) -> None:
        """Raises Failed, Unavailable. No pod may be added meanwhile: it would be taken for one that is gone."""
        if network.version not in _WITH_STATUS_AND_GC or not network.collects:
            return
        valid = [{"containerID": id, "ifname": INTERFACE} for id in pods]
        for plugin in network.plugins:
            await self._ask("GC", network, plugin, {}, {"cni.dev/valid-attachments": valid})

    async def _run(
        self, command: str, pod: Record, network: Network, plugin: Json, result: Json, namespace: int
    ) -> Json:
        metadata = pod.metadata
        arguments = {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": metadata.namespace,
            "K8S_POD_NAME": metadata.name,
            "K8S_POD_INFRA_CONTAINER_ID": pod.id,
            "K8S_POD_UID": metadata.uid,
        }
        environment = {
            "CNI_CONTAINERID": pod.id,
            "CNI_IFNAME": INTERFACE,
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
        }
        more = Json()
        if runtime := _runtime_config(plugin, pod.config):
            more["runtimeConfig"] = runtime
        if result:
            more["prevResult"] = result
        return await self._ask(command, network, plugin, environment, more, namespace)

    async def _ask(
        self,
        command: str,
        network: Network,
        plugin: Json,
        environment: Json,
        more: Json,
        namespace: int = -1,
        seconds: float = _SECONDS,
    ) -> Json:
        config = {**plugin, "cniVersion": network.version, "name": network.name, **more}
        environment = {"CNI_COMMAND": command, "CNI_PATH": ":".join(self._directories), **environment}
        program = self._program(plugin["type"])
        answer = await self._plugins.run(program, environment, json.dumps(config), namespace, seconds)
        return _answered(command, plugin["type"], answer.status, answer.output)

    def _program(self, kind: str) -> str:
        for directory in self._directories:
            if os.path.isfile(path := os.path.join(directory, kind)):
                return path
        raise Unavailable(f"the CNI plugin {kind} is not in {', '.join(self._directories)}")


def check(network: Network, config: cri.PodSandboxConfig) -> None:
    """Before a plugin is called: each gets the same again when it is undone. Raises Invalid."""
    for plugin in network.plugins:
        _runtime_config(plugin, config)


def _runtime_config(plugin: Json, config: cri.PodSandboxConfig) -> Json:
    """Of what is known of the pod what the plugin says that it takes."""
    takes, found = plugin.get("capabilities") or {}, Json()
    if takes.get("portMappings"):
        found["portMappings"] = [
            {
                "hostPort": port.host_port,
                "containerPort": port.container_port,
                "protocol": cri.Protocol(port.protocol).name.lower(),
                "hostIP": port.host_ip,
            }
            for port in config.port_mappings
            if port.host_port
        ]
    if takes.get("dns") and config.dns_config is not None:
        dns = config.dns_config
        found["dns"] = {"servers": dns.servers, "searches": dns.searches, "options": dns.options}
    if takes.get("bandwidth"):
        limits = {way: text for key, way in _BANDWIDTH.items() if (text := config.annotations.get(key))}
        rates = {f"{way}Rate": _bits(text) for way, text in limits.items()}
        found["bandwidth"] = rates | {f"{way}Burst": (1 << 31) - 1 for way in limits}
    if takes.get("io.kubernetes.cri.pod-annotations"):
        found["io.kubernetes.cri.pod-annotations"] = config.annotations
    return {key: value for key, value in found.items() if value}


def _bits(text: str) -> int:
    """Bits in a second, as Kubernetes writes quantities: 10M, 1.5G, 512Ki. Raises Invalid."""
    match = re.fullmatch(r"([0-9]{1,16}(?:\.[0-9]{1,9})?)(?:([kMGTP])|([KMGTP])i)?", text, re.ASCII)
    if match is None:
        raise Invalid(f"invalid bandwidth {text[:100]!r}: a number with k, M, G, T, P, or Ki to Pi is understood")
    number, decimal, binary = match.groups()
    unit = 1000 ** (1 + "kMGTP".index(decimal)) if decimal else 1
    unit *= 1024 ** (1 + "KMGTP".index(binary)) if binary else 1
    rate = int(Decimal(number) * unit)
    if not 1000 <= rate <= 10**15:
        raise Invalid(f"invalid bandwidth {text[:100]!r}: from 1k to 1P is possible")
    return rate


def _answered(command: str, kind: str, status: int, output: str) -> Json:
    try:
        found = json.loads(output) if output.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if status:
        text = found.get("msg") or found.get("details") if isinstance(found, dict) else ""
        raise Failed(f"the CNI plugin {kind} failed ({command}): {str(text or f'exit status {status}')[:1000]}")
    if not isinstance(found, dict):
        raise Failed(f"the CNI plugin {kind} answers {command} with what is no JSON object")
    return found


def addresses(result: Json) -> list[str]:
    """Of the pod, IPv4 and IPv6 in the order of the result. Raises Failed for what is none."""
    found = []
    try:
        for entry in result.get("ips") or ():
            found.append(str(ipaddress.ip_interface(entry["address"]).ip))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failed("a CNI plugin gave an address that is none") from None
    return found
