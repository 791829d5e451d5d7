"""What follows from what was said: default networks, implied dependencies, names."""

from __future__ import annotations

from collections.abc import Mapping

from corten.compose.document import Tree, Value
from corten.compose.loader.environment import mappings
from corten.compose.loader.gopaths import cleaned
from corten.compose.loader.interpolate import is_true
from corten.compose.loader.texts import printed

_NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")


def normalized(tree: Tree, environment: Mapping[str, str]) -> Tree:
    """The tree, which has the project's `name` already, changed."""
    _networks(tree)
    for service in mappings(tree, "services"):
        if service.get("pull_policy") == "if_not_present":
            service["pull_policy"] = "missing"
        _build(service, environment)
        if "environment" in service:
            service["environment"] = _resolved(service["environment"], environment, keep=True)
        _dependencies(service)
        _targets(service)
    _names(tree)
    return tree


def _networks(tree: Tree) -> None:
    """A service without networks is in `default`, which is there when one is in it."""
    used = False
    for service in mappings(tree, "services"):
        if "provider" in service or "network_mode" in service:
            continue
        networks = service.get("networks") or {"default": None}
        service["networks"] = networks
        used = used or (isinstance(networks, dict) and "default" in networks)
    known = tree.get("networks")
    known = known if isinstance(known, dict) else {}
    if used:
        known.setdefault("default", None)
    if known:
        tree["networks"] = known


def _build(service: Tree, environment: Mapping[str, str]) -> None:
    build = service.get("build")
    if not isinstance(build, dict):
        return
    if build.get("context") is None:
        build["context"] = "."
    if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
        build["dockerfile"] = "Dockerfile"
    if "args" in build:
        build["args"] = _resolved(build["args"], environment, keep=False)


def _resolved(value: Value, environment: Mapping[str, str], keep: bool) -> Value:
    """Names without a value with the environment's; `keep` those that it has not."""
    if isinstance(value, dict):
        found: Tree = {}
        for key, each in value.items():
            if each is None:
                each = environment.get(key)
            if each is not None or keep:
                found[key] = each
        return found
    if isinstance(value, list):
        entries: list[Value] = []
        for each in value:
            name = printed(each)
            if "=" in name:
                entries.append(name)
            elif name in environment:
                entries.append(f"{name}={environment[name]}")
            elif keep:
                entries.append(name)
        return entries
    return value


def _dependencies(service: Tree) -> None:
    found = service.get("depends_on")
    found = found if isinstance(found, dict) else {}
    for link in _texts(service, "links"):
        fields = link.split(":")
        _imply(found, fields[0] if len(fields) == 2 else link, restart=True)
    for key in _NAMESPACES:
        value = service.get(key)
        if isinstance(value, str) and value.startswith("service:"):
            _imply(found, value.removeprefix("service:"), restart=True)
    for place in _texts(service, "volumes_from"):
        if not place.startswith("container:"):
            _imply(found, place.split(":")[0], restart=False)
    if found:
        service["depends_on"] = found


def _texts(service: Tree, key: str) -> list[str]:
    value = service.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _imply(dependencies: Tree, name: str, restart: bool) -> None:
    dependencies.setdefault(name, {"condition": "service_started", "restart": restart, "required": True})


def _targets(service: Tree) -> None:
    volumes = service.get("volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, dict) and isinstance(volume.get("target"), str):
            volume["target"] = cleaned(printed(volume["target"]))


def _names(tree: Tree) -> None:
    for section in ("networks", "volumes", "configs", "secrets"):
        entries = tree.get(section)
        for key, each in list(entries.items()) if isinstance(entries, dict) else ():
            resource = each if isinstance(each, dict) else {}
            if resource.get("name") is None:
                external = is_true(resource.get("external"))
                resource["name"] = key if external else f"{printed(tree.get('name'))}_{key}"
            assert isinstance(entries, dict)
            entries[key] = resource
